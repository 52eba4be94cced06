-- A backfill: one object, made lazily, capped, paused, cancelled, and idempotent by night and market.
SELECT pg_temp.expect_equal('by pattern', meridian.market_match(p)::text, want) FROM (VALUES
  ('{EU/*}'::text[], '{de-DE,fr-FR}'), ('{de-*}', '{de-DE}'), ('{DE-de,ja-??}', '{de-DE,ja-JP}'),
  ('{*/*}', '{de-DE,fr-FR,ja-JP}'), ('{*}', '{de-DE,fr-FR,ja-JP}'), ('{apac/ja-JP,EU/fr*}', '{fr-FR,ja-JP}')) AS v(p, want);
SELECT pg_temp.expect_refused('MR002', 'names no market', $$SELECT meridian.market_match('{us/*}')$$);
SELECT pg_temp.expect_refused('MR004', 'is no pattern', $$SELECT meridian.market_match('{"a b"}')$$);
SELECT pg_temp.expect_refused(state, words, format('SELECT * FROM meridian.backfill_start(%L, %L, %L, %L, %L, %L, NULL, false, ''me'')',
  task, '{EU/*}', f, t, cap, spec))
FROM (VALUES ('MR002', 'nope', '2026-01-01', '2026-01-03', 1, NULL, 'there is no task "nope"'),
  ('MR004', 't', '2026-01-03', '2026-01-01', 1, NULL, 'is not before it'),
  ('MR004', 't', '2026-01-03', '2999-01-01', 1, NULL, 'has not come anywhere yet'),
  ('MR004', 't', '2006-01-03', '2026-01-01', 1, NULL, '3660 nights at most'),
  ('MR004', 't', '2026-01-01', '2026-01-03', 0, NULL, 'cap: 0'),
  ('MR004', 't', '2026-01-01', '2026-01-03', 1, '{"as_of": "x"}', 'without markets and as_of')) AS v(state, task, f, t, cap, spec, words);
SELECT id AS b FROM meridian.backfill_start('t', '{EU/*}', '2026-01-01', '2026-01-05', 2, '{"epochs": 3}', NULL, false, 'me') \gset
SELECT pg_temp.expect_equal('the same, still open', (SELECT (id = :'b') || ' ' || is_new || ' ' || nights FROM
  meridian.backfill_start('t', '{fr-FR,de-DE}', '2026-01-01', '2026-01-05', 1, '{"epochs": 3}', NULL, false, 'you')), 'true false 5');
SELECT pg_temp.expect('the core never sees it', NOT EXISTS (SELECT FROM meridian.job_mirror WHERE id = :'b'));
-- One turn of the scheduler, and the jobs that it made.
CREATE FUNCTION pg_temp.turn() RETURNS SETOF meridian.job LANGUAGE plpgsql AS $$
DECLARE
  v_ids uuid[] := ARRAY(SELECT id FROM meridian.scheduler_fire(1));
BEGIN
  RETURN QUERY SELECT * FROM meridian.job WHERE id = ANY (v_ids);
