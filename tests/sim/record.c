#include "tests/sim/record.h"

#include <stdio.h>
#include <string.h>

const char *const rec_markets[REC_MARKETS] = {"de-DE", "fr-FR", "pl-PL", "en-US", "es-MX", "ja-JP"};
const char *const rec_regions[REC_REGIONS] = {"ap", "eu", "us"};
const int rec_region_of[REC_MARKETS] = {1, 1, 1, 2, 2, 0};

void rec_reset(struct record *r)
{
    struct rec_job *jobs = r->jobs;
    memset(r, 0, sizeof *r);
    memset(jobs, 0, REC_JOBS_MAX * sizeof *jobs);
    r->jobs = jobs;
}

int rec_find(const struct record *r, struct core_id id)
{
    for (int i = 0; i < r->job_count; i++) {
        if (core_id_equals(r->jobs[i].id, id)) {
            return i;
        }
    }
    return -1;
}

static struct rec_job *get(struct record *r, struct core_id id)
{
    int at = rec_find(r, id);
    CHECK(at >= 0);
    return &r->jobs[at];
}

static void changed(struct record *r, const struct rec_job *job)
{
    CHECK(r->change_count < (int)(sizeof r->changes / sizeof r->changes[0]));
    r->changes[r->change_count++] = (int)(job - r->jobs);
}

static struct rec_attempt *newest(struct rec_job *job)
{
    return &job->attempts[job->attempt];
}

static enum core_state state_of(const struct record *r, struct core_id id)
{
    int at = rec_find(r, id);
    return at < 0 ? CORE_STATE_UNKNOWN : r->jobs[at].state;
}

static bool need_is_met(enum core_condition condition, enum core_state state)
{
    switch (condition) {
    case CORE_AFTER_OK:
        return state == CORE_STATE_SUCCEEDED;
    case CORE_AFTER_NOT_OK:
        return core_state_is_ended(state) && state != CORE_STATE_SUCCEEDED;
    default:
        return core_state_is_ended(state);
    }
}

/* What ends later than this was written by another clock. */
enum { FOREIGN_MS = 60000, AHEAD_MS = 2000, BEHIND_MS = 10000 };

int64_t rec_clock(const struct record *r)
{
    return r->now_ms + r->clock_ms;
}

static int64_t mended(int64_t until, int64_t clock, const int64_t *before, int64_t ahead_ms)
{
    int64_t whole = clock + REC_LEASE_MS;
    if (until > clock + FOREIGN_MS || !before || until < *before - BEHIND_MS) {
        return until > whole && until <= clock + FOREIGN_MS ? until : whole;
    }
    if (ahead_ms <= AHEAD_MS || until >= whole) {
        return until;
    }
    return until + ahead_ms < whole ? until + ahead_ms : whole;
}

void rec_clock_mend(struct record *r, const int64_t *before, int64_t ahead_ms)
{
    for (int i = 0; i < r->job_count; i++) {
        struct rec_attempt *a = newest(&r->jobs[i]);
        if (core_state_is_open_attempt(r->jobs[i].state)) {
            a->lease_until_ms = mended(a->lease_until_ms, rec_clock(r), before, ahead_ms);
        }
    }
}

/* How many needs are met, and how many could still be. */
static void count_needs(const struct record *r, const struct rec_job *job, int *met, int *open)
{
    *met = *open = 0;
    for (int i = 0; i < job->need_count; i++) {
        enum core_state state = state_of(r, job->needs[i]);
        *met += need_is_met(job->conditions[i], state);
        *open += !core_state_is_ended(state);
    }
}

static int needed(const struct rec_job *job)
{
    return job->after_quorum ? job->after_quorum : job->need_count;
}

static bool needs_met(const struct record *r, const struct rec_job *job)
{
    int met, open;
    count_needs(r, job, &met, &open);
    return met >= needed(job);
}

static void count_family(const struct record *r, const struct rec_job *p, int *members, int *done,
                         int *open)
{
    *members = *done = *open = 0;
    for (int i = 0; i < r->job_count; i++) {
        const struct rec_job *j = &r->jobs[i];
        if (j->parent >= 0 && &r->jobs[j->parent] == p) {
            *members += j->is_member;
            *done += j->is_member && j->state == CORE_STATE_SUCCEEDED;
            *open += !core_state_is_ended(j->state);
        }
    }
}

