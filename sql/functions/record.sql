-- The heart: everything that a finished attempt leaves behind, in one fenced transaction.
-- SQLSTATE MR001: the caller is not the leader. MR010: the result cannot be recorded (the job should
-- fail with this message); nothing of it was written.

CREATE OR REPLACE FUNCTION meridian.result_invalid(p_message text)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the result cannot be recorded: %', p_message USING ERRCODE = 'MR010';
END $$;

-- The text of a field that must be there.
CREATE OR REPLACE FUNCTION meridian.result_text(p_object jsonb, p_path text, p_field text)
RETURNS text
LANGUAGE plpgsql SET search_path = meridian, pg_temp AS $$
DECLARE
  v_text text := p_object ->> p_field;
BEGIN
  IF v_text IS NULL THEN
    PERFORM result_invalid(format('%s.%s is missing', p_path, p_field));
  END IF;
  RETURN v_text;
END $$;

CREATE OR REPLACE FUNCTION meridian.result_array(p_object jsonb, p_path text, p_field text)
RETURNS jsonb
LANGUAGE plpgsql SET search_path = meridian, pg_temp AS $$
DECLARE
  v_array jsonb := coalesce(p_object -> p_field, '[]');
BEGIN
  IF jsonb_typeof(v_array) = 'null' THEN
    RETURN '[]';
  END IF;
  IF jsonb_typeof(v_array) <> 'array' THEN
    PERFORM result_invalid(format('%s.%s is not a list', p_path, p_field));
  END IF;
  RETURN v_array;
END $$;

-- The row of a snapshot, made when this database has not seen it (texts may live elsewhere).
CREATE OR REPLACE FUNCTION meridian.snapshot_put(p_snapshot jsonb, p_path text)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_sha256 bytea;
  v_markets text[];
  v_task text;
  v_split text;
  v_id bigint;
BEGIN
  IF p_snapshot IS NULL OR jsonb_typeof(p_snapshot) = 'null' THEN
    RETURN NULL;
  END IF;
  v_sha256 := decode(result_text(p_snapshot, p_path, 'sha256'), 'hex');
  v_markets := ARRAY(SELECT jsonb_array_elements_text(result_array(p_snapshot, p_path, 'markets'))
                     COLLATE "C" ORDER BY 1);
  v_task := result_text(p_snapshot, p_path, 'task');
  v_split := result_text(p_snapshot, p_path, 'split');
  SELECT id INTO v_id FROM snapshot
  WHERE sha256 = v_sha256 AND markets = v_markets AND task = v_task AND split = v_split;
  IF v_id IS NULL THEN
    INSERT INTO snapshot (sha256, markets, task, split, as_of, samples, labels)
    VALUES (v_sha256, v_markets, v_task, v_split,
      result_text(p_snapshot, p_path, 'as_of')::bigint,
      result_text(p_snapshot, p_path, 'samples')::integer,
      result_text(p_snapshot, p_path, 'labels')::integer)
    ON CONFLICT (sha256, markets, task, split) DO NOTHING
    RETURNING id INTO v_id;
  END IF;
  IF v_id IS NULL THEN -- another transaction was faster
    SELECT id INTO v_id FROM snapshot
    WHERE sha256 = v_sha256 AND markets = v_markets AND task = v_task AND split = v_split;
  END IF;
  RETURN v_id;
END $$;

CREATE OR REPLACE FUNCTION meridian.record_version(p_job meridian.job, p_version jsonb)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_artifact bytea := decode(result_text(p_version, 'version', 'artifact'), 'hex');
  v_base bigint := (p_version ->> 'base_version')::bigint;
  v_train bigint := snapshot_put(p_version -> 'train_snapshot', 'version.train_snapshot');
  v_dev bigint := snapshot_put(p_version -> 'dev_snapshot', 'version.dev_snapshot');
  v_id bigint;
