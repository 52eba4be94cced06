-- Every constraint refuses the nonsense that it is there for.
SELECT pg_temp.running('noop', 'de-DE') AS run \gset
SELECT meridian.attempt_finish(1, pg_temp.running('finetune', 'de-DE'), 1, 'w', 1, pg_temp.finetune_result());
SELECT meridian.attempt_finish(1, pg_temp.running('evaluate', 'de-DE'), 1, 'w', 1,
  pg_temp.evaluate_result((SELECT max(id) FROM meridian.version), NULL, true));
SELECT pg_temp.expect_refused('23', words, replace(statement, 'RUN', :'run')) FROM (VALUES
  ('region_name_check', $$INSERT INTO meridian.region VALUES ('Eu West')$$),
  ('market_weight_check', $$UPDATE meridian.market SET weight = 0$$),
  ('market_tolerance_check', $$UPDATE meridian.market SET tolerance = 2$$),
  ('market_max_running_check', $$UPDATE meridian.market SET max_running = -1$$),
  ('market_min_support_check', $$UPDATE meridian.market SET min_support = 0$$),
  ('market_collapse_drop_check', $$UPDATE meridian.market SET collapse_drop = 0$$),
  ('market_region_fkey', $$UPDATE meridian.market SET region = 'nowhere'$$),
  ('sample_split_check', $$INSERT INTO meridian.sample (market, task, split, external_id, label, text, digest)
    VALUES ('m', 't', 'all', '1', 'l', 't', sha256(''))$$),
  ('sample_digest_check', $$INSERT INTO meridian.sample (market, task, split, external_id, label, text, digest)
    VALUES ('m', 't', 'dev', '1', 'l', 't', '')$$),
  ('sample_text_check', $$INSERT INTO meridian.sample (market, task, split, external_id, label, text, digest)
    VALUES ('m', 't', 'dev', '1', 'l', '', sha256(''))$$),
  ('sample_current', $$INSERT INTO meridian.sample (market, task, split, external_id, revision, label, text,
    digest) VALUES ('m', 't', 'dev', '1', 1, 'l', 't', sha256('')), ('m', 't', 'dev', '1', 2, 'l', 't', sha256(''))$$),
  ('snapshot_markets_check', $$INSERT INTO meridian.snapshot (sha256, markets, task, split, as_of, samples, labels)
    VALUES (sha256(''), '{}', 't', 'dev', 1, 1, 1)$$),
  ('job_state_check', $$INSERT INTO meridian.job (id, kind, state) VALUES (gen_random_uuid(), 'noop', 'lost')$$),
  ('job_ended', $$INSERT INTO meridian.job (id, kind, state) VALUES (gen_random_uuid(), 'noop', 'succeeded')$$),
  ('job_ended', $$INSERT INTO meridian.job (id, kind, state, ended_at) VALUES (gen_random_uuid(), 'noop', 'queued',
    now())$$),
  ('job_running_has_attempt', $$INSERT INTO meridian.job (id, kind, state, region, started_at)
    VALUES (gen_random_uuid(), 'noop', 'running', 'eu', now())$$),
  ('job_running_has_start', $$INSERT INTO meridian.job (id, kind, state, region, attempt)
    VALUES (gen_random_uuid(), 'noop', 'running', 'eu', 1)$$),
  ('job_runs_in_a_region', $$INSERT INTO meridian.job (id, kind, state, attempt)
    VALUES (gen_random_uuid(), 'noop', 'dispatched', 1)$$),
  ('job_failed_has_reason', $$INSERT INTO meridian.job (id, kind, state, ended_at)
    VALUES (gen_random_uuid(), 'noop', 'failed', now())$$),
  ('job_unique_key', $$INSERT INTO meridian.job (id, kind, state, unique_key)
    VALUES (gen_random_uuid(), 'noop', 'queued', 'k'), (gen_random_uuid(), 'noop', 'waiting', 'k')$$),
  ('job_quorum_check', $$UPDATE meridian.job SET quorum = 0$$),
  ('job_after_quorum_check', $$UPDATE meridian.job SET after_quorum = 0$$),
  ('dependency_condition_check', $$INSERT INTO meridian.dependency
    VALUES ('RUN', gen_random_uuid(), 'sometimes')$$),
  ('job_priority_check', $$UPDATE meridian.job SET priority = 5000$$),
  ('job of market', $$INSERT INTO meridian.job (id, kind, state, market) VALUES (gen_random_uuid(), 'noop',
    'queued', 'nope')$$),
  ('has jobs', $$DELETE FROM meridian.market WHERE code = (SELECT min(market) FROM meridian.job)$$),
  ('has jobs', $$UPDATE meridian.market SET code = 'xx' WHERE code = (SELECT min(market) FROM meridian.job)$$),
  ('job of market', $$UPDATE meridian.job SET market = 'nope' WHERE id = 'RUN'$$),
  ('dependency_check', $$INSERT INTO meridian.dependency VALUES ('RUN', 'RUN')$$),
  ('attempt_one_open', $$INSERT INTO meridian.attempt (job, number, state, region)
    VALUES ('RUN', 2, 'dispatched', 'eu')$$),
  ('of job', $$INSERT INTO meridian.attempt (job, number, state, region)
    VALUES (gen_random_uuid(), 1, 'dispatched', 'eu')$$),
  ('has attempts', $$DELETE FROM meridian.job WHERE id = 'RUN'$$),
  ('attempt_running', $$UPDATE meridian.attempt SET lease_expires_at = NULL WHERE job = 'RUN'$$),
  ('attempt_ended', $$UPDATE meridian.attempt SET state = 'failed' WHERE job = 'RUN'$$),
  ('attempt_ended', $$UPDATE meridian.attempt SET ended_at = now() WHERE job = 'RUN'$$),
  ('attempt_pkey', $$INSERT INTO meridian.attempt (job, number, state, region, ended_at)
    VALUES ('RUN', 1, 'lost', 'eu', now())$$),
  ('artifact_sha256_check', $$INSERT INTO meridian.artifact VALUES ('\x00', 1, 1)$$),
  ('version_job_key', $$INSERT INTO meridian.version (market, task, number, family, method, artifact, job, attempt,
    spec, labels, engine, kernel, threads, seed) SELECT market, task, 99, family, method, artifact, job, attempt, spec,
    labels, engine, kernel, threads, seed FROM meridian.version$$),
  ('version_number', $$INSERT INTO meridian.version (market, task, number, family, method, artifact, job, attempt,
    spec, labels, engine, kernel, threads, seed) SELECT market, task, number, family, method, artifact, 'RUN', 1, spec,
    labels, engine, kernel, threads, seed FROM meridian.version$$),
  ('metric_check', $$INSERT INTO meridian.metric (job, version, role, name, value)
    SELECT 'RUN', id, 'challenger', 'x', 1 FROM meridian.version$$),
  ('class_metric_support_check', $$UPDATE meridian.class_metric SET support = -1$$),
  ('confusion_cell_count_check', $$UPDATE meridian.confusion_cell SET count = 0$$),
  ('evaluation_verdict_check', $$UPDATE meridian.evaluation SET verdict = 'maybe'$$),
  ('evaluation_summary_check', $$UPDATE meridian.evaluation_summary SET promoted = NOT promoted$$),
  ('promotion_evaluation_key', $$INSERT INTO meridian.promotion (market, task, version, kind, evaluation, actor, reason)
    SELECT market, task, version, kind, evaluation, actor, reason FROM meridian.promotion$$),
  ('champion_pkey', $$INSERT INTO meridian.champion SELECT * FROM meridian.champion$$),
  ('leader_pkey', $$INSERT INTO meridian.leader (holder, term, expires_at) VALUES ('x', 1, now())$$),
  ('pause_scope_check', $$INSERT INTO meridian.pause VALUES ('job', 'x', 'me')$$),
  ('firing_job_fkey', $$INSERT INTO meridian.firing VALUES ('s', 'UTC', now(), gen_random_uuid())$$)
) AS v(words, statement);
-- No job makes a move that is not in the table.
CREATE FUNCTION pg_temp.moves() RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(f || '>' || t, ' ' ORDER BY f, t) FROM
    unnest('{waiting,queued,dispatched,running,succeeded,failed,cancelled,rejected,skipped}'::text[]) AS f,
    unnest('{waiting,queued,dispatched,running,succeeded,failed,cancelled,rejected,skipped}'::text[]) AS t
  WHERE f <> t AND meridian.job_move_allowed(f, t, false) $$;
SELECT pg_temp.expect_equal('moves', pg_temp.moves(), 'dispatched>cancelled dispatched>failed dispatched>queued '
  'dispatched>running dispatched>succeeded dispatched>waiting queued>cancelled queued>dispatched queued>failed queued>skipped '
  'queued>waiting running>cancelled running>failed running>queued running>succeeded running>waiting '
  'waiting>cancelled waiting>failed waiting>queued waiting>skipped');
SELECT pg_temp.expect_refused('MR011', 'cannot move from running to dispatched',
  format($$UPDATE meridian.job SET state = 'dispatched' WHERE id = %L$$, :'run'));
SELECT pg_temp.expect_refused('MR011', 'cannot move from succeeded to queued',
  $$UPDATE meridian.job SET state = 'queued', ended_at = NULL WHERE state = 'succeeded'$$);
SELECT pg_temp.expect_refused('MR011', 'attempt numbers only grow',
  format($$UPDATE meridian.job SET attempt = 0 WHERE id = %L$$, :'run'));
SELECT pg_temp.expect_refused('MR011', 'attempt is append-only',
  format($$UPDATE meridian.attempt SET job = gen_random_uuid() WHERE job = %L$$, :'run'));
