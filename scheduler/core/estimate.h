/*
 * How long a job will take, by how long ones like it took: a mean that follows slow change and that
 * one odd run cannot spoil. Each new duration counts as at most eight times, and at least an eighth
 * of, what was expected, and for at least a twentieth.
 */
#ifndef SCHEDULER_CORE_ESTIMATE_H
#define SCHEDULER_CORE_ESTIMATE_H

#include <stdint.h>

struct estimate {
    int64_t attempts; /* that it stands on; 0: nothing is known */
    double seconds;
};

void estimate_add(struct estimate *e, double seconds);

#endif
