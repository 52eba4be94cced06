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
