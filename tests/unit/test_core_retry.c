/* What becomes of a job whose attempt did not succeed: classes, budgets, backoff. */
#include "scheduler/core/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct retry_verdict decide(struct retry_case what)
{
    what.max_attempts = what.max_attempts ? what.max_attempts : 3;
    what.attempt = what.attempt ? what.attempt : 1;
    return retry_decide(&what, &core_settings_default, 99);
}

/* An error that may pass is tried again until max_attempts, and charged to that budget alone. */
static void test_core_retry_charges_errors_until_max_attempts(void **state)
{
    (void)state;
    struct retry_verdict v =
        decide((struct retry_case){.outcome = CORE_OUTCOME_FAILED, .error_code = ERR_IO});
    assert_false(v.is_final);
    assert_int_equal(v.charge_failure, 1);
    assert_int_equal(v.charge_crash, 0);
    assert_true(v.delay_ms > 0);
    v = decide((struct retry_case){
        .outcome = CORE_OUTCOME_FAILED, .error_code = ERR_IO, .failures = 2, .attempt = 3});
    assert_true(v.is_final);
}

/* Errors that cannot pass end the job at once, whatever is left of the budget. */
static void test_core_retry_gives_up_on_permanent_and_caller_errors(void **state)
{
    (void)state;
    assert_true(decide((struct retry_case){.outcome = CORE_OUTCOME_FAILED, .error_code = ERR_DATA})
                    .is_final);
    assert_true(
        decide((struct retry_case){.outcome = CORE_OUTCOME_FAILED, .error_code = ERR_INVALID})
            .is_final);
    /* A runner killed at its time limit would be killed again. */
    assert_true(decide((struct retry_case){.outcome = CORE_OUTCOME_CRASHED, .error_code = ERR_TIME})
                    .is_final);
}

/* Crashes have a budget of three, whatever max_attempts says. */
static void test_core_retry_gives_crashes_their_own_budget(void **state)
{
    (void)state;
    struct retry_case what = {.outcome = CORE_OUTCOME_CRASHED,
                              .error_code = ERR_OOM,
                              .failures = 2,
                              .crashes = 1,
                              .attempt = 4,
                              .max_attempts = 3};
    struct retry_verdict v = decide(what);
    assert_false(v.is_final);
    assert_int_equal(v.charge_failure, 0);
    assert_int_equal(v.charge_crash, 1);
    what.crashes = 2;
    assert_true(decide(what).is_final);
    what.max_attempts = 100;
    assert_true(decide(what).is_final);
}

/* Lack of memory: once more, but only with more of it; the second time it is over. */
static void test_core_retry_runs_out_of_memory_once_more(void **state)
{
    (void)state;
    struct retry_case what = {.outcome = CORE_OUTCOME_CRASHED, .error_code = ERR_OOM};
    struct retry_verdict v = decide(what);
    assert_false(v.is_final);
    assert_true(v.wants_memory);
    assert_int_equal(v.charge_oom + v.charge_crash, 2);
    assert_int_equal(v.charge_failure, 0);
    what.ooms = 1;
    v = decide(what);
    assert_true(v.is_final);
    assert_false(v.wants_memory);
    what = (struct retry_case){.outcome = CORE_OUTCOME_FAILED, .error_code = ERR_OOM};
    assert_true(decide(what).wants_memory); /* whichever guard stopped it */
}

/* A runner that made no step and was stopped is a crash. */
static void test_core_retry_charges_what_was_wedged_as_a_crash(void **state)
{
    (void)state;
    struct retry_case what = {.outcome = CORE_OUTCOME_CRASHED, .error_code = ERR_WEDGED};
    struct retry_verdict v = decide(what);
    assert_int_equal(v.charge_crash, 1);
    assert_false(v.is_final);
    assert_true(v.delay_ms > 0);
    what.crashes = 2;
    assert_true(decide(what).is_final);
}

