-- Least privilege: who may do what, and nobody else anything.
CREATE FUNCTION pg_temp.may(p_role text, p_statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('SET ROLE %I', p_role);
  BEGIN
    EXECUTE p_statement;
  EXCEPTION
    WHEN insufficient_privilege THEN
      RESET ROLE;
      RETURN 'no';
    WHEN OTHERS THEN
      RESET ROLE;
      RETURN 'yes'; -- it came further than the check of rights
  END;
  RESET ROLE;
  RETURN 'yes';
END $$;
CREATE ROLE meridian_test_nobody NOLOGIN;
SELECT pg_temp.expect_equal(role || ': ' || statement, pg_temp.may(role, statement), want)
FROM (VALUES
  ('meridian_reporter', 'SELECT * FROM report.nightly', 'yes'),
  ('meridian_reporter', 'SELECT * FROM report.class_report', 'yes'),
  ('meridian_reporter', 'SELECT * FROM report.class_report_of(1)', 'yes'),
  ('meridian_reporter', 'SELECT * FROM report.confusion_of(1)', 'yes'),
  ('meridian_reporter', 'SELECT text FROM meridian.sample', 'no'),
  ('meridian_reporter', 'SELECT * FROM meridian.job', 'no'),
  ('meridian_reporter', 'SELECT data FROM meridian.artifact_chunk', 'no'),
  ('meridian_reporter', $$SELECT meridian.queue_pause('all', '', 'x')$$, 'no'),
  ('meridian_worker', 'SELECT text FROM meridian.sample', 'yes'),
  ('meridian_worker', 'SELECT * FROM meridian.champion', 'yes'),
  ('meridian_worker', $$INSERT INTO meridian.artifact VALUES (sha256('z'), 1, 1)$$, 'yes'),
  ('meridian_worker', $$UPDATE meridian.job SET state = 'succeeded'$$, 'no'),
  ('meridian_worker', 'UPDATE meridian.attempt SET lease_expires_at = now()', 'no'),
  ('meridian_worker', 'DELETE FROM meridian.sample', 'no'),
  ('meridian_worker', 'UPDATE meridian.artifact SET bytes = 0', 'no'),
  ('meridian_worker', 'INSERT INTO meridian.champion SELECT * FROM meridian.champion', 'no'),
  ('meridian_worker', $$SELECT meridian.attempt_finish(1, gen_random_uuid(), 1, 'w', 1, '{}')$$, 'no'),
  ('meridian_worker', $$SELECT meridian.model_promote('de-DE', 't', 1, 'x', 'x')$$, 'no'),
  ('meridian_worker', $$SELECT meridian.leader_acquire('x', 1000)$$, 'no'),
  ('meridian_scheduler', $$SELECT meridian.leader_acquire('test', 3600000)$$, 'yes'),
  ('meridian_scheduler', $$SELECT meridian.attempt_finish(1, gen_random_uuid(), 1, 'w', 1, '{}')$$, 'yes'),
  ('meridian_scheduler', 'SELECT meridian.schedule_fire(1)', 'yes'),
  ('meridian_scheduler', 'SELECT * FROM meridian.job', 'yes'),
  ('meridian_scheduler', $$UPDATE meridian.job SET state = 'succeeded'$$, 'no'),
  ('meridian_scheduler', 'SELECT text FROM meridian.sample', 'no'),
  ('meridian_scheduler', 'SELECT data FROM meridian.artifact_chunk', 'no'),
  ('meridian_scheduler', $$SELECT meridian.model_promote('de-DE', 't', 1, 'x', 'x')$$, 'no'),
  ('meridian_scheduler', $$SELECT meridian.champion_set('de-DE','t',1,false,1,'manual',NULL,NULL,'x','x')$$, 'no'),
  ('meridian_admin', $$SELECT meridian.market_set('x', 'eu', 'UTC', 'me')$$, 'yes'),
  ('meridian_admin', 'SELECT * FROM report.pending', 'yes'),
  ('meridian_admin', 'SELECT * FROM meridian.event', 'yes'),
  ('meridian_admin', 'DELETE FROM meridian.event', 'no'),
  ('meridian_admin', $$UPDATE meridian.job SET state = 'succeeded'$$, 'no'),
  ('meridian_test_nobody', 'SELECT * FROM report.nightly', 'no'),
  ('meridian_test_nobody', 'SELECT meridian.uuid_make()', 'no')
) AS v(role, statement, want);
DROP ROLE meridian_test_nobody;
-- PUBLIC may call none of our functions; each that runs as its owner has a fixed path, with pg_temp last.
SELECT pg_temp.expect('PUBLIC may not call ' || p.oid::regprocedure,
  NOT EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a WHERE a.grantee = 0))
FROM pg_proc p WHERE p.pronamespace IN ('meridian'::regnamespace, 'report'::regnamespace);
SELECT pg_temp.expect('search_path of ' || p.oid::regprocedure,
  EXISTS (SELECT FROM unnest(p.proconfig) AS c WHERE c LIKE 'search\_path=%, pg\_temp'))
FROM pg_proc p WHERE p.pronamespace IN ('meridian'::regnamespace, 'report'::regnamespace) AND p.prosecdef;
-- Everything that takes the leader's term is the scheduler's, and checks it.
SELECT pg_temp.expect('checks the term: ' || p.oid::regprocedure,
  has_function_privilege('meridian_scheduler', p.oid, 'EXECUTE')
  AND (p.prosrc ~ '(assert_term|attempt_finish|schedule_fire)\(p_term[,)]' OR p.proname = 'assert_term'))
FROM pg_proc p WHERE p.pronamespace = 'meridian'::regnamespace AND p.proargnames[1] = 'p_term';
