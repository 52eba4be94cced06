-- The written policies on a clock of our own: missed runs, overlapping runs, jitter, gaps, moves of a
-- market, what cannot fire, and every firing exactly once over outages and changes of leader.
CREATE FUNCTION pg_temp.make(p_name text, p_cron text, p_zone text, p_now timestamptz, p_missed text DEFAULT 'latest',
  p_running text DEFAULT 'allow', p_gap text DEFAULT 'next', p_overlap text DEFAULT 'first', p_max integer DEFAULT 3,
  p_jitter_s integer DEFAULT 0) RETURNS boolean LANGUAGE sql AS $$
  SELECT meridian.schedule_set(p_name, p_cron, p_zone, 't', NULL, NULL, NULL, NULL, 'me', p_gap, p_overlap, p_missed,
    p_max, 10 * 86400, p_running, p_jitter_s, p_now) $$;
CREATE FUNCTION pg_temp.fire(p_now timestamptz) RETURNS integer LANGUAGE sql AS $$
  SELECT count(*)::integer FROM meridian.schedule_fire((SELECT term FROM meridian.leader), p_now) $$;
-- "25 fired, 26 skipped missed": by the day of the local time.
CREATE FUNCTION pg_temp.story(p_name text) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(to_char(local_at, 'DD') || ' ' || concat_ws(' ', outcome, reason), ', ' ORDER BY nominal_at)
  FROM meridian.firing WHERE schedule = p_name $$;
CREATE FUNCTION pg_temp.end_jobs(p_name text) RETURNS void LANGUAGE sql AS $$
  UPDATE meridian.job SET state = 'cancelled', ended_at = now() WHERE ended_at IS NULL
    AND submitted_by = 'schedule ' || p_name $$;
-- Missed: the scheduler was away from the 3rd to the 9th, 12:00.
SELECT pg_temp.make(m, '30 2 * * *', 'Europe/Berlin', '2026-06-01 12:00Z', m) FROM unnest('{skip,latest,all}'::text[]) AS m;
SELECT pg_temp.fire('2026-06-02 00:30:01Z'), pg_temp.fire('2026-06-03 00:30:01Z'), pg_temp.fire('2026-06-09 12:00Z'),
  pg_temp.fire('2026-06-10 00:30:01Z');
SELECT pg_temp.expect_equal(name, pg_temp.story(name), want) FROM (VALUES
  ('skip', '02 fired, 03 fired, 04 skipped missed, 05 skipped missed, 06 skipped missed, 07 skipped missed, '
   '08 skipped missed, 09 skipped missed, 10 fired'),
  ('latest', '02 fired, 03 fired, 04 skipped missed, 05 skipped missed, 06 skipped missed, 07 skipped missed, '
   '08 skipped missed, 09 fired, 10 fired'),
  ('all', '02 fired, 03 fired, 04 skipped missed, 05 skipped missed, 06 skipped missed, 07 fired, 08 fired, 09 fired, '
   '10 fired')) AS v(name, want);
-- A change of leader is no outage: ten seconds late is on time, whatever the policy.
SELECT pg_temp.expect_equal('on time', pg_temp.fire('2026-06-11 00:30:40Z')::text, '3');
-- The window: twenty days away, and what is older than ten days is not caught up.
SELECT pg_temp.make('all', NULL, NULL, '2026-06-11 01:00Z', 'all', p_max => 100);
SELECT pg_temp.fire('2026-07-01 12:00Z');
SELECT pg_temp.expect_equal('window', (SELECT min(local_at)::text || ' ' || count(*) FROM meridian.firing
  WHERE schedule = 'all' AND outcome = 'fired' AND nominal_at > '2026-06-12'), '2026-06-22 02:30:00 10');
SELECT pg_temp.expect_equal('says why', (SELECT DISTINCT why FROM report.firings WHERE schedule = 'all' AND outcome = 'skipped'
  AND at > '2026-06-20 12:00Z'), 'no scheduler was at work when it was due; it is 10 days 11:00:00 old, more than is caught up');
