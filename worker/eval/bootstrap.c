/* Each resample is a new set of counts for the same cells; scores follow from counts by class. */
#include "worker/eval/bootstrap.h"

#include "common/base/mem.h"
#include "worker/eval/eval_int.h"

#include <math.h>
#include <string.h>

static const char *const metric_names[BOOTSTRAP_METRIC_COUNT] = {
    "accuracy",     "micro_precision", "micro_recall",       "micro_f1",        "macro_precision",
    "macro_recall", "macro_f1",        "weighted_precision", "weighted_recall", "weighted_f1",
};

static const char *const calibration_names[BOOTSTRAP_CALIBRATION_COUNT] = {"log_loss", "brier",
                                                                           "ece"};

const char *bootstrap_metric_name(enum bootstrap_metric metric)
{
    CHECK(metric < BOOTSTRAP_METRIC_COUNT);
    return metric_names[metric];
}

const char *bootstrap_calibration_name(enum bootstrap_calibration_metric metric)
{
    CHECK(metric < BOOTSTRAP_CALIBRATION_COUNT);
    return calibration_names[metric];
}

/* -- counts of a resample ---------------------------------------------------------------------- */

struct tally {
    uint64_t hits;
    uint64_t support;
    uint64_t predicted;
};

struct work {
    struct resampler cells;
    struct tally *by_class; /* [classes] of this resample */
    double *scores;         /* [BOOTSTRAP_METRIC_COUNT][resamples] */
};

static void work_close(struct work *w)
{
    eval__resampler_close(&w->cells);
    mem_free(w->by_class);
    mem_free(w->scores);
    *w = (struct work){0};
}

static int weigh(struct work *w, const struct confusion *c, struct err_buf *e)
{
    uint64_t *counts = mem_new_array(c->cells, sizeof(*counts));
    if (!counts) {
        return err_set(e, ERR_NOMEM, "no memory for resampling %zu cells", c->cells);
    }
    for (size_t i = 0; i < c->cells; i++) {
        counts[i] = c->cell[i].count;
    }
    int rc = eval__resampler_init(&w->cells, counts, c->cells, e);
    mem_free(counts);
    return rc;
}

static int work_init(struct work *w, const struct confusion *c, uint32_t resamples,
                     struct err_buf *e)
{
    *w = (struct work){0};
    int rc = weigh(w, c, e);
    if (rc != 0) {
        return rc;
    }
    w->by_class = mem_new_array(c->classes, sizeof(*w->by_class));
    w->scores = mem_new_array((size_t)resamples * BOOTSTRAP_METRIC_COUNT, sizeof(*w->scores));
    if (!w->by_class || !w->scores) {
        work_close(w);
        return err_set(e, ERR_NOMEM, "no memory for %u resamples", resamples);
    }
    return 0;
}

/* Returns how many of the resample are answered right. */
static uint64_t tally(struct work *w, const struct confusion *c)
{
    uint64_t correct = 0;
    memset(w->by_class, 0, c->classes * sizeof(*w->by_class));
    for (size_t i = 0; i < c->cells; i++) {
        const struct confusion_cell *cell = &c->cell[i];
        uint64_t n = w->cells.drawn[i];
        w->by_class[cell->truth].support += n;
        w->by_class[cell->predicted].predicted += n;
        if (cell->truth == cell->predicted) {
            w->by_class[cell->truth].hits += n;
            correct += n;
        }
    }
    return correct;
}

/* -- scores of a resample ---------------------------------------------------------------------- */

/* Sums for one score over the rows; NaN is left out. */
struct sums {
    double plain;
    double count;
    double weighted;
    double weight;
};

static inline void sums_add(struct sums *s, double value, double weight)
{
    if (!isnan(value)) {
        s->plain += value;
        s->count += 1.0;
        s->weighted += value * weight;
        s->weight += weight;
    }
}

static double sums_macro(const struct sums *s)
{
    return s->count > 0.0 ? s->plain / s->count : (double)NAN;
}

static double sums_weighted(const struct sums *s)
{
    return s->weight > 0.0 ? s->weighted / s->weight : sums_macro(s);
}

static void put(double *scores, size_t resamples, enum bootstrap_metric metric, double value)
{
    scores[(size_t)metric * resamples] = value;
}

/* Three scores in a row of the enum. */
static void put_prf(double *scores, size_t resamples, int first, double precision, double recall,
                    double f1)
{
    put(scores, resamples, (enum bootstrap_metric)first, precision);
    put(scores, resamples, (enum bootstrap_metric)(first + 1), recall);
    put(scores, resamples, (enum bootstrap_metric)(first + 2), f1);
}

static bool is_left_out(const struct class_metrics *row, const struct tally *t)
{
    return t->support + t->predicted == 0 && row->support + row->predicted > 0;
}

static void score(const struct work *w, const struct eval_metrics *m, double *scores,
                  size_t resamples)
{
    struct sums precision = {0};
    struct sums recall = {0};
    struct sums f1 = {0};
    struct tally all = {0};
    for (size_t i = 0; i < m->rows; i++) {
        const struct tally *t = &w->by_class[m->row[i].label];
        if (is_left_out(&m->row[i], t)) {
            continue;
        }
        struct prf s = eval__prf(t->hits, t->support, t->predicted, m->zero);
        sums_add(&precision, s.precision, (double)t->support);
        sums_add(&recall, s.recall, (double)t->support);
        sums_add(&f1, s.f1, (double)t->support);
        all.hits += t->hits;
        all.support += t->support;
        all.predicted += t->predicted;
    }
    struct prf micro = eval__prf(all.hits, all.support, all.predicted, m->zero);
    put_prf(scores, resamples, BOOTSTRAP_MICRO_PRECISION, micro.precision, micro.recall, micro.f1);
    put_prf(scores, resamples, BOOTSTRAP_MACRO_PRECISION, sums_macro(&precision),
            sums_macro(&recall), sums_macro(&f1));
    put_prf(scores, resamples, BOOTSTRAP_WEIGHTED_PRECISION, sums_weighted(&precision),
            sums_weighted(&recall), sums_weighted(&f1));
}

