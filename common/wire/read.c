/*
 * Reading a map by a table of fields, in place, over bytes that have passed wire_check.
 */
#include "common/wire/wire_int.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *const kind_names[WIRE__KIND_COUNT] = {
    [WIRE__NULL] = "null",      [WIRE__BOOL] = "a boolean", [WIRE__INTEGER] = "an integer",
    [WIRE__REAL] = "a real",    [WIRE__TEXT] = "text",      [WIRE__BYTES] = "bytes",
    [WIRE__ARRAY] = "an array", [WIRE__MAP] = "a map",      [WIRE__EXTENSION] = "an extension",
};

static const char *const type_names[WIRE_TYPE_COUNT] = {
    [WIRE_TEXT] = "text",          [WIRE_NAME] = "text",   [WIRE_BYTES] = "bytes",
    [WIRE_INTEGER] = "an integer", [WIRE_REAL] = "a real", [WIRE_BOOL] = "a boolean",
    [WIRE_ARRAY] = "an array",     [WIRE_MAP] = "a map",
};

static struct span body_of(struct span bytes, const struct wire__item *item)
{
    return span_make(bytes.data + item->body, item->length);
}

static int refuse_type(const struct wire_field *f, const struct wire__item *item, struct err_buf *e)
{
    return err_set(e, ERR_PARSE, "field \"%s\": expected %s, got %s", f->name, type_names[f->type],
                   kind_names[item->kind]);
}

static int check_length(const struct wire_field *f, size_t length, struct err_buf *e)
{
    if (f->max >= 0 && (uint64_t)length > (uint64_t)f->max) {
        return err_set(e, ERR_PARSE, "field \"%s\": %zu is longer than %" PRId64, f->name, length,
                       f->max);
    }
    if (f->min > 0 && (uint64_t)length < (uint64_t)f->min) {
        return err_set(e, ERR_PARSE, "field \"%s\": %zu is shorter than %" PRId64, f->name, length,
                       f->min);
    }
    return 0;
}

static int read_text(const struct wire_field *f, struct span text, struct err_buf *e)
{
    int rc = check_length(f, text.length, e);
    if (rc) {
        return rc;
    }
    if (!wire_text_is_valid(text)) {
        return err_set(e, ERR_PARSE, "field \"%s\": not UTF-8, or with a NUL", f->name);
    }
    if (f->type == WIRE_NAME) {
        char *name = f->ret;
        memcpy(name, text.data, text.length);
        name[text.length] = '\0';
    } else {
        *(struct span *)f->ret = text;
    }
    return 0;
}

static int read_integer(const struct wire_field *f, const struct wire__item *item,
                        struct err_buf *e)
{
    if (item->is_huge || item->integer < f->min || item->integer > f->max) {
        return err_set(e, ERR_PARSE, "field \"%s\": not within %" PRId64 " and %" PRId64, f->name,
                       f->min, f->max);
    }
    *(int64_t *)f->ret = item->integer;
    return 0;
}

static int read_real(const struct wire_field *f, const struct wire__item *item, struct err_buf *e)
{
    double value = item->kind == WIRE__REAL ? item->real : (double)item->integer;
    if (!isfinite(value)) {
        return err_set(e, ERR_PARSE, "field \"%s\": not finite", f->name);
    }
    *(double *)f->ret = value;
    return 0;
}

static int read_array(struct span bytes, const struct wire_field *f, const struct wire__item *item,
                      struct err_buf *e)
{
    int rc = check_length(f, item->children, e);
    if (rc == 0) {
        size_t end = wire__skip(bytes, item->start);
        *(struct wire_array *)f->ret = (struct wire_array){
            .bytes = span_make(bytes.data + item->body, end - item->body),
            .count = item->children,
        };
    }
    return rc;
}

/* One bit for each kind that a type takes. */
static const unsigned accepted[WIRE_TYPE_COUNT] = {
    [WIRE_TEXT] = 1u << WIRE__TEXT,
    [WIRE_NAME] = 1u << WIRE__TEXT,
    [WIRE_BYTES] = 1u << WIRE__TEXT | 1u << WIRE__BYTES,
    [WIRE_INTEGER] = 1u << WIRE__INTEGER,
    [WIRE_REAL] = 1u << WIRE__REAL | 1u << WIRE__INTEGER,
    [WIRE_BOOL] = 1u << WIRE__BOOL,
    [WIRE_ARRAY] = 1u << WIRE__ARRAY,
    [WIRE_MAP] = 1u << WIRE__MAP,
};

static int read_value(struct span bytes, const struct wire_field *f, const struct wire__item *item,
                      struct err_buf *e)
{
    if ((accepted[f->type] & 1u << item->kind) == 0) {
        return refuse_type(f, item, e);
    }
    int rc = 0;
    switch (f->type) {
    case WIRE_TEXT:
    case WIRE_NAME:
        return read_text(f, body_of(bytes, item), e);
    case WIRE_BYTES:
        rc = check_length(f, item->length, e);
        if (rc == 0) {
            *(struct span *)f->ret = body_of(bytes, item);
        }
        return rc;
    case WIRE_INTEGER:
        return read_integer(f, item, e);
    case WIRE_REAL:
        return read_real(f, item, e);
    case WIRE_BOOL:
        *(bool *)f->ret = item->integer != 0;
        return 0;
    case WIRE_ARRAY:
        return read_array(bytes, f, item, e);
    case WIRE_MAP:
        *(struct span *)f->ret =
            span_make(bytes.data + item->start, wire__skip(bytes, item->start) - item->start);
        return 0;
    default:
        return err_set(e, ERR_INTERNAL, "field \"%s\": unknown type in its table", f->name);
    }
}

