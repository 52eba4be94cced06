/* The order of waiting jobs and of markets: ageing and decayed use. */
#include "scheduler/core/order.h"
#include "scheduler/core/share.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { HOUR = 3600000 };
#define NOW_MS 1764000000000 /* some day in 2025 */

/* A point of priority is worth an hour of waiting, and not a millisecond more. */
static void test_core_order_trades_priority_for_waiting(void **state)
{
    (void)state;
    int64_t late = order_key(5, NOW_MS, HOUR);
    assert_true(order_key(0, NOW_MS - 5 * HOUR - 1, HOUR) < late);
    assert_true(order_key(0, NOW_MS - 5 * HOUR + 1, HOUR) > late);
    assert_true(order_key(4, NOW_MS, HOUR) > late);
}

/* Waiting never lifts a job over one of a higher hundred, however long it waits. */
static void test_core_order_never_leaves_its_band(void **state)
{
    (void)state;
    const int64_t year = (int64_t)365 * 24 * HOUR;
    assert_true(order_key(49, NOW_MS - 50 * year, HOUR) > order_key(50, NOW_MS, HOUR));
    assert_true(order_key(-51, NOW_MS - 50 * year, HOUR) > order_key(-50, NOW_MS, HOUR));
    assert_true(order_key(-50, NOW_MS - year, HOUR) < order_key(49, NOW_MS, HOUR));
    assert_true(order_key(-1000, NOW_MS - 50 * year, HOUR) > order_key(1000, NOW_MS, HOUR));
}

/* Without ageing priority is all, then time. */
static void test_core_order_without_ageing_goes_by_priority(void **state)
{
    (void)state;
    assert_true(order_key(1, NOW_MS, 0) < order_key(0, 1, 0));
    assert_true(order_key(-1000, 1, 0) > order_key(1000, NOW_MS, 0));
    assert_true(order_key(3, NOW_MS, 0) < order_key(3, NOW_MS + 1, 0));
    assert_int_equal(order_level(order_key(3, 1, 0), 0), -3);
    assert_int_equal(order_level(order_key(3, NOW_MS, 0), 0), -3);
}

/* Levels rise with keys; what came within one age of each other at one priority is about equal. */
static void test_core_order_levels_follow_keys(void **state)
{
    (void)state;
    int64_t last = order_level(order_key(1000, NOW_MS, HOUR), HOUR);
    for (int priority = 999; priority >= -1000; priority--) {
        int64_t level = order_level(order_key(priority, NOW_MS, HOUR), HOUR);
        assert_true(level > last);
        last = level;
    }
    int64_t start = NOW_MS - NOW_MS % HOUR;
    assert_int_equal(order_level(order_key(7, start, HOUR), HOUR),
                     order_level(order_key(7, start + HOUR - 1, HOUR), HOUR));
}

static void assert_near(double value, double expected)
{
    assert_true(value > expected * 0.999 && value < expected * 1.001);
}

/* Use halves in every half-life. */
static void test_core_share_forgets_half_in_a_half_life(void **state)
{
    (void)state;
    struct share_clock clock = {.reference_ms = 0, .half_life_ms = HOUR};
    double used = share_of(&clock, 20, 10000);
    assert_near(share_now(&clock, used, 10000), 20);
    assert_near(share_now(&clock, used, 10000 + HOUR), 10);
    used += share_of(&clock, 10, 10000 + HOUR);
    assert_near(share_now(&clock, used, 10000 + 3 * HOUR), 5);
}

/* Which of two idle markets has used more does not change with time, nor by moving the clock. */
static void test_core_share_keeps_order_while_idle(void **state)
{
    (void)state;
    struct share_clock clock = {.reference_ms = 0, .half_life_ms = 60000};
    double a = share_of(&clock, 1, 1000);
    double b = share_of(&clock, 1.001, 1000);
    double factor = 0;
    for (int64_t now = 1001; now < (int64_t)500 * 60000; now += 60000) {
        if (share_clock_moves(&clock, now, &factor)) {
            a *= factor;
            b *= factor;
        }
        assert_true(a < b && a > 0);
        double late = share_of(&clock, 2, now);
        assert_true(late > b && late < 1e300);
    }
    assert_true(factor > 0); /* it has moved */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_order_trades_priority_for_waiting),
        cmocka_unit_test(test_core_order_never_leaves_its_band),
        cmocka_unit_test(test_core_order_without_ageing_goes_by_priority),
        cmocka_unit_test(test_core_order_levels_follow_keys),
        cmocka_unit_test(test_core_share_forgets_half_in_a_half_life),
        cmocka_unit_test(test_core_share_keeps_order_while_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
