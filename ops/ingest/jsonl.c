/*
 * JSON Lines: one object a line. A small strict parser (RFC 8259) that keeps only the three wanted
 * values; the rest is checked and passed over. Nesting is limited, so its recursion is, too.
 */
#include "common/base/mem.h"
#include "ops/ingest/ingest_int.h"

#include <string.h>

enum {
    DEPTH_MAX = 32,
    ESCAPED_BYTES = 6,            /* \u00e9 may stand for every character of a text */
    LINE_BYTES_EXTRA = 64 * 1024, /* for keys, ids, labels and values that we do not use */
    KEY_BYTES_MAX = 256,
};

struct cursor {
    const char *p;
    const char *end;
    struct buf *text; /* where decoded strings go; NULL = only check */
    int rc;           /* ERR_NOMEM or ERR_LIMIT of the buffer */
};

/* Scanning ---------------------------------------------------------------------------------- */

static void skip_space(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r' || *c->p == '\n')) {
        c->p++;
    }
}

static bool take_char(struct cursor *c, char wanted)
{
    if (c->p < c->end && *c->p == wanted) {
        c->p++;
        return true;
    }
    return false;
}

static bool take_word(struct cursor *c, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0) {
        return false;
    }
    c->p += n;
    return true;
}

static bool take_digits(struct cursor *c)
{
    const char *start = c->p;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9') {
        c->p++;
    }
    return c->p > start;
}

static bool take_number(struct cursor *c)
{
    (void)take_char(c, '-');
    if (!take_char(c, '0') && !take_digits(c)) {
        return false;
    }
    if (take_char(c, '.') && !take_digits(c)) {
        return false;
    }
    if (take_char(c, 'e') || take_char(c, 'E')) {
        if (!take_char(c, '+')) {
            (void)take_char(c, '-');
        }
        return take_digits(c);
    }
    return true;
}

static bool put(struct cursor *c, const char *data, size_t length)
{
    if (c->text && c->rc == 0) {
        c->rc = buf_add(c->text, data, length);
    }
    return c->rc == 0;
}

static bool take_hex4(struct cursor *c, unsigned *ret_value)
{
    unsigned value = 0;
    if (c->end - c->p < 4) {
        return false;
    }
    for (int i = 0; i < 4; i++) {
        char h = *c->p++;
        unsigned digit = h >= '0' && h <= '9'   ? (unsigned)(h - '0')
                         : h >= 'a' && h <= 'f' ? (unsigned)(h - 'a') + 10
                         : h >= 'A' && h <= 'F' ? (unsigned)(h - 'A') + 10
                                                : 16;
        if (digit == 16) {
            return false;
        }
        value = value * 16 + digit;
    }
    *ret_value = value;
    return true;
}

static bool put_code_point(struct cursor *c, unsigned u)
{
    char out[4];
    size_t n = 0;
    if (u < 0x80) {
        out[n++] = (char)u;
    } else if (u < 0x800) {
        out[n++] = (char)(0xc0 | (u >> 6));
        out[n++] = (char)(0x80 | (u & 0x3f));
    } else if (u < 0x10000) {
        out[n++] = (char)(0xe0 | (u >> 12));
        out[n++] = (char)(0x80 | ((u >> 6) & 0x3f));
        out[n++] = (char)(0x80 | (u & 0x3f));
    } else {
        out[n++] = (char)(0xf0 | (u >> 18));
        out[n++] = (char)(0x80 | ((u >> 12) & 0x3f));
        out[n++] = (char)(0x80 | ((u >> 6) & 0x3f));
        out[n++] = (char)(0x80 | (u & 0x3f));
    }
    return put(c, out, n);
}

/* After "\u". A surrogate must come as a pair. */
static bool take_unicode(struct cursor *c)
{
    unsigned u = 0;
    unsigned low = 0;
    if (!take_hex4(c, &u) || (u >= 0xdc00 && u <= 0xdfff)) {
        return false;
    }
    if (u >= 0xd800 && u <= 0xdbff) {
        if (!take_word(c, "\\u") || !take_hex4(c, &low) || low < 0xdc00 || low > 0xdfff) {
            return false;
        }
        u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
    }
    return put_code_point(c, u);
}

