/* JSON comes from the server, which knows the types; CSV and JSON stream, a table is measured
 * first. */
#include "ops/cli/print.h"

#include "common/base/mem.h"
#include "ops/cli/table.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SQL_BYTES_MAX = 64 * 1024, LINE_WIDTH = 160 };

struct stream {
    struct cli *c;
    uint64_t rows;
};

/* A client that is gone (a closed pipe) ends the query. */
static int stream_state(const struct stream *s)
{
    return cli_is_interrupted() || ferror(s->c->out) ? ERR_CANCELLED : 0;
}

static int on_json_row(const struct pg_result *row, void *data)
{
    struct stream *s = data;
    (void)fprintf(s->c->out, "%s%s", s->rows++ ? ",\n " : "[", pg_text(row, 0, 0));
    return stream_state(s);
}

static int on_csv_row(const struct pg_result *row, void *data)
{
    struct stream *s = data;
    size_t columns = pg_columns(row);
    if (s->rows++ == 0) {
        for (size_t i = 0; i < columns; i++) {
            csv_print_field(s->c->out, span_of(pg_column_name(row, i)), i == 0);
        }
        csv_end_row(s->c->out);
    }
    for (size_t i = 0; i < columns; i++) {
        csv_print_field(s->c->out, pg_span(row, 0, i), i == 0);
    }
    csv_end_row(s->c->out);
    return stream_state(s);
}

static int print_json(struct cli *c, struct pg_sync *s, struct pg_query *query)
{
    struct buf sql;
    struct stream stream = {.c = c};
    buf_init(&sql, SQL_BYTES_MAX);
    int rc = buf_add_format(&sql, "SELECT row_to_json(r)::text FROM (%s) r", query->sql);
    if (rc == 0) {
        query->sql = buf_text(&sql);
        rc = pg_sync_each(s, query, on_json_row, &stream, &c->e);
    }
    buf_close(&sql);
    if (rc == 0) {
        (void)fputs(stream.rows ? "]\n" : "[]\n", c->out);
    }
    return rc;
}

/* The header also when there is no row: a program reads it. */
static int print_csv(struct cli *c, struct pg_sync *s, const struct pg_query *query)
{
    struct stream stream = {.c = c};
    struct pg_result *empty = NULL;
    int rc = pg_sync_each(s, query, on_csv_row, &stream, &c->e);
    if (rc == 0 && stream.rows == 0 && pg_sync_query(s, query, &empty, &c->e) == 0) {
        for (size_t i = 0; i < pg_columns(empty); i++) {
            csv_print_field(c->out, span_of(pg_column_name(empty, i)), i == 0);
        }
        csv_end_row(c->out);
    }
    pg_result_free(empty);
    return rc;
}

static int fill(struct table *t, const struct pg_result *r)
{
    int rc = 0;
    for (size_t i = 0; i < pg_columns(r) && rc == 0; i++) {
        rc = table_add_column(t, pg_column_name(r, i));
    }
    for (size_t row = 0; row < pg_rows(r) && rc == 0; row++) {
        for (size_t i = 0; i < pg_columns(r) && rc == 0; i++) {
            rc = table_add_cell(t, pg_span(r, row, i));
        }
    }
    return rc;
}

/* Columns of the terminal; a pipe or a file gets what a wide screen shows. */
static size_t line_width(FILE *out)
{
    struct winsize size;
    bool has_size = isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0;
    return has_size && size.ws_col > 0 ? size.ws_col : LINE_WIDTH;
}

/* The table as wide as the line, and a word about what did not fit. */
static void print_fitted(struct table *t, FILE *out)
{
    size_t left_out = table_fit(t, line_width(out));
    table_print(t, out);
    if (left_out == 0) {
        return;
    }
    (void)fflush(out);
    (void)fputs("not shown:", stderr);
    for (size_t i = table_columns(t) - left_out; i < table_columns(t); i++) {
        struct span name = table_column_name(t, i);
        (void)fprintf(stderr, " %.*s", (int)name.length, name.data);
    }
    (void)fputs("; --csv and --json have all\n", stderr);
}

