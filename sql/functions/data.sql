-- What the CLI does to texts, and to models that were not trained here.

-- The next id of a sample, for the import: it needs the id before the row, and may not use sequences.
CREATE OR REPLACE FUNCTION meridian.sample_next_id()
RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  SELECT nextval(pg_get_serial_sequence('meridian.sample', 'id'))
$$;

-- Deletes every revision of a sample in all splits of the market and task; snapshots that held one are
-- marked, for their hash can no longer be made. Returns the rows deleted. The event says who and how
-- many, not which: an id may be a person's.
CREATE OR REPLACE FUNCTION meridian.data_erase(p_market text, p_task text, p_external_id text,
  p_actor text)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
DECLARE
  v_rows integer;
BEGIN
  -- The import's lock: an erasure must not fall between the ids of one import.
  PERFORM pg_advisory_xact_lock(hashtext('meridian.sample.' || p_market || p_task));
  UPDATE snapshot s SET erased_at = now()
  FROM sample m
  WHERE m.market = p_market AND m.task = p_task AND m.external_id = p_external_id
    AND s.task = p_task AND s.split = m.split AND p_market = ANY (s.markets) AND m.id <= s.as_of
    AND (m.superseded_by IS NULL OR m.superseded_by > s.as_of) AND s.erased_at IS NULL;
  DELETE FROM sample
  WHERE market = p_market AND task = p_task AND external_id = p_external_id;
  GET DIAGNOSTICS v_rows = ROW_COUNT;
  IF v_rows > 0 THEN
    PERFORM audit(NULL, NULL, p_actor, NULL, NULL, 'erased a sample',
      jsonb_build_object('market', p_market, 'task', p_task, 'rows', v_rows));
  END IF;
  RETURN v_rows;
END $$;

-- Records an artifact that is stored already as a new version of a market (of the task's global base
-- when p_market is null). A version belongs to a job; this one is an 'import' that has succeeded.
CREATE OR REPLACE FUNCTION meridian.model_push(p_market text, p_task text, p_artifact bytea,
  p_family text, p_labels text[], p_actor text, p_reason text)
RETURNS TABLE (version bigint, number integer, job uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_job uuid := uuid_make();
  v_region text;
BEGIN
  IF p_market IS NOT NULL THEN
    SELECT region INTO v_region FROM market WHERE code = p_market AND removed_at IS NULL;
    IF NOT FOUND THEN
      PERFORM refuse_missing(format('there is no market "%s"', p_market), 'see meridian market list');
    END IF;
  END IF;
  IF NOT EXISTS (SELECT FROM task WHERE name = p_task) THEN
    PERFORM refuse_missing(format('there is no task "%s"', p_task), 'meridian task set ' || p_task);
  END IF;
  IF NOT EXISTS (SELECT FROM artifact WHERE sha256 = p_artifact) THEN
    PERFORM refuse('the artifact is not stored');
  END IF;
  -- Numbers count within market and task.
  PERFORM pg_advisory_xact_lock(hashtextextended(
    'meridian.version.' || coalesce(p_market, '') || '/' || p_task, 0));
  INSERT INTO job (id, kind, market, task, region, state, spec, submitted_by, queued_at, started_at,
    ended_at, attempt)
  VALUES (v_job, 'import', p_market, p_task, v_region, 'succeeded', '{}', p_actor, now(), now(), now(), 1);
  INSERT INTO attempt (job, number, state, region, worker, started_at, ended_at)
  VALUES (v_job, 1, 'succeeded', coalesce(v_region, 'none'), NULL, now(), now());
  job := v_job;
  SELECT coalesce(max(v.number), 0) + 1 INTO number FROM version v
  WHERE v.market IS NOT DISTINCT FROM p_market AND v.task = p_task;
  INSERT INTO version (market, task, number, family, method, artifact, job, attempt, region, spec,
    labels, engine, kernel, threads, seed)
  VALUES (p_market, p_task, number, p_family, 'imported', p_artifact, v_job, 1, v_region, '{}', p_labels,
    'unknown', 'unknown', 1, 0)
  RETURNING id INTO version;
  PERFORM audit(v_job, 1, p_actor, NULL, 'succeeded',
    coalesce(nullif(p_reason, ''), 'imported a model'), jsonb_build_object('version', version));
  RETURN NEXT;
END $$;
