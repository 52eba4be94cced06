/*
 * What `meridian submit --bulk` reads. The lines are read once: what is checked is kept as it will
 * be sent, in an unlinked temporary file of records (head, then the element of a bulk message).
 */
#include "ops/cli/bulk.h"

#include "common/base/mem.h"
#include "common/job/job.h"
#include "common/json/json.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum {
    LINE_MAX_BYTES = MESSAGE_SUBMISSION_MAX,
    SHOWN_MAX = 20, /* bad lines that are told; the rest is counted */
};

struct head {
    uint32_t length; /* of the element behind it */
    uint32_t line;
    struct uuid id; /* "" = none of its own */
};

struct bulk_file {
    struct cli *c;
    const char *name;
    FILE *in;
    FILE *spool;
    size_t count, bad;
    uint32_t line;
    struct buf text; /* of the line at hand */
    struct buf spec;
    struct buf element;
    struct message_submission message;
};

/* --- one line -------------------------------------------------------------------------------- */

bool bulk_parse_time(const char *text, int64_t *ret_ms)
{
    static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M",
                                          "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct tm tm = {0};
        const char *end = strptime(text, formats[i], &tm);
        if (end && (*end == 0 || strcmp(end, "Z") == 0)) {
            *ret_ms = (int64_t)timegm(&tm) * 1000;
            return true;
        }
    }
    return false;
}

static int wrong_kind(const char *field, const char *expected, const struct json *value,
                      struct err_buf *e)
{
    return err_set(e, ERR_INVALID, "%s: %s is expected, not %s", field, expected,
                   json_kind_name(json_kind_of(value)));
}

static int take_text(const char *field, const struct json *value, char *out, size_t size,
                     struct err_buf *e)
{
    if (json_kind_of(value) != JSON_KIND_TEXT) {
        return wrong_kind(field, "a text", value, e);
    }
    struct span text = json_span(value);
    if (text.length == 0 || text.length >= size) {
        return err_set(e, ERR_INVALID, "%s: not of 1 to %zu bytes", field, size - 1);
    }
    (void)snprintf(out, size, "%s", json_text_or(value, ""));
    return 0;
}

static int take_integer(const char *field, const struct json *value, int64_t min, int64_t max,
                        int32_t *ret, struct err_buf *e)
{
    if (json_kind_of(value) != JSON_KIND_INTEGER) {
        return wrong_kind(field, "an integer", value, e);
    }
    int64_t number = json_integer_or(value, 0);
    if (number < min || number > max) {
        return err_set(e, ERR_INVALID, "%s: %lld is not within %lld and %lld", field,
                       (long long)number, (long long)min, (long long)max);
    }
    *ret = (int32_t)number;
    return 0;
}

static int take_id(const char *field, const struct json *value, struct uuid *ret, struct err_buf *e)
{
    struct span text = json_span(value);
    if (!uuid_is_valid(text.data, text.length)) {
        return err_set(e, ERR_INVALID, "%s: not an id (8-4-4-4-12 lower-case hex digits)", field);
    }
    memcpy(ret->text, text.data, UUID_SIZE - 1);
    ret->text[UUID_SIZE - 1] = '\0';
    return 0;
}

static int take_after(const char *field, const struct json *value, char letter,
                      struct message_submission *m, struct err_buf *e)
{
    if (json_kind_of(value) != JSON_KIND_LIST) {
        return wrong_kind(field, "a list of ids", value, e);
    }
    for (size_t i = 0; i < json_count(value); i++) {
        if (m->after_count == MESSAGE_AFTER_MAX) {
            return err_set(e, ERR_INVALID, "%s: at most %d jobs", field, MESSAGE_AFTER_MAX);
        }
        struct uuid *id = &m->after[m->after_count];
        int rc = take_id(field, json_at(value, i), id, e);
        if (rc) {
            return rc;
        }
        for (size_t k = 0; k < m->after_count; k++) {
            if (strcmp(m->after[k].text, id->text) == 0 && m->after_if[k] != letter) {
                return err_set(e, ERR_INVALID, "%s: a job is named with two conditions", field);
            }
        }
        m->after_if[m->after_count++] = letter;
    }
    return 0;
}

