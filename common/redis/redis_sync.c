/*
 * The client that waits: a non-blocking socket and poll(), so that every wait has an end, and that
 * a long pipeline is written and its replies are read at the same time.
 */
#include "common/redis/redis_sync.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/redis/redis_int.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
    TEXTS_FIXED = 32,
    ADDED_MAX = 65536,          /* commands between two flushes */
    ADDED_BYTES_MAX = 256 << 20 /* and their bytes */
};

struct redis_sync {
    int fd; /* -1 = lost, or never connected */
    struct redis__url url;
    struct redisReader *reader;
    struct buf out;
    size_t out_sent;           /* bytes of out that are written */
    size_t added;              /* commands since the last flush */
    struct redis_reply *reply; /* lent to the caller until the next call */
    int64_t timeout_ms;
    bool is_listening;
};

/* --- waiting --------------------------------------------------------------------------------- */

/* Nothing can be said on this connection any more. */
static int give_up(struct redis_sync *r, int rc)
{
    if (r->fd >= 0) {
        (void)close(r->fd); /* it is given up anyway */
        r->fd = -1;
    }
    return rc;
}

static int lost(struct redis_sync *r, const char *cause, struct err_buf *e)
{
    return give_up(r, err_set(e, ERR_UNREACHABLE, "redis at %.200s: %s", r->url.shown, cause));
}

static int timed_out(const struct redis_sync *r, struct err_buf *e)
{
    return err_set(e, ERR_TIMEOUT, "redis at %.200s: no answer in time", r->url.shown);
}

/* Waits for events on fd: what is ready, 0 after deadline_ms, -errno. */
static int wait_for(int fd, short events, int64_t deadline_ms)
{
    for (;;) {
        int64_t left = deadline_ms - clock_mono_ms();
        left = left < 0 ? 0 : left;
        struct pollfd ready = {.fd = fd, .events = events};
        int count = poll(&ready, 1, left < INT32_MAX ? (int)left : INT32_MAX);
        if (count > 0) {
            return ready.revents;
        }
        if (count < 0 && errno != EINTR) {
            return -errno;
        }
        if (count == 0 && left < INT32_MAX) {
            return 0;
        }
    }
}

static int write_some(struct redis_sync *r, struct err_buf *e)
{
    ptrdiff_t n =
        redis__socket_write(r->fd, r->out.data + r->out_sent, r->out.length - r->out_sent);
    if (n < 0) {
        return lost(r, strerror((int)-n), e);
    }
    r->out_sent += (size_t)n;
    return 0;
}

static int read_some(struct redis_sync *r, struct err_buf *e)
{
    char data[REDIS__READ_BYTES];
    ptrdiff_t n = redis__socket_read(r->fd, data, sizeof data);
    if (n == -EPIPE) {
        return lost(r, "the server closed the connection", e);
    }
    if (n < 0) {
        return lost(r, strerror((int)-n), e);
    }
    int rc = n > 0 ? redis__reader_feed(r->reader, data, (size_t)n, e) : 0;
    return rc == 0 ? 0 : give_up(r, ERR_UNREACHABLE);
}

/* Writes and reads once. ERR_TIMEOUT: nothing was possible until deadline_ms. */
static int transfer(struct redis_sync *r, int64_t deadline_ms, struct err_buf *e)
{
    bool wants_write = r->out_sent < r->out.length;
    short events = (short)(POLLIN | (wants_write ? POLLOUT : 0));
    int ready = wait_for(r->fd, events, deadline_ms);
    if (ready == 0) {
        return timed_out(r, e);
    }
    if (ready < 0) {
        return lost(r, strerror(-ready), e);
    }
    /* What Redis said comes before the error of a socket: it may be the cause. */
    int rc = (ready & (POLLIN | POLLHUP | POLLERR)) ? read_some(r, e) : 0;
    return rc == 0 && (ready & POLLOUT) ? write_some(r, e) : rc;
}

/* The next reply becomes r->reply. ERR_TIMEOUT leaves the connection as it is. */
static int next_reply(struct redis_sync *r, int64_t deadline_ms, struct err_buf *e)
{
    redis__reply_free(r->reply);
    r->reply = NULL;
    for (;;) {
        if (r->fd < 0) {
            return err_set(e, ERR_UNREACHABLE, "redis at %.200s: the connection was lost before",
                           r->url.shown);
        }
        struct err_buf why = {0};
        int found = redis__reader_next(r->reader, &r->reply, &why);
        if (found < 0) {
            return lost(r, why.text, e);
        }
        if (found > 0) {
            return 0;
        }
        int rc = transfer(r, deadline_ms, e);
        if (rc != 0) {
            return rc;
        }
    }
}

/* --- connecting ------------------------------------------------------------------------------ */

