/* Neumaier's compensated sums; both row types go through one loop that reads doubles. */
#include "worker/eval/calibration.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

static void sum_add(struct calibration_sum *s, double value)
{
    double total = s->sum + value;
    s->rest += fabs(s->sum) >= fabs(value) ? (s->sum - total) + value : (value - total) + s->sum;
    s->sum = total;
}

static double sum_of(const struct calibration_sum *s)
{
    return s->sum + s->rest;
}

void calibration_init(struct calibration *c, uint32_t classes)
{
    CHECK(classes > 0);
    *c = (struct calibration){.classes = classes};
}

unsigned calibration_bin_of(double confidence)
{
    unsigned bin = (unsigned)(confidence * CALIBRATION_BINS);
    bin = bin < CALIBRATION_BINS ? bin : CALIBRATION_BINS - 1;
    /* The product may have rounded across an edge; the edges b/15 themselves decide. */
    if (bin > 0 && confidence <= (double)bin / CALIBRATION_BINS) {
        bin--;
    } else if (bin + 1 < CALIBRATION_BINS && confidence > (double)(bin + 1) / CALIBRATION_BINS) {
        bin++;
    }
    return bin;
}

/* What one pass over a row finds. */
struct row_facts {
    double sum;
    double squares;
    double largest;
    uint32_t largest_at;
};

static int facts_add(struct row_facts *f, double p, uint32_t column, struct err_buf *e)
{
    if (!(p >= 0.0 && p <= 1.0)) {
        return err_set(e, ERR_INVALID, "probability %g of class %u is not in 0..1", p, column);
    }
    f->sum += p;
    f->squares += p * p;
    if (p > f->largest) {
        f->largest = p;
        f->largest_at = column;
    }
    return 0;
}

static double clipped_loss(double p, double eps)
{
    double low = p < eps ? eps : p;
    return -log(low > 1.0 - eps ? 1.0 - eps : low);
}

static int add(struct calibration *c, const struct row_facts *f, double p_truth, uint32_t truth,
               double eps, struct calibration_sample *ret, struct err_buf *e)
{
    if (fabs(f->sum - 1.0) > CALIBRATION_SUM_SLACK) {
        return err_set(e, ERR_INVALID, "probabilities sum to %g, not to 1", f->sum);
    }
    struct calibration_sample s = {
        .log_loss = clipped_loss(p_truth, eps),
        /* (p-1)^2 = p^2 - 2p + 1 for the truth, p^2 for the others */
        .brier = f->squares - p_truth * p_truth + (p_truth - 1.0) * (p_truth - 1.0),
        .confidence = f->largest,
        .is_correct = truth == f->largest_at,
    };
    struct calibration_bin *bin = &c->bin[calibration_bin_of(s.confidence)];
    bin->samples++;
    bin->correct += s.is_correct;
    sum_add(&bin->confidence, s.confidence);
    sum_add(&c->log_loss, s.log_loss);
    sum_add(&c->brier, s.brier);
    c->samples++;
    if (ret) {
        *ret = s;
    }
    return 0;
}

static int check_truth(const struct calibration *c, uint32_t truth, struct err_buf *e)
{
    if (truth >= c->classes && truth != CALIBRATION_UNKNOWN) {
        return err_set(e, ERR_INVALID, "true class %u is out of 0..%u", truth, c->classes - 1);
    }
    return 0;
}

int calibration_add(struct calibration *c, const double *row, uint32_t truth,
                    struct calibration_sample *ret, struct err_buf *e)
{
    struct row_facts f = {.largest = -1.0};
    int rc = check_truth(c, truth, e);
    for (uint32_t k = 0; k < c->classes && rc == 0; k++) {
        rc = facts_add(&f, row[k], k, e);
    }
    double p_truth = truth == CALIBRATION_UNKNOWN || rc != 0 ? 0.0 : row[truth];
    return rc ? rc : add(c, &f, p_truth, truth, DBL_EPSILON, ret, e);
}

int calibration_add_float(struct calibration *c, const float *row, uint32_t truth,
                          struct calibration_sample *ret, struct err_buf *e)
{
    struct row_facts f = {.largest = -1.0};
    int rc = check_truth(c, truth, e);
    for (uint32_t k = 0; k < c->classes && rc == 0; k++) {
        rc = facts_add(&f, (double)row[k], k, e);
    }
    double p_truth = truth == CALIBRATION_UNKNOWN || rc != 0 ? 0.0 : (double)row[truth];
    return rc ? rc : add(c, &f, p_truth, truth, (double)FLT_EPSILON, ret, e);
}

double calibration_log_loss(const struct calibration *c)
{
    return c->samples ? sum_of(&c->log_loss) / (double)c->samples : (double)NAN;
}

double calibration_brier(const struct calibration *c)
{
    return c->samples ? sum_of(&c->brier) / (double)c->samples : (double)NAN;
}

double calibration_ece(const struct calibration *c)
{
    if (c->samples == 0) {
        return (double)NAN;
    }
    double error = 0.0;
    for (int b = 0; b < CALIBRATION_BINS; b++) {
        error += fabs((double)c->bin[b].correct - sum_of(&c->bin[b].confidence));
    }
    return error / (double)c->samples;
}
