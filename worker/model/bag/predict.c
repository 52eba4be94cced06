/* Scores from rows of codes, softmax, and predictions for a text or a data set. */
#include "common/base/mem.h"
#include "worker/model/bag/data.h"
#include "worker/model/bag/kernels.h"
#include "worker/model/bag/model.h"
#include "worker/model/bag/vocab.h"

#include <math.h>
#include <string.h>

float bag__count_weight(uint32_t count)
{
    return 1.0f + logf((float)(count < BAG_ENTRY_COUNT ? count : BAG_ENTRY_COUNT));
}

/* What the vector of each block is multiplied with, so that its length is 1 or char_weight. */
static void block_scales(const struct bag_model *m, const struct bag_hit *hits, size_t count,
                         float ret[TEXT_BLOCK_COUNT])
{
    float square[TEXT_BLOCK_COUNT] = {0};
    for (size_t i = 0; i < count; i++) {
        float value = bag__count_weight(hits[i].count) * m->idf[hits[i].row];
        square[text_key_block(m->keys[hits[i].row])] += value * value;
    }
    for (int b = 0; b < TEXT_BLOCK_COUNT; b++) {
        float length = b == TEXT_BLOCK_CHARS ? (float)m->char_weight : 1.0f;
        ret[b] = square[b] > 0 ? length / sqrtf(square[b]) : 0;
    }
}

/* The low-rank part: embeddings into work[towers][hidden], tanh, and out to the scores. */
static void add_hidden(const struct bag_model *m, const struct bag_hit *hits, size_t count,
                       const float *blocks, float *work, float *scores)
{
    const struct bag_kernels *kernels = bag__kernels();
    size_t width = m->hidden;
    memcpy(work, m->hidden_bias, BAG_TOWERS * width * sizeof *work);
    for (size_t i = 0; i < count; i++) {
        uint32_t row = hits[i].row;
        size_t at = m->hidden_row[row];
        if (at == BAG_VOCAB_NONE) {
            continue;
        }
        enum text_block block = text_key_block(m->keys[row]);
        float value = bag__count_weight(hits[i].count) * blocks[block] * m->idf[row];
        const int8_t *codes = m->hidden_codes + at * 2 * width;
        kernels->add_codes(work, codes, value * m->hidden_scale[at * 2], width);
        kernels->add_codes(work + (size_t)(BAG_TOWER_WORDS + (int)block) * width, codes + width,
                           value * m->hidden_scale[at * 2 + 1], width);
    }
    kernels->tanh(work, work, BAG_TOWERS * width);
    kernels->dense(scores, m->out, work, m->label_count, BAG_TOWERS * width);
    for (uint32_t k = 0; k < m->label_count; k++) {
        for (size_t tower = 0; tower < BAG_TOWERS; tower++) {
            scores[k] += m->out_bias[tower * m->label_count + k];
        }
    }
}

void bag__model_score(const struct bag_model *m, const struct bag_hit *hits, size_t count,
                      float *work, float *ret_scores)
{
    const struct bag_kernels *kernels = bag__kernels();
    float blocks[TEXT_BLOCK_COUNT];
    block_scales(m, hits, count, blocks);
    memcpy(ret_scores, m->bias, m->label_count * sizeof *ret_scores);
    for (size_t i = 0; i < count; i++) {
        uint32_t row = hits[i].row;
        float value = bag__count_weight(hits[i].count) * blocks[text_key_block(m->keys[row])] *
                      m->idf[row] * m->scale[row];
        kernels->add_codes(ret_scores, m->codes + (size_t)row * m->label_count, value,
                           m->label_count);
    }
    if (m->hidden) {
        for (uint32_t k = 0; k < m->label_count; k++) {
            ret_scores[k] *= BAG_LINEAR_SHARE;
        }
        add_hidden(m, hits, count, blocks, work, ret_scores);
    }
}

void bag__model_softmax(const struct bag_model *m, float *scores)
{
    float top = scores[0];
    for (uint32_t k = 1; k < m->label_count; k++) {
        top = scores[k] > top ? scores[k] : top;
    }
    float sum = 0;
    float sharpness = 1.0f / (float)m->temperature;
    for (uint32_t k = 0; k < m->label_count; k++) {
        scores[k] = expf((scores[k] - top) * sharpness);
        sum += scores[k];
    }
    for (uint32_t k = 0; k < m->label_count; k++) {
        scores[k] /= sum;
    }
}

/* --- a text -------------------------------------------------------------------------------------
 */

struct bag_predictor {
    const struct bag_model *model;
    struct text_extractor extractor;
    struct bag_hit *hits;
    size_t room;
    float *work; /* [towers][hidden] */
};

struct bag_predictor *bag_predictor_new(const struct bag_model *m, struct err_buf *e)
{
    struct bag_predictor *p = mem_new(sizeof *p);
    float *work = p ? mem_new_array((size_t)m->hidden * BAG_TOWERS, sizeof *work) : NULL;
    if (!work) {
        mem_free(p);
        (void)err_set(e, ERR_NOMEM, "cannot make a predictor"); /* NULL says it failed */
        return NULL;
    }
    p->model = m;
    p->work = work;
    text_extractor_init(&p->extractor);
    return p;
}