static int64_t stragglers_left(const struct record *r, const struct rec_job *p)
{
    int64_t until = p->quorum_ms + p->straggler_wait_ms;
    return until > r->now_ms ? until - r->now_ms : 0;
}

static void row_family(const struct record *r, const struct rec_job *j, struct core_record *row)
{
    int done, open;
    row->is_member = j->is_member;
    row->quorum = j->quorum;
    row->stragglers = j->stragglers;
    row->is_quorum_reached = j->quorum_ms > 0;
    if (j->quorum > 0) {
        count_family(r, j, &row->members, &done, &open);
    }
    if (j->quorum_ms > 0) {
        row->due_in_ms = stragglers_left(r, j);
    }
}

/* Crashes of what the job runs, lack of memory aside: crash_count of crash.sql. */
static int crash_count(const struct record *r, const struct rec_job *job)
{
    int count = 0;
    for (int i = 0; i < r->job_count; i++) {
        const struct rec_job *j = &r->jobs[i];
        bool is_same = job->identity ? j->identity == job->identity : j == job;
        count += is_same ? j->crashes - j->ooms : 0;
    }
    return count;
}

const char *rec_incarnation(int number)
{
    enum { MOST = 1000 }; /* starts of one worker in one night */
    static char texts[MOST][8];
    CHECK(number >= 0 && number < MOST);
    (void)snprintf(texts[number], sizeof texts[number], "%d", number);
    return texts[number];
}

const char *const rec_tasks[REC_TASKS] = {"intent", "topic", "tone"};

/* Told from the id, so that the same job is always alike. */
static int task_of(const struct rec_job *j)
{
    return (int)(j->id.low % REC_TASKS);
}

static int threads_of(const struct rec_job *j)
{
    return 1 + (int)(j->id.low / REC_TASKS % 2);
}

/* Limits and requests hold at every moment: what is open counts, whoever believes what. */
static void check_limits(const struct record *r)
{
    int of_task = 0, of_region = 0;
    int threads[REC_WORKERS_MAX] = {0}, memory_mb[REC_WORKERS_MAX] = {0};
    for (int i = 0; i < r->job_count; i++) {
        const struct rec_job *j = &r->jobs[i];
        if (core_state_is_open_attempt(j->state)) {
            int worker = j->attempts[j->attempt].worker;
            of_task += task_of(j) == 0;
            of_region += j->region == REC_REGIONS - 1;
            threads[worker] += threads_of(j);
            memory_mb[worker] += j->memory_mb;
        }
    }
    CHECK(of_task <= REC_TASK_MAX && of_region <= REC_REGION_MAX);
    for (int i = 0; i < REC_WORKERS_MAX; i++) {
        CHECK(threads[i] <= REC_WORKER_THREADS * r->bundle_max &&
              memory_mb[i] <= REC_WORKER_MEMORY_MB * r->bundle_max);
    }
}

