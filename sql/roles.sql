-- Least privilege: five group roles without login. Give one to a login role:
--   CREATE ROLE anna LOGIN; GRANT meridian_reporter TO anna;
-- Functions that write run as their owner, so the programs need EXECUTE rather than rights on tables.
-- A user who may not create roles gets a notice; then everything belongs to that user alone.

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['meridian_scheduler', 'meridian_worker', 'meridian_reporter',
    'meridian_admin', 'meridian_submitter']
  LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', name);
      EXCEPTION
        WHEN insufficient_privilege THEN
          RAISE NOTICE 'role % is missing, and % may not create it: ask a superuser to CREATE ROLE %',
            name, current_user, name;
        WHEN duplicate_object OR unique_violation THEN
          NULL; -- another database of this server was migrated at the same moment
      END;
    END IF;
  END LOOP;
END $$;

-- Nobody gets a right by default.
REVOKE ALL ON SCHEMA meridian, report FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA meridian, report FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA meridian, report FROM PUBLIC;

DO $$
DECLARE
  v_role text;
  v_functions text[];
  v_item record;
BEGIN
  FOR v_role IN SELECT r.name FROM unnest(ARRAY['meridian_scheduler', 'meridian_worker',
    'meridian_reporter', 'meridian_admin', 'meridian_submitter']) AS r(name) JOIN pg_roles p ON p.rolname = r.name
  LOOP
    -- From the start: a right that an earlier release gave must not stay.
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA meridian, report FROM %I', v_role);
    EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA meridian, report FROM %I', v_role);
    EXECUTE format('REVOKE ALL ON SCHEMA meridian, report FROM %I', v_role);
    IF v_role = 'meridian_submitter' THEN -- any program that speaks PostgreSQL: submits, and sees nothing
      EXECUTE format('GRANT USAGE ON SCHEMA meridian TO %I', v_role);
      EXECUTE format('GRANT EXECUTE ON FUNCTION meridian.submit, meridian.submit_many TO %I', v_role);
      CONTINUE;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA report TO %I', v_role);

    IF v_role = 'meridian_reporter' THEN
      EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA report TO %I', v_role);
      EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA report TO %I', v_role);
      CONTINUE;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA meridian TO %I', v_role);

    IF v_role = 'meridian_admin' THEN
      -- The operator's CLI: reads all, imports samples, acts through functions.
      EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA meridian, report TO %I', v_role);
      EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA meridian, report TO %I', v_role);
      EXECUTE format('GRANT INSERT, UPDATE, DELETE ON meridian.sample TO %I', v_role);
      EXECUTE format('GRANT UPDATE (erased_at) ON meridian.snapshot TO %I', v_role);
      EXECUTE format('GRANT INSERT ON meridian.artifact, meridian.artifact_chunk TO %I', v_role);
      CONTINUE;
    ELSIF v_role = 'meridian_scheduler' THEN
      EXECUTE format('GRANT SELECT ON meridian.region, meridian.market, meridian.task, meridian.job,
        meridian.dependency, meridian.worker, meridian.attempt, meridian.schedule, meridian.firing,
        meridian.pause, meridian.leader, meridian.migration, meridian.run_limit, meridian.estimate,
        meridian.market_use, meridian.leader_policy TO %I', v_role);
      -- Beside these, every function that takes the leader's term first.
      v_functions := ARRAY['leader_acquire', 'leader_resign'];
    ELSE -- meridian_worker
      EXECUTE format('GRANT SELECT ON meridian.sample, meridian.snapshot, meridian.artifact,
        meridian.artifact_chunk, meridian.version, meridian.champion, meridian.market, meridian.task,
        meridian.evaluation, meridian.migration TO %I', v_role);
      EXECUTE format('GRANT SELECT (id, kind, market, task, region, state, attempt, parent, night)
        ON meridian.job TO %I', v_role);
      EXECUTE format('GRANT SELECT (name, state, seen_at) ON meridian.worker TO %I', v_role);
      EXECUTE format('GRANT INSERT ON meridian.snapshot, meridian.artifact, meridian.artifact_chunk
        TO %I', v_role);
      v_functions := ARRAY['worker_hello', 'worker_bye', 'lease_renew', 'results_recorded', 'result_leave', 'attempt_claim',
        'snapshot_take', 'snapshot_rows', 'worker_read_base', 'checkpoint_put', 'checkpoint_refused',
        'checkpoint_list', 'checkpoint_resume'];
    END IF;
    FOR v_item IN
      SELECT p.oid::regprocedure AS signature
      FROM pg_proc p
      WHERE p.pronamespace = 'meridian'::regnamespace
        AND (p.proname = ANY (v_functions)
             OR v_role = 'meridian_scheduler' AND p.proargnames[1] = 'p_term')
    LOOP
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', v_item.signature, v_role);
    END LOOP;
  END LOOP;
END $$;
