-- Precision, recall, F1 and support by class of each market's newest evaluation, closed by the rows
-- that scikit-learn's classification_report prints: accuracy, micro, macro and weighted averages.
-- Any other version: SELECT * FROM report.class_report_of(VERSION_ID).
CREATE OR REPLACE FUNCTION report.class_rows(p_evaluation bigint)
RETURNS TABLE (position_ integer, label text, precision_ double precision, recall double precision,
  f1 double precision, support bigint)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 12 SET search_path = meridian, pg_temp AS $$
  WITH class AS MATERIALIZED (
    SELECT position, label, precision_, recall, f1, support
    FROM meridian.class_metric WHERE evaluation = p_evaluation
  ), total AS (
    SELECT sum(support) AS support FROM class
  ), scored AS (
    SELECT max(value) FILTER (WHERE name = 'accuracy') AS accuracy,
      max(value) FILTER (WHERE name = 'micro_precision') AS micro_precision,
      max(value) FILTER (WHERE name = 'micro_recall') AS micro_recall,
      max(value) FILTER (WHERE name = 'micro_f1') AS micro_f1,
      max(value) FILTER (WHERE name = 'macro_precision') AS macro_precision,
      max(value) FILTER (WHERE name = 'macro_recall') AS macro_recall,
      max(value) FILTER (WHERE name = 'macro_f1') AS macro_f1,
      max(value) FILTER (WHERE name = 'weighted_precision') AS weighted_precision,
      max(value) FILTER (WHERE name = 'weighted_recall') AS weighted_recall,
      max(value) FILTER (WHERE name = 'weighted_f1') AS weighted_f1
    FROM meridian.metric WHERE evaluation = p_evaluation AND role = 'challenger'
  )
  SELECT position, label, precision_, recall, f1, support::bigint FROM class
  UNION ALL
  SELECT a.position, a.label, a.precision_, a.recall, a.f1, t.support
  FROM scored s, total t, LATERAL (VALUES
    (1000001, 'accuracy', NULL::double precision, NULL::double precision, s.accuracy),
    (1000002, 'micro avg', s.micro_precision, s.micro_recall, s.micro_f1),
    (1000003, 'macro avg', s.macro_precision, s.macro_recall, s.macro_f1),
    (1000004, 'weighted avg', s.weighted_precision, s.weighted_recall, s.weighted_f1)
  ) AS a(position, label, precision_, recall, f1)
  WHERE t.support IS NOT NULL AND a.f1 IS NOT NULL
  ORDER BY 1
$$;

CREATE OR REPLACE FUNCTION report.class_report_of(p_version bigint)
RETURNS TABLE (label text, "precision" double precision, recall double precision, f1 double precision,
  support bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = meridian, pg_temp AS $$
  SELECT c.label, c.precision_, c.recall, c.f1, c.support
  FROM report.class_rows((SELECT max(id) FROM meridian.evaluation WHERE version = p_version)) AS c
  ORDER BY c.position_
$$;

CREATE OR REPLACE VIEW report.class_report AS
SELECT m.code AS market, t.name AS task, e.number AS version, c.label, c.precision_ AS "precision",
  c.recall, c.f1, c.support, c.position_ AS position, e.night, e.version AS version_id,
  e.evaluation AS evaluation_id
FROM meridian.market m
CROSS JOIN meridian.task t
CROSS JOIN LATERAL (
  SELECT s.evaluation, s.version, s.number, s.night
  FROM meridian.evaluation_summary s
  WHERE s.market = m.code AND s.task = t.name
  ORDER BY s.evaluation DESC LIMIT 1
) e
CROSS JOIN LATERAL report.class_rows(e.evaluation) c;
