/* Frames over one blocking socket; reading never blocks longer than the caller allows. */
#include "worker/runner/channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024 };

void channel_init(struct channel *c, int fd)
{
    c->fd = fd;
    message_frames_init(&c->in);
    buf_init(&c->out, (size_t)MESSAGE_FRAME_MAX + 4);
}

void channel_close(struct channel *c)
{
    message_frames_close(&c->in);
    buf_close(&c->out);
}

int channel_send(struct channel *c, const struct message_pipe *m, struct err_buf *e)
{
    buf_reset(&c->out);
    int rc = message_encode_frame(m, &c->out, e);
    if (rc != 0) {
        return rc;
    }
    while (c->out.length > 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.length, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_set(e, ERR_IO, "the supervisor is gone: %s", strerror(errno));
        }
        buf_consume(&c->out, (size_t)n);
    }
    return 0;
}

static int read_some(struct channel *c, int timeout_ms, struct err_buf *e)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    int ready = poll(&p, 1, timeout_ms);
    if (ready == 0 || (ready < 0 && errno == EINTR)) {
        return ERR_TIMEOUT;
    }
    if (ready < 0) {
        return err_set(e, ERR_IO, "cannot wait for the supervisor: %s", strerror(errno));
    }
    char bytes[READ_BYTES];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        return ERR_TIMEOUT;
    }
    if (n <= 0) {
        return err_set(e, ERR_IO, "the supervisor closed the pipe");
    }
    return message_frames_add(&c->in, bytes, (size_t)n);
}

int channel_receive(struct channel *c, int timeout_ms, struct message_pipe *ret, struct err_buf *e)
{
    for (;;) {
        struct span frame;
        int rc = message_frames_next(&c->in, &frame);
        if (rc == 0) {
            return message_decode_frame(frame, ret, e);
        }
        if (rc != ERR_NOTFOUND) {
            return err_set(e, rc, "the pipe from the supervisor is broken");
        }
        rc = read_some(c, timeout_ms, e);
        if (rc != 0) {
            return rc;
        }
    }
}
