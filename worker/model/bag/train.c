/*
 * Stochastic dual coordinate ascent for the softmax with an L2 penalty (Shalev-Shwartz, Zhang
 * 2013): no learning rate, and it goes to the one optimum.
 *
 * Each sample i keeps a dual vector A_i = onehot(label) - alpha_i, where alpha_i is a distribution
 * over labels, and the weights are always W = W_base + sum C_i A_i x_i'. A step moves alpha_i
 * towards the model's prediction p_i as far as the dual objective grows. The table holds
 * R = W * idf, so that a sample is only counts: a row's gradient is scaled by idf squared.
 */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "worker/model/bag/data.h"
#include "worker/model/bag/kernels.h"
#include "worker/model/bag/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dev_set {
    uint32_t *row_of;    /* [features of dev] row of the table, or BAG_VOCAB_NONE */
    ptrdiff_t *label_of; /* [labels of dev] number, or -1 */
    float *scores;       /* [samples][stride] */
    struct bag_term *terms;
};

struct trainer {
    const struct bag_params *p;
    const struct bag_data *data;
    const struct bag_data *dev;
    const struct bag_model *base;
    const struct bag_watch *watch;
    const struct bag_kernels *kernels;
    uint32_t labels;
    uint32_t features;
    size_t stride;
    struct span *names;                /* [labels], ascending */
    uint32_t *label_number;            /* [labels of the data] its index in names */
    ptrdiff_t *label_base;             /* [labels] its index in base, or -1 */
    float *table;                      /* [features][stride], the last row is the bias */
    float *idf;                        /* [features] */
    float *square;                     /* [features + 1] idf squared; 1 for the bias */
    float *dual;                       /* [samples][stride] */
    float (*scales)[TEXT_BLOCK_COUNT]; /* [samples] */
    float *cost;                       /* [labels] C of a sample with that label */
    uint32_t *order;                   /* [samples] */
    struct bag_term *terms;            /* of one sample */
    float *work;                       /* four vectors of stride floats */
    float count_weight[BAG_ENTRY_COUNT + 1];
    struct dev_set dev_set;
    int64_t started_us;
};

/* --- setting up ---------------------------------------------------------------------------------
 */

static int compare_names(const void *a, const void *b)
{
    const struct span *x = a;
    const struct span *y = b;
    size_t shorter = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->data, y->data, shorter);
    return order ? order : (x->length > y->length) - (x->length < y->length);
}

static void number_labels(struct trainer *t)
{
    const struct bag_labels *l = &t->data->labels;
    memcpy(t->names, l->names, l->count * sizeof *t->names);
    qsort(t->names, l->count, sizeof *t->names, compare_names);
    for (uint32_t i = 0; i < l->count; i++) {
        struct span *found =
            bsearch(&l->names[i], t->names, l->count, sizeof *t->names, compare_names);
        t->label_number[i] = (uint32_t)(found - t->names);
    }
    for (uint32_t i = 0; i < l->count; i++) {
        t->label_base[i] = t->base ? bag_label_find(t->base, t->names[i]) : -1;
    }
}

static int allocate(struct trainer *t, struct err_buf *e)
{
    size_t n = t->data->samples;
    size_t longest = 0;
    for (size_t i = 0; i < n; i++) {
        size_t length = t->data->entry_at[i + 1] - t->data->entry_at[i];
        longest = length > longest ? length : longest;
    }
    t->names = mem_new_array(t->labels, sizeof *t->names);
    t->label_number = mem_new_array(t->labels, sizeof *t->label_number);
    t->label_base = mem_new_array(t->labels, sizeof *t->label_base);
    t->cost = mem_new_array(t->labels, sizeof *t->cost);
    t->table = mem_new_aligned((size_t)(t->features + 1) * t->stride, sizeof *t->table);
    t->idf = mem_new_array(t->features, sizeof *t->idf);
    t->square = mem_new_array((size_t)t->features + 1, sizeof *t->square);
    t->dual = mem_new_array(n * t->stride, sizeof *t->dual);
    t->scales = mem_new_array(n, sizeof *t->scales);
    t->order = mem_new_array(n, sizeof *t->order);
    t->terms = mem_new_array(longest + 1, sizeof *t->terms);
    t->work = mem_new_aligned(4 * t->stride, sizeof *t->work);
    if (!t->names || !t->label_number || !t->label_base || !t->cost || !t->table || !t->idf ||
        !t->square || !t->dual || !t->scales || !t->order || !t->terms || !t->work) {
        return err_set(e, ERR_NOMEM, "cannot train: %u features by %u labels, %zu samples",
                       t->features, t->labels, n);
    }
    return 0;
}