END $$;
-- A night that a nightly had done for one market, and one that was done for both.
CREATE FUNCTION pg_temp.done(p_night date, p_market text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_id uuid := pg_temp.running('evaluate', p_market);
  v_version bigint;
  v_evaluation bigint;
BEGIN
  INSERT INTO meridian.version (market, task, number, family, method, artifact, job, attempt, spec, labels, engine, kernel,
    threads, seed) VALUES (p_market, 't', (SELECT count(*) + 1 FROM meridian.version), 'bag', 'full', sha256('model'), v_id, 1,
    '{}', '{a}', 'e', 'k', 1, 1) RETURNING id INTO v_version;
  INSERT INTO meridian.snapshot (sha256, markets, task, split, as_of, samples, labels)
  VALUES (sha256('s'), ARRAY[p_market], 't', 'test', 1, 1, 1) ON CONFLICT DO NOTHING;
  INSERT INTO meridian.evaluation (job, attempt, version, snapshot) SELECT v_id, 1, v_version, max(id)
  FROM meridian.snapshot RETURNING id INTO v_evaluation;
  INSERT INTO meridian.evaluation_summary (evaluation, job, night, market, task, version, number, started_at, ended_at,
    duration_s, test_samples, promoted, verdict)
  VALUES (v_evaluation, v_id, p_night, p_market, 't', v_version, 1, now(), now(), 1, 1, false, 'none');
END $$;
SELECT pg_temp.done('2026-01-02', 'de-DE'), pg_temp.done('2026-01-03', 'de-DE'), pg_temp.done('2026-01-03', 'fr-FR');
SELECT pg_temp.expect_equal('two at a time', (SELECT string_agg(concat_ws(' ', j.night, j.state, j.priority, j.spec), '; '
  ORDER BY j.night) FROM pg_temp.turn() j),
  '2026-01-01 waiting -100 {"as_of": "2026-01-02T00:00:00Z", "epochs": 3, "markets": ["de-DE", "fr-FR"], "promote": false}; '
  '2026-01-02 waiting -100 {"as_of": "2026-01-03T00:00:00Z", "epochs": 3, "markets": ["fr-FR"], "promote": false}');
SELECT pg_temp.expect_equal('no more', (SELECT count(*)::text FROM meridian.scheduler_fire(1)), '0');
CREATE FUNCTION pg_temp.progress(p_id uuid) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' ', state, nights, succeeded, failed, cancelled, done_before, open, left_to_begin)
  FROM report.backfill WHERE backfill = p_id $$;
SELECT pg_temp.expect_equal('progress', pg_temp.progress(:'b'), 'running 5 0 0 0 0 2 3');
SELECT pg_temp.expect_equal('and in the job', (SELECT result ->> 'left' FROM meridian.job WHERE id = :'b'), '3');
-- Paused as one: what has not started is held, also what is made meanwhile; what runs goes on.
INSERT INTO meridian.job (id, kind, market, task, region, state, parent, night, queued_at)
SELECT gen_random_uuid(), 'finetune', 'de-DE', 't', 'eu', 'queued', id, night, now() FROM meridian.job
WHERE parent = :'b' AND night = '2026-01-01';
SELECT pg_temp.expect('paused', meridian.backfill_pause(:'b', 'me') AND NOT meridian.backfill_pause(:'b', 'me'));
SELECT pg_temp.expect_equal('held', (SELECT string_agg(kind || ' ' || state || ' ' || (not_before > now() + interval '99 years'), ', '
  ORDER BY kind, night) FROM meridian.job WHERE not_before IS NOT NULL), 'finetune waiting true, nightly waiting true');
SELECT pg_temp.expect_equal('why', (SELECT DISTINCT reason || ': ' || why FROM report.pending WHERE kind = 'finetune'),
  'paused: backfill ' || :'b' || ' is paused by me');
INSERT INTO meridian.job (id, kind, market, task, region, state, parent, night, queued_at)
SELECT gen_random_uuid(), 'finetune', 'fr-FR', 't', 'eu', 'queued', id, night, now() FROM meridian.job
WHERE parent = :'b' AND night = '2026-01-01';
SELECT pg_temp.expect_equal('nothing new', (SELECT count(*)::text FROM meridian.scheduler_fire(1)), '0');
SELECT pg_temp.expect_equal('held as well', (SELECT count(*)::text FROM meridian.job WHERE kind = 'finetune' AND state = 'queued'), '0');
SELECT pg_temp.expect_equal('shown', pg_temp.progress(:'b'), 'paused 5 0 0 0 0 2 3');
SELECT pg_temp.expect('resumed', meridian.backfill_resume(:'b', 'me') AND NOT meridian.backfill_resume(:'b', 'me'));
SELECT pg_temp.expect('let go', NOT EXISTS (SELECT FROM meridian.job WHERE not_before IS NOT NULL));
SELECT pg_temp.expect('the scheduler hears of each', count(*) = 3) FROM meridian.event WHERE reason LIKE 'let go: %' AND actor = 'me';
-- Nights end: the first well, the second not.
DELETE FROM meridian.job WHERE kind = 'finetune';
UPDATE meridian.job SET state = 'succeeded', ended_at = now() WHERE parent = :'b' AND night = '2026-01-01';
SELECT pg_temp.expect_equal('the third was done, the fourth follows', (SELECT string_agg(j.night::text, ' ') FROM
  pg_temp.turn() j), '2026-01-04');
