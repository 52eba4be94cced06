/* common/job: kinds, states and specs; every refusal names its field. */
#include "common/base/mem.h"
#include "common/base/nearest.h"
#include "common/job/job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct job_spec *parse(enum job_kind kind, const char *text)
{
    struct job_spec *spec = NULL;
    struct err_buf e = {{0}};
    if (job_spec_parse(kind, span_of(text), &spec, &e)) {
        fail_msg("%s: %s", text, e.text);
    }
    return spec;
}

static void expect_refusal(enum job_kind kind, const char *text, const char *message)
{
    struct job_spec *spec = NULL;
    struct err_buf e = {{0}};
    assert_int_not_equal(job_spec_parse(kind, span_of(text), &spec, &e), 0);
    assert_string_equal(e.text, message);
    assert_null(spec);
}

/* Names lead to states and kinds and back. */
static void test_job_names_round_trip(void **state)
{
    (void)state;
    for (int i = 1; i < JOB_STATE_COUNT; i++) {
        assert_int_equal(job_state_from_name(job_state_name((enum job_state)i)), i);
    }
    for (int i = 1; i < JOB_ATTEMPT_STATE_COUNT; i++) {
        const char *name = job_attempt_state_name((enum job_attempt_state)i);
        assert_int_equal(job_attempt_state_from_name(name), i);
    }
    for (int i = 1; i < JOB_KIND_COUNT; i++) {
        assert_int_equal(job_kind_from_name(job_kind_name((enum job_kind)i)), i);
    }
    assert_int_equal(job_state_from_name("asleep"), 0);
    assert_int_equal(job_kind_from_name(""), 0);
    assert_true(job_state_is_final(JOB_SKIPPED) && !job_state_is_final(JOB_RUNNING));
    assert_true(job_kind_is_parent(JOB_NIGHTLY) && !job_kind_is_parent(JOB_NOOP));
}

