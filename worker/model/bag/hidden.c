/*
 * One sample a step; every random choice depends only on seed, epoch and sample.
 *
 * Features are dropped at random, most of them: that both regularises and makes a step cheap.
 * AdaGrad keeps one sum for a row, not one for a weight: a row's values are of one kind, and the
 * table's memory traffic is what bounds a step.
 */
#include "worker/model/bag/hidden.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include <math.h>
#include <string.h>

/* Found on the dev parts of tests/bench/README.md's data; the optimum is flat around each. */
static const float feature_drop = 0.7f;
static const float unit_drop = 0.3f;
static const float embed_rate = 0.2f;
static const float out_rate = 0.02f;
static const float embed_start = 0.1f; /* uniform in +- this */
static const float out_start = 0.1f;   /* times 1 / sqrt(width) */
static const float warm_rate = 0.3f;   /* of the rates above, from a base */
static const float tiny = 1e-8f;

enum { STREAM_ORDER = 2, STREAM_EMBED, STREAM_OUT, STREAM_DROP };

static int allocate(struct bag_hidden *h, struct err_buf *e)
{
    const struct bag_problem *b = h->b;
    h->embed = mem_new_aligned((size_t)h->rows * h->width, sizeof *h->embed);
    h->embed_seen = mem_new_array(h->rows, sizeof *h->embed_seen);
    h->bias = mem_new_array(h->width, sizeof *h->bias);
    h->bias_seen = mem_new_array(1, sizeof *h->bias_seen);
    h->out = mem_new_aligned((size_t)b->labels * h->width, sizeof *h->out);
    h->out_seen = mem_new_array(b->labels, sizeof *h->out_seen);
    h->out_bias = mem_new_array(b->stride, sizeof *h->out_bias);
    h->order = mem_new_array(b->data->samples, sizeof *h->order);
    h->terms = mem_new_array(b->terms_max, sizeof *h->terms);
    h->work = mem_new_aligned(3 * (size_t)h->width + b->stride, sizeof *h->work);
    if (!h->embed || !h->embed_seen || !h->bias || !h->bias_seen || !h->out || !h->out_seen ||
        !h->out_bias || !h->order || !h->terms || !h->work) {
        return err_set(e, ERR_NOMEM, "cannot train %u embeddings of %u", h->rows, h->width);
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
    for (uint32_t row = 0; row < h->rows; row++) {
        /* keyed by feature, so that a row starts equal whatever else there is */
        uint64_t key = rng_at(embed_key, h->b->data->vocab.keys[row]);
        for (uint32_t q = 0; q < h->width; q++) {
            h->embed[(size_t)row * h->width + q] = symmetric(key, q, embed_start);
        }
    }
    uint64_t out_key = rng_at(seed, STREAM_OUT);
    for (size_t i = 0; i < (size_t)h->b->labels * h->width; i++) {
        h->out[i] = symmetric(out_key, i, out_start / sqrtf((float)h->width));
    }
}

static void start_from_base(struct bag_hidden *h)
{
    const struct bag_problem *b = h->b;
    const struct bag_model *base = b->base;
    h->rate_scale = warm_rate;
    memcpy(h->bias, base->hidden_bias, h->width * sizeof *h->bias);
    for (uint32_t k = 0; k < b->labels; k++) {
        ptrdiff_t from = b->label_base[k];
        if (from >= 0) {
            memcpy(h->out + (size_t)k * h->width, base->out + (size_t)from * h->width,
                   h->width * sizeof *h->out);
            h->out_bias[k] = base->out_bias[from];
        }
    }
    for (uint32_t row = 0; row < h->rows; row++) {
        uint32_t from = b->base_row[row];
        uint32_t at = from == BAG_VOCAB_NONE ? BAG_VOCAB_NONE : base->hidden_row[from];
        for (uint32_t q = 0; at != BAG_VOCAB_NONE && q < h->width; q++) {
            h->embed[(size_t)row * h->width + q] =
                base->hidden_scale[at] * (float)base->hidden_codes[(size_t)at * h->width + q];
        }
    }
}

int bag__hidden_init(struct bag_hidden *h, const struct bag_problem *b, struct err_buf *e)
{
    enum { COUNT_MIN = 2 }; /* a feature of one text cannot say what goes with it */
    *h = (struct bag_hidden){.b = b, .width = b->p->hidden, .rate_scale = 1};
    h->rows = b->features < b->p->hidden_rows_max ? b->features : b->p->hidden_rows_max;
    while (h->rows > 0 && b->data->vocab.texts[h->rows - 1] < COUNT_MIN) {
        h->rows--;
    }
    int rc = allocate(h, e);
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
    mem_free(h->bias);
    mem_free(h->bias_seen);
    mem_free(h->out);
    mem_free(h->out_seen);
    mem_free(h->out_bias);
    mem_free(h->order);
    mem_free(h->terms);
    mem_free(h->work);
}

void bag__hidden_start_epoch(struct bag_hidden *h, uint32_t epoch)
{
    bag__problem_shuffle(h->b, h->order, STREAM_ORDER, epoch);
}

/* Sixteen random bits at a time: four to a number. */
static inline bool is_dropped(uint64_t key, size_t at, uint64_t *bits, uint32_t threshold)
{
    if (at % 4 == 0) {
        *bits = rng_mix(key + at);
    }
    return ((*bits >> (16 * (at % 4))) & 0xffff) < threshold;
}

static size_t load_terms(const struct bag_hidden *h, size_t i, uint64_t key)
{
    const struct bag_problem *b = h->b;
    const struct bag_data *d = b->data;
    const uint32_t threshold = (uint32_t)(feature_drop * 65536.0f);
    const float kept = 1.0f / (1.0f - feature_drop);
    uint64_t bits = 0;
    size_t count = 0;
    size_t from = d->entry_at[i];
    size_t length = d->entry_at[i + 1] - from;
    for (size_t at = 0; at < length; at++) {
        uint32_t id = d->entries[from + at] >> BAG_ENTRY_SHIFT;
        if (is_dropped(key, at, &bits, threshold) || id >= h->rows) {
            continue;
        }
        float value = b->count_weight[d->entries[from + at] & BAG_ENTRY_COUNT] *
                      b->scales[i][text_key_block(d->vocab.keys[id])];
        h->terms[count++] = (struct bag_term){id, value * b->idf[id] * kept};
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
static void step_out(struct bag_hidden *h, const float *units, const float *p, uint32_t label,
                     float weight, float rate, float *ret_grad)
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
        float g = (p[k] - (k == label ? 1.0f : 0.0f)) * weight;
        if (fabsf(g) < nothing) {
            continue;
        }
        h->out_seen[k] += g * g * square;
        float step = -rate * g / sqrtf(h->out_seen[k] + tiny);
        b->kernels->step_row(h->out + (size_t)k * h->width, units, step, ret_grad, g, h->width);
        h->out_bias[k] += step * 0.1f;
    }
}

static float visit(struct bag_hidden *h, size_t i, uint64_t key, float rate)
{
    const struct bag_problem *b = h->b;
    float *units = h->work;
    float *slope = units + h->width;
    float *grad = slope + h->width;
    float *p = grad + h->width;
    size_t count = load_terms(h, i, key);
    memcpy(units, h->bias, h->width * sizeof *units);
    b->kernels->gather(units, h->embed, h->width, h->terms, count);
    activate(h, units, slope, ~key);
    for (size_t k = 0; k < b->stride; k++) {
        p[k] = k < b->labels ? h->out_bias[k] : -1e30f;
    }
    b->kernels->dense(p, h->out, units, b->labels, h->width);
    uint32_t label = bag__problem_label(b, i);
    float score = p[label];
    float loss = b->kernels->softmax(p, b->stride) - score;
    step_out(h, units, p, label, b->cost[label], rate * out_rate, grad);
    float square = 0;
    for (uint32_t q = 0; q < h->width; q++) {
        grad[q] *= slope[q];
        square += grad[q] * grad[q];
    }
    square /= (float)h->width;
    b->kernels->adagrad(h->embed, h->embed_seen, h->width, h->terms, count, grad, rate * embed_rate,
                        square);
    *h->bias_seen += square;
    float step = -rate * embed_rate * 0.1f / sqrtf(*h->bias_seen + tiny);
    for (uint32_t q = 0; q < h->width; q++) {
        h->bias[q] += step * grad[q];
    }
    return loss;
}

double bag__hidden_run(struct bag_hidden *h, uint32_t epoch, size_t from, size_t to)
{
    double loss = 0;
    double n = (double)h->b->data->samples;
    uint64_t key = rng_at(rng_at(h->b->p->seed, STREAM_DROP), epoch);
    for (size_t at = from; at < to; at++) {
        double done = ((double)epoch - 1 + (double)at / n) / (double)h->b->p->hidden_epochs;
        size_t i = h->order[at];
        loss += (double)visit(h, i, rng_at(key, i), h->rate_scale * (float)(1 - done));
    }
    return loss;
}

void bag__hidden_score(const struct bag_hidden *h, const struct bag_term *terms, size_t count,
                       float *work, float *ret)
{
    memcpy(work, h->bias, h->width * sizeof *work);
    h->b->kernels->gather(work, h->embed, h->width, terms, count);
    h->b->kernels->tanh(work, work, h->width);
    h->b->kernels->dense(ret, h->out, work, h->b->labels, h->width);
    for (uint32_t k = 0; k < h->b->labels; k++) {
        ret[k] += h->out_bias[k];
    }
}
