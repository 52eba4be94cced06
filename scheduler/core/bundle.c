/*
 * Short jobs go to a worker together. Each alone, they would spend more time on the way than in a
 * slot: the record commits hundreds of assignments as fast as one. A bundle is one unit of what a
 * worker can take; nothing joins it later, so a slot is free for others soon.
 */
#include "common/base/mem.h"
#include "scheduler/core/core_int.h"

struct core_bundle *core__bundle_new(struct core_worker *w, struct core_shape *shape)
{
    struct core_bundle *bundle = mem_new(sizeof *bundle);
    if (bundle) {
        *bundle = (struct core_bundle){.worker = w, .shape = shape, .users = 1};
        shape->users++;
    }
    return bundle;
}

void core__bundle_join(struct core_job *job, struct core_bundle *bundle)
{
    CHECK(!job->bundle);
    job->bundle = bundle;
    bundle->users++;
}

void core__bundle_let_go(struct core *c, struct core_bundle *bundle)
{
    if (--bundle->users == 0) {
        CHECK(bundle->open == 0);
        core__shape_leave(c, bundle->shape);
        mem_free(bundle);
    }
}

void core__bundle_leave(struct core *c, struct core_job *job)
{
    struct core_bundle *bundle = job->bundle;
    if (bundle) {
        job->bundle = NULL;
        core__bundle_let_go(c, bundle);
    }
}

bool core__bundle_count(struct core_bundle *bundle, int change)
{
    bundle->open += change;
    CHECK(bundle->open >= 0 && bundle->open <= bundle->users);
    return bundle->open == (change > 0 ? 1 : 0);
}
