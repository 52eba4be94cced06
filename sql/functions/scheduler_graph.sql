-- Dependencies and families: what waits for what, and what becomes of those left behind. The scheduler
-- decides (core/graph.c); here each decision is done only when the record agrees with it.

-- How far one need is met by the state that the needed job has (null: not admitted yet).
CREATE OR REPLACE FUNCTION meridian.need_is_met(p_condition text, p_state text)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE p_condition
    WHEN 'afterok' THEN p_state IS NOT DISTINCT FROM 'succeeded'
    WHEN 'afternotok' THEN coalesce(p_state IN ('failed', 'cancelled', 'rejected', 'skipped'), false)
    ELSE coalesce(p_state IN ('succeeded', 'failed', 'cancelled', 'rejected', 'skipped'), false) END
$$;

-- It never will be.
CREATE OR REPLACE FUNCTION meridian.need_is_lost(p_condition text, p_state text)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE p_condition
    WHEN 'afterok' THEN coalesce(p_state IN ('failed', 'cancelled', 'rejected', 'skipped'), false)
    WHEN 'afternotok' THEN p_state IS NOT DISTINCT FROM 'succeeded'
    ELSE false END
$$;

-- All the needs of a job, or as many as it asks for: 'met', 'open', or 'lost' when that cannot be any more.
CREATE OR REPLACE FUNCTION meridian.job_needs(p_job uuid, p_after_quorum integer)
RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  SELECT CASE
    WHEN count(*) FILTER (WHERE need_is_met(d.condition, n.state)) >= coalesce(p_after_quorum, count(*)) THEN 'met'
    WHEN count(*) FILTER (WHERE NOT need_is_lost(d.condition, n.state)) < coalesce(p_after_quorum, count(*))
      THEN 'lost'
    ELSE 'open' END
  FROM dependency d LEFT JOIN job n ON n.id = d.needs WHERE d.job = p_job
$$;

-- waiting -> queued, for jobs whose needs are met.
CREATE OR REPLACE FUNCTION meridian.job_release(p_term bigint, p_ids uuid[])
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  PERFORM assert_term(p_term);
  PERFORM FROM job WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE;
  WITH moved AS (
    -- Delayed jobs come in the order of their times, then of their ids, however they are released.
    UPDATE job j SET state = 'queued', queued_at = clock_timestamp(),
      order_at = CASE WHEN j.attempt = 0 AND j.not_before IS NOT NULL
        THEN greatest(j.not_before, j.admitted_at) ELSE j.order_at END
    WHERE j.id = ANY (p_ids) AND j.state = 'waiting'
      AND job_needs(j.id, j.after_quorum) = 'met'
    RETURNING j.id
  )
  INSERT INTO event (job, actor, from_state, to_state, reason)
  SELECT id, 'scheduler', 'waiting', 'queued', 'may run now' FROM moved;
  RETURN QUERY SELECT m.* FROM job_mirror m WHERE m.id = ANY (p_ids);
END $$;

-- Jobs that end without an attempt: skipped because of an ancestor, or failed before they could start.
CREATE OR REPLACE FUNCTION meridian.job_skip(p_term bigint, p_skips jsonb)
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  PERFORM assert_term(p_term);
  PERFORM FROM job
  WHERE id = ANY (ARRAY(SELECT (s ->> 'job')::uuid FROM jsonb_array_elements(p_skips) AS s))
  ORDER BY id FOR UPDATE;
  WITH asked AS (
    SELECT * FROM jsonb_to_recordset(p_skips)
      AS s(job uuid, state text, error_code text, error_text text, cause uuid)
  ), before AS (
    SELECT j.id, j.state FROM job j JOIN asked s ON s.job = j.id
  ), moved AS (
    UPDATE job j SET state = s.state, ended_at = now(), error_code = s.error_code, error_text = s.error_text,
      cause = s.cause
    FROM asked s WHERE j.id = s.job AND j.state IN ('waiting', 'queued')
      AND (s.state <> 'skipped' OR job_needs(j.id, j.after_quorum) = 'lost')
    RETURNING j.id, j.state, j.error_text
  )
  INSERT INTO event (job, actor, from_state, to_state, reason)
  SELECT m.id, 'scheduler', b.state, m.state, m.error_text FROM moved m JOIN before b ON b.id = m.id;
  RETURN QUERY SELECT m.* FROM job_mirror m
    WHERE m.id = ANY (ARRAY(SELECT (s ->> 'job')::uuid FROM jsonb_array_elements(p_skips) AS s));
END $$;

