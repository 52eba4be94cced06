/*
 * PostgreSQL without blocking: libpq in pipeline mode on a libuv loop. With pg_sync.h the only door
 * to libpq.
 *
 * Connects by itself and again after every loss (jittered exponential backoff); host names are
 * resolved off the loop; waits have own timers. Queries are sent at once, one after the other,
 * without waiting for answers; each is its own transaction (a sync follows each). Put what must
 * be atomic into one statement: a function.
 *
 *     IDLE -> RESOLVING -> CONNECTING -> READY
 *               |              |           |
 *               +--------------+-----------+--> WAITING -> RESOLVING
 *     any of them -> CLOSING -> CLOSED
 *
 * When the connection is lost, every query that was outstanding is reported as ERR_UNREACHABLE and
 * may or may not have been committed: statements must be safe to send again. Nothing is sent twice
 * by this client. One loop thread; not thread-safe.
 */
#ifndef COMMON_PG_PG_H
#define COMMON_PG_PG_H

#include "common/base/err.h"
#include "common/pg/result.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uv_loop_s;
struct pg;

/*
 * How a query ended. rc 0: result is valid during the call, error is NULL. Else result is NULL and
 * error says what: a code of pg_code_of when the server refused; ERR_UNREACHABLE: not connected, or
 * lost: outcome unknown; ERR_TIMEOUT: no answer in time (the connection is given up when the server
 * itself did not cancel): outcome unknown; ERR_CANCELLED: the client is closing.
 */
typedef void (*pg_done_cb)(int rc, const struct pg_result *result, const struct pg_error *error,
                           void *data);
/* The connection is ready, or (cause says why) no longer. Never called from inside another call. */
typedef void (*pg_state_cb)(bool is_ready, const char *cause, void *data);
/* Somebody sent NOTIFY on the channel that options.listen names. Any number may have become one,
 * and those sent while the connection was away are lost: it says "look now", no more. */
typedef void (*pg_notified_cb)(void *data);
typedef void (*pg_close_cb)(void *data);

struct pg_options {
    const char *url; /* postgresql://... or key=value ..., as libpq reads it */
    const char *application_name;
    const char *role; /* SET ROLE after connecting; NULL = none */
    /* 0 = the default in brackets */
    int64_t connect_timeout_ms; /* resolving and connecting together (10000) */
    int64_t query_timeout_ms;   /* from sending to answer, waiting in line included (30000) */
    int64_t backoff_min_ms;     /* first wait before connecting again (100) */
    int64_t backoff_max_ms;     /* the wait doubles up to this, then half of it is jitter (5000) */
    size_t outstanding_max;     /* queries without an answer yet (256) */
    pg_state_cb on_state;       /* may be NULL */
    const char *listen;         /* a channel, an SQL name in lower case; kept; NULL = none */
    pg_notified_cb on_notified; /* with listen */
    void *data;
};

/* Starts connecting. Keeps loop, copies options. ERR_INVALID for a URL that cannot be read (never
 * shown with its password). End with pg_close. */
MUST_CHECK int pg_new(struct pg **ret, struct uv_loop_s *loop, const struct pg_options *options,
                      struct err_buf *e);
bool pg_is_ready(const struct pg *p);
/* "READY", "WAITING"...: for status lines. */
const char *pg_state_name(const struct pg *p);
/* Queries whose callback has not been called. */
size_t pg_outstanding(const struct pg *p);

/*
 * Sends a query. query and all it points to are borrowed. 0: done is called exactly once, later,
 * never from inside this call; also when not connected (ERR_UNREACHABLE on the loop's next turn,
 * nothing was sent). ERR_LIMIT when outstanding_max is reached, ERR_CANCELLED after pg_close,
 * ERR_NOMEM: then nothing was sent and done is never called. done may be NULL.
 */
MUST_CHECK int pg_send(struct pg *p, const struct pg_query *query, pg_done_cb done, void *data);
/* Text parameters only; NULL among them = null. sql is prepared under name when that is not
 * NULL. */
MUST_CHECK int pg_send_texts(struct pg *p, const char *name, const char *sql,
                             const char *const *params, size_t count, pg_done_cb done, void *data);

/* Gives the connection up and connects again, as if it had been lost. */
void pg_reconnect(struct pg *p);
/* Ends: outstanding queries get ERR_CANCELLED, then, when all handles are closed, closed is called
 * (may be NULL) and p is freed. Nothing else may be called on p afterwards. */
void pg_close(struct pg *p, pg_close_cb closed, void *data);

#endif
