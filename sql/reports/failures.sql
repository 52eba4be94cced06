-- Every attempt that did not end well, and every job that was rejected.
CREATE OR REPLACE VIEW report.failures AS
SELECT a.ended_at AS at, j.night, j.market, j.task, j.kind, a.state, a.error_code, a.error_class,
  a.error_text, a.exit_code, a.signal, a.peak_rss_kb, a.worker, a.region, a.job, a.number AS attempt,
  j.state AS job_state, a.charged
FROM meridian.attempt a
JOIN meridian.job j ON j.id = a.job
WHERE a.state IN ('failed', 'crashed', 'lost', 'returned', 'undelivered')
UNION ALL
SELECT j.ended_at, j.night, j.market, j.task, j.kind, 'rejected', j.error_code, 'caller', j.error_text,
  NULL, NULL, NULL, NULL, j.region, j.id, NULL, j.state, false
FROM meridian.job j
WHERE j.state = 'rejected';
