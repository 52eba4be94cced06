/* The last lines of a job's log, for the record of an attempt that does not end well. */
#ifndef WORKER_SUPERVISOR_TAIL_H
#define WORKER_SUPERVISOR_TAIL_H

#include "common/base/span.h"

#include <stddef.h>

enum { TAIL_LINES_MAX = 20, TAIL_BYTES_MAX = 8192, TAIL_LINE_MAX = 400 };

struct tail {
    /* private */
    char text[TAIL_BYTES_MAX]; /* whole lines, the newest last, joined by line feeds */
    size_t length;
    int lines;
    /* read only */
    int added; /* lines in all, also those that were forgotten */
};

void tail_reset(struct tail *t);
/* Adds a line (cut to TAIL_LINE_MAX bytes of whole characters; control characters become spaces)
 * and forgets the oldest when there are too many. */
void tail_add(struct tail *t, struct span line);
/* All lines; data is NULL when there are none. Valid until the next change. */
struct span tail_text(const struct tail *t);
/* The newest whole lines of up to bytes_max; at least one, cut to it, when there is any. */
struct span tail_last(const struct tail *t, size_t bytes_max);

#endif
