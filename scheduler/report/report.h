/*
 * What workers report: hello, beat, bye and results, from the stream {prefix}:report.
 *
 * Entries are deleted when they have been handed to the core, before the record has the result:
 * the supervisor sends a result again until the record says that the attempt is closed, so a
 * report that is lost on the way costs seconds, not work.
 */
#ifndef SCHEDULER_REPORT_REPORT_H
#define SCHEDULER_REPORT_REPORT_H

#include "scheduler/core/core.h"

struct redis;
struct uv_loop_s;
struct report;

struct report_options {
    struct uv_loop_s *loop; /* kept */
    struct redis *blocking; /* kept; reads with BLOCK, so it is used for nothing else */
    struct redis *redis;    /* kept */
    struct core *core;      /* kept */
    const char *prefix;     /* kept */
};

/* Returns owned (report_close), or NULL when out of memory. */
struct report *report_new(const struct report_options *options);
void report_start(struct report *r);
/* The core has had an answer of the record: reads on, if it waited for that. */
void report_go_on(struct report *r);
/* An encoded report that came another way than through Redis. */
void report_take(struct report *r, struct span message);
/* What is still under way is read and dropped. */
void report_stop(struct report *r);
/* Frees r later; both redis clients must be closed first. */
void report_close(struct report *r);

#endif
