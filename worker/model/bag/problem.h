/*
 * What both parts of the model train on: labels in order, feature weights, samples as terms.
 * Private to the bag family; made for one training, from a sealed data set.
 */
#ifndef WORKER_MODEL_BAG_PROBLEM_H
#define WORKER_MODEL_BAG_PROBLEM_H

#include "worker/model/bag/data.h"
#include "worker/model/bag/kernels.h"
#include "worker/model/bag/model.h"

struct bag_problem {
    const struct bag_params *p;
    const struct bag_data *data;
    const struct bag_model *base; /* may be NULL */
    const struct bag_kernels *kernels;
    uint32_t labels;
    uint32_t features;
    size_t stride;          /* labels, rounded up to BAG_LANES */
    size_t row;             /* of a table: up to 2 and 4 labels take no more, else stride */
    size_t terms_max;       /* of the longest sample, and one for the bias */
    struct span *names;     /* [labels], ascending; borrowed from data */
    uint32_t *label_number; /* [labels of the data] its index in names */
    ptrdiff_t *label_base;  /* [labels] its index in base, or -1 */
    uint32_t *base_row;     /* [features] its row in base, or BAG_VOCAB_NONE; NULL without base */
    float *idf;             /* [features]; the base's where it knows the feature */
    float (*scales)[TEXT_BLOCK_COUNT]; /* [samples] what makes each block as long as it should be */
    float *rarity;                     /* [labels] all samples over those with that label */
    float *cost; /* [labels] weight of a sample with that label, 1 on average */
    float count_weight[BAG_ENTRY_COUNT + 1];
};

/* Borrows all of its arguments. ERR_NOMEM. */
MUST_CHECK int bag__problem_init(struct bag_problem *b, const struct bag_params *p,
                                 const struct bag_data *data, const struct bag_model *base,
                                 struct err_buf *e);
void bag__problem_close(struct bag_problem *b);
/* The terms of sample i (values without idf) into ret; returns how many. */
size_t bag__problem_terms(const struct bag_problem *b, size_t i, struct bag_term *ret);
/* A permutation of the samples that depends only on seed, stream and epoch. */
void bag__problem_shuffle(const struct bag_problem *b, uint32_t *order, uint64_t stream,
                          uint32_t epoch);
/* The label of sample i. */
static inline uint32_t bag__problem_label(const struct bag_problem *b, size_t i)
{
    return b->label_number[b->data->label[i]];
}

#endif
