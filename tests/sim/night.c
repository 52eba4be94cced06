/*
 * Whole nights on virtual time: two schedulers, workers in three regions, a transport that loses
 * repeats and delays, a record that goes away, and people who cancel and pause. One seed is one
 * night. After every event the record's constraints and the mirror's invariants are checked; at the
 * end every job must have ended. A violated check aborts and names the seed.
 *
 *     sim_night FIRST_SEED COUNT
 */
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "tests/sim/record.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SCHEDULERS = 2,
    SLOTS_MAX = 3,
    HELD_MAX = 16, /* running, or with a result that is not known to be recorded */
    READY_MAX = 256,
    EVENTS_MAX = 32768,
    TTL_MS = 5000,
    TRUST_MS = 4500,
    FAULTS_END_MS = 90000,
    NIGHT_END_MS = 4 * 3600 * 1000,
    RESEND_MS = 3000,
    GIVE_UP_MS = 10000,    /* a supervisor that could not renew for so long kills the runner */
    TAKE_WITHIN_MS = 8000, /* an older assignment is not begun */
    STARTED_AFTER_MS = 250,
    CLOCK_KNOWN_MS = 60000,
    STEP_EVERY_MS = 40000, /* a clock is not set again between two sweeps, some of which are lost */
    RECENT_MAX = 128       /* attempts taken lately: more than come in TAKE_WITHIN_MS */
};

/* --- the world -----------------------------------------------------------------------------------
 */

enum call_kind {
    CALL_LOAD,
    CALL_WORLD,
    CALL_CHANGES,
    CALL_SWEEP,
    CALL_FIRE,
    CALL_TAKE,
    CALL_ADMIT,
    CALL_RELEASE,
    CALL_DISPATCH,
    CALL_FINISH,
    CALL_LATE,
    CALL_END,
    CALL_SKIP,
    CALL_PLAN,
    CALL_FAN_OUT,
    CALL_CLOSE,
    CALL_QUORUM,
    CALL_CANCEL_CHILDREN
};

struct sub {
    struct core_id id, parent;
    const char *kind;
    int market, priority, need_count, after_quorum;
    struct core_id needs[REC_NEEDS_MAX];
    char after_if[REC_NEEDS_MAX + 1];
    bool is_member;
};

/* A store call on its way; owns what it carries. */
struct call {
    enum call_kind kind;
    uint64_t token;
    int64_t term;
    size_t count;
    struct core_id after; /* also the parent */
    struct core_id *ids;
    struct core_dispatch *dispatches;
    int *regions, *workers, *incarnations, *attempts;
    struct core_end end;
    int worker;
    struct sub *subs;
    enum core_state state;
    struct core_id *causes;
    int quorum;
    int64_t sent_ms;
};

/* An answer on its way back. */
struct answer {
    struct core_answer given;
    struct core_record *records;
    struct core_need *needs;
    struct core_expired *expired;
    bool is_fenced;
    bool has_world, has_plan;
    struct core_admitted *admitted;
    struct core_submission *submissions;
    struct rec_worker workers[REC_WORKERS_MAX];
    struct rec_market markets[REC_MARKETS];
    bool is_paused;
    bool has_clock; /* of a sweep: the record's, and when the sweep was sent */
    int64_t clock_ms, sent_ms;
};

enum event_kind {
    EVENT_EXECUTE,
    EVENT_ANSWER,
    EVENT_TICK,
    EVENT_RENEW,
    EVENT_WORKER,
    EVENT_REPORT,
    EVENT_READY,
    EVENT_CLIENT,
    EVENT_FAULT
};

struct event {
    int64_t at;
    uint64_t order;
    enum event_kind kind;
    int who;
    uint64_t generation;
    union {
        struct call *call;
        struct answer *answer;
        struct {
            struct core_id job;
            int attempt, worker;
            enum core_outcome outcome;
        } report;
        struct offer {
            struct core_id job;
            int attempt, worker, incarnation;
            int64_t mono_ms;
        } offer;
    } u;
};

enum held_state { HELD_NONE, HELD_RUNNING, HELD_RESULT };

struct held {
    enum held_state state;
    struct core_id job;
    int attempt;
    bool is_confirmed;
    int64_t lease_ms, began_ms, ends_ms, send_ms;
    enum core_outcome outcome;
};

struct worker {
    bool is_alive, is_draining, must_renew;
    int region, slots, incarnation;
    int64_t paused_until, renewed_ms, back_ms;
    struct {
        struct core_id job;
        int attempt;
        int64_t at_ms;
    } recent[RECENT_MAX];
    int recent_next;
    struct held held[HELD_MAX];
};

struct scheduler {
    struct core *core;
    bool is_alive, is_leading, is_started, must_restart, has_ticker;
    int64_t term, trusted_until, paused_until, back_ms, restart_ms, line_ms;
    uint64_t generation;
    int cursor;
    bool has_clock; /* of its last sweep that was answered */
    int64_t clock_ms, clock_sent_ms, clock_term;
};

struct client {
    struct sub sub;
    bool is_by_sql;    /* it writes into the record itself, */
    bool is_submitted; /* and that has committed */
    bool is_done;
};

static struct world {
    uint64_t seed;
    struct rng rng;
    int64_t now;
    uint64_t order;
    struct event heap[EVENTS_MAX];
    int event_count;
    struct record record;
    struct scheduler schedulers[SCHEDULERS];
    struct worker workers[REC_WORKERS_MAX];
    int worker_count;
    struct offer ready[REC_WORKERS_MAX][READY_MAX];
    int ready_count[REC_WORKERS_MAX];
    struct client clients[64];
    int client_count;
    bool is_redis_down, is_record_down, has_clock_stepped;
    int64_t redis_back, record_back, clock_after_ms;
    double loss, copies;
    uint64_t events_total;
    char night_spec[128]; /* of the nightly: its quorum, and what becomes of stragglers */
    enum core_stragglers stragglers;
    int64_t straggler_wait_s;
} w;

static int chance(double p)
{
    return rng_unit(&w.rng) < p;
}

static int64_t between(int64_t low, int64_t high)
{
    return low + (int64_t)(rng_unit(&w.rng) * (double)(high - low + 1));
}

/* --- events: a heap by time, then by order -------------------------------------------------------
 */

