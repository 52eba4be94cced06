/* worker/eval: bootstrap, resampling and the comparison of two models. */
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "tests/unit/eval_golden.h"
#include "worker/eval/bootstrap.h"
#include "worker/eval/compare.h"
#include "worker/eval/eval_int.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SAMPLES_MAX 512

/* -- exact tests ------------------------------------------------------------------------------- */

/* McNemar's p and the one-sided one are exact, for small, large and extreme counts. */
static void test_mcnemar_equals_statsmodels(void **state)
{
    (void)state;
    struct golden g;
    assert_true(golden_open(&g));
    size_t lines = 0;
    while (golden_next(&g)) {
        double v[4];
        if (!golden_is(&g, "mcnemar")) {
            continue;
        }
        assert_int_equal(golden_doubles(&g, v, 4), 4);
        struct discordance d = {.only_champion = (uint64_t)v[0], .only_challenger = (uint64_t)v[1]};
        double two_sided = compare_mcnemar_p(d);
        double loss = compare_loss_p(d);
        if (fabs(two_sided - v[2]) > 1e-12 * v[2] || fabs(loss - v[3]) > 1e-12 * v[3]) {
            fail_msg("b %g, c %g: p %.17g and %.17g, the reference says %.17g and %.17g", v[0],
                     v[1], two_sided, loss, v[2], v[3]);
        }
        lines++;
    }
    golden_close(&g);
    assert_int_equal(lines, 14);
}

/* A difference of millions does not overflow, underflow or take long. */
static void test_mcnemar_bounds_hold_for_huge_counts(void **state)
{
    (void)state;
    struct discordance even = {5000000, 5000000};
    struct discordance odd = {1000000, 3000000};
    assert_true(compare_mcnemar_p(even) >= 1.0 && compare_mcnemar_p(even) <= 1.0);
    assert_true(compare_mcnemar_p(odd) >= 0.0 && compare_mcnemar_p(odd) < 1e-300);
    assert_true(compare_loss_p(odd) > 0.999999);
}

/* -- resampling -------------------------------------------------------------------------------- */

/* The bitwise binomial has the mean and the variance of a binomial, also for awkward fractions. */
static void test_binomial_has_its_moments(void **state)
{
    (void)state;
    const uint64_t cases[6][3] = {{1, 1, 3},     {10, 1, 2},   {100, 7, 9},
                                  {1000, 1, 97}, {2974, 5, 6}, {50, 2973, 2974}};
    for (size_t k = 0; k < 6; k++) {
        struct stream r = eval__stream(40, k);
        double n = (double)cases[k][0];
        double p = (double)cases[k][1] / (double)cases[k][2];
        double sum = 0.0;
        double squares = 0.0;
        const int draws = 40000;
        for (int i = 0; i < draws; i++) {
            double x = (double)eval__binomial(&r, cases[k][0], cases[k][1], cases[k][2]);
            assert_true(x >= 0.0 && x <= n);
            sum += x - n * p;
            squares += (x - n * p) * (x - n * p);
        }
        double variance = n * p * (1.0 - p);
        assert_true(fabs(sum / draws) < 5.0 * sqrt(variance / draws));
        /* the variance of a sample variance, with the binomial's fourth moment */
        double fourth = variance * (1.0 + 3.0 * (n - 2.0) * p * (1.0 - p));
        double noise = sqrt((fourth - variance * variance) / draws);
        assert_true(fabs(squares / draws - variance) < 5.0 * noise + 1e-9);
    }
}

static void check_draws(const uint64_t *counts, size_t cells, bool is_splitting)
{
    double sums[7] = {0};
    uint64_t samples = 0;
    struct resampler s;
    assert_int_equal(eval__resampler_init(&s, counts, cells, NULL), 0);
    assert_true(is_splitting == (s.cell_of == NULL));
    for (size_t i = 0; i < cells; i++) {
        samples += counts[i];
    }
    for (uint64_t number = 0; number < 5000; number++) {
        uint64_t total = 0;
        eval__resampler_draw(&s, 3, number);
        for (size_t i = 0; i < cells; i++) {
            total += s.drawn[i];
            sums[i] += (double)s.drawn[i];
        }
        assert_int_equal(total, samples);
    }
    for (size_t i = 0; i < cells; i++) {
        double want = (double)counts[i];
        assert_true(fabs(sums[i] / 5000.0 - want) <= 5.0 * sqrt(want / 5000.0));
    }
    eval__resampler_close(&s);
}

