-- Cron lines in zones whose clocks move: a gap goes to the next valid time, an overlap counts once.
CREATE TEMP TABLE want (zone text, cron text, after_ timestamptz, next timestamptz, local timestamp);
INSERT INTO want VALUES
  -- Germany: 29 March 2026 02:00 -> 03:00, 25 October 2026 03:00 -> 02:00
  ('Europe/Berlin', '30 2 * * *', '2026-03-28 12:00Z', '2026-03-29 01:00Z', '2026-03-29 03:00'),
  ('Europe/Berlin', '30 2 * * *', '2026-03-29 01:00Z', '2026-03-30 00:30Z', '2026-03-30 02:30'),
  ('Europe/Berlin', '0 3 * * *', '2026-03-28 12:00Z', '2026-03-29 01:00Z', '2026-03-29 03:00'),
  ('Europe/Berlin', '30 2 * * *', '2026-10-24 12:00Z', '2026-10-25 00:30Z', '2026-10-25 02:30'),
  ('Europe/Berlin', '30 2 * * *', '2026-10-25 00:30Z', '2026-10-26 01:30Z', '2026-10-26 02:30'),
  ('Europe/Berlin', '30 2 * * *', '2026-10-25 01:10Z', '2026-10-26 01:30Z', '2026-10-26 02:30'),
  ('Europe/Berlin', '*/20 * * * *', '2026-10-25 00:40Z', '2026-10-25 02:00Z', '2026-10-25 03:00'),
  ('Europe/Berlin', '*/20 2 * * *', '2026-03-28 12:00Z', '2026-03-29 01:00Z', '2026-03-29 03:00'),
  -- New York: 8 March 2026 02:00 -> 03:00, 1 November 2026 02:00 -> 01:00
  ('America/New_York', '30 2 * * *', '2026-03-07 12:00Z', '2026-03-08 07:00Z', '2026-03-08 03:00'),
  ('America/New_York', '30 1 * * *', '2026-10-31 12:00Z', '2026-11-01 05:30Z', '2026-11-01 01:30'),
  ('America/New_York', '30 1 * * *', '2026-11-01 05:30Z', '2026-11-02 06:30Z', '2026-11-02 01:30'),
  -- India: half an hour off, no changes
  ('Asia/Kolkata', '30 1 * * *', '2026-03-28 12:00Z', '2026-03-28 20:00Z', '2026-03-29 01:30'),
  ('Asia/Kolkata', '0 2 * * *', '2026-10-24 20:30Z', '2026-10-25 20:30Z', '2026-10-26 02:00'),
  -- Brazil until 2019: the gap and the overlap are at midnight
  ('America/Sao_Paulo', '0 0 * * *', '2018-11-03 12:00Z', '2018-11-04 03:00Z', '2018-11-04 01:00'),
  ('America/Sao_Paulo', '30 23 * * *', '2019-02-16 12:00Z', '2019-02-17 01:30Z', '2019-02-16 23:30'),
  ('America/Sao_Paulo', '30 23 * * *', '2019-02-17 01:30Z', '2019-02-18 02:30Z', '2019-02-17 23:30'),
  ('America/Sao_Paulo', '30 2 * * *', '2026-10-25 01:00Z', '2026-10-25 05:30Z', '2026-10-25 02:30'),
  -- Half an hour of summer time
  ('Australia/Lord_Howe', '15 2 * * *', '2026-10-03 00:00Z', '2026-10-03 15:30Z', '2026-10-04 02:30'),
  -- A day that was left out
  ('Pacific/Apia', '0 2 30 12 *', '2011-12-29 12:00Z', '2011-12-30 10:00Z', '2011-12-31 00:00'),
  -- The fields
  ('UTC', '* * * * *', '2026-01-31 00:00Z', '2026-01-31 00:01Z', '2026-01-31 00:01'),
  ('UTC', '0 0 29 2 *', '2026-01-31 00:00Z', '2028-02-29 00:00Z', '2028-02-29 00:00'),
  ('UTC', '0 0 29 2 *', '2097-01-01 00:00Z', '2104-02-29 00:00Z', '2104-02-29 00:00'),
  ('UTC', '5/20 8-10,20 1 jan-mar *', '2026-01-31 00:00Z', '2026-02-01 08:05Z', '2026-02-01 08:05'),
  ('UTC', '5/20 8-10,20 1 jan-mar *', '2026-02-01 10:45Z', '2026-02-01 20:05Z', '2026-02-01 20:05'),
  ('UTC', '0 0 13 * fri', '2026-02-01 00:00Z', '2026-02-06 00:00Z', '2026-02-06 00:00'),
  ('UTC', '0 0 13 * fri', '2026-04-10 00:00Z', '2026-04-13 00:00Z', '2026-04-13 00:00'),
  ('UTC', '0 0 */10 * mon', '2026-02-01 00:00Z', '2026-05-11 00:00Z', '2026-05-11 00:00'),
  ('UTC', '0 0 * * 7', '2026-01-31 00:00Z', '2026-02-01 00:00Z', '2026-02-01 00:00'),
  ('UTC', '0 0 * * SAT-SUN', '2026-02-01 00:00Z', '2026-02-07 00:00Z', '2026-02-07 00:00'),
  ('UTC', '0 0 * * mon-5/2', '2026-02-02 00:00Z', '2026-02-04 00:00Z', '2026-02-04 00:00'),
  ('UTC', ' @weekly ', '2026-02-02 00:00Z', '2026-02-08 00:00Z', '2026-02-08 00:00'),
  ('UTC', '0 0 30 2 *', '2026-02-02 00:00Z', NULL, NULL);
