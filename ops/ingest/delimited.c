/*
 * CSV (RFC 4180) and TSV. The machine is drawn in ingest_int.h. Only the bytes of the three wanted
 * columns are kept, each up to the text limit; everything else is counted and passed over.
 */
#include "ops/ingest/ingest_int.h"

#include <stdint.h>
#include <string.h>

enum {
    HEADER_NAME_BYTES_MAX = 256, /* a longer name matches nothing that we look for */
    RUNAWAY_TEXTS =
        16, /* a quoted field of so many text limits, over several lines: a lost quote */
};

static int fail_memory(struct err_buf *e)
{
    return err_set(e, ERR_NOMEM, "out of memory");
}

/* Fields ------------------------------------------------------------------------------------ */

static int wanted_at(const struct delimited *d, size_t column)
{
    for (int i = 0; i < INGEST__WANTED; i++) {
        if (d->where[i] == column) {
            return i;
        }
    }
    return -1;
}

static void begin_field(struct delimited *d)
{
    d->state = DELIMITED_START;
    d->field_at = d->record.length;
    d->field_bytes = 0;
    d->field_newlines = 0;
    d->was_quoted = false;
    d->is_wanted = !d->has_header || wanted_at(d, d->column) >= 0;
}

static void begin_record(struct delimited *d)
{
    buf_reset(&d->record);
    d->column = 0;
    d->record_line = d->line;
    d->is_long = false;
    d->is_malformed = false;
    memset(d->field, 0, sizeof d->field);
    begin_field(d);
}

/* Keeps bytes of a wanted field, up to the limit (and a carriage return). */
static int keep(const struct ingest *in, struct delimited *d, const char *data, size_t length,
                struct err_buf *e)
{
    d->field_bytes += length;
    d->field_last = length > 0 ? data[length - 1] : d->field_last;
    if (!d->is_wanted) {
        return 0;
    }
    size_t max = d->has_header ? in->options.text_bytes_max + 1 : HEADER_NAME_BYTES_MAX;
    size_t kept = d->record.length - d->field_at;
    size_t room = max > kept ? max - kept : 0;
    if (length > room) {
        d->is_long = true;
        length = room;
    }
    return buf_add(&d->record, data, length) ? fail_memory(e) : 0;
}

static struct span kept_field(const struct delimited *d)
{
    if (d->record.length == d->field_at) {
        return span_make("", 0);
    }
    return span_make(d->record.data + d->field_at, d->record.length - d->field_at);
}

static struct span trim_name(struct span s)
{
    while (s.length > 0 && (s.data[0] == ' ' || s.data[0] == '\t')) {
        s.data++;
        s.length--;
    }
    while (s.length > 0 && (s.data[s.length - 1] == ' ' || s.data[s.length - 1] == '\t')) {
        s.length--;
    }
    return s;
}

static void end_header_field(const struct ingest *in, struct delimited *d)
{
    size_t rank = 0;
    int column = d->is_long ? -1 : ingest__match(in, trim_name(kept_field(d)), &rank);
    if (column >= 0 && (d->where[column] == SIZE_MAX || rank < d->rank[column])) {
        d->where[column] = d->column;
        d->rank[column] = rank;
    }
    d->is_long = false;
    buf_reset(&d->record);
}

static int end_field(const struct ingest *in, struct delimited *d, struct err_buf *e)
{
    if (!d->has_header) {
        end_header_field(in, d);
        if (d->column + 1 > INGEST_COLUMNS_MAX) {
            return err_set(e, ERR_LIMIT, "the header has more than %d columns", INGEST_COLUMNS_MAX);
        }
    } else {
        int i = wanted_at(d, d->column);
        if (i >= 0) {
            d->field[i].at = d->field_at;
            d->field[i].length = d->record.length - d->field_at;
        }
    }
    d->column++;
    begin_field(d);
    return 0;
}

/* Records ----------------------------------------------------------------------------------- */

