/* Dependencies, parents and delays. */
#include "tests/unit/core_bench.h"

static struct core_record waiting(uint64_t n, const struct core_need *need, size_t count)
{
    struct core_record row = bench_row(n, CORE_STATE_WAITING, "de-DE");
    row.needs = need;
    row.need_count = count;
    return row;
}

static struct core_record ended(uint64_t n, enum core_state job_state)
{
    return bench_row(n, job_state, "de-DE");
}

/* What another process changed, as the feed tells it. */
static void tell(const struct core_record *rows, size_t count)
{
    struct core_worker_row worker;
    struct core_world world = bench_world_of(&worker, 0);
    bench.now_ms += 250;
    (void)core_tick(bench.core);
    while (bench.open[0].call != BENCH_CHANGES) {
        if (bench.open[0].call == BENCH_WORLD) {
            bench_answer_world(&world);
        } else {
            (void)bench_answer(bench.open[0].call, NULL, 0);
        }
    }
    (void)bench_answer(BENCH_CHANGES, rows, count);
    bench_settle(&world);
}

/* A job is released when the last job that it needs has succeeded, not before. */
static void test_core_graph_releases_after_the_last_need(void **state)
{
    (void)state;
    struct core_need needs[2] = {
        {.id = bench_id(1), .state = CORE_STATE_RUNNING},
        {.id = bench_id(2), .state = CORE_STATE_UNKNOWN}}; /* not admitted yet */
    struct core_record rows[2] = {bench_row(1, CORE_STATE_QUEUED, "de-DE"), waiting(3, needs, 2)};
    bench_start(rows, 2, 0);
    struct core_record end = ended(1, CORE_STATE_SUCCEEDED);
    tell(&end, 1);
    assert_int_equal(bench_count(BENCH_RELEASE), 0);
    struct core_record second = bench_row(2, CORE_STATE_QUEUED, "de-DE");
    tell(&second, 1);
    assert_int_equal(bench_count(BENCH_RELEASE), 0);
    end = ended(2, CORE_STATE_SUCCEEDED);
    tell(&end, 1);
    assert_int_equal(bench_take(BENCH_RELEASE).jobs[0].low, 3);
    bench_stop();
}

/* Failure runs down the chain: each dependant is skipped, and says which job it needed. */
static void test_core_graph_skips_the_whole_chain(void **state)
{
    (void)state;
    struct core_need first = {.id = bench_id(1), .state = CORE_STATE_RUNNING};
    struct core_need second = {.id = bench_id(2), .state = CORE_STATE_WAITING};
    struct core_record rows[3] = {bench_row(1, CORE_STATE_QUEUED, "de-DE"), waiting(2, &first, 1),
                                  waiting(3, &second, 1)};
    bench_start(rows, 3, 0);
    struct core_record end = ended(1, CORE_STATE_FAILED);
    tell(&end, 1);
    struct core_record skipped = ended(2, CORE_STATE_SKIPPED);
    struct bench_open o = bench_answer(BENCH_SKIP, &skipped, 1);
    assert_int_equal(o.jobs[0].low, 2);
    assert_non_null(strstr(o.text, core_id_format(bench_id(1)).text));
    o = bench_take(BENCH_SKIP);
    assert_int_equal(o.jobs[0].low, 3);
    bench_stop();
}

/* Whoever is skipped names the job that began it all, not only the one before it. */
static void test_core_graph_names_the_first_cause(void **state)
{
    (void)state;
    struct core_need first = {.id = bench_id(1), .state = CORE_STATE_RUNNING};
    struct core_need second = {.id = bench_id(2), .state = CORE_STATE_WAITING};
    struct core_record rows[3] = {bench_row(1, CORE_STATE_QUEUED, "de-DE"), waiting(2, &first, 1),
                                  waiting(3, &second, 1)};
    bench_start(rows, 3, 0);
    struct core_record end = ended(1, CORE_STATE_CANCELLED);
    tell(&end, 1);
    struct core_record skipped = ended(2, CORE_STATE_SKIPPED);
    skipped.cause = bench_id(1);
    skipped.cause_state = CORE_STATE_CANCELLED;
    struct bench_open o = bench_answer(BENCH_SKIP, &skipped, 1);
    assert_int_equal(o.skip.cause.low, 1);
    o = bench_take(BENCH_SKIP);
    assert_int_equal(o.skip.cause.low, 1);
    assert_non_null(strstr(o.text, core_id_format(bench_id(1)).text));
    assert_non_null(strstr(o.text, core_id_format(bench_id(2)).text));
    bench_stop();
}

