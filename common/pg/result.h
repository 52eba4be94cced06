/*
 * What PostgreSQL answered, and how its errors become ours; shared by pg.h and pg_sync.h.
 *
 * An error keeps SQLSTATE and the server's sentence, but not detail, hint or context, and no
 * sentence at all for class 22 (a value was refused): those repeat data.
 */
#ifndef COMMON_PG_RESULT_H
#define COMMON_PG_RESULT_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows; an asynchronous one is valid inside the callback only. */
struct pg_result;

struct pg_error {
    char sqlstate[6];    /* "" when the failure is not the server's */
    char constraint[64]; /* the violated one, or "" */
    char text[256];      /* one line for people */
};

/*
 * SQLSTATE into enum err. Our functions raise MR001 = ERR_FENCED, MR002 = ERR_NOTFOUND,
 * MR003 = ERR_EXISTS, MR004 = ERR_INVALID, MR005 = ERR_LIMIT. Otherwise: 08, 57P0x, 53xxx and 25006
 * (a standby) = ERR_UNREACHABLE; 40001, 40P01 and 55P03 = ERR_IO (run the transaction again);
 * 57014 = ERR_TIMEOUT; 23505 = ERR_EXISTS; 02000, P0002 = ERR_NOTFOUND; the rest = ERR_DATABASE.
 */
int pg_code_of(const char *sqlstate);

size_t pg_rows(const struct pg_result *r);
size_t pg_columns(const struct pg_result *r);
/* The index of that column; a missing one is our bug and aborts. */
size_t pg_column(const struct pg_result *r, const char *name);
const char *pg_column_name(const struct pg_result *r, size_t column);
/* Rows that an INSERT, UPDATE, DELETE or COPY changed. */
int64_t pg_affected(const struct pg_result *r);

bool pg_is_null(const struct pg_result *r, size_t row, size_t column);
/* The value as text, NUL-terminated; "" for null. Indexes out of range abort (our bug), here and
 * below. */
const char *pg_text(const struct pg_result *r, size_t row, size_t column);
/* The value's bytes (text or binary, as asked for); data NULL for null. */
struct span pg_span(const struct pg_result *r, size_t row, size_t column);
/* fallback for null and for text that is no number. */
int64_t pg_integer(const struct pg_result *r, size_t row, size_t column, int64_t fallback);
double pg_real(const struct pg_result *r, size_t row, size_t column, double fallback);
/* False for null. */
bool pg_bool(const struct pg_result *r, size_t row, size_t column);
/* Decodes a bytea that came as text (\x...) and adds it to out. ERR_PARSE, ERR_LIMIT, ERR_NOMEM. */
MUST_CHECK int pg_bytes(const struct pg_result *r, size_t row, size_t column, struct buf *out);

/* A statement with its parameters: all borrowed for the call. */
struct pg_query {
    const char *sql; /* one statement, $1... for parameters */
    /* NULL = parsed each time. Else: prepared once for each connection under this name; the same
     * name must always go with the same sql. */
    const char *name;
    size_t param_count;
    const char *const *params; /* texts, NULL = null; or bytes where formats says so */
    const int *lengths;        /* of the binary ones; NULL when all are text */
    const int *formats;        /* 1 = binary (bytea as its bytes); NULL = all text */
    bool wants_binary;         /* all columns of the result in binary */
    int64_t timeout_ms;        /* 0 = the client's default */
};

/* Arrays as texts: adds '{"a","b"}' with quoting, for $n::text[]. ERR_LIMIT, ERR_NOMEM. */
MUST_CHECK int pg_array_add(struct buf *out, const char *const *texts, size_t count);

#endif