/* After the backslash. */
static bool take_escape(struct cursor *c)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    if (c->p == c->end) {
        return false;
    }
    char escaped = *c->p++;
    if (escaped == 'u') {
        return take_unicode(c);
    }
    const char *at = escaped ? strchr(from, escaped) : NULL;
    return at && put(c, &to[at - from], 1);
}

/* From the opening quote to the closing one. */
static bool take_string(struct cursor *c)
{
    if (!take_char(c, '"')) {
        return false;
    }
    for (;;) {
        const char *start = c->p;
        while (c->p < c->end && *c->p != '"' && *c->p != '\\' && (unsigned char)*c->p >= 0x20) {
            c->p++;
        }
        if (!put(c, start, (size_t)(c->p - start))) {
            return false;
        }
        if (take_char(c, '"')) {
            return true;
        }
        if (!take_char(c, '\\') || !take_escape(c)) {
            return false;
        }
    }
}

static bool skip_value(struct cursor *c, int depth);

/* Members of an object or elements of an array, after the opening bracket. */
static bool skip_members(struct cursor *c, char closing, int depth)
{
    skip_space(c);
    if (take_char(c, closing)) {
        return true;
    }
    do {
        skip_space(c);
        if (closing == '}') {
            if (!take_string(c)) {
                return false;
            }
            skip_space(c);
            if (!take_char(c, ':')) {
                return false;
            }
        }
        if (!skip_value(c, depth)) {
            return false;
        }
        skip_space(c);
    } while (take_char(c, ','));
    return take_char(c, closing);
}

static bool skip_value(struct cursor *c, int depth)
{
    skip_space(c);
    if (c->p == c->end || depth > DEPTH_MAX) {
        return false;
    }
    switch (*c->p) {
    case '"':
        return take_string(c);
    case '{':
        c->p++;
        return skip_members(c, '}', depth + 1);
    case '[':
        c->p++;
        return skip_members(c, ']', depth + 1);
    case 't':
        return take_word(c, "true");
    case 'f':
        return take_word(c, "false");
    case 'n':
        return take_word(c, "null");
    default:
        return take_number(c);
    }
}

/* One row ----------------------------------------------------------------------------------- */

struct found {
    bool is_there;
    size_t rank;
    size_t at; /* in the buffer of decoded strings */
    size_t length;
};

/* A value that we want: a string, a number as written, or null for "not there". */
static bool take_wanted(struct cursor *c, struct buf *text, struct found *f, bool *ret_is_typed)
{
    skip_space(c);
    size_t at = text->length;
    if (c->p == c->end) {
        return false;
    }
    const char *start = c->p;
    char kind = *start;
    c->text = kind == '"' ? text : NULL;
    bool is_ok = skip_value(c, 0);
    c->text = NULL;
    if (!is_ok) {
        return false;
    }
    if (kind == 'n') {
        f->is_there = false;
        return true;
    }
    if (kind == '{' || kind == '[' || kind == 't' || kind == 'f') {
        *ret_is_typed = false;
        return true;
    }
    if (kind != '"') {
        c->rc = buf_add(text, start, (size_t)(c->p - start));
    }
    f->is_there = true;
    f->at = at;
    f->length = text->length - at;
    return c->rc == 0;
}

/* Which wanted column the key at the cursor is, or -1; leaves the cursor behind the colon. */
static bool take_key(const struct ingest *in, struct cursor *c, struct buf *text, int *ret_column,
                     size_t *ret_rank)
{
    size_t at = text->length;
    skip_space(c);
    c->text = text;
    bool is_ok = take_string(c);
    c->text = NULL;
    if (!is_ok) {
        return false;
    }
    size_t length = text->length - at;
    *ret_column = length > 0 && length <= KEY_BYTES_MAX
                      ? ingest__match(in, span_make(text->data + at, length), ret_rank)
                      : -1;
    text->length = at;
    skip_space(c);
    return take_char(c, ':');
}

static bool take_member(const struct ingest *in, struct cursor *c, struct buf *text,
                        struct found found[INGEST__WANTED], bool *ret_is_typed)
{
    int column = -1;
    size_t rank = 0;
    if (!take_key(in, c, text, &column, &rank)) {
        return false;
    }
    if (column < 0 || (found[column].is_there && rank > found[column].rank)) {
        return skip_value(c, 1);
    }
    found[column].rank = rank;
    return take_wanted(c, text, &found[column], ret_is_typed);
}

