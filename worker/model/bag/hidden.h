/*
 * The low-rank part: three towers, each a bag of embeddings, tanh, and a softmax over it, trained
 * with AdaGrad and dropout. One sees all features, one only words, one only characters. They see
 * what the linear part cannot, that features together mean something else, and each errs in its
 * own way, so that the sum of their scores is better than any. Private to the bag family.
 */
#ifndef WORKER_MODEL_BAG_HIDDEN_H
#define WORKER_MODEL_BAG_HIDDEN_H

#include "worker/model/bag/problem.h"
#include "worker/model/bag/state.h"

struct bag_tower {
    float *bias;     /* [width] */
    float bias_seen; /* AdaGrad's sum of squares */
    float *out;      /* [labels][width] */
    float *out_seen; /* [labels] */
    float *out_bias; /* [stride] */
    uint32_t *order;
    struct bag_term *terms;
    float *work; /* three vectors of width and one of stride floats */
};

/* The towers touch disjoint memory: each may run in a thread of its own. */
struct bag_hidden {
    const struct bag_problem *b;
    uint32_t width;    /* of a tower; a multiple of BAG_LANES */
    uint32_t rows;     /* the most frequent features, 0..rows, have embeddings */
    float *embed;      /* [rows][2][width]: for the tower of all, for the tower of its block */
    float *embed_seen; /* [rows][2] AdaGrad's sum of squares */
    struct bag_tower towers[BAG_TOWERS];
    float rate_scale; /* below 1 when it starts from a base */
};

/* Starts at the base's hidden part when that has the same width, else at random. ERR_NOMEM; close
 * in any case. */
MUST_CHECK int bag__hidden_init(struct bag_hidden *h, const struct bag_problem *b,
                                struct err_buf *e);
void bag__hidden_close(struct bag_hidden *h);
/* Lists what changes while it learns, and is not made anew at the start of an epoch. */
void bag__hidden_state(struct bag_hidden *h, struct bag_state_list *s);
void bag__hidden_start_epoch(struct bag_hidden *h, int tower, uint32_t epoch);
/* Visits the samples from..to of the order in that epoch; returns the sum of their losses. */
double bag__hidden_run(struct bag_hidden *h, int tower, uint32_t epoch, size_t from, size_t to);
/* Adds the towers' scores of terms (values with idf, rows below h->rows) to ret[stride]; work has
 * room for width floats, some for count terms. */
void bag__hidden_score(const struct bag_hidden *h, const struct bag_term *terms, size_t count,
                       struct bag_term *some, float *work, float *ret);

#endif
