/*
 * Percentile bootstrap intervals of scores.
 *
 * A resample draws as many samples as there are, with replacement. The interval lies between the
 * (1-level)/2 and (1+level)/2 quantiles of the resampled scores (linear interpolation, as numpy),
 * widened where needed to hold the score itself: rare classes and ECE are biased in resamples, and
 * an interval without its own point would only puzzle.
 *
 * In a resample a class that occurs in the full set but not in the resample (neither true nor
 * predicted) is left out of macro averages, as scikit-learn would when it is given the resample;
 * counting it as 0 would push the interval down by chance alone.
 *
 * Equal counts, parameters and seed give equal bits, on any machine, in any order of the samples.
 */
#ifndef WORKER_EVAL_BOOTSTRAP_H
#define WORKER_EVAL_BOOTSTRAP_H

#include "common/base/err.h"
#include "worker/eval/calibration.h"
#include "worker/eval/metrics.h"

#include <stddef.h>
#include <stdint.h>

#define BOOTSTRAP_RESAMPLES 1000
#define BOOTSTRAP_RESAMPLES_MAX 1000000
#define BOOTSTRAP_LEVEL 0.95

struct bootstrap_params {
    uint32_t resamples; /* 1 .. BOOTSTRAP_RESAMPLES_MAX */
    double level;       /* 0 < level < 1 */
    uint64_t seed;
};

struct interval {
    double point;
    double low;
    double high;
};

enum bootstrap_metric {
    BOOTSTRAP_ACCURACY = 0,
    BOOTSTRAP_MICRO_PRECISION,
    BOOTSTRAP_MICRO_RECALL,
    BOOTSTRAP_MICRO_F1,
    BOOTSTRAP_MACRO_PRECISION,
    BOOTSTRAP_MACRO_RECALL,
    BOOTSTRAP_MACRO_F1,
    BOOTSTRAP_WEIGHTED_PRECISION,
    BOOTSTRAP_WEIGHTED_RECALL,
    BOOTSTRAP_WEIGHTED_F1,
    BOOTSTRAP_METRIC_COUNT
};

enum bootstrap_calibration_metric {
    BOOTSTRAP_LOG_LOSS = 0,
    BOOTSTRAP_BRIER,
    BOOTSTRAP_ECE,
    BOOTSTRAP_CALIBRATION_COUNT
};

/* "accuracy", "micro_precision", ...: the names in the record. Static storage. */
const char *bootstrap_metric_name(enum bootstrap_metric metric);
/* "log_loss", "brier", "ece". Static storage. */
const char *bootstrap_calibration_name(enum bootstrap_calibration_metric metric);

/*
 * Intervals of the scores in m, which must come from c (both borrowed). Time is
 * O(resamples * (samples / 32 * log cells + cells + classes)).
 * ERR_INVALID for bad parameters, ERR_NOMEM.
 */
MUST_CHECK int bootstrap_metrics(struct interval ret[BOOTSTRAP_METRIC_COUNT],
                                 const struct confusion *c, const struct eval_metrics *m,
                                 const struct bootstrap_params *params, struct err_buf *e);

/*
 * Intervals of log loss, Brier and ECE over what calibration_add returned for each sample
 * (borrowed, order matters to the bits). Time is O(resamples * samples): a few ns each.
 */
MUST_CHECK int bootstrap_calibration(struct interval ret[BOOTSTRAP_CALIBRATION_COUNT],
                                     const struct calibration_sample *samples, size_t count,
                                     const struct bootstrap_params *params, struct err_buf *e);

#endif
