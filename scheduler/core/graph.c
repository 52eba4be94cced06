/*
 * Dependencies and families: what waits for what, and what becomes of those left behind.
 *
 * An edge exists while the needed job has not ended. When it ends the edge goes, and the need is
 * met or lost, as its condition says. A job is released when all of its needs are met, or as many
 * as it asks for; it is skipped when that cannot be any more, and its own dependants after it, one
 * answer at a time, so that depth costs no stack. Each skipped job knows the first cause of its
 * chain.
 *
 * A parent closes when its last child has ended. One with a quorum need not wait so long:
 *
 *   enough members have ended ──quorum call──► noted in the record ──straggler_wait_s──►
 *       cancel: the open children are cancelled, then it closes
 *       leave:  it closes, and they go on
 *
 * Members that ended may have failed, so whether the quorum is reached is the record's to count; it
 * is asked only when it could be, once for each member that ends.
 */
#include "common/base/mem.h"
#include "scheduler/core/core_int.h"

#include <stdio.h>

enum { SETTLE_BATCH = 256, REASON_MAX = 256 };

static const char *const conditions[CORE_CONDITION_COUNT] = {
    [CORE_AFTER_OK] = "afterok",
    [CORE_AFTER_NOT_OK] = "afternotok",
    [CORE_AFTER_ANY] = "afterany",
};

const char *core_condition_name(enum core_condition condition)
{
    CHECK(condition < CORE_CONDITION_COUNT);
    return conditions[condition];
}

enum core_condition core_condition_parse(struct span name)
{
    int i = 0;
    while (i < CORE_CONDITION_COUNT && !span_is(name, conditions[i])) {
        i++;
    }
    return (enum core_condition)i;
}

enum core_stragglers core_stragglers_parse(struct span name)
{
    return span_is(name, "cancel")  ? CORE_STRAGGLERS_CANCEL
           : span_is(name, "leave") ? CORE_STRAGGLERS_LEAVE
                                    : CORE_STRAGGLERS_WAIT;
}

/* --- edges ----------------------------------------------------------------------------------- */

enum need_fate { NEED_OPEN, NEED_MET, NEED_LOST };

static enum need_fate need_fate(enum core_condition condition, enum core_state state)
{
    if (!core_state_is_ended(state)) {
        return NEED_OPEN;
    }
    bool has_succeeded = state == CORE_STATE_SUCCEEDED;
    bool is_met = condition == CORE_AFTER_ANY || has_succeeded == (condition == CORE_AFTER_OK);
    return is_met ? NEED_MET : NEED_LOST;
}

