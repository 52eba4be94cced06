/*
 * Specs: a JSON map that was checked against its kind's table and completed with the defaults.
 */
#include "common/job/job.h"

#include "common/base/mem.h"
#include "common/base/nearest.h"
#include "common/base/uuid.h"
#include "common/json/json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SPEC_FIELDS_MAX = 64 };

struct job_spec {
    enum job_kind kind;
    struct json *map;
    bool is_given[SPEC_FIELDS_MAX]; /* by position in the kind's table */
};

/* --- one value ------------------------------------------------------------------------------- */

static int expected(const struct job_field *f, const char *what, const struct json *value,
                    struct err_buf *e)
{
    return err_set(e, ERR_INVALID, "spec.%s: expected %s, got %s", f->name, what,
                   json_kind_name(json_kind_of(value)));
}

static int check_bounds(const struct job_field *f, double value, struct err_buf *e)
{
    if (value < f->min) {
        return err_set(e, ERR_INVALID, "spec.%s: %.15g is below %.15g", f->name, value, f->min);
    }
    if (value > f->max) {
        return err_set(e, ERR_INVALID, "spec.%s: %.15g is above %.15g", f->name, value, f->max);
    }
    return 0;
}

/* Whether text is one of the choices, which are separated by bars. */
static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (const char *at = choices; at; at = strchr(at, '|')) {
        at += *at == '|';
        if (strncmp(at, text, length) == 0 && (at[length] == '|' || at[length] == '\0')) {
            return length > 0;
        }
    }
    return false;
}

static bool is_base(const char *text)
{
    static const char prefix[] = "version:";
    if (strncmp(text, prefix, sizeof prefix - 1) != 0) {
        return is_choice("auto|none|global|champion", text);
    }
    const char *digits = text + sizeof prefix - 1;
    size_t length = strlen(digits);
    return length >= 1 && length <= 15 && digits[0] != '0' &&
           strspn(digits, "0123456789") == length;
}

type == JOB_FIELD_BASE || type == JOB_FIELD_REGION || type == JOB_FIELD_TIME ||
    type == JOB_FIELD_LABELS;
return json_text_or(value_at(spec, name, is_text), "");
}

size_t job_spec_market_count(const struct job_spec *spec)
{
    return json_count(json_get(spec->map, "markets"));
}

const char *job_spec_market(const struct job_spec *spec, size_t index)
{
    const struct json *code = json_at(json_get(spec->map, "markets"), index);
    CHECK(code);
    return json_text_or(code, "");
}

/* --- writing --------------------------------------------------------------------------------- */

int job_spec_write(const struct job_spec *spec, struct buf *out)
{
    return json_dump(spec->map, out);
}

