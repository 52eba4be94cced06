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

/* The shape, and numbers within a month's and a day's bounds; the calendar is the record's. */
static bool is_time(const char *text)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:ddZ";
    static const struct {
        int at, low, high;
    } parts[] = {{5, 1, 12}, {8, 1, 31}, {11, 0, 23}, {14, 0, 59}, {17, 0, 59}};
    if (strlen(text) != sizeof shape - 1) {
        return false;
    }
    for (size_t i = 0; i < sizeof shape - 1; i++) {
        bool is_digit = text[i] >= '0' && text[i] <= '9';
        if (shape[i] == 'd' ? !is_digit : text[i] != shape[i]) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        int value = (text[parts[i].at] - '0') * 10 + (text[parts[i].at + 1] - '0');
        if (value < parts[i].low || value > parts[i].high) {
            return false;
        }
    }
    return true;
}

static int check_labels(const struct job_field *f, const char *text, struct err_buf *e)
{
    char sorted[JOB_LABELS_SIZE];
    struct err_buf why = {{0}};
    return job_labels_sort(text, sorted, &why)
               ? err_set(e, ERR_INVALID, "spec.%s: %s", f->name, why.text)
               : 0;
}

static int check_text(const struct job_field *f, const struct json *value, struct err_buf *e)
{
    if (json_kind_of(value) != JSON_KIND_TEXT) {
        return expected(f, "a text", value, e);
    }
    const char *text = json_text_or(value, "");
    switch (f->type) {
    case JOB_FIELD_CHOICE:
        return is_choice(f->choices, text)
                   ? 0
                   : err_set(e, ERR_INVALID, "spec.%s: expected %s%s", f->name,
                             strchr(f->choices, '|') ? "one of " : "", f->choices);
    case JOB_FIELD_BASE:
        return is_base(text) ? 0
                             : err_set(e, ERR_INVALID,
                                       "spec.%s: expected auto, none, global, champion or "
                                       "version:ID",
                                       f->name);
    case JOB_FIELD_JOB:
        return uuid_is_valid(text, strlen(text))
                   ? 0
                   : err_set(e, ERR_INVALID, "spec.%s: not a job's id", f->name);
    case JOB_FIELD_REGION:
        return job_region_is_valid(text)
                   ? 0
                   : err_set(e, ERR_INVALID, "spec.%s: not a region's name", f->name);
    case JOB_FIELD_TIME:
        return is_time(text)
                   ? 0
                   : err_set(e, ERR_INVALID,
                             "spec.%s: expected a time in UTC like 2026-01-31T00:00:00Z", f->name);
    case JOB_FIELD_LABELS:
        return check_labels(f, text, e);
    default:
        return strlen(text) <= (size_t)f->max
                   ? 0
                   : err_set(e, ERR_INVALID, "spec.%s: longer than %.15g bytes", f->name, f->max);
    }
}

static int check_markets(const struct job_field *f, const struct json *value, struct err_buf *e)
{
    if (json_kind_of(value) != JSON_KIND_LIST) {
        return expected(f, "a list of markets", value, e);
    }
    size_t count = json_count(value);
    if ((double)count > f->max) {
        return err_set(e, ERR_INVALID, "spec.%s: more than %.15g markets", f->name, f->max);
    }
    for (size_t i = 0; i < count; i++) {
        const char *code = json_text_or(json_at(value, i), "");
        if (!job_market_is_valid(code)) {
            return err_set(e, ERR_INVALID, "spec.%s[%zu]: not a market's code", f->name, i);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(code, json_text_or(json_at(value, j), "")) == 0) {
                return err_set(e, ERR_INVALID, "spec.%s[%zu]: %s is there twice", f->name, i, code);
            }
        }
    }
    return 0;
}

