-- What an operator does to jobs, queues, workers, markets and tasks. Every change is audited in
-- meridian.event, and that is where the scheduler learns of it. Refusals are SQLSTATE MR004, or MR002 when
-- what was named does not exist.

-- Cancel ------------------------------------------------------------------------------------------

-- One job whose row is locked: cancelled at once when no attempt is open, else on request.
CREATE OR REPLACE FUNCTION meridian.job_cancel_one(p_job uuid, p_actor text)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_job job;
  v_has_open_children boolean;
BEGIN
  SELECT * INTO v_job FROM job WHERE id = p_job FOR UPDATE;
  v_has_open_children := EXISTS (SELECT FROM job WHERE parent = p_job AND ended_at IS NULL);
  IF v_job.ended_at IS NOT NULL THEN
    RETURN 'has ended already: ' || v_job.state;
  ELSIF v_job.state IN ('waiting', 'queued') AND NOT v_has_open_children THEN
    UPDATE job
    SET state = 'cancelled', ended_at = now(), error_code = 'CANCELLED',
      error_text = 'cancelled by ' || p_actor, cancel_requested_at = coalesce(cancel_requested_at, now()),
      cancel_requested_by = coalesce(cancel_requested_by, p_actor)
    WHERE id = p_job;
    PERFORM audit(p_job, NULL, p_actor, v_job.state, 'cancelled', 'cancelled by ' || p_actor);
    RETURN 'cancelled';
  ELSIF v_job.cancel_requested_at IS NOT NULL THEN
    RETURN 'is being cancelled already';
  END IF;
  UPDATE job SET cancel_requested_at = now(), cancel_requested_by = p_actor WHERE id = p_job;
  PERFORM audit(p_job, NULLIF(v_job.attempt, 0), p_actor, v_job.state, v_job.state,
    'cancel requested by ' || p_actor);
  RETURN 'is being cancelled';
END $$;

