/*
 * The kernels in plain C, written so that the compiler turns every inner loop into vectors.
 * Included by kernels.c and kernels_avx2.c, which differ only in how they are compiled.
 */
#include "worker/model/bag/kernels.h"

#include <string.h>

/* Rows of a few labels: the sums stay in registers. */
#define GATHER_FEW(NAME, WIDTH)                                                                    \
    static void NAME(float *restrict out, const float *restrict table,                             \
                     const struct bag_term *restrict terms, size_t count)                          \
    {                                                                                              \
        enum { AHEAD = 12 };                                                                       \
        float sums[WIDTH];                                                                         \
        memcpy(sums, out, sizeof sums);                                                            \
        for (size_t i = 0; i < count; i++) {                                                       \
            const float *row = table + (size_t)terms[i].row * WIDTH;                               \
            float value = terms[i].value;                                                          \
            if (i + AHEAD < count) {                                                               \
                __builtin_prefetch(table + (size_t)terms[i + AHEAD].row * WIDTH);                  \
            }                                                                                      \
            for (size_t k = 0; k < WIDTH; k++) {                                                   \
                sums[k] += value * row[k];                                                         \
            }                                                                                      \
        }                                                                                          \
        memcpy(out, sums, sizeof sums);                                                            \
    }

GATHER_FEW(gather_2, 2)
GATHER_FEW(gather_4, 4)

static void gather(float *restrict out, const float *restrict table, size_t stride, size_t width,
                   const struct bag_term *restrict terms, size_t count)
{
    enum { AHEAD = 6, LINE = 64 };
    if (stride == 2 || stride == 4) {
        (stride == 2 ? gather_2 : gather_4)(out, table, terms, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const float *row = table + (size_t)terms[i].row * stride;
        float value = terms[i].value;
        if (i + AHEAD < count) {
            const char *ahead = (const char *)(table + (size_t)terms[i + AHEAD].row * stride);
            for (size_t at = 0; at < width * sizeof(float); at += LINE) {
                __builtin_prefetch(ahead + at);
            }
        }
        for (size_t k = 0; k < width; k++) {
            out[k] += value * row[k];
        }
    }
}

#define SCATTER_FEW(NAME, WIDTH)                                                                   \
    static void NAME(float *restrict table, const float *restrict square,                          \
                     const struct bag_term *restrict terms, size_t count,                          \
                     const float *restrict step)                                                   \
    {                                                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            float *row = table + (size_t)terms[i].row * WIDTH;                                     \
            float value = terms[i].value * square[terms[i].row];                                   \
            for (size_t k = 0; k < WIDTH; k++) {                                                   \
                row[k] += value * step[k];                                                         \
            }                                                                                      \
        }                                                                                          \
    }

SCATTER_FEW(scatter_2, 2)
SCATTER_FEW(scatter_4, 4)

static void scatter(float *restrict table, const float *restrict square, size_t stride,
                    const struct bag_term *restrict terms, size_t count, const float *restrict step)
{
    if (stride == 2 || stride == 4) {
        (stride == 2 ? scatter_2 : scatter_4)(table, square, terms, count, step);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        float *row = table + (size_t)terms[i].row * stride;
        float value = terms[i].value * square[terms[i].row];
        for (size_t k = 0; k < stride; k++) {
            row[k] += value * step[k];
        }
    }
}

/* exp(x) for x <= 0, relative error below 3e-7; below -87, or of no number, it is 0. Cephes'
 * polynomial. */
static inline float exp_of(float x)
{
    x = x > -87.0f ? x : -87.0f;
    float shifted = x * 1.44269504f + 12582912.0f; /* rounds to a whole number in the low bits */
    float n = shifted - 12582912.0f;
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = ((int32_t)n + 127) * (1 << 23);
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

/* ln(x) for positive normal x, absolute error below 1e-6. */
static inline float log_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int32_t exponent = (bits - 0x3f2aaaab) >> 23; /* mantissa in [2/3, 4/3) */
    bits -= exponent * (1 << 23);
    float m;
    memcpy(&m, &bits, sizeof m);
    float s = (m - 1.0f) / (m + 1.0f);
    float q = s * s;
    float p =
        2.0f * s * (1.0f + q * (0.333333333f + q * (0.2f + q * (0.142857143f + q * 0.1111f))));
    return p + (float)exponent * 0.693147181f;
}