struct core_record rec_row(const struct record *r, int job, struct core_need *out_needs)
{
    const struct rec_job *j = &r->jobs[job];
    static const char *const workers[REC_WORKERS_MAX] = {"w0", "w1", "w2", "w3", "w4",  "w5",
                                                         "w6", "w7", "w8", "w9", "w10", "w11"};
    struct core_record row = {
        .id = j->id,
        .state = j->state,
        .kind = span_of(j->kind),
        .market = span_of(j->market >= 0 ? rec_markets[j->market] : ""),
        .region = span_of(j->region >= 0 ? rec_regions[j->region] : ""),
        .parent = j->parent >= 0 ? r->jobs[j->parent].id : (struct core_id){0, 0},
        .priority = j->priority,
        .attempt = j->attempt,
        .failures = j->failures,
        .crashes = core_state_is_ended(j->state) ? 0 : crash_count(r, j),
        .ooms = j->ooms,
        .charged = j->failures + j->crashes,
        .max_attempts = j->max_attempts,
        .task = span_of(rec_tasks[task_of(j)]),
        .memory_mb = j->memory_mb,
        .threads = threads_of(j),
        .due_in_ms = j->due_ms > r->now_ms ? j->due_ms - r->now_ms : 0,
        .queued_ms = j->order_ms ? j->order_ms : j->queued_ms,
        .is_cancel_requested = j->is_cancel_requested,
        .children = core_state_is_ended(j->state) ? 0 : j->children,
        .needs = out_needs,
        .spec = span_of("{}"),
    };
    if (core_state_is_open_attempt(j->state)) {
        const struct rec_attempt *a = &j->attempts[j->attempt];
        row.worker = span_of(workers[a->worker]);
        row.incarnation = span_of(rec_incarnation(a->incarnation));
        row.worker_mono_ms = r->workers[a->worker].seen_ms;
    }
    row.cause = j->cause;
    row.cause_state = state_of(r, j->cause);
    row_family(r, j, &row);
    if (j->state == CORE_STATE_WAITING || j->state == CORE_STATE_QUEUED) {
        int met, open;
        count_needs(r, j, &met, &open);
        row.has_after_quorum = j->after_quorum > 0;
        row.after_left = j->after_quorum - met;
        for (int i = 0; i < j->need_count; i++) {
            enum core_state state = state_of(r, j->needs[i]);
            if (!need_is_met(j->conditions[i], state)) {
                int at = rec_find(r, j->needs[i]);
                struct core_id cause = at < 0 ? (struct core_id){0, 0} : r->jobs[at].cause;
                out_needs[row.need_count++] = (struct core_need){.id = j->needs[i],
                                                                 .state = state,
                                                                 .condition = j->conditions[i],
                                                                 .cause = cause,
                                                                 .cause_state = state_of(r, cause)};
            }
        }
    }
    return row;
}

/* The constraints of the tables. */
void rec_check(const struct record *r)
{
    for (int i = 0; i < r->job_count; i++) {
        const struct rec_job *j = &r->jobs[i];
        int open = 0;
        for (int n = 1; n <= j->attempt; n++) {
            open += j->attempts[n].state != REC_ENDED;
        }
        CHECK(open == (core_state_is_open_attempt(j->state) ? 1 : 0));
        CHECK(j->commits <= 1);
        bool is_parent = strcmp(j->kind, "nightly") == 0;
        CHECK(is_parent || (j->commits == 1) == (j->state == CORE_STATE_SUCCEEDED));
        CHECK(j->crashes <= 3 && j->failures <= j->max_attempts);
        CHECK(j->ooms <= 2 && (j->ooms < 2 || j->state == CORE_STATE_FAILED ||
                               j->state == CORE_STATE_CANCELLED)); /* once more, then never */
        CHECK(!core_state_is_open_attempt(j->state) || j->region >= 0);
        CHECK(j->market < 0 || j->region == rec_region_of[j->market]);
    }
}

/* --- what the scheduler's functions do -------------------------------------------------------- */

void rec_admit(struct record *r, const struct rec_job *job, struct core_id parent)
{
    r->synced_ms = r->now_ms;
    if (rec_find(r, job->id) >= 0) {
        return;
    }
    CHECK(r->job_count < REC_JOBS_MAX && job->need_count <= REC_NEEDS_MAX);
    struct rec_job *j = &r->jobs[r->job_count++];
    *j = *job;
    j->region = job->market >= 0 ? rec_region_of[job->market] : -1;
    j->parent = core_id_is_none(parent) ? -1 : rec_find(r, parent);
    j->queued_ms = r->now_ms;
    j->memory_mb = REC_MEMORY_MB;
    if (j->parent >= 0) {
        r->jobs[j->parent].children++;
    }
    bool waits = strcmp(j->kind, "nightly") == 0 || !needs_met(r, j);
    j->state = waits ? CORE_STATE_WAITING : CORE_STATE_QUEUED;
    if (j->parent >= 0) {
        j->identity = (strcmp(j->kind, "finetune") == 0) * (REC_MARKETS + 1) + j->market + 2;
        j->state = crash_count(r, j) < REC_CRASHES_MAX ? j->state : CORE_STATE_FAILED;
    }
}

void rec_release(struct record *r, struct core_id id)
{
    r->synced_ms = r->now_ms;
    struct rec_job *j = get(r, id);
    if (j->state == CORE_STATE_WAITING && needs_met(r, j)) {
        j->state = CORE_STATE_QUEUED;
        j->queued_ms = r->now_ms;
    }
}

