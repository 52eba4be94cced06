/*
 * One sample a step; every random choice depends only on seed, epoch and sample.
 *
 * Features are dropped at random, half of them: that both regularises and makes a step cheap.
 * AdaGrad keeps one sum for a row, not one for a weight: a row's values are of one kind, and the
 * table's memory traffic is what bounds a step.
 */
#include "worker/model/bag/hidden.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include <math.h>
#include <string.h>

/* Found on the dev parts of tests/bench/README.md's data; the optimum is flat around each. */
static const float feature_drop[BAG_TOWERS] = {0.5f, 0.3f, 0.5f};
static const float unit_drop = 0.3f;
static const float embed_rate = 0.3f;
static const float out_rate = 0.02f;
static const float bias_rate = 0.1f;   /* of the rate of what it belongs to */
static const float embed_start = 0.1f; /* uniform in +- this */
static const float out_start = 0.1f;   /* times 1 / sqrt(width) */
static const float warm_rate = 0.3f;   /* of the rates above, from a base */
static const float tiny = 1e-8f;

enum { STREAM_ORDER = 2, STREAM_EMBED = 16, STREAM_OUT = 32, STREAM_DROP = 48 };

static bool has_block(int tower, enum text_block block)
{
    return tower == BAG_TOWER_ALL || tower == BAG_TOWER_WORDS + (int)block;
}

/* Where a tower's embeddings lie in a row. */
static size_t offset_of(const struct bag_hidden *h, int tower)
{
    return tower == BAG_TOWER_ALL ? 0 : h->width;
}

static int allocate_tower(struct bag_hidden *h, struct bag_tower *t, struct err_buf *e)
{
    const struct bag_problem *b = h->b;
    t->bias = mem_new_array(h->width, sizeof *t->bias);
    t->out = mem_new_aligned((size_t)b->labels * h->width, sizeof *t->out);
    t->out_seen = mem_new_array(b->labels, sizeof *t->out_seen);
    t->out_bias = mem_new_array(b->stride, sizeof *t->out_bias);
    t->order = mem_new_array(b->data->samples, sizeof *t->order);
    t->terms = mem_new_array(b->terms_max, sizeof *t->terms);
    t->work = mem_new_aligned(3 * (size_t)h->width + b->stride, sizeof *t->work);
    if (!t->bias || !t->out || !t->out_seen || !t->out_bias || !t->order || !t->terms || !t->work) {
        return err_set(e, ERR_NOMEM, "cannot train %u labels by %u", b->labels, h->width);
    }
    return 0;
}

static float symmetric(uint64_t key, uint64_t counter, float size)
{
    return ((float)rng_unit_at(key, counter) * 2 - 1) * size;
}

static void start_random(struct bag_hidden *h)
{
    uint64_t seed = h->b->p->seed;
    uint64_t embed_key = rng_at(seed, STREAM_EMBED);
    size_t stride = 2 * (size_t)h->width;
    for (uint32_t row = 0; row < h->rows; row++) {
        /* keyed by feature, so that a row starts equal whatever else there is */
        uint64_t key = rng_at(embed_key, h->b->data->vocab.keys[row]);
        for (size_t q = 0; q < stride; q++) {
            h->embed[(size_t)row * stride + q] = symmetric(key, q, embed_start);
        }
    }
    for (int tower = 0; tower < BAG_TOWERS; tower++) {
        uint64_t out_key = rng_at(seed, STREAM_OUT + (uint64_t)tower);
        for (size_t i = 0; i < (size_t)h->b->labels * h->width; i++) {
            h->towers[tower].out[i] = symmetric(out_key, i, out_start / sqrtf((float)h->width));
        }
    }
}