/* The header's own bytes are never shown: a file without one has a text in its place. */
static int end_header(const struct ingest *in, struct delimited *d, struct err_buf *e)
{
    static const char *const what[] = {"id", "text", "label"};
    const char *const given[] = {in->options.id, in->options.text, in->options.label};
    for (int i = 0; i < INGEST__WANTED; i++) {
        if (d->where[i] != SIZE_MAX || (i == INGEST__ID && !given[i])) {
            continue;
        }
        if (given[i]) {
            return err_set(e, ERR_PARSE, "none of the header's %zu columns is called \"%s\"",
                           d->column, given[i]);
        }
        return err_set(e, ERR_PARSE,
                       "none of the header's %zu columns is a known name for the %s; the first "
                       "line must name the columns (id, text, label), or say --%s-column NAME",
                       d->column, what[i], what[i]);
    }
    d->columns = d->column;
    d->has_header = true;
    return 0;
}

static struct span field_of(const struct delimited *d, int i)
{
    if (d->where[i] == SIZE_MAX) {
        return span_make(NULL, 0);
    }
    return d->field[i].length > 0 ? span_make(d->record.data + d->field[i].at, d->field[i].length)
                                  : span_make("", 0);
}

static int end_row(struct ingest *in, struct delimited *d, struct err_buf *e)
{
    if (d->is_long) {
        ingest__report(in, d->record_line, INGEST_FAULT_LONG);
    } else if (d->is_malformed) {
        ingest__report(in, d->record_line, INGEST_FAULT_QUOTE);
    } else if (d->column != d->columns) {
        ingest__report(in, d->record_line, INGEST_FAULT_COLUMNS);
    } else {
        return ingest__emit(in, d->record_line, field_of(d, INGEST__ID), field_of(d, INGEST__TEXT),
                            field_of(d, INGEST__LABEL), e);
    }
    return 0;
}

static bool is_blank(const struct delimited *d)
{
    return d->column == 0 && d->field_bytes == 0 && !d->was_quoted;
}

/* At a newline outside quotes, or at the end of the input. */
static int end_record(struct ingest *in, struct delimited *d, struct err_buf *e)
{
    if (is_blank(d)) {
        return 0;
    }
    int rc = end_field(in, d, e);
    if (rc) {
        return rc;
    }
    return d->has_header ? end_row(in, d, e) : end_header(in, d, e);
}

/* Bytes ------------------------------------------------------------------------------------- */

static size_t plain_run(const struct delimited *d, const char *p, const char *end)
{
    const char *q = p;
    while (q < end && *q != d->delimiter && *q != '\n') {
        q++;
    }
    return (size_t)(q - p);
}

static void drop_carriage_return(struct delimited *d)
{
    if (d->field_bytes == 0 || d->field_last != '\r') {
        return;
    }
    d->field_bytes--;
    if (d->record.length > d->field_at && d->record.data[d->record.length - 1] == '\r') {
        d->record.length--;
    }
}

static int on_newline(struct ingest *in, struct delimited *d, struct err_buf *e)
{
    int rc = end_record(in, d, e);
    if (rc == 0) {
        d->line++;
        begin_record(d);
    }
    return rc;
}

/* Takes bytes from p; returns how many, or an error. At least one is taken. */
static long take_plain(struct ingest *in, struct delimited *d, const char *p, const char *end,
                       struct err_buf *e)
{
    size_t run = plain_run(d, p, end);
    if (run > 0) {
        d->state = DELIMITED_PLAIN;
        int rc = keep(in, d, p, run, e);
        return rc ? rc : (long)run;
    }
    int rc = 0;
    if (*p == '\n') {
        drop_carriage_return(d);
        rc = on_newline(in, d, e);
    } else {
        rc = end_field(in, d, e);
    }
    return rc ? rc : 1;
}

static uint64_t count_newlines(const char *p, size_t n)
{
    uint64_t count = 0;
    for (const char *end = p + n; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++) {
        count++;
    }
    return count;
}