/* -- public ------------------------------------------------------------------------------------ */

static void points(const struct eval_metrics *m, double point[BOOTSTRAP_METRIC_COUNT])
{
    put(point, 1, BOOTSTRAP_ACCURACY, m->accuracy);
    put_prf(point, 1, BOOTSTRAP_MICRO_PRECISION, m->micro.precision, m->micro.recall, m->micro.f1);
    put_prf(point, 1, BOOTSTRAP_MACRO_PRECISION, m->macro.precision, m->macro.recall, m->macro.f1);
    put_prf(point, 1, BOOTSTRAP_WEIGHTED_PRECISION, m->weighted.precision, m->weighted.recall,
            m->weighted.f1);
}

int bootstrap_metrics(struct interval ret[BOOTSTRAP_METRIC_COUNT], const struct confusion *c,
                      const struct eval_metrics *m, const struct bootstrap_params *params,
                      struct err_buf *e)
{
    struct work w;
    int rc = eval__check_bootstrap(params, e);
    rc = rc ? rc : work_init(&w, c, params->resamples, e);
    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < params->resamples; i++) {
        eval__resampler_draw(&w.cells, params->seed, i);
        uint64_t correct = tally(&w, c);
        put(&w.scores[i], params->resamples, BOOTSTRAP_ACCURACY,
            (double)correct / (double)c->samples);
        score(&w, m, &w.scores[i], params->resamples);
    }
    double point[BOOTSTRAP_METRIC_COUNT];
    points(m, point);
    for (size_t k = 0; k < BOOTSTRAP_METRIC_COUNT; k++) {
        ret[k] = eval__interval(&w.scores[k * params->resamples], params->resamples, params->level,
                                point[k]);
    }
    work_close(&w);
    return 0;
}

/* -- calibration ------------------------------------------------------------------------------- */

/* What a resample adds up for one sample; the bin is found once, not in every resample. */
struct share {
    double log_loss;
    double brier;
    double gap; /* correct - confidence */
    uint32_t bin;
};

/* One resample of the samples (or, with r NULL, all of them once). */
static void score_calibration(const struct share *shares, size_t count, struct stream *r,
                              double ret[BOOTSTRAP_CALIBRATION_COUNT])
{
    double log_loss = 0.0;
    double brier = 0.0;
    double gap[CALIBRATION_BINS] = {0};
    for (size_t i = 0; i < count; i++) {
        const struct share *s = &shares[r ? eval__below(r, count) : i];
        log_loss += s->log_loss;
        brier += s->brier;
        gap[s->bin] += s->gap;
    }
    double error = 0.0;
    for (int b = 0; b < CALIBRATION_BINS; b++) {
        error += fabs(gap[b]);
    }
    ret[BOOTSTRAP_LOG_LOSS] = log_loss / (double)count;
    ret[BOOTSTRAP_BRIER] = brier / (double)count;
    ret[BOOTSTRAP_ECE] = error / (double)count;
}

static void resample_calibration(struct interval *ret, const struct share *shares, size_t count,
                                 double *scores, const struct bootstrap_params *params)
{
    size_t n = params->resamples;
    double one[BOOTSTRAP_CALIBRATION_COUNT];
    for (size_t i = 0; i < n; i++) {
        struct stream r = eval__stream(params->seed, i);
        score_calibration(shares, count, &r, one);
        for (size_t k = 0; k < BOOTSTRAP_CALIBRATION_COUNT; k++) {
            scores[k * n + i] = one[k];
        }
    }
    score_calibration(shares, count, NULL, one);
    for (size_t k = 0; k < BOOTSTRAP_CALIBRATION_COUNT; k++) {
        ret[k] = eval__interval(&scores[k * n], n, params->level, one[k]);
    }
}

int bootstrap_calibration(struct interval ret[BOOTSTRAP_CALIBRATION_COUNT],
                          const struct calibration_sample *samples, size_t count,
                          const struct bootstrap_params *params, struct err_buf *e)
{
    int rc = eval__check_bootstrap(params, e);
    rc = rc ? rc : eval__check_size(count, 1, e);
    if (rc != 0) {
        return rc;
    }
    if (count == 0) {
        return err_set(e, ERR_DATA, "no samples to evaluate");
    }
    size_t cells = (size_t)params->resamples * BOOTSTRAP_CALIBRATION_COUNT;
    double *scores = mem_new_array(cells, sizeof(*scores));
    struct share *shares = mem_new_array(count, sizeof(*shares));
    if (scores && shares) {
        for (size_t i = 0; i < count; i++) {
            const struct calibration_sample *s = &samples[i];
            shares[i] = (struct share){.log_loss = s->log_loss,
                                       .brier = s->brier,
                                       .gap = (s->is_correct ? 1.0 : 0.0) - s->confidence,
                                       .bin = calibration_bin_of(s->confidence)};
        }
        resample_calibration(ret, shares, count, scores, params);
    } else {
        rc = err_set(e, ERR_NOMEM, "no memory for resampling %zu samples", count);
    }
    mem_free(scores);
    mem_free(shares);
    return rc;
}
