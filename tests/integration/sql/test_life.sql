-- The ends of attempts: budgets, the poison rule, memory classes, the place in the queue, stale writes.
CREATE FUNCTION pg_temp.add(p_id uuid, p_kind text, p_parent uuid DEFAULT NULL, p_by text DEFAULT 'me')
RETURNS uuid LANGUAGE sql AS $$
  INSERT INTO meridian.job (id, kind, market, task, region, state, parent, submitted_by, queued_at, memory_mb)
  VALUES (p_id, p_kind, CASE WHEN p_kind <> 'nightly' THEN 'de-DE' END, 't',
    CASE WHEN p_kind <> 'nightly' THEN 'eu' END, CASE p_kind WHEN 'nightly' THEN 'waiting' ELSE 'queued' END,
    p_parent, p_by, now(), 1024)
  RETURNING id $$;
-- The next attempt, running on worker w.
CREATE FUNCTION pg_temp.run(p_id uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE n integer := (SELECT attempt + 1 FROM meridian.job WHERE id = p_id);
BEGIN
  UPDATE meridian.job SET state = 'queued' WHERE id = p_id AND state = 'waiting';
  UPDATE meridian.job SET state = 'dispatched', attempt = n WHERE id = p_id;
  INSERT INTO meridian.attempt (job, number, state, region) VALUES (p_id, n, 'dispatched', 'eu');
  UPDATE meridian.attempt SET state = 'running', worker = 'w', started_at = now(), lease_expires_at = now()
  WHERE job = p_id AND number = n;
  UPDATE meridian.job SET state = 'running', started_at = now() WHERE id = p_id;
END $$;
CREATE FUNCTION pg_temp.ends(p_id uuid, p_outcome text, p_crash integer, p_more jsonb DEFAULT '{}')
RETURNS text LANGUAGE sql AS $$
  SELECT meridian.attempt_fail(1, jsonb_build_array(jsonb_build_object('job', p_id, 'attempt',
    (SELECT attempt FROM meridian.job WHERE id = p_id), 'outcome', p_outcome, 'worker', 'w', 'is_final', false,
    'is_cancelled', false, 'failures', 0, 'crashes', p_crash, 'ooms', 0, 'delay_ms', 0, 'error_code', 'CRASH',
    'error_class', 'retry', 'error_text', 'killed by signal 9') || p_more));
  SELECT concat_ws(' ', state, error_code, memory_mb) FROM meridian.job WHERE id = p_id $$;
CREATE FUNCTION pg_temp.crashes(p_id uuid, p_times integer) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 2..p_times LOOP PERFORM pg_temp.run(p_id); PERFORM pg_temp.ends(p_id, 'crashed', 1); END LOOP;
  PERFORM pg_temp.run(p_id);
  RETURN pg_temp.ends(p_id, 'crashed', 1);
END $$;

-- Three crashes within 72 hours end a job that counts for itself; a person's retry starts anew.
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000a1', 'noop') AS a \gset
SELECT pg_temp.expect_equal('two crashes', pg_temp.crashes(:'a', 2), 'queued 1024');
UPDATE meridian.crash SET at = at - interval '73 hours' WHERE attempt = 1;
SELECT pg_temp.expect_equal('an old one does not count', pg_temp.crashes(:'a', 1), 'queued 1024');
SELECT pg_temp.expect_equal('the mirror''s', (SELECT crashes || ' ' || charged FROM meridian.job_mirror
  WHERE id = :'a'), '2 3');
SELECT pg_temp.expect_equal('the third', pg_temp.crashes(:'a', 1), 'failed CRASH 1024');
SELECT pg_temp.expect('its sentence', (SELECT error_text = 'killed by signal 9; crash 3 of what it runs within '
  '72 hours: not run again without a person' FROM meridian.job WHERE id = :'a'));
SELECT meridian.job_retry(:'a', 'anna') AS a2 \gset
SELECT pg_temp.expect_equal('retried', (SELECT state || ' ' || crashes FROM meridian.job_mirror WHERE id = :'a2'),
  'queued 0');

-- The children of a schedule's nightlies count together, across firings; another market, another schedule
-- and a submission by hand do not.
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000b0', 'nightly', NULL, 'schedule eu') AS p \gset
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000b1', 'finetune', :'p', 'schedule eu') AS b1 \gset
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000b2', 'finetune', :'p', 'schedule eu') AS b2 \gset
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000b3', 'finetune', :'p', 'schedule eu') AS b3 \gset
SELECT pg_temp.expect_equal('what is run', (SELECT DISTINCT identity FROM meridian.job WHERE parent = :'p'),
  'finetune de-DE t schedule eu');
SELECT pg_temp.expect_equal('the first firing', pg_temp.crashes(:'b1', 2), 'queued 1024');
SELECT pg_temp.expect_equal('the second', pg_temp.crashes(:'b2', 1), 'failed CRASH 1024');
SELECT pg_temp.expect_equal('one that waits is not run', (SELECT state || ' ' || error_code FROM meridian.job
  WHERE id = :'b3'), 'failed POISON');
SELECT pg_temp.expect_equal('and says so to the scheduler', (SELECT actor || ' ' || to_state FROM meridian.event
  WHERE job = :'b3'), 'poison rule failed');
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000b4', 'finetune', :'p', 'schedule eu') AS b4 \gset
SELECT pg_temp.expect_equal('tonight''s is born failed', (SELECT state || ' ' || error_code FROM meridian.job
  WHERE id = :'b4'), 'failed POISON');
SELECT pg_temp.expect('and names the last crash and the way out', (SELECT error_text LIKE 'not run: it crashed 3 '
  'times within 72 hours, last as job ' || :'b2' || ', attempt 1 (killed by signal 9); find out why, then run it '
  'with meridian dead replay' FROM meridian.job WHERE id = :'b4'));
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000b5', 'evaluate', :'p', 'schedule eu');
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000b6', 'finetune', :'p', 'schedule us');
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000b7', 'finetune');
SELECT pg_temp.expect_equal('others run', (SELECT string_agg(state, ' ') FROM meridian.job WHERE id::text ~
  'b[567]$'), 'queued queued queued');
SELECT meridian.job_retry(:'b4', 'anna') AS b8 \gset
SELECT pg_temp.expect_equal('a person overrides', (SELECT state || ' ' || identity FROM meridian.job
  WHERE id = :'b8'), 'queued finetune de-DE t schedule eu');
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000b9', 'finetune', :'p', 'schedule eu') AS b9 \gset
SELECT pg_temp.expect_equal('and the next firing runs', (SELECT state FROM meridian.job WHERE id = :'b9'), 'queued');

-- Out of memory: once more in the next class, within what a worker of the region and the setting allow.
INSERT INTO meridian.worker (name, incarnation, region, host, pid, slots, threads, memory_mb, version)
VALUES ('big', gen_random_uuid(), 'eu', 'h', 1, 1, 1, 1500, 'x');
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000c1', 'noop') AS c \gset
SELECT pg_temp.run(:'c');
SELECT pg_temp.expect_equal('once more', pg_temp.ends(:'c', 'crashed', 1,
  '{"ooms": 1, "memory_max_mb": 1048576, "error_code": "OOM"}'), 'queued 1500');
SELECT pg_temp.expect('the event says so', (SELECT reason LIKE '%runs again with 1500 MB' FROM meridian.event
  WHERE job = :'c' ORDER BY id DESC LIMIT 1));
SELECT pg_temp.run(:'c');
SELECT pg_temp.expect_equal('then it ends', pg_temp.ends(:'c', 'crashed', 1,
  '{"ooms": 1, "is_final": true, "error_code": "OOM"}'), 'failed OOM 1500');
SELECT pg_temp.expect('and says what to do', (SELECT error_text LIKE '%; 1500 MB were not enough either; raise '
  'memory_mb' FROM meridian.job WHERE id = :'c'));
SELECT pg_temp.expect_equal('it is no crash of the poison rule', (SELECT count(*)::text FROM meridian.crash
  WHERE job = :'c'), '0');
SELECT meridian.job_retry(:'c', 'anna') AS c2 \gset
SELECT pg_temp.expect_equal('a retry keeps the class', (SELECT memory_mb::text FROM meridian.job WHERE id = :'c2'),
  '1500');
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000c3', 'noop') AS d \gset
SELECT pg_temp.run(:'d');
SELECT pg_temp.expect_equal('no larger class', pg_temp.ends(:'d', 'failed', 1,
  '{"ooms": 1, "memory_max_mb": 1000, "error_code": "OOM"}'), 'failed OOM 1024');
SELECT pg_temp.expect('says so', (SELECT error_text LIKE '%no worker of region eu may give it more than 1024 MB'
  FROM meridian.job WHERE id = :'d'));

-- Interrupted work keeps its place; a charged attempt goes to the back.
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000e1', 'noop') AS e \gset
UPDATE meridian.job SET queued_at = now() - interval '1 hour' WHERE id = :'e';
SELECT pg_temp.run(:'e');
SELECT pg_temp.expect_equal('handed back', pg_temp.ends(:'e', 'returned', 0), 'queued 1024');
SELECT pg_temp.expect('to the front', (SELECT queued_ms < (extract(epoch FROM now()) - 3500) * 1000
  FROM meridian.job_mirror WHERE id = :'e'));
SELECT pg_temp.expect('the wait for a slot is counted from now', (SELECT queued_at > now() - interval '1 minute'
  FROM meridian.job WHERE id = :'e'));
SELECT pg_temp.run(:'e');
SELECT pg_temp.expect_equal('handed back twice', pg_temp.ends(:'e', 'returned', 0), 'queued 1024');
SELECT pg_temp.expect('still to the front', (SELECT queued_ms < (extract(epoch FROM now()) - 3500) * 1000
  FROM meridian.job_mirror WHERE id = :'e'));
SELECT pg_temp.run(:'e');
SELECT pg_temp.expect_equal('crashed', pg_temp.ends(:'e', 'crashed', 1), 'queued 1024');
SELECT pg_temp.expect('to the back', (SELECT queued_ms > (extract(epoch FROM now()) - 60) * 1000
  FROM meridian.job_mirror WHERE id = :'e'));

-- Dead letters carry the diagnosis of the last attempt.
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000f1', 'noop') AS f \gset
SELECT pg_temp.run(:'f');
SELECT pg_temp.expect_equal('for good', pg_temp.ends(:'f', 'failed', 0, '{"failures": 1, "is_final": true,
  "error_code": "DATA", "error_class": "permanent", "signal": 6, "peak_rss_kb": 2048, "log_tail": "one\ntwo"}'),
  'failed DATA 1024');
SELECT pg_temp.expect_equal('diagnosis', (SELECT concat_ws(' ', error_class, worker, signal, peak_rss_mb, memory_mb,
  log_tail) FROM report.dead_letters WHERE job = :'f'), E'permanent w 6 2 1024 one\ntwo');
SELECT meridian.job_retry(:'f', 'anna') AS g \gset
UPDATE meridian.job SET state = 'failed', ended_at = now(), error_code = 'DATA' WHERE id = :'g';
SELECT pg_temp.expect_equal('and where it comes from', (SELECT replay_of::text FROM report.dead_letters
  WHERE job = :'g'), :'f');

-- Stale writes: one row for all repetitions, and one for all jobs that do not exist.
SELECT meridian.stale_note(:'e', 1, 'renewal', 'w', NULL, 'older') FROM generate_series(1, 3);
SELECT meridian.stale_note(gen_random_uuid(), n, 'result', 'x', NULL, 'no such job') FROM generate_series(1, 5) n;
SELECT pg_temp.expect_equal('stale writes', (SELECT string_agg(concat_ws(' ', kind, named_attempt, current_attempt,
  count, written_by = session_user), ',' ORDER BY kind) FROM report.stale_writes), 'renewal 1 3 3 t,result 0 5 t');
-- What the functions refuse is noted with who, what and why; what only comes again is not.
DELETE FROM meridian.stale_write;
INSERT INTO meridian.worker (name, incarnation, region, host, pid, slots, threads, memory_mb, version)
VALUES ('w', '00000000-0000-0000-0000-000000000111', 'eu', 'h', 1, 1, 1, 1500, 'x');
SELECT pg_temp.add('00000000-0000-0000-0000-000000000d01', 'noop') AS s \gset
SELECT pg_temp.run(:'s');
UPDATE meridian.attempt SET incarnation = '00000000-0000-0000-0000-000000000111' WHERE job = :'s';
CREATE FUNCTION pg_temp.renews(p_job uuid, p_number integer, p_incarnation uuid, p_progress jsonb DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(verdict, ' ' ORDER BY job NULLS LAST) FROM meridian.lease_renew('w', p_incarnation, 1, false,
    ARRAY[p_job], ARRAY[p_number], ARRAY[10]::bigint[], ARRAY[p_progress], 15000) $$;
CREATE FUNCTION pg_temp.noted() RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(concat_ws(' ', kind, named_attempt, current_attempt, count, worker, reason), '; '
    ORDER BY last_at, kind) FROM report.stale_writes $$;
SELECT pg_temp.expect_equal('its own', pg_temp.renews(:'s', 1, '00000000-0000-0000-0000-000000000111'), 'ok up');
SELECT pg_temp.expect_equal('nothing to note', pg_temp.noted(), NULL);
SELECT pg_temp.expect_equal('another start', pg_temp.renews(:'s', 1, '00000000-0000-0000-0000-000000000222',
  '{"step": 1}'), 'fenced unknown');
SELECT pg_temp.expect('wrote nothing', (SELECT progress IS NULL FROM meridian.attempt WHERE job = :'s'));
SELECT pg_temp.expect_equal('noted', pg_temp.noted(), 'progress 1 1 1 w another start of the worker has its name');
DELETE FROM meridian.stale_write;
UPDATE meridian.attempt SET lease_expires_at = now() - interval '1 s' WHERE job = :'s';
SELECT pg_temp.ends(:'s', 'lost', 1);
SELECT pg_temp.run(:'s');
SELECT pg_temp.expect_equal('an older epoch', pg_temp.renews(:'s', 1, '00000000-0000-0000-0000-000000000111'),
  'closed up');
SELECT pg_temp.expect_equal('twice', pg_temp.renews(:'s', 1, '00000000-0000-0000-0000-000000000111'), 'closed up');
SELECT pg_temp.expect_equal('its result', meridian.attempt_finish(1, :'s', 1, 'w', 1, '{}'), 'stale');
SELECT pg_temp.expect_equal('another''s', meridian.attempt_finish(1, :'s', 2, 'x', 1, '{"version": {}}'), 'stale');
SELECT pg_temp.expect_equal('noted', pg_temp.noted(), 'renewal 1 2 2 w the attempt was given up: lost; '
  'result 1 2 1 w the attempt was given up: lost; version 2 2 1 x the attempt is of worker w');
DELETE FROM meridian.stale_write;
SELECT pg_temp.expect_equal('the true one', meridian.attempt_finish(1, :'s', 2, 'w', 1, '{}'), 'committed');
SELECT pg_temp.expect_equal('once more', meridian.attempt_finish(1, :'s', 2, 'w', 1, '{}'), 'duplicate');
SELECT count(*) FROM meridian.job_late(1, :'s', 2, 'w');
SELECT pg_temp.expect_equal('a repetition is none', pg_temp.noted(), NULL);
SELECT count(*) FROM meridian.job_late(1, :'s', 7, 'w');
SELECT meridian.attempt_end(jsonb_build_object('job', :'s', 'attempt', 2, 'outcome', 'failed', 'worker', 'x',
  'failures', 1, 'crashes', 0, 'ooms', 0, 'is_final', false, 'is_cancelled', false, 'delay_ms', 0));
SELECT pg_temp.expect_equal('an end, too', pg_temp.noted(), 'result 7 2 1 w there is no such attempt; '
  'result 2 2 1 x the attempt is of worker w');

-- A pause holds in the transaction of the dispatch.
SELECT pg_temp.add('00000000-0000-0000-0000-000000000d02', 'noop') AS d2 \gset
CREATE FUNCTION pg_temp.offered(p_job uuid) RETURNS text LANGUAGE sql AS $$
  SELECT state FROM meridian.job_dispatch(1, ARRAY[p_job], ARRAY[1], ARRAY['eu'], ARRAY['w'],
    ARRAY['00000000-0000-0000-0000-000000000111']::uuid[], 10000) $$;
SELECT meridian.queue_pause('market', 'de-DE', 'me');
SELECT pg_temp.expect_equal('the market', pg_temp.offered(:'d2'), 'queued');
SELECT meridian.queue_resume('market', 'de-DE', 'me');
SELECT meridian.queue_pause('region', 'eu', 'me');
SELECT pg_temp.expect_equal('the region', pg_temp.offered(:'d2'), 'queued');
SELECT meridian.queue_resume('region', 'eu', 'me');
SELECT meridian.queue_pause('all', NULL, 'me');
SELECT pg_temp.expect_equal('all', pg_temp.offered(:'d2'), 'queued');
SELECT meridian.queue_resume('all', NULL, 'me');
SELECT pg_temp.expect_equal('resumed', pg_temp.offered(:'d2'), 'dispatched');