SELECT meridian.schedule_rm(name, 'me') FROM meridian.schedule;
-- Far more missed than are listed one by one: bounded, and said.
SELECT pg_temp.make('dense', '* * * * *', 'UTC', '2026-07-01 12:00Z');
SELECT pg_temp.expect_equal('one of many', pg_temp.fire('2026-07-08 12:00:30Z')::text, '1');
SELECT pg_temp.expect_equal('bounded', (SELECT count(*)::text FROM meridian.firing WHERE schedule = 'dense'), '100');
SELECT pg_temp.expect('and said', EXISTS (SELECT FROM meridian.event WHERE reason LIKE
  'schedule dense: all firings in UTC from 2026-07-01%were missed, more than are listed one by one'));
SELECT meridian.schedule_rm(name, 'me') FROM meridian.schedule;
DELETE FROM meridian.firing;
-- Overlapping runs: nothing ends until after the third night.
SELECT pg_temp.make(r, '30 2 * * *', 'Europe/Berlin', '2026-06-01 12:00Z', 'latest', r)
FROM unnest('{skip,buffer,cancel,allow}'::text[]) AS r;
SELECT pg_temp.expect_equal('first night', pg_temp.fire('2026-06-02 00:30Z')::text, '4');
SELECT pg_temp.expect_equal('second night', pg_temp.fire('2026-06-03 00:30Z')::text, '2');
SELECT pg_temp.expect_equal('buffered', (SELECT string_agg(to_char(local_at, 'DD') || ' ' || outcome || ' ' || why, ', '
  ORDER BY nominal_at) FROM report.firings f JOIN meridian.firing USING (schedule, local_at, outcome, why)
  WHERE schedule = 'buffer' AND outcome <> 'fired'), '03 buffered starts when the earlier firing has ended');
SELECT pg_temp.expect_equal('third night', pg_temp.fire('2026-06-04 00:30Z')::text, '2');
SELECT pg_temp.expect_equal('nothing before the end', pg_temp.fire('2026-06-04 09:00Z')::text, '0');
SELECT pg_temp.end_jobs(r) FROM unnest('{skip,buffer}'::text[]) AS r;
SELECT pg_temp.expect_equal('then the one that waited, once', pg_temp.fire('2026-06-04 10:00Z') || ' '
  || pg_temp.fire('2026-06-04 10:00:02Z'), '1 0');
SELECT pg_temp.end_jobs('buffer');
SELECT pg_temp.expect_equal('fourth night', pg_temp.fire('2026-06-05 00:30Z')::text, '4');
SELECT pg_temp.expect_equal(name, pg_temp.story(name), want) FROM (VALUES
  ('skip', '02 fired, 03 skipped running, 04 skipped running, 05 fired'),
  ('buffer', '02 fired, 03 skipped replaced, 04 fired, 05 fired'),
  ('cancel', '02 fired, 03 fired, 04 fired, 05 fired'), ('allow', '02 fired, 03 fired, 04 fired, 05 fired')) AS v(name, want);
SELECT pg_temp.expect_equal('the old ones were cancelled, by name', (SELECT string_agg(j.state || coalesce(' ' ||
  j.cancel_requested_by, ''), ', ' ORDER BY f.nominal_at) FROM meridian.firing f JOIN meridian.job j ON j.id = f.job
  WHERE f.schedule = 'cancel'), 'cancelled schedule cancel, cancelled schedule cancel, cancelled schedule cancel, waiting');
SELECT pg_temp.expect_equal('allowed', (SELECT count(*)::text FROM meridian.job WHERE submitted_by = 'schedule allow'
  AND ended_at IS NULL), '4');
SELECT pg_temp.expect('why a night did not run', EXISTS (SELECT FROM report.firings WHERE schedule = 'skip'
  AND local_at = '2026-06-03 02:30' AND why LIKE 'the firing of 2026-06-02 02:30 still runs (job %)'));
SELECT pg_temp.expect_equal('audited', (SELECT count(*)::text FROM meridian.event WHERE reason LIKE
  'schedule skip, 2026-06-0_ 02:30 Europe/Berlin: skipped: the firing of % still runs%'), '2');
