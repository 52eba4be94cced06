-- Needs with conditions and quorums, families with quorums, and what a retry makes of them.
CREATE FUNCTION pg_temp.id(n integer) RETURNS uuid LANGUAGE sql AS $$
  SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
-- Admits noop n with needs; p_if has a letter for each.
CREATE FUNCTION pg_temp.admit(n integer, p_after integer[] DEFAULT '{}', p_if text DEFAULT NULL,
  p_quorum integer DEFAULT NULL, p_parent uuid DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT state FROM meridian.job_admit(1, jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('id', pg_temp.id(n),
    'kind', 'noop', 'market', 'de-DE', 'spec', '{}'::jsonb, 'priority', 0, 'memory_mb', 16, 'time_limit_s', 1,
    'threads', 1, 'max_attempts', 1, 'is_parent', false, 'parent', p_parent, 'is_member', p_parent IS NOT NULL,
    'after', CASE WHEN cardinality(p_after) > 0
                  THEN (SELECT jsonb_agg(pg_temp.id(a) ORDER BY p) FROM unnest(p_after) WITH ORDINALITY AS x(a, p)) END,
    'after_if', p_if, 'after_quorum', p_quorum)))) $$;
CREATE FUNCTION pg_temp.finish(n integer, p_state text) RETURNS void LANGUAGE sql AS $$
  UPDATE meridian.job SET state = p_state, ended_at = now(), error_code = 'DATA', error_text = 'why'
  WHERE id = pg_temp.id(n) $$;
CREATE FUNCTION pg_temp.succeed(n integer) RETURNS void LANGUAGE sql AS $$
  UPDATE meridian.job SET state = 'dispatched', attempt = 1 WHERE id = pg_temp.id(n);
  UPDATE meridian.job SET state = 'running', started_at = now() WHERE id = pg_temp.id(n);
  UPDATE meridian.job SET state = 'succeeded', ended_at = now() WHERE id = pg_temp.id(n) $$;
CREATE FUNCTION pg_temp.release(n integer) RETURNS text LANGUAGE sql AS $$
  SELECT state FROM meridian.job_release(1, ARRAY[pg_temp.id(n)]) $$;
CREATE FUNCTION pg_temp.skip(n integer, p_cause integer) RETURNS text LANGUAGE sql AS $$
  SELECT state FROM meridian.job_skip(1, jsonb_build_array(jsonb_build_object('job', pg_temp.id(n),
    'state', 'skipped', 'error_code', 'CANCELLED', 'error_text', 'not run', 'cause', pg_temp.id(p_cause)))) $$;
-- Conditions, in the mirror's words, and each fence.
SELECT pg_temp.expect_equal('needed', string_agg(pg_temp.admit(n), ' '), 'queued queued queued')
FROM generate_series(1, 3) AS n;
SELECT pg_temp.expect_equal('waits', pg_temp.admit(10, '{1,2,3}', 'ona'), 'waiting');
SELECT pg_temp.expect_equal('mirror', (SELECT string_agg(x, ',' ORDER BY x) FROM meridian.job_mirror,
  string_to_table(needs, ',') AS x WHERE id = pg_temp.id(10)),
  pg_temp.id(1) || '=queued,' || pg_temp.id(2) || '=afternotok:queued,' || pg_temp.id(3) || '=afterany:queued');