/* Crashes and lack of memory share a budget. */
static void test_core_retry_counts_lack_of_memory_among_crashes(void **state)
{
    (void)state;
    assert_true(decide((struct retry_case){.outcome = CORE_OUTCOME_CRASHED,
                                           .error_code = ERR_CRASH,
                                           .ooms = 1,
                                           .crashes = 1})
                    .is_final);
}

/* A worker that vanished is a crash and costs no further wait the first time; one that was leaving
 * is nobody's fault. */
static void test_core_retry_tells_a_lost_worker_from_a_drained_one(void **state)
{
    (void)state;
    struct retry_verdict lost =
        decide((struct retry_case){.outcome = CORE_OUTCOME_LOST, .error_code = ERR_CRASH});
    assert_int_equal(lost.charge_crash, 1);
    assert_int_equal(lost.delay_ms, 0);
    struct retry_verdict drained = decide((struct retry_case){
        .outcome = CORE_OUTCOME_LOST, .error_code = ERR_CRASH, .was_draining = true});
    assert_int_equal(drained.charge_crash, 0);
    assert_false(drained.is_final);
}

/* What was handed back or never delivered is not charged, however often; but it slows down. */
static void test_core_retry_never_charges_what_is_nobodys_fault(void **state)
{
    (void)state;
    struct retry_verdict first = decide((struct retry_case){.outcome = CORE_OUTCOME_RETURNED});
    struct retry_verdict late =
        decide((struct retry_case){.outcome = CORE_OUTCOME_UNDELIVERED, .attempt = 50});
    struct retry_verdict after_charges =
        decide((struct retry_case){.outcome = CORE_OUTCOME_RETURNED, .attempt = 50, .charged = 49});
    assert_int_equal(after_charges.delay_ms, 0); /* only its own kind slows it down */
    assert_int_equal(first.delay_ms, 0);
    assert_true(late.delay_ms > 1000);
    assert_false(late.is_final);
    assert_int_equal(first.charge_failure + first.charge_crash, 0);
    assert_int_equal(late.charge_failure + late.charge_crash, 0);
}

/* A cancel that was asked for wins over every retry. */
static void test_core_retry_ends_what_is_to_be_cancelled(void **state)
{
    (void)state;
    struct retry_verdict v = decide((struct retry_case){
        .outcome = CORE_OUTCOME_LOST, .error_code = ERR_CRASH, .is_cancel_requested = true});
    assert_true(v.is_cancelled);
    assert_int_equal(v.charge_crash, 0);
}

/* The wait doubles up to its maximum, with jitter between half and all of it. */
static void test_core_retry_backoff_doubles_up_to_its_maximum(void **state)
{
    (void)state;
    const struct core_settings *s = &core_settings_default;
    for (uint64_t random = 0; random < 1000; random++) {
        int64_t first = retry_backoff_ms(1, s, random * 7919);
        int64_t third = retry_backoff_ms(3, s, random * 7919);
        int64_t last = retry_backoff_ms(1000, s, random * 7919);
        assert_in_range(first, s->backoff_min_ms / 2, s->backoff_min_ms);
        assert_in_range(third, s->backoff_min_ms * 2, s->backoff_min_ms * 4);
        assert_in_range(last, s->backoff_max_ms / 2, s->backoff_max_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_retry_charges_errors_until_max_attempts),
        cmocka_unit_test(test_core_retry_gives_up_on_permanent_and_caller_errors),
        cmocka_unit_test(test_core_retry_gives_crashes_their_own_budget),
        cmocka_unit_test(test_core_retry_runs_out_of_memory_once_more),
        cmocka_unit_test(test_core_retry_charges_what_was_wedged_as_a_crash),
        cmocka_unit_test(test_core_retry_counts_lack_of_memory_among_crashes),
        cmocka_unit_test(test_core_retry_tells_a_lost_worker_from_a_drained_one),
        cmocka_unit_test(test_core_retry_never_charges_what_is_nobodys_fault),
        cmocka_unit_test(test_core_retry_ends_what_is_to_be_cancelled),
        cmocka_unit_test(test_core_retry_backoff_doubles_up_to_its_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
