-- Every call of the previous release (0.1.0) in its own words: each must still be understood, and a job must come
-- through from submission to result. A migration runs while its programs do. Names are those under which its
-- programs prepare the statements.
PREPARE cursor AS SELECT meridian.scheduler_cursor($1);
PREPARE load AS SELECT * FROM meridian.scheduler_load($1, $2, $3);
PREPARE world AS SELECT * FROM meridian.scheduler_world($1, $2);
PREPARE changes AS SELECT c.event, (c.job).* FROM meridian.scheduler_changes($1, $2, $3, $4) c;
PREPARE sweep AS SELECT * FROM meridian.scheduler_sweep($1, $2, $3);
PREPARE fire AS SELECT * FROM meridian.scheduler_fire($1);
PREPARE offers AS SELECT * FROM meridian.scheduler_offers($1);
PREPARE admit AS SELECT * FROM meridian.job_admit($1, $2);
PREPARE release AS SELECT * FROM meridian.job_release($1, $2);
PREPARE close AS SELECT * FROM meridian.job_close($1, $2);
PREPARE dispatch AS SELECT * FROM meridian.job_dispatch($1, $2, $3, $4);
PREPARE finish AS SELECT * FROM meridian.job_finish($1, $2, $3, $4, $5, $6);
PREPARE attempts_end AS SELECT * FROM meridian.attempt_fail($1, $2);
PREPARE skip AS SELECT * FROM meridian.job_skip($1, $2);
PREPARE plan AS SELECT * FROM meridian.scheduler_plan($1, $2);
PREPARE fan_out AS SELECT * FROM meridian.job_fan_out($1, $2, $3);
PREPARE cancel_children AS SELECT * FROM meridian.job_cancel_children($1, $2);
PREPARE acquire AS SELECT * FROM meridian.leader_acquire($1, $2);
PREPARE resign AS SELECT meridian.leader_resign($1, $2);
PREPARE hello(text, uuid, boolean, text, text, integer, integer, integer, integer, text) AS
  SELECT meridian.worker_hello($1, $2::uuid, $3::boolean, $4, $5, $6::integer, $7::integer, $8::integer,
  $9::integer, $10);
PREPARE claim(uuid, integer, text, uuid, text, integer) AS
  SELECT meridian.attempt_claim($1::uuid, $2::integer, $3, $4::uuid, $5, $6::integer);
PREPARE renew(text, uuid, uuid[], integer[], jsonb[], integer) AS
  SELECT job, number, verdict FROM meridian.lease_renew($1, $2::uuid, $3::uuid[], $4::integer[], $5::jsonb[],
  $6::integer);
PREPARE bye(text, uuid) AS SELECT meridian.worker_bye($1, $2::uuid);
PREPARE snapshot_take AS SELECT id, sha256, samples, labels, as_of FROM meridian.snapshot_take($1::text[], $2, $3);
PREPARE snapshot_rows AS SELECT market, external_id, label, sample, digest
  FROM meridian.snapshot_rows($1::text[], $2, $3, $4::bigint);
PREPARE read_base AS SELECT version, artifact, family, market, source_loss FROM meridian.worker_read_base($1, $2, $3);
-- The CLI's.
PREPARE job_cancel AS SELECT * FROM meridian.job_cancel($1::uuid[], $2);
PREPARE job_retry AS SELECT meridian.job_retry($1::uuid, $2, $3::jsonb);
PREPARE dead_purge AS SELECT meridian.dead_purge($1::uuid[], $2);
PREPARE queue_pause AS SELECT meridian.queue_pause($1, $2, $3);
PREPARE queue_resume AS SELECT meridian.queue_resume($1, $2, $3);
PREPARE worker_drain AS SELECT meridian.worker_drain($1, $2);
PREPARE market_rm AS SELECT meridian.market_rm($1, $2);
PREPARE task_set AS SELECT meridian.task_set($1, $2::text[], $3);
PREPARE model_promote AS SELECT meridian.model_promote($1, $2, $3::bigint, $4, $5);
PREPARE model_rollback AS SELECT meridian.model_rollback($1, $2, $3, $4);
PREPARE data_erase AS SELECT meridian.data_erase($1, $2, $3, $4);
PREPARE schedule_set AS SELECT meridian.schedule_set($1, $2, $3, $4, $5::text[], $6::jsonb, $7::integer, $8::boolean,
  $9);
