-- Schedules: a cron line (cron.sql) in a zone, or in each market's own, with written policies.
--
--   due ──► fired       a nightly with an id that derives from schedule, zone and nominal time
--     │──► buffered     an earlier one still runs: fires when that has ended
--     └──► skipped, refused   with the reason
--
-- Every time at which a schedule was due becomes one row of meridian.firing, whatever schedulers restart
-- or run beside each other: the row's key is schedule, zone and nominal time, and it is written in the
-- transaction that makes the job. schedule_zone says for each zone what comes next; a turn of the
-- scheduler only reads what is due there. Functions take the time as p_now: tests give their own.
-- Locks: the schedule, then its zone, then jobs.

-- How late a firing may be and still count as on time: a change of leader takes under ten seconds.
CREATE OR REPLACE FUNCTION meridian.schedule_grace()
RETURNS interval
LANGUAGE sql IMMUTABLE AS $$ SELECT interval '1 minute' $$;

-- The delay of one firing: the same whoever works it out, so that the nominal time stays what it is.
CREATE OR REPLACE FUNCTION meridian.schedule_jitter(p_name text, p_zone text, p_at timestamptz,
  p_jitter_s integer)
RETURNS interval
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_jitter_s = 0 THEN interval '0' ELSE make_interval(secs =>
    ('x' || left(encode(sha256(convert_to(format('jitter/%s/%s/%s', p_name, p_zone,
      (extract(epoch FROM p_at) * 1000)::bigint), 'UTF8')), 'hex'), 8))::bit(32)::bigint & 4294967295
      % (p_jitter_s + 1)) END
$$;

-- A time in a message.
CREATE OR REPLACE FUNCTION meridian.schedule_utc(p_at timestamptz)
RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT coalesce(to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), 'no time')
$$;

