-- Admission: what the record itself judges of a submission, and the one statement that writes new jobs.
-- Called by the scheduler's functions, which have checked the term; nobody else may call these.

-- Why the markets that a spec names cannot be worked on together, or null.
CREATE OR REPLACE FUNCTION meridian.admit_markets_error(p_markets text[], p_one_region boolean)
RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_missing text;
  v_regions text[];
BEGIN
  SELECT min(s.code) INTO v_missing FROM unnest(p_markets) AS s(code)
  WHERE NOT EXISTS (SELECT FROM market m WHERE m.code = s.code AND m.removed_at IS NULL);
  IF v_missing IS NOT NULL THEN
    RETURN format('spec.markets: there is no market "%s"; see meridian market list', v_missing);
  END IF;
  SELECT array_agg(DISTINCT m.region ORDER BY m.region) INTO v_regions
  FROM market m WHERE m.code = ANY (p_markets);
  IF p_one_region AND cardinality(v_regions) > 1 THEN
    RETURN format('spec.markets: they are in several regions (%s); texts stay in theirs, so name markets of one',
      array_to_string(v_regions, ', '));
  END IF;
  RETURN NULL;
END $$;

-- Why the record refuses a submission that is well formed, or null.
CREATE OR REPLACE FUNCTION meridian.admit_error(p_job jsonb)
RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_market text := p_job ->> 'market';
  v_task text := p_job ->> 'task';
  v_region text := p_job ->> 'region';
  v_markets text[];
  v_holder job;
BEGIN
  IF v_market IS NOT NULL
     AND NOT EXISTS (SELECT FROM market WHERE code = v_market AND removed_at IS NULL) THEN
    RETURN format('market: there is no market "%s"; add it with meridian market set', v_market);
  ELSIF v_task IS NOT NULL AND p_job ->> 'kind' <> 'noop'
     AND NOT EXISTS (SELECT FROM task WHERE name = v_task) THEN
    RETURN format('task: there is no task "%s"; it is made by meridian data import', v_task);
  ELSIF v_region IS NOT NULL AND v_market IS NULL
     AND NOT EXISTS (SELECT FROM region WHERE name = v_region) THEN
    RETURN format('spec.region: there is no region "%s"', v_region);
  END IF;
  IF p_job -> 'spec' ? 'markets' THEN
    v_markets := ARRAY(SELECT jsonb_array_elements_text(p_job -> 'spec' -> 'markets'));
    IF cardinality(v_markets) > 0 THEN
      RETURN admit_markets_error(v_markets, NOT (p_job ->> 'is_parent')::boolean);
    END IF;
  END IF;
  IF p_job ? 'unique' THEN
    SELECT * INTO v_holder FROM job
    WHERE unique_key = p_job ->> 'unique' AND ended_at IS NULL AND id <> (p_job ->> 'id')::uuid;
    IF FOUND AND p_job ->> 'unique_policy' = 'replace' THEN -- admit_supersede has left it
      RETURN format('unique: the key is held by job %s, which is %s and is not replaced; cancel it first',
        v_holder.id, v_holder.state);
    ELSIF FOUND THEN
      RETURN format('unique: the key is held by job %s until that ends', v_holder.id);
    END IF;
  END IF;
  RETURN NULL;
END $$;

-- The needs of a submission, each once: ids, and a letter for each (o: afterok, n: afternotok, a: afterany).
CREATE OR REPLACE FUNCTION meridian.admit_needs(p_after uuid[], p_after_if text)
RETURNS TABLE (id uuid, condition text)
LANGUAGE sql IMMUTABLE AS $$
  SELECT DISTINCT ON (a.id) a.id,
    CASE substr(p_after_if, a.position::integer, 1) WHEN 'n' THEN 'afternotok' WHEN 'a' THEN 'afterany'
      ELSE 'afterok' END
  FROM unnest(p_after) WITH ORDINALITY AS a(id, position) ORDER BY a.id, a.position
$$;

-- Unique policy "keep": notes the job that has the key as the answer to the submission, for good: said
-- again after that job has ended, the submission still is no new job.
CREATE OR REPLACE FUNCTION meridian.admit_keep(p_jobs jsonb)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  INSERT INTO kept (id, job)
  SELECT DISTINCT ON (x.id) x.id, h.id
  FROM jsonb_to_recordset(p_jobs) AS x(id uuid, "unique" text, unique_policy text, error_code text)
  JOIN job h ON h.unique_key = x.unique AND h.ended_at IS NULL AND h.id <> x.id
  WHERE x.unique_policy = 'keep' AND x.error_code IS NULL
    AND NOT EXISTS (SELECT FROM job j WHERE j.id = x.id)
  ON CONFLICT (id) DO NOTHING
$$;

