-- The age of each market's champion, and when a newer version last tried to replace it.
CREATE OR REPLACE VIEW report.freshness AS
SELECT m.code AS market, t.name AS task, m.region, v.number AS version, c.since AS champion_since,
  round(extract(epoch FROM now() - c.since) / 86400, 2)::double precision AS champion_age_days,
  round(extract(epoch FROM now() - v.created_at) / 86400, 2)::double precision AS trained_age_days,
  l.ended_at AS last_evaluated_at, l.night AS last_night, l.promoted AS last_promoted,
  coalesce(l.sentence, l.reason) AS last_verdict, p.kind AS promoted_by, p.actor, v.id AS version_id
FROM meridian.market m
CROSS JOIN meridian.task t
LEFT JOIN meridian.champion c ON c.market = m.code AND c.task = t.name
LEFT JOIN meridian.version v ON v.id = c.version
LEFT JOIN meridian.promotion p ON p.id = c.promotion
LEFT JOIN LATERAL (
  SELECT s.ended_at, s.night, s.promoted, s.sentence, s.reason
  FROM meridian.evaluation_summary s
  WHERE s.market = m.code AND s.task = t.name
  ORDER BY s.evaluation DESC LIMIT 1
) l ON true
WHERE m.removed_at IS NULL AND (c.version IS NOT NULL OR l.ended_at IS NOT NULL);