-- The zones a schedule fires in, and the markets of each (empty = every market, zone is fixed).
CREATE OR REPLACE FUNCTION meridian.schedule_zones(p_schedule meridian.schedule)
RETURNS TABLE (timezone text, markets text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  SELECT p_schedule.timezone, p_schedule.markets WHERE p_schedule.timezone <> 'market'
  UNION ALL
  SELECT m.timezone, array_agg(m.code ORDER BY m.code)
  FROM meridian.market m
  WHERE p_schedule.timezone = 'market' AND m.removed_at IS NULL
    AND (cardinality(p_schedule.markets) = 0 OR m.code = ANY (p_schedule.markets))
  GROUP BY m.timezone
$$;

-- What comes next ---------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION meridian.schedule_aim(p_schedule meridian.schedule, p_zone text,
  p_after timestamptz, OUT next_at timestamptz, OUT due_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_found record;
BEGIN
  IF p_schedule.paused THEN
    RETURN;
  END IF;
  SELECT * INTO v_found FROM cron_seek(p_schedule.cron, p_zone, p_after, p_schedule.gap, p_schedule.overlap);
  IF NOT FOUND THEN
    RETURN;
  END IF;
  due_at := v_found.at + schedule_jitter(p_schedule.name, p_zone, v_found.at, p_schedule.jitter_s);
  next_at := CASE WHEN v_found.fires THEN v_found.at
    ELSE cron_next(p_schedule.cron, p_zone, v_found.at, p_schedule.gap, p_schedule.overlap) END;
END $$;

-- Sets up the zones that the schedule fires in, and drops those in which no market is left. p_restart:
-- also those that were there begin anew, at p_now.
CREATE OR REPLACE FUNCTION meridian.schedule_sync(p_schedule meridian.schedule, p_restart boolean,
  p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_zone record;
  v_aim record;
BEGIN
  DELETE FROM schedule_zone z
  WHERE z.schedule = p_schedule.name AND z.timezone NOT IN (SELECT s.timezone FROM schedule_zones(p_schedule) s);
  FOR v_zone IN
    SELECT s.timezone, CASE WHEN p_restart THEN p_now
      -- Made by a release that kept no zones: goes on where that one stood.
      WHEN p_schedule.synced_at IS NULL THEN greatest(p_schedule.changed_at, (SELECT max(f.nominal_at)
        FROM firing f WHERE f.schedule = p_schedule.name AND f.timezone = s.timezone))
      ELSE coalesce(z.decided_until, p_now) END AS after
    FROM schedule_zones(p_schedule) s
    LEFT JOIN schedule_zone z ON z.schedule = p_schedule.name AND z.timezone = s.timezone
    ORDER BY s.timezone
  LOOP
    v_aim := schedule_aim(p_schedule, v_zone.timezone, v_zone.after);
    INSERT INTO schedule_zone (schedule, timezone, decided_until, next_at, due_at, checked_at)
    VALUES (p_schedule.name, v_zone.timezone, v_zone.after, v_aim.next_at, v_aim.due_at, p_now)
    ON CONFLICT (schedule, timezone) DO UPDATE SET decided_until = excluded.decided_until,
      next_at = excluded.next_at, due_at = excluded.due_at, checked_at = excluded.checked_at, error_text = NULL;
  END LOOP;
END $$;

-- A market that comes, goes or changes its zone moves the schedules that read its zone.
CREATE OR REPLACE FUNCTION meridian.schedule_follow_market()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_schedule schedule;
BEGIN
  IF TG_OP = 'UPDATE' AND OLD.timezone = NEW.timezone AND OLD.removed_at IS NOT DISTINCT FROM NEW.removed_at THEN
    RETURN NULL;
  END IF;
  FOR v_schedule IN SELECT * FROM schedule s
    WHERE s.timezone = 'market' AND s.synced_at IS NOT NULL
      AND (cardinality(s.markets) = 0 OR NEW.code = ANY (s.markets)) ORDER BY s.name
  LOOP
    IF TG_OP = 'UPDATE' AND OLD.timezone <> NEW.timezone AND NEW.removed_at IS NULL THEN
      PERFORM audit(NULL, NULL, NULL, NULL, NULL,
        format('schedule %s follows market %s from %s to %s', v_schedule.name, NEW.code, OLD.timezone,
          NEW.timezone));
    END IF;
    PERFORM schedule_sync(v_schedule, false, clock_timestamp());
  END LOOP;
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER schedule_follow_market AFTER INSERT OR UPDATE OF timezone, removed_at ON meridian.market
  FOR EACH ROW EXECUTE FUNCTION meridian.schedule_follow_market();

-- A few zones at each turn, each once an hour: where the zone tables have changed (a government changed
-- its mind, the operating system was updated) the next time is another. Also repairs what was set up
-- while a market changed in another session.
CREATE OR REPLACE FUNCTION meridian.schedule_check(p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_schedule schedule;
  v_key record;
  v_zone schedule_zone;
  v_aim record;
BEGIN
  FOR v_schedule IN SELECT * FROM schedule WHERE synced_at IS NULL OR synced_at < p_now - interval '1 hour'
                    ORDER BY synced_at NULLS FIRST LIMIT 8 FOR UPDATE SKIP LOCKED
  LOOP
    BEGIN
      IF v_schedule.synced_at IS NULL OR EXISTS (
        SELECT FROM schedule_zones(v_schedule) s
        FULL JOIN (SELECT o.timezone FROM schedule_zone o WHERE o.schedule = v_schedule.name) z USING (timezone)
        WHERE s.markets IS NULL OR z.timezone IS NULL) THEN
        PERFORM schedule_sync(v_schedule, false, p_now);
      END IF;
    EXCEPTION WHEN data_exception THEN
      PERFORM audit(NULL, NULL, 'scheduler', NULL, NULL, format('schedule %s cannot be set up: %s', v_schedule.name,
        SQLERRM));
    END;
    UPDATE schedule SET synced_at = p_now WHERE name = v_schedule.name;
  END LOOP;
  FOR v_key IN SELECT z.schedule, z.timezone FROM schedule_zone z
               WHERE z.checked_at < p_now - interval '1 hour' ORDER BY z.checked_at LIMIT 8
  LOOP
    SELECT * INTO v_schedule FROM schedule WHERE name = v_key.schedule FOR SHARE;
    SELECT * INTO v_zone FROM schedule_zone z
    WHERE z.schedule = v_key.schedule AND z.timezone = v_key.timezone FOR UPDATE;
    CONTINUE WHEN NOT FOUND;
    BEGIN
      v_aim := schedule_aim(v_schedule, v_zone.timezone, v_zone.decided_until);
      IF v_zone.error_text IS NULL AND v_aim.next_at IS DISTINCT FROM v_zone.next_at THEN
        PERFORM audit(NULL, NULL, 'scheduler', NULL, NULL, format(
          'schedule %s: the clocks of %s have new rules, it fires next at %s instead of %s', v_schedule.name,
          v_zone.timezone, schedule_utc(v_aim.next_at), schedule_utc(v_zone.next_at)));
      END IF;
      UPDATE schedule_zone z SET next_at = v_aim.next_at, due_at = v_aim.due_at, checked_at = p_now,
        error_text = NULL
      WHERE z.schedule = v_key.schedule AND z.timezone = v_key.timezone;
    EXCEPTION WHEN data_exception THEN
      UPDATE schedule_zone z SET checked_at = p_now, error_text = SQLERRM
      WHERE z.schedule = v_key.schedule AND z.timezone = v_key.timezone;
    END;
  END LOOP;
END $$;

-- Firing ------------------------------------------------------------------------------------------

-- The open jobs of earlier firings, newest first; a job that was retried counts as its retry.
CREATE OR REPLACE FUNCTION meridian.schedule_open_jobs(p_name text, p_zone text)
RETURNS TABLE (job uuid, nominal_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  SELECT j.id, f.nominal_at
  FROM (SELECT f.job, f.nominal_at FROM firing f
        WHERE f.schedule = p_name AND f.timezone = p_zone AND f.outcome = 'fired'
        ORDER BY f.nominal_at DESC LIMIT 20) f
  JOIN job j ON j.id = job_newest(f.job)
  WHERE j.ended_at IS NULL
  ORDER BY f.nominal_at DESC
$$;

-- What did not fire, and why.
CREATE OR REPLACE FUNCTION meridian.schedule_pass(p_schedule meridian.schedule, p_zone text,
  p_at timestamptz, p_local timestamp, p_outcome text, p_reason text, p_why text, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  INSERT INTO firing AS f (schedule, timezone, nominal_at, fired_at, outcome, reason, why, markets, local_at)
  SELECT p_schedule.name, p_zone, p_at, p_now, p_outcome, p_reason, p_why, coalesce((SELECT z.markets
    FROM schedule_zones(p_schedule) z WHERE z.timezone = p_zone), '{}'), p_local
  ON CONFLICT (schedule, timezone, nominal_at) DO UPDATE SET outcome = excluded.outcome,
    reason = excluded.reason, why = excluded.why, fired_at = excluded.fired_at
  WHERE f.outcome = 'buffered' AND excluded.outcome <> 'buffered';
  IF FOUND THEN
    PERFORM audit(NULL, NULL, 'scheduler', NULL, NULL, format('schedule %s, %s %s: %s: %s', p_schedule.name,
      to_char(p_local, 'YYYY-MM-DD HH24:MI'), p_zone, p_outcome, p_why),
      jsonb_build_object('timezone', p_zone, 'nominal_at', p_at, 'reason', p_reason));
  END IF;
END $$;

-- One firing as a waiting nightly, exactly once: the id derives from what fires, and the firing is
-- recorded with it. Null when this time was dealt with before.
CREATE OR REPLACE FUNCTION meridian.schedule_start(p_schedule meridian.schedule, p_zone text,
  p_markets text[], p_at timestamptz, p_local timestamp, p_actor text, p_now timestamptz)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_id uuid := uuid_derive(format('schedule/%s/%s/%s', p_schedule.name, p_zone,
    to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')));
BEGIN
  IF EXISTS (SELECT FROM firing WHERE schedule = p_schedule.name AND timezone = p_zone
             AND nominal_at = p_at AND outcome <> 'buffered') THEN
    RETURN NULL;
  END IF;
  INSERT INTO job (id, kind, task, state, spec, priority, night, submitted_by)
  VALUES (v_id, p_schedule.kind, p_schedule.task, 'waiting',
    p_schedule.spec || jsonb_build_object('markets', p_markets),
    p_schedule.priority, (p_at AT TIME ZONE p_zone)::date, 'schedule ' || p_schedule.name)
  ON CONFLICT (id) DO NOTHING;
  INSERT INTO firing AS f (schedule, timezone, nominal_at, job, fired_at, markets, local_at)
  VALUES (p_schedule.name, p_zone, p_at, v_id, p_now, p_markets, p_local)
  ON CONFLICT (schedule, timezone, nominal_at) DO UPDATE SET outcome = 'fired', job = excluded.job,
    fired_at = excluded.fired_at, markets = excluded.markets, reason = NULL, why = NULL
  WHERE f.outcome = 'buffered';
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  PERFORM audit(v_id, NULL, p_actor, NULL, 'waiting', 'schedule ' || p_schedule.name || ' fired',
    jsonb_build_object('timezone', p_zone, 'nominal_at', p_at));
  RETURN v_id;
END $$;

-- The markets of a firing. One that had the same or a later local time in another zone already (its
-- zone was changed in between) does not get its night twice. Null when none is left, with the reason.
CREATE OR REPLACE FUNCTION meridian.schedule_markets(p_schedule meridian.schedule, p_zone text,
  p_at timestamptz, p_local timestamp, OUT markets text[], OUT reason text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_all text[];
BEGIN
  SELECT z.markets INTO v_all FROM schedule_zones(p_schedule) z WHERE z.timezone = p_zone;
  IF p_schedule.timezone <> 'market' AND cardinality(v_all) = 0 THEN
    markets := v_all;
    RETURN;
  END IF;
  v_all := ARRAY(SELECT m.code FROM market m WHERE m.code = ANY (v_all) AND m.removed_at IS NULL ORDER BY m.code);
  markets := ARRAY(SELECT c FROM unnest(v_all) AS c
    WHERE p_schedule.timezone <> 'market' OR NOT EXISTS (
      SELECT FROM firing f
      WHERE f.schedule = p_schedule.name AND f.timezone <> p_zone AND f.outcome IN ('fired', 'buffered')
        AND f.nominal_at > p_at - interval '2 days' AND f.local_at >= p_local AND c = ANY (f.markets))
    ORDER BY c);
  IF cardinality(markets) = 0 THEN
    markets := NULL;
    reason := CASE WHEN cardinality(v_all) > 0 THEN 'moved' ELSE 'no_market' END;
  END IF;
END $$;

-- A firing whose turn has come. Null when it did not start.
CREATE OR REPLACE FUNCTION meridian.schedule_decide(p_schedule meridian.schedule, p_zone text,
  p_at timestamptz, p_local timestamp, p_now timestamptz)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_for record := schedule_markets(p_schedule, p_zone, p_at, p_local);
  v_open record;
  v_old record;
BEGIN
  IF v_for.markets IS NULL THEN
    PERFORM schedule_pass(p_schedule, p_zone, p_at, p_local,
      CASE v_for.reason WHEN 'moved' THEN 'skipped' ELSE 'refused' END, v_for.reason,
      CASE v_for.reason WHEN 'moved' THEN 'its markets had this night already, in the zone they were in before'
        ELSE 'none of its markets is in use any more' END, p_now);
    RETURN NULL;
  END IF;
  SELECT * INTO v_open FROM schedule_open_jobs(p_schedule.name, p_zone) LIMIT 1;
  IF p_schedule.running = 'skip' AND v_open.job IS NOT NULL THEN
    PERFORM schedule_pass(p_schedule, p_zone, p_at, p_local, 'skipped', 'running', format(
      'the firing of %s still runs (job %s)', to_char(v_open.nominal_at AT TIME ZONE p_zone,
        'YYYY-MM-DD HH24:MI'), v_open.job), p_now);
    RETURN NULL;
  ELSIF p_schedule.running = 'buffer' AND (v_open.job IS NOT NULL OR EXISTS (SELECT FROM firing f
      WHERE f.schedule = p_schedule.name AND f.timezone = p_zone AND f.outcome = 'buffered')) THEN
    PERFORM schedule_pass(p_schedule, p_zone, p_at, p_local, 'buffered', NULL,
      'starts when the earlier firing has ended', p_now);
    -- One waits; of those that are caught up ('all'), all that may be. The newest stay.
    FOR v_old IN SELECT f.nominal_at, f.local_at FROM firing f
      WHERE f.schedule = p_schedule.name AND f.timezone = p_zone AND f.outcome = 'buffered'
      ORDER BY f.nominal_at DESC OFFSET CASE p_schedule.missed WHEN 'all' THEN p_schedule.missed_max ELSE 1 END
    LOOP
      PERFORM schedule_pass(p_schedule, p_zone, v_old.nominal_at, v_old.local_at, 'skipped', 'replaced',
        format('the firing of %s came while it waited', to_char(p_local, 'YYYY-MM-DD HH24:MI')), p_now);
    END LOOP;
    RETURN NULL;
  ELSIF p_schedule.running = 'cancel' AND v_open.job IS NOT NULL THEN
    PERFORM job_cancel(ARRAY(SELECT o.job FROM schedule_open_jobs(p_schedule.name, p_zone) o ORDER BY 1),
      'schedule ' || p_schedule.name);
  END IF;
  RETURN schedule_start(p_schedule, p_zone, v_for.markets, p_at, p_local, 'scheduler', p_now);
END $$;

-- Why a time that came due while no scheduler led is not caught up, or null. p_rank counts from the
-- newest, 1.
CREATE OR REPLACE FUNCTION meridian.schedule_missed(p_schedule meridian.schedule, p_at timestamptz,
  p_rank bigint, p_now timestamptz)
RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT 'no scheduler was at work when it was due; ' || CASE p_schedule.missed
    WHEN 'skip' THEN 'what is missed is skipped'
    WHEN 'latest' THEN CASE WHEN p_rank > 1 THEN 'only the latest is caught up' END
    ELSE CASE WHEN p_rank > p_schedule.missed_max THEN format('the latest %s are caught up', p_schedule.missed_max)
      WHEN p_at < p_now - make_interval(secs => p_schedule.missed_window_s)
        THEN format('it is %s old, more than is caught up', date_trunc('hour', p_now - p_at)) END END
$$;

-- Everything that is due in one zone. Returns the jobs that are new.
CREATE OR REPLACE FUNCTION meridian.schedule_fire_zone(p_name text, p_zone text, p_now timestamptz)
RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_schedule schedule;
  v_zone schedule_zone;
  v_row record;
  v_why text;
  v_job uuid;
  v_aim record;
BEGIN
  SELECT * INTO v_schedule FROM schedule WHERE name = p_name FOR SHARE;
  SELECT * INTO v_zone FROM schedule_zone WHERE schedule = p_name AND timezone = p_zone FOR UPDATE;
  IF v_zone.due_at IS NULL OR v_zone.due_at > p_now OR v_schedule.paused THEN
    RETURN; -- somebody changed it, or was faster
  END IF;
  FOR v_row IN
    WITH back AS MATERIALIZED (
      SELECT b.*, b.at + schedule_jitter(p_name, p_zone, b.at, v_schedule.jitter_s) AS due
      FROM cron_back(v_schedule.cron, p_zone, v_zone.decided_until, p_now, 101, v_schedule.gap,
        v_schedule.overlap) b
    )
    -- In the order of nominal times: with jitter, a later one must wait for an earlier.
    SELECT b.*, count(*) FILTER (WHERE b.fires) OVER (ORDER BY b.at DESC) AS rank,
      row_number() OVER (ORDER BY b.at DESC) AS turn
    FROM back b WHERE b.at < coalesce((SELECT min(o.at) FROM back o WHERE o.due > p_now), 'infinity')
    ORDER BY b.at
  LOOP
    v_why := CASE WHEN v_row.due < p_now - schedule_grace()
      THEN schedule_missed(v_schedule, v_row.at, v_row.rank, p_now) END;
    IF v_row.turn > 100 THEN
      PERFORM audit(NULL, NULL, 'scheduler', NULL, NULL, format(
        'schedule %s: all firings in %s from %s to %s were missed, more than are listed one by one', p_name,
        p_zone, schedule_utc(v_zone.decided_until), schedule_utc(v_row.at)));
    ELSIF NOT v_row.fires THEN
      IF v_row.mark = 'gap' THEN
        PERFORM schedule_pass(v_schedule, p_zone, v_row.at, v_row.wanted, 'skipped', 'gap', format(
          '%s does not exist that day: clocks jump over it to %s', to_char(v_row.wanted, 'HH24:MI'),
          to_char(v_row.at AT TIME ZONE p_zone, 'HH24:MI')), p_now);
      END IF;
    ELSIF v_why IS NOT NULL THEN
      PERFORM schedule_pass(v_schedule, p_zone, v_row.at, v_row.wanted, 'skipped', 'missed', v_why, p_now);
    ELSE
      v_job := schedule_decide(v_schedule, p_zone, v_row.at, v_row.wanted, p_now);
      IF v_job IS NOT NULL THEN
        RETURN NEXT v_job;
      END IF;
    END IF;
    v_zone.decided_until := v_row.at;
  END LOOP;
  v_aim := schedule_aim(v_schedule, p_zone, v_zone.decided_until);
  UPDATE schedule_zone SET decided_until = v_zone.decided_until, next_at = v_aim.next_at,
    due_at = v_aim.due_at, checked_at = p_now, error_text = NULL
  WHERE schedule = p_name AND timezone = p_zone;
END $$;

-- The same; a zone that cannot be read any more, or a job that cannot be made, holds up nothing else:
-- it is noted, and tried again after five minutes.
CREATE OR REPLACE FUNCTION meridian.schedule_fire_safely(p_name text, p_zone text, p_now timestamptz)
RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  RETURN QUERY SELECT f FROM schedule_fire_zone(p_name, p_zone, p_now) AS f;
EXCEPTION
  WHEN data_exception OR check_violation OR not_null_violation OR foreign_key_violation
       OR SQLSTATE 'MR004' OR SQLSTATE 'MR002' THEN
    PERFORM audit(NULL, NULL, 'scheduler', NULL, NULL, format('schedule %s cannot fire in %s: %s', p_name, p_zone,
      SQLERRM))
    FROM schedule_zone WHERE schedule = p_name AND timezone = p_zone AND error_text IS DISTINCT FROM SQLERRM;
    UPDATE schedule_zone SET error_text = SQLERRM, due_at = p_now + interval '5 minutes'
    WHERE schedule = p_name AND timezone = p_zone;
END $$;

-- Firings that waited for an earlier one which has ended: the oldest of each zone.
CREATE OR REPLACE FUNCTION meridian.schedule_unbuffer(p_now timestamptz)
RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_key record;
  v_schedule schedule;
  v_for firing;
  v_left text[];
  v_job uuid;
BEGIN
  FOR v_key IN SELECT f.schedule, f.timezone, min(f.nominal_at) AS at FROM firing f WHERE f.outcome = 'buffered'
               GROUP BY f.schedule, f.timezone ORDER BY 3, 1, 2 LIMIT 200
  LOOP
    SELECT * INTO v_schedule FROM schedule WHERE name = v_key.schedule FOR SHARE;
    CONTINUE WHEN v_schedule.paused
      OR EXISTS (SELECT FROM schedule_open_jobs(v_key.schedule, v_key.timezone));
    SELECT f.* INTO v_for FROM firing f WHERE f.schedule = v_key.schedule AND f.timezone = v_key.timezone
      AND f.nominal_at = v_key.at AND f.outcome = 'buffered' FOR UPDATE;
    CONTINUE WHEN NOT FOUND;
    v_left := ARRAY(SELECT m.code FROM market m
      WHERE m.code = ANY (v_for.markets) AND m.removed_at IS NULL ORDER BY m.code);
    IF cardinality(v_for.markets) > 0 AND cardinality(v_left) = 0 THEN
      PERFORM schedule_pass(v_schedule, v_key.timezone, v_key.at, v_for.local_at, 'refused', 'no_market',
        'none of its markets is in use any more', p_now);
      CONTINUE;
    END IF;
    v_job := schedule_start(v_schedule, v_key.timezone, v_left, v_key.at, v_for.local_at, 'scheduler', p_now);
    IF v_job IS NOT NULL THEN
      RETURN NEXT v_job;
    END IF;
  END LOOP;
END $$;

-- One turn of the scheduler: fires what is due and returns the jobs that are new. At most 200 zones; the
-- next turn goes on.
CREATE OR REPLACE FUNCTION meridian.schedule_fire(p_term bigint, p_now timestamptz DEFAULT clock_timestamp())
RETURNS TABLE (job uuid, schedule text, task text, markets text[], night date, priority integer,
  spec jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_key record;
  v_new uuid[] := '{}';
BEGIN
  PERFORM assert_term(p_term);
  PERFORM schedule_check(p_now);
  FOR v_key IN SELECT z.schedule, z.timezone FROM schedule_zone z WHERE z.due_at <= p_now
               ORDER BY z.due_at, z.schedule, z.timezone LIMIT 200
  LOOP
    v_new := v_new || ARRAY(SELECT f FROM schedule_fire_safely(v_key.schedule, v_key.timezone, p_now) AS f);
  END LOOP;
  IF EXISTS (SELECT FROM firing f WHERE f.outcome = 'buffered') THEN
    v_new := v_new || ARRAY(SELECT f FROM schedule_unbuffer(p_now) AS f);
  END IF;
  RETURN QUERY SELECT j.id, f.schedule, j.task, f.markets, j.night, j.priority, j.spec
    FROM unnest(v_new) AS n(id) JOIN job j ON j.id = n.id JOIN firing f ON f.job = j.id;
END $$;

-- What people do ----------------------------------------------------------------------------------

-- Refuses what a schedule may not be.
CREATE OR REPLACE FUNCTION meridian.schedule_refuse(p_new meridian.schedule, p_now timestamptz)
RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_missing text;
  v_what text := format('schedule "%s": ', p_new.name);
BEGIN
  IF p_new.cron IS NULL THEN
    PERFORM refuse(format('schedule "%s" is new and needs a cron line', p_new.name), 'add --cron "30 2 * * *"');
  ELSIF p_new.task IS NULL OR NOT EXISTS (SELECT FROM task WHERE name = p_new.task) THEN
    PERFORM refuse(v_what || format('there is no task "%s"', coalesce(p_new.task, '')),
      'name a task that has data: --task NAME');
  ELSIF jsonb_typeof(p_new.spec) <> 'object' THEN
    PERFORM refuse(v_what || 'the spec must be a JSON object');
  ELSIF p_new.priority NOT BETWEEN -1000 AND 1000 THEN
    PERFORM refuse(v_what || format('the priority %s is not within -1000..1000', p_new.priority));
  ELSIF p_new.gap NOT IN ('next', 'skip') THEN
    PERFORM refuse(v_what || format('gap "%s" is unknown', p_new.gap), 'next or skip');
  ELSIF p_new.overlap NOT IN ('first', 'second', 'both') THEN
    PERFORM refuse(v_what || format('overlap "%s" is unknown', p_new.overlap), 'first, second or both');
  ELSIF p_new.missed NOT IN ('skip', 'latest', 'all') THEN
    PERFORM refuse(v_what || format('missed "%s" is unknown', p_new.missed), 'skip, latest or all');
  ELSIF p_new.missed_max NOT BETWEEN 1 AND 100 THEN
    PERFORM refuse(v_what || format('missed-max %s is not within 1..100', p_new.missed_max));
  ELSIF p_new.missed_window_s NOT BETWEEN 60 AND 31622400 THEN
    PERFORM refuse(v_what || 'missed-window is not within a minute and 366 days');
  ELSIF p_new.running NOT IN ('skip', 'buffer', 'cancel', 'allow') THEN
    PERFORM refuse(v_what || format('running "%s" is unknown', p_new.running), 'skip, buffer, cancel or allow');
  ELSIF p_new.jitter_s NOT BETWEEN 0 AND 86400 THEN
    PERFORM refuse(v_what || 'jitter is not within 0 and 24 hours');
  ELSIF p_new.missed = 'all' AND p_new.running IN ('skip', 'cancel') THEN
    PERFORM refuse(v_what || format('missed all with running %s would undo what it catches up', p_new.running),
      'choose --running buffer or allow');
  END IF;
  PERFORM cron_parse(p_new.cron);
  IF p_new.timezone <> 'market' THEN
    PERFORM zone_check(p_new.timezone);
  END IF;
  SELECT min(s.code) INTO v_missing FROM unnest(p_new.markets) AS s(code)
  WHERE NOT EXISTS (SELECT FROM market m WHERE m.code = s.code AND m.removed_at IS NULL);
  IF v_missing IS NOT NULL THEN
    PERFORM refuse(v_what || format('there is no market "%s"', v_missing), 'see meridian market list');
  ELSIF cron_next(p_new.cron, 'UTC', p_now) IS NULL THEN
    PERFORM refuse(v_what || format('"%s" never comes', p_new.cron));
  END IF;
END $$;

-- Makes or changes a schedule; null keeps (or takes the default). Returns true when it is new. A change
-- of when it fires, or the end of a pause, begins anew: nothing from before is caught up.
CREATE OR REPLACE FUNCTION meridian.schedule_set(p_name text, p_cron text, p_timezone text,
  p_task text, p_markets text[], p_spec jsonb, p_priority integer, p_paused boolean, p_actor text,
  p_gap text DEFAULT NULL, p_overlap text DEFAULT NULL, p_missed text DEFAULT NULL,
  p_missed_max integer DEFAULT NULL, p_missed_window_s integer DEFAULT NULL, p_running text DEFAULT NULL,
  p_jitter_s integer DEFAULT NULL, p_now timestamptz DEFAULT clock_timestamp())
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_old schedule;
  v_new schedule;
  v_is_new boolean;
BEGIN
  SELECT * INTO v_old FROM schedule WHERE name = p_name FOR UPDATE;
  v_is_new := NOT FOUND;
  v_new := v_old;
  v_new.name := p_name;
  v_new.cron := coalesce(p_cron, v_old.cron);
  v_new.timezone := coalesce(p_timezone, v_old.timezone, 'market');
  v_new.kind := 'nightly';
  v_new.task := coalesce(p_task, v_old.task);
  v_new.markets := coalesce(p_markets, v_old.markets, '{}');
  v_new.spec := coalesce(p_spec, v_old.spec, '{}');
  v_new.priority := coalesce(p_priority, v_old.priority, 0);
  v_new.paused := coalesce(p_paused, v_old.paused, false);
  v_new.created_at := coalesce(v_old.created_at, p_now);
  v_new.changed_at := p_now;
  v_new.synced_at := p_now;
  v_new.gap := coalesce(p_gap, v_old.gap, 'next');
  v_new.overlap := coalesce(p_overlap, v_old.overlap, 'first');
  v_new.missed := coalesce(p_missed, v_old.missed, 'latest');
  v_new.missed_max := coalesce(p_missed_max, v_old.missed_max, 7);
  v_new.missed_window_s := coalesce(p_missed_window_s, v_old.missed_window_s, 604800);
  v_new.running := coalesce(p_running, v_old.running, 'buffer');
  v_new.jitter_s := coalesce(p_jitter_s, v_old.jitter_s, 0);
  PERFORM schedule_refuse(v_new, p_now);
  INSERT INTO schedule SELECT v_new.*
  ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, timezone = excluded.timezone,
    task = excluded.task, markets = excluded.markets, spec = excluded.spec,
    priority = excluded.priority, paused = excluded.paused, changed_at = excluded.changed_at,
    synced_at = excluded.synced_at, gap = excluded.gap, overlap = excluded.overlap, missed = excluded.missed,
    missed_max = excluded.missed_max, missed_window_s = excluded.missed_window_s, running = excluded.running,
    jitter_s = excluded.jitter_s;
  v_new.synced_at := CASE WHEN v_is_new THEN p_now ELSE v_old.synced_at END;
  PERFORM schedule_sync(v_new, v_is_new OR (v_old.paused AND NOT v_new.paused)
    OR (v_old.cron, v_old.timezone, v_old.gap, v_old.overlap)
      IS DISTINCT FROM (v_new.cron, v_new.timezone, v_new.gap, v_new.overlap), p_now);
  PERFORM audit(NULL, NULL, p_actor, NULL, NULL,
    CASE WHEN v_is_new THEN 'added schedule ' ELSE 'changed schedule ' END || p_name, to_jsonb(v_new));
  RETURN v_is_new;
EXCEPTION
  WHEN check_violation THEN
    PERFORM refuse(format('"%s" is not a name for a schedule', left(p_name, 100)),
      'use letters, digits, dot, - and _; at most 64');
END $$;

CREATE OR REPLACE FUNCTION meridian.schedule_rm(p_name text, p_actor text)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  DELETE FROM schedule WHERE name = p_name;
  IF NOT FOUND THEN
    PERFORM refuse_missing(format('there is no schedule "%s"', p_name), 'see meridian schedule list');
  END IF;
  UPDATE firing SET outcome = 'skipped', reason = 'removed',
    why = format('%s removed the schedule while it waited', p_actor)
  WHERE schedule = p_name AND outcome = 'buffered';
  PERFORM audit(NULL, NULL, p_actor, NULL, NULL, 'removed schedule ' || p_name);
END $$;

-- Fires now, whatever the cron line, a pause or an earlier firing that still runs say; each of its zones
-- gets a nightly of its own local date. Asked twice within a second it fires once.
CREATE OR REPLACE FUNCTION meridian.schedule_run(p_name text, p_actor text)
RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_schedule schedule;
BEGIN
  SELECT * INTO v_schedule FROM schedule WHERE name = p_name FOR SHARE;
  IF NOT FOUND THEN
    PERFORM refuse_missing(format('there is no schedule "%s"', p_name), 'see meridian schedule list');
  END IF;
  RETURN QUERY SELECT schedule_start(v_schedule, z.timezone, z.markets, date_trunc('second', now()), NULL,
      p_actor, now())
    FROM schedule_zones(v_schedule) z ORDER BY z.timezone;
  PERFORM wake();
END $$;

-- "UTC+05:30"
CREATE OR REPLACE FUNCTION meridian.zone_offset(p_zone text, p_at timestamptz)
RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT 'UTC' || CASE WHEN o < interval '0' THEN '-' ELSE '+' END ||
    to_char(CASE WHEN o < interval '0' THEN -o ELSE o END, 'HH24:MI')
  FROM (SELECT (p_at AT TIME ZONE p_zone) - (p_at AT TIME ZONE 'UTC') AS o) AS offset_
$$;

-- The next n firings over all of the schedule's zones, soonest first, with a note where clocks matter.
CREATE OR REPLACE FUNCTION meridian.schedule_next(p_name text, p_count integer DEFAULT 5,
  p_after timestamptz DEFAULT now())
RETURNS TABLE (local timestamp, timezone text, at timestamptz, markets text[], starts_at timestamptz,
  fires boolean, note text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  v_schedule schedule;
BEGIN
  SELECT * INTO v_schedule FROM schedule WHERE name = p_name;
  IF NOT FOUND THEN
    PERFORM refuse_missing(format('there is no schedule "%s"', p_name), 'see meridian schedule list');
  END IF;
  RETURN QUERY
    WITH RECURSIVE firing AS (
      SELECT z.timezone, z.markets, 0 AS n, p_after AS at, NULL::timestamp AS wanted, NULL::text AS mark,
        NULL::boolean AS fires
      FROM schedule_zones(v_schedule) z
      UNION ALL
      SELECT f.timezone, f.markets, n + (s.fires OR s.mark = 'gap')::integer, s.at, s.wanted, s.mark, s.fires
      FROM firing f
      CROSS JOIN LATERAL cron_seek(v_schedule.cron, f.timezone, f.at, v_schedule.gap, v_schedule.overlap) s
      WHERE n < least(p_count, 1000)
    )
    SELECT f.at AT TIME ZONE f.timezone, f.timezone, f.at, f.markets,
      f.at + schedule_jitter(p_name, f.timezone, f.at, v_schedule.jitter_s), f.fires,
      concat_ws('; ', CASE
        WHEN f.mark = 'gap' AND f.fires THEN format('%s does not exist: fires after the gap',
          to_char(f.wanted, 'HH24:MI'))
        WHEN f.mark = 'gap' THEN format('%s does not exist: skipped', to_char(f.wanted, 'HH24:MI'))
        ELSE 'comes twice: the ' || f.mark || ' time' END,
        CASE WHEN f.moved THEN format('clocks have changed: %s, was %s', zone_offset(f.timezone, f.at),
          zone_offset(f.timezone, f.before)) END)
    FROM (SELECT o.*, lag(o.at) OVER (PARTITION BY o.timezone ORDER BY o.at) AS before,
        zone_offset(o.timezone, o.at) <> lag(zone_offset(o.timezone, o.at))
          OVER (PARTITION BY o.timezone ORDER BY o.at) AS moved
      FROM firing o WHERE o.fires IS NULL OR o.fires OR o.mark = 'gap') f
    WHERE f.fires IS NOT NULL
    ORDER BY f.at, f.timezone LIMIT p_count;
END $$;

-- Where clocks will skip, shift or double a schedule: one row a zone, change of its clocks and kind.
--   skip    the time does not exist and is left out, or falls together with another firing
--   shift   it does not exist: fires after the gap
--   double  it comes twice and fires twice
--   once    it comes twice and fires once, so that an hour of the line is silent
CREATE OR REPLACE FUNCTION meridian.schedule_shifts(p_name text, p_from timestamptz DEFAULT now(),
  p_until timestamptz DEFAULT now() + interval '2 years')
RETURNS TABLE (day date, timezone text, markets text[], at timestamptz, what text, times integer, note text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
  v_schedule schedule;
  v_line cron_line;
BEGIN
  SELECT * INTO v_schedule FROM schedule WHERE name = p_name;
  IF NOT FOUND THEN
    PERFORM refuse_missing(format('there is no schedule "%s"', p_name), 'see meridian schedule list');
  END IF;
  v_line := cron_parse(v_schedule.cron);
  RETURN QUERY
    WITH change AS MATERIALIZED (
      SELECT z.timezone, z.markets, s.begins
      FROM schedule_zones(v_schedule) z
      CROSS JOIN LATERAL zone_spans(z.timezone, p_from, p_until) s
      WHERE s.begins > p_from AND s.begins <= p_until
    ), marked AS MATERIALIZED (
      SELECT c.timezone, c.markets, c.begins, t.at, t.wanted, t.mark, EXISTS (
          SELECT FROM cron_days(v_line, c.timezone, (c.begins AT TIME ZONE c.timezone)::date,
            (c.begins AT TIME ZONE c.timezone)::date, 'skip', 'both') o
          WHERE t.mark = 'gap' AND o.at = t.at AND o.fires) AS is_met
      FROM change c
      CROSS JOIN LATERAL cron_times(v_line, c.timezone, (c.begins AT TIME ZONE c.timezone)::date - 2,
        (c.begins AT TIME ZONE c.timezone)::date + 1) t
      WHERE (t.mark = 'gap' AND t.at = c.begins)
        -- An overlap's first times lie before the change, as far as its second ones lie behind it.
        OR (t.mark = 'first' AND t.at < c.begins AND t.at >= c.begins - interval '1 day')
    )
    SELECT min(m.wanted)::date, m.timezone, m.markets, m.begins, CASE
        WHEN m.mark = 'gap' THEN CASE WHEN v_schedule.gap = 'skip' OR bool_or(m.is_met) THEN 'skip' ELSE 'shift' END
        WHEN v_schedule.overlap = 'both' THEN 'double' ELSE 'once' END,
      count(*)::integer,
      CASE WHEN count(*) = 1 THEN to_char(min(m.wanted), 'HH24:MI')
           ELSE format('%s to %s (%s times)', to_char(min(m.wanted), 'HH24:MI'),
             to_char(max(m.wanted), 'HH24:MI'), count(*)) END
      || CASE
        WHEN m.mark = 'gap' THEN ' does not exist: ' || CASE
          WHEN v_schedule.gap = 'skip' THEN 'skipped'
          WHEN bool_or(m.is_met) THEN format('falls together with %s',
            to_char(m.begins AT TIME ZONE m.timezone, 'HH24:MI'))
          ELSE format('fires %sat %s', CASE WHEN count(*) > 1 THEN 'once, ' ELSE '' END,
            to_char(m.begins AT TIME ZONE m.timezone, 'HH24:MI')) END
        ELSE ' comes twice: fires ' || CASE v_schedule.overlap WHEN 'both' THEN 'both times'
          ELSE format('the %s time only', v_schedule.overlap) END END
    FROM marked m
    GROUP BY m.timezone, m.markets, m.begins, m.mark
    ORDER BY m.begins, m.timezone;
END $$;