static bool before(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void put(struct event e)
{
    CHECK(w.event_count < EVENTS_MAX);
    int at = w.event_count++;
    while (at > 0 && before(&e, &w.heap[(at - 1) / 2])) {
        w.heap[at] = w.heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w.heap[at] = e;
}

static void push(struct event e)
{
    e.order = ++w.order;
    put(e);
}

static struct event pop(void)
{
    struct event first = w.heap[0];
    struct event last = w.heap[--w.event_count];
    int at = 0;
    for (;;) {
        int below = 2 * at + 1;
        if (below >= w.event_count) {
            break;
        }
        below += below + 1 < w.event_count && before(&w.heap[below + 1], &w.heap[below]);
        if (!before(&w.heap[below], &last)) {
            break;
        }
        w.heap[at] = w.heap[below];
        at = below;
    }
    if (w.event_count > 0) {
        w.heap[at] = last;
    }
    return first;
}

/* --- the store port: calls travel, in order ----------------------------------------------------
 */

static struct call *call_new(struct scheduler *s, enum call_kind kind, uint64_t token, size_t count)
{
    struct call *c = mem_new(sizeof *c);
    CHECK(c);
    c->kind = kind;
    c->token = token;
    c->count = count;
    c->term = s->term;
    c->sent_ms = w.now;
    return c;
}

static void call_free(struct call *c)
{
    mem_free(c->ids);
    mem_free(c->dispatches);
    mem_free(c->regions);
    mem_free(c->workers);
    mem_free(c->incarnations);
    mem_free(c->attempts);
    mem_free(c->subs);
    mem_free(c->causes);
    mem_free(c);
}

static void call_send(struct scheduler *s, struct call *c)
{
    int64_t at = w.now + between(1, 4);
    s->line_ms = at > s->line_ms ? at : s->line_ms; /* one connection: in order */
    push((struct event){.at = s->line_ms,
                        .kind = EVENT_EXECUTE,
                        .who = (int)(s - w.schedulers),
                        .generation = s->generation,
                        .u.call = c});
}

static struct core_id *copy_ids(const struct core_id *ids, size_t count)
{
    struct core_id *copy = mem_new_array(count, sizeof *copy);
    CHECK(copy);
    memcpy(copy, ids, count * sizeof *copy);
    return copy;
}

static void simple(void *self, enum call_kind kind, uint64_t token)
{
    call_send(self, call_new(self, kind, token, 0));
}

static void port_load(void *self, uint64_t token, struct core_id after, size_t limit)
{
    struct call *c = call_new(self, CALL_LOAD, token, limit);
    c->after = after;
    call_send(self, c);
}
static void port_world(void *self, uint64_t token)
{
    simple(self, CALL_WORLD, token);
}
static void port_changes(void *self, uint64_t token)
{
    simple(self, CALL_CHANGES, token);
}
static void port_sweep(void *self, uint64_t token)
{
    simple(self, CALL_SWEEP, token);
}
static void port_fire(void *self, uint64_t token)
{
    simple(self, CALL_FIRE, token);
}
static void port_take(void *self, uint64_t token, size_t limit)
{
    call_send(self, call_new(self, CALL_TAKE, token, limit));
}

static int market_of(struct span code)
{
    for (int i = 0; i < REC_MARKETS; i++) {
        if (span_is(code, rec_markets[i])) {
            return i;
        }
    }
    return -1;
}

static int region_of(struct span name)
{
    for (int i = 0; i < REC_REGIONS; i++) {
        if (span_is(name, rec_regions[i])) {
            return i;
        }
    }
    CHECK(false && "a region that exists");
    return -1;
}

/* "w7" */
static int worker_of(struct span name)
{
    int worker = atoi(name.data + 1);
    CHECK(name.length >= 2 && worker >= 0 && worker < REC_WORKERS_MAX);
    return worker;
}

static const char *kind_of(struct span kind)
{
    static const char *const kinds[] = {"noop", "finetune", "evaluate", "nightly"};
    for (size_t i = 0; i < 4; i++) {
        if (span_is(kind, kinds[i])) {
            return kinds[i];
        }
    }
    CHECK(false && "a kind that exists");
    return NULL;
}

static struct sub *copy_subs(const struct core_submission *jobs, size_t count)
{
    struct sub *subs = mem_new_array(count, sizeof *subs);
    CHECK(subs);
    for (size_t i = 0; i < count; i++) {
        subs[i] = (struct sub){.id = jobs[i].id,
                               .parent = jobs[i].parent,
                               .kind = kind_of(jobs[i].kind),
                               .market = market_of(jobs[i].market),
                               .priority = jobs[i].priority,
                               .need_count = (int)jobs[i].after_count,
                               .after_quorum = jobs[i].after_quorum,
                               .is_member = jobs[i].is_member};
        (void)snprintf(subs[i].after_if, sizeof subs[i].after_if, "%.*s",
                       (int)jobs[i].after_if.length,
                       jobs[i].after_if.length ? jobs[i].after_if.data : "");
        CHECK(jobs[i].after_count <= REC_NEEDS_MAX && !jobs[i].error_code);
        for (size_t k = 0; k < jobs[i].after_count; k++) {
            subs[i].needs[k] = jobs[i].after[k];
        }
    }
    return subs;
}

static void port_admit(void *self, uint64_t token, const struct core_submission *jobs, size_t count)
{
    struct call *c = call_new(self, CALL_ADMIT, token, count);
    c->subs = copy_subs(jobs, count);
    call_send(self, c);
}
static void port_fan_out(void *self, uint64_t token, struct core_id parent, int quorum,
                         const struct core_submission *children, size_t count)
{
    struct call *c = call_new(self, CALL_FAN_OUT, token, count);
    c->quorum = quorum;
    c->after = parent;
    c->subs = copy_subs(children, count);
    call_send(self, c);
}
static void port_release(void *self, uint64_t token, const struct core_id *jobs, size_t count)
{
    struct call *c = call_new(self, CALL_RELEASE, token, count);
    c->ids = copy_ids(jobs, count);
    call_send(self, c);
}
static void port_close(void *self, uint64_t token, const struct core_id *parents, size_t count)
{
    struct call *c = call_new(self, CALL_CLOSE, token, count);
    c->ids = copy_ids(parents, count);
    call_send(self, c);
}
static void port_quorum(void *self, uint64_t token, const struct core_id *parents, size_t count)
{
    struct call *c = call_new(self, CALL_QUORUM, token, count);
    c->ids = copy_ids(parents, count);
    call_send(self, c);
}
static void port_dispatch(void *self, uint64_t token, const struct core_dispatch *jobs,
                          size_t count)
{
    struct call *c = call_new(self, CALL_DISPATCH, token, count);
    c->dispatches = mem_new_array(count, sizeof *c->dispatches);
    c->regions = mem_new_array(count, sizeof *c->regions);
    c->workers = mem_new_array(count, sizeof *c->workers);
    c->incarnations = mem_new_array(count, sizeof *c->incarnations);
    CHECK(c->dispatches && c->regions && c->workers && c->incarnations);
    for (size_t i = 0; i < count; i++) {
        c->dispatches[i] = jobs[i];
        c->regions[i] = region_of(jobs[i].region);
        c->workers[i] = worker_of(jobs[i].worker);
        c->incarnations[i] = atoi(jobs[i].incarnation.data);
    }
    call_send(self, c);
}
static void port_finish(void *self, uint64_t token, const struct core_result *results, size_t count)
{
    struct call *c = call_new(self, CALL_FINISH, token, count);
    c->ids = mem_new_array(count, sizeof *c->ids);
    c->attempts = mem_new_array(count, sizeof *c->attempts);
    c->workers = mem_new_array(count, sizeof *c->workers);
    CHECK(c->ids && c->attempts && c->workers);
    for (size_t i = 0; i < count; i++) {
        c->ids[i] = results[i].job;
        c->attempts[i] = results[i].attempt;
        c->workers[i] = atoi(results[i].worker.data);
    }
    call_send(self, c);
}
static void port_late(void *self, uint64_t token, const struct core_result *result)
{
    struct call *c = call_new(self, CALL_LATE, token, 1);
    c->end = (struct core_end){.job = result->job, .attempt = result->attempt};
    call_send(self, c);
}
static void port_end(void *self, uint64_t token, const struct core_end *ends, size_t count)
{
    CHECK(count == 1);
    struct call *c = call_new(self, CALL_END, token, 1);
    c->end = ends[0];
    c->worker = ends[0].report ? atoi(ends[0].report->worker.data) : -1;
    c->end.report = NULL;
    call_send(self, c);
}
static void port_skip(void *self, uint64_t token, const struct core_skip *skips, size_t count)
{
    struct call *c = call_new(self, CALL_SKIP, token, count);
    c->ids = mem_new_array(count, sizeof *c->ids);
    c->causes = mem_new_array(count, sizeof *c->causes);
    CHECK(c->ids && c->causes);
    c->state = skips[0].state;
    for (size_t i = 0; i < count; i++) {
        c->ids[i] = skips[i].job;
        c->causes[i] = skips[i].cause;
    }
    call_send(self, c);
}
static void port_plan(void *self, uint64_t token, struct core_id parent)
{
    struct call *c = call_new(self, CALL_PLAN, token, 0);
    c->after = parent;
    call_send(self, c);
}
static void port_cancel_children(void *self, uint64_t token, struct core_id parent)
{
    struct call *c = call_new(self, CALL_CANCEL_CHILDREN, token, 0);
    c->after = parent;
    call_send(self, c);
}

/* --- the transport port
 * ---------------------------------------------------------------------------- */

static void port_ready(void *self, const struct core_record *job)
{
    (void)self;
    int copies = w.is_redis_down || chance(w.loss) ? 0 : chance(w.copies) ? 2 : 1;
    for (int i = 0; i < copies; i++) {
        int64_t delay = chance(0.03) ? between(500, 15000) : between(0, 3);
        push((struct event){.at = w.now + delay,
                            .kind = EVENT_READY,
                            .u.offer = {.job = job->id,
                                        .attempt = job->attempt,
                                        .worker = worker_of(job->worker),
                                        .incarnation = atoi(job->incarnation.data),
                                        .mono_ms = job->worker_mono_ms}});
    }
}

static void port_admitted(void *self, void *cookie, int status, const struct core_admitted *rows,
                          size_t count)
{
    (void)self;
    struct client *client = cookie;
    CHECK(status == 0 && count == 1 && core_id_equals(rows[0].id, client->sub.id));
    CHECK(rec_find(&w.record, client->sub.id) >= 0); /* acknowledged is recorded */
    client->is_done = true;
}

static int64_t port_now(void *self)
{
    (void)self;
    return w.now;
}

static uint64_t port_random(void *self)
{
    (void)self;
    return rng_next(&w.rng);
}

static void port_fault(void *self, const char *reason)
{
    (void)self;
    fprintf(stderr, "the core gave up: %s\n", reason);
    CHECK(false && "the core never needs to give up here");
}

/* --- what the record answers
 * ------------------------------------------------------------------------ */

static struct answer *answer_new(size_t rows)
{
    struct answer *a = mem_new(sizeof *a);
    CHECK(a);
    a->records = mem_new_array(rows, sizeof *a->records);
    a->needs = mem_new_array(rows * REC_NEEDS_MAX, sizeof *a->needs);
    CHECK(a->records && a->needs);
    a->given.records = a->records;
    return a;
}

static void answer_free(struct answer *a)
{
    mem_free(a->records);
    mem_free(a->needs);
    mem_free(a->expired);
    mem_free(a->admitted);
    mem_free(a->submissions);
    mem_free(a);
}

static void add_row(struct answer *a, int job)
{
    size_t n = a->given.record_count++;
    a->records[n] = rec_row(&w.record, job, &a->needs[n * REC_NEEDS_MAX]);
}

static void add_id(struct answer *a, struct core_id id)
{
    int at = rec_find(&w.record, id);
    CHECK(at >= 0);
    add_row(a, at);
}

static void answer_load(struct scheduler *s, const struct call *c, struct answer *a)
{
    if (core_id_is_none(c->after)) {
        s->cursor = w.record.change_count;
    }
    struct core_id last = c->after;
    while (a->given.record_count < c->count) {
        int next = -1;
        for (int i = 0; i < w.record.job_count; i++) {
            const struct rec_job *j = &w.record.jobs[i];
            if (!core_state_is_ended(j->state) && core_id_compare(j->id, last) > 0 &&
                (next < 0 || core_id_compare(j->id, w.record.jobs[next].id) < 0)) {
                next = i;
            }
        }
        if (next < 0) {
            break;
        }
        last = w.record.jobs[next].id;
        add_row(a, next);
    }
}

static void answer_sweep(const struct scheduler *s, const struct call *c, struct answer *a)
{
    a->has_clock = true;
    a->clock_ms = rec_clock(&w.record);
    a->sent_ms = c->sent_ms;
    int64_t since = c->sent_ms - s->clock_sent_ms;
    bool is_known =
        s->has_clock && since <= CLOCK_KNOWN_MS && c->term - s->clock_term <= 1; /* none between */
    rec_clock_mend(&w.record, is_known ? &s->clock_ms : NULL, a->clock_ms - s->clock_ms - since);
    a->expired = mem_new_array((size_t)w.record.job_count, sizeof *a->expired);
    CHECK(a->expired);
    for (int i = 0; i < w.record.job_count; i++) {
        const struct rec_job *j = &w.record.jobs[i];
        const struct rec_attempt *t = &j->attempts[j->attempt];
        if (!core_state_is_open_attempt(j->state)) {
            continue;
        }
        bool is_lost = t->state == REC_RUNNING && t->lease_until_ms <= a->clock_ms;
        bool is_undelivered = t->state == REC_DISPATCHED && t->lease_until_ms <= a->clock_ms;
        if (is_lost || is_undelivered) {
            a->expired[a->given.expired_count++] = (struct core_expired){
                .job = j->id,
                .attempt = j->attempt,
                .expiry = is_lost ? CORE_EXPIRY_LOST : CORE_EXPIRY_UNDELIVERED,
                .was_draining = is_lost && w.record.workers[t->worker].is_draining};
        }
    }
    a->given.expired = a->expired;
}

/* No worker is ever given more than it has slots, and a bundle counts as one. */
static void check_capacity(int worker)
{
    int open = 0;
    for (int i = 0; i < w.record.job_count; i++) {
        const struct rec_job *j = &w.record.jobs[i];
        open += core_state_is_open_attempt(j->state) && j->attempts[j->attempt].worker == worker;
    }
    CHECK(open <= w.record.workers[worker].slots * w.record.bundle_max);
}

static void check_limit(int market)
{
    const struct rec_market *m = &w.record.markets[market];
    int open = 0;
    for (int i = 0; i < w.record.job_count; i++) {
        const struct rec_job *j = &w.record.jobs[i];
        open += j->market == market && core_state_is_open_attempt(j->state);
    }
    bool is_settled = w.now - m->changed_ms > 10000;
    CHECK(!is_settled || m->max_running == 0 || open <= m->max_running);
}

static void do_dispatch(const struct call *c, struct answer *a)
{
    for (size_t i = 0; i < c->count; i++) {
        rec_dispatch(&w.record, c->dispatches[i].job, c->dispatches[i].attempt, c->regions[i],
                     c->workers[i], c->incarnations[i]);
        add_id(a, c->dispatches[i].job);
        check_capacity(c->workers[i]);
        int market = w.record.jobs[rec_find(&w.record, c->dispatches[i].job)].market;
        if (market >= 0) {
            check_limit(market);
        }
    }
}

static void do_finish(const struct call *c, struct answer *a)
{
    if (c->count > 1 && chance(0.02)) { /* one of them cannot be recorded, so none is */
        a->given.status = ERR_DATABASE;
        return;
    }
    for (size_t i = 0; i < c->count; i++) {
        rec_finish(&w.record, c->ids[i], c->attempts[i], c->workers[i]);
        if (w.record.jobs[rec_find(&w.record, c->ids[i])].state != CORE_STATE_SUCCEEDED) {
            add_id(a, c->ids[i]);
        }
    }
}

static void do_admit(const struct call *c, struct answer *a)
{
    if (c->kind == CALL_FAN_OUT) {
        const struct rec_job *p = &w.record.jobs[rec_find(&w.record, c->after)];
        bool may = !core_state_is_ended(p->state) && !p->is_cancel_requested;
        if (!may) {
            add_id(a, c->after);
            return;
        }
        w.record.jobs[rec_find(&w.record, c->after)].quorum = c->quorum;
    }
    for (size_t i = 0; i < c->count; i++) {
        const struct sub *s = &c->subs[i];
        struct rec_job job = {.id = s->id,
                              .kind = s->kind,
                              .market = s->market,
                              .priority = s->priority,
                              .need_count = s->need_count,
                              .after_quorum = s->after_quorum,
                              .is_member = s->is_member,
                              .max_attempts = 3};
        for (int k = 0; k < s->need_count; k++) {
            job.needs[k] = s->needs[k];
            job.conditions[k] = s->after_if[k] == 'n'   ? CORE_AFTER_NOT_OK
                                : s->after_if[k] == 'a' ? CORE_AFTER_ANY
                                                        : CORE_AFTER_OK;
        }
        rec_admit(&w.record, &job, s->parent);
        if (s->market < 0 && strcmp(s->kind, "finetune") == 0) { /* pooled sources are of "eu" */
            w.record.jobs[rec_find(&w.record, s->id)].region = 1;
        }
    }
    if (c->kind == CALL_FAN_OUT) {
        add_id(a, c->after);
    }
    for (size_t i = 0; i < c->count; i++) {
        add_id(a, c->subs[i].id);
    }
    if (c->kind == CALL_ADMIT) {
        a->admitted = mem_new_array(c->count, sizeof *a->admitted);
        CHECK(a->admitted);
        for (size_t i = 0; i < c->count; i++) {
            a->admitted[i] =
                (struct core_admitted){.id = c->subs[i].id, .state = a->records[i].state};
        }
        a->given.admitted = a->admitted;
        a->given.admitted_count = c->count;
    }
}

static void do_fire(struct answer *a)
{
    if (w.record.fire_ms > 0 && w.now >= w.record.fire_ms) {
        w.record.fire_ms = 0;
        struct core_id id = {.high = 0xffff, .low = w.seed};
        struct rec_job job = {.id = id,
                              .kind = "nightly",
                              .market = -1,
                              .max_attempts = 1,
                              .stragglers = w.stragglers,
                              .straggler_wait_ms = w.straggler_wait_s * 1000};
        rec_admit(&w.record, &job, (struct core_id){0, 0});
        add_id(a, id);
    }
}

static struct core_submission submission_of(const struct client *client)
{
    return (struct core_submission){
        .id = client->sub.id,
        .kind = span_of(client->sub.kind),
        .market = span_of(client->sub.market >= 0 ? rec_markets[client->sub.market] : ""),
        .priority = client->sub.priority,
        .after = client->sub.needs,
        .after_count = (size_t)client->sub.need_count,
        .after_if = span_of(client->sub.after_if),
        .after_quorum = client->sub.after_quorum,
        .by = span_of("client")};
}

/* What clients wrote by SQL and nobody has admitted yet. */
static void answer_take(const struct call *c, struct answer *a)
{
    a->submissions = mem_new_array(c->count, sizeof *a->submissions);
    CHECK(a->submissions);
    for (int i = 0; i < w.client_count && a->given.submission_count < c->count; i++) {
        if (w.clients[i].is_submitted && rec_find(&w.record, w.clients[i].sub.id) < 0) {
            a->submissions[a->given.submission_count++] = submission_of(&w.clients[i]);
        }
    }
    a->given.submissions = a->submissions;
}

static void do_children(const struct call *c, struct answer *a)
{
    int parent = rec_find(&w.record, c->after);
    for (int i = 0; i < w.record.job_count; i++) {
        if (w.record.jobs[i].parent == parent && !core_state_is_ended(w.record.jobs[i].state)) {
            rec_cancel(&w.record, i);
            add_row(a, i);
        }
    }
}

static void answer_changes(struct scheduler *s, struct answer *a)
{
    /* A job that changed often comes once: rows are fresh anyway. */
    bool seen[REC_JOBS_MAX] = {false};
    while (s->cursor < w.record.change_count) {
        int job = w.record.changes[s->cursor++];
        if (!seen[job]) {
            seen[job] = true;
            add_row(a, job);
        }
    }
}

static struct answer *execute(struct scheduler *s, const struct call *c)
{
    struct answer *a = answer_new((size_t)w.record.job_count + c->count + 2);
    a->given.token = c->token;
    if (c->term != w.record.term || w.record.expires_ms <= rec_clock(&w.record)) {
        a->is_fenced = true;
        w.record.fenced_calls++;
        return a;
    }
    switch (c->kind) {
    case CALL_LOAD:
        answer_load(s, c, a);
        break;
    case CALL_WORLD:
        a->has_world = true;
        memcpy(a->workers, w.record.workers, sizeof a->workers);
        memcpy(a->markets, w.record.markets, sizeof a->markets);
        a->is_paused = w.record.is_paused;
        break;
    case CALL_CHANGES:
        answer_changes(s, a);
        break;
    case CALL_SWEEP:
        answer_sweep(s, c, a);
        break;
    case CALL_FIRE:
        do_fire(a);
        break;
    case CALL_TAKE:
        answer_take(c, a);
        break;
    case CALL_ADMIT:
    case CALL_FAN_OUT:
        do_admit(c, a);
        break;
    case CALL_DISPATCH:
        do_dispatch(c, a);
        break;
    case CALL_LATE: /* the record must not take it for its newest attempt */
        CHECK(rec_is_late(&w.record, c->end.job, c->end.attempt));
        add_id(a, c->end.job);
        break;
    case CALL_FINISH:
        do_finish(c, a);
        break;
    case CALL_END:
        rec_end(&w.record, &c->end, c->worker);
        add_id(a, c->end.job);
        break;
    case CALL_PLAN:
        a->has_plan = true;
        break;
    case CALL_CANCEL_CHILDREN:
        do_children(c, a);
        break;
    case CALL_RELEASE:
    case CALL_SKIP:
    case CALL_QUORUM:
    case CALL_CLOSE:
        for (size_t i = 0; i < c->count; i++) {
            if (c->kind == CALL_RELEASE) {
                rec_release(&w.record, c->ids[i]);
            } else if (c->kind == CALL_SKIP) {
                rec_skip(&w.record, c->ids[i], c->state, c->causes[i]);
            } else if (c->kind == CALL_QUORUM) {
                rec_quorum(&w.record, c->ids[i]);
            } else {
                rec_close(&w.record, c->ids[i]);
            }
            add_id(a, c->ids[i]);
        }
        break;
    }
    return a;
}

/* --- schedulers
 * -------------------------------------------------------------------------------------- */

static struct core *core_make(struct scheduler *s)
{
    struct core_ports ports = {
        .self = s,
        .now_ms = port_now,
        .random = port_random,
        .fault = port_fault,
        .store = {.self = s,
                  .load = port_load,
                  .world = port_world,
                  .changes = port_changes,
                  .sweep = port_sweep,
                  .fire = port_fire,
                  .take = port_take,
                  .admit = port_admit,
                  .release = port_release,
                  .dispatch = port_dispatch,
                  .finish = port_finish,
                  .late = port_late,
                  .end = port_end,
                  .skip = port_skip,
                  .plan = port_plan,
                  .fan_out = port_fan_out,
                  .quorum = port_quorum,
                  .close = port_close,
                  .cancel_children = port_cancel_children},
        .transport = {.self = s, .ready = port_ready, .admitted = port_admitted}};
    struct core_settings settings = core_settings_default;
    settings.changes_every_ms = 1000;
    settings.world_every_ms = 2000;
    settings.sweep_every_ms = 2000;
    settings.fire_every_ms = 10000;
    settings.take_every_ms = 3000;
    settings.load_page = 7; /* small, so that pages are turned */
    settings.batch_max = 5;
    settings.short_ms = 60000; /* all are, once two of a market have succeeded */
    settings.short_after = 2;
    settings.bundle_ms = 120000;
    settings.bundle_max = w.record.bundle_max;
    struct core *c = core_new(&ports, &settings);
    CHECK(c);
    return c;
}

static void scheduler_halt(struct scheduler *s)
{
    if (s->is_started) {
        s->is_started = false;
        s->generation++;
        core_stop(s->core);
    }
}

static void scheduler_lose(struct scheduler *s)
{
    s->is_leading = false;
    scheduler_halt(s);
}

static void tick_at(struct scheduler *s, int64_t at)
{
    if (!s->has_ticker) {
        s->has_ticker = true;
        push((struct event){.at = at, .kind = EVENT_TICK, .who = (int)(s - w.schedulers)});
    }
}

static void scheduler_go(struct scheduler *s)
{
    if (s->is_leading && !s->is_started && !w.is_record_down && w.now >= s->restart_ms) {
        s->is_started = true;
        core_start(s->core);
        tick_at(s, w.now + 1);
    }
}

/* What every part of the program checks before it acts. */
static bool scheduler_may_act(struct scheduler *s)
{
    if (s->is_leading && w.now >= s->trusted_until) {
        scheduler_lose(s);
    }
    return s->is_alive && s->is_leading && s->is_started;
}

static void on_renew(struct scheduler *s)
{
    push((struct event){
        .at = w.now + between(1400, 1600), .kind = EVENT_RENEW, .who = (int)(s - w.schedulers)});
    if (!s->is_alive || w.is_record_down) {
        return;
    }
    int64_t asked = w.now - between(0, 100);
    int64_t term = rec_lead(&w.record, (int)(s - w.schedulers) + 1, TTL_MS);
    if (term == 0) {
        scheduler_lose(s);
        return;
    }
    if (s->is_leading && term != s->term) {
        scheduler_lose(s);
    }
    s->trusted_until = asked + TRUST_MS;
    s->term = term;
    s->is_leading = true;
    scheduler_go(s);
}

static void on_tick(struct scheduler *s)
{
    s->has_ticker = false;
    if (!s->is_alive) {
        return;
    }
    if (s->is_leading && !s->is_started) {
        scheduler_go(s);
    }
    if (!scheduler_may_act(s)) {
        return;
    }
    int64_t next = core_tick(s->core);
    next = next < 1 ? 1 : next > 500 ? 500 : next;
    tick_at(s, w.now + next);
}

static void lose_connection(struct scheduler *s)
{
    scheduler_halt(s);
    s->restart_ms = w.now + between(100, 1000);
    if (s->is_leading) {
        tick_at(s, s->restart_ms);
    }
}

static void on_execute(struct scheduler *s, const struct event *e)
{
    struct call *c = e->u.call;
    bool is_orphan = e->generation != s->generation || !s->is_alive;
    /* A call of a connection that broke may or may not have arrived. */
    if (w.is_record_down || (is_orphan && chance(0.5))) {
        if (!is_orphan) {
            lose_connection(s);
        }
        call_free(c);
        return;
    }
    struct answer *a = execute(s, c);
    call_free(c);
    push((struct event){.at = w.now + 1,
                        .kind = EVENT_ANSWER,
                        .who = e->who,
                        .generation = e->generation,
                        .u.answer = a});
}

static void give_world(struct scheduler *s, struct answer *a)
{
    static const char *const names[REC_WORKERS_MAX] = {"w0", "w1", "w2", "w3", "w4",  "w5",
                                                       "w6", "w7", "w8", "w9", "w10", "w11"};
    struct core_market_row markets[REC_MARKETS];
    struct core_region_row regions[REC_REGIONS];
    struct core_worker_row workers[REC_WORKERS_MAX];
    struct core_world world = {.is_paused = a->is_paused,
                               .markets = markets,
                               .market_count = REC_MARKETS,
                               .regions = regions,
                               .region_count = REC_REGIONS,
                               .workers = workers};
    for (int i = 0; i < REC_MARKETS; i++) {
        markets[i] = (struct core_market_row){.code = span_of(rec_markets[i]),
                                              .region = span_of(rec_regions[rec_region_of[i]]),
                                              .weight = 1 + i,
                                              .max_running = a->markets[i].max_running,
                                              .is_paused = a->markets[i].is_paused};
    }
    for (int i = 0; i < REC_REGIONS; i++) {
        regions[i] =
            (struct core_region_row){.name = span_of(rec_regions[i]),
                                     .max_running = i == REC_REGIONS - 1 ? REC_REGION_MAX : 0};
    }
    const struct core_task_row task = {.name = span_of(rec_tasks[0]), .max_running = REC_TASK_MAX};
    world.tasks = &task;
    world.task_count = 1;
    for (int i = 0; i < REC_WORKERS_MAX; i++) {
        const struct rec_worker *row = &a->workers[i];
        if (row->is_known && !row->is_gone) {
            workers[world.worker_count++] =
                (struct core_worker_row){.name = span_of(names[i]),
                                         .incarnation = span_of(rec_incarnation(row->incarnation)),
                                         .region = span_of(rec_regions[row->region]),
                                         .slots = row->slots,
                                         .threads = REC_WORKER_THREADS,
                                         .memory_mb = REC_WORKER_MEMORY_MB,
                                         .is_live = w.now - row->seen_ms < REC_LIVE_MS,
                                         .is_draining = row->is_draining};
        }
    }
    a->given.world = &world;
    core_answer(s->core, &a->given);
}

static void give_plan(struct scheduler *s, struct answer *a)
{
    struct core_plan_market markets[REC_MARKETS];
    for (int i = 0; i < REC_MARKETS; i++) {
        markets[i] = (struct core_plan_market){.code = span_of(rec_markets[i]),
                                               .region = span_of(rec_regions[rec_region_of[i]])};
    }
    struct span sources[] = {span_of("de-DE"), span_of("fr-FR")};
    struct core_plan plan = {.task = span_of("intent"),
                             .spec = span_of(w.night_spec),
                             .by = span_of("simulation"),
                             .sources = sources,
                             .source_count = w.seed % 3 ? 2 : 0,
                             .markets = markets,
                             .market_count = REC_MARKETS};
    a->given.plan = &plan;
    core_answer(s->core, &a->given);
}

static void on_answer(struct scheduler *s, const struct event *e)
{
    struct answer *a = e->u.answer;
    if (e->generation == s->generation && scheduler_may_act(s)) {
        if (a->has_clock) {
            s->has_clock = true;
            s->clock_ms = a->clock_ms;
            s->clock_sent_ms = a->sent_ms;
            s->clock_term = s->term;
        }
        if (a->is_fenced) {
            scheduler_lose(s);
        } else if (a->has_world) {
            give_world(s, a);
        } else if (a->has_plan) {
            give_plan(s, a);
        } else {
            core_answer(s->core, &a->given);
        }
    }
    answer_free(a);
}

/* --- workers
 * ----------------------------------------------------------------------------------------- */

static void report(int worker, const struct held *h)
{
    int copies = w.is_redis_down || chance(w.loss) ? 0 : chance(w.copies) ? 2 : 1;
    for (int i = 0; i < copies; i++) {
        /* Now and then one arrives when all has long moved on. */
        int64_t delay = chance(0.03) ? between(5000, 40000) : between(1, 5);
        push((struct event){
            .at = w.now + delay,
            .kind = EVENT_REPORT,
            .u.report = {
                .job = h->job, .attempt = h->attempt, .worker = worker, .outcome = h->outcome}});
    }
}

static struct core_result result_of(const struct event *e)
{
    static const char *const codes[CORE_OUTCOME_COUNT] = {
        [CORE_OUTCOME_FAILED] = "IO", [CORE_OUTCOME_CRASHED] = "CRASH"};
    static const char *const workers[REC_WORKERS_MAX] = {"0", "1", "2", "3", "4",  "5",
                                                         "6", "7", "8", "9", "10", "11"};
    const char *code = codes[e->u.report.outcome];
    if (e->u.report.outcome == CORE_OUTCOME_CRASHED &&
        (e->u.report.job.low + (uint64_t)e->u.report.attempt) % 4 == 0) {
        code = "OOM"; /* by the attempt, for the report may be sent again */
    }
    return (struct core_result){.job = e->u.report.job,
                                .attempt = e->u.report.attempt,
                                .worker = span_of(workers[e->u.report.worker]),
                                .outcome = e->u.report.outcome,
                                .run_ms = 1,
                                .error_code = span_of(code ? code : "")};
}

/* Those that lie in the stream together are read together. */
static void on_report(const struct event *e)
{
    enum { MOST = 8 };
    struct core_result results[MOST] = {result_of(e)};
    size_t count = 1;
    while (count < MOST && w.event_count > 0 && w.heap[0].kind == EVENT_REPORT &&
           w.heap[0].at <= w.now + 200) {
        struct event next = pop();
        results[count++] = result_of(&next);
    }
    for (int i = 0; i < SCHEDULERS; i++) {
        struct scheduler *s = &w.schedulers[i];
        if (w.now >= s->paused_until && scheduler_may_act(s)) {
            core_report(s->core, results, count);
        }
    }
}

static void worker_start(int at)
{
    struct worker *k = &w.workers[at];
    k->is_alive = true;
    k->is_draining = false;
    k->must_renew = false;
    k->incarnation++;
    k->renewed_ms = w.now;
    memset(k->held, 0, sizeof k->held);
    memset(k->recent, 0, sizeof k->recent);
    if (!w.is_record_down) {
        rec_hello(&w.record, at, k->region, k->slots, k->incarnation);
    }
}

static enum core_outcome draw_outcome(void)
{
    double u = rng_unit(&w.rng);
    return u < 0.84   ? CORE_OUTCOME_SUCCEEDED
           : u < 0.92 ? CORE_OUTCOME_FAILED
                      : CORE_OUTCOME_CRASHED;
}

static void worker_result(struct held *h, enum core_outcome outcome)
{
    h->state = HELD_RESULT;
    h->outcome = outcome;
    h->send_ms = w.now;
}

/* A place for what was given, or NULL when none is free. */
static struct held *worker_place(struct worker *k)
{
    struct held *free = NULL;
    int running = 0;
    for (int i = 0; i < HELD_MAX; i++) {
        running += k->held[i].state == HELD_RUNNING;
        free = k->held[i].state == HELD_NONE ? &k->held[i] : free;
    }
    return running < k->slots ? free : NULL;
}

static bool worker_knows(const struct worker *k, struct core_id job, int attempt)
{
    for (int i = 0; i < RECENT_MAX; i++) {
        if (core_id_equals(k->recent[i].job, job) && k->recent[i].attempt == attempt) {
            return true;
        }
    }
    return false;
}

static void worker_remember(struct worker *k, struct core_id job, int attempt)
{
    int at = k->recent_next++ % RECENT_MAX;
    CHECK(k->recent[at].attempt == 0 || w.now - k->recent[at].at_ms > TAKE_WITHIN_MS);
    k->recent[at].job = job;
    k->recent[at].attempt = attempt;
    k->recent[at].at_ms = w.now;
}

/* What is begun is ours by the record at this very moment, whatever was lost, late or repeated. */
static void check_ours(int at, const struct held *h)
{
    const struct rec_job *j = &w.record.jobs[rec_find(&w.record, h->job)];
    const struct rec_attempt *a = &j->attempts[h->attempt];
    if (rec_is_lost(&w.record, h->job, h->attempt, at)) {
        return; /* it was: its next renewal is refused */
    }
    CHECK(core_state_is_open_attempt(j->state) && j->attempt == h->attempt);
    CHECK(a->state != REC_ENDED && a->worker == at);
    CHECK(a->incarnation == w.workers[at].incarnation);
    /* A clock that was set forward has ended it for nobody yet: the next sweep gives that back. */
    bool has_time = w.now - a->renewed_ms < REC_UNDELIVERED_MS && w.has_clock_stepped;
    CHECK(a->lease_until_ms > rec_clock(&w.record) || has_time);
}

static void worker_given(int at, struct core_id job, int attempt, int64_t lease_ms,
                         bool is_cancelled)
{
    struct worker *k = &w.workers[at];
    struct held *h = worker_place(k);
    if (!h || worker_knows(k, job, attempt) || w.now - lease_ms >= TAKE_WITHIN_MS) {
        return;
    }
    worker_remember(k, job, attempt);
    *h = (struct held){.job = job, .attempt = attempt, .lease_ms = lease_ms, .began_ms = w.now};
    if (is_cancelled || k->is_draining) {
        worker_result(h, is_cancelled ? CORE_OUTCOME_CANCELLED : CORE_OUTCOME_RETURNED);
        return;
    }
    check_ours(at, h);
    h->state = HELD_RUNNING;
    h->ends_ms = w.now + between(200, chance(0.05) ? 30000 : 4000);
    h->outcome = draw_outcome();
}

static void worker_renew_one(int at, struct held *h)
{
    const struct worker *k = &w.workers[at];
    switch (rec_renew(&w.record, h->job, h->attempt, at, k->incarnation)) {
    case REC_CANCEL:
        if (h->state == HELD_RUNNING) {
            worker_result(h, CORE_OUTCOME_CANCELLED);
        }
        h->lease_ms = w.now;
        break;
    case REC_OK:
        h->is_confirmed = true;
        h->lease_ms = w.now;
        break;
    case REC_CLOSED:
    case REC_FENCED:
        h->state = HELD_NONE;
        break;
    }
}

static void worker_handed_over(int at)
{
    struct worker *k = &w.workers[at];
    for (int job = 0; rec_hand_over(&w.record, at, k->incarnation, &job); job++) {
        const struct rec_job *j = &w.record.jobs[job];
        worker_given(at, j->id, j->attempt, j->attempts[j->attempt].dispatched_ms,
                     j->is_cancel_requested);
    }
}

static void worker_renew(int at)
{
    struct worker *k = &w.workers[at];
    struct rec_worker *row = &w.record.workers[at];
    if (w.is_record_down) {
        return;
    }
    k->renewed_ms = w.now;
    k->must_renew = false;
    if (row->incarnation != k->incarnation) {
        rec_hello(&w.record, at, k->region, k->slots, k->incarnation);
    }
    row->seen_ms = w.now;
    row->is_gone = false;
    row->is_draining = k->is_draining;
    for (int i = 0; i < HELD_MAX; i++) {
        if (k->held[i].state != HELD_NONE) {
            worker_renew_one(at, &k->held[i]);
        }
    }
    if (!chance(w.loss)) { /* the answer is lost at times */
        worker_handed_over(at);
    }
}

/* The runners of what could not be renewed in time are killed. */
static void worker_give_up(struct worker *k)
{
    for (int i = 0; i < HELD_MAX; i++) {
        if (k->held[i].state == HELD_RUNNING && w.now - k->held[i].lease_ms > GIVE_UP_MS) {
            k->held[i].state = HELD_NONE;
        }
    }
}

static void worker_send(int at)
{
    struct worker *k = &w.workers[at];
    for (int i = 0; i < HELD_MAX; i++) {
        struct held *h = &k->held[i];
        if (h->state == HELD_RUNNING && (w.now >= h->ends_ms || k->is_draining)) {
            worker_result(h, w.now >= h->ends_ms ? h->outcome : CORE_OUTCOME_RETURNED);
        }
        if (h->state == HELD_RESULT && w.now >= h->send_ms) {
            report(at, h);
            h->send_ms = w.now + RESEND_MS;
        }
    }
}

static void worker_take(int at)
{
    struct worker *k = &w.workers[at];
    for (int i = 0; i < w.ready_count[at] && !w.is_redis_down; i++) {
        const struct offer *o = &w.ready[at][i];
        if (o->incarnation == k->incarnation) {
            worker_given(at, o->job, o->attempt, o->mono_ms, false);
        }
    }
    w.ready_count[at] = w.is_redis_down ? w.ready_count[at] : 0;
}

static bool worker_must_renew(const struct worker *k)
{
    bool has_started = false;
    for (int i = 0; i < HELD_MAX; i++) {
        const struct held *h = &k->held[i];
        has_started = has_started || (h->state == HELD_RUNNING && !h->is_confirmed &&
                                      w.now - h->began_ms >= STARTED_AFTER_MS);
    }
    return k->must_renew || has_started || w.now - k->renewed_ms > 2000;
}

static void worker_leave(int at)
{
    struct worker *k = &w.workers[at];
    for (int i = 0; i < HELD_MAX; i++) {
        if (k->held[i].state != HELD_NONE) {
            return;
        }
    }
    rec_bye(&w.record, at, k->incarnation);
    k->is_alive = false;
    k->back_ms = w.now + between(1000, 8000);
}

static void on_worker(int at)
{
    struct worker *k = &w.workers[at];
    push((struct event){.at = w.now + between(250, 450), .kind = EVENT_WORKER, .who = at});
    if (!k->is_alive) {
        if (w.now >= k->back_ms) {
            worker_start(at);
        }
        return;
    }
    if (w.now < k->paused_until) {
        return;
    }
    worker_give_up(k);
    if (worker_must_renew(k)) {
        worker_renew(at);
    }
    worker_send(at);
    worker_take(at);
    if (k->is_draining && !k->must_renew && !w.is_record_down) {
        worker_leave(at);
    }
}

/* --- people and faults
 * -------------------------------------------------------------------------------- */

static void on_client(int at)
{
    struct client *client = &w.clients[at];
    if (client->is_done) {
        return;
    }
    push((struct event){.at = w.now + 5000, .kind = EVENT_CLIENT, .who = at});
    if (client->is_by_sql) {
        client->is_submitted = client->is_submitted || !w.is_record_down;
        client->is_done = rec_find(&w.record, client->sub.id) >= 0;
        return;
    }
    struct core_submission job = submission_of(client);
    for (int i = 0; i < SCHEDULERS; i++) {
        struct scheduler *s = &w.schedulers[i];
        if (!w.is_redis_down && w.now >= s->paused_until && scheduler_may_act(s) &&
            core_is_ready(s->core)) {
            core_admit(s->core, &job, 1, client);
        }
    }
}

static void scheduler_kill(struct scheduler *s)
{
    s->is_alive = false;
    s->is_leading = false;
    s->is_started = false;
    s->has_clock = false;
    s->generation++;
    core_free(s->core);
    s->core = core_make(s);
    s->back_ms = w.now + between(500, 8000);
}

static void redis_toggle(bool is_down)
{
    w.is_redis_down = is_down;
}

static void redis_forget(void)
{
    memset(w.ready_count, 0, sizeof w.ready_count);
}

static void disturb_worker(void)
{
    struct worker *k = &w.workers[between(0, w.worker_count - 1)];
    switch (between(0, 2)) {
    case 0: /* kill -9 */
        k->is_alive = false;
        k->back_ms = w.now + between(500, 40000);
        break;
    case 1: /* stopped, maybe for longer than its lease */
        k->paused_until = w.now + between(1000, 40000);
        break;
    default:
        k->is_draining = true;
        k->must_renew = true;
        break;
    }
}

static void disturb_people(void)
{
    int at = (int)between(0, REC_MARKETS - 1);
    switch (between(0, 3)) {
    case 0:
        if (w.record.job_count > 0) {
            rec_cancel(&w.record, (int)between(0, w.record.job_count - 1));
        }
        break;
    case 1:
        w.record.markets[at].max_running = (int)between(0, 2);
        w.record.markets[at].changed_ms = w.now;
        break;
    case 2:
        w.record.markets[at].is_paused = !w.record.markets[at].is_paused;
        break;
    default:
        w.record.is_paused = !w.record.is_paused;
        break;
    }
}

static void disturb(void)
{
    struct scheduler *s = &w.schedulers[between(0, SCHEDULERS - 1)];
    int64_t until;
    switch (between(0, 8)) {
    case 0:
    case 1:
    case 2:
        disturb_worker();
        break;
    case 3:
        if (s->is_alive) {
            scheduler_kill(s);
        }
        break;
    case 4:
        until = w.now + between(500, 12000); /* a second stop does not end the first */
        s->paused_until = until > s->paused_until ? until : s->paused_until;
        break;
    case 5:
        redis_toggle(true);
        w.redis_back = w.now + between(500, 15000);
        break;
    case 6:
        redis_forget();
        break;
    case 7:
        w.is_record_down = true;
        if (w.record.bundle_max >
            1) { /* not by chance(): the seeds that are kept stay what they are */
            rec_crash(&w.record);
            for (int i = 0; i < SCHEDULERS; i++) {
                lose_connection(&w.schedulers[i]);
            }
        }
        w.record_back = w.now + between(200, 15000);
        break;
    default:
        disturb_people();
        break;
    }
}

static void heal(void)
{
    if (w.is_redis_down && w.now >= w.redis_back) {
        redis_toggle(false);
    }
    if (w.is_record_down && w.now >= w.record_back) {
        w.is_record_down = false;
    }
    for (int i = 0; i < SCHEDULERS; i++) {
        struct scheduler *s = &w.schedulers[i];
        if (!s->is_alive && w.now >= s->back_ms) {
            s->is_alive = true;
        }
        if (s->is_leading && !s->is_started) {
            tick_at(s, w.now);
        }
    }
}

/* The clock of the record's host, and with it that of all who write wall times, is set: by seconds
 * or by hours, forward or back. In every third night; by numbers of its own, so that the other
 * nights stay what they are. */
static void step_clock(void)
{
    uint64_t mix = rng_mix(w.seed ^ rng_mix((uint64_t)w.now));
    if (w.seed % 3 != 1 || mix % 16 != 0 || w.now < w.clock_after_ms) {
        return;
    }
    int64_t by = (mix >> 8) % 2 ? 5000 + (int64_t)((mix >> 16) % 25000)
                                : 60000 + (int64_t)((mix >> 16) % 7200000);
    w.record.clock_ms += (mix >> 9) % 3 ? by : -by;
    w.has_clock_stepped = true;
    w.clock_after_ms = w.now + STEP_EVERY_MS;
}

static void on_fault(void)
{
    push((struct event){.at = w.now + between(200, 1500), .kind = EVENT_FAULT});
    heal();
    if (w.now < FAULTS_END_MS) {
        step_clock();
    }
    if (w.now < FAULTS_END_MS) {
        if (chance(0.35)) {
            disturb();
        }
        return;
    }
    w.loss = 0;
    w.record.is_paused = false;
    for (int i = 0; i < REC_MARKETS; i++) {
        w.record.markets[i].is_paused = false;
    }
}

/* --- one night
 * ----------------------------------------------------------------------------------------- */

/* Of earlier jobs (which may come later all the same), and of the nightly; each once. */
static void make_needs(struct sub *sub, int before)
{
    int count = chance(0.5) ? (int)between(1, REC_NEEDS_MAX) : 0;
    for (int n = 0; n < count; n++) {
        struct core_id id = {.high = 1, .low = (uint64_t)between(1, before)};
        if (chance(0.1)) {
            id = (struct core_id){.high = 0xffff, .low = w.seed};
        }
        bool is_new = true;
        for (int k = 0; k < sub->need_count; k++) {
            is_new = is_new && !core_id_equals(sub->needs[k], id);
        }
        if (is_new) {
            sub->after_if[sub->need_count] = "oooona"[between(0, 5)];
            sub->needs[sub->need_count++] = id;
        }
    }
    if (sub->need_count > 1 && chance(0.5)) {
        sub->after_quorum = (int)between(1, sub->need_count);
    }
}

static void make_night(void)
{
    static const char *const words[CORE_STRAGGLERS_COUNT] = {"wait", "cancel", "leave"};
    static const char *const quorums[] = {"all", "1", "50%", "4", "100%"};
    w.stragglers = (enum core_stragglers)between(0, CORE_STRAGGLERS_COUNT - 1);
    w.straggler_wait_s = w.stragglers == CORE_STRAGGLERS_WAIT ? 0 : between(0, 20);
    (void)snprintf(w.night_spec, sizeof w.night_spec,
                   "{\"quorum\":\"%s\",\"stragglers\":\"%s\",\"straggler_wait_s\":%d}",
                   quorums[between(0, 4)], words[w.stragglers], (int)w.straggler_wait_s);
}

static void make_clients(void)
{
    int count = (int)between(5, 30);
    for (int i = 0; i < count; i++) {
        struct client *client = &w.clients[w.client_count++];
        *client = (struct client){.sub = {.id = {.high = 1, .low = (uint64_t)i + 1},
                                          .kind = "noop",
                                          .market = (int)between(-1, REC_MARKETS - 1),
                                          .priority = (int)between(0, 2)},
                                  .is_by_sql = chance(0.2)};
        if (i > 0) {
            make_needs(&client->sub, i);
        }
        push((struct event){
            .at = between(0, FAULTS_END_MS / 2), .kind = EVENT_CLIENT, .who = w.client_count - 1});
    }
}

static void make_workers(void)
{
    w.worker_count = (int)between(REC_REGIONS, 8);
    for (int i = 0; i < w.worker_count; i++) {
        w.workers[i].region = i % REC_REGIONS;
        w.workers[i].slots = (int)between(1, SLOTS_MAX);
        worker_start(i);
        push((struct event){.at = between(0, 400), .kind = EVENT_WORKER, .who = i});
    }
}

static void night_start(uint64_t seed)
{
    struct rec_job *jobs = w.record.jobs;
    memset(&w, 0, sizeof w);
    w.seed = seed;
    w.rng = (struct rng){.key = seed};
    w.record.jobs = jobs;
    rec_reset(&w.record);
    w.record.bundle_max = (int)(rng_mix(seed) % 4) + 1;
    w.loss = chance(0.5) ? 0 : 0.1;
    w.copies = chance(0.5) ? 0 : 0.1;
    w.record.fire_ms = between(1, 20000);
    for (int i = 0; i < SCHEDULERS; i++) {
        struct scheduler *s = &w.schedulers[i];
        s->core = core_make(s);
        s->is_alive = true;
        push((struct event){.at = between(0, 1500), .kind = EVENT_RENEW, .who = i});
    }
    make_night();
    make_workers();
    make_clients();
    push((struct event){.at = 1000, .kind = EVENT_FAULT});
}

static bool night_is_over(void)
{
    if (w.now < FAULTS_END_MS || w.record.fire_ms > 0) {
        return false;
    }
    for (int i = 0; i < w.client_count; i++) {
        if (!w.clients[i].is_done) {
            return false;
        }
    }
    for (int i = 0; i < w.record.job_count; i++) {
        if (!core_state_is_ended(w.record.jobs[i].state)) {
            return false;
        }
    }
    return true;
}

static bool event_waits(const struct event *e)
{
    bool is_of_scheduler =
        e->kind == EVENT_ANSWER || e->kind == EVENT_TICK || e->kind == EVENT_RENEW;
    return is_of_scheduler && w.now < w.schedulers[e->who].paused_until;
}

static void handle(struct event *e)
{
    w.now = e->at;
    w.record.now_ms = w.now;
    if (event_waits(e)) { /* the process is stopped: it sees this later, in the same order */
        e->at = w.schedulers[e->who].paused_until;
        put(*e); /* its order kept: another may be due at that very moment */
        return;
    }
    switch (e->kind) {
    case EVENT_EXECUTE:
        on_execute(&w.schedulers[e->who], e);
        break;
    case EVENT_ANSWER:
        on_answer(&w.schedulers[e->who], e);
        break;
    case EVENT_TICK:
        on_tick(&w.schedulers[e->who]);
        break;
    case EVENT_RENEW:
        on_renew(&w.schedulers[e->who]);
        break;
    case EVENT_WORKER:
        on_worker(e->who);
        break;
    case EVENT_REPORT:
        on_report(e);
        break;
    case EVENT_READY:
        if (!w.is_redis_down && w.ready_count[e->u.offer.worker] < READY_MAX) {
            w.ready[e->u.offer.worker][w.ready_count[e->u.offer.worker]++] = e->u.offer;
        }
        break;
    case EVENT_CLIENT:
        on_client(e->who);
        break;
    case EVENT_FAULT:
        on_fault();
        break;
    }
}

/* touches_core: the event may have changed a mirror. */
static void check_all(bool touches_core)
{
    rec_check(&w.record);
    int leaders = 0;
    for (int i = 0; i < SCHEDULERS; i++) {
        const struct scheduler *s = &w.schedulers[i];
        /* A clock that was set forward ends a term before its leader knows: it is fenced. */
        bool is_fenced = w.has_clock_stepped && s->term != w.record.term;
        leaders +=
            s->is_leading && w.now < s->trusted_until && w.now >= s->paused_until && !is_fenced;
        if (s->is_started && touches_core) {
            core_check(s->core);
        }
    }
    CHECK(leaders <= 1);
}

static void night_end(void)
{
    while (w.event_count > 0) {
        struct event e = pop();
        if (e.kind == EVENT_EXECUTE) {
            call_free(e.u.call);
        } else if (e.kind == EVENT_ANSWER) {
            answer_free(e.u.answer);
        }
    }
    for (int i = 0; i < SCHEDULERS; i++) {
        core_free(w.schedulers[i].core);
    }
}

static void night_run(uint64_t seed)
{
    night_start(seed);
    while (!night_is_over()) {
        struct event e = pop();
        handle(&e);
        check_all(e.kind != EVENT_EXECUTE && e.kind != EVENT_WORKER && e.kind != EVENT_READY);
        w.events_total++;
        CHECK(w.now < NIGHT_END_MS); /* every job has a live path */
    }
    night_end();
}

static void on_abort(int number)
{
    (void)number;
    char line[96];
    int length = snprintf(line, sizeof line, "sim_night: seed %llu failed at %lld ms\n",
                          (unsigned long long)w.seed, (long long)w.now);
    (void)!write(STDERR_FILENO, line, (size_t)length);
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 100;
    signal(SIGABRT, on_abort);
    w.record.jobs = mem_new_array(REC_JOBS_MAX, sizeof *w.record.jobs);
    CHECK(w.record.jobs);
    uint64_t events = 0, jobs = 0;
    int64_t fenced = 0, late = 0, quorums = 0, left = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        night_run(seed);
        events += w.events_total;
        jobs += (uint64_t)w.record.job_count;
        fenced += w.record.fenced_calls;
        late += w.record.late_results;
        quorums += w.record.quorums;
        left += w.record.left_running;
    }
    printf("%llu nights: %llu events, %llu jobs, %lld calls fenced, %lld late results refused, "
           "%lld quorums with %lld jobs left running; nothing lost, nothing counted twice\n",
           (unsigned long long)count, (unsigned long long)events, (unsigned long long)jobs,
           (long long)fenced, (long long)late, (long long)quorums, (long long)left);
    mem_free(w.record.jobs);
    return 0;
}
