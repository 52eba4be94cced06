/* Cells lie in one buffer; widths are kept by column while they are added. */
#include "ops/cli/table.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "ops/cli/width.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

enum {
    COLUMNS_MAX = 128,
    BYTES_MAX = 1 << 30,
    GAP = 2,          /* between columns */
    SENTENCE = 60,    /* to which sentences give way to further columns */
    SENTENCE_MIN = 16 /* to which the last one is cut; with less it would say nothing */
};

struct cell {
    size_t at;
    uint32_t length;
    uint32_t width;
};

struct table {
    struct buf bytes;
    struct cell head[COLUMNS_MAX];
    size_t columns;
    size_t shown; /* of columns, from the left; the others do not fit */
    size_t width[COLUMNS_MAX];
    bool has_sentences[COLUMNS_MAX]; /* words with spaces between: may be cut */
    bool has_words[COLUMNS_MAX];     /* a value that is no number */
    bool has_others[COLUMNS_MAX];    /* a value that is neither "t" nor "f" */
    struct cell *cells;
    size_t count;
    size_t capacity;
};

struct table *table_new(void)
{
    struct table *t = mem_new(sizeof *t);
    if (t) {
        buf_init(&t->bytes, BYTES_MAX);
    }
    return t;
}

void table_free(struct table *t)
{
    if (t) {
        buf_close(&t->bytes);
        mem_free(t->cells);
        mem_free(t);
    }
}

struct span table_shorten(struct span v)
{
    if (v.length >= 22 && v.data[4] == '-' && v.data[7] == '-' && v.data[10] == ' ' &&
        v.data[13] == ':' && v.data[16] == ':' && v.data[v.length - 3] == '+' &&
        v.data[v.length - 2] == '0' && v.data[v.length - 1] == '0') {
        v.length = 19;
    }
    return v;
}

static int add_bytes(struct table *t, struct span v, struct cell *ret)
{
    ret->at = t->bytes.length;
    ret->length = (uint32_t)v.length;
    int rc = buf_add(&t->bytes, v.data, v.length);
    if (rc) {
        return rc;
    }
    char *p = t->bytes.data + ret->at;
    for (size_t i = 0; i < v.length; i++) {
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f) {
            p[i] = ' ';
        }
    }
    ret->width = (uint32_t)width_of(span_make(p, v.length));
    return 0;
}

int table_add_column(struct table *t, const char *name)
{
    if (t->columns == COLUMNS_MAX || t->count > 0) {
        return ERR_LIMIT;
    }
    int rc = add_bytes(t, span_of(name), &t->head[t->columns]);
    if (rc == 0) {
        t->width[t->columns] = t->head[t->columns].width;
        t->shown = ++t->columns;
    }
    return rc;
}

static bool is_number(struct span v)
{
    size_t i = v.length > 0 && (v.data[0] == '-' || v.data[0] == '+');
    bool has_digit = false;
    for (; i < v.length; i++) {
        has_digit = has_digit || isdigit((unsigned char)v.data[i]);
        if (!isdigit((unsigned char)v.data[i]) && v.data[i] != '.' && v.data[i] != 'e' &&
            v.data[i] != '-' && v.data[i] != '+') {
            return false;
        }
    }
    return has_digit && v.data[v.length - 1] != '-' &&
           !(v.length == 10 && v.data[4] == '-' && v.data[7] == '-');
}

static int grow(struct table *t)
{
    if (t->count < t->capacity) {
        return 0;
    }
    size_t capacity = t->capacity ? t->capacity * 2 : 256;
    struct cell *cells = mem_resize_array(t->cells, capacity, sizeof *cells);
    if (!cells) {
        return ERR_NOMEM;
    }
    t->cells = cells;
    t->capacity = capacity;
    return 0;
}

int table_add_cell(struct table *t, struct span value)
{
    if (t->columns == 0) {
        return ERR_INVALID;
    }
    size_t column = t->count % t->columns;
    int rc = grow(t);
    if (rc) {
        return rc;
    }
    struct span whole = value;
    value = table_shorten(value);
    bool is_time = value.length != whole.length;
    rc = add_bytes(t, value, &t->cells[t->count]);
    if (rc) {
        return rc;
    }
    if (value.length > 0) {
        t->has_words[column] = t->has_words[column] || !is_number(value);
        t->has_others[column] =
            t->has_others[column] || !(span_is(value, "t") || span_is(value, "f"));
        t->has_sentences[column] =
            t->has_sentences[column] || (!is_time && memchr(value.data, ' ', value.length));
    }
    if (t->cells[t->count].width > t->width[column]) {
        t->width[column] = t->cells[t->count].width;
    }
    t->count++;
    return 0;
}

