-- The scores of each market's challengers, week by week: is a market getting better or worse?
CREATE OR REPLACE VIEW report.market_trend AS
SELECT w.market, w.task, w.week, w.nights, w.promoted,
  w.accuracy, w.macro_f1, w.macro_f1_best,
  w.macro_f1 - lag(w.macro_f1) OVER weeks AS macro_f1_change,
  avg(w.macro_f1) OVER (weeks ROWS 3 PRECEDING) AS macro_f1_4_weeks,
  w.train_samples, w.duration_s
FROM (
  SELECT s.market, s.task, date_trunc('week', s.night::timestamp)::date AS week,
    count(*) AS nights, count(*) FILTER (WHERE s.promoted) AS promoted,
    avg(s.accuracy) AS accuracy, avg(s.macro_f1) AS macro_f1, max(s.macro_f1) AS macro_f1_best,
    max(s.train_samples) AS train_samples,
    avg(s.duration_s) AS duration_s
  FROM meridian.evaluation_summary s
  WHERE s.night IS NOT NULL AND s.market IS NOT NULL
  GROUP BY 1, 2, 3
) w
WINDOW weeks AS (PARTITION BY w.market, w.task ORDER BY w.week);