-- A firing that waits goes with its schedule, and waits while that is paused.
SELECT pg_temp.fire('2026-06-06 00:30Z');
SELECT meridian.schedule_set('buffer', NULL, NULL, NULL, NULL, NULL, NULL, true, 'me');
SELECT pg_temp.end_jobs('buffer');
SELECT pg_temp.expect_equal('paused', pg_temp.fire('2026-06-06 09:00Z')::text, '0');
SELECT meridian.schedule_rm('buffer', 'me');
SELECT pg_temp.expect_equal('removed', (SELECT reason || ': ' || why FROM report.firings WHERE schedule = 'buffer'
  AND local_at = '2026-06-06 02:30'), 'removed: me removed the schedule while it waited');
-- All that was missed, one after another.
SELECT pg_temp.make('queue', '30 2 * * *', 'Europe/Berlin', '2026-06-06 12:00Z', 'all', 'buffer');
SELECT pg_temp.fire('2026-06-10 12:00Z');
SELECT pg_temp.expect_equal('the first runs, the others wait', pg_temp.story('queue'),
  '07 skipped missed, 08 fired, 09 buffered, 10 buffered');
SELECT pg_temp.end_jobs('queue'); SELECT pg_temp.fire('2026-06-10 13:00Z');
SELECT pg_temp.end_jobs('queue'); SELECT pg_temp.fire('2026-06-10 14:00Z');
SELECT pg_temp.expect_equal('in order', pg_temp.story('queue'), '07 skipped missed, 08 fired, 09 fired, 10 fired');
SELECT pg_temp.expect_refused('MR004', 'would undo what it catches up', $$SELECT pg_temp.make('queue', NULL, NULL, now(),
  'all', 'skip')$$);
SELECT meridian.schedule_rm(name, 'me') FROM meridian.schedule;
DELETE FROM meridian.firing;
UPDATE meridian.job SET state = 'cancelled', ended_at = now() WHERE ended_at IS NULL;
-- A gap that is skipped is on record at once; an overlap that fires twice has two identities.
SELECT pg_temp.make('gap', '30 2 * * *', 'Europe/Berlin', '2026-03-28 12:00Z', p_gap => 'skip');
SELECT pg_temp.make('both', '30 2 * * *', 'Europe/Berlin', '2026-10-24 12:00Z', p_overlap => 'both');
SELECT pg_temp.expect_equal('next and due', (SELECT string_agg(schedule || ' ' || (next_at AT TIME ZONE 'UTC') || ' '
  || (due_at AT TIME ZONE 'UTC'), ', ' ORDER BY schedule) FROM meridian.schedule_zone),
  'both 2026-10-25 00:30:00 2026-10-25 00:30:00, gap 2026-03-30 00:30:00 2026-03-29 01:00:00');
SELECT pg_temp.expect_equal('skipped', pg_temp.fire('2026-03-29 01:00Z')::text, '0');
SELECT pg_temp.expect_equal('says why', (SELECT reason || ': ' || why FROM report.firings WHERE schedule = 'gap'),
  'gap: 02:30 does not exist that day: clocks jump over it to 03:00');
SELECT meridian.schedule_rm('gap', 'me');
SELECT pg_temp.expect_equal('twice', pg_temp.fire('2026-10-25 00:30Z') || ' ' || pg_temp.fire('2026-10-25 01:00Z') || ' '
  || pg_temp.fire('2026-10-25 01:30Z') || ' ' || pg_temp.fire('2026-10-25 02:30Z'), '1 0 1 0');
SELECT meridian.schedule_rm('both', 'me');
-- Jitter: within its bound, the same whenever it is asked, spread over zones; the nominal time stays.
SELECT pg_temp.make('jitter', '30 2 * * *', 'market', '2026-06-01 12:00Z', p_jitter_s => 1800);
SELECT pg_temp.expect('spread', count(DISTINCT due_at - next_at) = 3 AND bool_and(due_at - next_at BETWEEN interval '0'
  AND interval '30 minutes')) FROM meridian.schedule_zone;
SELECT pg_temp.expect('not before it', NOT EXISTS (SELECT FROM meridian.schedule_fire(1, (SELECT min(due_at)
  - interval '1 second' FROM meridian.schedule_zone))));
SELECT pg_temp.fire('2026-06-02 12:00Z');
SELECT pg_temp.expect_equal('nominal', (SELECT string_agg(DISTINCT (f.nominal_at AT TIME ZONE f.timezone)::time::text, ' ')
  FROM meridian.firing f WHERE schedule = 'jitter'), '02:30:00');
