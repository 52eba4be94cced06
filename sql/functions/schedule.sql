-- Schedules: five cron fields, read in the schedule's zone or in each market's own.
-- When clocks go forward, a time that does not exist becomes the first that does; when they go back,
-- a time that comes twice counts the first time only.

-- One field of a cron line as the sorted values it allows. Lists, ranges, steps, names; 7 is Sunday.
CREATE OR REPLACE FUNCTION meridian.cron_field(p_text text, p_field text, p_low integer, p_high integer,
  p_names text[])
RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE SET search_path = meridian, pg_temp AS $$
DECLARE
  v_item text;
  v_part text[];
  v_ends integer[];
  v_step integer;
  v_values integer[] := '{}';
  v_allowed text := format('%s allows %s to %s%s', p_field, p_low, p_high,
    CASE WHEN p_names IS NOT NULL THEN format(' or %s to %s', p_names[1], p_names[cardinality(p_names)])
         ELSE '' END);
BEGIN
  FOREACH v_item IN ARRAY string_to_array(lower(p_text), ',') LOOP
    v_part := regexp_match(v_item, '^(?:(\*)|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]{1,2}))?$');
    IF v_part IS NULL THEN
      PERFORM refuse(format('cron: "%s" in %s is not understood', v_item, p_field), v_allowed);
    END IF;
    v_step := coalesce(v_part[4]::integer, 1);
    IF v_part[1] IS NOT NULL THEN
      v_ends := ARRAY[p_low, p_high];
    ELSE
      -- Like every cron, 5/15 means from 5 to the end in steps of 15.
      v_ends := ARRAY[meridian.cron_value(v_part[2], p_low, p_names), CASE
        WHEN v_part[3] IS NOT NULL THEN meridian.cron_value(v_part[3], p_low, p_names)
        WHEN v_part[4] IS NOT NULL THEN p_high
        ELSE meridian.cron_value(v_part[2], p_low, p_names) END];
    END IF;
    IF p_field = 'day of week' AND v_ends[2] = 0 AND v_ends[1] > 0 THEN
      v_ends[2] := 7; -- fri-sun
    END IF;
    IF v_ends[1] IS NULL OR v_ends[2] IS NULL OR v_step = 0 OR v_ends[1] < p_low OR v_ends[2] > p_high
       OR v_ends[1] > v_ends[2] THEN
      PERFORM refuse(format('cron: "%s" in %s is out of range', v_item, p_field), v_allowed);
    END IF;
    v_values := v_values || ARRAY(SELECT generate_series(v_ends[1], v_ends[2], v_step));
  END LOOP;
  IF p_field = 'day of week' THEN
    v_values := ARRAY(SELECT v % 7 FROM unnest(v_values) AS v);
  END IF;
  RETURN ARRAY(SELECT DISTINCT v FROM unnest(v_values) AS v ORDER BY v);
END $$;

CREATE OR REPLACE FUNCTION meridian.cron_value(p_text text, p_low integer, p_names text[])
RETURNS integer
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN p_text ~ '^[0-9]+$' THEN p_text::integer
              ELSE array_position(p_names, p_text) - 1 + p_low END
$$;

-- The whole line. day_is_any/weekday_is_any: when both are restricted, either one makes a day match.
CREATE OR REPLACE FUNCTION meridian.cron_parse(p_cron text, OUT minutes integer[], OUT hours integer[],
  OUT days integer[], OUT months integer[], OUT weekdays integer[], OUT day_is_any boolean,
  OUT weekday_is_any boolean)
LANGUAGE plpgsql IMMUTABLE SET search_path = meridian, pg_temp AS $$
DECLARE
  v_field text[] := regexp_split_to_array(btrim(CASE lower(btrim(p_cron))
    WHEN '@hourly' THEN '0 * * * *'
    WHEN '@daily' THEN '0 0 * * *'
    WHEN '@weekly' THEN '0 0 * * 0'
    WHEN '@monthly' THEN '0 0 1 * *'
    WHEN '@yearly' THEN '0 0 1 1 *'
    ELSE p_cron END), '\s+');
