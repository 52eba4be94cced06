-- What may never happen, whoever tries: an impossible move of a job, a rewritten history.

-- The table of moves.
CREATE OR REPLACE FUNCTION meridian.job_moves()
RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
  SELECT ARRAY['waiting>queued', 'waiting>cancelled', 'waiting>skipped', 'waiting>failed',
    'queued>waiting', 'queued>dispatched', 'queued>cancelled', 'queued>skipped', 'queued>failed',
    'dispatched>running', 'dispatched>queued', 'dispatched>waiting',
    'dispatched>succeeded', 'dispatched>cancelled', 'dispatched>failed',
    'running>succeeded', 'running>failed', 'running>cancelled', 'running>queued', 'running>waiting']
$$;

-- Parents (no region: no worker runs them) go from waiting or queued straight to their end.
CREATE OR REPLACE FUNCTION meridian.job_move_allowed(p_from text, p_to text, p_is_parent boolean)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
  SELECT p_from = p_to OR p_from || '>' || p_to = ANY (meridian.job_moves())
    OR (p_is_parent AND p_from IN ('waiting', 'queued') AND p_to = 'succeeded')
$$;

CREATE OR REPLACE FUNCTION meridian.job_guard()
RETURNS trigger
LANGUAGE plpgsql SET search_path = meridian, pg_temp AS $$
BEGIN
  IF NOT job_move_allowed(OLD.state, NEW.state, NEW.region IS NULL) THEN
    RAISE EXCEPTION 'job % cannot move from % to %', OLD.id, OLD.state, NEW.state
      USING ERRCODE = 'MR011';
  END IF;
  IF NEW.attempt < OLD.attempt THEN
    RAISE EXCEPTION 'job %: attempt numbers only grow (% to %)', OLD.id, OLD.attempt, NEW.attempt
      USING ERRCODE = 'MR011';
  END IF;
  RETURN NEW;
END $$;
-- Judged by the trigger's condition, so that a move that is allowed costs no call of a function; and with the
-- moves written into it, because a function in a condition is parsed anew by each statement.
DO $$ BEGIN
  EXECUTE format('CREATE OR REPLACE TRIGGER job_guard BEFORE UPDATE OF state, attempt ON meridian.job
    FOR EACH ROW WHEN ((OLD.state <> NEW.state AND OLD.state || ''>'' || NEW.state <> ALL (%L::text[]))
                       OR NEW.attempt < OLD.attempt)
    EXECUTE FUNCTION meridian.job_guard()', meridian.job_moves());
END $$;

-- Remembers how long the job had been runnable; report.queue_wait reads it.
CREATE OR REPLACE FUNCTION meridian.attempt_queued()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  IF NEW.queued_at IS NULL THEN
    SELECT queued_at INTO NEW.queued_at FROM job WHERE id = NEW.job;
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER attempt_queued BEFORE INSERT ON meridian.attempt
  FOR EACH ROW WHEN (NEW.queued_at IS NULL) EXECUTE FUNCTION meridian.attempt_queued();

-- A purge of old history is done by a superuser in a session that says so:
--   SET meridian.purge = 'on';
CREATE OR REPLACE FUNCTION meridian.append_only()
RETURNS trigger
LANGUAGE plpgsql SET search_path = meridian, pg_temp AS $$
BEGIN
  IF current_setting('meridian.purge', true) = 'on'
     AND (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN
    RETURN coalesce(NEW, OLD);
  END IF;
  RAISE EXCEPTION '%.% is append-only: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'MR011',
      HINT = 'a superuser may purge old rows after SET meridian.purge = ''on''';
END $$;
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON meridian.event
  FOR EACH ROW EXECUTE FUNCTION meridian.append_only();
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE ON meridian.promotion
  FOR EACH ROW EXECUTE FUNCTION meridian.append_only();
CREATE OR REPLACE TRIGGER no_truncate BEFORE TRUNCATE ON meridian.event
  FOR EACH STATEMENT EXECUTE FUNCTION meridian.append_only();
CREATE OR REPLACE TRIGGER no_truncate BEFORE TRUNCATE ON meridian.promotion
  FOR EACH STATEMENT EXECUTE FUNCTION meridian.append_only();

-- An attempt is of a job: what a foreign key would say, asked once for all of a statement.
CREATE OR REPLACE FUNCTION meridian.attempt_has_job()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off AS $$
DECLARE
  v_job uuid;
BEGIN
  SELECT n.job INTO v_job FROM added n
  WHERE (SELECT j.id FROM job j WHERE j.id = n.job) IS NULL LIMIT 1; -- a lookup each
  IF FOUND THEN
    RAISE EXCEPTION 'attempt of job %, which does not exist', v_job USING ERRCODE = 'foreign_key_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER attempt_has_job AFTER INSERT ON meridian.attempt
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION meridian.attempt_has_job();

CREATE OR REPLACE FUNCTION meridian.job_has_attempts()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM attempt WHERE job = OLD.id) THEN
    RAISE EXCEPTION 'job % has attempts; they go first', OLD.id USING ERRCODE = 'foreign_key_violation';
  END IF;
  RETURN OLD;
END $$;
CREATE OR REPLACE TRIGGER job_has_attempts BEFORE DELETE ON meridian.job
  FOR EACH ROW EXECUTE FUNCTION meridian.job_has_attempts();
CREATE OR REPLACE TRIGGER attempt_keeps_job BEFORE UPDATE OF job, number ON meridian.attempt
  FOR EACH ROW WHEN (OLD.job <> NEW.job OR OLD.number <> NEW.number) EXECUTE FUNCTION meridian.append_only();

-- A job's market exists, in the same way.
CREATE OR REPLACE FUNCTION meridian.job_has_market()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off AS $$
DECLARE
  v_market text;
BEGIN
  SELECT n.market INTO v_market FROM (SELECT DISTINCT a.market FROM added a WHERE a.market IS NOT NULL) n
  WHERE (SELECT m.code FROM market m WHERE m.code = n.market) IS NULL LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'job of market "%", which does not exist', v_market USING ERRCODE = 'foreign_key_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER job_has_market AFTER INSERT ON meridian.job
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION meridian.job_has_market();

CREATE OR REPLACE FUNCTION meridian.market_has_jobs()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM job WHERE market = OLD.code) THEN
    RAISE EXCEPTION 'market "%" has jobs; market_rm takes it out of use', OLD.code
      USING ERRCODE = 'foreign_key_violation';
  END IF;
  RETURN coalesce(NEW, OLD);
