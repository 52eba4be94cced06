/*
 * Offers attempts to workers: one entry a job in the ready stream of its region.
 *
 * Nothing here needs to be kept: an offer that Redis loses is withdrawn by the record after some
 * seconds and made again. A mark in Redis shows whether it has forgotten (FLUSHALL, a restart
 * without its file, a failover): then on_forgotten tells the owner to offer again what is open.
 */
#ifndef SCHEDULER_READY_READY_H
#define SCHEDULER_READY_READY_H

#include "scheduler/core/core.h"

struct redis;
struct uv_loop_s;
struct ready;

struct ready_options {
    struct uv_loop_s *loop; /* kept */
    struct redis *redis;    /* kept */
    const char *prefix;     /* kept */
    const char *holder;     /* kept: what the mark says */
    void (*on_forgotten)(void *data);
    void *data;
};

/* Returns owned (ready_close), or NULL when out of memory. */
struct ready *ready_new(const struct ready_options *options);
/* Leading: sets the mark and watches it. */
void ready_start(struct ready *r);
void ready_stop(struct ready *r);
/* For the core's transport port. */
void ready_offer(struct ready *r, const struct core_record *job);
void ready_clear(struct ready *r, const struct span *regions, size_t count);
/* Frees r later; redis must be closed first. */
void ready_close(struct ready *r);

#endif
