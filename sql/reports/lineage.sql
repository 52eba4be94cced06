-- Where each version comes from: its base, its data and its job.
CREATE OR REPLACE VIEW report.lineage AS
SELECT v.id AS version_id, v.market, v.task, v.number AS version, v.family, v.method, v.created_at,
  v.base_version AS base_version_id, v.base_market, v.base_number AS base_version, v.train_samples,
  encode(v.train_sha256, 'hex') AS train_sha256, encode(v.artifact, 'hex') AS artifact_sha256, v.engine,
  v.kernel, v.threads, v.seed, v.job, c.version IS NOT NULL AS is_champion,
  v.attempt AS attempts, v.resumes
FROM meridian.version v
LEFT JOIN meridian.champion c ON c.version = v.id AND c.market = v.market AND c.task = v.task;
