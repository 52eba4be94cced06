/*
 * The loops that training spends its time in, for the CPU at hand. Private to the bag family.
 *
 * A table has rows of stride floats, stride a multiple of BAG_LANES, aligned to 32 bytes; those
 * of gather and scatter may also have 2 or 4.
 */
#ifndef WORKER_MODEL_BAG_KERNELS_H
#define WORKER_MODEL_BAG_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum { BAG_LANES = 8 };

/* A feature of a sample: its row in the table and its value. */
struct bag_term {
    uint32_t row;
    float value;
};

struct bag_kernels {
    const char *name;
    /* out[0..width) += the sum of value * row over the terms */
    void (*gather)(float *out, const float *table, size_t stride, size_t width,
                   const struct bag_term *terms, size_t count);
    /* each term's row += value * square[row] * step[0..stride) */
    void (*scatter)(float *table, const float *square, size_t stride, const struct bag_term *terms,
                    size_t count, const float *step);
    /* values[0..count) become exp(values - their largest) and then a distribution; count is a
     * multiple of BAG_LANES; returns the log of the sum plus the largest */
    float (*softmax)(float *values, size_t count);
    /* the sum of u * (ln(alpha) - log_p + curvature * u); count is a multiple of BAG_LANES */
    float (*slope)(const float *alpha, const float *u, const float *log_p, float curvature,
                   size_t count);
    /* out = tanh(values); count is a multiple of BAG_LANES */
    void (*tanh)(float *out, const float *values, size_t count);
    /* out[k] += row k of table times values, for each of rows; width a multiple of BAG_LANES */
    void (*dense)(float *out, const float *table, const float *values, size_t rows, size_t width);
    /* grad += g * row, then row += step * values */
    void (*step_row)(float *row, const float *values, float step, float *grad, float g,
                     size_t width);
    /* out[0..count) += value * codes */
    void (*add_codes)(float *out, const int8_t *codes, float value, size_t count);
    /* each term's row[0..width) += -rate * value * grad / sqrt(seen of the row), after that
     * += value^2 * square; seen has seen_stride floats a row */
    void (*adagrad)(float *table, size_t stride, size_t width, float *seen, size_t seen_stride,
                    const struct bag_term *terms, size_t count, const float *grad, float rate,
                    float square);
};

/* The best for this CPU; static storage. */
const struct bag_kernels *bag__kernels(void);

#endif
