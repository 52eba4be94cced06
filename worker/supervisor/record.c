/*
 * The supervisor's side of PostgreSQL: sql/functions/worker.sql, called without waiting.
 *
 * Every call may be repeated: hello and bye give the same answer again, a renewal is only newer. So
 * a lost connection costs a repetition and nothing else.
 */
#include "worker/supervisor/supervisor_int.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/json/json.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- hello ----------------------------------------------------------------------------------- */

static void on_hello(int rc, const struct pg_result *result, const struct pg_error *error,
                     void *data)
{
    struct supervisor *s = data;
    s->is_hello_open = false;
    if (rc == ERR_CANCELLED || rc == ERR_UNREACHABLE || s->phase == PHASE_CLOSING) {
        return;
    }
    if (rc != 0) {
        log_warn("the database does not take our hello (migrated? rights?), trying again: %s",
                 error->text);
        return;
    }
    if (pg_rows(result) != 1 || !pg_bool(result, 0, 0)) {
        log_error("another worker was started with our name, stopping; give each its own --name "
                  "name=%s",
                  s->options->name);
        supervisor_close(s, 1);
        return;
    }
    s->is_registered = true;
    if (!s->was_registered) {
        log_info("worker is up name=%s region=%s slots=%d incarnation=%s", s->options->name,
                 s->options->region, s->slot_count, s->incarnation.text);
    }
    s->was_registered = true;
    if (s->phase == PHASE_STARTING) {
        phase_move(&s->phase, PHASE_UP);
    }
}

static void say_hello(struct supervisor *s, int64_t now)
{
    char host[256] = "unknown";
    char pid[16], slots[24], threads[24], memory[24], mono[24];
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    (void)snprintf(slots, sizeof slots, "%d", s->slot_count);
    (void)snprintf(threads, sizeof threads, "%lld", (long long)s->options->threads);
    (void)snprintf(memory, sizeof memory, "%lld", (long long)s->options->memory_mb);
    (void)snprintf(mono, sizeof mono, "%lld", (long long)now);
    const char *params[] = {s->options->name,
                            s->incarnation.text,
                            s->was_registered ? "false" : "true",
                            s->options->region,
                            host,
                            pid,
                            slots,
                            threads,
                            memory,
                            MERIDIAN_VERSION,
                            mono,
                            s->options->labels};
    s->hello_ms = now;
    s->is_hello_open =
        pg_send_texts(s->pg, NULL,
                      "SELECT meridian.worker_hello($1, $2::uuid, $3::boolean, $4, $5, $6::integer,"
                      " $7::integer, $8::integer, $9::integer, $10, $11::bigint, $12)",
                      params, sizeof params / sizeof params[0], on_hello, s) == 0;
}

static void on_state(bool is_ready, const char *cause, void *data)
{
    struct supervisor *s = data;
    s->is_registered = false;
    if (is_ready) {
        log_info("connected to the database");
        s->hello_ms = 0; /* at the next tick */
        record_tick(s, clock_mono_ms());
    } else if (s->phase != PHASE_CLOSING) {
        log_warn("database is not reachable, trying again: %s", cause);
    }
}

/* --- renewal --------------------------------------------------------------------------------- */

static void apply_to_slot(struct slot *slot, const char *verdict, int64_t renewed_ms)
{
    bool is_ok = strcmp(verdict, "ok") == 0;
    bool is_cancel = strcmp(verdict, "cancel") == 0;
    if (is_ok || is_cancel) {
        slot->held.lease_ms = renewed_ms;
        slot->held.is_confirmed = true;
        slot->held.tail_told = slot->held.tail_sent;
    }
    if (is_cancel) {
        runners_stop(slot, SLOT_STOP_CANCEL);
    } else if (!is_ok) {
        runners_stop(slot, SLOT_STOP_FENCED);
    }
}