static int check_value(const struct job_field *f, const struct json *value, struct err_buf *e)
{
    enum json_kind kind = json_kind_of(value);
    switch (f->type) {
    case JOB_FIELD_INTEGER:
        return kind == JSON_KIND_INTEGER ? check_bounds(f, json_real_or(value, 0), e)
                                         : expected(f, "an integer", value, e);
    case JOB_FIELD_REAL:
        return kind == JSON_KIND_INTEGER || kind == JSON_KIND_REAL
                   ? check_bounds(f, json_real_or(value, 0), e)
                   : expected(f, "a number", value, e);
    case JOB_FIELD_BOOL:
        return kind == JSON_KIND_BOOL ? 0 : expected(f, "true or false", value, e);
    case JOB_FIELD_MARKETS:
        return check_markets(f, value, e);
    default:
        return check_text(f, value, e);
    }
}

/* --- text into a value ----------------------------------------------------------------------- */

static struct json *integer_of(const char *text)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return end != text && *end == '\0' && errno == 0 ? json_new_integer(value) : NULL;
}

static struct json *real_of(const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(value) ? json_new_real(value) : NULL;
}

static struct json *bool_of(const char *text)
{
    if (is_choice("true|yes|on|1", text)) {
        return json_new_bool(true);
    }
    return is_choice("false|no|off|0", text) ? json_new_bool(false) : NULL;
}

/* "de-DE,fr-FR"; an empty text is an empty list. */
static struct json *list_of(const char *text)
{
    struct json *list = json_new_list();
    const char *at = text;
    int rc = list ? 0 : ERR_NOMEM;
    while (*text && rc == 0) {
        size_t length = strcspn(at, ",");
        rc = json_append(list, json_new_text(span_make(at, length)));
        at += length;
        if (*at == '\0') {
            break;
        }
        at++;
    }
    if (rc) {
        json_free(list);
        return NULL;
    }
    return list;
}

/* A value typed by its field, or NULL when text is nothing of that type. */
static struct json *value_of(const struct job_field *f, const char *text)
{
    switch (f->type) {
    case JOB_FIELD_INTEGER:
        return integer_of(text);
    case JOB_FIELD_REAL:
        return real_of(text);
    case JOB_FIELD_BOOL:
        return bool_of(text);
    case JOB_FIELD_MARKETS:
        return list_of(text);
    default:
        return json_new_text(span_of(text));
    }
}

static const char *type_name(enum job_field_type type)
{
    switch (type) {
    case JOB_FIELD_INTEGER:
        return "an integer";
    case JOB_FIELD_REAL:
        return "a number";
    case JOB_FIELD_BOOL:
        return "true or false";
    case JOB_FIELD_MARKETS:
        return "a list of markets";
    default:
        return "a text";
    }
}

/* --- the whole map --------------------------------------------------------------------------- */

/* Names come from outside: only plain ones are repeated in messages. */
static bool is_plain(const char *name)
{
    size_t length = strlen(name);
    return length >= 1 && length <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
               length;
}

static int refuse_name(enum job_kind kind, const char *name, struct err_buf *e)
{
    if (!is_plain(name)) {
        return err_set(e, ERR_INVALID, "spec: a field whose name is no name");
    }
    size_t count = 0;
    const struct job_field *fields = job_fields(kind, &count);
    const char *best = NULL;
    for (size_t i = 0; i < count; i++) {
        nearest_offer(name, fields[i].name, &best);
    }
    return best ? err_set(e, ERR_INVALID, "spec.%s: no such field for %s, did you mean %s?", name,
                          job_kind_name(kind), best)
                : err_set(e, ERR_INVALID, "spec.%s: no such field for %s", name,
                          job_kind_name(kind));
}

struct checking {
    struct job_spec *spec;
    struct err_buf *e;
};

static int on_member(const char *name, const struct json *value, void *data)
{
    struct checking *c = data;
    const struct job_field *f = job_field(c->spec->kind, name);
    if (!f) {
        return refuse_name(c->spec->kind, name, c->e);
    }
    if (json_kind_of(value) == JSON_KIND_NULL) {
        return 0; /* as if it were not there */
    }
    size_t count = 0;
    c->spec->is_given[f - job_fields(c->spec->kind, &count)] = true;
    return check_value(f, value, c->e);
}