static bool take_object(const struct ingest *in, struct cursor *c, struct buf *text,
                        struct found found[INGEST__WANTED], bool *ret_is_typed)
{
    skip_space(c);
    if (!take_char(c, '{')) {
        return false;
    }
    skip_space(c);
    if (!take_char(c, '}')) {
        do {
            if (!take_member(in, c, text, found, ret_is_typed)) {
                return false;
            }
            skip_space(c);
        } while (take_char(c, ','));
        if (!take_char(c, '}')) {
            return false;
        }
    }
    skip_space(c);
    return c->p == c->end;
}

static struct span found_span(const struct buf *text, const struct found *f)
{
    if (!f->is_there) {
        return span_make(NULL, 0);
    }
    return f->length > 0 ? span_make(text->data + f->at, f->length) : span_make("", 0);
}

static bool is_blank(struct span line)
{
    struct cursor c = {.p = line.data, .end = line.data + line.length};
    skip_space(&c);
    return c.p == c.end;
}

static int read_line(struct ingest *in, struct span line, struct err_buf *e)
{
    struct jsonl *j = &in->jsonl;
    struct found found[INGEST__WANTED] = {{0}};
    struct cursor c = {.p = line.data, .end = line.data + line.length};
    bool is_typed = true;
    if (line.length == 0 || is_blank(line)) {
        return 0;
    }
    buf_reset(&j->text);
    bool is_ok = take_object(in, &c, &j->text, found, &is_typed);
    if (c.rc == ERR_NOMEM) {
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    if (!is_ok || !is_typed) {
        ingest__report(in, j->number, is_ok ? INGEST_FAULT_TYPE : INGEST_FAULT_JSON);
        return 0;
    }
    return ingest__emit(in, j->number, found_span(&j->text, &found[INGEST__ID]),
                        found_span(&j->text, &found[INGEST__TEXT]),
                        found_span(&j->text, &found[INGEST__LABEL]), e);
}

/* Lines ------------------------------------------------------------------------------------- */

void jsonl__init(struct ingest *in)
{
    struct jsonl *j = &in->jsonl;
    *j = (struct jsonl){.number = 1};
    size_t max = in->options.text_bytes_max * ESCAPED_BYTES + LINE_BYTES_EXTRA;
    buf_init(&j->line, max);
    buf_init(&j->text, max);
}

void jsonl__close(struct ingest *in)
{
    buf_close(&in->jsonl.line);
    buf_close(&in->jsonl.text);
}

/* A piece of a line that does not end in this block, or the rest of one that began before. */
static int collect(struct jsonl *j, struct span piece, struct err_buf *e)
{
    if (j->is_long) {
        return 0;
    }
    int rc = buf_add(&j->line, piece.data, piece.length);
    if (rc == ERR_LIMIT) {
        j->is_long = true;
        buf_reset(&j->line);
        return 0;
    }
    return rc ? err_set(e, rc, "out of memory") : 0;
}

static int end_line(struct ingest *in, struct span piece, struct err_buf *e)
{
    struct jsonl *j = &in->jsonl;
    int rc = 0;
    if (j->line.length == 0 && !j->is_long && piece.length <= j->line.limit) {
        rc = read_line(in, piece, e); /* the usual case: no copy */
    } else {
        rc = collect(j, piece, e);
        if (rc == 0 && j->is_long) {
            ingest__report(in, j->number, INGEST_FAULT_LONG);
        } else if (rc == 0) {
            rc = read_line(in, buf_span(&j->line), e);
        }
    }
    buf_reset(&j->line);
    j->is_long = false;
    if (rc == 0) {
        j->number++;
    }
    return rc;
}

int jsonl__feed(struct ingest *in, struct span bytes, struct err_buf *e)
{
    const char *p = bytes.data;
    const char *end = bytes.data + bytes.length;
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        if (!newline) {
            return collect(&in->jsonl, span_make(p, (size_t)(end - p)), e);
        }
        int rc = end_line(in, span_make(p, (size_t)(newline - p)), e);
        if (rc) {
            return rc;
        }
        p = newline + 1;
    }
    return 0;
}

int jsonl__finish(struct ingest *in, struct err_buf *e)
{
    if (in->jsonl.line.length == 0 && !in->jsonl.is_long) {
        return 0;
    }
    return end_line(in, span_make("", 0), e);
}
