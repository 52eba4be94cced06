/* meridian-worker on real servers: jobs that make no steps, and what an attempt leaves behind. */
#include "tests/integration/worker_fixture.h"

/* A job that makes no step is told, then stopped with its process group, and reported as wedged
 * with what was measured and its last lines. */
static void test_worker_stops_a_wedged_job(void **state)
{
    struct fixture *f = *state;
    struct job j;
    static struct outcome o;
    pid_t pid = worker_start(f, "wedged", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea",
                 "{\"sleep_ms\": 60000, \"steps\": 600, \"hang_after\": 3, \"stall_limit_s\": 11}",
                 64, 300);
    wait_running(f, &j);
    pid_t runner = runner_of(pid);
    wait_sql(f,
             "SELECT coalesce((progress->>'quiet_ms')::bigint, 0) >= 10000 FROM meridian.attempt"
             " WHERE job = '%s'",
             j.id.text); /* seen before anything is done */
    wait_report(f, &j, &o);
    assert_int_equal(o.outcome, MESSAGE_CRASHED);
    assert_string_equal(o.error_code, "WEDGED");
    assert_int_equal(o.signal, SIGKILL); /* it does not listen to SIGTERM */
    assert_non_null(strstr(o.error_text, "made no step for 1"));
    assert_non_null(strstr(o.error_text, "in phase sleep, at step 3 of 600"));
    assert_non_null(strstr(o.log_tail, "attempt 1 starts: noop"));
    assert_non_null(strstr(o.log_tail, "hangs after 3 steps"));
    assert_int_not_equal(kill(-runner, 0), 0);
    wait_log(f, "wedged", "job is wedged: made no step");
    job_close(f, &j, "crashed");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* A long step that tells how far it is goes on, however short the limit; and what went well keeps
 * no lines. */
static void test_worker_lets_a_slow_job_go_on(void **state)
{
    struct fixture *f = *state;
    struct job j;
    static struct outcome o;
    pid_t pid = worker_start(f, "slow", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea", "{\"sleep_ms\": 5000, \"stall_limit_s\": 3}", 64, 60);
    wait_report(f, &j, &o);
    assert_int_equal(o.outcome, MESSAGE_SUCCEEDED);
    assert_string_equal(o.log_tail, "");
    mem_free(o.result);
    job_close(f, &j, "failed");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* 0 switches the rule off: then only the time limit ends the job. */
static void test_worker_waits_for_ever_when_told_so(void **state)
{
    struct fixture *f = *state;
    struct job j;
    static struct outcome o;
    pid_t pid = worker_start(f, "off", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea", "{\"hang_after\": 0, \"stall_limit_s\": 0}", 64, 3);
    wait_report(f, &j, &o);
    assert_string_equal(o.error_code, "TIME");
    job_close(f, &j, "failed");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* What a runner said before it died is in the report. */
static void test_worker_reports_the_last_lines_of_a_crash(void **state)
{
    struct fixture *f = *state;
    struct job j;
    static struct outcome o;
    pid_t pid = worker_start(f, "lines", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea", "{\"fail\": \"crash\"}", 64, 60);
    wait_report(f, &j, &o);
    assert_int_equal(o.outcome, MESSAGE_CRASHED);
    assert_non_null(strstr(o.log_tail, "attempt 1 starts: noop"));
    job_close(f, &j, "crashed");
    job_dispatch(f, &j, "noop", "emea", "{\"fail\": \"permanent\"}", 64, 60);
    wait_report(f, &j, &o);
    assert_int_equal(o.outcome, MESSAGE_FAILED);
    assert_non_null(strstr(o.log_tail, "failed as the spec asked"));
    job_close(f, &j, "failed");
    assert_int_equal(worker_stop(f, pid), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker_stops_a_wedged_job),
        cmocka_unit_test(test_worker_lets_a_slow_job_go_on),
        cmocka_unit_test(test_worker_waits_for_ever_when_told_so),
        cmocka_unit_test(test_worker_reports_the_last_lines_of_a_crash),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
