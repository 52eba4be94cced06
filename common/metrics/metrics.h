/*
 * A table of counters, gauges and histograms with their help text, and its form as Prometheus text
 * (version 0.0.4). Belongs to one thread.
 */
#ifndef COMMON_METRICS_METRICS_H
#define COMMON_METRICS_METRICS_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum metric_type { METRIC_COUNTER = 1, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Static storage, all of it. */
struct metric_row {
    const char *name; /* [a-z_]+ with its unit or _total at the end */
    enum metric_type type;
    const char *help;
    /* One label with a closed list of values; NULL: none. A gauge without a list but with a label
     * is written by the program itself (metrics_write_labelled). */
    const char *label;
    const char *(*label_value)(size_t index);
    size_t label_count;
    /* A histogram's upper bounds, rising; the infinite one is implied. */
    const double *bounds;
    size_t bound_count;
};

struct metrics;

/* Keeps rows. Returns owned (metrics_free), or NULL when out of memory. */
struct metrics *metrics_new(const struct metric_row *rows, size_t count);
void metrics_free(struct metrics *m);
/* index: of the label's value, 0 without a label. */
void metrics_add(struct metrics *m, size_t row, size_t index, double by);
void metrics_set(struct metrics *m, size_t row, size_t index, double value);
void metrics_observe(struct metrics *m, size_t row, double value);
double metrics_value(const struct metrics *m, size_t row, size_t index);

/* All rows that have values. ERR_LIMIT, ERR_NOMEM. */
MUST_CHECK int metrics_write(const struct metrics *m, struct buf *out);
/* The head of a row that the program writes itself, then a sample for each of its labels. */
MUST_CHECK int metrics_write_head(const struct metrics *m, size_t row, struct buf *out);
MUST_CHECK int metrics_write_labelled(const struct metrics *m, size_t row, struct span label,
                                      double value, struct buf *out);

#endif