static void trainer_close(struct trainer *t)
{
    mem_free(t->names);
    mem_free(t->label_number);
    mem_free(t->label_base);
    mem_free(t->cost);
    mem_free(t->table);
    mem_free(t->idf);
    mem_free(t->square);
    mem_free(t->dual);
    mem_free(t->scales);
    mem_free(t->order);
    mem_free(t->terms);
    mem_free(t->work);
}

/* A base's row into a row of this table, label by label. */
static void copy_base_row(const struct trainer *t, uint32_t base_row, float *row)
{
    const int8_t *codes = t->base->codes + (size_t)base_row * t->base->label_count;
    float scale = t->base->scale[base_row] * t->base->idf[base_row];
    for (uint32_t k = 0; k < t->labels; k++) {
        row[k] = t->label_base[k] < 0 ? 0 : scale * (float)codes[t->label_base[k]];
    }
}

static void start_rows(struct trainer *t)
{
    const struct bag_vocab *v = &t->data->vocab;
    memset(t->table, 0, (size_t)(t->features + 1) * t->stride * sizeof *t->table);
    for (uint32_t id = 0; id < t->features; id++) {
        uint32_t from = t->base ? bag__model_row(t->base, v->keys[id]) : BAG_VOCAB_NONE;
        if (from != BAG_VOCAB_NONE) {
            t->idf[id] = t->base->idf[from];
            copy_base_row(t, from, t->table + (size_t)id * t->stride);
        } else {
            t->idf[id] = logf((1.0f + (float)t->data->samples) / (1.0f + (float)v->texts[id])) + 1;
        }
        t->square[id] = t->idf[id] * t->idf[id];
    }
    t->square[t->features] = 1;
    float *bias = t->table + (size_t)t->features * t->stride;
    for (uint32_t k = 0; t->base && k < t->labels; k++) {
        bias[k] = t->label_base[k] < 0 ? 0 : t->base->bias[t->label_base[k]];
    }
}

static void start_samples(struct trainer *t)
{
    const struct bag_data *d = t->data;
    for (size_t i = 0; i < d->samples; i++) {
        float square[TEXT_BLOCK_COUNT] = {0};
        for (size_t at = d->entry_at[i]; at < d->entry_at[i + 1]; at++) {
            uint32_t id = d->entries[at] >> BAG_ENTRY_SHIFT;
            float value = t->count_weight[d->entries[at] & BAG_ENTRY_COUNT] * t->idf[id];
            square[text_key_block(d->vocab.keys[id])] += value * value;
        }
        for (int b = 0; b < TEXT_BLOCK_COUNT; b++) {
            float length = b == TEXT_BLOCK_CHARS ? (float)t->p->char_weight : 1.0f;
            t->scales[i][b] = square[b] > 0 ? length / sqrtf(square[b]) : 0;
        }
        t->order[i] = (uint32_t)i;
    }
    for (uint32_t k = 0; k < t->labels; k++) {
        float share = (float)d->samples / ((float)t->labels * (float)d->labels.samples[k]);
        bool balanced = t->p->class_weight == BAG_CLASS_BALANCED;
        t->cost[t->label_number[k]] = (float)t->p->strength * (balanced ? share : 1.0f);
    }
}

static int trainer_init(struct trainer *t, struct err_buf *e)
{
    t->kernels = bag__kernels();
    t->labels = t->data->labels.count;
    t->features = t->data->vocab.count;
    t->stride = (t->labels + BAG_LANES - 1) / BAG_LANES * BAG_LANES;
    int rc = allocate(t, e);
    if (rc) {
        return rc;
    }
    for (uint32_t c = 0; c <= BAG_ENTRY_COUNT; c++) {
        t->count_weight[c] = c ? bag__count_weight(c) : 0;
    }
    number_labels(t);
    start_rows(t);
    start_samples(t);
    return 0;
}

/* --- one step -----------------------------------------------------------------------------------
 */

