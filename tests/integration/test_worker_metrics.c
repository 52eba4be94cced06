/* What a worker says of itself: its labels in the record, its metrics and its health over HTTP. */
#include "tests/integration/worker_fixture.h"

#include <unistd.h>

static void wait_answer(int port, const char *path, const char *words)
{
    static char out[65536];
    int64_t until = clock_mono_ms() + WAIT_MS;
    for (;;) {
        servers_http_get(port, path, out, sizeof out);
        if (strstr(out, words)) {
            return;
        }
        if (clock_mono_ms() > until) {
            fail_msg("%s does not say \"%s\": %s", path, words, out);
        }
        (void)usleep(20000);
    }
}

static void test_worker_metrics_tell_that_it_works(void **state)
{
    struct fixture *f = *state;
    char redis[256], database[512], metrics[64];
    int port = servers_free_port();
    (void)snprintf(redis, sizeof redis, "MERIDIAN_REDIS_URL=%s", servers_redis_url(f->servers));
    (void)snprintf(database, sizeof database,
                   "MERIDIAN_DATABASE_URL=%s?options=-crole%%3Dmeridian_worker",
                   servers_pg_url(f->servers));
    (void)snprintf(metrics, sizeof metrics, "MERIDIAN_METRICS=127.0.0.1:%d", port);
    const char *const argv[] = {"meridian-worker", "--region", "emea",     "--name",
                                "metrics",         "--slots",  "3",        "--label",
                                "gpu=a100",        "--label",  "disk=ssd", NULL};
    const char *const env[] = {redis, database, metrics, NULL};
    pid_t pid = servers_spawn(f->servers, "meridian-worker", argv, env, "metrics.log");
    (void)snprintf(f->worker, sizeof f->worker, "metrics");
    wait_sql(f, "SELECT labels = 'disk=ssd,gpu=a100' FROM meridian.worker WHERE name = 'metrics'");
    wait_answer(port, "/healthz", "200 OK");
    wait_answer(port, "/healthz", "works");
    wait_answer(port, "/metrics", "\nmeridian_worker_slots 3\n");
    wait_answer(port, "/metrics", "\nmeridian_worker_registered 1\n");
    wait_answer(port, "/metrics", "\nmeridian_worker_renewals_total{result=\"failed\"} 0\n");
    wait_answer(port, "/metrics", "\nmeridian_worker_runners_started_total 3\n");
    assert_int_equal(worker_stop(f, pid), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker_metrics_tell_that_it_works),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