static long take_quoted(struct ingest *in, struct delimited *d, const char *p, const char *end,
                        struct err_buf *e)
{
    const char *quote = memchr(p, '"', (size_t)(end - p));
    size_t run = (size_t)((quote ? quote : end) - p);
    uint64_t newlines = count_newlines(p, run);
    d->line += newlines;
    d->field_newlines += newlines;
    int rc = keep(in, d, p, run, e);
    if (rc) {
        return rc;
    }
    if (d->field_newlines > 0 &&
        d->field_bytes > (uint64_t)in->options.text_bytes_max * RUNAWAY_TEXTS) {
        return err_set(e, ERR_PARSE, "a quoted field goes on for %llu lines: a quote is missing",
                       (unsigned long long)d->field_newlines);
    }
    if (quote) {
        d->state = DELIMITED_QUOTE;
        run++;
    }
    return (long)run;
}

/* After a quote within quotes. */
static long take_quote(struct ingest *in, struct delimited *d, const char *p, const char *end,
                       struct err_buf *e)
{
    if (*p == '"') {
        d->state = DELIMITED_QUOTED;
        int rc = keep(in, d, p, 1, e);
        return rc ? rc : 1;
    }
    if (*p == '\r') {
        return 1; /* of CRLF; alone it is dropped */
    }
    if (*p == d->delimiter || *p == '\n') {
        int rc = *p == '\n' ? on_newline(in, d, e) : end_field(in, d, e);
        return rc ? rc : 1;
    }
    d->is_malformed = true;
    return take_plain(in, d, p, end, e);
}

static long take(struct ingest *in, struct delimited *d, const char *p, const char *end,
                 struct err_buf *e)
{
    switch (d->state) {
    case DELIMITED_START:
        if (*p == '"' && d->has_quotes) {
            d->state = DELIMITED_QUOTED;
            d->was_quoted = true;
            return 1;
        }
        return take_plain(in, d, p, end, e);
    case DELIMITED_PLAIN:
        return take_plain(in, d, p, end, e);
    case DELIMITED_QUOTED:
        return take_quoted(in, d, p, end, e);
    case DELIMITED_QUOTE:
        return take_quote(in, d, p, end, e);
    case DELIMITED_STATE_COUNT:
        break;
    }
    CHECK(d->state < DELIMITED_STATE_COUNT);
    return 0;
}

void delimited__init(struct ingest *in, char delimiter)
{
    struct delimited *d = &in->delimited;
    *d = (struct delimited){.delimiter = delimiter, .has_quotes = !in->options.no_quotes};
    /* Ids and labels count against the same limit as the text, hence three of them. */
    buf_init(&d->record, (in->options.text_bytes_max + HEADER_NAME_BYTES_MAX) * INGEST__WANTED);
    for (int i = 0; i < INGEST__WANTED; i++) {
        d->where[i] = SIZE_MAX;
    }
    d->line = 1;
    begin_record(d);
}

void delimited__close(struct ingest *in)
{
    buf_close(&in->delimited.record);
}

int delimited__feed(struct ingest *in, struct span bytes, struct err_buf *e)
{
    const char *p = bytes.data;
    const char *end = bytes.data + bytes.length;
    while (p < end) {
        long taken = take(in, &in->delimited, p, end, e);
        if (taken < 0) {
            return (int)taken;
        }
        p += taken;
    }
    return 0;
}

int delimited__finish(struct ingest *in, struct err_buf *e)
{
    struct delimited *d = &in->delimited;
    if (d->state == DELIMITED_QUOTED) {
        return err_set(e, ERR_PARSE, "the quote that opens in this row is never closed");
    }
    if (d->state == DELIMITED_PLAIN) {
        drop_carriage_return(d);
    }
    int rc = end_record(in, d, e);
    if (rc) {
        return rc;
    }
    return d->has_header ? 0 : err_set(e, ERR_PARSE, "no header: the file is empty");
}
