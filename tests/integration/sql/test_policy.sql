-- Limits, labels, estimates, and each reason why a queued job waits.
SELECT meridian.market_set('de-DE', 'eu', 'Europe/Berlin', 'me') AS unused_1,
  meridian.market_set('fr-FR', 'eu', 'Europe/Paris', 'me') AS unused_2 \gset
INSERT INTO meridian.task (name) VALUES ('intent');
SELECT term FROM meridian.leader_acquire('test', 3600000) \gset

-- Limits: audited, idempotent, refused for what does not exist.
SELECT pg_temp.expect('set', meridian.limit_set('region', 'eu', 2, 'me'));
SELECT pg_temp.expect('set already', NOT meridian.limit_set('region', 'eu', 2, 'me'));
SELECT pg_temp.expect('changed', meridian.limit_set('region', 'eu', 1, 'you'));
SELECT pg_temp.expect_equal('audit', (SELECT string_agg(actor || ': ' || reason, '; ' ORDER BY id)
  FROM meridian.event WHERE reason LIKE 'limited%'), 'me: limited region eu to 2; you: limited region eu to 1');
SELECT pg_temp.expect_refused('MR002', 'there is no task', $$SELECT meridian.limit_set('task', 'none', 1, 'me')$$);
SELECT pg_temp.expect_refused('MR002', 'there is no region', $$SELECT meridian.limit_set('region', 'x', 1, 'me')$$);
SELECT pg_temp.expect_refused('MR004', 'meridian market set', $$SELECT meridian.limit_set('market', 'de-DE', 1, 'me')$$);
SELECT pg_temp.expect_refused('MR004', 'at least 1', $$SELECT meridian.limit_set('region', 'eu', 0, 'me')$$);
SELECT pg_temp.expect_equal('the scheduler is told', (SELECT what || ' ' || name || ' ' || number
  FROM meridian.scheduler_world(:term, 15000) WHERE what = 'region' AND name = 'eu'), 'region eu 1');
SELECT pg_temp.expect('taken off', meridian.limit_remove('region', 'eu', 'me'));
SELECT pg_temp.expect('none left', NOT meridian.limit_remove('region', 'eu', 'me'));

-- Labels are compared in one form.
SELECT pg_temp.expect_equal('sorted', meridian.labels_sort('gpu=a100,disk=ssd'), 'disk=ssd,gpu=a100');
SELECT pg_temp.expect_equal('none', meridian.labels_sort(NULL), '');

-- Why a queued job waits.
INSERT INTO meridian.job (id, kind, market, task, region, state, queued_at, memory_mb, threads, labels)
VALUES ('00000000-0000-0000-0000-000000000001', 'finetune', 'de-DE', 'intent', 'eu', 'queued', now(), 1000, 1, 'gpu=a100');
CREATE FUNCTION pg_temp.reason() RETURNS text LANGUAGE sql AS
  $$ SELECT reason FROM report.pending WHERE job = '00000000-0000-0000-0000-000000000001' $$;
SELECT pg_temp.expect_equal('no worker', pg_temp.reason(), 'no_worker');
SELECT meridian.worker_hello('w', '10000000-0000-0000-0000-000000000001', true, 'eu', 'h', 1, 1, 2, 500, 'v', 0)
  AS unused_3 \gset
SELECT pg_temp.expect_equal('labels', pg_temp.reason(), 'labels');
SELECT meridian.worker_hello('w', '10000000-0000-0000-0000-000000000001', true, 'eu', 'h', 1, 1, 2, 500, 'v', 0,
  'disk=ssd,gpu=a100') AS unused_4 \gset
SELECT pg_temp.expect_equal('too large', pg_temp.reason(), 'too_large');
UPDATE meridian.worker SET memory_mb = 1500, slots = 2;
SELECT pg_temp.expect_equal('nothing', pg_temp.reason(), 'scheduler');
SELECT pg_temp.expect('at once', (SELECT expected_start <= now() FROM report.pending));
-- A job of another market runs and takes a slot and most of the memory.
INSERT INTO meridian.job (id, kind, market, task, region, state, queued_at, memory_mb, threads, attempt, started_at)
VALUES ('00000000-0000-0000-0000-000000000002', 'finetune', 'fr-FR', 'intent', 'eu', 'running', now(), 1000, 1, 1, now());
INSERT INTO meridian.attempt (job, number, state, region, worker, incarnation, started_at, lease_expires_at)
VALUES ('00000000-0000-0000-0000-000000000002', 1, 'running', 'eu', 'w', '10000000-0000-0000-0000-000000000001',
  now(), now() + interval '1 hour');
