-- Failed and rejected jobs that nobody has retried or purged, each with what its last attempt left behind. A
-- parent is listed only when it failed before it had children.
CREATE OR REPLACE VIEW report.dead_letters AS
SELECT j.id AS job, j.kind, j.market, j.task, j.night, j.state, j.ended_at AS since, j.error_code,
  j.error_text, j.attempt AS attempts, j.failures, j.crashes, j.region, j.submitted_by,
  (SELECT count(*) FROM meridian.dependency d JOIN meridian.job h ON h.id = d.job
   WHERE d.needs = j.id AND h.state = 'skipped' AND h.replayed_by IS NULL) AS holds_up,
  coalesce(a.error_class, CASE WHEN j.state = 'rejected' THEN 'caller' ELSE 'permanent' END) AS error_class,
  a.worker, a.exit_code, a.signal, round(a.peak_rss_kb / 1024.0, 1)::double precision AS peak_rss_mb, j.memory_mb,
  a.log_tail, (SELECT o.id FROM meridian.job o WHERE o.replayed_by = j.id) AS replay_of
FROM meridian.job j
LEFT JOIN meridian.attempt a ON a.job = j.id AND a.number = j.attempt
WHERE j.state IN ('failed', 'rejected') AND j.purged_at IS NULL AND j.replayed_by IS NULL
  AND NOT EXISTS (SELECT FROM meridian.job c WHERE c.parent = j.id);
