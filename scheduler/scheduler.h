/*
 * The program's parts, wired together on one libuv loop: two connections to PostgreSQL (work, and
 * the term alone), three to Redis (commands, and one for each stream that is read with BLOCK).
 *
 *   STANDBY ──term granted──► LEADING (core loads, then decides)
 *      ▲                        │ │
 *      └──────term lost─────────┘ └─ lost an answer ─► PAUSED ── soon ──► LEADING
 *   any ──SIGTERM──► STOPPING: resign, close everything, leave the loop
 */
#ifndef SCHEDULER_SCHEDULER_H
#define SCHEDULER_SCHEDULER_H

#include "common/base/err.h"

#include <stdint.h>

struct scheduler;

struct scheduler_options {
    const char *redis_url;
    const char *database_url;
    const char *prefix;
    const char *role; /* SET ROLE after connecting; NULL = none */
    int64_t ttl_ms;   /* of the leader's term */
    int64_t undelivered_ms;
    int64_t priority_age_ms;
    int64_t half_life_ms;
    const char *metrics;   /* HOST:PORT to listen on; NULL: nowhere */
    int64_t memory_max_mb; /* of a job that ran out of memory and runs once more */
};

/* Runs until SIGTERM or SIGINT. Borrows options. Non-zero: it could not start; e says why. */
MUST_CHECK int scheduler_run(const struct scheduler_options *options, struct err_buf *e);

#endif
