-- What a clock that was set back leaves behind does not hold anything up.
SELECT pg_temp.running('noop', NULL) AS job \gset
-- A lease and a worker of an hour ahead: at the next sweep the lease has its usual time, and the worker was seen now.
UPDATE meridian.attempt SET lease_expires_at = clock_timestamp() + interval '1 hour' WHERE job = :'job';
INSERT INTO meridian.worker (name, incarnation, region, host, pid, slots, threads, memory_mb, version, seen_at)
SELECT 'early', gen_random_uuid(), min(name), 'h', 1, 1, 1, 1, 'v', clock_timestamp() + interval '1 hour' FROM meridian.region;
SELECT count(*) FROM meridian.scheduler_sweep(1, 10000, 120000);
SELECT pg_temp.expect_equal('the lease is a lease again', (SELECT lease_expires_at
  BETWEEN clock_timestamp() + interval '5 seconds' AND clock_timestamp() + interval '15 seconds'
  FROM meridian.attempt WHERE job = :'job')::text, 'true');
SELECT pg_temp.expect_equal('nobody is seen in the future', (SELECT bool_and(seen_at <= clock_timestamp())
  FROM meridian.worker)::text, 'true');
-- A usual lease is left alone.
UPDATE meridian.attempt SET lease_expires_at = clock_timestamp() + interval '14 seconds' WHERE job = :'job';
SELECT lease_expires_at AS before FROM meridian.attempt WHERE job = :'job' \gset
SELECT count(*) FROM meridian.scheduler_sweep(1, 10000, 120000);
SELECT pg_temp.expect_equal('a lease is not shortened', (SELECT lease_expires_at FROM meridian.attempt
  WHERE job = :'job')::text, :'before');
-- A dead leader of an hour ahead is gone after one life of a term, not after an hour; a living one is not deposed.
SELECT holder, term FROM meridian.leader \gset
UPDATE meridian.leader SET expires_at = clock_timestamp() + interval '1 hour';
SELECT pg_temp.expect_equal('not at once', (SELECT is_leader FROM meridian.leader_acquire('other', 6000))::text, 'false');
SELECT pg_temp.expect_equal('within its life', (SELECT expires_at <= clock_timestamp() + interval '6 seconds'
  FROM meridian.leader)::text, 'true');
SELECT pg_temp.expect_equal('it leads on', (SELECT is_leader AND term = :term FROM meridian.leader_acquire(:'holder', 60000))::text,
  'true');

-- A clock that was set forward by an hour takes no time from anybody.
CREATE FUNCTION pg_temp.swept(p_since bigint, p_clock timestamptz) RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(string_agg(expiry, ' '), 'none') FROM meridian.scheduler_sweep(1, 10000, 120000, p_since, p_clock)
  WHERE job IS NOT NULL $$;
CREATE FUNCTION pg_temp.left_s() RETURNS numeric LANGUAGE sql AS $$
  SELECT round(extract(epoch FROM max(lease_expires_at) - clock_timestamp())) FROM meridian.attempt WHERE ended_at IS NULL $$;
UPDATE meridian.leader SET holder = 'test', term = 1, expires_at = clock_timestamp() + interval '50 seconds';
-- It had nine seconds when the clock jumped by an hour, and one went by since.
UPDATE meridian.attempt SET lease_expires_at = clock_timestamp() - interval '1 hour' + interval '8 seconds' WHERE job = :'job';
UPDATE meridian.worker SET seen_at = clock_timestamp() - interval '1 hour' WHERE name = 'early';
SELECT pg_temp.expect_equal('it is not lost', pg_temp.swept(1000, clock_timestamp() - interval '1 hour 1 second'), 'none');
SELECT pg_temp.expect_equal('it has the eight seconds that it had', pg_temp.left_s()::text, '8');
SELECT pg_temp.expect_equal('its worker was seen', (SELECT state = 'up' AND seen_at > clock_timestamp() - interval '5 seconds'
  FROM meridian.worker WHERE name = 'early')::text, 'true');
-- What was renewed after the jump has its usual time and no hour more.
UPDATE meridian.attempt SET lease_expires_at = clock_timestamp() + interval '14 seconds' WHERE job = :'job';
SELECT pg_temp.expect_equal('not lost either', pg_temp.swept(1000, clock_timestamp() - interval '1 hour 1 second'), 'none');
SELECT pg_temp.expect_equal('nothing is given for the jump', (pg_temp.left_s() <= 15)::text, 'true');
-- What ended before the jump has ended.
UPDATE meridian.attempt SET lease_expires_at = clock_timestamp() - interval '1 hour 2 seconds' WHERE job = :'job';
SELECT pg_temp.expect_equal('lost before the jump', pg_temp.swept(1000, clock_timestamp() - interval '1 hour 1 second'), 'lost');
-- A leader that has swept a second ago, by a clock that was left alone, finds it at once.
UPDATE meridian.attempt SET lease_expires_at = clock_timestamp() - interval '3 seconds' WHERE job = :'job';
SELECT pg_temp.expect_equal('lost', pg_temp.swept(1000, clock_timestamp() - interval '1 second'), 'lost');
-- What had ended an hour ago then and was not found was renewed by a clock that is behind.
UPDATE meridian.attempt SET lease_expires_at = clock_timestamp() - interval '1 hour' WHERE job = :'job';
SELECT pg_temp.expect_equal('it has a lease''s time', pg_temp.swept(1000, clock_timestamp() - interval '1 second')
  || pg_temp.left_s(), 'none15');
-- One that has not swept cannot tell a jump from a time without a leader: a lease's time once more for all.
SELECT pg_temp.expect_equal('not at once', pg_temp.swept(0, NULL), 'none');
SELECT pg_temp.expect_equal('but in a lease''s time', pg_temp.left_s()::text, '15');
UPDATE meridian.attempt SET lease_expires_at = clock_timestamp() + interval '2 seconds' WHERE job = :'job';
SELECT pg_temp.expect_equal('a jump may have shortened it', pg_temp.swept(0, NULL) || pg_temp.left_s(), 'none15');
-- The previous release tells nothing, and nothing is done for it.
UPDATE meridian.attempt SET lease_expires_at = clock_timestamp() - interval '1 hour' WHERE job = :'job';
SELECT pg_temp.expect_equal('as before', (SELECT string_agg(expiry, ' ') FROM meridian.scheduler_sweep(1, 10000, 120000)), 'lost');