static int print_table(struct cli *c, struct pg_sync *s, const struct pg_query *query,
                       const char *empty)
{
    struct pg_result *r = NULL;
    int rc = pg_sync_query(s, query, &r, &c->e);
    if (rc) {
        return rc;
    }
    struct table *t = table_new();
    rc = t ? fill(t, r) : ERR_NOMEM;
    if (rc == 0 && table_rows(t) == 0 && empty) {
        (void)fprintf(stderr, "%s\n", empty);
    } else if (rc == 0) {
        print_fitted(t, c->out);
    } else {
        (void)err_set(&c->e, rc, "the result is too large for a table; use --csv or --json");
    }
    table_free(t);
    pg_result_free(r);
    return rc;
}

int print_query(struct cli *c, struct pg_sync *s, const char *sql, const char *const *params,
                size_t count, const char *empty)
{
    struct pg_query query = {.sql = sql, .params = params, .param_count = count};
    int rc = c->o.json  ? print_json(c, s, &query)
             : c->o.csv ? print_csv(c, s, &query)
                        : print_table(c, s, &query, empty);
    return cli_explain(s, rc, &c->e);
}

int print_record(struct cli *c, struct pg_sync *s, const char *sql, const char *const *params,
                 size_t count)
{
    struct pg_result *r = NULL;
    struct buf wrapped;
    buf_init(&wrapped, SQL_BYTES_MAX);
    int rc = c->o.json ? buf_add_format(&wrapped, "SELECT row_to_json(r)::text FROM (%s) r", sql)
                       : buf_add_text(&wrapped, sql);
    rc = rc ? rc : pg_sync_exec(s, buf_text(&wrapped), params, count, &r, &c->e);
    buf_close(&wrapped);
    if (rc) {
        return cli_explain(s, rc, &c->e);
    }
    if (pg_rows(r) == 0) {
        rc = ERR_NOTFOUND;
    } else if (c->o.json) {
        (void)fprintf(c->out, "%s\n", pg_text(r, 0, 0));
    } else {
        for (size_t i = 0; i < pg_columns(r); i++) {
            if (!pg_is_null(r, 0, i)) {
                struct span value = table_shorten(pg_span(r, 0, i));
                (void)fprintf(c->out, "%-16s %.*s\n", pg_column_name(r, i), (int)value.length,
                              value.data);
            }
        }
    }
    pg_result_free(r);
    return rc;
}

int query_text(struct pg_sync *s, const char *sql, const char *const *params, size_t count,
               char *out, size_t size, struct err_buf *e)
{
    struct pg_result *r = NULL;
    int rc = pg_sync_exec(s, sql, params, count, &r, e);
    if (rc) {
        return cli_explain(s, rc, e);
    }
    (void)snprintf(out, size, "%s", pg_rows(r) > 0 && pg_columns(r) > 0 ? pg_text(r, 0, 0) : "");
    pg_result_free(r);
    return 0;
}

void print_json_text(FILE *out, const char *text)
{
    (void)fputc('"', out);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\') {
            (void)fprintf(out, "\\%c", *p);
        } else if (*p < 0x20) {
            (void)fprintf(out, "\\u%04x", *p);
        } else {
            (void)fputc(*p, out);
        }
    }
    (void)fputc('"', out);
}

int print_section(struct cli *c, const char *title, const char *sql, const char *param)
{
    char any[8];
    struct buf probe;
    buf_init(&probe, SQL_BYTES_MAX);
    int rc = buf_add_format(&probe, "SELECT 1 FROM (%s) s LIMIT 1", sql);
    rc = rc ? rc : QUERY_TEXT(c->control, any, &c->e, buf_text(&probe), param);
    buf_close(&probe);
    if (rc || !*any) {
        return rc;
    }
    (void)fprintf(c->out, "\n%s\n", title);
    return PRINT_QUERY(c, c->control, NULL, sql, param);
}