static int try_address(struct redis_sync *r, const struct addrinfo *address, int64_t deadline_ms)
{
    int fd = -1;
    int rc = address ? redis__socket_open(address->ai_addr, address->ai_addrlen, &fd)
                     : redis__socket_open_unix(r->url.host, &fd);
    if (rc != 0) {
        return rc;
    }
    int ready = wait_for(fd, POLLOUT, deadline_ms);
    rc = ready == 0 ? -ETIMEDOUT : ready < 0 ? ready : redis__socket_error(fd);
    if (rc != 0) {
        (void)close(fd); /* nothing was sent */
        return rc;
    }
    r->fd = fd;
    return 0;
}

/* Each address has an equal part of the time that is left. */
static int try_addresses(struct redis_sync *r, const struct addrinfo *address, int64_t deadline_ms)
{
    int rc = -ENOENT;
    for (; address && r->fd < 0; address = address->ai_next) {
        int64_t count = 0;
        for (const struct addrinfo *a = address; a; a = a->ai_next) {
            count++;
        }
        int64_t now = clock_mono_ms();
        rc = try_address(r, address, now + (deadline_ms - now) / count);
    }
    return rc;
}

static int connect_socket(struct redis_sync *r, int64_t deadline_ms, struct err_buf *e)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    int rc = 0;
    if (r->url.is_unix) {
        rc = try_address(r, NULL, deadline_ms);
    } else {
        int code = getaddrinfo(r->url.host, r->url.port, &hints, &addresses);
        if (code != 0) {
            return err_set(e, ERR_UNREACHABLE, "redis at %.200s: the host name is not resolved: %s",
                           r->url.shown, gai_strerror(code));
        }
        rc = try_addresses(r, addresses, deadline_ms);
        freeaddrinfo(addresses);
    }
    return rc == 0 ? 0 : lost(r, strerror(-rc), e);
}

static int say_step(struct redis_sync *r, enum redis__step step, const struct redis__caller *caller,
                    int64_t deadline_ms, struct err_buf *e)
{
    struct span args[3];
    size_t count = redis__step_args(step, &r->url, caller, args);
    if (count == 0) {
        return 0;
    }
    buf_reset(&r->out);
    r->out_sent = 0;
    int rc = redis__encode(&r->out, args, count);
    if (rc != 0) {
        return err_set(e, rc, "redis: %s", err_text(rc));
    }
    rc = next_reply(r, deadline_ms, e);
    return rc == 0 ? redis__step_check(step, &r->url, r->reply, e) : rc;
}

static int open_and_greet(struct redis_sync *r, const struct redis__caller *caller,
                          int64_t deadline_ms, struct err_buf *e)
{
    int rc = connect_socket(r, deadline_ms, e);
    for (enum redis__step step = REDIS__STEP_NONE + 1; rc == 0 && step <= REDIS__STEP_SLOT;
         step++) {
        rc = say_step(r, step, caller, deadline_ms, e);
    }
    return rc;
}

/* From one seed to the server that has the keys. */
static int open_from_seed(struct redis_sync *r, const struct redis__caller *caller,
                          int64_t deadline_ms, struct err_buf *e)
{
    int rc = open_and_greet(r, caller, deadline_ms, e);
    for (int hop = 0; rc == REDIS__ELSEWHERE && hop < REDIS__HOPS_MAX; hop++) {
        (void)give_up(r, 0);
        rc = open_and_greet(r, caller, deadline_ms, e);
    }
    return rc == REDIS__ELSEWHERE ? lost(r, "it sends us on, as those before it did", e) : rc;
}

/* Each seed has an equal part of the time that is left. */
static int open_from_seeds(struct redis_sync *r, const struct redis__caller *caller,
                           struct err_buf *e)
{
    int64_t deadline_ms = clock_mono_ms() + r->timeout_ms;
    size_t seeds = r->url.is_unix ? 1 : r->url.seed_count;
    int rc = ERR_UNREACHABLE;
    for (size_t i = 0; i < seeds && rc != 0; i++) {
        int64_t now = clock_mono_ms();
        int64_t part = (deadline_ms - now) / (int64_t)(seeds - i);
        (void)give_up(r, 0);
        redis__url_aim_seed(&r->url, (unsigned)i);
        rc = open_from_seed(r, caller, now + part, e);
    }
    return rc;
}

