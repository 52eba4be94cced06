/* A stored version, opened: its artifact in memory and the model over it. */
#ifndef WORKER_JOBS_MODEL_H
#define WORKER_JOBS_MODEL_H

#include "common/base/sha256.h"
#include "worker/jobs/run.h"
#include "worker/model/bag/bag.h"

#include <stdint.h>

struct model {
    /* read only; version 0 = there is none */
    int64_t version;
    uint8_t artifact[SHA256_BYTES];
    char market[MESSAGE_MARKET_MAX + 1]; /* "" = a task's global base */
    char task[MESSAGE_TASK_MAX + 1];
    double source_loss; /* on its own dev split when it was made; NAN = not known */
    struct bag_model *bag;
    /* private */
    void *bytes;
};

/* Fetches and opens the base that a fine-tune starts from (see worker_read_base); version 0 when
 * base is "none", or "auto" and there is nothing. ERR_DATA when it was named and is not there. */
MUST_CHECK int model_open_base(struct run *run, const char *base, struct model *ret,
                               struct err_buf *e);
/* By id, or by the job that made it (version 0, job not empty). ERR_DATA when there is none. */
MUST_CHECK int model_open_version(struct run *run, int64_t version, const char *job,
                                  struct model *ret, struct err_buf *e);
/* The market's champion for the task; version 0 when there is none. */
MUST_CHECK int model_open_champion(struct run *run, const char *market, const char *task,
                                   struct model *ret, struct err_buf *e);
void model_close(struct model *m);

#endif
