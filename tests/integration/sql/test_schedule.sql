-- Schedules: checked when set, fired exactly once, at most the latest missed firing is caught up.
SELECT pg_temp.expect_refused('MR004', words, format('SELECT meridian.schedule_set(%L, %L, %L, %L, %L::text[],
  %L::jsonb, NULL, NULL, ''me'')', name, cron, zone, task, markets, spec))
FROM (VALUES ('s', NULL, 'market', 't', NULL, NULL, 'needs a cron line'),
  ('s', '61 2 * * *', 'market', 't', NULL, NULL, '"61" in minute'),
  ('s', '0 0 30 2 *', 'market', 't', NULL, NULL, 'never comes'),
  ('s', '0 2 * * *', 'europe/berlin', 't', NULL, NULL, 'did you mean "Europe/Berlin"?'),
  ('s', '0 2 * * *', 'CET', 't', NULL, NULL, -- Debian 13 has it in a package of its own
    CASE WHEN EXISTS (SELECT FROM pg_timezone_names WHERE name = 'CET')
      THEN '"CET" is read as an abbreviation without summer time' ELSE 'time zone "CET" is unknown' END),
  ('s', '0 2 * * *', 'UTC+3:00', 't', NULL, NULL, 'time zone "UTC+3:00" is unknown'),
  ('s', '0 2 * * *', 'market', 'nope', NULL, NULL, 'there is no task "nope"'),
  ('s', '0 2 * * *', 'market', NULL, NULL, NULL, 'there is no task'),
  ('s', '0 2 * * *', 'market', 't', '{xx}', NULL, 'there is no market "xx"'),
  ('s', '0 2 * * *', 'market', 't', NULL, '[]', 'must be a JSON object'),
  ('a b', '0 2 * * *', 'market', 't', NULL, NULL, 'not a name for a schedule'))
  AS v(name, cron, zone, task, markets, spec, words);
SELECT meridian.zone_check(z) FROM unnest('{UTC,GMT,Etc/GMT+12,EST5EDT,Europe/Berlin,Asia/Kolkata}'::text[]) AS z
WHERE z <> 'EST5EDT' OR EXISTS (SELECT FROM pg_timezone_names WHERE name = z); -- Debian 13: tzdata-legacy
SELECT pg_temp.expect_equal('the session keeps its zone', current_setting('TimeZone'), (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'));
SELECT pg_temp.expect('new', meridian.schedule_set('n', '30 2 * * *', 'market', 't', NULL, '{"epochs": 3}', 5,
  NULL, 'me'));
SELECT pg_temp.expect('changed', NOT meridian.schedule_set('n', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'me'));
-- What comes next, over three zones, in order; twice a night in Berlin would be twice here.
SELECT pg_temp.expect_equal('next', (SELECT string_agg(local || ' ' || timezone || ' ' || (at AT TIME ZONE 'UTC'),
  ', ' ORDER BY at, timezone) FROM meridian.schedule_next('n', 4, '2026-10-24 12:00Z')),
  '2026-10-25 02:30:00 Asia/Tokyo 2026-10-24 17:30:00, 2026-10-25 02:30:00 Europe/Berlin 2026-10-25 00:30:00, '
  '2026-10-25 02:30:00 Europe/Paris 2026-10-25 00:30:00, 2026-10-26 02:30:00 Asia/Tokyo 2026-10-25 17:30:00');
SELECT pg_temp.expect_refused('MR002', 'no schedule "x"', $$SELECT meridian.schedule_next('x')$$);
-- Not due yet: it was only just made.
SELECT pg_temp.expect_equal('nothing due', (SELECT count(*)::text FROM meridian.schedule_fire(1)), '0');
-- Ten nights missed: one nightly for each zone, of the latest night.
UPDATE meridian.schedule_zone SET decided_until = now() - interval '10 days', due_at = now() - interval '9 days';
CREATE TEMP TABLE fired AS SELECT * FROM meridian.schedule_fire(1);
SELECT pg_temp.expect_equal('one a zone', (SELECT string_agg(markets::text || priority, ' ' ORDER BY markets)
  FROM fired), '{de-DE}5 {fr-FR}5 {ja-JP}5');
SELECT pg_temp.expect_equal('not again', (SELECT count(*)::text FROM meridian.schedule_fire(1)), '0');
SELECT pg_temp.expect('the latest', bool_and(f.nominal_at > now() - interval '25 hours'))
FROM meridian.firing f WHERE outcome = 'fired';
SELECT pg_temp.expect_equal('the nine before, each with its reason', (SELECT string_agg(DISTINCT concat_ws(' ', n, outcome,
  reason, why), '; ') FROM (SELECT outcome, reason, why, count(*) AS n FROM report.firings GROUP BY timezone, outcome,
  reason, why) f WHERE outcome <> 'fired'),
  '9 skipped missed no scheduler was at work when it was due; only the latest is caught up');
SELECT pg_temp.expect('the night is the local date', bool_and(j.night = (f.nominal_at AT TIME ZONE f.timezone)::date
  AND j.state = 'waiting' AND j.spec = jsonb_build_object('epochs', 3, 'markets', j.spec -> 'markets') AND j.task = 't'
  AND j.region IS NULL))
FROM meridian.firing f JOIN meridian.job j ON j.id = f.job;
-- Paused: nothing; resumed: what was missed meanwhile stays missed.
DELETE FROM meridian.firing;
SELECT meridian.schedule_set('n', NULL, NULL, NULL, NULL, NULL, NULL, true, 'me');
UPDATE meridian.schedule_zone SET decided_until = now() - interval '10 days', due_at = now() - interval '9 days';
SELECT pg_temp.expect_equal('paused', (SELECT count(*)::text FROM meridian.schedule_fire(1)), '0');
SELECT meridian.schedule_set('n', NULL, NULL, NULL, NULL, NULL, NULL, false, 'me');
SELECT pg_temp.expect_equal('resumed', (SELECT count(*)::text FROM meridian.schedule_fire(1)), '0');
SELECT pg_temp.expect_refused('MR001', 'term 9', 'SELECT meridian.schedule_fire(9)');
-- By hand, for some markets, in one zone.
SELECT meridian.schedule_set('one', '0 2 * * *', 'UTC', 't', '{fr-FR}', NULL, NULL, NULL, 'me');
SELECT pg_temp.expect_equal('run', (SELECT count(*)::text FROM meridian.schedule_run('one', 'me')), '1');
SELECT meridian.schedule_rm('one', 'me');
SELECT pg_temp.expect_refused('MR002', 'no schedule "one"', $$SELECT meridian.schedule_rm('one', 'me')$$);
-- The id derives from the name exactly as common/base does it (echo -n a | sha256sum).
SELECT pg_temp.expect_equal('uuid', meridian.uuid_derive('a')::text, 'ca978112-ca1b-8dca-bac2-31b39a23dc4d');
SELECT pg_temp.expect('sorts by birth', meridian.uuid_make()::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]'
  AND substring(replace(meridian.uuid_make()::text, '-', '') FOR 12) BETWEEN
    lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - 60000), 12, '0') AND 'ffffffffffff');