-- Unique policy "replace": cancels the job that has the key while it waits or is queued. One that has an
-- open attempt, or children that have, goes on: work under way is not thrown away by a submission.
CREATE OR REPLACE FUNCTION meridian.admit_supersede(p_jobs jsonb)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_item record;
  v_holder job;
BEGIN
  FOR v_item IN
    SELECT h.id AS holder, a.job ->> 'id' AS id, a.job ->> 'by' AS submitter
    FROM jsonb_array_elements(p_jobs) AS a(job)
    JOIN job h ON h.unique_key = a.job ->> 'unique' AND h.ended_at IS NULL
    WHERE a.job ->> 'unique_policy' = 'replace' AND NOT a.job ? 'error_code'
      AND h.id <> (a.job ->> 'id')::uuid
      AND NOT EXISTS (SELECT FROM job j WHERE j.id = (a.job ->> 'id')::uuid)
      AND admit_error(a.job - 'unique') IS NULL
    ORDER BY h.id
  LOOP
    SELECT * INTO v_holder FROM job WHERE id = v_item.holder FOR UPDATE;
    CONTINUE WHEN v_holder.state NOT IN ('waiting', 'queued')
      OR EXISTS (SELECT FROM job WHERE parent = v_item.holder AND ended_at IS NULL);
    UPDATE job SET state = 'cancelled', ended_at = now(), error_code = 'CANCELLED',
      error_text = 'superseded by job ' || v_item.id, superseded_by = v_item.id::uuid
    WHERE id = v_item.holder;
    PERFORM audit(v_item.holder, NULL, coalesce(v_item.submitter, 'unknown'), v_holder.state, 'cancelled',
      'superseded by job ' || v_item.id);
  END LOOP;
END $$;

