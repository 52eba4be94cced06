-- How long runnable jobs waited for a slot, by day (UTC) and region, over the last 90 days.
CREATE OR REPLACE VIEW report.queue_wait AS
SELECT w.day, w.region, count(*) AS attempts, avg(w.wait_s) AS wait_s_mean,
  percentile_cont(0.5) WITHIN GROUP (ORDER BY w.wait_s) AS wait_s_p50,
  percentile_cont(0.95) WITHIN GROUP (ORDER BY w.wait_s) AS wait_s_p95,
  max(w.wait_s) AS wait_s_max
FROM (
  SELECT (a.started_at AT TIME ZONE 'UTC')::date AS day, a.region,
    greatest(extract(epoch FROM a.started_at - a.queued_at), 0)::double precision AS wait_s
  FROM meridian.attempt a
  WHERE a.started_at >= now() - interval '90 days' AND a.queued_at IS NOT NULL
) w
GROUP BY w.day, w.region;
