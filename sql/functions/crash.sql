-- The poison rule: what crashed three times within 72 hours is not run again without a person.
--
-- What is run: the jobs of a schedule, and the children of nightlies, count together by kind, market, task
-- and schedule, so the crashes of the last nights count tonight. A job that somebody submitted counts for
-- itself alone. A crash is a runner that died, a worker that was lost, or a runner that made no step and was
-- stopped; lack of memory has its own rule and does not count here. A retry or replay by a person pardons
-- the crashes so far.

CREATE OR REPLACE FUNCTION meridian.crash_limit()
RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT 3 $$;

CREATE OR REPLACE FUNCTION meridian.crash_window()
RETURNS interval LANGUAGE sql IMMUTABLE AS $$ SELECT interval '72 hours' $$;

-- The crashes that count against what is run.
CREATE OR REPLACE FUNCTION meridian.crash_count(p_identity text)
RETURNS integer
LANGUAGE sql STABLE SET search_path = meridian, pg_temp AS $$
  SELECT count(*)::integer FROM meridian.crash
  WHERE identity = p_identity AND pardoned_at IS NULL
    AND at > clock_timestamp() - meridian.crash_window()
$$;

-- The sentence of a job that is not run, or null when what it runs may be run.
CREATE OR REPLACE FUNCTION meridian.crash_poison(p_identity text)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = meridian, pg_temp AS $$
DECLARE
  v_count integer := crash_count(p_identity);
  v_last crash;
BEGIN
  IF v_count < crash_limit() THEN
    RETURN NULL;
  END IF;
  SELECT * INTO v_last FROM crash WHERE identity = p_identity AND pardoned_at IS NULL
  ORDER BY at DESC LIMIT 1;
  RETURN format('not run: it crashed %s times within 72 hours, last as job %s, attempt %s (%s); '
    'find out why, then run it with meridian dead replay', v_count, v_last.job, v_last.attempt, v_last.reason);
END $$;

-- Gives the jobs of schedules and the children of nightlies the name of what they run; one whose
-- crashes are too many is born failed.
CREATE OR REPLACE FUNCTION meridian.job_identity()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_text text;
BEGIN
  IF NEW.kind = 'nightly' OR NEW.state NOT IN ('waiting', 'queued') THEN
    RETURN NEW; -- a parent runs nowhere itself
  END IF;
  -- A retry brings the name along; a child of a fired nightly is submitted by the schedule, too.
  NEW.identity := coalesce(NEW.identity, concat_ws(' ', NEW.kind, coalesce(NEW.market, '-'),
    coalesce(NEW.task, '-'), coalesce(substring(NEW.submitted_by FROM '^schedule .*'), 'nightly')));
  v_text := crash_poison(NEW.identity);
  IF v_text IS NOT NULL THEN
    NEW.state := 'failed';
    NEW.ended_at := now();
    NEW.queued_at := NULL;
    NEW.error_code := 'POISON';
    NEW.error_text := v_text;
  END IF;
  RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER job_identity BEFORE INSERT ON meridian.job
  FOR EACH ROW WHEN (NEW.parent IS NOT NULL OR NEW.submitted_by LIKE 'schedule %')
  EXECUTE FUNCTION meridian.job_identity();

-- Notes the crash of a job whose row is locked. When it is one too many, what else waits to run the same
-- ends too; a job that somebody is changing at this moment is left to them. Returns whether it was.
CREATE OR REPLACE FUNCTION meridian.crash_note(p_job meridian.job, p_reason text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_identity text := coalesce(p_job.identity, p_job.id::text);
  v_other job;
  v_text text;
BEGIN
  INSERT INTO crash (job, attempt, identity, reason)
  VALUES (p_job.id, p_job.attempt, v_identity, left(p_reason, 500)) ON CONFLICT DO NOTHING;
  v_text := crash_poison(v_identity);
  IF v_text IS NULL THEN
    RETURN false;
  END IF;
  FOR v_other IN SELECT * FROM job WHERE identity = v_identity AND id <> p_job.id AND ended_at IS NULL
                   AND state IN ('waiting', 'queued') ORDER BY id FOR UPDATE SKIP LOCKED LOOP
    UPDATE job SET state = 'failed', ended_at = now(), error_code = 'POISON', error_text = v_text
    WHERE id = v_other.id;
    -- Not by "scheduler": the core reads what others did.
    PERFORM audit(v_other.id, NULL, 'poison rule', v_other.state, 'failed', v_text);
  END LOOP;
  RETURN true;
END $$;

-- A person has the job tried again: the crashes of what it runs, so far, count no more.
CREATE OR REPLACE FUNCTION meridian.crash_pardon(p_job meridian.job, p_actor text)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  UPDATE meridian.crash SET pardoned_at = clock_timestamp(), pardoned_by = p_actor
  WHERE identity = coalesce(p_job.identity, p_job.id::text) AND pardoned_at IS NULL
$$;

-- The memory class that a job which ran out of memory goes on with, or null when there is none: twice
-- what it had, within p_max_mb and what a live worker of the region has.
CREATE OR REPLACE FUNCTION meridian.memory_class(p_memory_mb integer, p_region text, p_max_mb integer)
RETURNS integer
LANGUAGE sql STABLE SET search_path = meridian, pg_temp AS $$
  SELECT c.mb FROM (
    SELECT least(2 * p_memory_mb::bigint, p_max_mb, (SELECT max(w.memory_mb) FROM meridian.worker w
      WHERE w.region = p_region AND w.state <> 'gone'))::integer AS mb) c
  WHERE c.mb > p_memory_mb
$$;
