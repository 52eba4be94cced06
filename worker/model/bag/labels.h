/* Label names and the numbers they got, in order of first sight. Private to the bag family. */
#ifndef WORKER_MODEL_BAG_LABELS_H
#define WORKER_MODEL_BAG_LABELS_H

#include "common/base/err.h"
#include "common/base/span.h"

#include <stdint.h>

struct bag_labels {
    /* read only */
    struct span *names; /* owned */
    uint32_t *samples;  /* how many samples have each */
    uint32_t count;
    /* private */
    uint32_t room;
    uint32_t *slots; /* number + 1; 0 = empty */
    uint32_t slot_count;
};

void bag__labels_close(struct bag_labels *l);
/* The number of name, new or not; ERR_LIMIT past BAG_LABELS_MAX, ERR_DATA, ERR_NOMEM. */
MUST_CHECK int bag__labels_add(struct bag_labels *l, struct span name, uint32_t *ret,
                               struct err_buf *e);

#endif