BEGIN
  IF NOT EXISTS (SELECT FROM artifact WHERE sha256 = v_artifact) THEN
    PERFORM result_invalid(format('artifact %s is not in the store', encode(v_artifact, 'hex')));
  END IF;
  IF v_base IS NOT NULL AND NOT EXISTS (SELECT FROM version WHERE id = v_base) THEN
    PERFORM result_invalid(format('base version %s does not exist', v_base));
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended(
    'meridian.version.' || coalesce(p_job.market, '') || '/' || p_job.task, 0));
  INSERT INTO version (market, task, number, family, method, artifact, base_version,
    train_snapshot, dev_snapshot, job, attempt, region, spec, labels, engine, kernel, threads, seed,
    base_market, base_number, train_samples, train_sha256, resumes)
  SELECT p_job.market, p_job.task,
    1 + coalesce((SELECT max(v.number) FROM version v
                  WHERE coalesce(v.market, '') = coalesce(p_job.market, '')
                    AND v.task = p_job.task), 0),
    result_text(p_version, 'version', 'family'), result_text(p_version, 'version', 'method'),
    v_artifact, v_base, v_train, v_dev, p_job.id, p_job.attempt, p_job.region,
    coalesce(p_version -> 'spec', p_job.spec),
    ARRAY(SELECT jsonb_array_elements_text(result_array(p_version, 'version', 'labels'))),
    result_text(p_version, 'version', 'engine'), result_text(p_version, 'version', 'kernel'),
    result_text(p_version, 'version', 'threads')::integer,
    result_text(p_version, 'version', 'seed')::bigint, base.market, base.number, train.samples,
    train.sha256,
    (SELECT count(*) FROM attempt a WHERE a.job = p_job.id AND a.resumed_attempt IS NOT NULL)
  FROM (SELECT) AS one
  LEFT JOIN version base ON base.id = v_base
  LEFT JOIN snapshot train ON train.id = v_train
  RETURNING id INTO v_id;
  RETURN v_id;
END $$;

-- A figure without a value (not defined for these samples) is left out.
CREATE OR REPLACE FUNCTION meridian.record_metrics(p_job uuid, p_version bigint, p_evaluation bigint,
  p_role text, p_metrics jsonb)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  INSERT INTO meridian.metric (job, version, evaluation, role, name, value, low, high)
  SELECT p_job, p_version, p_evaluation, p_role, m.name, m.value, m.low, m.high
  FROM jsonb_to_recordset(p_metrics) AS m(name text, value float8, low float8, high float8)
  WHERE m.value IS NOT NULL
$$;

CREATE OR REPLACE FUNCTION meridian.record_finetune(p_job meridian.job, p_result jsonb)
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_id bigint := record_version(p_job, p_result -> 'version');
BEGIN
  PERFORM record_metrics(p_job.id, v_id, NULL, 'training', result_array(p_result, 'result', 'metrics'));
  INSERT INTO training_point
  SELECT v_id, c.epoch, c.step, c.train_loss, c.dev_loss, c.dev_accuracy, c.examples_per_s,
    c.elapsed_ms::bigint
  FROM jsonb_to_recordset(result_array(p_result, 'result', 'curve')) AS c(epoch integer, step bigint,
    train_loss float8, dev_loss float8, dev_accuracy float8, examples_per_s float8, elapsed_ms float8);
  RETURN (SELECT jsonb_build_object('version', v.id, 'number', v.number,
            'artifact', encode(v.artifact, 'hex'), 'base_version', v.base_version)
          FROM version v WHERE v.id = v_id);
END $$;

-- Makes version the champion. When p_expected is checked and somebody else was faster: null, and
-- nothing is written. Returns the promotion.
CREATE OR REPLACE FUNCTION meridian.champion_set(p_market text, p_task text, p_version bigint,
  p_check boolean, p_expected bigint, p_kind text, p_evaluation bigint, p_job uuid, p_actor text,
  p_reason text)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_current bigint;
  v_promotion bigint;
