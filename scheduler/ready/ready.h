/*
 * Tells workers of their attempts: one entry an attempt in the stream of the worker,
 * {prefix}:ready:WORKER.
 *
 * This is only the fast path, and nothing here needs to be kept: what Redis loses is handed over by
 * the record with the worker's next renewal.
 */
#ifndef SCHEDULER_READY_READY_H
#define SCHEDULER_READY_READY_H

#include "scheduler/core/core.h"

struct redis;
struct ready;

struct ready_options {
    struct redis *redis; /* kept */
    const char *prefix;  /* kept */
};

/* Returns owned (ready_free), or NULL when out of memory. */
struct ready *ready_new(const struct ready_options *options);
/* For the core's transport port. */
void ready_send(struct ready *r, const struct core_record *job);
/* redis must be closed first. */
void ready_free(struct ready *r);

#endif
