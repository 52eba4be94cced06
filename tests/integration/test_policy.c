/*
 * Why jobs wait, on real servers: for each code the situation is made, and what the scheduler
 * counts (its metrics) must be what the record says of each job (report.pending).
 */
#include "tests/integration/queue_bench.h"

static struct servers *servers;
static struct bench b;
static int port;

static void scheduler_start(void)
{
    char metrics[64];
    (void)snprintf(metrics, sizeof metrics, "127.0.0.1:%d", port);
    const char *argv[] = {"meridian-scheduler",
                          "--redis-url",
                          servers_redis_url(b.servers),
                          "--database-url",
                          b.url,
                          "--redis-prefix",
                          b.prefix,
                          "--leader-ttl",
                          "2s",
                          "--metrics",
                          metrics,
                          NULL};
    b.scheduler = servers_spawn(b.servers, "meridian-scheduler", argv, NULL, "policy.log");
}

static int group_setup(void **state)
{
    (void)state;
    servers = servers_new("policy");
    servers_redis_start(servers);
    servers_pg_start(servers);
    bench_init(&b, servers, "policy");
    port = servers_free_port();
    scheduler_start();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    bench_close(&b);
    servers_free(servers);
    return 0;
}

/* A sample's value, or -1. */
static double sample(const char *name)
{
    static char text[1 << 18];
    char line[256];
    servers_http_get(port, "/metrics", text, sizeof text);
    (void)snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(text, line);
    return at ? strtod(at + strlen(line), NULL) : -1;
}

/* Workers, and what they have claimed, live for as long as somebody waits for something. */
static void live_on(void)
{
    (void)bench_ask(&b, "UPDATE meridian.worker SET seen_at = now() + interval '45 s'");
    (void)bench_ask(&b, "UPDATE meridian.attempt SET lease_expires_at = now() + interval '45 s'"
                        " WHERE ended_at IS NULL AND state = 'running'");
}

static bool sample_becomes(const char *name, double expected)
{
    int64_t until = clock_mono_ms() + BENCH_WAIT_MS;
    double value;
    live_on();
    while ((value = sample(name)) < expected || value > expected) {
        if (clock_mono_ms() > until) {
            print_message("%s is %g, expected %g\n", name, value, expected);
            return false;
        }
        (void)bench_ask(&b, "SELECT pg_sleep(0.02)");
    }
    return true;
}

/* Scheduler and record both say that so many jobs wait for this reason, and it has a sentence. */
static void assert_reason(const char *reason, int jobs)
{
    char sql[256], expected[16], name[128];
    (void)snprintf(expected, sizeof expected, "%d", jobs);
    (void)snprintf(name, sizeof name, "meridian_pending_jobs{reason=\"%s\"}", reason);
    assert_true(sample_becomes(name, jobs));
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM report.pending WHERE reason = '%s' AND length(why) > 5",
                   reason);
    assert_true(bench_eventually(&b, sql, expected, BENCH_WAIT_MS));
}

static struct uuid submit(const char *market, const char *spec, const struct message_submission *as)
{
    struct message_submission m = as ? *as : (struct message_submission){.spec = span_of(spec)};
    m.id = bench_uuid();
    m.spec = span_of(spec);
    (void)snprintf(m.kind, sizeof m.kind, "noop");
    (void)snprintf(m.task, sizeof m.task, "intent");
    (void)snprintf(m.market, sizeof m.market, "%s", market);
    bench_submit(&b, &m);
    return m.id;
}

/* The record and the scheduler forget all jobs of the test before. */
static void cancel_all(void)
{
    (void)bench_ask(&b, "SELECT count(*) FROM meridian.job_cancel(ARRAY(SELECT id FROM meridian.job"
                        " WHERE ended_at IS NULL), 'test')");
    assert_true(bench_eventually(&b, "SELECT count(*) FROM report.pending", "0", BENCH_WAIT_MS));
    assert_true(sample_becomes("meridian_jobs{state=\"queued\"}", 0));
}

