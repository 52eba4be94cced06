-- What the report views stand on: one narrow row an evaluation, written once in the transaction
-- that records the evaluation, and the indexes that find open, failed and newest rows at once.

CREATE TABLE meridian.evaluation_summary (
  evaluation bigint PRIMARY KEY REFERENCES meridian.evaluation,
  job uuid NOT NULL REFERENCES meridian.job,
  parent uuid,
  night date, -- null when no nightly asked for it
  market text,
  task text NOT NULL,
  version bigint NOT NULL REFERENCES meridian.version,
  number integer NOT NULL,
  champion bigint,
  champion_number integer,
  started_at timestamptz NOT NULL, -- of the fine-tune when one job of the same parent made the version
  ended_at timestamptz NOT NULL,
  duration_s double precision NOT NULL,
  train_seconds double precision,
  train_samples integer,
  test_samples integer NOT NULL,
  accuracy double precision,
  macro_f1 double precision,
  champion_accuracy double precision,
  champion_macro_f1 double precision,
  promoted boolean NOT NULL,
  verdict text NOT NULL CHECK (verdict IN ('promote', 'keep', 'none')),
  reason text,
  sentence text,
  CHECK (promoted = (verdict = 'promote'))
);
CREATE INDEX evaluation_summary_night ON meridian.evaluation_summary (night, market, task);
CREATE INDEX evaluation_summary_market ON meridian.evaluation_summary (market, task, evaluation);

-- A version never changes and neither does what it was made from, so it can carry that along:
-- report.lineage would else join three tables of its size.
ALTER TABLE meridian.version
  ADD COLUMN base_market text,
  ADD COLUMN base_number integer,
  ADD COLUMN train_samples integer,
  ADD COLUMN train_sha256 bytea;

-- When the job became runnable before this attempt; the job's own queued_at moves on with retries.
ALTER TABLE meridian.attempt ADD COLUMN queued_at timestamptz;

CREATE INDEX job_parent_market ON meridian.job (parent, market) WHERE parent IS NOT NULL;
DROP INDEX meridian.job_parent;
CREATE INDEX job_night_unfinished ON meridian.job (night, market)
  WHERE night IS NOT NULL AND market IS NOT NULL AND state <> 'succeeded';
CREATE INDEX job_dead ON meridian.job (ended_at)
  WHERE state IN ('failed', 'rejected') AND purged_at IS NULL AND replayed_by IS NULL;
CREATE INDEX attempt_bad ON meridian.attempt (ended_at)
  WHERE state IN ('failed', 'crashed', 'lost', 'returned', 'undelivered');
CREATE INDEX snapshot_task ON meridian.snapshot (task, split, id);
