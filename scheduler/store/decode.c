/* Rows of job_mirror as records of the core. */
#include "common/base/mem.h"
#include "scheduler/store/store_int.h"

#include <string.h>

/* Columns by name, looked up once a result. */
struct columns {
    size_t id, kind, market, task, region, state, priority, parent, attempt, failures, crashes,
        ooms, charged, max_attempts, due_in_ms, queued_ms, is_cancel_requested, children, needs,
        worker, spec, night, memory_mb, time_limit_s, threads, labels, after_left, cause,
        cause_state, is_member, quorum, members, is_quorum_reached, stragglers, incarnation,
        worker_mono_ms;
};

static struct columns find_columns(const struct pg_result *r)
{
    return (struct columns){
        .id = pg_column(r, "id"),
        .kind = pg_column(r, "kind"),
        .market = pg_column(r, "market"),
        .task = pg_column(r, "task"),
        .region = pg_column(r, "region"),
        .state = pg_column(r, "state"),
        .priority = pg_column(r, "priority"),
        .parent = pg_column(r, "parent"),
        .attempt = pg_column(r, "attempt"),
        .failures = pg_column(r, "failures"),
        .crashes = pg_column(r, "crashes"),
        .ooms = pg_column(r, "ooms"),
        .charged = pg_column(r, "charged"),
        .max_attempts = pg_column(r, "max_attempts"),
        .due_in_ms = pg_column(r, "due_in_ms"),
        .queued_ms = pg_column(r, "queued_ms"),
        .is_cancel_requested = pg_column(r, "is_cancel_requested"),
        .children = pg_column(r, "children"),
        .needs = pg_column(r, "needs"),
        .worker = pg_column(r, "worker"),
        .spec = pg_column(r, "spec"),
        .night = pg_column(r, "night"),
        .memory_mb = pg_column(r, "memory_mb"),
        .time_limit_s = pg_column(r, "time_limit_s"),
        .threads = pg_column(r, "threads"),
        .after_left = pg_column(r, "after_left"),
        .cause = pg_column(r, "cause"),
        .cause_state = pg_column(r, "cause_state"),
        .is_member = pg_column(r, "is_member"),
        .quorum = pg_column(r, "quorum"),
        .members = pg_column(r, "members"),
        .is_quorum_reached = pg_column(r, "is_quorum_reached"),
        .stragglers = pg_column(r, "stragglers"),
        .labels = pg_column(r, "labels"),
        .incarnation = pg_column(r, "incarnation"),
        .worker_mono_ms = pg_column(r, "worker_mono_ms"),
    };
}

static size_t count_needs(const struct pg_result *r, size_t column)
{
    size_t count = 0;
    for (size_t row = 0; row < pg_rows(r); row++) {
        for (const char *at = pg_text(r, row, column); (at = strchr(at, '=')) != NULL; at++) {
            count++;
        }
    }
    return count;
}

/* Up to the next ':' of text, which then begins behind it. */
static struct span next_part(struct span *text)
{
    const char *colon = text->length ? memchr(text->data, ':', text->length) : NULL;
    struct span part = span_make(text->data, colon ? (size_t)(colon - text->data) : text->length);
    size_t used = part.length + (colon ? 1 : 0);
    *text = span_make(text->data + used, text->length - used);
    return part;
}

/* "[condition:]state[:cause:state of the cause]" */
static bool read_need(struct span text, struct core_need *out)
{
    struct span part = next_part(&text);
    out->condition = core_condition_parse(part);
    if (out->condition == CORE_CONDITION_COUNT) {
        out->condition = CORE_AFTER_OK;
    } else {
        part = next_part(&text);
    }
    out->state = core_state_parse(part);
    if (text.length == 0) {
        return true;
    }
    bool is_id = core_id_parse(next_part(&text), &out->cause);
    out->cause_state = core_state_parse(text);
    return is_id;
}