-- Cancels the jobs and, before them, their children. One row a job that was named.
CREATE OR REPLACE FUNCTION meridian.job_cancel(p_ids uuid[], p_actor text)
RETURNS TABLE (id uuid, state text, note text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_id uuid;
BEGIN
  -- Locks in the order of ids, as everybody who locks many jobs does.
  PERFORM FROM job j WHERE j.id = ANY (p_ids) OR j.parent = ANY (p_ids) ORDER BY j.id FOR UPDATE;
  -- The nights of a backfill have children of their own.
  IF EXISTS (SELECT FROM job j WHERE j.id = ANY (p_ids) AND j.kind = 'backfill' AND j.ended_at IS NULL) THEN
    PERFORM job_cancel(ARRAY(SELECT n.id FROM job n JOIN job b ON b.id = n.parent
      WHERE b.id = ANY (p_ids) AND b.kind = 'backfill' AND n.ended_at IS NULL ORDER BY n.id), p_actor);
  END IF;
  FOR v_id IN SELECT j.id FROM job j
              WHERE j.parent = ANY (p_ids) AND j.ended_at IS NULL AND NOT j.id = ANY (p_ids)
  LOOP
    PERFORM job_cancel_one(v_id, p_actor);
  END LOOP;
  FOREACH v_id IN ARRAY p_ids LOOP
    IF NOT EXISTS (SELECT FROM job j WHERE j.id = v_id) THEN
      RETURN QUERY SELECT v_id, NULL::text, 'there is no such job';
    ELSE
      note := job_cancel_one(v_id, p_actor);
      RETURN QUERY SELECT v_id, j.state, note FROM job j WHERE j.id = v_id;
    END IF;
  END LOOP;
  PERFORM wake();
END $$;

-- Retry -------------------------------------------------------------------------------------------

-- The newest job of the chain of replays that starts here.
CREATE OR REPLACE FUNCTION meridian.job_newest(p_job uuid)
RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  WITH RECURSIVE chain AS (
    SELECT p_job AS id, 0 AS depth
    UNION ALL
    SELECT j.replayed_by, depth + 1 FROM chain JOIN meridian.job j ON j.id = chain.id
    WHERE j.replayed_by IS NOT NULL AND depth < 1000
  )
  SELECT id FROM chain ORDER BY depth DESC LIMIT 1
$$;

CREATE OR REPLACE FUNCTION meridian.job_retry_check(p_job meridian.job, p_spec_patch jsonb)
RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_blocker record;
BEGIN
  IF p_job.kind = 'backfill' THEN
    PERFORM refuse('a backfill is not retried', 'give the same range again: what has succeeded is not run again');
  ELSIF p_job.replayed_by IS NOT NULL THEN
    PERFORM refuse(format('job %s was retried already, as %s', p_job.id, p_job.replayed_by));
  ELSIF p_job.state NOT IN ('failed', 'cancelled', 'rejected', 'skipped') THEN
    PERFORM refuse(format('job %s is %s: only a failed, cancelled, rejected or skipped job can be retried',
      p_job.id, p_job.state), 'submit a new one with meridian submit');
  ELSIF p_job.state = 'rejected' AND coalesce(p_spec_patch, '{}') = '{}' THEN
    PERFORM refuse(format('job %s was rejected: %s', p_job.id, p_job.error_text),
      'retry it with a corrected field: --set NAME=VALUE');
  ELSIF p_spec_patch IS NOT NULL AND jsonb_typeof(p_spec_patch) <> 'object' THEN
    PERFORM refuse('the changed fields must be a JSON object');
  END IF;
  IF p_job.market IS NOT NULL
     AND NOT EXISTS (SELECT FROM market WHERE code = p_job.market AND removed_at IS NULL) THEN
    PERFORM refuse(format('market "%s" was removed', p_job.market), 'bring it back with meridian market set');
  END IF;
  SELECT n.id, n.state INTO v_blocker
  FROM dependency d JOIN job n ON n.id = job_newest(d.needs)
  WHERE d.job = p_job.id AND p_job.after_quorum IS NULL AND need_is_lost(d.condition, n.state) LIMIT 1;
  IF FOUND THEN
    PERFORM refuse(format('job %s needs job %s, which is %s', p_job.id, v_blocker.id, v_blocker.state),
      'retry that one first: what it held up is retried with it');
  END IF;
END $$;

CREATE OR REPLACE FUNCTION meridian.job_retry_one(p_id uuid, p_actor text, p_spec_patch jsonb)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_job job;
  v_new uuid := uuid_make();
  v_spec jsonb;
  v_is_parent boolean;
  v_waits boolean;
BEGIN
  SELECT * INTO v_job FROM job WHERE id = p_id FOR UPDATE;
  IF NOT FOUND THEN
    PERFORM refuse_missing(format('there is no job %s', p_id), 'see meridian jobs');
  END IF;
  PERFORM job_retry_check(v_job, p_spec_patch);
  -- A field set to null goes back to its default.
  v_spec := jsonb_strip_nulls(v_job.spec || coalesce(p_spec_patch, '{}'));
  IF v_spec ? 'from_job' THEN
    v_spec := v_spec || jsonb_build_object('from_job', job_newest((v_spec ->> 'from_job')::uuid));
  END IF;
  v_is_parent := v_job.kind = 'nightly';
  v_waits := v_is_parent OR (
    SELECT count(*) FILTER (WHERE need_is_met(d.condition, n.state)) < coalesce(v_job.after_quorum, count(*))
    FROM dependency d LEFT JOIN job n ON n.id = job_newest(d.needs) WHERE d.job = p_id);
  PERFORM crash_pardon(v_job, p_actor);
  INSERT INTO job (id, kind, market, task, region, state, spec, priority, parent, night, unique_key,
    submitted_by, queued_at, max_attempts, memory_mb, time_limit_s, threads, labels, identity, after_quorum,
    is_member)
  SELECT v_new, v_job.kind, v_job.market, v_job.task,
    coalesce(v_job.region, (SELECT m.region FROM market m WHERE m.code = v_job.market)),
    CASE WHEN v_waits THEN 'waiting' ELSE 'queued' END, v_spec, v_job.priority,
    (SELECT p.id FROM job p WHERE p.id = v_job.parent AND p.ended_at IS NULL),
    v_job.night, v_job.unique_key, p_actor, CASE WHEN NOT v_waits THEN now() END,
    coalesce((v_spec ->> 'max_attempts')::integer, v_job.max_attempts),
    -- What it was given after it ran out of memory stays, unless the person says otherwise.
    CASE WHEN p_spec_patch ? 'memory_mb' OR v_job.ooms = 0
         THEN coalesce((v_spec ->> 'memory_mb')::integer, v_job.memory_mb)
         ELSE greatest((v_spec ->> 'memory_mb')::integer, v_job.memory_mb) END,
    coalesce((v_spec ->> 'time_limit_s')::integer, v_job.time_limit_s),
    coalesce((v_spec ->> 'threads')::integer, v_job.threads), labels_sort(v_spec ->> 'labels'), v_job.identity,
    v_job.after_quorum, v_job.is_member;
  INSERT INTO dependency (job, needs, condition)
  SELECT DISTINCT ON (1, 2) v_new, job_newest(d.needs), d.condition FROM dependency d WHERE d.job = p_id
  ORDER BY 1, 2, d.condition;
  UPDATE job SET replayed_by = v_new WHERE id = p_id;
  PERFORM audit(p_id, NULL, p_actor, v_job.state, v_job.state, 'retried as ' || v_new);
  PERFORM audit(v_new, NULL, p_actor, NULL, CASE WHEN v_waits THEN 'waiting' ELSE 'queued' END,
    'retry of ' || p_id, jsonb_build_object('spec_patch', p_spec_patch));
  RETURN v_new;
END $$;

-- A new job with the same spec, but for the fields in the patch. What was skipped because of the old
-- one is retried with it, so that the market's night completes.
CREATE OR REPLACE FUNCTION meridian.job_retry(p_id uuid, p_actor text, p_spec_patch jsonb DEFAULT NULL)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_new uuid;
  v_held uuid[] := ARRAY[p_id];
BEGIN
  v_new := job_retry_one(p_id, p_actor, p_spec_patch);
  FOR depth IN 1..100 LOOP
    v_held := ARRAY(SELECT j.id FROM dependency d JOIN job j ON j.id = d.job
      WHERE d.needs = ANY (v_held) AND j.state = 'skipped' AND j.replayed_by IS NULL
        AND NOT EXISTS (SELECT FROM dependency o JOIN job n ON n.id = job_newest(o.needs)
          WHERE o.job = j.id AND need_is_lost(o.condition, n.state))
      ORDER BY j.id);
    EXIT WHEN cardinality(v_held) = 0;
    PERFORM job_retry_one(id, p_actor, NULL) FROM unnest(v_held) AS id;
  END LOOP;
  PERFORM wake();
  RETURN v_new;
EXCEPTION
  WHEN unique_violation THEN
    PERFORM refuse('an open job holds the same unique key', 'wait for it, or cancel it');
  WHEN data_exception OR check_violation THEN
    PERFORM refuse('the changed fields are not valid: ' || SQLERRM);
END $$;

-- Takes jobs off the dead letters (all of them when p_ids is null). Returns how many.
CREATE OR REPLACE FUNCTION meridian.dead_purge(p_ids uuid[], p_actor text)
RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  WITH purged AS (
    UPDATE meridian.job SET purged_at = now()
    WHERE state IN ('failed', 'rejected') AND purged_at IS NULL AND replayed_by IS NULL
      AND (p_ids IS NULL OR id = ANY (p_ids))
    RETURNING id, state
  ), audited AS (
    SELECT meridian.audit(id, NULL, p_actor, state, state, 'purged from the dead letters') FROM purged
  )
  SELECT count(*)::integer FROM audited
$$;

-- Queue and workers -------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION meridian.queue_scope_check(p_scope text, p_name text)
RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  IF p_scope = 'region' AND NOT EXISTS (SELECT FROM region WHERE name = p_name) THEN
    PERFORM refuse_missing(format('there is no region "%s"', p_name), 'see meridian market list');
  ELSIF p_scope = 'market' AND NOT EXISTS (SELECT FROM market WHERE code = p_name) THEN
    PERFORM refuse_missing(format('there is no market "%s"', p_name), 'see meridian market list');
  ELSIF p_scope NOT IN ('all', 'region', 'market') THEN
    PERFORM refuse(format('"%s" cannot be paused', p_scope), 'all, a region or a market can');
  END IF;
END $$;

-- False when it was paused already. Running jobs go on; nothing is dispatched by what begins after the
-- commit of this. What the leader had begun before may still commit: pause_settle waits for that.
CREATE OR REPLACE FUNCTION meridian.queue_pause(p_scope text, p_name text, p_actor text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_name text := CASE WHEN p_scope = 'all' THEN '' ELSE coalesce(p_name, '') END;
BEGIN
  PERFORM queue_scope_check(p_scope, v_name);
  INSERT INTO pause (scope, name, paused_by) VALUES (p_scope, v_name, p_actor)
  ON CONFLICT (scope, name) DO NOTHING;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM audit(NULL, NULL, p_actor, NULL, NULL, rtrim('paused ' || p_scope || ' ' || v_name));
  PERFORM wake();
  RETURN true;
END $$;

-- Called after a pause was committed: when it returns, nothing that the pause covers will be dispatched
-- until it is resumed. Every transaction of a leader holds the leader's row until its commit (assert_term),
-- and dispatch looks for pauses after it has that; so whoever gets the row has seen all of them end that may
-- have looked before the pause. Returns how many attempts the pause does not reach: they were given to
-- workers before, and go on.
CREATE OR REPLACE FUNCTION meridian.pause_settle(p_scope text, p_name text)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  PERFORM FROM leader FOR UPDATE;
  RETURN (SELECT count(*) FROM attempt a JOIN job j ON j.id = a.job WHERE a.ended_at IS NULL
    AND CASE p_scope WHEN 'market' THEN j.market = p_name WHEN 'region' THEN a.region = p_name ELSE true END);
END $$;

-- False when it was not paused.
CREATE OR REPLACE FUNCTION meridian.queue_resume(p_scope text, p_name text, p_actor text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_name text := CASE WHEN p_scope = 'all' THEN '' ELSE coalesce(p_name, '') END;
BEGIN
  PERFORM queue_scope_check(p_scope, v_name);
  DELETE FROM pause WHERE scope = p_scope AND name = v_name;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM audit(NULL, NULL, p_actor, NULL, NULL, rtrim('resumed ' || p_scope || ' ' || v_name));
  PERFORM wake();
  RETURN true;
END $$;

-- The worker reads the wish with its next renewal. Returns the worker's state.
CREATE OR REPLACE FUNCTION meridian.worker_drain(p_name text, p_actor text)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_state text;
BEGIN
  UPDATE worker SET drain_requested_at = coalesce(drain_requested_at, now())
  WHERE name = p_name AND state <> 'gone' RETURNING state INTO v_state;
  IF NOT FOUND THEN
    PERFORM refuse_missing(format('there is no worker "%s" at work', p_name), 'see meridian workers');
  END IF;
  PERFORM audit(NULL, NULL, p_actor, NULL, NULL, 'drain of worker ' || p_name || ' requested');
  PERFORM wake();
  RETURN v_state;
END $$;

-- Markets and tasks -------------------------------------------------------------------------------

-- A name of the zone tables that AT TIME ZONE reads as that zone. Some (CET, EET, MET, WET) it takes for
-- abbreviations, which have no summer time: two years of the session's own clock in that zone tell.
CREATE OR REPLACE FUNCTION meridian.zone_check(p_zone text)
RETURNS void
LANGUAGE plpgsql SET search_path = meridian, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  v_near text;
BEGIN
  IF EXISTS (SELECT FROM pg_timezone_names WHERE name = p_zone) THEN
    PERFORM set_config('TimeZone', p_zone, true);
    IF EXISTS (SELECT FROM generate_series(0, 720, 10) AS d, LATERAL (SELECT now() + d * interval '24 hours' AS t) AS at
        WHERE extract(timezone FROM t) <> extract(epoch FROM (t AT TIME ZONE p_zone) - (t AT TIME ZONE 'UTC'))) THEN
      PERFORM refuse(format('"%s" is read as an abbreviation without summer time', p_zone),
        'use an IANA name of a place, such as Europe/Berlin');
    END IF;
    RETURN;
  END IF;
  SELECT min(name) INTO v_near FROM pg_timezone_names
  WHERE lower(name) = lower(p_zone)
     OR lower(split_part(name, '/', 2)) = lower(regexp_replace(p_zone, '^.*/', ''));
  PERFORM refuse(format('time zone "%s" is unknown', p_zone),
    CASE WHEN v_near IS NOT NULL THEN format('did you mean "%s"?', v_near)
         ELSE 'use an IANA name such as Europe/Berlin' END);
END $$;

-- The residency of a market's texts: it may only move while it has none and nothing made from them.
CREATE OR REPLACE FUNCTION meridian.market_move_check(p_code text, p_from text, p_to text)
RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_task text;
BEGIN
  IF EXISTS (SELECT FROM sample WHERE market = p_code) OR EXISTS (SELECT FROM job WHERE market = p_code)
     OR EXISTS (SELECT FROM version WHERE market = p_code) THEN
    PERFORM refuse(format('market "%s" has data or jobs in region "%s": it cannot move to "%s"',
      p_code, p_from, p_to), 'set up a new market in that region');
  END IF;
  SELECT name INTO v_task FROM task
  WHERE p_code = ANY (source_markets) AND cardinality(source_markets) > 1 LIMIT 1;
  IF FOUND THEN
    PERFORM refuse(format('market "%s" is a source of task "%s", whose sources are all in region "%s"',
      p_code, v_task, p_from), 'change the sources of the task first');
  END IF;
END $$;

-- Makes or changes a market; what is null stays as it is (or gets its default). The region is made
-- with its first market. Returns true when the market is new.
CREATE OR REPLACE FUNCTION meridian.market_set(p_code text, p_region text, p_timezone text, p_actor text,
  p_language text DEFAULT NULL, p_weight double precision DEFAULT NULL,
  p_max_running integer DEFAULT NULL, p_tolerance double precision DEFAULT NULL,
  p_min_support integer DEFAULT NULL, p_collapse_drop double precision DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_old market;
  v_is_new boolean;
BEGIN
  SELECT * INTO v_old FROM market WHERE code = p_code FOR UPDATE;
  v_is_new := NOT FOUND;
  IF v_is_new AND p_region IS NULL THEN
    PERFORM refuse(format('market "%s" is new and needs a region', p_code), 'add --region NAME');
  ELSIF v_old.region <> p_region THEN
    PERFORM market_move_check(p_code, v_old.region, p_region);
  END IF;
  IF p_timezone IS NOT NULL THEN
    PERFORM zone_check(p_timezone);
  END IF;
  IF p_region IS NOT NULL THEN
    INSERT INTO region (name) VALUES (p_region) ON CONFLICT DO NOTHING;
  END IF;
  INSERT INTO market (code, region, timezone, language, weight, max_running, tolerance, min_support,
    collapse_drop)
  VALUES (p_code, coalesce(p_region, v_old.region), coalesce(p_timezone, v_old.timezone, 'UTC'),
    coalesce(p_language, v_old.language), coalesce(p_weight, v_old.weight, 1),
    coalesce(p_max_running, v_old.max_running, 0), coalesce(p_tolerance, v_old.tolerance, 0.01),
    coalesce(p_min_support, v_old.min_support, 5), coalesce(p_collapse_drop, v_old.collapse_drop, 0.25))
  ON CONFLICT (code) DO UPDATE SET region = excluded.region, timezone = excluded.timezone,
    language = excluded.language, weight = excluded.weight, max_running = excluded.max_running,
    tolerance = excluded.tolerance, min_support = excluded.min_support,
    collapse_drop = excluded.collapse_drop, removed_at = NULL;
  PERFORM audit(NULL, NULL, p_actor, NULL, NULL,
    CASE WHEN v_is_new THEN 'added market ' ELSE 'changed market ' END || p_code,
    (SELECT to_jsonb(m) FROM market m WHERE m.code = p_code));
  RETURN v_is_new;
EXCEPTION
  WHEN check_violation THEN
    PERFORM refuse(format('market "%s": a value is out of its range (%s)', p_code, SQLERRM));
END $$;

-- Takes a market out of every nightly; its history stays.
CREATE OR REPLACE FUNCTION meridian.market_rm(p_code text, p_actor text)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_open bigint := (SELECT count(*) FROM job WHERE market = p_code AND ended_at IS NULL);
BEGIN
  IF NOT EXISTS (SELECT FROM market WHERE code = p_code AND removed_at IS NULL) THEN
    PERFORM refuse_missing(format('there is no market "%s"', p_code), 'see meridian market list');
  ELSIF v_open > 0 THEN
    PERFORM refuse(format('market "%s" has %s open jobs', p_code, v_open), 'wait for them, or cancel them');
  ELSIF EXISTS (SELECT FROM task WHERE p_code = ANY (source_markets)) THEN
    PERFORM refuse(format('market "%s" is a source of task "%s"', p_code,
      (SELECT min(name) FROM task WHERE p_code = ANY (source_markets))),
      'change the sources of the task first');
  END IF;
  UPDATE market SET removed_at = now() WHERE code = p_code;
  PERFORM audit(NULL, NULL, p_actor, NULL, NULL, 'removed market ' || p_code);
END $$;

-- Makes or changes a task. The sources of its global base are pooled by one worker, so they must be
-- of one region: texts do not travel. Null keeps them. Returns true when the task is new.
CREATE OR REPLACE FUNCTION meridian.task_set(p_name text, p_source_markets text[], p_actor text)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_is_new boolean := NOT EXISTS (SELECT FROM task WHERE name = p_name);
  v_missing text;
  v_regions text;
BEGIN
  SELECT min(s.code) INTO v_missing FROM unnest(p_source_markets) AS s(code)
  WHERE NOT EXISTS (SELECT FROM market m WHERE m.code = s.code AND m.removed_at IS NULL);
  IF v_missing IS NOT NULL THEN
    PERFORM refuse(format('task "%s": there is no market "%s"', p_name, v_missing),
      'see meridian market list');
  END IF;
  SELECT string_agg(DISTINCT region, ', ' ORDER BY region) INTO v_regions
  FROM market WHERE code = ANY (p_source_markets) HAVING count(DISTINCT region) > 1;
  IF v_regions IS NOT NULL THEN
    PERFORM refuse(format('task "%s": its source markets are in several regions (%s)', p_name, v_regions),
      'name markets of one region: texts stay in theirs');
  END IF;
  INSERT INTO task (name, source_markets) VALUES (p_name, coalesce(p_source_markets, '{}'))
  ON CONFLICT (name) DO UPDATE
    SET source_markets = coalesce(p_source_markets, task.source_markets);
  PERFORM audit(NULL, NULL, p_actor, NULL, NULL,
    CASE WHEN v_is_new THEN 'added task ' ELSE 'changed task ' END || p_name,
    jsonb_build_object('source_markets', p_source_markets));
  RETURN v_is_new;
EXCEPTION
  WHEN check_violation THEN
    PERFORM refuse(format('"%s" is not a name for a task', p_name),
      'use lower-case letters, digits, - and _; at most 64');
END $$;
