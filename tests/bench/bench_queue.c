/*
 * The queue from end to end on servers of its own, Redis with AOF everysec and PostgreSQL with
 * fsync on: submission in bulk, admission, and the drain of no-op jobs of 300 bytes by real workers
 * until the record has job, attempt and events of each; the time from a submission to the start of
 * its job on an idle queue; and the floors of the same minute.
 *
 *     bench_queue [JOBS [SLOTS [submit]]]      (20000, 16); submit: nothing but submission
 *
 * Lines on standard output: NAME VALUE UNIT, for tests/bench/queue_peers.
 */
#include "tests/integration/queue_bench.h"

#include <dirent.h>
#include <unistd.h>

enum {
    PAD = 280,
    LATENCY_JOBS = 1000,
    LATENCY_EVERY_US = 10000,
    FLUSH_MAX = 1000,
    WAIT_MS = 600000
};

static int jobs_wanted = 20000;
static const char *slots = "16";
static bool only_submission;

static void say(const char *name, double value, const char *unit)
{
    printf("%s %.3f %s\n", name, value, unit);
    (void)fflush(stdout);
}

static double rate(int count, int64_t us)
{
    return 1e6 * count / (double)(us > 0 ? us : 1);
}

/* --- processor time -------------------------------------------------------------------------- */

/* Seconds that a process and those that it started and that live have used. */
static double cpu_seconds(pid_t pid)
{
    double ticks = 0;
    DIR *proc = opendir("/proc");
    assert_non_null(proc);
    for (struct dirent *at; (at = readdir(proc)) != NULL;) {
        char path[300];
        int parent = 0;
        unsigned long own[4] = {0};
        (void)snprintf(path, sizeof path, "/proc/%s/stat", at->d_name);
        FILE *file = atoi(at->d_name) > 0 ? fopen(path, "r") : NULL;
        int read = file ? fscanf(file,
                                 "%*d (%*[^)]) %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u"
                                 " %lu %lu %lu %lu",
                                 &parent, &own[0], &own[1], &own[2], &own[3])
                        : 0;
        if (read == 5 && (atoi(at->d_name) == pid || parent == pid)) {
            ticks += (double)(own[0] + own[1] + own[2] + own[3]);
        }
        if (file) {
            (void)fclose(file);
        }
    }
    (void)closedir(proc);
    return ticks / (double)sysconf(_SC_CLK_TCK);
}

struct usage {
    double scheduler, workers, postgres, redis;
};

static struct usage usage_now(struct bench *b, const pid_t *workers, int count)
{
    struct usage u = {.scheduler = cpu_seconds(b->scheduler),
                      .postgres = cpu_seconds(servers_pg_pid(b->servers)),
                      .redis = cpu_seconds(servers_redis_pid(b->servers))};
    for (int i = 0; i < count; i++) {
        u.workers += cpu_seconds(workers[i]);
    }
    return u;
}

static void say_usage(const char *what, struct usage from, struct usage to)
{
    const double used[] = {to.scheduler - from.scheduler, to.workers - from.workers,
                           to.postgres - from.postgres, to.redis - from.redis};
    static const char *const names[] = {"scheduler", "workers", "postgres", "redis"};
    for (int i = 0; i < 4; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "cpu_%s_%s", what, names[i]);
        say(name, 1e6 * used[i] / jobs_wanted, "us/job");
    }
}

/* --- submission ------------------------------------------------------------------------------ */

/* No two alike, so that nothing is gained by saying it once. */
static const char *padded_spec(void)
{
    static char spec[PAD + 64];
    static unsigned number;
    (void)snprintf(spec, sizeof spec, "{\"note\":\"%0*u\"}", PAD, ++number);
    return spec;
}

static void encode(struct buf *out, const char *market)
{
    struct err_buf e = {{0}};
    struct message_submission m = {.id = bench_uuid(), .spec = span_of(padded_spec())};
    (void)snprintf(m.kind, sizeof m.kind, "noop");
    (void)snprintf(m.market, sizeof m.market, "%s", market);
    (void)snprintf(m.by, sizeof m.by, "bench");
    buf_reset(out);
    if (message_encode_submission(&m, out, &e)) {
        fail_msg("%s", e.text);
    }
}

static void add_entry(struct bench *b, const char *key, struct span bytes)
{
    const struct span args[] = {span_of("XADD"), span_of(key), span_of("*"), span_of("m"), bytes};
    assert_int_equal(redis_sync_add(b->redis, args, 5), 0);
}

static void flush(struct bench *b)
{
    struct err_buf e = {{0}};
    if (redis_sync_flush(b->redis, 30000, NULL, NULL, &e)) {
        fail_msg("%s", e.text);
    }
}

/* Every job written out in bulks, as `meridian submit --bulk` sends them; in Redis when this
 * returns, the last of them being ret_last. Microseconds. */
