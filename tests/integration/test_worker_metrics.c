/* What a worker says of itself: its labels in the record, its metrics and its health over HTTP. */
#include "tests/integration/worker_fixture.h"

#include <arpa/inet.h>
#include <sys/socket.h>

/* A port that was free a moment ago. */
static int free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    (void)close(fd);
    return ntohs(at.sin_port);
}

/* The whole answer; empty when nobody listens. */
static void get(int port, const char *path, char *out, size_t size)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char request[128];
    size_t length = (size_t)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n\r\n", path);
    bool is_sent = connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
                   send(fd, request, length, MSG_NOSIGNAL) == (ssize_t)length;
    size_t used = 0;
    for (ssize_t got = 1; is_sent && got > 0 && used < size - 1;) {
        got = recv(fd, out + used, size - 1 - used, 0);
        used += got > 0 ? (size_t)got : 0;
    }
    out[used] = '\0';
    (void)close(fd);
}

static void wait_answer(int port, const char *path, const char *words)
{
    static char out[65536];
    int64_t until = clock_mono_ms() + WAIT_MS;
    for (get(port, path, out, sizeof out); !strstr(out, words); get(port, path, out, sizeof out)) {
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
    int port = free_port();
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
