/*
 * One connection of the client on a loop: socket, uv_poll, reader, bytes to write. Private.
 *
 * A link is made for one connection and never used again, so its address is the generation: a
 * client compares `r->link == link` after everything that may have ended it.
 */
#ifndef COMMON_REDIS_LINK_H
#define COMMON_REDIS_LINK_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/redis/redis_int.h"

#include <uv.h>

struct link;

/* Something is ready on the socket: error is 0 or a libuv code, events as in uv_poll. */
typedef void (*link_ready_cb)(struct link *link, int error, int events, void *data);
/* The memory of the link is gone. */
typedef void (*link_closed_cb)(void *data);

/* Takes fd, also on failure. Waits until it is connected (UV_WRITABLE). */
MUST_CHECK int link_new(struct link **ret, uv_loop_t *loop, int fd, size_t outgoing_max,
                        link_ready_cb ready, link_closed_cb closed, void *data);
/* Closes the socket now; the memory goes, and closed is called, on a later turn. */
void link_close(struct link *link);
/* 0 or -errno: how connecting ended. */
int link_connect_error(const struct link *link);
/* Adds a command to what is written when the loop turns; codes of redis__encode. */
MUST_CHECK int link_add(struct link *link, const struct span *args, size_t count);
/* Bytes not written yet. */
size_t link_pending(const struct link *link);
/* Bounds bulks and whole replies, see cut.h; 0 = no bound. Before anything was read. */
void link_bound(struct link *link, size_t bulk_max, size_t reply_max);
/* Waits for reading, and for writing when bytes are pending. 0 or a libuv code. */
MUST_CHECK int link_watch(struct link *link);
/* Writes what the socket takes. 0 or -errno. */
MUST_CHECK int link_write(struct link *link);
/* Reads one piece: 1 = something came, 0 = nothing there, else an error code with its cause. */
MUST_CHECK int link_read(struct link *link, struct err_buf *e);
/* As redis__reader_next. */
MUST_CHECK int link_next(struct link *link, struct redis_reply **ret, struct err_buf *e);

#endif
