/* worker/eval: confusion, metrics, calibration, report and labels, against scikit-learn. */
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "tests/unit/eval_golden.h"
#include "worker/eval/calibration.h"
#include "worker/eval/confusion.h"
#include "worker/eval/labels.h"
#include "worker/eval/metrics.h"
#include "worker/eval/report.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SAMPLES_MAX 512
#define CLASSES_MAX 64

/* -- golden cases ------------------------------------------------------------------------------ */

struct golden_case {
    char title[128];
    char *name[CLASSES_MAX];
    uint32_t classes;
    uint32_t y_true[SAMPLES_MAX];
    uint32_t y_pred[SAMPLES_MAX];
    size_t samples;
    uint32_t labels[CLASSES_MAX];
    size_t labels_count;
    enum zero_division zero;
    int digits;
    double accuracy;
    double averages[3][3];
    double row[CLASSES_MAX][5];
    size_t rows;
    double cell[SAMPLES_MAX][3];
    size_t cells;
    double scale;
    double proba[SAMPLES_MAX][CLASSES_MAX];
    size_t probas;
    double log_loss;
    double log_loss_float;
    double brier;
    double ece;
    char report[16384];
};

static enum zero_division zero_from(const char *text)
{
    return text[0] == '0' ? ZERO_DIVISION_0 : text[0] == '1' ? ZERO_DIVISION_1 : ZERO_DIVISION_NAN;
}

static void take_scalar(struct golden_case *c, const struct golden *g)
{
    const struct {
        const char *key;
        double *to;
    } scalars[] = {{"accuracy", &c->accuracy}, {"scale", &c->scale},
                   {"log_loss", &c->log_loss}, {"log_loss_float", &c->log_loss_float},
                   {"brier", &c->brier},       {"ece", &c->ece}};
    for (size_t i = 0; i < sizeof(scalars) / sizeof(scalars[0]); i++) {
        if (golden_is(g, scalars[i].key)) {
            assert_int_equal(golden_doubles(g, scalars[i].to, 1), 1);
            return;
        }
    }
    fail_msg("eval.txt: unknown key \"%s\"", g->key);
}

static void take_line(struct golden_case *c, const struct golden *g)
{
    static const char *const averages[3] = {"micro", "macro", "weighted"};
    for (size_t i = 0; i < 3; i++) {
        if (golden_is(g, averages[i])) {
            assert_int_equal(golden_doubles(g, c->averages[i], 3), 3);
            return;
        }
    }
    if (golden_is(g, "name")) {
        c->name[c->classes++] = mem_string_copy(g->rest);
    } else if (golden_is(g, "true")) {
        c->samples = golden_ids(g, c->y_true, SAMPLES_MAX);
    } else if (golden_is(g, "pred")) {
        assert_int_equal(golden_ids(g, c->y_pred, SAMPLES_MAX), c->samples);
    } else if (golden_is(g, "labels")) {
        c->labels_count = golden_ids(g, c->labels, CLASSES_MAX);
    } else if (golden_is(g, "zero")) {
        c->zero = zero_from(g->rest);
    } else if (golden_is(g, "digits")) {
        c->digits = atoi(g->rest);
    } else if (golden_is(g, "row")) {
        assert_int_equal(golden_doubles(g, c->row[c->rows++], 5), 5);
    } else if (golden_is(g, "cell")) {
        assert_int_equal(golden_doubles(g, c->cell[c->cells++], 3), 3);
    } else if (golden_is(g, "proba")) {
        assert_int_equal(golden_doubles(g, c->proba[c->probas++], CLASSES_MAX), c->classes);
    } else if (golden_is(g, "|")) {
        strcat(strcat(c->report, g->rest), "\n");
    } else {
        take_scalar(c, g);
    }
}

/* The next case of the file, or NULL at its end. */
static struct golden_case *case_next(struct golden *g)
{
    while (golden_next(g)) {
        if (!golden_is(g, "case")) {
            continue;
        }
        struct golden_case *c = mem_new(sizeof(*c));
        (void)snprintf(c->title, sizeof(c->title), "%s", g->rest);
        while (golden_next(g) && !golden_is(g, "end")) {
            take_line(c, g);
        }
        return c;
    }
    return NULL;
}

