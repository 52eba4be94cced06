-- Assignment: an attempt is a worker's from the start; the worker's renewal confirms it, or is handed it.
CREATE FUNCTION pg_temp.queued(p_market text DEFAULT 'de-DE') RETURNS uuid LANGUAGE sql AS $$
  INSERT INTO meridian.job (id, kind, market, task, region, state, queued_at, spec)
  SELECT gen_random_uuid(), 'noop', p_market, 't', m.region, 'queued', now(), '{"a": 1}'
  FROM meridian.market m WHERE m.code = p_market RETURNING id $$;
CREATE FUNCTION pg_temp.hello(p_name text, p_region text, p_incarnation integer) RETURNS boolean LANGUAGE sql AS $$
  SELECT meridian.worker_hello(p_name, lpad(p_incarnation::text, 32, '0')::uuid, true, p_region, 'h', 1, 2, 1,
    1000, '0', 100) $$;
CREATE FUNCTION pg_temp.give(p_job uuid, p_worker text, p_incarnation integer, p_region text DEFAULT 'eu',
  p_number integer DEFAULT 1) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' ', state, worker, worker_mono_ms, spec) FROM meridian.job_dispatch(1, ARRAY[p_job],
    ARRAY[p_number], ARRAY[p_region], ARRAY[p_worker], ARRAY[lpad(p_incarnation::text, 32, '0')::uuid], 10000) $$;
CREATE FUNCTION pg_temp.renew(p_worker text, p_incarnation integer, p_job uuid DEFAULT NULL,
  p_drain boolean DEFAULT false) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(concat_ws(' ', verdict, number, spec), ', ')
  FROM meridian.lease_renew(p_worker, lpad(p_incarnation::text, 32, '0')::uuid, 200, p_drain,
    array_remove(ARRAY[p_job], NULL), CASE WHEN p_job IS NULL THEN '{}' ELSE '{1}'::integer[] END,
    '{50}', '{NULL}', 15000) $$;
SELECT pg_temp.hello('w', 'eu', 1), pg_temp.hello('v', 'apac', 1);
-- What is not so (any more) stays queued: the incarnation, the region, a drain, the attempt's number.
SELECT pg_temp.queued() AS j \gset
SELECT pg_temp.expect_equal('another incarnation', pg_temp.give(:'j', 'w', 2), 'queued');
SELECT pg_temp.expect_equal('no such worker', pg_temp.give(:'j', 'x', 1), 'queued');
SELECT pg_temp.expect_equal('a worker elsewhere', pg_temp.give(:'j', 'v', 1), 'queued');
SELECT pg_temp.expect_equal('a job elsewhere', pg_temp.give(:'j', 'v', 1, 'apac'), 'queued');
SELECT pg_temp.expect_equal('another number', pg_temp.give(:'j', 'w', 1, 'eu', 2), 'queued');
SELECT pg_temp.expect_equal('says that it drains', pg_temp.renew('w', 1, NULL, true), 'up');
SELECT pg_temp.expect_equal('a worker that drains', pg_temp.give(:'j', 'w', 1), 'queued');
SELECT pg_temp.hello('w', 'eu', 2);
SELECT pg_temp.expect_refused('MR001', 'term 2', format(
  'SELECT meridian.job_dispatch(2, ARRAY[%L]::uuid[], ''{1}'', ''{eu}'', ''{w}'', ARRAY[gen_random_uuid()], 1)', :'j'));
-- Assigned: with the clock of the worker's last hello or renewal, and a lease.
SELECT pg_temp.expect_equal('assigned', pg_temp.give(:'j', 'w', 2), 'dispatched w 100 {"a": 1}');
SELECT pg_temp.expect('has a lease', (SELECT lease_expires_at > now() + interval '9 s' FROM meridian.attempt
  WHERE job = :'j'));
