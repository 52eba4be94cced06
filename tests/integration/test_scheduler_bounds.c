/* meridian-scheduler when others put far too much into its streams: memory stays bounded, what is
 * refused is recorded, and what is right goes on. */
#include "common/wire/wire.h"
#include "tests/integration/queue_bench.h"

enum { BIG_BYTES = 30 * 1024 * 1024, BIG_COUNT = 12 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1 /* its own memory is many times ours */
#else
#define HAS_SANITIZER 0
#endif

static struct servers *servers;

static int group_setup(void **state)
{
    (void)state;
    servers = servers_new("bounds");
    servers_redis_start(servers);
    servers_pg_start(servers);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    servers_free(servers);
    return 0;
}

/* Most memory that the process held, in MiB. */
static int64_t peak_mb(pid_t pid)
{
    char path[64], line[256];
    long long kb = -1;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (kb < 0 && fgets(line, sizeof line, file)) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kb = strtoll(line + 6, NULL, 10);
        }
    }
    (void)fclose(file);
    assert_true(kb > 0);
    return kb / 1024;
}

/* {"v": 1, "id": id, "kind": "noop", key: BIG_BYTES of text}. */
static void add_big(struct bench *b, const char *stream, const char *id, const char *key)
{
    static char text[BIG_BYTES];
    struct buf out;
    struct wire_writer w;
    memset(text, 'x', sizeof text);
    buf_init(&out, BIG_BYTES + 4096);
    wire_writer_init(&w, &out);
    wire_write_map(&w);
    wire_write_key(&w, "v");
    wire_write_integer(&w, 1);
    wire_write_key(&w, "id");
    wire_write_text(&w, span_of(id));
    wire_write_key(&w, "kind");
    wire_write_text(&w, span_of("noop"));
    wire_write_key(&w, key);
    wire_write_text(&w, span_make(text, sizeof text));
    wire_write_end(&w);
    assert_int_equal(wire_writer_finish(&w), 0);
    bench_add(b, stream, buf_span(&out));
    buf_close(&out);
}

/* Twelve submissions of 30 MB: each is recorded as rejected with its reason, and the scheduler
 * never held one of them. */
static void test_scheduler_refuses_submissions_of_thirty_megabytes(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "bigintake");
    b.scheduler = bench_start(&b, "bigintake.log");
    (void)bench_noop(&b, "de-DE", "before");
    char job_state[64], reason[512];
    bench_reply(&b, "before", job_state, reason);
    int64_t before = peak_mb(b.scheduler);
    for (int i = 0; i < BIG_COUNT; i++) {
        add_big(&b, "intake", bench_uuid().text, "spec");
    }
    (void)bench_noop(&b, "de-DE", "after");
    bench_reply(&b, "after", job_state, reason);
    assert_string_equal(job_state, "queued");
    assert_string_equal(bench_ask(&b, "SELECT count(*) || ' ' || min(error_text) FROM meridian.job"
                                      " WHERE state = 'rejected' AND error_code = 'LIMIT'"),
                        "12 the submission has more than 131072 bytes");
    assert_true(HAS_SANITIZER || peak_mb(b.scheduler) - before < 48);
    bench_close(&b);
}

/* Twelve reports of 30 MB at once: what passes the bound of a reply is left out, and the next
 * result is recorded. */
static void test_scheduler_bounds_what_reports_take(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "bigreport");
    b.scheduler = bench_start(&b, "bigreport.log");
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 1);
    struct uuid id = bench_noop(&b, "de-DE", "t");
    struct message_ready job;
    assert_true(bench_claim(&w, &job, 20000));
    int64_t before = peak_mb(b.scheduler);
    for (int i = 0; i < BIG_COUNT; i++) {
        add_big(&b, "report", bench_uuid().text, "type");
    }
    char sql[256];
    (void)snprintf(sql, sizeof sql, "SELECT state FROM meridian.job WHERE id = '%s'", id.text);
    int64_t until = clock_mono_ms() + BENCH_WAIT_MS;
    do { /* as a worker does: it reports until the record has it */
        assert_true(clock_mono_ms() < until);
        bench_renew(&w, job.job.text, job.attempt);
        bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
    } while (!bench_eventually(&b, sql, "succeeded", 1000));
    assert_true(HAS_SANITIZER || peak_mb(b.scheduler) - before < 240);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scheduler_refuses_submissions_of_thirty_megabytes),
        cmocka_unit_test(test_scheduler_bounds_what_reports_take),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
