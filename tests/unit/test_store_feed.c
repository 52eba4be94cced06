/* Following the event table: nothing that was committed late is missed. */
#include "scheduler/store/store_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* An id that was skipped is asked for until it comes. */
static void test_store_feed_remembers_what_was_not_there(void **state)
{
    (void)state;
    static struct store_feed f;
    f = (struct store_feed){.after = 10};
    store__feed_saw(&f, 11, 11, 0);
    store__feed_saw(&f, 14, 14, 0);
    assert_int_equal(f.after, 14);
    assert_int_equal(f.gap_count, 2);
    assert_int_equal(f.gaps[0].id, 12);
    store__feed_saw(&f, 13, 13, 0); /* committed after its successor */
    assert_int_equal(f.gap_count, 1);
    assert_int_equal(f.gaps[0].id, 12);
    assert_int_equal(f.after, 14);
}

/* The scheduler's own come as ranges. */
static void test_store_feed_takes_ranges(void **state)
{
    (void)state;
    static struct store_feed f;
    f = (struct store_feed){.after = 10};
    store__feed_saw(&f, 13, 400, 0);
    store__feed_saw(&f, 402, 402, 0);
    assert_int_equal(f.after, 402);
    assert_int_equal(f.gap_count, 3);
    store__feed_saw(&f, 11, 12, 0);
    assert_int_equal(f.gap_count, 1);
    assert_int_equal(f.gaps[0].id, 401);
    assert_int_equal(f.after, 402);
}

/* What was rolled back is given up after a minute. */
static void test_store_feed_forgets_what_never_came(void **state)
{
    (void)state;
    static struct store_feed f;
    f = (struct store_feed){0};
    store__feed_saw(&f, 3, 3, 1000);
    store__feed_expire(&f, 50000);
    assert_int_equal(f.gap_count, 2);
    store__feed_expire(&f, 61001);
    assert_int_equal(f.gap_count, 0);
}

/* A jump of the sequence does not make it ask for millions of ids. */
static void test_store_feed_stays_bounded(void **state)
{
    (void)state;
    static struct store_feed f;
    f = (struct store_feed){0};
    store__feed_saw(&f, 1000000000, 1000000000, 0);
    assert_true(f.gap_count <= STORE_GAPS_MAX);
    store__feed_saw(&f, 1000001000, 1000001000, 0);
    assert_true(f.gap_count <= STORE_GAPS_MAX);
    assert_int_equal(f.after, 1000001000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_feed_remembers_what_was_not_there),
        cmocka_unit_test(test_store_feed_takes_ranges),
        cmocka_unit_test(test_store_feed_forgets_what_never_came),
        cmocka_unit_test(test_store_feed_stays_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