/* A draw has as many samples as there were, each cell its expected share, drawn either way. */
static void test_resampler_keeps_the_total(void **state)
{
    (void)state;
    check_draws((const uint64_t[7]){1, 40, 3, 0, 500, 7, 2}, 7, true);
    check_draws((const uint64_t[7]){1, 4, 3, 0, 50, 7, 2}, 7, false);
}

/* -- intervals --------------------------------------------------------------------------------- */

struct drawn {
    uint32_t y_true[SAMPLES_MAX];
    uint32_t champion[SAMPLES_MAX];
    uint32_t challenger[SAMPLES_MAX];
    size_t samples;
    uint32_t classes;
};

static void draw(struct drawn *d, uint64_t seed)
{
    struct rng r = {.key = seed};
    d->classes = 1 + rng_below(&r, 12);
    d->samples = 1 + rng_below(&r, SAMPLES_MAX - 1);
    for (size_t i = 0; i < d->samples; i++) {
        d->y_true[i] = rng_below(&r, d->classes);
        d->champion[i] = rng_below(&r, 4) ? d->y_true[i] : rng_below(&r, d->classes);
        d->challenger[i] = rng_below(&r, 2) ? d->champion[i] : rng_below(&r, d->classes);
    }
}

static void intervals(const struct drawn *d, uint64_t seed, struct interval *ret)
{
    struct confusion c;
    struct eval_metrics m;
    const struct bootstrap_params params = {.resamples = 200, .level = 0.95, .seed = seed};
    assert_int_equal(confusion_init(&c, d->y_true, d->champion, d->samples, d->classes, NULL), 0);
    assert_int_equal(eval_metrics_init(&m, &c, NULL, 0, ZERO_DIVISION_0, NULL), 0);
    assert_int_equal(bootstrap_metrics(ret, &c, &m, &params, NULL), 0);
    eval_metrics_close(&m);
    confusion_close(&c);
}

/* An interval holds its own point and stays within what the score can be. */
static void test_bootstrap_interval_holds_its_point(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct drawn d;
        struct interval got[BOOTSTRAP_METRIC_COUNT];
        draw(&d, seed);
        intervals(&d, seed, got);
        for (size_t k = 0; k < BOOTSTRAP_METRIC_COUNT; k++) {
            assert_true(got[k].low <= got[k].point && got[k].point <= got[k].high);
            assert_true(got[k].low >= 0.0 && got[k].high <= 1.0);
        }
    }
}

/* The same seed gives the same bits, in any order of the samples; another seed does not. */
static void test_bootstrap_same_seed_same_bits(void **state)
{
    (void)state;
    struct drawn d;
    struct interval first[BOOTSTRAP_METRIC_COUNT];
    struct interval again[BOOTSTRAP_METRIC_COUNT];
    struct interval other[BOOTSTRAP_METRIC_COUNT];
    draw(&d, 11);
    intervals(&d, 7, first);
    for (size_t i = 0, j = d.samples - 1; i < j; i++, j--) {
        uint32_t t = d.y_true[i];
        d.y_true[i] = d.y_true[j];
        d.y_true[j] = t;
        t = d.champion[i];
        d.champion[i] = d.champion[j];
        d.champion[j] = t;
    }
    intervals(&d, 7, again);
    intervals(&d, 8, other);
    assert_memory_equal(first, again, sizeof(first));
    assert_memory_not_equal(first, other, sizeof(first));
}

