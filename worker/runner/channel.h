/*
 * The runner's end of the socket to its supervisor: frames out (blocking), frames in (polled).
 */
#ifndef WORKER_RUNNER_CHANNEL_H
#define WORKER_RUNNER_CHANNEL_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/message/message.h"

struct channel {
    /* private */
    int fd;
    struct message_frames in;
    struct buf out;
};

/* Keeps fd, which the caller closes. */
void channel_init(struct channel *c, int fd);
void channel_close(struct channel *c);
/* Sends one frame whole. ERR_IO when the supervisor is gone, ERR_LIMIT, ERR_NOMEM, ERR_INVALID. */
MUST_CHECK int channel_send(struct channel *c, const struct message_pipe *m, struct err_buf *e);
/*
 * The next message, waiting up to timeout_ms (-1: for ever). Its spans are valid until the next
 * call. ERR_TIMEOUT, ERR_IO (the supervisor is gone), ERR_PARSE or ERR_LIMIT (broken stream).
 * A signal ends the wait early with ERR_TIMEOUT.
 */
MUST_CHECK int channel_receive(struct channel *c, int timeout_ms, struct message_pipe *ret,
                               struct err_buf *e);

#endif