static void start_tower_from_base(struct bag_hidden *h, int tower)
{
    const struct bag_problem *b = h->b;
    const struct bag_model *base = b->base;
    struct bag_tower *t = &h->towers[tower];
    size_t width = h->width;
    memcpy(t->bias, base->hidden_bias + (size_t)tower * width, width * sizeof *t->bias);
    for (uint32_t k = 0; k < b->labels; k++) {
        ptrdiff_t from = b->label_base[k];
        if (from >= 0) {
            memcpy(t->out + (size_t)k * width,
                   base->out + ((size_t)from * BAG_TOWERS + (size_t)tower) * width,
                   width * sizeof *t->out);
            t->out_bias[k] = base->out_bias[(size_t)tower * base->label_count + (size_t)from];
        }
    }
}

static void start_from_base(struct bag_hidden *h)
{
    const struct bag_model *base = h->b->base;
    size_t width = h->width;
    h->rate_scale = warm_rate;
    for (int tower = 0; tower < BAG_TOWERS; tower++) {
        start_tower_from_base(h, tower);
    }
    for (uint32_t row = 0; row < h->rows; row++) {
        uint32_t from = h->b->base_row[row];
        size_t at = from == BAG_VOCAB_NONE ? BAG_VOCAB_NONE : base->hidden_row[from];
        for (size_t q = 0; at != BAG_VOCAB_NONE && q < 2 * width; q++) {
            h->embed[(size_t)row * 2 * width + q] = base->hidden_scale[at * 2 + q / width] *
                                                    (float)base->hidden_codes[at * 2 * width + q];
        }
    }
}

int bag__hidden_init(struct bag_hidden *h, const struct bag_problem *b, struct err_buf *e)
{
    *h = (struct bag_hidden){.b = b, .width = b->p->hidden, .rate_scale = 1};
    h->rows = b->features < b->p->hidden_rows_max ? b->features : b->p->hidden_rows_max;
    while (h->rows > 0 && b->data->vocab.texts[h->rows - 1] < b->p->hidden_count_min) {
        h->rows--;
    }
    h->embed = mem_new_aligned((size_t)h->rows * 2 * h->width, sizeof *h->embed);
    h->embed_seen = mem_new_array((size_t)h->rows * 2, sizeof *h->embed_seen);
    int rc = h->embed && h->embed_seen
                 ? 0
                 : err_set(e, ERR_NOMEM, "cannot train %u embeddings of %u", h->rows, h->width);
    for (int tower = 0; rc == 0 && tower < BAG_TOWERS; tower++) {
        rc = allocate_tower(h, &h->towers[tower], e);
    }
    if (rc) {
        return rc;
    }
    start_random(h);
    if (b->base && b->base->hidden == h->width) {
        start_from_base(h);
    }
    return 0;
}

void bag__hidden_close(struct bag_hidden *h)
{
    mem_free(h->embed);
    mem_free(h->embed_seen);
    for (int tower = 0; tower < BAG_TOWERS; tower++) {
        struct bag_tower *t = &h->towers[tower];
        mem_free(t->bias);
        mem_free(t->out);
        mem_free(t->out_seen);
        mem_free(t->out_bias);
        mem_free(t->order);
        mem_free(t->terms);
        mem_free(t->work);
    }
}

void bag__hidden_state(struct bag_hidden *h, struct bag_state_list *s)
{
    static const char *const names[BAG_TOWERS] = {"all.", "words.", "chars."};
    const struct bag_problem *b = h->b;
    bag__state_add(s, "hidden.", "embed", BAG_STATE_F32, h->embed, (size_t)h->rows * 2 * h->width);
    bag__state_add(s, "hidden.", "embed_seen", BAG_STATE_F32, h->embed_seen, (size_t)h->rows * 2);
    for (int tower = 0; tower < BAG_TOWERS; tower++) {
        struct bag_tower *t = &h->towers[tower];
        const char *name = names[tower];
        bag__state_add(s, name, "bias", BAG_STATE_F32, t->bias, h->width);
        bag__state_add(s, name, "bias_seen", BAG_STATE_F32, &t->bias_seen, 1);
        bag__state_add(s, name, "out", BAG_STATE_F32, t->out, (size_t)b->labels * h->width);
        bag__state_add(s, name, "out_seen", BAG_STATE_F32, t->out_seen, b->labels);
        bag__state_add(s, name, "out_bias", BAG_STATE_F32, t->out_bias, b->stride);
    }
}

