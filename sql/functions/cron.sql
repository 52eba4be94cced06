-- Cron lines, and what they mean in a zone whose clocks move. All arithmetic of zones is PostgreSQL's
-- (AT TIME ZONE); nothing here knows a rule of any country.
--
--   gap      a local time that does not exist, for clocks jump over it: counts at the first instant after
--            the jump ('next'), or not at all ('skip')
--   overlap  a local time that comes twice: counts the first time, the second, or both

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

-- The whole line.
CREATE OR REPLACE FUNCTION meridian.cron_parse(p_cron text)
RETURNS meridian.cron_line
LANGUAGE plpgsql IMMUTABLE SET search_path = meridian, pg_temp AS $$
DECLARE
  v_line cron_line;
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
  v_line.minutes := cron_field(v_field[1], 'minute', 0, 59, NULL);
  v_line.hours := cron_field(v_field[2], 'hour', 0, 23, NULL);
  v_line.days := cron_field(v_field[3], 'day of month', 1, 31, NULL);
  v_line.months := cron_field(v_field[4], 'month', 1, 12,
    '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}');
  v_line.weekdays := cron_field(v_field[5], 'day of week', 0, 7, '{sun,mon,tue,wed,thu,fri,sat}');
  v_line.day_is_any := left(v_field[3], 1) = '*';
  v_line.weekday_is_any := left(v_field[5], 1) = '*';
  RETURN v_line;
END $$;

-- Whether the line names this date. Restricted both by day of month and by day of week: either will do.
CREATE OR REPLACE FUNCTION meridian.cron_has_day(p_line meridian.cron_line, p_day date)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
  SELECT extract(month FROM p_day)::integer = ANY (p_line.months) AND CASE
    WHEN p_line.day_is_any OR p_line.weekday_is_any
      THEN extract(day FROM p_day)::integer = ANY (p_line.days)
        AND extract(dow FROM p_day)::integer = ANY (p_line.weekdays)
    ELSE extract(day FROM p_day)::integer = ANY (p_line.days)
      OR extract(dow FROM p_day)::integer = ANY (p_line.weekdays) END
$$;

-- The zone's offsets from UTC over a time: one row a span in which clocks run evenly, the first open to
-- the past and the last to the future. Looks once an hour and, where the offset has changed, to the
-- second; clocks that moved forth and back within the same hour would be missed (none ever did).
CREATE OR REPLACE FUNCTION meridian.zone_spans(p_zone text, p_from timestamptz, p_until timestamptz)
RETURNS TABLE (begins timestamptz, ends timestamptz, shift interval)
LANGUAGE sql STABLE AS $$
  WITH look AS (
    SELECT t, (t AT TIME ZONE p_zone) - (t AT TIME ZONE 'UTC') AS shift
    FROM generate_series(date_trunc('hour', p_from), p_until, interval '1 hour') AS t
  ), change AS (
    SELECT l.t, l.shift, l.before
    FROM (SELECT t, shift, lag(shift) OVER (ORDER BY t) AS before FROM look) l
    WHERE l.before IS DISTINCT FROM l.shift
  ), exact AS (
    SELECT CASE WHEN c.before IS NULL THEN '-infinity'::timestamptz ELSE (
        SELECT min(s) FROM generate_series(m.t - interval '59 seconds', m.t, interval '1 second') AS s
        WHERE (s AT TIME ZONE p_zone) - (s AT TIME ZONE 'UTC') <> c.before) END AS begins, c.shift
    FROM change c
    LEFT JOIN LATERAL (
      SELECT min(m) AS t FROM generate_series(c.t - interval '59 minutes', c.t, interval '1 minute') AS m
      WHERE c.before IS NOT NULL AND (m AT TIME ZONE p_zone) - (m AT TIME ZONE 'UTC') <> c.before) m ON true
  )
  SELECT begins, lead(begins, 1, 'infinity') OVER (ORDER BY begins), shift FROM exact
$$;

-- What the line means on the local dates p_first to p_last: when (at), what it says (wanted), and why
-- that is not simply so: 'gap' (does not exist; at is the end of the gap), 'first' and 'second' (comes
-- twice), else null. One row a wanted time, two where it comes twice.
CREATE OR REPLACE FUNCTION meridian.cron_times(p_line meridian.cron_line, p_zone text, p_first date,
  p_last date)
RETURNS TABLE (at timestamptz, wanted timestamp, mark text)
LANGUAGE sql STABLE AS $$
  WITH span AS MATERIALIZED (
    SELECT z.begins, z.ends, z.shift, (z.begins AT TIME ZONE 'UTC') + z.shift AS low,
      (z.ends AT TIME ZONE 'UTC') + z.shift AS high,
      lead((z.begins AT TIME ZONE 'UTC') + z.shift) OVER (ORDER BY z.begins) AS next_low
    FROM meridian.zone_spans(p_zone, (p_first - 3)::timestamp AT TIME ZONE 'UTC',
      (p_last + 4)::timestamp AT TIME ZONE 'UTC') z
  ), wanted AS MATERIALIZED (
    SELECT d.day + make_interval(hours => h, mins => m) AS local
    FROM (SELECT p_first + i AS day FROM generate_series(0, p_last - p_first) AS i) d
    CROSS JOIN unnest(p_line.hours) AS h CROSS JOIN unnest(p_line.minutes) AS m
    WHERE meridian.cron_has_day(p_line, d.day)
  ), real AS MATERIALIZED (
    SELECT (w.local - s.shift) AT TIME ZONE 'UTC' AS at, w.local,
      count(*) OVER (PARTITION BY w.local) AS times,
      row_number() OVER (PARTITION BY w.local ORDER BY s.begins) AS turn
    FROM wanted w JOIN span s ON w.local >= s.low AND w.local < s.high
  )
  SELECT r.at, r.local, CASE WHEN r.times = 1 THEN NULL WHEN r.turn = 1 THEN 'first' ELSE 'second' END
  FROM real r
  UNION ALL
  SELECT s.ends, w.local, 'gap'
  FROM span s JOIN wanted w ON w.local >= s.high AND w.local < s.next_low
  WHERE s.next_low > s.high AND NOT EXISTS (SELECT FROM real r WHERE r.local = w.local)
