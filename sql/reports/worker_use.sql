-- What each worker did, by day (UTC), over the last 90 days. busy_share is of the slots it has now.
CREATE OR REPLACE VIEW report.worker_use AS
SELECT d.day, d.worker, d.region, d.attempts, d.succeeded, d.failed, d.lost, d.busy_s,
  round((d.busy_s / (w.slots * 86400.0))::numeric, 4)::double precision AS busy_share, d.peak_rss_mb_max, w.slots, w.state
FROM (
  SELECT (a.started_at AT TIME ZONE 'UTC')::date AS day, a.worker, a.region, count(*) AS attempts,
    count(*) FILTER (WHERE a.state = 'succeeded') AS succeeded,
    count(*) FILTER (WHERE a.state IN ('failed', 'crashed')) AS failed,
    count(*) FILTER (WHERE a.state IN ('lost', 'returned')) AS lost,
    sum(extract(epoch FROM coalesce(a.ended_at, now()) - a.started_at))::double precision AS busy_s,
    max(a.peak_rss_kb) / 1024.0::double precision AS peak_rss_mb_max
  FROM meridian.attempt a
  WHERE a.started_at >= now() - interval '90 days' AND a.worker IS NOT NULL
  GROUP BY 1, 2, 3
) d
LEFT JOIN meridian.worker w ON w.name = d.worker;
