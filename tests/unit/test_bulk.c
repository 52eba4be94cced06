/* ops/cli/bulk: a line of a file of jobs. */
#include "common/base/mem.h"
#include "ops/cli/bulk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ID "01234567-89ab-7cde-8f01-23456789abcd"

static struct message_submission m;
static struct buf spec;

static int setup(void **state)
{
    (void)state;
    buf_init(&spec, MESSAGE_SPEC_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_close(&spec);
    return 0;
}

static void expect_refusal(const char *line, const char *words)
{
    struct err_buf e = {{0}};
    assert_true(bulk_parse_line(span_of(line), &m, &spec, &e) < 0);
    if (!strstr(e.text, words)) {
        fail_msg("%s: \"%s\" lacks \"%s\"", line, e.text, words);
    }
}

/* Every field arrives where the message has it. */
static void test_bulk_line_fills_a_submission(void **state)
{
    (void)state;
    struct err_buf e = {{0}};
    const char *line =
        "{\"id\": \"" ID "\", \"kind\": \"noop\", \"market\": \"de-DE\", \"task\": \"t\","
        " \"spec\": {\"sleep_ms\": 5}, \"priority\": -7, \"after\": [\"" ID "\"],"
        " \"after_any\": [\"11111111-2222-7333-8444-555555555555\"], \"quorum\": 1,"
        " \"unique_key\": \"k\", \"unique_policy\": \"keep\", \"not_before\": "
        "\"2026-11-24T02:30Z\", \"max_attempts\": 9}";
    assert_int_equal(bulk_parse_line(span_of(line), &m, &spec, &e), 0);
    assert_string_equal(m.id.text, ID);
    assert_string_equal(m.kind, "noop");
    assert_string_equal(m.market, "de-DE");
    assert_string_equal(m.task, "t");
    assert_true(span_is(m.spec, "{\"sleep_ms\":5}"));
    assert_true(m.has_priority && m.priority == -7);
    assert_int_equal(m.after_count, 2);
    assert_int_equal(m.after_quorum, 1);
    assert_int_equal(strspn(m.after_if, "oa"), 2);
    assert_string_equal(m.unique, "k");
    assert_int_equal(m.unique_policy, MESSAGE_POLICY_KEEP);
    assert_true(m.has_not_before && m.not_before_ms == INT64_C(1795487400000));
    assert_int_equal(m.max_attempts, 9);
}

/* What is left out or null stays absent, and needs that must all succeed are said as the first
 * version says them. */
static void test_bulk_line_leaves_out_what_is_absent(void **state)
{
    (void)state;
    struct err_buf e = {{0}};
    const char *line = "{\"kind\": \"noop\", \"market\": null, \"after\": [\"" ID "\"]}";
    assert_int_equal(bulk_parse_line(span_of(line), &m, &spec, &e), 0);
    assert_string_equal(m.id.text, "");
    assert_string_equal(m.market, "");
    assert_false(m.has_priority || m.has_not_before);
    assert_int_equal(m.after_count, 1);
    assert_string_equal(m.after_if, "");
}

/* What is wrong is named with its field. */
static void test_bulk_line_names_the_field(void **state)
{
    (void)state;
    expect_refusal("", "line 1");
    expect_refusal("7", "not a JSON object, but an integer");
    expect_refusal("{}", "kind: missing");
    expect_refusal("{\"kind\": \"bake\"}", "kind: there is no kind \"bake\"");
    expect_refusal("{\"kind\": 7}", "kind: a text is expected, not an integer");
    expect_refusal("{\"kind\": \"noop\", \"priority\": \"high\"}", "priority: an integer");
    expect_refusal("{\"kind\": \"noop\", \"priority\": 1001}", "priority: 1001 is not within");
    expect_refusal("{\"kind\": \"noop\", \"spec\": []}", "spec: an object is expected");
    expect_refusal("{\"kind\": \"noop\", \"spec\": {\"x\": 1}}", "spec.x: no such field");
    expect_refusal("{\"kind\": \"noop\", \"id\": \"7\"}", "id: not an id");
    expect_refusal("{\"kind\": \"noop\", \"after\": \"" ID "\"}", "after: a list of ids");
    expect_refusal("{\"kind\": \"noop\", \"after\": [\"" ID "\"], \"after_any\": [\"" ID "\"]}",
                   "a job is named with two conditions");
    expect_refusal("{\"kind\": \"noop\", \"quorum\": 1}", "quorum: 1 of 0 jobs");
    expect_refusal("{\"kind\": \"noop\", \"unique_policy\": \"keep\"}", "without unique_key");
    expect_refusal("{\"kind\": \"noop\", \"unique_key\": \"k\", \"unique_policy\": \"maybe\"}",
                   "unique_policy: none of");
    expect_refusal("{\"kind\": \"noop\", \"not_before\": \"soon\"}", "not_before: no time");
    expect_refusal("{\"kind\": \"finetune\", \"task\": \"t\"}", "market: finetune needs");
    expect_refusal("{\"kind\": \"noop\", \"sped\": {}}", "sped: there is no such field");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bulk_line_fills_a_submission),
        cmocka_unit_test(test_bulk_line_leaves_out_what_is_absent),
        cmocka_unit_test(test_bulk_line_names_the_field),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
