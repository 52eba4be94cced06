/* What is judged of a submission without the record, and the children of a nightly. */
#include "scheduler/core/admission.h"
#include "scheduler/core/fanout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct err_buf reason;
static struct buf storage;

static struct core_submission check(const char *kind, const char *market, const char *spec)
{
    struct core_submission s = {.id = {1, 1},
                                .kind = span_of(kind),
                                .market = span_of(market),
                                .task = span_of(strcmp(kind, "noop") == 0 ? "" : "intent"),
                                .spec = span_of(spec)};
    buf_close(&storage);
    buf_init(&storage, 1 << 20);
    assert_int_equal(core_submission_check(&s, &storage, &reason), 0);
    return s;
}

static int teardown(void **state)
{
    (void)state;
    buf_close(&storage);
    return 0;
}

/* A right submission gets its limits from the spec, and the spec its defaults. */
static void test_core_admission_completes_a_right_submission(void **state)
{
    (void)state;
    struct core_submission s = check("noop", "", "{\"sleep_ms\":5,\"memory_mb\":64,\"threads\":2}");
    assert_null(s.error_code);
    assert_int_equal(s.memory_mb, 64);
    assert_int_equal(s.threads, 2);
    assert_true(s.max_attempts >= 1 && s.time_limit_s >= 1);
    assert_false(s.is_parent);
    assert_non_null(memmem(s.spec.data, s.spec.length, "\"sleep_ms\":5", 12));
}

/* Every refusal names what is wrong. */
static void test_core_admission_names_the_wrong_field(void **state)
{
    (void)state;
    static const struct {
        const char *kind, *market, *spec, *word;
    } cases[] = {
        {"train", "", "{}", "kind"},
        {"", "", "{}", "kind"},
        {"noop", "no market", "{}", "market"},
        {"noop", "", "{\"sleep_ms\":-1}", "sleep_ms"},
        {"noop", "", "{\"sleep\":1}", "sleep"},
        {"noop", "", "[]", "spec"},
        {"noop", "", "{\"sleep_ms\":", "spec"},
        {"finetune", "", "{}", "market"},
        {"score", "de-DE", "{}", "score"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct core_submission s = check(cases[i].kind, cases[i].market, cases[i].spec);
        assert_non_null(s.error_code);
        if (!strstr(s.error_text, cases[i].word)) {
            fail_msg("'%s' does not name '%s'", s.error_text, cases[i].word);
        }
        assert_true(span_is(s.spec, "{}"));
    }
}

/* A job may not need itself. */
static void test_core_admission_refuses_a_job_that_needs_itself(void **state)
{
    (void)state;
    struct core_id self = {1, 1};
    struct core_submission s = {
        .id = self, .kind = span_of("noop"), .after = &self, .after_count = 1};
    buf_init(&storage, 1 << 20);
    assert_int_equal(core_submission_check(&s, &storage, &reason), 0);
    assert_non_null(strstr(s.error_text, "after"));
}

static struct core_plan plan_of(const char *spec)
{
    static const struct core_plan_market markets[2] = {{{"de-DE", 5}, {"eu", 2}},
                                                       {{"ja-JP", 5}, {"ap", 2}}};
    static const struct span sources[1] = {{"de-DE", 5}};
    return (struct core_plan){.parent = {9, 9},
                              .task = span_of("intent"),
                              .spec = span_of(spec),
                              .night = span_of("2026-11-23"),
                              .priority = 4,
                              .sources = sources,
                              .source_count = 1,
                              .markets = markets,
                              .market_count = 2};
}

/* Base, then each market's fine-tune after it, then its evaluation after that. */
static void test_core_fanout_makes_base_finetune_and_evaluation(void **state)
{
    (void)state;
    struct fanout f;
    struct core_plan plan = plan_of("{\"seed\":7,\"epochs\":3}");
    assert_int_equal(fanout_init(&f, &plan, &reason), 0);
    assert_int_equal(f.count, 5);
    const struct core_submission *base = &f.children[0];
    const struct core_submission *tune = &f.children[1];
    const struct core_submission *test = &f.children[2];
    assert_true(span_is(base->kind, "finetune") && base->market.length == 0);
    assert_non_null(memmem(base->spec.data, base->spec.length, "[\"de-DE\"]", 9));
    assert_true(span_is(tune->kind, "finetune") && span_is(tune->market, "de-DE"));
    assert_true(core_id_equals(tune->after[0], base->id));
    assert_non_null(memmem(tune->spec.data, tune->spec.length, "\"epochs\":3", 10));
    assert_true(span_is(test->kind, "evaluate"));
    assert_true(core_id_equals(test->after[0], tune->id));
    const char *tuned = core_id_format(tune->id).text;
    assert_non_null(memmem(test->spec.data, test->spec.length, tuned, 36));
    assert_non_null(memmem(test->spec.data, test->spec.length, "\"promote\":true", 14));
    assert_int_equal(test->priority, 4);
    assert_true(span_is(test->night, "2026-11-23"));
    fanout_close(&f);
}

/* A quorum counts markets: a share of them is rounded up, more than there are cannot be. */
static void test_core_fanout_counts_the_quorum_in_markets(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        int quorum;
    } cases[] = {{"{}", 0}, {"{\"quorum\":\"1\"}", 1}, {"{\"quorum\":\"51%\"}", 2}};
    struct fanout f;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct core_plan plan = plan_of(cases[i].spec);
        assert_int_equal(fanout_init(&f, &plan, &reason), 0);
        assert_int_equal(f.quorum, cases[i].quorum);
        int members = 0;
        for (size_t k = 0; k < f.count; k++) {
            members += f.children[k].is_member;
            assert_true(f.children[k].is_member == span_is(f.children[k].kind, "evaluate"));
        }
        assert_int_equal(members, 2);
        fanout_close(&f);
    }
    struct core_plan plan = plan_of("{\"quorum\":\"3\"}");
    assert_int_equal(fanout_init(&f, &plan, &reason), ERR_INVALID);
    assert_non_null(strstr(reason.text, "spec.quorum"));
}

