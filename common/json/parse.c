/*
 * Trees: a thin layer over jansson. A struct json is jansson's json_t.
 *
 * Before jansson sees the text, a scan over its brackets and commas bounds depth and the number of
 * values, since both cost it memory or stack. jansson's messages quote the input, which may hold
 * texts of customers, so messages are made here from its error codes.
 */
#include "common/json/json.h"

#include "common/base/mem.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

const struct json_limits json_limits_spec = {
    .bytes_max = 64 * 1024, .depth_max = 8, .values_max = 4096};
const struct json_limits json_limits_result = {
    .bytes_max = 32 * 1024 * 1024, .depth_max = 16, .values_max = 1000000};
const struct json_limits json_limits_line = {
    .bytes_max = 1024 * 1024, .depth_max = 16, .values_max = 4096};

/* The cast to jansson's type drops const where jansson's readers lack it; they do not write. */
static json_t *tree(const struct json *value)
{
    return (json_t *)(uintptr_t)value;
}

static struct json *own(json_t *value)
{
    return (struct json *)value;
}

/* --- parsing --------------------------------------------------------------------------------- */

struct place {
    size_t line, column; /* from 1; column in bytes */
};

static struct place place_of(struct span text, size_t at)
{
    struct place p = {1, 1};
    for (size_t i = 0; i < at && i < text.length; i++) {
        p.column++;
        if (text.data[i] == '\n') {
            p = (struct place){p.line + 1, 1};
        }
    }
    return p;
}

static int refuse(struct span text, size_t at, int code, const char *what, size_t limit,
                  struct err_buf *e)
{
    struct place p = place_of(text, at);
    return err_set(e, code, "line %zu, column %zu: %s %zu", p.line, p.column, what, limit);
}

/* The offset behind the string that starts at at. */
static size_t skip_string(struct span text, size_t at)
{
    for (at++; at < text.length && text.data[at] != '"'; at++) {
        at += text.data[at] == '\\';
    }
    return at + 1;
}

static int check_limits(struct span text, const struct json_limits *limits, struct err_buf *e)
{
    if (text.length > limits->bytes_max) {
        return err_set(e, ERR_LIMIT, "%zu bytes, the limit is %zu", text.length, limits->bytes_max);
    }
    size_t depth = 0;
    size_t values = 1;
    for (size_t at = 0; at < text.length;) {
        char c = text.data[at];
        if (c == '"') {
            at = skip_string(text, at);
            continue;
        }
        if (c == '[' || c == '{') {
            depth++;
            values++;
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        } else if (c == ',') {
            values++;
        }
        if (depth > limits->depth_max) {
            return refuse(text, at, ERR_LIMIT, "lists and maps inside each other deeper than",
                          limits->depth_max, e);
        }
        if (values > limits->values_max) {
            return refuse(text, at, ERR_LIMIT, "more values than", limits->values_max, e);
        }
        at++;
    }
    return 0;
}

/* jansson's reason without the input it quotes. */
static const char *reason_of(enum json_error_code code)
{
    switch (code) {
    case json_error_premature_end_of_input:
        return "the text ends too early";
    case json_error_end_of_input_expected:
        return "something follows the end of the value";
    case json_error_invalid_utf8:
        return "not UTF-8";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "a NUL character";
    case json_error_duplicate_key:
        return "a key is given twice";
    case json_error_numeric_overflow:
        return "a number is too large";
    default:
        return "not JSON";
    }
}