void rec_dispatch(struct record *r, struct core_id id, int number, int region, int worker,
                  int incarnation)
{
    struct rec_job *j = get(r, id);
    const struct rec_worker *w = &r->workers[worker];
    if (w->incarnation != incarnation || w->region != region || w->is_gone || w->is_draining) {
        return;
    }
    if (j->state != CORE_STATE_QUEUED || j->attempt != number - 1 || j->is_cancel_requested ||
        (j->region >= 0 && j->region != region) || r->is_paused ||
        (j->market >= 0 && r->markets[j->market].is_paused)) {
        return;
    }
    CHECK(number < REC_ATTEMPTS_MAX);
    CHECK(crash_count(r, j) < REC_CRASHES_MAX); /* never a fourth time without a person */
    bool was_anywhere = j->region < 0;
    j->state = CORE_STATE_DISPATCHED;
    j->attempt = number;
    j->region = region;
    *newest(j) = (struct rec_attempt){.state = REC_DISPATCHED,
                                      .worker = worker,
                                      .incarnation = incarnation,
                                      .dispatched_ms = r->now_ms,
                                      .was_anywhere = was_anywhere,
                                      .lease_until_ms = rec_clock(r) + REC_UNDELIVERED_MS,
                                      .renewed_ms = r->now_ms};
    check_limits(r);
}

void rec_crash(struct record *r)
{
    for (int i = 0; i < r->job_count; i++) {
        struct rec_job *j = &r->jobs[i];
        bool is_waited_for = strcmp(j->kind, "finetune") == 0 || strcmp(j->kind, "evaluate") == 0;
        if (!core_state_is_open_attempt(j->state) || is_waited_for ||
            newest(j)->dispatched_ms <= r->synced_ms || r->lost_count == REC_LOST_MAX) {
            continue;
        }
        r->lost[r->lost_count++] = (struct rec_lost){j->id, j->attempt, newest(j)->worker};
        j->region = newest(j)->was_anywhere ? -1 : j->region;
        j->state = CORE_STATE_QUEUED;
        *newest(j) = (struct rec_attempt){0};
        j->attempt--;
    }
}

bool rec_is_lost(const struct record *r, struct core_id job, int attempt, int worker)
{
    for (int i = 0; i < r->lost_count; i++) {
        if (core_id_equals(r->lost[i].job, job) && r->lost[i].attempt == attempt &&
            r->lost[i].worker == worker) {
            return true;
        }
    }
    return false;
}

bool rec_is_late(const struct record *r, struct core_id id, int number)
{
    int at = rec_find(r, id);
    return at < 0 || !core_state_is_open_attempt(r->jobs[at].state) ||
           r->jobs[at].attempt != number;
}

void rec_finish(struct record *r, struct core_id id, int number, int worker)
{
    r->synced_ms = r->now_ms;
    struct rec_job *j = get(r, id);
    if (!core_state_is_open_attempt(j->state) || j->attempt != number ||
        newest(j)->worker != worker) {
        r->late_results++;
        return;
    }
    newest(j)->state = REC_ENDED;
    j->state = CORE_STATE_SUCCEEDED;
    j->commits++;
}

/* Nobody's time is over before it is, whatever the record's clock does. */
static bool is_expired(const struct record *r, const struct rec_attempt *a,
                       enum rec_attempt_state state, int64_t after_ms)
{
    if (a->state != state || a->lease_until_ms > rec_clock(r)) {
        return false;
    }
    CHECK(a->is_cut || r->now_ms - a->renewed_ms >= after_ms - REC_SWEEP_SLACK_MS);
    return true;
}

static bool is_due(struct record *r, struct rec_job *j, const struct core_end *end, int worker)
{
    if (!core_state_is_open_attempt(j->state) || j->attempt != end->attempt) {
        return false;
    }
    const struct rec_attempt *a = newest(j);
    switch (end->outcome) {
    case CORE_OUTCOME_UNDELIVERED:
        return is_expired(r, a, REC_DISPATCHED, REC_UNDELIVERED_MS);
    case CORE_OUTCOME_LOST:
        return is_expired(r, a, REC_RUNNING, REC_LEASE_MS);
    default:
        return a->worker == worker;
    }
}

/* What the record adds to the verdict (attempt_end): a larger class must exist, and the crashes of
 * others that run the same count. True when the job has failed. */