static void case_free(struct golden_case *c)
{
    for (uint32_t i = 0; i < c->classes; i++) {
        mem_free(c->name[i]);
    }
    mem_free(c);
}

static void expect(const struct golden_case *c, const char *what, double got, double want,
                   double slack)
{
    if (!golden_near(got, want, slack)) {
        fail_msg("case \"%s\": %s is %.17g, the reference says %.17g", c->title, what, got, want);
    }
}

static void expect_prf(const struct golden_case *c, const char *what, const struct prf *got,
                       const double want[3])
{
    expect(c, what, got->precision, want[0], 1e-12);
    expect(c, what, got->recall, want[1], 1e-12);
    expect(c, what, got->f1, want[2], 1e-12);
}

static void check_confusion(const struct golden_case *c, const struct confusion *counts)
{
    assert_int_equal(counts->cells, c->cells);
    for (size_t i = 0; i < c->cells; i++) {
        expect(c, "cell",
               (double)confusion_at(counts, (uint32_t)c->cell[i][0], (uint32_t)c->cell[i][1]),
               c->cell[i][2], 0.0);
    }
}

static void check_metrics(const struct golden_case *c, const struct eval_metrics *m)
{
    expect(c, "accuracy", m->accuracy, c->accuracy, 1e-12);
    expect_prf(c, "micro", &m->micro, c->averages[0]);
    expect_prf(c, "macro", &m->macro, c->averages[1]);
    expect_prf(c, "weighted", &m->weighted, c->averages[2]);
    assert_int_equal(m->rows, c->rows);
    for (size_t i = 0; i < m->rows; i++) {
        assert_int_equal(m->row[i].label, (uint32_t)c->row[i][0]);
        expect_prf(c, "row", &m->row[i].score, &c->row[i][1]);
        assert_int_equal(m->row[i].support, (uint64_t)c->row[i][4]);
    }
}

static void check_report(const struct golden_case *c, const struct eval_metrics *m)
{
    char *text = NULL;
    assert_int_equal(
        eval_report_format(m, (const char *const *)c->name, c->classes, c->digits, &text, NULL), 0);
    assert_string_equal(text, c->report);
    mem_free(text);
}

static void check_calibration(const struct golden_case *c)
{
    struct calibration doubles;
    struct calibration floats;
    calibration_init(&doubles, c->classes);
    calibration_init(&floats, c->classes);
    for (size_t i = 0; i < c->probas; i++) {
        double row[CLASSES_MAX];
        float row_float[CLASSES_MAX];
        for (uint32_t k = 0; k < c->classes; k++) {
            row[k] = c->proba[i][k] / c->scale;
            row_float[k] = (float)row[k];
        }
        assert_int_equal(calibration_add(&doubles, row, c->y_true[i], NULL, NULL), 0);
        assert_int_equal(calibration_add_float(&floats, row_float, c->y_true[i], NULL, NULL), 0);
    }
    expect(c, "log loss", calibration_log_loss(&doubles), c->log_loss, 1e-12);
    expect(c, "brier", calibration_brier(&doubles), c->brier, 1e-12);
    expect(c, "ece", calibration_ece(&doubles), c->ece, 1e-12);
    /* scikit-learn sums floats in float: it cannot be met more closely than that */
    expect(c, "log loss of floats", calibration_log_loss(&floats), c->log_loss_float, 1e-6);
}

static void check_case(const struct golden_case *c)
{
    struct confusion counts;
    struct eval_metrics m;
    struct err_buf e = {{0}};
    assert_int_equal(confusion_init(&counts, c->y_true, c->y_pred, c->samples, c->classes, &e), 0);
    assert_int_equal(eval_metrics_init(&m, &counts, c->labels_count ? c->labels : NULL,
                                       c->labels_count, c->zero, &e),
                     0);
    check_confusion(c, &counts);
    check_metrics(c, &m);
    check_report(c, &m);
    if (c->probas > 0) {
        assert_int_equal(c->probas, c->samples);
        check_calibration(c);
    }
    eval_metrics_close(&m);
    confusion_close(&counts);
}

