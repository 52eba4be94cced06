/* What the core wants, as the JSON and the arrays that the functions take. */
#include "common/json/json.h"
#include "scheduler/store/store_int.h"

enum {
    ARRAY_BYTES_MAX = 1 << 20,           /* a batch of names of the largest size is 70 kB */
    RESULTS_BYTES_MAX = 80 * 1024 * 1024 /* one result of the largest size, every byte escaped */
};

static void write_id(struct json_writer *w, const char *key, struct core_id id)
{
    json_write_text(w, key, span_of(core_id_format(id).text));
}

static void write_given(struct json_writer *w, const char *key, struct span text)
{
    if (text.length > 0) {
        json_write_text(w, key, text);
    }
}

static struct span spec_of(const struct core_submission *s)
{
    return s->spec.length ? s->spec : span_of("{}");
}

/* What many jobs of a bulk have in common. */
static void write_shape(struct json_writer *w, const struct core_submission *s)
{
    write_given(w, "kind", s->kind);
    write_given(w, "market", s->market);
    write_given(w, "task", s->task);
    json_write_integer(w, "priority", s->error_code ? 0 : s->priority);
    if (s->not_before_ms > 0) {
        json_write_integer(w, "not_before_ms", s->not_before_ms);
    }
    write_given(w, "by", s->by);
    json_write_bool(w, "is_parent", s->is_parent);
    json_write_integer(w, "memory_mb", s->memory_mb);
    json_write_integer(w, "time_limit_s", s->time_limit_s);
    json_write_integer(w, "threads", s->threads);
    write_given(w, "labels", s->labels);
    json_write_integer(w, "max_attempts", s->max_attempts);
}

static void write_submission(struct json_writer *w, const struct core_submission *s)
{
    json_write_map(w, NULL);
    write_id(w, "id", s->id);
    write_shape(w, s);
    write_given(w, "region", s->region);
    json_write_raw(w, "spec", spec_of(s));
    if (s->after_count > 0) {
        json_write_list(w, "after");
        for (size_t i = 0; i < s->after_count; i++) {
            write_id(w, NULL, s->after[i]);
        }
        json_write_end(w);
        write_given(w, "after_if", s->after_if);
        if (s->after_quorum > 0) {
            json_write_integer(w, "after_quorum", s->after_quorum);
        }
    }
    if (s->is_member) {
        json_write_bool(w, "is_member", true);
    }
    write_given(w, "unique", s->unique);
    write_given(w, "unique_policy", s->unique_policy);
    if (!core_id_is_none(s->parent)) {
        write_id(w, "parent", s->parent);
    }
    write_given(w, "night", s->night);
    if (s->error_code) {
        json_write_text(w, "error_code", span_of(s->error_code));
        json_write_text(w, "error_text", span_of(s->error_text ? s->error_text : ""));
    }
    json_write_end(w);
}

int store__write_submissions(struct buf *out, const struct core_submission *jobs, size_t count)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_list(&w, NULL);
    for (size_t i = 0; i < count; i++) {
        write_submission(&w, &jobs[i]);
    }
    json_write_end(&w);
    return json_writer_finish(&w);
}

bool store__is_alike(const struct core_submission *a, const struct core_submission *b)
{
    return a->priority == b->priority && a->not_before_ms == b->not_before_ms &&
           a->memory_mb == b->memory_mb && a->time_limit_s == b->time_limit_s &&
           a->threads == b->threads && a->max_attempts == b->max_attempts &&
           span_equals(a->kind, b->kind) && span_equals(a->market, b->market) &&
           span_equals(a->task, b->task) && span_equals(a->by, b->by) &&
           span_equals(a->labels, b->labels);
}

static bool have_one_spec(const struct core_submission *jobs, size_t count)
{
    bool is_one = true;
    for (size_t i = 1; i < count && is_one; i++) {
        is_one = jobs[i].spec.data == jobs[0].spec.data || /* one that is repeated */
                 span_equals(jobs[i].spec, jobs[0].spec);
    }
    return is_one;
}

static int write_ids(struct buf *out, const struct core_submission *jobs, size_t count)
{
    int rc = buf_add(out, "{", 1);
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = i ? buf_add(out, ",", 1) : 0;
        rc = rc ? rc : buf_add(out, core_id_format(jobs[i].id).text, UUID_SIZE - 1);
    }
    return rc ? rc : buf_add(out, "}", 1);
}

