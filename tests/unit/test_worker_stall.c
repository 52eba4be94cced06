/* Whether a job still makes steps, and its last lines. */
#include "worker/supervisor/stall.h"
#include "worker/supervisor/tail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct message_progress at(const char *phase, int64_t step, int64_t steps)
{
    struct message_progress p = {.step = step, .steps = steps};
    (void)snprintf(p.phase, sizeof p.phase, "%s", phase);
    return p;
}

static void saw(struct stall *s, const char *phase, int64_t step, int64_t steps, int64_t now)
{
    struct message_progress p = at(phase, step, steps);
    (void)stall_quiet_ms(s, now); /* as the tick does */
    stall_saw(s, &p, now);
}

/* Looks every 200 ms, as the supervisor does. */
static int64_t quiet_at(struct stall *s, int64_t from, int64_t to)
{
    int64_t quiet = 0;
    for (int64_t now = from; now <= to; now += 200) {
        quiet = stall_quiet_ms(s, now);
    }
    return quiet;
}

/* Quick steps: a minute without one is too long; reports that repeat are no steps. */
static void test_stall_quick_steps_have_a_minute(void **state)
{
    (void)state;
    struct stall s;
    stall_begin(&s, 0);
    for (int64_t i = 0; i < 10; i++) {
        saw(&s, "train", i, 100, i * 200);
    }
    assert_int_equal(stall_limit_ms(&s, STALL_AUTOMATIC), 60000);
    (void)quiet_at(&s, 1800, 30000);
    saw(&s, "train", 9, 100, 30000);
    assert_true(quiet_at(&s, 30000, 61800) >= stall_limit_ms(&s, STALL_AUTOMATIC));
}

/* Slow steps: ten times the slowest of this phase; the next phase starts anew. */
static void test_stall_slow_steps_have_ten_times_their_own(void **state)
{
    (void)state;
    struct stall s;
    stall_begin(&s, 0);
    saw(&s, "train", 0, 10, 0);
    (void)quiet_at(&s, 0, 30000);
    saw(&s, "train", 1, 10, 30000);
    (void)quiet_at(&s, 30000, 31000);
    saw(&s, "train", 2, 10, 31000);
    assert_int_equal(stall_limit_ms(&s, STALL_AUTOMATIC), 300000);
    saw(&s, "store", 0, 0, 31000);
    assert_int_equal(s.slowest_ms, 0);
}

/* Without a known rate (no step yet, none announced, all done) there is half an hour. */
static void test_stall_unknown_rate_has_half_an_hour(void **state)
{
    (void)state;
    struct stall s;
    stall_begin(&s, 0);
    assert_int_equal(stall_limit_ms(&s, STALL_AUTOMATIC), STALL_UNKNOWN_MS);
    saw(&s, "read", 0, 100, 200);
    assert_int_equal(stall_limit_ms(&s, STALL_AUTOMATIC), STALL_UNKNOWN_MS);
    saw(&s, "read", 50, 100, 400);
    assert_int_equal(stall_limit_ms(&s, STALL_AUTOMATIC), STALL_LEAST_MS);
    saw(&s, "read", 100, 100, 600);
    assert_int_equal(stall_limit_ms(&s, STALL_AUTOMATIC), STALL_UNKNOWN_MS);
}

/* The spec's limit replaces the rule; 0 switches it off. */
static void test_stall_spec_decides(void **state)
{
    (void)state;
    struct stall s;
    stall_begin(&s, 0);
    assert_int_equal(stall_limit_ms(&s, 2), 2000);
    assert_true(stall_limit_ms(&s, 0) == INT64_MAX);
}

/* A supervisor that was stopped itself does not hold that time against the job. */
static void test_stall_own_pauses_do_not_count(void **state)
{
    (void)state;
    struct stall s;
    stall_begin(&s, 0);
    saw(&s, "train", 1, 10, 200);
    assert_true(quiet_at(&s, 200, 1200) == 1000);
    assert_true(stall_quiet_ms(&s, 501200) <= 1000);
    assert_true(quiet_at(&s, 501200, 502200) >= 1000);
}