/* A model that is never wrong has an interval without width, even with classes of one sample. */
static void test_bootstrap_of_perfect_answers_has_no_width(void **state)
{
    (void)state;
    struct drawn d = {.samples = 6, .classes = 6};
    struct interval got[BOOTSTRAP_METRIC_COUNT];
    for (uint32_t i = 0; i < 6; i++) {
        d.y_true[i] = d.champion[i] = i;
    }
    intervals(&d, 1, got);
    for (size_t k = 0; k < BOOTSTRAP_METRIC_COUNT; k++) {
        assert_true(got[k].low >= 1.0 && got[k].high <= 1.0);
    }
}

/* Log loss and Brier have the interval of a mean; the ECE's holds its point. */
static void test_bootstrap_calibration_has_the_width_of_a_mean(void **state)
{
    (void)state;
    enum { N = 400 };
    struct calibration_sample s[N];
    struct interval got[BOOTSTRAP_CALIBRATION_COUNT];
    struct interval again[BOOTSTRAP_CALIBRATION_COUNT];
    const struct bootstrap_params params = {.resamples = 2000, .level = 0.95, .seed = 5};
    double mean = 0.0;
    double squares = 0.0;
    for (uint64_t i = 0; i < N; i++) {
        double u = rng_unit_at(9, i);
        s[i] = (struct calibration_sample){u, u / 2.0, u, rng_unit_at(10, i) < u};
        mean += u / N;
        squares += u * u / N;
    }
    assert_int_equal(bootstrap_calibration(got, s, N, &params, NULL), 0);
    assert_int_equal(bootstrap_calibration(again, s, N, &params, NULL), 0);
    assert_memory_equal(got, again, sizeof(got));
    double width = 2.0 * 1.96 * sqrt((squares - mean * mean) / N);
    assert_true(fabs(got[BOOTSTRAP_LOG_LOSS].point - mean) < 1e-12);
    assert_true(fabs(got[BOOTSTRAP_LOG_LOSS].high - got[BOOTSTRAP_LOG_LOSS].low - width) <
                0.1 * width);
    assert_true(fabs(got[BOOTSTRAP_BRIER].high - got[BOOTSTRAP_BRIER].low - width / 2) <
                0.05 * width);
    assert_true(got[BOOTSTRAP_ECE].low <= got[BOOTSTRAP_ECE].point &&
                got[BOOTSTRAP_ECE].point <= got[BOOTSTRAP_ECE].high);
    assert_int_equal(bootstrap_calibration(got, s, 0, &params, NULL), ERR_DATA);
}

/* Parameters that make no interval are refused by name. */
static void test_bootstrap_refuses_bad_parameters(void **state)
{
    (void)state;
    const uint32_t id = 0;
    struct comparison c;
    struct err_buf e = {{0}};
    struct compare_params p = compare_defaults(1);
    p.bootstrap.resamples = 0;
    assert_int_equal(comparison_init(&c, &id, &id, &id, 1, 1, &p, &e), ERR_INVALID);
    assert_string_equal(e.text, "0 bootstrap resamples, allowed are 1 to 1000000");
    p = compare_defaults(1);
    p.bootstrap.level = 1.0;
    assert_int_equal(comparison_init(&c, &id, &id, &id, 1, 1, &p, &e), ERR_INVALID);
    p = compare_defaults(1);
    p.collapse_drop = (double)NAN;
    assert_int_equal(comparison_init(&c, &id, &id, &id, 1, 1, &p, &e), ERR_INVALID);
    p = compare_defaults(1);
    p.collapse_alpha = 2.0;
    assert_int_equal(comparison_init(&c, &id, &id, &id, 1, 1, &p, &e), ERR_INVALID);
    p = compare_defaults(1);
    assert_int_equal(comparison_init(&c, &id, &id, &id, 0, 1, &p, &e), ERR_DATA);
    const uint32_t outside = 4;
    assert_int_equal(comparison_init(&c, &id, &id, &outside, 1, 2, &p, &e), ERR_INVALID);
    assert_string_equal(e.text, "sample 0: challenger's class 4 is out of 0..1");
}

