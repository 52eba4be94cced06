-- Promotion by hand and rollback: promotions push, rollbacks pop; history only grows.
SELECT meridian.attempt_finish(1, pg_temp.running('finetune', 'de-DE'), 1, 'w', 1, pg_temp.finetune_result())
FROM generate_series(1, 3);
SELECT min(id) AS v1, min(id) + 1 AS v2, min(id) + 2 AS v3 FROM meridian.version \gset
CREATE FUNCTION pg_temp.champion() RETURNS text LANGUAGE sql AS $$
  SELECT v.number::text FROM meridian.champion c JOIN meridian.version v ON v.id = c.version $$;
SELECT pg_temp.expect_refused('MR004', 'has no champion', $$SELECT meridian.model_rollback('de-DE', 't', 'me', '')$$);
SELECT pg_temp.expect_refused('MR002', 'no version 999',
  $$SELECT meridian.model_promote('de-DE', 't', 999, 'me', '')$$);
SELECT pg_temp.expect_refused('MR002', 'no market "xx"',
  $$SELECT meridian.model_promote('xx', 't', 1, 'me', '')$$);
SELECT pg_temp.expect_refused('MR004', 'not of fr-FR',
  format($$SELECT meridian.model_promote('fr-FR', 't', %s, 'me', '')$$, :v1));
SELECT meridian.model_promote('de-DE', 't', :v1, 'me', 'first');
SELECT pg_temp.expect_refused('MR004', 'champion of de-DE already',
  format($$SELECT meridian.model_promote('de-DE', 't', %s, 'me', '')$$, :v1));
SELECT pg_temp.expect_refused('MR004', 'no champion before',
  $$SELECT meridian.model_rollback('de-DE', 't', 'me', '')$$);
SELECT meridian.model_promote('de-DE', 't', :v2, 'me', '');
SELECT meridian.model_promote('de-DE', 't', :v3, 'me', '');
SELECT meridian.model_rollback('de-DE', 't', 'me', 'complaints');
SELECT pg_temp.expect_equal('one back', pg_temp.champion(), '2');
SELECT meridian.model_promote('de-DE', 't', :v1, 'me', '');
SELECT meridian.model_rollback('de-DE', 't', 'me', '');
SELECT pg_temp.expect_equal('back to what was before', pg_temp.champion(), '2');
SELECT meridian.model_rollback('de-DE', 't', 'me', '');
SELECT pg_temp.expect_equal('and further back', pg_temp.champion(), '1');
SELECT pg_temp.expect_refused('MR004', 'no champion before',
  $$SELECT meridian.model_rollback('de-DE', 't', 'me', '')$$);
SELECT pg_temp.expect_equal('history', (SELECT string_agg(left(kind, 1) || version - :v1 + 1, ' ' ORDER BY id)
  FROM meridian.promotion), 'm1 m2 m3 r2 m1 r2 r1');
SELECT pg_temp.expect_equal('the reason stays', (SELECT reason FROM meridian.promotion
  WHERE kind = 'rollback' ORDER BY id LIMIT 1), 'complaints');
-- A global base may become a market's champion.
SELECT meridian.attempt_finish(1, pg_temp.running('finetune', NULL), 1, 'w', 1, pg_temp.finetune_result());
SELECT meridian.model_promote('fr-FR', 't', (SELECT max(id) FROM meridian.version), 'me', '');
SELECT pg_temp.expect_equal('two champions', (SELECT count(*)::text FROM meridian.champion), '2');
-- Nobody rewrites it.
SELECT pg_temp.expect_refused('MR011', 'append-only', 'UPDATE meridian.promotion SET actor = ''x''');
SELECT pg_temp.expect_refused('MR011', 'append-only', 'DELETE FROM meridian.promotion');
SELECT pg_temp.expect_refused('MR011', 'append-only', 'UPDATE meridian.event SET actor = ''x''');
SELECT pg_temp.expect_refused('MR011', 'append-only', 'DELETE FROM meridian.event');
SELECT pg_temp.expect_refused('MR011', 'append-only', 'TRUNCATE meridian.event');
-- But for a superuser who says so.
SET meridian.purge = 'on';
DELETE FROM meridian.event WHERE id = 1;
SELECT pg_temp.expect('purged', NOT EXISTS (SELECT FROM meridian.event WHERE id = 1));