SELECT meridian.schedule_rm('jitter', 'me');
UPDATE meridian.job SET state = 'cancelled', ended_at = now() WHERE ended_at IS NULL;
DELETE FROM meridian.firing;
-- A market that moves: its schedule follows at once, and no night is doubled.
SELECT pg_temp.make('follow', '30 2 * * *', 'market', '2026-06-01 12:00Z');
SELECT pg_temp.expect_equal('before the move', pg_temp.fire('2026-06-02 00:30Z')::text, '3');
SELECT meridian.market_set('fr-FR', NULL, 'Atlantic/Azores', 'me');
UPDATE meridian.schedule_zone SET decided_until = '2026-06-02 00:40Z', next_at = '2026-06-02 02:30Z',
  due_at = '2026-06-02 02:30Z' WHERE timezone = 'Atlantic/Azores';
SELECT pg_temp.expect_equal('its zones', (SELECT string_agg(timezone, ' ' ORDER BY timezone) FROM meridian.schedule_zone),
  'Asia/Tokyo Atlantic/Azores Europe/Berlin');
SELECT pg_temp.expect_equal('not twice', pg_temp.fire('2026-06-02 02:30Z')::text, '0');
SELECT pg_temp.expect_equal('says why', (SELECT why FROM report.firings WHERE timezone = 'Atlantic/Azores'),
  'its markets had this night already, in the zone they were in before');
SELECT pg_temp.expect_equal('the next night', (SELECT string_agg(markets::text, ' ' ORDER BY markets) FROM
  meridian.schedule_fire(1, '2026-06-03 02:30Z')), '{de-DE} {fr-FR} {ja-JP}');
SELECT meridian.market_set('es-ES', 'eu', 'Europe/Madrid', 'me');
SELECT pg_temp.expect('a new market', EXISTS (SELECT FROM meridian.schedule_zone WHERE timezone = 'Europe/Madrid'));
SELECT meridian.market_rm('es-ES', 'me');
SELECT pg_temp.expect('gone again', NOT EXISTS (SELECT FROM meridian.schedule_zone WHERE timezone = 'Europe/Madrid'));
-- New rules of a zone: the next time is worked out again within the hour, and said.
UPDATE meridian.schedule_zone SET next_at = next_at + interval '1 hour', due_at = due_at + interval '1 hour',
  checked_at = '2026-06-03 02:30Z' WHERE timezone = 'Asia/Tokyo';
SELECT pg_temp.fire('2026-06-03 04:00Z');
SELECT pg_temp.expect_equal('found', (SELECT count(*)::text FROM meridian.event
  WHERE reason LIKE 'schedule follow: the clocks of Asia/Tokyo have new rules, it fires next at 2026-06-03 17:30 UTC instead of 2026-06-03 18:30 UTC'), '1');
-- What cannot fire holds up nothing else, and is tried again.
SELECT pg_temp.make('gone', '0 3 * * *', 'UTC', '2026-06-03 04:00Z');
UPDATE meridian.schedule SET timezone = 'Europe/Atlantis' WHERE name = 'gone';
UPDATE meridian.schedule_zone SET timezone = 'Europe/Atlantis' WHERE schedule = 'gone';
SELECT pg_temp.expect_equal('the others', pg_temp.fire('2026-06-04 03:00Z')::text, '3');
SELECT pg_temp.expect_equal('noted', (SELECT error_text || ' ' || (due_at AT TIME ZONE 'UTC') FROM meridian.schedule_zone
  WHERE schedule = 'gone'), 'time zone "Europe/Atlantis" not recognized 2026-06-04 03:05:00');
UPDATE meridian.schedule SET timezone = 'UTC' WHERE name = 'gone';
UPDATE meridian.schedule_zone SET timezone = 'UTC' WHERE schedule = 'gone';
SELECT pg_temp.expect_equal('and comes back', pg_temp.fire('2026-06-04 03:04Z') || ' ' || pg_temp.fire('2026-06-04 03:05Z'),
  '0 1');