UPDATE meridian.job SET state = 'failed', error_code = 'DATA', ended_at = now() WHERE parent = :'b' AND night = '2026-01-02';
SELECT pg_temp.expect_equal('the last', (SELECT string_agg(j.night::text, ' ') FROM pg_temp.turn() j), '2026-01-05');
UPDATE meridian.job SET state = 'succeeded', ended_at = now() WHERE parent = :'b' AND ended_at IS NULL;
SELECT * FROM meridian.scheduler_fire(1);
SELECT pg_temp.expect_equal('over', pg_temp.progress(:'b') || ': ' || (SELECT error_text FROM meridian.job WHERE id = :'b'),
  'failed 5 3 1 0 1 0 0: 1 of 5 nights did not succeed; the same range again runs those only');
SELECT pg_temp.expect_refused('MR004', 'is not retried', format('SELECT meridian.job_retry(%L, ''me'')', :'b'));
-- The same range again: another object, and only what has not succeeded.
SELECT pg_temp.done('2026-01-01', m), pg_temp.done('2026-01-04', m), pg_temp.done('2026-01-05', m) FROM unnest('{de-DE,fr-FR}'::text[]) m;
SELECT id AS again, is_new FROM meridian.backfill_start('t', '{EU/*}', '2026-01-01', '2026-01-05', 100, '{"epochs": 3}', 7, false, 'me') \gset
SELECT pg_temp.expect_equal('only the hole', (SELECT string_agg(j.night || ' ' || (j.spec ->> 'markets') || j.priority, ' ') FROM
  pg_temp.turn() j), '2026-01-02 ["fr-FR"]7');
-- Unless it is asked for, then all of it; and cancelled as one.
SELECT id AS all FROM meridian.backfill_start('t', '{*}', '2026-01-01', '2026-01-05', 3, '{"promote": true}', NULL, true, 'me') \gset
SELECT pg_temp.expect_equal('all markets of three nights', (SELECT string_agg(j.night || ' ' || jsonb_array_length(j.spec -> 'markets')
  || (j.spec ->> 'promote'), ' ' ORDER BY j.night) FROM pg_temp.turn() j),
  '2026-01-01 3true 2026-01-02 3true 2026-01-03 3true');
SELECT pg_temp.running('finetune', 'de-DE') AS child \gset
UPDATE meridian.job SET parent = (SELECT id FROM meridian.job WHERE parent = :'all' AND night = '2026-01-01') WHERE id = :'child';
SELECT pg_temp.expect_equal('cancel', (SELECT note FROM meridian.job_cancel(ARRAY[:'all'::uuid], 'me')), 'is being cancelled');
SELECT pg_temp.expect_equal('its grandchildren too', (SELECT cancel_requested_by FROM meridian.job WHERE id = :'child'), 'me');
SELECT pg_temp.expect_equal('no more nights', (SELECT count(*)::text FROM pg_temp.turn()), '0');
UPDATE meridian.attempt SET state = 'cancelled', ended_at = now() WHERE job = :'child';
UPDATE meridian.job SET state = 'cancelled', ended_at = now(), error_code = 'CANCELLED'
WHERE ended_at IS NULL AND (id = :'child' OR parent = :'all');
SELECT * FROM meridian.scheduler_fire(1);
SELECT pg_temp.expect_equal('cancelled', pg_temp.progress(:'all'), 'cancelled 5 0 0 3 0 0 2');
SELECT pg_temp.expect_refused('MR001', 'term 9', 'SELECT meridian.backfill_step(9)');
-- The samples of then: later ones are out, revisions are those of then, what was erased is gone.
INSERT INTO meridian.sample (market, task, split, external_id, label, text, digest, imported_at) VALUES
  ('de-DE', 't', 'train', 'x', 'a', 'old', sha256('1'), '2026-01-01 12:00Z'), ('de-DE', 't', 'train', 'y', 'a', 'y', sha256('2'), '2026-01-01 12:00Z'),
  ('de-DE', 't', 'train', 'z', 'b', 'late', sha256('3'), '2026-01-03 12:00Z');