PREPARE schedule_rm AS SELECT meridian.schedule_rm($1, $2);
PREPARE schedule_run AS SELECT r FROM meridian.schedule_run($1, $2) r WHERE r IS NOT NULL;
PREPARE schedule_next AS SELECT * FROM meridian.schedule_next($1, $2::integer);
-- Columns that its programs read by name.
SELECT pg_temp.expect('job_mirror.' || c, EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'meridian.job_mirror'::regclass
  AND attname = c)) FROM unnest('{id,kind,market,task,region,state,priority,parent,attempt,failures,crashes,max_attempts,
  due_in_ms,queued_ms,is_cancel_requested,children,needs,worker,spec,night,memory_mb,time_limit_s,threads,error_text}'::text[]) c;
-- A job of its own, from submission to result.
\set one '00000000-0000-0000-0000-000000000001'
\set two '00000000-0000-0000-0000-000000000002'
\set w '00000000-0000-0000-0000-0000000000ff'
EXECUTE hello('old', :'w', true, 'eu', 'host', 1, 2, 1, 1000, '0.1.0');
SELECT pg_temp.expect_equal('its slots count', (SELECT number || ' ' || is_live FROM meridian.scheduler_world(1, 15000)
  WHERE what = 'worker'), '2 true');
SELECT pg_temp.expect('this release assigns nothing to it', (SELECT incarnation IS NULL
  FROM meridian.scheduler_world(1, 15000) WHERE what = 'worker'));
EXECUTE admit(1, '[{"id": "00000000-0000-0000-0000-000000000001", "kind": "noop", "market": "de-DE", "spec": {},
  "priority": 0, "by": "me", "is_parent": false, "memory_mb": 16, "time_limit_s": 1, "threads": 1, "max_attempts": 3},
  {"id": "00000000-0000-0000-0000-000000000002", "kind": "noop", "spec": {}, "priority": 0, "is_parent": false,
  "region": "eu", "after": ["00000000-0000-0000-0000-000000000001"], "memory_mb": 16, "time_limit_s": 1, "threads": 1,
  "max_attempts": 3}]');
SELECT pg_temp.expect_equal('needs in its words', (SELECT needs FROM meridian.job_mirror WHERE id = :'two'),
  :'one' || '=queued');
EXECUTE dispatch(1, ARRAY[:'one']::uuid[], '{1}', '{eu}');
EXECUTE offers(1);
SELECT pg_temp.expect('claimed', meridian.attempt_claim(:'one', 1, 'old', :'w', 'eu', 15000));
SELECT pg_temp.expect('by one only', NOT meridian.attempt_claim(:'one', 1, 'old', gen_random_uuid(), 'eu', 15000));
SELECT pg_temp.expect_equal('renewed', (SELECT string_agg(verdict, ' ') FROM meridian.lease_renew('old', :'w',
  ARRAY[:'one']::uuid[], '{1}', '{null}', 15000)), 'ok up');
EXECUTE finish(1, :'one', 1, 'old', 5, '{}');
SELECT pg_temp.expect_equal('recorded', (SELECT state FROM meridian.job WHERE id = :'one'), 'succeeded');
EXECUTE release(1, ARRAY[:'two']::uuid[]);
SELECT pg_temp.expect_equal('released', (SELECT state FROM meridian.job WHERE id = :'two'), 'queued');
EXECUTE dispatch(1, ARRAY[:'two']::uuid[], '{1}', '{eu}');
SELECT pg_temp.expect_equal('what nobody claims comes back', (SELECT expiry FROM meridian.scheduler_sweep(1, -1, 60000)),
  'undelivered');
EXECUTE attempts_end(1, jsonb_build_array(jsonb_build_object('job', :'two', 'attempt', 1, 'outcome', 'undelivered',
  'is_final', false, 'is_cancelled', false, 'failures', 0, 'crashes', 0, 'delay_ms', 0)));
SELECT pg_temp.expect_equal('again', (SELECT state FROM meridian.job WHERE id = :'two'), 'queued');
-- It skips only what the record agrees to: it does not know conditions, and takes each need for afterok.
INSERT INTO meridian.job (id, kind, state, region, ended_at, error_code) VALUES
  ('00000000-0000-0000-0000-000000000003', 'noop', 'failed', 'eu', now(), 'DATA');
INSERT INTO meridian.job (id, kind, state, region) VALUES ('00000000-0000-0000-0000-000000000004', 'noop', 'waiting', 'eu');
INSERT INTO meridian.dependency VALUES ('00000000-0000-0000-0000-000000000004', '00000000-0000-0000-0000-000000000003',
  'afternotok');
EXECUTE skip(1, '[{"job": "00000000-0000-0000-0000-000000000004", "state": "skipped", "error_code": "CANCELLED",
  "error_text": "not run"}]');
SELECT pg_temp.expect_equal('not skipped', (SELECT state FROM meridian.job
  WHERE id = '00000000-0000-0000-0000-000000000004'), 'waiting');
EXECUTE bye('old', :'w');
