#include "scheduler/core/share.h"

#include <math.h>

/* Half-lives after which the reference moves: a double holds 1023 of them. */
#define MOVE_AFTER 256.0

double share_scale(const struct share_clock *clock, int64_t now_ms)
{
    return exp2((double)(now_ms - clock->reference_ms) / (double)clock->half_life_ms);
}

double share_of(const struct share_clock *clock, double seconds, int64_t now_ms)
{
    return seconds * share_scale(clock, now_ms);
}

double share_now(const struct share_clock *clock, double used, int64_t now_ms)
{
    return used / share_scale(clock, now_ms);
}

bool share_clock_moves(struct share_clock *clock, int64_t now_ms, double *ret_factor)
{
    double lives = (double)(now_ms - clock->reference_ms) / (double)clock->half_life_ms;
    if (lives < MOVE_AFTER) {
        return false;
    }
    *ret_factor = 1 / share_scale(clock, now_ms);
    clock->reference_ms = now_ms;
    return true;
}
