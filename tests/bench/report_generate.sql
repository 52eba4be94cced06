-- A history to measure the report views on: psql -v markets=200 -v nights=1095 -f report_generate.sql
-- on a migrated, empty database, as a superuser. Every night and market has a fine-tune and an
-- evaluation; 1 % fail, 2 % take two attempts, a third is promoted. One market in ten has 60 classes, the
-- others 8. The last night is half done. Nothing is random: two runs make the same rows.
\set ON_ERROR_STOP on
SET session_replication_role = replica; -- the history is consistent by construction: no foreign keys,
                                        -- no triggers; unique and check constraints stay
SET synchronous_commit = off;
SET maintenance_work_mem = '256MB';
SET work_mem = '128MB';

INSERT INTO meridian.region (name) VALUES ('apac'), ('eu'), ('us');
INSERT INTO meridian.task (name) VALUES ('support-intent');
INSERT INTO meridian.market (code, region, timezone)
SELECT format('m%s-X', lpad(m::text, 3, '0')), (ARRAY['apac', 'eu', 'us'])[1 + m % 3],
  (ARRAY['Asia/Tokyo', 'Europe/Berlin', 'America/New_York'])[1 + m % 3]
FROM generate_series(0, :markets - 1) AS m;
INSERT INTO meridian.worker (name, incarnation, region, host, pid, slots, threads, memory_mb, version)
SELECT format('w%s', w), md5('w' || w)::uuid, (ARRAY['apac', 'eu', 'us'])[1 + w % 3], 'host' || w, 1000 + w,
  8, 1, 16384, '0.1.0'
FROM generate_series(0, 8) AS w;

-- One row a night and market; k is unique and grows with time.
CREATE TEMP TABLE base AS
SELECT n * :markets + m + 1 AS k, n, m, format('m%s-X', lpad(m::text, 3, '0')) AS market,
  (ARRAY['apac', 'eu', 'us'])[1 + m % 3] AS region,
  (now() AT TIME ZONE 'UTC')::date - (:nights - 1) + n AS night,
  date_trunc('day', now()) - (:nights - 1 - n) * interval '1 day' + m % 3 * interval '6 hours'
    - interval '18 hours' AS due,
  hashtext(format('%s/%s', n, m)) & 1023 AS noise,
  CASE WHEN n = :nights - 1 AND m % 2 = 1 THEN 'open'
       WHEN (n * 7 + m * 13) % 100 = 5 THEN 'failed' ELSE 'done' END AS fate,
  (n * 3 + m * 11) % 50 = 7 AS was_retried,
  (n + m * 5) % 3 = 0 OR n = 0 AS promoted,
  CASE WHEN m % 10 = 0 THEN 60 ELSE 8 END AS classes,
  md5(format('finetune/%s/%s', n, m))::uuid AS finetune,
  md5(format('evaluate/%s/%s', n, m))::uuid AS evaluate,
  md5(format('nightly/%s/%s', n, m % 3))::uuid AS parent
