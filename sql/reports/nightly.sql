-- One row a night, market and task: what came of it.
-- Finished ones are read from the summaries; the others (failed, skipped, still running) are few and
-- are put together from their jobs.
CREATE OR REPLACE VIEW report.nightly AS
SELECT s.night, s.market, s.task, 'succeeded'::text AS state, s.started_at, s.duration_s,
  s.train_samples, s.test_samples,
  s.number AS challenger, s.champion_number AS champion,
  s.accuracy AS challenger_accuracy, s.champion_accuracy,
  s.macro_f1 AS challenger_macro_f1, s.champion_macro_f1,
  s.promoted, coalesce(s.sentence, s.reason) AS why, s.version AS version_id, s.job
FROM meridian.evaluation_summary s
WHERE s.night IS NOT NULL AND s.market IS NOT NULL
UNION ALL
SELECT o.night, o.market, o.task,
  CASE WHEN o.failed > 0 THEN 'failed' WHEN o.cancelled > 0 THEN 'cancelled'
       WHEN o.running > 0 THEN 'running' WHEN o.queued > 0 THEN 'queued'
       WHEN o.waiting > 0 THEN 'waiting' ELSE 'skipped' END,
  t.started_at,
  round(extract(epoch FROM CASE WHEN o.running + o.queued + o.waiting = 0 THEN o.ended_at
                                ELSE now() END - t.started_at), 1)::double precision,
  t.train_samples, NULL, t.number, NULL, NULL, NULL, NULL, NULL,
  false, o.why, t.version, o.job
FROM (
  SELECT j.night, j.market, j.task, j.parent,
    count(*) FILTER (WHERE j.state IN ('failed', 'rejected')) AS failed,
    count(*) FILTER (WHERE j.state = 'cancelled') AS cancelled,
    count(*) FILTER (WHERE j.state IN ('dispatched', 'running')) AS running,
    count(*) FILTER (WHERE j.state = 'queued') AS queued,
    count(*) FILTER (WHERE j.state = 'waiting') AS waiting,
    min(j.started_at) AS started_at, max(j.ended_at) AS ended_at,
    (array_agg(coalesce(j.error_text, j.error_code)
       ORDER BY j.state IN ('failed', 'rejected') DESC, j.submitted_at)
       FILTER (WHERE j.error_code IS NOT NULL))[1] AS why,
    -- The one to look at: what failed, else what runs, else what is next.
    (array_agg(j.id ORDER BY j.state IN ('failed', 'rejected') DESC,
       j.state IN ('dispatched', 'running') DESC, j.state = 'queued' DESC, j.submitted_at, j.id))[1] AS job
  FROM meridian.job j
  WHERE j.night IS NOT NULL AND j.market IS NOT NULL AND j.state <> 'succeeded'
    AND j.replayed_by IS NULL
  GROUP BY j.night, j.market, j.task, j.parent
) o
-- The market's fine-tune of the same night, when it went well.
LEFT JOIN LATERAL (
  SELECT least(min(f.started_at), o.started_at) AS started_at, max(v.number) AS number,
    max(v.id) AS version, max(v.train_samples) AS train_samples
  FROM meridian.job f
  LEFT JOIN meridian.version v ON v.job = f.id
  WHERE f.parent = o.parent AND f.market = o.market
) t ON true;
