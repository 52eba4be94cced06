/* Reading results, and turning SQLSTATEs into codes. */
#include "common/pg/result.h"

#include "common/base/log.h"
#include "common/pg/pg_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct code_row {
    const char *prefix;
    int code;
};

/* First match wins: longer prefixes stand before their classes. */
static const struct code_row codes[] = {
    {"MR001", ERR_FENCED},     {"MR002", ERR_NOTFOUND}, {"MR003", ERR_EXISTS},
    {"MR004", ERR_INVALID},    {"MR005", ERR_LIMIT},    {"08", ERR_UNREACHABLE},
    {"57P0", ERR_UNREACHABLE}, {"53", ERR_UNREACHABLE}, {"25006", ERR_UNREACHABLE},
    {"40001", ERR_IO},         {"40P01", ERR_IO},       {"55P03", ERR_IO},
    {"57014", ERR_TIMEOUT},    {"23505", ERR_EXISTS},   {"02000", ERR_NOTFOUND},
    {"P0002", ERR_NOTFOUND},
};

int pg_code_of(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (strncmp(sqlstate, codes[i].prefix, strlen(codes[i].prefix)) == 0) {
            return codes[i].code;
        }
    }
    return ERR_DATABASE;
}

void pg__copy_line(char *out, size_t size, const char *message)
{
    size_t length = 0;
    for (const char *p = message; p && *p && length + 1 < size; p++) {
        if (*p == '\n' && p[1] == '\0') {
            break;
        }
        out[length++] = (unsigned char)*p < ' ' ? ' ' : *p;
    }
    out[length] = '\0';
}

static void copy_field(char *out, size_t size, const PGresult *result, int field)
{
    const char *value = PQresultErrorField(result, field);
    (void)snprintf(out, size, "%s", value ? value : "");
}

int pg__error_of(struct pg_error *error, const PGresult *result, const PGconn *connection)
{
    *error = (struct pg_error){.text = ""};
    if (result) {
        copy_field(error->sqlstate, sizeof error->sqlstate, result, PG_DIAG_SQLSTATE);
    }
    if (!error->sqlstate[0]) {
        pg__copy_line(error->text, sizeof error->text,
                      connection ? PQerrorMessage(connection) : PQresultErrorMessage(result));
        return ERR_UNREACHABLE;
    }
    copy_field(error->constraint, sizeof error->constraint, result, PG_DIAG_CONSTRAINT_NAME);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (strncmp(error->sqlstate, "22", 2) == 0) {
        /* Such sentences repeat the value that was refused. */
        (void)snprintf(error->text, sizeof error->text, "a value was refused (SQLSTATE %s)",
                       error->sqlstate);
    } else {
        pg__copy_line(error->text, sizeof error->text, message ? message : "no message");
    }
    return pg_code_of(error->sqlstate);
}

void pg__notice(void *data, const PGresult *result)
{
    (void)data;
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    log_debug("postgresql notice sqlstate=%s", sqlstate ? sqlstate : "");
}

size_t pg_rows(const struct pg_result *r)
{
    return (size_t)PQntuples(r->pg);
}

size_t pg_columns(const struct pg_result *r)
{
    return (size_t)PQnfields(r->pg);
}

size_t pg_column(const struct pg_result *r, const char *name)
{
    int column = PQfnumber(r->pg, name);
    CHECK(column >= 0);
    return (size_t)column;
}

const char *pg_column_name(const struct pg_result *r, size_t column)
{
    CHECK(column < pg_columns(r));
    return PQfname(r->pg, (int)column);
}

int64_t pg_affected(const struct pg_result *r)
{
    return strtoll(PQcmdTuples(r->pg), NULL, 10);
}

static void check_place(const struct pg_result *r, size_t row, size_t column)
{
    CHECK(row < pg_rows(r) && column < pg_columns(r));
}

bool pg_is_null(const struct pg_result *r, size_t row, size_t column)
{
    check_place(r, row, column);
    return PQgetisnull(r->pg, (int)row, (int)column) != 0;
}

const char *pg_text(const struct pg_result *r, size_t row, size_t column)
{
    check_place(r, row, column);
    return PQgetvalue(r->pg, (int)row, (int)column);
}

struct span pg_span(const struct pg_result *r, size_t row, size_t column)
{
    if (pg_is_null(r, row, column)) {
        return (struct span){.data = NULL};
    }
    return span_make(PQgetvalue(r->pg, (int)row, (int)column),
                     (size_t)PQgetlength(r->pg, (int)row, (int)column));
}

int64_t pg_integer(const struct pg_result *r, size_t row, size_t column, int64_t fallback)
{
    const char *text = pg_text(r, row, column);
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return end == text || *end != '\0' || errno != 0 ? fallback : value;
}

double pg_real(const struct pg_result *r, size_t row, size_t column, double fallback)
{
    const char *text = pg_text(r, row, column);
    char *end = NULL;
    double value = strtod(text, &end);
    return end == text || *end != '\0' ? fallback : value;
}

bool pg_bool(const struct pg_result *r, size_t row, size_t column)
{
    return pg_text(r, row, column)[0] == 't';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int pg_bytes(const struct pg_result *r, size_t row, size_t column, struct buf *out)
{
    struct span text = pg_span(r, row, column);
    if (text.length < 2 || text.data[0] != '\\' || text.data[1] != 'x' || text.length % 2 != 0) {
        return ERR_PARSE;
    }
    size_t length = text.length / 2 - 1;
    char *to = buf_reserve(out, length);
    if (!to) {
        return length > out->limit - out->length ? ERR_LIMIT : ERR_NOMEM;
    }
    for (size_t i = 0; i < length; i++) {
        int high = hex_value(text.data[2 + 2 * i]);
        int low = hex_value(text.data[3 + 2 * i]);
        if (high < 0 || low < 0) {
            return ERR_PARSE;
        }
        to[i] = (char)(high << 4 | low);
    }
    buf_advance(out, length);
    return 0;
}

static int array_add_one(struct buf *out, const char *text)
{
    int rc = buf_add(out, "\"", 1);
    for (const char *p = text; rc == 0 && *p; p++) {
        if (*p == '"' || *p == '\\') {
            rc = buf_add(out, "\\", 1);
        }
        rc = rc == 0 ? buf_add(out, p, 1) : rc;
    }
    return rc == 0 ? buf_add(out, "\"", 1) : rc;
}

int pg_array_add(struct buf *out, const char *const *texts, size_t count)
{
    int rc = buf_add(out, "{", 1);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = i > 0 ? buf_add(out, ",", 1) : 0;
        rc = rc == 0 ? array_add_one(out, texts[i]) : rc;
    }
    return rc == 0 ? buf_add(out, "}", 1) : rc;
}