/* Made again, the children have the same ids. */
static void test_core_fanout_derives_the_same_ids_again(void **state)
{
    (void)state;
    struct fanout a, b;
    struct core_plan plan = plan_of("{}");
    assert_int_equal(fanout_init(&a, &plan, &reason), 0);
    assert_int_equal(fanout_init(&b, &plan, &reason), 0);
    for (size_t i = 0; i < a.count; i++) {
        assert_true(core_id_equals(a.children[i].id, b.children[i].id));
        for (size_t k = 0; k < i; k++) {
            assert_false(core_id_equals(a.children[i].id, a.children[k].id));
        }
    }
    fanout_close(&a);
    fanout_close(&b);
}

/* Without a base wanted, or with markets named, there are only those jobs. */
static void test_core_fanout_follows_the_spec(void **state)
{
    (void)state;
    struct fanout f;
    struct core_plan plan = plan_of("{\"base\":\"none\",\"markets\":[\"ja-JP\"]}");
    assert_int_equal(fanout_init(&f, &plan, &reason), 0);
    assert_int_equal(f.count, 2);
    assert_true(span_is(f.children[0].market, "ja-JP"));
    assert_int_equal(f.children[0].after_count, 0);
    fanout_close(&f);
    plan.market_count = 0;
    plan.spec = span_of("{}");
    assert_int_equal(fanout_init(&f, &plan, &reason), ERR_INVALID);
    assert_non_null(strstr(reason.text, "market"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_admission_completes_a_right_submission),
        cmocka_unit_test(test_core_admission_names_the_wrong_field),
        cmocka_unit_test(test_core_admission_refuses_a_job_that_needs_itself),
        cmocka_unit_test(test_core_fanout_makes_base_finetune_and_evaluation),
        cmocka_unit_test(test_core_fanout_counts_the_quorum_in_markets),
        cmocka_unit_test(test_core_fanout_derives_the_same_ids_again),
        cmocka_unit_test(test_core_fanout_follows_the_spec),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