FROM generate_series(0, :nights - 1) AS n, generate_series(0, :markets - 1) AS m
ORDER BY 1;
-- The champion of each market before each night.
CREATE TEMP TABLE history AS
SELECT b.*, due + noise * interval '1 second' AS began,
  due + noise * interval '1 second' + (20 + noise % 60) * interval '1 second' AS trained,
  due + noise * interval '1 second' + (40 + noise % 60) * interval '1 second' AS scored,
  max(k) FILTER (WHERE promoted AND fate = 'done')
    OVER (PARTITION BY m ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS champion
FROM base b ORDER BY k;
ANALYZE history;

-- Work
INSERT INTO meridian.job (id, kind, task, state, night, submitted_by, submitted_at, admitted_at, ended_at)
SELECT parent, 'nightly', 'support-intent',
  CASE WHEN bool_or(fate = 'open') THEN 'waiting' ELSE 'succeeded' END, night, 'schedule nightly',
  min(due), min(due), CASE WHEN bool_or(fate = 'open') THEN NULL ELSE max(scored) END
FROM history GROUP BY parent, night;
INSERT INTO meridian.job (id, kind, market, task, region, state, parent, night, submitted_by,
  submitted_at, admitted_at, queued_at, started_at, ended_at, attempt, failures, error_code, error_text, spec)
SELECT finetune, 'finetune', market, 'support-intent', region,
  CASE fate WHEN 'done' THEN 'succeeded' WHEN 'failed' THEN 'failed' ELSE 'queued' END,
  parent, night, 'schedule nightly', due, due, due, CASE WHEN fate <> 'open' THEN began END,
  CASE WHEN fate <> 'open' THEN trained END,
  CASE WHEN fate = 'open' THEN 0 WHEN fate = 'failed' THEN 3 WHEN was_retried THEN 2 ELSE 1 END,
  CASE WHEN fate = 'failed' THEN 3 WHEN was_retried AND fate = 'done' THEN 1 ELSE 0 END,
  CASE WHEN fate = 'failed' THEN 'DATA' END,
  CASE WHEN fate = 'failed' THEN 'the data cannot be used for this job: only one label' END,
  '{"family": "bag", "base": "auto", "epochs": 5, "seed": 1}'::jsonb
FROM history
UNION ALL
SELECT evaluate, 'evaluate', market, 'support-intent', region,
  CASE fate WHEN 'done' THEN 'succeeded' WHEN 'failed' THEN 'skipped' ELSE 'waiting' END,
  parent, night, 'schedule nightly', due, due, CASE WHEN fate = 'done' THEN trained END,
  CASE WHEN fate = 'done' THEN trained + interval '1 second' END,
  CASE WHEN fate = 'done' THEN scored WHEN fate = 'failed' THEN trained END,
  CASE WHEN fate = 'done' THEN 1 ELSE 0 END, 0,
  CASE WHEN fate = 'failed' THEN 'DEPENDENCY' END,
  CASE WHEN fate = 'failed' THEN 'the fine-tune it needs failed' END, '{"promote": true}'::jsonb
FROM history;
INSERT INTO meridian.dependency (job, needs) SELECT evaluate, finetune FROM history;
INSERT INTO meridian.attempt (job, number, state, region, worker, incarnation, dispatched_at, started_at,
  ended_at, queued_at, peak_rss_kb, error_code, error_class, error_text, charged)
SELECT finetune, a, s.state, region, format('w%s', m % 3 + 3 * (k % 3)), md5('w')::uuid,
  began, began + interval '20 milliseconds', least(trained, began + a * interval '8 seconds'),
  due, 200000 + noise * 100, CASE WHEN s.state <> 'succeeded' THEN 'CRASH' END,
  CASE WHEN s.state <> 'succeeded' THEN 'retry' END,
  CASE WHEN s.state <> 'succeeded' THEN 'the runner died' END, s.state <> 'succeeded'
FROM history,
  generate_series(1, CASE WHEN fate = 'failed' THEN 3 WHEN was_retried THEN 2 ELSE 1 END) AS a,
  LATERAL (SELECT CASE WHEN fate = 'failed' THEN 'failed' WHEN was_retried AND a = 1 THEN 'crashed'
    ELSE 'succeeded' END AS state) AS s
WHERE fate <> 'open'
UNION ALL
SELECT evaluate, 1, 'succeeded', region, format('w%s', m % 3 + 3 * (k % 3)), md5('w')::uuid,
  trained + interval '900 milliseconds', trained + interval '1 second', scored, trained,
  150000 + noise * 50, NULL, NULL, NULL, false
FROM history WHERE fate = 'done';
INSERT INTO meridian.event (at, job, attempt, actor, from_state, to_state, reason)
SELECT due, j.id, NULL, 'scheduler', s.f, s.t, s.r
FROM history, unnest(ARRAY[finetune, evaluate]) AS j(id),
  (VALUES (NULL, 'waiting', 'admitted'), ('waiting', 'queued', 'released'),
    ('queued', 'dispatched', 'dispatched'), ('dispatched', 'running', 'started'),
    ('running', 'succeeded', 'finished')) AS s(f, t, r)
WHERE fate = 'done';

-- Models
INSERT INTO meridian.artifact (sha256, bytes, chunks)
SELECT sha256(k::text::bytea), 4000000, 4 FROM history WHERE fate = 'done';
INSERT INTO meridian.snapshot (id, sha256, markets, task, split, as_of, samples, labels)
OVERRIDING SYSTEM VALUE
SELECT 2 * k, sha256(('train' || k)::bytea), ARRAY[market], 'support-intent', 'train', k,
  5000 + n, classes FROM history WHERE fate = 'done'
UNION ALL
SELECT 2 * k + 1, sha256(('test' || k)::bytea), ARRAY[market], 'support-intent', 'test', k,
  1000 + n, classes FROM history WHERE fate = 'done';
INSERT INTO meridian.version (id, market, task, number, family, method, artifact, base_version,
  train_snapshot, job, attempt, region, spec, labels, engine, kernel, threads, seed, created_at,
  base_market, base_number, train_samples, train_sha256)
OVERRIDING SYSTEM VALUE
SELECT k, market, 'support-intent', n + 1, 'bag', 'full', sha256(k::text::bytea), champion, 2 * k, finetune,
  CASE WHEN was_retried THEN 2 ELSE 1 END, region, '{"family": "bag", "epochs": 5, "seed": 1}',
  ARRAY(SELECT 'intent_' || c FROM generate_series(1, classes) AS c), 'meridian 0.1.0', 'avx2', 1, 1, trained,
  CASE WHEN champion IS NOT NULL THEN market END, (champion - 1) / :markets + 1, 5000 + n,
  sha256(('train' || k)::bytea)
FROM history WHERE fate = 'done';
INSERT INTO meridian.evaluation (id, job, attempt, version, snapshot, champion, verdict, reason, sentence,
  numbers, created_at)
OVERRIDING SYSTEM VALUE
SELECT k, evaluate, 1, k, 2 * k + 1, champion, CASE WHEN promoted THEN 'promote' ELSE 'keep' END,
  CASE WHEN promoted THEN 'not_worse' ELSE 'worse' END,
  CASE WHEN promoted THEN 'macro-F1 0.861 against 0.858: not worse within 0.010'
       ELSE 'macro-F1 0.841 against 0.858: worse by more than 0.010' END,
  '{"mcnemar_p": 0.41, "delta": 0.003}', scored
FROM history WHERE fate = 'done';
INSERT INTO meridian.evaluation_summary
SELECT k, evaluate, parent, night, market, 'support-intent', k, n + 1, champion,
  (champion - 1) / :markets + 1, began, scored,
  extract(epoch FROM scored - began), 18.5 + noise / 100.0, 5000 + n, 1000 + n,
  round(0.8 + noise / 8192.0, 5), round(0.78 + noise / 8192.0, 5),
  CASE WHEN champion IS NOT NULL THEN round(0.81 + noise / 9000.0, 5) END,
  CASE WHEN champion IS NOT NULL THEN round(0.79 + noise / 9000.0, 5) END, promoted,
  CASE WHEN promoted THEN 'promote' ELSE 'keep' END, CASE WHEN promoted THEN 'not_worse' ELSE 'worse' END,
  CASE WHEN promoted THEN 'macro-F1 0.861 against 0.858: not worse within 0.010'
       ELSE 'macro-F1 0.841 against 0.858: worse by more than 0.010' END
FROM history WHERE fate = 'done';
INSERT INTO meridian.metric (job, version, evaluation, role, name, value, low, high)
SELECT CASE WHEN r.role = 'training' THEN finetune ELSE evaluate END,
  CASE WHEN r.role = 'champion' THEN champion ELSE k END,
  CASE WHEN r.role <> 'training' THEN k END, r.role, x.name, 0.8 + noise / 8192.0,
  CASE WHEN r.role <> 'training' THEN 0.75 + noise / 8192.0 END,
  CASE WHEN r.role <> 'training' THEN 0.85 + noise / 8192.0 END
FROM history,
  (VALUES ('challenger', ARRAY['accuracy', 'micro_precision', 'micro_recall', 'micro_f1', 'macro_precision',
     'macro_recall', 'macro_f1', 'weighted_precision', 'weighted_recall', 'weighted_f1', 'log_loss',
     'brier', 'ece', 'samples', 'majority_accuracy']),
    ('champion', ARRAY['accuracy', 'micro_precision', 'micro_recall', 'micro_f1', 'macro_precision',
     'macro_recall', 'macro_f1', 'weighted_precision', 'weighted_recall', 'weighted_f1', 'log_loss',
     'brier', 'ece', 'samples', 'majority_accuracy']),
    ('training', ARRAY['train_seconds', 'read_seconds', 'base_source_loss', 'base_target_loss', 'base_gap',
     'finetuned_target_loss'])) AS r(role, names),
  unnest(r.names) AS x(name)
WHERE fate = 'done' AND (r.role <> 'champion' OR champion IS NOT NULL);
INSERT INTO meridian.class_metric
SELECT k, 'intent_' || c, c, 0.8, 0.8, 0.8, (1000 + n) / classes
FROM history, generate_series(1, classes) AS c WHERE fate = 'done';
-- The diagonal and two confusions a class.
INSERT INTO meridian.confusion_cell
SELECT k, 'intent_' || c, 'intent_' || ((c - 1 + d * 3) % classes + 1), CASE d WHEN 0 THEN 100 ELSE 9 END
FROM history, generate_series(1, classes) AS c, generate_series(0, 2) AS d WHERE fate = 'done';
INSERT INTO meridian.training_point
SELECT k, e, e * 150, 1.0 / e, 1.1 / e, 0.8, 40000, e * 3000
FROM history, generate_series(1, 5) AS e WHERE fate = 'done';
INSERT INTO meridian.promotion (id, market, task, version, previous, kind, evaluation, actor, reason, at)
OVERRIDING SYSTEM VALUE
SELECT k, market, 'support-intent', k, champion, 'promote', k, 'scheduler', 'not worse', scored
FROM history WHERE fate = 'done' AND promoted;
INSERT INTO meridian.champion (market, task, version, promotion, since)
SELECT DISTINCT ON (market) market, 'support-intent', k, k, scored
FROM history WHERE fate = 'done' AND promoted ORDER BY market, k DESC;
RESET session_replication_role;
VACUUM ANALYZE;
