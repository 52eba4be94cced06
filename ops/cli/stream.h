/* Sending any number of jobs to the scheduler in bulks, a few of them on their way at a time. */
#ifndef OPS_CLI_STREAM_H
#define OPS_CLI_STREAM_H

#include "common/message/message.h"
#include "ops/cli/cli.h"

/* Jobs that can be followed (--wait, --watch) have their ids kept. */
enum { STREAM_FOLLOWED_MAX = 100000 };

struct stream_job {
    struct span element; /* as message_bulk_add writes it */
    struct uuid id;      /* of its own; "" = none */
    uint32_t line;       /* of the file */
    size_t times;        /* how many such jobs */
};

struct stream_source {
    /* The next job, valid until the next call; ERR_NOTFOUND at the end. */
    int (*next)(void *data, struct stream_job *ret, struct err_buf *e);
    void *data;
    const char *name; /* of the file, for messages; NULL = there is none */
    size_t total;     /* jobs that next will give */
};

/*
 * Sends all, prints the ids (or JSON) in the order of the source as they are committed, and follows
 * the jobs as --wait and --watch ask. Memory does not depend on their number. An exit code
 * (CLI_FAILED when one was rejected: its place and reason are on standard error), or an error:
 * ERR_UNREACHABLE when nothing was answered for timeout_ms, or Redis had no room for so long.
 */
int stream_submit(struct cli *c, const struct stream_source *source, int64_t timeout_ms);

#endif