BEGIN
  IF cardinality(v_field) <> 5 THEN
    PERFORM refuse(format('cron: "%s" has %s fields, not 5', left(p_cron, 100), cardinality(v_field)),
      'minute hour day-of-month month day-of-week; "30 2 * * *" is every night at 02:30');
  END IF;
  minutes := cron_field(v_field[1], 'minute', 0, 59, NULL);
  hours := cron_field(v_field[2], 'hour', 0, 23, NULL);
  days := cron_field(v_field[3], 'day of month', 1, 31, NULL);
  months := cron_field(v_field[4], 'month', 1, 12,
    '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}');
  weekdays := cron_field(v_field[5], 'day of week', 0, 7, '{sun,mon,tue,wed,thu,fri,sat}');
  day_is_any := left(v_field[3], 1) = '*';
  weekday_is_any := left(v_field[5], 1) = '*';
END $$;

-- The instant of a local time. In a gap: the first instant after it. In an overlap: the first of two.
CREATE OR REPLACE FUNCTION meridian.local_instant(p_local timestamp, p_zone text)
RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_at timestamptz := p_local AT TIME ZONE p_zone;
  v_low timestamptz;
  v_earlier timestamptz;
BEGIN
  IF v_at AT TIME ZONE p_zone = p_local THEN
    -- With the offset of the day before, does the same local time come earlier?
    v_low := v_at - interval '24 hours';
    v_earlier := v_low + (p_local - (v_low AT TIME ZONE p_zone));
    IF v_earlier < v_at AND v_earlier AT TIME ZONE p_zone = p_local THEN
      RETURN v_earlier;
    END IF;
    RETURN v_at;
  END IF;
  -- The clock jumps over p_local: find by halves the second at which it first shows more.
  v_low := v_at - interval '24 hours';
  FOR i IN 1..40 LOOP
    EXIT WHEN v_at - v_low <= interval '1 second';
    v_earlier := date_trunc('second', v_low + (v_at - v_low) / 2);
    IF v_earlier AT TIME ZONE p_zone >= p_local THEN
      v_at := v_earlier;
    ELSE
      v_low := v_earlier;
    END IF;
  END LOOP;
  RETURN v_at;
END $$;

-- The instants of one local day, in order, between two bounds (first excluded, last included).
CREATE OR REPLACE FUNCTION meridian.cron_day(p_cron text, p_zone text, p_day date,
  p_after timestamptz, p_until timestamptz)
RETURNS SETOF timestamptz
LANGUAGE plpgsql STABLE SET search_path = meridian, pg_temp AS $$
DECLARE
  c record := cron_parse(p_cron);
  v_day boolean := extract(day FROM p_day)::integer = ANY (c.days);
  v_weekday boolean := extract(dow FROM p_day)::integer = ANY (c.weekdays);
BEGIN
  IF NOT extract(month FROM p_day)::integer = ANY (c.months) THEN
    RETURN;
  ELSIF c.day_is_any OR c.weekday_is_any THEN
    IF NOT (v_day AND v_weekday) THEN
      RETURN;
    END IF;
  ELSIF NOT (v_day OR v_weekday) THEN
    RETURN;
  END IF;
  -- Clocks have never moved by more than a day, nearly never by more than three hours; the coarse
  -- bounds save the exact conversion of a day's 1,440 minutes.
  RETURN QUERY
    SELECT DISTINCT i.at
    FROM unnest(c.hours) AS h, unnest(c.minutes) AS m,
      LATERAL (SELECT p_day + make_interval(hours => h, mins => m) AS local) AS l,
      LATERAL (SELECT local_instant(l.local, p_zone) AS at) AS i
    WHERE l.local BETWEEN (p_after AT TIME ZONE p_zone) - interval '26 hours'
                      AND (p_until AT TIME ZONE p_zone) + interval '26 hours'
      AND i.at > p_after AND i.at <= p_until
    ORDER BY i.at;
END $$;

