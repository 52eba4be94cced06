-- What the scheduler writes and reads. Each function takes the term first and is refused with MR001
-- when that is no longer the leader's; each that changes jobs answers with their fresh rows, so that
-- the scheduler's mirror follows the record. Locks are taken in the order of job ids.
-- Those that work on given ids switch sequential scans off: their plans are made when a session starts,
-- perhaps on an empty table, and kept while it grows. Kept they are for certain: a plan made anew for each
-- call takes longer than a call about one job.

-- A job as the scheduler mirrors it. The spec travels only with what is to be offered to a worker.
CREATE OR REPLACE VIEW meridian.job_mirror AS
SELECT j.id, j.kind, j.market, j.task, j.region, j.state, j.priority, j.parent, j.attempt, j.failures,
  -- Lately, and also those of earlier jobs that ran the same (crash.sql).
  CASE WHEN j.ended_at IS NULL AND (j.crashes > 0 OR j.identity IS NOT NULL)
       THEN meridian.crash_count(coalesce(j.identity, j.id::text)) ELSE 0 END AS crashes,
  j.ooms, j.failures + j.crashes AS charged, j.max_attempts,
  CASE WHEN j.quorum_at IS NOT NULL
       THEN greatest(0, ceil(extract(epoch FROM j.quorum_at - clock_timestamp()) * 1000)::bigint
              + coalesce((j.spec ->> 'straggler_wait_s')::bigint, 0) * 1000)
       WHEN j.not_before > clock_timestamp()
       THEN ceil(extract(epoch FROM j.not_before - clock_timestamp()) * 1000)::bigint
       ELSE 0 END AS due_in_ms,
  (extract(epoch FROM coalesce(j.order_at, j.queued_at, j.admitted_at)) * 1000)::bigint AS queued_ms,
  j.cancel_requested_at IS NOT NULL AS is_cancel_requested,
  CASE WHEN j.kind = 'nightly' AND j.ended_at IS NULL
       THEN (SELECT count(*)::integer FROM meridian.job c WHERE c.parent = j.id)
       ELSE 0 END AS children,
  -- What it still needs: "id=[condition:]state[:cause:state of the cause],...".
  CASE WHEN j.state IN ('waiting', 'queued')
       THEN (SELECT string_agg(d.needs || '='
               || CASE d.condition WHEN 'afterok' THEN '' ELSE d.condition || ':' END
               || coalesce(n.state, 'unknown')
               || coalesce(':' || f.id || ':' || f.state, ''), ',')
             FROM meridian.dependency d LEFT JOIN meridian.job n ON n.id = d.needs
             LEFT JOIN meridian.job f ON f.id = n.cause
             WHERE d.job = j.id AND CASE d.condition -- need_is_met, written out: views come before functions
               WHEN 'afterok' THEN n.state IS DISTINCT FROM 'succeeded'
               WHEN 'afternotok' THEN n.ended_at IS NULL OR n.state = 'succeeded'
               ELSE n.ended_at IS NULL END) END AS needs,
  CASE WHEN j.state IN ('dispatched', 'running')
       THEN (SELECT a.worker FROM meridian.attempt a WHERE a.job = j.id AND a.number = j.attempt)
       END AS worker,
  CASE WHEN j.state = 'dispatched' THEN j.spec::text END AS spec,
  j.night::text AS night, j.memory_mb, j.time_limit_s, j.threads, j.labels,
  CASE WHEN j.state = 'rejected' THEN j.error_text END AS error_text,
  -- How many more needs must be met; null: all of them.
  CASE WHEN j.after_quorum IS NOT NULL AND j.state IN ('waiting', 'queued')
       THEN j.after_quorum - (SELECT count(*)::integer
             FROM meridian.dependency d JOIN meridian.job n ON n.id = d.needs
             WHERE d.job = j.id AND n.ended_at IS NOT NULL AND CASE d.condition
               WHEN 'afterok' THEN n.state = 'succeeded'
               WHEN 'afternotok' THEN n.state <> 'succeeded'
               ELSE true END) END AS after_left,
  j.cause, CASE WHEN j.cause IS NOT NULL
                THEN (SELECT f.state FROM meridian.job f WHERE f.id = j.cause) END AS cause_state,
  j.quorum, j.is_member, j.quorum_at IS NOT NULL AS is_quorum_reached,
  CASE WHEN j.quorum IS NOT NULL AND j.ended_at IS NULL
       THEN (SELECT count(*)::integer FROM meridian.job c WHERE c.parent = j.id AND c.is_member
             AND (c.ended_at IS NULL OR c.replayed_by IS NULL)) END AS members,
  CASE WHEN j.quorum IS NOT NULL THEN j.spec ->> 'stragglers' END AS stragglers,
  -- Of the worker that it is assigned to. Only job_dispatch, which holds the worker's row, may read a
  -- time from it that is not younger than the assignment. A lookup each: a join would be planned over the
  -- whole table of attempts.
  CASE WHEN j.state = 'dispatched'
       THEN (SELECT a.incarnation FROM meridian.attempt a WHERE a.job = j.id AND a.number = j.attempt)
       END AS incarnation,
  CASE WHEN j.state = 'dispatched'
       THEN (SELECT (SELECT w.mono_ms FROM meridian.worker w
                     WHERE w.name = a.worker AND w.incarnation = a.incarnation)
             FROM meridian.attempt a WHERE a.job = j.id AND a.number = j.attempt)
       END AS worker_mono_ms,
  NULL::uuid AS kept_for -- in an answer of job_admit: the submission that this job is the answer to