UPDATE meridian.schedule SET synced_at = NULL, timezone = 'Europe/Atlantis' WHERE name = 'gone';
SELECT pg_temp.expect_equal('also when its zones are set up', pg_temp.fire('2026-06-05 02:30Z')::text, '3');
SELECT meridian.schedule_rm('gone', 'me');
SELECT meridian.schedule_rm('follow', 'me');
SELECT meridian.schedule_set('named', '0 3 * * *', 'UTC', 't', '{ja-JP}', NULL, NULL, NULL, 'me', p_now => '2026-06-06 00:00Z');
SELECT meridian.market_rm('ja-JP', 'me');
SELECT pg_temp.fire('2026-06-06 03:00Z');
SELECT pg_temp.expect_equal('nobody left', (SELECT outcome || ' ' || why FROM report.firings WHERE schedule = 'named'),
  'refused none of its markets is in use any more');
SELECT meridian.schedule_rm('named', 'me');
SELECT meridian.market_set('ja-JP', 'apac', 'Asia/Tokyo', 'me');
-- What clocks will do: said when it is set, by date.
SELECT meridian.schedule_set('warn', '30 2 * * *', 'Europe/Berlin', 't', NULL, NULL, NULL, NULL, 'me');
SELECT pg_temp.expect_equal('warns', (SELECT string_agg(day || ' ' || what || ' ' || note, '; ' ORDER BY day) FROM
  meridian.schedule_shifts('warn', '2026-01-01 00:00Z', '2027-01-01 00:00Z')), '2026-03-29 shift 02:30 does not exist: '
  'fires at 03:00; 2026-10-25 once 02:30 comes twice: fires the first time only');
SELECT meridian.schedule_set('warn', '*/15 * * * *', NULL, 't', NULL, NULL, NULL, NULL, 'me', 'next', 'both');
SELECT pg_temp.expect_equal('a dense line', (SELECT string_agg(day || ' ' || what || ' ' || note, '; ' ORDER BY day) FROM
  meridian.schedule_shifts('warn', '2026-01-01 00:00Z', '2027-01-01 00:00Z')), '2026-03-29 skip 02:00 to 02:45 (4 times) '
  'does not exist: falls together with 03:00; 2026-10-25 double 02:00 to 02:45 (4 times) comes twice: fires both times');
SELECT meridian.schedule_set('warn', '30 2 * * *', 'Asia/Tokyo', NULL, NULL, NULL, NULL, NULL, 'me');
SELECT pg_temp.expect('nothing to warn of', NOT EXISTS (SELECT FROM meridian.schedule_shifts('warn')));
SELECT meridian.schedule_set('warn', '30 2 * * *', 'Europe/Berlin', NULL, NULL, NULL, NULL, NULL, 'me', 'skip', 'second');
SELECT pg_temp.expect_equal('marks', (SELECT string_agg(to_char(local, 'DD HH24:MI') || ' ' || fires || ' ' || note, '; '
  ORDER BY at) FROM meridian.schedule_next('warn', 4, '2026-03-28 00:00Z')), '28 02:30 true ; 29 03:00 false 02:30 does not '
  'exist: skipped; clocks have changed: UTC+02:00, was UTC+01:00; 30 02:30 true ; 31 02:30 true ');
SELECT pg_temp.expect_equal('marks of an overlap', (SELECT string_agg(to_char(at AT TIME ZONE 'UTC', 'DD HH24:MI') || ' ' || note, '; '
  ORDER BY at) FROM meridian.schedule_next('warn', 2, '2026-10-24 12:00Z')), '25 01:30 comes twice: the second time; '
  'clocks have changed: UTC+01:00, was UTC+02:00; 26 01:30 ');
SELECT meridian.schedule_rm('warn', 'me');
DELETE FROM meridian.firing;
UPDATE meridian.job SET state = 'cancelled', ended_at = now() WHERE ended_at IS NULL;