/* "id=need,id=need" */
static bool read_needs(const char *text, struct core_need *out, size_t *ret_count)
{
    *ret_count = 0;
    while (*text) {
        const char *equals = strchr(text, '=');
        if (!equals) {
            return false;
        }
        size_t end = strcspn(equals + 1, ",");
        struct core_need *need = &out[(*ret_count)++];
        if (!core_id_parse(span_make(text, (size_t)(equals - text)), &need->id) ||
            !read_need(span_make(equals + 1, end), need)) {
            return false;
        }
        text = equals + 1 + end;
        text += *text == ',';
    }
    return true;
}

static int number(const struct pg_result *r, size_t row, size_t column)
{
    return (int)pg_integer(r, row, column, 0);
}

static bool read_record(const struct pg_result *r, size_t row, const struct columns *at,
                        struct core_record *out, struct core_need *needs)
{
    *out = (struct core_record){
        .state = core_state_parse(pg_span(r, row, at->state)),
        .kind = pg_span(r, row, at->kind),
        .market = pg_span(r, row, at->market),
        .task = pg_span(r, row, at->task),
        .region = pg_span(r, row, at->region),
        .worker = pg_span(r, row, at->worker),
        .priority = number(r, row, at->priority),
        .attempt = number(r, row, at->attempt),
        .failures = number(r, row, at->failures),
        .crashes = number(r, row, at->crashes),
        .ooms = number(r, row, at->ooms),
        .charged = number(r, row, at->charged),
        .max_attempts = number(r, row, at->max_attempts),
        .due_in_ms = pg_integer(r, row, at->due_in_ms, 0),
        .queued_ms = pg_integer(r, row, at->queued_ms, 0),
        .is_cancel_requested = pg_bool(r, row, at->is_cancel_requested),
        .children = number(r, row, at->children),
        .needs = needs,
        .spec = pg_span(r, row, at->spec),
        .night = pg_span(r, row, at->night),
        .memory_mb = number(r, row, at->memory_mb),
        .time_limit_s = number(r, row, at->time_limit_s),
        .threads = number(r, row, at->threads),
        .has_after_quorum = !pg_is_null(r, row, at->after_left),
        .after_left = number(r, row, at->after_left),
        .cause_state = core_state_parse(pg_span(r, row, at->cause_state)),
        .is_member = pg_bool(r, row, at->is_member),
        .quorum = number(r, row, at->quorum),
        .members = number(r, row, at->members),
        .is_quorum_reached = pg_bool(r, row, at->is_quorum_reached),
        .stragglers = core_stragglers_parse(pg_span(r, row, at->stragglers)),
        .labels = pg_span(r, row, at->labels),
        .incarnation = pg_span(r, row, at->incarnation),
        .worker_mono_ms = pg_integer(r, row, at->worker_mono_ms, 0),
    };
    if (!core_id_parse(pg_span(r, row, at->id), &out->id) || out->state == CORE_STATE_UNKNOWN) {
        return false;
    }
    if (!pg_is_null(r, row, at->parent) &&
        !core_id_parse(pg_span(r, row, at->parent), &out->parent)) {
        return false;
    }
    if (!pg_is_null(r, row, at->cause) && !core_id_parse(pg_span(r, row, at->cause), &out->cause)) {
        return false;
    }
    return read_needs(pg_text(r, row, at->needs), needs, &out->need_count);
}

int store__rows_init(struct store_rows *rows, const struct pg_result *r)
{
    *rows = (struct store_rows){0};
    size_t total = pg_rows(r);
    struct columns at = find_columns(r);
    rows->records = mem_new_array(total, sizeof *rows->records);
    rows->needs = mem_new_array(count_needs(r, at.needs), sizeof *rows->needs);
    if (!rows->records || !rows->needs) {
        store__rows_close(rows);
        return ERR_NOMEM;
    }
    struct core_need *needs = rows->needs;
    for (size_t row = 0; row < total; row++) {
        if (pg_is_null(r, row, at.id)) {
            continue;
        }
        if (!read_record(r, row, &at, &rows->records[rows->count], needs)) {
            store__rows_close(rows);
            return ERR_PARSE;
        }
        needs += rows->records[rows->count++].need_count;
    }
    return 0;
}

