-- What a worker may do to the record, and how it reads texts. Every function is fenced: by the
-- worker's incarnation (a supervisor that was replaced changes nothing) and by the attempt's number.
-- Locks are taken worker first, then job, then attempt, jobs in the order of their ids.

-- A supervisor introduces itself. p_is_start is true until the first hello of this incarnation was
-- answered: only a start may take a name over; a reconnect of a replaced incarnation is refused.
-- Attempts of older incarnations of the name lose their lease at once, so they run again soon.
CREATE OR REPLACE FUNCTION meridian.worker_hello(p_worker text, p_incarnation uuid, p_is_start boolean,
  p_region text, p_host text, p_pid integer, p_slots integer, p_threads integer,
  p_memory_mb integer, p_version text, p_mono_ms bigint, p_labels text DEFAULT '') RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, meridian, pg_temp AS $$
DECLARE
  v_taken boolean;
BEGIN
  INSERT INTO meridian.region (name) VALUES (p_region) ON CONFLICT (name) DO NOTHING;
  INSERT INTO meridian.worker AS w (name, incarnation, region, host, pid, slots, threads, memory_mb, version,
    mono_ms, labels)
  VALUES (p_worker, p_incarnation, p_region, p_host, p_pid, p_slots, p_threads, p_memory_mb, p_version,
    p_mono_ms, p_labels)
  ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, region = excluded.region,
    host = excluded.host, pid = excluded.pid, slots = excluded.slots, threads = excluded.threads,
    memory_mb = excluded.memory_mb, version = excluded.version, mono_ms = excluded.mono_ms,
    labels = excluded.labels,
    state = CASE WHEN w.incarnation = excluded.incarnation THEN w.state ELSE 'up' END,
    drain_requested_at = CASE WHEN w.incarnation = excluded.incarnation THEN w.drain_requested_at END,
    started_at = CASE WHEN w.incarnation = excluded.incarnation THEN w.started_at ELSE now() END,
    seen_at = now()
  WHERE p_is_start OR w.incarnation = excluded.incarnation
  RETURNING true INTO v_taken;
  IF v_taken IS NULL THEN
    RETURN false;
  END IF;
  UPDATE meridian.attempt SET lease_expires_at = least(lease_expires_at, now())
  WHERE worker = p_worker AND incarnation <> p_incarnation AND ended_at IS NULL;
  RETURN true;
END $$;