static void apply_verdict(struct supervisor *s, const char *job, int32_t attempt,
                          const char *verdict, int64_t renewed_ms)
{
    struct slot *slot = supervisor_slot_of(s, job, attempt);
    bool is_ended = strcmp(verdict, "closed") == 0 || strcmp(verdict, "fenced") == 0;
    if (slot && (slot->state == SLOT_RUNNING || slot->state == SLOT_STOPPING)) {
        apply_to_slot(slot, verdict, renewed_ms);
    } else if (!slot && is_ended) {
        outbox_remove(&s->outbox, job, attempt);
    } else if (!slot && strcmp(verdict, "cancel") == 0) {
        assignment_cancel(s, job, attempt);
    }
}

/* --- what is handed over ------------------------------------------------------------------------
 */

static void copy_column(char *out, size_t size, const struct pg_result *r, size_t row,
                        size_t column)
{
    (void)snprintf(out, size, "%s", pg_text(r, row, column));
}

/* Columns of lease_renew. */
enum { JOB, NUMBER, VERDICT, AGE, KIND, MARKET, TASK, REGION, SPEC, NIGHT, MEMORY, TIME, THREADS };

static void hand_over(struct supervisor *s, const struct pg_result *r, size_t row)
{
    struct message_ready m = {.attempt = (int32_t)pg_integer(r, row, NUMBER, 0),
                              .spec = pg_span(r, row, SPEC),
                              .memory_mb = (int32_t)pg_integer(r, row, MEMORY, 0),
                              .time_limit_s = (int32_t)pg_integer(r, row, TIME, 0),
                              .threads = (int32_t)pg_integer(r, row, THREADS, 0)};
    copy_column(m.job.text, sizeof m.job.text, r, row, JOB);
    copy_column(m.kind, sizeof m.kind, r, row, KIND);
    copy_column(m.market, sizeof m.market, r, row, MARKET);
    copy_column(m.task, sizeof m.task, r, row, TASK);
    copy_column(m.region, sizeof m.region, r, row, REGION);
    copy_column(m.night, sizeof m.night, r, row, NIGHT);
    log_info("the record hands over a job job=%s attempt=%d", m.job.text, (int)m.attempt);
    assignment_take(s, &m, s->renew_ms - pg_integer(r, row, AGE, 0));
}

/* The row about the worker itself. */
static void apply_to_worker(struct supervisor *s, const char *verdict)
{
    if (strcmp(verdict, "unknown") == 0) {
        s->is_registered = false; /* hello again; refused when the name was taken over */
        s->hello_ms = 0;
    } else if (strcmp(verdict, "drain") == 0 && s->phase == PHASE_UP) {
        log_info("asked to drain: no new work, running jobs finish");
        supervisor_drain(s, -1);
    }
}

static void on_renew(int rc, const struct pg_result *result, const struct pg_error *error,
                     void *data)
{
    struct supervisor *s = data;
    s->is_renew_open = false;
    metrics_renewed(s, rc == 0);
    if (rc != 0) {
        if (rc != ERR_CANCELLED) {
            log_warn("leases not renewed, trying again: %s", error->text);
        }
        return;
    }
    for (size_t row = 0; row < pg_rows(result) && s->phase != PHASE_CLOSING; row++) {
        const char *verdict = pg_text(result, row, VERDICT);
        if (pg_is_null(result, row, JOB)) {
            apply_to_worker(s, verdict);
        } else if (strcmp(verdict, "take") == 0) {
            hand_over(s, result, row);
        } else {
            apply_verdict(s, pg_text(result, row, 0), (int32_t)pg_integer(result, row, 1, 0),
                          verdict, s->renew_ms);
        }
    }
}

/* Arrays as texts, grown side by side. */
struct renewal {
    struct buf jobs, numbers, run, progress;
    int count;
    int rc;
};

static int add_quoted(struct buf *out, struct span text)
{
    int rc = buf_add(out, "\"", 1);
    for (size_t i = 0; rc == 0 && i < text.length; i++) {
        bool is_special = text.data[i] == '"' || text.data[i] == '\\';
        rc = buf_add_format(out, is_special ? "\\%c" : "%c", text.data[i]);
    }
    return rc == 0 ? buf_add(out, "\"", 1) : rc;
}