static const struct wire_field *find_field(const struct wire_field *fields, size_t count,
                                           struct span key)
{
    for (size_t i = 0; i < count; i++) {
        if (span_is(key, fields[i].name)) {
            return &fields[i];
        }
    }
    return NULL;
}

/* Keys are remembered to find repetitions; at most WIRE_KEYS_MAX, so comparing all pairs is fine.
 */
struct keys {
    struct span seen[WIRE_KEYS_MAX];
    size_t count;
};

static int add_key(struct keys *k, struct span key, const struct wire_field *field,
                   struct err_buf *e)
{
    for (size_t i = 0; i < k->count; i++) {
        if (span_equals(k->seen[i], key)) {
            return field ? err_set(e, ERR_PARSE, "field \"%s\": given twice", field->name)
                         : err_set(e, ERR_PARSE, "member %zu: its key was given before",
                                   k->count + 1);
        }
    }
    k->seen[k->count++] = key;
    return 0;
}

static int check_required(const struct wire_field *fields, size_t count, const struct keys *k,
                          const bool *is_null, struct err_buf *e)
{
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        for (size_t j = 0; j < k->count && fields[i].is_required && !found; j++) {
            found = !is_null[j] && span_is(k->seen[j], fields[i].name);
        }
        if (fields[i].is_required && !found) {
            return err_set(e, ERR_PARSE, "field \"%s\": missing", fields[i].name);
        }
    }
    return 0;
}

/* The member at offset *at: its key, then its value. */
static int read_member(struct span bytes, size_t *at, const struct wire_field *fields, size_t count,
                       struct keys *k, bool *ret_is_null, struct err_buf *e)
{
    struct wire__item key;
    struct wire__item value;
    int rc = wire__item_at(bytes, *at, &key);
    if (rc == 0 && key.kind != WIRE__TEXT) {
        return err_set(e, ERR_PARSE, "member %zu: its key is not text", k->count + 1);
    }
    CHECK(rc == 0);
    const struct wire_field *f = find_field(fields, count, body_of(bytes, &key));
    rc = add_key(k, body_of(bytes, &key), f, e);
    if (rc) {
        return rc;
    }
    size_t value_at = key.body + key.length;
    rc = wire__item_at(bytes, value_at, &value);
    CHECK(rc == 0);
    *ret_is_null = value.kind == WIRE__NULL;
    *at = wire__skip(bytes, value_at);
    if (!f || value.kind == WIRE__NULL) {
        return 0;
    }
    rc = read_value(bytes, f, &value, e);
    if (rc == 0 && f->ret_has) {
        *f->ret_has = true;
    }
    return rc;
}

int wire_read(struct span bytes, const struct wire_field *fields, size_t count, struct err_buf *e)
{
    int rc = wire_check(bytes, e);
    if (rc) {
        return rc;
    }
    struct wire__item map;
    rc = wire__item_at(bytes, 0, &map);
    CHECK(rc == 0);
    if (map.kind != WIRE__MAP) {
        return err_set(e, ERR_PARSE, "expected a map, got %s", kind_names[map.kind]);
    }
    if (map.children / 2 > WIRE_KEYS_MAX) {
        return err_set(e, ERR_LIMIT, "a map with more than %d members", WIRE_KEYS_MAX);
    }
    struct keys k = {.count = 0};
    bool is_null[WIRE_KEYS_MAX] = {false};
    size_t at = map.body;
    for (uint64_t i = 0; i < map.children / 2; i++) {
        rc = read_member(bytes, &at, fields, count, &k, &is_null[i], e);
        if (rc) {
            return rc;
        }
    }
    return check_required(fields, count, &k, is_null, e);
}

/* --- arrays ---------------------------------------------------------------------------------- */

static int next_item(struct wire_array *array, struct wire__item *ret, struct span *ret_bytes)
{
    if (array->count == 0) {
        return ERR_NOTFOUND;
    }
    *ret_bytes = array->bytes;
    int rc = wire__item_at(array->bytes, 0, ret);
    CHECK(rc == 0);
    size_t length = wire__skip(array->bytes, 0);
    array->bytes = span_make(array->bytes.data + length, array->bytes.length - length);
    array->count--;
    return 0;
}

static int next_typed(struct wire_array *array, const struct wire_field *f, struct err_buf *e)
{
    struct wire__item item;
    struct span bytes;
    int rc = next_item(array, &item, &bytes);
    return rc ? rc : read_value(bytes, f, &item, e);
}

int wire_next_text(struct wire_array *array, const char *name, size_t bytes_max, struct span *ret,
                   struct err_buf *e)
{
    struct wire_field f = {.name = name, .type = WIRE_TEXT, .max = (int64_t)bytes_max, .ret = ret};
    return next_typed(array, &f, e);
}

int wire_next_integer(struct wire_array *array, const char *name, int64_t *ret, struct err_buf *e)
{
    struct wire_field f = {
        .name = name, .type = WIRE_INTEGER, .min = INT64_MIN, .max = INT64_MAX, .ret = ret};
    return next_typed(array, &f, e);
}

int wire_next_real(struct wire_array *array, const char *name, double *ret, struct err_buf *e)
{
    struct wire_field f = {.name = name, .type = WIRE_REAL, .ret = ret};
    return next_typed(array, &f, e);
}

int wire_next_value(struct wire_array *array, struct span *ret, struct err_buf *e)
{
    struct wire__item item;
    struct span bytes;
    int rc = next_item(array, &item, &bytes);
    if (rc) {
        return rc;
    }
    (void)e; /* the bytes are checked: only the end can be met */
    *ret = span_make(bytes.data, (size_t)(array->bytes.data - bytes.data));
    return 0;
}
