/* Limits, shares, requests and labels: what holds a job up, and what never does. */
#include "tests/unit/core_bench.h"

enum { MAX_ROWS = 16 };

static struct {
    struct core_region_row regions[2];
    struct core_market_row markets[3];
    struct core_task_row tasks[2];
    struct core_worker_row workers[4];
    struct core_world world;
} place;

/* Regions ap and eu, three markets, no limits, and no worker yet. */
static void place_reset(void)
{
    memset(&place, 0, sizeof place);
    memcpy(place.regions, bench_regions, sizeof place.regions);
    memcpy(place.markets, bench_markets, sizeof place.markets);
    place.world = (struct core_world){.regions = place.regions,
                                      .region_count = 2,
                                      .markets = place.markets,
                                      .market_count = 3,
                                      .tasks = place.tasks,
                                      .workers = place.workers};
}

static struct core_worker_row *place_worker(const char *name, int slots)
{
    struct core_worker_row *w = &place.workers[place.world.worker_count++];
    *w = bench_worker_of(name, name, slots);
    return w;
}

static void place_task(const char *name, int max_running)
{
    place.tasks[place.world.task_count++] =
        (struct core_task_row){.name = span_of(name), .max_running = max_running};
}

/* The core reads the world as it is in `place` by now. */
static void place_show(void)
{
    bench.now_ms += 2000;
    (void)core_tick(bench.core);
    bench_settle(&place.world);
}

static struct core_record row_of(uint64_t n, const char *market, const char *task)
{
    struct core_record row = bench_row(n, CORE_STATE_QUEUED, market);
    row.task = span_of(task);
    row.threads = 1;
    row.memory_mb = 100;
    return row;
}

static size_t pending(enum core_reason reason)
{
    size_t counts[CORE_REASON_COUNT];
    core_pending(bench.core, counts);
    return counts[reason];
}

