/* See link.h. libuv: the socket may be closed as soon as its poll handle is being closed, the
 * handle's memory only in the close callback. */
#include "common/redis/link.h"

#include "common/base/mem.h"
#include "common/redis/cut.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct link {
    uv_poll_t poll;
    int fd;
    int events; /* what poll waits for */
    struct redisReader *reader;
    struct cut cut;
    struct buf out;
    size_t out_sent; /* bytes of out that are written */
    link_ready_cb ready;
    link_closed_cb closed;
    void *data;
};

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct link *link = poll->data;
    if (status < 0) {
        link->events = 0; /* libuv has stopped the handle */
    }
    link->ready(link, status, events, link->data);
}

static int watch(struct link *link, int events)
{
    if (link->events == events) {
        return 0;
    }
    link->events = events;
    return uv_poll_start(&link->poll, events, on_ready);
}

static void free_parts(struct link *link)
{
    redis__reader_free(link->reader);
    link->reader = NULL;
    buf_close(&link->out);
    (void)close(link->fd); /* nothing can be done about a failure */
    link->fd = -1;
}

int link_new(struct link **ret, uv_loop_t *loop, int fd, size_t outgoing_max, link_ready_cb ready,
             link_closed_cb closed, void *data)
{
    struct link *link = mem_new(sizeof *link);
    if (!link) {
        (void)close(fd);
        return ERR_NOMEM;
    }
    *link = (struct link){.fd = fd, .ready = ready, .closed = closed, .data = data};
    buf_init(&link->out, outgoing_max);
    link->reader = redis__reader_new();
    if (!link->reader || uv_poll_init(loop, &link->poll, fd) != 0) {
        free_parts(link);
        mem_free(link);
        return ERR_NOMEM;
    }
    link->poll.data = link;
    *ret = link;
    /* Cannot fail for a handle that was just made. */
    CHECK(watch(link, UV_WRITABLE) == 0);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    link_closed_cb closed = link->closed;
    void *data = link->data;
    mem_free(link);
    closed(data);
}

void link_close(struct link *link)
{
    uv_close((uv_handle_t *)&link->poll, on_closed);
    free_parts(link);
}

int link_connect_error(const struct link *link)
{
    return redis__socket_error(link->fd);
}

int link_add(struct link *link, const struct span *args, size_t count)
{
    return redis__encode(&link->out, args, count);
}

size_t link_pending(const struct link *link)
{
    return link->out.length - link->out_sent;
}

int link_watch(struct link *link)
{
    return watch(link, UV_READABLE | (link_pending(link) > 0 ? UV_WRITABLE : 0));
}

int link_write(struct link *link)
{
    int rc = 0;
    while (link_pending(link) > 0) {
        ptrdiff_t n =
            redis__socket_write(link->fd, link->out.data + link->out_sent, link_pending(link));
        rc = n < 0 ? (int)n : 0;
        if (n <= 0) {
            break;
        }
        link->out_sent += (size_t)n;
    }
    /* Moving the rest to the front only when it is the smaller part keeps the copying linear. */
    if (link->out_sent * 2 >= link->out.length) {
        buf_consume(&link->out, link->out_sent);
        link->out_sent = 0;
    }
    return rc;
}

void link_bound(struct link *link, size_t bulk_max, size_t reply_max)
{
    cut_init(&link->cut, bulk_max, reply_max);
}

static int pass_on(const char *data, size_t length, void *data_of_pass, struct err_buf *e)
{
    const struct link *link = data_of_pass;
    return redis__reader_feed(link->reader, data, length, e);
}

static int feed(struct link *link, const char *data, size_t length, struct err_buf *e)
{
    bool is_bounded = link->cut.bulk_max > 0 || link->cut.reply_max > 0;
    return is_bounded ? cut_feed(&link->cut, data, length, pass_on, link, e)
                      : pass_on(data, length, link, e);
}

int link_read(struct link *link, struct err_buf *e)
{
    char data[REDIS__READ_BYTES];
    ptrdiff_t n = redis__socket_read(link->fd, data, sizeof data);
    if (n == -EPIPE) {
        return err_set(e, ERR_UNREACHABLE, "the server closed the connection");
    }
    if (n < 0) {
        return err_set(e, ERR_UNREACHABLE, "%s", strerror((int)-n));
    }
    int rc = n > 0 ? feed(link, data, (size_t)n, e) : 0;
    return rc == 0 ? n > 0 : rc;
}

int link_next(struct link *link, struct redis_reply **ret, struct err_buf *e)
{
    return redis__reader_next(link->reader, ret, e);
}