-- What has become of a parent's children. A child that was retried counts by its retry.
CREATE OR REPLACE FUNCTION meridian.family_count(p_parent uuid, OUT jobs bigint, OUT open bigint,
  OUT succeeded bigint, OUT failed bigint, OUT skipped bigint, OUT cancelled bigint, OUT members bigint,
  OUT members_done bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  SELECT count(*), count(*) FILTER (WHERE ended_at IS NULL),
    count(*) FILTER (WHERE state = 'succeeded'), count(*) FILTER (WHERE state IN ('failed', 'rejected')),
    count(*) FILTER (WHERE state = 'skipped'), count(*) FILTER (WHERE state = 'cancelled'),
    count(*) FILTER (WHERE is_member), count(*) FILTER (WHERE is_member AND state = 'succeeded')
  FROM job WHERE parent = p_parent AND (ended_at IS NULL OR replayed_by IS NULL)
$$;

-- How long the stragglers of a parent still have, or null when its quorum was not noted.
CREATE OR REPLACE FUNCTION meridian.stragglers_left_ms(p_spec jsonb, p_quorum_at timestamptz)
RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN p_quorum_at IS NOT NULL
    THEN greatest(0, ceil(extract(epoch FROM p_quorum_at - clock_timestamp()) * 1000)::bigint
           + coalesce((p_spec ->> 'straggler_wait_s')::bigint, 0) * 1000) END
$$;

-- Notes for each parent whose quorum is reached that the time of its stragglers begins.
CREATE OR REPLACE FUNCTION meridian.job_quorum(p_term bigint, p_ids uuid[])
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  PERFORM assert_term(p_term);
  PERFORM FROM job WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE;
  WITH moved AS (
    UPDATE job j SET quorum_at = clock_timestamp()
    FROM unnest(p_ids) AS a(id) CROSS JOIN LATERAL family_count(a.id) f
    WHERE j.id = a.id AND j.ended_at IS NULL AND j.quorum_at IS NULL AND f.members_done >= j.quorum
    RETURNING j.id, j.state, j.quorum, j.spec, f.members
  )
  INSERT INTO event (job, actor, from_state, to_state, reason)
  SELECT id, 'scheduler', state, state, format('%s of %s markets are done, as many as it needs; after %s s: %s the rest',
    quorum, members, coalesce(spec ->> 'straggler_wait_s', '0'), coalesce(spec ->> 'stragglers', 'wait'))
  FROM moved;
  RETURN QUERY SELECT m.* FROM job_mirror m WHERE m.id = ANY (p_ids);
END $$;

-- Closes one parent whose children have all ended, or whose stragglers may be left when their time is over.
CREATE OR REPLACE FUNCTION meridian.job_close_one(p_parent uuid)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_parent job;
  v_state text;
  v_text text;
  v_count record;
  v_first job;
BEGIN
  SELECT * INTO v_parent FROM job WHERE id = p_parent;
  v_count := family_count(p_parent);
  IF v_parent.ended_at IS NOT NULL
     OR v_count.open > 0 AND (v_parent.spec ->> 'stragglers' IS DISTINCT FROM 'leave'
       OR v_parent.cancel_requested_at IS NOT NULL
       OR coalesce(stragglers_left_ms(v_parent.spec, v_parent.quorum_at), 1) > 0) THEN
    RETURN;
  END IF;
  v_state := CASE WHEN v_count.succeeded = v_count.jobs THEN 'succeeded'
    WHEN v_parent.cancel_requested_at IS NOT NULL THEN 'cancelled'
    WHEN v_count.members_done >= v_parent.quorum THEN 'succeeded' ELSE 'failed' END;
  IF v_count.succeeded < v_count.jobs THEN
    SELECT * INTO v_first FROM job
    WHERE parent = p_parent AND state IN ('failed', 'rejected') AND replayed_by IS NULL
    ORDER BY ended_at, id LIMIT 1;
    v_text := CASE WHEN v_parent.quorum IS NOT NULL THEN format('%s of %s markets are done, %s are needed; ',
        v_count.members_done, v_count.members, v_parent.quorum) ELSE '' END
      || format('%s of %s jobs did not succeed (%s failed, %s skipped, %s cancelled%s)',
        v_count.jobs - v_count.succeeded, v_count.jobs, v_count.failed, v_count.skipped, v_count.cancelled,
        CASE WHEN v_count.open > 0 THEN format(', %s left running', v_count.open) ELSE '' END)
      || CASE WHEN v_first.id IS NOT NULL THEN format('; first %s: %s', concat_ws(' ', v_first.kind, v_first.market),
                                                      v_first.error_text) ELSE '' END;
  END IF;
  UPDATE job SET state = v_state, ended_at = now(),
    error_code = CASE v_state WHEN 'succeeded' THEN NULL WHEN 'cancelled' THEN 'CANCELLED' ELSE 'DATA' END,
    error_text = CASE WHEN v_state <> 'succeeded' THEN v_text END,
    result = jsonb_strip_nulls(jsonb_build_object('jobs', v_count.jobs, 'succeeded', v_count.succeeded,
      'failed', v_count.failed, 'skipped', v_count.skipped, 'cancelled', v_count.cancelled,
      'left_running', nullif(v_count.open, 0), 'quorum', v_parent.quorum,
      'markets', CASE WHEN v_parent.quorum IS NOT NULL THEN v_count.members END,
      'markets_done', CASE WHEN v_parent.quorum IS NOT NULL THEN v_count.members_done END))
  WHERE id = p_parent;
  PERFORM audit(p_parent, NULL, 'scheduler', v_parent.state, v_state, coalesce(v_text, 'all its jobs succeeded'));
END $$;

CREATE OR REPLACE FUNCTION meridian.job_close(p_term bigint, p_ids uuid[])
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  PERFORM assert_term(p_term);
  PERFORM FROM job WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE;
  PERFORM job_close_one(id) FROM unnest(p_ids) AS id;
  RETURN QUERY SELECT m.* FROM job_mirror m WHERE m.id = ANY (p_ids)
    UNION ALL SELECT m.* FROM job c JOIN job_mirror m ON m.id = c.id
      WHERE c.parent = ANY (p_ids) AND c.ended_at IS NULL;
END $$;

-- The open children of a parent that ended before them.
CREATE OR REPLACE FUNCTION meridian.job_cancel_children(p_term bigint, p_parent uuid)
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_ids uuid[] := ARRAY(SELECT id FROM job WHERE parent = p_parent AND ended_at IS NULL ORDER BY id);
BEGIN
  PERFORM assert_term(p_term);
  PERFORM job_cancel(v_ids, 'scheduler');
  RETURN QUERY SELECT m.* FROM job_mirror m WHERE m.id = ANY (v_ids);
END $$;