/* What is said of a wedged job names phase, step and rate. */
static void test_stall_is_told_with_its_numbers(void **state)
{
    (void)state;
    struct stall s;
    char text[160];
    stall_begin(&s, 0);
    saw(&s, "train", 1, 100, 0);
    (void)quiet_at(&s, 0, 300);
    saw(&s, "train", 12, 100, 300);
    stall_format(&s, 61000, text, sizeof text);
    assert_string_equal(text, "made no step for 61 s in phase train, at step 12 of 100 (its "
                              "slowest took 0.3 s)");
}

/* The tail keeps the newest twenty lines, whole, and no control characters. */
static void test_tail_keeps_the_last_lines(void **state)
{
    (void)state;
    static struct tail t;
    tail_reset(&t);
    assert_null(tail_text(&t).data);
    for (int i = 0; i < 25; i++) {
        char line[32];
        (void)snprintf(line, sizeof line, "line %d\x1b!", i);
        tail_add(&t, span_of(line));
    }
    struct span all = tail_text(&t);
    assert_int_equal(memcmp(all.data, "line 5 !\nline 6 !\n", 18), 0);
    assert_int_equal(memcmp(all.data + all.length - 9, "line 24 !", 9), 0);
}

/* What a renewal takes along: as many of the newest lines as fit. */
static void test_tail_gives_the_newest_whole_lines(void **state)
{
    (void)state;
    struct tail t;
    tail_reset(&t);
    assert_null(tail_last(&t, 8).data);
    tail_add(&t, span_of("first"));
    tail_add(&t, span_of("second"));
    tail_add(&t, span_of("third"));
    assert_int_equal(t.added, 3);
    assert_true(span_is(tail_last(&t, 100), "first\nsecond\nthird"));
    assert_true(span_is(tail_last(&t, 13), "second\nthird"));
    assert_true(span_is(tail_last(&t, 12), "second\nthird"));
    assert_true(span_is(tail_last(&t, 11), "third"));
    tail_add(&t, span_of("caf\xc3\xa9")); /* a long line is cut, and no character of it */
    assert_true(span_is(tail_last(&t, 2), "\xc3\xa9"));
    assert_int_equal(tail_last(&t, 1).length, 0);
}

/* However long the lines, the tail is bounded and cuts between characters. */
static void test_tail_is_bounded(void **state)
{
    (void)state;
    static struct tail t;
    static char line[4097];
    tail_reset(&t);
    for (size_t i = 0; i + 1 < sizeof line; i += 2) {
        memcpy(line + i, "\xc3\xa4", 2);
    }
    line[0] = 'x'; /* so that the cut would fall into a character */
    line[1] = 'y';
    line[2] = 'z';
    memmove(line + 3, line + 4, sizeof line - 5);
    for (int i = 0; i < 100; i++) {
        tail_add(&t, span_make(line, 4095));
        struct span all = tail_text(&t);
        assert_true(all.length <= TAIL_BYTES_MAX);
        assert_int_not_equal((unsigned char)all.data[all.length - 1], 0xc3);
    }
    assert_true(tail_text(&t).length > 19 * (TAIL_LINE_MAX - 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stall_quick_steps_have_a_minute),
        cmocka_unit_test(test_stall_slow_steps_have_ten_times_their_own),
        cmocka_unit_test(test_stall_unknown_rate_has_half_an_hour),
        cmocka_unit_test(test_stall_spec_decides),
        cmocka_unit_test(test_stall_own_pauses_do_not_count),
        cmocka_unit_test(test_stall_is_told_with_its_numbers),
        cmocka_unit_test(test_tail_keeps_the_last_lines),
        cmocka_unit_test(test_tail_gives_the_newest_whole_lines),
        cmocka_unit_test(test_tail_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
