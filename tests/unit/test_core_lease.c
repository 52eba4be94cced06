/* The end of attempts: reports, expiry, and what comes too late. */
#include "tests/unit/core_bench.h"

static struct core_record running(uint64_t n, int attempt)
{
    struct core_record row = bench_row(n, CORE_STATE_RUNNING, "de-DE");
    row.worker = span_of("w");
    row.attempt = attempt;
    return row;
}

static void report(uint64_t n, int attempt, enum core_outcome outcome, const char *code)
{
    core_report(bench.core,
                &(struct core_result){.job = bench_id(n),
                                      .attempt = attempt,
                                      .worker = span_of("w"),
                                      .outcome = outcome,
                                      .error_code = span_of(code)},
                1);
}

static void sweep(uint64_t n, int attempt, enum core_expiry expiry)
{
    struct core_worker_row worker;
    struct core_world world = bench_world_of(&worker, 1);
    bench.now_ms += 10000;
    (void)core_tick(bench.core);
    while (bench.open[0].call != BENCH_SWEEP) {
        if (bench.open[0].call == BENCH_WORLD) {
            bench_answer_world(&world);
        } else {
            (void)bench_answer(bench.open[0].call, NULL, 0);
        }
    }
    struct core_expired row = {.job = bench_id(n), .attempt = attempt, .expiry = expiry};
    struct bench_open o = bench_take(BENCH_SWEEP);
    core_answer(bench.core,
                &(struct core_answer){.token = o.token, .expired = &row, .expired_count = 1});
    core_check(bench.core);
    bench_settle(&world);
}

/* A success is committed, the slot is free at once, and the next job goes. */
static void test_core_report_of_success_frees_the_slot_for_the_next(void **state)
{
    (void)state;
    struct core_record rows[2] = {running(1, 1), bench_row(2, CORE_STATE_QUEUED, "de-DE")};
    bench_start(rows, 2, 1);
    assert_int_equal(bench_count(BENCH_DISPATCH), 0);
    report(1, 1, CORE_OUTCOME_SUCCEEDED, "");
    rows[0].state = CORE_STATE_SUCCEEDED;
    (void)bench_answer(BENCH_FINISH, rows, 1);
    assert_int_equal(bench_count(BENCH_DISPATCH), 1);
    bench_stop();
}

/* The same report again, while the first is under way or after it, changes nothing. */
static void test_core_report_that_comes_twice_counts_once(void **state)
{
    (void)state;
    struct core_record row = running(1, 1);
    bench_start(&row, 1, 1);
    report(1, 1, CORE_OUTCOME_SUCCEEDED, "");
    report(1, 1, CORE_OUTCOME_SUCCEEDED, "");
    assert_int_equal(bench_count(BENCH_FINISH), 1);
    row.state = CORE_STATE_SUCCEEDED;
    (void)bench_answer(BENCH_FINISH, &row, 1);
    report(1, 1, CORE_OUTCOME_SUCCEEDED, "");
    assert_int_equal(bench.open_count, 1);
    assert_int_equal(bench_count(BENCH_LATE), 1); /* the record knows it for a repetition */
    bench_stop();
}

/* A report of an older attempt, or of a job that has ended, changes nothing; the record takes note.
 */
static void test_core_report_of_an_older_attempt_is_only_noted(void **state)
{
    (void)state;
    struct core_record row = running(1, 2);
    bench_start(&row, 1, 1);
    report(1, 1, CORE_OUTCOME_SUCCEEDED, "");
    report(1, 3, CORE_OUTCOME_FAILED, "IO");
    report(99, 1, CORE_OUTCOME_SUCCEEDED, "");
    assert_int_equal(bench.open_count, 3);
    assert_int_equal(bench_count(BENCH_LATE), 3);
    bench_stop();
}

/* A worker that repeats itself cannot fill the line to the record. */
static void test_core_report_notes_few_late_ones_at_a_time(void **state)
{
    (void)state;
    struct core_record row = running(1, 2);
    bench_start(&row, 1, 1);
    for (int i = 0; i < 1000; i++) {
        report(1, 1, CORE_OUTCOME_SUCCEEDED, "");
    }
    assert_int_equal(bench_count(BENCH_LATE), 32);
    (void)bench_answer(BENCH_LATE, NULL, 0);
    report(1, 1, CORE_OUTCOME_SUCCEEDED, "");
    assert_int_equal(bench_count(BENCH_LATE), 32);
    bench_stop();
}

