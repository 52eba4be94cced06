# What became of the jobs, asked of PostgreSQL alone. Sourced after jobs.sh.
#   lost      acknowledged, and not succeeded in the end (or a firing that never came)
#   twice     counted more than once: two successes, versions, evaluations or promotions of one job
#   repeated  attempts beyond the first
#   fenced    late writes of an older attempt that the record refused
#   recovery  from the fault to the last interrupted job at work again; without one, to the next success

# count_sort SORT SINCE MISSING: jobs|lost|twice|repeated|fenced|recovery
count_sort() {
    sql "
WITH asked AS (SELECT unnest($(job_ids "$1")) AS id),
jobs AS (
  SELECT a.id, j.id IS NOT NULL AND j.state = 'succeeded' AS is_done FROM asked a LEFT JOIN meridian.job j USING (id)
  UNION ALL
  SELECT c.id, c.state = 'succeeded' FROM asked a JOIN meridian.job c ON c.parent = a.id
),
counts AS (
  SELECT j.id, j.is_done,
    (SELECT count(*) FROM meridian.event e WHERE e.job = j.id AND e.to_state = 'succeeded'
       AND e.from_state IS DISTINCT FROM 'succeeded') AS successes,
    (SELECT count(*) FROM meridian.version v WHERE v.job = j.id) AS versions,
    (SELECT count(*) FROM meridian.evaluation v WHERE v.job = j.id) AS evaluations,
    (SELECT count(*) FROM meridian.promotion p JOIN meridian.evaluation v ON v.id = p.evaluation
     WHERE v.job = j.id) AS promotions,
    (SELECT count(*) FROM meridian.attempt t WHERE t.job = j.id) AS attempts,
    (SELECT count(*) FROM report.stale_writes s WHERE s.job = j.id) AS stale
  FROM jobs j
),
again AS (
  SELECT max(extract(epoch FROM n.started_at - '$2'::timestamptz)) AS s
  FROM jobs j JOIN meridian.attempt t ON t.job = j.id
  JOIN meridian.attempt n ON n.job = t.job AND n.number = t.number + 1
  WHERE t.dispatched_at < '$2' AND (t.ended_at IS NULL OR t.ended_at > '$2') AND n.started_at IS NOT NULL
),
next AS (
  SELECT min(extract(epoch FROM e.at - '$2'::timestamptz)) AS s
  FROM jobs j JOIN meridian.event e ON e.job = j.id WHERE e.to_state = 'succeeded' AND e.at > '$2'
)
SELECT count(*), count(*) FILTER (WHERE NOT is_done) + $3,
  count(*) FILTER (WHERE successes > 1 OR versions > 1 OR evaluations > 1 OR promotions > 1),
  sum(greatest(attempts - 1, 0)), sum(stale),
  coalesce(round(coalesce((SELECT s FROM again), (SELECT s FROM next)), 1)::text, '-')
FROM counts"
}

# Minutes at which the schedule should have fired and did not.
missing_firings() {
    sql "SELECT count(*) FROM generate_series(date_trunc('minute', '$scheduled_from'::timestamptz) + interval '1 minute',
             '$scheduled_until'::timestamptz, interval '1 minute') AS due
         WHERE NOT EXISTS (SELECT FROM meridian.firing f WHERE f.schedule = 'chaos' AND f.nominal_at = due)"
}

count_header() {
    printf '%-18s %-11s %6s %5s %6s %9s %7s %9s\n' fault jobs count lost twice repeated fenced recovery
}

# count_fault FAULT SINCE: a line a sort. Fails when anything was lost or counted twice.
count_fault() {
    local fault=$1 since=$2 sort missing line bad=0 fields
    for sort in ${chaos_sorts//,/ }; do
        missing=0
        [ "$sort" != scheduled ] || [ "$fault" = clock-step ] || missing=$(missing_firings)
        line=$(count_sort "$sort" "$since" "$missing")
        IFS='|' read -r -a fields <<<"$line"
        [ "$fault" != clock-step ] || fields[5]=- # measured with the clock that was stepped
        printf '%-18s %-11s %6s %5s %6s %9s %7s %9s\n' "$fault" "$sort" "${fields[@]:0:5}" \
            "${fields[5]}$([ "${fields[5]}" = - ] || echo ' s')"
        [ "${fields[1]}" -eq 0 ] && [ "${fields[2]}" -eq 0 ] || bad=1
    done
    return "$bad"
}

# Rules that hold whatever happened.
count_rules() {
    is_one "SELECT NOT EXISTS (SELECT FROM meridian.attempt WHERE ended_at IS NULL)" || say "an attempt is still open"
    is_one "SELECT NOT EXISTS (SELECT FROM meridian.attempt a JOIN meridian.job j ON j.id = a.job
              WHERE a.state = 'succeeded' AND (j.state <> 'succeeded' OR a.number <> j.attempt))" ||
        say "an attempt that is not the job's newest succeeded"
}
