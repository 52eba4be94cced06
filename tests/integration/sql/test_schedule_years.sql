-- Cron lines against a brute-force walk over the minutes of UTC, around every change of clocks in a
-- year or more, in the zones whose clocks do what nobody expects. The walk knows nothing of cron.sql: it reads
-- the local time of each minute (AT TIME ZONE) and looks whether it was there before, or was jumped over.
-- All zones over ten years, against another implementation of time zones: tests/bench/schedule_years.
SET jit = off;
CREATE TEMP TABLE zone (name text, from_year integer, until_year integer);
INSERT INTO zone VALUES ('Australia/Lord_Howe', 2024, 2025), ('Africa/Cairo', 2024, 2025), ('Asia/Beirut', 2023, 2024),
  ('America/Asuncion', 2023, 2025), ('Antarctica/Troll', 2024, 2025), ('Pacific/Apia', 2011, 2012),
  ('Africa/Casablanca', 2024, 2025), ('Pacific/Chatham', 2024, 2025), ('America/Havana', 2024, 2025),
  ('America/Sao_Paulo', 2018, 2019), ('America/Nuuk', 2023, 2024), ('Asia/Pyongyang', 2015, 2019),
  ('Europe/Berlin', 2024, 2025), ('Asia/Kolkata', 2024, 2025), ('Etc/GMT+12', 2024, 2025);
CREATE TEMP TABLE line (cron text, minutes integer[], hours integer[]);
INSERT INTO line VALUES ('30 2 * * *', '{30}', '{2}'), ('0 0 * * *', '{0}', '{0}'), ('0 3 * * *', '{0}', '{3}'),
  ('*/15 * * * *', '{0,15,30,45}', ARRAY(SELECT generate_series(0, 23))),
  ('15,45 0-1,23 * * *', '{15,45}', '{0,1,23}');
-- Where to walk: two days on each side of a change, seen by the quarter of an hour.
CREATE TEMP TABLE place AS
SELECT z.name, s.t FROM zone z, LATERAL (
  SELECT t, (t AT TIME ZONE z.name) - (t AT TIME ZONE 'UTC') AS o, lag((t AT TIME ZONE z.name) - (t AT TIME ZONE 'UTC'))
    OVER (ORDER BY t) AS before
  FROM generate_series(make_timestamptz(z.from_year, 1, 1, 0, 0, 0, 'UTC'),
    make_timestamptz(z.until_year, 1, 1, 0, 0, 0, 'UTC'), interval '15 minutes') AS t) s
WHERE s.o <> s.before;
INSERT INTO place SELECT name, make_timestamptz(from_year, 7, 1, 12, 0, 0, 'UTC') FROM zone; -- and an even time
SELECT pg_temp.expect('every unusual zone has its changes', count(*) > 35) FROM place;
CREATE TEMP TABLE minute AS
SELECT *, extract(hour FROM local)::integer AS h, extract(minute FROM local)::integer AS m,
  lag(local) OVER (PARTITION BY name, place ORDER BY at) AS before,
  row_number() OVER (PARTITION BY name, place, local ORDER BY at) AS turn,
  count(*) OVER (PARTITION BY name, place, local) AS times
FROM (SELECT p.name, p.t AS place, m AS at, m AT TIME ZONE p.name AS local
      FROM place p, generate_series(p.t - interval '2 days', p.t + interval '2 days', interval '1 minute') AS m) w;
-- What the policies say of each minute.
CREATE TEMP TABLE want AS
SELECT l.cron, m.name, m.place, m.at, w.is AND m.times = 1 AS plain, w.is AND m.times > 1 AND m.turn = 1 AS first,
  w.is AND m.times > 1 AND m.turn > 1 AS second,
  m.local > m.before + interval '1 minute' AND EXISTS (
    SELECT FROM generate_series(m.before + interval '1 minute', m.local - interval '1 minute', interval '1 minute') AS g
    WHERE extract(hour FROM g)::integer = ANY (l.hours) AND extract(minute FROM g)::integer = ANY (l.minutes)) AS jumped
