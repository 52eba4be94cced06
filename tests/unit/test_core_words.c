/*
 * The words that the core, the record and the documents share: codes of reasons, states, outcomes.
 * Each must be known on every side, and none on one side only. That they mean the same there is
 * tested on real servers (integration.test_policy).
 */
#include "scheduler/core/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *file_read(const char *name)
{
    static char text[1 << 20];
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", MERIDIAN_SOURCE_DIR, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t length = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    assert_true(length < sizeof text - 1);
    text[length] = '\0';
    return text;
}

typedef bool known_fn(struct span word);

static bool is_reason(struct span word)
{
    for (int r = CORE_REASON_NONE + 1; r < CORE_REASON_COUNT; r++) {
        if (span_is(word, core_reason_code((enum core_reason)r))) {
            return true;
        }
    }
    return false;
}

static bool is_state(struct span word)
{
    return core_state_parse(word) != CORE_STATE_UNKNOWN;
}

static bool is_outcome_or_open(struct span word)
{
    for (int o = CORE_OUTCOME_SUCCEEDED; o < CORE_OUTCOME_COUNT; o++) {
        if (span_is(word, core_outcome_name((enum core_outcome)o))) {
            return true;
        }
    }
    return core_state_is_open_attempt(core_state_parse(word));
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || c == '_';
}

/* Every word between the quotes of the text must be known; how many there are. */
static size_t check_quoted(const char *from, const char *end, char quote, known_fn *is_known)
{
    size_t count = 0;
    for (const char *at = from; (at = memchr(at, quote, (size_t)(end - at))) != NULL; count++) {
        const char *close = memchr(at + 1, quote, (size_t)(end - at - 1));
        assert_non_null(close);
        if (!is_known(span_make(at + 1, (size_t)(close - at - 1)))) {
            fail_msg("nobody else knows %.*s", (int)(close - at + 1), at);
        }
        at = close + 1;
    }
    return count;
}

static bool has_quoted(const char *from, const char *end, const char *before, const char *word)
{
    char quoted[96];
    (void)snprintf(quoted, sizeof quoted, "%s'%s'", before, word);
    const char *at = strstr(from, quoted);
    return at && at < end;
}

/* The text from `begin` on up to `end`, both found one after the other. */
static const char *part(const char *text, const char *begin, const char *end, const char **ret_end)
{
    const char *from = strstr(text, begin);
    assert_non_null(from);
    from += strlen(begin);
    *ret_end = strstr(from, end);
    assert_non_null(*ret_end);
    return from;
}

/* report.pending finds each reason that the core has, and no other. (The last one has its sentence
 * in the ELSE.) */
static void test_core_words_of_reasons_agree_with_the_view(void **state)
{
    (void)state;
    const char *view = file_read("sql/reports/pending.sql");
    const char *own_end, *lane_end, *why_end;
    const char *lane = part(view, "w.roomy, w.slots,\n    CASE\n", "END AS reason", &lane_end);
    const char *own = part(view, "CROSS JOIN LATERAL (SELECT CASE\n", "END AS reason", &own_end);
    const char *why = part(view, "CASE r.reason\n    WHEN 'cancelling'", "END AS why", &why_end);
    for (int r = CORE_REASON_NONE + 1; r < CORE_REASON_COUNT; r++) {
        const char *code = core_reason_code((enum core_reason)r);
        bool is_found = has_quoted(lane, lane_end, "THEN ", code) ||
                        has_quoted(lane, lane_end, "ELSE ", code) ||
                        has_quoted(own, own_end, "THEN ", code) ||
                        has_quoted(own, own_end, "ELSE ", code);
        bool has_sentence = r == CORE_REASON_SCHEDULER ||
                            has_quoted(why - strlen("WHEN 'cancelling'"), why_end, "WHEN ", code);
        if (!is_found || !has_sentence) {
            fail_msg("report.pending does not %s \"%s\"", is_found ? "explain" : "find", code);
        }
    }
    assert_true(check_quoted(lane, lane_end, '\'', is_reason) > 8);
    assert_true(check_quoted(own, own_end, '\'', is_reason) > 6);
}

/* The README lists them for who reads JSON and metrics. */
static void test_core_words_of_reasons_agree_with_the_readme(void **state)
{
    (void)state;
    const char *end;
    const char *list = part(file_read("README.md"), "jobs took:\n`", "`", &end);
    int found = 0;
    for (const char *at = list; at < end;) {
        size_t length = 0;
        while (is_word(at[length])) {
            length++;
        }
        if (length > 0 && !is_reason(span_make(at, length))) {
            fail_msg("the README has a reason \"%.*s\"", (int)length, at);
        }
        found += length > 0;
        at += length > 0 ? length : 1;
    }
    assert_int_equal(found, CORE_REASON_COUNT - 1);
}

/* The record's tables take each state and each outcome, and no others. */
static void test_core_words_of_states_agree_with_the_tables(void **state)
{
    (void)state;
    const char *tables = file_read("sql/migrations/0001_tables.sql");
    const char *job_end, *attempt_end;
    const char *job = part(tables, "CREATE TABLE meridian.job (", "CREATE ", &job_end);
    const char *attempt = part(tables, "CREATE TABLE meridian.attempt (", "CREATE ", &attempt_end);
    job = part(job, "CHECK (state IN (", ")", &job_end);
    attempt = part(attempt, "CHECK (state IN (", ")", &attempt_end);
    assert_int_equal(check_quoted(job, job_end, '\'', is_state), CORE_STATE_COUNT - 1);
    assert_int_equal(check_quoted(attempt, attempt_end, '\'', is_outcome_or_open),
                     CORE_OUTCOME_COUNT - 1 + 2);
}

/* No move that the record allows surprises the core, and each that the core decides is allowed. */
static void test_core_words_of_moves_agree_with_the_guard(void **state)
{
    (void)state;
    const char *end;
    const char *moves = part(file_read("sql/functions/guard.sql"), "SELECT ARRAY[", "]", &end);
    bool allowed[CORE_STATE_COUNT][CORE_STATE_COUNT] = {{false}};
    for (const char *at = moves; (at = memchr(at, '\'', (size_t)(end - at))) != NULL;) {
        const char *arrow = strchr(at, '>');
        const char *close = strchr(arrow, '\'');
        enum core_state from = core_state_parse(span_make(at + 1, (size_t)(arrow - at - 1)));
        enum core_state to = core_state_parse(span_make(arrow + 1, (size_t)(close - arrow - 1)));
        assert_true(from != CORE_STATE_UNKNOWN && to != CORE_STATE_UNKNOWN);
        assert_true(core_state_may_follow(from, to));
        allowed[from][to] = true;
        at = close + 1;
    }
    for (int from = CORE_STATE_WAITING; from < CORE_STATE_COUNT; from++) {
        for (int to = CORE_STATE_WAITING; to < CORE_STATE_COUNT; to++) {
            bool decides = core_state_may_decide((enum core_state)from, (enum core_state)to);
            assert_true(!decides || allowed[from][to] || from == to);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_words_of_reasons_agree_with_the_view),
        cmocka_unit_test(test_core_words_of_reasons_agree_with_the_readme),
        cmocka_unit_test(test_core_words_of_states_agree_with_the_tables),
        cmocka_unit_test(test_core_words_of_moves_agree_with_the_guard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
