-- Version 1, and two running evaluations of it, a and b, that both found no champion. The result that
-- each will report is in its spec.
SELECT meridian.attempt_finish(1, pg_temp.running('finetune', 'de-DE'), 1, 'w', 1, pg_temp.finetune_result());
SELECT pg_temp.running('evaluate', 'de-DE', '00000000-0000-0000-0000-00000000000a',
  pg_temp.evaluate_result((SELECT max(id) FROM meridian.version), NULL, true));
SELECT pg_temp.running('evaluate', 'de-DE', '00000000-0000-0000-0000-00000000000b',
  pg_temp.evaluate_result((SELECT max(id) FROM meridian.version), NULL, true));