static int64_t submit_bulk(struct bench *b, const char *market, int count, struct uuid *ret_last)
{
    char key[BENCH_KEY];
    struct buf jobs, out;
    struct err_buf e = {{0}};
    struct message_submission m = {.spec = {0}};
    (void)snprintf(m.kind, sizeof m.kind, "noop");
    (void)snprintf(m.market, sizeof m.market, "%s", market);
    (void)snprintf(key, sizeof key, "{%s}:intake", b->prefix);
    buf_init(&jobs, MESSAGE_BULK_MAX);
    buf_init(&out, 2 * MESSAGE_BULK_MAX);
    int64_t start = clock_mono_us();
    for (int done = 0; done < count;) {
        struct message_bulk bulk = {.id = bench_uuid(), .by = "bench"};
        buf_reset(&jobs);
        buf_reset(&out);
        while (done < count && bulk.jobs.count < MESSAGE_BULK_JOBS_MAX) {
            m.spec = span_of(padded_spec());
            assert_int_equal(message_bulk_add(&m, &jobs, &e), 0);
            bulk.jobs.count++;
            done++;
        }
        bulk.jobs.bytes = buf_span(&jobs);
        assert_int_equal(message_encode_bulk(&bulk, &out, &e), 0);
        add_entry(b, key, buf_span(&out));
        flush(b);
        *ret_last = message_bulk_job_id(&bulk.id, bulk.jobs.count - 1);
    }
    int64_t us = clock_mono_us() - start;
    buf_close(&out);
    buf_close(&jobs);
    return us;
}

/* XADD of every job by itself, a thousand in flight. Microseconds. */
static int64_t submit_each(struct bench *b, const char *stream, const char *market, int count)
{
    char key[BENCH_KEY];
    struct buf out;
    (void)snprintf(key, sizeof key, "{%s}:%s", b->prefix, stream);
    buf_init(&out, 1 << 20);
    int64_t start = clock_mono_us();
    for (int i = 0; i < count; i++) {
        encode(&out, market);
        add_entry(b, key, buf_span(&out));
        if ((i + 1) % FLUSH_MAX == 0 || i + 1 == count) {
            flush(b);
        }
    }
    int64_t us = clock_mono_us() - start;
    buf_close(&out);
    return us;
}

/* Asked every 20 ms: the question must not be part of what is measured. */
static int64_t wait_count(struct bench *b, const char *sql, int count)
{
    int64_t until = clock_mono_ms() + WAIT_MS;
    while (atoi(bench_ask(b, sql)) != count) {
        assert_true(clock_mono_ms() < until);
        (void)usleep(20000);
    }
    return clock_mono_us();
}

/* Bulks are admitted in order. The bulk, until it is in Redis and until the record has committed
 * the last of it; name says which. */
static void measure_submit(struct bench *b, const char *name)
{
    char line[64], sql[128];
    struct uuid last;
    int done = atoi(bench_ask(b, "SELECT count(*) FROM meridian.job"));
    struct usage before = usage_now(b, NULL, 0);
    int64_t start = clock_mono_us();
    int64_t us = submit_bulk(b, "de-DE", jobs_wanted, &last);
    (void)snprintf(line, sizeof line, "submit_bulk%s", name);
    say(line, rate(jobs_wanted, us), "jobs/s");
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM meridian.job WHERE id = '%s'", last.text);
    us = wait_count(b, sql, 1) - start;
    assert_int_equal(atoi(bench_ask(b, "SELECT count(*) FROM meridian.job")), done + jobs_wanted);
    (void)snprintf(line, sizeof line, "submit_recorded%s", name);
    say(line, rate(jobs_wanted, us), "jobs/s");
    say_usage("submit", before, usage_now(b, NULL, 0));
}

/* --- drain ----------------------------------------------------------------------------------- */

static pid_t start_worker(struct bench *b, const char *name)
{
    char log_name[64], sql[160];
    const char *argv[] = {"meridian-worker",
                          "--redis-url",
                          servers_redis_url(b->servers),
                          "--database-url",
                          b->url,
                          "--redis-prefix",
                          b->prefix,
                          "--region",
                          "eu",
                          "--name",
                          name,
                          "--slots",
                          slots,
                          NULL};
    (void)snprintf(log_name, sizeof log_name, "%s.log", name);
    pid_t pid = servers_spawn(b->servers, "meridian-worker", argv, NULL, log_name);
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM meridian.worker WHERE name = '%s'", name);
    assert_true(bench_eventually(b, sql, "1", BENCH_WAIT_MS));
    return pid;
}

/* Jobs wait in a paused market until all are admitted; the time runs from the resume to the last
 * commit. */
