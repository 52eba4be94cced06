/*
 * A runner's two connections: the record (control) and the texts of the region (data). Opened when
 * first asked for, kept open between jobs, opened anew after a loss.
 */
#ifndef WORKER_JOBS_DATABASES_H
#define WORKER_JOBS_DATABASES_H

#include "common/base/err.h"
#include "common/pg/pg_sync.h"

struct databases {
    /* set by the owner, kept */
    const char *control_url;
    const char *data_url;
    /* private */
    struct pg_sync *control;
    struct pg_sync *data;
};

/* An open connection, owned by d. ERR_UNREACHABLE and what pg_sync_open may say. */
MUST_CHECK int databases_control(struct databases *d, struct pg_sync **ret, struct err_buf *e);
MUST_CHECK int databases_data(struct databases *d, struct pg_sync **ret, struct err_buf *e);
/* Closes those that a server has given up meanwhile, so that a job does not start on a dead one. */
void databases_refresh(struct databases *d);
void databases_close(struct databases *d);

#endif
