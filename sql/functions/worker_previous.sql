-- What only programs of the previous release (0.1.0: claims instead of assignment) call, in its signatures: they
-- go on working on this schema until they are replaced. What they call and this release calls too is in the other
-- files. To be dropped with the next release; tests/integration/sql/test_previous.sql has every call of theirs.

CREATE OR REPLACE FUNCTION meridian.worker_hello(p_worker text, p_incarnation uuid, p_is_start boolean,
  p_region text, p_host text, p_pid integer, p_slots integer, p_threads integer,
  p_memory_mb integer, p_version text) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, meridian, pg_temp AS $$
  -- Without a clock of its own it is nobody that this release's scheduler would assign a job to.
  SELECT meridian.worker_hello($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0)
$$;

-- dispatched -> running, for an attempt that belongs to nobody yet.
CREATE OR REPLACE FUNCTION meridian.attempt_claim(p_job uuid, p_number integer, p_worker text,
  p_incarnation uuid, p_region text, p_ttl_ms integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_job job;
  v_attempt attempt;
BEGIN
  PERFORM 1 FROM worker WHERE name = p_worker AND incarnation = p_incarnation AND region = p_region;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  SELECT * INTO v_job FROM job WHERE id = p_job FOR UPDATE;
  IF NOT FOUND OR v_job.region IS DISTINCT FROM p_region OR v_job.attempt <> p_number THEN
    RETURN false;
  END IF;
  SELECT * INTO v_attempt FROM attempt WHERE job = p_job AND number = p_number FOR UPDATE;
  IF NOT FOUND OR v_attempt.region <> p_region THEN
    RETURN false;
  ELSIF v_attempt.state = 'running' AND v_attempt.worker = p_worker AND v_attempt.incarnation = p_incarnation THEN
    UPDATE attempt SET lease_expires_at = now() + p_ttl_ms * interval '1 millisecond'
    WHERE job = p_job AND number = p_number;
    RETURN true;
  ELSIF v_attempt.state <> 'dispatched' OR v_attempt.worker IS NOT NULL OR v_job.state <> 'dispatched'
     OR v_job.cancel_requested_at IS NOT NULL THEN
    RETURN false;
  END IF;
  UPDATE attempt SET state = 'running', worker = p_worker, incarnation = p_incarnation,
    started_at = now(), lease_expires_at = now() + p_ttl_ms * interval '1 millisecond'
  WHERE job = p_job AND number = p_number;
  UPDATE job SET state = 'running', started_at = coalesce(started_at, now()) WHERE id = p_job;
  INSERT INTO event (job, attempt, actor, from_state, to_state, reason)
  VALUES (p_job, p_number, 'worker ' || p_worker, 'dispatched', 'running', 'claimed');
  RETURN true;
END $$;

CREATE OR REPLACE FUNCTION meridian.lease_renew(p_worker text, p_incarnation uuid, p_jobs uuid[],
  p_numbers integer[], p_progress jsonb[], p_ttl_ms integer)
RETURNS TABLE (job uuid, number integer, verdict text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_drain boolean;
BEGIN
  UPDATE worker SET seen_at = now(),
    state = CASE WHEN drain_requested_at IS NULL THEN 'up' ELSE 'draining' END
  WHERE name = p_worker AND incarnation = p_incarnation
  RETURNING drain_requested_at IS NOT NULL INTO v_drain;
  PERFORM 1 FROM attempt a
    JOIN unnest(p_jobs, p_numbers) AS held (job, number) ON a.job = held.job AND a.number = held.number
  WHERE a.state = 'running' AND a.worker = p_worker AND a.incarnation = p_incarnation
  ORDER BY a.job FOR UPDATE OF a;
  UPDATE attempt a SET lease_expires_at = now() + p_ttl_ms * interval '1 millisecond',
    progress = coalesce(held.progress, a.progress)
  FROM unnest(p_jobs, p_numbers, p_progress) AS held (job, number, progress)
  WHERE a.job = held.job AND a.number = held.number AND a.state = 'running'
    AND a.worker = p_worker AND a.incarnation = p_incarnation;
  RETURN QUERY
  SELECT held.job, held.number,
    CASE
      WHEN a.job IS NULL OR a.worker IS DISTINCT FROM p_worker
        OR a.incarnation IS DISTINCT FROM p_incarnation THEN 'fenced'
      WHEN a.state <> 'running' THEN 'closed'
      WHEN j.cancel_requested_at IS NOT NULL THEN 'cancel'
      ELSE 'ok'
    END
  FROM unnest(p_jobs, p_numbers) WITH ORDINALITY AS held (job, number, position)
  LEFT JOIN attempt a ON a.job = held.job AND a.number = held.number
  LEFT JOIN job j ON j.id = held.job
  ORDER BY held.position;
  RETURN QUERY SELECT NULL::uuid, NULL::integer,
    CASE v_drain WHEN true THEN 'drain' WHEN false THEN 'up' ELSE 'unknown' END;
END $$;

-- queued -> dispatched, to whichever worker of the region claims it.
CREATE OR REPLACE FUNCTION meridian.job_dispatch(p_term bigint, p_ids uuid[], p_numbers integer[],
  p_regions text[])
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off AS $$
BEGIN
  PERFORM assert_term(p_term);
  PERFORM FROM job WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE;
  WITH asked AS (
    SELECT * FROM unnest(p_ids, p_numbers, p_regions) AS a(id, number, region)
  ), moved AS (
    UPDATE job j SET state = 'dispatched', attempt = a.number, region = a.region
    FROM asked a
    WHERE j.id = a.id AND j.state = 'queued' AND j.attempt = a.number - 1
      AND j.cancel_requested_at IS NULL AND coalesce(j.region, a.region) = a.region
    RETURNING j.id, j.attempt, j.region, j.queued_at
  ), opened AS (
    INSERT INTO attempt (job, number, state, region, queued_at, dispatched_at)
    SELECT id, attempt, 'dispatched', region, queued_at, clock_timestamp() FROM moved
  )
  INSERT INTO event (job, attempt, actor, from_state, to_state, reason)
  SELECT id, attempt, 'scheduler', 'queued', 'dispatched', 'offered to region ' || region FROM moved;
  RETURN QUERY SELECT m.* FROM job_mirror m WHERE m.id = ANY (p_ids);
END $$;

CREATE OR REPLACE FUNCTION meridian.scheduler_offers(p_term bigint)
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  PERFORM assert_term(p_term);
  RETURN QUERY SELECT m.* FROM job j JOIN job_mirror m ON m.id = j.id
    WHERE j.state = 'dispatched' AND j.ended_at IS NULL ORDER BY j.id;
END $$;

CREATE OR REPLACE FUNCTION meridian.job_finish(p_term bigint, p_job uuid, p_number integer,
  p_worker text, p_peak_rss_kb bigint, p_result jsonb)
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  PERFORM attempt_finish(p_term, p_job, p_number, p_worker, p_peak_rss_kb, p_result, NULL);
  RETURN QUERY SELECT m.* FROM job_mirror m WHERE m.id = p_job;
END $$;