-- The first firing after an instant, or null when there is none within nine years (30 February).
CREATE OR REPLACE FUNCTION meridian.cron_next(p_cron text, p_zone text, p_after timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = meridian, pg_temp AS $$
DECLARE
  v_first date := (p_after AT TIME ZONE p_zone)::date - 1;
  v_at timestamptz;
BEGIN
  FOR i IN 0..3300 LOOP
    SELECT min(d) INTO v_at
    FROM cron_day(p_cron, p_zone, v_first + i, p_after, 'infinity') AS d;
    IF v_at IS NOT NULL THEN
      RETURN v_at;
    END IF;
  END LOOP;
  RETURN NULL;
END $$;

-- The last firing within (p_after, p_until], or null.
CREATE OR REPLACE FUNCTION meridian.cron_last(p_cron text, p_zone text, p_after timestamptz,
  p_until timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = meridian, pg_temp AS $$
DECLARE
  v_day date := (p_until AT TIME ZONE p_zone)::date + 1;
  v_end date := (p_after AT TIME ZONE p_zone)::date - 1;
  v_at timestamptz;
BEGIN
  WHILE v_day >= v_end LOOP
    SELECT max(d) INTO v_at FROM cron_day(p_cron, p_zone, v_day, p_after, p_until) AS d;
    IF v_at IS NOT NULL THEN
      RETURN v_at;
    END IF;
    v_day := v_day - 1;
  END LOOP;
  RETURN NULL;
END $$;

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

-- Makes or changes a schedule; null keeps (or takes the default). Returns true when it is new.
CREATE OR REPLACE FUNCTION meridian.schedule_set(p_name text, p_cron text, p_timezone text,
  p_task text, p_markets text[], p_spec jsonb, p_priority integer, p_paused boolean, p_actor text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_old schedule;
  v_new schedule;
  v_is_new boolean;
  v_missing text;
BEGIN
  SELECT * INTO v_old FROM schedule WHERE name = p_name FOR UPDATE;
  v_is_new := NOT FOUND;
  v_new := ROW(p_name, coalesce(p_cron, v_old.cron), coalesce(p_timezone, v_old.timezone, 'market'),
    'nightly', coalesce(p_task, v_old.task), coalesce(p_markets, v_old.markets, '{}'),
    coalesce(p_spec, v_old.spec, '{}'), coalesce(p_priority, v_old.priority, 0),
    coalesce(p_paused, v_old.paused, false), coalesce(v_old.created_at, now()), now());
  IF v_new.cron IS NULL THEN
    PERFORM refuse(format('schedule "%s" is new and needs a cron line', p_name), 'add --cron "30 2 * * *"');
  ELSIF v_new.task IS NULL OR NOT EXISTS (SELECT FROM task WHERE name = v_new.task) THEN
    PERFORM refuse(format('schedule "%s": there is no task "%s"', p_name, coalesce(v_new.task, '')),
      'name a task that has data: --task NAME');
  ELSIF jsonb_typeof(v_new.spec) <> 'object' THEN
    PERFORM refuse(format('schedule "%s": the spec must be a JSON object', p_name));
  END IF;
  PERFORM cron_parse(v_new.cron);
  IF v_new.timezone <> 'market' THEN
    PERFORM zone_check(v_new.timezone);
  END IF;
  SELECT min(s.code) INTO v_missing FROM unnest(v_new.markets) AS s(code)
  WHERE NOT EXISTS (SELECT FROM market m WHERE m.code = s.code AND m.removed_at IS NULL);
  IF v_missing IS NOT NULL THEN
    PERFORM refuse(format('schedule "%s": there is no market "%s"', p_name, v_missing),
      'see meridian market list');
  ELSIF cron_next(v_new.cron, 'UTC', now()) IS NULL THEN
    PERFORM refuse(format('schedule "%s": "%s" never comes', p_name, v_new.cron));
  END IF;
  INSERT INTO schedule SELECT v_new.*
  ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, timezone = excluded.timezone,
    task = excluded.task, markets = excluded.markets, spec = excluded.spec,
    priority = excluded.priority, paused = excluded.paused, changed_at = excluded.changed_at;
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
  PERFORM audit(NULL, NULL, p_actor, NULL, NULL, 'removed schedule ' || p_name);
END $$;

-- The next n firings over all of the schedule's zones, soonest first.
CREATE OR REPLACE FUNCTION meridian.schedule_next(p_name text, p_count integer DEFAULT 5,
  p_after timestamptz DEFAULT now())
RETURNS TABLE (local timestamp, timezone text, at timestamptz, markets text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
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
      SELECT z.timezone, z.markets, 1 AS n, cron_next(v_schedule.cron, z.timezone, p_after) AS at
      FROM schedule_zones(v_schedule) z
      UNION ALL
      SELECT f.timezone, f.markets, n + 1, cron_next(v_schedule.cron, f.timezone, f.at)
      FROM firing f WHERE n < least(p_count, 1000) AND f.at IS NOT NULL
    )
    SELECT f.at AT TIME ZONE f.timezone, f.timezone, f.at, f.markets
    FROM firing f WHERE f.at IS NOT NULL
    ORDER BY f.at, f.timezone LIMIT p_count;
END $$;

-- One firing as a waiting nightly, exactly once: the id derives from what fires, and the firing is
-- recorded with it. Null when it had fired before.
CREATE OR REPLACE FUNCTION meridian.schedule_fire_one(p_schedule meridian.schedule, p_zone text,
  p_markets text[], p_at timestamptz, p_actor text)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_id uuid := uuid_derive(format('schedule/%s/%s/%s', p_schedule.name, p_zone,
    to_char(p_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')));
BEGIN
  IF EXISTS (SELECT FROM firing WHERE schedule = p_schedule.name AND timezone = p_zone
             AND nominal_at = p_at) THEN
    RETURN NULL;
  END IF;
  INSERT INTO job (id, kind, task, state, spec, priority, night, submitted_by)
  VALUES (v_id, p_schedule.kind, p_schedule.task, 'waiting',
    p_schedule.spec || jsonb_build_object('markets', p_markets),
    p_schedule.priority, (p_at AT TIME ZONE p_zone)::date, 'schedule ' || p_schedule.name)
  ON CONFLICT (id) DO NOTHING;
  INSERT INTO firing (schedule, timezone, nominal_at, job) VALUES (p_schedule.name, p_zone, p_at, v_id);
  PERFORM audit(v_id, NULL, p_actor, NULL, 'waiting', 'schedule ' || p_schedule.name || ' fired',
    jsonb_build_object('timezone', p_zone, 'nominal_at', p_at));
  RETURN v_id;
END $$;

-- Fires what is due. Of the firings missed while nobody was leading only the latest is caught up; those
-- from before the schedule was last changed (or resumed) are not. Returns the jobs that are new.
CREATE OR REPLACE FUNCTION meridian.schedule_fire(p_term bigint)
RETURNS TABLE (job uuid, schedule text, task text, markets text[], night date, priority integer,
  spec jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_schedule schedule;
  v_zone record;
  v_at timestamptz;
  v_job uuid;
BEGIN
  PERFORM assert_term(p_term);
  FOR v_schedule IN SELECT * FROM schedule s WHERE NOT s.paused ORDER BY s.name FOR SHARE LOOP
    FOR v_zone IN SELECT z.timezone, z.markets FROM schedule_zones(v_schedule) z ORDER BY 1 LOOP
      v_at := cron_last(v_schedule.cron, v_zone.timezone, greatest(v_schedule.changed_at,
        (SELECT max(f.nominal_at) FROM firing f
         WHERE f.schedule = v_schedule.name AND f.timezone = v_zone.timezone)), clock_timestamp());
      IF v_at IS NOT NULL THEN
        v_job := schedule_fire_one(v_schedule, v_zone.timezone, v_zone.markets, v_at, 'scheduler');
        RETURN QUERY SELECT j.id, v_schedule.name, j.task, v_zone.markets, j.night, j.priority, j.spec
          FROM job j WHERE j.id = v_job;
      END IF;
    END LOOP;
  END LOOP;
END $$;

-- Fires now, whatever the cron line says; each of its zones gets a nightly of its own local date.
CREATE OR REPLACE FUNCTION meridian.schedule_run(p_name text, p_actor text)
RETURNS SETOF uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_schedule schedule;
BEGIN
  SELECT * INTO v_schedule FROM schedule WHERE name = p_name;
  IF NOT FOUND THEN
    PERFORM refuse_missing(format('there is no schedule "%s"', p_name), 'see meridian schedule list');
  END IF;
  RETURN QUERY SELECT schedule_fire_one(v_schedule, z.timezone, z.markets, now(), p_actor)
    FROM schedule_zones(v_schedule) z;
END $$;
