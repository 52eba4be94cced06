/*
 * The mirror takes over what the record says of a job.
 *
 * While a store call that names the job is under way its row is not taken: that row was read
 * before the call ran, and the call's own answer brings a newer one.
 */
#include "scheduler/core/core_int.h"
#include "scheduler/core/order.h"

/* The kinds that the core itself carries out; no worker ever sees them. */
static bool is_parent_kind(struct span kind)
{
    return span_is(kind, "nightly");
}

/* Kinds whose results make versions and evaluations: a result of theirs may be refused, so it goes
 * alone. (The record judges by itself; this only keeps the others from being sent again.) */
static bool leaves_more(struct span kind)
{
    return span_is(kind, "finetune") || span_is(kind, "evaluate");
}

static int set_places(struct core *c, struct core_job *job, const struct core_record *record)
{
    bool has_worker = core_state_is_open_attempt(record->state) && record->worker.length > 0;
    struct core_market *m = core__market_get(c, record->market);
    struct core_region *r = core__region_get(c, record->region);
    struct core_worker *w = has_worker ? core__worker_get(c, record->worker) : NULL;
    struct core_task *t = core__task_get(c, record->task);
    struct core_shape *shape = core__shape_join(c, record);
    if (!m || !r || !t || !shape || (has_worker && !w)) {
        return ERR_NOMEM;
    }
    if (job->shape) {
        core__shape_leave(c, job->shape);
    }
    job->market = m;
    job->region = r;
    job->task = t;
    job->shape = shape;
    job->memory = core__memory_get(c, record->kind, record->market, record->task);
    job->worker = w;
    return 0;
}

/* The row is about the attempt that the mirror has: that stays in its bundle. */
static bool is_same_attempt(const struct core_job *job, const struct core_record *record)
{
    return core_state_is_open_attempt(record->state) && record->attempt == job->attempt &&
           job->worker && span_is(record->worker, job->worker->name);
}

static int take_over(struct core *c, struct core_job *job, const struct core_record *record)
{
    if (!is_same_attempt(job, record)) {
        core__bundle_leave(c, job);
    }
    job->is_apart = job->is_apart || leaves_more(record->kind);
    job->is_finishing = false; /* no call names the job any more */
    job->is_unread = false;
    job->key = order_key(record->priority, record->queued_ms, c->settings.priority_age_ms);
    job->attempt = record->attempt;
    job->failures = record->failures;
    job->crashes = record->crashes;
    job->ooms = (short)record->ooms;
    job->charged = record->charged;
    job->max_attempts = record->max_attempts;
    job->priority = (short)record->priority;
    job->children = record->children;
    job->has_after_quorum = record->has_after_quorum;
    job->after_left = record->after_left;
    job->is_member = record->is_member;
    job->quorum = record->quorum;
    job->members = record->members;
    job->is_quorum_reached = record->is_quorum_reached;
    job->stragglers = record->stragglers;
    job->is_parent = is_parent_kind(record->kind);
    job->is_cancel_requested = record->is_cancel_requested;
    job->due_ms = record->due_in_ms > 0 ? core__now(c) + record->due_in_ms : 0;
    if (set_places(c, job, record) || core__parent_set(c, job, record->parent)) {
        return ERR_NOMEM;
    }
    return core__needs_set(c, job, record->needs, record->need_count);
}

void core__record_apply(struct core *c, const struct core_record *record)
{
    CHECK(record->state != CORE_STATE_UNKNOWN);
    struct core_job *job = core__job_find(c, record->id);
    if (core_state_is_ended(record->state)) {
        if (job && job->pending == 0) {
            job->cause = record->cause;
            job->cause_state = record->cause_state;
            core__job_ended(c, job, record->state);
        }
        return;
    }
    if (job && job->pending > 0) {
        return;
    }
    job = job ? job : core__job_get(c, record->id);
    if (!job) {
        return;
    }
    core__job_leave(c, job);
    if (take_over(c, job, record)) {
        core__fault(c, "out of memory");
        return;
    }
    core__job_move(c, job, record->state);
    core__job_dirty(c, job);
}
