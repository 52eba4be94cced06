/*
 * What a market has used lately: seconds of slot time, of which half is forgotten in every
 * half-life.
 *
 * Everything is kept as it would be worth at a reference time in the past: use at a later time is
 * multiplied up instead of all earlier use being multiplied down. So use only ever grows, the order
 * of two markets only changes when one of them uses something, and a heap of them needs no upkeep.
 */
#ifndef SCHEDULER_CORE_SHARE_H
#define SCHEDULER_CORE_SHARE_H

#include <stdbool.h>
#include <stdint.h>

struct share_clock {
    int64_t reference_ms;
    int64_t half_life_ms;
};

/* How much more a second counts at now_ms than at the reference. */
double share_scale(const struct share_clock *clock, int64_t now_ms);
/* Seconds used now, as they are kept. */
double share_of(const struct share_clock *clock, double seconds, int64_t now_ms);
/* What is kept, as it is worth now. */
double share_now(const struct share_clock *clock, double used, int64_t now_ms);
/* True once the scale grows out of what a number holds well: the clock has been moved, and every
 * share must be multiplied by *ret_factor (and what is ordered by them put in order again). */
bool share_clock_moves(struct share_clock *clock, int64_t now_ms, double *ret_factor);

#endif
