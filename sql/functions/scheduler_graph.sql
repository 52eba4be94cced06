-- Dependencies and families: what waits for what, and what becomes of those left behind. The scheduler
-- decides (core/graph.c); here each decision is done only when the record agrees with it.

-- waiting -> queued, for jobs that need nothing any more.
CREATE OR REPLACE FUNCTION meridian.job_release(p_term bigint, p_ids uuid[])
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off AS $$
BEGIN
  PERFORM assert_term(p_term);
  PERFORM FROM job WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE;
  WITH moved AS (
    UPDATE job j SET state = 'queued', queued_at = clock_timestamp()
    WHERE j.id = ANY (p_ids) AND j.state = 'waiting'
      AND NOT EXISTS (SELECT FROM dependency d LEFT JOIN job n ON n.id = d.needs
                      WHERE d.job = j.id AND n.state IS DISTINCT FROM 'succeeded')
    RETURNING j.id
  )
  INSERT INTO event (job, actor, from_state, to_state, reason)
  SELECT id, 'scheduler', 'waiting', 'queued', 'may run now' FROM moved;
  RETURN QUERY SELECT m.* FROM job_mirror m WHERE m.id = ANY (p_ids);
END $$;

-- Jobs that end without an attempt: skipped because of an ancestor, or failed before they could start.
CREATE OR REPLACE FUNCTION meridian.job_skip(p_term bigint, p_skips jsonb)
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off AS $$
BEGIN
  PERFORM assert_term(p_term);
  PERFORM FROM job
  WHERE id = ANY (ARRAY(SELECT (s ->> 'job')::uuid FROM jsonb_array_elements(p_skips) AS s))
  ORDER BY id FOR UPDATE;
  WITH asked AS (
    SELECT * FROM jsonb_to_recordset(p_skips) AS s(job uuid, state text, error_code text, error_text text)
  ), before AS (
    SELECT j.id, j.state FROM job j JOIN asked s ON s.job = j.id
  ), moved AS (
    UPDATE job j SET state = s.state, ended_at = now(), error_code = s.error_code, error_text = s.error_text
    FROM asked s WHERE j.id = s.job AND j.state IN ('waiting', 'queued')
    RETURNING j.id, j.state, j.error_text
  )
  INSERT INTO event (job, actor, from_state, to_state, reason)
  SELECT m.id, 'scheduler', b.state, m.state, m.error_text FROM moved m JOIN before b ON b.id = m.id;
  RETURN QUERY SELECT m.* FROM job_mirror m
    WHERE m.id = ANY (ARRAY(SELECT (s ->> 'job')::uuid FROM jsonb_array_elements(p_skips) AS s));
END $$;

-- Closes one parent whose children have all ended. A child that was retried counts by its retry.
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
  SELECT count(*) AS jobs, count(*) FILTER (WHERE ended_at IS NULL) AS open,
    count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
    count(*) FILTER (WHERE state IN ('failed', 'rejected')) AS failed,
    count(*) FILTER (WHERE state = 'skipped') AS skipped,
    count(*) FILTER (WHERE state = 'cancelled') AS cancelled INTO v_count
  FROM job WHERE parent = p_parent AND (ended_at IS NULL OR replayed_by IS NULL);
  IF v_parent.ended_at IS NOT NULL OR v_count.open > 0 THEN
    RETURN;
  END IF;
  v_state := CASE WHEN v_count.succeeded = v_count.jobs THEN 'succeeded'
    WHEN v_parent.cancel_requested_at IS NOT NULL THEN 'cancelled' ELSE 'failed' END;
  IF v_state <> 'succeeded' THEN
    SELECT * INTO v_first FROM job
    WHERE parent = p_parent AND state IN ('failed', 'rejected') AND replayed_by IS NULL
    ORDER BY ended_at, id LIMIT 1;
    v_text := format('%s of %s jobs did not succeed (%s failed, %s skipped, %s cancelled)',
        v_count.jobs - v_count.succeeded, v_count.jobs, v_count.failed, v_count.skipped, v_count.cancelled)
      || CASE WHEN FOUND THEN format('; first %s: %s', concat_ws(' ', v_first.kind, v_first.market),
                                     v_first.error_text) ELSE '' END;
  END IF;
  UPDATE job SET state = v_state, ended_at = now(),
    error_code = CASE v_state WHEN 'succeeded' THEN NULL WHEN 'cancelled' THEN 'CANCELLED' ELSE 'DATA' END,
    error_text = v_text,
    result = jsonb_build_object('jobs', v_count.jobs, 'succeeded', v_count.succeeded, 'failed', v_count.failed,
      'skipped', v_count.skipped, 'cancelled', v_count.cancelled)
  WHERE id = p_parent;
  PERFORM audit(p_parent, NULL, 'scheduler', v_parent.state, v_state, coalesce(v_text, 'all its jobs succeeded'));
END $$;

CREATE OR REPLACE FUNCTION meridian.job_close(p_term bigint, p_ids uuid[])
RETURNS SETOF meridian.job_mirror
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off AS $$
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
