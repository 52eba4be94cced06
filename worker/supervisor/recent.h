/*
 * The attempts that were taken lately: an assignment may come twice, and is taken once.
 *
 * Two sets of fingerprints of (job, attempt): one that is filled, and the one that was filled
 * before. They change places every period, so an attempt is remembered for one to two periods.
 */
#ifndef WORKER_SUPERVISOR_RECENT_H
#define WORKER_SUPERVISOR_RECENT_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct recent_set {
    uint64_t *slots; /* 0: empty */
    size_t room;     /* a power of two, or 0 */
    size_t count;
};

/* All private. */
struct recent {
    struct recent_set now, before;
    int64_t period_ms;
    int64_t turned_ms;
    size_t max; /* in one set: beyond it the sets change places early */
};

void recent_init(struct recent *r, int64_t period_ms, size_t max);
void recent_close(struct recent *r);
/* ERR_NOMEM: not remembered. */
MUST_CHECK int recent_add(struct recent *r, const char *job, int32_t attempt, int64_t now_ms);
bool recent_has(const struct recent *r, const char *job, int32_t attempt);

#endif
