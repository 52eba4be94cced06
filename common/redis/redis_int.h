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

#define REDIS__ELSEWHERE 1

enum {
    REDIS__TEXT_MAX = 1023,             /* of each part of a URL */
    REDIS__HOST_MAX = 255,              /* of a host's name, as in DNS */
    REDIS__PORT_MAX = 5,                /* digits */
    REDIS__SEEDS_MAX = 8,               /* hosts in a URL */
    REDIS__HOPS_MAX = 5,                /* addresses that one try may be sent on to */
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

struct redis__host {
    char name[REDIS__HOST_MAX + 1];
    char port[REDIS__PORT_MAX + 1];
};

/*
 * Where to begin (the seeds), who to be, and the address that is aimed at now. A connection begins
 * at a seed; a Sentinel or a node of a cluster may then send it elsewhere.
 */
struct redis__url {
    bool is_unix;
    bool is_sentinel; /* the seeds are Sentinels, which know the master of the name */
    struct redis__host seeds[REDIS__SEEDS_MAX];
    size_t seed_count;
    char master[REDIS__HOST_MAX + 1];
    char user[REDIS__TEXT_MAX + 1]; /* empty = the default user */
    char password[REDIS__TEXT_MAX + 1];
    bool has_password;
    char sentinel_password[REDIS__TEXT_MAX + 1]; /* empty = none */
    char db[24];                                 /* "0" */
    /* the aim */
    bool is_at_sentinel;              /* the next connection asks a Sentinel */
    char host[REDIS__TEXT_MAX + 1];   /* or the path of the socket */
    char port[REDIS__PORT_MAX + 1];   /* "6379" */
    char shown[REDIS__TEXT_MAX + 64]; /* for messages: no user, no password */
};

/* Aims at the first seed. ERR_INVALID; the message never repeats the URL, since it may hold a
 * password. */
MUST_CHECK int redis__url_parse(struct redis__url *ret, const char *text, struct err_buf *e);
/* Aims at a seed; the number is taken modulo their count. */
void redis__url_aim_seed(struct redis__url *url, unsigned number);
/* Aims at a server that a Sentinel or a cluster named. ERR_INVALID: the names make no sense. */
MUST_CHECK int redis__url_aim(struct redis__url *url, struct span host, struct span port);
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
/* True when a node of a cluster says who has the key now; url then aims there. */
bool redis__reply_is_moved(const struct redis_reply *reply, struct redis__url *url);
/* True for a published message; then also its parts. */
bool redis__reply_is_message(const struct redis_reply *reply, struct span *ret_channel,
                             struct span *ret_payload);

/* --- greeting -------------------------------------------------------------------------------- */

/* What is said on a new connection, in this order; PING finds out whether Redis still loads, SLOT
 * whether another node of a cluster holds the caller's keys. A Sentinel is asked for the master
 * and nothing else. */
enum redis__step {
    REDIS__STEP_NONE = 0, /* a command of the caller */
    REDIS__STEP_SENTINEL_AUTH,
    REDIS__STEP_SENTINEL,
    REDIS__STEP_AUTH,
    REDIS__STEP_SELECT,
    REDIS__STEP_SETNAME,
    REDIS__STEP_ROLE,
    REDIS__STEP_PING,
    REDIS__STEP_SLOT,
    REDIS__STEP_SUBSCRIBE,
    REDIS__STEP_COUNT
};

/* What the caller is to the server; all may be NULL. */
struct redis__caller {
    const char *name;
    const char *channel;
    const char *key; /* one of its keys: all of them are in one slot of a cluster */
};

/* The command of a step into args; returns how many, 0 when the step is not needed for what url
 * aims at. */
size_t redis__step_args(enum redis__step step, const struct redis__url *url,
                        const struct redis__caller *caller, struct span args[3]);
/* Judges the answer: 0, REDIS__ELSEWHERE (url aims at the server that was named: connect there), or
 * a code with the cause and what to do about it. */
MUST_CHECK int redis__step_check(enum redis__step step, struct redis__url *url,
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
