/*
 * How quick the scheduler is, on servers of its own: admission of a burst, the time from a result
 * to the next offer (the commit of the result, the decision and the commit of the new attempt lie
 * in between), and its memory and idle CPU. PostgreSQL with fsync on.
 *
 *     bench_scheduler [JOBS]      (20000)
 */
#include "tests/integration/queue_bench.h"

#include <unistd.h>

enum { ROUNDS = 500, IDLE_MS = 3000 };

static int jobs_wanted = 20000;

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* A number of /proc/PID/status, in kB. */
static long status_kb(pid_t pid, const char *name)
{
    char path[64], line[256];
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    long value = -1;
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, name, strlen(name)) == 0) {
            value = strtol(line + strlen(name) + 1, NULL, 10);
        }
    }
    (void)fclose(file);
    return value;
}

static double cpu_seconds(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    unsigned long user = 0;
    unsigned long system = 0;
    int read =
        fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    (void)fclose(file);
    assert_int_equal(read, 2);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void measure_burst(struct bench *b)
{
    for (int i = 0; i < jobs_wanted; i++) {
        (void)bench_noop(b, "ja-JP", ""); /* no worker there: they stay queued */
    }
    char expected[16];
    (void)snprintf(expected, sizeof expected, "%d", jobs_wanted);
    int64_t start = clock_mono_ms();
    b->scheduler = bench_start(b, "bench.log");
    assert_true(bench_eventually(b, "SELECT count(*) FROM meridian.job", expected, 600000));
    int64_t ms = clock_mono_ms() - start;
    print_message("admitted %d jobs in %lld ms (start and leadership included): %.0f/s\n",
                  jobs_wanted, (long long)ms, 1000.0 * jobs_wanted / (double)ms);
}

static void measure_rounds(struct bench *b)
{
    struct bench_worker w;
    struct message_ready job;
    static int64_t us[ROUNDS];
    bench_hello(&w, b, "w", "eu", 1);
    for (int i = 0; i < ROUNDS + 1; i++) {
        (void)bench_noop(b, "de-DE", "");
    }
    while (!bench_claim(&w, &job, 1000)) {
    }
    for (int i = 0; i < ROUNDS; i++) {
        (void)bench_renew(&w, "00000000-0000-0000-0000-000000000000", 1);
        int64_t start = clock_mono_us();
        bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
        us[i] = bench_await_offer(&w, &job) - start;
        assert_true(bench_claim_offer(&w, &job));
    }
    qsort(us, ROUNDS, sizeof us[0], by_value);
    print_message("result to next offer, %d rounds: p50 %.1f ms, p99 %.1f ms\n", ROUNDS,
                  (double)us[ROUNDS / 2] / 1000, (double)us[ROUNDS * 99 / 100] / 1000);
}

static void test_bench_scheduler(void **state)
{
    (void)state;
    struct servers *servers = servers_new("bench");
    servers_redis_start(servers);
    servers_pg_set_durable(servers);
    servers_pg_start(servers);
    struct bench b;
    bench_init(&b, servers, "bench");
    measure_burst(&b);
    long rss_kb = status_kb(b.scheduler, "VmRSS:");
    print_message("resident with %d queued jobs: %.1f MB\n", jobs_wanted, (double)rss_kb / 1024);
    measure_rounds(&b);
    double before = cpu_seconds(b.scheduler);
    int64_t until = clock_mono_ms() + IDLE_MS;
    while (clock_mono_ms() < until) {
        (void)bench_ask(&b, "SELECT pg_sleep(0.5)");
    }
    print_message("idle: %.1f %% of a core\n",
                  100 * (cpu_seconds(b.scheduler) - before) / (IDLE_MS / 1000.0));
    print_message("peak resident: %.1f MB\n", (double)status_kb(b.scheduler, "VmHWM:") / 1024);
    bench_close(&b);
    servers_free(servers);
}

int main(int argc, char **argv)
{
    jobs_wanted = argc > 1 ? atoi(argv[1]) : jobs_wanted;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bench_scheduler)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
