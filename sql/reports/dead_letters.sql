-- Failed and rejected jobs that nobody has retried or purged. A parent is listed only when it failed
-- before it had children.
CREATE OR REPLACE VIEW report.dead_letters AS
SELECT j.id AS job, j.kind, j.market, j.task, j.night, j.state, j.ended_at AS since, j.error_code,
  j.error_text, j.attempt AS attempts, j.failures, j.crashes, j.region, j.submitted_by,
  (SELECT count(*) FROM meridian.dependency d JOIN meridian.job h ON h.id = d.job
   WHERE d.needs = j.id AND h.state = 'skipped' AND h.replayed_by IS NULL) AS holds_up
FROM meridian.job j
WHERE j.state IN ('failed', 'rejected') AND j.purged_at IS NULL AND j.replayed_by IS NULL
  AND NOT EXISTS (SELECT FROM meridian.job c WHERE c.parent = j.id);