BEGIN
  -- The row may not exist yet, so the row's lock alone would not do.
  PERFORM pg_advisory_xact_lock(hashtextextended('meridian.champion.' || p_market || '/' || p_task, 0));
  SELECT version INTO v_current FROM champion WHERE market = p_market AND task = p_task FOR UPDATE;
  IF p_check AND v_current IS DISTINCT FROM p_expected THEN
    RETURN NULL;
  END IF;
  INSERT INTO promotion (market, task, version, previous, kind, evaluation, actor, reason)
  VALUES (p_market, p_task, p_version, v_current, p_kind, p_evaluation, p_actor, p_reason)
  RETURNING id INTO v_promotion;
  INSERT INTO champion (market, task, version, promotion) VALUES (p_market, p_task, p_version, v_promotion)
  ON CONFLICT (market, task) DO UPDATE
    SET version = excluded.version, promotion = excluded.promotion, since = excluded.since;
  PERFORM audit(p_job, NULL, p_actor, NULL, NULL, p_kind || ': ' || p_reason,
    jsonb_build_object('market', p_market, 'task', p_task, 'version', p_version, 'previous', v_current,
      'promotion', v_promotion));
  RETURN v_promotion;
END $$;

-- Writes the verdict into the evaluation, after the compare-and-set when it says "promote".
CREATE OR REPLACE FUNCTION meridian.record_verdict(p_job meridian.job, p_evaluation bigint,
  p_verdict jsonb)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_evaluation evaluation;
  v_word text := 'keep';
  v_reason text := p_verdict ->> 'reason';
  v_sentence text := p_verdict ->> 'sentence';
BEGIN
  SELECT * INTO v_evaluation FROM evaluation WHERE id = p_evaluation;
  IF p_job.market IS NULL THEN
    v_reason := 'no_market';
    v_sentence := 'only a market has a champion, and this job names none';
  ELSIF (p_verdict ->> 'promote')::boolean AND v_evaluation.version = v_evaluation.champion THEN
    v_reason := 'already_champion';
    v_sentence := 'this version is the champion already';
  ELSIF (p_verdict ->> 'promote')::boolean THEN
    v_word := 'promote';
    IF champion_set(p_job.market, p_job.task, v_evaluation.version, true, v_evaluation.champion,
        'promote', p_evaluation, p_job.id, 'scheduler',
        coalesce(v_sentence, v_reason, 'the evaluation says so')) IS NULL THEN
      v_word := 'keep';
      v_reason := 'champion_changed';
      v_sentence := 'another version became champion during this evaluation; evaluate again to compare with it';
    END IF;
  END IF;
  UPDATE evaluation
  SET verdict = v_word, reason = v_reason, sentence = v_sentence,
    numbers = coalesce(nullif(p_verdict -> 'numbers', 'null'), '{}')
  WHERE id = p_evaluation;
  RETURN v_word;
END $$;

CREATE OR REPLACE FUNCTION meridian.record_classes(p_evaluation bigint, p_result jsonb)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  INSERT INTO meridian.class_metric (evaluation, label, position, precision_, recall, f1, support)
  SELECT p_evaluation, c.item ->> 'label', c.position::integer, (c.item ->> 'precision')::float8,
    (c.item ->> 'recall')::float8, (c.item ->> 'f1')::float8, (c.item ->> 'support')::integer
  FROM jsonb_array_elements(meridian.result_array(p_result, 'evaluation', 'classes'))
    WITH ORDINALITY AS c(item, position);
  INSERT INTO meridian.confusion_cell (evaluation, truth, predicted, count)
  SELECT p_evaluation, c.item ->> 0, c.item ->> 1, (c.item ->> 2)::integer
  FROM jsonb_array_elements(meridian.result_array(p_result, 'evaluation', 'confusion')) AS c(item)
  WHERE (c.item ->> 2)::integer > 0;
$$;

