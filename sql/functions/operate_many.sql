-- What an operator does to many jobs at once: a market's, a region's, all. In pieces, so that a million jobs
-- hold up nobody: the CLI calls again until nothing is left of what was there when it began.

-- Tells the scheduler to look at once at what was changed. Without it, it looks within a second.
CREATE OR REPLACE FUNCTION meridian.wake()
RETURNS void
LANGUAGE sql AS $$ SELECT pg_notify('meridian_wake', '') $$;

-- The open jobs that a filter names (null = any), those being cancelled already left out.
CREATE OR REPLACE FUNCTION meridian.job_select(p_filter jsonb)
RETURNS SETOF meridian.job
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  SELECT j.* FROM meridian.job j
  WHERE j.ended_at IS NULL AND j.cancel_requested_at IS NULL
    AND j.admitted_at <= coalesce((p_filter ->> 'before')::timestamptz, 'infinity')
    AND (p_filter ->> 'market' IS NULL OR j.market = p_filter ->> 'market')
    AND (p_filter ->> 'region' IS NULL OR j.region = p_filter ->> 'region')
    AND (p_filter ->> 'task' IS NULL OR j.task = p_filter ->> 'task')
    AND (p_filter ->> 'kind' IS NULL OR j.kind = p_filter ->> 'kind')
    AND (p_filter ->> 'state' IS NULL OR j.state = p_filter ->> 'state')
$$;

-- How many a cancel would reach, and how many of them run. Refuses a name that does not exist.
CREATE OR REPLACE FUNCTION meridian.job_cancel_count(p_filter jsonb)
RETURNS TABLE (jobs bigint, running bigint, as_of timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  IF p_filter ? 'market' AND NOT EXISTS (SELECT FROM market WHERE code = p_filter ->> 'market') THEN
    PERFORM refuse_missing(format('there is no market "%s"', p_filter ->> 'market'), 'see meridian market list');
  ELSIF p_filter ? 'region' AND NOT EXISTS (SELECT FROM region WHERE name = p_filter ->> 'region') THEN
    PERFORM refuse_missing(format('there is no region "%s"', p_filter ->> 'region'), 'see meridian market list');
  END IF;
  RETURN QUERY SELECT count(*), count(*) FILTER (WHERE s.state IN ('dispatched', 'running')), now()
    FROM job_select(p_filter) s;
END $$;

-- Cancels up to p_limit of them, and the children of those; the next call takes the next ones.
CREATE OR REPLACE FUNCTION meridian.job_cancel_some(p_filter jsonb, p_actor text, p_limit integer)
RETURNS TABLE (cancelled bigint, requested bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_ids uuid[] := ARRAY(SELECT s.id FROM job_select(p_filter) s ORDER BY s.id LIMIT p_limit);
  v_parents uuid[];
BEGIN
  -- All locks in the order of ids, as everybody who locks many jobs does; with the children.
  v_ids := ARRAY(SELECT j.id FROM job j WHERE j.ended_at IS NULL AND (j.id = ANY (v_ids) OR j.parent = ANY (v_ids))
                 ORDER BY j.id FOR UPDATE);
  v_parents := ARRAY(SELECT DISTINCT c.parent FROM job c WHERE c.parent = ANY (v_ids) AND c.ended_at IS NULL);
  PERFORM job_cancel(v_parents, p_actor);
  WITH moved AS (
    UPDATE job j SET cancel_requested_at = now(), cancel_requested_by = p_actor,
      state = CASE WHEN a.is_idle THEN 'cancelled' ELSE j.state END,
      ended_at = CASE WHEN a.is_idle THEN now() END,
      error_code = CASE WHEN a.is_idle THEN 'CANCELLED' ELSE j.error_code END,
      error_text = CASE WHEN a.is_idle THEN 'cancelled by ' || p_actor ELSE j.error_text END
    FROM (SELECT o.id, o.state, o.state IN ('waiting', 'queued') AS is_idle FROM job o
          WHERE o.id = ANY (v_ids) AND o.ended_at IS NULL AND o.cancel_requested_at IS NULL) a
    WHERE j.id = a.id
    RETURNING j.id, j.attempt, a.state AS before, j.state AS after
  )
  INSERT INTO event (job, attempt, actor, from_state, to_state, reason)
  SELECT m.id, nullif(m.attempt, 0), p_actor, m.before, m.after,
    CASE m.after WHEN 'cancelled' THEN 'cancelled by ' ELSE 'cancel requested by ' END || p_actor
  FROM moved m ORDER BY m.id;
  PERFORM wake();
  RETURN QUERY SELECT count(*) FILTER (WHERE j.ended_at IS NOT NULL), count(*) FILTER (WHERE j.ended_at IS NULL)
    FROM job j WHERE j.id = ANY (v_ids);
END $$;

-- The dead letters that a filter names, oldest first.
CREATE OR REPLACE FUNCTION meridian.dead_select(p_filter jsonb)
RETURNS TABLE (id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  RETURN QUERY SELECT d.job FROM report.dead_letters d
    WHERE (p_filter ->> 'market' IS NULL OR d.market = p_filter ->> 'market')
      AND (p_filter ->> 'task' IS NULL OR d.task = p_filter ->> 'task')
      AND (p_filter ->> 'kind' IS NULL OR d.kind = p_filter ->> 'kind')
      AND (p_filter ->> 'code' IS NULL OR d.error_code = p_filter ->> 'code')
      AND d.since >= coalesce((p_filter ->> 'since')::timestamptz, '-infinity')
    ORDER BY d.since, d.job;
END $$;