-- Writes new jobs; those that exist are left as they are. Returns the ids that are new. Jobs with the same
-- unique key are written one after the other, so that each meets the one before it. Somebody else may take
-- a key in between (a retry by hand): the constraint decides, and who lost is judged again.
CREATE OR REPLACE FUNCTION meridian.admit_write(p_jobs jsonb)
RETURNS uuid[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off AS $$
DECLARE
  v_new uuid[] := '{}';
  v_left jsonb := p_jobs;
  v_round jsonb;
BEGIN
  IF NOT p_jobs @? '$[*].unique' THEN
    RETURN admit_write_round(p_jobs);
  END IF;
  FOR tries IN 1..2000 LOOP
    WITH item AS (
      SELECT a.job, a.position, row_number() OVER (PARTITION BY a.job ->> 'unique' ORDER BY a.position) AS turn
      FROM jsonb_array_elements(v_left) WITH ORDINALITY AS a(job, position)
    )
    SELECT jsonb_agg(job ORDER BY position) FILTER (WHERE turn = 1 OR NOT job ? 'unique'),
      jsonb_agg(job ORDER BY position) FILTER (WHERE turn > 1 AND job ? 'unique')
    INTO v_round, v_left FROM item;
    PERFORM admit_supersede(v_round);
    PERFORM admit_keep(v_round);
    v_new := v_new || admit_write_round(v_round);
    SELECT jsonb_agg(a.job) INTO v_round FROM jsonb_array_elements(v_round) AS a(job)
    WHERE NOT EXISTS (SELECT FROM job j WHERE j.id = (a.job ->> 'id')::uuid)
      AND NOT EXISTS (SELECT FROM kept k WHERE k.id = (a.job ->> 'id')::uuid);
    v_left := nullif(coalesce(v_round, '[]') || coalesce(v_left, '[]'), '[]');
    EXIT WHEN v_left IS NULL;
  END LOOP;
  RETURN v_new;
END $$;

-- One pass over the jobs and no copies of them: this is most of what an admission costs. What is known is left
-- to ON CONFLICT, also an id that is named twice.
CREATE OR REPLACE FUNCTION meridian.admit_write_round(p_jobs jsonb)
RETURNS uuid[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off AS $$
DECLARE
  v_new uuid[];
BEGIN
  WITH added AS (
    INSERT INTO job (id, kind, market, task, region, state, spec, priority, parent, night, unique_key,
      submitted_by, not_before, queued_at, ended_at, max_attempts, memory_mb, time_limit_s, threads, labels,
      error_code, error_text, after_quorum, is_member)
    SELECT x.id, x.kind, m.code, x.task,
      CASE WHEN w.why IS NULL AND NOT x.is_parent THEN
        coalesce(m.region, x.region, (SELECT min(o.region) FROM market o
          WHERE o.code IN (SELECT jsonb_array_elements_text(x.spec -> 'markets')))) END,
      n.state, coalesce(x.spec, '{}'), x.priority, x.parent,
      coalesce(x.night, CASE WHEN x.is_parent THEN (now() AT TIME ZONE 'UTC')::date END),
      CASE WHEN w.why IS NULL THEN x.unique END, coalesce(x.by, 'unknown'),
      to_timestamp(x.not_before_ms / 1000.0), CASE n.state WHEN 'queued' THEN clock_timestamp() END,
      CASE n.state WHEN 'rejected' THEN now() END, x.max_attempts, x.memory_mb, x.time_limit_s, x.threads,
      coalesce(x.labels, ''),
      CASE WHEN w.why IS NOT NULL THEN coalesce(x.error_code, 'INVALID') END, w.why, x.after_quorum,
      coalesce(x.is_member, false)
    FROM jsonb_to_recordset(p_jobs) AS x(id uuid, kind text, market text, task text, region text,
      spec jsonb, priority integer, not_before_ms bigint, "unique" text, unique_policy text, "by" text,
      parent uuid, night date, memory_mb integer, time_limit_s integer, threads integer, labels text,
      max_attempts integer, is_parent boolean, error_code text, error_text text, after uuid[], after_if text,
      after_quorum integer, is_member boolean)
    LEFT JOIN LATERAL (SELECT o.code, o.region, o.removed_at FROM market o WHERE o.code = x.market OFFSET 0) m ON true
    CROSS JOIN LATERAL (SELECT CASE
      WHEN x.error_code IS NOT NULL THEN x.error_text
      -- What admit_error would find nothing wrong with, without asking it a job at a time.
      WHEN x.unique IS NULL AND x.region IS NULL AND NOT x.spec ? 'markets'
           AND (x.market IS NULL OR (m.code IS NOT NULL AND m.removed_at IS NULL))
           AND (x.task IS NULL OR EXISTS (SELECT FROM task t WHERE t.name = x.task)) THEN NULL
      ELSE admit_error(jsonb_strip_nulls(to_jsonb(x))) END AS why OFFSET 0) w
    CROSS JOIN LATERAL (SELECT CASE
      WHEN w.why IS NOT NULL THEN 'rejected'
      WHEN x.is_parent OR to_timestamp(x.not_before_ms / 1000.0) > clock_timestamp() THEN 'waiting'
      WHEN x.after IS NOT NULL
        AND (SELECT count(*) FILTER (WHERE need_is_met(a.condition, p.state)) < coalesce(x.after_quorum, count(*))
            FROM admit_needs(x.after, x.after_if) a LEFT JOIN job p ON p.id = a.id) THEN 'waiting'
      ELSE 'queued' END AS state OFFSET 0) n
    WHERE x.unique IS NULL OR (SELECT k.id FROM kept k WHERE k.id = x.id) IS NULL
    ORDER BY x.id
    ON CONFLICT DO NOTHING
    RETURNING id, state, error_text
  ), told AS (
    INSERT INTO event (job, actor, to_state, reason)
    SELECT d.id, 'scheduler', d.state,
      CASE d.state WHEN 'rejected' THEN 'rejected: ' || d.error_text
                   WHEN 'failed' THEN d.error_text ELSE 'admitted' END
    FROM added d
  )
  SELECT coalesce(array_agg(d.id), '{}') INTO v_new FROM added d;
  IF p_jobs @? '$[*].after' THEN -- by itself: joined above, it would be planned as a loop over all pairs
    INSERT INTO dependency (job, needs, condition)
    SELECT x.id, a.id, a.condition
    FROM jsonb_to_recordset(p_jobs) AS x(id uuid, after uuid[], after_if text)
    JOIN job j ON j.id = x.id AND j.state <> 'rejected'
    CROSS JOIN LATERAL admit_needs(x.after, x.after_if) a
    WHERE x.after IS NOT NULL AND x.id = ANY (v_new)
    ON CONFLICT DO NOTHING;
    PERFORM admit_refuse_cycles(v_new);
  END IF;
  RETURN v_new;
END $$;

-- Jobs that wait for each other would wait for ever. Only a new job that others named before it came
-- can close a circle.
CREATE OR REPLACE FUNCTION meridian.admit_refuse_cycles(p_ids uuid[])
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_id uuid;
BEGIN
  FOR v_id IN SELECT DISTINCT d.job FROM dependency d JOIN dependency o ON o.needs = d.job
              WHERE d.job = ANY (p_ids) ORDER BY 1 LOOP
    IF EXISTS (
      WITH RECURSIVE reach AS (
        SELECT d.needs FROM dependency d WHERE d.job = v_id
        UNION
        SELECT d.needs FROM reach r JOIN dependency d ON d.job = r.needs
      ) SELECT FROM reach WHERE needs = v_id) THEN
      UPDATE job SET state = 'failed', ended_at = now(), error_code = 'INVALID',
        error_text = 'after: this job would wait for itself through the jobs that it needs'
      WHERE id = v_id AND state = 'waiting';
      IF FOUND THEN
        PERFORM audit(v_id, NULL, 'scheduler', 'waiting', 'failed', 'its dependencies form a circle');
      END IF;
    END IF;
  END LOOP;
END $$;
