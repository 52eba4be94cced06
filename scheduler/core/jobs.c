/*
 * The mirror's jobs by id: a chained hash table that doubles, and the one function that changes a
 * job's state together with everything that is counted by it.
 */
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "scheduler/core/core_int.h"

enum { BUCKETS_FIRST = 256 };

static size_t bucket_of(const struct core *c, struct core_id id)
{
    return (size_t)rng_mix(id.high ^ id.low) & (c->bucket_count - 1);
}

struct core_job *core__job_find(const struct core *c, struct core_id id)
{
    if (c->bucket_count == 0) {
        return NULL;
    }
    struct core_job *job = c->buckets[bucket_of(c, id)];
    while (job && !core_id_equals(job->id, id)) {
        job = job->next_in_bucket;
    }
    return job;
}

void core__job_foresee(const struct core *c, struct core_id id, bool is_bucket_here)
{
    if (c->bucket_count == 0) {
        return;
    }
    struct core_job *const *bucket = &c->buckets[bucket_of(c, id)];
    if (!is_bucket_here) {
        __builtin_prefetch(bucket);
    } else if (*bucket) {
        __builtin_prefetch(*bucket);
        __builtin_prefetch((const char *)*bucket + 64); /* both lines are looked at */
    }
}

static bool grow(struct core *c)
{
    size_t count = c->bucket_count ? 2 * c->bucket_count : BUCKETS_FIRST;
    struct core_job **buckets = mem_new_large(count, sizeof(struct core_job *));
    if (!buckets) {
        return false;
    }
    struct core_job **old = c->buckets;
    size_t old_count = c->bucket_count;
    c->buckets = buckets;
    c->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        for (struct core_job *job = old[i], *next; job; job = next) {
            next = job->next_in_bucket;
            size_t b = bucket_of(c, job->id);
            job->next_in_bucket = buckets[b];
            buckets[b] = job;
        }
    }
    mem_free(old);
    return true;
}

static struct core_job *job_new(struct core *c, struct core_id id)
{
    struct core_job *job = slab_new(&c->job_slab);
    if (!job) {
        return NULL;
    }
    job->id = id;
    job->market = c->no_market;
    job->region = c->anywhere;
    job->asked_open = -1;
    job->task = c->no_task;
    list_init(&job->in_dirty);
    list_init(&job->needs);
    list_init(&job->dependants);
    list_init(&job->family);
    list_init(&job->in_family);
    return job;
}

struct core_job *core__job_get(struct core *c, struct core_id id)
{
    struct core_job *job = core__job_find(c, id);
    if (job) {
        return job;
    }
    if (c->job_count >= c->bucket_count && !grow(c)) {
        core__fault(c, "out of memory");
        return NULL;
    }
    job = job_new(c, id);
    if (!job) {
        core__fault(c, "out of memory");
        return NULL;
    }
    size_t b = bucket_of(c, id);
    job->next_in_bucket = c->buckets[b];
    c->buckets[b] = job;
    c->job_count++;
    c->state_count[CORE_STATE_UNKNOWN]++;
    return job;
}

/* --- what is counted by state ----------------------------------------------------------------- */

void core__job_leave(struct core *c, struct core_job *job)
{
    core__reason_clear(c, job);
    if (heap_has(&job->in_due)) {
        heap_remove(&c->due, &job->in_due);
    }
    if (job->lane) {
        core__lane_leave(c, job);
    }
    if (core_state_is_open_attempt(job->state)) {
        core__open_count(c, job, -1);
    }
}

static void enter(struct core *c, struct core_job *job)
{
    if (job->state == CORE_STATE_WAITING && job->due_ms > 0 &&
        heap_add(&c->due, &job->in_due, core__job_key(job, job->due_ms))) {
        core__fault(c, "out of memory");
    }
    if (job->state == CORE_STATE_QUEUED && !job->is_parent) {
        core__lane_enter(c, job);
    }
    if (core_state_is_open_attempt(job->state)) {
        core__open_count(c, job, 1);
    }
}

void core__job_move(struct core *c, struct core_job *job, enum core_state state)
{
    CHECK(core_state_may_follow(job->state, state));
    c->state_count[job->state]--;
    if (c->phase == CORE_PHASE_READY && job->state != state) {
        c->tally.moves[job->state][state]++;
    }
    job->state = state;
    c->state_count[state]++;
    if (!core_state_is_open_attempt(state)) {
        core__bundle_leave(c, job);
    }
    enter(c, job);
}

void core__job_dirty(struct core *c, struct core_job *job)
{
    if (list_is_empty(&job->in_dirty)) {
        list_push(&c->dirty, &job->in_dirty);
    }
}

static void unlink_job(struct core *c, struct core_job *job)
{
    struct core_job **at = &c->buckets[bucket_of(c, job->id)];
    while (*at != job) {
        at = &(*at)->next_in_bucket;
    }
    *at = job->next_in_bucket;
    c->job_count--;
    c->state_count[job->state]--;
}

void core__job_drop(struct core *c, struct core_job *job)
{
    bool is_open = job->state != CORE_STATE_UNKNOWN && !core_state_is_ended(job->state);
    if (is_open || !list_is_empty(&job->dependants) || !list_is_empty(&job->family)) {
        return;
    }
    CHECK(list_is_empty(&job->needs) && !job->lane && !heap_has(&job->in_due));
    list_remove(&job->in_dirty);
    list_remove(&job->in_family);
    unlink_job(c, job);
    core__bundle_leave(c, job);
    if (job->shape) {
        core__shape_leave(c, job->shape);
    }
    slab_free(&c->job_slab, job);
}

void core__jobs_clear(struct core *c)
{
    for (size_t i = 0; i < c->bucket_count; i++) {
        for (struct core_job *job = c->buckets[i], *next; job; job = next) {
            next = job->next_in_bucket;
            while (!list_is_empty(&job->needs)) {
                struct core_edge *edge =
                    LIST_OWNER(job->needs.next, struct core_edge, in_dependant);
                list_remove(&edge->in_dependant);
                mem_free(edge);
            }
            if (job->bundle && --job->bundle->users == 0) {
                mem_free(job->bundle); /* its shape goes with all shapes */
            }
            slab_free(&c->job_slab, job);
        }
    }
    slab_close(&c->job_slab);
    mem_free(c->buckets);
    c->buckets = NULL;
    c->bucket_count = 0;
    c->job_count = 0;
    list_init(&c->dirty);
    for (int i = 0; i < CORE_REASON_COUNT; i++) {
        c->reasons[i] = 0;
    }
    for (int i = 0; i < CORE_STATE_COUNT; i++) {
        c->state_count[i] = 0;
    }
}
