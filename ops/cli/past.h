/*
 * A past window of the record as a replay takes it: the jobs that ran, who worked, and what the
 * scheduler went by. Names point into the results of the queries, which live until past_close.
 */
#ifndef OPS_CLI_PAST_H
#define OPS_CLI_PAST_H

#include "ops/cli/cli.h"
#include "scheduler/replay/replay.h"

/* What the history says of a job beside what a replay needs; milliseconds of the window. */
struct past_times {
    int64_t wait_ms;
    int64_t end_ms;
};

struct past {
    struct replay_job *jobs; /* by arrival */
    struct past_times *times;
    size_t job_count;
    int64_t busy_ms; /* the work of all jobs */
    int64_t end_ms;  /* when the last one ended */
    struct replay_worker *workers;
    size_t worker_count;
    int64_t slots; /* of those workers */
    struct core_market_row *markets;
    size_t market_count;
    struct core_region_row *regions; /* those with a limit */
    size_t region_count;
    struct core_task_row *tasks; /* the same */
    size_t task_count;
    struct core_settings settings;
    /* private */
    struct core_id *needs;
    struct pg_result *history, *workers_seen, *markets_seen, *limits_seen, *policy_seen;
};

/* From since to before until, texts for PostgreSQL. Needs the control database. Close p also after
 * a failure. */
MUST_CHECK int past_read(struct past *p, struct cli *c, const char *since, const char *until);
void past_close(struct past *p);

#endif