END $$;
CREATE OR REPLACE TRIGGER market_has_jobs BEFORE DELETE ON meridian.market
  FOR EACH ROW EXECUTE FUNCTION meridian.market_has_jobs();
CREATE OR REPLACE TRIGGER market_keeps_code BEFORE UPDATE OF code ON meridian.market
  FOR EACH ROW WHEN (OLD.code <> NEW.code) EXECUTE FUNCTION meridian.market_has_jobs();
CREATE OR REPLACE FUNCTION meridian.job_takes_market()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM market WHERE code = NEW.market) THEN
    RAISE EXCEPTION 'job of market "%", which does not exist', NEW.market USING ERRCODE = 'foreign_key_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER job_takes_market BEFORE UPDATE OF market ON meridian.job
  FOR EACH ROW WHEN (NEW.market <> coalesce(OLD.market, '')) EXECUTE FUNCTION meridian.job_takes_market();

-- One line of the audit.
CREATE OR REPLACE FUNCTION meridian.audit(p_job uuid, p_attempt integer, p_actor text, p_from text,
  p_to text, p_reason text, p_detail jsonb DEFAULT NULL)
RETURNS void
LANGUAGE sql SET search_path = meridian, pg_temp AS $$
  INSERT INTO meridian.event (job, attempt, actor, from_state, to_state, reason, detail)
  VALUES (p_job, p_attempt, coalesce(p_actor, session_user), p_from, p_to, p_reason, p_detail)
$$;

-- Refuses a request of a person: what is wrong, then the next step.
CREATE OR REPLACE FUNCTION meridian.refuse(p_message text, p_step text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%', concat_ws('; ', p_message, p_step) USING ERRCODE = 'MR004';
END $$;

-- The same when what was named does not exist.
CREATE OR REPLACE FUNCTION meridian.refuse_missing(p_message text, p_step text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%', concat_ws('; ', p_message, p_step) USING ERRCODE = 'MR002';
END $$;

-- The same id as uuid_derive of common/base: one name, one id, whoever computes it.
CREATE OR REPLACE FUNCTION meridian.uuid_derive(p_name text)
RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT encode(set_byte(set_byte(d, 6, (get_byte(d, 6) & 15) | 128), 8, (get_byte(d, 8) & 63) | 128),
    'hex')::uuid
  FROM (SELECT substring(sha256(convert_to(p_name, 'UTF8')) FOR 16) AS d) AS digest
$$;

-- A new id that sorts by birth (version 7).
CREATE OR REPLACE FUNCTION meridian.uuid_make()
RETURNS uuid
LANGUAGE sql VOLATILE AS $$
  SELECT encode(set_byte(overlay(uuid_send(gen_random_uuid()) PLACING
    substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
    6, (get_byte(uuid_send(gen_random_uuid()), 6) & 15) | 112), 'hex')::uuid
$$;