static int take_policy(const char *field, const struct json *value, struct message_submission *m,
                       struct err_buf *e)
{
    m->unique_policy = message_policy_from_name(json_text_or(value, ""));
    return m->unique_policy
               ? 0
               : err_set(e, ERR_INVALID, "%s: none of reject, keep and replace", field);
}

static int take_time(const char *field, const struct json *value, struct message_submission *m,
                     struct err_buf *e)
{
    m->has_not_before = bulk_parse_time(json_text_or(value, ""), &m->not_before_ms);
    return m->has_not_before && m->not_before_ms >= 0
               ? 0
               : err_set(e, ERR_INVALID, "%s: no time: write 2026-11-24T02:30 (UTC)", field);
}

static int take_spec(const char *field, const struct json *value, struct buf *spec,
                     struct err_buf *e)
{
    if (json_kind_of(value) != JSON_KIND_MAP) {
        return wrong_kind(field, "an object", value, e);
    }
    int rc = json_dump(value, spec);
    return rc ? err_set(e, rc, "%s: more than %d bytes", field, MESSAGE_SPEC_MAX) : 0;
}

struct line {
    struct message_submission *m;
    struct buf *spec;
    struct err_buf *e;
};

/* The fields of meridian.submit_many, so that the same objects may go either way. */
static int on_member(const char *key, const struct json *value, void *data)
{
    struct line *l = data;
    struct message_submission *m = l->m;
    struct err_buf *e = l->e;
    if (json_kind_of(value) == JSON_KIND_NULL) {
        return 0;
    }
#define IS(name) (strcmp(key, name) == 0)
#define TEXT(name, field)                                                                          \
    if (IS(name)) {                                                                                \
        return take_text(key, value, m->field, sizeof m->field, e);                                \
    }
    TEXT("kind", kind)
    TEXT("market", market)
    TEXT("task", task)
    TEXT("unique_key", unique)
    if (IS("id")) {
        return take_id(key, value, &m->id, e);
    }
    if (IS("spec")) {
        return take_spec(key, value, l->spec, e);
    }
    if (IS("priority")) {
        m->has_priority = true;
        return take_integer(key, value, -1000, 1000, &m->priority, e);
    }
    if (IS("max_attempts")) {
        return take_integer(key, value, 1, 100, &m->max_attempts, e);
    }
    if (IS("quorum")) {
        return take_integer(key, value, 1, MESSAGE_AFTER_MAX, &m->after_quorum, e);
    }
    if (IS("unique_policy")) {
        return take_policy(key, value, m, e);
    }
    if (IS("not_before")) {
        return take_time(key, value, m, e);
    }
    if (IS("after") || IS("after_notok") || IS("after_any")) {
        return take_after(key, value, IS("after") ? 'o' : IS("after_notok") ? 'n' : 'a', m, e);
    }
#undef TEXT
#undef IS
    return err_set(e, ERR_INVALID,
                   "%.64s: there is no such field; there are id, kind, market, task, spec, "
                   "priority, after, after_notok, after_any, quorum, unique_key, unique_policy, "
                   "not_before, max_attempts",
                   key);
}

