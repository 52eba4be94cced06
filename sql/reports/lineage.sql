-- Where each version comes from: its base, its data and its job.
CREATE OR REPLACE VIEW report.lineage AS
SELECT v.id AS version_id, v.market, v.task, v.number AS version, v.family, v.method, v.created_at,
  v.base_version AS base_version_id, b.market AS base_market, b.number AS base_version,
  s.samples AS train_samples, encode(s.sha256, 'hex') AS train_sha256,
  encode(v.artifact, 'hex') AS artifact_sha256, v.engine, v.kernel, v.threads, v.seed, v.region,
  v.job, c.version IS NOT NULL AS is_champion
FROM meridian.version v
LEFT JOIN meridian.version b ON b.id = v.base_version
LEFT JOIN meridian.snapshot s ON s.id = v.train_snapshot
LEFT JOIN meridian.champion c ON c.version = v.id AND c.market = v.market AND c.task = v.task;
