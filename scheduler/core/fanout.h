/*
 * The children of a nightly: one fine-tune of the task's global base when the task pools source
 * markets, then for each market a fine-tune and the evaluation that may promote it. Ids derive from
 * the parent's, so making them twice makes them once.
 */
#ifndef SCHEDULER_CORE_FANOUT_H
#define SCHEDULER_CORE_FANOUT_H

#include "common/base/buf.h"
#include "scheduler/core/core.h"

enum { FANOUT_MARKETS_MAX = 2000 };

struct fanout {
    /* read only */
    struct core_submission *children;
    size_t count;
    int quorum; /* evaluations that must succeed; 0: every job must */
    /* private */
    struct core_id *after; /* one a child */
    struct buf storage;    /* specs and regions */
};

/*
 * Makes the children of the plan's parent. ERR_INVALID when the nightly cannot be carried out (no
 * market, a market that does not exist): the reason says why. ERR_NOMEM. On failure nothing needs
 * closing. Children borrow from plan.
 */
MUST_CHECK int fanout_init(struct fanout *f, const struct core_plan *plan, struct err_buf *e);
void fanout_close(struct fanout *f);

/* The id of a child: market "" for the global base. */
struct core_id fanout_child_id(struct core_id parent, struct span market, const char *kind);

#endif
