/*
 * A small HTTP server on the program's own loop: GET /metrics and GET /healthz. See README.md for
 * its limits.
 */
#ifndef COMMON_METRICS_SERVER_H
#define COMMON_METRICS_SERVER_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <stdbool.h>
#include <uv.h>

struct metrics_server;

struct metrics_server_options {
    uv_loop_t *loop;
    const char *address; /* HOST:PORT; HOST is a numeric address, [IPv6], localhost, or empty for
                            127.0.0.1; port 0: any free one */
    /* Adds the metrics' text to out. */
    int (*write)(struct buf *out, void *data);
    /* Whether the program makes progress; says in why (one line, no secrets) what it does, or what
     * it waits for. */
    bool (*is_healthy)(char *why, size_t size, void *data);
    void *data;
};

/* Listens. ERR_INVALID for an address that is none, ERR_IO when it cannot be had; e says why.
 * *ret: close with metrics_server_close. */
MUST_CHECK int metrics_server_new(struct metrics_server **ret,
                                  const struct metrics_server_options *options, struct err_buf *e);
/* The port that it listens on. */
int metrics_server_port(const struct metrics_server *s);
/* Closes what is open and frees it, as the loop turns. NULL is allowed. */
void metrics_server_close(struct metrics_server *s);

#endif