void store__rows_close(struct store_rows *rows)
{
    mem_free(rows->records);
    mem_free(rows->needs);
    *rows = (struct store_rows){0};
}

/* --- submissions written by SQL ----------------------------------------------------------------
 */

enum {
    /* Columns of scheduler_take. */
    TAKE_ID,
    TAKE_KIND,
    TAKE_MARKET,
    TAKE_TASK,
    TAKE_SPEC,
    TAKE_PRIORITY,
    TAKE_AFTER,
    TAKE_AFTER_IF,
    TAKE_AFTER_QUORUM,
    TAKE_NOT_BEFORE,
    TAKE_UNIQUE,
    TAKE_POLICY,
    TAKE_ATTEMPTS,
    TAKE_BY,
    TAKE_TRIES,
    /* Once in company, once alone; then the record itself does not want it. */
    TRIES_MAX = 2
};

static size_t count_ids(struct span text)
{
    return (text.length + 1) / UUID_SIZE;
}

/* "id,id" */
static bool read_ids(struct span text, struct core_id *out, size_t *ret_count)
{
    *ret_count = count_ids(text);
    for (size_t i = 0; i < *ret_count; i++) {
        if (!core_id_parse(span_make(text.data + i * UUID_SIZE, UUID_SIZE - 1), &out[i])) {
            return false;
        }
    }
    return true;
}

static bool read_taken(const struct pg_result *r, size_t row, struct core_id *after,
                       struct core_submission *out)
{
    *out = (struct core_submission){
        .kind = pg_span(r, row, TAKE_KIND),
        .market = pg_span(r, row, TAKE_MARKET),
        .task = pg_span(r, row, TAKE_TASK),
        .spec = pg_span(r, row, TAKE_SPEC),
        .priority = number(r, row, TAKE_PRIORITY),
        .after = after,
        .after_if = pg_span(r, row, TAKE_AFTER_IF),
        .after_quorum = number(r, row, TAKE_AFTER_QUORUM),
        .not_before_ms = pg_integer(r, row, TAKE_NOT_BEFORE, 0),
        .unique = pg_span(r, row, TAKE_UNIQUE),
        .unique_policy = pg_span(r, row, TAKE_POLICY),
        .max_attempts = number(r, row, TAKE_ATTEMPTS),
        .by = pg_span(r, row, TAKE_BY),
        .is_hopeless = number(r, row, TAKE_TRIES) > TRIES_MAX,
    };
    return core_id_parse(pg_span(r, row, TAKE_ID), &out->id) &&
           read_ids(pg_span(r, row, TAKE_AFTER), after, &out->after_count);
}

int store__taken_init(struct store_taken *t, const struct pg_result *r)
{
    size_t ids = 0;
    for (size_t row = 0; row < pg_rows(r); row++) {
        ids += count_ids(pg_span(r, row, TAKE_AFTER));
    }
    *t = (struct store_taken){.jobs = mem_new_array(pg_rows(r), sizeof *t->jobs),
                              .after = mem_new_array(ids, sizeof *t->after)};
    int rc = t->jobs && t->after ? 0 : ERR_NOMEM;
    struct core_id *after = t->after;
    for (; t->count < pg_rows(r) && rc == 0; t->count++) {
        rc = read_taken(r, t->count, after, &t->jobs[t->count]) ? 0 : ERR_PARSE;
        after += t->jobs[t->count].after_count;
    }
    if (rc) {
        store__taken_close(t);
    }
    return rc;
}

void store__taken_close(struct store_taken *t)
{
    mem_free(t->jobs);
    mem_free(t->after);
    *t = (struct store_taken){0};
}
