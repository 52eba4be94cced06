/* Which job goes next, and to which worker. */
#include "tests/unit/core_bench.h"

/* The jobs of the dispatch call that is open, as one number a job: 3,1. */
static void assert_dispatched(const uint64_t *expected, size_t count)
{
    assert_int_equal(bench_count(BENCH_DISPATCH), 1);
    const struct bench_open *o = &bench.open[bench.open_count - 1];
    assert_int_equal(o->call, BENCH_DISPATCH);
    assert_int_equal(o->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(o->jobs[i].low, expected[i]);
    }
}

#define ASSERT_DISPATCHED(...)                                                                     \
    assert_dispatched((const uint64_t[]){__VA_ARGS__},                                             \
                      sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

/* Higher priority first, then the oldest; never more than there are free slots. */
static void test_core_dispatch_goes_by_priority_then_age(void **state)
{
    (void)state;
    struct core_record rows[4];
    for (uint64_t i = 0; i < 4; i++) {
        rows[i] = bench_row(i + 1, CORE_STATE_QUEUED, "de-DE");
    }
    rows[2].priority = 5;
    bench_start(rows, 4, 3);
    ASSERT_DISPATCHED(3, 1, 2);
    bench_stop();
}

/* Between equal priorities the market that runs least for its weight goes first. */
static void test_core_dispatch_is_fair_between_markets(void **state)
{
    (void)state;
    struct core_record rows[6];
    for (uint64_t i = 0; i < 6; i++) {
        rows[i] = bench_row(i + 1, CORE_STATE_QUEUED, i < 4 ? "de-DE" : "fr-FR");
    }
    bench_start(rows, 6, 4);
    ASSERT_DISPATCHED(1, 5, 2, 6);
    bench_stop();
}

/* A market of weight 2 gets two for each of a market of weight 1. */
static void test_core_dispatch_weighs_markets(void **state)
{
    (void)state;
    struct core_market_row markets[2] = {bench_markets[0], bench_markets[1]};
    markets[0].weight = 2;
    struct core_record rows[8];
    for (uint64_t i = 0; i < 8; i++) {
        rows[i] = bench_row(i + 1, CORE_STATE_QUEUED, i < 4 ? "de-DE" : "fr-FR");
    }
    bench_start(rows, 8, 0);
    struct core_worker_row worker;
    struct core_world world = bench_world_of(&worker, 6);
    world.markets = markets;
    world.market_count = 2;
    bench.now_ms += 10000;
    (void)core_tick(bench.core);
    bench_settle(&world);
    assert_int_equal(bench.open[0].call, BENCH_DISPATCH);
    int of_de = 0;
    for (size_t i = 0; i < bench.open[0].count; i++) {
        of_de += bench.open[0].jobs[i].low <= 4;
    }
    assert_int_equal(bench.open[0].count, 6);
    assert_int_equal(of_de, 4);
    bench_stop();
}

/* A market that is paused, or at its limit, never holds up one that may run. */
static void test_core_dispatch_passes_over_paused_and_full_markets(void **state)
{
    (void)state;
    struct core_market_row markets[2] = {bench_markets[0], bench_markets[1]};
    markets[0].max_running = 1;
    struct core_record rows[4] = {
        bench_row(1, CORE_STATE_QUEUED, "de-DE"), bench_row(2, CORE_STATE_QUEUED, "de-DE"),
        bench_row(3, CORE_STATE_QUEUED, "fr-FR"), bench_row(4, CORE_STATE_QUEUED, "fr-FR")};
    rows[0].priority = rows[1].priority = 9;
    bench_start(rows, 4, 0);
    struct core_worker_row worker;
    struct core_world world = bench_world_of(&worker, 4);
    world.markets = markets;
    world.market_count = 2;
    bench.now_ms += 10000;
    (void)core_tick(bench.core);
    bench_settle(&world);
    assert_int_equal(bench.open[0].count, 3); /* one of de-DE, both of fr-FR */
    assert_int_equal(bench.open[0].jobs[0].low, 1);
    bench_stop();
}

/* A job goes only to its own region, however free another is. */
static void test_core_dispatch_keeps_a_job_in_its_region(void **state)
{
    (void)state;
    struct core_record row = bench_row(1, CORE_STATE_QUEUED, "ja-JP");
    row.region = span_of("ap");
    bench_start(&row, 1, 5); /* slots in eu */
    assert_int_equal(bench_count(BENCH_DISPATCH), 0);
    bench_stop();
}

/* A job without a region runs where a slot is free, and is offered there. */
static void test_core_dispatch_places_what_may_run_anywhere(void **state)
{
    (void)state;
    struct core_record row = bench_row(1, CORE_STATE_QUEUED, "");
    row.region = span_of("");
    bench_start(&row, 1, 1);
    ASSERT_DISPATCHED(1);
    assert_true(span_is(bench.open[bench.open_count - 1].dispatches[0].region, "eu"));
    bench_stop();
}

/* The worker hears of an attempt only after the record has it, and then once. */
static void test_core_dispatch_offers_after_the_record_has_it(void **state)
{
    (void)state;
    struct core_record row = bench_row(1, CORE_STATE_QUEUED, "de-DE");
    bench_start(&row, 1, 1);
    assert_int_equal(bench.offered_count, 0);
    row.state = CORE_STATE_DISPATCHED;
    row.attempt = 1;
    (void)bench_answer(BENCH_DISPATCH, &row, 1);
    assert_int_equal(bench.offered_count, 1);
    assert_int_equal(bench_count(BENCH_DISPATCH), 0);
    bench_stop();
}

/* What the record did not let through is taken as the record has it. */
static void test_core_dispatch_accepts_a_refusal_of_the_record(void **state)
{
    (void)state;
    struct core_record row = bench_row(1, CORE_STATE_QUEUED, "de-DE");
    bench_start(&row, 1, 1);
    row.state = CORE_STATE_CANCELLED; /* somebody was faster */
    (void)bench_answer(BENCH_DISPATCH, &row, 1);
    assert_int_equal(bench.offered_count, 0);
    assert_int_equal(core_count(bench.core).dispatched, 0);
    bench_stop();
}

/* The least loaded worker gets the job, by its share of free slots; between equals the larger, then
 * the first listed. Each is named with its incarnation. */
static void test_core_dispatch_picks_the_least_loaded_worker(void **state)
{
    (void)state;
    struct core_record rows[7];
    for (uint64_t i = 0; i < 7; i++) {
        rows[i] = bench_row(i + 1, CORE_STATE_QUEUED, "de-DE");
    }
    rows[6].state = CORE_STATE_RUNNING;
    rows[6].attempt = 1;
    rows[6].worker = span_of("a");
    bench_start(rows, 7, 0);
    const struct core_worker_row workers[3] = {bench_worker_of("b", "b1", 2),
                                               bench_worker_of("a", "a1", 2),
                                               bench_worker_of("c", "c1", 1)};
    struct core_world world = {.markets = bench_markets,
                               .market_count = 3,
                               .regions = bench_regions,
                               .region_count = 2,
                               .workers = workers,
                               .worker_count = 3};
    bench.now_ms += 10000;
    (void)core_tick(bench.core);
    bench_settle(&world);
    static const char *const expected[] = {"b1", "c1", "b1", "a1"};
    assert_int_equal(bench.open[0].count, 4); /* and not one more than there are slots */
    for (size_t i = 0; i < 4; i++) {
        assert_true(span_is(bench.open[0].dispatches[i].incarnation, expected[i]));
    }
    bench_stop();
}

/* A worker that drains, or was not seen lately, or is not listed any more, gets nothing. */
static void test_core_dispatch_gives_nothing_to_a_worker_that_leaves(void **state)
{
    (void)state;
    for (int leaves = 0; leaves < 4; leaves++) {
        struct core_record row = bench_row(1, CORE_STATE_QUEUED, "de-DE");
        struct core_worker_row worker;
        struct core_world world = bench_world_of(&worker, 1);
        bench_start(NULL, 0, 1);
        worker.is_draining = leaves == 1;
        worker.is_live = leaves != 2;
        world.worker_count = leaves == 3 ? 0 : 1;
        bench.now_ms += 10000;
        (void)core_tick(bench.core);
        bench_settle(&world);
        bench.now_ms += 300;
        (void)core_tick(bench.core);
        (void)bench_answer(BENCH_CHANGES, &row, 1);
        assert_int_equal(bench_count(BENCH_DISPATCH), leaves == 0 ? 1 : 0);
        bench_stop();
    }
}

/* A worker to which the record lets nothing go is left alone until the world was read anew. */
static void test_core_dispatch_leaves_a_refused_worker_alone(void **state)
{
    (void)state;
    struct core_record row = bench_row(1, CORE_STATE_QUEUED, "de-DE");
    bench_start(&row, 1, 1);
    ASSERT_DISPATCHED(1);
    (void)bench_answer(BENCH_DISPATCH, &row, 1); /* as queued as before */
    assert_int_equal(bench.offered_count, 0);
    assert_int_equal(bench_count(BENCH_DISPATCH), 0);
    (void)core_tick(bench.core);
    assert_int_equal(bench_count(BENCH_WORLD), 1);
    struct core_worker_row worker;
    struct core_world world = bench_world_of(&worker, 1);
    bench_settle(&world);
    ASSERT_DISPATCHED(1);
    bench_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_dispatch_goes_by_priority_then_age),
        cmocka_unit_test(test_core_dispatch_is_fair_between_markets),
        cmocka_unit_test(test_core_dispatch_weighs_markets),
        cmocka_unit_test(test_core_dispatch_passes_over_paused_and_full_markets),
        cmocka_unit_test(test_core_dispatch_keeps_a_job_in_its_region),
        cmocka_unit_test(test_core_dispatch_places_what_may_run_anywhere),
        cmocka_unit_test(test_core_dispatch_offers_after_the_record_has_it),
        cmocka_unit_test(test_core_dispatch_accepts_a_refusal_of_the_record),
        cmocka_unit_test(test_core_dispatch_picks_the_least_loaded_worker),
        cmocka_unit_test(test_core_dispatch_gives_nothing_to_a_worker_that_leaves),
        cmocka_unit_test(test_core_dispatch_leaves_a_refused_worker_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