-- One narrow row for the report views; scores to five digits (meridian.metric has them whole), because
-- three years of seventeen digits are most of the time that report.nightly takes.
CREATE OR REPLACE FUNCTION meridian.record_summary(p_job meridian.job, p_evaluation bigint)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  INSERT INTO meridian.evaluation_summary (evaluation, job, parent, night, market, task, version, number,
    champion, champion_number, started_at, ended_at, duration_s, train_seconds, train_samples, test_samples,
    accuracy, macro_f1, champion_accuracy, champion_macro_f1, promoted, verdict, reason, sentence)
  SELECT e.id, p_job.id, p_job.parent, p_job.night, p_job.market, v.task, v.id, v.number,
    e.champion, c.number,
    began.at, now(), greatest(round(extract(epoch FROM now() - began.at), 1), 0)::double precision,
    t.seconds, v.train_samples, test.samples,
    round(m.accuracy::numeric, 5), round(m.macro_f1::numeric, 5),
    round(m.champion_accuracy::numeric, 5), round(m.champion_macro_f1::numeric, 5),
    e.verdict IS NOT DISTINCT FROM 'promote', coalesce(e.verdict, 'none'), e.reason, e.sentence
  FROM meridian.evaluation e
  JOIN meridian.version v ON v.id = e.version
  JOIN meridian.job made ON made.id = v.job
  JOIN meridian.snapshot test ON test.id = e.snapshot
  CROSS JOIN LATERAL (
    SELECT CASE WHEN made.night = p_job.night THEN least(made.started_at, p_job.started_at)
                ELSE p_job.started_at END AS at) began
  LEFT JOIN meridian.version c ON c.id = e.champion
  LEFT JOIN LATERAL (SELECT value AS seconds FROM meridian.metric
                     WHERE job = v.job AND role = 'training' AND name = 'train_seconds') t ON true
  CROSS JOIN LATERAL (
    SELECT max(value) FILTER (WHERE role = 'challenger' AND name = 'accuracy') AS accuracy,
      max(value) FILTER (WHERE role = 'challenger' AND name = 'macro_f1') AS macro_f1,
      max(value) FILTER (WHERE role = 'champion' AND name = 'accuracy') AS champion_accuracy,
      max(value) FILTER (WHERE role = 'champion' AND name = 'macro_f1') AS champion_macro_f1
    FROM meridian.metric WHERE evaluation = e.id) m
  WHERE e.id = p_evaluation
$$;

CREATE OR REPLACE FUNCTION meridian.record_evaluation(p_job meridian.job, p_result jsonb)
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_version bigint := result_text(p_result, 'evaluation', 'version')::bigint;
  v_champion bigint := (p_result ->> 'champion')::bigint;
  v_snapshot bigint := snapshot_put(p_result -> 'snapshot', 'evaluation.snapshot');
  v_id bigint;
  v_word text;
BEGIN
  IF NOT EXISTS (SELECT FROM version WHERE id = v_version) THEN
    PERFORM result_invalid(format('version %s does not exist', v_version));
  END IF;
  IF NOT EXISTS (SELECT FROM version WHERE id = v_version AND task = p_job.task
                 AND (market IS NULL OR p_job.market IS NULL OR market = p_job.market)) THEN
    PERFORM result_invalid(format('version %s belongs to another market or task', v_version));
  END IF;
  IF v_snapshot IS NULL THEN
    PERFORM result_invalid('evaluation.snapshot is missing');
  END IF;
  INSERT INTO evaluation (job, attempt, version, snapshot, champion)
  VALUES (p_job.id, p_job.attempt, v_version, v_snapshot, v_champion)
  RETURNING id INTO v_id;
  PERFORM record_metrics(p_job.id, v_version, v_id, 'challenger',
    result_array(p_result, 'evaluation', 'metrics'));
  IF v_champion IS NOT NULL THEN
    PERFORM record_metrics(p_job.id, v_champion, v_id, 'champion',
      result_array(p_result, 'evaluation', 'champion_metrics'));
  END IF;
  PERFORM record_classes(v_id, p_result);
  IF jsonb_typeof(p_result -> 'verdict') = 'object' THEN
    v_word := record_verdict(p_job, v_id, p_result -> 'verdict');
  END IF;
  PERFORM record_summary(p_job, v_id);
  RETURN (SELECT jsonb_build_object('evaluation', e.id, 'version', e.version, 'champion', e.champion,
            'verdict', e.verdict, 'reason', e.reason, 'sentence', e.sentence,
            'promotion', (SELECT id FROM promotion WHERE evaluation = e.id))
          FROM evaluation e WHERE e.id = v_id);
