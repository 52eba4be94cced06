/* The dev set during training: scores, loss and the temperature. Private to the bag family. */
#ifndef WORKER_MODEL_BAG_DEV_H
#define WORKER_MODEL_BAG_DEV_H

#include "worker/model/bag/hidden.h"
#include "worker/model/bag/linear.h"

struct bag_dev {
    const struct bag_problem *b;
    const struct bag_data *data;
    uint32_t *row_of;    /* [features of dev] feature of the training data, or BAG_VOCAB_NONE */
    ptrdiff_t *label_of; /* [labels of dev] number, or -1 */
    float *scores;       /* [samples][stride] */
    struct bag_term *terms;
    struct bag_term *some; /* of terms, those of one tower */
    float *work;
};

/* Borrows b and data. ERR_NOMEM; close in any case. */
MUST_CHECK int bag__dev_init(struct bag_dev *d, const struct bag_problem *b,
                             const struct bag_data *data, struct err_buf *e);
void bag__dev_close(struct bag_dev *d);
/* Scores all samples with linear, and with hidden too unless that is NULL. */
void bag__dev_score(struct bag_dev *d, const struct bag_linear *linear,
                    const struct bag_hidden *hidden);
/* Mean log loss of the scores at a temperature; the accuracy too unless ret_accuracy is NULL. */
double bag__dev_loss(const struct bag_dev *d, double temperature, double *ret_accuracy);
/* The temperature with the least loss. */
double bag__dev_temperature(const struct bag_dev *d);

#endif