static bool ends_for_good(struct record *r, struct rec_job *j, const struct core_end *end)
{
    static const int memory_max_mb[REC_REGIONS] = {2048, 3000, 8192};
    if (end->charge_oom) {
        int larger = 2 * j->memory_mb < memory_max_mb[j->region] ? 2 * j->memory_mb
                                                                 : memory_max_mb[j->region];
        bool is_larger = larger > j->memory_mb && end->memory_max_mb > 0;
        CHECK(end->is_final || end->memory_max_mb > 0); /* never again with the same memory */
        j->memory_mb = is_larger ? larger : j->memory_mb;
        return !is_larger;
    }
    if (!end->charge_crash || crash_count(r, j) < REC_CRASHES_MAX) {
        return end->is_final;
    }
    for (int i = 0; i < r->job_count; i++) {
        struct rec_job *other = &r->jobs[i];
        bool is_idle = other->state == CORE_STATE_WAITING || other->state == CORE_STATE_QUEUED;
        if (j->identity && other->identity == j->identity && other != j && is_idle) {
            other->state = CORE_STATE_FAILED;
            changed(r, other);
        }
    }
    return true;
}

void rec_end(struct record *r, const struct core_end *end, int worker)
{
    r->synced_ms = r->now_ms;
    struct rec_job *j = get(r, end->job);
    if (!is_due(r, j, end, worker)) {
        return;
    }
    newest(j)->state = REC_ENDED;
    j->failures += end->charge_failure;
    j->crashes += end->charge_crash;
    j->ooms += end->charge_oom;
    bool is_final = ends_for_good(r, j, end);
    if (end->charge_failure + end->charge_crash > 0) {
        j->order_ms = 0;
    } else if (j->order_ms == 0) {
        j->order_ms = j->queued_ms;
    }
    if (j->is_cancel_requested || end->is_cancelled) {
        j->state = CORE_STATE_CANCELLED;
    } else if (is_final) {
        j->state = CORE_STATE_FAILED;
    } else if (end->delay_ms > 0) {
        j->state = CORE_STATE_WAITING;
        j->due_ms = r->now_ms + end->delay_ms;
    } else {
        j->state = CORE_STATE_QUEUED;
        j->queued_ms = r->now_ms;
    }
}

void rec_skip(struct record *r, struct core_id id, enum core_state state, struct core_id cause)
{
    r->synced_ms = r->now_ms;
    struct rec_job *j = get(r, id);
    if (j->state != CORE_STATE_WAITING && j->state != CORE_STATE_QUEUED) {
        return;
    }
    if (state == CORE_STATE_SKIPPED) {
        int met, open;
        count_needs(r, j, &met, &open);
        CHECK(met + open < needed(j)); /* nothing is given up that could still run */
        enum core_state first = state_of(r, cause);
        /* The chain is named from its start, which was not itself skipped. */
        CHECK(core_state_is_ended(first) && first != CORE_STATE_SKIPPED);
        j->cause = cause;
    }
    j->state = state;
}

void rec_quorum(struct record *r, struct core_id id)
{
    r->synced_ms = r->now_ms;
    struct rec_job *p = get(r, id);
    int members, done, open;
    count_family(r, p, &members, &done, &open);
    if (!core_state_is_ended(p->state) && p->quorum_ms == 0 && done >= p->quorum) {
        p->quorum_ms = r->now_ms;
    }
}

void rec_close(struct record *r, struct core_id id)
{
    r->synced_ms = r->now_ms;
    struct rec_job *p = get(r, id);
    bool all_succeeded = true;
    for (int i = 0; i < r->job_count; i++) {
        const struct rec_job *j = &r->jobs[i];
        if (j->parent >= 0 && &r->jobs[j->parent] == p) {
            all_succeeded = all_succeeded && j->state == CORE_STATE_SUCCEEDED;
        }
    }
    if (core_state_is_ended(p->state)) {
        return;
    }
    int members, done, open;
    count_family(r, p, &members, &done, &open);
    bool may_leave =
        p->stragglers == CORE_STRAGGLERS_LEAVE && p->quorum_ms > 0 && stragglers_left(r, p) == 0;
    if (open > 0 && may_leave && p->is_cancel_requested) {
        return; /* somebody asked for its end meanwhile: its children come first */
    }
    CHECK(open == 0 || may_leave); /* the core must not close a parent before */
    bool has_quorum = p->quorum > 0 && done >= p->quorum;
    p->state = all_succeeded            ? CORE_STATE_SUCCEEDED
               : p->is_cancel_requested ? CORE_STATE_CANCELLED
               : has_quorum             ? CORE_STATE_SUCCEEDED
                                        : CORE_STATE_FAILED;
    r->left_running += open;
    r->quorums += has_quorum && !all_succeeded;
}