-- A supervisor leaves; what it was given and never said to hold goes back at once. False when a newer
-- incarnation has the name.
CREATE OR REPLACE FUNCTION meridian.worker_bye(p_worker text, p_incarnation uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, meridian, pg_temp AS $$
BEGIN
  UPDATE meridian.worker SET state = 'gone', seen_at = now()
  WHERE name = p_worker AND incarnation = p_incarnation;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  UPDATE meridian.attempt SET lease_expires_at = least(lease_expires_at, now())
  WHERE worker = p_worker AND incarnation = p_incarnation AND ended_at IS NULL AND state = 'dispatched';
  RETURN true;
END $$;

-- Attempts that a supervisor says it has started: dispatched -> running, since p_run_ms ago.
CREATE OR REPLACE FUNCTION meridian.attempt_started(p_worker text, p_incarnation uuid, p_jobs uuid[],
  p_numbers integer[], p_run_ms bigint[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_new uuid[] := ARRAY(SELECT a.job FROM unnest(p_jobs, p_numbers) AS held (job, number)
    JOIN attempt a ON a.job = held.job AND a.number = held.number
    WHERE a.state = 'dispatched' AND a.worker = p_worker AND a.incarnation = p_incarnation);
BEGIN
  IF v_new = '{}' THEN
    RETURN;
  END IF;
  PERFORM FROM job WHERE id = ANY (v_new) ORDER BY id FOR UPDATE;
  WITH started AS (
    UPDATE attempt a SET state = 'running', started_at = attempt_start(a.dispatched_at, held.run_ms)
    FROM unnest(p_jobs, p_numbers, p_run_ms) AS held (job, number, run_ms)
    WHERE a.job = held.job AND a.number = held.number AND a.job = ANY (v_new) AND a.state = 'dispatched'
      AND a.worker = p_worker AND a.incarnation = p_incarnation
    RETURNING a.job, a.number, a.started_at
  ), moved AS (
    UPDATE job j SET state = 'running', started_at = coalesce(j.started_at, s.started_at)
    FROM started s WHERE j.id = s.job
  )
  INSERT INTO event (job, attempt, actor, from_state, to_state, reason)
  SELECT s.job, s.number, 'worker ' || p_worker, 'dispatched', 'running', 'started' FROM started s;
END $$;

-- Renews the leases of the attempts that a supervisor holds (in a runner for p_run_ms, or ended with a
-- result that is not yet committed), stores their progress, and notes the supervisor's own clock at the
-- start of the call. One row for each that it named, in that order; then what it was given and does not
-- hold, with all that is needed to run it (a message may be lost: one that was sent within the last
-- second may still be on its way); then one row with job null about the worker itself: 'up', 'drain', or
-- 'unknown' when the incarnation is not the current one (say hello; if that is refused, another worker has
-- the name).
--   ok      go on                          cancel  somebody asked for it to end; the lease goes on
--   closed  this attempt has ended          fenced  it never was, or is no longer, this worker's
--   take    given to this worker p_age_ms ago, and not held
-- The lease of what is only taken goes on with the next renewal, which names it. With the progress may come
-- "tail", the runner's newest lines, and "peak_rss_kb": they stay with the attempt should its worker be killed.
-- The commit is not waited for until it is on disk: a renewal that the server loses ends the lease early, no more.
CREATE OR REPLACE FUNCTION meridian.lease_renew(p_worker text, p_incarnation uuid, p_mono_ms bigint,
  p_is_draining boolean, p_jobs uuid[], p_numbers integer[], p_run_ms bigint[], p_progress jsonb[],
  p_ttl_ms integer)
RETURNS TABLE (job uuid, number integer, verdict text, age_ms bigint, kind text, market text, task text,
  region text, spec text, night text, memory_mb integer, time_limit_s integer, threads integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, meridian, pg_temp
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  v_drain boolean;
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  UPDATE meridian.worker SET seen_at = clock_timestamp(), mono_ms = p_mono_ms,
    state = CASE WHEN p_is_draining OR drain_requested_at IS NOT NULL THEN 'draining' ELSE 'up' END
  WHERE name = p_worker AND incarnation = p_incarnation
  RETURNING drain_requested_at IS NOT NULL INTO v_drain;
  IF NOT FOUND AND EXISTS (SELECT FROM meridian.worker w WHERE w.name = p_worker) THEN
    -- Another incarnation has the name: nothing is this one's any more.
    PERFORM meridian.stale_note(held.job, held.number,
      CASE WHEN coalesce(held.progress - '{tail,peak_rss_kb}'::text[], '{}') = '{}' THEN 'renewal' ELSE 'progress' END, p_worker, p_incarnation,
      'another start of the worker has its name')
    FROM unnest(p_jobs, p_numbers, p_progress) AS held (job, number, progress);
    RETURN QUERY SELECT held.job, held.number, 'fenced', NULL::bigint, NULL, NULL, NULL, NULL, NULL, NULL,
      NULL::integer, NULL::integer, NULL::integer
      FROM unnest(p_jobs, p_numbers) AS held (job, number);
    RETURN QUERY SELECT NULL::uuid, NULL::integer, 'unknown', NULL::bigint, NULL::text, NULL::text, NULL::text,
      NULL::text, NULL::text, NULL::text, NULL::integer, NULL::integer, NULL::integer;
    RETURN;
  END IF;
  PERFORM meridian.attempt_started(p_worker, p_incarnation, p_jobs, p_numbers, p_run_ms);

  PERFORM 1 FROM meridian.attempt a
    JOIN unnest(p_jobs, p_numbers) AS held (job, number) ON a.job = held.job AND a.number = held.number
  WHERE a.state = 'running' AND a.worker = p_worker AND a.incarnation = p_incarnation
  ORDER BY a.job FOR UPDATE OF a;

  UPDATE meridian.attempt a SET lease_expires_at = clock_timestamp() + p_ttl_ms * interval '1 millisecond',
    progress = coalesce(nullif(held.progress - '{tail,peak_rss_kb}'::text[], '{}'), a.progress),
    log_tail = coalesce(held.progress ->> 'tail', a.log_tail),
    peak_rss_kb = coalesce((held.progress ->> 'peak_rss_kb')::bigint, a.peak_rss_kb)
  FROM unnest(p_jobs, p_numbers, p_progress) AS held (job, number, progress)
  WHERE a.job = held.job AND a.number = held.number AND a.state = 'running'
    AND a.worker = p_worker AND a.incarnation = p_incarnation;

  PERFORM meridian.stale_note(held.job, held.number,
    CASE WHEN coalesce(held.progress - '{tail,peak_rss_kb}'::text[], '{}') = '{}' THEN 'renewal' ELSE 'progress' END, p_worker, p_incarnation, CASE
      WHEN a.job IS NULL THEN 'there is no such attempt'
      WHEN a.ended_at IS NOT NULL AND a.worker = p_worker AND a.incarnation = p_incarnation
        THEN 'the attempt was given up: ' || a.state
      ELSE 'the attempt is of ' || coalesce('worker ' || a.worker || ', incarnation ' || a.incarnation, 'nobody') END)
  FROM unnest(p_jobs, p_numbers, p_progress) AS held (job, number, progress)
  LEFT JOIN meridian.attempt a ON a.job = held.job AND a.number = held.number
  WHERE a.job IS NULL OR a.worker IS DISTINCT FROM p_worker OR a.incarnation IS DISTINCT FROM p_incarnation
    OR a.state IN ('lost', 'undelivered');

  RETURN QUERY
  SELECT held.job, held.number,
    CASE
      WHEN a.job IS NULL OR a.worker IS DISTINCT FROM p_worker
        OR a.incarnation IS DISTINCT FROM p_incarnation THEN 'fenced'
      WHEN a.state <> 'running' THEN 'closed'
      WHEN j.cancel_requested_at IS NOT NULL THEN 'cancel'
      ELSE 'ok'
    END, NULL::bigint, NULL, NULL, NULL, NULL, NULL, NULL, NULL::integer, NULL::integer, NULL::integer
  FROM unnest(p_jobs, p_numbers) WITH ORDINALITY AS held (job, number, position)
  LEFT JOIN meridian.attempt a ON a.job = held.job AND a.number = held.number
  LEFT JOIN meridian.job j ON j.id = held.job
  ORDER BY held.position;

  RETURN QUERY
  SELECT a.job, a.number, CASE WHEN j.cancel_requested_at IS NULL THEN 'take' ELSE 'cancel' END,
    greatest(0, ceil(extract(epoch FROM clock_timestamp() - a.dispatched_at) * 1000))::bigint, j.kind,
    j.market, j.task, j.region, j.spec::text, j.night::text, j.memory_mb, j.time_limit_s, j.threads
  FROM meridian.attempt a JOIN meridian.job j ON j.id = a.job
  WHERE a.worker = p_worker AND a.incarnation = p_incarnation AND a.ended_at IS NULL
    AND a.state = 'dispatched' AND a.dispatched_at <= clock_timestamp() - interval '1 second'
    AND a.lease_expires_at > clock_timestamp()
  ORDER BY a.dispatched_at, a.job LIMIT 256;

  RETURN QUERY SELECT NULL::uuid, NULL::integer,
    CASE v_drain WHEN true THEN 'drain' WHEN false THEN 'up' ELSE 'unknown' END,
    NULL::bigint, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::integer,
    NULL::integer, NULL::integer;
END $$;

-- Which of the attempts that a supervisor has ended nobody need hear of any more: they are recorded, or not
-- its. Says no more than lease_renew does, but costs a lookup each: for a worker whose jobs are short.
CREATE OR REPLACE FUNCTION meridian.results_recorded(p_worker text, p_incarnation uuid, p_jobs uuid[],
  p_numbers integer[])
RETURNS TABLE (job uuid, number integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  RETURN QUERY SELECT e.job, e.number FROM unnest(p_jobs, p_numbers) AS e (job, number)
    WHERE NOT EXISTS (SELECT FROM attempt a WHERE a.job = e.job AND a.number = e.number
      AND a.state IN ('dispatched', 'running') AND a.worker = p_worker AND a.incarnation = p_incarnation);
END $$;

-- Keeps a result that does not get through Redis, for the leader to take. False when the attempt is not,
-- or is no longer, this worker's: nobody needs it then.
CREATE OR REPLACE FUNCTION meridian.result_leave(p_worker text, p_incarnation uuid, p_job uuid,
  p_number integer, p_report bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM attempt WHERE job = p_job AND number = p_number AND ended_at IS NULL
                 AND worker = p_worker AND incarnation = p_incarnation) THEN
    RETURN false;
  END IF;
  INSERT INTO result_left (job, attempt, report) VALUES (p_job, p_number, p_report)
  ON CONFLICT (job, attempt) DO NOTHING;
  PERFORM wake();
  RETURN true;
END $$;

-- Texts (data database of the region) -----------------------------------------------------------

-- The members of a snapshot: the samples that were current when p_as_of was the newest id, in the
-- order of its hash.
CREATE OR REPLACE FUNCTION meridian.snapshot_rows(p_markets text[], p_task text, p_split text,
  p_as_of bigint)
RETURNS TABLE (market text, external_id text, label text, sample text, digest bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, meridian, pg_temp AS $$
  SELECT s.market, s.external_id, s.label, s.text, s.digest
  FROM meridian.sample s
  WHERE s.market = ANY (p_markets) AND s.task = p_task AND s.split = p_split AND s.id <= p_as_of
    AND (s.superseded_by IS NULL OR s.superseded_by > p_as_of)
  ORDER BY s.market COLLATE "C", s.external_id COLLATE "C"
$$;

-- Fixes what is current now as a snapshot. Takes the import's lock of every market (shared), so no
-- import is half visible: all ids up to as_of are committed. Taking equal content again gives the
-- row that exists (with a newer as_of if members were erased meanwhile). No samples: id is null and
-- nothing is stored.
-- With p_until, what was known then: as_of is the newest id that had been imported before. Since ids
-- count up with the imports, samples that came later are out, and revisions of later make room for those
-- of then; what was erased since is gone from every night. Imports that overlapped p_until, of another of
-- the markets, may be in.
CREATE OR REPLACE FUNCTION meridian.snapshot_take(p_markets text[], p_task text, p_split text,
  p_until timestamptz DEFAULT NULL)
RETURNS TABLE (id bigint, sha256 bytea, samples integer, labels integer, as_of bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, meridian, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_markets text[];
  v_market text;
  v_id bigint;
  v_sha256 bytea;
  v_samples integer;
  v_labels integer;
  v_as_of bigint;
BEGIN
  SELECT array_agg(DISTINCT m COLLATE "C" ORDER BY m COLLATE "C") INTO v_markets
  FROM unnest(p_markets) AS m;
  IF v_markets IS NULL THEN
    RAISE EXCEPTION 'snapshot_take: no markets' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  FOREACH v_market IN ARRAY v_markets LOOP
    PERFORM pg_advisory_xact_lock_shared(hashtext('meridian.sample.' || v_market || p_task));
  END LOOP;
  -- An erasure takes an id too: it must not lie behind as_of.
  SELECT coalesce(max(greatest(s.id, s.superseded_by)), 0) INTO v_as_of
  FROM meridian.sample s WHERE s.market = ANY (v_markets) AND s.task = p_task;
  IF p_until IS NOT NULL THEN
    SELECT coalesce(max(s.id), 0) INTO v_as_of
    FROM meridian.sample s
    WHERE s.market = ANY (v_markets) AND s.task = p_task AND s.imported_at < p_until;
  END IF;
  SELECT sha256(coalesce(string_agg(r.digest, ''::bytea
           ORDER BY r.market COLLATE "C", r.external_id COLLATE "C"), ''::bytea)),
         count(*), count(DISTINCT r.label)
  INTO v_sha256, v_samples, v_labels
  FROM meridian.snapshot_rows(v_markets, p_task, p_split, v_as_of) r;
  IF v_samples > 0 THEN
    INSERT INTO meridian.snapshot AS s (sha256, markets, task, split, as_of, samples, labels)
    VALUES (v_sha256, v_markets, p_task, p_split, v_as_of, v_samples, v_labels)
    ON CONFLICT (sha256, markets, task, split) DO UPDATE SET
      as_of = CASE WHEN s.erased_at IS NULL THEN s.as_of ELSE excluded.as_of END,
      erased_at = NULL
    RETURNING s.id INTO v_id;
  END IF;
  RETURN QUERY SELECT v_id, v_sha256, v_samples, v_labels, v_as_of;
END $$;

-- Models (control database) ---------------------------------------------------------------------

-- The version that a fine-tune starts from. p_base: auto (the market's champion, else the task's
-- newest global base, else no row), champion, global, version:ID, none. source_loss is the loss of
-- that version on its own dev split, measured when it was made: its texts may be in another region.
-- With p_until, auto, champion and global are what they were then; a global base counts by what it
-- knows (its own as_of), so that a night that is made up for starts from the base of that night. Without,
-- bases that were made for an earlier night are passed by.
CREATE OR REPLACE FUNCTION meridian.worker_read_base(p_market text, p_task text, p_base text,
  p_until timestamptz DEFAULT NULL)
RETURNS TABLE (version bigint, artifact bytea, family text, market text, source_loss float8)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, meridian, pg_temp AS $$
#variable_conflict use_column
DECLARE
  v_id bigint;
BEGIN
  IF p_base IN ('auto', 'champion') AND p_market IS NOT NULL THEN
    IF p_until IS NULL THEN
      SELECT c.version INTO v_id FROM meridian.champion c WHERE c.market = p_market AND c.task = p_task;
    ELSE
      SELECT p.version INTO v_id FROM meridian.promotion p
      WHERE p.market = p_market AND p.task = p_task AND p.at < p_until ORDER BY p.id DESC LIMIT 1;
    END IF;
  END IF;
  IF p_base = 'global' OR (p_base = 'auto' AND v_id IS NULL) THEN
    SELECT v.id INTO v_id FROM meridian.version v
    WHERE v.market IS NULL AND v.task = p_task
      AND CASE WHEN p_until IS NULL THEN v.spec ->> 'as_of' IS NULL
               ELSE coalesce((v.spec ->> 'as_of')::timestamptz, v.created_at) <= p_until END
    ORDER BY CASE WHEN p_until IS NOT NULL THEN coalesce((v.spec ->> 'as_of')::timestamptz, v.created_at) END DESC, v.id DESC
    LIMIT 1;
  ELSIF p_base LIKE 'version:%' THEN
    v_id := substr(p_base, 9)::bigint;
  END IF;
  RETURN QUERY
  SELECT v.id, v.artifact, v.family, v.market,
    (SELECT m.value FROM meridian.metric m
     WHERE m.version = v.id AND m.role = 'training' AND m.name = 'finetuned_target_loss')
  FROM meridian.version v WHERE v.id = v_id;
END $$;
