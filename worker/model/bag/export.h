/* From trained parts to the artifact. Private to the bag family. */
#ifndef WORKER_MODEL_BAG_EXPORT_H
#define WORKER_MODEL_BAG_EXPORT_H

#include "worker/model/bag/hidden.h"
#include "worker/model/bag/linear.h"

/* hidden may be NULL. Rows of the base that the data did not touch are kept. */
MUST_CHECK int bag__export(struct bag_model **ret, const struct bag_problem *b,
                           const struct bag_linear *linear, const struct bag_hidden *hidden,
                           double temperature, struct err_buf *e);

/* Row as codes; returns the scale: a weight is scale times its code. */
float bag__quantise(const float *row, size_t count, int8_t *codes);

#endif