static size_t load_terms(const struct trainer *t, size_t i, float *ret_square)
{
    const struct bag_data *d = t->data;
    size_t count = 0;
    float square = 0;
    for (size_t at = d->entry_at[i]; at < d->entry_at[i + 1]; at++) {
        uint32_t id = d->entries[at] >> BAG_ENTRY_SHIFT;
        float value = t->count_weight[d->entries[at] & BAG_ENTRY_COUNT] *
                      t->scales[i][text_key_block(d->vocab.keys[id])];
        t->terms[count++] = (struct bag_term){id, value};
        square += value * value * t->square[id];
    }
    t->terms[count++] = (struct bag_term){t->features, 1.0f};
    *ret_square = square + 1.0f;
    return count;
}

/*
 * How far from alpha to p, in (0, 1]: the root of the dual objective's slope
 * sum u (ln(alpha + s u) - z + c s u), u = p - alpha, which rises with s; regula falsi.
 */
static float find_step(const struct trainer *t, const float *alpha, const float *u,
                       const float *log_p, float curvature)
{
    enum { ROUNDS = 3 };
    const float tiny = 1e-6f;
    float low = 0;
    float high = 1;
    float at_low = 0;
    float at_high = 0;
    float *point = t->work + 2 * t->stride;
    for (uint32_t k = 0; k < t->labels; k++) {
        at_high += curvature * u[k] * u[k];
    }
    float s = 0;
    for (int round = 0; round <= ROUNDS; round++) {
        for (size_t k = 0; k < t->stride; k++) {
            float a = alpha[k] + s * u[k];
            point[k] = a > tiny ? a : tiny;
        }
        t->kernels->log(point, point, t->stride);
        float slope = 0;
        for (uint32_t k = 0; k < t->labels; k++) {
            slope += u[k] * (point[k] - log_p[k] + curvature * s * u[k]);
        }
        if (slope <= 0) {
            low = s;
            at_low = slope;
        } else {
            high = s;
            at_high = slope;
        }
        s = at_high - at_low > 0 ? low - at_low * (high - low) / (at_high - at_low) : high;
    }
    return s;
}

/* Visits sample i; returns its log loss before the step. */
static float visit(struct trainer *t, size_t i)
{
    float *p = t->work;
    float *u = t->work + t->stride;
    float *log_p = t->work + 3 * t->stride;
    float square = 0;
    size_t count = load_terms(t, i, &square);
    uint32_t label = t->label_number[t->data->label[i]];
    memset(p, 0, t->stride * sizeof *p);
    t->kernels->gather(p, t->table, t->stride, t->terms, count);
    for (size_t k = t->labels; k < t->stride; k++) {
        p[k] = -1e30f;
    }
    memcpy(log_p, p, t->stride * sizeof *p);
    float log_sum = t->kernels->softmax(p, t->stride);
    float *dual = t->dual + i * t->stride;
    float *alpha = u; /* first alpha, then the direction */
    float largest = 0;
    float direction[BAG_LABELS_MAX];
    for (uint32_t k = 0; k < t->stride; k++) {
        alpha[k] = (k == label ? 1.0f : 0.0f) - dual[k];
        direction[k] = p[k] - alpha[k];
        log_p[k] -= log_sum;
        float size = fabsf(direction[k]);
        largest = size > largest ? size : largest;
    }
    float loss = -log_p[label];
    if (largest < 1e-3f) {
        return loss;
    }
    float cost = t->cost[label];
    float s = find_step(t, alpha, direction, log_p, cost * square);
    for (uint32_t k = 0; k < t->stride; k++) {
        float change = -s * direction[k];
        dual[k] += change;
        p[k] = cost * change;
    }
    t->kernels->scatter(t->table, t->square, t->stride, t->terms, count, p);
    return loss;
}

static void shuffle(struct trainer *t, uint32_t epoch)
{
    struct rng r = {.key = rng_at(t->p->seed, epoch)};
    for (size_t i = t->data->samples; i > 1; i--) {
        size_t j = rng_below(&r, (uint32_t)i);
        uint32_t kept = t->order[i - 1];
        t->order[i - 1] = t->order[j];
        t->order[j] = kept;
    }
}

/* --- the model ----------------------------------------------------------------------------------
 */

struct key_row {
    uint32_t key;
    uint32_t row;      /* in the table, or BAG_VOCAB_NONE */
    uint32_t base_row; /* where row is none */
};