/* Every figure and every table is what scikit-learn gives for the same answers. */
static void test_eval_equals_scikit_learn(void **state)
{
    (void)state;
    struct golden g;
    assert_true(golden_open(&g));
    size_t cases = 0;
    size_t with_probabilities = 0;
    for (struct golden_case *c = case_next(&g); c; c = case_next(&g)) {
        check_case(c);
        with_probabilities += c->probas > 0;
        cases++;
        case_free(c);
    }
    golden_close(&g);
    assert_int_equal(cases, 32);
    assert_int_equal(with_probabilities, 5);
}

/* -- properties -------------------------------------------------------------------------------- */

struct drawn {
    uint32_t y_true[SAMPLES_MAX];
    uint32_t y_pred[SAMPLES_MAX];
    uint32_t shuffled_true[SAMPLES_MAX];
    uint32_t shuffled_pred[SAMPLES_MAX];
    size_t samples;
    uint32_t classes;
};

static void draw(struct drawn *d, uint64_t seed)
{
    struct rng r = {.key = seed};
    d->classes = 1 + rng_below(&r, 20);
    d->samples = 1 + rng_below(&r, SAMPLES_MAX - 1);
    for (size_t i = 0; i < d->samples; i++) {
        d->y_true[i] = rng_below(&r, d->classes);
        d->y_pred[i] = rng_below(&r, 2) ? d->y_true[i] : rng_below(&r, d->classes);
        size_t j = rng_below(&r, (uint32_t)i + 1); /* inside-out shuffle */
        d->shuffled_true[i] = d->shuffled_true[j];
        d->shuffled_pred[i] = d->shuffled_pred[j];
        d->shuffled_true[j] = d->y_true[i];
        d->shuffled_pred[j] = d->y_pred[i];
    }
}

/* No sample is lost or counted twice, whatever the answers. */
static void test_eval_confusion_sums_to_samples(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct drawn d;
        struct confusion c;
        struct eval_metrics m;
        draw(&d, seed);
        assert_int_equal(confusion_init(&c, d.y_true, d.y_pred, d.samples, d.classes, NULL), 0);
        assert_int_equal(eval_metrics_init(&m, &c, NULL, 0, ZERO_DIVISION_0, NULL), 0);
        uint64_t by_cell = 0;
        uint64_t support = 0;
        uint64_t predicted = 0;
        for (size_t i = 0; i < c.cells; i++) {
            by_cell += c.cell[i].count;
        }
        for (size_t i = 0; i < m.rows; i++) {
            support += m.row[i].support;
            predicted += m.row[i].predicted;
        }
        assert_int_equal(by_cell, d.samples);
        assert_int_equal(support, d.samples);
        assert_int_equal(predicted, d.samples);
        assert_true(m.micro_is_accuracy);
        assert_true(fabs(m.micro.f1 - m.accuracy) < 1e-15);
        assert_true(fabs(m.weighted.recall - m.accuracy) < 1e-12);
        eval_metrics_close(&m);
        confusion_close(&c);
    }
}

/* The order in which samples arrive changes no bit of the scores. */
static void test_eval_metrics_ignore_the_order_of_samples(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct drawn d;
        struct confusion c[2];
        struct eval_metrics m[2];
        draw(&d, seed);
        assert_int_equal(confusion_init(&c[0], d.y_true, d.y_pred, d.samples, d.classes, NULL), 0);
        assert_int_equal(
            confusion_init(&c[1], d.shuffled_true, d.shuffled_pred, d.samples, d.classes, NULL), 0);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(eval_metrics_init(&m[i], &c[i], NULL, 0, ZERO_DIVISION_0, NULL), 0);
        }
        assert_int_equal(c[0].cells, c[1].cells);
        assert_memory_equal(c[0].cell, c[1].cell, c[0].cells * sizeof(*c[0].cell));
        assert_memory_equal(&m[0].macro, &m[1].macro, sizeof(m[0].macro));
        assert_memory_equal(&m[0].weighted, &m[1].weighted, sizeof(m[0].weighted));
        for (int i = 0; i < 2; i++) {
            eval_metrics_close(&m[i]);
            confusion_close(&c[i]);
        }
    }
}

/* -- refusals ---------------------------------------------------------------------------------- */