END $$;

-- Whether the result of such a job leaves more behind than the job's row keeps.
CREATE OR REPLACE FUNCTION meridian.result_is_apart(p_kind text)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT p_kind IN ('finetune', 'evaluate') $$;

-- What the job's row keeps of the result. Unknown kinds keep it whole.
CREATE OR REPLACE FUNCTION meridian.record_result(p_job meridian.job, p_result jsonb)
RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  IF p_job.kind = 'finetune' THEN
    IF jsonb_typeof(p_result -> 'version') IS DISTINCT FROM 'object' THEN
      PERFORM result_invalid('version is missing');
    END IF;
    RETURN record_finetune(p_job, p_result);
  ELSIF p_job.kind = 'evaluate' THEN
    IF jsonb_typeof(p_result -> 'evaluation') IS DISTINCT FROM 'object' THEN
      PERFORM result_invalid('evaluation is missing');
    END IF;
    RETURN record_evaluation(p_job, p_result -> 'evaluation');
  END IF;
  RETURN p_result;
EXCEPTION
  WHEN data_exception OR integrity_constraint_violation THEN
    RAISE EXCEPTION 'the result cannot be recorded: %', SQLERRM USING ERRCODE = 'MR010';
END $$;

-- Whether the worker that holds the attempt is of the job's region: texts stay there, and so does what
-- is made from them. A worker that was started again elsewhere since is not the one that ran it.
CREATE OR REPLACE FUNCTION meridian.is_resident(p_worker text, p_incarnation uuid, p_region text)
RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  SELECT NOT EXISTS (SELECT FROM meridian.worker w
    WHERE w.name = p_worker AND w.incarnation = p_incarnation AND w.region <> p_region)
$$;

-- A successful attempt: 'committed', or 'duplicate' when exactly this attempt was committed before,
-- or 'stale' when it no longer owns the job. The last two change nothing.
CREATE OR REPLACE FUNCTION meridian.attempt_finish(p_term bigint, p_job uuid, p_number integer,
  p_worker text, p_peak_rss_kb bigint, p_result jsonb, p_run_ms bigint DEFAULT 0)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_job job;
  v_attempt attempt;
  v_result jsonb;
BEGIN
  PERFORM assert_term(p_term);
  SELECT * INTO v_job FROM job WHERE id = p_job FOR UPDATE;
  SELECT * INTO v_attempt FROM attempt WHERE job = p_job AND number = p_number FOR UPDATE;
  IF v_attempt.state = 'succeeded' AND v_attempt.worker = p_worker THEN
    RETURN 'duplicate';
  END IF;
  IF v_attempt.job IS NULL OR v_attempt.ended_at IS NOT NULL OR v_job.state NOT IN ('dispatched', 'running')
     OR v_job.attempt <> p_number OR v_attempt.worker IS DISTINCT FROM p_worker
     OR NOT is_resident(p_worker, v_attempt.incarnation, v_job.region) THEN
    PERFORM result_refused(p_job, p_number, p_worker, CASE WHEN p_result ? 'version' THEN 'version' ELSE 'result' END);
    RETURN 'stale';
  END IF;
  v_attempt.started_at := coalesce(v_attempt.started_at, attempt_start(v_attempt.dispatched_at, p_run_ms));
  v_job.started_at := coalesce(v_job.started_at, v_attempt.started_at, now());
  v_result := record_result(v_job, coalesce(nullif(p_result, 'null'), '{}'));
  UPDATE attempt
  SET state = 'succeeded', ended_at = now(), lease_expires_at = NULL, peak_rss_kb = p_peak_rss_kb,
    started_at = v_attempt.started_at, log_tail = NULL
  WHERE job = p_job AND number = p_number;
  UPDATE job
  SET state = 'succeeded', started_at = v_job.started_at, ended_at = now(), result = v_result, error_code = NULL, error_text = NULL
  WHERE id = p_job;
  PERFORM audit(p_job, p_number, 'scheduler', v_job.state, 'succeeded', 'finished by ' || p_worker, v_result);
  RETURN 'committed';
END $$;
