-- attempt_finish: fenced by term, worker and number; each result exactly once, whole or not at all.
SELECT pg_temp.running('finetune', 'de-DE') AS ft \gset
-- Who does not own the attempt changes nothing.
SELECT pg_temp.expect_refused('MR001', 'term 2', format(
  'SELECT meridian.attempt_finish(2, %L, 1, ''w'', 1, pg_temp.finetune_result())', :'ft'));
SELECT pg_temp.expect_equal('another worker', meridian.attempt_finish(1, :'ft', 1, 'x', 1, '{}'), 'stale');
SELECT pg_temp.expect_equal('another number', meridian.attempt_finish(1, :'ft', 2, 'w', 1, '{}'), 'stale');
SELECT pg_temp.expect_equal('no such job',
  meridian.attempt_finish(1, gen_random_uuid(), 1, 'w', 1, '{}'), 'stale');
-- A result that cannot be recorded names the field and leaves nothing behind.
SELECT pg_temp.expect_refused('MR010', 'version is missing', format(
  'SELECT meridian.attempt_finish(1, %L, 1, ''w'', 1, ''{}'')', :'ft'));
SELECT pg_temp.expect_refused('MR010', 'version.family is missing', format(
  'SELECT meridian.attempt_finish(1, %L, 1, ''w'', 1, pg_temp.finetune_result() #- ''{version,family}'')', :'ft'));