static int add_defaults(struct job_spec *spec, struct err_buf *e)
{
    size_t count = 0;
    const struct job_field *fields = job_fields(spec->kind, &count);
    for (size_t i = 0; i < count; i++) {
        if (spec->is_given[i]) {
            continue;
        }
        json_remove(spec->map, fields[i].name); /* a null */
        if (fields[i].fallback &&
            json_set(spec->map, fields[i].name, value_of(&fields[i], fields[i].fallback))) {
            return err_set(e, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
        }
    }
    return 0;
}

static int parse_map(struct span text, struct json **ret, struct err_buf *e)
{
    struct json *map = NULL;
    int rc = text.length == 0 ? 0 : json_parse(text, &json_limits_spec, &map, e);
    if (rc) {
        return err_wrap(e, rc, "spec");
    }
    if (text.length == 0) {
        map = json_new_map();
        if (!map) {
            return err_set(e, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
        }
    }
    if (json_kind_of(map) != JSON_KIND_MAP) {
        rc = err_set(e, ERR_INVALID, "spec: expected a map, got %s",
                     json_kind_name(json_kind_of(map)));
        json_free(map);
        return rc;
    }
    *ret = map;
    return 0;
}

static int check_kind(enum job_kind kind, struct err_buf *e)
{
    if (kind < 1 || kind >= JOB_KIND_COUNT) {
        return err_set(e, ERR_INVALID, "kind: there is no such kind of job");
    }
    if (!job_kind_is_supported(kind)) {
        return err_set(e, ERR_UNSUPPORTED, "kind: %s is not in this release", job_kind_name(kind));
    }
    return 0;
}

int job_spec_parse(enum job_kind kind, struct span json, struct job_spec **ret, struct err_buf *e)
{
    int rc = check_kind(kind, e);
    if (rc) {
        return rc;
    }
    struct job_spec *spec = mem_new(sizeof *spec);
    if (!spec) {
        return err_set(e, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    }
    spec->kind = kind;
    rc = parse_map(json, &spec->map, e);
    if (rc == 0) {
        struct checking c = {.spec = spec, .e = e};
        rc = json_each(spec->map, on_member, &c);
        if (rc == ERR_NOMEM) {
            (void)err_set(e, rc, "%s", err_text(rc));
        }
    }
    rc = rc ? rc : add_defaults(spec, e);
    if (rc) {
        job_spec_free(spec);
        return rc;
    }
    *ret = spec;
    return 0;
}

void job_spec_free(struct job_spec *spec)
{
    if (spec) {
        json_free(spec->map);
        mem_free(spec);
    }
}

/* --- reading --------------------------------------------------------------------------------- */

enum job_kind job_spec_kind(const struct job_spec *spec)
{
    return spec->kind;
}

/* Asking for what the kind does not have is our bug. */
static const struct json *value_at(const struct job_spec *spec, const char *name, bool right_type)
{
    CHECK(right_type);
    return json_get(spec->map, name);
}

static enum job_field_type type_of(const struct job_spec *spec, const char *name)
{
    const struct job_field *f = job_field(spec->kind, name);
    CHECK(f);
    return f->type;
}

bool job_spec_has(const struct job_spec *spec, const char *name)
{
    return value_at(spec, name, type_of(spec, name) != 0) != NULL;
}

bool job_spec_is_given(const struct job_spec *spec, const char *name)
{
    size_t count = 0;
    const struct job_field *f = job_field(spec->kind, name);
    CHECK(f);
    return spec->is_given[f - job_fields(spec->kind, &count)];
}

int64_t job_spec_integer(const struct job_spec *spec, const char *name)
{
    return json_integer_or(value_at(spec, name, type_of(spec, name) == JOB_FIELD_INTEGER), 0);
}

double job_spec_real(const struct job_spec *spec, const char *name)
{
    return json_real_or(value_at(spec, name, type_of(spec, name) == JOB_FIELD_REAL), 0);
}

bool job_spec_bool(const struct job_spec *spec, const char *name)
{
    return json_bool_or(value_at(spec, name, type_of(spec, name) == JOB_FIELD_BOOL), false);
}

const char *job_spec_text(const struct job_spec *spec, const char *name)
{
    enum job_field_type type = type_of(spec, name);
    bool is_text = type == JOB_FIELD_CHOICE || type == JOB_FIELD_TEXT || type == JOB_FIELD_JOB ||
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