/* What belongs together, then the kind's own rules. */
static int check(struct message_submission *m, struct buf *spec_bytes, struct err_buf *e)
{
    enum job_kind kind = job_kind_from_name(m->kind);
    struct job_spec *spec = NULL;
    if (!*m->kind) {
        return err_set(e, ERR_INVALID, "kind: missing");
    }
    if (!kind) {
        return err_set(e, ERR_INVALID, "kind: there is no kind \"%s\"", m->kind);
    }
    if (m->unique_policy && !*m->unique) {
        return err_set(e, ERR_INVALID, "unique_policy: without unique_key");
    }
    if (m->after_quorum > (int32_t)m->after_count) {
        return err_set(e, ERR_INVALID, "quorum: %d of %zu jobs cannot be met", m->after_quorum,
                       m->after_count);
    }
    if (strspn(m->after_if, "o") == m->after_count) {
        m->after_if[0] = '\0'; /* as the first version says it */
    }
    m->spec = buf_span(spec_bytes);
    int rc = job_spec_parse(kind, m->spec, &spec, e);
    rc = rc ? rc : job_check(spec, m->market, m->task, e);
    job_spec_free(spec);
    return rc;
}

int bulk_parse_line(struct span line, struct message_submission *ret, struct buf *spec,
                    struct err_buf *e)
{
    struct json *root = NULL;
    struct line l = {.m = ret, .spec = spec, .e = e};
    memset(ret, 0, sizeof *ret);
    buf_reset(spec);
    int rc = json_parse(line, &json_limits_line, &root, e);
    if (rc == 0 && json_kind_of(root) != JSON_KIND_MAP) {
        rc = err_set(e, ERR_PARSE, "not a JSON object, but %s", json_kind_name(json_kind_of(root)));
    }
    rc = rc ? rc : json_each(root, on_member, &l);
    json_free(root);
    return rc ? rc : check(ret, spec, e);
}

/* --- the file -------------------------------------------------------------------------------- */

/* The next line without its end into text. ERR_NOTFOUND at the end of the file; ERR_LIMIT: it was
 * too long, and is behind us. */
static int read_line(struct bulk_file *f, struct err_buf *e)
{
    bool is_long = false;
    int c = getc(f->in);
    if (c == EOF) {
        return ferror(f->in) ? err_set(e, ERR_IO, "%s: %s", f->name, strerror(errno))
                             : ERR_NOTFOUND;
    }
    buf_reset(&f->text);
    for (f->line++; c != EOF && c != '\n'; c = getc(f->in)) {
        char byte = (char)c;
        is_long = is_long || buf_add(&f->text, &byte, 1) != 0;
    }
    return is_long ? err_set(e, ERR_LIMIT, "longer than %d bytes", LINE_MAX_BYTES) : 0;
}

static bool is_blank(struct span line)
{
    for (size_t i = 0; i < line.length; i++) {
        if (!strchr(" \t\r", line.data[i])) {
            return false;
        }
    }
    return true;
}

static int keep(struct bulk_file *f, struct err_buf *e)
{
    struct head head = {
        .length = (uint32_t)f->element.length, .line = f->line, .id = f->message.id};
    if (fwrite(&head, sizeof head, 1, f->spool) != 1 ||
        fwrite(f->element.data, f->element.length, 1, f->spool) != 1) {
        return err_set(e, ERR_IO, "cannot write the temporary file: %s", strerror(errno));
    }
    f->count++;
    return 0;
}

static void tell_bad(struct bulk_file *f, const char *why)
{
    if (++f->bad <= SHOWN_MAX) {
        (void)fprintf(stderr, "%s:%u: %s\n", f->name, f->line, why);
    }
}

/* ERR_NOTFOUND at the end. What is wrong with a line is told, and is no failure here. */
static int take_line(struct bulk_file *f, struct err_buf *e)
{
    struct err_buf why = {{0}};
    int rc = read_line(f, &why);
    if (rc == ERR_NOTFOUND || rc == ERR_IO) {
        return rc == ERR_IO ? err_set(e, rc, "%s", why.text) : rc;
    }
    if (rc == 0 && is_blank(buf_span(&f->text))) {
        return 0;
    }
    buf_reset(&f->element);
    rc = rc ? rc : bulk_parse_line(buf_span(&f->text), &f->message, &f->spec, &why);
    rc = rc ? rc : message_bulk_add(&f->message, &f->element, &why);
    if (rc == ERR_NOMEM) {
        return err_set(e, rc, "out of memory");
    }
    if (rc) {
        tell_bad(f, why.text);
        return 0;
    }
    return keep(f, e);
}

