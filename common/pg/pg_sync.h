/*
 * PostgreSQL for programs that may wait: CLI, runner, migrations. Blocking, one connection.
 *
 * Failures: err_buf gets one line without data; the code is pg_code_of's, or ERR_UNREACHABLE when
 * the server cannot be reached or was lost (then the client can only be closed), ERR_TIMEOUT,
 * ERR_CANCELLED after pg_sync_cancel. pg_sync_error has SQLSTATE and constraint. Keepalives and
 * tcp_user_timeout end a wait for a vanished server. Not thread-safe but for pg_sync_cancel.
 */
#ifndef COMMON_PG_PG_SYNC_H
#define COMMON_PG_PG_SYNC_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/pg/result.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pg_sync;

/* Connects within timeout_ms (0 = 10 s). *ret: close with pg_sync_close, which rolls back what is
 * open. NOTICEs go to the debug log. */
MUST_CHECK int pg_sync_open(struct pg_sync **ret, const char *url, const char *application_name,
                            int64_t timeout_ms, struct err_buf *e);
void pg_sync_close(struct pg_sync *s);
/* The last failure's details; valid until the next call on s. */
const struct pg_error *pg_sync_error(const struct pg_sync *s);
/* Server's version: 150020. */
int pg_sync_version(const struct pg_sync *s);
/* Limits each later statement (SET statement_timeout); 0 = no limit. */
MUST_CHECK int pg_sync_limit(struct pg_sync *s, int64_t timeout_ms, struct err_buf *e);

/* One statement with text parameters (NULL = null). *ret (may be NULL when no rows matter): free
 * with pg_result_free; untouched on failure. */
MUST_CHECK int pg_sync_exec(struct pg_sync *s, const char *sql, const char *const *params,
                            size_t count, struct pg_result **ret, struct err_buf *e);
#define PG_SYNC_EXEC(s, ret, e, sql, ...)                                                          \
    pg_sync_exec((s), (sql), (const char *const[]){__VA_ARGS__},                                   \
                 sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *), (ret), (e))
/* The same with binary parameters or results, or prepared under query->name. */
MUST_CHECK int pg_sync_query(struct pg_sync *s, const struct pg_query *query,
                             struct pg_result **ret, struct err_buf *e);
void pg_result_free(struct pg_result *r);
/* A health check: connects, asks what is answered by one true or false, and closes; connecting and
 * the statement may each take timeout_ms. *ret is false for no row and for null. */
MUST_CHECK int pg_sync_ask(const char *url, const char *application_name, int64_t timeout_ms,
                           const struct pg_query *question, bool *ret, struct err_buf *e);
/* Any number of statements without parameters: a migration. All or nothing unless the script has
 * own transactions; the message names the line of the script. */
MUST_CHECK int pg_sync_run(struct pg_sync *s, const char *script, struct err_buf *e);
/* Rows one by one, for reports of any size: visit gets a result of one row; other than 0 from it
 * ends the query and is returned. */
MUST_CHECK int pg_sync_each(struct pg_sync *s, const struct pg_query *query,
                            int (*visit)(const struct pg_result *row, void *data), void *data,
                            struct err_buf *e);

MUST_CHECK int pg_sync_begin(struct pg_sync *s, struct err_buf *e);
MUST_CHECK int pg_sync_commit(struct pg_sync *s, struct err_buf *e);
/* Also fine when no transaction is open or the connection is lost. */
void pg_sync_rollback(struct pg_sync *s);

/* --- COPY IN: COPY t (a, b) FROM STDIN ------------------------------------------------------- */

/* Starts; then any number of pg_sync_copy_add, then pg_sync_copy_end or pg_sync_copy_abort. */
MUST_CHECK int pg_sync_copy_in(struct pg_sync *s, const char *sql, struct err_buf *e);
/* Bytes in the format of the COPY; any split is fine. Waits when the server is slower. */
MUST_CHECK int pg_sync_copy_add(struct pg_sync *s, const void *data, size_t length,
                                struct err_buf *e);
/* Ends it and gets the number of rows. On failure nothing was copied. */
MUST_CHECK int pg_sync_copy_end(struct pg_sync *s, int64_t *ret_rows, struct err_buf *e);
/* Ends it with nothing copied (the surrounding transaction is failed then). */
void pg_sync_copy_abort(struct pg_sync *s);

/* Builds rows of the text format: values, then pg_copy_end_row. A value is escaped; data NULL =
 * null. is_first tells whether a tab must come before it. ERR_LIMIT, ERR_NOMEM. */
MUST_CHECK int pg_copy_add_value(struct buf *row, struct span value, bool is_first);
/* A bytea value. */
MUST_CHECK int pg_copy_add_bytes(struct buf *row, struct span bytes, bool is_first);
MUST_CHECK int pg_copy_end_row(struct buf *row);

/* --- COPY OUT: COPY (SELECT ...) TO STDOUT --------------------------------------------------- */

/* Calls visit for each row as it arrives, in the format of the COPY (text: a line with its
 * newline); line may be changed in place and is valid during the call. Other than 0 from visit
 * cancels the COPY and is returned. Memory: one row. */
MUST_CHECK int pg_sync_copy_out(struct pg_sync *s, const char *sql,
                                int (*visit)(char *line, size_t length, void *data), void *data,
                                struct err_buf *e);
/* Cuts a text-format line into exactly count values, unescaped in place (null = data NULL).
 * ERR_PARSE when it has another number of them. */
MUST_CHECK int pg_copy_split(char *line, size_t length, struct span *ret_values, size_t count);

/* Adds 'text' as a literal with quoting: COPY and SET take no parameters. */
MUST_CHECK int pg_sync_add_literal(struct pg_sync *s, struct buf *out, struct span text);

/* Asks the server to end the statement that s runs: it then fails with ERR_CANCELLED. May be called
 * from another thread or a signal handler, between open and close. */
void pg_sync_cancel(struct pg_sync *s);

#endif
