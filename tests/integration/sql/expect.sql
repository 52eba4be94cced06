-- Loaded before each test: temporary helpers that end the script when something is not as expected.
\set ON_ERROR_STOP on
\set QUIET on
CREATE FUNCTION pg_temp.expect(p_what text, p_is boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF p_is IS NOT TRUE THEN
    RAISE EXCEPTION 'not so: %', p_what;
  END IF;
END $$;
CREATE FUNCTION pg_temp.expect_equal(p_what text, p_got text, p_want text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF p_got IS DISTINCT FROM p_want THEN
    RAISE EXCEPTION '%: expected "%", got "%"', p_what, p_want, p_got;
  END IF;
END $$;
-- The statement must fail with that SQLSTATE (or its class), and with words that contain p_words.
CREATE FUNCTION pg_temp.expect_refused(p_state text, p_words text, p_statement text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  BEGIN
    EXECUTE p_statement;
  EXCEPTION WHEN OTHERS THEN
    IF SQLSTATE NOT LIKE p_state || '%' OR position(p_words IN SQLERRM) = 0 THEN
      RAISE EXCEPTION 'refused otherwise than expected (% %): % %; by %', p_state, p_words, SQLSTATE,
        SQLERRM, p_statement;
    END IF;
    RETURN;
  END;
  RAISE EXCEPTION 'not refused: %', p_statement;
END $$;
-- A job whose first attempt runs on worker w.
CREATE FUNCTION pg_temp.running(p_kind text, p_market text, p_id uuid DEFAULT gen_random_uuid(),
  p_spec jsonb DEFAULT '{}') RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO meridian.job (id, kind, market, task, region, state, night, queued_at, spec)
  VALUES (p_id, p_kind, p_market, 't', 'eu', 'queued', '2026-11-23', now(), p_spec);
  INSERT INTO meridian.attempt (job, number, state, region) VALUES (p_id, 1, 'dispatched', 'eu');
  UPDATE meridian.job SET state = 'dispatched', attempt = 1 WHERE id = p_id;
  UPDATE meridian.attempt SET state = 'running', worker = 'w', started_at = now(), lease_expires_at = now()
  WHERE job = p_id;
  UPDATE meridian.job SET state = 'running', started_at = now() WHERE id = p_id;
  RETURN p_id;
END $$;
CREATE FUNCTION pg_temp.snapshot(p_split text) RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_build_object('sha256', encode(sha256(p_split::bytea), 'hex'), 'markets', '["de-DE"]'::jsonb,
    'task', 't', 'split', p_split, 'as_of', 7, 'samples', 10, 'labels', 2) $$;
CREATE FUNCTION pg_temp.finetune_result() RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_build_object('version', jsonb_build_object('family', 'bag', 'method', 'full',
      'artifact', encode(sha256('model'), 'hex'), 'base_version', NULL, 'labels', '["a", "b"]'::jsonb,
      'engine', 'e', 'kernel', 'k', 'threads', 1, 'seed', 1, 'spec', '{}'::jsonb,
      'train_snapshot', pg_temp.snapshot('train'), 'dev_snapshot', NULL),
    'metrics', '[{"name": "train_seconds", "value": 1.5}, {"name": "base_gap", "value": null}]'::jsonb,
    'curve', '[{"epoch": 1, "step": 10, "train_loss": 0.5, "elapsed_ms": 12.7},
               {"epoch": 2, "step": 20, "train_loss": 0.4, "dev_loss": 0.5}]'::jsonb) $$;
CREATE FUNCTION pg_temp.evaluate_result(p_version bigint, p_champion bigint, p_promote boolean)
RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_build_object('evaluation', jsonb_build_object('version', p_version, 'champion', p_champion,
    'snapshot', pg_temp.snapshot('test'),
    'metrics', '[{"name": "accuracy", "value": 0.9, "low": 0.8, "high": 0.95},
                 {"name": "macro_f1", "value": 0.88}]'::jsonb,
    'champion_metrics', '[{"name": "accuracy", "value": 0.85}]'::jsonb,
    'classes', '[{"label": "a", "precision": 1, "recall": 0.5, "f1": 0.66, "support": 5},
                 {"label": "b", "precision": 0.5, "recall": 1, "f1": 0.66, "support": 5}]'::jsonb,
    'confusion', '[["a", "b", 3], ["a", "a", 2], ["b", "b", 5], ["b", "a", 0]]'::jsonb,
    'verdict', jsonb_build_object('promote', p_promote, 'reason', 'not_worse', 'sentence', 'not worse',
      'numbers', '{"p": 0.5}'::jsonb))) $$;
SELECT meridian.market_set('de-DE', 'eu', 'Europe/Berlin', 'test') \gset unused_
SELECT meridian.market_set('fr-FR', 'eu', 'Europe/Paris', 'test') \gset unused_
SELECT meridian.market_set('ja-JP', 'apac', 'Asia/Tokyo', 'test') \gset unused_
SELECT meridian.task_set('t', '{de-DE,fr-FR}', 'test') \gset unused_
SELECT term AS unused_term FROM meridian.leader_acquire('test', 3600000) \gset
INSERT INTO meridian.artifact (sha256, bytes, chunks) VALUES (sha256('model'), 1, 1);
