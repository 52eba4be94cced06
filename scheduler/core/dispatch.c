/*
 * Which job goes next, and to which worker.
 *
 * A region gets jobs only while one of its workers that live and do not drain has room, so that
 * priority, limits, pauses and cancels hold to the last moment; the least loaded worker with room
 * for what the job asks gets it. Which job: lanes.c keeps them in order for each region and shape;
 * here the heads of those that some worker may have room for are compared.
 *
 * So a decision looks once at each shape that is queued in the region (there are as many as people
 * write different requests), and moves one job, one lane, one class and one worker within their
 * heaps and trees: O(shapes + log n) in jobs, markets and workers. A shape that finds no worker in
 * spite of the first look is put aside until a worker has room for it.
 */
#include "scheduler/core/core_int.h"
#include "scheduler/core/order.h"

enum { BATCH = 256, CALLS_AT_ONCE = 2 };

/* The class that goes next in the region, of those for which a worker may have room; or NULL. */
static struct core_class *first_class(struct core *c, const struct core_region *from)
{
    struct core_class *best = NULL;
    for (struct list *at = from->groups.next; at != &from->groups; at = at->next) {
        struct core_group *g = LIST_OWNER(at, struct core_group, in_region);
        if (g->is_full || !room_may_hold(&g->pool->rooms, &g->shape->wanted)) {
            continue;
        }
        struct core_class *k = core__group_first(c, g);
        c->visits++;
        if (k && (!best || core__class_before(k, best))) {
            best = k;
        }
    }
    return best;
}

static void assign(struct core *c, struct core_worker *w, struct core_job *job,
                   struct core_dispatch *ret)
{
    CHECK(core_state_may_decide(job->state, CORE_STATE_DISPATCHED));
    CHECK(job->region == w->region || job->region == c->anywhere);
    core__job_leave(c, job);
    job->region = w->region;
    job->worker = w;
    job->attempt++;
    if (c->ports.assigned) {
        c->ports.assigned(c->ports.self,
                          order_queued_ms(job->key, job->priority, c->settings.priority_age_ms));
    }
    core__job_move(c, job, CORE_STATE_DISPATCHED);
    c->decisions++;
    *ret = (struct core_dispatch){.job = job->id,
                                  .attempt = job->attempt,
                                  .region = span_of(w->region->name),
                                  .worker = span_of(w->name),
                                  .incarnation = span_of(w->incarnation)};
}

static void send(struct core *c, const struct core_dispatch *batch, size_t count)
{
    struct core_id jobs[BATCH];
    for (size_t i = 0; i < count; i++) {
        jobs[i] = batch[i].job;
    }
    uint64_t token = core__call(c, CORE_CALL_DISPATCH, jobs, count);
    if (token) {
        c->ports.store.dispatch(c->ports.store.self, token, batch, count);
    }
}

/* A worker of the region for the first of the jobs that may run anywhere, when that goes before all
 * of the region's own. */
static struct core_worker *find_anywhere(struct core *c, struct core_region *r,
                                         const struct core_class *own, const struct core_class *any)
{
    if (!any || (own && core__class_before(own, any))) {
        return NULL;
    }
    struct core_pool *pool = core__pool_get(c, r, core__shape_labels(any->group->shape));
    struct core_worker *w = pool ? core__worker_find(c, pool, any->group->shape) : NULL;
    if (pool) {
        core__pool_leave(pool);
    }
    return w;
}

/* The next decision for the region; false: nothing may start there. */
static bool decide_one(struct core *c, struct core_region *r, struct core_dispatch *ret)
{
    while (!c->is_broken && core__gate_has_room(&r->gate)) {
        struct core_class *own = first_class(c, r);
        struct core_class *any =
            list_is_empty(&c->anywhere->groups) ? NULL : first_class(c, c->anywhere);
        struct core_worker *w = find_anywhere(c, r, own, any);
        if (w) {
            assign(c, w, core__class_first(any), ret);
            return true;
        }
        if (!own) {
            return false;
        }
        w = core__worker_find(c, own->group->pool, own->group->shape);
        if (w) {
            assign(c, w, core__class_first(own), ret);
            return true;
        }
        own->group->is_full = true;
    }
    return false;
}

/* Jobs that may run anywhere and found room nowhere step aside for others of them. True: one did,
 * and there is another. */
static bool set_aside_anywhere(struct core *c)
{
    struct core_class *any = first_class(c, c->anywhere);
    if (!any || core__worker_find(c, any->group->pool, any->group->shape)) {
        return false;
    }
    any->group->is_full = true;
    return first_class(c, c->anywhere) != NULL;
}

void core__dispatch(struct core *c)
{
    /* While the record is busy with two calls a third would only wait: what becomes free meanwhile
     * is assigned together, with the next answer. */
    if (c->is_paused || c->calls_of[CORE_CALL_DISPATCH] >= CALLS_AT_ONCE) {
        return;
    }
    struct core_dispatch batch[BATCH];
    size_t count = 0;
    size_t most = c->settings.batch_max < BATCH ? c->settings.batch_max : BATCH;
    do {
        for (size_t i = 0; i < c->regions.count; i++) {
            struct core_region *r = c->regions.objects[i];
            while (r != c->anywhere && decide_one(c, r, &batch[count])) {
                if (++count == most) {
                    send(c, batch, count);
                    count = 0;
                }
            }
        }
    } while (!c->is_broken && set_aside_anywhere(c));
    if (count > 0) {
        send(c, batch, count);
    }
}
