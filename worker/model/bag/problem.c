/* See problem.h. */
#include "worker/model/bag/problem.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_names(const void *a, const void *b)
{
    return bag__compare_spans(*(const struct span *)a, *(const struct span *)b);
}

static void number_labels(struct bag_problem *b)
{
    const struct bag_labels *l = &b->data->labels;
    memcpy(b->names, l->names, l->count * sizeof *b->names);
    qsort(b->names, l->count, sizeof *b->names, compare_names);
    for (uint32_t i = 0; i < l->count; i++) {
        struct span *found =
            bsearch(&l->names[i], b->names, l->count, sizeof *b->names, compare_names);
        uint32_t number = (uint32_t)(found - b->names);
        float share = (float)b->data->samples / ((float)l->count * (float)l->samples[i]);
        b->label_number[i] = number;
        b->rarity[number] = (float)b->data->samples / (float)l->samples[i];
        b->cost[number] = b->p->class_weight == BAG_CLASS_BALANCED ? share : 1.0f;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        b->label_base[i] = b->base ? bag_label_find(b->base, b->names[i]) : -1;
    }
}

static void weigh_features(struct bag_problem *b)
{
    const struct bag_vocab *v = &b->data->vocab;
    float samples = 1.0f + (float)b->data->samples;
    for (uint32_t id = 0; id < b->features; id++) {
        b->idf[id] = logf(samples / (1.0f + (float)v->texts[id])) + 1;
        if (b->base) {
            b->base_row[id] = bag__model_row(b->base, v->keys[id]);
            b->idf[id] =
                b->base_row[id] == BAG_VOCAB_NONE ? b->idf[id] : b->base->idf[b->base_row[id]];
        }
    }
}

static void scale_samples(struct bag_problem *b)
{
    const struct bag_data *d = b->data;
    for (size_t i = 0; i < d->samples; i++) {
        float square[TEXT_BLOCK_COUNT] = {0};
        size_t chars_at = d->entry_at[i] + d->words[i];
        for (size_t at = d->entry_at[i]; at < d->entry_at[i + 1]; at++) {
            uint32_t id = d->entries[at] >> BAG_ENTRY_SHIFT;
            float value = b->count_weight[d->entries[at] & BAG_ENTRY_COUNT] * b->idf[id];
            square[at < chars_at ? TEXT_BLOCK_WORDS : TEXT_BLOCK_CHARS] += value * value;
        }
        for (int k = 0; k < TEXT_BLOCK_COUNT; k++) {
            float length = k == TEXT_BLOCK_CHARS ? (float)b->p->char_weight : 1.0f;
            b->scales[i][k] = square[k] > 0 ? length / sqrtf(square[k]) : 0;
        }
    }
}

static int allocate(struct bag_problem *b, struct err_buf *e)
{
    size_t n = b->data->samples;
    b->names = mem_new_array(b->labels, sizeof *b->names);
    b->label_number = mem_new_array(b->labels, sizeof *b->label_number);
    b->label_base = mem_new_array(b->labels, sizeof *b->label_base);
    b->cost = mem_new_array(b->labels, sizeof *b->cost);
    b->rarity = mem_new_array(b->labels, sizeof *b->rarity);
    b->idf = mem_new_array(b->features, sizeof *b->idf);
    b->scales = mem_new_array(n, sizeof *b->scales);
    b->base_row = b->base ? mem_new_array(b->features, sizeof *b->base_row) : NULL;
    bool has_base_row = b->base_row || !b->base;
    if (!b->names || !b->label_number || !b->label_base || !b->cost || !b->rarity || !b->idf ||
        !b->scales || !has_base_row) {
        return err_set(e, ERR_NOMEM, "cannot prepare %zu samples for training", n);
    }
    return 0;
}

int bag__problem_init(struct bag_problem *b, const struct bag_params *p,
                      const struct bag_data *data, const struct bag_model *base, struct err_buf *e)
{
    *b = (struct bag_problem){.p = p,
                              .data = data,
                              .base = base,
                              .kernels = bag__kernels(),
                              .labels = data->labels.count,
                              .features = data->vocab.count};
    b->stride = (b->labels + BAG_LANES - 1) / BAG_LANES * BAG_LANES;
    b->row = b->labels <= 2 ? 2 : b->labels <= 4 ? 4 : b->stride;
    for (size_t i = 0; i < data->samples; i++) {
        size_t length = data->entry_at[i + 1] - data->entry_at[i];
        b->terms_max = length > b->terms_max ? length : b->terms_max;
    }
    b->terms_max++;
    int rc = allocate(b, e);
    if (rc) {
        return rc;
    }
    for (uint32_t c = 1; c <= BAG_ENTRY_COUNT; c++) {
        b->count_weight[c] = bag__count_weight(c);
    }
    number_labels(b);
    weigh_features(b);
    scale_samples(b);
    return 0;
}

void bag__problem_close(struct bag_problem *b)
{
    mem_free(b->names);
    mem_free(b->label_number);
    mem_free(b->label_base);
    mem_free(b->base_row);
    mem_free(b->idf);
    mem_free(b->scales);
    mem_free(b->cost);
    mem_free(b->rarity);
}

size_t bag__problem_terms(const struct bag_problem *b, size_t i, struct bag_term *ret)
{
    const struct bag_data *d = b->data;
    const uint32_t *entries = d->entries + d->entry_at[i];
    size_t count = d->entry_at[i + 1] - d->entry_at[i];
    size_t words = d->words[i];
    for (size_t at = 0; at < count; at++) {
        float scale = b->scales[i][at < words ? TEXT_BLOCK_WORDS : TEXT_BLOCK_CHARS];
        ret[at] = (struct bag_term){entries[at] >> BAG_ENTRY_SHIFT,
                                    b->count_weight[entries[at] & BAG_ENTRY_COUNT] * scale};
    }
    return count;
}

void bag__problem_shuffle(const struct bag_problem *b, uint32_t *order, uint64_t stream,
                          uint32_t epoch)
{
    struct rng r = {.key = rng_at(rng_at(b->p->seed, stream), epoch)};
    for (size_t i = 0; i < b->data->samples; i++) {
        order[i] = (uint32_t)i;
    }
    for (size_t i = b->data->samples; i > 1; i--) {
        size_t j = rng_below(&r, (uint32_t)i);
        uint32_t kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}
