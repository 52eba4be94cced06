-- Unique policies and submissions by SQL. New tables and columns only: the previous release does not see them.

ALTER TABLE meridian.job
  ADD COLUMN superseded_by uuid; -- the job that took its unique key while it waited
CREATE INDEX job_superseded ON meridian.job (superseded_by) WHERE superseded_by IS NOT NULL;

-- Submissions that were answered with the job that had their unique key: said again, answered the same.
CREATE TABLE meridian.kept (
  id uuid PRIMARY KEY,
  job uuid NOT NULL REFERENCES meridian.job,
  at timestamptz NOT NULL DEFAULT now()
);

-- What meridian.submit wrote and the scheduler has not admitted yet: empty most of the time.
CREATE TABLE meridian.submission (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id uuid NOT NULL UNIQUE,
  job jsonb NOT NULL CHECK (jsonb_typeof(job) = 'object'),
  submitted_by text NOT NULL,
  submitted_at timestamptz NOT NULL DEFAULT now(),
  tries integer NOT NULL DEFAULT 0 CHECK (tries >= 0)
);
-- Rows live for milliseconds: what is dead must not lie in the way of the next look.
ALTER TABLE meridian.submission
  SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, fillfactor = 70);
