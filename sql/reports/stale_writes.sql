-- Writes that were refused because they came too late or from somebody else.
CREATE OR REPLACE VIEW report.stale_writes AS
SELECT s.last_at, s.first_at, s.count, s.kind, s.job, s.attempt AS named_attempt, s.current_attempt, s.worker,
  s.incarnation, s.current_worker, s.by AS written_by, s.reason, j.kind AS job_kind, j.market, j.task,
  j.state AS job_state
FROM meridian.stale_write s LEFT JOIN meridian.job j ON j.id = s.job;