SELECT pg_temp.expect_equal('room', pg_temp.reason(), 'room');
UPDATE meridian.worker SET slots = 1;
SELECT pg_temp.expect_equal('slots', pg_temp.reason(), 'slots');
-- When it should start: nothing known, then what such jobs take.
SELECT pg_temp.expect_equal('a minute', (SELECT round(extract(epoch FROM expected_start - now()))::text
  FROM report.pending), '60');
SELECT meridian.scheduler_keep(:term, '{"estimates": [{"kind": "finetune", "attempts": 4, "seconds": 300},
  {"kind": "finetune", "market": "fr-FR", "task": "intent", "attempts": 9, "seconds": 100}],
  "uses": [{"market": "fr-FR", "used_s": 80}]}') AS unused_5 \gset
SELECT pg_temp.expect_equal('by its kind, market and task', (SELECT round(extract(epoch FROM expected_start - now()))::text
  FROM report.pending), '100');
SELECT pg_temp.expect_equal('recalled', (SELECT string_agg(concat_ws(' ', what, kind, market, task, attempts,
  round(amount)), '; ' ORDER BY what, market) FROM meridian.scheduler_recall(:term, 3600000, 1800000, 15000)),
  'estimate finetune   4 300; estimate finetune fr-FR intent 9 100; use fr-FR 80');
INSERT INTO meridian.job (id, kind, market, task, region, state, queued_at, memory_mb, threads)
SELECT ('00000000-0000-0000-0001-00000000000' || i)::uuid, 'finetune', 'de-DE', 'intent', 'eu', 'queued',
  now() - interval '1 hour', 1000, 1 FROM generate_series(1, 4) AS i;
SELECT pg_temp.expect_equal('four of its kind are ahead', (SELECT round(extract(epoch FROM expected_start - now()), -1)::text
  FROM report.pending WHERE job = '00000000-0000-0000-0000-000000000001'), '1300');
-- Limits come before room; a pause before limits; the leader before all.
SELECT meridian.limit_set('task', 'intent', 1, 'me') AS unused_6 \gset
SELECT pg_temp.expect_equal('task limit', pg_temp.reason(), 'task_limit');
UPDATE meridian.market SET max_running = 1;
SELECT pg_temp.expect_equal('the market runs nothing', pg_temp.reason(), 'task_limit');
UPDATE meridian.job SET market = 'de-DE' WHERE state = 'running';
SELECT pg_temp.expect_equal('market limit', pg_temp.reason(), 'market_limit');
SELECT pg_temp.expect_equal('sentence', (SELECT why FROM report.pending
  WHERE job = '00000000-0000-0000-0000-000000000001'), 'market de-DE runs its limit of 1');
SELECT meridian.limit_set('region', 'eu', 1, 'me') AS unused_7 \gset
SELECT pg_temp.expect_equal('region limit', pg_temp.reason(), 'region_limit');
SELECT meridian.queue_pause('market', 'de-DE', 'me') AS unused_8 \gset
SELECT pg_temp.expect_equal('paused', pg_temp.reason(), 'paused');
SELECT pg_temp.expect('no promise', (SELECT expected_start IS NULL FROM report.pending
  WHERE job = '00000000-0000-0000-0000-000000000001'));
UPDATE meridian.leader SET expires_at = now() - interval '1 second';
SELECT pg_temp.expect_equal('no leader', pg_temp.reason(), 'no_leader');
UPDATE meridian.job SET state = 'waiting', not_before = now() + interval '1 hour'
WHERE id = '00000000-0000-0000-0000-000000000001';
SELECT pg_temp.expect_equal('not before', pg_temp.reason(), 'not_before');
UPDATE meridian.job SET attempt = 1 WHERE id = '00000000-0000-0000-0000-000000000001';
SELECT pg_temp.expect_equal('retry', pg_temp.reason(), 'retry');
UPDATE meridian.job SET cancel_requested_at = now(), cancel_requested_by = 'me'
WHERE id = '00000000-0000-0000-0000-000000000001';
SELECT pg_temp.expect_equal('cancelling', pg_temp.reason(), 'cancelling');

-- The order of the view is that of the scheduler (core/order.h).
SELECT pg_temp.expect('a point is an age', meridian.order_key(1, now(), 3600)
  = meridian.order_key(0, now() - interval '1 hour', 3600));
SELECT pg_temp.expect('never over a hundred', meridian.order_key(49, now() - interval '10 years', 3600)
  > meridian.order_key(50, now(), 3600));
