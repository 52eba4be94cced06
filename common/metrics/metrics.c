#include "common/metrics/metrics.h"

#include "common/base/mem.h"

#include <math.h>
#include <string.h>

struct series {
    size_t first; /* of its values */
    size_t count;
};

struct metrics {
    const struct metric_row *rows;
    size_t count;
    struct series *series;
    double *values;
};

/* A histogram keeps its buckets (the infinite one too), then its sum. */
static size_t values_of(const struct metric_row *row)
{
    if (row->type == METRIC_HISTOGRAM) {
        return row->bound_count + 2;
    }
    return row->label ? row->label_count : 1;
}

struct metrics *metrics_new(const struct metric_row *rows, size_t count)
{
    struct metrics *m = mem_new(sizeof *m);
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += values_of(&rows[i]);
    }
    struct series *series = m ? mem_new_array(count, sizeof *series) : NULL;
    double *values = series ? mem_new_array(total, sizeof *values) : NULL;
    if (!values) {
        mem_free(series);
        mem_free(m);
        return NULL;
    }
    *m = (struct metrics){.rows = rows, .count = count, .series = series, .values = values};
    for (size_t i = 0, at = 0; i < count; i++) {
        series[i] = (struct series){.first = at, .count = values_of(&rows[i])};
        at += series[i].count;
    }
    return m;
}

void metrics_free(struct metrics *m)
{
    if (m) {
        mem_free(m->series);
        mem_free(m->values);
        mem_free(m);
    }
}

static double *value_at(const struct metrics *m, size_t row, size_t index)
{
    CHECK(row < m->count && index < m->series[row].count);
    return &m->values[m->series[row].first + index];
}

void metrics_add(struct metrics *m, size_t row, size_t index, double by)
{
    *value_at(m, row, index) += by;
}

void metrics_set(struct metrics *m, size_t row, size_t index, double value)
{
    *value_at(m, row, index) = value;
}

double metrics_value(const struct metrics *m, size_t row, size_t index)
{
    return *value_at(m, row, index);
}

void metrics_observe(struct metrics *m, size_t row, double value)
{
    const struct metric_row *r = &m->rows[row];
    CHECK(r->type == METRIC_HISTOGRAM);
    size_t bucket = 0;
    while (bucket < r->bound_count && value > r->bounds[bucket]) {
        bucket++;
    }
    *value_at(m, row, bucket) += 1;
    *value_at(m, row, r->bound_count + 1) += value;
}

/* --- writing --------------------------------------------------------------------------------- */

static const char *type_name(enum metric_type type)
{
    return type == METRIC_COUNTER ? "counter" : type == METRIC_GAUGE ? "gauge" : "histogram";
}

int metrics_write_head(const struct metrics *m, size_t row, struct buf *out)
{
    const struct metric_row *r = &m->rows[row];
    return buf_add_format(out, "# HELP %s %s\n# TYPE %s %s\n", r->name, r->help, r->name,
                          type_name(r->type));
}

static int write_number(struct buf *out, double value)
{
    if (isinf(value)) {
        return buf_add_text(out, value > 0 ? "+Inf\n" : "-Inf\n");
    }
    /* Whole numbers as such; everything else with what a double holds. */
    bool is_whole = fabs(value) < 9007199254740992.0 && floor(value) >= value;
    return is_whole ? buf_add_format(out, "%.0f\n", value) : buf_add_format(out, "%.9g\n", value);
}

/* Backslash, quote and line feed are escaped; other control bytes cannot be in a name of ours. */
static int write_escaped(struct buf *out, struct span text)
{
    int rc = 0;
    for (size_t i = 0; i < text.length && rc == 0; i++) {
        char c = text.data[i];
        if (c == '\\' || c == '"') {
            rc = buf_add_format(out, "\\%c", c);
        } else {
            rc = c == '\n' ? buf_add_text(out, "\\n") : buf_add(out, &c, 1);
        }
    }
    return rc;
}

int metrics_write_labelled(const struct metrics *m, size_t row, struct span label, double value,
                           struct buf *out)
{
    const struct metric_row *r = &m->rows[row];
    int rc = buf_add_format(out, "%s{%s=\"", r->name, r->label);
    rc = rc ? rc : write_escaped(out, label);
    rc = rc ? rc : buf_add_text(out, "\"} ");
    return rc ? rc : write_number(out, value);
}

static int write_histogram(const struct metrics *m, size_t row, struct buf *out)
{
    const struct metric_row *r = &m->rows[row];
    double total = 0;
    int rc = 0;
    for (size_t i = 0; i <= r->bound_count && rc == 0; i++) {
        total += *value_at(m, row, i);
        rc = i < r->bound_count
                 ? buf_add_format(out, "%s_bucket{le=\"%g\"} ", r->name, r->bounds[i])
                 : buf_add_format(out, "%s_bucket{le=\"+Inf\"} ", r->name);
        rc = rc ? rc : write_number(out, total);
    }
    rc = rc ? rc : buf_add_format(out, "%s_sum ", r->name);
    rc = rc ? rc : write_number(out, *value_at(m, row, r->bound_count + 1));
    rc = rc ? rc : buf_add_format(out, "%s_count ", r->name);
    return rc ? rc : write_number(out, total);
}

static int write_row(const struct metrics *m, size_t row, struct buf *out)
{
    const struct metric_row *r = &m->rows[row];
    int rc = metrics_write_head(m, row, out);
    if (rc || r->type == METRIC_HISTOGRAM) {
        return rc ? rc : write_histogram(m, row, out);
    }
    if (!r->label) {
        rc = buf_add_format(out, "%s ", r->name);
        return rc ? rc : write_number(out, *value_at(m, row, 0));
    }
    for (size_t i = 0; i < r->label_count && rc == 0; i++) {
        rc = metrics_write_labelled(m, row, span_of(r->label_value(i)), *value_at(m, row, i), out);
    }
    return rc;
}

int metrics_write(const struct metrics *m, struct buf *out)
{
    int rc = 0;
    for (size_t i = 0; i < m->count && rc == 0; i++) {
        if (m->series[i].count > 0) {
            rc = write_row(m, i, out);
        }
    }
    return rc;
}