/* A result that the record cannot take ends the attempt as failed, instead of coming for ever. */
static void test_core_report_that_the_record_refuses_fails_the_attempt(void **state)
{
    (void)state;
    struct core_record row = running(1, 1);
    bench_start(&row, 1, 1);
    report(1, 1, CORE_OUTCOME_SUCCEEDED, "");
    struct bench_open o = bench_take(BENCH_FINISH);
    core_answer(bench.core, &(struct core_answer){.token = o.token,
                                                  .status = ERR_DATABASE,
                                                  .error_text = "version is missing"});
    o = bench_take(BENCH_END);
    assert_int_equal(o.end.outcome, CORE_OUTCOME_FAILED);
    assert_int_equal(o.end.error_code, ERR_DATABASE);
    bench_stop();
}

/* A lease that ran out ends the attempt as lost, charged to the crashes. */
static void test_core_sweep_ends_a_lost_attempt(void **state)
{
    (void)state;
    struct core_record row = running(1, 1);
    bench_start(&row, 1, 1);
    sweep(1, 1, CORE_EXPIRY_LOST);
    struct bench_open o = bench_take(BENCH_END);
    assert_int_equal(o.end.outcome, CORE_OUTCOME_LOST);
    assert_int_equal(o.end.charge_crash, 1);
    assert_false(o.end.is_final);
    bench_stop();
}

/* While a result is on its way to the record, a sweep that was asked before it does not interfere.
 */
static void test_core_sweep_leaves_alone_what_is_being_recorded(void **state)
{
    (void)state;
    struct core_record row = running(1, 1);
    bench_start(&row, 1, 1);
    struct core_worker_row worker;
    struct core_world world = bench_world_of(&worker, 1);
    bench.now_ms += 10000;
    (void)core_tick(bench.core);
    report(1, 1, CORE_OUTCOME_SUCCEEDED, ""); /* after the sweep was sent */
    while (bench.open[0].call != BENCH_SWEEP) {
        if (bench.open[0].call == BENCH_WORLD) {
            bench_answer_world(&world);
        } else {
            (void)bench_answer(bench.open[0].call, NULL, 0);
        }
    }
    struct core_expired late = {.job = bench_id(1), .attempt = 1, .expiry = CORE_EXPIRY_LOST};
    struct bench_open o = bench_take(BENCH_SWEEP);
    core_answer(bench.core,
                &(struct core_answer){.token = o.token, .expired = &late, .expired_count = 1});
    assert_int_equal(bench_count(BENCH_END), 0);
    assert_int_equal(bench_count(BENCH_FINISH), 1);
    bench_stop();
}

/* An offer that nobody took goes back uncharged. */
static void test_core_sweep_takes_back_an_offer(void **state)
{
    (void)state;
    struct core_record row = bench_row(1, CORE_STATE_DISPATCHED, "de-DE");
    row.attempt = 1;
    bench_start(&row, 1, 1);
    sweep(1, 1, CORE_EXPIRY_UNDELIVERED);
    struct bench_open o = bench_take(BENCH_END);
    assert_int_equal(o.end.outcome, CORE_OUTCOME_UNDELIVERED);
    assert_int_equal(o.end.charge_crash + o.end.charge_failure, 0);
    assert_int_equal(o.end.error_code, 0);
    bench_stop();
}

static void report_both(const char *result)
{
    const struct core_result results[2] = {{.job = bench_id(1),
                                            .attempt = 1,
                                            .worker = span_of("w"),
                                            .outcome = CORE_OUTCOME_SUCCEEDED,
                                            .result = span_of(result)},
                                           {.job = bench_id(2),
                                            .attempt = 1,
                                            .worker = span_of("w"),
                                            .outcome = CORE_OUTCOME_SUCCEEDED}};
    core_report(bench.core, results, 2);
}

/* Results that come together are recorded together; what the answer does not name has succeeded,
 * what it names is as it says. */
static void test_core_report_of_many_is_one_call(void **state)
{
    (void)state;
    struct core_record rows[2] = {running(1, 1), running(2, 1)};
    bench_start(rows, 2, 2);
    report_both("{}");
    assert_int_equal(bench_count(BENCH_FINISH), 1);
    struct bench_open o = bench_answer(BENCH_FINISH, &rows[1], 1); /* the second runs still */
    assert_int_equal(o.count, 2);
    assert_int_equal(core_count(bench.core).running, 1);
    report(2, 1, CORE_OUTCOME_SUCCEEDED, ""); /* and may be reported again */
    (void)bench_answer(BENCH_FINISH, NULL, 0);
    assert_int_equal(core_count(bench.core).running, 0);
    bench_stop();
}

/* When the record refuses them together, nothing has ended, and each is then sent alone, so that
 * only the one that cannot be recorded fails. */
