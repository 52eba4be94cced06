-- Backfills: the nights from A to B of some markets as one object, made lazily, at most `cap` nights at a
-- time, oldest first, with the samples of then. The scheduler's core knows nothing of them: it sees
-- nightlies whose parent it does not hold. backfill_step, at each turn of the schedules, makes the next.

-- The markets that patterns name, by code: "de-*" among the codes, "EU/*" also by region, case aside;
-- * is any text and ? one character. A pattern that names none is refused.
CREATE OR REPLACE FUNCTION meridian.market_match(p_patterns text[])
RETURNS text[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_pattern text;
  v_found text[];
  v_all text[] := '{}';
BEGIN
  FOREACH v_pattern IN ARRAY coalesce(p_patterns, '{}') LOOP
    IF v_pattern !~ '^[A-Za-z0-9*?-]{1,64}(/[A-Za-z0-9*?-]{1,64})?$' THEN
      PERFORM refuse(format('markets: "%s" is no pattern', left(v_pattern, 100)),
        'REGION/CODE or CODE, with * and ?, in quotes: --markets ''EU/*''');
    END IF;
    v_found := ARRAY(SELECT m.code FROM market m
      WHERE m.removed_at IS NULL
        AND CASE WHEN position('/' IN v_pattern) > 0 THEN m.region || '/' ELSE '' END || m.code ~*
          ('^' || replace(replace(v_pattern, '*', '.*'), '?', '.') || '$'));
    IF cardinality(v_found) = 0 THEN
      PERFORM refuse_missing(format('markets: "%s" names no market', v_pattern), 'see meridian market list');
    END IF;
    v_all := v_all || v_found;
  END LOOP;
  RETURN ARRAY(SELECT DISTINCT c FROM unnest(v_all) AS c ORDER BY c);
END $$;

-- Starts a backfill; the same one that is still open is answered with its id. p_markets null: all.
CREATE OR REPLACE FUNCTION meridian.backfill_start(p_task text, p_markets text[], p_from date, p_to date,
  p_cap integer, p_spec jsonb, p_priority integer, p_again boolean, p_actor text,
  p_now timestamptz DEFAULT clock_timestamp())
RETURNS TABLE (id uuid, is_new boolean, nights integer, markets text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_markets text[] := market_match(coalesce(p_markets, '{*}'));
  v_spec jsonb := coalesce(p_spec, '{}');
  v_priority integer := coalesce(p_priority, -100);
  v_key text;
BEGIN
  IF p_task IS NULL OR NOT EXISTS (SELECT FROM task WHERE name = p_task) THEN
    PERFORM refuse_missing(format('there is no task "%s"', coalesce(p_task, '')), 'see meridian data list');
  ELSIF p_from IS NULL OR p_to IS NULL OR p_to < p_from THEN
    PERFORM refuse('a backfill needs a first night and a last one that is not before it', '--from 2026-01-01 --to 2026-01-31');
  ELSIF p_to > (p_now AT TIME ZONE 'UTC' + interval '14 hours')::date THEN
    PERFORM refuse(format('the night of %s has not come anywhere yet', p_to), 'schedule it: meridian schedule set --help');
  ELSIF p_to - p_from >= 3660 THEN
    PERFORM refuse('a backfill may have 3660 nights at most', 'split the range');
  ELSIF p_cap NOT BETWEEN 1 AND 100 THEN
    PERFORM refuse(format('cap: %s is not within 1..100', p_cap));
  ELSIF v_priority NOT BETWEEN -1000 AND 1000 THEN
    PERFORM refuse(format('priority: %s is not within -1000..1000', v_priority));
  ELSIF jsonb_typeof(v_spec) <> 'object' OR v_spec ?| '{markets,as_of}' THEN
    PERFORM refuse('spec: a JSON object without markets and as_of, which the range decides');
  ELSIF cardinality(v_markets) > 256 THEN -- as many as a spec may name
    PERFORM refuse(format('markets: %s, but at most 256 in one backfill', cardinality(v_markets)),
      'one by region: --markets ''REGION/*''');
  END IF;
  v_key := 'backfill/' || encode(sha256(convert_to(jsonb_build_array(p_task, v_markets, p_from, p_to, v_spec,
    coalesce(p_again, false))::text, 'UTF8')), 'hex');
  SELECT j.id INTO id FROM job j WHERE j.unique_key = v_key AND j.ended_at IS NULL;
  is_new := NOT FOUND;
  nights := p_to - p_from + 1;
  markets := v_markets;
  IF is_new THEN
    id := uuid_make();
    INSERT INTO job (id, kind, task, state, spec, priority, unique_key, submitted_by)
    VALUES (id, 'backfill', p_task, 'waiting', v_spec, v_priority, v_key, p_actor);
    INSERT INTO backfill (job, markets, first_night, last_night, cap, again, next_night)
    VALUES (id, v_markets, p_from, p_to, coalesce(p_cap, 1), coalesce(p_again, false), p_from);
    PERFORM audit(id, NULL, p_actor, NULL, 'waiting', format('%s nights of %s markets from %s to %s', nights,
      cardinality(v_markets), p_from, p_to));
    PERFORM wake();
  END IF;
  RETURN NEXT;
EXCEPTION
  WHEN unique_violation THEN -- somebody else started it at this moment
    SELECT j.id INTO id FROM job j WHERE j.unique_key = v_key AND j.ended_at IS NULL;
    is_new := false;
    RETURN NEXT;
END $$;

-- One night: a nightly for the markets that have no evaluation of it yet. Null when there is nothing to
-- do. Its samples are those imported before the date was over, UTC.
CREATE OR REPLACE FUNCTION meridian.backfill_make_night(p_backfill meridian.backfill, p_parent meridian.job,
  p_night date)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_id uuid := uuid_derive(format('backfill/%s/%s', p_parent.id, p_night));
  v_markets text[] := ARRAY(SELECT m.code FROM market m
    WHERE m.code = ANY (p_backfill.markets) AND m.removed_at IS NULL
      AND (p_backfill.again OR NOT EXISTS (SELECT FROM evaluation_summary s
        WHERE s.night = p_night AND s.market = m.code AND s.task = p_parent.task))
    ORDER BY m.code);
BEGIN
  IF cardinality(v_markets) = 0 THEN
    v_id := NULL;
  ELSE
    INSERT INTO job (id, kind, task, state, spec, priority, parent, night, submitted_by)
    VALUES (v_id, 'nightly', p_parent.task, 'waiting', '{"promote": false}' || p_parent.spec || jsonb_build_object(
        'markets', v_markets, 'as_of', to_char(p_night + 1, 'YYYY-MM-DD"T00:00:00Z"')),
      p_parent.priority, p_parent.id, p_night, p_parent.submitted_by);
    PERFORM audit(v_id, NULL, 'scheduler', NULL, 'waiting', 'night of backfill ' || p_parent.id);
  END IF;
  INSERT INTO backfill_night (backfill, night, job, markets) VALUES (p_parent.id, p_night, v_id, v_markets);
  RETURN v_id;
END $$;

-- Nights by what became of them; a night that was retried counts by its retry.
CREATE OR REPLACE FUNCTION meridian.backfill_count(p_job uuid, OUT nights integer, OUT open integer,
  OUT succeeded integer, OUT failed integer, OUT cancelled integer, OUT done_before integer, OUT left_ integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  SELECT b.last_night - b.first_night + 1, n.open::integer, n.succeeded::integer, n.failed::integer,
    n.cancelled::integer, (SELECT count(*)::integer FROM backfill_night w WHERE w.backfill = p_job AND w.job IS NULL),
    b.last_night - b.next_night + 1
  FROM backfill b
  CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE c.ended_at IS NULL) AS open, count(*) FILTER (WHERE c.state = 'succeeded') AS succeeded,
      count(*) FILTER (WHERE c.state IN ('failed', 'rejected', 'skipped')) AS failed,
      count(*) FILTER (WHERE c.state = 'cancelled') AS cancelled
    FROM job c WHERE c.parent = p_job AND (c.ended_at IS NULL OR c.replayed_by IS NULL)) n
  WHERE b.job = p_job
$$;

-- Ends it, when all its nights have, and keeps its progress in the job's result.
CREATE OR REPLACE FUNCTION meridian.backfill_settle(p_parent meridian.job)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_count record := backfill_count(p_parent.id);
  v_result jsonb := jsonb_build_object('nights', v_count.nights, 'succeeded', v_count.succeeded, 'failed', v_count.failed,
    'cancelled', v_count.cancelled, 'done_before', v_count.done_before, 'open', v_count.open, 'left', v_count.left_);
  v_is_over boolean := v_count.open = 0 AND (v_count.left_ = 0 OR p_parent.cancel_requested_at IS NOT NULL);
  v_state text := CASE WHEN NOT v_is_over THEN p_parent.state
    WHEN p_parent.cancel_requested_at IS NOT NULL THEN 'cancelled'
    WHEN v_count.failed + v_count.cancelled > 0 THEN 'failed' ELSE 'succeeded' END;
  v_text text := CASE v_state
    WHEN 'failed' THEN format('%s of %s nights did not succeed; the same range again runs those only',
      v_count.failed + v_count.cancelled, v_count.nights)
    WHEN 'cancelled' THEN 'cancelled by ' || p_parent.cancel_requested_by END;
BEGIN
  UPDATE job SET result = v_result, state = v_state, ended_at = CASE WHEN v_is_over THEN now() END,
    error_code = CASE v_state WHEN 'failed' THEN 'DATA' WHEN 'cancelled' THEN 'CANCELLED' END, error_text = v_text
  WHERE id = p_parent.id AND (v_is_over OR result IS DISTINCT FROM v_result);
  IF v_is_over THEN
    PERFORM audit(p_parent.id, NULL, 'scheduler', p_parent.state, v_state, coalesce(v_text, 'all its nights are done'));
  END IF;
END $$;

-- The jobs of its nights that have not started, without the nightlies whose children have been made.
CREATE OR REPLACE FUNCTION meridian.backfill_idle(p_job uuid)
RETURNS TABLE (id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  SELECT j.id FROM job j
  WHERE j.ended_at IS NULL AND j.state IN ('waiting', 'queued')
    AND (j.parent IN (SELECT n.id FROM job n WHERE n.parent = p_job AND n.ended_at IS NULL)
      OR (j.parent = p_job AND NOT EXISTS (SELECT FROM job c WHERE c.parent = j.id)))
$$;

-- Holds them back, as jobs that may not start for a hundred years. Returns how many that were not held.
CREATE OR REPLACE FUNCTION meridian.backfill_hold(p_job uuid, p_actor text)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_ids uuid[] := ARRAY(SELECT j.id FROM job j WHERE j.id IN (SELECT i.id FROM backfill_idle(p_job) i)
    AND NOT coalesce(j.not_before > now() + interval '50 years', false) ORDER BY j.id FOR UPDATE);
BEGIN
  WITH moved AS (
    UPDATE job j SET state = 'waiting', not_before = now() + interval '100 years'
    FROM (SELECT o.id, o.state FROM job o WHERE o.id = ANY (v_ids)) b
    WHERE j.id = b.id AND j.state IN ('waiting', 'queued')
    RETURNING j.id, b.state AS before
  )
  INSERT INTO event (job, actor, from_state, to_state, reason)
  SELECT m.id, p_actor, m.before, 'waiting', 'held: backfill ' || p_job || ' is paused' FROM moved m;
  RETURN cardinality(v_ids);
END $$;

-- Running jobs go on; nothing new of it starts. False when it was paused already.
CREATE OR REPLACE FUNCTION meridian.backfill_pause(p_job uuid, p_actor text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
  PERFORM FROM job WHERE id = p_job AND kind = 'backfill' AND ended_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    PERFORM refuse_missing(format('there is no open backfill %s', p_job), 'see meridian backfill list');
  END IF;
  UPDATE backfill SET paused_at = now(), paused_by = p_actor WHERE job = p_job AND paused_at IS NULL;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM audit(p_job, NULL, p_actor, NULL, NULL, 'paused');
  PERFORM backfill_hold(p_job, p_actor);
  PERFORM wake();
  RETURN true;
END $$;

-- False when it was not paused.
CREATE OR REPLACE FUNCTION meridian.backfill_resume(p_job uuid, p_actor text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  v_ids uuid[];
BEGIN
  PERFORM FROM job WHERE id = p_job AND kind = 'backfill' AND ended_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    PERFORM refuse_missing(format('there is no open backfill %s', p_job), 'see meridian backfill list');
  END IF;
  UPDATE backfill SET paused_at = NULL, paused_by = NULL WHERE job = p_job AND paused_at IS NOT NULL;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM audit(p_job, NULL, p_actor, NULL, NULL, 'resumed');
  v_ids := ARRAY(SELECT j.id FROM job j WHERE j.id IN (SELECT i.id FROM backfill_idle(p_job) i)
    AND j.not_before > now() + interval '50 years' ORDER BY j.id FOR UPDATE);
  UPDATE job SET not_before = NULL WHERE id = ANY (v_ids);
  INSERT INTO event (job, actor, from_state, to_state, reason)
  SELECT i, p_actor, 'waiting', 'waiting', 'let go: backfill ' || p_job || ' goes on' FROM unnest(v_ids) AS i;
  PERFORM wake();
  RETURN true;
END $$;

-- One turn: makes the next nights of every open backfill, at most 100 each. Returns the jobs that are new.
CREATE OR REPLACE FUNCTION meridian.backfill_step(p_term bigint)
RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
  v_id uuid;
  v_parent job;
  v_backfill backfill;
  v_open integer;
  v_job uuid;
BEGIN
  PERFORM assert_term(p_term);
  -- A lookup each: there are few backfills, and a million jobs may wait.
  FOR v_id IN SELECT b.job FROM backfill b WHERE (SELECT j.ended_at IS NULL FROM job j WHERE j.id = b.job) ORDER BY b.job
  LOOP
    SELECT * INTO v_parent FROM job WHERE id = v_id FOR UPDATE;
    CONTINUE WHEN v_parent.ended_at IS NOT NULL;
    SELECT * INTO v_backfill FROM backfill WHERE job = v_id;
    IF v_parent.cancel_requested_at IS NULL AND v_backfill.paused_at IS NOT NULL THEN
      -- What was made while the pause was under way.
      PERFORM backfill_hold(v_id, v_backfill.paused_by);
    ELSIF v_parent.cancel_requested_at IS NULL THEN
      v_open := (backfill_count(v_id)).open;
      FOR turn IN 1..100 LOOP
        EXIT WHEN v_open >= v_backfill.cap OR v_backfill.next_night > v_backfill.last_night;
        v_job := backfill_make_night(v_backfill, v_parent, v_backfill.next_night);
        v_backfill.next_night := v_backfill.next_night + 1;
        IF v_job IS NOT NULL THEN
          v_open := v_open + 1;
          RETURN NEXT v_job;
        END IF;
      END LOOP;
      UPDATE backfill SET next_night = v_backfill.next_night WHERE job = v_id;
      UPDATE job SET started_at = coalesce(started_at, now()) WHERE id = v_id AND started_at IS NULL;
    END IF;
    PERFORM backfill_settle(v_parent);
  END LOOP;
END $$;