SELECT pg_temp.expect_equal('too early to run', pg_temp.release(10), 'waiting');
SELECT pg_temp.expect_equal('too early to give up', pg_temp.skip(10, 1), 'waiting');
SELECT pg_temp.succeed(1), pg_temp.finish(2, 'failed');
SELECT pg_temp.expect_equal('one is open', pg_temp.release(10), 'waiting');
SELECT pg_temp.finish(3, 'cancelled');
SELECT pg_temp.expect_equal('all are met', pg_temp.release(10), 'queued');
-- Admitted after the end of what it needs.
SELECT pg_temp.expect_equal('afterok of a failure', pg_temp.admit(11, '{2}'), 'waiting');
SELECT pg_temp.expect_equal('afternotok of a failure', pg_temp.admit(12, '{2}', 'n'), 'queued');
SELECT pg_temp.expect_equal('afternotok of a success', pg_temp.admit(13, '{1}', 'n'), 'waiting');
SELECT pg_temp.expect_equal('its skip', pg_temp.skip(13, 1), 'skipped');
-- The first cause goes down the chain.
SELECT pg_temp.expect_equal('skipped', pg_temp.skip(11, 2), 'skipped');
SELECT pg_temp.expect_equal('its dependant', pg_temp.admit(14, '{11}'), 'waiting');
SELECT pg_temp.expect_equal('the cause is named', (SELECT needs FROM meridian.job_mirror WHERE id = pg_temp.id(14)),
  pg_temp.id(11) || '=skipped:' || pg_temp.id(2) || ':failed');
-- A quorum of needs.
SELECT pg_temp.admit(n) FROM generate_series(21, 23) AS n;
SELECT pg_temp.expect_equal('waits', pg_temp.admit(20, '{21,22,23}', NULL, 2), 'waiting');
SELECT pg_temp.finish(21, 'failed'), pg_temp.succeed(22);
SELECT pg_temp.expect_equal('one of two', (SELECT after_left::text FROM meridian.job_mirror
  WHERE id = pg_temp.id(20)), '1');
SELECT pg_temp.expect_equal('not yet', pg_temp.release(20) || pg_temp.skip(20, 21), 'waitingwaiting');
SELECT pg_temp.succeed(23);
SELECT pg_temp.expect_equal('two of three', pg_temp.release(20), 'queued');
SELECT pg_temp.expect_equal('at admission', pg_temp.admit(24, '{21,22,23}', NULL, 2), 'queued');
SELECT pg_temp.expect_equal('never', pg_temp.admit(25, '{21,22}', NULL, 2), 'waiting');
SELECT pg_temp.expect_equal('so it is skipped', pg_temp.skip(25, 21), 'skipped');
-- Circles, whatever the conditions.
SELECT pg_temp.expect_equal('waits for one to come', pg_temp.admit(30, '{31}', 'a'), 'waiting');
SELECT pg_temp.expect_equal('closes the circle', pg_temp.admit(31, '{30}', 'n'), 'failed');
-- A retry keeps conditions and quorum, and goes by them.
SELECT pg_temp.admit(41), pg_temp.admit(42);
SELECT pg_temp.finish(41, 'failed'), pg_temp.finish(42, 'failed');
SELECT pg_temp.admit(40, '{41,42}', 'on', 1);
SELECT pg_temp.finish(40, 'failed');
SELECT meridian.job_retry(pg_temp.id(40), 'me') AS again \gset
SELECT pg_temp.expect_equal('the retry', (SELECT state || ' ' || after_quorum FROM meridian.job WHERE id = :'again'),
  'queued 1');
SELECT pg_temp.expect_equal('its needs', (SELECT string_agg(condition, ' ' ORDER BY needs) FROM meridian.dependency
  WHERE job = :'again'), 'afterok afternotok');
-- A family: three members, two must succeed.
CREATE FUNCTION pg_temp.family(p_id integer, p_spec jsonb) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO meridian.job (id, kind, task, state, spec) VALUES (pg_temp.id(p_id), 'nightly', 't', 'waiting', p_spec);
  PERFORM meridian.job_fan_out(1, pg_temp.id(p_id), (SELECT jsonb_agg(jsonb_build_object('id', pg_temp.id(n),
    'kind', 'noop', 'market', 'de-DE', 'spec', '{}'::jsonb, 'priority', 0, 'memory_mb', 16, 'time_limit_s', 1,
    'threads', 1, 'max_attempts', 1, 'is_parent', false, 'parent', pg_temp.id(p_id), 'is_member', true))
    FROM generate_series(p_id + 1, p_id + 3) AS n), 2);
  RETURN pg_temp.id(p_id);