SELECT pg_temp.expect_equal(concat_ws(' ', zone, cron, after_),
  meridian.cron_next(cron, zone, after_)::text || ' ' || (meridian.cron_next(cron, zone, after_)
    AT TIME ZONE zone)::text, next::text || ' ' || local::text) FROM want;
-- Looking back finds what looking ahead found.
SELECT pg_temp.expect_equal('last ' || concat_ws(' ', zone, cron, after_),
  meridian.cron_last(cron, zone, after_, next)::text, next::text) FROM want WHERE next IS NOT NULL;
SELECT pg_temp.expect('nothing before the first', meridian.cron_last(cron, zone, after_,
  next - interval '1 second') IS NULL) FROM want WHERE next IS NOT NULL;
-- Egypt changes its mind about summer time often: whatever the zone tables say, a year of nights has one
-- firing a local day, at the asked time but on the days when that does not exist.
CREATE FUNCTION pg_temp.year(p_zone text, p_cron text, p_year integer) RETURNS SETOF timestamptz
LANGUAGE plpgsql AS $$
DECLARE
  v_at timestamptz := make_timestamptz(p_year, 1, 1, 0, 0, 0, p_zone);
BEGIN
  LOOP
    v_at := meridian.cron_next(p_cron, p_zone, v_at);
    EXIT WHEN (v_at AT TIME ZONE p_zone)::date >= make_date(p_year + 1, 1, 1);
    RETURN NEXT v_at;
  END LOOP;
END $$;
SELECT pg_temp.expect_equal('a year in ' || zone || ' at ' || cron,
  (SELECT count(*) || ' ' || count(DISTINCT (at AT TIME ZONE zone)::date) || ' ' ||
     count(*) FILTER (WHERE to_char(at AT TIME ZONE zone, 'HH24:MI') <> clock)
   FROM pg_temp.year(zone, cron, 2025) AS at), want)
FROM (VALUES ('Africa/Cairo', '30 2 * * *', '02:30', '365 365 0'), ('Africa/Cairo', '30 0 * * *', '00:30',
    '365 365 1'), ('Africa/Cairo', '30 23 * * *', '23:30', '365 365 0'),
  ('Europe/Berlin', '30 2 * * *', '02:30', '365 365 1'), ('America/New_York', '30 2 * * *', '02:30',
    '365 365 1'), ('Asia/Kolkata', '30 2 * * *', '02:30', '365 365 0'),
  ('America/Sao_Paulo', '0 0 * * *', '00:00', '364 364 0')) AS v(zone, cron, clock, want);
-- What is not a cron line is refused by field.
SELECT pg_temp.expect_refused('MR004', words, format('SELECT meridian.cron_parse(%L)', cron))
FROM (VALUES ('', 'has 1 fields'), ('0 2 * *', 'has 4 fields, not 5'), ('0 2 * * * *', 'has 6 fields'),
  ('60 2 * * *', '"60" in minute is out of range; minute allows 0 to 59'), ('0 24 * * *', 'in hour'),
  ('0 0 0 * *', 'in day of month'), ('0 0 32 * *', 'day of month allows 1 to 31'),
  ('0 0 * 13 *', 'in month'), ('0 0 * foo *', '"foo" in month is out of range'), ('0 0 * * 8', 'in day of week'),
  ('5-1 * * * *', '"5-1" in minute'), ('*/0 * * * *', '"*/0" in minute'), ('1,,2 * * * *', '"" in minute'),
  ('-5 * * * *', '"-5" in minute is not understood'), ('x * * * *', '"x" in minute'),
  ('0 0 * * mon-jan', 'out of range'), ('1;2 * * * *', 'not understood'), ('@never', 'has 1 fields'))
  AS v(cron, words);
