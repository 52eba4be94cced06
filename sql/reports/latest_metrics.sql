-- Every figure of each market's newest evaluation, and of the training of the version it scored.
CREATE OR REPLACE VIEW report.latest_metrics AS
SELECT m.code AS market, t.name AS task, e.number AS version, x.role, x.name AS metric, x.value, x.low, x.high,
  e.night, e.ended_at AS at, x.version AS version_id, e.evaluation AS evaluation_id
FROM meridian.market m
CROSS JOIN meridian.task t
CROSS JOIN LATERAL (
  SELECT s.evaluation, s.version, s.number, s.night, s.ended_at
  FROM meridian.evaluation_summary s
  WHERE s.market = m.code AND s.task = t.name
  ORDER BY s.evaluation DESC LIMIT 1
) e
CROSS JOIN LATERAL (
  SELECT role, name, value, low, high, version FROM meridian.metric WHERE evaluation = e.evaluation
  UNION ALL
  SELECT role, name, value, low, high, version FROM meridian.metric
  WHERE version = e.version AND role = 'training'
) x;