-- Three simulated months with a change of clocks for each pair of policies: seeded outages from
-- seconds to weeks, changes of leader, jobs that end when they like. Whatever happened, each time has
-- exactly one row, none fires before its time or twice, and never more run than the policy allows.
CREATE FUNCTION pg_temp.live(p_name text, p_running text, p_from timestamptz, p_until timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_now timestamptz := p_from;
  v_term bigint;
  v_open integer;
BEGIN
  WHILE v_now < p_until LOOP
    IF random() < 0.1 THEN -- another scheduler leads, and the one before comes too late
      UPDATE meridian.leader SET expires_at = now();
      SELECT term INTO v_term FROM meridian.leader;
      PERFORM meridian.leader_acquire(gen_random_uuid()::text, 3600000);
      PERFORM pg_temp.expect_refused('MR001', 'is not the leader', format('SELECT meridian.schedule_fire(%s, %L)', v_term, v_now));
    END IF;
    PERFORM pg_temp.fire(v_now);
    PERFORM pg_temp.expect_equal(p_name || ' again at once fires nothing, ' || v_now, pg_temp.fire(v_now)::text, '0');
    SELECT count(*) INTO v_open FROM meridian.job j JOIN meridian.firing f ON f.job = j.id
    WHERE f.schedule = p_name AND j.ended_at IS NULL;
    IF p_running <> 'allow' AND v_open > 1 THEN
      RAISE EXCEPTION '%: % run at once', p_name, v_open;
    END IF;
    IF random() < 0.6 THEN
      PERFORM pg_temp.end_jobs(p_name);
    END IF;
    v_now := CASE WHEN random() < 0.03 THEN v_now + random() * interval '20 days'
      WHEN random() < 0.15 THEN v_now + random() * interval '2 days'
      WHEN random() < 0.3 THEN v_now + random() * interval '3 hours'
      -- A scheduler at work: seconds after the next one is due.
      ELSE (SELECT min(due_at) FROM meridian.schedule_zone) + random() * interval '30 seconds' END;
  END LOOP;
  PERFORM pg_temp.fire(p_until);
END $$;
SELECT setseed(0.5);
CREATE TEMP TABLE pair AS SELECT m, r, m || '-' || r AS name, CASE WHEN r IN ('skip', 'buffer') THEN
  '2026-02-15 00:00Z'::timestamptz ELSE '2026-09-01 00:00Z' END AS since FROM unnest('{skip,latest,all}'::text[]) AS m,
  unnest('{skip,buffer,cancel,allow}'::text[]) AS r WHERE m <> 'all' OR r IN ('buffer', 'allow');
DO $$
DECLARE
  p record;
BEGIN
  FOR p IN SELECT * FROM pair ORDER BY name LOOP
    PERFORM pg_temp.make(p.name, '30 2 * * *', 'Europe/Berlin', p.since, p.m, p.r);
    PERFORM pg_temp.live(p.name, p.r, p.since, p.since + interval '3 months');
    PERFORM meridian.schedule_rm(p.name, 'me');
    PERFORM pg_temp.end_jobs(p.name);
  END LOOP;
END $$;
-- One row for each night, by a plain count of nights.
SELECT pg_temp.expect_equal(name || ': every night once', (SELECT count(*) || ' ' || count(DISTINCT local_at) || ' '
  || min(local_at) || ' ' || max(local_at) FROM meridian.firing WHERE schedule = name),
  CASE WHEN r IN ('skip', 'buffer') THEN '89 89 2026-02-15 02:30:00 2026-05-14 02:30:00'
  ELSE '91 91 2026-09-01 02:30:00 2026-11-30 02:30:00' END) FROM pair;
SELECT pg_temp.expect('not before its time', fired_at >= nominal_at) FROM meridian.firing;
SELECT pg_temp.expect_equal(name || ': reasons', (SELECT string_agg(DISTINCT reason, ' ' ORDER BY reason) FROM meridian.firing
  WHERE schedule = name AND outcome = 'skipped'), want)
FROM (VALUES ('skip-skip', 'missed running'), ('latest-allow', 'missed'), ('skip-cancel', 'missed'),
  ('latest-buffer', 'missed replaced')) AS v(name, want);
SELECT pg_temp.expect(name || ': late ones fired only as they may', NOT EXISTS (
  SELECT FROM meridian.firing f WHERE f.schedule = name AND f.outcome = 'fired'
    AND f.fired_at > f.nominal_at + interval '1 minute')) FROM pair WHERE name IN ('skip-skip', 'skip-cancel', 'skip-allow');
SELECT pg_temp.expect_equal('jobs and firings', (SELECT count(*) || ' ' || count(DISTINCT job) FROM meridian.firing
  WHERE outcome = 'fired'), (SELECT count(*) || ' ' || count(*) FROM meridian.job j WHERE EXISTS (SELECT FROM pair
  WHERE 'schedule ' || name = j.submitted_by)));
