/* What must be true between any two events, counted anew from the jobs themselves. */
#include "scheduler/core/core_int.h"

struct tally {
    size_t states[CORE_STATE_COUNT];
    size_t queued_in_lanes;
};

static void check_job(const struct core *c, const struct core_job *job, struct tally *t)
{
    t->states[job->state]++;
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

static void check_market(const struct core *c, const struct core_market *m)
{
    int open = 0;
    for (size_t b = 0; b < c->bucket_count; b++) {
        for (const struct core_job *job = c->buckets[b]; job; job = job->next_in_bucket) {
            open += job->market == m && core_state_is_open_attempt(job->state);
        }
    }
    CHECK(open == m->open);
    bool may_start = !m->is_paused && (m->max_running == 0 || m->open < m->max_running);
    for (const struct list *at = m->lanes.next; at != &m->lanes; at = at->next) {
        const struct core_lane *lane = LIST_OWNER(at, struct core_lane, in_market);
        CHECK(heap_has(&lane->node) == (may_start && lane->jobs.count > 0));
    }
}

static void check_worker(const struct core *c, const struct core_worker *w)
{
    int open = 0;
    for (size_t b = 0; b < c->bucket_count; b++) {
        for (const struct core_job *job = c->buckets[b]; job; job = job->next_in_bucket) {
            open += core_state_is_open_attempt(job->state) && job->worker == w;
        }
    }
    CHECK(open == w->open);
    CHECK(heap_has(&w->node) == (w->region && w->is_eligible && w->open < w->slots));
}

void core_check(const struct core *c)
{
    struct tally t = {{0}, 0};
    for (size_t b = 0; b < c->bucket_count; b++) {
        for (const struct core_job *job = c->buckets[b]; job; job = job->next_in_bucket) {
            check_job(c, job, &t);
        }
    }
    size_t in_lanes = 0;
    for (size_t i = 0; i < c->markets.count; i++) {
        const struct core_market *m = c->markets.objects[i];
        check_market(c, m);
        for (const struct list *at = m->lanes.next; at != &m->lanes; at = at->next) {
            in_lanes += LIST_OWNER(at, struct core_lane, in_market)->jobs.count;
        }
    }
    for (size_t i = 0; i < c->workers.count; i++) {
        check_worker(c, c->workers.objects[i]);
    }
    CHECK(in_lanes == t.queued_in_lanes);
    for (int i = 0; i < CORE_STATE_COUNT; i++) {
        CHECK(t.states[i] == c->state_count[i]);
    }
}