static void edge_free(struct core_edge *edge)
{
    edge->dependant->needs_open--;
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

static void note_loss(struct core_job *job, const struct core_need *need)
{
    if (core_id_is_none(job->lost.id)) {
        job->lost = *need;
    }
}

static int need_add(struct core *c, struct core_job *job, const struct core_need *need)
{
    enum need_fate fate = need_fate(need->condition, need->state);
    if (fate == NEED_LOST) {
        note_loss(job, need);
    }
    if (fate != NEED_OPEN) {
        return 0;
    }
    struct core_job *needed = core__job_get(c, need->id);
    struct core_edge *edge = needed ? mem_new(sizeof *edge) : NULL;
    if (!edge) {
        return ERR_NOMEM;
    }
    edge->needed = needed;
    edge->dependant = job;
    edge->condition = need->condition;
    list_push(&needed->dependants, &edge->in_needed);
    list_push(&job->needs, &edge->in_dependant);
    job->needs_open++;
    return 0;
}

int core__needs_set(struct core *c, struct core_job *job, const struct core_need *needs,
                    size_t count)
{
    core__needs_clear(c, job);
    job->lost = (struct core_need){.id = {0, 0}};
    for (size_t i = 0; i < count; i++) {
        if (need_add(c, job, &needs[i])) {
            return ERR_NOMEM;
        }
    }
    return 0;
}

static bool needs_are_met(const struct core_job *job)
{
    return job->has_after_quorum ? job->after_left <= 0 : list_is_empty(&job->needs);
}

static bool needs_are_lost(const struct core_job *job)
{
    if (core_id_is_none(job->lost.id)) {
        return false;
    }
    return !job->has_after_quorum || job->needs_open < job->after_left;
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
    p->members_open += job->is_member;
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
    parent->members_open -= job->is_member;
    CHECK(parent->children_open >= 0 && parent->members_open >= 0);
    if (parent->state == CORE_STATE_UNKNOWN) {
        core__job_drop(c, parent);
    } else {
        core__job_dirty(c, parent);
    }
}

/* A parent ended before its children: they are let go, and, unless it left them running as its
 * quorum allows, cancelled. */
static void family_release(struct core *c, struct core_job *job, enum core_state state)
{
    if (list_is_empty(&job->family)) {
        return;
    }
    while (!list_is_empty(&job->family)) {
        struct core_job *child = LIST_OWNER(job->family.next, struct core_job, in_family);
        child->parent = NULL;
        list_remove(&child->in_family);
        job->children_open--;
        job->members_open -= child->is_member;
    }
    CHECK(job->children_open == 0 && job->members_open == 0);
    if (state == CORE_STATE_SUCCEEDED) {
        return;
    }
    uint64_t token = core__call(c, CORE_CALL_CANCEL_CHILDREN, NULL, 0);
    if (token) {
        c->ports.store.cancel_children(c->ports.store.self, token, job->id);
    }
}

/* The needed job ended: what that is to the dependant. */
static void edge_settle(struct core_job *dependant, const struct core_job *job,
                        enum core_condition condition, enum core_state state)
{
    if (need_fate(condition, state) == NEED_MET) {
        dependant->after_left -= dependant->has_after_quorum;
        return;
    }
    note_loss(dependant, &(struct core_need){.id = job->id,
                                             .state = state,
                                             .condition = condition,
                                             .cause = job->cause,
                                             .cause_state = job->cause_state});
}

static void dependants_release(struct core *c, struct core_job *job, enum core_state state)
{
    while (!list_is_empty(&job->dependants)) {
        struct core_edge *edge = LIST_OWNER(job->dependants.next, struct core_edge, in_needed);
        struct core_job *dependant = edge->dependant;
        enum core_condition condition = edge->condition;
        edge_free(edge);
        edge_settle(dependant, job, condition, state);
        core__job_dirty(c, dependant);
    }
}

void core__job_ended(struct core *c, struct core_job *job, enum core_state state)
{
    core__job_leave(c, job);
    core__needs_clear(c, job);
    core__job_move(c, job, state);
    dependants_release(c, job, state);
    family_release(c, job, state);
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
    struct core_id quorum[SETTLE_BATCH];
    size_t quorum_count;
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

static void send_quorum(struct core *c, struct settle *s)
{
    uint64_t token =
        s->quorum_count ? core__call(c, CORE_CALL_QUORUM, s->quorum, s->quorum_count) : 0;
    if (token) {
        c->ports.store.quorum(c->ports.store.self, token, s->quorum, s->quorum_count);
    }
    s->quorum_count = 0;
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

/* "job ID failed", "job ID was cancelled" */
static void describe(char *out, size_t size, struct core_id job, enum core_state state)
{
    bool is_verb = state == CORE_STATE_FAILED || state == CORE_STATE_SUCCEEDED;
    (void)snprintf(out, size, "job %s %s%s", core_id_format(job).text, is_verb ? "" : "was ",
                   core_state_name(state));
}

static void write_reason(char *out, size_t size, const struct core_job *job)
{
    const struct core_need *lost = &job->lost;
    char need[96], cause[96], quorum[96] = "";
    describe(need, sizeof need, lost->id, lost->state);
    if (job->has_after_quorum) {
        (void)snprintf(quorum, sizeof quorum, "; %d more of its needs had to be met, %d could be",
                       job->after_left, job->needs_open);
    }
    if (lost->condition == CORE_AFTER_NOT_OK) {
        (void)snprintf(out, size, "not run: %s, and it was to run after a failure%s", need, quorum);
    } else if (core_id_is_none(lost->cause)) {
        (void)snprintf(out, size, "not run: %s, which it needs%s", need, quorum);
    } else {
        describe(cause, sizeof cause, lost->cause, lost->cause_state);
        (void)snprintf(out, size, "not run: %s, so %s, which it needs%s", cause, need, quorum);
    }
}

static void skip(struct core *c, struct settle *s, struct core_job *job)
{
    char *reason = s->reason[s->skip_count];
    const struct core_need *lost = &job->lost;
    write_reason(reason, REASON_MAX, job);
    s->skip[s->skip_count++] =
        (struct core_skip){.job = job->id,
                           .state = CORE_STATE_SKIPPED,
                           .error_code = "CANCELLED",
                           .error_text = reason,
                           .cause = core_id_is_none(lost->cause) ? lost->id : lost->cause};
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

static void parent_close(struct core *c, struct settle *s, struct core_job *job)
{
    s->close[s->close_count++] = job->id;
    if (s->close_count == SETTLE_BATCH) {
        send_close(c, s);
    }
}

/* Asks once for each member that ended, as soon as there are enough of them. */
static void quorum_ask(struct core *c, struct settle *s, struct core_job *job)
{
    if (job->stragglers == CORE_STRAGGLERS_WAIT || job->asked_open == job->members_open ||
        job->members - job->members_open < job->quorum) {
        return;
    }
    job->asked_open = job->members_open;
    s->quorum[s->quorum_count++] = job->id;
    if (s->quorum_count == SETTLE_BATCH) {
        send_quorum(c, s);
    }
}

static void stragglers_end(struct core *c, struct settle *s, struct core_job *job)
{
    if (job->stragglers == CORE_STRAGGLERS_LEAVE) {
        parent_close(c, s, job);
    } else if (!job->has_let_go) {
        job->has_let_go = true;
        uint64_t token = core__call(c, CORE_CALL_CANCEL_CHILDREN, NULL, 0);
        if (token) {
            c->ports.store.cancel_children(c->ports.store.self, token, job->id);
        }
    }
}

/* A parent that has its children. One that is being cancelled waits for them to end. */
static void family_settle(struct core *c, struct settle *s, struct core_job *job)
{
    if (job->children_open == 0) {
        parent_close(c, s, job);
    } else if (job->quorum > 0 && !job->is_cancel_requested) {
        if (!job->is_quorum_reached) {
            quorum_ask(c, s, job);
        } else if (job->due_ms <= core__now(c)) {
            stragglers_end(c, s, job);
        }
    }
}

static void settle_one(struct core *c, struct settle *s, struct core_job *job)
{
    bool is_idle = job->state == CORE_STATE_WAITING || job->state == CORE_STATE_QUEUED;
    core__reason_set(c, job);
    if (!is_idle || job->pending > 0) {
        return;
    }
    if (job->is_parent && job->children > 0) {
        family_settle(c, s, job);
    } else if (needs_are_lost(job)) {
        skip(c, s, job);
    } else if (!needs_are_met(job) || job->due_ms > core__now(c)) {
        return;
    } else if (job->is_parent) {
        uint64_t token = core__call(c, CORE_CALL_PLAN, &job->id, 1);
        if (token) {
            c->ports.store.plan(c->ports.store.self, token, job->id);
        }
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
    send_quorum(c, &s);
    send_close(c, &s);
    send_release(c, &s);
}