static bool is_in(const char *const *names, const char *name)
{
    for (size_t i = 0; names && names[i]; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

int job_spec_write_for(const struct job_spec *spec, enum job_kind kind, const char *const *skip,
                       struct buf *out)
{
    size_t before = out->length;
    size_t count = 0;
    const struct job_field *fields = job_fields(spec->kind, &count);
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_map(&w, NULL);
    for (size_t i = 0; i < count; i++) {
        const char *name = fields[i].name;
        if (spec->is_given[i] && job_field(kind, name) && !is_in(skip, name)) {
            json_write_tree(&w, name, json_get(spec->map, name));
        }
    }
    json_write_end(&w);
    int rc = json_writer_finish(&w);
    if (rc) {
        buf_truncate(out, before);
    }
    return rc;
}

/* --- checks over several fields -------------------------------------------------------------- */

static int check_names(const char *market, const char *task, struct err_buf *e)
{
    if (*market && !job_market_is_valid(market)) {
        return err_set(e, ERR_INVALID, "market: not a market's code (letters, digits and -)");
    }
    if (*task && !job_task_is_valid(task)) {
        return err_set(e, ERR_INVALID,
                       "task: not a task's name (lower-case letters, digits, _ and -)");
    }
    return 0;
}

static int check_training(const struct job_spec *spec, struct err_buf *e)
{
    if (job_spec_has(spec, "char_min") && job_spec_has(spec, "char_max") &&
        job_spec_integer(spec, "char_min") > job_spec_integer(spec, "char_max")) {
        return err_set(e, ERR_INVALID, "spec.char_min: above spec.char_max");
    }
    return 0;
}

static int check_finetune(const struct job_spec *spec, const char *market, struct err_buf *e)
{
    size_t pooled = job_spec_market_count(spec);
    if (*market == '\0' && pooled == 0) {
        return err_set(e, ERR_INVALID, "market: finetune needs a market, or spec.markets");
    }
    if (*market && pooled > 0) {
        return err_set(e, ERR_INVALID, "spec.markets: only without a market: they are pooled");
    }
    if (pooled > 0 && strcmp(job_spec_text(spec, "base"), "champion") == 0) {
        return err_set(e, ERR_INVALID, "spec.base: pooled markets have no champion in common");
    }
    return check_training(spec, e);
}

static int check_evaluate(const struct job_spec *spec, const char *market, struct err_buf *e)
{
    if (*market == '\0') {
        return err_set(e, ERR_INVALID, "market: evaluate needs the market to measure on");
    }
    if (job_spec_has(spec, "version") == job_spec_has(spec, "from_job")) {
        return err_set(e, ERR_INVALID, "spec.version: give either version or from_job");
    }
    return 0;
}

/* all, a count, or a percentage. */
static bool is_quorum(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    long value = strtol(text, NULL, 10);
    bool is_percent = strcmp(text + digits, "%") == 0;
    return strcmp(text, "all") == 0 ||
           (digits > 0 && digits <= 6 && value >= 1 && (text[digits] == '\0' || is_percent) &&
            (!is_percent || value <= 100));
}

static int check_nightly(const struct job_spec *spec, const char *market, struct err_buf *e)
{
    if (*market) {
        return err_set(e, ERR_INVALID, "market: nightly takes spec.markets instead");
    }
    if (!is_quorum(job_spec_text(spec, "quorum"))) {
        return err_set(e, ERR_INVALID, "spec.quorum: write all, a number (40) or a share (95%%)");
    }
    bool waits = strcmp(job_spec_text(spec, "stragglers"), "wait") == 0;
    if (waits && job_spec_integer(spec, "straggler_wait_s") > 0) {
        return err_set(e, ERR_INVALID,
                       "spec.straggler_wait_s: say what follows: stragglers=cancel or leave");
    }
    return check_training(spec, e);
}

int job_check(const struct job_spec *spec, const char *market, const char *task, struct err_buf *e)
{
    int rc = check_names(market, task, e);
    if (rc) {
        return rc;
    }
    if (spec->kind != JOB_NOOP && *task == '\0') {
        return err_set(e, ERR_INVALID, "task: %s needs a task", job_kind_name(spec->kind));
    }
    switch (spec->kind) {
    case JOB_FINETUNE:
        return check_finetune(spec, market, e);
    case JOB_EVALUATE:
        return check_evaluate(spec, market, e);
    case JOB_NIGHTLY:
        return check_nightly(spec, market, e);
    default:
        return 0;
    }
}

/* --- key=value ------------------------------------------------------------------------------- */

static int replace(struct buf *out, const struct json *map, struct err_buf *e)
{
    struct buf text;
    buf_init(&text, json_limits_spec.bytes_max);
    int rc = json_dump(map, &text);
    if (rc == 0) {
        size_t before = out->length;
        rc = buf_add(out, text.data, text.length); /* behind the old, so that it stays on failure */
        if (rc == 0) {
            buf_consume(out, before);
        }
    }
    buf_close(&text);
    return rc ? err_set(e, rc, "spec: %s", err_text(rc)) : 0;
}

static int set_value(enum job_kind kind, const char *name, const char *text, struct json *map,
                     struct err_buf *e)
{
    const struct job_field *f = job_field(kind, name);
    if (!f) {
        return refuse_name(kind, name, e);
    }
    struct json *value = value_of(f, text);
    if (!value) {
        return err_set(e, ERR_INVALID, "spec.%s: expected %s", name, type_name(f->type));
    }
    int rc = check_value(f, value, e);
    if (rc) {
        json_free(value);
        return rc;
    }
    rc = json_set(map, name, value);
    return rc ? err_set(e, rc, "spec.%s: %s", name, err_text(rc)) : 0;
}

int job_spec_set(enum job_kind kind, const char *assignment, struct buf *spec, struct err_buf *e)
{
    char name[65];
    size_t length = strcspn(assignment, "=");
    int rc = check_kind(kind, e);
    if (rc) {
        return rc;
    }
    if (assignment[length] == '\0' || length == 0 || length >= sizeof name) {
        return err_set(e, ERR_INVALID, "spec: expected key=value");
    }
    memcpy(name, assignment, length);
    name[length] = '\0';
    struct json *map = NULL;
    rc = parse_map(buf_span(spec), &map, e);
    if (rc) {
        return rc;
    }
    rc = set_value(kind, name, assignment + length + 1, map, e);
    rc = rc ? rc : replace(spec, map, e);
    json_free(map);
    return rc;
}
