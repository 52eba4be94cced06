/*
 * Whether a job still makes steps: a second signal beside the lease, which only says that the
 * supervisor lives.
 *
 * A step is any change of phase, epoch, step or share done in what the runner reports; when it
 * happened is the supervisor's own clock, whatever the runner claims. How long the next step may
 * take follows from the steps of the phase so far: ten times the slowest, at least a minute. Where
 * no rate is known (a phase that announces no steps, or none yet, or all of them done) it is half
 * an hour. The spec's stall_limit_s replaces all of that; 0 switches it off.
 *
 * Time in which the supervisor itself did not run (stopped, suspended) does not count.
 *
 * Pure: no loop, no clock of its own.
 */
#ifndef WORKER_SUPERVISOR_STALL_H
#define WORKER_SUPERVISOR_STALL_H

#include "common/message/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STALL_LEAST_MS = 60 * 1000,
    STALL_UNKNOWN_MS = 30 * 60 * 1000,
    STALL_TIMES = 10,
    STALL_LOOK_MS = 1000, /* looked at this seldom, we did not run ourselves */
    STALL_AUTOMATIC = -1, /* no stall_limit_s in the spec */
};

struct stall {
    /* read only */
    int64_t step_ms;    /* when the last step was seen */
    int64_t slowest_ms; /* step of this phase; 0 = none yet */
    /* private */
    int64_t looked_ms;
    char phase[MESSAGE_PHASE_MAX + 1];
    int64_t epoch, step, steps;
    double done;
};

/* A job starts. */
void stall_begin(struct stall *s, int64_t now_ms);
/* The runner reports. */
void stall_saw(struct stall *s, const struct message_progress *progress, int64_t now_ms);
/* Call it at every tick: how long there was no step. */
int64_t stall_quiet_ms(struct stall *s, int64_t now_ms);
/* How long there may be none, for a stall_limit_s or STALL_AUTOMATIC; INT64_MAX = for ever. */
int64_t stall_limit_ms(const struct stall *s, int64_t stall_limit_s);
/* "made no step for 61 s in phase train, at step 12 of 100 (its slowest took 0.3 s)". */
void stall_format(const struct stall *s, int64_t quiet_ms, char *out, size_t size);

#endif
