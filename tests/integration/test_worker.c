/* meridian-worker against a real Redis and PostgreSQL: assignments, failures, limits, stops. */
#include "tests/integration/worker_fixture.h"

/* An assigned noop is run and reported; once it is recorded the worker lets go of it. */
static void test_worker_runs_a_job(void **state)
{
    struct fixture *f = *state;
    struct job j;
    struct outcome o;
    pid_t pid = worker_start(f, "runs", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea", "{\"sleep_ms\": 10, \"steps\": 2}", 64, 60);
    wait_report(f, &j, &o);
    assert_int_equal(o.outcome, MESSAGE_SUCCEEDED);
    assert_string_equal(o.worker, "runs");
    assert_non_null(strstr(o.result, "{\"output\":\"slept 10 ms\",\"steps\":2,\"steps_here\":2,"));
    assert_true(o.peak_rss_kb > 1000);
    const struct redis_reply *lines = NULL; /* for `meridian logs`: begin and end, with the time */
    struct err_buf e = {{0}};
    char key[128];
    (void)snprintf(key, sizeof key, "{meridian}:log:%s", j.id.text);
    assert_int_equal(REDIS_SYNC_CALL(fixture_redis(f), &lines, &e, "LRANGE", key, "0", "-1"), 0);
    assert_int_equal(redis_reply_count(lines), 2);
    assert_non_null(
        strstr(redis_reply_text(redis_reply_at(lines, 0)).data, "Z attempt 1 starts: noop"));
    assert_non_null(strstr(redis_reply_text(redis_reply_at(lines, 1)).data, "Z attempt 1 done"));
    mem_free(o.result);
    o.result = mem_string_copy("{\"output\":\"x\"}");
    job_finish(f, &j, &o);
    mem_free(o.result);
    int64_t began = clock_mono_ms();
    assert_int_equal(worker_stop(f, pid), 0);
    assert_true(clock_mono_ms() - began < 5000); /* no result waits any more */
    assert_true(sql_is(f, "gone", "SELECT state FROM meridian.worker WHERE name = 'runs'"));
    assert_true(sql_is(f, "1",
                       "SELECT count(*) FROM meridian.event WHERE job = '%s'"
                       " AND to_state = 'succeeded'",
                       j.id.text));
    assert_true(sql_is(f, "t",
                       "SELECT started_at >= dispatched_at FROM meridian.attempt WHERE job = '%s'",
                       j.id.text));
}

static int check_of(struct fixture *f, const char *name)
{
    char database[512];
    (void)snprintf(database, sizeof database,
                   "MERIDIAN_DATABASE_URL=%s?options=-crole%%3Dmeridian_worker",
                   servers_pg_url(f->servers));
    const char *const argv[] = {"meridian-worker", "--check", "--name", name, NULL};
    const char *const env[] = {database, NULL};
    return servers_run(f->servers, "meridian-worker", argv, env, "check.log", 10000);
}

/* --check, with a worker's rights and without a region: is the one of that name there? */
static void test_worker_check_tells_whether_it_lives(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(check_of(f, "checked"), 1);
    pid_t pid = worker_start(f, "checked", "emea", "30s");
    assert_int_equal(check_of(f, "checked"), 0);
    assert_int_equal(worker_stop(f, pid), 0);
    assert_int_equal(check_of(f, "checked"), 1);
}

static void wait_stream_empty(struct fixture *f)
{
    const struct redis_reply *reply = NULL;
    struct err_buf e = {{0}};
    char key[128];
    (void)snprintf(key, sizeof key, "{meridian}:ready:%s", f->worker);
    for (int64_t end = clock_mono_ms() + WAIT_MS;; (void)usleep(10000)) {
        assert_int_equal(REDIS_SYNC_CALL(fixture_redis(f), &reply, &e, "XLEN", key), 0);
        if (redis_reply_integer(reply) == 0) {
            return;
        }
        assert_true(clock_mono_ms() < end);
    }
}

/* Lines "attempt 1 starts" among the log lines of the job: how often a runner had it. */
static int starts_of(struct fixture *f, const struct job *j)
{
    const struct redis_reply *lines = NULL;
    struct err_buf e = {{0}};
    char key[128];
    int starts = 0;
    (void)snprintf(key, sizeof key, "{meridian}:log:%s", j->id.text);
    assert_int_equal(REDIS_SYNC_CALL(fixture_redis(f), &lines, &e, "LRANGE", key, "0", "-1"), 0);
    for (size_t i = 0; i < redis_reply_count(lines); i++) {
        starts += strstr(redis_reply_text(redis_reply_at(lines, i)).data, "starts") != NULL;
    }
    return starts;
}

/* The same assignment as two messages, handed over by the record, and once more when it is over: it
 * runs once, and nothing is left in the stream. */
static void test_worker_runs_a_duplicate_once(void **state)
{
    struct fixture *f = *state;
    struct job j;
    struct outcome o;
    pid_t pid = worker_start(f, "twice", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea", "{\"sleep_ms\": 100}", 64, 60);
    job_send(f, &j);
    wait_report(f, &j, &o);
    mem_free(o.result);
    job_send(f, &j); /* while the result waits to be recorded */
    wait_stream_empty(f);
    job_close(f, &j, "failed");
    job_send(f, &j); /* and when it is */
    wait_stream_empty(f);
    assert_int_equal(worker_stop(f, pid), 0);
    assert_int_equal(starts_of(f, &j), 1);
}

/* A job whose message Redis lost is handed over with the next renewals, and with all it needs. */
static void test_worker_is_handed_over_what_redis_lost(void **state)
{
    struct fixture *f = *state;
    struct job j;
    struct outcome o;
    pid_t pid = worker_start(f, "forgotten", "emea", "30s");
    job_assign(f, &j, "noop", "emea", "{\"sleep_ms\": 700}", 64, 60);
    wait_running(f, &j); /* the record hears soon that it has begun */
    job_send(f, &j);     /* the message was late only */
    wait_report(f, &j, &o);
    assert_string_equal(o.result, "{\"output\":\"slept 700 ms\"}");
    mem_free(o.result);
    wait_stream_empty(f);
    job_close(f, &j, "failed");
    assert_int_equal(worker_stop(f, pid), 0);
    assert_int_equal(starts_of(f, &j), 1);
}

/* A worker that cannot reach Redis, but PostgreSQL, gets its work nevertheless, and leaves the
 * result there. */
static void test_worker_works_without_redis(void **state)
{
    struct fixture *f = *state;
    struct job j;
    struct outcome o;
    pid_t pid = worker_start(f, "cut-off", "emea", "30s");
    servers_redis_kill(f->servers);
    redis_sync_close(f->redis);
    f->redis = NULL;
    job_assign(f, &j, "noop", "emea", "{\"sleep_ms\": 700}", 64, 60);
    wait_running(f, &j);
    wait_sql(f, "SELECT EXISTS (SELECT FROM meridian.result_left WHERE job = '%s')", j.id.text);
    servers_redis_start(f->servers); /* and tells of it when Redis is back, too */
    wait_report(f, &j, &o);
    assert_int_equal(o.outcome, MESSAGE_SUCCEEDED);
    mem_free(o.result);
    job_close(f, &j, "failed");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* Neither what is too old to be within its lease is begun, nor what was for an earlier start of the
 * worker. */
static void test_worker_begins_nothing_that_may_be_over(void **state)
{
    struct fixture *f = *state;
    struct job late, early, right;
    struct outcome o;
    pid_t pid = worker_start(f, "careful", "emea", "30s");
    job_assign(f, &late, "noop", "emea", "{}", 64, 60);
    job_close(f, &late, "undelivered");
    late.ready.worker_mono_ms -= 8000;
    job_send(f, &late);
    job_assign(f, &early, "noop", "emea", "{}", 64, 60);
    job_close(f, &early, "undelivered");
    early.ready.incarnation = early.id;
    job_send(f, &early);
    job_dispatch(f, &right, "noop", "emea", "{}", 64, 60);
    wait_report(f, &right, &o);
    mem_free(o.result);
    job_close(f, &right, "failed");
    assert_int_equal(worker_stop(f, pid), 0);
    assert_int_equal(starts_of(f, &late), 0);
    assert_int_equal(starts_of(f, &early), 0);
}

/* A job of another region is never run, even when its message lies in our stream. */
static void test_worker_refuses_another_region(void **state)
{
    struct fixture *f = *state;
    struct job other, ours;
    struct outcome o;
    pid_t pid = worker_start(f, "resident", "emea", "30s");
    job_assign(f, &other, "noop", "apac", "{}", 64, 60);
    job_close(f, &other, "undelivered");
    job_send(f, &other);
    job_dispatch(f, &ours, "noop", "emea", "{}", 64, 60);
    wait_report(f, &ours, &o);
    mem_free(o.result);
    job_close(f, &ours, "failed");
    assert_int_equal(worker_stop(f, pid), 0);
    assert_int_equal(starts_of(f, &other), 0);
}

/* A message of a newer version is handed back at once with the reason, and not begun when the
 * record hands it over afterwards. */
static void test_worker_hands_back_what_is_newer_than_it(void **state)
{
    struct fixture *f = *state;
    struct job j;
    struct outcome o;
    struct buf m;
    struct err_buf e = {{0}};
    pid_t pid = worker_start(f, "older", "emea", "30s");
    job_assign(f, &j, "noop", "emea", "{}", 64, 60);
    buf_init(&m, 70000);
    assert_int_equal(message_encode_ready(&j.ready, &m, &e), 0);
    char *version = memmem(m.data, m.length, "\xa1v\x01", 3);
    assert_non_null(version);
    version[2] = 99;
    const struct span args[] = {span_of("XADD"), span_of("{meridian}:ready:older"), span_of("*"),
                                span_of("m"), buf_span(&m)};
    assert_int_equal(redis_sync_send(fixture_redis(f), args, 5, 0, NULL, &e), 0);
    buf_close(&m);
    wait_report(f, &j, &o);
    assert_int_equal(o.outcome, MESSAGE_RETURNED);
    assert_string_equal(o.error_code, "UNSUPPORTED");
    assert_non_null(strstr(o.error_text, "version 99"));
    wait_sql(f,
             "SELECT clock_timestamp() > dispatched_at + interval '3500 ms' FROM"
             " meridian.attempt WHERE job = '%s'",
             j.id.text); /* a renewal has handed it over */
    job_close(f, &j, "returned");
    assert_int_equal(worker_stop(f, pid), 0);
    assert_int_equal(starts_of(f, &j), 0);
}

/* What is cancelled before a runner had it is reported as cancelled and never begun. */
static void test_worker_cancels_what_it_was_only_given(void **state)
{
    struct fixture *f = *state;
    struct job j;
    struct outcome o;
    pid_t pid = worker_start(f, "cancel-early", "emea", "30s");
    job_assign(f, &j, "noop", "emea", "{}", 64, 60);
    sql_do(f, "UPDATE meridian.job SET cancel_requested_at = now() WHERE id = '%s'", j.id.text);
    wait_report(f, &j, &o);
    assert_int_equal(o.outcome, MESSAGE_CANCELLED);
    job_close(f, &j, "cancelled");
    assert_int_equal(worker_stop(f, pid), 0);
    assert_int_equal(starts_of(f, &j), 0);
}

/* A worker that drains is marked in the record at once, and hands back what it is still given. */
static void test_worker_hands_back_what_comes_while_it_drains(void **state)
{
    struct fixture *f = *state;
    struct job slow, next;
    struct outcome o;
    pid_t pid = worker_start(f, "leaving", "emea", "30s");
    job_dispatch(f, &slow, "noop", "emea", "{\"sleep_ms\": 4000}", 64, 60);
    wait_running(f, &slow);
    assert_int_equal(kill(pid, SIGTERM), 0);
    wait_sql(f, "SELECT state = 'draining' FROM meridian.worker WHERE name = 'leaving'");
    job_assign(f, &next, "noop", "emea", "{}", 64, 60);
    wait_report(f, &next, &o);
    assert_int_equal(o.outcome, MESSAGE_RETURNED);
    job_close(f, &next, "returned");
    wait_report(f, &slow, &o);
    assert_int_equal(o.outcome, MESSAGE_SUCCEEDED);
    mem_free(o.result);
    job_close(f, &slow, "failed");
    int status = servers_wait(f->servers, pid, 0, WAIT_MS);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Jobs that were given together wait for each other while they would need more memory than the
 * worker offers, whatever slots are free. */
static void test_worker_runs_no_more_than_it_offers(void **state)
{
    struct fixture *f = *state;
    struct job jobs[3];
    struct outcome o;
    pid_t pid = worker_start_sized(f, "small", "emea", "30s", "3", "1g");
    int64_t began = clock_mono_ms();
    for (int i = 0; i < 3; i++) {
        job_dispatch(f, &jobs[i], "noop", "emea", "{\"sleep_ms\": 400}", 600, 60);
    }
    for (int i = 0; i < 3; i++) {
        wait_report(f, &jobs[i], &o);
        assert_int_equal(o.outcome, MESSAGE_SUCCEEDED);
        job_finish(f, &jobs[i], &o);
        mem_free(o.result);
    }
    assert_true(clock_mono_ms() - began >= 1200); /* one after the other */
    assert_int_equal(worker_stop(f, pid), 0);
}

/* Nobody may have known that the first takes long: the second goes where it need not wait for it.
 */
static void test_worker_hands_back_what_waits_behind_a_long_job(void **state)
{
    struct fixture *f = *state;
    struct job slow, next;
    struct outcome o;
    pid_t pid = worker_start(f, "behind", "emea", "30s");
    job_dispatch(f, &slow, "noop", "emea", "{\"sleep_ms\": 60000}", 64, 90);
    wait_running(f, &slow);
    job_dispatch(f, &next, "noop", "emea", "{}", 64, 60);
    wait_report(f, &next, &o);
    assert_int_equal(o.outcome, MESSAGE_RETURNED);
    job_close(f, &next, "returned");
    sql_do(f, "UPDATE meridian.job SET cancel_requested_at = now() WHERE id = '%s'", slow.id.text);
    wait_report(f, &slow, &o);
    assert_int_equal(o.outcome, MESSAGE_CANCELLED);
    job_close(f, &slow, "cancelled");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* A crash is reported within a second, with signal and memory, and the slot goes on. */
static void test_worker_reports_a_crash(void **state)
{
    struct fixture *f = *state;
    struct job j, next;
    struct outcome o;
    pid_t pid = worker_start(f, "crash", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea", "{\"fail\": \"crash\"}", 64, 60);
    wait_running(f, &j);
    int64_t began = clock_mono_ms();
    wait_report(f, &j, &o);
    assert_true(clock_mono_ms() - began < 1000);
    assert_int_equal(o.outcome, MESSAGE_CRASHED);
    assert_int_equal(o.signal, SIGSEGV);
    assert_string_equal(o.error_code, "CRASH");
    assert_true(o.peak_rss_kb > 1000);
    job_close(f, &j, "crashed");
    job_dispatch(f, &next, "noop", "emea", "{}", 64, 60);
    wait_report(f, &next, &o);
    assert_int_equal(o.outcome, MESSAGE_SUCCEEDED);
    mem_free(o.result);
    job_close(f, &next, "failed");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* kill -9 of a runner from outside is a crash by that signal, not a lack of memory. */
static void test_worker_reports_a_killed_runner(void **state)
{
    struct fixture *f = *state;
    struct job j;
    struct outcome o;
    pid_t pid = worker_start(f, "killed", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea", "{\"sleep_ms\": 60000}", 512, 60);
    wait_running(f, &j);
    int64_t began = clock_mono_ms();
    assert_int_equal(kill(runner_of(pid), SIGKILL), 0);
    wait_report(f, &j, &o);
    assert_true(clock_mono_ms() - began < 1000);
    assert_int_equal(o.outcome, MESSAGE_CRASHED);
    assert_int_equal(o.signal, SIGKILL);
    assert_string_equal(o.error_code, "CRASH");
    job_close(f, &j, "crashed");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* A job that takes more memory than it may is told as such, whichever guard stops it. */
static void test_worker_limits_memory(void **state)
{
    struct fixture *f = *state;
    struct job j;
    struct outcome o;
    pid_t pid = worker_start(f, "memory", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea", "{\"fail\": \"oom\"}", 128, 60);
    wait_report(f, &j, &o);
    assert_true(o.outcome == MESSAGE_FAILED || o.outcome == MESSAGE_CRASHED);
    assert_string_equal(o.error_code, "OOM");
    assert_true(o.peak_rss_kb > 64 * 1024);
    job_close(f, &j, "failed");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* A job that ignores SIGTERM past its time limit is killed and told as TIME. */
static void test_worker_limits_time(void **state)
{
    struct fixture *f = *state;
    struct job polite, hanging;
    struct outcome o;
    pid_t pid = worker_start(f, "time", "emea", "30s");
    job_dispatch(f, &polite, "noop", "emea", "{\"sleep_ms\": 60000}", 64, 1);
    wait_report(f, &polite, &o);
    assert_int_equal(o.outcome, MESSAGE_FAILED);
    assert_string_equal(o.error_code, "TIME");
    job_close(f, &polite, "failed");
    job_dispatch(f, &hanging, "noop", "emea", "{\"fail\": \"hang\"}", 64, 1);
    wait_report(f, &hanging, &o);
    assert_int_equal(o.outcome, MESSAGE_FAILED);
    assert_string_equal(o.error_code, "TIME");
    assert_int_equal(o.signal, SIGKILL);
    job_close(f, &hanging, "failed");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* A cancel reaches the running job with the next renewal. */
static void test_worker_cancels(void **state)
{
    struct fixture *f = *state;
    struct job j;
    struct outcome o;
    pid_t pid = worker_start(f, "cancel", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea", "{\"sleep_ms\": 60000}", 64, 60);
    wait_running(f, &j);
    sql_do(f, "UPDATE meridian.job SET cancel_requested_at = now() WHERE id = '%s'", j.id.text);
    int64_t began = clock_mono_ms();
    wait_report(f, &j, &o);
    assert_true(clock_mono_ms() - began < 4000);
    assert_int_equal(o.outcome, MESSAGE_CANCELLED);
    job_close(f, &j, "cancelled");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* An attempt that was given to somebody else is killed without a report. */
static void test_worker_kills_a_fenced_job(void **state)
{
    struct fixture *f = *state;
    struct job j;
    pid_t pid = worker_start(f, "fenced", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea", "{\"sleep_ms\": 60000}", 64, 60);
    wait_running(f, &j);
    pid_t runner = runner_of(pid);
    job_close(f, &j, "lost");
    for (int64_t end = clock_mono_ms() + WAIT_MS; kill(runner, 0) == 0;) {
        assert_true(clock_mono_ms() < end);
        (void)usleep(10000);
    }
    assert_int_equal(reports_of(f, j.id.text, NULL), 0);
    assert_int_equal(worker_stop(f, pid), 0);
}

/* SIGTERM lets a short job finish; past the grace time a long one goes back uncharged. */
static void test_worker_drains(void **state)
{
    struct fixture *f = *state;
    struct job quick, slow;
    struct outcome o;
    pid_t pid = worker_start(f, "drain-a", "emea", "20s");
    job_dispatch(f, &quick, "noop", "emea", "{\"sleep_ms\": 500}", 64, 60);
    wait_running(f, &quick);
    assert_int_equal(kill(pid, SIGTERM), 0);
    wait_report(f, &quick, &o);
    assert_int_equal(o.outcome, MESSAGE_SUCCEEDED);
    mem_free(o.result);
    job_close(f, &quick, "failed");
    int status = servers_wait(f->servers, pid, 0, WAIT_MS);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);

    pid = worker_start(f, "drain-b", "emea", "300ms");
    job_dispatch(f, &slow, "noop", "emea", "{\"sleep_ms\": 60000}", 64, 60);
    wait_running(f, &slow);
    assert_int_equal(kill(pid, SIGTERM), 0);
    wait_report(f, &slow, &o);
    assert_int_equal(o.outcome, MESSAGE_RETURNED);
    job_close(f, &slow, "returned");
    status = servers_wait(f->servers, pid, 0, WAIT_MS);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The operator's drain lets jobs finish, takes none, and ends the worker. */
static void test_worker_drains_when_asked(void **state)
{
    struct fixture *f = *state;
    pid_t pid = worker_start(f, "asked", "emea", "30s");
    sql_do(f, "UPDATE meridian.worker SET drain_requested_at = now() WHERE name = 'asked'");
    int status = servers_wait(f->servers, pid, 0, WAIT_MS);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A second signal ends at once. */
static void test_worker_second_signal_ends_at_once(void **state)
{
    struct fixture *f = *state;
    struct job j;
    pid_t pid = worker_start(f, "impatient", "emea", "60s");
    job_dispatch(f, &j, "noop", "emea", "{\"sleep_ms\": 60000}", 64, 60);
    wait_running(f, &j);
    assert_int_equal(kill(pid, SIGTERM), 0);
    wait_log(f, "impatient", "draining"); /* two signals at once would be merged */
    int status = servers_wait(f->servers, pid, SIGTERM, 3000);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    job_close(f, &j, "lost");
}

/* kill -9 of the supervisor takes its runner along; the next hello of the name ends the lease. */
static void test_worker_killed_supervisor_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct job j;
    pid_t pid = worker_start(f, "phoenix", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea", "{\"sleep_ms\": 60000}", 64, 60);
    wait_running(f, &j);
    pid_t runner = runner_of(pid);
    assert_true(runner > 0);
    (void)servers_wait(f->servers, pid, SIGKILL, WAIT_MS);
    for (int64_t end = clock_mono_ms() + 2000; kill(runner, 0) == 0;) {
        assert_true(clock_mono_ms() < end);
        (void)usleep(5000);
    }
    assert_true(sql_is(f, "t",
                       "SELECT lease_expires_at > now() FROM meridian.attempt"
                       " WHERE job = '%s'",
                       j.id.text));
    pid = worker_start(f, "phoenix", "emea", "30s");
    wait_sql(f, "SELECT lease_expires_at <= now() FROM meridian.attempt WHERE job = '%s'",
             j.id.text);
    job_close(f, &j, "lost");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* Two workers with one name: the later one has it, the earlier one stops by itself. */
static void test_worker_name_belongs_to_the_last(void **state)
{
    struct fixture *f = *state;
    pid_t first = worker_start(f, "same", "emea", "30s");
    pid_t second = worker_start(f, "same", "emea", "30s");
    int status = servers_wait(f->servers, first, 0, WAIT_MS);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_int_equal(worker_stop(f, second), 0);
}

/* Redis goes down with a job running and comes back empty: the result arrives nevertheless. */
static void test_worker_survives_redis(void **state)
{
    struct fixture *f = *state;
    struct job j, next;
    struct outcome o;
    pid_t pid = worker_start(f, "redis-restart", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea", "{\"sleep_ms\": 500}", 64, 60);
    wait_running(f, &j);
    servers_redis_kill(f->servers);
    redis_sync_close(f->redis);
    f->redis = NULL;
    servers_redis_start(f->servers);
    wait_report(f, &j, &o);
    assert_int_equal(o.outcome, MESSAGE_SUCCEEDED);
    mem_free(o.result);
    job_close(f, &j, "failed");
    job_dispatch(f, &next, "noop", "emea", "{}", 64, 60);
    wait_report(f, &next, &o);
    mem_free(o.result);
    job_close(f, &next, "failed");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* PostgreSQL is killed and restarted with a job running: the lease and the job go on. */
static void test_worker_survives_postgres(void **state)
{
    struct fixture *f = *state;
    struct job j;
    struct outcome o;
    pid_t pid = worker_start(f, "pg-restart", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea", "{\"sleep_ms\": 4000}", 64, 60);
    wait_running(f, &j);
    pg_sync_close(f->pg);
    f->pg = NULL;
    servers_pg_kill(f->servers);
    servers_pg_start(f->servers);
    wait_sql(f,
             "SELECT lease_expires_at > now() + interval '12 s' FROM meridian.attempt"
             " WHERE job = '%s'",
             j.id.text);
    wait_report(f, &j, &o);
    assert_int_equal(o.outcome, MESSAGE_SUCCEEDED);
    mem_free(o.result);
    job_close(f, &j, "failed");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* When PostgreSQL is silent for ten seconds the runner is killed before the lease can be given
 * away, and nothing is reported. */
static void test_worker_gives_up_a_lost_lease(void **state)
{
    struct fixture *f = *state;
    struct job j;
    pid_t pid = worker_start(f, "silent", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea", "{\"sleep_ms\": 60000}", 64, 60);
    wait_running(f, &j);
    pid_t runner = runner_of(pid);
    int64_t began = clock_mono_ms();
    servers_pg_freeze(f->servers);
    while (kill(runner, 0) == 0) {
        assert_true(clock_mono_ms() - began < 14000);
        (void)usleep(20000);
    }
    assert_true(clock_mono_ms() - began > 7000);
    servers_pg_thaw(f->servers);
    assert_int_equal(reports_of(f, j.id.text, NULL), 0);
    job_close(f, &j, "lost");
    assert_int_equal(worker_stop(f, pid), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker_runs_a_job),
        cmocka_unit_test(test_worker_check_tells_whether_it_lives),
        cmocka_unit_test(test_worker_runs_a_duplicate_once),
        cmocka_unit_test(test_worker_is_handed_over_what_redis_lost),
        cmocka_unit_test(test_worker_works_without_redis),
        cmocka_unit_test(test_worker_begins_nothing_that_may_be_over),
        cmocka_unit_test(test_worker_refuses_another_region),
        cmocka_unit_test(test_worker_hands_back_what_is_newer_than_it),
        cmocka_unit_test(test_worker_cancels_what_it_was_only_given),
        cmocka_unit_test(test_worker_hands_back_what_comes_while_it_drains),
        cmocka_unit_test(test_worker_runs_no_more_than_it_offers),
        cmocka_unit_test(test_worker_hands_back_what_waits_behind_a_long_job),
        cmocka_unit_test(test_worker_reports_a_crash),
        cmocka_unit_test(test_worker_reports_a_killed_runner),
        cmocka_unit_test(test_worker_limits_memory),
        cmocka_unit_test(test_worker_limits_time),
        cmocka_unit_test(test_worker_cancels),
        cmocka_unit_test(test_worker_kills_a_fenced_job),
        cmocka_unit_test(test_worker_drains),
        cmocka_unit_test(test_worker_drains_when_asked),
        cmocka_unit_test(test_worker_second_signal_ends_at_once),
        cmocka_unit_test(test_worker_killed_supervisor_leaves_nothing),
        cmocka_unit_test(test_worker_name_belongs_to_the_last),
        cmocka_unit_test(test_worker_survives_redis),
        cmocka_unit_test(test_worker_survives_postgres),
        cmocka_unit_test(test_worker_gives_up_a_lost_lease),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
