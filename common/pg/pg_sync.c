/*
 * libpq in its blocking form. A lost connection is not opened again here: what the caller had in
 * its transaction is gone, so the caller begins anew with a new client.
 */
#include "common/pg/pg_sync.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/pg/pg_int.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECT_MS_DEFAULT = 10000, NAMES_MAX = 64, NAME_BYTES = 64, COPY_FLUSH_BYTES = 1 << 20 };

struct pg_sync {
    PGconn *connection;
    PGcancel *cancel;
    bool is_cancelled;
    bool is_in_copy;
    struct pg_error error;
    size_t name_count;
    char names[NAMES_MAX][NAME_BYTES]; /* statements prepared on this connection */
};

/* --- failing --------------------------------------------------------------------------------- */

static int fail(struct pg_sync *s, const PGresult *result, struct err_buf *e)
{
    int code = pg__error_of(&s->error, result, s->connection);
    if (code == ERR_TIMEOUT && s->is_cancelled) {
        code = ERR_CANCELLED;
    }
    if (PQstatus(s->connection) == CONNECTION_BAD) {
        code = ERR_UNREACHABLE;
    }
    s->is_cancelled = false;
    return err_set(e, code, "%s",
                   s->error.text[0] ? s->error.text : "PostgreSQL closed the connection");
}

static int fail_memory(struct err_buf *e)
{
    return err_set(e, ERR_NOMEM, "out of memory");
}

const struct pg_error *pg_sync_error(const struct pg_sync *s)
{
    return &s->error;
}

/* --- opening --------------------------------------------------------------------------------- */

/* Waits for what PQconnectPoll asked for. False when the deadline passed. */
static bool wait_socket(PGconn *connection, PostgresPollingStatusType want, int64_t deadline)
{
    int64_t left = deadline - clock_mono_ms();
    struct pollfd p = {.fd = PQsocket(connection),
                       .events = want == PGRES_POLLING_WRITING ? POLLOUT : POLLIN};
    return left > 0 && (poll(&p, 1, (int)left) >= 0);
}

static bool connect_until(PGconn *connection, int64_t deadline)
{
    PostgresPollingStatusType want = PGRES_POLLING_WRITING;
    while (want != PGRES_POLLING_OK && want != PGRES_POLLING_FAILED) {
        if (!wait_socket(connection, want, deadline) || clock_mono_ms() >= deadline) {
            return false;
        }
        want = PQconnectPoll(connection);
    }
    return true;
}

static PGconn *start(const char *url, const char *application_name)
{
    const char *keys[] = {
        "dbname",           "application_name", "keepalives_idle", "keepalives_interval",
        "keepalives_count", "tcp_user_timeout", "client_encoding", NULL};
    const char *values[] = {url, application_name, "30", "10", "3", "30000", "UTF8", NULL};
    return PQconnectStartParams(keys, values, 1);
}

int pg_sync_open(struct pg_sync **ret, const char *url, const char *application_name,
                 int64_t timeout_ms, struct err_buf *e)
{
    struct pg_sync *s = mem_new(sizeof *s);
    if (!s) {
        return fail_memory(e);
    }
    int64_t deadline = clock_mono_ms() + (timeout_ms ? timeout_ms : CONNECT_MS_DEFAULT);
    s->connection = start(url, application_name);
    bool in_time = s->connection && PQstatus(s->connection) != CONNECTION_BAD &&
                   connect_until(s->connection, deadline);
    if (!s->connection || PQstatus(s->connection) != CONNECTION_OK) {
        bool was_waiting = s->connection && !in_time && PQstatus(s->connection) != CONNECTION_BAD;
        int rc = was_waiting ? err_set(e, ERR_UNREACHABLE, "PostgreSQL did not answer in time")
                             : fail(s, NULL, e);
        pg_sync_close(s);
        return err_wrap(e, rc == ERR_DATABASE ? ERR_UNREACHABLE : rc,
                        "cannot connect to PostgreSQL");
    }
    (void)PQsetNoticeReceiver(s->connection, pg__notice, NULL);
    s->cancel = PQgetCancel(s->connection);
    *ret = s;
    return 0;
}

void pg_sync_close(struct pg_sync *s)
{
    if (s) {
        PQfreeCancel(s->cancel);
        PQfinish(s->connection);
        mem_free(s);
    }
}

int pg_sync_version(const struct pg_sync *s)
{
    return PQserverVersion(s->connection);
}

int pg_sync_limit(struct pg_sync *s, int64_t timeout_ms, struct err_buf *e)
{
    char sql[64];
    (void)snprintf(sql, sizeof sql, "SET statement_timeout = %" PRId64, timeout_ms);
    return pg_sync_exec(s, sql, NULL, 0, NULL, e);
}