/* Bad input is refused with the place and the allowed range, and leaves nothing to free. */
static void test_eval_refuses_bad_input_by_name(void **state)
{
    (void)state;
    const uint32_t ids[3] = {0, 1, 7};
    const uint32_t twice[2] = {1, 1};
    struct confusion c;
    struct eval_metrics m;
    struct err_buf e = {{0}};
    assert_int_equal(confusion_init(&c, ids, ids, 3, 2, &e), ERR_INVALID);
    assert_string_equal(e.text, "sample 2: true class 7 is out of 0..1");
    assert_int_equal(confusion_init(&c, ids, ids, 2, 0, &e), ERR_INVALID);
    assert_int_equal(confusion_init(&c, ids, ids, 2, EVAL_CLASSES_MAX + 1, &e), ERR_LIMIT);
    assert_int_equal(confusion_init(&c, ids, ids, (size_t)EVAL_SAMPLES_MAX + 1, 8, &e), ERR_LIMIT);
    assert_int_equal(confusion_init(&c, ids, ids, 0, 8, &e), 0);
    assert_int_equal(eval_metrics_init(&m, &c, NULL, 0, ZERO_DIVISION_0, &e), ERR_DATA);
    assert_string_equal(e.text, "no samples to evaluate");
    confusion_close(&c);
    assert_int_equal(confusion_init(&c, ids, ids, 3, 8, &e), 0);
    assert_int_equal(eval_metrics_init(&m, &c, twice, 2, ZERO_DIVISION_0, &e), ERR_INVALID);
    assert_string_equal(e.text, "label 1 of the list: class 1 is there twice");
    assert_int_equal(eval_metrics_init(&m, &c, twice, 0, ZERO_DIVISION_0, &e), ERR_INVALID);
    confusion_close(&c);
}

/* When memory runs out anywhere, the call says so and leaks nothing. */
static void test_eval_metrics_survive_failed_allocation(void **state)
{
    (void)state;
    const uint32_t truth[4] = {0, 1, 1, 2};
    const uint32_t answer[4] = {0, 1, 2, 2};
    const uint32_t labels[2] = {2, 0};
    const char *const names[3] = {"a", "b", "c"};
    int rc = ERR_NOMEM;
    for (long nth = 1; rc == ERR_NOMEM; nth++) {
        struct confusion c = {0};
        struct eval_metrics m = {0};
        char *text = NULL;
        mem_fail_after(nth);
        rc = confusion_init(&c, truth, answer, 4, 3, NULL);
        rc = rc ? rc : eval_metrics_init(&m, &c, labels, 2, ZERO_DIVISION_0, NULL);
        rc = rc ? rc : eval_report_format(&m, names, 3, 2, &text, NULL);
        mem_fail_after(0);
        mem_free(text);
        eval_metrics_close(&m);
        confusion_close(&c);
        assert_true(rc == 0 || rc == ERR_NOMEM);
        assert_true(nth > 6 || rc == ERR_NOMEM);
    }
}

/* -- calibration ------------------------------------------------------------------------------- */

/* A confidence on the edge of two bins belongs to the lower one, also where b/15 is not exact. */
static void test_calibration_edges_belong_to_the_lower_bin(void **state)
{
    (void)state;
    assert_int_equal(calibration_bin_of(0.0), 0);
    assert_int_equal(calibration_bin_of(1.0), CALIBRATION_BINS - 1);
    for (unsigned b = 1; b < CALIBRATION_BINS; b++) {
        double edge = (double)b / CALIBRATION_BINS;
        assert_int_equal(calibration_bin_of(edge), b - 1);
        assert_int_equal(calibration_bin_of(nextafter(edge, 1.0)), b);
    }
}

/* A truth that the model does not know costs what probability 0 costs. */
static void test_calibration_unknown_truth_has_probability_zero(void **state)
{
    (void)state;
    const double known[3] = {0.25, 0.75, 0.0};
    struct calibration two;
    struct calibration three;
    struct calibration_sample s;
    calibration_init(&two, 2);
    calibration_init(&three, 3);
    assert_int_equal(calibration_add(&two, known, CALIBRATION_UNKNOWN, &s, NULL), 0);
    assert_int_equal(calibration_add(&three, known, 2, NULL, NULL), 0);
    assert_true(golden_near(calibration_log_loss(&two), calibration_log_loss(&three), 1e-15));
    assert_true(golden_near(calibration_brier(&two), calibration_brier(&three), 1e-15));
    assert_true(golden_near(s.brier, 0.25 * 0.25 + 0.75 * 0.75 + 1.0, 1e-15));
    assert_false(s.is_correct);
}