/* -- paired ------------------------------------------------------------------------------------ */

struct reference {
    struct drawn d;
    double low[4]; /* accuracy, macro-F1 of the champion, the two differences */
    double high[4];
    double scores[4];
};

static void read_reference(struct reference *ref)
{
    struct golden g;
    size_t intervals_read = 0;
    assert_true(golden_open(&g));
    while (golden_next(&g) && !golden_is(&g, "paired")) {
    }
    ref->d.classes = (uint32_t)atoi(g.rest);
    while (golden_next(&g) && !golden_is(&g, "end")) {
        if (golden_is(&g, "true")) {
            ref->d.samples = golden_ids(&g, ref->d.y_true, SAMPLES_MAX);
        } else if (golden_is(&g, "pred")) {
            assert_int_equal(golden_ids(&g, ref->d.champion, SAMPLES_MAX), ref->d.samples);
        } else if (golden_is(&g, "other")) {
            assert_int_equal(golden_ids(&g, ref->d.challenger, SAMPLES_MAX), ref->d.samples);
        } else if (golden_is(&g, "scores")) {
            assert_int_equal(golden_doubles(&g, ref->scores, 4), 4);
        } else {
            char name[64];
            assert_int_equal(sscanf(g.rest, "%63s %lf %lf", name, &ref->low[intervals_read],
                                    &ref->high[intervals_read]),
                             3);
            intervals_read++;
        }
    }
    golden_close(&g);
    assert_int_equal(intervals_read, 4);
}

static void expect_interval(const struct interval *got, double low, double high)
{
    /* 20,000 against 10,000 resamples of 300 samples: quantiles agree to a part of one sample */
    if (fabs(got->low - low) > 0.004 || fabs(got->high - high) > 0.004) {
        fail_msg("interval %.5f to %.5f, the reference says %.5f to %.5f", got->low, got->high, low,
                 high);
    }
}

/* The intervals are those of a plain bootstrap over samples, as one would write it with numpy. */
static void test_paired_bootstrap_agrees_with_numpy(void **state)
{
    (void)state;
    struct reference ref;
    struct comparison c;
    struct interval alone[BOOTSTRAP_METRIC_COUNT];
    read_reference(&ref);
    const struct drawn *d = &ref.d;
    const struct compare_params p = compare_defaults(1);
    assert_int_equal(comparison_init(&c, d->y_true, d->champion, d->challenger, d->samples,
                                     d->classes, &p, NULL),
                     0);
    assert_true(golden_near(c.champion_accuracy, ref.scores[0], 1e-12));
    assert_true(golden_near(c.champion_macro_f1, ref.scores[1], 1e-12));
    assert_true(golden_near(c.challenger_accuracy, ref.scores[2], 1e-12));
    assert_true(golden_near(c.challenger_macro_f1, ref.scores[3], 1e-12));
    expect_interval(&c.accuracy_difference, ref.low[2], ref.high[2]);
    expect_interval(&c.macro_f1_difference, ref.low[3], ref.high[3]);
    comparison_close(&c);
    struct confusion counts;
    struct eval_metrics m;
    const struct bootstrap_params many = {.resamples = 10000, .level = 0.95, .seed = 2};
    assert_int_equal(confusion_init(&counts, d->y_true, d->champion, d->samples, d->classes, NULL),
                     0);
    assert_int_equal(eval_metrics_init(&m, &counts, NULL, 0, ZERO_DIVISION_0, NULL), 0);
    assert_int_equal(bootstrap_metrics(alone, &counts, &m, &many, NULL), 0);
    expect_interval(&alone[BOOTSTRAP_ACCURACY], ref.low[0], ref.high[0]);
    expect_interval(&alone[BOOTSTRAP_MACRO_F1], ref.low[1], ref.high[1]);
    eval_metrics_close(&m);
    confusion_close(&counts);
}

