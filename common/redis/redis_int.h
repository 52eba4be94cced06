/*
 * What the two clients share: the address, the socket, the protocol, the greeting. Private.
 *
 * Of hiredis only the protocol reader and its replies are used, which are the same in 0.14 and 1.x;
 * its contexts are not: they resolve names while the loop waits, leave sockets open for children,
 * free themselves inside callbacks, and have no bounds.
 */
#ifndef COMMON_REDIS_REDIS_INT_H
#define COMMON_REDIS_REDIS_INT_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/redis/reply.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct redisReader;

enum {
    REDIS__TEXT_MAX = 1023,             /* of each part of a URL */
    REDIS__ARGS_MAX = 1 << 20,          /* Redis's own limit of a command */
    REDIS__REPLY_BYTES_MAX = 256 << 20, /* of one reply: far above anything we ask for */
    REDIS__READ_BYTES = 32768,          /* read from a socket at once */
    REDIS__CONNECT_MS = 5000,           /* defaults of redis.h */
    REDIS__COMMAND_MS = 10000,
    REDIS__PING_MS = 5000,
    REDIS__BACKOFF_MIN_MS = 50,
    REDIS__BACKOFF_MAX_MS = 5000,
    REDIS__OUTSTANDING_MAX = 1024,
    REDIS__OUTGOING_BYTES_MAX = 64 << 20
};

/* --- address --------------------------------------------------------------------------------- */

struct redis__url {
    bool is_unix;
    char host[REDIS__TEXT_MAX + 1]; /* or the path of the socket */
    char port[24];                  /* "6379" */
    char user[REDIS__TEXT_MAX + 1]; /* empty = the default user */
    char password[REDIS__TEXT_MAX + 1];
    bool has_password;
    char db[24];                      /* "0" */
    char shown[REDIS__TEXT_MAX + 32]; /* for messages: no user, no password */
};

/* ERR_INVALID; the message never repeats the URL, since it may hold a password. */
MUST_CHECK int redis__url_parse(struct redis__url *ret, const char *text, struct err_buf *e);
void redis__url_wipe(struct redis__url *url);

/* --- socket ---------------------------------------------------------------------------------- */

/* Starts to connect: non-blocking, closed on exec. 0 (wait until writable, then ask
 * redis__socket_error) or -errno. */
MUST_CHECK int redis__socket_open(const struct sockaddr *address, socklen_t length, int *ret_fd);
MUST_CHECK int redis__socket_open_unix(const char *path, int *ret_fd);
/* 0 or -errno of what happened to the socket. */
int redis__socket_error(int fd);
/* Bytes moved, 0 = try again when ready, -errno; an end of the stream is -EPIPE. */
ptrdiff_t redis__socket_read(int fd, void *data, size_t length);
ptrdiff_t redis__socket_write(int fd, const void *data, size_t length);

/* --- protocol -------------------------------------------------------------------------------- */

/* Adds a command. ERR_LIMIT, ERR_NOMEM or ERR_INVALID: nothing was added. */
MUST_CHECK int redis__encode(struct buf *out, const struct span *args, size_t count);
/* Upper bound of what redis__encode adds. */
size_t redis__encoded_max(const struct span *args, size_t count);
/* Texts as spans: into fixed when they fit, else a block to be freed with mem_free when it is not
 * fixed. NULL when out of memory. ERR_INVALID texts (NULL) give spans that redis__encode refuses.
 */
struct span *redis__spans(const char *const *texts, size_t count, struct span *fixed, size_t room);

struct redisReader *redis__reader_new(void);
void redis__reader_free(struct redisReader *reader);
MUST_CHECK int redis__reader_feed(struct redisReader *reader, const void *data, size_t length,
                                  struct err_buf *e);
/* 1 and a reply (redis__reply_free), 0 when more bytes are needed, ERR_CORRUPT for what is not
 * Redis's protocol, ERR_LIMIT for too large or too deep a reply. */
MUST_CHECK int redis__reader_next(struct redisReader *reader, struct redis_reply **ret,
                                  struct err_buf *e);
void redis__reply_free(struct redis_reply *reply);

/* 0, or the code for an error that Redis answered (see redis_done_cb). */
int redis__reply_code(const struct redis_reply *reply);
/* The server refuses to write or to answer since it is no (working) master any more. */
bool redis__reply_is_demotion(const struct redis_reply *reply);
/* True for a published message; then also its parts. */
bool redis__reply_is_message(const struct redis_reply *reply, struct span *ret_channel,
                             struct span *ret_payload);

/* --- greeting -------------------------------------------------------------------------------- */

/* What is said on a new connection, in this order; PING finds out whether Redis still loads. */
enum redis__step {
    REDIS__STEP_NONE = 0, /* a command of the caller */
    REDIS__STEP_AUTH,
    REDIS__STEP_SELECT,
    REDIS__STEP_SETNAME,
    REDIS__STEP_ROLE,
    REDIS__STEP_PING,
    REDIS__STEP_SUBSCRIBE,
    REDIS__STEP_COUNT
};

/* The command of a step into args; returns how many, 0 when the step is not needed. */
size_t redis__step_args(enum redis__step step, const struct redis__url *url, const char *name,
                        const char *channel, struct span args[3]);
/* Judges the answer: 0, or a code with the cause and what to do about it. */
MUST_CHECK int redis__step_check(enum redis__step step, const struct redis__url *url,
                                 const struct redis_reply *reply, struct err_buf *e);
bool redis__name_is_valid(const char *name);

/* --- states of the client on a loop ---------------------------------------------------------- */

enum redis__state {
    REDIS__STATE_IDLE = 0,
    REDIS__STATE_RESOLVING,
    REDIS__STATE_CONNECTING,
    REDIS__STATE_GREETING,
    REDIS__STATE_READY,
    REDIS__STATE_WAITING,
    REDIS__STATE_CLOSING,
    REDIS__STATE_CLOSED,
    REDIS__STATE_COUNT
};

const char *redis__state_text(enum redis__state state);
bool redis__state_may_move(enum redis__state from, enum redis__state to);
/* The wait before the attempt-th try (0 = the first): doubles from min_ms up to max_ms, and half of
 * it is chance (unit in [0, 1)), so that many clients do not come back at once. */
int64_t redis__backoff_ms(unsigned attempt, int64_t min_ms, int64_t max_ms, double unit);

#endif
