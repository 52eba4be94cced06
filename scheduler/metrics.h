/* What the scheduler counts: one table. See common/metrics for how it is shown. */
#ifndef SCHEDULER_METRICS_H
#define SCHEDULER_METRICS_H

#include "common/base/buf.h"
#include "scheduler/core/core.h"

#include <stdbool.h>
#include <stdint.h>

struct scheduler_metrics;

/* What is asked for at the moment of writing. */
struct scheduler_facts {
    const struct core *core;
    bool is_leading;
    bool is_ready; /* the core is */
    int64_t term;  /* 0 while standing by */
    bool is_postgresql_up;
    bool is_redis_up;
};

/* Returns owned, or NULL when out of memory. */
struct scheduler_metrics *scheduler_metrics_new(void);
void scheduler_metrics_free(struct scheduler_metrics *m);
/* A job was dispatched that had been runnable for so long. */
void scheduler_metrics_waited(struct scheduler_metrics *m, double seconds);
/* The loop's timer came so late. */
void scheduler_metrics_lag(struct scheduler_metrics *m, double seconds);
void scheduler_metrics_restarted(struct scheduler_metrics *m);
MUST_CHECK int scheduler_metrics_write(struct scheduler_metrics *m,
                                       const struct scheduler_facts *facts, struct buf *out);

#endif