void bag__hidden_start_epoch(struct bag_hidden *h, int tower, uint32_t epoch)
{
    bag__problem_shuffle(h->b, h->towers[tower].order, STREAM_ORDER + (uint64_t)tower, epoch);
}

/* Sixteen random bits at a time: four to a number. */
static inline bool is_dropped(uint64_t key, size_t at, uint64_t *bits, uint32_t threshold)
{
    if (at % 4 == 0) {
        *bits = rng_mix(key + at);
    }
    return ((*bits >> (16 * (at % 4))) & 0xffff) < threshold;
}

/* The entries of the tower that are not dropped, each with its block's scale. Half of the tests
 * fail, at random, so they move a number instead of the program. */
static size_t choose_entries(const struct bag_hidden *h, int tower, size_t i, uint64_t key,
                             struct bag_term *ret)
{
    const struct bag_data *d = h->b->data;
    const uint32_t threshold = (uint32_t)(feature_drop[tower] * 65536.0f);
    const uint32_t *entries = d->entries + d->entry_at[i];
    size_t words = d->words[i];
    size_t from = has_block(tower, TEXT_BLOCK_WORDS) ? 0 : words;
    size_t to = has_block(tower, TEXT_BLOCK_CHARS) ? d->entry_at[i + 1] - d->entry_at[i] : words;
    uint64_t bits = rng_mix(key + from / 4 * 4);
    size_t count = 0;
    for (size_t at = from; at < to; at++) {
        enum text_block block = at < words ? TEXT_BLOCK_WORDS : TEXT_BLOCK_CHARS;
        bool is_out = is_dropped(key, at, &bits, threshold);
        ret[count] = (struct bag_term){entries[at], h->b->scales[i][block]};
        count += (size_t)(!is_out & (entries[at] >> BAG_ENTRY_SHIFT < h->rows));
    }
    return count;
}

static size_t load_terms(const struct bag_hidden *h, int tower, size_t i, uint64_t key)
{
    const struct bag_problem *b = h->b;
    const float kept = 1.0f / (1.0f - feature_drop[tower]);
    struct bag_term *terms = h->towers[tower].terms;
    size_t count = choose_entries(h, tower, i, key, terms);
    for (size_t j = 0; j < count; j++) {
        uint32_t id = terms[j].row >> BAG_ENTRY_SHIFT;
        float value = b->count_weight[terms[j].row & BAG_ENTRY_COUNT] * terms[j].value;
        terms[j] = (struct bag_term){id, value * b->idf[id] * kept};
    }
    return count;
}

/* Units to activations; slope becomes the derivative. Dropped units have 0 in both. */
static void activate(const struct bag_hidden *h, float *units, float *slope, uint64_t key)
{
    const uint32_t threshold = (uint32_t)(unit_drop * 65536.0f);
    const float kept = 1.0f / (1.0f - unit_drop);
    h->b->kernels->tanh(units, units, h->width);
    uint64_t bits = 0;
    for (uint32_t q = 0; q < h->width; q++) {
        float keep = is_dropped(key, q, &bits, threshold) ? 0 : kept;
        slope[q] = (1 - units[q] * units[q]) * keep;
        units[q] *= keep;
    }
}

/* The output layer's step; ret_grad[width] becomes the gradient of the activations. */
static void step_out(struct bag_hidden *h, struct bag_tower *t, const float *units, const float *p,
                     uint32_t label, float rate, float *ret_grad)
{
    const struct bag_problem *b = h->b;
    const float nothing = 1e-4f;
    float square = 0;
    for (uint32_t q = 0; q < h->width; q++) {
        square += units[q] * units[q];
        ret_grad[q] = 0;
    }
    square /= (float)h->width;
    for (uint32_t k = 0; k < b->labels; k++) {
        float g = (p[k] - (k == label ? 1.0f : 0.0f)) * b->cost[label];
        if (fabsf(g) < nothing) {
            continue;
        }
        t->out_seen[k] += g * g * square;
        float step = -rate * g / sqrtf(t->out_seen[k] + tiny);
        b->kernels->step_row(t->out + (size_t)k * h->width, units, step, ret_grad, g, h->width);
        t->out_bias[k] += step * bias_rate;
    }
}