FROM minute m CROSS JOIN line l
CROSS JOIN LATERAL (SELECT m.h = ANY (l.hours) AND m.m = ANY (l.minutes) AS is) w
WHERE m.at BETWEEN m.place - interval '1 day' AND m.place + interval '1 day'
  AND (w.is OR m.local > m.before + interval '1 minute');
CREATE TEMP TABLE policy AS
SELECT * FROM (VALUES ('next', 'first'), ('skip', 'second'), ('next', 'both')) AS v(gap, overlap);
CREATE TEMP TABLE got AS
SELECT l.cron, p.name, p.t AS place, v.gap, v.overlap, d.at
FROM place p, line l, policy v,
  LATERAL meridian.cron_days(meridian.cron_parse(l.cron), p.name, (p.t AT TIME ZONE p.name)::date - 2,
    (p.t AT TIME ZONE p.name)::date + 2, v.gap, v.overlap) d
WHERE d.fires AND d.at BETWEEN p.t - interval '1 day' AND p.t + interval '1 day';
SELECT pg_temp.expect_equal('gap ' || gap || ', overlap ' || overlap, (
  SELECT string_agg(concat_ws(' ', x.cron, x.name, x.at AT TIME ZONE 'UTC', x.how), '; ') FROM (
    SELECT coalesce(w.cron, r.cron) AS cron, coalesce(w.name, r.name) AS name, coalesce(w.at, r.at) AS at,
      CASE WHEN r.at IS NULL THEN 'lacks' ELSE 'is too much' END AS how
    FROM (SELECT * FROM want WHERE plain OR (jumped AND gap = 'next') OR (first AND overlap IN ('first', 'both'))
            OR (second AND overlap IN ('second', 'both'))) w
    FULL JOIN (SELECT * FROM got g WHERE g.gap = v.gap AND g.overlap = v.overlap) r
      ON r.cron = w.cron AND r.name = w.name AND r.place = w.place AND r.at = w.at
    WHERE w.at IS NULL OR r.at IS NULL LIMIT 5) x), NULL)
FROM policy v;
SELECT pg_temp.expect('the walk saw gaps, first and second times of each line', bool_or(jumped) AND bool_or(first)
  AND bool_or(second)) FROM want GROUP BY cron;
-- Stepping from firing to firing, and looking back, find the same ones.
CREATE FUNCTION pg_temp.steps(p_cron text, p_zone text, p_from timestamptz, p_until timestamptz, p_gap text,
  p_overlap text) RETURNS timestamptz[] LANGUAGE plpgsql AS $$
DECLARE
  v_at timestamptz := p_from - interval '1 second';
  v_all timestamptz[] := '{}';
BEGIN
  LOOP
    v_at := meridian.cron_next(p_cron, p_zone, v_at, p_gap, p_overlap);
    EXIT WHEN v_at > p_until;
    v_all := v_all || v_at;
  END LOOP;
  RETURN v_all;
END $$;
SELECT pg_temp.expect_equal(concat_ws(' ', 'steps', p.name, p.t, l.cron, v.gap, v.overlap),
  pg_temp.steps(l.cron, p.name, p.t - interval '1 day', p.t + interval '1 day', v.gap, v.overlap)::text,
  ARRAY(SELECT g.at FROM got g WHERE g.cron = l.cron AND g.name = p.name AND g.place = p.t AND g.gap = v.gap
    AND g.overlap = v.overlap ORDER BY g.at)::text)
FROM place p, line l, policy v
WHERE cardinality(l.hours) = 1 AND hashtext(p.name || p.t || l.cron || v.overlap) % 4 = 0;
SELECT pg_temp.expect_equal(concat_ws(' ', 'back', p.name, p.t, l.cron), (
  SELECT array_agg(b.at ORDER BY b.at)::text FROM meridian.cron_back(l.cron, p.name, p.t - interval '1 day',
    p.t + interval '1 day', 1000, 'next', 'first') b WHERE b.fires),
  (SELECT array_agg(g.at ORDER BY g.at)::text FROM got g WHERE g.cron = l.cron AND g.name = p.name AND g.place = p.t
     AND g.gap = 'next' AND g.overlap = 'first' AND g.at > p.t - interval '1 day'))
FROM place p, line l WHERE hashtext(p.name || p.t || l.cron) % 4 = 1;
