-- What an attempt leaves behind when it does not end well, and what follows from it.

ALTER TABLE meridian.job
  ADD COLUMN ooms integer NOT NULL DEFAULT 0, -- of the crashes, those for lack of memory
  ADD COLUMN order_at timestamptz, -- its place in the queue, kept when its work was interrupted
  ADD COLUMN identity text; -- what is run, for crashes across jobs; null = this job alone
CREATE INDEX job_identity ON meridian.job (identity) WHERE identity IS NOT NULL AND ended_at IS NULL;
CREATE INDEX job_replayed_by ON meridian.job (replayed_by) WHERE replayed_by IS NOT NULL;

ALTER TABLE meridian.attempt
  ADD COLUMN log_tail text CHECK (octet_length(log_tail) <= 16384); -- the runner's last lines

-- One row a crash that was charged (not for lack of memory: that has its own rule).
CREATE TABLE meridian.crash (
  job uuid NOT NULL,
  attempt integer NOT NULL,
  identity text NOT NULL, -- of the job, or its id
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  reason text NOT NULL,
  pardoned_at timestamptz, -- a person had what is run tried again: the crash counts no more
  pardoned_by text,
  PRIMARY KEY (job, attempt),
  FOREIGN KEY (job, attempt) REFERENCES meridian.attempt (job, number)
);
CREATE INDEX crash_identity ON meridian.crash (identity, at) WHERE pardoned_at IS NULL;

-- Writes of an epoch, or of a worker, that does not own the attempt: refused, and counted here. One row
-- however often a stuck worker repeats itself.
CREATE TABLE meridian.stale_write (
  job uuid NOT NULL, -- all zeros for jobs that do not exist: those share one row a worker
  attempt integer NOT NULL, -- the epoch that the write named
  kind text NOT NULL CHECK (kind IN ('renewal', 'progress', 'checkpoint', 'result', 'version')),
  worker text NOT NULL,
  incarnation uuid, -- null where the write names none
  current_attempt integer, -- the job's epoch at the last time; null = no such job
  current_worker text,
  by text NOT NULL, -- who wrote, as PostgreSQL knows them
  reason text NOT NULL,
  count bigint NOT NULL DEFAULT 1,
  first_at timestamptz NOT NULL DEFAULT now(),
  last_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (job, attempt, kind, worker)
);
CREATE INDEX stale_write_last ON meridian.stale_write (last_at);