/* What is no distribution is refused, and nothing of it is counted. */
static void test_calibration_refuses_what_is_no_distribution(void **state)
{
    (void)state;
    const double rows[4][2] = {{1.5, -0.5}, {(double)NAN, 1.0}, {0.5, 0.4}, {-0.1, 1.0}};
    const double good[2] = {0.5, 0.5};
    struct calibration c;
    struct err_buf e = {{0}};
    calibration_init(&c, 2);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(calibration_add(&c, rows[i], 0, NULL, &e), ERR_INVALID);
    }
    assert_int_equal(calibration_add(&c, good, 2, NULL, &e), ERR_INVALID);
    assert_string_equal(e.text, "true class 2 is out of 0..1");
    assert_int_equal(c.samples, 0);
    assert_true(isnan(calibration_log_loss(&c)) && isnan(calibration_ece(&c)));
}

/* -- labels ------------------------------------------------------------------------------------ */

/* Lists that differ become one sorted list in which each finds its labels. */
static void test_label_set_unites_and_sorts(void **state)
{
    (void)state;
    const char *const model[3] = {"refund", "cancel", "größe"};
    const char *const truth[3] = {"cancel", "address", "refund"};
    struct label_set s;
    label_set_init(&s);
    assert_int_equal(label_set_find(&s, "cancel"), LABEL_NONE);
    assert_int_equal(label_set_add(&s, model, 3, NULL), 0);
    assert_int_equal(label_set_add(&s, truth, 3, NULL), 0);
    assert_int_equal(s.count, 4);
    assert_string_equal(s.name[0], "address");
    assert_int_equal(label_set_find(&s, "refund"), 3);
    assert_int_equal(label_set_find(&s, "refunds"), LABEL_NONE);
    for (long nth = 1; nth <= 3; nth++) {
        mem_fail_after(nth);
        assert_int_equal(label_set_add(&s, (const char *const[]){"new"}, 1, NULL), ERR_NOMEM);
        mem_fail_after(0);
        assert_int_equal(s.count, 4);
    }
    label_set_close(&s);
}

/* A table that cannot be laid out is refused. */
static void test_report_refuses_missing_names_and_digits(void **state)
{
    (void)state;
    const uint32_t ids[2] = {0, 1};
    const char *const names[1] = {"a"};
    struct confusion c;
    struct eval_metrics m;
    struct err_buf e = {{0}};
    char *text = NULL;
    assert_int_equal(confusion_init(&c, ids, ids, 2, 2, NULL), 0);
    assert_int_equal(eval_metrics_init(&m, &c, NULL, 0, ZERO_DIVISION_0, NULL), 0);
    assert_int_equal(eval_report_format(&m, names, 1, 2, &text, &e), ERR_INVALID);
    assert_string_equal(e.text, "class 1 has no name, 1 names are given");
    assert_int_equal(eval_report_format(&m, names, 1, 18, &text, &e), ERR_INVALID);
    assert_null(text);
    eval_metrics_close(&m);
    confusion_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eval_equals_scikit_learn),
        cmocka_unit_test(test_eval_confusion_sums_to_samples),
        cmocka_unit_test(test_eval_metrics_ignore_the_order_of_samples),
        cmocka_unit_test(test_eval_refuses_bad_input_by_name),
        cmocka_unit_test(test_eval_metrics_survive_failed_allocation),
        cmocka_unit_test(test_calibration_edges_belong_to_the_lower_bin),
        cmocka_unit_test(test_calibration_unknown_truth_has_probability_zero),
        cmocka_unit_test(test_calibration_refuses_what_is_no_distribution),
        cmocka_unit_test(test_label_set_unites_and_sorts),
        cmocka_unit_test(test_report_refuses_missing_names_and_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
