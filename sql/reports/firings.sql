-- What became of every time at which a schedule was due: why a night did not run.
CREATE OR REPLACE VIEW report.firings AS
SELECT f.nominal_at AS at, f.schedule, f.timezone, coalesce(f.local_at, f.nominal_at AT TIME ZONE f.timezone) AS local_at,
  f.outcome, f.reason, coalesce(f.why, CASE WHEN f.local_at IS NULL THEN 'fired by hand'
    WHEN f.fired_at > f.nominal_at + interval '1 minute'
      THEN 'fired ' || date_trunc('second', f.fired_at - f.nominal_at) || ' after its time' END) AS why,
  f.markets, f.fired_at, f.job, j.state AS job_state
FROM meridian.firing f
LEFT JOIN meridian.job j ON j.id = f.job;