UPDATE meridian.sample SET superseded_by = (SELECT max(id) + 1 FROM meridian.sample) WHERE external_id = 'x';
INSERT INTO meridian.sample (market, task, split, external_id, revision, label, text, digest, imported_at)
VALUES ('de-DE', 't', 'train', 'x', 2, 'a', 'new', sha256('4'), '2026-01-04 12:00Z');
CREATE FUNCTION pg_temp.known(p_until timestamptz) RETURNS text LANGUAGE sql AS $$
  SELECT t.samples || coalesce(' ' || (SELECT string_agg(r.sample, ' ' ORDER BY r.sample) FROM
    meridian.snapshot_rows('{de-DE}', 't', 'train', t.as_of) r), '')
  FROM meridian.snapshot_take('{de-DE}', 't', 'train', p_until) t $$;
SELECT pg_temp.expect_equal('until ' || u, pg_temp.known(u::timestamptz), want) FROM (VALUES ('2026-01-01 00:00Z', '0'),
  ('2026-01-02 00:00Z', '2 old y'), ('2026-01-04 00:00Z', '3 late old y'), ('2026-01-05 00:00Z', '3 late new y'),
  (NULL, '3 late new y')) AS v(u, want);
-- The base of then: a global base counts by what it knows; tonight passes by those of other nights.
CREATE FUNCTION pg_temp.base(p_as_of text, p_created timestamptz) RETURNS bigint LANGUAGE sql AS $$
  INSERT INTO meridian.version (task, number, family, method, artifact, job, attempt, spec, labels, engine, kernel, threads,
    seed, created_at) VALUES ('t', (SELECT count(*) + 1 FROM meridian.version), 'bag', 'full', sha256('model'),
    pg_temp.running('finetune', NULL), 1, CASE WHEN p_as_of IS NULL THEN '{}' ELSE jsonb_build_object('as_of', p_as_of) END,
    '{a}', 'e', 'k', 1, 1, p_created) RETURNING id $$;
SELECT pg_temp.base(NULL, '2025-12-01') AS old, pg_temp.base(NULL, '2026-02-01') AS new,
  pg_temp.base('2026-01-03T00:00:00Z', '2026-03-01') AS night3, pg_temp.base('2026-01-02T00:00:00Z', '2026-03-02') AS night2 \gset
SELECT pg_temp.expect_equal('base until ' || coalesce(u, 'now'), (SELECT version::text FROM meridian.worker_read_base('de-DE', 't',
  'global', u::timestamptz)), want) FROM (VALUES (NULL, :'new'), ('2026-01-03T00:00:00Z', :'night3'), ('2026-01-02T00:00:00Z', :'night2'),
  ('2026-01-01T00:00:00Z', :'old'), ('2026-02-02T00:00:00Z', :'new')) AS v(u, want);
SELECT pg_temp.expect('the same snapshot whenever it is taken', (SELECT id FROM meridian.snapshot_take('{de-DE}', 't', 'train', '2026-01-02'))
  = (SELECT id FROM meridian.snapshot_take('{de-DE}', 't', 'train', '2026-01-03')));
