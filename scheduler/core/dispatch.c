/*
 * Which job goes next, and to which worker.
 *
 * A region gets jobs only while one of its workers that live and do not drain has a free slot, so
 * that priority, limits, pauses and cancels hold to the last moment; the least loaded of them gets
 * the job, by its free share, then by its name. Within a region the lane with the highest priority
 * goes first; between equal priorities the market that runs least for its weight; then the oldest
 * job. A market that is paused or at its limit is not in the heap at all, so it never blocks one
 * that may run.
 *
 * Each decision moves a lane within its heap: O(log lanes + log jobs of the lane).
 */
#include "scheduler/core/core_int.h"

#include <string.h>

enum { BATCH = 256 };

static struct core_job *job_of(const struct heap_node *node)
{
    return LIST_OWNER(node, struct core_job, in_lane);
}

static struct core_lane *lane_of(const struct heap_node *node)
{
    return LIST_OWNER(node, struct core_lane, node);
}

static struct core_worker *worker_of(const struct heap_node *node)
{
    return LIST_OWNER(node, struct core_worker, node);
}

bool core__job_before(const struct heap_node *x, const struct heap_node *y)
{
    const struct core_job *a = job_of(x);
    const struct core_job *b = job_of(y);
    if (a->priority != b->priority) {
        return a->priority > b->priority;
    }
    if (a->queued_ms != b->queued_ms) {
        return a->queued_ms < b->queued_ms;
    }
    return core_id_compare(a->id, b->id) < 0;
}

bool core__lane_before(const struct heap_node *x, const struct heap_node *y)
{
    const struct core_lane *a = lane_of(x);
    const struct core_lane *b = lane_of(y);
    const struct core_job *job_a = job_of(heap_first(&a->jobs));
    const struct core_job *job_b = job_of(heap_first(&b->jobs));
    if (job_a->priority != job_b->priority) {
        return job_a->priority > job_b->priority;
    }
    double use_a = a->market->open / a->market->weight;
    double use_b = b->market->open / b->market->weight;
    if (use_a < use_b || use_a > use_b) {
        return use_a < use_b;
    }
    return core__job_before(heap_first(&a->jobs), heap_first(&b->jobs));
}

/* Less of its slots taken goes first; then more room; then the name, so that it is always the same.
 */
bool core__worker_before(const struct heap_node *x, const struct heap_node *y)
{
    const struct core_worker *a = worker_of(x);
    const struct core_worker *b = worker_of(y);
    int64_t load_a = (int64_t)a->open * b->slots;
    int64_t load_b = (int64_t)b->open * a->slots;
    if (load_a != load_b) {
        return load_a < load_b;
    }
    if (a->slots != b->slots) {
        return a->slots > b->slots;
    }
    return strcmp(a->name, b->name) < 0;
}

static bool may_start(const struct core_market *m)
{
    return !m->is_paused && (m->max_running == 0 || m->open < m->max_running);
}

void core__lane_place(struct core *c, struct core_lane *lane)
{
    struct heap *lanes = &lane->region->lanes;
    bool belongs = lane->jobs.count > 0 && may_start(lane->market);
    if (belongs && !heap_has(&lane->node)) {
        if (heap_add(lanes, &lane->node)) {
            core__fault(c, "out of memory");
        }
    } else if (belongs) {
        heap_moved(lanes, &lane->node);
    } else if (heap_has(&lane->node)) {
        heap_remove(lanes, &lane->node);
    }
}

void core__market_place(struct core *c, struct core_market *m)
{
    for (struct list *at = m->lanes.next; at != &m->lanes; at = at->next) {
        core__lane_place(c, LIST_OWNER(at, struct core_lane, in_market));
    }
}

void core__worker_place(struct core *c, struct core_worker *w)
{
    bool belongs = w->region && w->is_eligible && w->open < w->slots;
    if (belongs && !heap_has(&w->node)) {
        if (heap_add(&w->region->workers, &w->node)) {
            core__fault(c, "out of memory");
        }
    } else if (belongs) {
        heap_moved(&w->region->workers, &w->node);
    } else if (heap_has(&w->node)) {
        heap_remove(&w->region->workers, &w->node);
    }
}

void core__worker_refused(struct core *c, struct core_worker *w)
{
    w->is_eligible = false;
    core__worker_place(c, w);
    c->duty_at[CORE_DUTY_WORLD] = 0;
}

/* The lane that goes next in the region, or NULL; jobs that may run anywhere compete with it. */
static struct core_lane *next_lane(const struct core *c, const struct core_region *r)
{
    struct heap_node *here = heap_first(&r->lanes);
    struct heap_node *anywhere = heap_first(&c->anywhere->lanes);
    if (here && anywhere) {
        return lane_of(core__lane_before(anywhere, here) ? anywhere : here);
    }
    if (!here && !anywhere) {
        return NULL;
    }
    return lane_of(here ? here : anywhere);
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

static size_t fill(struct core *c, struct core_region *r, struct core_dispatch *batch, size_t room)
{
    size_t count = 0;
    while (count < room && !c->is_broken) {
        struct core_lane *lane = next_lane(c, r);
        struct heap_node *worker = heap_first(&r->workers);
        if (!lane || !worker) {
            break;
        }
        assign(c, worker_of(worker), job_of(heap_first(&lane->jobs)), &batch[count]);
        count++;
    }
    return count;
}

void core__dispatch(struct core *c)
{
    if (c->is_paused) {
        return;
    }
    struct core_dispatch batch[BATCH];
    size_t count = 0;
    size_t most = c->settings.batch_max < BATCH ? c->settings.batch_max : BATCH;
    for (size_t i = 0; i < c->regions.count; i++) {
        struct core_region *r = c->regions.objects[i];
        if (r == c->anywhere || r->is_paused) {
            continue;
        }
        size_t added;
        do {
            added = fill(c, r, batch + count, most - count);
            count += added;
            if (count == most) {
                send(c, batch, count);
                count = 0;
            }
        } while (added > 0 && !c->is_broken);
    }
    if (count > 0) {
        send(c, batch, count);
    }
}
