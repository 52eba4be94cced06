/* Replays of small nights whose outcome can be worked out on paper. */
#include "scheduler/replay/replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { JOBS_MAX = 4000 };

static struct replay_job jobs[JOBS_MAX];

static struct core_id id_of(size_t n)
{
    return (struct core_id){.high = 7, .low = n + 1};
}

static struct replay_job job_of(size_t n, const char *market, int64_t arrive_ms, int64_t run_ms)
{
    return (struct replay_job){.id = id_of(n),
                               .kind = span_of("noop"),
                               .market = span_of(market),
                               .region = span_of("emea"),
                               .arrive_ms = arrive_ms,
                               .run_ms = run_ms};
}

static const struct core_market_row two_markets[] = {
    {.code = {"a", 1}, .region = {"emea", 4}, .weight = 1},
    {.code = {"b", 1}, .region = {"emea", 4}, .weight = 1},
};

static void run(struct replay *r, struct replay_worker *workers, size_t worker_count, size_t count,
                const struct core_world *world)
{
    struct err_buf e = {{0}};
    *r = (struct replay){.jobs = jobs,
                         .job_count = count,
                         .workers = workers,
                         .worker_count = worker_count,
                         .world = world};
    if (replay_run(r, &e) != 0) {
        fail_msg("%s", e.text);
    }
}

static struct replay_worker worker_of(const char *name, int slots)
{
    return (struct replay_worker){.name = span_of(name), .region = span_of("emea"), .slots = slots};
}

static const struct core_world plain = {.markets = two_markets, .market_count = 2};

/* One slot: one after the other, in the order of arrival, and idle where nothing is there. */
static void test_replay_one_slot_runs_in_order(void **state)
{
    (void)state;
    struct replay r;
    struct replay_worker w[] = {worker_of("w", 1)};
    jobs[0] = job_of(0, "a", 0, 100);
    jobs[1] = job_of(1, "a", 10, 100);
    jobs[2] = job_of(2, "a", 1000, 50);
    run(&r, w, 1, 3, &plain);
    assert_int_equal(jobs[0].start_ms, 0);
    assert_int_equal(jobs[1].start_ms, 100);
    assert_int_equal(jobs[2].start_ms, 1000);
    assert_int_equal(r.end_ms, 1050);
    assert_int_equal(w[0].busy_ms, 250);
    assert_int_equal(r.stuck, 0);
    assert_int_equal(r.decisions, 3);
}

/* Twice the slots: half the makespan, whether on one worker or on two. */
static void test_replay_more_slots_shorten_the_night(void **state)
{
    (void)state;
    struct replay r;
    for (size_t slots = 1; slots <= 8; slots *= 2) {
        for (size_t i = 0; i < 64; i++) {
            jobs[i] = job_of(i, i % 2 ? "a" : "b", 0, 1000);
        }
        struct replay_worker one[] = {worker_of("w", (int)slots)};
        run(&r, one, 1, 64, &plain);
        assert_int_equal(r.end_ms, 64 * 1000 / (int64_t)slots);
        if (slots > 1) {
            struct replay_worker two[] = {worker_of("v", (int)slots / 2),
                                          worker_of("w", (int)slots / 2)};
            run(&r, two, 2, 64, &plain);
            assert_int_equal(r.end_ms, 64 * 1000 / (int64_t)slots);
            assert_int_equal(two[0].busy_ms + two[1].busy_ms, 64000);
        }
    }
}

/* A job waits for what it needs, also when that arrived later. */
static void test_replay_needs_hold_back(void **state)
{
    (void)state;
    struct replay r;
    const struct core_id needs[] = {id_of(1), id_of(2)};
    struct replay_worker w[] = {worker_of("w", 4)};
    jobs[0] = job_of(0, "a", 0, 10);
    jobs[0].needs = needs;
    jobs[0].need_count = 2;
    jobs[1] = job_of(1, "a", 0, 300);
    jobs[2] = job_of(2, "a", 50, 100);
    run(&r, w, 1, 3, &plain);
    assert_int_equal(jobs[2].start_ms, 50);
    assert_int_equal(jobs[0].start_ms, 300);
    assert_int_equal(r.end_ms, 310);
}

