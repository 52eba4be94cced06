/*
 * The linear part: stochastic dual coordinate ascent for the softmax with an L2 penalty.
 * Private to the bag family.
 */
#ifndef WORKER_MODEL_BAG_LINEAR_H
#define WORKER_MODEL_BAG_LINEAR_H

#include "worker/model/bag/problem.h"
#include "worker/model/bag/state.h"

struct bag_linear {
    const struct bag_problem *b;
    float *table;  /* [features + 1][row]: weight times idf; the last row is the bias */
    float *square; /* [features + 1] idf squared * lift; 1 for the bias */
    float *dual;   /* [samples][row] */
    uint32_t *order;
    struct bag_term *terms;
    float *work; /* five vectors of stride floats */
};

/* Starts at the base, or at zero. Borrows b. ERR_NOMEM; close in any case. */
MUST_CHECK int bag__linear_init(struct bag_linear *l, const struct bag_problem *b,
                                struct err_buf *e);
void bag__linear_close(struct bag_linear *l);
/* Lists what changes while it learns, and is not made anew at the start of an epoch. */
void bag__linear_state(struct bag_linear *l, struct bag_state_list *s);
/* Puts the samples in this epoch's order. */
void bag__linear_start_epoch(struct bag_linear *l, uint32_t epoch);
/* Visits the samples from..to of the order; returns the sum of their losses before each step. */
double bag__linear_run(struct bag_linear *l, size_t from, size_t to);
/* A row of the base in this problem's labels: weight times idf, [labels]. */
void bag__linear_base_row(const struct bag_problem *b, uint32_t base_row, float *ret);

#endif
