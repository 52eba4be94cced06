-- Every table, view and column has its sentence; every view of the catalogue is there.
SELECT pg_temp.expect('a comment on ' || c.oid::regclass, obj_description(c.oid, 'pg_class') IS NOT NULL)
FROM pg_class c
WHERE c.relnamespace IN ('meridian'::regnamespace, 'report'::regnamespace) AND c.relkind IN ('r', 'v', 'm', 'p');
SELECT pg_temp.expect('a comment on ' || c.oid::regclass || '.' || a.attname, col_description(c.oid, a.attnum)
  IS NOT NULL)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace IN ('meridian'::regnamespace, 'report'::regnamespace) AND c.relkind IN ('r', 'v', 'm', 'p');
SELECT pg_temp.expect_equal('the catalogue', (SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class
  WHERE relnamespace = 'report'::regnamespace AND relkind = 'v'), 'backfill class_report confusion dead_letters failures '
  'firings freshness latest_metrics lineage market_trend nightly pending queue_wait stale_writes worker_use');
