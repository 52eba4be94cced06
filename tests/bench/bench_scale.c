/*
 * The scheduler with much to know, on servers of its own with fsync on: a thousand and a million
 * queued jobs over a thousand markets, a thousand workers, and nothing to do. Workers are played:
 * they say hello, renew and take.
 *
 *     bench_scale [JOBS]      (1000000)
 *
 * Lines on standard output: NAME VALUE UNIT.
 */
#include "tests/integration/queue_bench.h"

#include <unistd.h>

enum { MARKETS = 1000, SLOTS = 1000, WORKERS = 1000, WAIT_MS = 900000, IDLE_MS = 10000 };

static int jobs_wanted = 1000000;

static void say(const char *name, double value, const char *unit)
{
    printf("%s %.3f %s\n", name, value, unit);
    (void)fflush(stdout);
}

/* A number of /proc/PID/status, in kB. */
static double status_mb(pid_t pid, const char *name)
{
    char path[64], line[256];
    long value = -1;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, name, strlen(name)) == 0) {
            value = strtol(line + strlen(name) + 1, NULL, 10);
        }
    }
    (void)fclose(file);
    return (double)value / 1024;
}

static double cpu_seconds(pid_t pid)
{
    char path[64];
    unsigned long user = 0;
    unsigned long system = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    int read =
        fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    (void)fclose(file);
    assert_int_equal(read, 2);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* Queued no-ops of 300 bytes, straight into the record: how they came there is bench_queue's. */
static void fill(struct bench *b, int count)
{
    char sql[1024];
    (void)snprintf(
        sql, sizeof sql,
        "INSERT INTO meridian.job (id, kind, market, region, state, queued_at, memory_mb, spec)"
        " SELECT meridian.uuid_make(), 'noop', 'm' || (i %% %d), 'eu', 'queued', now(), 16,"
        " jsonb_build_object('note', repeat('x', 270)) FROM generate_series(1, %d) i",
        MARKETS, count);
    (void)bench_ask(b, sql);
    (void)bench_ask(b, "VACUUM ANALYZE meridian.job");
}

/* The played workers are seen meanwhile: one that is silent for six seconds is given nothing. */
static void wait_attempts(struct bench *b, int count)
{
    int64_t until = clock_mono_ms() + WAIT_MS;
    int64_t seen_ms = 0;
    while (atoi(bench_ask(b, "SELECT count(*) FROM meridian.attempt")) < count) {
        int64_t now = clock_mono_ms();
        assert_true(now < until);
        if (now - seen_ms >= 1000) {
            (void)bench_ask(b, "UPDATE meridian.worker SET seen_at = clock_timestamp()");
            seen_ms = now;
        }
        (void)usleep(5000);
    }
}

/* How quickly a worker's slots are filled, and how long after the start the first of them is. */
static void measure_jobs(struct servers *servers, const char *name, int count)
{
    struct bench b;
    struct bench_worker w;
    char line[64];
    bench_init(&b, servers, name);
    (void)bench_ask(&b, "INSERT INTO meridian.market (code, region)"
                        " SELECT 'm' || i, 'eu' FROM generate_series(0, 999) i");
    fill(&b, count);
    bench_hello(&w, &b, "w", "eu", SLOTS);
    (void)bench_ask(&b, "UPDATE meridian.worker SET drain_requested_at = now(), threads = 1000,"
                        " memory_mb = 1000000");
    int64_t start = clock_mono_us();
    b.scheduler = bench_start_with(&b, "scale.log", "60s");
    char queued[160];
    (void)snprintf(queued, sizeof queued, "SELECT count(*) FROM meridian.leader");
    assert_true(bench_eventually(&b, queued, "1", WAIT_MS));
    (void)bench_ask(&b, "UPDATE meridian.worker SET drain_requested_at = NULL");
    wait_attempts(&b, 1);
    (void)snprintf(line, sizeof line, "first_dispatch_%d", count);
    say(line, (double)(clock_mono_us() - start) / 1e6, "s");
    start = clock_mono_us();
    wait_attempts(&b, SLOTS);
    (void)snprintf(line, sizeof line, "resident_%d", count);
    say(line, status_mb(b.scheduler, "VmRSS:"), "MB");
    /* The slots again and again: each round ends what runs, and the next thousand is assigned. */
    double used = cpu_seconds(b.scheduler);
    start = clock_mono_us();
    enum { ROUNDS = 5 };
    for (int round = 2; round <= ROUNDS && SLOTS * round <= count + SLOTS; round++) {
        (void)bench_ask(
            &b, "SELECT count(*) FROM (SELECT meridian.job_cancel(array_agg(id), 'bench') FROM"
                " meridian.job WHERE state = 'dispatched') c");
        (void)bench_ask(&b, "WITH gone AS (UPDATE meridian.attempt SET state = 'cancelled',"
                            " ended_at = now() WHERE ended_at IS NULL RETURNING job)"
                            " UPDATE meridian.job j SET state = 'cancelled', ended_at = now()"
                            " FROM gone WHERE j.id = gone.job");
        (void)bench_ask(&b, "INSERT INTO meridian.event (job, actor, reason) SELECT id, 'bench',"
                            " 'ended' FROM meridian.job WHERE state = 'cancelled' AND ended_at >"
                            " now() - interval '1 s'");
        int more = SLOTS * round <= count ? SLOTS * round : count;
        wait_attempts(&b, more);
    }
    (void)snprintf(line, sizeof line, "cpu_per_decision_%d", count);
    say(line, 1e6 * (cpu_seconds(b.scheduler) - used) / (SLOTS * (ROUNDS - 1)), "us");
    (void)snprintf(line, sizeof line, "decisions_%d", count);
    say(line, 1e6 * SLOTS * (ROUNDS - 1) / (double)(clock_mono_us() - start), "1/s");
    bench_close(&b);
}

/* A thousand workers of one slot each: every one gets one job, and none two. Then nothing to do. */
static void measure_workers(struct servers *servers)
{
    struct bench b;
    bench_init(&b, servers, "workers");
    (void)bench_ask(&b, "INSERT INTO meridian.market (code, region)"
                        " SELECT 'm' || i, 'eu' FROM generate_series(0, 999) i");
    (void)bench_ask(&b,
                    "SELECT count(meridian.worker_hello('w' || i, gen_random_uuid(), true, 'eu',"
                    " 'h', 1, 1, 1, 1024, '0', 1)) FROM generate_series(1, 1000) i");
    fill(&b, 2 * WORKERS);
    b.scheduler = bench_start_with(&b, "workers.log", "600s");
    int64_t start = clock_mono_us();
    wait_attempts(&b, WORKERS);
    say("assigned_1000_workers", (double)(clock_mono_us() - start) / 1e6, "s");
    assert_string_equal(bench_ask(&b, "SELECT count(DISTINCT worker) || ' ' || count(*) FROM"
                                      " meridian.attempt"),
                        "1000 1000");
    double used = cpu_seconds(b.scheduler);
    start = clock_mono_us();
    for (int part = 0; clock_mono_us() - start < (int64_t)IDLE_MS * 1000; part++) {
        char sql[768]; /* a hundred of them: each renews every two seconds */
        (void)snprintf(
            sql, sizeof sql,
            "SELECT count(r.verdict) FROM (SELECT * FROM meridian.worker ORDER BY name"
            " OFFSET %d LIMIT 100) w, LATERAL meridian.lease_renew(w.name,"
            " w.incarnation, 2, false, ARRAY(SELECT job FROM meridian.attempt a WHERE"
            " a.worker = w.name AND a.ended_at IS NULL), '{1}', '{5}', '{NULL}', 600000) r",
            part % 10 * 100);
        (void)bench_ask(&b, sql);
        (void)usleep(200000);
    }
    say("busy_scheduler_1000_workers",
        100e6 * (cpu_seconds(b.scheduler) - used) / (double)(clock_mono_us() - start), "%");
    bench_close(&b);
}

static void measure_idle(struct servers *servers)
{
    struct bench b;
    bench_init(&b, servers, "idle");
    b.scheduler = bench_start(&b, "idle.log");
    assert_true(bench_eventually(&b, "SELECT count(*) FROM meridian.leader", "1", WAIT_MS));
    (void)usleep(2000000);
    double used = cpu_seconds(b.scheduler);
    int64_t start = clock_mono_us();
    (void)usleep(IDLE_MS * 1000);
    say("idle_scheduler",
        100e6 * (cpu_seconds(b.scheduler) - used) / (double)(clock_mono_us() - start), "%");
    say("idle_resident", status_mb(b.scheduler, "VmRSS:"), "MB");
    bench_close(&b);
}

static void test_bench_scale(void **state)
{
    (void)state;
    struct servers *servers = servers_new("bench_scale");
    servers_redis_start(servers);
    servers_pg_set_durable(servers);
    servers_pg_start(servers);
    measure_idle(servers);
    measure_workers(servers);
    measure_jobs(servers, "few", 1000 * 6);
    measure_jobs(servers, "many", jobs_wanted);
    servers_free(servers);
}

int main(int argc, char **argv)
{
    jobs_wanted = argc > 1 ? atoi(argv[1]) : jobs_wanted;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bench_scale)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