static void assert_order(const uint64_t *expected, size_t count)
{
    assert_int_equal(bench_count(BENCH_DISPATCH), count > 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(bench.open[0].call, BENCH_DISPATCH);
        assert_int_equal(bench.open[0].count, count);
        assert_int_equal(bench.open[0].jobs[i].low, expected[i]);
    }
}
#define ASSERT_ORDER(...)                                                                          \
    assert_order((const uint64_t[]){__VA_ARGS__},                                                  \
                 sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

/* The record agrees to what was dispatched: the jobs are running now. */
static void agree(void)
{
    struct bench_open o = bench.open[0];
    struct core_record rows[MAX_ROWS];
    for (size_t i = 0; i < o.count; i++) {
        rows[i] = row_of(o.jobs[i].low, "de-DE", "intent");
        rows[i].state = CORE_STATE_RUNNING;
        rows[i].attempt = o.dispatches[i].attempt;
        rows[i].worker = o.dispatches[i].worker;
    }
    (void)bench_answer(BENCH_DISPATCH, rows, o.count);
}

/* A job that has waited longer than the other's points are worth goes first. */
static void test_core_policy_lets_waiting_jobs_rise(void **state)
{
    (void)state;
    struct core_record rows[3] = {row_of(1, "de-DE", "intent"), row_of(2, "de-DE", "intent"),
                                  row_of(3, "de-DE", "intent")};
    int64_t hour = core_settings_default.priority_age_ms;
    rows[0].priority = 3;
    rows[0].queued_ms = 10 * hour;
    rows[1].queued_ms = 6 * hour; /* four hours earlier: four points */
    rows[2].queued_ms = 8 * hour; /* two points */
    bench_start(rows, 3, 0);
    place_reset();
    (void)place_worker("w", 3);
    place_show();
    ASSERT_ORDER(2, 1, 3);
    bench_stop();
}

/* Within equal priority the market that used little lately goes first, also when it came later. */
static void test_core_policy_remembers_what_a_market_used(void **state)
{
    (void)state;
    struct core_record rows[2] = {row_of(1, "de-DE", "intent"), row_of(2, "de-DE", "intent")};
    bench_start(rows, 1, 0);
    place_reset();
    (void)place_worker("w", 1);
    place_show();
    ASSERT_ORDER(1);
    agree();
    bench.now_ms += 600000; /* it runs for ten minutes */
    (void)core_tick(bench.core);
    struct core_record change[3] = {rows[0], rows[1], row_of(3, "fr-FR", "intent")};
    change[0].state = CORE_STATE_SUCCEEDED;
    change[0].attempt = 1;
    (void)bench_answer(BENCH_CHANGES, change, 3);
    bench_settle(&place.world);
    ASSERT_ORDER(3);
    bench_stop();
}

/* A limit of a task holds over all markets and regions, and holds up no other task. */
static void test_core_policy_limits_a_task(void **state)
{
    (void)state;
    struct core_record rows[4] = {row_of(1, "de-DE", "intent"), row_of(2, "fr-FR", "intent"),
                                  row_of(3, "de-DE", "intent"), row_of(4, "fr-FR", "topic")};
    bench_start(rows, 4, 0);
    place_reset();
    (void)place_worker("w", 4);
    place_task("intent", 1);
    place_show();
    ASSERT_ORDER(1, 4);
    assert_int_equal(pending(CORE_REASON_TASK_LIMIT), 2);
    bench_stop();
}

/* A limit of a region holds, and holds up no other region. */
static void test_core_policy_limits_a_region(void **state)
{
    (void)state;
    struct core_record rows[3] = {row_of(1, "de-DE", "intent"), row_of(2, "fr-FR", "intent"),
                                  row_of(3, "ja-JP", "intent")};
    rows[2].region = span_of("ap");
    bench_start(rows, 3, 0);
    place_reset();
    (void)place_worker("w", 4);
    place_worker("x", 4)->region = span_of("ap");
    place.regions[1].max_running = 1; /* eu */
    place_show();
    assert_int_equal(bench.open[0].count, 2);
    assert_int_equal(pending(CORE_REASON_REGION_LIMIT), 1);
    bench_stop();
}

/* A limit is of open attempts: whatever ends one, also the death of its worker, gives it back. */
static void test_core_policy_gives_back_the_limit_of_a_dead_worker(void **state)
{
    (void)state;
    struct core_record rows[2] = {row_of(1, "de-DE", "intent"), row_of(2, "fr-FR", "intent")};
    bench_start(rows, 2, 0);
    place_reset();
    (void)place_worker("w", 4);
    place_task("intent", 1);
    place.regions[1].max_running = 1;
    place.markets[0].max_running = 1;
    place_show();
    ASSERT_ORDER(1);
    agree();
    place.world.worker_count = 0; /* gone with its job */
    place_show();
    assert_int_equal(bench_count(BENCH_DISPATCH), 0);
    bench.now_ms += 2000;
    (void)core_tick(bench.core);
    while (bench.open[0].call != BENCH_SWEEP) {
        if (bench.open[0].call == BENCH_WORLD) {
            bench_answer_world(&place.world);
        } else {
            (void)bench_answer(bench.open[0].call, NULL, 0);
        }
    }
    struct core_expired expired = {
        .job = bench_id(1), .attempt = 1, .expiry = CORE_EXPIRY_LOST, .was_draining = true};
    struct bench_open sweep = bench_take(BENCH_SWEEP);
    core_answer(bench.core, &(struct core_answer){
                                .token = sweep.token, .expired = &expired, .expired_count = 1});
    bench_settle(&place.world);
    rows[0].attempt = 1;
    rows[0].state = CORE_STATE_WAITING; /* it was charged a delay */
    rows[0].due_in_ms = 100000;
    (void)bench_answer(BENCH_END, &rows[0], 1);
    (void)place_worker("v", 1);
    place_show();
    ASSERT_ORDER(2);
    bench_stop();
}

/* Open attempts never ask together for more memory or threads than their worker offers. */
static void test_core_policy_fits_requests_to_workers(void **state)
{
    (void)state;
    struct core_record rows[6];
    for (uint64_t i = 0; i < 6; i++) {
        rows[i] = row_of(i + 1, "de-DE", "intent");
        rows[i].memory_mb = i < 3 ? 600 : 100;
        rows[i].threads = i == 5 ? 4 : 1;
    }
    bench_start(rows, 6, 0);
    place_reset();
    struct core_worker_row *w = place_worker("w", 8);
    w->memory_mb = 1000;
    w->threads = 4;
    place_show();
    /* One of 600 MB; the second waits for memory; the small ones go on; the wide one waits too. */
    ASSERT_ORDER(1, 4, 5);
    assert_int_equal(pending(CORE_REASON_ROOM), 3);
    bench_stop();
}

/* What no worker can ever hold waits with its reason, and holds up nothing. */
static void test_core_policy_passes_over_what_is_too_large(void **state)
{
    (void)state;
    struct core_record rows[2] = {row_of(1, "de-DE", "intent"), row_of(2, "de-DE", "intent")};
    rows[0].memory_mb = 5000;
    rows[0].priority = 100;
    bench_start(rows, 2, 0);
    place_reset();
    place_worker("w", 2)->memory_mb = 1000;
    place_show();
    ASSERT_ORDER(2);
    assert_int_equal(pending(CORE_REASON_TOO_LARGE), 1);
    agree();
    place_worker("large", 1)->memory_mb = 8000;
    place_show();
    ASSERT_ORDER(1);
    assert_true(span_is(bench.open[0].dispatches[0].worker, "large"));
    bench_stop();
}

/* A job that wants labels goes only to a worker that has all of them. */
static void test_core_policy_matches_labels(void **state)
{
    (void)state;
    struct core_record rows[3] = {row_of(1, "de-DE", "intent"), row_of(2, "de-DE", "intent"),
                                  row_of(3, "de-DE", "intent")};
    rows[0].labels = span_of("disk=ssd,gpu=a100");
    rows[1].labels = span_of("gpu=a10");
    bench_start(rows, 3, 0);
    place_reset();
    (void)place_worker("plain", 1);
    place_worker("both", 1)->labels = span_of("disk=ssd,gpu=a100,rack=7");
    place_show();
    assert_int_equal(bench.open[0].count, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct core_dispatch *d = &bench.open[0].dispatches[i];
        assert_true(span_is(d->worker, d->job.low == 1 ? "both" : "plain"));
        assert_true(d->job.low != 2);
    }
    assert_int_equal(pending(CORE_REASON_LABELS), 1);
    bench_stop();
}

/* A worker that comes back with other labels is judged by those. */
static void test_core_policy_takes_new_labels_over(void **state)
{
    (void)state;
    struct core_record row = row_of(1, "de-DE", "intent");
    row.labels = span_of("gpu=a10");
    bench_start(&row, 1, 0);
    place_reset();
    struct core_worker_row *w = place_worker("w", 1);
    w->labels = span_of("gpu=a100");
    place_show();
    assert_int_equal(bench_count(BENCH_DISPATCH), 0);
    w->labels = span_of("gpu=a10");
    place_show();
    ASSERT_ORDER(1);
    bench_stop();
}

/* Jobs that may run anywhere: one that fits nowhere holds up neither others nor the regions'. */
static void test_core_policy_sets_aside_what_fits_nowhere(void **state)
{
    (void)state;
    struct core_record rows[3] = {row_of(1, "", "intent"), row_of(2, "", "intent"),
                                  row_of(3, "de-DE", "intent")};
    rows[0].region = rows[1].region = span_of("");
    rows[0].labels = span_of("gpu=a10");
    rows[0].priority = 9;
    bench_start(rows, 3, 0);
    place_reset();
    (void)place_worker("w", 2);
    place_show();
    size_t jobs = 0;
    for (size_t i = 0; i < bench.open_count; i++) {
        jobs += bench.open[i].call == BENCH_DISPATCH ? bench.open[i].count : 0;
    }
    assert_int_equal(jobs, 2);
    assert_int_equal(pending(CORE_REASON_LABELS), 1);
    bench_stop();
}

/* Each thing that can hold a queued job up has its own code. */
static void test_core_policy_says_why_a_queued_job_waits(void **state)
{
    (void)state;
    struct core_record row = row_of(1, "de-DE", "intent");
    bench_start(&row, 1, 0);
    place_reset();
    place_show();
    assert_int_equal(pending(CORE_REASON_NO_WORKER), 1);
    place.world.is_paused = true;
    (void)place_worker("w", 1);
    place_show();
    assert_int_equal(pending(CORE_REASON_PAUSED), 1);
    place.world.is_paused = false;
    place.markets[0].is_paused = true;
    place_show();
    assert_int_equal(pending(CORE_REASON_PAUSED), 1);
    place.markets[0].is_paused = false;
    place.regions[1].is_paused = true;
    place_show();
    assert_int_equal(pending(CORE_REASON_PAUSED), 1);
    place.regions[1].is_paused = false;
    place_show();
    ASSERT_ORDER(1);
    agree();
    struct core_record more = row_of(2, "de-DE", "intent");
    bench.now_ms += 300;
    (void)core_tick(bench.core);
    (void)bench_answer(BENCH_CHANGES, &more, 1);
    bench_settle(&place.world);
    assert_int_equal(pending(CORE_REASON_SLOTS), 1);
    place.markets[0].max_running = 1;
    place_show();
    assert_int_equal(pending(CORE_REASON_MARKET_LIMIT), 1);
    bench_stop();
}

/* And each thing that keeps a job from being queued. */
static void test_core_policy_says_why_a_job_is_not_queued(void **state)
{
    (void)state;
    struct core_record rows[5];
    for (uint64_t i = 0; i < 5; i++) {
        rows[i] = row_of(i + 1, "de-DE", "intent");
        rows[i].state = CORE_STATE_WAITING;
    }
    struct core_need need = {.id = bench_id(77)};
    rows[0].needs = &need;
    rows[0].need_count = 1;
    rows[1].due_in_ms = 1000000;
    rows[2].due_in_ms = 1000000;
    rows[2].attempt = 1;
    rows[3].kind = span_of("nightly");
    rows[3].children = 1;
    rows[4].parent = rows[3].id;
    rows[4].needs = &need;
    rows[4].need_count = 1;
    rows[4].is_cancel_requested = true;
    bench_start(rows, 5, 1);
    assert_int_equal(pending(CORE_REASON_DEPENDENCY), 1);
    assert_int_equal(pending(CORE_REASON_NOT_BEFORE), 1);
    assert_int_equal(pending(CORE_REASON_BACKOFF), 1);
    assert_int_equal(pending(CORE_REASON_CHILDREN), 1);
    assert_int_equal(pending(CORE_REASON_CANCELLING), 1);
    bench_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_policy_lets_waiting_jobs_rise),
        cmocka_unit_test(test_core_policy_remembers_what_a_market_used),
        cmocka_unit_test(test_core_policy_limits_a_task),
        cmocka_unit_test(test_core_policy_limits_a_region),
        cmocka_unit_test(test_core_policy_gives_back_the_limit_of_a_dead_worker),
        cmocka_unit_test(test_core_policy_fits_requests_to_workers),
        cmocka_unit_test(test_core_policy_passes_over_what_is_too_large),
        cmocka_unit_test(test_core_policy_matches_labels),
        cmocka_unit_test(test_core_policy_takes_new_labels_over),
        cmocka_unit_test(test_core_policy_sets_aside_what_fits_nowhere),
        cmocka_unit_test(test_core_policy_says_why_a_queued_job_waits),
        cmocka_unit_test(test_core_policy_says_why_a_job_is_not_queued),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