/* What keeps a job from being queued. */
static void test_policy_agrees_on_what_is_not_queued(void **state)
{
    (void)state;
    struct uuid first = submit("de-DE", "{}", NULL);
    assert_reason("no_worker", 1);
    struct message_submission after = {.after_count = 0};
    after.after[0] = first;
    after.after_count = 1;
    (void)submit("de-DE", "{}", &after);
    assert_reason("dependency", 1);
    struct message_submission later = {.has_not_before = true,
                                       .not_before_ms = clock_wall_ms() + 3600000};
    (void)submit("de-DE", "{}", &later);
    assert_reason("not_before", 1);
    cancel_all();
}

/* What holds up a queued job, one thing after the other. */
static void test_policy_agrees_on_what_is_queued(void **state)
{
    (void)state;
    struct bench_worker w;
    (void)submit("de-DE", "{\"labels\":\"gpu=a100\",\"memory_mb\":3000}", NULL);
    assert_reason("no_worker", 1);
    (void)bench_ask(&b, "SELECT meridian.queue_pause('all', '', 'test')");
    assert_reason("paused", 1);
    (void)bench_ask(&b, "SELECT meridian.queue_resume('all', '', 'test')");
    (void)bench_ask(&b, "SELECT meridian.queue_pause('market', 'de-DE', 'test')");
    assert_reason("paused", 1);
    (void)bench_ask(&b, "SELECT meridian.queue_resume('market', 'de-DE', 'test')");
    bench_hello(&w, &b, "w", "eu", 2); /* offers 4096 MB and two threads */
    assert_reason("labels", 1);
    (void)bench_ask(&b, "UPDATE meridian.worker SET labels = 'gpu=a100', memory_mb = 2500");
    assert_reason("too_large", 1);
    /* A job runs that leaves a slot, and less memory than is asked. */
    (void)submit("fr-FR", "{\"memory_mb\":2000}", NULL);
    struct message_ready running;
    (void)bench_await_offer(&w, &running);
    assert_true(bench_claim_offer(&w, &running));
    (void)bench_ask(&b, "UPDATE meridian.worker SET memory_mb = 4000");
    assert_reason("room", 1);
    (void)bench_ask(&b, "UPDATE meridian.worker SET slots = 1");
    assert_reason("slots", 1);
    (void)bench_ask(&b, "SELECT meridian.limit_set('task', 'intent', 1, 'test')");
    assert_reason("task_limit", 1);
    (void)bench_ask(&b, "SELECT meridian.limit_set('region', 'eu', 1, 'test')");
    assert_reason("region_limit", 1);
    (void)bench_ask(&b, "SELECT meridian.limit_remove('region', 'eu', 'test'),"
                        " meridian.limit_remove('task', 'intent', 'test')");
    (void)submit("fr-FR", "{}", NULL);
    (void)bench_ask(&b,
                    "SELECT meridian.market_set('fr-FR', 'eu', NULL, 'test', p_max_running => 1)");
    assert_reason("market_limit", 1);
    assert_reason("slots", 1);
    (void)bench_ask(&b,
                    "SELECT meridian.market_set('fr-FR', 'eu', NULL, 'test', p_max_running => 0)");
    /* With room for all of them both go, each to a worker that has what it asks. */
    (void)bench_ask(&b, "UPDATE meridian.worker SET slots = 3, memory_mb = 10000, threads = 9");
    struct message_ready more;
    (void)bench_await_offer(&w, &more);
    (void)bench_await_offer(&w, &more);
    assert_true(sample_becomes("meridian_region_open_attempts{region=\"eu\"}", 3));
    assert_true(sample_becomes("meridian_region_slots{region=\"eu\"}", 3));
}

/* A parent waits for its children; one that is being cancelled, for those that run. */
static void test_policy_agrees_on_a_family(void **state)
{
    (void)state;
    struct bench_worker w;
    struct message_ready child;
    struct message_submission m = {.id = bench_uuid(), .spec = span_of("{}")};
    strcpy(m.kind, "nightly");
    strcpy(m.task, "intent");
    bench_submit(&b, &m);
    assert_true(bench_eventually(&b, "SELECT count(*) FROM meridian.job WHERE parent IS NOT NULL",
                                 "7", BENCH_WAIT_MS));
    assert_reason("children", 1);
    bench_hello(&w, &b, "w-family", "eu", 1);
    (void)bench_await_offer(&w, &child);
    assert_true(bench_claim_offer(&w, &child));
    assert_reason("children", 1);
    (void)bench_ask_job(
        &b,
        "SELECT meridian.job_cancel(ARRAY[id], 'test') FROM meridian.job WHERE id = ", m.id.text);
    assert_reason("cancelling", 1);
    assert_reason("children", 0);
    bench_result(&w, &child, MESSAGE_CANCELLED, NULL);
    assert_true(bench_job_becomes(&b, m.id.text, "cancelled"));
    assert_reason("cancelling", 0);
    bench_bye(&w);
}

