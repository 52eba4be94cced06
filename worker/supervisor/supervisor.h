/*
 * The supervisor: takes the jobs that it is given, hands them to runner processes, keeps their
 * leases, and tells how they ended. It never computes and never blocks its loop.
 *
 * PostgreSQL decides who owns an attempt; Redis only carries messages. Whatever Redis forgets is
 * sent again; whatever PostgreSQL takes away is killed.
 */
#ifndef WORKER_SUPERVISOR_SUPERVISOR_H
#define WORKER_SUPERVISOR_SUPERVISOR_H

#include "common/base/err.h"

#include <stdint.h>

struct supervisor_options {
    const char *redis_url;
    const char *redis_prefix;
    const char *database_url;
    const char *region;
    const char *name;
    const char *runner_path; /* NULL: this executable */
    int64_t slots;
    int64_t threads;     /* of the machine, as told to the scheduler */
    int64_t memory_mb;   /* likewise */
    const char *metrics; /* HOST:PORT to listen on; NULL: nowhere */
    const char *labels;  /* "key=value,key=value", sorted */
    int64_t grace_ms;    /* how long running jobs may go on after SIGTERM */
};

/*
 * Runs until SIGTERM, SIGINT or `meridian workers drain` and the end of its jobs. options are
 * borrowed until it returns. Returns the exit code: 0 drained; 1 stopped at once (second signal,
 * or another worker took the name), or e says why it could not start.
 */
int supervisor_run(const struct supervisor_options *options, struct err_buf *e);

#endif