static void measure_drain(struct bench *b, int workers)
{
    char name[32], sql[160];
    pid_t pids[2] = {0};
    for (int i = 0; i < workers; i++) {
        (void)snprintf(name, sizeof name, "w%d-%d", workers, i);
        pids[i] = start_worker(b, name);
    }
    (void)bench_ask(b, "SELECT meridian.queue_pause('market', 'de-DE', 'bench')");
    int done = atoi(bench_ask(b, "SELECT count(*) FROM meridian.job"));
    (void)snprintf(name, sizeof name, "_%dw", workers);
    measure_submit(b, name);
    (void)bench_ask(b, "VACUUM ANALYZE meridian.job, meridian.attempt, meridian.event");
    struct usage before = usage_now(b, pids, workers);
    (void)bench_ask(b, "SELECT meridian.queue_resume('market', 'de-DE', 'bench')");
    int64_t start = clock_mono_us();
    (void)snprintf(
        sql, sizeof sql,
        "SELECT count(*) FROM (SELECT FROM meridian.job WHERE ended_at IS NULL LIMIT 1) open");
    int64_t us = wait_count(b, sql, 0) - start;
    say_usage("drain", before, usage_now(b, pids, workers));
    (void)snprintf(name, sizeof name, "drain_%dw", workers);
    say(name, rate(jobs_wanted, us), "jobs/s");
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM meridian.attempt WHERE state = 'succeeded'"
                   " AND started_at IS NOT NULL");
    assert_int_equal(atoi(bench_ask(b, sql)), done + jobs_wanted);
    for (int i = 0; i < workers; i++) {
        assert_int_equal(servers_wait(b->servers, pids[i], SIGTERM, 20000), 0);
    }
}

/* --- latency --------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* From the submission to the message at the worker, which is when it hands the job to its runner;
 * the commits of the job and of its attempt lie in between. */
static void measure_latency(struct bench *b)
{
    static int64_t us[LATENCY_JOBS];
    struct bench_worker w;
    struct message_ready job;
    struct buf out;
    buf_init(&out, 1 << 20);
    bench_hello(&w, b, "latency", "eu", 4);
    (void)bench_noop(b, "de-DE", "");
    (void)bench_await_offer(&w, &job);
    bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
    for (int i = 0; i < LATENCY_JOBS; i++) {
        if (i % 100 == 0) {
            (void)bench_renew(&w, "00000000-0000-0000-0000-000000000000", 1);
        }
        (void)usleep(LATENCY_EVERY_US);
        encode(&out, "de-DE");
        int64_t start = clock_mono_us();
        bench_add(b, "intake", buf_span(&out));
        us[i] = bench_await_offer(&w, &job) - start;
        bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
    }
    buf_close(&out);
    bench_bye(&w);
    qsort(us, LATENCY_JOBS, sizeof us[0], by_value);
    say("start_p50", (double)us[LATENCY_JOBS / 2] / 1000, "ms");
    say("start_p99", (double)us[LATENCY_JOBS * 99 / 100] / 1000, "ms");
}

/* --- floors ---------------------------------------------------------------------------------- */

static void measure_floors(struct bench *b)
{
    say("floor_xadd_pipelined", rate(jobs_wanted, submit_each(b, "floor", "de-DE", jobs_wanted)),
        "1/s");
    const struct redis_reply *reply = NULL;
    struct err_buf e = {{0}};
    char key[BENCH_KEY];
    (void)snprintf(key, sizeof key, "{%s}:floor", b->prefix);
    assert_int_equal(REDIS_SYNC_CALL(b->redis, &reply, &e, "DEL", key), 0);
    (void)bench_ask(b, "CREATE TABLE floor (id uuid PRIMARY KEY, body text)");
    int64_t start = clock_mono_us();
    for (int i = 0; i < 500; i++) {
        (void)bench_ask(b, "INSERT INTO floor SELECT meridian.uuid_make(), repeat('x', 300)");
    }
    say("floor_pg_commit", rate(500, clock_mono_us() - start), "1/s");
    start = clock_mono_us();
    for (int i = 0; i < 20; i++) {
        (void)bench_ask(b, "INSERT INTO floor SELECT meridian.uuid_make(), repeat('x', 300)"
                           " FROM generate_series(1, 1000)");
    }
    say("floor_pg_insert_by_1000", rate(20000, clock_mono_us() - start), "rows/s");
}

static void test_bench_queue(void **state)
{
    (void)state;
    struct servers *servers = servers_new("bench_queue");
    servers_redis_configure(servers, "--appendonly yes --appendfsync everysec"
                                     " --auto-aof-rewrite-percentage 0");
    servers_redis_start(servers);
    servers_pg_set_durable(servers);
    servers_pg_start(servers);
    struct bench b;
    bench_init(&b, servers, "bench");
    measure_floors(&b);
    b.scheduler = bench_start_with(&b, "bench.log", "10s");
    assert_true(bench_eventually(&b, "SELECT count(*) FROM meridian.leader", "1", BENCH_WAIT_MS));
    if (only_submission) {
        for (int i = 0; i < 3; i++) {
            measure_submit(&b, "");
        }
    } else {
        measure_latency(&b);
        measure_drain(&b, 1);
        measure_drain(&b, 2);
    }
    bench_close(&b);
    servers_free(servers);
}

int main(int argc, char **argv)
{
    jobs_wanted = argc > 1 ? atoi(argv[1]) : jobs_wanted;
    slots = argc > 2 ? argv[2] : slots;
    only_submission = argc > 3 && strcmp(argv[3], "submit") == 0;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bench_queue)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
