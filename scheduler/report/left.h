/*
 * Results that workers left in the record because they cannot reach Redis (meridian.result_left).
 *
 * Looks every second, and when it is told that there may be one; a result stays until its attempt
 * has ended, so it is handed to the core as often as it takes.
 */
#ifndef SCHEDULER_REPORT_LEFT_H
#define SCHEDULER_REPORT_LEFT_H

#include "scheduler/report/report.h"

#include <stdint.h>

struct pg;
struct left;

struct left_options {
    struct uv_loop_s *loop; /* kept */
    struct pg *pg;          /* kept */
    struct report *report;  /* kept: takes what is found */
};

/* Returns owned (left_close), or NULL when out of memory. */
struct left *left_new(const struct left_options *options);
/* term: the leader's. */
void left_start(struct left *l, int64_t term);
void left_stop(struct left *l);
/* Looks now. */
void left_look(struct left *l);
/* Frees l later; pg must be closed first. */
void left_close(struct left *l);

#endif
