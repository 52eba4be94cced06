-- Checkpoints: written by the runner of a training job, found again by its next attempt, removed when
-- newer ones are there and when the job ends. Fenced by the attempt's number: a runner whose attempt is
-- not the job's newest open one writes nothing.

-- The two newest stay: when one cannot be read, the one before serves.
CREATE OR REPLACE FUNCTION meridian.checkpoint_keep()
RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT 2 $$;

-- Removes those of the artifacts that no checkpoint and no version refers to any more. Equal jobs share
-- artifacts, so each is locked first: who is about to refer to it holds a lock on it, too.
CREATE OR REPLACE FUNCTION meridian.checkpoint_drop(p_artifacts bytea[])
RETURNS void
LANGUAGE plpgsql SET search_path = meridian, pg_temp AS $$
DECLARE
  v_unused bytea[];
BEGIN
  PERFORM FROM artifact WHERE sha256 = ANY (p_artifacts) ORDER BY sha256 FOR UPDATE;
  v_unused := ARRAY(SELECT a.sha256 FROM artifact a WHERE a.sha256 = ANY (p_artifacts)
    AND NOT EXISTS (SELECT FROM checkpoint c WHERE c.artifact = a.sha256)
    AND NOT EXISTS (SELECT FROM version v WHERE v.artifact = a.sha256));
  DELETE FROM artifact_chunk WHERE sha256 = ANY (v_unused);
  DELETE FROM artifact WHERE sha256 = ANY (v_unused);
END $$;

-- Whether the attempt owns its job. Its row stays as it is until the transaction ends: that must be at
-- once, in the same message, else a runner that hangs would hold up the scheduler.
CREATE OR REPLACE FUNCTION meridian.checkpoint_may_write(p_job uuid, p_number integer)
RETURNS boolean
LANGUAGE plpgsql SET search_path = meridian, pg_temp AS $$
DECLARE
  v_attempt integer;
BEGIN
  SELECT attempt INTO v_attempt FROM job WHERE id = p_job AND ended_at IS NULL FOR SHARE;
  RETURN v_attempt = p_number
    AND EXISTS (SELECT FROM attempt WHERE job = p_job AND number = p_number AND ended_at IS NULL);
END $$;

-- Registers a checkpoint whose artifact was stored in this very transaction, and removes what is older
-- than the newest two. MR001 when the attempt does not own the job any more: then nothing is stored.
CREATE OR REPLACE FUNCTION meridian.checkpoint_put(p_job uuid, p_number integer, p_artifact bytea,
  p_config bytea, p_phase text, p_step bigint, p_inputs jsonb)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_gone bytea[];
BEGIN
  IF NOT checkpoint_may_write(p_job, p_number) THEN
    RAISE EXCEPTION 'attempt % does not own job % any more', p_number, p_job USING ERRCODE = 'MR001';
  END IF;
  INSERT INTO checkpoint (job, attempt, artifact, bytes, config, phase, step, inputs)
  SELECT p_job, p_number, p_artifact, a.bytes, p_config, p_phase, p_step, p_inputs
  FROM artifact a WHERE a.sha256 = p_artifact;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'artifact % is not in the store', encode(p_artifact, 'hex') USING ERRCODE = 'MR002';
  END IF;
  WITH gone AS (
    DELETE FROM checkpoint WHERE job = p_job AND id <= (SELECT c.id FROM checkpoint c WHERE c.job = p_job
      ORDER BY c.id DESC OFFSET checkpoint_keep() LIMIT 1)
    RETURNING artifact)
  SELECT array_agg(artifact) INTO v_gone FROM gone;
  PERFORM checkpoint_drop(v_gone);
END $$;

-- Notes that a checkpoint was refused, in a transaction of its own; does nothing when it would not be.
CREATE OR REPLACE FUNCTION meridian.checkpoint_refused(p_job uuid, p_number integer)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_attempt attempt;
BEGIN
  IF checkpoint_may_write(p_job, p_number) THEN
    RETURN;
  END IF;
  SELECT * INTO v_attempt FROM attempt WHERE job = p_job AND number = p_number;
  PERFORM stale_note(p_job, p_number, 'checkpoint', v_attempt.worker, v_attempt.incarnation,
    'the attempt does not own the job any more');
END $$;

-- The checkpoints that an attempt may go on from, the newest first.
CREATE OR REPLACE FUNCTION meridian.checkpoint_list(p_job uuid, p_number integer)
RETURNS TABLE (id bigint, attempt integer, artifact bytea, config bytea, phase text, step bigint,
  inputs jsonb, age_s bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  SELECT c.id, c.attempt, c.artifact, c.config, c.phase, c.step, c.inputs,
    extract(epoch FROM now() - c.created_at)::bigint
  FROM meridian.checkpoint c WHERE c.job = p_job AND c.attempt <= p_number ORDER BY c.id DESC
$$;

-- The attempt goes on from that checkpoint. False when it does not own the job any more.
CREATE OR REPLACE FUNCTION meridian.checkpoint_resume(p_job uuid, p_number integer, p_id bigint)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_checkpoint checkpoint;
BEGIN
  SELECT * INTO v_checkpoint FROM checkpoint WHERE id = p_id AND job = p_job;
  IF v_checkpoint.id IS NULL OR NOT checkpoint_may_write(p_job, p_number) THEN
    RETURN false;
  END IF;
  UPDATE attempt SET resumed_attempt = v_checkpoint.attempt, resumed_step = v_checkpoint.step
  WHERE job = p_job AND number = p_number;
  PERFORM audit(p_job, p_number, 'runner', NULL, NULL,
    format('goes on from %s, step %s, of attempt %s', v_checkpoint.phase, v_checkpoint.step,
      v_checkpoint.attempt));
  RETURN true;
END $$;

-- A job that has ended needs none.
CREATE OR REPLACE FUNCTION meridian.checkpoint_end()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_gone bytea[];
BEGIN
  WITH gone AS (DELETE FROM checkpoint WHERE job = NEW.id RETURNING artifact)
  SELECT array_agg(artifact) INTO v_gone FROM gone;
  IF v_gone IS NOT NULL THEN
    PERFORM checkpoint_drop(v_gone);
  END IF;
  RETURN NULL;
END $$;
-- A noop without steps has none: the many that pass by in a moment do not ask.
CREATE OR REPLACE TRIGGER checkpoint_end AFTER UPDATE OF state ON meridian.job
  FOR EACH ROW WHEN (NEW.ended_at IS NOT NULL AND NEW.attempt > 0
                     AND (NEW.kind <> 'noop' OR coalesce(NEW.spec ->> 'steps', '0') <> '0'))
  EXECUTE FUNCTION meridian.checkpoint_end();
