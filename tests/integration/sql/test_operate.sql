-- Cancel, retry, dead letters, pauses, drains, markets and tasks.
CREATE FUNCTION pg_temp.add(p_kind text, p_market text, p_state text, p_parent uuid DEFAULT NULL,
  p_needs uuid DEFAULT NULL, p_spec jsonb DEFAULT '{}') RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  v_id uuid := gen_random_uuid();
  v_ended boolean := p_state IN ('succeeded', 'failed', 'cancelled', 'rejected', 'skipped');
BEGIN
  INSERT INTO meridian.job (id, kind, market, task, region, state, parent, spec, ended_at, error_code, error_text,
    night)
  VALUES (v_id, p_kind, p_market, 't', CASE WHEN p_market IS NOT NULL THEN 'eu' END, p_state, p_parent, p_spec,
    CASE WHEN v_ended THEN now() END, CASE WHEN v_ended THEN 'DATA' END, CASE WHEN v_ended THEN 'why' END,
    '2026-11-23');
  IF p_needs IS NOT NULL THEN
    INSERT INTO meridian.dependency VALUES (v_id, p_needs);
  END IF;
  RETURN v_id;
END $$;
-- Cancel: at once what has not started, on request what runs, children before their parent.
SELECT pg_temp.add('nightly', NULL, 'waiting') AS p \gset
SELECT pg_temp.add('finetune', 'de-DE', 'queued', :'p') AS c1 \gset
SELECT pg_temp.running('finetune', 'fr-FR') AS c2 \gset
UPDATE meridian.job SET parent = :'p' WHERE id = :'c2';
SELECT pg_temp.expect_equal('parent', (SELECT state || ': ' || note FROM meridian.job_cancel(ARRAY[:'p']::uuid[],
  'me')), 'waiting: is being cancelled');
SELECT pg_temp.expect_equal('children', (SELECT string_agg(state || (cancel_requested_at IS NOT NULL), ' '
  ORDER BY state) FROM meridian.job WHERE parent = :'p'), 'cancelledtrue runningtrue');
SELECT pg_temp.expect_equal('again', (SELECT note FROM meridian.job_cancel(ARRAY[:'c2']::uuid[], 'me')),
  'is being cancelled already');
SELECT pg_temp.expect_equal('ended', (SELECT note FROM meridian.job_cancel(ARRAY[:'c1']::uuid[], 'me')),
  'has ended already: cancelled');
SELECT pg_temp.expect_equal('unknown', (SELECT note FROM meridian.job_cancel(ARRAY[gen_random_uuid()], 'me')),
  'there is no such job');
SELECT pg_temp.add('nightly', NULL, 'waiting') AS p2 \gset
SELECT pg_temp.add('finetune', 'de-DE', 'queued', :'p2');
SELECT pg_temp.expect_equal('a parent with nothing running', (SELECT state FROM meridian.job_cancel(
  ARRAY[:'p2']::uuid[], 'me')), 'cancelled');
-- Retry: lineage, the patch, and what was held up.
SELECT pg_temp.add('finetune', 'de-DE', 'failed', NULL, NULL, '{"epochs": 5, "seed": 1}') AS f \gset
SELECT pg_temp.add('evaluate', 'de-DE', 'skipped', NULL, :'f', jsonb_build_object('from_job', :'f')) AS e \gset
SELECT pg_temp.expect_equal('dead letters', (SELECT count(*) || ' ' || max(holds_up) FROM report.dead_letters),
  '1 1');
SELECT pg_temp.expect_refused('MR004', 'needs job', format('SELECT meridian.job_retry(%L, ''me'')', :'e'));
SELECT pg_temp.expect_refused('MR004', 'not valid',
  format('SELECT meridian.job_retry(%L, ''me'', ''{"memory_mb": 1}'')', :'f'));
SELECT pg_temp.expect_refused('MR004', 'JSON object',
  format('SELECT meridian.job_retry(%L, ''me'', ''[]'')', :'f'));
SELECT meridian.job_retry(:'f', 'me', '{"epochs": 9, "seed": null, "memory_mb": 512}') AS f2 \gset
SELECT pg_temp.expect_equal('new job', (SELECT concat_ws(' ', state, spec, memory_mb, submitted_by, region)
  FROM meridian.job WHERE id = :'f2'), 'queued {"epochs": 9, "memory_mb": 512} 512 me eu');
SELECT pg_temp.expect_equal('lineage', (SELECT replayed_by::text FROM meridian.job WHERE id = :'f'), :'f2');
SELECT replayed_by AS e2 FROM meridian.job WHERE id = :'e' \gset
SELECT pg_temp.expect_equal('held up', (SELECT state || ' ' || (spec ->> 'from_job') FROM meridian.job
  WHERE id = :'e2'), 'waiting ' || :'f2');
SELECT pg_temp.expect_equal('needs the new one', (SELECT needs::text FROM meridian.dependency
  WHERE job = :'e2'), :'f2');
