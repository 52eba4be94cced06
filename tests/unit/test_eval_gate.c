/* worker/eval/gate: every reason, from numbers at and beside its edge. */
#include "worker/eval/gate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct gate_case {
    enum gate_mode mode;
    uint64_t samples;
    double difference; /* of macro-F1, with its interval */
    double low;
    double high;
    size_t collapsed;
    const char *reason;
    bool is_promoted;
};

static void decide(const struct gate_case *g, struct gate_verdict *v)
{
    static struct compare_class row = {.label = 1, .support = 30, .champion_recall = 0.9};
    static const char *const names[2] = {"cancel", "refund"};
    const struct comparison c = {
        .samples = g->samples,
        .champion_macro_f1 = 0.8,
        .challenger_macro_f1 = 0.8 + g->difference,
        .macro_f1_difference = {g->difference, g->low, g->high},
        .mcnemar_p = 1.0,
        .rows = 1,
        .row = &row,
        .collapsed = g->collapsed,
    };
    const struct gate_params p = {.mode = g->mode, .tolerance = 0.01, .min_samples = 10};
    assert_int_equal(gate_check(&p, NULL), 0);
    gate_decide(v, &c, names, &p);
}

/* Each row of the rule gives its reason, in the documented order. */
static void test_gate_gives_the_documented_reason(void **state)
{
    (void)state;
    const enum gate_mode balanced = GATE_MODE_BALANCED;
    const struct gate_case cases[] = {
        {balanced, 0, 0.0, 0.0, 0.0, 0, "no_test_samples", false},
        {balanced, 9, 0.5, 0.4, 0.6, 0, "too_few_test_samples", false},
        {balanced, 10, 0.0, -0.1, 0.1, 0, "not_worse", true},
        {balanced, 500, -0.01, -0.05, 0.03, 0, "not_worse", true},
        {balanced, 500, -0.0101, -0.05, 0.03, 0, "worse", false},
        {balanced, 500, -0.2, -0.3, -0.1, 0, "worse", false},
        {balanced, 9000, -0.004, -0.007, -0.001, 0, "significantly_worse", false},
        {balanced, 9000, -0.004, -0.008, 0.0, 0, "not_worse", true},
        {balanced, 9000, 0.004, 0.001, 0.007, 0, "better", true},
        {balanced, 9000, 0.004, 0.0, 0.007, 0, "not_worse", true},
        {balanced, 9000, 0.004, 0.001, 0.007, 1, "class_collapsed", false},
        {balanced, 9000, -0.05, -0.06, 0.0, 1, "worse", false},
        {GATE_MODE_PROVEN, 500, 0.002, -0.02, 0.03, 0, "not_proven", false},
        {GATE_MODE_PROVEN, 500, 0.002, -0.01, 0.03, 0, "not_proven", false},
        {GATE_MODE_PROVEN, 9000, 0.002, -0.0099, 0.03, 0, "not_worse", true},
        {GATE_MODE_PROVEN, 9000, 0.02, 0.01, 0.03, 0, "better", true},
        {GATE_MODE_BETTER, 9000, 0.002, -0.001, 0.03, 0, "not_better", false},
        {GATE_MODE_BETTER, 9000, 0.002, 0.0, 0.03, 0, "not_better", false},
        {GATE_MODE_BETTER, 9000, 0.02, 0.001, 0.03, 0, "better", true},
        {GATE_MODE_BETTER, 9000, 0.02, 0.001, 0.03, 2, "class_collapsed", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gate_verdict v;
        decide(&cases[i], &v);
        if (strcmp(gate_reason_name(v.reason), cases[i].reason) != 0 ||
            v.is_promoted != cases[i].is_promoted) {
            fail_msg("case %zu: %s, expected %s", i, gate_reason_name(v.reason), cases[i].reason);
        }
        assert_true(strlen(v.sentence) > 20);
    }
}

static double number_of(const struct gate_verdict *v, const char *name)
{
    for (size_t i = 0; i < v->numbers; i++) {
        if (strcmp(v->number[i].name, name) == 0) {
            return v->number[i].value;
        }
    }
    fail_msg("the verdict has no number \"%s\"", name);
    return 0.0;
}

/* The sentence and the numbers say what was compared and how it came out. */
static void test_gate_verdict_explains_itself(void **state)
{
    (void)state;
    struct gate_verdict v;
    decide(&(struct gate_case){.samples = 120, .difference = 0.0125, .low = -0.01, .high = 0.03},
           &v);
    assert_string_equal(v.sentence,
                        "not worse beyond the tolerance of 0.0100: macro-F1 0.8125, champion "
                        "0.8000, difference +0.0125 (interval -0.0100 to +0.0300), 120 samples");
    assert_true(fabs(number_of(&v, "macro_f1_difference") - 0.0125) < 1e-15);
    assert_true(fabs(number_of(&v, "macro_f1_difference_low") + 0.01) < 1e-15);
    assert_true(fabs(number_of(&v, "tolerance") - 0.01) < 1e-15);
    assert_true(fabs(number_of(&v, "samples") - 120.0) < 1e-15);
    decide(&(struct gate_case){.samples = 120, .collapsed = 3}, &v);
    assert_string_equal(v.sentence, "class \"refund\" (and 2 more) collapsed: recall 0.0000, was "
                                    "0.9000; F1 0.0000, was 0.0000; 30 samples");
}

/* A label of any length or content gives one line of whole characters. */
static void test_gate_cuts_long_labels_between_characters(void **state)
{
    (void)state;
    char label[400] = "x\n";
    const char *const names[1] = {label};
    struct compare_class row = {.label = 0, .support = 30};
    const struct comparison c = {.samples = 30, .rows = 1, .row = &row, .collapsed = 1};
    const struct gate_params p = gate_defaults();
    struct gate_verdict v;
    for (size_t i = 0; i < 120; i++) {
        strcat(label, "\xe6\x97\xa5"); /* 120 bytes end within one of these */
    }
    gate_decide(&v, &c, names, &p);
    const char *close = strrchr(v.sentence, '"');
    assert_non_null(close);
    assert_memory_equal(close - 3, "\xe6\x97\xa5", 3);
    assert_null(strchr(v.sentence, '\n'));
    assert_non_null(strstr(v.sentence, "30 samples"));
    gate_decide(&v, &c, NULL, &p);
    assert_non_null(strstr(v.sentence, "class 0 collapsed"));
}

static enum gate_reason first(const uint32_t *y_true, const uint32_t *y_pred, size_t n,
                              uint64_t min_samples)
{
    struct confusion c;
    struct gate_verdict v;
    const struct gate_params p = {.tolerance = 0.01, .min_samples = min_samples};
    assert_int_equal(confusion_init(&c, y_true, y_pred, n, 3, NULL), 0);
    gate_decide_first(&v, &c, &p);
    confusion_close(&c);
    return v.reason;
}

/* The first version must be right more often than always saying the most frequent class. */
static void test_gate_first_version_must_beat_the_majority(void **state)
{
    (void)state;
    const uint32_t truth[6] = {0, 0, 0, 1, 1, 2};
    const uint32_t four_right[6] = {0, 0, 0, 1, 2, 1};
    const uint32_t majority[6] = {0, 0, 0, 0, 0, 0};
    assert_int_equal(first(truth, four_right, 6, 0), GATE_REASON_FIRST_VERSION_BEATS_MAJORITY);
    assert_int_equal(first(truth, majority, 6, 0), GATE_REASON_FIRST_VERSION_NOT_ABOVE_MAJORITY);
    assert_int_equal(first(truth, four_right, 6, 7), GATE_REASON_TOO_FEW_TEST_SAMPLES);
    assert_int_equal(first(truth, four_right, 0, 0), GATE_REASON_NO_TEST_SAMPLES);
}

/* No test samples at all is a verdict, not a crash. */
static void test_gate_without_comparison_keeps_the_champion(void **state)
{
    (void)state;
    struct gate_verdict v;
    const struct gate_params p = gate_defaults();
    gate_decide(&v, NULL, NULL, &p);
    assert_false(v.is_promoted);
    assert_string_equal(gate_reason_name(v.reason), "no_test_samples");
}

/* A tolerance or mode out of bounds is refused; modes have names that lead back. */
static void test_gate_checks_its_parameters(void **state)
{
    (void)state;
    struct err_buf e = {{0}};
    struct gate_params p = gate_defaults();
    p.tolerance = -0.1;
    assert_int_equal(gate_check(&p, &e), ERR_INVALID);
    assert_string_equal(e.text, "tolerance -0.1 is not in 0..1");
    p.tolerance = (double)NAN;
    assert_int_equal(gate_check(&p, &e), ERR_INVALID);
    p = gate_defaults();
    p.mode = GATE_MODE_COUNT;
    assert_int_equal(gate_check(&p, &e), ERR_INVALID);
    for (int mode = 0; mode < GATE_MODE_COUNT; mode++) {
        assert_int_equal(gate_mode_from_name(gate_mode_name((enum gate_mode)mode)), mode);
    }
    assert_int_equal(gate_mode_from_name("bold"), GATE_MODE_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_gives_the_documented_reason),
        cmocka_unit_test(test_gate_verdict_explains_itself),
        cmocka_unit_test(test_gate_cuts_long_labels_between_characters),
        cmocka_unit_test(test_gate_first_version_must_beat_the_majority),
        cmocka_unit_test(test_gate_without_comparison_keeps_the_champion),
        cmocka_unit_test(test_gate_checks_its_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
