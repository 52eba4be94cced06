#include "common/base/rng.h"

#include "common/base/clock.h"

#include <sys/random.h>
#include <unistd.h>

uint64_t rng_seed_from_system(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed) {
        return seed;
    }
    /* Only before the kernel's pool is up: good enough for jitter. */
    return rng_mix((uint64_t)clock_mono_us()) ^ (uint64_t)getpid();
}