SELECT pg_temp.expect_refused('MR004', 'retried already', format('SELECT meridian.job_retry(%L, ''me'')', :'f'));
SELECT pg_temp.expect_refused('MR004', 'only a failed', format('SELECT meridian.job_retry(%L, ''me'')', :'f2'));
SELECT pg_temp.expect_refused('MR002', 'there is no job',
  format('SELECT meridian.job_retry(%L, ''me'')', gen_random_uuid()));
SELECT pg_temp.add('finetune', 'de-DE', 'rejected') AS r \gset
SELECT pg_temp.expect_refused('MR004', 'was rejected: why', format('SELECT meridian.job_retry(%L, ''me'')', :'r'));
SELECT pg_temp.expect_equal('dead letters', (SELECT count(*)::text FROM report.dead_letters), '1');
SELECT pg_temp.expect_equal('purge one that is not there', meridian.dead_purge(ARRAY[:'f']::uuid[], 'me')::text,
  '0');
SELECT pg_temp.expect_equal('purge', meridian.dead_purge(NULL, 'me')::text, '1');
SELECT pg_temp.expect_equal('empty', (SELECT count(*)::text FROM report.dead_letters), '0');
-- Pauses and why a job waits.
SELECT pg_temp.expect('paused', meridian.queue_pause('region', 'eu', 'me'));
SELECT pg_temp.expect('paused already', NOT meridian.queue_pause('region', 'eu', 'me'));
SELECT pg_temp.expect_equal('says why', (SELECT why FROM report.pending WHERE job = :'f2'),
  'region eu is paused by me');
SELECT pg_temp.expect_equal('says what it needs', (SELECT reason FROM report.pending WHERE job = :'e2'),
  'dependency');
SELECT pg_temp.expect('resumed', meridian.queue_resume('region', 'eu', 'me'));
SELECT pg_temp.expect('not paused', NOT meridian.queue_resume('region', 'eu', 'me'));
SELECT pg_temp.expect_equal('no worker', (SELECT reason FROM report.pending WHERE job = :'f2'), 'no_worker');
SELECT pg_temp.expect_refused('MR002', 'no region "xx"', $$SELECT meridian.queue_pause('region', 'xx', 'me')$$);
SELECT pg_temp.expect_refused('MR002', 'no market "xx"', $$SELECT meridian.queue_pause('market', 'xx', 'me')$$);
SELECT pg_temp.expect_refused('MR004', '"job" cannot be paused', $$SELECT meridian.queue_pause('job', 'x', 'me')$$);
SELECT pg_temp.expect_refused('MR002', 'no worker "w"', $$SELECT meridian.worker_drain('w', 'me')$$);
INSERT INTO meridian.worker (name, incarnation, region, host, pid, slots, threads, memory_mb, version)
VALUES ('w', gen_random_uuid(), 'eu', 'h', 1, 1, 1, 100, '0');
SELECT pg_temp.expect_equal('drain', meridian.worker_drain('w', 'me'), 'up');
SELECT pg_temp.expect_equal('one that drains takes nothing', (SELECT reason FROM report.pending WHERE job = :'f2'),
  'no_worker');
-- Markets and tasks.
SELECT pg_temp.expect_refused(state, words, statement) FROM (VALUES
  ('MR004', 'did you mean "Europe/Berlin"?', $$SELECT meridian.market_set('x', 'eu', 'Berlin', 'me')$$),
  ('MR004', 'needs a region', $$SELECT meridian.market_set('x', NULL, 'UTC', 'me')$$),
  ('MR004', 'market_weight_check', $$SELECT meridian.market_set('x', 'eu', 'UTC', 'me', p_weight => -1)$$),
  ('MR004', 'region_name_check', $$SELECT meridian.market_set('x', 'E U', 'UTC', 'me')$$),
  ('MR004', 'market_code_check', $$SELECT meridian.market_set('x y', 'eu', 'UTC', 'me')$$),
  ('MR004', 'has data or jobs in region "eu"', $$SELECT meridian.market_set('de-DE', 'us', NULL, 'me')$$),
  ('MR004', 'open jobs', $$SELECT meridian.market_rm('de-DE', 'me')$$),
  ('MR002', 'no market "x"', $$SELECT meridian.market_rm('x', 'me')$$),
  ('MR004', 'several regions (apac, eu)', $$SELECT meridian.task_set('t', '{de-DE,ja-JP}', 'me')$$),
  ('MR004', 'no market "x"', $$SELECT meridian.task_set('t', '{x}', 'me')$$),
  ('MR004', 'not a name for a task', $$SELECT meridian.task_set('A B', '{}', 'me')$$)
) AS v(state, words, statement);
SELECT pg_temp.expect('changed, the rest stays', NOT meridian.market_set('de-DE', NULL, NULL, 'me',
  p_tolerance => 0.02));
SELECT pg_temp.expect_equal('market', (SELECT concat_ws(' ', region, timezone, tolerance, min_support)
  FROM meridian.market WHERE code = 'de-DE'), 'eu Europe/Berlin 0.02 5');