/* What is known of the job beside its progress, for the diagnosis should this process be killed:
 * its newest lines and its memory. */
static int add_diagnosis(struct buf *json, const struct slot *slot)
{
    struct json_writer w;
    json_writer_init(&w, json);
    json_write_map(&w, NULL);
    json_write_text(&w, "tail", tail_last(&slot->tail, RENEW_TAIL_MAX));
    if (slot->held.peak_kb > 0) {
        json_write_integer(&w, "peak_rss_kb", slot->held.peak_kb);
    }
    json_write_end(&w);
    return json_writer_finish(&w);
}

static int slot_json(struct buf *json, const struct slot *slot, bool has_news)
{
    int rc = slot->held.has_progress ? message_progress_json(&slot->held.progress, json) : 0;
    if (rc || !has_news) {
        return rc;
    }
    size_t joint = json->length; /* {...}{...}: made one map */
    rc = add_diagnosis(json, slot);
    if (rc == 0 && joint > 0) {
        json->data[joint - 1] = ',';
        json->data[joint] = ' ';
    }
    return rc;
}

static int add_progress(struct buf *out, struct slot *slot)
{
    bool has_news = slot && slot->tail.added != slot->held.tail_told;
    if (!slot || (!slot->held.has_progress && !has_news)) {
        return buf_add_text(out, "NULL");
    }
    struct buf json;
    buf_init(&json, 32 * 1024);
    int rc = slot_json(&json, slot, has_news);
    slot->held.tail_sent = slot->tail.added;
    rc = rc == 0 ? add_quoted(out, buf_span(&json)) : buf_add_text(out, "NULL");
    buf_close(&json);
    return rc;
}

/* slot: that it runs in, or NULL. */
static void renewal_add(struct renewal *r, const char *job, int32_t number, int64_t run_ms,
                        struct slot *slot)
{
    const char *comma = r->count++ > 0 ? "," : "";
    int rc = buf_add_format(&r->jobs, "%s%s", comma, job);
    rc = rc == 0 ? buf_add_format(&r->numbers, "%s%d", comma, (int)number) : rc;
    rc = rc == 0 ? buf_add_format(&r->run, "%s%lld", comma, (long long)run_ms) : rc;
    rc = rc == 0 ? buf_add_text(&r->progress, comma) : rc;
    rc = rc == 0 ? add_progress(&r->progress, slot) : rc;
    r->rc = r->rc != 0 ? r->rc : rc;
}

static void renewal_fill(struct renewal *r, struct supervisor *s, int64_t now)
{
    struct buf *all[] = {&r->jobs, &r->numbers, &r->run, &r->progress};
    for (int i = 0; i < 4; i++) {
        buf_init(all[i], 32u << 20);
        r->rc = r->rc != 0 ? r->rc : buf_add_text(all[i], "{");
    }
    for (int i = 0; i < s->slot_count; i++) {
        struct slot *slot = &s->slots[i];
        if (slot->state == SLOT_RUNNING ||
            (slot->state == SLOT_STOPPING && slot->held.stop != SLOT_STOP_FENCED)) {
            renewal_add(r, slot->held.job.job.text, slot->held.job.attempt,
                        now - slot->held.started_ms, slot);
        }
    }
    for (size_t i = 0; i < s->outbox.count; i++) {
        const struct outbox_item *item = &s->outbox.items[i];
        if (s->phase >= PHASE_LEAVING || now - item->added_ms >= RESULT_QUIET_MS) {
            renewal_add(r, item->job.text, item->attempt, now - item->began_ms, NULL);
        }
    }
    for (int i = 0; i < 4; i++) {
        r->rc = r->rc != 0 ? r->rc : buf_add_text(all[i], "}");
    }
}

