/*
 * Dependencies and families: what waits for what, and what becomes of those left behind.
 *
 * An edge exists while the needed job has not succeeded. When it succeeds the edge goes; when it
 * ends otherwise the dependant is skipped, and its own dependants after it, one answer at a time,
 * so that depth costs no stack. A parent closes when its last child has ended.
 */
#include "common/base/mem.h"
#include "scheduler/core/core_int.h"

#include <stdio.h>

enum { SETTLE_BATCH = 256, REASON_MAX = 160 };

/* --- edges ----------------------------------------------------------------------------------- */

static void edge_free(struct core_edge *edge)
{
    list_remove(&edge->in_needed);
    list_remove(&edge->in_dependant);
    mem_free(edge);
}

void core__needs_clear(struct core *c, struct core_job *job)
{
    while (!list_is_empty(&job->needs)) {
        struct core_edge *edge = LIST_OWNER(job->needs.next, struct core_edge, in_dependant);
        struct core_job *needed = edge->needed;
        edge_free(edge);
        core__job_drop(c, needed);
    }
}

static int need_add(struct core *c, struct core_job *job, const struct core_need *need)
{
    if (core_state_is_ended(need->state)) {
        job->failed_need = need->id;
        job->failed_state = need->state;
        return 0;
    }
    struct core_job *needed = core__job_get(c, need->id);
    struct core_edge *edge = needed ? mem_new(sizeof *edge) : NULL;
    if (!edge) {
        return ERR_NOMEM;
    }
    edge->needed = needed;
    edge->dependant = job;
    list_push(&needed->dependants, &edge->in_needed);
    list_push(&job->needs, &edge->in_dependant);
    return 0;
}

int core__needs_set(struct core *c, struct core_job *job, const struct core_need *needs,
                    size_t count)
{
    core__needs_clear(c, job);
    job->failed_need = (struct core_id){0, 0};
    job->failed_state = CORE_STATE_UNKNOWN;
    for (size_t i = 0; i < count; i++) {
        if (need_add(c, job, &needs[i])) {
            return ERR_NOMEM;
        }
    }
    return 0;
}

/* --- families -------------------------------------------------------------------------------- */

int core__parent_set(struct core *c, struct core_job *job, struct core_id parent)
{
    if (job->parent || core_id_is_none(parent)) {
        return 0;
    }
    struct core_job *p = core__job_get(c, parent);
    if (!p) {
        return ERR_NOMEM;
    }
    job->parent = p;
    p->children_open++;
    list_push(&p->family, &job->in_family);
    return 0;
}

static void parent_leave(struct core *c, struct core_job *job)
{
    struct core_job *parent = job->parent;
    if (!parent) {
        return;
    }
    job->parent = NULL;
    list_remove(&job->in_family);
    parent->children_open--;
    CHECK(parent->children_open >= 0);
    if (parent->state == CORE_STATE_UNKNOWN) {
        core__job_drop(c, parent);
    } else {
        core__job_dirty(c, parent);
    }
}

/* A parent ended (it was cancelled) before its children: they are told, and let go. */
static void family_release(struct core *c, struct core_job *job)
{
    if (list_is_empty(&job->family)) {
        return;
    }
    while (!list_is_empty(&job->family)) {
        struct core_job *child = LIST_OWNER(job->family.next, struct core_job, in_family);
        child->parent = NULL;
        list_remove(&child->in_family);
        job->children_open--;
    }
    CHECK(job->children_open == 0);
    uint64_t token = core__call(c, CORE_CALL_CANCEL_CHILDREN, NULL, 0);
    if (token) {
        c->ports.store.cancel_children(c->ports.store.self, token, job->id);
    }
}

static void dependants_release(struct core *c, struct core_job *job, enum core_state state)
{
    while (!list_is_empty(&job->dependants)) {
        struct core_edge *edge = LIST_OWNER(job->dependants.next, struct core_edge, in_needed);
        struct core_job *dependant = edge->dependant;
        edge_free(edge);
        if (state != CORE_STATE_SUCCEEDED) {
            dependant->failed_need = job->id;
            dependant->failed_state = state;
        }
        core__job_dirty(c, dependant);
    }
}

void core__job_ended(struct core *c, struct core_job *job, enum core_state state)
{
    core__job_leave(c, job);
    core__needs_clear(c, job);
    core__job_move(c, job, state);
    dependants_release(c, job, state);
    family_release(c, job);
    parent_leave(c, job);
    core__job_drop(c, job);
}