static int compare_keys(const void *a, const void *b)
{
    const struct key_row *x = a;
    const struct key_row *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

/* All rows of the table and those of the base that the data did not touch, by key. */
static struct key_row *list_rows(const struct trainer *t, uint32_t *ret_count)
{
    const struct bag_vocab *v = &t->data->vocab;
    size_t room = t->features + (t->base ? t->base->rows : 0u);
    struct key_row *rows = mem_new_array(room, sizeof *rows);
    if (!rows) {
        return NULL;
    }
    uint32_t count = 0;
    for (uint32_t id = 0; id < t->features; id++) {
        rows[count++] = (struct key_row){v->keys[id], id, 0};
    }
    for (uint32_t row = 0; t->base && row < t->base->rows; row++) {
        if (bag__vocab_find(v, t->base->keys[row]) == BAG_VOCAB_NONE) {
            rows[count++] = (struct key_row){t->base->keys[row], BAG_VOCAB_NONE, row};
        }
    }
    qsort(rows, count, sizeof *rows, compare_keys);
    *ret_count = count;
    return rows;
}

static float quantise_row(const float *row, uint32_t labels, int8_t *codes)
{
    float largest = 0;
    for (uint32_t k = 0; k < labels; k++) {
        largest = fabsf(row[k]) > largest ? fabsf(row[k]) : largest;
    }
    float scale = largest / 127.0f;
    for (uint32_t k = 0; k < labels; k++) {
        codes[k] = scale > 0 ? (int8_t)lrintf(row[k] / scale) : 0;
    }
    return scale;
}

static int make_model(const struct trainer *t, double temperature, struct bag_model **ret,
                      struct err_buf *e)
{
    uint32_t count = 0;
    struct key_row *rows = list_rows(t, &count);
    uint32_t *keys = mem_new_array(count, sizeof *keys);
    float *idf = mem_new_array(count, sizeof *idf);
    float *scale = mem_new_array(count, sizeof *scale);
    int8_t *codes = mem_new_array((size_t)count * t->labels, 1);
    float *base_row = mem_new_array(t->stride, sizeof *base_row);
    int rc = rows && keys && idf && scale && codes && base_row
                 ? 0
                 : err_set(e, ERR_NOMEM, "cannot build a model of %u rows", count);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        const float *row = base_row;
        if (rows[i].row == BAG_VOCAB_NONE) {
            copy_base_row(t, rows[i].base_row, base_row);
            idf[i] = t->base->idf[rows[i].base_row];
        } else {
            row = t->table + (size_t)rows[i].row * t->stride;
            idf[i] = t->idf[rows[i].row];
        }
        keys[i] = rows[i].key;
        scale[i] = quantise_row(row, t->labels, codes + (size_t)i * t->labels) / idf[i];
    }
    const struct bag_weights w = {.spec = t->p->features,
                                  .char_weight = t->p->char_weight,
                                  .temperature = temperature,
                                  .rows = count,
                                  .label_count = t->labels,
                                  .labels = t->names,
                                  .keys = keys,
                                  .idf = idf,
                                  .scale = scale,
                                  .bias = t->table + (size_t)t->features * t->stride,
                                  .codes = codes};
    rc = rc ? rc : bag__model_make(ret, &w, e);
    mem_free(rows);
    mem_free(keys);
    mem_free(idf);
    mem_free(scale);
    mem_free(codes);
    mem_free(base_row);
    return rc;
}

/* --- dev ----------------------------------------------------------------------------------------
 */

/* Dev samples with the rows of the table; made once, scored after every epoch. */
static int dev_init(struct trainer *t, struct err_buf *e)
{
    const struct bag_data *d = t->dev;
    struct dev_set *s = &t->dev_set;
    s->row_of = mem_new_array(d->vocab.count, sizeof *s->row_of);
    s->label_of = mem_new_array(d->labels.count, sizeof *s->label_of);
    s->scores = mem_new_array(d->samples * t->stride, sizeof *s->scores);
    size_t longest = 0;
    for (size_t i = 0; i < d->samples; i++) {
        size_t length = d->entry_at[i + 1] - d->entry_at[i];
        longest = length > longest ? length : longest;
    }
    s->terms = mem_new_array(longest + 1, sizeof *s->terms);
    if (!s->row_of || !s->label_of || !s->scores || !s->terms) {
        return err_set(e, ERR_NOMEM, "cannot score %zu dev samples", d->samples);
    }
    for (uint32_t id = 0; id < d->vocab.count; id++) {
        s->row_of[id] = bag__vocab_find(&t->data->vocab, d->vocab.keys[id]);
    }
    for (uint32_t i = 0; i < d->labels.count; i++) {
        const struct span *found =
            bsearch(&d->labels.names[i], t->names, t->labels, sizeof *t->names, compare_names);
        s->label_of[i] = found ? found - t->names : -1;
    }
    return 0;
}