/* --- what workers and people do ------------------------------------------------------------------
 */

bool rec_hand_over(struct record *r, int worker, int incarnation, int *at)
{
    for (; *at < r->job_count; (*at)++) {
        const struct rec_job *j = &r->jobs[*at];
        const struct rec_attempt *a = &j->attempts[j->attempt];
        if (j->state == CORE_STATE_DISPATCHED && a->worker == worker &&
            a->incarnation == incarnation && a->dispatched_ms <= r->now_ms - REC_HAND_OVER_MS &&
            a->lease_until_ms > rec_clock(r)) {
            return true;
        }
    }
    return false;
}

enum rec_verdict rec_renew(struct record *r, struct core_id id, int number, int worker,
                           int incarnation)
{
    struct rec_job *j = get(r, id);
    struct rec_attempt *a = &j->attempts[number];
    if (a->worker != worker || a->incarnation != incarnation) {
        return REC_FENCED;
    }
    if (a->state == REC_ENDED) {
        return REC_CLOSED;
    }
    if (a->state == REC_DISPATCHED) {
        a->state = REC_RUNNING;
        j->state = CORE_STATE_RUNNING;
        changed(r, j);
    }
    a->lease_until_ms = rec_clock(r) + REC_LEASE_MS;
    a->renewed_ms = r->now_ms;
    return j->is_cancel_requested ? REC_CANCEL : REC_OK;
}

void rec_hello(struct record *r, int worker, int region, int slots, int incarnation)
{
    r->synced_ms = r->now_ms;
    r->workers[worker] = (struct rec_worker){.region = region,
                                             .slots = slots,
                                             .incarnation = incarnation,
                                             .is_known = true,
                                             .seen_ms = r->now_ms};
    for (int i = 0; i < r->job_count; i++) {
        struct rec_attempt *a = newest(&r->jobs[i]);
        if (core_state_is_open_attempt(r->jobs[i].state) && a->worker == worker &&
            a->incarnation != incarnation) {
            a->lease_until_ms = rec_clock(r);
            a->is_cut = true;
        }
    }
}

void rec_bye(struct record *r, int worker, int incarnation)
{
    r->synced_ms = r->now_ms;
    if (r->workers[worker].incarnation != incarnation) {
        return;
    }
    r->workers[worker].is_gone = true;
    for (int i = 0; i < r->job_count; i++) {
        struct rec_attempt *a = newest(&r->jobs[i]);
        if (r->jobs[i].state == CORE_STATE_DISPATCHED && a->worker == worker &&
            a->incarnation == incarnation) {
            a->lease_until_ms = rec_clock(r);
            a->is_cut = true;
        }
    }
}

static void cancel_one(struct record *r, struct rec_job *j, bool has_open_children)
{
    if (core_state_is_ended(j->state)) {
        return;
    }
    j->is_cancel_requested = true;
    if (!core_state_is_open_attempt(j->state) && !has_open_children) {
        j->state = CORE_STATE_CANCELLED;
    }
    changed(r, j);
}

void rec_cancel(struct record *r, int job)
{
    r->synced_ms = r->now_ms;
    bool has_open_children = false;
    for (int i = 0; i < r->job_count; i++) {
        if (r->jobs[i].parent == job) {
            cancel_one(r, &r->jobs[i], false);
            has_open_children = has_open_children || !core_state_is_ended(r->jobs[i].state);
        }
    }
    cancel_one(r, &r->jobs[job], has_open_children);
}

int64_t rec_lead(struct record *r, int holder, int64_t ttl_ms)
{
    int64_t until = rec_clock(r) + ttl_ms;
    if (r->term == 0 || r->expires_ms <= rec_clock(r)) {
        r->term++;
        r->holder = holder;
    } else if (r->holder != holder) {
        r->expires_ms = r->expires_ms > until + FOREIGN_MS ? until : r->expires_ms;
        return 0;
    }
    r->expires_ms = until;
    return r->term;
}
