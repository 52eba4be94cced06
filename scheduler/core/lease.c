/*
 * The end of attempts: leases that ran out, assignments that were not taken, reports of workers.
 *
 * Whether time is up is decided by the record's clock alone (the sweep call); what becomes of the
 * job is decided here. A report names (job, attempt): one that names an older attempt than the
 * mirror's is late and changes nothing, and the record checks the same again in the transaction.
 */
#include "scheduler/core/core_int.h"
#include "scheduler/core/retry.h"

#include <string.h>

enum {
    LATE_MAX = 32,
    FINISH_MAX = 256,       /* results in one call of the record */
    APART_BYTES = 64 * 1024 /* a larger result is recorded alone: others do not wait for it */
};

const char *core_outcome_name(enum core_outcome outcome)
{
    static const char *const names[CORE_OUTCOME_COUNT] = {
        [CORE_OUTCOME_SUCCEEDED] = "succeeded",    [CORE_OUTCOME_FAILED] = "failed",
        [CORE_OUTCOME_CRASHED] = "crashed",        [CORE_OUTCOME_RETURNED] = "returned",
        [CORE_OUTCOME_CANCELLED] = "cancelled",    [CORE_OUTCOME_LOST] = "lost",
        [CORE_OUTCOME_UNDELIVERED] = "undelivered"};
    CHECK(outcome > 0 && outcome < CORE_OUTCOME_COUNT);
    return names[outcome];
}

static int code_of(enum core_outcome outcome, const struct core_result *report)
{
    char name[32];
    if (!report || report->error_code.length == 0) {
        bool is_crash = outcome == CORE_OUTCOME_CRASHED || outcome == CORE_OUTCOME_LOST;
        return is_crash ? ERR_CRASH : outcome == CORE_OUTCOME_FAILED ? ERR_INTERNAL : 0;
    }
    if (report->error_code.length >= sizeof name) {
        return ERR_INTERNAL;
    }
    memcpy(name, report->error_code.data, report->error_code.length);
    name[report->error_code.length] = '\0';
    return err_from_name(name);
}

void core__attempt_end(struct core *c, struct core_job *job, enum core_outcome outcome,
                       const struct core_result *report, bool was_draining)
{
    struct retry_case what = {
        .outcome = outcome,
        .error_code = code_of(outcome, report),
        .was_draining = was_draining,
        .is_cancel_requested = job->is_cancel_requested || outcome == CORE_OUTCOME_CANCELLED,
        .attempt = job->attempt,
        .failures = job->failures,
        .crashes = job->crashes,
        .ooms = job->ooms,
        .charged = job->charged,
        .max_attempts = job->max_attempts,
    };
    struct retry_verdict verdict =
        retry_decide(&what, &c->settings, c->ports.random(c->ports.self));
    struct core_end end = {
        .job = job->id,
        .attempt = job->attempt,
        .outcome = outcome,
        .is_final = verdict.is_final,
        .is_cancelled = verdict.is_cancelled,
        .charge_failure = verdict.charge_failure,
        .charge_crash = verdict.charge_crash,
        .charge_oom = verdict.charge_oom,
        .memory_max_mb = verdict.wants_memory ? c->settings.memory_max_mb : 0,
        .delay_ms = verdict.delay_ms,
        .error_code = what.error_code,
        .report = report,
    };
    c->tally.outcomes[outcome]++;
    c->tally.classes[what.error_code ? err_class_of(what.error_code) : 0]++;
    uint64_t token = core__call(c, CORE_CALL_END, &job->id, 1);
    if (token) {
        c->ports.store.end(c->ports.store.self, token, &end, 1);
    }
}

static bool is_current(const struct core_job *job, int attempt)
{
    return job && core_state_is_open_attempt(job->state) && job->attempt == attempt;
}

void core__expired_apply(struct core *c, const struct core_expired *rows, size_t count)
{
    for (size_t i = 0; i < count && !c->is_broken; i++) {
        struct core_job *job = core__job_find(c, rows[i].job);
        /* While a call is under way its answer decides; the next sweep comes soon. */
        if (!is_current(job, rows[i].attempt) || job->pending > 0) {
            continue;
        }
        enum core_outcome outcome =
            rows[i].expiry == CORE_EXPIRY_LOST ? CORE_OUTCOME_LOST : CORE_OUTCOME_UNDELIVERED;
        core__attempt_end(c, job, outcome, NULL, rows[i].was_draining);
    }
}

/* The record notes it, if it is more than a repetition. A few at a time: a worker repeats itself.
 */