/* --- what becomes of a job whose situation changed ---------------------------------------------
 */

/* Jobs of one kind of decision, sent in one store call. */
struct settle {
    struct core_id release[SETTLE_BATCH];
    size_t release_count;
    struct core_id close[SETTLE_BATCH];
    size_t close_count;
    struct core_skip skip[SETTLE_BATCH];
    char reason[SETTLE_BATCH][REASON_MAX];
    size_t skip_count;
};

static void send_release(struct core *c, struct settle *s)
{
    uint64_t token =
        s->release_count ? core__call(c, CORE_CALL_RELEASE, s->release, s->release_count) : 0;
    if (token) {
        c->ports.store.release(c->ports.store.self, token, s->release, s->release_count);
    }
    s->release_count = 0;
}

static void send_close(struct core *c, struct settle *s)
{
    uint64_t token = s->close_count ? core__call(c, CORE_CALL_CLOSE, s->close, s->close_count) : 0;
    if (token) {
        c->ports.store.close(c->ports.store.self, token, s->close, s->close_count);
    }
    s->close_count = 0;
}

static void send_skip(struct core *c, struct settle *s)
{
    struct core_id jobs[SETTLE_BATCH];
    for (size_t i = 0; i < s->skip_count; i++) {
        jobs[i] = s->skip[i].job;
    }
    uint64_t token = s->skip_count ? core__call(c, CORE_CALL_SKIP, jobs, s->skip_count) : 0;
    if (token) {
        c->ports.store.skip(c->ports.store.self, token, s->skip, s->skip_count);
    }
    s->skip_count = 0;
}

static void skip(struct core *c, struct settle *s, struct core_job *job)
{
    char *reason = s->reason[s->skip_count];
    (void)snprintf(reason, REASON_MAX, "not run: job %s, which it needs, %s%s",
                   core_id_format(job->failed_need).text,
                   job->failed_state == CORE_STATE_FAILED ? "" : "was ",
                   core_state_name(job->failed_state));
    s->skip[s->skip_count++] = (struct core_skip){.job = job->id,
                                                  .state = CORE_STATE_SKIPPED,
                                                  .error_code = "CANCELLED",
                                                  .error_text = reason};
    if (s->skip_count == SETTLE_BATCH) {
        send_skip(c, s);
    }
}

static void release(struct core *c, struct settle *s, struct core_job *job)
{
    CHECK(core_state_may_decide(job->state, CORE_STATE_QUEUED));
    core__job_leave(c, job);
    job->due_ms = 0;
    core__job_move(c, job, CORE_STATE_QUEUED);
    s->release[s->release_count++] = job->id;
    if (s->release_count == SETTLE_BATCH) {
        send_release(c, s);
    }
}

static void parent_settle(struct core *c, struct settle *s, struct core_job *job)
{
    if (job->children == 0) {
        uint64_t token = core__call(c, CORE_CALL_PLAN, &job->id, 1);
        if (token) {
            c->ports.store.plan(c->ports.store.self, token, job->id);
        }
    } else if (job->children_open == 0) {
        s->close[s->close_count++] = job->id;
        if (s->close_count == SETTLE_BATCH) {
            send_close(c, s);
        }
    }
}

static void settle_one(struct core *c, struct settle *s, struct core_job *job)
{
    bool is_idle = job->state == CORE_STATE_WAITING || job->state == CORE_STATE_QUEUED;
    if (!is_idle || job->pending > 0) {
        return;
    }
    if (!core_id_is_none(job->failed_need)) {
        skip(c, s, job);
        return;
    }
    if (!list_is_empty(&job->needs) || job->due_ms > core__now(c)) {
        return;
    }
    if (job->is_parent) {
        parent_settle(c, s, job);
    } else if (job->state == CORE_STATE_WAITING) {
        release(c, s, job);
    }
}

void core__graph_settle(struct core *c)
{
    static struct settle s; /* the loop thread owns all state; too big for the stack */
    while (!list_is_empty(&c->dirty) && !c->is_broken) {
        struct core_job *job = LIST_OWNER(c->dirty.next, struct core_job, in_dirty);
        list_remove(&job->in_dirty);
        settle_one(c, &s, job);
    }
    send_skip(c, &s);
    send_close(c, &s);
    send_release(c, &s);
}