int redis_sync_open(struct redis_sync **ret, const char *url, const char *name, const char *key,
                    int64_t timeout_ms, struct err_buf *e)
{
    const struct redis__caller caller = {.name = name, .key = key};
    struct redis_sync *r = mem_new(sizeof *r);
    if (!r) {
        return err_set(e, ERR_NOMEM, "redis: %s", err_text(ERR_NOMEM));
    }
    r->fd = -1;
    r->timeout_ms = timeout_ms > 0 ? timeout_ms : REDIS__COMMAND_MS;
    buf_init(&r->out, ADDED_BYTES_MAX);
    int rc = redis__url_parse(&r->url, url, e);
    if (rc == 0 && !redis__name_is_valid(name)) {
        rc = err_set(e, ERR_INVALID, "redis client name \"%.100s\" has spaces", name);
    }
    r->reader = rc == 0 ? redis__reader_new() : NULL;
    if (rc == 0) {
        rc = r->reader ? open_from_seeds(r, &caller, e)
                       : err_set(e, ERR_NOMEM, "redis: %s", err_text(ERR_NOMEM));
    }
    if (rc != 0) {
        redis_sync_close(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void redis_sync_close(struct redis_sync *r)
{
    if (!r) {
        return;
    }
    (void)give_up(r, 0);
    redis__reply_free(r->reply);
    redis__reader_free(r->reader);
    buf_close(&r->out);
    redis__url_wipe(&r->url);
    mem_free(r);
}

/* --- commands -------------------------------------------------------------------------------- */

static int64_t deadline_of(const struct redis_sync *r, int64_t timeout_ms)
{
    return clock_mono_ms() + (timeout_ms > 0 ? timeout_ms : r->timeout_ms);
}

/* The code of r->reply, with Redis's words. */
static int judge(const struct redis_sync *r, struct err_buf *e)
{
    int rc = redis__reply_code(r->reply);
    struct span text = redis_reply_text(r->reply);
    if (rc != 0) {
        (void)err_set(e, rc, "redis at %.200s: %.*s", r->url.shown,
                      text.length < 200 ? (int)text.length : 200, text.data);
    }
    return rc;
}

int redis_sync_add(struct redis_sync *r, const struct span *args, size_t count)
{
    CHECK(!r->is_listening);
    if (r->added == 0) {
        buf_reset(&r->out);
        r->out_sent = 0;
    }
    if (r->added == ADDED_MAX) {
        return ERR_LIMIT;
    }
    int rc = redis__encode(&r->out, args, count);
    r->added += rc == 0;
    return rc;
}

int redis_sync_flush(struct redis_sync *r, int64_t timeout_ms,
                     void (*visit)(int rc, const struct redis_reply *reply, void *data), void *data,
                     struct err_buf *e)
{
    int64_t deadline_ms = deadline_of(r, timeout_ms);
    int first = 0;
    int down = 0; /* why no more replies come */
    for (; r->added > 0; r->added--) {
        if (down == 0) {
            down = next_reply(r, deadline_ms, e);
        }
        int rc = down != 0 ? down : judge(r, first == 0 ? e : NULL);
        first = first == 0 ? rc : first;
        if (visit) {
            visit(rc, r->reply, data);
        }
    }
    return down != 0 ? give_up(r, down) : first;
}

int redis_sync_send(struct redis_sync *r, const struct span *args, size_t count, int64_t timeout_ms,
                    const struct redis_reply **ret_reply, struct err_buf *e)
{
    CHECK(r->added == 0);
    if (ret_reply) {
        *ret_reply = NULL;
    }
    int rc = redis_sync_add(r, args, count);
    if (rc != 0) {
        return err_set(e, rc, "redis: cannot make the command: %s", err_text(rc));
    }
    rc = redis_sync_flush(r, timeout_ms, NULL, NULL, e);
    if (ret_reply) {
        *ret_reply = r->reply;
    }
    return rc;
}

int redis_sync_send_texts(struct redis_sync *r, const char *const *args, size_t count,
                          int64_t timeout_ms, const struct redis_reply **ret_reply,
                          struct err_buf *e)
{
    struct span fixed[TEXTS_FIXED];
    struct span *spans = redis__spans(args, count, fixed, TEXTS_FIXED);
    if (!spans) {
        return err_set(e, ERR_NOMEM, "redis: %s", err_text(ERR_NOMEM));
    }
    int rc = redis_sync_send(r, spans, count, timeout_ms, ret_reply, e);
    if (spans != fixed) {
        mem_free(spans);
    }
    return rc;
}

/* --- listening ------------------------------------------------------------------------------- */

int redis_sync_subscribe(struct redis_sync *r, const char *channel, struct err_buf *e)
{
    CHECK(r->added == 0 && !r->is_listening);
    const struct redis__caller caller = {.channel = channel};
    int rc = say_step(r, REDIS__STEP_SUBSCRIBE, &caller, deadline_of(r, 0), e);
    if (rc == ERR_TIMEOUT) {
        return give_up(r, rc);
    }
    r->is_listening = rc == 0;
    return rc;
}

int redis_sync_wait(struct redis_sync *r, int64_t timeout_ms, struct span *ret_payload,
                    struct err_buf *e)
{
    CHECK(r->is_listening);
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    struct span channel;
    int rc;
    do {
        rc = next_reply(r, deadline_ms, e);
    } while (rc == 0 && !redis__reply_is_message(r->reply, &channel, ret_payload));
    return rc;
}

int redis_sync_fd(const struct redis_sync *r)
{
    return r->fd;
}
