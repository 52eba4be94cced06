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
 *
 * When the job is short, those of its shape that go next and are short too come along (bundle.c).
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
    job->expected_ms = core__expected_ms(c, job); /* by what was learnt while it waited */
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

/* Whom the next decision for the region is about. */
struct decision {
    struct core_class *class;
    struct core_worker *worker;
};

/* False: nothing may start there. */
static bool decide_one(struct core *c, struct core_region *r, struct decision *ret)
{
    while (!c->is_broken && core__gate_has_room(&r->gate)) {
        struct core_class *own = first_class(c, r);
        struct core_class *any =
            list_is_empty(&c->anywhere->groups) ? NULL : first_class(c, c->anywhere);
        struct core_worker *w = find_anywhere(c, r, own, any);
        if (w) {
            *ret = (struct decision){any, w};
            return true;
        }
        if (!own) {
            return false;
        }
        w = core__worker_find(c, own->group->pool, own->group->shape);
        if (w) {
            *ret = (struct decision){own, w};
            return true;
        }
        own->group->is_full = true;
    }
    return false;
}

/* Assignments that wait to be sent together. */
struct batch {
    struct core_dispatch jobs[BATCH];
    size_t count;
    size_t most;
};

static void batch_send(struct core *c, struct batch *b)
{
    if (b->count > 0) {
        send(c, b->jobs, b->count);
        b->count = 0;
    }
}

static void batch_assign(struct core *c, struct batch *b, struct core_worker *w,
                         struct core_job *job)
{
    assign(c, w, job, &b->jobs[b->count++]);
    if (b->count == b->most) {
        batch_send(c, b);
    }
}

/* The short job of the group that goes next, if it takes no longer than that. */
static struct core_job *next_short(struct core *c, struct core_group *g, int64_t left_ms)
{
    struct core_class *k = g ? core__group_first(c, g) : NULL;
    struct core_job *job = k ? core__class_first(k) : NULL;
    return job && core__is_short(c, job) && core__expected_ms(c, job) <= left_ms ? job : NULL;
}

/* All of the bundle goes before anybody else's slot is looked for: it takes the one. */
static void assign_bundle(struct core *c, struct batch *b, struct core_worker *w,
                          struct core_job *job)
{
    const struct core_region *from = job->region;
    struct core_bundle *bundle = core__bundle_new(w, job->shape);
    if (!bundle) {
        core__fault(c, "out of memory");
        return;
    }
    int64_t left_ms = c->settings.bundle_ms;
    for (int i = 0; job && i < c->settings.bundle_max && !c->is_broken; i++) {
        core__bundle_join(job, bundle);
        batch_assign(c, b, w, job);
        left_ms -= job->expected_ms;
        job = core__gate_has_room(&w->region->gate)
                  ? next_short(c, core__group_find(c, from, bundle->shape), left_ms)
                  : NULL;
    }
    core__bundle_let_go(c, bundle);
}

static void carry_out(struct core *c, struct batch *b, const struct decision *d)
{
    struct core_job *job = core__class_first(d->class);
    if (core__is_short(c, job)) {
        assign_bundle(c, b, d->worker, job);
    } else {
        batch_assign(c, b, d->worker, job);
    }
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
    struct batch b = {.most = c->settings.batch_max < BATCH ? c->settings.batch_max : BATCH};
    do {
        for (size_t i = 0; i < c->regions.count; i++) {
            struct core_region *r = c->regions.objects[i];
            struct decision d;
            while (r != c->anywhere && decide_one(c, r, &d)) {
                carry_out(c, &b, &d);
            }
        }
    } while (!c->is_broken && set_aside_anywhere(c));
    batch_send(c, &b);
}
