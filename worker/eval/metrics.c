/* Scores are functions of three counts a class: hits, support, predicted. */
#include "worker/eval/metrics.h"

#include "common/base/mem.h"
#include "worker/eval/eval_int.h"

#include <math.h>
#include <string.h>

double eval__ratio(uint64_t a, uint64_t b, enum zero_division zero)
{
    if (b != 0) {
        return (double)a / (double)b;
    }
    switch (zero) {
    case ZERO_DIVISION_1:
        return 1.0;
    case ZERO_DIVISION_NAN:
        return (double)NAN;
    default:
        return 0.0;
    }
}

struct prf eval__prf(uint64_t hits, uint64_t support, uint64_t predicted, enum zero_division zero)
{
    return (struct prf){.precision = eval__ratio(hits, predicted, zero),
                        .recall = eval__ratio(hits, support, zero),
                        .f1 = eval__ratio(2 * hits, support + predicted, zero)};
}

/* -- averages ---------------------------------------------------------------------------------- */

/* A mean that leaves NaN out. When all weights are 0 it is the plain mean, as in scikit-learn. */
struct mean {
    double sum;
    double weights;
    double plain_sum;
    double plain_count;
};

static void mean_add(struct mean *m, double value, double weight)
{
    if (!isnan(value)) {
        m->sum += value * weight;
        m->weights += weight;
        m->plain_sum += value;
        m->plain_count += 1.0;
    }
}

static double mean_of(const struct mean *m)
{
    if (m->plain_count <= 0.0) {
        return (double)NAN;
    }
    return m->weights > 0.0 ? m->sum / m->weights : m->plain_sum / m->plain_count;
}

static struct prf average(const struct eval_metrics *m, bool is_weighted)
{
    struct mean precision = {0};
    struct mean recall = {0};
    struct mean f1 = {0};
    for (size_t i = 0; i < m->rows; i++) {
        const struct class_metrics *row = &m->row[i];
        double weight = is_weighted ? (double)row->support : 1.0;
        mean_add(&precision, row->score.precision, weight);
        mean_add(&recall, row->score.recall, weight);
        mean_add(&f1, row->score.f1, weight);
    }
    return (struct prf){mean_of(&precision), mean_of(&recall), mean_of(&f1)};
}

/* -- rows -------------------------------------------------------------------------------------- */

static void count(struct class_metrics *by_id, const struct confusion *c)
{
    for (uint32_t id = 0; id < c->classes; id++) {
        by_id[id].label = id;
    }
    for (size_t i = 0; i < c->cells; i++) {
        const struct confusion_cell *cell = &c->cell[i];
        by_id[cell->truth].support += cell->count;
        by_id[cell->predicted].predicted += cell->count;
        by_id[cell->truth].hits += cell->truth == cell->predicted ? cell->count : 0;
    }
}

static bool occurs(const struct class_metrics *row)
{
    return row->support + row->predicted > 0;
}

static int check_labels(const uint32_t *labels, size_t labels_count, uint32_t classes,
                        struct err_buf *e)
{
    if (labels_count == 0) {
        return err_set(e, ERR_INVALID, "the list of labels to report is empty");
    }
    bool *seen = mem_new_array(classes, sizeof(*seen));
    if (!seen) {
        return err_set(e, ERR_NOMEM, "no memory for %u classes", classes);
    }
    int rc = 0;
    for (size_t i = 0; i < labels_count && rc == 0; i++) {
        if (labels[i] >= classes) {
            rc = err_set(e, ERR_INVALID, "label %zu of the list: class %u is out of 0..%u", i,
                         labels[i], classes - 1);
        } else if (seen[labels[i]]) {
            rc = err_set(e, ERR_INVALID, "label %zu of the list: class %u is there twice", i,
                         labels[i]);
        } else {
            seen[labels[i]] = true;
        }
    }
    mem_free(seen);
    return rc;
}

static void take_occurring(struct eval_metrics *m, const struct class_metrics *by_id,
                           uint32_t classes)
{
    for (uint32_t id = 0; id < classes; id++) {
        if (occurs(&by_id[id])) {
            m->row[m->rows++] = by_id[id];
        }
    }
}

static void take_given(struct eval_metrics *m, const struct class_metrics *by_id,
                       const uint32_t *labels, size_t labels_count)
{
    for (size_t i = 0; i < labels_count; i++) {
        m->row[m->rows++] = by_id[labels[i]];
    }
}

static void score(struct eval_metrics *m, uint64_t correct, size_t occurring)
{
    uint64_t hits = 0;
    uint64_t predicted = 0;
    size_t shown = 0;
    for (size_t i = 0; i < m->rows; i++) {
        struct class_metrics *row = &m->row[i];
        row->score = eval__prf(row->hits, row->support, row->predicted, m->zero);
        hits += row->hits;
        predicted += row->predicted;
        m->support += row->support;
        shown += occurs(row);
    }
    m->accuracy = (double)correct / (double)m->samples;
    m->micro_is_accuracy = shown == occurring;
    m->micro = eval__prf(hits, m->support, predicted, m->zero);
    m->macro = average(m, false);
    m->weighted = average(m, true);
}

static void fill(struct eval_metrics *m, const struct class_metrics *by_id, uint32_t classes,
                 const uint32_t *labels, size_t labels_count)
{
    uint64_t correct = 0;
    size_t occurring = 0;
    for (uint32_t id = 0; id < classes; id++) {
        correct += by_id[id].hits;
        occurring += occurs(&by_id[id]);
    }
    if (labels) {
        take_given(m, by_id, labels, labels_count);
    } else {
        take_occurring(m, by_id, classes);
    }
    score(m, correct, occurring);
}

int eval_metrics_init(struct eval_metrics *m, const struct confusion *c, const uint32_t *labels,
                      size_t labels_count, enum zero_division zero, struct err_buf *e)
{
    if (c->samples == 0) {
        return err_set(e, ERR_DATA, "no samples to evaluate");
    }
    if (labels) {
        int rc = check_labels(labels, labels_count, c->classes, e);
        if (rc != 0) {
            return rc;
        }
    }
    struct class_metrics *by_id = mem_new_array(c->classes, sizeof(*by_id));
    struct class_metrics *row =
        by_id ? mem_new_array(labels ? labels_count : c->classes, sizeof(*row)) : NULL;
    if (!row) {
        mem_free(by_id);
        return err_set(e, ERR_NOMEM, "no memory for %u classes", c->classes);
    }
    count(by_id, c);
    *m = (struct eval_metrics){.samples = c->samples, .zero = zero, .row = row};
    fill(m, by_id, c->classes, labels, labels_count);
    mem_free(by_id);
    return 0;
}

void eval_metrics_close(struct eval_metrics *m)
{
    mem_free(m->row);
    *m = (struct eval_metrics){0};
}
