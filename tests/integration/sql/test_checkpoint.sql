-- Checkpoints: fenced by the attempt, two a job, none of a job that has ended; artifacts are shared and
-- go when nobody refers to them.
INSERT INTO meridian.region (name) VALUES ('eu') ON CONFLICT DO NOTHING;
INSERT INTO meridian.market (code, region) VALUES ('de-DE', 'eu') ON CONFLICT DO NOTHING;
CREATE FUNCTION pg_temp.add(p_id uuid, p_kind text, p_spec jsonb) RETURNS uuid LANGUAGE sql AS $$
  INSERT INTO meridian.job (id, kind, market, task, region, state, spec)
  VALUES (p_id, p_kind, 'de-DE', 't', 'eu', 'queued', p_spec) RETURNING id $$;
-- The next attempt, running.
CREATE FUNCTION pg_temp.run(p_id uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE n integer := (SELECT attempt + 1 FROM meridian.job WHERE id = p_id);
BEGIN
  UPDATE meridian.attempt SET state = 'lost', ended_at = now() WHERE job = p_id AND ended_at IS NULL;
  UPDATE meridian.job SET state = 'queued' WHERE id = p_id;
  UPDATE meridian.job SET state = 'dispatched', attempt = n WHERE id = p_id;
  INSERT INTO meridian.attempt (job, number, state, region, worker, started_at, lease_expires_at)
  VALUES (p_id, n, 'running', 'eu', 'w', now(), now());
  UPDATE meridian.job SET state = 'running', started_at = now() WHERE id = p_id;
END $$;
-- Stores a state as the runner does, and registers it.
CREATE FUNCTION pg_temp.save(p_id uuid, p_number integer, p_content text, p_step bigint) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO meridian.artifact (sha256, bytes, chunks)
  VALUES (sha256(p_content::bytea), length(p_content), 1) ON CONFLICT DO NOTHING;
  INSERT INTO meridian.artifact_chunk VALUES (sha256(p_content::bytea), 0, p_content::bytea)
  ON CONFLICT DO NOTHING;
  PERFORM meridian.checkpoint_put(p_id, p_number, sha256(p_content::bytea), sha256('c'), 'train', p_step, '{}');
  RETURN 'saved';
EXCEPTION WHEN SQLSTATE 'MR001' THEN
  PERFORM meridian.checkpoint_refused(p_id, p_number);
  RETURN 'refused';
END $$;
CREATE FUNCTION pg_temp.steps(p_id uuid, p_number integer) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(step::text, ' ') FROM meridian.checkpoint_list(p_id, p_number) $$;
CREATE FUNCTION pg_temp.stored() RETURNS text LANGUAGE sql AS $$
  SELECT (SELECT count(*) FROM meridian.artifact WHERE bytes > 1) || ' '
    || (SELECT count(*) FROM meridian.artifact_chunk) $$;

SELECT pg_temp.add('00000000-0000-0000-0000-0000000000a1', 'finetune', '{}') AS a \gset
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000a2', 'finetune', '{}') AS b \gset
SELECT pg_temp.expect_equal('before it runs', pg_temp.save(:'a', 1, 'one', 1), 'refused');
SELECT pg_temp.run(:'a');
SELECT pg_temp.run(:'b');
SELECT pg_temp.expect_equal('the first', pg_temp.save(:'a', 1, 'one', 1), 'saved');
SELECT pg_temp.expect_equal('the second', pg_temp.save(:'a', 1, 'two', 2), 'saved');
SELECT pg_temp.expect_equal('of another job, equal', pg_temp.save(:'b', 1, 'one', 1), 'saved');
SELECT pg_temp.expect_equal('the third', pg_temp.save(:'a', 1, 'three', 3), 'saved');
SELECT pg_temp.expect_equal('two stay', pg_temp.steps(:'a', 2), '3 2');
SELECT pg_temp.expect_equal('what the other needs, too', pg_temp.stored(), '3 3');

-- The next attempt goes on; the older one writes nothing more, and that is noted.
SELECT pg_temp.run(:'a');
SELECT pg_temp.expect_equal('an old epoch', pg_temp.save(:'a', 1, 'late', 9), 'refused');
SELECT pg_temp.expect_equal('nothing of it is stored', pg_temp.stored(), '3 3');
SELECT pg_temp.expect_equal('it is counted', (SELECT kind || ' ' || named_attempt || ' ' || current_attempt || ' '
  || worker || ' ' || count FROM report.stale_writes WHERE job = :'a' AND named_attempt = 1 AND worker = 'w'),
  'checkpoint 1 2 w 1');
SELECT meridian.checkpoint_refused(:'a', 2);
SELECT pg_temp.expect('the owner is not', NOT EXISTS (SELECT FROM report.stale_writes
  WHERE job = :'a' AND named_attempt = 2));
SELECT pg_temp.expect('goes on', meridian.checkpoint_resume(:'a', 2, (SELECT max(id) FROM meridian.checkpoint
  WHERE job = :'a')));
SELECT pg_temp.expect_equal('as the attempt says', (SELECT resumed_attempt || ' ' || resumed_step
  FROM meridian.attempt WHERE job = :'a' AND number = 2), '1 3');
SELECT pg_temp.expect('not the old one', NOT meridian.checkpoint_resume(:'a', 1, (SELECT max(id)
  FROM meridian.checkpoint WHERE job = :'a')));
SELECT pg_temp.expect('not from another job''s', NOT meridian.checkpoint_resume(:'a', 2, (SELECT id
  FROM meridian.checkpoint WHERE job = :'b')));
SELECT pg_temp.expect_equal('the fourth', pg_temp.save(:'a', 2, 'four', 4), 'saved');
SELECT pg_temp.expect_equal('of two attempts', pg_temp.steps(:'a', 2), '4 3');

-- The end removes all of them; a version's artifact stays whatever refers to it.
INSERT INTO meridian.task (name) VALUES ('t') ON CONFLICT DO NOTHING;
INSERT INTO meridian.version (market, task, number, family, method, artifact, job, attempt, spec, labels, engine,
  kernel, threads, seed)
VALUES ('de-DE', 't', 1, 'bag', 'full', sha256('four'), :'a', 2, '{}', '{}', 'e', 'k', 1, 1);
UPDATE meridian.attempt SET state = 'succeeded', ended_at = now() WHERE job = :'a' AND number = 2;
UPDATE meridian.job SET state = 'succeeded', ended_at = now() WHERE id = :'a';
SELECT pg_temp.expect_equal('none is left', (SELECT count(*)::text FROM meridian.checkpoint WHERE job = :'a'), '0');
SELECT pg_temp.expect_equal('two artifacts are', pg_temp.stored(), '2 2');
SELECT pg_temp.expect_equal('an ended job', pg_temp.save(:'a', 2, 'five', 5), 'refused');
UPDATE meridian.attempt SET state = 'cancelled', ended_at = now() WHERE job = :'b' AND number = 1;
UPDATE meridian.job SET state = 'cancelled', ended_at = now() WHERE id = :'b';
SELECT pg_temp.expect_equal('the version''s', pg_temp.stored(), '1 1');

-- A noop with steps has checkpoints, too.
SELECT pg_temp.add('00000000-0000-0000-0000-0000000000a3', 'noop', '{"steps": 3}') AS c \gset
SELECT pg_temp.run(:'c');
SELECT pg_temp.expect_equal('of a noop', pg_temp.save(:'c', 1, 'noop', 1), 'saved');
UPDATE meridian.attempt SET state = 'succeeded', ended_at = now() WHERE job = :'c';
UPDATE meridian.job SET state = 'succeeded', ended_at = now() WHERE id = :'c';
SELECT pg_temp.expect_equal('removed', pg_temp.stored(), '1 1');
