-- Admission of plain jobs: accepted so far by the scheduler, without needs, unique key, parent, region or
-- markets of its own. All there is to be judged is whether market and task exist; nothing is looked up a job at a
-- time but whether it is known, and the answer is made from what was written, not read again from job_mirror
-- (test_submit.sql compares it with the view, which may get columns in an upgrade that this does not know). The scheduler is the only writer, so a conflict of ids can only be
-- within the batch: that refuses it, and the scheduler halves it.
CREATE OR REPLACE FUNCTION meridian.job_admit_plain(p_term bigint, p_jobs jsonb)
RETURNS TABLE (id uuid, kind text, market text, task text, region text, state text, priority integer, parent uuid,
  attempt integer, failures integer, crashes integer, ooms integer, charged integer, max_attempts integer,
  due_in_ms bigint, queued_ms bigint, is_cancel_requested boolean, children integer, needs text, worker text,
  spec text, night text, memory_mb integer, time_limit_s integer, threads integer, labels text, error_text text,
  after_left integer, cause uuid, cause_state text, quorum integer, is_member boolean, is_quorum_reached boolean,
  members integer, stragglers text, incarnation uuid, worker_mono_ms bigint, kept_for uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  v_count integer;
BEGIN
  PERFORM assert_term(p_term);
  RETURN QUERY
    WITH added AS (
      INSERT INTO job (id, kind, market, task, region, state, spec, priority, submitted_by, not_before, queued_at,
        ended_at, max_attempts, memory_mb, time_limit_s, threads, labels, error_code, error_text)
      SELECT x.id, x.kind, m.code, x.task, CASE WHEN w.why IS NULL THEN m.region END, n.state, x.spec, x.priority,
        coalesce(x.by, 'unknown'), to_timestamp(x.not_before_ms / 1000.0),
        CASE n.state WHEN 'queued' THEN clock_timestamp() END, CASE n.state WHEN 'rejected' THEN now() END,
        x.max_attempts, x.memory_mb, x.time_limit_s, x.threads, coalesce(x.labels, ''),
        CASE WHEN w.why IS NOT NULL THEN 'INVALID' END, w.why
      FROM jsonb_to_recordset(p_jobs) AS x(id uuid, kind text, market text, task text, spec jsonb,
        priority integer, not_before_ms bigint, "by" text, memory_mb integer, time_limit_s integer,
        threads integer, labels text, max_attempts integer)
      LEFT JOIN LATERAL (SELECT o.code, o.region, o.removed_at FROM market o WHERE o.code = x.market OFFSET 0) m ON true
      CROSS JOIN LATERAL (SELECT CASE
        WHEN (x.market IS NULL OR (m.code IS NOT NULL AND m.removed_at IS NULL))
             AND (x.task IS NULL OR EXISTS (SELECT FROM task t WHERE t.name = x.task)) THEN NULL
        ELSE admit_error(jsonb_strip_nulls(to_jsonb(x))) END AS why OFFSET 0) w
      CROSS JOIN LATERAL (SELECT CASE
        WHEN w.why IS NOT NULL THEN 'rejected'
        WHEN to_timestamp(x.not_before_ms / 1000.0) > clock_timestamp() THEN 'waiting'
        ELSE 'queued' END AS state OFFSET 0) n
      WHERE (SELECT j.id FROM job j WHERE j.id = x.id) IS NULL -- a lookup each, however large the table
      RETURNING *
    ), told AS (
      INSERT INTO event (job, actor, to_state, reason)
      SELECT d.id, 'scheduler', d.state,
        CASE d.state WHEN 'rejected' THEN 'rejected: ' || d.error_text ELSE 'admitted' END
      FROM added d
    )
    SELECT d.id, d.kind, d.market, d.task, d.region, d.state, d.priority, d.parent, d.attempt, d.failures,
      0 AS crashes, d.ooms, 0 AS charged, d.max_attempts,
      CASE WHEN d.not_before > clock_timestamp()
           THEN ceil(extract(epoch FROM d.not_before - clock_timestamp()) * 1000)::bigint ELSE 0 END AS due_in_ms,
      (extract(epoch FROM coalesce(d.queued_at, d.admitted_at)) * 1000)::bigint AS queued_ms,
      false AS is_cancel_requested, 0 AS children, NULL::text AS needs, NULL::text AS worker, NULL::text AS spec,
      NULL::text AS night, d.memory_mb, d.time_limit_s, d.threads, d.labels,
      CASE WHEN d.state = 'rejected' THEN d.error_text END AS error_text, NULL::integer AS after_left,
      NULL::uuid AS cause, NULL::text AS cause_state, NULL::integer AS quorum, d.is_member,
      false AS is_quorum_reached, NULL::integer AS members, NULL::text AS stragglers, NULL::uuid AS incarnation,
      NULL::bigint AS worker_mono_ms, NULL::uuid AS kept_for
    FROM added d;
  GET DIAGNOSTICS v_count = ROW_COUNT;
  IF EXISTS (SELECT FROM submission) THEN
    DELETE FROM submission
    WHERE id = ANY (ARRAY(SELECT (j ->> 'id')::uuid FROM jsonb_array_elements(p_jobs) AS j));
  END IF;
  IF v_count < jsonb_array_length(p_jobs) THEN -- some were known; what is new is told twice, the same
    RETURN QUERY SELECT m.id, m.kind, m.market, m.task, m.region, m.state, m.priority, m.parent, m.attempt,
      m.failures, m.crashes, m.ooms, m.charged, m.max_attempts, m.due_in_ms, m.queued_ms, m.is_cancel_requested,
      m.children, m.needs, m.worker, m.spec, m.night, m.memory_mb, m.time_limit_s, m.threads, m.labels,
      m.error_text, m.after_left, m.cause, m.cause_state, m.quorum, m.is_member, m.is_quorum_reached, m.members,
      m.stragglers, m.incarnation, m.worker_mono_ms, m.kept_for
      FROM job_mirror m
      WHERE m.id = ANY (ARRAY(SELECT (j ->> 'id')::uuid FROM jsonb_array_elements(p_jobs) AS j));
  END IF;
END $$;

-- The same for jobs that differ in id and spec only, as most of a bulk do: p_shape says the rest once, and what is
-- to be judged is judged once. p_specs has a spec a job, or one for all.
CREATE OR REPLACE FUNCTION meridian.job_admit_alike(p_term bigint, p_shape jsonb, p_ids uuid[], p_specs jsonb)
RETURNS TABLE (id uuid, kind text, market text, task text, region text, state text, priority integer, parent uuid,
  attempt integer, failures integer, crashes integer, ooms integer, charged integer, max_attempts integer,
  due_in_ms bigint, queued_ms bigint, is_cancel_requested boolean, children integer, needs text, worker text,
  spec text, night text, memory_mb integer, time_limit_s integer, threads integer, labels text, error_text text,
  after_left integer, cause uuid, cause_state text, quorum integer, is_member boolean, is_quorum_reached boolean,
  members integer, stragglers text, incarnation uuid, worker_mono_ms bigint, kept_for uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  v job;
  v_why text;
  v_spec jsonb := CASE WHEN jsonb_array_length(p_specs) = 1 THEN p_specs -> 0 END;
  v_event text;
  v_count integer;
BEGIN
  PERFORM assert_term(p_term);
  v := jsonb_populate_record(NULL::job, p_shape); -- its columns have the names of what is submitted
  SELECT m.region INTO v.region FROM market m WHERE m.code = v.market;
  v_why := admit_error(p_shape || '{"spec": {}}');
  v.not_before := to_timestamp((p_shape ->> 'not_before_ms')::bigint / 1000.0);
  v.state := CASE WHEN v_why IS NOT NULL THEN 'rejected' WHEN v.not_before > clock_timestamp() THEN 'waiting'
    ELSE 'queued' END;
  IF v_why IS NOT NULL THEN
    v.market := (SELECT m.code FROM market m WHERE m.code = v.market);
    v.region := NULL;
    v.error_code := 'INVALID';
  END IF;
  v_event := CASE WHEN v_why IS NULL THEN 'admitted' ELSE 'rejected: ' || v_why END;
  RETURN QUERY
    WITH added AS (
      INSERT INTO job (id, kind, market, task, region, state, spec, priority, submitted_by, not_before, queued_at,
        ended_at, max_attempts, memory_mb, time_limit_s, threads, labels, error_code, error_text)
      SELECT x.id, v.kind, v.market, v.task, v.region, v.state, coalesce(v_spec, x.spec), v.priority,
        coalesce(p_shape ->> 'by', 'unknown'), v.not_before, CASE v.state WHEN 'queued' THEN clock_timestamp() END,
        CASE v.state WHEN 'rejected' THEN now() END, v.max_attempts, v.memory_mb, v.time_limit_s, v.threads,
        coalesce(v.labels, ''), v.error_code, v_why
      FROM ROWS FROM (unnest(p_ids), jsonb_array_elements(p_specs)) AS x(id, spec)
      WHERE (SELECT j.id FROM job j WHERE j.id = x.id) IS NULL -- a lookup each, however large the table
      RETURNING job.id, job.queued_at
    ), told AS (
      INSERT INTO event (job, actor, to_state, reason) SELECT d.id, 'scheduler', v.state, v_event FROM added d
    )
    SELECT d.id, v.kind, v.market, v.task, v.region, v.state, v.priority, NULL::uuid, 0, 0, 0 AS crashes, 0,
      0 AS charged, v.max_attempts,
      CASE WHEN v.state = 'waiting'
           THEN ceil(extract(epoch FROM v.not_before - clock_timestamp()) * 1000)::bigint ELSE 0 END AS due_in_ms,
      (extract(epoch FROM coalesce(d.queued_at, now())) * 1000)::bigint AS queued_ms,
      false AS is_cancel_requested, 0 AS children, NULL::text AS needs, NULL::text AS worker, NULL::text AS spec,
      NULL::text AS night, v.memory_mb, v.time_limit_s, v.threads, coalesce(v.labels, ''),
      CASE WHEN v.state = 'rejected' THEN v_why END AS error_text, NULL::integer AS after_left,
      NULL::uuid AS cause, NULL::text AS cause_state, NULL::integer AS quorum, false AS is_member,
      false AS is_quorum_reached, NULL::integer AS members, NULL::text AS stragglers, NULL::uuid AS incarnation,
      NULL::bigint AS worker_mono_ms, NULL::uuid AS kept_for
    FROM added d;
  GET DIAGNOSTICS v_count = ROW_COUNT;
  IF EXISTS (SELECT FROM submission) THEN
    DELETE FROM submission WHERE id = ANY (p_ids);
  END IF;
  IF v_count < cardinality(p_ids) THEN -- some were known; what is new is told twice, the same
    RETURN QUERY SELECT m.id, m.kind, m.market, m.task, m.region, m.state, m.priority, m.parent, m.attempt,
      m.failures, m.crashes, m.ooms, m.charged, m.max_attempts, m.due_in_ms, m.queued_ms, m.is_cancel_requested,
      m.children, m.needs, m.worker, m.spec, m.night, m.memory_mb, m.time_limit_s, m.threads, m.labels,
      m.error_text, m.after_left, m.cause, m.cause_state, m.quorum, m.is_member, m.is_quorum_reached, m.members,
      m.stragglers, m.incarnation, m.worker_mono_ms, m.kept_for
      FROM job_mirror m
      WHERE m.id = ANY (p_ids);
  END IF;
END $$;
