-- What each market's newest evaluation took for what: one row a pair that occurred.
-- Any other version: SELECT * FROM report.confusion_of(VERSION_ID).
CREATE OR REPLACE FUNCTION report.confusion_of(p_version bigint)
RETURNS TABLE (truth text, predicted text, count integer, share_of_truth double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  SELECT x.truth, x.predicted, x.count,
    x.count / nullif(sum(x.count) OVER (PARTITION BY x.truth), 0)::double precision
  FROM meridian.confusion_cell x
  WHERE x.evaluation = (SELECT max(id) FROM meridian.evaluation WHERE version = p_version)
  ORDER BY x.truth, x.count DESC, x.predicted
$$;

CREATE OR REPLACE VIEW report.confusion AS
SELECT m.code AS market, t.name AS task, e.number AS version, x.truth, x.predicted, x.count,
  x.count / x.of_truth::double precision AS share_of_truth, x.truth = x.predicted AS is_right, e.night,
  e.version AS version_id, e.evaluation AS evaluation_id
FROM meridian.market m
CROSS JOIN meridian.task t
CROSS JOIN LATERAL (
  SELECT s.evaluation, s.version, s.number, s.night
  FROM meridian.evaluation_summary s
  WHERE s.market = m.code AND s.task = t.name
  ORDER BY s.evaluation DESC LIMIT 1
) e
CROSS JOIN LATERAL (
  SELECT c.truth, c.predicted, c.count, sum(c.count) OVER (PARTITION BY c.truth) AS of_truth
  FROM meridian.confusion_cell c WHERE c.evaluation = e.evaluation
) x;