size_t table_rows(const struct table *t)
{
    return t->columns ? t->count / t->columns : 0;
}

/* A column of nothing but PostgreSQL's t and f is one of truths. */
static bool is_truths(const struct table *t, size_t column)
{
    return t->has_words[column] && !t->has_others[column];
}

static size_t column_width(const struct table *t, size_t column)
{
    size_t width = t->width[column];
    return is_truths(t, column) && width < 3 ? 3 : width;
}

static size_t least_width(const struct table *t, size_t column)
{
    size_t width = column_width(t, column);
    return t->has_sentences[column] && width > SENTENCE ? SENTENCE : width;
}

/* Widens the cut sentences again, from the left, by what is left of the line. */
static void share_room(struct table *t, size_t room)
{
    for (size_t c = 0; c < t->shown; c++) {
        size_t least = least_width(t, c);
        size_t more = column_width(t, c) - least;
        more = more < room ? more : room;
        room -= more;
        t->width[c] = least + more;
    }
}

size_t table_fit(struct table *t, size_t width)
{
    size_t used = 0;
    size_t fits = 0;
    for (size_t c = 0; c < t->columns; c++) {
        size_t next = used + (c ? GAP : 0) + least_width(t, c);
        if (next > width && c > 0) {
            size_t room = width > used + GAP ? width - used - GAP : 0;
            if (t->has_sentences[c] && room >= SENTENCE_MIN) {
                t->width[c] = room;
                used = width;
                fits++;
            }
            break;
        }
        used = next;
        fits++;
    }
    t->shown = fits;
    share_room(t, used < width ? width - used : 0);
    return t->columns - fits;
}

size_t table_columns(const struct table *t)
{
    return t->columns;
}

struct span table_column_name(const struct table *t, size_t column)
{
    return span_make(t->bytes.data + t->head[column].at, t->head[column].length);
}

static void print_cell(const struct table *t, size_t column, struct cell cell, FILE *out)
{
    struct span text = span_make(t->bytes.data + cell.at, cell.length);
    size_t used = cell.width;
    bool is_cut = used > column_width(t, column);
    if (is_truths(t, column) && cell.length == 1) {
        text = span_of(text.data[0] == 't' ? "yes" : "no");
        used = text.length;
    }
    size_t width = column_width(t, column);
    if (is_cut) {
        text.length = width_cut(text, width - 1);
        used = width_of(text) + 1;
    }
    size_t pad = width > used ? width - used : 0;
    bool is_right = !t->has_words[column];
    bool is_last = column + 1 == t->shown;
    (void)fprintf(out, "%*s", is_right ? (int)pad : 0, "");
    (void)fwrite(text.data, 1, text.length, out);
    if (is_cut) {
        (void)fputs("\u2026", out);
    }
    if (!is_last) {
        (void)fprintf(out, "%*s", (is_right ? 0 : (int)pad) + GAP, "");
    }
}

void table_print(const struct table *t, FILE *out)
{
    for (size_t c = 0; c < t->shown; c++) {
        struct cell head = t->head[c];
        size_t pad = column_width(t, c) - head.width;
        bool is_right = !t->has_words[c] && table_rows(t) > 0;
        (void)fprintf(out, "%*s", is_right ? (int)pad : 0, "");
        (void)fwrite(t->bytes.data + head.at, 1, head.length, out);
        if (c + 1 < t->shown) {
            (void)fprintf(out, "%*s", (is_right ? 0 : (int)pad) + GAP, "");
        }
    }
    (void)fputc('\n', out);
    for (size_t i = 0; t->columns && i + t->columns <= t->count; i += t->columns) {
        for (size_t c = 0; c < t->shown; c++) {
            print_cell(t, c, t->cells[i + c], out);
        }
        (void)fputc('\n', out);
    }
}

void csv_print_field(FILE *out, struct span value, bool is_first)
{
    if (!is_first) {
        (void)fputc(',', out);
    }
    bool is_quoted = false;
    for (size_t i = 0; i < value.length && !is_quoted; i++) {
        char c = value.data[i];
        is_quoted = c == ',' || c == '"' || c == '\n' || c == '\r';
    }
    if (!is_quoted) {
        if (value.length > 0) {
            (void)fwrite(value.data, 1, value.length, out);
        }
        return;
    }
    (void)fputc('"', out);
    for (size_t i = 0; i < value.length; i++) {
        if (value.data[i] == '"') {
            (void)fputc('"', out);
        }
        (void)fputc(value.data[i], out);
    }
    (void)fputc('"', out);
}

void csv_end_row(FILE *out)
{
    (void)fputs("\r\n", out);
}