int json_parse(struct span text, const struct json_limits *limits, struct json **ret,
               struct err_buf *e)
{
    int rc = check_limits(text, limits, e);
    if (rc) {
        return rc;
    }
    json_error_t error;
    json_t *root = json_loadb(text.length ? text.data : "", text.length,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!root) {
        enum json_error_code code = json_error_code(&error);
        if (code == json_error_out_of_memory) {
            return err_set(e, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
        }
        return err_set(e, ERR_PARSE, "line %d, column %d: %s", error.line > 0 ? error.line : 1,
                       error.column > 0 ? error.column : 1, reason_of(code));
    }
    *ret = own(root);
    return 0;
}

void json_free(struct json *root)
{
    json_decref(tree(root));
}

/* --- reading --------------------------------------------------------------------------------- */

enum json_kind json_kind_of(const struct json *value)
{
    if (!value) {
        return JSON_KIND_NONE;
    }
    switch (json_typeof(tree(value))) {
    case JSON_OBJECT:
        return JSON_KIND_MAP;
    case JSON_ARRAY:
        return JSON_KIND_LIST;
    case JSON_STRING:
        return JSON_KIND_TEXT;
    case JSON_INTEGER:
        return JSON_KIND_INTEGER;
    case JSON_REAL:
        return JSON_KIND_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_KIND_BOOL;
    default:
        return JSON_KIND_NULL;
    }
}

const char *json_kind_name(enum json_kind kind)
{
    static const char *const names[JSON_KIND_COUNT] = {
        [JSON_KIND_NONE] = "nothing",   [JSON_KIND_NULL] = "null",
        [JSON_KIND_BOOL] = "a boolean", [JSON_KIND_INTEGER] = "an integer",
        [JSON_KIND_REAL] = "a number",  [JSON_KIND_TEXT] = "a text",
        [JSON_KIND_LIST] = "a list",    [JSON_KIND_MAP] = "a map",
    };
    return (unsigned)kind < JSON_KIND_COUNT ? names[kind] : "unknown";
}

const struct json *json_get(const struct json *map, const char *key)
{
    return own(json_object_get(tree(map), key)); /* NULL for what is no object */
}

size_t json_count(const struct json *value)
{
    enum json_kind kind = json_kind_of(value);
    return kind == JSON_KIND_MAP    ? json_object_size(tree(value))
           : kind == JSON_KIND_LIST ? json_array_size(tree(value))
                                    : 0;
}

const struct json *json_at(const struct json *list, size_t index)
{
    return own(json_array_get(tree(list), index));
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int json_each(const struct json *map,
              int (*visit)(const char *key, const struct json *value, void *data), void *data)
{
    size_t count = json_kind_of(map) == JSON_KIND_MAP ? json_count(map) : 0;
    const char **keys = mem_new_array(count, sizeof *keys);
    if (!keys) {
        return ERR_NOMEM;
    }
    size_t filled = 0;
    for (void *i = json_object_iter(tree(map)); i; i = json_object_iter_next(tree(map), i)) {
        keys[filled++] = json_object_iter_key(i);
    }
    if (count > 1) {
        qsort(keys, count, sizeof *keys, compare_keys);
    }
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = visit(keys[i], json_get(map, keys[i]), data);
    }
    mem_free(keys);
    return rc;
}

int64_t json_integer_or(const struct json *value, int64_t fallback)
{
    return json_kind_of(value) == JSON_KIND_INTEGER ? json_integer_value(tree(value)) : fallback;
}

double json_real_or(const struct json *value, double fallback)
{
    enum json_kind kind = json_kind_of(value);
    return kind == JSON_KIND_REAL || kind == JSON_KIND_INTEGER ? json_number_value(tree(value))
                                                               : fallback;
}

bool json_bool_or(const struct json *value, bool fallback)
{
    return json_kind_of(value) == JSON_KIND_BOOL ? json_is_true(tree(value)) : fallback;
}

const char *json_text_or(const struct json *value, const char *fallback)
{
    return json_kind_of(value) == JSON_KIND_TEXT ? json_string_value(tree(value)) : fallback;
}

struct span json_span(const struct json *value)
{
    if (json_kind_of(value) != JSON_KIND_TEXT) {
        return (struct span){.data = NULL};
    }
    return span_make(json_string_value(tree(value)), json_string_length(tree(value)));
}

int json_dump(const struct json *value, struct buf *out)
{
    size_t before = out->length;
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_tree(&w, NULL, value);
    int rc = json_writer_finish(&w);
    if (rc) {
        buf_truncate(out, before);
    }
    return rc;
}

/* --- building -------------------------------------------------------------------------------- */

struct json *json_new_map(void)
{
    return own(json_object());
}

struct json *json_new_list(void)
{
    return own(json_array());
}

struct json *json_new_null(void)
{
    return own(json_null());
}

struct json *json_new_bool(bool value)
{
    return own(json_boolean(value));
}

struct json *json_new_integer(int64_t value)
{
    return own(json_integer(value));
}

struct json *json_new_real(double value)
{
    return own(json_real(value));
}

struct json *json_new_text(struct span text)
{
    return own(json_stringn(text.length ? text.data : "", text.length));
}

struct json *json_copy_of(const struct json *value)
{
    return own(json_deep_copy(tree(value)));
}

int json_set(struct json *map, const char *key, struct json *value)
{
    return json_object_set_new(tree(map), key, tree(value)) ? ERR_NOMEM : 0;
}

int json_append(struct json *list, struct json *value)
{
    return json_array_append_new(tree(list), tree(value)) ? ERR_NOMEM : 0;
}

void json_remove(struct json *map, const char *key)
{
    (void)json_object_del(tree(map), key); /* not being there is fine */
}