static void report_late(struct core *c, const struct core_result *result)
{
    if (c->calls_of[CORE_CALL_LATE] >= LATE_MAX) {
        return;
    }
    uint64_t token = core__call(c, CORE_CALL_LATE, NULL, 0);
    if (token) {
        c->ports.store.late(c->ports.store.self, token, result);
    }
}

static void finish(struct core *c, const struct core_result *results, size_t count)
{
    struct core_id jobs[FINISH_MAX];
    for (size_t i = 0; i < count; i++) {
        jobs[i] = results[i].job;
    }
    uint64_t token = core__call(c, CORE_CALL_FINISH, jobs, count);
    if (token) {
        struct core_pending *p = c->last_call;
        size_t length =
            results->worker.length < CORE_NAME_MAX ? results->worker.length : CORE_NAME_MAX;
        memcpy(p->reporter, results->worker.data, length);
        p->reporter[length] = '\0';
        c->ports.store.finish(c->ports.store.self, token, results, count);
    }
}

/* True when it is a success that waits for others to be recorded with. */
static bool report_one(struct core *c, const struct core_result *result)
{
    struct core_job *job = core__job_find(c, result->job);
    if (!is_current(job, result->attempt)) {
        report_late(c, result);
        return false;
    }
    if (job->is_finishing) {
        return false;
    }
    job->is_finishing = true;
    if (result->outcome != CORE_OUTCOME_SUCCEEDED) {
        job->is_unread = result->outcome == CORE_OUTCOME_RETURNED &&
                         code_of(result->outcome, result) == ERR_UNSUPPORTED;
        core__attempt_end(c, job, result->outcome, result, false);
        return false;
    }
    core__duration_add(c, job, result->run_ms);
    c->tally.outcomes[CORE_OUTCOME_SUCCEEDED]++;
    if (job->is_apart || result->result.length > APART_BYTES) {
        finish(c, result, 1);
        return false;
    }
    return true;
}

void core_report(struct core *c, const struct core_result *results, size_t count)
{
    struct core_result batch[FINISH_MAX];
    size_t waiting = 0;
    if (c->phase != CORE_PHASE_READY) {
        return; /* the worker reports again until the record says that the attempt is closed */
    }
    for (size_t i = 0; i < count && !c->is_broken; i++) {
        if (report_one(c, &results[i])) {
            batch[waiting++] = results[i];
        }
        if (waiting == FINISH_MAX || (waiting > 0 && i + 1 == count)) {
            finish(c, batch, waiting);
            waiting = 0;
        }
    }
}

static bool is_among(const struct core_record *records, size_t count, struct core_id id)
{
    for (size_t i = 0; i < count; i++) {
        if (core_id_equals(records[i].id, id)) {
            return true;
        }
    }
    return false;
}

void core__finished(struct core *c, const struct core_pending *p, const struct core_answer *answer)
{
    for (size_t i = 0; i < p->count; i++) {
        struct core_job *job = core__job_find(c, p->jobs[i]);
        if (job && job->pending == 0 &&
            !is_among(answer->records, answer->record_count, p->jobs[i])) {
            core__job_ended(c, job, CORE_STATE_SUCCEEDED);
        }
    }
}

/* Nothing of the results was recorded: each is reported again, and then sent alone. */
static void refused_together(struct core *c, const struct core_pending *p)
{
    for (size_t i = 0; i < p->count; i++) {
        struct core_job *job = core__job_find(c, p->jobs[i]);
        if (job) {
            job->is_apart = true;
            job->is_finishing = false;
            c->tally.outcomes[CORE_OUTCOME_SUCCEEDED]--; /* it comes again */
        }
    }
}

/* The record refused the result itself: the attempt ends as failed, so that it cannot come back
 * for ever. The record ends it only for the worker that holds it: a stranger's report ends nothing.
 */
void core__finish_refused(struct core *c, const struct core_pending *p, const char *reason)
{
    if (p->count > 1) {
        refused_together(c, p);
        return;
    }
    struct core_id id = p->jobs[0];
    struct core_job *job = core__job_find(c, id);
    if (!job || !core_state_is_open_attempt(job->state) || job->pending > 0) {
        return;
    }
    struct core_result report = {.job = id,
                                 .attempt = job->attempt,
                                 .worker = span_of(p->reporter),
                                 .run_ms = -1,
                                 .outcome = CORE_OUTCOME_FAILED,
                                 .error_code = span_of("DATABASE"),
                                 .error_text = span_of(reason)};
    core__attempt_end(c, job, CORE_OUTCOME_FAILED, &report, false);
}
