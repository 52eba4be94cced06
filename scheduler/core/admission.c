#include "scheduler/core/admission.h"

#include "common/base/mem.h"
#include "common/job/job.h"
#include "scheduler/core/core_int.h"

#include <string.h>

enum {
    NAME_SIZE = 128,
    PRIORITY_MAX = 1000,
    SPEC_EXTRA = 16 * 1024 /* what the defaults of a kind add to a spec, and a region's name */
};

/* What a refused job is recorded with when its spec was never understood. */
static const struct job_limits {
    int memory_mb, time_limit_s, threads, max_attempts;
} limits_unknown = {16, 1, 1, 1};

static bool copy_name(char out[NAME_SIZE], struct span name)
{
    if (name.length >= NAME_SIZE || (name.length && memchr(name.data, '\0', name.length))) {
        return false;
    }
    if (name.length) {
        memcpy(out, name.data, name.length);
    }
    out[name.length] = '\0';
    return true;
}

static int refuse(struct core_submission *s, int code, struct err_buf *reason)
{
    s->error_code = err_name(code);
    s->error_text = reason->text;
    s->spec = span_of("{}");
    s->memory_mb = limits_unknown.memory_mb;
    s->time_limit_s = limits_unknown.time_limit_s;
    s->threads = limits_unknown.threads;
    s->max_attempts = limits_unknown.max_attempts;
    return 0;
}

static int check_names(const struct core_submission *s, char kind[NAME_SIZE],
                       char market[NAME_SIZE], char task[NAME_SIZE], struct err_buf *e)
{
    if (!copy_name(kind, s->kind) || kind[0] == '\0') {
        return err_set(e, ERR_INVALID, "kind: missing or too long");
    }
    if (!copy_name(market, s->market) || (market[0] && !job_market_is_valid(market))) {
        return err_set(e, ERR_INVALID, "market: not a market code");
    }
    if (!copy_name(task, s->task) || (task[0] && !job_task_is_valid(task))) {
        return err_set(e, ERR_INVALID, "task: not a task name");
    }
    if (s->priority < -PRIORITY_MAX || s->priority > PRIORITY_MAX) {
        return err_set(e, ERR_INVALID, "priority: %d is not within -%d and %d", s->priority,
                       PRIORITY_MAX, PRIORITY_MAX);
    }
    if (s->unique_policy.length > 0 && s->unique.length == 0) {
        return err_set(e, ERR_INVALID, "unique_policy: without a unique key");
    }
    for (size_t i = 0; i < s->after_count; i++) {
        if (core_id_equals(s->after[i], s->id)) {
            return err_set(e, ERR_INVALID, "after: a job cannot need itself");
        }
    }
    return 0;
}

/* Adds what it wants of a worker, in the one form in which labels are compared. */
static int add_labels(const struct job_spec *spec, struct buf *storage)
{
    char sorted[JOB_LABELS_SIZE];
    struct err_buf e;
    int rc = job_labels_sort(job_spec_text(spec, "labels"), sorted, &e);
    return rc ? rc : buf_add_text(storage, sorted);
}

static int add_region(const struct job_spec *spec, struct buf *storage)
{
    bool is_named = job_field(job_spec_kind(spec), "region") && job_spec_has(spec, "region");
    return is_named ? buf_add_text(storage, job_spec_text(spec, "region")) : 0;
}

static int take_spec(struct core_submission *s, const struct job_spec *spec, struct buf *storage)
{
    size_t start = storage->length;
    int rc = job_spec_write(spec, storage);
    size_t labels = storage->length;
    rc = rc ? rc : add_labels(spec, storage);
    size_t region = storage->length;
    rc = rc ? rc : add_region(spec, storage);
    if (rc) {
        return rc;
    }
    /* Only now: what is added may move what is there. */
    s->spec = span_make(storage->data + start, labels - start);
    s->labels = span_make(storage->data + labels, region - labels);
    if (storage->length > region) {
        s->region = span_make(storage->data + region, storage->length - region);
    }
    s->is_parent = job_kind_is_parent(job_spec_kind(spec));
    s->memory_mb = (int)job_spec_integer(spec, "memory_mb");
    s->time_limit_s = (int)job_spec_integer(spec, "time_limit_s");
    s->threads = (int)job_spec_integer(spec, "threads");
    if (s->max_attempts == 0 || job_spec_is_given(spec, "max_attempts")) {
        s->max_attempts = (int)job_spec_integer(spec, "max_attempts");
    }
    return 0;
}

