/*
 * Counter-based random numbers: a value depends only on (key, counter), so results do not depend
 * on threads or on how often somebody else drew. Mixing function: SplitMix64's finaliser
 * (Steele, Lea, Flood 2014). Not for secrets.
 */
#ifndef COMMON_BASE_RNG_H
#define COMMON_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t rng_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The counter-th value of the stream named by key. */
static inline uint64_t rng_at(uint64_t key, uint64_t counter)
{
    return rng_mix(rng_mix(key) ^ (counter * 0xd1342543de82ef95u));
}

/* Uniform in [0, 1). */
static inline double rng_unit_at(uint64_t key, uint64_t counter)
{
    return (double)(rng_at(key, counter) >> 11) * 0x1.0p-53;
}

/* A stream that counts for itself. */
struct rng {
    uint64_t key;
    uint64_t counter;
};

static inline uint64_t rng_next(struct rng *r)
{
    return rng_at(r->key, r->counter++);
}

static inline double rng_unit(struct rng *r)
{
    return rng_unit_at(r->key, r->counter++);
}

/* Uniform in [0, bound) without bias that matters (multiply-shift); bound > 0. */
static inline uint32_t rng_below(struct rng *r, uint32_t bound)
{
    return (uint32_t)(((rng_next(r) >> 32) * (uint64_t)bound) >> 32);
}

/* From the operating system; for job ids and jitter, not for anything reproducible. */
uint64_t rng_seed_from_system(void);

#endif
