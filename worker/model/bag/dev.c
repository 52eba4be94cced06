/* See dev.h. */
#include "worker/model/bag/dev.h"

#include "common/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static ptrdiff_t find_label(const struct bag_problem *b, struct span name)
{
    for (uint32_t k = 0; k < b->labels; k++) {
        if (span_equals(b->names[k], name)) {
            return (ptrdiff_t)k;
        }
    }
    return -1;
}

int bag__dev_init(struct bag_dev *d, const struct bag_problem *b, const struct bag_data *data,
                  struct err_buf *e)
{
    *d = (struct bag_dev){.b = b, .data = data};
    size_t longest = 0;
    for (size_t i = 0; i < data->samples; i++) {
        size_t length = data->entry_at[i + 1] - data->entry_at[i];
        longest = length > longest ? length : longest;
    }
    d->row_of = mem_new_array(data->vocab.count, sizeof *d->row_of);
    d->label_of = mem_new_array(data->labels.count, sizeof *d->label_of);
    d->scores = mem_new_array(data->samples * b->stride, sizeof *d->scores);
    d->terms = mem_new_array(longest + 1, sizeof *d->terms);
    d->some = mem_new_array(longest + 1, sizeof *d->some);
    d->work = mem_new_aligned(b->stride + BAG_HIDDEN_MAX, sizeof *d->work);
    if (!d->row_of || !d->label_of || !d->scores || !d->terms || !d->some || !d->work) {
        return err_set(e, ERR_NOMEM, "cannot score %zu dev samples", data->samples);
    }
    for (uint32_t id = 0; id < data->vocab.count; id++) {
        d->row_of[id] = bag__vocab_find(&b->data->vocab, data->vocab.keys[id]);
    }
    for (uint32_t i = 0; i < data->labels.count; i++) {
        d->label_of[i] = find_label(b, data->labels.names[i]);
    }
    return 0;
}

void bag__dev_close(struct bag_dev *d)
{
    mem_free(d->row_of);
    mem_free(d->label_of);
    mem_free(d->scores);
    mem_free(d->terms);
    mem_free(d->some);
    mem_free(d->work);
}

/* The known features of sample i, values without idf. */
static size_t load_terms(const struct bag_dev *d, size_t i)
{
    const struct bag_problem *b = d->b;
    float square[TEXT_BLOCK_COUNT] = {0};
    size_t count = 0;
    for (size_t at = d->data->entry_at[i]; at < d->data->entry_at[i + 1]; at++) {
        uint32_t row = d->row_of[d->data->entries[at] >> BAG_ENTRY_SHIFT];
        if (row != BAG_VOCAB_NONE) {
            float value = b->count_weight[d->data->entries[at] & BAG_ENTRY_COUNT];
            d->terms[count++] = (struct bag_term){row, value};
            value *= b->idf[row];
            square[text_key_block(b->data->vocab.keys[row])] += value * value;
        }
    }
    for (size_t j = 0; j < count; j++) {
        enum text_block block = text_key_block(b->data->vocab.keys[d->terms[j].row]);
        float length = block == TEXT_BLOCK_CHARS ? (float)b->p->char_weight : 1.0f;
        d->terms[j].value *= length / sqrtf(square[block]);
    }
    return count;
}

static void score_hidden(struct bag_dev *d, const struct bag_hidden *hidden, size_t count,
                         float *scores)
{
    size_t kept = 0;
    for (size_t j = 0; j < count; j++) {
        struct bag_term term = d->terms[j];
        if (term.row < hidden->rows) {
            d->terms[kept++] = (struct bag_term){term.row, term.value * d->b->idf[term.row]};
        }
    }
    bag__hidden_score(hidden, d->terms, kept, d->some, d->work, scores);
}

void bag__dev_score(struct bag_dev *d, const struct bag_linear *linear,
                    const struct bag_hidden *hidden)
{
    const struct bag_problem *b = d->b;
    const float *bias = linear->table + (size_t)b->features * b->row;
    for (size_t i = 0; i < d->data->samples; i++) {
        float *scores = d->scores + i * b->stride;
        memcpy(scores, bias, b->row * sizeof *scores);
        size_t count = load_terms(d, i);
        b->kernels->gather(scores, linear->table, b->row, b->row, d->terms, count);
        if (hidden) {
            for (uint32_t k = 0; k < b->labels; k++) {
                scores[k] *= BAG_LINEAR_SHARE;
            }
            score_hidden(d, hidden, count, scores);
        }
    }
}

double bag__dev_loss(const struct bag_dev *d, double temperature, double *ret_accuracy)
{
    const struct bag_problem *b = d->b;
    float *p = d->work;
    double loss = 0;
    size_t right = 0;
    size_t known = 0;
    float sharpness = (float)(1.0 / temperature);
    for (size_t i = 0; i < d->data->samples; i++) {
        ptrdiff_t label = d->label_of[d->data->label[i]];
        if (label < 0) {
            continue;
        }
        const float *scores = d->scores + i * b->stride;
        uint32_t best = 0;
        for (uint32_t k = 0; k < b->stride; k++) {
            p[k] = k < b->labels ? scores[k] * sharpness : -1e30f;
            best = k < b->labels && scores[k] > scores[best] ? k : best;
        }
        float own = p[label];
        loss += (double)(b->kernels->softmax(p, b->stride) - own);
        right += best == (uint32_t)label;
        known++;
    }
    if (ret_accuracy) {
        *ret_accuracy = (double)right / (double)d->data->samples;
    }
    return known ? loss / (double)known : (double)NAN;
}

/* Golden section over the logarithm. Dev sets ask for about 1 without towers and 5 with them; the
 * bounds are far from both, since at a bound dev could not say fairly whether towers are worth it.
 */
double bag__dev_temperature(const struct bag_dev *d)
{
    enum { ROUNDS = 18 };
    const double golden = 0.6180339887498949;
    double low = log(0.1);
    double high = log(50.0);
    double a = high - golden * (high - low);
    double b = low + golden * (high - low);
    double at_a = bag__dev_loss(d, exp(a), NULL);
    double at_b = bag__dev_loss(d, exp(b), NULL);
    for (int round = 0; round < ROUNDS; round++) {
        if (at_a < at_b) {
            high = b;
            b = a;
            at_b = at_a;
            a = high - golden * (high - low);
            at_a = bag__dev_loss(d, exp(a), NULL);
        } else {
            low = a;
            a = b;
            at_a = at_b;
            b = low + golden * (high - low);
            at_b = bag__dev_loss(d, exp(b), NULL);
        }
    }
    return exp((low + high) / 2);
}