/* Each condition with each end: released, or skipped. */
static void test_core_graph_goes_by_the_condition(void **state)
{
    (void)state;
    static const struct {
        enum core_condition condition;
        enum core_state end;
        bool runs;
    } cases[] = {
        {CORE_AFTER_OK, CORE_STATE_SUCCEEDED, true},
        {CORE_AFTER_OK, CORE_STATE_FAILED, false},
        {CORE_AFTER_OK, CORE_STATE_SKIPPED, false},
        {CORE_AFTER_NOT_OK, CORE_STATE_SUCCEEDED, false},
        {CORE_AFTER_NOT_OK, CORE_STATE_FAILED, true},
        {CORE_AFTER_NOT_OK, CORE_STATE_CANCELLED, true},
        {CORE_AFTER_NOT_OK, CORE_STATE_REJECTED, true},
        {CORE_AFTER_NOT_OK, CORE_STATE_SKIPPED, true},
        {CORE_AFTER_ANY, CORE_STATE_SUCCEEDED, true},
        {CORE_AFTER_ANY, CORE_STATE_CANCELLED, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct core_need need = {
            .id = bench_id(1), .state = CORE_STATE_RUNNING, .condition = cases[i].condition};
        struct core_record rows[2] = {bench_row(1, CORE_STATE_QUEUED, "de-DE"),
                                      waiting(2, &need, 1)};
        bench_start(rows, 2, 0);
        struct core_record end = ended(1, cases[i].end);
        tell(&end, 1);
        assert_int_equal(bench_count(BENCH_RELEASE), cases[i].runs);
        assert_int_equal(bench_count(BENCH_SKIP), !cases[i].runs);
        bench_stop();
    }
}

/* With a quorum a job runs as soon as so many needs are met, whatever became of the others. */
static void test_core_graph_releases_at_the_quorum_of_needs(void **state)
{
    (void)state;
    struct core_need needs[3];
    struct core_record rows[4];
    for (uint64_t i = 0; i < 3; i++) {
        needs[i] = (struct core_need){.id = bench_id(i + 1), .state = CORE_STATE_QUEUED};
        rows[i] = bench_row(i + 1, CORE_STATE_QUEUED, "de-DE");
    }
    rows[3] = waiting(9, needs, 3);
    rows[3].has_after_quorum = true;
    rows[3].after_left = 2;
    bench_start(rows, 4, 0);
    struct core_record end = ended(1, CORE_STATE_FAILED);
    tell(&end, 1);
    end = ended(2, CORE_STATE_SUCCEEDED);
    tell(&end, 1);
    assert_int_equal(bench_count(BENCH_RELEASE) + bench_count(BENCH_SKIP), 0);
    end = ended(3, CORE_STATE_SUCCEEDED);
    tell(&end, 1);
    assert_int_equal(bench_take(BENCH_RELEASE).jobs[0].low, 9);
    bench_stop();
}

/* It is skipped as soon as the quorum cannot be reached, while other needs still run. */
static void test_core_graph_skips_when_the_quorum_is_lost(void **state)
{
    (void)state;
    struct core_need needs[3];
    struct core_record rows[4];
    for (uint64_t i = 0; i < 3; i++) {
        needs[i] = (struct core_need){.id = bench_id(i + 1), .state = CORE_STATE_QUEUED};
        rows[i] = bench_row(i + 1, CORE_STATE_QUEUED, "de-DE");
    }
    rows[3] = waiting(9, needs, 3);
    rows[3].has_after_quorum = true;
    rows[3].after_left = 2;
    bench_start(rows, 4, 0);
    struct core_record end = ended(1, CORE_STATE_FAILED);
    tell(&end, 1);
    assert_int_equal(bench_count(BENCH_SKIP), 0);
    end = ended(2, CORE_STATE_FAILED);
    tell(&end, 1);
    struct bench_open o = bench_take(BENCH_SKIP);
    assert_int_equal(o.jobs[0].low, 9);
    assert_int_equal(o.skip.cause.low, 1);
    bench_stop();
}

/* A job that needs one which had failed before it was admitted is skipped too. */
static void test_core_graph_skips_what_needs_a_job_long_failed(void **state)
{
    (void)state;
    struct core_need need = {.id = bench_id(1), .state = CORE_STATE_CANCELLED};
    struct core_record row = waiting(2, &need, 1);
    bench_start(&row, 1, 0);
    assert_int_equal(bench_take(BENCH_SKIP).jobs[0].low, 2);
    bench_stop();
}

/* A delayed job is released when its time has come. */
static void test_core_graph_waits_for_the_time_of_a_job(void **state)
{
    (void)state;
    struct core_record row = waiting(1, NULL, 0);
    row.due_in_ms = 5000;
    bench_start(&row, 1, 0);
    tell(NULL, 0);
    assert_int_equal(bench_count(BENCH_RELEASE), 0);
    bench.now_ms += 5000;
    (void)core_tick(bench.core);
    assert_int_equal(bench_count(BENCH_RELEASE), 1);
    bench_stop();
}

static struct core_record parent(uint64_t n, int children)
{
    struct core_record row = bench_row(n, CORE_STATE_WAITING, "");
    row.kind = span_of("nightly");
    row.region = span_of("");
    row.children = children;
    return row;
}

/* A parent closes when its last child has ended, however that ended. */
static void test_core_graph_closes_a_parent_after_its_last_child(void **state)
{
    (void)state;
    struct core_record rows[3] = {parent(1, 2), bench_row(2, CORE_STATE_QUEUED, "de-DE"),
                                  bench_row(3, CORE_STATE_QUEUED, "de-DE")};
    rows[1].parent = rows[2].parent = bench_id(1);
    bench_start(rows, 3, 0);
    assert_int_equal(bench_count(BENCH_PLAN), 0); /* it has its children already */
    struct core_record end = ended(2, CORE_STATE_FAILED);
    tell(&end, 1);
    assert_int_equal(bench_count(BENCH_CLOSE), 0);
    end = ended(3, CORE_STATE_SUCCEEDED);
    tell(&end, 1);
    assert_int_equal(bench_take(BENCH_CLOSE).jobs[0].low, 1);
    bench_stop();
}

/* A parent of three members, one of which has to succeed, and its open members. */
static void start_family(struct core_record rows[4], enum core_stragglers stragglers)
{
    rows[0] = parent(1, 3);
    rows[0].quorum = 1;
    rows[0].members = 3;
    rows[0].stragglers = stragglers;
    for (uint64_t i = 1; i < 4; i++) {
        rows[i] = bench_row(i + 1, CORE_STATE_QUEUED, "de-DE");
        rows[i].parent = bench_id(1);
        rows[i].is_member = true;
    }
    bench_start(rows, 4, 0);
}

/* The record is asked once for each member that ended, and not before enough of them have. */
static void test_core_graph_asks_for_the_quorum_when_it_may_be_reached(void **state)
{
    (void)state;
    struct core_record rows[4];
    start_family(rows, CORE_STRAGGLERS_CANCEL);
    tell(NULL, 0);
    assert_int_equal(bench_count(BENCH_QUORUM), 0);
    struct core_record end = ended(2, CORE_STATE_FAILED);
    tell(&end, 1);
    (void)bench_answer(BENCH_QUORUM, &rows[0], 1); /* it was a failure */
    tell(NULL, 0);
    assert_int_equal(bench_count(BENCH_QUORUM), 0);
    end = ended(3, CORE_STATE_SUCCEEDED);
    tell(&end, 1);
    assert_int_equal(bench_take(BENCH_QUORUM).jobs[0].low, 1);
    bench_stop();
}

/* When the quorum is reached the stragglers have their time; then they are cancelled, once, and
 * the parent closes after them. */
static void test_core_graph_cancels_the_stragglers_after_their_time(void **state)
{
    (void)state;
    struct core_record rows[4];
    start_family(rows, CORE_STRAGGLERS_CANCEL);
    struct core_record end = ended(2, CORE_STATE_SUCCEEDED);
    tell(&end, 1);
    rows[0].is_quorum_reached = true;
    rows[0].due_in_ms = 60000;
    (void)bench_answer(BENCH_QUORUM, &rows[0], 1);
    tell(NULL, 0);
    assert_int_equal(bench_count(BENCH_CANCEL_CHILDREN), 0);
    bench.now_ms += 60000;
    (void)core_tick(bench.core);
    assert_int_equal(bench_count(BENCH_CANCEL_CHILDREN), 1);
    while (bench.open[0].call != BENCH_CANCEL_CHILDREN) {
        (void)bench_take(bench.open[0].call);
    }
    bench_stop();
}

/* Stragglers that may go on are not touched, and the parent closes without them. */
static void test_core_graph_leaves_the_stragglers_running(void **state)
{
    (void)state;
    struct core_record rows[4];
    start_family(rows, CORE_STRAGGLERS_LEAVE);
    struct core_record end = ended(2, CORE_STATE_SUCCEEDED);
    tell(&end, 1);
    rows[0].is_quorum_reached = true;
    (void)bench_answer(BENCH_QUORUM, &rows[0], 1);
    end = ended(1, CORE_STATE_SUCCEEDED);
    struct bench_open o = bench_answer(BENCH_CLOSE, &end, 1);
    assert_int_equal(o.jobs[0].low, 1);
    assert_int_equal(bench_count(BENCH_CANCEL_CHILDREN), 0);
    end = ended(3, CORE_STATE_SUCCEEDED);
    tell(&end, 1);
    assert_int_equal(bench_count(BENCH_CLOSE) + bench_count(BENCH_CANCEL_CHILDREN), 0);
    bench_stop();
}

/* With stragglers that are waited for nobody asks: the parent closes after the last. */
static void test_core_graph_waits_for_stragglers_by_default(void **state)
{
    (void)state;
    struct core_record rows[4];
    start_family(rows, CORE_STRAGGLERS_WAIT);
    for (uint64_t i = 2; i < 5; i++) {
        assert_int_equal(bench_count(BENCH_QUORUM) + bench_count(BENCH_CLOSE), 0);
        struct core_record end = ended(i, CORE_STATE_SUCCEEDED);
        tell(&end, 1);
    }
    assert_int_equal(bench_take(BENCH_CLOSE).jobs[0].low, 1);
    bench_stop();
}

/* A nightly without children is planned, and its children are made in one call. */
static void test_core_graph_fans_a_nightly_out(void **state)
{
    (void)state;
    struct core_record row = parent(1, 0);
    bench_start(&row, 1, 0);
    struct bench_open o = bench_take(BENCH_PLAN);
    const struct core_plan_market markets[2] = {{span_of("de-DE"), span_of("eu")},
                                                {span_of("ja-JP"), span_of("ap")}};
    const struct core_plan plan = {
        .task = span_of("intent"), .spec = span_of("{}"), .markets = markets, .market_count = 2};
    core_answer(bench.core, &(struct core_answer){.token = o.token, .plan = &plan});
    assert_int_equal(bench_take(BENCH_FAN_OUT).count, 4);
    bench_stop();
}

/* A nightly that cannot be carried out fails with the reason. */
static void test_core_graph_fails_a_nightly_of_an_unknown_market(void **state)
{
    (void)state;
    struct core_record row = parent(1, 0);
    bench_start(&row, 1, 0);
    struct bench_open o = bench_take(BENCH_PLAN);
    const struct core_plan_market markets[1] = {{span_of("de-DE"), span_of("eu")}};
    const struct core_plan plan = {.task = span_of("intent"),
                                   .spec = span_of("{\"markets\":[\"xx-XX\"]}"),
                                   .markets = markets,
                                   .market_count = 1};
    core_answer(bench.core, &(struct core_answer){.token = o.token, .plan = &plan});
    o = bench_take(BENCH_SKIP);
    assert_int_equal(o.skip.state, CORE_STATE_FAILED);
    assert_non_null(strstr(o.text, "xx-XX"));
    bench_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_graph_releases_after_the_last_need),
        cmocka_unit_test(test_core_graph_skips_the_whole_chain),
        cmocka_unit_test(test_core_graph_skips_what_needs_a_job_long_failed),
        cmocka_unit_test(test_core_graph_waits_for_the_time_of_a_job),
        cmocka_unit_test(test_core_graph_closes_a_parent_after_its_last_child),
        cmocka_unit_test(test_core_graph_fans_a_nightly_out),
        cmocka_unit_test(test_core_graph_fails_a_nightly_of_an_unknown_market),
        cmocka_unit_test(test_core_graph_names_the_first_cause),
        cmocka_unit_test(test_core_graph_goes_by_the_condition),
        cmocka_unit_test(test_core_graph_releases_at_the_quorum_of_needs),
        cmocka_unit_test(test_core_graph_skips_when_the_quorum_is_lost),
        cmocka_unit_test(test_core_graph_asks_for_the_quorum_when_it_may_be_reached),
        cmocka_unit_test(test_core_graph_cancels_the_stragglers_after_their_time),
        cmocka_unit_test(test_core_graph_leaves_the_stragglers_running),
        cmocka_unit_test(test_core_graph_waits_for_stragglers_by_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