$$;

-- The same under the policies, one row an instant: what exists goes before what does not.
CREATE OR REPLACE FUNCTION meridian.cron_days(p_line meridian.cron_line, p_zone text, p_first date,
  p_last date, p_gap text, p_overlap text)
RETURNS TABLE (at timestamptz, wanted timestamp, mark text, fires boolean)
LANGUAGE sql STABLE AS $$
  SELECT DISTINCT ON (t.at) t.at, t.wanted, t.mark,
    CASE t.mark WHEN 'gap' THEN p_gap = 'next' ELSE t.mark IS NULL OR p_overlap IN (t.mark, 'both') END
  FROM meridian.cron_times(p_line, p_zone, p_first, p_last) t
  ORDER BY t.at, t.mark IS NOT DISTINCT FROM 'gap', t.wanted
$$;

-- (The planner takes each generate_series for 1,000 rows; those that call these switch off the compiler
-- of expressions, which would take a second for a millisecond's work.)

-- The first time after an instant for which the line says something, whether it counts or not; no row
-- when there is none within nine years (30 February).
CREATE OR REPLACE FUNCTION meridian.cron_seek(p_cron text, p_zone text, p_after timestamptz,
  p_gap text, p_overlap text)
RETURNS TABLE (at timestamptz, wanted timestamp, mark text, fires boolean)
LANGUAGE plpgsql STABLE SET search_path = meridian, pg_temp SET jit = off AS $$
DECLARE
  v_line cron_line := cron_parse(p_cron);
  -- No clock was ever moved by more than a day.
  v_day date := (p_after AT TIME ZONE p_zone)::date - 2;
  v_end date := v_day + 3300;
BEGIN
  LOOP
    SELECT v_day + i INTO v_day FROM generate_series(1, v_end - v_day) AS i
    WHERE cron_has_day(v_line, v_day + i) LIMIT 1;
    EXIT WHEN v_day IS NULL;
    -- With two days more: where clocks go back over midnight, a later date may come earlier.
    RETURN QUERY SELECT d.at, d.wanted, d.mark, d.fires
      FROM cron_days(v_line, p_zone, v_day, v_day + 2, p_gap, p_overlap) d
      WHERE d.at > p_after ORDER BY d.at LIMIT 1;
    EXIT WHEN FOUND;
  END LOOP;
END $$;

-- The first firing after an instant, or null.
CREATE OR REPLACE FUNCTION meridian.cron_next(p_cron text, p_zone text, p_after timestamptz,
  p_gap text DEFAULT 'next', p_overlap text DEFAULT 'first')
RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = meridian, pg_temp AS $$
DECLARE
  v_found record;
  v_after timestamptz := p_after;
BEGIN
  LOOP
    SELECT * INTO v_found FROM cron_seek(p_cron, p_zone, v_after, p_gap, p_overlap);
    IF NOT FOUND OR v_found.fires THEN
      RETURN v_found.at;
    END IF;
    v_after := v_found.at;
  END LOOP;
END $$;

-- The newest p_limit times within (p_after, p_until], newest first. Looks back by three days, then by
-- eight times more, and so on.
CREATE OR REPLACE FUNCTION meridian.cron_back(p_cron text, p_zone text, p_after timestamptz,
  p_until timestamptz, p_limit integer, p_gap text, p_overlap text)
RETURNS TABLE (at timestamptz, wanted timestamp, mark text, fires boolean)
LANGUAGE plpgsql STABLE SET search_path = meridian, pg_temp SET jit = off AS $$
DECLARE
  v_line cron_line := cron_parse(p_cron);
  v_end timestamptz := greatest(p_after, p_until - interval '10 years');
  v_high timestamptz := p_until;
  v_low timestamptz;
  v_step interval := interval '3 days';
  v_left integer := p_limit;
  v_rows integer;
BEGIN
  WHILE v_high > v_end AND v_left > 0 LOOP
    v_low := greatest(v_end, v_high - v_step);
    RETURN QUERY
      SELECT d.at, d.wanted, d.mark, d.fires
      -- No clock was ever moved by more than a day.
      FROM cron_days(v_line, p_zone, (v_low AT TIME ZONE p_zone)::date - 2, (v_high AT TIME ZONE p_zone)::date + 2,
        p_gap, p_overlap) d
      WHERE d.at > v_low AND d.at <= v_high ORDER BY d.at DESC LIMIT v_left;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    v_left := v_left - v_rows;
    v_high := v_low;
    v_step := v_step * 8;
  END LOOP;
END $$;

-- The last firing within (p_after, p_until], or null.
CREATE OR REPLACE FUNCTION meridian.cron_last(p_cron text, p_zone text, p_after timestamptz,
  p_until timestamptz, p_gap text DEFAULT 'next', p_overlap text DEFAULT 'first')
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
  SELECT b.at FROM meridian.cron_back(p_cron, p_zone, p_after, p_until, 100, p_gap, p_overlap) b
  WHERE b.fires ORDER BY b.at DESC LIMIT 1
$$;