/* An attempt that failed waits for its next; the queue wait and the ends are counted. */
static void test_policy_agrees_on_a_retry(void **state)
{
    (void)state;
    struct bench_worker w;
    double before = sample("meridian_queue_wait_seconds_count");
    bench_hello(&w, &b, "w-ap", "ap", 1);
    (void)submit("ja-JP", "{\"max_attempts\":100}", NULL);
    struct message_ready job;
    (void)bench_await_offer(&w, &job);
    /* It has failed so often that it waits for minutes; the scheduler reads it with the claim. */
    (void)bench_ask(&b, "UPDATE meridian.job SET failures = 8 WHERE market = 'ja-JP'");
    assert_true(bench_claim_offer(&w, &job));
    assert_true(sample_becomes("meridian_jobs{state=\"running\"}", 2));
    bench_result(&w, &job, MESSAGE_FAILED, "UNREACHABLE");
    char sql[256];
    (void)snprintf(sql, sizeof sql, "SELECT reason FROM report.pending WHERE job = '%s'",
                   job.job.text);
    assert_true(bench_eventually(&b, sql, "retry", BENCH_WAIT_MS));
    assert_true(sample("meridian_queue_wait_seconds_count") >= before + 1);
    assert_true(sample("meridian_attempt_errors_total{class=\"retry\"}") >= 1);
    assert_true(sample("meridian_attempts_ended_total{outcome=\"failed\"}") >= 1);
    assert_true(sample("meridian_job_moves_total{from=\"queued\",to=\"dispatched\"}") >= 1);
}

/* A health check that the leader passes, and what is known when there is none. */
static void test_policy_says_when_nobody_leads(void **state)
{
    (void)state;
    char answer[1024];
    servers_http_get(port, "/healthz", answer, sizeof answer);
    assert_non_null(strstr(answer, "200 OK"));
    assert_non_null(strstr(answer, "leads"));
    assert_true(sample("meridian_leader_term") >= 1);
    (void)submit("de-DE", "{\"labels\":\"gpu=none\"}", NULL);
    assert_reason("labels", 1);
    assert_int_equal(servers_wait(b.servers, b.scheduler, SIGTERM, 10000), 0);
    assert_true(bench_eventually(&b, "SELECT reason FROM report.pending WHERE state = 'queued'",
                                 "no_leader", BENCH_WAIT_MS));
    scheduler_start();
    assert_reason("labels", 1);
}

/* What the leader learnt of durations is in the record, and the next leader starts with it. */
static void test_policy_keeps_what_it_learnt(void **state)
{
    (void)state;
    struct bench_worker w;
    bench_hello(&w, &b, "w-ap", "ap", 1);
    (void)submit("ja-JP", "{}", NULL);
    struct message_ready job;
    (void)bench_await_offer(&w, &job);
    assert_true(bench_claim_offer(&w, &job));
    bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
    assert_true(bench_eventually(
        &b, "SELECT attempts > 0 FROM meridian.estimate WHERE kind = 'noop' AND market = 'ja-JP'",
        "t", BENCH_WAIT_MS));
    assert_true(
        bench_eventually(&b, "SELECT used_s > 0 FROM meridian.market_use WHERE market = 'ja-JP'",
                         "t", BENCH_WAIT_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_agrees_on_what_is_not_queued),
        cmocka_unit_test(test_policy_agrees_on_a_family),
        cmocka_unit_test(test_policy_agrees_on_what_is_queued),
        cmocka_unit_test(test_policy_agrees_on_a_retry),
        cmocka_unit_test(test_policy_says_when_nobody_leads),
        cmocka_unit_test(test_policy_keeps_what_it_learnt),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
