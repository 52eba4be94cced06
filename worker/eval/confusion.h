/*
 * Who was taken for whom: the counts behind every score of this folder.
 *
 * Classes are ids 0 .. classes-1; which text an id stands for is the caller's table (labels.h).
 * Only cells that occur are kept, so memory is O(samples + classes) and never classes squared.
 * Cells are sorted, so nothing computed from them depends on the order of the samples.
 */
#ifndef WORKER_EVAL_CONFUSION_H
#define WORKER_EVAL_CONFUSION_H

#include "common/base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Three ids must fit one 64-bit key; a market's task has hundreds of classes at most. */
#define EVAL_CLASSES_MAX 65536u
/* 2 GiB of keys; counts fit 32 bits. */
#define EVAL_SAMPLES_MAX (1u << 28)

struct confusion_cell {
    uint32_t truth;
    uint32_t predicted;
    uint32_t count; /* > 0 */
};

struct confusion {
    /* read only */
    uint64_t samples;
    uint32_t classes;
    size_t cells;
    struct confusion_cell *cell; /* [cells], by truth, then predicted */
};

/*
 * Counts samples pairs (y_true[i], y_pred[i]); borrows both. samples 0 is allowed.
 * ERR_INVALID when an id is not below classes (the message names the sample), ERR_LIMIT past the
 * limits above, ERR_NOMEM. Free with confusion_close; on failure there is nothing to free.
 */
MUST_CHECK int confusion_init(struct confusion *c, const uint32_t *y_true, const uint32_t *y_pred,
                              size_t samples, uint32_t classes, struct err_buf *e);
void confusion_close(struct confusion *c);

/* How often truth was answered with predicted. */
uint64_t confusion_at(const struct confusion *c, uint32_t truth, uint32_t predicted);

#endif
