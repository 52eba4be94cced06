/* Short jobs go to a worker together, and take one slot until all of them are over. */
#include "tests/unit/core_bench.h"

enum { LEARNT = 16, ROWS = 40 };

static struct core_record rows[ROWS];

static void report(uint64_t n, int64_t run_ms)
{
    struct core_result result = {.job = bench_id(n),
                                 .attempt = 1,
                                 .worker = span_of("w"),
                                 .outcome = CORE_OUTCOME_SUCCEEDED,
                                 .run_ms = run_ms};
    core_report(bench.core, &result, 1);
    (void)bench_answer(BENCH_FINISH, NULL, 0);
}

/* A worker of one slot; `learnt` jobs of de-DE have taken run_ms each; then jobs of the markets
 * wait, numbered from 101, those of de-DE in front. */
static void start(int learnt, int64_t run_ms, const char *const *markets, size_t count)
{
    assert_true((size_t)learnt + count <= ROWS);
    for (int i = 0; i < learnt; i++) {
        rows[i] = bench_row((uint64_t)i + 1, CORE_STATE_RUNNING, "de-DE");
        rows[i].worker = span_of("w");
        rows[i].attempt = 1;
    }
    for (size_t i = 0; i < count; i++) {
        rows[(size_t)learnt + i] = bench_row(101 + i, CORE_STATE_QUEUED, markets[i]);
        rows[(size_t)learnt + i].priority = strcmp(markets[i], "de-DE") == 0;
    }
    bench_start(rows, (size_t)learnt + count, 1);
    for (int i = 0; i < learnt; i++) {
        assert_int_equal(bench_count(BENCH_DISPATCH), 0);
        report((uint64_t)i + 1, run_ms);
    }
}

/* The record agrees to the first `count` of what waits: they run. */
static void agree(size_t count)
{
    struct core_record running[BENCH_JOBS];
    for (size_t i = 0; i < count; i++) {
        running[i] = bench_row(101 + i, CORE_STATE_RUNNING, "de-DE");
        running[i].worker = span_of("w");
        running[i].attempt = 1;
    }
    (void)bench_answer(BENCH_DISPATCH, running, count);
}

static void test_core_bundle_takes_one_slot_until_all_are_over(void **state)
{
    (void)state;
    static const char *const markets[] = {"de-DE", "de-DE", "de-DE", "fr-FR"};
    start(LEARNT, 1, markets, 4);
    assert_int_equal(bench_count(BENCH_DISPATCH), 1);
    assert_int_equal(bench.open[0].count, 3); /* nobody knows what the fourth takes */
    agree(3);
    report(102, 1);
    report(101, 1);
    assert_int_equal(bench_count(BENCH_DISPATCH), 0);
    report(103, 1);
    assert_int_equal(bench_count(BENCH_DISPATCH), 1);
    assert_int_equal(bench.open[0].count, 1);
    assert_int_equal(bench.open[0].jobs[0].low, 104);
    bench_stop();
}

static void test_core_bundle_is_of_jobs_that_are_known_to_be_short(void **state)
{
    (void)state;
    static const char *const markets[] = {"de-DE", "de-DE", "de-DE"};
    start(LEARNT - 1, 1, markets, 3); /* too few to count on it */
    assert_int_equal(bench.open[0].count, 1);
    bench_stop();
    start(LEARNT, 6, markets, 3);
    assert_int_equal(bench.open[0].count, 1);
    bench_stop();
}

/* So that whoever comes next does not wait for long. */
static void test_core_bundle_is_bounded_by_what_it_takes_in_all(void **state)
{
    (void)state;
    static const char *const markets[] = {"de-DE", "de-DE", "de-DE", "de-DE", "de-DE", "de-DE",
                                          "de-DE", "de-DE", "de-DE", "de-DE", "de-DE", "de-DE"};
    start(LEARNT, 5, markets, 12);
    assert_int_equal(bench_count(BENCH_DISPATCH), 1);
    assert_int_equal(bench.open[0].count, 10); /* 50 ms */
    bench_stop();
}

/* One that comes back from a bundle has the slot alone, or with others, as any. */
static void test_core_bundle_lets_go_of_what_is_returned(void **state)
{
    (void)state;
    static const char *const markets[] = {"de-DE", "de-DE"};
    start(LEARNT, 1, markets, 2);
    agree(2);
    struct core_result back = {.job = bench_id(102),
                               .attempt = 1,
                               .worker = span_of("w"),
                               .outcome = CORE_OUTCOME_RETURNED,
                               .run_ms = -1};
    core_report(bench.core, &back, 1);
    struct core_record row = bench_row(102, CORE_STATE_QUEUED, "de-DE");
    row.attempt = 1;
    (void)bench_answer(BENCH_END, &row, 1);
    assert_int_equal(bench_count(BENCH_DISPATCH), 0);
    report(101, 1);
    assert_int_equal(bench_count(BENCH_DISPATCH), 1);
    assert_int_equal(bench.open[0].jobs[0].low, 102);
    bench_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_bundle_takes_one_slot_until_all_are_over),
        cmocka_unit_test(test_core_bundle_is_of_jobs_that_are_known_to_be_short),
        cmocka_unit_test(test_core_bundle_is_bounded_by_what_it_takes_in_all),
        cmocka_unit_test(test_core_bundle_lets_go_of_what_is_returned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
