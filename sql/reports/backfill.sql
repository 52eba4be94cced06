-- Every backfill, with its progress by nights.
CREATE OR REPLACE VIEW report.backfill AS
SELECT b.job AS backfill, j.task, CASE WHEN b.paused_at IS NOT NULL AND j.ended_at IS NULL THEN 'paused'
    WHEN j.state = 'waiting' AND j.started_at IS NOT NULL THEN 'running' ELSE j.state END AS state,
  b.first_night, b.last_night, b.last_night - b.first_night + 1 AS nights, n.succeeded, n.failed, n.cancelled,
  w.done_before, n.open, b.last_night - b.next_night + 1 AS left_to_begin, b.cap, b.markets, b.again, b.paused_by,
  j.priority, j.submitted_by, j.submitted_at, j.started_at, j.ended_at, j.error_text
FROM meridian.backfill b
JOIN meridian.job j ON j.id = b.job
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE c.state = 'succeeded') AS succeeded,
    count(*) FILTER (WHERE c.state IN ('failed', 'rejected', 'skipped')) AS failed,
    count(*) FILTER (WHERE c.state = 'cancelled') AS cancelled, count(*) FILTER (WHERE c.ended_at IS NULL) AS open
  FROM meridian.job c WHERE c.parent = b.job AND (c.ended_at IS NULL OR c.replayed_by IS NULL)) n
CROSS JOIN LATERAL (
  SELECT count(*) AS done_before FROM meridian.backfill_night o WHERE o.backfill = b.job AND o.job IS NULL) w;