END $$;
CREATE FUNCTION pg_temp.quorum(n integer) RETURNS boolean LANGUAGE sql AS $$
  SELECT is_quorum_reached FROM meridian.job_quorum(1, ARRAY[pg_temp.id(n)]) $$;
CREATE FUNCTION pg_temp.close(n integer) RETURNS text LANGUAGE sql AS $$
  SELECT state FROM meridian.job_close(1, ARRAY[pg_temp.id(n)]) WHERE id = pg_temp.id(n) $$;
SELECT pg_temp.family(50, '{"stragglers": "cancel", "straggler_wait_s": 600}');
SELECT pg_temp.expect_equal('mirror', (SELECT concat_ws(' ', quorum, members, stragglers, is_quorum_reached)
  FROM meridian.job_mirror WHERE id = pg_temp.id(50)), '2 3 cancel f');
SELECT pg_temp.succeed(51), pg_temp.finish(52, 'failed');
SELECT pg_temp.expect('one of two', NOT pg_temp.quorum(50));
SELECT pg_temp.expect_equal('it is not closed', pg_temp.close(50), 'waiting');
SELECT meridian.job_retry(pg_temp.id(52), 'me') AS retried \gset
SELECT pg_temp.expect_equal('a retry takes the place', (SELECT members::text FROM meridian.job_mirror
  WHERE id = pg_temp.id(50)), '3');
UPDATE meridian.job SET state = 'dispatched', attempt = 1 WHERE id = :'retried';
UPDATE meridian.job SET state = 'running', started_at = now() WHERE id = :'retried';
UPDATE meridian.job SET state = 'succeeded', ended_at = now() WHERE id = :'retried';
SELECT pg_temp.expect('two of two', pg_temp.quorum(50));
SELECT pg_temp.expect('the time of the stragglers runs', (SELECT due_in_ms BETWEEN 500000 AND 600000
  FROM meridian.job_mirror WHERE id = pg_temp.id(50)));
SELECT pg_temp.expect_equal('stragglers are not left', pg_temp.close(50), 'waiting');
SELECT meridian.job_cancel_children(1, pg_temp.id(50));
SELECT pg_temp.expect_equal('with the quorum it has succeeded', pg_temp.close(50), 'succeeded');
SELECT pg_temp.expect_equal('and says with how many', (SELECT concat_ws(' ', result ->> 'markets_done',
  result ->> 'markets', result ->> 'quorum', result ->> 'cancelled', error_text) FROM meridian.job
  WHERE id = pg_temp.id(50)), '2 3 2 1');
SELECT pg_temp.family(60, '{"stragglers": "leave", "straggler_wait_s": 0}');
SELECT pg_temp.expect_equal('no quorum yet', pg_temp.close(60), 'waiting');
SELECT pg_temp.succeed(61), pg_temp.succeed(62);
SELECT pg_temp.expect_equal('not noted yet', pg_temp.close(60), 'waiting');
SELECT pg_temp.expect('noted', pg_temp.quorum(60));
SELECT pg_temp.expect_equal('the straggler is left', pg_temp.close(60), 'succeeded');
SELECT pg_temp.expect_equal('and goes on', (SELECT state FROM meridian.job WHERE id = pg_temp.id(63)), 'queued');
SELECT pg_temp.family(70, '{"stragglers": "wait"}');
SELECT pg_temp.finish(71, 'failed'), pg_temp.finish(72, 'failed'), pg_temp.succeed(73);
SELECT pg_temp.expect_equal('without the quorum it failed', pg_temp.close(70), 'failed');
SELECT pg_temp.expect('and says why', (SELECT error_text LIKE '1 of 3 markets are done, 2 are needed; %'
  FROM meridian.job WHERE id = pg_temp.id(70)));