static int write_specs(struct buf *out, const struct core_submission *jobs, size_t count)
{
    struct json_writer w;
    size_t specs = have_one_spec(jobs, count) ? 1 : count;
    json_writer_init(&w, out);
    json_write_list(&w, NULL);
    for (size_t i = 0; i < specs; i++) {
        json_write_raw(&w, NULL, spec_of(&jobs[i]));
    }
    json_write_end(&w);
    return json_writer_finish(&w);
}

int store__write_alike(struct buf parts[STORE_ALIKE_PARTS], const struct core_submission *jobs,
                       size_t count)
{
    struct json_writer w;
    json_writer_init(&w, &parts[0]);
    json_write_map(&w, NULL);
    write_shape(&w, &jobs[0]);
    json_write_end(&w);
    int rc = json_writer_finish(&w);
    rc = rc ? rc : write_ids(&parts[1], jobs, count);
    return rc ? rc : write_specs(&parts[2], jobs, count);
}

static void write_report(struct json_writer *w, const struct core_result *report)
{
    write_given(w, "worker", report->worker);
    write_given(w, "error_text", report->error_text);
    write_given(w, "log_tail", report->log_tail);
    if (report->has_exit) {
        json_write_integer(w, "exit_code", report->exit_code);
    }
    if (report->signal) {
        json_write_integer(w, "signal", report->signal);
    }
    if (report->peak_rss_kb > 0) {
        json_write_integer(w, "peak_rss_kb", report->peak_rss_kb);
    }
    if (report->run_ms >= 0) {
        json_write_integer(w, "run_ms", report->run_ms);
    }
}

static void write_end(struct json_writer *w, const struct core_end *end)
{
    json_write_map(w, NULL);
    write_id(w, "job", end->job);
    json_write_integer(w, "attempt", end->attempt);
    json_write_text(w, "outcome", span_of(core_outcome_name(end->outcome)));
    json_write_bool(w, "is_final", end->is_final);
    json_write_bool(w, "is_cancelled", end->is_cancelled);
    json_write_integer(w, "failures", end->charge_failure);
    json_write_integer(w, "crashes", end->charge_crash);
    json_write_integer(w, "ooms", end->charge_oom);
    if (end->memory_max_mb > 0) {
        json_write_integer(w, "memory_max_mb", end->memory_max_mb);
    }
    json_write_integer(w, "delay_ms", end->delay_ms);
    if (end->error_code) {
        json_write_text(w, "error_code", span_of(err_name(end->error_code)));
        json_write_text(w, "error_class", span_of(err_class_name(err_class_of(end->error_code))));
    }
    if (end->report) {
        write_report(w, end->report);
    }
    json_write_end(w);
}

int store__write_ends(struct buf *out, const struct core_end *ends, size_t count)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_list(&w, NULL);
    for (size_t i = 0; i < count; i++) {
        write_end(&w, &ends[i]);
    }
    json_write_end(&w);
    return json_writer_finish(&w);
}

int store__write_skips(struct buf *out, const struct core_skip *skips, size_t count)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_list(&w, NULL);
    for (size_t i = 0; i < count; i++) {
        json_write_map(&w, NULL);
        write_id(&w, "job", skips[i].job);
        json_write_text(&w, "state", span_of(core_state_name(skips[i].state)));
        json_write_text(&w, "error_code", span_of(skips[i].error_code));
        json_write_text(&w, "error_text", span_of(skips[i].error_text));
        if (!core_id_is_none(skips[i].cause)) {
            write_id(&w, "cause", skips[i].cause);
        }
        json_write_end(&w);
    }
    json_write_end(&w);
    return json_writer_finish(&w);
}

/* An element of an array of texts, quoted: runs of plain bytes are copied whole. */
static int add_quoted(struct buf *out, struct span text)
{
    int rc = buf_add(out, "\"", 1);
    size_t from = 0;
    for (size_t i = 0; rc == 0 && i <= text.length; i++) {
        bool is_special = i < text.length && (text.data[i] == '"' || text.data[i] == '\\');
        if (!is_special && i < text.length) {
            continue;
        }
        rc = i > from ? buf_add(out, text.data + from, i - from) : 0;
        rc = rc == 0 && is_special ? buf_add(out, "\\", 1) : rc;
        from = i; /* the special byte itself goes with the next run */
    }
    return rc ? rc : buf_add(out, "\"", 1);
}