/* A higher priority goes first; equal markets share the slots. */
static void test_replay_decides_as_the_core_does(void **state)
{
    (void)state;
    struct replay r;
    struct replay_worker w[] = {worker_of("w", 1)};
    jobs[0] = job_of(0, "a", 0, 100);
    jobs[1] = job_of(1, "a", 1, 100);
    jobs[2] = job_of(2, "b", 2, 100);
    jobs[2].priority = 900;
    run(&r, w, 1, 3, &plain);
    assert_int_equal(jobs[2].start_ms, 100);
    assert_int_equal(jobs[1].start_ms, 200);
}

/* A limit of a market keeps its jobs one at a time and holds up nobody else. */
static void test_replay_limits_hold(void **state)
{
    (void)state;
    struct replay r;
    struct core_market_row limited[] = {two_markets[0], two_markets[1]};
    limited[0].max_running = 1;
    const struct core_world world = {.markets = limited, .market_count = 2};
    struct replay_worker w[] = {worker_of("w", 4)};
    for (size_t i = 0; i < 6; i++) {
        jobs[i] = job_of(i, i < 3 ? "a" : "b", 0, 100);
    }
    run(&r, w, 1, 6, &world);
    assert_int_equal(r.end_ms, 300);
    for (size_t i = 3; i < 6; i++) {
        assert_int_equal(jobs[i].start_ms, 0);
    }
}

/* No worker of the region: the job is counted as stuck, and the replay ends. */
static void test_replay_stuck_jobs_are_counted(void **state)
{
    (void)state;
    struct replay r;
    struct replay_worker w[] = {worker_of("w", 1)};
    jobs[0] = job_of(0, "a", 0, 100);
    jobs[1] = job_of(1, "a", 0, 100);
    jobs[1].region = span_of("apac");
    run(&r, w, 1, 2, &plain);
    assert_int_equal(r.stuck, 1);
    assert_int_equal(jobs[1].start_ms, -1);
    assert_int_equal(r.end_ms, 100);
}

/* Thousands of jobs: nobody runs twice, slots are never exceeded, the work adds up. */
static void test_replay_many_jobs_add_up(void **state)
{
    (void)state;
    struct replay r;
    struct replay_worker w[] = {worker_of("v", 3), worker_of("w", 5)};
    int64_t work = 0;
    for (size_t i = 0; i < JOBS_MAX; i++) {
        jobs[i] = job_of(i, i % 3 ? "a" : "b", (int64_t)i * 3, (int64_t)(i * 7919 % 97));
        work += jobs[i].run_ms;
    }
    run(&r, w, 2, JOBS_MAX, &plain);
    assert_int_equal(r.stuck, 0);
    assert_int_equal(w[0].busy_ms + w[1].busy_ms, work);
    for (size_t i = 0; i < JOBS_MAX; i++) {
        int beside[2] = {0, 0};
        for (size_t k = 0; k < JOBS_MAX; k++) {
            beside[jobs[k].worker] +=
                jobs[k].start_ms <= jobs[i].start_ms && jobs[k].end_ms > jobs[i].start_ms;
        }
        assert_true(beside[0] <= 3 && beside[1] <= 5);
        assert_int_equal(jobs[i].end_ms - jobs[i].start_ms, jobs[i].run_ms);
        assert_true(jobs[i].start_ms >= jobs[i].arrive_ms);
    }
}

/* What makes no sense is refused and named. */
static void test_replay_nonsense_is_refused(void **state)
{
    (void)state;
    struct err_buf e = {{0}};
    const struct core_id strange[] = {id_of(99)};
    struct replay_worker w[] = {worker_of("w", 1)};
    jobs[0] = job_of(0, "a", 5, 1);
    jobs[1] = job_of(1, "a", 4, 1);
    struct replay r = {
        .jobs = jobs, .job_count = 2, .workers = w, .worker_count = 1, .world = &plain};
    assert_int_equal(replay_run(&r, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, core_id_format(id_of(1)).text));
    jobs[1].arrive_ms = 6;
    jobs[1].needs = strange;
    jobs[1].need_count = 1;
    assert_int_equal(replay_run(&r, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, core_id_format(id_of(99)).text));
    r.job_count = REPLAY_JOBS_MAX + 1;
    assert_int_equal(replay_run(&r, &e), ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay_one_slot_runs_in_order),
        cmocka_unit_test(test_replay_more_slots_shorten_the_night),
        cmocka_unit_test(test_replay_needs_hold_back),
        cmocka_unit_test(test_replay_decides_as_the_core_does),
        cmocka_unit_test(test_replay_limits_hold),
        cmocka_unit_test(test_replay_stuck_jobs_are_counted),
        cmocka_unit_test(test_replay_many_jobs_add_up),
        cmocka_unit_test(test_replay_nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
