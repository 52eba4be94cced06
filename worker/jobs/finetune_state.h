/*
 * What a fine-tune that was interrupted goes on from, beside the state of the training itself: the
 * head of a checkpoint. In the file come
 *
 *     uint32 little-endian   length of the map, at most FINETUNE_HEAD_MAX
 *     msgpack map            format "meridian-finetune-state", version 1, phase, elapsed_ms,
 *                            curve (bin: FINETUNE_CURVE float64 a point), names (texts) and
 *                            values (bin: float64 each) of the metrics, model_bytes
 *     model_bytes bytes      the model that is already trained; in the phase "scratch" only
 *     the rest               the state of the training (worker/model/bag/README.md)
 */
#ifndef WORKER_JOBS_FINETUNE_STATE_H
#define WORKER_JOBS_FINETUNE_STATE_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "worker/model/bag/bag.h"

#include <stddef.h>
#include <stdint.h>

enum {
    FINETUNE_METRICS_MAX = 32,
    FINETUNE_NAME_MAX = 63,
    FINETUNE_PHASE_MAX = 15,
    FINETUNE_CURVE = 6, /* epoch, step, loss, dev loss, examples a second, elapsed ms */
    FINETUNE_HEAD_MAX = 128 * 1024,
};

struct finetune_state {
    char phase[FINETUNE_PHASE_MAX + 1];
    int64_t elapsed_ms; /* of the phase's training, by all attempts */
    size_t points;
    double curve[BAG_EPOCHS_MAX][FINETUNE_CURVE];
    size_t metrics;
    char names[FINETUNE_METRICS_MAX][FINETUNE_NAME_MAX + 1];
    double values[FINETUNE_METRICS_MAX];
    int64_t model_bytes;
};

/* Adds length and map. ERR_NOMEM, ERR_LIMIT. */
MUST_CHECK int finetune_state_write(const struct finetune_state *s, struct buf *out);
/* Fills ret from the bytes that read gives: only those of length and map. ERR_CORRUPT, ERR_NOMEM,
 * ERR_UNSUPPORTED, or what read says; then ret is not to be used. */
MUST_CHECK int finetune_state_read(struct finetune_state *ret,
                                   int (*read)(void *to, size_t bytes, void *data,
                                               struct err_buf *e),
                                   void *data, struct err_buf *e);

#endif
