/*
 * Which of many workers has room for a job: a tree over them whose nodes know the most of each
 * resource that any worker below has free, and the lightest load. Setting one is O(log workers).
 * Finding one follows the side with the lighter load, so work spreads; it turns back only where the
 * most free memory and the most free threads are of different workers.
 */
#ifndef SCHEDULER_CORE_ROOM_H
#define SCHEDULER_CORE_ROOM_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct room {
    int slots;
    int threads;
    int memory_mb;
    float load; /* of a worker: the lighter goes first. Not looked at in what is wanted */
};

struct room_tree {
    /* private */
    struct room *nodes; /* a heap-ordered complete tree: [1] is the root, leaves from [leaves] */
    size_t leaves;
};

enum { ROOM_NONE = -1 };

static inline bool room_holds(const struct room *free, const struct room *wanted)
{
    return free->slots >= wanted->slots && free->threads >= wanted->threads &&
           free->memory_mb >= wanted->memory_mb;
}

void room_init(struct room_tree *t);
void room_close(struct room_tree *t);
/* False: certainly no worker holds it. One look, whatever the number of workers. */
bool room_may_hold(const struct room_tree *t, const struct room *wanted);
/* The free room of worker `index`; without a free slot it counts as none at all. ERR_NOMEM: not
 * set. */
MUST_CHECK int room_set(struct room_tree *t, size_t index, struct room free);
/* A worker that holds what is wanted, or ROOM_NONE. ret_visits, if given, grows by the nodes that
 * were looked at. */
long room_find(const struct room_tree *t, const struct room *wanted, uint64_t *ret_visits);

#endif
