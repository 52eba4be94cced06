/* What must be true between any two events, counted anew from the jobs themselves. */
#include "scheduler/core/core_int.h"

struct tally {
    size_t states[CORE_STATE_COUNT];
    size_t queued_in_lanes;
    size_t reasons[CORE_REASON_COUNT];
};

static void check_job(const struct core *c, const struct core_job *job, struct tally *t)
{
    t->states[job->state]++;
    t->reasons[job->reason]++;
    CHECK(job->reason == CORE_REASON_NONE || !job->lane);
    bool is_open = job->state != CORE_STATE_UNKNOWN && !core_state_is_ended(job->state);
    bool in_lane = job->state == CORE_STATE_QUEUED && !job->is_parent;
    CHECK((job->lane != NULL) == in_lane && heap_has(&job->in_lane) == in_lane);
    CHECK(!heap_has(&job->in_due) || job->state == CORE_STATE_WAITING);
    CHECK(!core_state_is_open_attempt(job->state) || job->attempt >= 1);
    CHECK(is_open || !list_is_empty(&job->dependants) || !list_is_empty(&job->family) ||
          job->pending > 0);
    CHECK(job->state != CORE_STATE_RUNNING || job->region != c->anywhere);
    t->queued_in_lanes += in_lane;
    int children = 0, members = 0, needs = 0;
    for (const struct list *at = job->family.next; at != &job->family; at = at->next) {
        children++;
        members += LIST_OWNER(at, struct core_job, in_family)->is_member;
    }
    CHECK(children == job->children_open && members == job->members_open);
    for (const struct list *at = job->needs.next; at != &job->needs; at = at->next) {
        needs++;
    }
    CHECK(needs == job->needs_open);
}

/* Attempts that are open, of the jobs that `is_of` picks. */
static int count_open(const struct core *c, const void *of,
                      const void *(*owner)(const struct core_job *))
{
    int open = 0;
    for (size_t b = 0; b < c->bucket_count; b++) {
        for (const struct core_job *job = c->buckets[b]; job; job = job->next_in_bucket) {
            open += core_state_is_open_attempt(job->state) && owner(job) == of;
        }
    }
    return open;
}

static const void *market_of(const struct core_job *job)
{
    return job->market;
}
static const void *task_of(const struct core_job *job)
{
    return job->task;
}
static const void *region_of(const struct core_job *job)
{
    return job->region;
}

static size_t check_market(const struct core *c, const struct core_market *m)
{
    size_t jobs = 0;
    CHECK(count_open(c, m, market_of) == m->gate.open);
    for (const struct list *at = m->lanes.next; at != &m->lanes; at = at->next) {
        const struct core_lane *lane = LIST_OWNER(at, struct core_lane, in_market);
        CHECK(lane->jobs.count > 0);
        bool is_parked = !list_is_empty(&lane->in_parked);
        CHECK(heap_has(&lane->node) == !is_parked);
        /* What was parked must not miss the event that frees it. */
        CHECK(!is_parked || !core__gate_has_room(&m->gate));
        CHECK(lane->rank <= m->rank);
        CHECK(heap_is_ordered(&lane->jobs));
        jobs += lane->jobs.count;
    }
    return jobs;
}

static void check_task(const struct core *c, const struct core_task *t)
{
    CHECK(count_open(c, t, task_of) == t->gate.open);
    for (const struct list *at = t->classes.next; at != &t->classes; at = at->next) {
        const struct core_class *k = LIST_OWNER(at, struct core_class, in_task);
        bool is_parked = !list_is_empty(&k->in_parked);
        CHECK(heap_has(&k->node) == (k->lanes.count > 0 && !is_parked));
        CHECK(k->lane_count >= k->lanes.count && k->lane_count > 0);
        CHECK(!is_parked || !core__gate_has_room(&t->gate));
        CHECK(heap_is_ordered(&k->lanes));
    }
}

static void check_groups(const struct core_region *r)
{
    for (const struct list *at = r->groups.next; at != &r->groups; at = at->next) {
        const struct core_group *g = LIST_OWNER(at, struct core_group, in_region);
        CHECK(g->class_count >= g->classes.count && g->class_count > 0);
        CHECK(!g->is_full || room_find(&g->pool->rooms, &g->shape->wanted, NULL) == ROOM_NONE);
        CHECK(heap_is_ordered(&g->classes));
    }
}

/* Parts of bundles add up to whole numbers. */
static bool is_about(double sum, double whole)
{
    return sum - whole < 1e-3 && whole - sum < 1e-3;
}

static void check_worker(const struct core *c, const struct core_worker *w)
{
    double open = 0, threads = 0, memory_mb = 0;
    for (size_t b = 0; b < c->bucket_count; b++) {
        for (const struct core_job *job = c->buckets[b]; job; job = job->next_in_bucket) {
            if (core_state_is_open_attempt(job->state) && job->worker == w) {
                CHECK(!job->bundle || job->bundle->worker == w);
                double part = job->bundle ? 1.0 / job->bundle->open : 1;
                open += part;
                threads += part * job->shape->wanted.threads;
                memory_mb += part * job->shape->wanted.memory_mb;
            }
        }
    }
    CHECK(is_about(open, w->open) && is_about(threads, (double)w->open_threads) &&
          is_about(memory_mb, (double)w->open_memory_mb));
    CHECK(!w->region || w->region->workers[w->place] == w);
}

void core_check(const struct core *c)
{
    struct tally t = {{0}, 0, {0}};
    for (size_t b = 0; b < c->bucket_count; b++) {
        for (const struct core_job *job = c->buckets[b]; job; job = job->next_in_bucket) {
            check_job(c, job, &t);
        }
    }
    size_t in_lanes = 0;
    for (size_t i = 0; i < c->markets.count; i++) {
        in_lanes += check_market(c, c->markets.objects[i]);
    }
    for (size_t i = 0; i < c->tasks.count; i++) {
        check_task(c, c->tasks.objects[i]);
    }
    for (size_t i = 0; i < c->regions.count; i++) {
        const struct core_region *r = c->regions.objects[i];
        CHECK(count_open(c, r, region_of) == r->gate.open);
        check_groups(r);
    }
    for (size_t i = 0; i < c->workers.count; i++) {
        check_worker(c, c->workers.objects[i]);
    }
    CHECK(in_lanes == t.queued_in_lanes);
    for (int i = 0; i < CORE_STATE_COUNT; i++) {
        CHECK(t.states[i] == c->state_count[i]);
    }
    for (int i = CORE_REASON_NONE + 1; i < CORE_REASON_COUNT; i++) {
        CHECK(t.reasons[i] == c->reasons[i]);
    }
}