static float add_lanes(const float *lanes)
{
    return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) +
           ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

static float softmax(float *values, size_t count)
{
    float top = values[0];
    for (size_t k = 1; k < count; k++) {
        top = values[k] > top ? values[k] : top;
    }
    for (size_t k = 0; k < count; k++) {
        values[k] = exp_of(values[k] - top);
    }
    float lanes[BAG_LANES] = {0};
    for (size_t k = 0; k < count; k += BAG_LANES) {
        for (size_t j = 0; j < BAG_LANES; j++) {
            lanes[j] += values[k + j];
        }
    }
    float sum = add_lanes(lanes);
    float scale = 1.0f / sum;
    for (size_t k = 0; k < count; k++) {
        values[k] *= scale;
    }
    return top + log_of(sum);
}

static float slope_at(const float *restrict alpha, const float *restrict u,
                      const float *restrict log_p, float curvature, size_t count)
{
    float lanes[BAG_LANES] = {0};
    for (size_t k = 0; k < count; k += BAG_LANES) {
        for (size_t j = 0; j < BAG_LANES; j++) {
            float v = u[k + j];
            lanes[j] += v * (log_of(alpha[k + j]) - log_p[k + j] + curvature * v);
        }
    }
    return add_lanes(lanes);
}

/* 1 - 2 / (e^2|x| + 1), with the sign of x. */
static void tanhs(float *out, const float *values, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        float x = values[k];
        float size = x < 0 ? -x : x;
        float t = exp_of(-2.0f * size);
        float y = (1.0f - t) / (1.0f + t);
        out[k] = x < 0 ? -y : y;
    }
}

static void dense(float *restrict out, const float *restrict table, const float *restrict values,
                  size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++) {
        const float *row = table + r * width;
        float lanes[BAG_LANES] = {0};
        for (size_t k = 0; k < width; k += BAG_LANES) {
            for (size_t j = 0; j < BAG_LANES; j++) {
                lanes[j] += row[k + j] * values[k + j];
            }
        }
        out[r] += add_lanes(lanes);
    }
}

static void step_row(float *restrict row, const float *restrict values, float step,
                     float *restrict grad, float g, size_t width)
{
    for (size_t k = 0; k < width; k++) {
        grad[k] += g * row[k];
        row[k] += step * values[k];
    }
}

static void add_codes(float *restrict out, const int8_t *restrict codes, float value, size_t count)
{
    for (size_t k = 0; k < count; k++) {
        out[k] += value * (float)codes[k];
    }
}

static void adagrad(float *restrict table, size_t stride, size_t width, float *restrict seen,
                    size_t seen_stride, const struct bag_term *restrict terms, size_t count,
                    const float *restrict grad, float rate, float square)
{
    for (size_t i = 0; i < count; i++) {
        float value = terms[i].value;
        float *row = table + (size_t)terms[i].row * stride;
        float *sum = &seen[(size_t)terms[i].row * seen_stride];
        *sum += value * value * square;
        float step = -rate * value / __builtin_sqrtf(*sum + 1e-8f);
        for (size_t k = 0; k < width; k++) {
            row[k] += step * grad[k];
        }
    }
}

#define BAG_KERNELS(NAME)                                                                          \
    {                                                                                              \
        .name = NAME, .gather = gather, .scatter = scatter, .softmax = softmax, .slope = slope_at, \
        .tanh = tanhs, .dense = dense, .step_row = step_row, .adagrad = adagrad,                   \
        .add_codes = add_codes                                                                     \
    }