/* A model compared with itself is neither better nor worse, and no class collapses. */
static void test_comparison_with_itself_is_even(void **state)
{
    (void)state;
    struct drawn d;
    struct comparison c;
    struct compare_params p = compare_defaults(1);
    p.bootstrap.resamples = 100;
    draw(&d, 3);
    assert_int_equal(
        comparison_init(&c, d.y_true, d.champion, d.champion, d.samples, d.classes, &p, NULL), 0);
    assert_true(c.macro_f1_difference.low >= 0.0 && c.macro_f1_difference.high <= 0.0);
    assert_true(c.mcnemar_p >= 1.0 && c.collapsed == 0);
    assert_true(fabs(c.macro_f1_worse_share - 0.5) < 1e-12);
    comparison_close(&c);
}

/* Changing sides changes signs: differences mirror and McNemar's p stays. */
static void test_comparison_mirrors_when_sides_change(void **state)
{
    (void)state;
    struct compare_params p = compare_defaults(4);
    p.bootstrap.resamples = 50;
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct drawn d;
        struct comparison a;
        struct comparison b;
        draw(&d, seed);
        assert_int_equal(
            comparison_init(&a, d.y_true, d.champion, d.challenger, d.samples, d.classes, &p, NULL),
            0);
        assert_int_equal(
            comparison_init(&b, d.y_true, d.challenger, d.champion, d.samples, d.classes, &p, NULL),
            0);
        assert_true(fabs(a.macro_f1_difference.point + b.macro_f1_difference.point) < 1e-15);
        assert_true(fabs(a.mcnemar_p - b.mcnemar_p) < 1e-15);
        assert_int_equal(a.discordance.only_champion, b.discordance.only_challenger);
        double net = (double)a.discordance.only_challenger - (double)a.discordance.only_champion;
        assert_true(fabs(a.accuracy_difference.point - net / (double)d.samples) < 1e-12);
        comparison_close(&a);
        comparison_close(&b);
    }
}

/* When memory runs out anywhere, the comparison says so and leaks nothing. */
static void test_comparison_survives_failed_allocation(void **state)
{
    (void)state;
    struct drawn d;
    struct compare_params p = compare_defaults(1);
    p.bootstrap.resamples = 10;
    draw(&d, 5);
    int rc = ERR_NOMEM;
    long nth = 0;
    while (rc == ERR_NOMEM) {
        struct comparison c = {0};
        mem_fail_after(++nth);
        rc =
            comparison_init(&c, d.y_true, d.champion, d.challenger, d.samples, d.classes, &p, NULL);
        mem_fail_after(0);
        assert_true(rc == 0 || c.row == NULL);
        comparison_close(&c);
    }
    assert_int_equal(rc, 0);
    assert_true(nth > 10);
}

/* -- collapse ---------------------------------------------------------------------------------- */

/* 8 samples of each of 3 classes; the champion is right everywhere. */
static void three_classes(struct drawn *d)
{
    *d = (struct drawn){.samples = 24, .classes = 4};
    for (size_t i = 0; i < 24; i++) {
        d->y_true[i] = d->champion[i] = d->challenger[i] = (uint32_t)i % 3;
    }
}

static size_t collapsed(const struct drawn *d, uint64_t min_support, double drop, uint32_t *ret)
{
    struct comparison c;
    struct compare_params p = compare_defaults(1);
    p.bootstrap.resamples = 10;
    p.min_support = min_support;
    p.collapse_drop = drop;
    assert_int_equal(comparison_init(&c, d->y_true, d->champion, d->challenger, d->samples,
                                     d->classes, &p, NULL),
                     0);
    size_t count = c.collapsed;
    *ret = count > 0 ? c.row[c.worst].label : UINT32_MAX;
    comparison_close(&c);
    return count;
}

/* A class that is no longer found is named, unless it has too little support. */
static void test_collapse_of_recall_is_seen(void **state)
{
    (void)state;
    struct drawn d;
    uint32_t label;
    three_classes(&d);
    assert_int_equal(collapsed(&d, 5, 0.25, &label), 0);
    for (size_t i = 1; i < 24; i += 3) {
        d.challenger[i] = 3; /* a label outside the truth takes all of class 1 */
    }
    assert_int_equal(collapsed(&d, 8, 0.25, &label), 1);
    assert_int_equal(label, 1);
    assert_int_equal(collapsed(&d, 9, 0.25, &label), 0);
    assert_int_equal(collapsed(&d, 8, 1.0, &label), 0);
}

