/*
 * Redis without blocking, on a libuv loop. With redis_sync.h the only door to hiredis.
 *
 * The client connects by itself and again after every loss (jittered exponential backoff), resolves
 * names off the loop, greets (AUTH, SELECT, CLIENT SETNAME), makes sure that it talks to a
 * master, pings when idle, and limits every wait with its own timers. Of several hosts it takes the
 * next at each try; a Sentinel or a node of a cluster may send it on (GREETING -> RESOLVING):
 *
 *     IDLE -> RESOLVING -> CONNECTING -> GREETING -> READY
 *               |              |            |          |
 *               +--------------+-----+------+----------+--> WAITING -> RESOLVING
 *     any of them -> CLOSING -> CLOSED
 *
 * Redis is the transport, not the record: when a connection is lost, every command that was
 * outstanding is reported as ERR_UNREACHABLE, and it may or may not have been executed. Nothing is
 * sent twice by this client.
 *
 * Use a second client for commands that block (XREADGROUP BLOCK): replies come in order.
 * One loop thread; not thread-safe.
 */
#ifndef COMMON_REDIS_REDIS_H
#define COMMON_REDIS_REDIS_H

#include "common/base/err.h"
#include "common/base/span.h"
#include "common/redis/reply.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uv_loop_s;
struct redis;

/*
 * How a command ended. rc 0: reply is valid during the call. ERR_UNREACHABLE: not connected, or the
 * connection was lost: outcome unknown. ERR_TIMEOUT: no reply in time (the connection is given up
 * then, since replies come in order): outcome unknown. ERR_CANCELLED: the client is closing. When
 * Redis answered with an error: ERR_NOTFOUND for NOGROUP, ERR_EXISTS for BUSYGROUP,
 * ERR_UNREACHABLE for LOADING, READONLY, MASTERDOWN, CLUSTERDOWN and MOVED, ERR_LIMIT for OOM,
 * ERR_IO for MISCONF (its disk is full), else ERR_INVALID; reply is then of type ERROR with Redis's
 * words.
 */
typedef void (*redis_done_cb)(int rc, const struct redis_reply *reply, void *data);
/* The connection is ready, or (cause says why) no longer, or a try failed for another cause than
 * the one before. Never called from inside another call. */
typedef void (*redis_state_cb)(bool is_ready, const char *cause, void *data);
typedef void (*redis_message_cb)(struct span channel, struct span payload, void *data);
typedef void (*redis_close_cb)(void *data);

struct redis_options {
    /* redis://[user:password@]host[:port][,host...][/db], unix:///path[?db=N], or
     * redis+sentinel://[user:password@]host[:port][,host...]/master[/db] */
    const char *url;
    const char *name; /* for CLIENT SETNAME, no spaces; NULL = none */
    /* 0 = the default in brackets */
    int64_t connect_timeout_ms; /* resolving, connecting and greeting together (5000) */
    int64_t command_timeout_ms; /* for commands that do not say (10000) */
    int64_t ping_after_ms;      /* PING after so long without traffic (5000) */
    int64_t backoff_min_ms;     /* first wait before connecting again (50) */
    int64_t backoff_max_ms;     /* the wait doubles up to this, then half of it is jitter (5000) */
    size_t outstanding_max;     /* commands without a reply yet (1024) */
    size_t outgoing_bytes_max;  /* bytes not yet written to the socket (64 MiB) */
    /* 0 = no bound but that of a reply (256 MiB). Of a longer bulk string bulk_bytes_max + 1 bytes
     * arrive; bulks with which a reply would pass reply_bytes_max arrive empty (not those of up to
     * 64 bytes). Never more is held, whatever is in the stream that is read. */
    size_t bulk_bytes_max;
    size_t reply_bytes_max;
    redis_state_cb on_state; /* may be NULL */
    /* One of the caller's keys (all of one slot): a cluster's node that does not hold it sends the
     * client on. NULL: a command finds that out, and fails as ERR_UNREACHABLE once. */
    const char *key;
    /* Makes this a subscriber: it only listens, redis_send is refused. Subscribed again after every
     * reconnect; messages meanwhile are lost. */
    const char *channel;
    redis_message_cb on_message;
    void *data; /* for on_state and on_message */
};

/* Starts connecting. Keeps loop, copies options. ERR_INVALID for a URL that cannot be read (never
 * shown with its password). End with redis_close. */
MUST_CHECK int redis_new(struct redis **ret, struct uv_loop_s *loop,
                         const struct redis_options *options, struct err_buf *e);
bool redis_is_ready(const struct redis *r);
/* "READY", "WAITING"...: for status lines. */
const char *redis_state_name(const struct redis *r);
/* Commands whose callback has not been called. */
size_t redis_outstanding(const struct redis *r);

/*
 * Sends a command. args are borrowed. 0: done is called exactly once, later, never from inside this
 * call; also when not connected (ERR_UNREACHABLE on the loop's next turn, nothing was sent).
 * ERR_LIMIT when a bound is reached, ERR_CANCELLED after redis_close, ERR_INVALID for a subscriber,
 * ERR_NOMEM: then nothing was sent and done is never called. done may be NULL.
 * timeout_ms 0 = the client's default; give blocking commands their BLOCK time plus some seconds.
 */
MUST_CHECK int redis_send(struct redis *r, const struct span *args, size_t count,
                          int64_t timeout_ms, redis_done_cb done, void *data);
/* The same for texts: REDIS_CALL(r, done, data, "XACK", key, group, id). */
MUST_CHECK int redis_send_texts(struct redis *r, const char *const *args, size_t count,
                                int64_t timeout_ms, redis_done_cb done, void *data);
#define REDIS_CALL(r, done, data, ...)                                                             \
    redis_send_texts((r), (const char *const[]){__VA_ARGS__},                                      \
                     sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *), 0, (done), \
                     (data))

/* Gives the connection up and connects again, as if it had been lost. */
void redis_reconnect(struct redis *r);
/* Ends: outstanding commands get ERR_CANCELLED, then, when all handles are closed, closed is called
 * (may be NULL) and r is freed. Nothing else may be called on r afterwards. */
void redis_close(struct redis *r, redis_close_cb closed, void *data);

#endif