static void dev_close(struct dev_set *s)
{
    mem_free(s->row_of);
    mem_free(s->label_of);
    mem_free(s->scores);
    mem_free(s->terms);
}

static size_t load_dev_terms(const struct trainer *t, size_t i)
{
    const struct bag_data *d = t->dev;
    struct bag_term *terms = t->dev_set.terms;
    float square[TEXT_BLOCK_COUNT] = {0};
    size_t count = 0;
    for (size_t at = d->entry_at[i]; at < d->entry_at[i + 1]; at++) {
        uint32_t row = t->dev_set.row_of[d->entries[at] >> BAG_ENTRY_SHIFT];
        if (row != BAG_VOCAB_NONE) {
            float value = t->count_weight[d->entries[at] & BAG_ENTRY_COUNT];
            terms[count++] = (struct bag_term){row, value};
            value *= t->idf[row];
            square[text_key_block(t->data->vocab.keys[row])] += value * value;
        }
    }
    for (size_t j = 0; j < count; j++) {
        enum text_block b = text_key_block(t->data->vocab.keys[terms[j].row]);
        float length = b == TEXT_BLOCK_CHARS ? (float)t->p->char_weight : 1.0f;
        terms[j].value *= length / sqrtf(square[b]);
    }
    terms[count++] = (struct bag_term){t->features, 1.0f};
    return count;
}

/* Mean log loss and accuracy of the scores at a temperature. */
static double dev_loss(const struct trainer *t, double temperature, double *ret_accuracy)
{
    float *p = t->work;
    double loss = 0;
    size_t right = 0;
    size_t known = 0;
    float sharpness = (float)(1.0 / temperature);
    for (size_t i = 0; i < t->dev->samples; i++) {
        ptrdiff_t label = t->dev_set.label_of[t->dev->label[i]];
        if (label < 0) {
            continue;
        }
        const float *scores = t->dev_set.scores + i * t->stride;
        uint32_t best = 0;
        for (uint32_t k = 0; k < t->stride; k++) {
            p[k] = k < t->labels ? scores[k] * sharpness : -1e30f;
            best = k < t->labels && scores[k] > scores[best] ? k : best;
        }
        float own = p[label];
        loss += (double)(t->kernels->softmax(p, t->stride) - own);
        right += best == (uint32_t)label;
        known++;
    }
    if (ret_accuracy) {
        *ret_accuracy = (double)right / (double)t->dev->samples;
    }
    return known ? loss / (double)known : (double)NAN;
}

static double dev_score(const struct trainer *t, double *ret_accuracy)
{
    for (size_t i = 0; i < t->dev->samples; i++) {
        float *scores = t->dev_set.scores + i * t->stride;
        memset(scores, 0, t->stride * sizeof *scores);
        size_t count = load_dev_terms(t, i);
        t->kernels->gather(scores, t->table, t->stride, t->dev_set.terms, count);
    }
    return dev_loss(t, 1, ret_accuracy);
}

/* The temperature with the least dev loss, by golden section over its logarithm. */
static double fit_temperature(const struct trainer *t)
{
    enum { ROUNDS = 20 };
    const double golden = 0.6180339887498949;
    double low = log(0.2);
    double high = log(5.0);
    for (int round = 0; round < ROUNDS; round++) {
        double a = high - golden * (high - low);
        double b = low + golden * (high - low);
        if (dev_loss(t, exp(a), NULL) < dev_loss(t, exp(b), NULL)) {
            high = b;
        } else {
            low = a;
        }
    }
    return exp((low + high) / 2);
}

/* --- the loop -----------------------------------------------------------------------------------
 */

static bool is_cancelled(const struct trainer *t)
{
    return t->watch && t->watch->is_cancelled && t->watch->is_cancelled(t->watch->data);
}

static void tell_progress(const struct trainer *t, uint32_t epoch, size_t done, double loss,
                          double of_dev)
{
    if (!t->watch || !t->watch->on_progress) {
        return;
    }
    size_t n = t->data->samples;
    uint64_t step = (uint64_t)(epoch - 1) * n + done;
    int64_t us = clock_mono_us() - t->started_us;
    const struct bag_progress progress = {.epoch = epoch,
                                          .epochs = t->p->epochs,
                                          .step = step,
                                          .steps = (uint64_t)t->p->epochs * n,
                                          .loss = loss / (double)done,
                                          .dev_loss = of_dev,
                                          .examples_per_s =
                                              1e6 * (double)step / (double)(us > 0 ? us : 1)};
    t->watch->on_progress(&progress, t->watch->data);
}