static void renew(struct supervisor *s, int64_t now)
{
    struct renewal r = {0};
    renewal_fill(&r, s, now);
    char ttl[16], mono[24];
    (void)snprintf(mono, sizeof mono, "%lld", (long long)now);
    (void)snprintf(ttl, sizeof ttl, "%d", LEASE_TTL_MS);
    if (r.rc == 0 && buf_text(&r.jobs) && buf_text(&r.numbers) && buf_text(&r.run) &&
        buf_text(&r.progress)) {
        const char *is_draining = s->phase >= PHASE_DRAINING ? "true" : "false";
        const char *params[] = {s->options->name, s->incarnation.text, mono,
                                is_draining,      r.jobs.data,         r.numbers.data,
                                r.run.data,       r.progress.data,     ttl};
        struct pg_query query = {
            .sql = "SELECT * FROM meridian.lease_renew($1, $2::uuid, $3::bigint, $4::boolean,"
                   " $5::uuid[], $6::integer[], $7::bigint[], $8::jsonb[], $9::integer)",
            .name = "lease_renew",
            .param_count = sizeof params / sizeof params[0],
            .params = params,
            .timeout_ms = RENEW_TIMEOUT_MS};
        s->renew_ms = now;
        s->must_renew = false;
        s->is_renew_open = pg_send(s->pg, &query, on_renew, s) == 0;
    }
    buf_close(&r.jobs);
    buf_close(&r.numbers);
    buf_close(&r.run);
    buf_close(&r.progress);
}

/* --- what is recorded --------------------------------------------------------------------------
 */

static void on_confirm(int rc, const struct pg_result *result, const struct pg_error *error,
                       void *data)
{
    struct supervisor *s = data;
    s->is_confirm_open = false;
    if (rc != 0) {
        if (rc != ERR_CANCELLED && rc != ERR_UNREACHABLE) {
            log_warn("cannot ask which results are recorded, renewals tell: %s", error->text);
        }
        return;
    }
    for (size_t row = 0; row < pg_rows(result); row++) {
        outbox_remove(&s->outbox, pg_text(result, row, 0), (int32_t)pg_integer(result, row, 1, 0));
    }
    assignment_fill(s);
}

void record_confirm(struct supervisor *s)
{
    if (s->is_confirm_open || s->outbox.count < CONFIRM_FROM || !s->is_registered ||
        !pg_is_ready(s->pg)) {
        return;
    }
    struct buf jobs, numbers;
    buf_init(&jobs, 1u << 20);
    buf_init(&numbers, 1u << 20);
    int rc = 0;
    for (size_t i = 0; i < s->outbox.count && rc == 0; i++) {
        const char *comma = i > 0 ? "," : "{";
        rc = buf_add_format(&jobs, "%s%s", comma, s->outbox.items[i].job.text);
        rc = rc ? rc : buf_add_format(&numbers, "%s%d", comma, (int)s->outbox.items[i].attempt);
    }
    rc = rc ? rc : buf_add_text(&jobs, "}");
    rc = rc ? rc : buf_add_text(&numbers, "}");
    const char *params[] = {s->options->name, s->incarnation.text, rc ? NULL : buf_text(&jobs),
                            rc ? NULL : buf_text(&numbers)};
    if (params[2] && params[3]) {
        s->is_confirm_open = pg_send_texts(s->pg, "results_recorded",
                                           "SELECT * FROM meridian.results_recorded($1, $2::uuid,"
                                           " $3::uuid[], $4::integer[])",
                                           params, 4, on_confirm, s) == 0;
    }
    buf_close(&jobs);
    buf_close(&numbers);
}

/* --- results that do not get through Redis ----------------------------------------------------
 */

static void on_left(int rc, const struct pg_result *result, const struct pg_error *error,
                    void *data)
{
    struct supervisor *s = data;
    (void)result; /* false: the next renewal says that the attempt is closed */
    s->is_leave_open = false;
    if (rc != 0 && rc != ERR_CANCELLED && rc != ERR_UNREACHABLE) {
        log_warn("a result cannot be left in the record: %s", error->text);
    }
}

