/* JSON straight into a buffer: commas and brackets by a small stack, numbers that read back equal.
 */
#include "common/json/json.h"

#include "common/base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(struct json_writer *w, const void *data, size_t length)
{
    if (w->rc == 0) {
        w->rc = buf_add(w->out, data, length);
    }
}

static void put_escaped(struct json_writer *w, unsigned char c)
{
    static const char names[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
                                 ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'};
    if (c < sizeof names && names[c]) {
        const char escape[2] = {'\\', names[c]};
        put(w, escape, sizeof escape);
    } else if (w->rc == 0) {
        w->rc = buf_add_format(w->out, "\\u%04x", c);
    }
}

static void put_string(struct json_writer *w, struct span text)
{
    const unsigned char *p = (const unsigned char *)text.data;
    size_t start = 0;
    size_t at = 0;
    put(w, "\"", 1);
    while (at < text.length && w->rc == 0) {
        size_t count = utf8_sequence_bytes(p + at, text.length - at);
        if (count == 0) {
            w->rc = ERR_INVALID;
            return;
        }
        if (p[at] < 0x20 || p[at] == '"' || p[at] == '\\') {
            put(w, p + start, at - start);
            put_escaped(w, p[at]);
            start = at + 1;
        }
        at += count;
    }
    if (at > start) {
        put(w, p + start, at - start);
    }
    put(w, "\"", 1);
}

/* Comma and key. */
static void begin(struct json_writer *w, const char *key)
{
    if (w->has_element[w->depth]) {
        if (w->depth == 0) {
            w->rc = w->rc ? w->rc : ERR_INVALID; /* one outermost value only */
        }
        put(w, ",", 1);
    }
    w->has_element[w->depth] = true;
    if (key) {
        put_string(w, span_of(key));
        put(w, ":", 1);
    }
}

static void open_level(struct json_writer *w, const char *key, const char *opening, char closing)
{
    begin(w, key);
    if (w->depth == JSON_WRITER_DEPTH_MAX) {
        w->rc = w->rc ? w->rc : ERR_LIMIT;
        return;
    }
    put(w, opening, 1);
    w->closing[w->depth++] = closing;
    w->has_element[w->depth] = false;
}

void json_writer_init(struct json_writer *w, struct buf *out)
{
    *w = (struct json_writer){.out = out};
}

void json_write_map(struct json_writer *w, const char *key)
{
    open_level(w, key, "{", '}');
}

void json_write_list(struct json_writer *w, const char *key)
{
    open_level(w, key, "[", ']');
}

void json_write_end(struct json_writer *w)
{
    if (w->depth == 0) {
        w->rc = w->rc ? w->rc : ERR_INVALID;
        return;
    }
    w->depth--;
    put(w, &w->closing[w->depth], 1);
}

void json_write_text(struct json_writer *w, const char *key, struct span text)
{
    begin(w, key);
    put_string(w, text);
}

void json_write_integer(struct json_writer *w, const char *key, int64_t value)
{
    begin(w, key);
    if (w->rc == 0) {
        w->rc = buf_add_format(w->out, "%" PRId64, value);
    }
}

void json_write_real(struct json_writer *w, const char *key, double value)
{
    if (!isfinite(value)) {
        json_write_null(w, key);
        return;
    }
    char text[40];
    (void)snprintf(text, sizeof text, "%.15g", value);
    if (strtod(text, NULL) != value) {
        (void)snprintf(text, sizeof text, "%.17g", value);
    }
    begin(w, key);
    put(w, text, strlen(text));
    if (!strpbrk(text, ".e")) {
        put(w, ".0", 2); /* stays a real when read */
    }
}

void json_write_bool(struct json_writer *w, const char *key, bool value)
{
    begin(w, key);
    put(w, value ? "true" : "false", value ? 4 : 5);
}

void json_write_null(struct json_writer *w, const char *key)
{
    begin(w, key);
    put(w, "null", 4);
}

void json_write_raw(struct json_writer *w, const char *key, struct span json)
{
    begin(w, key);
    put(w, json.data, json.length);
}

static int on_member(const char *key, const struct json *value, void *data)
{
    struct json_writer *w = data;
    json_write_tree(w, key, value);
    return w->rc;
}

/* Recursion is bounded by the writer's depth. */
void json_write_tree(struct json_writer *w, const char *key, const struct json *value)
{
    switch (json_kind_of(value)) {
    case JSON_KIND_MAP:
        json_write_map(w, key);
        if (w->rc == 0) {
            w->rc = json_each(value, on_member, w);
        }
        json_write_end(w);
        break;
    case JSON_KIND_LIST:
        json_write_list(w, key);
        for (size_t i = 0; i < json_count(value) && w->rc == 0; i++) {
            json_write_tree(w, NULL, json_at(value, i));
        }
        json_write_end(w);
        break;
    case JSON_KIND_TEXT:
        json_write_text(w, key, json_span(value));
        break;
    case JSON_KIND_INTEGER:
        json_write_integer(w, key, json_integer_or(value, 0));
        break;
    case JSON_KIND_REAL:
        json_write_real(w, key, json_real_or(value, 0));
        break;
    case JSON_KIND_BOOL:
        json_write_bool(w, key, json_bool_or(value, false));
        break;
    default:
        json_write_null(w, key);
        break;
    }
}

int json_writer_finish(const struct json_writer *w)
{
    return w->rc ? w->rc : w->depth > 0 ? ERR_INVALID : 0;
}