FROM meridian.job j
WHERE j.kind <> 'backfill'; -- backfill.sql sees to those

-- Reading -----------------------------------------------------------------------------------------

-- One page of all open jobs, by id. First which, then a lookup of each: joined freely, the view would be
-- built over the whole table for every page.
CREATE OR REPLACE FUNCTION meridian.scheduler_load(p_term bigint, p_after uuid, p_limit integer)
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_ids uuid[] := ARRAY(SELECT j.id FROM job j WHERE j.ended_at IS NULL AND j.kind <> 'backfill'
                          AND j.id > p_after ORDER BY j.id LIMIT p_limit);
BEGIN
  PERFORM assert_term(p_term);
  RETURN QUERY SELECT m.* FROM job_mirror m WHERE m.id = ANY (v_ids) ORDER BY m.id;
END $$;

-- Where to start following events: what may still be uncommitted behind the newest is read again.
CREATE OR REPLACE FUNCTION meridian.scheduler_cursor(p_term bigint)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  PERFORM assert_term(p_term);
  RETURN greatest(0, coalesce((SELECT max(id) FROM event), 0) - 1000);
END $$;

-- The events after p_after, and those of p_missing that have appeared since: ids are given out before
-- the commit, so one may become visible after its successors. What somebody other than the scheduler did has
-- a row for each, with the job as it is now; of the scheduler's own only which ids were there, from first to
-- event: it knows what they say, and under load there are tens of thousands a second.
CREATE OR REPLACE FUNCTION meridian.scheduler_feed(p_term bigint, p_after bigint, p_missing bigint[],
  p_limit integer)
RETURNS TABLE (first bigint, event bigint, job meridian.job_mirror)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  PERFORM assert_term(p_term);
  RETURN QUERY
    WITH seen AS MATERIALIZED (
      (SELECT e.id, e.job, e.actor = 'scheduler' AS is_own FROM event e WHERE e.id > p_after ORDER BY e.id LIMIT p_limit)
      UNION ALL
      SELECT e.id, e.job, e.actor = 'scheduler' FROM event e WHERE e.id = ANY (p_missing)
    )
    SELECT min(o.id), max(o.id), NULL::job_mirror
    FROM (SELECT s.id, s.id - row_number() OVER (ORDER BY s.id) AS island FROM seen s WHERE s.is_own) o
    GROUP BY o.island
    UNION ALL
    -- One lookup for each: a join would build the whole view at every turn.
    SELECT s.id, s.id, CASE WHEN s.job IS NOT NULL THEN (SELECT m FROM job_mirror m WHERE m.id = s.job) END
    FROM seen s WHERE NOT s.is_own
    ORDER BY 1;
END $$;

-- The same for a scheduler of the previous release: every event has a row.
CREATE OR REPLACE FUNCTION meridian.scheduler_changes(p_term bigint, p_after bigint, p_missing bigint[],
  p_limit integer)
RETURNS TABLE (event bigint, job meridian.job_mirror)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  PERFORM assert_term(p_term);
  RETURN QUERY
    WITH seen AS MATERIALIZED (
      (SELECT e.id, e.job, e.actor FROM event e WHERE e.id > p_after ORDER BY e.id LIMIT p_limit)
      UNION ALL
      SELECT e.id, e.job, e.actor FROM event e WHERE e.id = ANY (p_missing)
    )
    -- One lookup for each, and none for our own: a join would build the whole view at every turn.
    SELECT s.id, CASE WHEN s.actor <> 'scheduler' AND s.job IS NOT NULL
                      THEN (SELECT m FROM job_mirror m WHERE m.id = s.job) END
    FROM seen s ORDER BY s.id;
