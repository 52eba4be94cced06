/*
 * Recorded jobs once more through the core, on virtual time: the same decisions, other workers,
 * limits or weights.
 *
 * Times are milliseconds since the begin of the window. Everything is borrowed for the call but the
 * results, which are written into the caller's jobs and workers.
 */
#ifndef SCHEDULER_REPLAY_REPLAY_H
#define SCHEDULER_REPLAY_REPLAY_H

#include "common/base/err.h"
#include "scheduler/core/core.h"

#include <stddef.h>
#include <stdint.h>

enum { REPLAY_JOBS_MAX = 1000000, REPLAY_WORKERS_MAX = 10000 };

struct replay_job {
    struct core_id id; /* unlike that of any other */
    struct span kind;
    struct span market;
    struct span task;
    struct span region;
    struct span labels;
    int priority;
    int memory_mb;
    int threads;
    int64_t arrive_ms;
    int64_t run_ms;
    const struct core_id *needs; /* those outside the window are left out by the caller */
    size_t need_count;
    /* results */
    int64_t start_ms; /* -1: it never ran */
    int64_t end_ms;
    size_t worker; /* its index */
    /* private */
    enum core_state state;
    int64_t queued_ms;
};

struct replay_worker {
    struct span name;
    struct span region;
    struct span labels;
    int slots;
    int threads;     /* 0: does not limit */
    int memory_mb;   /* the same */
    int64_t busy_ms; /* result: the sum over its slots */
};

struct replay {
    struct replay_job *jobs; /* sorted by arrive_ms */
    size_t job_count;
    struct replay_worker *workers;
    size_t worker_count;
    /* Limits, weights, pauses; its workers are ignored. */
    const struct core_world *world;
    const struct core_settings *settings; /* NULL: the scheduler's own */
    /* results */
    int64_t end_ms; /* when the last job ended */
    size_t stuck;   /* jobs that could never start: no worker fits, a limit of zero, a circle */
    uint64_t decisions;
};

/* ERR_NOMEM; ERR_LIMIT above the numbers of jobs and workers; ERR_INVALID for a job that needs one
 * that is not there, or jobs out of order. */
MUST_CHECK int replay_run(struct replay *r, struct err_buf *e);

#endif
