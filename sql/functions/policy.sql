-- Limits, and what the leader keeps for the next one.

-- How many jobs of a region, or of a task, may have an open attempt at a time. A limit is used by open
-- attempts and nothing else, so whatever ends one gives its place back. True when something changed.
CREATE OR REPLACE FUNCTION meridian.limit_set(p_scope text, p_name text, p_max integer, p_actor text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  PERFORM limit_check(p_scope, p_name);
  IF p_max IS NULL OR p_max < 1 THEN
    PERFORM refuse(format('a limit of %s is none', coalesce(p_max::text, 'null')),
      'give at least 1, or hold everything back with meridian queue pause');
  END IF;
  INSERT INTO run_limit AS l (scope, name, max_running, set_by) VALUES (p_scope, p_name, p_max, p_actor)
  ON CONFLICT (scope, name) DO UPDATE SET max_running = excluded.max_running, set_by = excluded.set_by,
    set_at = now()
  WHERE l.max_running <> excluded.max_running;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM audit(NULL, NULL, p_actor, NULL, NULL, format('limited %s %s to %s', p_scope, p_name, p_max));
  RETURN true;
END $$;

-- False when there was none.
CREATE OR REPLACE FUNCTION meridian.limit_remove(p_scope text, p_name text, p_actor text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  PERFORM limit_check(p_scope, p_name);
  DELETE FROM run_limit WHERE scope = p_scope AND name = p_name;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM audit(NULL, NULL, p_actor, NULL, NULL, format('took the limit off %s %s', p_scope, p_name));
  RETURN true;
END $$;

CREATE OR REPLACE FUNCTION meridian.limit_check(p_scope text, p_name text)
RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  IF p_scope = 'market' THEN
    PERFORM refuse('the limit of a market is one of its settings',
      format('meridian market set %s --max-running N', p_name));
  ELSIF p_scope IS NULL OR p_scope NOT IN ('region', 'task') THEN
    PERFORM refuse(format('"%s" has no limits', p_scope), 'say region or task');
  ELSIF p_scope = 'region' AND NOT EXISTS (SELECT FROM region WHERE name = p_name) THEN
    PERFORM refuse_missing(format('there is no region "%s"', p_name), 'see meridian queue stats');
  ELSIF p_scope = 'task' AND NOT EXISTS (SELECT FROM task WHERE name = p_name) THEN
    PERFORM refuse_missing(format('there is no task "%s"', p_name), 'see meridian task list');
  END IF;
END $$;

-- What the last leader had learnt, the use of markets as it is worth now. Notes what the new one goes by:
-- views that say what it does read it.
CREATE OR REPLACE FUNCTION meridian.scheduler_recall(p_term bigint, p_half_life_ms bigint,
  p_priority_age_ms bigint, p_live_ms bigint)
RETURNS TABLE (what text, kind text, market text, task text, attempts bigint, amount double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM assert_term(p_term);
  INSERT INTO leader_policy AS l (priority_age_s, half_life_s, live_s)
  VALUES (p_priority_age_ms / 1000.0, p_half_life_ms / 1000.0, p_live_ms / 1000.0)
  ON CONFLICT (single) DO UPDATE SET priority_age_s = excluded.priority_age_s,
    half_life_s = excluded.half_life_s, live_s = excluded.live_s, changed_at = now();
  RETURN QUERY
    SELECT 'estimate', e.kind, e.market, e.task, e.attempts, e.seconds FROM estimate e
    UNION ALL
    SELECT 'use', NULL, u.market, NULL, NULL, u.used_s * power(0.5,
      least(1000, greatest(0, extract(epoch FROM clock_timestamp() - u.as_of)::float8 * 1000 / p_half_life_ms)))
    FROM market_use u;
END $$;

-- Keeps what the leader has learnt since the last time, and what it goes by.
CREATE OR REPLACE FUNCTION meridian.scheduler_keep(p_term bigint, p_kept jsonb)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  PERFORM assert_term(p_term);
  INSERT INTO estimate (kind, market, task, attempts, seconds)
  SELECT e.kind, coalesce(e.market, ''), coalesce(e.task, ''), e.attempts, e.seconds
  FROM jsonb_to_recordset(p_kept -> 'estimates')
    AS e(kind text, market text, task text, attempts bigint, seconds double precision)
  ORDER BY 1, 2, 3
  ON CONFLICT (kind, market, task) DO UPDATE SET attempts = excluded.attempts, seconds = excluded.seconds,
    changed_at = now();
  INSERT INTO market_use (market, used_s, as_of)
  SELECT coalesce(u.market, ''), u.used_s, clock_timestamp()
  FROM jsonb_to_recordset(p_kept -> 'uses') AS u(market text, used_s double precision) ORDER BY 1
  ON CONFLICT (market) DO UPDATE SET used_s = excluded.used_s, as_of = excluded.as_of;
END $$;

-- What orders waiting jobs, in seconds: the scheduler's core/order.h. Without ageing a point outweighs all
-- time.
CREATE OR REPLACE FUNCTION meridian.order_key(p_priority integer, p_queued_at timestamptz,
  p_age_s double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_age_s > 0
    THEN date_part('epoch', p_queued_at) - p_priority * p_age_s - floor((p_priority + 50) / 100.0) * 1e10
    ELSE date_part('epoch', p_queued_at) - p_priority * 1e10 END
$$;

-- Labels in the one form in which they are compared: common/job/labels.c.
CREATE OR REPLACE FUNCTION meridian.labels_sort(p_labels text)
RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(string_agg(l, ',' ORDER BY split_part(l, '=', 1) COLLATE "C"), '')
  FROM unnest(string_to_array(p_labels, ',')) AS l
$$;