/* The embeddings' step, from the gradient of the units. */
static void step_embed(struct bag_hidden *h, int tower, size_t count, const float *grad, float rate)
{
    struct bag_tower *t = &h->towers[tower];
    float square = 0;
    for (uint32_t q = 0; q < h->width; q++) {
        square += grad[q] * grad[q];
    }
    square /= (float)h->width;
    h->b->kernels->adagrad(h->embed + offset_of(h, tower), 2 * (size_t)h->width, h->width,
                           h->embed_seen + (tower != BAG_TOWER_ALL), 2, t->terms, count, grad, rate,
                           square);
    t->bias_seen += square;
    float step = -rate * bias_rate / sqrtf(t->bias_seen + tiny);
    for (uint32_t q = 0; q < h->width; q++) {
        t->bias[q] += step * grad[q];
    }
}

static float visit(struct bag_hidden *h, int tower, size_t i, uint64_t key, float rate)
{
    const struct bag_problem *b = h->b;
    struct bag_tower *t = &h->towers[tower];
    float *units = t->work;
    float *slope = units + h->width;
    float *grad = slope + h->width;
    float *p = grad + h->width;
    size_t count = load_terms(h, tower, i, key);
    memcpy(units, t->bias, h->width * sizeof *units);
    b->kernels->gather(units, h->embed + offset_of(h, tower), 2 * (size_t)h->width, h->width,
                       t->terms, count);
    activate(h, units, slope, ~key);
    for (size_t k = 0; k < b->stride; k++) {
        p[k] = k < b->labels ? t->out_bias[k] : -1e30f;
    }
    b->kernels->dense(p, t->out, units, b->labels, h->width);
    uint32_t label = bag__problem_label(b, i);
    float score = p[label];
    float loss = b->kernels->softmax(p, b->stride) - score;
    step_out(h, t, units, p, label, rate * out_rate, grad);
    for (uint32_t q = 0; q < h->width; q++) {
        grad[q] *= slope[q];
    }
    step_embed(h, tower, count, grad, rate * embed_rate);
    return loss;
}

double bag__hidden_run(struct bag_hidden *h, int tower, uint32_t epoch, size_t from, size_t to)
{
    double loss = 0;
    double n = (double)h->b->data->samples;
    uint64_t key = rng_at(rng_at(h->b->p->seed, STREAM_DROP + (uint64_t)tower), epoch);
    for (size_t at = from; at < to; at++) {
        double done = ((double)epoch - 1 + (double)at / n) / (double)h->b->p->hidden_epochs;
        size_t i = h->towers[tower].order[at];
        loss += (double)visit(h, tower, i, rng_at(key, i), h->rate_scale * (float)(1 - done));
    }
    return loss;
}

void bag__hidden_score(const struct bag_hidden *h, const struct bag_term *terms, size_t count,
                       struct bag_term *some, float *work, float *ret)
{
    const struct bag_problem *b = h->b;
    for (int tower = 0; tower < BAG_TOWERS; tower++) {
        const struct bag_tower *t = &h->towers[tower];
        size_t kept = 0;
        for (size_t j = 0; j < count; j++) {
            if (has_block(tower, text_key_block(b->data->vocab.keys[terms[j].row]))) {
                some[kept++] = terms[j];
            }
        }
        memcpy(work, t->bias, h->width * sizeof *work);
        b->kernels->gather(work, h->embed + offset_of(h, tower), 2 * (size_t)h->width, h->width,
                           some, kept);
        b->kernels->tanh(work, work, h->width);
        b->kernels->dense(ret, t->out, work, b->labels, h->width);
        for (uint32_t k = 0; k < b->labels; k++) {
            ret[k] += t->out_bias[k];
        }
    }
}