/* A class that swallows others loses its precision, and is named though its recall is whole. */
static void test_collapse_of_precision_is_seen(void **state)
{
    (void)state;
    struct drawn d;
    uint32_t label;
    three_classes(&d);
    for (size_t i = 0; i < 15; i++) {
        d.challenger[i] = 0;
    }
    /* classes 1 and 2 each lose 5 of 8 (p 0.03: not yet certain), class 0 gains 10 false alarms */
    assert_int_equal(collapsed(&d, 5, 0.25, &label), 1);
    assert_int_equal(label, 0);
}

/* A drop that chance explains is no collapse. */
static void test_collapse_needs_more_than_chance(void **state)
{
    (void)state;
    struct drawn d;
    uint32_t label;
    three_classes(&d);
    for (size_t i = 1; i < 10; i += 3) {
        d.challenger[i] = 3; /* 3 of 8: a drop of 0.375, p 0.125 */
    }
    assert_int_equal(collapsed(&d, 5, 0.25, &label), 0);
}

/* Two equally good models of 60 classes rarely trip the guard; a bare drop nearly always does. */
static void test_collapse_guard_is_quiet_between_equals(void **state)
{
    (void)state;
    enum { CLASSES = 60, SUPPORT = 8, N = CLASSES * SUPPORT, NIGHTS = 200 };
    uint32_t y_true[N];
    uint32_t answers[2][N];
    int tripped[2] = {0};
    struct rng r = {.key = 77};
    for (int night = 0; night < NIGHTS; night++) {
        for (uint32_t i = 0; i < N; i++) {
            y_true[i] = i % CLASSES;
            answers[0][i] = answers[1][i] = y_true[i];
            if (rng_below(&r, 5) == 0) { /* one in five is answered right by one only */
                answers[rng_below(&r, 2)][i] = rng_below(&r, CLASSES);
            }
        }
        for (int bare = 0; bare < 2; bare++) {
            struct comparison c;
            struct compare_params p = compare_defaults(1);
            p.bootstrap.resamples = 1;
            p.min_support = 1;
            p.collapse_alpha = bare ? 1.0 : p.collapse_alpha;
            assert_int_equal(
                comparison_init(&c, y_true, answers[0], answers[1], N, CLASSES, &p, NULL), 0);
            tripped[bare] += c.collapsed > 0;
            comparison_close(&c);
        }
    }
    assert_true(tripped[0] <= 8);
    assert_true(tripped[1] >= 120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mcnemar_equals_statsmodels),
        cmocka_unit_test(test_mcnemar_bounds_hold_for_huge_counts),
        cmocka_unit_test(test_binomial_has_its_moments),
        cmocka_unit_test(test_resampler_keeps_the_total),
        cmocka_unit_test(test_bootstrap_interval_holds_its_point),
        cmocka_unit_test(test_bootstrap_same_seed_same_bits),
        cmocka_unit_test(test_bootstrap_of_perfect_answers_has_no_width),
        cmocka_unit_test(test_bootstrap_calibration_has_the_width_of_a_mean),
        cmocka_unit_test(test_bootstrap_refuses_bad_parameters),
        cmocka_unit_test(test_paired_bootstrap_agrees_with_numpy),
        cmocka_unit_test(test_comparison_with_itself_is_even),
        cmocka_unit_test(test_comparison_mirrors_when_sides_change),
        cmocka_unit_test(test_comparison_survives_failed_allocation),
        cmocka_unit_test(test_collapse_of_recall_is_seen),
        cmocka_unit_test(test_collapse_of_precision_is_seen),
        cmocka_unit_test(test_collapse_needs_more_than_chance),
        cmocka_unit_test(test_collapse_guard_is_quiet_between_equals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
