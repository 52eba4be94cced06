/*
 * Stochastic dual coordinate ascent (Shalev-Shwartz, Zhang 2013): no learning rate, and it goes to
 * the one optimum of strength * sum of losses + sum of (W - W_base)^2 / lift / 2, where lift is the
 * weight that lift.h gives to a feature.
 *
 * Each sample i keeps a dual vector A_i = onehot(label) - alpha_i, where alpha_i is a distribution
 * over labels, and the weights are always W = W_base + lift * sum C_i A_i x_i'. A step moves
 * alpha_i towards the model's prediction p_i as far as the dual objective grows. The table holds R
 * = W * idf, so that a sample is only counts: a row's gradient is scaled by idf squared * lift.
 */
#include "worker/model/bag/linear.h"

#include "common/base/mem.h"
#include "worker/model/bag/lift.h"

#include <math.h>
#include <string.h>

void bag__linear_base_row(const struct bag_problem *b, uint32_t base_row, float *ret)
{
    const struct bag_model *base = b->base;
    const int8_t *codes = base->codes + (size_t)base_row * base->label_count;
    float scale = base->scale[base_row] * base->idf[base_row];
    for (uint32_t k = 0; k < b->labels; k++) {
        ret[k] = b->label_base[k] < 0 ? 0 : scale * (float)codes[b->label_base[k]];
    }
}

static void start_rows(struct bag_linear *l)
{
    const struct bag_problem *b = l->b;
    bag__lift_fill(b, l->table, l->square);
    memset(l->table, 0, (size_t)(b->features + 1) * b->row * sizeof *l->table);
    for (uint32_t id = 0; id < b->features; id++) {
        if (b->base && b->base_row[id] != BAG_VOCAB_NONE) {
            bag__linear_base_row(b, b->base_row[id], l->table + (size_t)id * b->row);
        }
        l->square[id] *= b->idf[id] * b->idf[id];
    }
    l->square[b->features] = 1;
    float *bias = l->table + (size_t)b->features * b->row;
    for (uint32_t k = 0; b->base && k < b->labels; k++) {
        bias[k] = b->label_base[k] < 0 ? 0 : b->base->bias[b->label_base[k]];
    }
}

int bag__linear_init(struct bag_linear *l, const struct bag_problem *b, struct err_buf *e)
{
    *l = (struct bag_linear){.b = b};
    size_t n = b->data->samples;
    l->table = mem_new_aligned((size_t)(b->features + 1) * b->row, sizeof *l->table);
    l->square = mem_new_array((size_t)b->features + 1, sizeof *l->square);
    l->dual = mem_new_array(n * b->row, sizeof *l->dual);
    l->order = mem_new_array(n, sizeof *l->order);
    l->terms = mem_new_array(b->terms_max, sizeof *l->terms);
    l->work = mem_new_aligned(5 * b->stride, sizeof *l->work);
    if (!l->table || !l->square || !l->dual || !l->order || !l->terms || !l->work) {
        return err_set(e, ERR_NOMEM, "cannot train: %u features by %u labels, %zu samples",
                       b->features, b->labels, n);
    }
    memset(l->work, 0, 5 * b->stride * sizeof *l->work);
    start_rows(l);
    return 0;
}

void bag__linear_close(struct bag_linear *l)
{
    mem_free(l->table);
    mem_free(l->square);
    mem_free(l->dual);
    mem_free(l->order);
    mem_free(l->terms);
    mem_free(l->work);
}

void bag__linear_state(struct bag_linear *l, struct bag_state_list *s)
{
    const struct bag_problem *b = l->b;
    bag__state_add(s, "linear.", "table", BAG_STATE_F32, l->table,
                   (size_t)(b->features + 1) * b->row);
    bag__state_add(s, "linear.", "dual", BAG_STATE_F32, l->dual, b->data->samples * b->row);
}

void bag__linear_start_epoch(struct bag_linear *l, uint32_t epoch)
{
    bag__problem_shuffle(l->b, l->order, 1, epoch);
}

static float square_of_length(const struct bag_linear *l, size_t count)
{
    float sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += l->terms[i].value * l->terms[i].value * l->square[l->terms[i].row];
    }
    return sum;
}

/*
 * How far from alpha to p, in (0, 1]: the root of the dual objective's slope
 * sum u (ln(alpha + s u) - ln p + c s u), u = p - alpha, which rises with s; regula falsi.
 */
static float find_step(const struct bag_linear *l, const float *alpha, const float *u,
                       const float *log_p, float curvature)
{
    enum { ROUNDS = 3 };
    const float tiny = 1e-6f;
    const struct bag_problem *b = l->b;
    float *point = l->work + 4 * b->stride;
    float low = 0;
    float high = 1;
    float at_low = 0;
    float at_high = 0;
    for (uint32_t k = 0; k < b->labels; k++) {
        at_high += curvature * u[k] * u[k];
    }
    float s = 0;
    for (int round = 0; round <= ROUNDS; round++) {
        for (size_t k = 0; k < b->stride; k++) {
            float a = alpha[k] + s * u[k];
            point[k] = a > tiny ? a : tiny;
        }
        float slope = b->kernels->slope(point, u, log_p, curvature * s, b->stride);
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
static float visit(struct bag_linear *l, size_t i)
{
    const struct bag_problem *b = l->b;
    const float unchanged = 1e-3f; /* a smaller step is not worth the table's traffic */
    float *p = l->work;
    float *alpha = l->work + b->stride;
    float *u = l->work + 2 * b->stride;
    float *log_p = l->work + 3 * b->stride;
    size_t count = bag__problem_terms(b, i, l->terms);
    l->terms[count++] = (struct bag_term){b->features, 1.0f};
    uint32_t label = bag__problem_label(b, i);
    memset(p, 0, b->stride * sizeof *p);
    b->kernels->gather(p, l->table, b->row, b->row, l->terms, count);
    for (size_t k = b->labels; k < b->stride; k++) {
        p[k] = -1e30f;
    }
    memcpy(log_p, p, b->stride * sizeof *p);
    float log_sum = b->kernels->softmax(p, b->stride);
    for (size_t k = b->labels; k < b->stride; k++) {
        p[k] = 0; /* exactly: what is nearly zero is slow */
    }
    float loss = log_sum - log_p[label];
    float *dual = l->dual + i * b->row;
    float largest = 0;
    for (size_t k = 0; k < b->row; k++) {
        alpha[k] = -dual[k]; /* behind it are zeros from the start */
    }
    alpha[label] += 1.0f;
    for (uint32_t k = 0; k < b->stride; k++) {
        u[k] = p[k] - alpha[k];
        log_p[k] = k < b->labels ? log_p[k] - log_sum : 0;
        largest = fabsf(u[k]) > largest ? fabsf(u[k]) : largest;
    }
    if (largest < unchanged) {
        return loss;
    }
    float cost = (float)b->p->strength * b->cost[label];
    float s = find_step(l, alpha, u, log_p, cost * square_of_length(l, count));
    for (size_t k = 0; k < b->row; k++) {
        dual[k] -= s * u[k];
        p[k] = -cost * s * u[k];
    }
    b->kernels->scatter(l->table, l->square, b->row, l->terms, count, p);
    return loss;
}

double bag__linear_run(struct bag_linear *l, size_t from, size_t to)
{
    double loss = 0;
    for (size_t i = from; i < to; i++) {
        loss += (double)visit(l, l->order[i]);
    }
    return loss;
}
