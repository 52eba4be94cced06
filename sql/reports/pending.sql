-- Every job that has not started, and why it has not.
CREATE OR REPLACE VIEW report.pending AS
SELECT j.id AS job, j.kind, j.market, j.task, j.region, j.state, j.priority, j.night, j.submitted_at,
  round(extract(epoch FROM now() - j.submitted_at), 1)::double precision AS age_s,
  CASE
    WHEN j.cancel_requested_at IS NOT NULL THEN 'cancelling'
    WHEN n.open > 0 AND j.region IS NULL THEN 'children'
    WHEN d.needs IS NOT NULL THEN 'dependency'
    WHEN b.paused_by IS NOT NULL THEN 'paused'
    WHEN j.not_before > now() THEN 'not_before'
    WHEN p.scope IS NOT NULL THEN 'paused'
    WHEN j.region IS NULL THEN 'scheduler'
    WHEN w.slots IS NULL THEN 'no_worker'
    WHEN m.max_running > 0 AND r.running >= m.max_running THEN 'market_limit'
    WHEN w.slots <= w.taken THEN 'slots'
    ELSE 'scheduler' END AS reason,
  CASE
    WHEN j.cancel_requested_at IS NOT NULL THEN 'being cancelled by ' || j.cancel_requested_by
    WHEN n.open > 0 AND j.region IS NULL THEN n.open || ' of its jobs are open'
    WHEN d.needs IS NOT NULL THEN 'needs job ' || d.needs || ', which is ' || d.state
    WHEN b.paused_by IS NOT NULL THEN 'backfill ' || b.job || ' is paused by ' || b.paused_by
    WHEN j.not_before > now() THEN 'not before ' ||
      to_char(j.not_before AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC' ||
      CASE WHEN j.attempt > 0 THEN ', after attempt ' || j.attempt || ': ' ||
        coalesce(j.error_text, j.error_code, '') ELSE '' END
    WHEN p.scope IS NOT NULL THEN rtrim(p.scope || ' ' || p.name) || ' is paused by ' || p.paused_by
    WHEN j.region IS NULL THEN 'the scheduler has not expanded it yet'
    WHEN w.slots IS NULL THEN 'no worker of region ' || j.region || ' is up'
    WHEN m.max_running > 0 AND r.running >= m.max_running
      THEN 'market ' || j.market || ' runs its limit of ' || m.max_running
    WHEN w.slots <= w.taken THEN 'all ' || w.slots || ' slots of region ' || j.region || ' are taken'
    ELSE 'about to be dispatched' END AS why,
  d.needs AS blocked_by, j.not_before
FROM meridian.job j
LEFT JOIN meridian.market m ON m.code = j.market
LEFT JOIN LATERAL (
  SELECT count(*) AS open FROM meridian.job c
  WHERE j.region IS NULL AND c.parent = j.id AND c.ended_at IS NULL) n ON true
LEFT JOIN LATERAL (
  SELECT x.needs, coalesce(o.state, 'unknown')
    || CASE x.condition WHEN 'afternotok' THEN ', to end otherwise than by success'
                        WHEN 'afterany' THEN ', to end' ELSE '' END AS state
  FROM meridian.dependency x LEFT JOIN meridian.job o ON o.id = x.needs
  WHERE x.job = j.id AND CASE x.condition WHEN 'afterok' THEN o.state IS DISTINCT FROM 'succeeded'
    WHEN 'afternotok' THEN o.ended_at IS NULL OR o.state = 'succeeded' ELSE o.ended_at IS NULL END
  ORDER BY x.needs LIMIT 1) d ON true
LEFT JOIN LATERAL (
  SELECT x.job, x.paused_by FROM meridian.backfill x
  WHERE x.paused_at IS NOT NULL AND x.job IN (j.id, j.parent, (SELECT q.parent FROM meridian.job q WHERE q.id = j.parent))
  LIMIT 1) b ON true
LEFT JOIN LATERAL (
  SELECT x.scope, x.name, x.paused_by FROM meridian.pause x
  WHERE x.scope = 'all' OR (x.scope = 'region' AND x.name = j.region)
     OR (x.scope = 'market' AND x.name = j.market)
  ORDER BY x.scope LIMIT 1) p ON true
LEFT JOIN (
  SELECT x.region, sum(x.slots) AS slots,
    (SELECT count(*) FROM meridian.attempt a
     WHERE a.region = x.region AND a.ended_at IS NULL) AS taken
  FROM meridian.worker x WHERE x.state = 'up' GROUP BY x.region) w ON w.region = j.region
LEFT JOIN (
  SELECT x.market, count(*) AS running FROM meridian.job x
  WHERE x.state IN ('dispatched', 'running') AND x.ended_at IS NULL GROUP BY x.market
) r ON r.market = j.market
WHERE j.state IN ('waiting', 'queued') AND j.ended_at IS NULL;