static int add_dispatch(struct buf *parts, const struct core_dispatch *job)
{
    int rc = buf_add_text(&parts[0], core_id_format(job->job).text);
    rc = rc ? rc : buf_add_format(&parts[1], "%d", job->attempt);
    rc = rc ? rc : add_quoted(&parts[2], job->region);
    rc = rc ? rc : add_quoted(&parts[3], job->worker);
    return rc ? rc : add_quoted(&parts[4], job->incarnation);
}

int store__write_dispatches(struct buf parts[STORE_DISPATCH_PARTS],
                            const struct core_dispatch *jobs, size_t count)
{
    int rc = 0;
    for (size_t p = 0; p < STORE_DISPATCH_PARTS; p++) {
        buf_init(&parts[p], ARRAY_BYTES_MAX);
        rc = rc ? rc : buf_add(&parts[p], "{", 1);
    }
    for (size_t i = 0; i < count && rc == 0; i++) {
        for (size_t p = 0; p < STORE_DISPATCH_PARTS && i > 0 && rc == 0; p++) {
            rc = buf_add(&parts[p], ",", 1);
        }
        rc = rc ? rc : add_dispatch(parts, &jobs[i]);
    }
    for (size_t p = 0; p < STORE_DISPATCH_PARTS; p++) {
        rc = rc ? rc : buf_add(&parts[p], "}", 1);
    }
    return rc;
}

int store__write_kept(struct buf *out, const struct core_kept *kept)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_map(&w, NULL);
    json_write_list(&w, "estimates");
    for (size_t i = 0; i < kept->estimate_count; i++) {
        const struct core_estimate_row *e = &kept->estimates[i];
        json_write_map(&w, NULL);
        json_write_text(&w, "kind", e->kind);
        write_given(&w, "market", e->market);
        write_given(&w, "task", e->task);
        json_write_integer(&w, "attempts", e->attempts);
        json_write_real(&w, "seconds", e->seconds);
        json_write_end(&w);
    }
    json_write_end(&w);
    json_write_list(&w, "uses");
    for (size_t i = 0; i < kept->use_count; i++) {
        json_write_map(&w, NULL);
        write_given(&w, "market", kept->uses[i].market);
        json_write_real(&w, "used_s", kept->uses[i].used_s);
        json_write_end(&w);
    }
    json_write_end(&w);
    json_write_end(&w);
    return json_writer_finish(&w);
}

static int add_result(struct buf *parts, const struct core_result *result)
{
    int rc = buf_add_text(&parts[0], core_id_format(result->job).text);
    rc = rc ? rc : buf_add_format(&parts[1], "%d", result->attempt);
    rc = rc ? rc : add_quoted(&parts[2], result->worker);
    rc = rc ? rc : buf_add_format(&parts[3], "%lld", (long long)result->peak_rss_kb);
    if (rc == 0 && result->run_ms >= 0) {
        rc = buf_add_format(&parts[4], "%lld", (long long)result->run_ms);
    } else {
        rc = rc ? rc : buf_add_text(&parts[4], "NULL");
    }
    return rc ? rc : add_quoted(&parts[5], result->result.length ? result->result : span_of("{}"));
}

int store__write_results(struct buf parts[STORE_FINISH_PARTS], const struct core_result *results,
                         size_t count)
{
    int rc = 0;
    for (size_t p = 0; p < STORE_FINISH_PARTS; p++) {
        buf_init(&parts[p], RESULTS_BYTES_MAX);
        rc = rc ? rc : buf_add(&parts[p], "{", 1);
    }
    for (size_t i = 0; i < count && rc == 0; i++) {
        for (size_t p = 0; p < STORE_FINISH_PARTS && i > 0 && rc == 0; p++) {
            rc = buf_add(&parts[p], ",", 1);
        }
        rc = rc ? rc : add_result(parts, &results[i]);
    }
    for (size_t p = 0; p < STORE_FINISH_PARTS; p++) {
        rc = rc ? rc : buf_add(&parts[p], "}", 1);
    }
    return rc;
}

int store__write_ids(struct buf *out, const struct core_id *ids, size_t count)
{
    int rc = buf_add(out, "{", 1);
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = buf_add_format(out, "%s%s", i ? "," : "", core_id_format(ids[i]).text);
    }
    return rc ? rc : buf_add(out, "}", 1);
}
