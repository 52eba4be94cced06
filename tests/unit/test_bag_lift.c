/* How much features tell about labels. */
#include "worker/model/bag/lift.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static float weight(float a, float b, float c)
{
    static const float rarity[] = {2, 4, 4}; /* half of the texts, and a quarter twice */
    const float counts[] = {a, b, c};
    return bag__lift_weight(counts, rarity, 3, (uint32_t)(a + b + c));
}

/* The weight is one tenth and the log of how much likelier two texts share a label; a
 * feature spread as the labels are has the least. */
static void test_bag_lift_is_that_of_pairs(void **state)
{
    (void)state;
    /* six pairs of which all are of a label of rarity 2, and the prior: 13.5 / 7 */
    assert_true(fabsf(weight(4, 0, 0) - (0.1f + logf(13.5f / 7))) < 1e-6f);
    assert_true(fabsf(weight(0, 4, 0) - (0.1f + logf(25.5f / 7))) < 1e-6f);
    assert_true(fabsf(weight(400, 200, 200) - 0.1f) < 1e-6f);
    assert_true(fabsf(weight(1, 0, 0) - (0.1f + logf(1.5f))) < 1e-6f);
}

/* A text is no witness for its own words: one text says the same of any label, and what is only in
 * texts of different labels tells less than what was seen once. */
static void test_bag_lift_needs_two_texts(void **state)
{
    (void)state;
    assert_true(weight(1, 0, 0) == weight(0, 1, 0));
    assert_true(weight(1, 1, 0) < weight(1, 0, 0));
    assert_true(weight(2, 0, 0) > weight(1, 0, 0));
    assert_true(weight(0, 3, 0) > weight(0, 2, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bag_lift_is_that_of_pairs),
        cmocka_unit_test(test_bag_lift_needs_two_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
