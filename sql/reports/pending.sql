-- Every job that has not started, why it has not, and when it should. The codes are those of the
-- scheduler's core/reason.h, and follow from the same facts in the same order.
--
-- One pass over the queued jobs finds what makes them alike; why they wait is found once for each sort. A
-- second one, only when expected_start is asked for, adds up how much expected work is ahead at each step
-- of the order. So the view is linear in the number of jobs.
CREATE OR REPLACE VIEW report.pending AS
WITH policy AS MATERIALIZED (
  SELECT coalesce(max(l.priority_age_s), 3600) AS age_s, coalesce(max(l.live_s), 15) AS live_s,
    EXISTS (SELECT FROM meridian.leader r WHERE r.expires_at > clock_timestamp()) AS is_led
  FROM meridian.leader_policy l
), open_attempt AS MATERIALIZED (
  SELECT j.region, j.market, j.task, j.threads, j.memory_mb, a.worker,
    greatest(0, coalesce(e.seconds, k.seconds, 60)
      - extract(epoch FROM now() - coalesce(a.started_at, a.dispatched_at))::float8) AS rest_s
  FROM meridian.job j
  JOIN meridian.attempt a ON a.job = j.id AND a.number = j.attempt
  LEFT JOIN meridian.estimate e
    ON e.kind = j.kind AND e.market = coalesce(j.market, '') AND e.task = coalesce(j.task, '')
  LEFT JOIN meridian.estimate k ON k.kind = j.kind AND k.market = '' AND k.task = ''
  WHERE j.state IN ('dispatched', 'running') AND j.ended_at IS NULL
), live AS MATERIALIZED (
  SELECT w.name, w.region, w.slots, w.threads, w.memory_mb, string_to_array(w.labels, ',') AS labels,
    coalesce(o.jobs, 0) AS jobs, w.threads - coalesce(o.threads, 0) AS threads_free,
    w.memory_mb - coalesce(o.memory_mb, 0) AS memory_free
  FROM meridian.worker w
  LEFT JOIN (SELECT worker, count(*) AS jobs, sum(threads) AS threads, sum(memory_mb) AS memory_mb
             FROM open_attempt GROUP BY worker) o ON o.worker = w.name
  WHERE w.state = 'up' AND w.drain_requested_at IS NULL
    AND w.seen_at > clock_timestamp() - (SELECT live_s FROM policy) * interval '1 second'
), alike AS MATERIALIZED (
  SELECT j.region, coalesce(j.market, '') AS market, coalesce(j.task, '') AS task, j.threads, j.memory_mb,
    j.labels
  FROM meridian.job j
  WHERE j.state = 'queued' AND j.ended_at IS NULL AND j.region IS NOT NULL
  GROUP BY 1, 2, 3, 4, 5, 6
), shape AS MATERIALIZED (
  SELECT a.*, w.*
  FROM (SELECT DISTINCT region, threads, memory_mb, labels FROM alike) a
  CROSS JOIN LATERAL (
    SELECT count(*) AS workers, coalesce(sum(l.slots), 0) AS slots,
      count(*) FILTER (WHERE f.has_labels) AS labelled,
      count(*) FILTER (WHERE f.has_labels AND f.is_large) AS large,
      count(*) FILTER (WHERE f.has_labels AND f.is_large AND l.jobs < l.slots) AS slotted,
      count(*) FILTER (WHERE f.has_labels AND l.jobs < l.slots AND l.threads_free >= a.threads
        AND l.memory_free >= a.memory_mb) AS roomy
    FROM live l CROSS JOIN LATERAL (
      SELECT l.labels @> string_to_array(a.labels, ',') AS has_labels,
        l.threads >= a.threads AND l.memory_mb >= a.memory_mb AS is_large) f
    WHERE l.region = a.region) w
), lane AS MATERIALIZED (
  SELECT a.*, p.scope AS pause_scope, p.name AS pause_name, p.paused_by, m.max_running AS market_max,
    rl.max_running AS region_max, tl.max_running AS task_max, w.workers, w.labelled, w.large, w.slotted,
    w.roomy, w.slots,
    CASE
      WHEN NOT (SELECT is_led FROM policy) THEN 'no_leader'
      WHEN p.scope IS NOT NULL THEN 'paused'
      WHEN rl.max_running <= coalesce(ro.jobs, 0) THEN 'region_limit'
      WHEN m.max_running > 0 AND m.max_running <= coalesce(mo.jobs, 0) THEN 'market_limit'
      WHEN tl.max_running <= coalesce(t.jobs, 0) THEN 'task_limit'
      WHEN w.workers = 0 THEN 'no_worker'
      WHEN w.labelled = 0 THEN 'labels'
      WHEN w.large = 0 THEN 'too_large'
      WHEN w.slotted = 0 THEN 'slots'
      WHEN w.roomy = 0 THEN 'room'
      ELSE 'scheduler' END AS reason
  FROM alike a
  LEFT JOIN LATERAL (
    SELECT x.scope, x.name, x.paused_by FROM meridian.pause x
    WHERE x.scope = 'all' OR (x.scope = 'region' AND x.name = a.region)
       OR (x.scope = 'market' AND x.name = a.market)
    ORDER BY x.scope LIMIT 1) p ON true
  LEFT JOIN meridian.market m ON m.code = a.market
  LEFT JOIN meridian.run_limit rl ON rl.scope = 'region' AND rl.name = a.region
  LEFT JOIN meridian.run_limit tl ON tl.scope = 'task' AND tl.name = a.task
  LEFT JOIN (SELECT region, count(*) AS jobs FROM open_attempt GROUP BY 1) ro ON ro.region = a.region
  LEFT JOIN (SELECT market, count(*) AS jobs FROM open_attempt GROUP BY 1) mo ON mo.market = a.market
  LEFT JOIN (SELECT task, count(*) AS jobs FROM open_attempt GROUP BY 1) t ON t.task = a.task
  JOIN shape w ON w.region = a.region AND w.threads = a.threads AND w.memory_mb = a.memory_mb
    AND w.labels = a.labels
), pool AS MATERIALIZED (
  -- What jobs wait for together, how many of them go at a time, and how much expected work is ahead at
  -- each step of the order.
  SELECT c.pool, max(c.wide) AS wide, array_agg(c.step ORDER BY c.step) AS steps,
    array_agg(c.others_s ORDER BY c.step) AS others, array_agg(c.ahead_s ORDER BY c.step) AS ahead
  FROM (
    SELECT x.pool, x.step, max(x.wide) AS wide, sum(x.work_s) * (1 - 1.0 / count(*)) AS others_s,
      coalesce(sum(sum(x.work_s)) OVER (PARTITION BY x.pool ORDER BY x.step
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS ahead_s
    FROM (
      SELECT CASE l.reason WHEN 'market_limit' THEN 'm ' || l.market WHEN 'task_limit' THEN 't ' || l.task
          ELSE 'r ' || l.region END AS pool,
        CASE l.reason WHEN 'market_limit' THEN l.market_max WHEN 'task_limit' THEN l.task_max
          ELSE least(l.slots, coalesce(l.region_max, l.slots)) END AS wide,
        floor(meridian.order_key(j.priority, coalesce(j.order_at, j.queued_at, j.admitted_at),
          (SELECT age_s FROM policy)) / 10) AS step,
        coalesce(e.seconds, k.seconds, 60) AS work_s
      FROM meridian.job j
      JOIN lane l ON l.region = j.region AND l.market = coalesce(j.market, '')
        AND l.task = coalesce(j.task, '') AND l.threads = j.threads AND l.memory_mb = j.memory_mb
        AND l.labels = j.labels
      LEFT JOIN meridian.estimate e
        ON e.kind = j.kind AND e.market = coalesce(j.market, '') AND e.task = coalesce(j.task, '')
      LEFT JOIN meridian.estimate k ON k.kind = j.kind AND k.market = '' AND k.task = ''
      WHERE j.state = 'queued' AND j.ended_at IS NULL AND l.reason IN ('slots', 'room', 'scheduler', 'market_limit', 'task_limit', 'region_limit')) x
    GROUP BY x.pool, x.step) c
  GROUP BY c.pool
), rest AS MATERIALIZED (
  SELECT 'r ' || region AS pool, sum(rest_s) AS rest_s FROM open_attempt GROUP BY 1
  UNION ALL SELECT 'm ' || market, sum(rest_s) FROM open_attempt WHERE market IS NOT NULL GROUP BY 1
  UNION ALL SELECT 't ' || task, sum(rest_s) FROM open_attempt WHERE task IS NOT NULL GROUP BY 1
)
SELECT j.id AS job, j.kind, j.market, j.task, j.region, j.state, j.priority, j.night, j.submitted_at,
  round(extract(epoch FROM now() - j.submitted_at), 1)::double precision AS age_s,
  r.reason,
  CASE r.reason
    WHEN 'cancelling' THEN 'being cancelled by ' || j.cancel_requested_by
    WHEN 'children' THEN n.open || ' of its jobs are open'
    WHEN 'dependency' THEN 'needs job ' || d.needs || ', which is ' || d.state
    WHEN 'retry' THEN 'after attempt ' || j.attempt || ' it waits until ' || u.text || ' UTC: ' ||
      coalesce(j.error_text, j.error_code, 'it did not succeed')
    WHEN 'not_before' THEN 'not before ' || u.text || ' UTC'
    WHEN 'no_leader' THEN 'no scheduler is running: start meridian-scheduler'
    WHEN 'paused' THEN CASE WHEN b.job IS NOT NULL THEN 'backfill ' || b.job || ' is paused by ' || b.paused_by
      ELSE CASE l.pause_scope WHEN 'all' THEN 'the queue' ELSE l.pause_scope || ' ' || l.pause_name END
      || ' is paused by ' || l.paused_by END
    WHEN 'region_limit' THEN 'region ' || j.region || ' runs its limit of ' || l.region_max
    WHEN 'market_limit' THEN 'market ' || j.market || ' runs its limit of ' || l.market_max
    WHEN 'task_limit' THEN 'task ' || j.task || ' runs its limit of ' || l.task_max
    WHEN 'no_worker' THEN 'no worker of region ' || j.region || ' is up'
    WHEN 'labels' THEN 'no worker of region ' || j.region || ' has the labels ' || j.labels
    WHEN 'too_large' THEN 'it asks for ' || j.memory_mb || ' MB and ' || j.threads ||
      ' threads, more than any worker of region ' || j.region || ' offers'
    WHEN 'slots' THEN CASE WHEN l.large = l.workers THEN 'all ' || l.slots || ' slots of region ' || j.region
      ELSE 'all slots of the ' || l.large || ' workers that could run it' END || ' are taken'
    WHEN 'room' THEN 'slots are free in region ' || j.region || ', but nowhere ' || j.memory_mb ||
      ' MB and ' || j.threads || ' threads together'
    ELSE CASE WHEN j.region IS NULL THEN 'the scheduler has not expanded it yet'
      ELSE 'about to be dispatched' END END AS why,
  d.needs AS blocked_by, j.not_before,
  CASE r.reason
    WHEN 'not_before' THEN j.not_before
    WHEN 'retry' THEN j.not_before
    WHEN 'scheduler' THEN CASE WHEN l.reason IS NOT NULL THEN now() END
    ELSE (
      SELECT now() + least(1e9, (coalesce(rest.rest_s, 0) + pool.ahead[i.at]
        + pool.others[i.at] * (k.key / 10 - floor(k.key / 10))) / nullif(pool.wide, 0)) * interval '1 second'
      FROM pool LEFT JOIN rest ON rest.pool = pool.pool
      CROSS JOIN LATERAL (SELECT meridian.order_key(j.priority,
        coalesce(j.order_at, j.queued_at, j.admitted_at), (SELECT age_s FROM policy)) AS key) k
      CROSS JOIN LATERAL (SELECT greatest(1, width_bucket(floor(k.key / 10), pool.steps)) AS at) i
      WHERE pool.wide > 0 AND pool.pool = CASE r.reason WHEN 'market_limit' THEN 'm ' || j.market
        WHEN 'task_limit' THEN 't ' || j.task WHEN 'region_limit' THEN 'r ' || j.region
        WHEN 'slots' THEN 'r ' || j.region WHEN 'room' THEN 'r ' || j.region END)
    END AS expected_start
FROM meridian.job j
LEFT JOIN LATERAL (
  SELECT count(*) AS open FROM meridian.job c
  WHERE j.region IS NULL AND c.parent = j.id AND c.ended_at IS NULL) n ON true
LEFT JOIN LATERAL (
  SELECT x.needs, coalesce(o.state, 'unknown')
    || CASE x.condition WHEN 'afternotok' THEN ', to end otherwise than by success'
                        WHEN 'afterany' THEN ', to end' ELSE '' END AS state
  FROM meridian.dependency x LEFT JOIN meridian.job o ON o.id = x.needs
  WHERE j.state = 'waiting' AND x.job = j.id
    AND CASE x.condition WHEN 'afterok' THEN o.state IS DISTINCT FROM 'succeeded'
    WHEN 'afternotok' THEN o.ended_at IS NULL OR o.state = 'succeeded' ELSE o.ended_at IS NULL END
  ORDER BY x.needs LIMIT 1) d ON true
LEFT JOIN LATERAL (
  SELECT x.job, x.paused_by FROM meridian.backfill x
  WHERE x.paused_at IS NOT NULL
    AND x.job IN (j.id, j.parent, (SELECT q.parent FROM meridian.job q WHERE q.id = j.parent))
  LIMIT 1) b ON j.state = 'waiting'
LEFT JOIN lane l ON j.state = 'queued' AND l.region = j.region AND l.market = coalesce(j.market, '')
  AND l.task = coalesce(j.task, '') AND l.threads = j.threads AND l.memory_mb = j.memory_mb
  AND l.labels = j.labels
CROSS JOIN LATERAL (SELECT to_char(j.not_before AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS text) u
CROSS JOIN LATERAL (SELECT CASE
    WHEN j.cancel_requested_at IS NOT NULL THEN 'cancelling'
    WHEN n.open > 0 AND j.region IS NULL THEN 'children'
    WHEN d.needs IS NOT NULL THEN 'dependency'
    WHEN b.job IS NOT NULL THEN 'paused'
    WHEN j.not_before > now() THEN CASE WHEN j.attempt > 0 THEN 'retry' ELSE 'not_before' END
    WHEN l.reason IS NOT NULL THEN l.reason
    WHEN NOT (SELECT is_led FROM policy) THEN 'no_leader'
    ELSE 'scheduler' END AS reason) r
WHERE j.state IN ('waiting', 'queued') AND j.ended_at IS NULL;