void pg_sync_cancel(struct pg_sync *s)
{
    char ignored[256];
    s->is_cancelled = true;
    (void)PQcancel(s->cancel, ignored, sizeof ignored); /* too late is as good as done */
}

/* --- statements ------------------------------------------------------------------------------ */

static bool is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_SINGLE_TUPLE;
}

/* Takes pg: gives it to *ret, or clears it. */
static int finish(struct pg_sync *s, PGresult *pg, struct pg_result **ret, struct err_buf *e)
{
    if (!is_good(pg)) {
        int rc = fail(s, pg, e);
        PQclear(pg);
        return rc;
    }
    if (!ret) {
        PQclear(pg);
        return 0;
    }
    struct pg_result *r = mem_new(sizeof *r);
    if (!r) {
        PQclear(pg);
        return fail_memory(e);
    }
    r->pg = pg;
    *ret = r;
    return 0;
}

void pg_result_free(struct pg_result *r)
{
    if (r) {
        PQclear(r->pg);
        mem_free(r);
    }
}

int pg_sync_exec(struct pg_sync *s, const char *sql, const char *const *params, size_t count,
                 struct pg_result **ret, struct err_buf *e)
{
    return pg_sync_query(s, &(struct pg_query){.sql = sql, .params = params, .param_count = count},
                         ret, e);
}