SELECT meridian.market_rm('ja-JP', 'me');
SELECT pg_temp.expect_refused('MR004', 'no market "ja-JP"', $$SELECT meridian.task_set('u', '{ja-JP}', 'me')$$);
SELECT meridian.market_set('ja-JP', NULL, NULL, 'me');
SELECT pg_temp.expect('task', meridian.task_set('u', '{ja-JP}', 'me') AND NOT meridian.task_set('u', NULL, 'me'));
SELECT pg_temp.expect_equal('sources stay', (SELECT source_markets::text FROM meridian.task WHERE name = 'u'),
  '{ja-JP}');
-- Many at once: a filter is counted, then cancelled in pieces; what came later, and what others are, stays.
SELECT pg_temp.add('noop', 'fr-FR', 'queued') FROM generate_series(1, 5);
SELECT pg_temp.add('finetune', 'fr-FR', 'queued') AS other \gset
SELECT pg_temp.running('noop', 'fr-FR') AS busy \gset
SELECT pg_temp.add('nightly', NULL, 'waiting') AS np \gset
SELECT pg_temp.add('noop', 'fr-FR', 'waiting', :'np');
SELECT pg_temp.expect_equal('counted', (SELECT jobs || ' ' || running FROM
  meridian.job_cancel_count('{"market": "fr-FR", "kind": "noop"}')), '7 1');
SELECT pg_temp.expect_refused('MR002', 'no market', 'SELECT meridian.job_cancel_count(''{"market": "xx"}'')');
SELECT pg_temp.expect_refused('MR002', 'no region', 'SELECT meridian.job_cancel_count(''{"region": "xx"}'')');
SELECT pg_temp.expect_equal('nothing is older than that', (SELECT cancelled || ' ' || requested FROM
  meridian.job_cancel_some('{"market": "fr-FR", "kind": "noop", "before": "2000-01-01"}', 'me', 4)), '0 0');
SELECT pg_temp.expect_equal('a piece', (SELECT (cancelled + requested)::text FROM
  meridian.job_cancel_some('{"market": "fr-FR", "kind": "noop"}', 'me', 4)), '4');
SELECT pg_temp.expect_equal('the rest', (SELECT (cancelled + requested)::text FROM
  meridian.job_cancel_some('{"market": "fr-FR", "kind": "noop"}', 'me', 4)), '3');
SELECT pg_temp.expect_equal('all of it', (SELECT (cancelled + requested)::text FROM
  meridian.job_cancel_some('{"market": "fr-FR", "kind": "noop"}', 'me', 4)), '0');
SELECT pg_temp.expect_equal('at once, or on request', (SELECT state || ' ' || cancel_requested_by FROM meridian.job
  WHERE id = :'busy'), 'running me');
SELECT pg_temp.expect_equal('audited', (SELECT count(*)::text FROM meridian.event e JOIN meridian.job j ON j.id = e.job
  WHERE j.market = 'fr-FR' AND j.kind = 'noop' AND e.actor = 'me' AND e.reason LIKE 'cancel%by me'), '7');
SELECT pg_temp.expect_equal('others stay', (SELECT string_agg(state, ' ' ORDER BY kind) FROM meridian.job
  WHERE id IN (:'other', :'np')), 'queued waiting');
SELECT pg_temp.add('noop', 'fr-FR', 'queued', :'np');
SELECT pg_temp.expect_equal('a parent takes its children along', (SELECT cancelled || ' ' || requested FROM
  meridian.job_cancel_some(jsonb_build_object('kind', 'nightly', 'before', (SELECT admitted_at FROM meridian.job
  WHERE id = :'np')), 'me', 10)), '2 0');
SELECT pg_temp.expect_equal('both', (SELECT string_agg(DISTINCT state, ' ') FROM meridian.job
  WHERE id = :'np' OR parent = :'np'), 'cancelled');
-- Dead letters by a filter.
SELECT pg_temp.add('noop', 'fr-FR', 'failed') AS old \gset
SELECT pg_temp.add('noop', 'fr-FR', 'failed') AS new \gset
UPDATE meridian.job SET error_code = 'OOM' WHERE id IN (:'old', :'new');
UPDATE meridian.job SET ended_at = now() - interval '2 days' WHERE id = :'old';
SELECT pg_temp.expect_equal('by code, the oldest first', (SELECT string_agg(id::text, ' ') FROM
  meridian.dead_select('{"code": "OOM"}')), :'old' || ' ' || :'new');
SELECT pg_temp.expect_equal('by all of it', (SELECT count(*)::text FROM meridian.dead_select(
  '{"code": "OOM", "market": "fr-FR", "kind": "noop", "task": "t", "since": "2020-01-01"}')), '2');
SELECT pg_temp.expect_equal('by time', (SELECT string_agg(id::text, ' ') FROM meridian.dead_select(
  jsonb_build_object('code', 'OOM', 'since', now() - interval '1 day'))), :'new');
SELECT pg_temp.expect_equal('by market', (SELECT count(*)::text FROM meridian.dead_select(
  '{"code": "OOM", "market": "de-DE"}')), '0');
