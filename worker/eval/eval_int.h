/*
 * Shared by the files of this folder, not for others: counting of sorted keys, quotients with a
 * rule for 0/0, and resampling.
 *
 * A resample of n samples with replacement is a multinomial draw over the distinct cells. With few
 * samples a cell, each sample is drawn. With many, it is cheaper to halve the list of cells, draw
 * how many of the n fall in the left half, and go on in both; the binomial in each step uses random
 * bits and integers only (see eval__binomial). Either way no floating point is involved, so equal
 * seeds give equal bits on every machine and library version.
 */
#ifndef WORKER_EVAL_EVAL_INT_H
#define WORKER_EVAL_EVAL_INT_H

#include "common/base/err.h"
#include "common/base/rng.h"
#include "worker/eval/bootstrap.h"
#include "worker/eval/metrics.h"

#include <stddef.h>
#include <stdint.h>

struct eval_key {
    uint64_t key;
    uint32_t count;
};

/* Sorts keys in place; returns owned distinct keys with their counts (mem_free), NULL without
 * memory. */
struct eval_key *eval__count_keys(uint64_t *keys, size_t count, size_t *ret_distinct);

/* Checks the number of samples and classes and that ids are below classes; what names the array. */
MUST_CHECK int eval__check_size(size_t samples, uint32_t classes, struct err_buf *e);
MUST_CHECK int eval__check_ids(const uint32_t *ids, size_t samples, uint32_t classes,
                               const char *what, struct err_buf *e);

/* a / b, or what zero says when b is 0. */
double eval__ratio(uint64_t a, uint64_t b, enum zero_division zero);
struct prf eval__prf(uint64_t hits, uint64_t support, uint64_t predicted, enum zero_division zero);

/*
 * The random words of one resample: SplitMix64 from a start that depends on (seed, number). Word i
 * depends on start and i only, so this is rng_at with the mixing of the key taken out of the loop.
 */
struct stream {
    uint64_t state;
};

static inline struct stream eval__stream(uint64_t seed, uint64_t number)
{
    return (struct stream){.state = rng_at(seed ^ 0x6d65726964696e65u, number)};
}

static inline uint64_t eval__word(struct stream *s)
{
    uint64_t word = rng_mix(s->state);
    s->state += 0x9e3779b97f4a7c15u;
    return word;
}

/* Uniform in [0, bound): all 64 bits count, so no bound of ours shows a bias. */
static inline size_t eval__below(struct stream *s, uint64_t bound)
{
    return (size_t)(((unsigned __int128)eval__word(s) * bound) >> 64);
}

/* How many of trials succeed, each with probability part / whole; part <= whole. Exact. */
uint64_t eval__binomial(struct stream *r, uint64_t trials, uint64_t part, uint64_t whole);

struct resampler {
    /* read only */
    size_t cells;
    uint64_t *drawn; /* [cells], the last draw; sums to the number of samples */
    /* private */
    uint64_t *upto;    /* [cells + 1], running sum of the counts */
    uint32_t *cell_of; /* [samples], or NULL when splitting is cheaper than drawing each sample */
};

/* For cells with these counts (borrowed). Free with eval__resampler_close. */
MUST_CHECK int eval__resampler_init(struct resampler *s, const uint64_t *counts, size_t cells,
                                    struct err_buf *e);
void eval__resampler_close(struct resampler *s);
/* Draws resample number; it depends on (counts, seed, number) only. */
void eval__resampler_draw(struct resampler *s, uint64_t seed, uint64_t number);

/* Refuses parameters out of bounds. */
MUST_CHECK int eval__check_bootstrap(const struct bootstrap_params *params, struct err_buf *e);
/* The interval of values (sorted in place, NaN left out), widened to hold point. */
struct interval eval__interval(double *values, size_t count, double level, double point);

#endif
