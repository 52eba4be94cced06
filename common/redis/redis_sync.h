/*
 * Redis for programs that may wait: the CLI. Blocking, one connection, no reconnecting.
 *
 * Failures are as in redis.h: ERR_UNREACHABLE when the server cannot be reached or was lost (exit
 * code 4 of the CLI), ERR_TIMEOUT, and the codes for errors that Redis answers. After
 * ERR_UNREACHABLE or ERR_TIMEOUT the client can only be closed. Not thread-safe.
 */
#ifndef COMMON_REDIS_REDIS_SYNC_H
#define COMMON_REDIS_REDIS_SYNC_H

#include "common/base/err.h"
#include "common/base/span.h"
#include "common/redis/reply.h"

#include <stddef.h>
#include <stdint.h>

struct redis_sync;

/* Connects, authenticates, selects; url and key (may be NULL) as in redis_options. timeout_ms
 * limits connecting and is the default for commands. *ret: close with redis_sync_close. */
MUST_CHECK int redis_sync_open(struct redis_sync **ret, const char *url, const char *name,
                               const char *key, int64_t timeout_ms, struct err_buf *e);
void redis_sync_close(struct redis_sync *r);

/* Sends and waits for the reply, which is valid until the next call on r. *ret_reply may be set
 * also on failure (an error reply), else NULL; ret_reply may be NULL. timeout_ms 0 = default. */
MUST_CHECK int redis_sync_send(struct redis_sync *r, const struct span *args, size_t count,
                               int64_t timeout_ms, const struct redis_reply **ret_reply,
                               struct err_buf *e);
MUST_CHECK int redis_sync_send_texts(struct redis_sync *r, const char *const *args, size_t count,
                                     int64_t timeout_ms, const struct redis_reply **ret_reply,
                                     struct err_buf *e);
#define REDIS_SYNC_CALL(r, ret_reply, e, ...)                                                      \
    redis_sync_send_texts((r), (const char *const[]){__VA_ARGS__},                                 \
                          sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *), 0,    \
                          (ret_reply), (e))
/*
 * For many commands in one round trip: add queues, flush sends them all and reads every reply,
 * which it gives to visit (rc as above; may be NULL). Failing replies do not stop it: the first
 * failure is returned. At most 65,536 commands between flushes: ERR_LIMIT.
 */
MUST_CHECK int redis_sync_add(struct redis_sync *r, const struct span *args, size_t count);
MUST_CHECK int redis_sync_flush(struct redis_sync *r, int64_t timeout_ms,
                                void (*visit)(int rc, const struct redis_reply *reply, void *data),
                                void *data, struct err_buf *e);

/* Listens on a channel; afterwards only redis_sync_wait and redis_sync_close may be called. */
MUST_CHECK int redis_sync_subscribe(struct redis_sync *r, const char *channel, struct err_buf *e);
/* Waits for the next message, valid until the next call. ERR_TIMEOUT when none came in time (0 =
 * takes only what is there): the client stays usable. */
MUST_CHECK int redis_sync_wait(struct redis_sync *r, int64_t timeout_ms, struct span *ret_payload,
                               struct err_buf *e);
/* The socket, for poll() together with others; -1 when lost. */
int redis_sync_fd(const struct redis_sync *r);

#endif