static int take_all(struct bulk_file *f)
{
    struct err_buf *e = &f->c->e;
    int rc = 0;
    while (rc == 0) {
        rc = cli_is_interrupted() ? err_set(e, ERR_CANCELLED, "interrupted; nothing was submitted")
                                  : take_line(f, e);
    }
    if (f->bad > SHOWN_MAX) {
        (void)fprintf(stderr, "... and %zu more bad lines\n", f->bad - SHOWN_MAX);
    }
    if (rc != ERR_NOTFOUND) {
        return rc;
    }
    return fflush(f->spool) || fseek(f->spool, 0, SEEK_SET)
               ? err_set(e, ERR_IO, "cannot write the temporary file: %s", strerror(errno))
               : 0;
}

static int open_files(struct bulk_file *f, const char *path)
{
    bool is_stdin = strcmp(path, "-") == 0;
    f->name = is_stdin ? "standard input" : path;
    f->in = is_stdin ? stdin : fopen(path, "rb");
    if (!f->in) {
        return err_set(&f->c->e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%s: %s", path,
                       strerror(errno));
    }
    f->spool = tmpfile();
    return f->spool
               ? 0
               : err_set(&f->c->e, ERR_IO, "cannot make a temporary file: %s", strerror(errno));
}

int bulk_open(struct cli *c, const char *path, bool skips_bad, struct bulk_file **ret)
{
    struct bulk_file *f = mem_new(sizeof *f);
    if (!f) {
        return err_set(&c->e, ERR_NOMEM, "out of memory");
    }
    f->c = c;
    buf_init(&f->text, LINE_MAX_BYTES);
    buf_init(&f->spec, MESSAGE_SPEC_MAX);
    buf_init(&f->element, 2 * MESSAGE_SUBMISSION_MAX);
    int rc = open_files(f, path);
    rc = rc ? rc : take_all(f);
    if (rc == 0 && f->bad > 0 && !skips_bad) {
        (void)fprintf(stderr,
                      "meridian submit: nothing was submitted: %zu of %zu lines are bad; mend "
                      "them, or leave them out with --skip-bad\n",
                      f->bad, f->bad + f->count);
        rc = CLI_FAILED;
    } else if (rc == 0 && f->bad > 0) {
        (void)fprintf(stderr, "meridian submit: %zu bad lines are left out\n", f->bad);
    }
    if (rc) {
        bulk_close(f);
        return rc;
    }
    *ret = f;
    return 0;
}

void bulk_close(struct bulk_file *f)
{
    if (f->in && f->in != stdin) {
        (void)fclose(f->in); /* only read */
    }
    if (f->spool) {
        (void)fclose(f->spool); /* nobody needs it any more */
    }
    buf_close(&f->text);
    buf_close(&f->spec);
    buf_close(&f->element);
    mem_free(f);
}

size_t bulk_count(const struct bulk_file *f)
{
    return f->count;
}

int bulk_next(void *data, struct stream_job *ret, struct err_buf *e)
{
    struct bulk_file *f = data;
    struct head head;
    if (fread(&head, sizeof head, 1, f->spool) != 1) {
        return ferror(f->spool) ? err_set(e, ERR_IO, "cannot read the temporary file")
                                : ERR_NOTFOUND;
    }
    buf_reset(&f->element);
    char *bytes = buf_reserve(&f->element, head.length);
    if (!bytes) {
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    if (fread(bytes, head.length, 1, f->spool) != 1) {
        return err_set(e, ERR_IO, "cannot read the temporary file");
    }
    buf_advance(&f->element, head.length);
    *ret = (struct stream_job){
        .element = buf_span(&f->element), .id = head.id, .line = head.line, .times = 1};
    return 0;
}