-- A message may still be on its way; after a second it is handed over; then the worker names it.
SELECT pg_temp.expect_equal('not yet', pg_temp.renew('w', 2), 'up');
UPDATE meridian.attempt SET dispatched_at = now() - interval '1.1 s' WHERE job = :'j';
SELECT pg_temp.expect_equal('not to another start', pg_temp.renew('w', 1), 'unknown');
SELECT pg_temp.expect_equal('handed over', pg_temp.renew('w', 2), 'take 1 {"a": 1}, up');
SELECT pg_temp.expect_equal('again while it is not named', pg_temp.renew('w', 2), 'take 1 {"a": 1}, up');
SELECT pg_temp.expect_equal('named', pg_temp.renew('w', 2, :'j'), 'ok 1, up');
SELECT pg_temp.expect_equal('runs', (SELECT j.state || ' ' || a.state || ' ' || (a.started_at >= a.dispatched_at)
  FROM meridian.job j JOIN meridian.attempt a ON a.job = j.id WHERE j.id = :'j'), 'running running true');
SELECT pg_temp.expect_equal('the audit', (SELECT string_agg(reason, ', ' ORDER BY id) FROM meridian.event
  WHERE job = :'j'), 'assigned to worker w, started');
-- Cancelled before it was begun.
SELECT pg_temp.queued() AS c \gset
SELECT pg_temp.give(:'c', 'w', 2);
UPDATE meridian.attempt SET dispatched_at = now() - interval '2 s' WHERE job = :'c';
SELECT meridian.job_cancel(ARRAY[:'c']::uuid[], 'me');
SELECT pg_temp.expect_equal('is not to be begun', pg_temp.renew('w', 2, :'j'), 'ok 1, cancel 1 {"a": 1}, up');
-- A result may come before the worker ever named the attempt; it is the worker's alone, and its region's.
SELECT pg_temp.queued() AS q \gset
SELECT pg_temp.give(:'q', 'w', 2);
SELECT pg_temp.expect_equal('a stranger', meridian.attempt_finish(1, :'q', 1, 'v', 1, '{}'), 'stale');
UPDATE meridian.worker SET region = 'apac' WHERE name = 'w';
SELECT pg_temp.expect_equal('a worker of another region', meridian.attempt_finish(1, :'q', 1, 'w', 1, '{}'), 'stale');
UPDATE meridian.worker SET region = 'eu' WHERE name = 'w';
SELECT pg_temp.expect_equal('its own', meridian.attempt_finish(1, :'q', 1, 'w', 1, '{}', 5), 'committed');
SELECT pg_temp.expect('has a start', (SELECT a.started_at IS NOT NULL AND j.started_at = a.started_at
  FROM meridian.job j JOIN meridian.attempt a ON a.job = j.id WHERE j.id = :'q'));
-- Undelivered: only when the lease is over, which it is at once when the worker leaves or starts anew.
SELECT pg_temp.queued() AS u \gset
SELECT pg_temp.give(:'u', 'w', 2);
CREATE FUNCTION pg_temp.swept() RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(expiry, ' ') FROM meridian.scheduler_sweep(1, 10000, 100000) $$;
SELECT meridian.attempt_fail(1, jsonb_build_array(jsonb_build_object('job', :'u', 'attempt', 1, 'outcome',
  'undelivered', 'is_final', false, 'is_cancelled', false, 'failures', 0, 'crashes', 0, 'delay_ms', 0)));
SELECT pg_temp.expect_equal('its lease holds', (SELECT state FROM meridian.job WHERE id = :'u'), 'dispatched');
SELECT pg_temp.expect_equal('nothing is over', pg_temp.swept(), NULL);
SELECT meridian.worker_bye('w', lpad('2', 32, '0')::uuid);
SELECT pg_temp.expect_equal('left', pg_temp.swept(), 'undelivered undelivered');
SELECT pg_temp.hello('w', 'eu', 3);
SELECT pg_temp.expect('what ran in the older start is lost', pg_temp.swept() LIKE '%lost%');
