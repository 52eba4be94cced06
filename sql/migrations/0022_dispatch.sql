-- What an assignment costs. A foreign key asks for each attempt, one by one, about a job that the same
-- statement has just written; guard.sql asks once for all of a statement (attempt_has_job, job_has_attempts).
ALTER TABLE meridian.attempt DROP CONSTRAINT attempt_job_fkey;

-- Nobody looks for attempts that have not started by the time of their start.
CREATE INDEX attempt_began ON meridian.attempt (started_at) WHERE started_at IS NOT NULL;
DROP INDEX meridian.attempt_started;
ALTER INDEX meridian.attempt_began RENAME TO attempt_started;