static bool is_ours(int rc)
{
    return rc == ERR_NOMEM;
}

int core_submission_check(struct core_submission *s, struct buf *storage, struct err_buf *reason)
{
    char kind[NAME_SIZE], market[NAME_SIZE], task[NAME_SIZE];
    reason->text[0] = '\0';
    int rc = check_names(s, kind, market, task, reason);
    if (rc) {
        return refuse(s, rc, reason);
    }
    enum job_kind k = job_kind_from_name(kind);
    if (k == 0) {
        return refuse(s, err_set(reason, ERR_INVALID, "kind: there is no kind \"%s\"", kind),
                      reason);
    }
    struct job_spec *spec = NULL;
    rc = job_spec_parse(k, s->spec, &spec, reason);
    if (rc) {
        return is_ours(rc) ? rc : refuse(s, rc, reason);
    }
    rc = job_check(spec, market, task, reason);
    if (rc) {
        rc = is_ours(rc) ? rc : refuse(s, rc, reason);
    } else {
        rc = take_spec(s, spec, storage);
    }
    job_spec_free(spec);
    return rc;
}

/* The record would not even take it as it is: only the id is left, and why. */
static void reduce(struct core_submission *s, struct err_buf *reason)
{
    (void)err_set(reason, ERR_DATABASE, "the record refused this submission");
    *s = (struct core_submission){.id = s->id, .kind = span_of("unknown")};
    (void)refuse(s, ERR_DATABASE, reason);
}

static int check_taken(struct core_submission *jobs, size_t count, struct buf *storage,
                       struct err_buf *reasons)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (jobs[i].is_hopeless) {
            reduce(&jobs[i], &reasons[i]);
        } else {
            rc = core_submission_check(&jobs[i], storage, &reasons[i]);
        }
    }
    return rc;
}

/* Room for all complete specs: reserved once, for spans point into it. */
static size_t storage_size(const struct core_submission *taken, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += 2 * taken[i].spec.length + SPEC_EXTRA;
    }
    return bytes;
}

/* Submissions written by SQL: judged like any other, and admitted. More may wait behind them. */
void core__taken_apply(struct core *c, const struct core_submission *taken, size_t count)
{
    if (count == 0) {
        return;
    }
    size_t bytes = storage_size(taken, count);
    struct core_submission *jobs = mem_new_array(count, sizeof *jobs);
    struct err_buf *reasons = mem_new_array(count, sizeof *reasons);
    struct buf storage;
    buf_init(&storage, bytes);
    int rc = jobs && reasons && buf_reserve(&storage, bytes) ? 0 : ERR_NOMEM;
    if (rc == 0) {
        memcpy(jobs, taken, count * sizeof *jobs);
        rc = check_taken(jobs, count, &storage, reasons);
    }
    uint64_t token = rc ? 0 : core__call(c, CORE_CALL_ADMIT_TAKEN, NULL, 0);
    if (token) {
        c->ports.store.admit(c->ports.store.self, token, jobs, count);
        c->duty_at[CORE_DUTY_TAKE] = 0;
    } else if (rc) {
        core__fault(c, err_text(rc));
    }
    buf_close(&storage);
    mem_free(reasons);
    mem_free(jobs);
}

void core_admit(struct core *c, const struct core_submission *jobs, size_t count, void *cookie)
{
    CHECK(core_is_ready(c));
    uint64_t token = core__call_with(c, CORE_CALL_ADMIT, NULL, 0, cookie);
    if (token) {
        c->ports.store.admit(c->ports.store.self, token, jobs, count);
    }
}
