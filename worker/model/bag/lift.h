/*
 * How much each feature tells about the label, so that the penalty of its weights can be smaller
 * the more it tells. Private to the bag family.
 *
 * The lift of a feature is how much likelier two texts that share it have the same label than two
 * texts of that label's share would: 0 = it tells nothing. It is counted over pairs, so that a text
 * is no witness for its own words, and shrunk to a prior where there are few. Cf. Wang and Manning
 * 2012, who scale features by their log-count ratio.
 */
#ifndef WORKER_MODEL_BAG_LIFT_H
#define WORKER_MODEL_BAG_LIFT_H

#include "worker/model/bag/problem.h"

/* A weight above 0, to be compared with others, of a feature that so many texts have, counts[k] of
 * them with label k, which is rarity[k] times rarer than all labels together. */
float bag__lift_weight(const float *counts, const float *rarity, uint32_t labels, uint32_t texts);
/* Such a weight of each feature into ret[features]. Overwrites scratch, [features][b->row] floats.
 */
void bag__lift_fill(const struct bag_problem *b, float *scratch, float *ret);

#endif
