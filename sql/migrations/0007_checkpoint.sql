-- Where an interrupted job goes on. At most two rows a job, none of a job that has ended.
CREATE TABLE meridian.checkpoint (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job uuid NOT NULL,
  attempt integer NOT NULL, -- the epoch that wrote it
  artifact bytea NOT NULL REFERENCES meridian.artifact, -- the state; its format is the kind's
  bytes bigint NOT NULL CHECK (bytes >= 0),
  config bytea NOT NULL CHECK (length(config) = 32), -- hash of all that determines the result
  phase text NOT NULL CHECK (length(phase) BETWEEN 1 AND 32),
  step bigint NOT NULL CHECK (step >= 0),
  inputs jsonb NOT NULL DEFAULT '{}', -- what is read anew: the next attempt takes the same
  created_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (job, attempt) REFERENCES meridian.attempt (job, number)
);
CREATE INDEX checkpoint_job ON meridian.checkpoint (job, id);
CREATE INDEX checkpoint_artifact ON meridian.checkpoint (artifact);
CREATE INDEX version_artifact ON meridian.version (artifact); -- for the check that nobody needs one

ALTER TABLE meridian.attempt
  ADD COLUMN resumed_attempt integer, -- whose checkpoint it went on from; null = from the start
  ADD COLUMN resumed_step bigint;
ALTER TABLE meridian.version
  ADD COLUMN resumes integer NOT NULL DEFAULT 0; -- attempts of its job that went on from a checkpoint
