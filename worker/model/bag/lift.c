/* See lift.h. Both numbers were found on dev parts and folds of train, the optimum is flat around
 * them. */
#include "worker/model/bag/lift.h"

#include <math.h>
#include <string.h>

static const float prior = 1.5f; /* 1 + lift, worth one pair of texts */
static const float least = 0.1f; /* a feature that tells nothing can still be used */

/* Weight of a feature whose 1 + lift is that: it grows slowly, since with many labels a lift may be
 * a hundred times that of few. Weights are not brought to one mean: where all features tell little,
 * as in noisy sentiment, all penalties shall be strong. */
static float weight_of(float lifted)
{
    return least + (lifted > 1 ? logf(lifted) : 0);
}

float bag__lift_weight(const float *counts, const float *rarity, uint32_t labels, uint32_t texts)
{
    float same = 0; /* pairs of the same label, each over the label's share */
    for (uint32_t k = 0; k < labels; k++) {
        same += counts[k] * (counts[k] - 1) * rarity[k];
    }
    float pairs = (float)texts * ((float)texts - 1);
    return weight_of((same / 2 + prior) / (pairs / 2 + 1));
}

static void count_texts(const struct bag_problem *b, float *counts)
{
    const struct bag_data *d = b->data;
    memset(counts, 0, (size_t)b->features * b->row * sizeof *counts);
    for (size_t i = 0; i < d->samples; i++) {
        uint32_t label = bag__problem_label(b, i);
        for (size_t at = d->entry_at[i]; at < d->entry_at[i + 1]; at++) {
            counts[(size_t)(d->entries[at] >> BAG_ENTRY_SHIFT) * b->row + label]++;
        }
    }
}

void bag__lift_fill(const struct bag_problem *b, float *scratch, float *ret)
{
    count_texts(b, scratch);
    for (uint32_t id = 0; id < b->features; id++) {
        /* most features are in one text only: those have no pairs */
        uint32_t texts = b->data->vocab.texts[id];
        ret[id] = texts < 2 ? weight_of(prior)
                            : bag__lift_weight(scratch + (size_t)id * b->row, b->rarity, b->labels,
                                               texts);
    }
}