static int run_epoch(struct trainer *t, uint32_t epoch, struct bag_report *report,
                     struct err_buf *e)
{
    enum { BLOCK = 2048 };
    size_t n = t->data->samples;
    double loss = 0;
    shuffle(t, epoch);
    for (size_t i = 0; i < n; i++) {
        loss += (double)visit(t, t->order[i]);
        if ((i + 1) % BLOCK == 0 || i + 1 == n) {
            if (is_cancelled(t)) {
                return err_set(e, ERR_CANCELLED, "training was cancelled in epoch %u", epoch);
            }
            if (i + 1 < n) {
                tell_progress(t, epoch, i + 1, loss, (double)NAN);
            }
        }
    }
    report->loss = loss / (double)n;
    report->epochs_run = epoch;
    report->epoch_best = epoch;
    if (t->dev) {
        report->dev_loss = dev_score(t, &report->dev_accuracy);
    }
    tell_progress(t, epoch, n, loss, report->dev_loss);
    return 0;
}

/* Epochs until the last, or until dev has not become better by BETTER for patience epochs. */
static int run_epochs(struct trainer *t, struct bag_report *report, struct err_buf *e)
{
    const double better = 1e-3;
    double best = (double)INFINITY;
    uint32_t waited = 0;
    t->started_us = clock_mono_us();
    for (uint32_t epoch = 1; epoch <= t->p->epochs; epoch++) {
        double before = report->loss;
        int rc = run_epoch(t, epoch, report, e);
        if (rc) {
            return rc;
        }
        if (epoch > 1 && fabs(before - report->loss) <= t->p->tolerance * before) {
            return 0;
        }
        bool is_better = report->dev_loss < best * (1 - better);
        waited = is_better ? 0 : waited + 1;
        best = is_better ? report->dev_loss : best;
        if (t->dev && t->p->patience && waited >= t->p->patience) {
            return 0;
        }
    }
    return 0;
}

static int check_data(const struct trainer *t, struct err_buf *e)
{
    if (t->data->samples == 0 || t->data->labels.count < 2) {
        return err_set(e, ERR_DATA, "%zu samples with %u labels; training needs two labels",
                       t->data->samples, t->data->labels.count);
    }
    if (t->data->samples > UINT32_MAX) {
        return err_set(e, ERR_LIMIT, "%zu samples; the limit is %u", t->data->samples, UINT32_MAX);
    }
    if (!text_spec_equals(&t->data->spec, &t->p->features) ||
        (t->dev && !text_spec_equals(&t->dev->spec, &t->p->features)) ||
        (t->base && !text_spec_equals(&t->base->spec, &t->p->features))) {
        return err_set(e, ERR_INVALID, "data, base and parameters have different features");
    }
    return 0;
}

int bag_train(struct bag_model **ret, const struct bag_params *p, struct bag_data *train,
              const struct bag_data *dev, const struct bag_model *base,
              const struct bag_watch *watch, struct bag_report *report, struct err_buf *e)
{
    bool has_dev = dev && dev->samples > 0;
    struct trainer t = {
        .p = p, .data = train, .dev = has_dev ? dev : NULL, .base = base, .watch = watch};
    struct bag_report own;
    report = report ? report : &own;
    *report = (struct bag_report){.dev_loss = (double)NAN,
                                  .dev_accuracy = (double)NAN,
                                  .temperature = 1,
                                  .samples = train->samples};
    int rc = bag_params_check(p, e);
    rc = rc ? rc : check_data(&t, e);
    rc = rc ? rc : bag__data_seal(train, e);
    rc = rc ? rc : trainer_init(&t, e);
    rc = rc || !t.dev ? rc : dev_init(&t, e);
    rc = rc ? rc : run_epochs(&t, report, e);
    if (rc == 0 && t.dev && isfinite(report->dev_loss)) {
        report->temperature = fit_temperature(&t);
        report->dev_loss = dev_loss(&t, report->temperature, NULL);
    }
    rc = rc ? rc : make_model(&t, report->temperature, ret, e);
    report->features = t.features;
    dev_close(&t.dev_set);
    trainer_close(&t);
    return rc;
}
