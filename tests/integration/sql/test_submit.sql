-- Unique policies, and submission by SQL.
CREATE FUNCTION pg_temp.id(n integer) RETURNS uuid LANGUAGE sql AS $$
  SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.item(n integer, p_key text, p_policy text DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_strip_nulls(jsonb_build_object('id', pg_temp.id(n), 'kind', 'noop', 'market', 'de-DE',
    'spec', '{}'::jsonb, 'priority', 0, 'memory_mb', 16, 'time_limit_s', 1, 'threads', 1, 'max_attempts', 1,
    'is_parent', false, 'unique', p_key, 'unique_policy', p_policy, 'by', 'me')) $$;
-- State of the answer, and whose it is.
CREATE FUNCTION pg_temp.admit(n integer, p_key text, p_policy text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT state || ' ' || right(id::text, 2) FROM meridian.job_admit(1, jsonb_build_array(pg_temp.item(n, p_key, p_policy)))
  WHERE coalesce(kept_for, id) = pg_temp.id(n) $$;
-- reject is the default, and names the holder.
SELECT pg_temp.expect_equal('first', pg_temp.admit(1, 'k'), 'queued 01');
SELECT pg_temp.expect_equal('second', pg_temp.admit(2, 'k'), 'rejected 02');
SELECT pg_temp.expect_equal('why', (SELECT error_text FROM meridian.job WHERE id = pg_temp.id(2)),
  'unique: the key is held by job ' || pg_temp.id(1) || ' until that ends');
-- keep: the holder is the answer, also when the submission comes again after the holder has ended.
SELECT pg_temp.expect_equal('kept', pg_temp.admit(3, 'k', 'keep'), 'queued 01');
UPDATE meridian.job SET state = 'cancelled', ended_at = now() WHERE id = pg_temp.id(1);
SELECT pg_temp.expect_equal('kept again', pg_temp.admit(3, 'k', 'keep'), 'cancelled 01');
SELECT pg_temp.expect_equal('it is no job', (SELECT count(*)::text FROM meridian.job WHERE id = pg_temp.id(3)), '0');
SELECT pg_temp.expect_equal('nobody has the key', pg_temp.admit(4, 'k', 'keep'), 'queued 04');
-- replace: what waits is superseded, what runs is not.
SELECT pg_temp.expect_equal('replaces', pg_temp.admit(5, 'k', 'replace'), 'queued 05');
SELECT pg_temp.expect_equal('superseded', (SELECT state || ' ' || error_text || ' ' || (superseded_by = pg_temp.id(5))
  FROM meridian.job WHERE id = pg_temp.id(4)), 'cancelled superseded by job ' || pg_temp.id(5) || ' true');
SELECT pg_temp.expect_equal('the mirror is shown it', (SELECT string_agg(state, ' ' ORDER BY id)
  FROM meridian.job_admit(1, jsonb_build_array(pg_temp.item(5, 'k', 'replace')))), 'cancelled queued');
UPDATE meridian.job SET state = 'dispatched', attempt = 1 WHERE id = pg_temp.id(5);
SELECT pg_temp.expect_equal('runs', pg_temp.admit(6, 'k', 'replace'), 'rejected 06');
SELECT pg_temp.expect('why', (SELECT error_text LIKE 'unique: the key is held by job % and is not replaced; cancel it first'
  FROM meridian.job WHERE id = pg_temp.id(6)));
SELECT pg_temp.admit(7, 'other');
SELECT pg_temp.expect_equal('one that would be rejected replaces nothing', (SELECT state FROM meridian.job_admit(1,
  jsonb_build_array(pg_temp.item(8, 'other', 'replace') || '{"market": "xx"}')) WHERE id = pg_temp.id(8)), 'rejected');
SELECT pg_temp.expect_equal('nothing', (SELECT state FROM meridian.job WHERE id = pg_temp.id(7)), 'queued');
-- In one batch each meets the one before it.
SELECT pg_temp.expect_equal('batch', (SELECT string_agg(state || coalesce(' ' || right(kept_for::text, 2), ''), ' '
    ORDER BY coalesce(kept_for, id))
  FROM meridian.job_admit(1, jsonb_build_array(pg_temp.item(10, 'b'), pg_temp.item(11, 'b'),
    pg_temp.item(12, 'b', 'keep'), pg_temp.item(13, 'b', 'replace'), pg_temp.item(14, 'c'),
    pg_temp.item(13, 'b', 'replace'), pg_temp.item(15, 'b', 'keep')))), 'cancelled cancelled rejected cancelled 12 queued queued queued 15');
SELECT pg_temp.expect_refused('23505', 'job_unique_key', format('INSERT INTO meridian.job (id, kind, state, unique_key)
  VALUES (%L, ''noop'', ''waiting'', ''b'')', gen_random_uuid()));
-- Delayed jobs are queued in the order of their times.
SELECT state FROM meridian.job_admit(1, jsonb_build_array(
  pg_temp.item(30, NULL) || jsonb_build_object('not_before_ms', (extract(epoch FROM now()) * 1000)::bigint + 90000),
  pg_temp.item(31, NULL) || jsonb_build_object('not_before_ms', (extract(epoch FROM now()) * 1000)::bigint + 60000)));
SELECT meridian.job_release(1, ARRAY[pg_temp.id(30), pg_temp.id(31)]);
SELECT pg_temp.expect_equal('by time', (SELECT string_agg(right(id::text, 2), ' ' ORDER BY queued_ms)
  FROM meridian.job_mirror WHERE id IN (pg_temp.id(30), pg_temp.id(31))), '31 30');
-- By SQL: the scheduler takes what was written in order, and admission takes it off.
SELECT meridian.submit('noop', market => 'de-DE', spec => '{"sleep_ms": 5}', priority => 7,
  after => ARRAY[pg_temp.id(1)], after_any => ARRAY[pg_temp.id(2)], quorum => 1, unique_key => 's',
  unique_policy => 'replace', not_before => '2126-01-01Z', max_attempts => 2) AS s1 \gset
SELECT pg_temp.expect_equal('taken', (SELECT concat_ws('|', id = :'s1', kind, market, spec, priority, after, after_if,
  after_quorum, not_before_ms, unique_key, unique_policy, max_attempts, "by" = session_user, tries)
  FROM meridian.scheduler_take(1, 10)),
  't|noop|de-DE|{"sleep_ms": 5}|7|' || pg_temp.id(1) || ',' || pg_temp.id(2) || '|oa|1|4922899200000|s|replace|2|t|1');
SELECT pg_temp.admit(20, NULL);
SELECT pg_temp.expect_equal('still there', (SELECT tries::text FROM meridian.scheduler_take(1, 10)), '2');
SELECT meridian.job_admit(1, jsonb_build_array(pg_temp.item(20, NULL) || jsonb_build_object('id', :'s1')));
SELECT pg_temp.expect_equal('off', (SELECT count(*)::text FROM meridian.submission), '0');
SELECT array_agg(id) AS ids FROM meridian.submit_many('[{"kind": "noop", "priority": 1},
  {"kind": "noop", "priority": 2}, {"kind": "noop", "priority": 3}]') AS id \gset
SELECT pg_temp.expect_equal('ids in order', (SELECT string_agg(s.job ->> 'priority', ' ' ORDER BY i.position)
  FROM unnest(:'ids'::uuid[]) WITH ORDINALITY AS i(id, position) JOIN meridian.submission s ON s.id = i.id), '1 2 3');
SELECT pg_temp.expect_equal('in company', (SELECT string_agg(priority::text, ' ') FROM meridian.scheduler_take(1, 2)),
  '1 2');
SELECT pg_temp.expect_equal('then alone', (SELECT string_agg(priority::text, ' ') FROM meridian.scheduler_take(1, 2)),
  '1');
DELETE FROM meridian.submission;
-- Rolled back with the transaction.
BEGIN;
SELECT meridian.submit('noop');
ROLLBACK;
SELECT pg_temp.expect_equal('rolled back', (SELECT count(*)::text FROM meridian.submission), '0');
-- Refused with the words of admission, and with the place.
SELECT pg_temp.expect_refused('MR004', words, 'SELECT meridian.submit_many(''[{"kind": "noop"}, ' || job || ']'')')
FROM (VALUES
  ('job 2: kind: missing or too long', '{}'),
  ('job 2: market: there is no market "xx"', '{"kind": "noop", "market": "xx"}'),
  ('job 2: market: not a market code', '{"kind": "noop", "market": "x y"}'),
  ('job 2: task: there is no task "none"', '{"kind": "finetune", "market": "de-DE", "task": "none"}'),
  ('job 2: spec.region: there is no region "no"', '{"kind": "noop", "spec": {"region": "no"}}'),
  ('job 2: priority: 1001 is not within', '{"kind": "noop", "priority": 1001}'),
  ('job 2: priority: invalid input', '{"kind": "noop", "priority": "high"}'),
  ('job 2: spec: not a JSON object', '{"kind": "noop", "spec": []}'),
  ('job 2: after: ', '{"kind": "noop", "after": ["x"]}'),
  ('job 2: after: a job is named with two', '{"kind": "noop", "after": ["00000000-0000-0000-0000-000000000001"],
     "after_any": ["00000000-0000-0000-0000-000000000001"]}'),
  ('job 2: quorum: 2 of 1 jobs', '{"kind": "noop", "after": ["00000000-0000-0000-0000-000000000001"], "quorum": 2}'),
  ('job 2: unique: the key is held by job', '{"kind": "noop", "unique_key": "b"}'),
  ('job 2: unique_policy: none of', '{"kind": "noop", "unique_key": "x", "unique_policy": "maybe"}'),
  ('job 2: unique_policy: without', '{"kind": "noop", "unique_policy": "keep"}'),
  ('job 2: not_before: ', '{"kind": "noop", "not_before": "soon"}'),
  ('job 2: max_attempts: 0 is not', '{"kind": "noop", "max_attempts": 0}'),
  ('job 2: sped: there is no such field', '{"kind": "noop", "sped": {}}'),
  ('job 2: id: job 00000000-0000-0000-0000-000000000001 was submitted', '{"kind": "noop",
     "id": "00000000-0000-0000-0000-000000000001"}'),
  ('job 2: not a JSON object', '7')) AS c(words, job);
SELECT pg_temp.expect_refused('MR004', 'named twice', $$SELECT meridian.submit_many('[
  {"kind": "noop", "id": "00000000-0000-0000-0000-0000000000ff"},
  {"kind": "noop", "id": "00000000-0000-0000-0000-0000000000ff"}]')$$);
SELECT pg_temp.expect_refused('MR004', 'spec: more than 64 KiB',
  $$SELECT meridian.submit('noop', spec => jsonb_build_object('x', repeat('x', 70000)))$$);
SELECT pg_temp.expect_equal('none was written', (SELECT count(*)::text FROM meridian.submission), '0');
-- Plain jobs go the short way. Its answer, made from what it wrote, is what the mirror would show; what is known is
-- answered as it is, and what names a market or a task that is not there is rejected.
CREATE TEMP TABLE plain AS SELECT * FROM meridian.job_admit_plain(1, jsonb_build_array(
  pg_temp.item(40, NULL) || '{"labels": "gpu=a100", "priority": 7, "threads": 3}',
  pg_temp.item(41, NULL) || jsonb_build_object('not_before_ms', (extract(epoch FROM now() + interval '1 hour') * 1000)::bigint),
  pg_temp.item(42, NULL) || '{"market": "xx-XX"}',
  pg_temp.item(43, NULL) || '{"kind": "evaluate", "task": "nowhere"}'));
SELECT pg_temp.expect_equal('plain states', (SELECT string_agg(state, ' ' ORDER BY id) FROM plain),
  'queued waiting rejected rejected');
SELECT pg_temp.expect_equal('plain reasons', (SELECT string_agg(split_part(error_text, ';', 1), ', ' ORDER BY id) FROM plain),
  'market: there is no market "xx-XX", task: there is no task "nowhere"');
SELECT pg_temp.expect_equal('an answer as the mirror shows it', (SELECT string_agg(p.id::text, ' ') FROM plain p
  JOIN meridian.job_mirror m USING (id)
  WHERE to_jsonb(p) - 'due_in_ms' <> to_jsonb(m) - 'due_in_ms' OR abs(p.due_in_ms - m.due_in_ms) > 60000), NULL);
SELECT pg_temp.expect_equal('plain events', (SELECT string_agg(e.to_state || ': ' || split_part(e.reason, ':', 1), ', ' ORDER BY e.id)
  FROM meridian.event e JOIN plain p ON p.id = e.job),
  'queued: admitted, waiting: admitted, rejected: rejected, rejected: rejected');
SELECT pg_temp.expect_equal('plain and known', (SELECT string_agg(DISTINCT state, ' ') FROM meridian.job_admit_plain(1,
  jsonb_build_array(pg_temp.item(40, NULL), pg_temp.item(42, NULL), pg_temp.item(44, NULL)))), 'queued rejected');
SELECT pg_temp.expect_refused('23505', 'job_pkey', format('SELECT meridian.job_admit_plain(1, %L)',
  jsonb_build_array(pg_temp.item(45, NULL), pg_temp.item(45, NULL))));
SELECT pg_temp.expect_refused('MR001', '', 'SELECT meridian.job_admit_plain(2, ''[]'')');
-- Jobs that are alike go a shorter way yet, with the outcome of the plain way in every column.
CREATE TEMP TABLE alike (number integer, more jsonb);
INSERT INTO alike VALUES (50, '{}'), (52, '{"labels": "gpu=a100", "priority": 7, "threads": 3, "task": "t"}'),
  (54, '{"market": "xx-XX"}'), (56, '{"kind": "evaluate", "task": "nowhere"}'),
  (58, '{"not_before_ms": 4102444800000}');
CREATE TEMP TABLE ways AS SELECT 'plain' AS way, a.number, m.* FROM alike a CROSS JOIN LATERAL
  meridian.job_admit_plain(1, jsonb_build_array(pg_temp.item(a.number, NULL) || a.more || '{"spec": {"a": 1}}',
    pg_temp.item(a.number + 1, NULL) || a.more || '{"spec": {"a": 2}}')) m;
INSERT INTO ways SELECT 'alike', a.number, m.* FROM alike a CROSS JOIN LATERAL meridian.job_admit_alike(1,
  pg_temp.item(0, NULL) - 'spec' || a.more, ARRAY[pg_temp.id(a.number + 100), pg_temp.id(a.number + 101)],
  '[{"a": 1}, {"a": 2}]') m;
SELECT pg_temp.expect_equal('rows of both ways', (SELECT string_agg(way || ' ' || n, ', ' ORDER BY way) FROM (
  SELECT way, count(*) AS n FROM ways GROUP BY way) w), 'alike 10, plain 10');
SELECT pg_temp.expect_equal('answers that differ', (SELECT string_agg(p.id::text, ' ') FROM ways p JOIN ways a
  ON a.way = 'alike' AND a.id = pg_temp.id(right(p.id::text, 3)::integer + 100) WHERE p.way = 'plain' AND
  to_jsonb(p) - '{way,id,queued_ms,due_in_ms}'::text[] <> to_jsonb(a) - '{way,id,queued_ms,due_in_ms}'::text[]), NULL);
SELECT pg_temp.expect_equal('rows that differ', (SELECT string_agg(p.id::text, ' ') FROM ways w JOIN meridian.job p
  USING (id) JOIN meridian.job a ON a.id = pg_temp.id(right(p.id::text, 3)::integer + 100) WHERE w.way = 'plain' AND
  to_jsonb(p) - '{id,submitted_at,admitted_at,queued_at,ended_at}'::text[]
  <> to_jsonb(a) - '{id,submitted_at,admitted_at,queued_at,ended_at}'::text[]), NULL);
SELECT pg_temp.expect_equal('events that differ', (SELECT string_agg(w.id::text, ' ') FROM ways w
  JOIN meridian.event p ON p.job = w.id JOIN meridian.event a
  ON a.job = pg_temp.id(right(w.id::text, 3)::integer + 100) WHERE w.way = 'plain'
  AND (p.to_state, p.reason) IS DISTINCT FROM (a.to_state, a.reason)), NULL);
CREATE TEMP TABLE one_spec AS SELECT DISTINCT id, state FROM meridian.job_admit_alike(1, pg_temp.item(0, NULL) - 'spec',
  ARRAY[pg_temp.id(50), pg_temp.id(200), pg_temp.id(201)], '[{"a": 3}]');
SELECT pg_temp.expect_equal('one spec for all, and one known', (SELECT string_agg(o.state || ' ' || (j.spec ->> 'a'), ', '
  ORDER BY o.id) FROM one_spec o JOIN meridian.job j USING (id)), 'queued 1, queued 3, queued 3');
SELECT pg_temp.expect_refused('MR001', '', 'SELECT meridian.job_admit_alike(2, ''{}'', ''{}'', ''[]'')');
-- A submitter submits, and sees nothing.
SET ROLE meridian_submitter;
SELECT meridian.submit('noop');
SELECT meridian.submit_many('[{"kind": "noop"}]');
SELECT pg_temp.expect_refused('42501', '', 'SELECT * FROM meridian.submission');
SELECT pg_temp.expect_refused('42501', '', 'SELECT * FROM meridian.job');
SELECT pg_temp.expect_refused('42501', '', 'SELECT * FROM report.pending');
SELECT pg_temp.expect_refused('42501', '', $$SELECT meridian.submission_check('{}', '')$$);
RESET ROLE;
