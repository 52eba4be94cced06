/*
 * Jobs that were given to this supervisor and wait for a runner: first in, first out, bounded.
 */
#ifndef WORKER_SUPERVISOR_WAITING_H
#define WORKER_SUPERVISOR_WAITING_H

#include "common/message/message.h"

#include <stddef.h>
#include <stdint.h>

struct waiting_item {
    struct message_ready job; /* its spec is owned */
    int64_t lease_ms;         /* our clock at the assignment, at the latest */
    int64_t taken_ms;         /* when it was added */
};

struct waiting {
    /* read only */
    struct waiting_item **items; /* [count], the oldest first */
    size_t count;
    /* private */
    struct waiting_item **room_start; /* items lie somewhere in it: the first is taken often */
    size_t room;
    size_t max;
};

void waiting_init(struct waiting *w, size_t max);
void waiting_close(struct waiting *w);
/* Copies job with its spec. ERR_LIMIT, ERR_NOMEM. */
MUST_CHECK int waiting_add(struct waiting *w, const struct message_ready *job, int64_t lease_ms,
                           int64_t now_ms);
/* Its place, or -1. */
long waiting_find(const struct waiting *w, const char *job, int32_t attempt);
/* Takes the item at that place out. Returns owned (waiting_free). */
struct waiting_item *waiting_take(struct waiting *w, size_t at);
void waiting_free(struct waiting_item *item);

#endif