END $$;

-- Markets, regions, workers and pauses, a row each.
CREATE OR REPLACE FUNCTION meridian.scheduler_world(p_term bigint, p_live_ms integer)
RETURNS TABLE (what text, name text, region text, weight double precision, number integer,
  is_paused boolean, is_live boolean, is_draining boolean, incarnation uuid, threads integer,
  memory_mb integer, labels text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM assert_term(p_term);
  RETURN QUERY
    SELECT 'all', ''::text, NULL::text, NULL::float8, NULL::integer, true, NULL::boolean, NULL::boolean,
      NULL::uuid, NULL::integer, NULL::integer, NULL::text
    FROM pause WHERE scope = 'all'
    UNION ALL
    SELECT 'region', r.name, NULL, NULL, l.max_running,
      EXISTS (SELECT FROM pause p WHERE p.scope = 'region' AND p.name = r.name), NULL, NULL, NULL, NULL, NULL,
      NULL
    FROM region r LEFT JOIN run_limit l ON l.scope = 'region' AND l.name = r.name
    UNION ALL
    SELECT 'task', l.name, NULL, NULL, l.max_running, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM run_limit l WHERE l.scope = 'task'
    UNION ALL
    SELECT 'market', m.code, m.region, m.weight, m.max_running,
      EXISTS (SELECT FROM pause p WHERE p.scope = 'market' AND p.name = m.code), NULL, NULL, NULL, NULL,
      NULL, NULL
    FROM market m WHERE m.removed_at IS NULL
    UNION ALL
    SELECT 'worker', w.name, w.region, NULL, w.slots, NULL,
      w.state <> 'gone' AND w.seen_at > clock_timestamp() - p_live_ms * interval '1 millisecond',
      w.state = 'draining' OR w.drain_requested_at IS NOT NULL,
      CASE WHEN w.mono_ms > 0 THEN w.incarnation END, -- else of the previous release: it claims
      w.threads, w.memory_mb, w.labels
    FROM worker w WHERE w.state <> 'gone';
END $$;

-- A server whose clock was set back (or a standby with another clock that was promoted) must not leave
-- leases that last until the old time comes again: nothing is granted for as long as a minute, so what
-- ends later was written by another clock.
CREATE OR REPLACE FUNCTION meridian.clock_mend()
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  UPDATE meridian.attempt SET lease_expires_at = clock_timestamp() + interval '15 seconds'
  WHERE ended_at IS NULL AND lease_expires_at > clock_timestamp() + interval '1 minute';
  UPDATE meridian.worker SET seen_at = clock_timestamp()
  WHERE state <> 'gone' AND seen_at > clock_timestamp() + interval '1 minute';
$$;

-- A server whose clock was set forward has taken no time from anybody: what had so many seconds left has them
-- still, and who was seen was seen. p_ahead is how much further the clock went since the last sweep, at p_clock,
-- than the leader's own, which is not set; a little of it is only a call that waited. What had ended long before
-- the last sweep, which did not find it, was written by a clock that was behind: it has its time once more.
-- Null: the leader cannot tell, because it has not swept within the last minute. Then all that is open has the
-- whole of its time once more: a worker that died shortly before a change of leaders is found so much later,
-- and none is taken for dead.
CREATE OR REPLACE FUNCTION meridian.clock_ahead(p_clock timestamptz, p_ahead interval)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  UPDATE meridian.attempt SET lease_expires_at = CASE
      WHEN p_ahead > interval '2 seconds' AND lease_expires_at >= p_clock - interval '10 seconds'
        THEN least(lease_expires_at + p_ahead, clock_timestamp() + interval '15 seconds')
      ELSE clock_timestamp() + interval '15 seconds' END
  WHERE ended_at IS NULL AND lease_expires_at < clock_timestamp() + interval '15 seconds'
    AND (p_ahead IS NULL OR p_ahead > interval '2 seconds' OR lease_expires_at < p_clock - interval '10 seconds');
  UPDATE meridian.worker SET seen_at = least(seen_at + p_ahead, clock_timestamp())
  WHERE state <> 'gone' AND p_ahead > interval '2 seconds';
$$;

-- Attempts whose time is up: a worker stopped renewing, or never said that it holds what it was given
-- (those from before assignment belong to nobody). Workers that were not seen for long are marked as
-- gone (their next renewal brings them back).
-- p_since_ms, by the leader's own clock, is how long ago it sent the sweep that was answered with p_clock:
-- a row without a job has the record's clock, for the next one. (The previous release gives neither.)
CREATE OR REPLACE FUNCTION meridian.scheduler_sweep(p_term bigint, p_undelivered_ms integer,
  p_gone_ms integer, p_since_ms bigint DEFAULT NULL, p_clock timestamptz DEFAULT NULL)
RETURNS TABLE (job uuid, number integer, expiry text, was_draining boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_clock timestamptz := clock_timestamp();
BEGIN
  PERFORM assert_term(p_term);
  PERFORM clock_mend();
  IF p_since_ms IS NOT NULL THEN
    PERFORM clock_ahead(p_clock, v_clock - p_clock - p_since_ms * interval '1 millisecond');
    RETURN QUERY SELECT NULL::uuid, NULL::integer, v_clock::text, NULL::boolean;
  END IF;
  UPDATE worker SET state = 'gone'
  WHERE state <> 'gone' AND seen_at < clock_timestamp() - p_gone_ms * interval '1 millisecond';
  RETURN QUERY
    SELECT a.job, a.number, CASE a.state WHEN 'running' THEN 'lost' ELSE 'undelivered' END,
      coalesce(w.incarnation = a.incarnation AND (w.state = 'draining' OR w.drain_requested_at IS NOT NULL),
        false)
    FROM attempt a LEFT JOIN worker w ON w.name = a.worker
    WHERE a.ended_at IS NULL
      AND coalesce(a.lease_expires_at, a.dispatched_at + p_undelivered_ms * interval '1 millisecond')
        <= clock_timestamp()
    ORDER BY a.job LIMIT 1000;
END $$;

-- Results that workers left in the record, the oldest first; those whose attempts have ended go.
CREATE OR REPLACE FUNCTION meridian.scheduler_results(p_term bigint, p_limit integer, p_bytes integer)
RETURNS TABLE (report bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM assert_term(p_term);
  DELETE FROM result_left l USING attempt a
  WHERE a.job = l.job AND a.number = l.attempt AND a.ended_at IS NOT NULL;
  RETURN QUERY
    SELECT o.report FROM (
      SELECT l.report, l.left_at, row_number() OVER w AS place, sum(length(l.report)) OVER w AS bytes
      FROM result_left l WINDOW w AS (ORDER BY l.left_at, l.job)) o
    WHERE o.place = 1 OR (o.place <= p_limit AND o.bytes <= p_bytes) ORDER BY o.place;
END $$;

-- What fan-out needs: the parent ('job'), the task's source markets ('source'), all markets ('market').
CREATE OR REPLACE FUNCTION meridian.scheduler_plan(p_term bigint, p_parent uuid)
RETURNS TABLE (what text, name text, region text, spec text, night text, submitted_by text,
  priority integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM assert_term(p_term);
  RETURN QUERY
    SELECT 'job', j.task, NULL::text, j.spec::text, j.night::text, j.submitted_by, j.priority
    FROM job j WHERE j.id = p_parent
    UNION ALL
    SELECT 'source', s.code, NULL, NULL, NULL, NULL, NULL
    FROM job j JOIN task t ON t.name = j.task
    CROSS JOIN LATERAL unnest(t.source_markets) WITH ORDINALITY AS s(code, position)
    WHERE j.id = p_parent
    UNION ALL
    (SELECT 'market', m.code, m.region, NULL, NULL, NULL, NULL
     FROM market m WHERE m.removed_at IS NULL ORDER BY m.code COLLATE "C");
END $$;

-- Admission ---------------------------------------------------------------------------------------

-- Admits submissions; a known id is answered with what became of it, one that was to keep the job that has
-- its unique key with that job. Jobs that were superseded are shown too.
CREATE OR REPLACE FUNCTION meridian.job_admit(p_term bigint, p_jobs jsonb)
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_ids uuid[] := ARRAY(SELECT (j ->> 'id')::uuid FROM jsonb_array_elements(p_jobs) AS j);
BEGIN
  PERFORM assert_term(p_term);
  PERFORM admit_write(p_jobs);
  DELETE FROM submission WHERE id = ANY (v_ids);
  RETURN QUERY SELECT m.* FROM job_mirror m WHERE m.id = ANY (v_ids);
  IF p_jobs @? '$[*].unique_policy' THEN
    RETURN QUERY SELECT m.* FROM job s JOIN job_mirror m ON m.id = s.id WHERE s.superseded_by = ANY (v_ids);
    RETURN QUERY SELECT r.* FROM kept k JOIN job_mirror m ON m.id = k.job
      CROSS JOIN LATERAL jsonb_populate_record(m, jsonb_build_object('kept_for', k.id)) r
      WHERE k.id = ANY (v_ids);
  END IF;
END $$;

-- The children of a nightly, all or none. Their ids derive from the parent's, so this is repeatable.
-- p_quorum of its members must succeed; null: all jobs must.
CREATE OR REPLACE FUNCTION meridian.job_fan_out(p_term bigint, p_parent uuid, p_jobs jsonb,
  p_quorum integer DEFAULT NULL)
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_parent job;
BEGIN
  PERFORM assert_term(p_term);
  SELECT * INTO v_parent FROM job WHERE id = p_parent FOR UPDATE;
  IF v_parent.ended_at IS NULL AND v_parent.cancel_requested_at IS NULL THEN
    PERFORM admit_write(p_jobs);
    UPDATE job SET started_at = coalesce(started_at, now()), quorum = p_quorum WHERE id = p_parent;
    PERFORM audit(p_parent, NULL, 'scheduler', v_parent.state, v_parent.state,
      format('made %s jobs', jsonb_array_length(p_jobs)));
  END IF;
  RETURN QUERY SELECT m.* FROM job_mirror m WHERE m.id = p_parent
    UNION ALL SELECT m.* FROM job c JOIN job_mirror m ON m.id = c.id WHERE c.parent = p_parent;
END $$;

-- Moves -------------------------------------------------------------------------------------------

-- queued -> dispatched, with a new attempt of the number, on the worker and incarnation that the
-- scheduler named; its lease starts now. Left queued is what is no longer so: the job was cancelled, its
-- market, its region or everything paused, the worker has gone, drains, or is of another region. The workers' rows are held until the commit, so that a
-- renewal either sees the assignment or comes before it, and none is given to a worker that drains.
-- What was assigned is answered from what was just written, in the columns of job_mirror: looking each up
-- again through the view would cost as much as assigning it.
-- The commit is not waited for until it is on disk, unless attempts of such a job leave more behind than
-- their result. Should the server lose it, the job is queued as before, and what its worker does meanwhile
-- is refused: no such attempt, or one of another worker. (The number comes again then.)
CREATE OR REPLACE FUNCTION meridian.job_dispatch(p_term bigint, p_ids uuid[], p_numbers integer[],
  p_regions text[], p_workers text[], p_incarnations uuid[], p_lease_ms integer)
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_assigned bigint;
  v_leaves_more boolean;
BEGIN
  PERFORM assert_term(p_term);
  PERFORM FROM worker WHERE name = ANY (p_workers) ORDER BY name FOR SHARE;
  SELECT bool_or(result_is_apart(l.kind)) INTO v_leaves_more
  FROM (SELECT kind FROM job WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE) l;
  IF NOT v_leaves_more THEN
    PERFORM set_config('synchronous_commit', 'off', true);
  END IF;
  RETURN QUERY
  WITH asked AS MATERIALIZED (
    SELECT a.*, w.mono_ms
    FROM unnest(p_ids, p_numbers, p_regions, p_workers, p_incarnations)
      AS a(id, number, region, worker, incarnation)
    JOIN worker w ON w.name = a.worker AND w.incarnation = a.incarnation AND w.region = a.region
      AND w.state = 'up' AND w.drain_requested_at IS NULL
  ), paused AS MATERIALIZED (
    SELECT p.scope, p.name FROM pause p
  ), moved AS (
    UPDATE job j SET state = 'dispatched', attempt = a.number, region = a.region
    FROM asked a
    WHERE j.id = a.id AND j.state = 'queued' AND j.attempt = a.number - 1
      AND j.cancel_requested_at IS NULL AND coalesce(j.region, a.region) = a.region
      AND NOT EXISTS (SELECT FROM paused p WHERE p.scope = 'all' OR (p.scope = 'region' AND p.name = a.region)
                        OR (p.scope = 'market' AND p.name = j.market))
    RETURNING j.*, a.worker, a.incarnation, a.mono_ms
  ), opened AS (
    INSERT INTO attempt (job, number, state, region, worker, incarnation, queued_at, dispatched_at,
      lease_expires_at)
    SELECT id, attempt, 'dispatched', region, worker, incarnation, queued_at, clock_timestamp(),
      clock_timestamp() + p_lease_ms * interval '1 millisecond'
    FROM moved
  ), told AS (
    INSERT INTO event (job, attempt, actor, from_state, to_state, reason)
    SELECT id, attempt, 'scheduler', 'queued', 'dispatched', 'assigned to worker ' || worker FROM moved
  )
  SELECT m.id, m.kind, m.market, m.task, m.region, m.state, m.priority, m.parent, m.attempt, m.failures,
    CASE WHEN m.crashes > 0 OR m.identity IS NOT NULL THEN crash_count(coalesce(m.identity, m.id::text)) ELSE 0 END,
    m.ooms, m.failures + m.crashes, m.max_attempts, 0::bigint,
    (extract(epoch FROM coalesce(m.order_at, m.queued_at, m.admitted_at)) * 1000)::bigint, false, 0, NULL::text,
    m.worker, m.spec::text, m.night::text, m.memory_mb, m.time_limit_s, m.threads, m.labels, NULL::text,
    NULL::integer, m.cause, NULL::text, m.quorum, m.is_member, m.quorum_at IS NOT NULL, NULL::integer,
    NULL::text, m.incarnation, m.mono_ms, NULL::uuid
  FROM moved m;
  GET DIAGNOSTICS v_assigned = ROW_COUNT;
  IF v_assigned < cardinality(p_ids) THEN
    RETURN QUERY SELECT m.* FROM unnest(p_ids, p_numbers) AS a(id, number) JOIN job_mirror m ON m.id = a.id
      WHERE NOT (m.state = 'dispatched' AND m.attempt = a.number);
  END IF;
END $$;

-- Results that workers reported as successes, many of them in one transaction: what the record keeps of
-- them whole is written set by set, what leaves more behind (record_result) one by one; one that cannot be
-- recorded refuses them all, so the scheduler sends those alone. Answered with the jobs that did not succeed
-- by this: whose attempt is not the worker's, or not any more.
-- (An open attempt is looked for by its state: by ended_at the planner would take the small index of all
-- open ones, and compare each of them with each result.)
CREATE OR REPLACE FUNCTION meridian.job_finish(p_term bigint, p_jobs uuid[], p_numbers integer[],
  p_workers text[], p_peak_rss_kb bigint[], p_run_ms bigint[], p_results jsonb[])
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_done uuid[];
  v_apart record;
BEGIN
  PERFORM assert_term(p_term);
  PERFORM FROM job WHERE id = ANY (p_jobs) ORDER BY id FOR UPDATE;
  WITH ended AS (
    UPDATE attempt a SET state = 'succeeded', ended_at = now(), lease_expires_at = NULL, log_tail = NULL,
      peak_rss_kb = x.peak_rss_kb,
      started_at = coalesce(a.started_at, attempt_start(a.dispatched_at, x.run_ms))
    FROM unnest(p_jobs, p_numbers, p_workers, p_peak_rss_kb, p_run_ms, p_results)
      AS x(job, number, worker, peak_rss_kb, run_ms, result)
    JOIN job j ON j.id = x.job
    WHERE a.job = x.job AND a.number = x.number AND a.state IN ('dispatched', 'running') AND a.worker = x.worker
      AND j.attempt = x.number AND j.state IN ('dispatched', 'running') AND NOT result_is_apart(j.kind)
      AND NOT EXISTS (SELECT FROM worker w -- is_resident, written out
                      WHERE w.name = a.worker AND w.incarnation = a.incarnation AND w.region <> j.region)
    RETURNING a.job, a.number, a.worker, a.started_at, j.state, coalesce(nullif(x.result, 'null'), '{}') AS result
  ), moved AS (
    UPDATE job j SET state = 'succeeded', started_at = coalesce(j.started_at, e.started_at, now()),
      ended_at = now(), result = e.result, error_code = NULL, error_text = NULL
    FROM ended e WHERE j.id = e.job
    RETURNING j.id
  ), told AS (
    INSERT INTO event (job, attempt, actor, from_state, to_state, reason, detail)
    SELECT e.job, e.number, 'scheduler', e.state, 'succeeded', 'finished by ' || e.worker, e.result FROM ended e
  )
  SELECT array_agg(id) INTO v_done FROM moved;
  IF cardinality(v_done) = cardinality(p_jobs) THEN
    RETURN;
  END IF;
  FOR v_apart IN
    SELECT x.* FROM unnest(p_jobs, p_numbers, p_workers, p_peak_rss_kb, p_run_ms, p_results)
      AS x(job, number, worker, peak_rss_kb, run_ms, result)
    WHERE x.job <> ALL (coalesce(v_done, '{}')) ORDER BY x.job -- those apart; of the rest it says why
  LOOP
    IF attempt_finish(p_term, v_apart.job, v_apart.number, v_apart.worker, v_apart.peak_rss_kb,
                      v_apart.result, v_apart.run_ms) = 'committed' THEN
      v_done := v_done || v_apart.job;
    END IF;
  END LOOP;
  RETURN QUERY SELECT m.* FROM job_mirror m
    WHERE m.id = ANY (ARRAY(SELECT unnest(p_jobs) EXCEPT SELECT unnest(v_done)));
END $$;

-- When an attempt that ran for so long began; null when it never did.
CREATE OR REPLACE FUNCTION meridian.attempt_start(p_dispatched_at timestamptz, p_run_ms bigint)
RETURNS timestamptz
LANGUAGE sql VOLATILE AS $$
  SELECT CASE WHEN p_run_ms IS NOT NULL
    THEN greatest(p_dispatched_at, clock_timestamp() - p_run_ms * interval '1 millisecond') END
$$;

-- Whether the attempt is still what the scheduler takes it for; locks both rows.
CREATE OR REPLACE FUNCTION meridian.attempt_is_due(p_job uuid, p_number integer, p_outcome text,
  p_worker text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_job job;
  v_attempt attempt;
BEGIN
  SELECT * INTO v_job FROM job WHERE id = p_job FOR UPDATE;
  SELECT * INTO v_attempt FROM attempt WHERE job = p_job AND number = p_number FOR UPDATE;
  IF v_attempt.ended_at IS NOT NULL OR v_attempt.job IS NULL OR v_job.attempt <> p_number THEN
    RETURN false;
  END IF;
  RETURN CASE p_outcome
    WHEN 'undelivered' THEN v_attempt.state = 'dispatched'
      AND (v_attempt.lease_expires_at IS NULL OR v_attempt.lease_expires_at <= clock_timestamp())
    WHEN 'lost' THEN v_attempt.state = 'running' AND v_attempt.lease_expires_at <= clock_timestamp()
    ELSE v_attempt.worker IS NOT DISTINCT FROM p_worker END;
END $$;

-- The end of one attempt other than by success, and what becomes of its job: the scheduler decided,
-- except that a job whose cancel was asked for ends cancelled, that the crashes of other jobs which run
-- the same count (crash.sql), and that a larger memory class must exist. Work that was interrupted by
-- nobody's fault keeps its place at the front of the queue.
CREATE OR REPLACE FUNCTION meridian.attempt_end(p_end jsonb)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_job job;
  v_attempt attempt;
  v_outcome text := p_end ->> 'outcome';
  v_next text;
  v_code text := p_end ->> 'error_code';
  v_text text := p_end ->> 'error_text';
  v_more text; -- what follows from it, for the job and its event
  v_memory integer;
  v_is_final boolean := (p_end ->> 'is_final')::boolean;
  v_is_charged boolean := (p_end ->> 'failures')::integer + (p_end ->> 'crashes')::integer > 0;
BEGIN
  IF NOT attempt_is_due((p_end ->> 'job')::uuid, (p_end ->> 'attempt')::integer, v_outcome,
                        p_end ->> 'worker') THEN
    IF v_outcome NOT IN ('lost', 'undelivered') THEN
      PERFORM result_refused((p_end ->> 'job')::uuid, (p_end ->> 'attempt')::integer, p_end ->> 'worker', 'result');
    END IF;
    RETURN;
  END IF;
  SELECT * INTO v_job FROM job WHERE id = (p_end ->> 'job')::uuid;
  SELECT * INTO v_attempt FROM attempt WHERE job = v_job.id AND number = v_job.attempt;
  v_text := CASE v_outcome
    WHEN 'lost' THEN format('worker %s stopped renewing its lease', v_attempt.worker)
    WHEN 'undelivered' THEN format('worker %s did not take it in time', coalesce(v_attempt.worker, 'of none'))
    ELSE v_text END;
  IF (p_end ->> 'ooms')::integer > 0 THEN
    v_memory := memory_class(v_job.memory_mb, v_job.region, (p_end ->> 'memory_max_mb')::integer);
    v_is_final := v_is_final OR v_memory IS NULL;
    v_more := CASE
      WHEN NOT v_is_final THEN format('runs again with %s MB', v_memory)
      WHEN v_job.ooms > 0 THEN format('%s MB were not enough either; raise memory_mb', v_job.memory_mb)
      WHEN v_memory IS NULL THEN format('no worker of region %s may give it more than %s MB', v_job.region,
        v_job.memory_mb) END;
  ELSIF (p_end ->> 'crashes')::integer > 0
        AND crash_note(v_job, coalesce(v_text, v_outcome)) THEN
    v_is_final := true;
    v_more := format('crash %s of what it runs within 72 hours: not run again without a person',
      crash_count(coalesce(v_job.identity, v_job.id::text)));
  END IF;
  v_next := CASE
    WHEN v_job.cancel_requested_at IS NOT NULL OR (p_end ->> 'is_cancelled')::boolean THEN 'cancelled'
    WHEN v_is_final THEN 'failed'
    WHEN (p_end ->> 'delay_ms')::bigint > 0 THEN 'waiting'
    ELSE 'queued' END;
  UPDATE attempt SET state = v_outcome, ended_at = now(), lease_expires_at = NULL,
    started_at = coalesce(started_at, attempt_start(dispatched_at, (p_end ->> 'run_ms')::bigint)),
    exit_code = (p_end ->> 'exit_code')::integer, signal = (p_end ->> 'signal')::integer,
    peak_rss_kb = coalesce((p_end ->> 'peak_rss_kb')::bigint, peak_rss_kb), error_code = v_code,
    error_class = p_end ->> 'error_class', error_text = v_text,
    charged = v_is_charged, log_tail = coalesce(p_end ->> 'log_tail', log_tail)
  WHERE job = v_job.id AND number = v_job.attempt;
  UPDATE job SET state = v_next,
    failures = failures + (p_end ->> 'failures')::integer,
    crashes = crashes + (p_end ->> 'crashes')::integer,
    ooms = ooms + coalesce((p_end ->> 'ooms')::integer, 0), -- the previous release does not count them
    memory_mb = CASE WHEN v_next IN ('waiting', 'queued') THEN coalesce(v_memory, memory_mb) ELSE memory_mb END,
    order_at = CASE WHEN NOT v_is_charged THEN coalesce(order_at, v_attempt.queued_at) END,
    not_before = CASE v_next
      WHEN 'waiting' THEN clock_timestamp() + (p_end ->> 'delay_ms')::bigint * interval '1 millisecond'
      ELSE not_before END,
    queued_at = CASE v_next WHEN 'queued' THEN clock_timestamp() ELSE queued_at END,
    ended_at = CASE WHEN v_next IN ('failed', 'cancelled') THEN now() END,
    error_code = CASE v_next WHEN 'failed' THEN coalesce(v_code, 'CRASH')
                             WHEN 'cancelled' THEN 'CANCELLED' END,
    error_text = CASE v_next WHEN 'failed' THEN concat_ws('; ', v_text, v_more)
                             WHEN 'cancelled' THEN 'cancelled by ' || coalesce(cancel_requested_by, 'its worker') END
  WHERE id = v_job.id;
  PERFORM audit(v_job.id, v_job.attempt, 'scheduler', v_job.state, v_next,
    concat_ws('; ', concat_ws(': ', v_outcome, v_text), v_more), jsonb_strip_nulls(jsonb_build_object('delay_ms', p_end -> 'delay_ms',
      'error_code', v_code, 'exit_code', p_end -> 'exit_code', 'signal', p_end -> 'signal')));
END $$;

CREATE OR REPLACE FUNCTION meridian.attempt_fail(p_term bigint, p_ends jsonb)
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  PERFORM assert_term(p_term);
  PERFORM attempt_end(e) FROM jsonb_array_elements(p_ends) AS e ORDER BY e ->> 'job';
  RETURN QUERY SELECT m.* FROM job_mirror m
    WHERE m.id = ANY (ARRAY(SELECT (e ->> 'job')::uuid FROM jsonb_array_elements(p_ends) AS e));
END $$;

-- Fires the schedules that are due, and shows the jobs that are new.
CREATE OR REPLACE FUNCTION meridian.scheduler_fire(p_term bigint)
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_ids uuid[] := ARRAY(SELECT f.job FROM schedule_fire(p_term) AS f);
BEGIN
  v_ids := v_ids || ARRAY(SELECT b FROM backfill_step(p_term) AS b);
  RETURN QUERY SELECT m.* FROM job_mirror m WHERE m.id = ANY (v_ids);
END $$;