void bag_predictor_free(struct bag_predictor *p)
{
    if (p) {
        text_extractor_close(&p->extractor);
        mem_free(p->hits);
        mem_free(p->work);
        mem_free(p);
    }
}

static int reserve_hits(struct bag_hit **hits, size_t *room, size_t need, struct err_buf *e)
{
    if (need <= *room) {
        return 0;
    }
    struct bag_hit *bigger = mem_resize_array(*hits, need + need / 2, sizeof *bigger);
    if (!bigger) {
        return err_set(e, ERR_NOMEM, "cannot hold %zu features", need);
    }
    *hits = bigger;
    *room = need + need / 2;
    return 0;
}

int bag_predict(struct bag_predictor *p, const char *text, size_t length, float *ret_probs,
                struct err_buf *e)
{
    int rc = text_extract(&p->extractor, &p->model->spec, text, length, e);
    if (rc == 0) {
        rc = reserve_hits(&p->hits, &p->room, p->extractor.count, e);
    }
    if (rc) {
        return rc;
    }
    size_t count = 0;
    for (size_t i = 0; i < p->extractor.count; i++) {
        uint32_t row = bag__model_row(p->model, p->extractor.features[i].key);
        if (row != BAG_VOCAB_NONE) {
            p->hits[count++] = (struct bag_hit){row, p->extractor.features[i].count};
        }
    }
    bag__model_score(p->model, p->hits, count, p->work, ret_probs);
    bag__model_softmax(p->model, ret_probs);
    return 0;
}

/* --- a data set ---------------------------------------------------------------------------------
 */

struct scorer {
    uint32_t *row_of;    /* [features of the data] */
    ptrdiff_t *label_of; /* [labels of the data] */
    struct bag_hit *hits;
    size_t room;
    float *probs;
    float *work;
};

static int scorer_init(struct scorer *s, const struct bag_model *m, const struct bag_data *d,
                       struct err_buf *e)
{
    s->row_of = mem_new_array(d->vocab.count, sizeof *s->row_of);
    s->label_of = mem_new_array(d->labels.count, sizeof *s->label_of);
    s->probs = mem_new_array(m->label_count, sizeof *s->probs);
    s->work = mem_new_array((size_t)m->hidden * BAG_TOWERS, sizeof *s->work);
    if (!s->row_of || !s->label_of || !s->probs || !s->work) {
        return err_set(e, ERR_NOMEM, "cannot score %zu samples", d->samples);
    }
    for (uint32_t id = 0; id < d->vocab.count; id++) {
        s->row_of[id] = bag__model_row(m, d->vocab.keys[id]);
    }
    for (uint32_t i = 0; i < d->labels.count; i++) {
        s->label_of[i] = bag_label_find(m, d->labels.names[i]);
    }
    return 0;
}

static void scorer_close(struct scorer *s)
{
    mem_free(s->row_of);
    mem_free(s->label_of);
    mem_free(s->probs);
    mem_free(s->work);
    mem_free(s->hits);
}

static int score_sample(struct scorer *s, const struct bag_model *m, const struct bag_data *d,
                        size_t i, struct err_buf *e)
{
    size_t from = d->entry_at[i];
    size_t to = d->entry_at[i + 1];
    int rc = reserve_hits(&s->hits, &s->room, to - from, e);
    size_t count = 0;
    for (size_t at = from; rc == 0 && at < to; at++) {
        uint32_t row = s->row_of[d->entries[at] >> BAG_ENTRY_SHIFT];
        if (row != BAG_VOCAB_NONE) {
            s->hits[count++] = (struct bag_hit){row, d->entries[at] & BAG_ENTRY_COUNT};
        }
    }
    if (rc == 0) {
        bag__model_score(m, s->hits, count, s->work, s->probs);
        bag__model_softmax(m, s->probs);
    }
    return rc;
}

static uint32_t index_of_largest(const float *values, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t k = 1; k < count; k++) {
        best = values[k] > values[best] ? k : best;
    }
    return best;
}

int bag_loss(const struct bag_model *m, const struct bag_data *d, struct bag_score *ret,
             struct err_buf *e)
{
    if (!text_spec_equals(&m->spec, &d->spec)) {
        return err_set(e, ERR_INVALID, "the data was made with other features than the model");
    }
    if (d->stream) {
        return err_set(e, ERR_INVALID, "data of one pass keeps no samples to score");
    }
    struct scorer s = {0};
    int rc = scorer_init(&s, m, d, e);
    double loss = 0;
    size_t right = 0;
    size_t known = 0;
    for (size_t i = 0; rc == 0 && i < d->samples; i++) {
        ptrdiff_t label = s.label_of[d->label[i]];
        if (label < 0) {
            continue;
        }
        rc = score_sample(&s, m, d, i, e);
        if (rc == 0) {
            known++;
            double p = (double)s.probs[label];
            loss -= log(p > 1e-15 ? p : 1e-15);
            right += index_of_largest(s.probs, m->label_count) == (uint32_t)label;
        }
    }
    scorer_close(&s);
    if (rc == 0) {
        *ret = (struct bag_score){.loss = known ? loss / (double)known : (double)NAN,
                                  .accuracy =
                                      d->samples ? (double)right / (double)d->samples : (double)NAN,
                                  .known = known};
    }
    return rc;
}
