/*
 * Which job goes next, and where.
 *
 * A region gets jobs only while it has a free slot (slots of its live workers, less what they run,
 * less what was offered and not yet claimed), so that priority, limits, pauses and cancels hold to
 * the last moment. Within a region the lane with the highest priority goes first; between equal
 * priorities the market that runs least for its weight; then the oldest job. A market that is
 * paused or at its limit is not in the heap at all, so it never blocks one that may run.
 *
 * Each decision moves a lane within its heap: O(log lanes + log jobs of the lane).
 */
#include "scheduler/core/core_int.h"

enum { BATCH = 256 };

static struct core_job *job_of(const struct heap_node *node)
{
    return LIST_OWNER(node, struct core_job, in_lane);
}

static struct core_lane *lane_of(const struct heap_node *node)
{
    return LIST_OWNER(node, struct core_lane, node);
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

int core__region_free(const struct core_region *r)
{
    return r->slots - r->busy - r->unclaimed;
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

static void offer(struct core *c, struct core_region *r, struct core_job *job,
                  struct core_dispatch *ret)
{
    CHECK(core_state_may_decide(job->state, CORE_STATE_DISPATCHED));
    CHECK(job->region == r || job->region == c->anywhere);
    core__job_leave(c, job);
    job->region = r;
    job->worker = NULL;
    job->attempt++;
    core__job_move(c, job, CORE_STATE_DISPATCHED);
    c->decisions++;
    *ret =
        (struct core_dispatch){.job = job->id, .attempt = job->attempt, .region = span_of(r->name)};
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
    while (count < room && !c->is_broken && core__region_free(r) > 0) {
        struct core_lane *lane = next_lane(c, r);
        if (!lane) {
            break;
        }
        offer(c, r, job_of(heap_first(&lane->jobs)), &batch[count]);
        count++;
    }
    return count;
}

void core__dispatch(struct core *c)
{
    if (c->is_paused || !c->is_transport_up) {
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