static bool is_prepared(const struct pg_sync *s, const char *name)
{
    for (size_t i = 0; i < s->name_count; i++) {
        if (strcmp(s->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Prepares once; beyond NAMES_MAX names, or too long a name, statements are parsed each time. */
static int prepare(struct pg_sync *s, const struct pg_query *q, bool *ret_usable, struct err_buf *e)
{
    *ret_usable = q->name != NULL;
    if (!q->name || is_prepared(s, q->name)) {
        return 0;
    }
    if (s->name_count == NAMES_MAX || strlen(q->name) >= NAME_BYTES) {
        *ret_usable = false;
        return 0;
    }
    int rc = finish(s, PQprepare(s->connection, q->name, q->sql, 0, NULL), NULL, e);
    if (rc == 0) {
        (void)snprintf(s->names[s->name_count++], NAME_BYTES, "%s", q->name);
    }
    return rc;
}

int pg_sync_query(struct pg_sync *s, const struct pg_query *q, struct pg_result **ret,
                  struct err_buf *e)
{
    bool is_named = false;
    int rc = prepare(s, q, &is_named, e);
    if (rc != 0) {
        return rc;
    }
    int format = q->wants_binary ? 1 : 0;
    PGresult *pg = is_named ? PQexecPrepared(s->connection, q->name, (int)q->param_count, q->params,
                                             q->lengths, q->formats, format)
                            : PQexecParams(s->connection, q->sql, (int)q->param_count, NULL,
                                           q->params, q->lengths, q->formats, format);
    return finish(s, pg, ret, e);
}

int pg_sync_ask(const char *url, const char *application_name, int64_t timeout_ms,
                const struct pg_query *question, bool *ret, struct err_buf *e)
{
    struct pg_sync *s = NULL;
    struct pg_result *r = NULL;
    int rc = pg_sync_open(&s, url, application_name, timeout_ms, e);
    rc = rc ? rc : pg_sync_limit(s, timeout_ms, e);
    rc = rc ? rc : pg_sync_query(s, question, &r, e);
    if (rc == 0) {
        *ret = pg_rows(r) > 0 && pg_columns(r) > 0 && pg_bool(r, 0, 0);
        pg_result_free(r);
    }
    pg_sync_close(s);
    return rc;
}

/* The line of the script at the server's character position (counted in characters, UTF-8). */
static size_t line_at(const char *script, long position)
{
    size_t line = 1;
    for (const char *p = script; *p && position > 1; p++) {
        line += *p == '\n';
        position -= ((unsigned char)*p & 0xc0) != 0x80;
    }
    return line;
}

int pg_sync_run(struct pg_sync *s, const char *script, struct err_buf *e)
{
    PGresult *pg = PQexec(s->connection, script);
    ExecStatusType status = PQresultStatus(pg);
    const char *place = PQresultErrorField(pg, PG_DIAG_STATEMENT_POSITION);
    size_t line = place ? line_at(script, strtol(place, NULL, 10)) : 0;
    int rc = status == PGRES_EMPTY_QUERY ? 0 : is_good(pg) ? 0 : fail(s, pg, e);
    PQclear(pg);
    return rc != 0 && line > 0 ? err_wrap(e, rc, "line %zu", line) : rc;
}

/* Reads what is left of a statement, so that the connection can be used again. */
static void drain(struct pg_sync *s)
{
    PGresult *pg;
    while ((pg = PQgetResult(s->connection)) != NULL) {
        ExecStatusType status = PQresultStatus(pg);
        PQclear(pg);
        if (status == PGRES_COPY_IN) {
            (void)PQputCopyEnd(s->connection, "abandoned");
        }
        if (PQstatus(s->connection) == CONNECTION_BAD) {
            return;
        }
    }
}

static int send_single(struct pg_sync *s, const struct pg_query *q, struct err_buf *e)
{
    if (PQsendQueryParams(s->connection, q->sql, (int)q->param_count, NULL, q->params, q->lengths,
                          q->formats, q->wants_binary ? 1 : 0) != 1) {
        return fail(s, NULL, e);
    }
    (void)PQsetSingleRowMode(s->connection); /* refused only when nothing was sent */
    return 0;
}

int pg_sync_each(struct pg_sync *s, const struct pg_query *q,
                 int (*visit)(const struct pg_result *row, void *data), void *data,
                 struct err_buf *e)
{
    int rc = send_single(s, q, e);
    PGresult *pg = NULL;
    while (rc == 0 && (pg = PQgetResult(s->connection)) != NULL) {
        struct pg_result row = {.pg = pg};
        rc = !is_good(pg) ? fail(s, pg, e) : PQntuples(pg) > 0 ? visit(&row, data) : 0;
        PQclear(pg);
    }
    if (rc != 0 && PQstatus(s->connection) == CONNECTION_OK &&
        PQtransactionStatus(s->connection) == PQTRANS_ACTIVE) {
        pg_sync_cancel(s);
        s->is_cancelled = false;
    }
    drain(s);
    return rc;
}

int pg_sync_begin(struct pg_sync *s, struct err_buf *e)
{
    return pg_sync_exec(s, "BEGIN", NULL, 0, NULL, e);
}

int pg_sync_commit(struct pg_sync *s, struct err_buf *e)
{
    if (PQtransactionStatus(s->connection) == PQTRANS_INERROR) {
        /* COMMIT would answer ROLLBACK and look like success. */
        pg_sync_rollback(s);
        return err_set(e, ERR_DATABASE, "a statement of the transaction had failed");
    }
    return pg_sync_exec(s, "COMMIT", NULL, 0, NULL, e);
}

void pg_sync_rollback(struct pg_sync *s)
{
    PGTransactionStatusType status = PQtransactionStatus(s->connection);
    if (status == PQTRANS_INTRANS || status == PQTRANS_INERROR) {
        PQclear(PQexec(s->connection, "ROLLBACK"));
    }
}

/* --- COPY IN --------------------------------------------------------------------------------- */

int pg_sync_copy_in(struct pg_sync *s, const char *sql, struct err_buf *e)
{
    PGresult *pg = PQexec(s->connection, sql);
    bool is_copy = PQresultStatus(pg) == PGRES_COPY_IN;
    int rc = is_copy ? 0 : fail(s, pg, e);
    PQclear(pg);
    s->is_in_copy = is_copy;
    return rc;
}

int pg_sync_copy_add(struct pg_sync *s, const void *data, size_t length, struct err_buf *e)
{
    const char *from = data;
    while (length > 0) {
        int piece = (int)(length < COPY_FLUSH_BYTES ? length : COPY_FLUSH_BYTES);
        if (PQputCopyData(s->connection, from, piece) != 1) {
            return fail(s, NULL, e);
        }
        from += piece;
        length -= (size_t)piece;
    }
    return 0;
}

int pg_sync_copy_end(struct pg_sync *s, int64_t *ret_rows, struct err_buf *e)
{
    s->is_in_copy = false;
    if (PQputCopyEnd(s->connection, NULL) != 1) {
        return fail(s, NULL, e);
    }
    struct pg_result r = {.pg = PQgetResult(s->connection)};
    int rc = is_good(r.pg) ? 0 : fail(s, r.pg, e);
    if (rc == 0 && ret_rows) {
        *ret_rows = pg_affected(&r);
    }
    PQclear(r.pg);
    drain(s);
    return rc;
}

void pg_sync_copy_abort(struct pg_sync *s)
{
    if (s->is_in_copy) {
        s->is_in_copy = false;
        (void)PQputCopyEnd(s->connection, "abandoned by the client");
        drain(s);
    }
}

/* --- COPY text format ------------------------------------------------------------------------ */

static char copy_escape(char c)
{
    switch (c) {
    case '\\':
        return '\\';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return '\0';
    }
}

int pg_copy_add_value(struct buf *row, struct span value, bool is_first)
{
    int rc = is_first ? 0 : buf_add(row, "\t", 1);
    if (rc != 0 || !value.data) {
        return rc == 0 ? buf_add(row, "\\N", 2) : rc;
    }
    size_t from = 0;
    for (size_t i = 0; rc == 0 && i < value.length; i++) {
        char letter = copy_escape(value.data[i]);
        if (letter) {
            rc = buf_add(row, value.data + from, i - from);
            rc = rc == 0 ? buf_add(row, (char[]){'\\', letter}, 2) : rc;
            from = i + 1;
        }
    }
    return rc == 0 ? buf_add(row, value.data + from, value.length - from) : rc;
}

int pg_copy_add_bytes(struct buf *row, struct span bytes, bool is_first)
{
    static const char digits[] = "0123456789abcdef";
    int rc = is_first ? 0 : buf_add(row, "\t", 1);
    rc = rc == 0 ? buf_add(row, "\\\\x", 3) : rc;
    char *to = rc == 0 ? buf_reserve(row, 2 * bytes.length) : NULL;
    if (!to) {
        return rc != 0 ? rc : ERR_LIMIT;
    }
    for (size_t i = 0; i < bytes.length; i++) {
        to[2 * i] = digits[(unsigned char)bytes.data[i] >> 4];
        to[2 * i + 1] = digits[(unsigned char)bytes.data[i] & 15];
    }
    buf_advance(row, 2 * bytes.length);
    return 0;
}

int pg_copy_end_row(struct buf *row)
{
    return buf_add(row, "\n", 1);
}

/* --- COPY OUT -------------------------------------------------------------------------------- */

static int copy_out_rows(struct pg_sync *s, int (*visit)(char *, size_t, void *), void *data,
                         struct err_buf *e)
{
    char *line = NULL;
    int length;
    while ((length = PQgetCopyData(s->connection, &line, 0)) > 0) {
        int rc = visit(line, (size_t)length, data);
        PQfreemem(line);
        if (rc != 0) {
            pg_sync_cancel(s);
            s->is_cancelled = false;
            return rc;
        }
    }
    return length == -2 ? fail(s, NULL, e) : 0;
}

int pg_sync_copy_out(struct pg_sync *s, const char *sql,
                     int (*visit)(char *line, size_t length, void *data), void *data,
                     struct err_buf *e)
{
    PGresult *pg = PQexec(s->connection, sql);
    int rc = PQresultStatus(pg) == PGRES_COPY_OUT ? 0 : fail(s, pg, e);
    PQclear(pg);
    if (rc != 0) {
        return rc;
    }
    rc = copy_out_rows(s, visit, data, e);
    while (rc != 0 && PQstatus(s->connection) == CONNECTION_OK) {
        char *rest = NULL; /* rows that were under way when the COPY was cancelled */
        int length = PQgetCopyData(s->connection, &rest, 0);
        PQfreemem(rest);
        if (length <= 0) {
            break;
        }
    }
    while ((pg = PQgetResult(s->connection)) != NULL) {
        rc = rc == 0 && !is_good(pg) ? fail(s, pg, e) : rc;
        PQclear(pg);
        if (PQstatus(s->connection) == CONNECTION_BAD) {
            break;
        }
    }
    return rc;
}

static char unescape(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'v':
        return '\v';
    default:
        return c;
    }
}

/* Unescapes [from, to) in place; \N alone is null. */
static struct span unescape_value(char *from, const char *to)
{
    if (to - from == 2 && from[0] == '\\' && from[1] == 'N') {
        return (struct span){.data = NULL};
    }
    char *out = from;
    for (const char *p = from; p < to; p++) {
        if (*p == '\\' && p + 1 < to) {
            p++;
            *out++ = unescape(*p);
        } else {
            *out++ = *p;
        }
    }
    return span_make(from, (size_t)(out - from));
}

int pg_copy_split(char *line, size_t length, struct span *ret_values, size_t count)
{
    if (length > 0 && line[length - 1] == '\n') {
        length--;
    }
    size_t found = 0;
    char *from = line;
    const char *end = line + length;
    for (char *p = line;; p++) {
        if (p == end || *p == '\t') {
            if (found == count) {
                return ERR_PARSE;
            }
            ret_values[found++] = unescape_value(from, p);
            from = p + 1;
        }
        if (p == end) {
            return found == count ? 0 : ERR_PARSE;
        }
    }
}

int pg_sync_add_literal(struct pg_sync *s, struct buf *out, struct span text)
{
    char *literal = PQescapeLiteral(s->connection, text.data ? text.data : "", text.length);
    if (!literal) {
        return ERR_INVALID;
    }
    int rc = buf_add_text(out, literal);
    PQfreemem(literal);
    return rc;
}