SELECT pg_temp.expect_refused('MR010', 'is not in the store', format(
  'SELECT meridian.attempt_finish(1, %L, 1, ''w'', 1,
     jsonb_set(pg_temp.finetune_result(), ''{version,artifact}'', to_jsonb(repeat(''ab'', 32))))', :'ft'));
SELECT pg_temp.expect_refused('MR010', 'cannot be recorded', format(
  'SELECT meridian.attempt_finish(1, %L, 1, ''w'', 1,
     jsonb_set(pg_temp.finetune_result(), ''{version,threads}'', ''"many"''))', :'ft'));
SELECT pg_temp.expect_refused('MR010', 'cannot be recorded', format(
  'SELECT meridian.attempt_finish(1, %L, 1, ''w'', 1, jsonb_set(pg_temp.finetune_result(), ''{metrics}'',
     ''[{"name": "x", "value": 1}, {"name": "x", "value": 2}]''))', :'ft'));
SELECT pg_temp.expect_equal('nothing was written', (SELECT count(*) FROM meridian.version)::text || (SELECT
  count(*) FROM meridian.snapshot) || (SELECT state FROM meridian.job WHERE id = :'ft'), '00running');
-- Committed once, whatever is sent again.
SELECT pg_temp.expect_equal('first', meridian.attempt_finish(1, :'ft', 1, 'w', 4321, pg_temp.finetune_result()),
  'committed');
SELECT pg_temp.expect_equal('again', meridian.attempt_finish(1, :'ft', 1, 'w', 1, pg_temp.finetune_result()),
  'duplicate');
SELECT pg_temp.expect_equal('the job', (SELECT state || ' ' || (result ->> 'number') FROM meridian.job
  WHERE id = :'ft'), 'succeeded 1');
SELECT pg_temp.expect_equal('the attempt', (SELECT state || ' ' || peak_rss_kb FROM meridian.attempt
  WHERE job = :'ft'), 'succeeded 4321');
SELECT pg_temp.expect_equal('metrics without a value are left out',
  (SELECT string_agg(role || ' ' || name || ' ' || value, ',') FROM meridian.metric),
  'training train_seconds 1.5');
SELECT pg_temp.expect_equal('the curve', (SELECT string_agg(epoch || ':' || train_loss, ' ' ORDER BY epoch)
  FROM meridian.training_point), '1:0.5 2:0.4');
SELECT pg_temp.expect_equal('the audit', (SELECT string_agg(to_state, ',') FROM meridian.event
  WHERE job = :'ft'), 'succeeded');
-- Versions count within market and task; a snapshot is recorded once.
SELECT meridian.attempt_finish(1, pg_temp.running('finetune', 'de-DE'), 1, 'w', 1, pg_temp.finetune_result());
SELECT meridian.attempt_finish(1, pg_temp.running('finetune', 'fr-FR'), 1, 'w', 1, pg_temp.finetune_result());
SELECT meridian.attempt_finish(1, pg_temp.running('finetune', NULL), 1, 'w', 1, pg_temp.finetune_result());
SELECT pg_temp.expect_equal('numbers', (SELECT string_agg(coalesce(market, 'base') || number, ' ' ORDER BY id)
  FROM meridian.version), 'de-DE1 de-DE2 fr-FR1 base1');
SELECT pg_temp.expect_equal('snapshots', (SELECT count(*) FROM meridian.snapshot)::text, '1');
-- An evaluation: everything of it, and the promotion.
SELECT pg_temp.running('evaluate', 'de-DE') AS ev \gset
SELECT id AS v1 FROM meridian.version WHERE market = 'de-DE' AND number = 1 \gset
SELECT id AS v2 FROM meridian.version WHERE market = 'de-DE' AND number = 2 \gset
SELECT id AS vf FROM meridian.version WHERE market = 'fr-FR' \gset
SELECT pg_temp.expect_refused('MR010', 'version 999 does not exist', format(
  'SELECT meridian.attempt_finish(1, %L, 1, ''w'', 1, pg_temp.evaluate_result(999, NULL, true))', :'ev'));
SELECT pg_temp.expect_refused('MR010', 'another market', format(
  'SELECT meridian.attempt_finish(1, %L, 1, ''w'', 1, pg_temp.evaluate_result(%s, NULL, true))', :'ev', :vf));
SELECT pg_temp.expect_equal('evaluate',
  meridian.attempt_finish(1, :'ev', 1, 'w', 1, pg_temp.evaluate_result(:v1, NULL, true)), 'committed');
SELECT pg_temp.expect_equal('champion', (SELECT version::text FROM meridian.champion), :'v1');
SELECT pg_temp.expect_equal('promotion', (SELECT kind || ' ' || coalesce(previous::text, '-') FROM
  meridian.promotion), 'promote -');
SELECT pg_temp.expect_equal('classes', (SELECT string_agg(label || position, ' ' ORDER BY position)
  FROM meridian.class_metric), 'a1 b2');
SELECT pg_temp.expect_equal('confusion without empty cells', (SELECT count(*)::text
  FROM meridian.confusion_cell), '3');
SELECT pg_temp.expect_equal('the summary', (SELECT concat_ws(' ', market, number, accuracy, macro_f1, promoted,
  verdict, train_samples, test_samples, train_seconds) FROM meridian.evaluation_summary),
  'de-DE 1 0.9 0.88 t promote 10 10 1.5');
-- Kept when the verdict says so, and when the champion evaluates itself.
SELECT meridian.attempt_finish(1, pg_temp.running('evaluate', 'de-DE'), 1, 'w', 1,
  pg_temp.evaluate_result(:v2, :v1, false));
SELECT meridian.attempt_finish(1, pg_temp.running('evaluate', 'de-DE'), 1, 'w', 1,
  pg_temp.evaluate_result(:v1, :v1, true));
-- No verdict was asked for.
SELECT meridian.attempt_finish(1, pg_temp.running('evaluate', 'de-DE'), 1, 'w', 1,
  pg_temp.evaluate_result(:v2, :v1, true) #- '{evaluation,verdict}');
-- Promoted against the champion it was compared with.
SELECT meridian.attempt_finish(1, pg_temp.running('evaluate', 'de-DE'), 1, 'w', 1,
  pg_temp.evaluate_result(:v2, :v1, true));
SELECT pg_temp.expect_equal('verdicts', (SELECT string_agg(coalesce(verdict || '/' || reason, '-'), ' ' ORDER BY
  id) FROM meridian.evaluation), 'promote/not_worse keep/not_worse keep/already_champion - promote/not_worse');
SELECT pg_temp.expect_equal('champion metrics', (SELECT count(*)::text FROM meridian.metric
  WHERE role = 'champion'), '4');
SELECT pg_temp.expect_equal('champion', (SELECT version::text FROM meridian.champion), :'v2');
-- The reports say the same.
SELECT pg_temp.expect_equal('nightly', (SELECT count(*) || ' ' || count(*) FILTER (WHERE promoted)
  FROM report.nightly WHERE market = 'de-DE' AND state = 'succeeded'), '5 2');
SELECT pg_temp.expect_equal('class_report', (SELECT string_agg(label || '=' || f1, ' ' ORDER BY position)
  FROM report.class_report), 'a=0.66 b=0.66 accuracy=0.9 macro avg=0.88');
SELECT pg_temp.expect_equal('confusion', (SELECT string_agg(truth || predicted || count, ' '
  ORDER BY truth, predicted) FROM report.confusion), 'aa2 ab3 bb5');
SELECT pg_temp.expect_equal('freshness', (SELECT market || version || last_promoted FROM report.freshness),
  'de-DE2true');
-- A late result of an attempt that was given up changes nothing.
SELECT pg_temp.running('noop', 'de-DE') AS late \gset
UPDATE meridian.attempt SET state = 'lost', ended_at = now() WHERE job = :'late';
UPDATE meridian.job SET state = 'queued' WHERE id = :'late';
SELECT pg_temp.expect_equal('late', meridian.attempt_finish(1, :'late', 1, 'w', 1, '{"output": "x"}'), 'stale');
SELECT pg_temp.expect_equal('unchanged', (SELECT state FROM meridian.job WHERE id = :'late'), 'queued');
-- An unknown kind keeps its result whole.
SELECT pg_temp.running('noop', 'de-DE') AS noop \gset
SELECT meridian.attempt_finish(1, :'noop', 1, 'w', 1, '{"output": "x"}');
SELECT pg_temp.expect_equal('noop', (SELECT result ->> 'output' FROM meridian.job WHERE id = :'noop'), 'x');
