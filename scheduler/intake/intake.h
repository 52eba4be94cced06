/*
 * Submissions, from the stream {prefix}:intake into the record.
 *
 * An entry is acknowledged and deleted only after PostgreSQL has committed it, so what was
 * acknowledged to a client cannot be lost, and what was read by a scheduler that died is read again
 * by the next one (all read as the same consumer, what is pending first). A batch that the record
 * refuses is halved until the one that it is about stands alone; that one is recorded as rejected
 * with the reason, and never stops the others. Two batches are under way at most, of a bulk each or
 * of what single submissions there are, so nothing piles up here while PostgreSQL is slow or away:
 * it stays in Redis.
 */
#ifndef SCHEDULER_INTAKE_INTAKE_H
#define SCHEDULER_INTAKE_INTAKE_H

#include "scheduler/core/core.h"

struct redis;
struct uv_loop_s;
struct intake;

struct intake_options {
    struct uv_loop_s *loop; /* kept */
    struct redis *blocking; /* kept; reads with BLOCK, so it is used for nothing else */
    struct redis *redis;    /* kept: replies and acknowledgements */
    struct core *core;      /* kept */
    const char *prefix;     /* kept */
};

/* Returns owned (intake_close), or NULL when out of memory. */
struct intake *intake_new(const struct intake_options *options);
/* The core is ready. */
void intake_start(struct intake *in);
/* The core stops: a batch under way is given up and read again later. */
void intake_stop(struct intake *in);
/* For the core's transport port; cookie as given to core_admit. */
void intake_admitted(void *cookie, int status, const struct core_admitted *rows, size_t count);
/* Frees in later; both redis clients must be closed first. */
void intake_close(struct intake *in);

#endif
