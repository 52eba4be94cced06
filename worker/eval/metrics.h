/*
 * Accuracy, and precision, recall and F1 by class and averaged, as scikit-learn's
 * precision_recall_fscore_support defines them (1.3 and later).
 *
 * Rows are the ids that occur in the truth or in the predictions, ascending, unless labels are
 * given; then exactly those, in that order, whether they occur or not. Predictions outside the
 * given labels still count against the recall of those inside, as in scikit-learn.
 */
#ifndef WORKER_EVAL_METRICS_H
#define WORKER_EVAL_METRICS_H

#include "common/base/err.h"
#include "worker/eval/confusion.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What 0/0 gives. With NAN the class is left out of macro and weighted averages. */
enum zero_division { ZERO_DIVISION_0 = 0, ZERO_DIVISION_1, ZERO_DIVISION_NAN };

struct prf {
    double precision; /* hits / predicted */
    double recall;    /* hits / support */
    double f1;        /* 2 hits / (support + predicted): not from precision and recall */
};

struct class_metrics {
    uint32_t label;
    uint64_t hits;
    uint64_t support;   /* samples of this class in the truth */
    uint64_t predicted; /* samples answered with this class */
    struct prf score;
};

struct eval_metrics {
    /* read only */
    uint64_t samples;
    double accuracy;        /* over all samples, whatever labels were given */
    bool micro_is_accuracy; /* all ids that occur have a row, so micro_* == accuracy */
    enum zero_division zero;
    uint64_t support;    /* sum over the rows */
    struct prf micro;    /* from summed counts */
    struct prf macro;    /* plain mean over the rows */
    struct prf weighted; /* mean over the rows by support */
    size_t rows;
    struct class_metrics *row; /* [rows] */
};

/*
 * Scores c (borrowed). labels NULL: the ids that occur; else labels_count > 0 ids, none twice.
 * ERR_DATA without samples, ERR_INVALID for bad labels, ERR_NOMEM.
 * Free with eval_metrics_close; on failure there is nothing to free.
 */
MUST_CHECK int eval_metrics_init(struct eval_metrics *m, const struct confusion *c,
                                 const uint32_t *labels, size_t labels_count,
                                 enum zero_division zero, struct err_buf *e);
void eval_metrics_close(struct eval_metrics *m);

#endif