/* Names follow the rules of the SQL. */
static void test_job_name_rules(void **state)
{
    (void)state;
    assert_true(job_market_is_valid("de-DE") && job_market_is_valid("1"));
    assert_false(job_market_is_valid("") || job_market_is_valid("-de") ||
                 job_market_is_valid("de_DE") ||
                 job_market_is_valid("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
    assert_true(job_task_is_valid("support-intent_2"));
    assert_false(job_task_is_valid("Support") || job_task_is_valid("a b"));
    assert_true(job_region_is_valid("eu-1"));
    assert_false(job_region_is_valid("EU"));
    assert_true(job_schedule_is_valid("Nightly.eu"));
}

/* Tables are sorted, and every default passes its own field's check. */
static void test_job_tables_are_sound(void **state)
{
    (void)state;
    for (int kind = 1; kind < JOB_KIND_COUNT; kind++) {
        size_t count = 0;
        const struct job_field *fields = job_fields((enum job_kind)kind, &count);
        assert_true((count > 0) == job_kind_is_supported((enum job_kind)kind));
        for (size_t i = 0; i < count; i++) {
            assert_true(i == 0 || strcmp(fields[i - 1].name, fields[i].name) < 0);
            assert_true(fields[i].help && fields[i].help[0]);
            if (fields[i].fallback) {
                char assignment[128];
                struct buf spec;
                struct err_buf e = {{0}};
                buf_init(&spec, 1000);
                (void)snprintf(assignment, sizeof assignment, "%s=%s", fields[i].name,
                               fields[i].fallback);
                assert_int_equal(job_spec_set((enum job_kind)kind, assignment, &spec, &e), 0);
                buf_close(&spec);
            }
        }
    }
}

/* An empty spec is complete with the defaults; the model's own parameters stay the model's. */
static void test_job_spec_defaults(void **state)
{
    (void)state;
    struct job_spec *spec = parse(JOB_FINETUNE, "");
    assert_int_equal(job_spec_integer(spec, "memory_mb"), 2048);
    assert_int_equal(job_spec_integer(spec, "seed"), 1);
    assert_string_equal(job_spec_text(spec, "base"), "auto");
    assert_false(job_spec_bool(spec, "compare_scratch"));
    assert_true(job_spec_has(spec, "base") && !job_spec_is_given(spec, "base"));
    assert_false(job_spec_has(spec, "epochs"));
    assert_int_equal(job_spec_market_count(spec), 0);
    job_spec_free(spec);
}

/* Given values are read back, typed; null is as if it were not there. */
static void test_job_spec_values(void **state)
{
    (void)state;
    struct job_spec *spec =
        parse(JOB_FINETUNE, "{\"epochs\":5,\"strength\":2,\"markets\":[\"de-DE\",\"fr-FR\"],"
                            "\"base\":\"version:42\",\"seed\":null,"
                            "\"as_of\":\"2026-01-31T23:59:59Z\"}");
    assert_int_equal(job_spec_integer(spec, "epochs"), 5);
    assert_true(job_spec_real(spec, "strength") == 2.0);
    assert_int_equal(job_spec_market_count(spec), 2);
    assert_string_equal(job_spec_market(spec, 1), "fr-FR");
    assert_string_equal(job_spec_text(spec, "base"), "version:42");
    assert_string_equal(job_spec_text(spec, "as_of"), "2026-01-31T23:59:59Z");
    assert_int_equal(job_spec_integer(spec, "seed"), 1);
    assert_false(job_spec_is_given(spec, "seed"));
    job_spec_free(spec);
}

static const char *const no_times[] = {"",
                                       "2026-01-31",
                                       "2026-01-31T00:00:00",
                                       "2026-01-31 00:00:00Z",
                                       "2026-13-31T00:00:00Z",
                                       "2026-01-00T00:00:00Z",
                                       "2026-01-31T24:00:00Z",
                                       "2026-01-31T00:60:00Z",
                                       "2026-01-31T00:00:0xZ",
                                       "2026-01-31T00:00:00Zz"};

/* Every refusal is one line that names the field. */
static void test_job_spec_refusals(void **state)
{
    (void)state;
    expect_refusal(JOB_FINETUNE, "{\"epochs\":0}", "spec.epochs: 0 is below 1");
    expect_refusal(JOB_FINETUNE, "{\"epochs\":1001}", "spec.epochs: 1001 is above 1000");
    expect_refusal(JOB_FINETUNE, "{\"epochs\":\"5\"}",
                   "spec.epochs: expected an integer, got a text");
    expect_refusal(JOB_FINETUNE, "{\"epochs\":5.0}",
                   "spec.epochs: expected an integer, got a number");
    expect_refusal(JOB_FINETUNE, "{\"epoch\":5}",
                   "spec.epoch: no such field for finetune, did you mean epochs?");
    expect_refusal(JOB_FINETUNE, "{\"sleep_ms\":5}", "spec.sleep_ms: no such field for finetune");
    expect_refusal(JOB_FINETUNE, "{\"\\u0007\":5}", "spec: a field whose name is no name");
    expect_refusal(JOB_FINETUNE, "{\"class_weight\":\"bal\"}",
                   "spec.class_weight: expected one of none|balanced");
    expect_refusal(JOB_FINETUNE, "{\"family\":\"encoder\"}", "spec.family: expected bag");
    expect_refusal(JOB_FINETUNE, "{\"base\":\"version:0\"}",
                   "spec.base: expected auto, none, global, champion or version:ID");
    expect_refusal(JOB_FINETUNE, "{\"markets\":[\"de-DE\",\"de-DE\"]}",
                   "spec.markets[1]: de-DE is there twice");
    expect_refusal(JOB_FINETUNE, "{\"markets\":[7]}", "spec.markets[0]: not a market's code");
    expect_refusal(JOB_EVALUATE, "{\"from_job\":\"7\"}", "spec.from_job: not a job's id");
    expect_refusal(JOB_NOOP, "{\"region\":\"EU\"}", "spec.region: not a region's name");
    for (size_t i = 0; i < sizeof no_times / sizeof *no_times; i++) {
        char spec[64];
        (void)snprintf(spec, sizeof spec, "{\"as_of\":\"%s\"}", no_times[i]);
        expect_refusal(JOB_NIGHTLY, spec,
                       "spec.as_of: expected a time in UTC like 2026-01-31T00:00:00Z");
    }
    expect_refusal(JOB_NOOP, "[]", "spec: expected a map, got a list");
    expect_refusal(JOB_NOOP, "{", "spec: line 1, column 1: the text ends too early");
    expect_refusal(JOB_SCORE, "{}", "kind: score is not in this release");
    expect_refusal((enum job_kind)99, "{}", "kind: there is no such kind of job");
}

/* The complete spec has one form, and parsing that form gives it again. */
static void test_job_spec_write_is_canonical(void **state)
{
    (void)state;
    struct buf first;
    struct buf second;
    buf_init(&first, 10000);
    buf_init(&second, 10000);
    struct job_spec *spec = parse(JOB_NOOP, " {\"steps\":3, \"fail\":\"none\"}");
    assert_int_equal(job_spec_write(spec, &first), 0);
    assert_string_equal(
        buf_text(&first),
        "{\"allocate_mb\":0,\"checkpoint_s\":30.0,\"fail\":\"none\",\"max_attempts\":3,"
        "\"memory_mb\":2048,\"sleep_ms\":0,\"steps\":3,\"threads\":1,"
        "\"time_limit_s\":3600}");
    job_spec_free(spec);
    spec = parse(JOB_NOOP, buf_text(&first));
    assert_int_equal(job_spec_write(spec, &second), 0);
    assert_string_equal(buf_text(&first), buf_text(&second));
    job_spec_free(spec);
    buf_close(&first);
    buf_close(&second);
}

/* A nightly hands each child what that child's kind knows, but for what is to be left out. */
static void test_job_spec_write_for_children(void **state)
{
    (void)state;
    static const char *const skip[] = {"markets", NULL};
    struct buf out;
    buf_init(&out, 10000);
    struct job_spec *spec = parse(JOB_NIGHTLY, "{\"epochs\":2,\"bootstrap\":50,\"seed\":9,"
                                               "\"markets\":[\"de-DE\"]}");
    assert_int_equal(job_spec_write_for(spec, JOB_FINETUNE, skip, &out), 0);
    assert_string_equal(buf_text(&out), "{\"epochs\":2,\"seed\":9}");
    buf_reset(&out);
    assert_int_equal(job_spec_write_for(spec, JOB_EVALUATE, skip, &out), 0);
    assert_string_equal(buf_text(&out), "{\"bootstrap\":50,\"seed\":9}");
    job_spec_free(spec);
    buf_close(&out);
}

static void expect_fit(enum job_kind kind, const char *text, const char *market, const char *task,
                       const char *message)
{
    struct job_spec *spec = parse(kind, text);
    struct err_buf e = {{0}};
    assert_int_equal(job_check(spec, market, task, &e), *message ? ERR_INVALID : 0);
    assert_string_equal(e.text, message);
    job_spec_free(spec);
}

/* Market, task and spec must fit together. */
static void test_job_check(void **state)
{
    (void)state;
    expect_fit(JOB_NOOP, "", "", "", "");
    expect_fit(JOB_NOOP, "", "de_DE", "", "market: not a market's code (letters, digits and -)");
    expect_fit(JOB_FINETUNE, "", "de-DE", "t", "");
    expect_fit(JOB_FINETUNE, "", "de-DE", "", "task: finetune needs a task");
    expect_fit(JOB_FINETUNE, "", "", "t", "market: finetune needs a market, or spec.markets");
    expect_fit(JOB_FINETUNE, "{\"markets\":[\"de-DE\"]}", "", "t", "");
    expect_fit(JOB_FINETUNE, "{\"markets\":[\"de-DE\"]}", "de-DE", "t",
               "spec.markets: only without a market: they are pooled");
    expect_fit(JOB_FINETUNE, "{\"markets\":[\"de-DE\"],\"base\":\"champion\"}", "", "t",
               "spec.base: pooled markets have no champion in common");
    expect_fit(JOB_FINETUNE, "{\"char_min\":5,\"char_max\":2}", "de-DE", "t",
               "spec.char_min: above spec.char_max");
    expect_fit(JOB_EVALUATE, "{\"version\":1}", "de-DE", "t", "");
    expect_fit(JOB_EVALUATE, "", "de-DE", "t", "spec.version: give either version or from_job");
    expect_fit(JOB_EVALUATE, "{\"version\":1}", "", "t",
               "market: evaluate needs the market to measure on");
    expect_fit(JOB_NIGHTLY, "{\"quorum\":\"0\"}", "", "t",
               "spec.quorum: write all, a number (40) or a share (95%)");
    expect_fit(JOB_NIGHTLY, "{\"quorum\":\"101%\"}", "", "t",
               "spec.quorum: write all, a number (40) or a share (95%)");
    expect_fit(JOB_NIGHTLY, "{\"straggler_wait_s\":5}", "", "t",
               "spec.straggler_wait_s: say what follows: stragglers=cancel or leave");
    expect_fit(JOB_NIGHTLY, "", "de-DE", "t", "market: nightly takes spec.markets instead");
    expect_fit(JOB_NIGHTLY, "", "", "T",
               "task: not a task's name (lower-case letters, digits, _ and -)");
}

/* key=value is typed by the table, the last one wins, and a refused one changes nothing. */
static void test_job_spec_set(void **state)
{
    (void)state;
    struct buf spec;
    struct err_buf e = {{0}};
    buf_init(&spec, 10000);
    assert_int_equal(job_spec_set(JOB_FINETUNE, "epochs=3", &spec, &e), 0);
    assert_int_equal(job_spec_set(JOB_FINETUNE, "epochs=4", &spec, &e), 0);
    assert_int_equal(job_spec_set(JOB_FINETUNE, "strength=0.5", &spec, &e), 0);
    assert_int_equal(job_spec_set(JOB_FINETUNE, "compare_scratch=yes", &spec, &e), 0);
    assert_int_equal(job_spec_set(JOB_FINETUNE, "markets=de-DE,fr-FR", &spec, &e), 0);
    assert_int_equal(job_spec_set(JOB_FINETUNE, "base=global", &spec, &e), 0);
    const char *all = "{\"base\":\"global\",\"compare_scratch\":true,\"epochs\":4,\"markets\":["
                      "\"de-DE\",\"fr-FR\"],\"strength\":0.5}";
    assert_string_equal(buf_text(&spec), all);
    static const char *const bad[][2] = {
        {"epochs=many", "spec.epochs: expected an integer"},
        {"epochs=9999", "spec.epochs: 9999 is above 1000"},
        {"epochs=", "spec.epochs: expected an integer"},
        {"strength=nan", "spec.strength: expected a number"},
        {"compare_scratch=maybe", "spec.compare_scratch: expected true or false"},
        {"markets=de-DE,", "spec.markets[1]: not a market's code"},
        {"epcohs=1", "spec.epcohs: no such field for finetune, did you mean epochs?"},
        {"epochs", "spec: expected key=value"},
        {"=3", "spec: expected key=value"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(job_spec_set(JOB_FINETUNE, bad[i][0], &spec, &e), ERR_INVALID);
        assert_string_equal(e.text, bad[i][1]);
        assert_string_equal(buf_text(&spec), all);
    }
    buf_close(&spec);
}

/* Running out of memory anywhere is reported and leaks nothing. */
static void test_job_spec_survives_no_memory(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        struct job_spec *spec = NULL;
        struct err_buf e = {{0}};
        mem_fail_after(n);
        int rc = job_spec_parse(JOB_NOOP, span_of("{\"steps\":1}"), &spec, &e);
        mem_fail_after(0);
        if (rc == 0) {
            job_spec_free(spec);
            assert_true(n > 1);
            return;
        }
        assert_int_equal(rc, ERR_NOMEM);
        assert_string_equal(e.text, "out of memory");
    }
}

/* The distance counts edits, and a suggestion is only made when it is close. */
static void test_nearest(void **state)
{
    (void)state;
    assert_int_equal(nearest_distance("epochs", "epochs"), 0);
    assert_int_equal(nearest_distance("epcohs", "epochs"), 1);
    assert_int_equal(nearest_distance("", "abc"), 3);
    assert_int_equal(nearest_distance("kitten", "sitting"), 3);
    const char *best = NULL;
    nearest_offer("xyz", "epochs", &best);
    assert_null(best);
    nearest_offer("seeds", "seed", &best);
    assert_string_equal(best, "seed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_job_names_round_trip),
        cmocka_unit_test(test_job_name_rules),
        cmocka_unit_test(test_job_tables_are_sound),
        cmocka_unit_test(test_job_spec_defaults),
        cmocka_unit_test(test_job_spec_values),
        cmocka_unit_test(test_job_spec_refusals),
        cmocka_unit_test(test_job_spec_write_is_canonical),
        cmocka_unit_test(test_job_spec_write_for_children),
        cmocka_unit_test(test_job_check),
        cmocka_unit_test(test_job_spec_set),
        cmocka_unit_test(test_job_spec_survives_no_memory),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
