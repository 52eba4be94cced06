/*
 * How much the probabilities can be trusted: log loss, Brier score, expected calibration error.
 *
 * Fed row by row, so the n x K table of probabilities need never exist.
 *   log loss  mean of -ln p(truth); p is clipped to [eps, 1-eps], eps of the type the row has
 *             (double or float), as scikit-learn does.
 *   Brier     mean over samples of the sum over classes of (p - [class is the truth])^2: 0 .. 2,
 *             scikit-learn's brier_score_loss with scale_by_half=False. Half of it is the usual
 *             binary score.
 *   ECE       15 bins of equal width, bin b = (b/15, (b+1)/15], 0 falls in the first;
 *             sum of n_b/n * |share correct - mean confidence|; confidence is the largest
 *             probability, correct when its class (the first of equals) is the truth.
 * Sums are compensated, so the order of samples moves no digit that anyone prints.
 */
#ifndef WORKER_EVAL_CALIBRATION_H
#define WORKER_EVAL_CALIBRATION_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define CALIBRATION_BINS 15
/* The truth is a label that the model does not know: its probability is 0. */
#define CALIBRATION_UNKNOWN UINT32_MAX
/* How far a row's sum may be from 1: float rows of thousands of classes stay well below. */
#define CALIBRATION_SUM_SLACK 1e-3

struct calibration_sum {
    double sum;
    double rest;
};

struct calibration_bin {
    uint64_t samples;
    uint64_t correct;
    struct calibration_sum confidence;
};

/* One sample's share, for bootstrap_calibration. */
struct calibration_sample {
    double log_loss;
    double brier;
    double confidence;
    bool is_correct;
};

struct calibration {
    /* read only */
    uint32_t classes;
    uint64_t samples;
    struct calibration_bin bin[CALIBRATION_BINS];
    /* private */
    struct calibration_sum log_loss;
    struct calibration_sum brier;
};

/* classes >= 1 columns a row. Nothing to close. */
void calibration_init(struct calibration *c, uint32_t classes);

/*
 * Adds a row of c->classes probabilities (borrowed) whose truth is a column or
 * CALIBRATION_UNKNOWN. ret (may be NULL) gets the sample's share. ERR_INVALID, nothing added: a
 * value outside 0..1 or not a number, a sum that is not 1, a truth that is no column.
 */
MUST_CHECK int calibration_add(struct calibration *c, const double *row, uint32_t truth,
                               struct calibration_sample *ret, struct err_buf *e);
MUST_CHECK int calibration_add_float(struct calibration *c, const float *row, uint32_t truth,
                                     struct calibration_sample *ret, struct err_buf *e);

/* The scores so far; NaN without samples. */
double calibration_log_loss(const struct calibration *c);
double calibration_brier(const struct calibration *c);
double calibration_ece(const struct calibration *c);
/* The bin that a confidence falls in. */
unsigned calibration_bin_of(double confidence);

#endif