static void test_core_report_of_many_that_is_refused_goes_one_by_one(void **state)
{
    (void)state;
    struct core_record rows[2] = {running(1, 1), running(2, 1)};
    bench_start(rows, 2, 2);
    report_both("{broken");
    struct bench_open o = bench_take(BENCH_FINISH);
    core_answer(bench.core, &(struct core_answer){.token = o.token, .status = ERR_DATABASE});
    assert_int_equal(bench.open_count, 0);
    assert_int_equal(core_count(bench.core).running, 2);
    report_both("{broken");
    assert_int_equal(bench_count(BENCH_FINISH), 2);
    o = bench_take(BENCH_FINISH);
    assert_int_equal(o.count, 1);
    core_answer(bench.core, &(struct core_answer){.token = o.token, .status = ERR_DATABASE});
    (void)bench_answer(BENCH_FINISH, NULL, 0);
    o = bench_take(BENCH_END);
    assert_int_equal(o.jobs[0].low, 1);
    assert_int_equal(o.end.outcome, CORE_OUTCOME_FAILED);
    bench_stop();
}

/* What a worker of an older release cannot read goes to another one with the answer that took it
 * back, although the first is the freer; when workers are listed again that one is given work. */
static void test_core_report_of_what_cannot_be_read_goes_to_another_worker(void **state)
{
    (void)state;
    struct core_record rows[2] = {running(1, 1), bench_row(2, CORE_STATE_QUEUED, "de-DE")};
    struct core_worker_row workers[2] = {bench_worker_of("w", "one", 8),
                                         bench_worker_of("x", "two", 1)};
    struct core_world world = bench_world_of(workers, 8);
    workers[1] = bench_worker_of("x", "two", 1);
    bench_start(rows, 1, 1);
    world.worker_count = 2;
    bench.now_ms += 1000;
    (void)core_tick(bench.core);
    bench_settle(&world);
    report(1, 1, CORE_OUTCOME_RETURNED, "UNSUPPORTED");
    bench.now_ms += 1000;
    (void)core_tick(bench.core); /* lists them once more, before the attempt has ended */
    rows[0].state = CORE_STATE_QUEUED;
    while (bench.open[0].call != BENCH_END) {
        bench_settle(&world);
    }
    assert_int_equal(bench.open[0].end.charge_crash + bench.open[0].end.charge_failure, 0);
    assert_int_equal(bench.open[0].end.delay_ms, 0);
    (void)bench_answer(BENCH_END, rows, 1);
    while (bench.open[0].call != BENCH_DISPATCH) {
        struct bench_open o = bench_take(bench.open[0].call);
        core_answer(bench.core,
                    &(struct core_answer){.token = o.token,
                                          .world = o.call == BENCH_WORLD ? &world : NULL});
    }
    assert_int_equal(bench.open[0].count, 1);
    assert_true(span_is(bench.open[0].dispatches[0].worker, "x"));
    rows[0].state = CORE_STATE_DISPATCHED;
    rows[0].attempt = 2;
    rows[0].worker = span_of("x");
    (void)bench_answer(BENCH_DISPATCH, rows, 1);
    bench.now_ms += 1000;
    (void)core_tick(bench.core);
    while (bench_count(BENCH_CHANGES) == 0) {
        bench_settle(&world);
    }
    while (bench.open[0].call == BENCH_WORLD) {
        bench_answer_world(&world);
    }
    (void)bench_answer(BENCH_CHANGES, &rows[1], 1);
    bench_settle(&world);
    assert_int_equal(bench_count(BENCH_DISPATCH), 1);
    assert_true(span_is(bench.open[0].dispatches[0].worker, "w"));
    bench_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_report_of_success_frees_the_slot_for_the_next),
        cmocka_unit_test(test_core_report_that_comes_twice_counts_once),
        cmocka_unit_test(test_core_report_of_an_older_attempt_is_only_noted),
        cmocka_unit_test(test_core_report_of_what_cannot_be_read_goes_to_another_worker),
        cmocka_unit_test(test_core_report_notes_few_late_ones_at_a_time),
        cmocka_unit_test(test_core_report_that_the_record_refuses_fails_the_attempt),
        cmocka_unit_test(test_core_report_of_many_is_one_call),
        cmocka_unit_test(test_core_report_of_many_that_is_refused_goes_one_by_one),
        cmocka_unit_test(test_core_sweep_ends_a_lost_attempt),
        cmocka_unit_test(test_core_sweep_leaves_alone_what_is_being_recorded),
        cmocka_unit_test(test_core_sweep_takes_back_an_offer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