static bool is_leave_due(const struct supervisor *s, const struct outbox_item *item, int64_t now)
{
    bool is_away = !s->commands || !redis_is_ready(s->commands);
    int64_t since = now - (item->left_ms ? item->left_ms : item->added_ms);
    return since >= (is_away && !item->left_ms ? LEAVE_AFTER_MS : LEAVE_LATE_MS);
}

/* One at a time: they may be large. */
static void leave_result(struct supervisor *s, int64_t now)
{
    for (size_t i = 0; i < s->outbox.count && !s->is_leave_open; i++) {
        struct outbox_item *item = &s->outbox.items[i];
        if (!is_leave_due(s, item, now)) {
            continue;
        }
        char number[16];
        (void)snprintf(number, sizeof number, "%d", (int)item->attempt);
        const char *params[] = {s->options->name, s->incarnation.text, item->job.text, number,
                                item->bytes};
        const int lengths[] = {0, 0, 0, 0, (int)item->length};
        const int formats[] = {0, 0, 0, 0, 1};
        struct pg_query query = {
            .sql = "SELECT meridian.result_leave($1, $2::uuid, $3::uuid, $4::integer, $5::bytea)",
            .name = "result_leave",
            .param_count = 5,
            .params = params,
            .lengths = lengths,
            .formats = formats};
        s->is_leave_open = pg_send(s->pg, &query, on_left, s) == 0;
        item->left_ms = s->is_leave_open ? now : item->left_ms;
    }
}

/* --- bye and the rest ------------------------------------------------------------------------ */

static void on_bye(int rc, const struct pg_result *result, const struct pg_error *error, void *data)
{
    struct supervisor *s = data;
    (void)rc; /* whatever it was: we leave, and the row's seen_at stops */
    (void)result;
    (void)error;
    s->byes_open--;
}

void record_bye(struct supervisor *s)
{
    const char *params[] = {s->options->name, s->incarnation.text};
    if (s->is_registered && pg_send_texts(s->pg, NULL, "SELECT meridian.worker_bye($1, $2::uuid)",
                                          params, 2, on_bye, s) == 0) {
        s->byes_open++;
    }
}

int record_open(struct supervisor *s, struct err_buf *e)
{
    struct pg_options options = {.url = s->options->database_url,
                                 .application_name = "meridian-worker",
                                 .backoff_max_ms = 1000, /* leases wait */
                                 .on_state = on_state,
                                 .data = s};
    return pg_new(&s->pg, &s->loop, &options, e);
}

/* Something runs that the record does not know to run yet. */
static bool has_started(const struct supervisor *s, int64_t now)
{
    for (int i = 0; i < s->slot_count; i++) {
        const struct slot *slot = &s->slots[i];
        if (slot_has_job(slot->state) && !slot->held.is_confirmed &&
            now - slot->held.started_ms >= STARTED_AFTER_MS) {
            return true;
        }
    }
    return false;
}

static bool is_renew_due(const struct supervisor *s, int64_t now)
{
    int64_t since = now - s->renew_ms;
    int64_t every = s->phase == PHASE_LEAVING ? LEASE_LEAVING_MS : LEASE_EVERY_MS;
    return s->must_renew || since >= every || (since >= STARTED_EVERY_MS && has_started(s, now));
}

void record_tick(struct supervisor *s, int64_t now)
{
    if (!pg_is_ready(s->pg) || s->phase == PHASE_CLOSING) {
        return;
    }
    if (!s->is_registered) {
        if (!s->is_hello_open && (s->hello_ms == 0 || now - s->hello_ms >= HELLO_EVERY_MS)) {
            say_hello(s, now);
        }
        return;
    }
    if (!s->is_renew_open && is_renew_due(s, now)) {
        renew(s, now);
    }
    record_confirm(s);
    leave_result(s, now);
}

void record_close(struct supervisor *s)
{
    if (s->pg) {
        pg_close(s->pg, NULL, NULL);
        s->pg = NULL;
    }
}
