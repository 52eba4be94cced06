/* The ways into the queue beside a plain submission: by SQL, with a unique policy, of another
 * version; and a migration while the queue works. */
#include "tests/integration/queue_bench.h"

#include "common/wire/wire.h"

static struct servers *servers;

static int group_setup(void **state)
{
    (void)state;
    servers = servers_new("submit");
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

static void copy(char out[UUID_SIZE], const char *text)
{
    assert_int_equal(strlen(text), UUID_SIZE - 1);
    memcpy(out, text, UUID_SIZE);
}

/* What SQL wrote and committed is picked up, judged by the scheduler, and runs. */
static void test_submit_by_sql_runs(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "bysql");
    b.scheduler = bench_start(&b, "bysql.log");
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 2);
    char good[UUID_SIZE], bad[UUID_SIZE];
    copy(good, bench_ask(&b, "SELECT meridian.submit('noop', market => 'de-DE', priority => 7)"));
    copy(bad, bench_ask(&b, "SELECT meridian.submit('noop', spec => '{\"sleep_ms\": -5}')"));
    struct message_ready job;
    assert_true(bench_claim(&w, &job, 20000));
    assert_string_equal(job.job.text, good);
    bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
    assert_true(bench_job_becomes(&b, good, "succeeded"));
    assert_string_equal(bench_ask_job(&b, "SELECT priority FROM meridian.job WHERE id = ", good),
                        "7");
    assert_true(bench_job_becomes(&b, bad, "rejected"));
    const char *why = bench_ask_job(&b, "SELECT error_text FROM meridian.job WHERE id = ", bad);
    assert_non_null(strstr(why, "sleep_ms"));
    assert_string_equal(bench_ask(&b, "SELECT count(*) FROM meridian.submission"), "0");
    bench_close(&b);
}

/* Many at once, written before any scheduler runs, and one among them that the record refuses. */
static void test_submit_by_sql_survives_what_cannot_be_admitted(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "many");
    (void)bench_ask(&b, "SELECT count(*) FROM meridian.submit_many((SELECT jsonb_agg("
                        "jsonb_build_object('kind', 'noop', 'market', 'de-DE')) FROM "
                        "generate_series(1, 600)))");
    /* A constraint stands for whatever the record may refuse: the whole batch that one is in. */
    (void)bench_ask(&b, "UPDATE meridian.submission SET job = job || "
                        "'{\"market\": \"de-DE\", \"by\": \"\\u0001\"}' WHERE number = 5");
    (void)bench_ask(&b, "ALTER TABLE meridian.job ADD CONSTRAINT no_such_name "
                        "CHECK (submitted_by <> E'\\u0001')");
    b.scheduler = bench_start(&b, "many.log");
    assert_true(
        bench_eventually(&b, "SELECT count(*) FROM meridian.submission", "0", 2 * BENCH_WAIT_MS));
    assert_string_equal(bench_ask(&b, "SELECT count(*) FROM meridian.job WHERE ended_at IS NULL"),
                        "599");
    assert_string_equal(bench_ask(&b, "SELECT error_text FROM meridian.job"
                                      " WHERE state = 'rejected'"),
                        "the record refused this submission");
    bench_close(&b);
}

static void answer(struct bench *b, struct message_submission *m, const char *token,
                   struct message_reply *ret)
{
    char key[BENCH_KEY];
    struct err_buf e = {{0}};
    const struct redis_reply *reply = NULL;
    (void)snprintf(m->reply, sizeof m->reply, "%s", token);
    bench_submit(b, m);
    (void)snprintf(key, sizeof key, "{%s}:reply:%s", b->prefix, token);
    const char *args[] = {"BLPOP", key, "20"};
    assert_int_equal(redis_sync_send_texts(b->redis, args, 3, 25000, &reply, &e), 0);
    assert_int_equal(redis_reply_count(reply), 2);
    assert_int_equal(message_decode_reply(redis_reply_text(redis_reply_at(reply, 1)), ret, &e), 0);
}

static struct message_submission keyed(const char *policy)
{
    struct message_submission m = {.id = bench_uuid(), .spec = span_of("{}")};
    (void)snprintf(m.kind, sizeof m.kind, "noop");
    (void)snprintf(m.market, sizeof m.market, "de-DE");
    (void)snprintf(m.unique, sizeof m.unique, "key");
    m.unique_policy = message_policy_from_name(policy);
    return m;
}

/* The holder of a key is named, kept or superseded, and the scheduler knows of it at once: what was
 * superseded is not run. */
static void test_submit_with_a_unique_policy(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "policy");
    b.scheduler = bench_start(&b, "policy.log");
    struct message_reply r;
    struct message_submission first = keyed(""), kept = keyed("keep"), next = keyed("replace");
    answer(&b, &first, "first", &r);
    assert_string_equal(r.state, "queued");
    answer(&b, &kept, "kept", &r);
    assert_string_equal(r.state, "queued");
    assert_string_equal(r.job.text, first.id.text);
    answer(&b, &next, "next", &r);
    assert_string_equal(r.state, "queued");
    assert_true(bench_job_becomes(&b, first.id.text, "cancelled"));
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 4);
    struct message_ready job;
    assert_true(bench_claim(&w, &job, 20000));
    assert_string_equal(job.job.text, next.id.text);
    assert_true(bench_job_becomes(&b, next.id.text, "running"));
    struct message_submission late = keyed("replace");
    answer(&b, &late, "late", &r);
    assert_string_equal(r.state, "rejected");
    bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
    assert_true(bench_job_becomes(&b, next.id.text, "succeeded"));
    answer(&b, &kept, "again", &r); /* said again: the same answer, though the key is free */
    assert_string_equal(r.job.text, first.id.text);
    bench_close(&b);
}

/* --- bulks ----------------------------------------------------------------------------------- */

static void send_bulk(struct bench *b, struct message_bulk *m, struct buf *jobs)
{
    struct buf out;
    struct err_buf e = {{0}};
    buf_init(&out, 2 * MESSAGE_BULK_MAX);
    m->jobs.bytes = buf_span(jobs);
    (void)snprintf(m->by, sizeof m->by, "test");
    assert_int_equal(message_encode_bulk(m, &out, &e), 0);
    bench_add(b, "intake", buf_span(&out));
    buf_close(&out);
}

/* The reply borrows from bytes, which the caller closes. */
static void answer_bulk(struct bench *b, const char *token, struct message_bulk_reply *ret,
                        struct buf *bytes)
{
    char key[BENCH_KEY];
    struct err_buf e = {{0}};
    const struct redis_reply *reply = NULL;
    (void)snprintf(key, sizeof key, "{%s}:reply:%s", b->prefix, token);
    const char *args[] = {"BLPOP", key, "20"};
    assert_int_equal(redis_sync_send_texts(b->redis, args, 3, 25000, &reply, &e), 0);
    assert_int_equal(redis_reply_count(reply), 2);
    struct span text = redis_reply_text(redis_reply_at(reply, 1));
    buf_init(bytes, 2 * MESSAGE_BULK_MAX);
    assert_int_equal(buf_add(bytes, text.data, text.length), 0);
    assert_int_equal(message_decode_bulk_reply(buf_span(bytes), ret, &e), 0);
}

static struct message_submission plain(const char *market)
{
    struct message_submission m = {.spec = span_of("{}")};
    (void)snprintf(m.kind, sizeof m.kind, "noop");
    (void)snprintf(m.market, sizeof m.market, "%s", market);
    return m;
}

/* A thousand jobs in one message, two of them bad: one reply says so, the others are queued; the
 * same message again makes no second job. */
static void test_submit_in_bulk_is_answered_once(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "bulk");
    b.scheduler = bench_start(&b, "bulk.log");
    struct buf jobs;
    buf_init(&jobs, MESSAGE_BULK_MAX);
    struct message_bulk m = {.id = bench_uuid(), .reply = "bulk"};
    for (m.jobs.count = 0; m.jobs.count < MESSAGE_BULK_JOBS_MAX; m.jobs.count++) {
        struct message_submission job = plain(m.jobs.count == 700 ? "xx-XX" : "de-DE");
        if (m.jobs.count == 17) {
            job.spec = span_of("{\"sleep_ms\":-1}");
        }
        assert_int_equal(message_bulk_add(&job, &jobs, NULL), 0);
    }
    for (int round = 0; round < 2; round++) {
        struct message_bulk_reply r;
        struct message_outcome_at at;
        struct buf bytes;
        struct message_bulk again = m;
        send_bulk(&b, &again, &jobs);
        answer_bulk(&b, "bulk", &r, &bytes);
        assert_string_equal(r.id.text, m.id.text);
        assert_string_equal(r.state, "queued");
        assert_int_equal(r.others.count, 2);
        assert_int_equal(message_bulk_reply_next(&r, &at, NULL), 0);
        assert_int_equal(at.place, 17);
        assert_string_equal(at.state, "rejected");
        assert_true(span_is(at.reason, "spec.sleep_ms: -1 is below 0"));
        assert_int_equal(message_bulk_reply_next(&r, &at, NULL), 0);
        assert_int_equal(at.place, 700);
        assert_true(at.reason.length > 0 && memmem(at.reason.data, at.reason.length, "xx-XX", 5));
        buf_close(&bytes);
        assert_string_equal(bench_ask(&b, "SELECT count(*) FILTER (WHERE state = 'queued') || ' '"
                                          " || count(*) FROM meridian.job"),
                            "998 1000");
        assert_string_equal(
            bench_ask(&b, "SELECT count(*) FROM meridian.event WHERE job IS NOT NULL"), "1000");
    }
    struct uuid last = message_bulk_job_id(&m.id, 999);
    assert_true(bench_job_becomes(&b, last.text, "queued"));
    buf_close(&jobs);
    bench_close(&b);
}

/* One job that stands for a thousand, written while no scheduler ran, beside a single one. What the
 * record refuses is found by halves, and only that is rejected. */
static void test_submit_in_bulk_survives_what_cannot_be_admitted(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "halves");
    struct buf jobs;
    buf_init(&jobs, MESSAGE_BULK_MAX);
    struct message_bulk m = {.id = bench_uuid(), .reply = "halves", .repeat = 1000};
    struct message_submission job = plain("de-DE");
    m.jobs.count = 1;
    assert_int_equal(message_bulk_add(&job, &jobs, NULL), 0);
    char sql[256];
    (void)snprintf(sql, sizeof sql,
                   "ALTER TABLE meridian.job ADD CONSTRAINT not_this CHECK "
                   "(id <> '%s' OR kind = 'unknown')",
                   message_bulk_job_id(&m.id, 333).text);
    (void)bench_ask(&b, sql);
    (void)bench_noop(&b, "de-DE", "single");
    send_bulk(&b, &m, &jobs);
    b.scheduler = bench_start(&b, "halves.log");
    char job_state[64], reason[512];
    bench_reply(&b, "single", job_state, reason);
    assert_string_equal(job_state, "queued");
    struct message_bulk_reply r;
    struct message_outcome_at at;
    struct buf bytes;
    answer_bulk(&b, "halves", &r, &bytes);
    assert_string_equal(r.state, "queued");
    assert_int_equal(r.others.count, 1);
    assert_int_equal(message_bulk_reply_next(&r, &at, NULL), 0);
    assert_int_equal(at.place, 333);
    assert_string_equal(at.state, "rejected");
    assert_string_equal(bench_ask(&b, "SELECT count(*) FROM meridian.job WHERE state = 'queued'"),
                        "1000");
    buf_close(&bytes);
    buf_close(&jobs);
    bench_close(&b);
}

/* Runs the CLI; what it prints on both streams is in the file of that name. */
static int run_cli(struct bench *b, const char *log_name, const char *const *args)
{
    const char *argv[16] = {"meridian", "submit"};
    size_t count = 2;
    char redis[BENCH_URL + 32], database[BENCH_URL + 32], prefix[64];
    (void)snprintf(redis, sizeof redis, "MERIDIAN_REDIS_URL=%s", servers_redis_url(b->servers));
    (void)snprintf(database, sizeof database, "MERIDIAN_DATABASE_URL=%s", b->url);
    (void)snprintf(prefix, sizeof prefix, "MERIDIAN_REDIS_PREFIX=%s", b->prefix);
    const char *env[] = {redis, database, prefix, NULL};
    for (size_t i = 0; args[i]; i++) {
        argv[count++] = args[i];
    }
    return servers_run(b->servers, "meridian", argv, env, log_name, 60000);
}

static size_t count_lines(struct bench *b, const char *log_name, const char *with)
{
    char path[512], line[1024];
    size_t count = 0;
    (void)snprintf(path, sizeof path, "%s/%s", servers_directory(b->servers), log_name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        count += strstr(line, with) != NULL;
    }
    (void)fclose(f);
    return count;
}

/* `meridian submit --bulk`: several messages' worth of lines, of which the scheduler rejects one by
 * its line; ids that were given make a second run harmless. */
static void test_submit_a_file(void **state)
{
    (void)state;
    enum { LINES = 2500 };
    struct bench b;
    bench_init(&b, servers, "file");
    b.scheduler = bench_start(&b, "file.log");
    char path[512];
    (void)snprintf(path, sizeof path, "%s/jobs.jsonl", servers_directory(servers));
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 1; i <= LINES; i++) {
        (void)fprintf(
            f, "{\"id\": \"%s\", \"kind\": \"noop\", \"market\": \"%s\", \"priority\": %d}\n",
            bench_uuid().text, i == 2001 ? "xx-XX" : "de-DE", i % 1000);
    }
    assert_int_equal(fclose(f), 0);
    for (int round = 0; round < 2; round++) {
        const char *log = round ? "again" : "ids";
        assert_int_equal(run_cli(&b, log, (const char *[]){"--bulk", path, NULL}), 1);
        assert_int_equal(count_lines(&b, log, "jobs.jsonl:2001: rejected: market: "), 1);
        assert_int_equal(count_lines(&b, log, "2499 jobs submitted, 1 rejected"), 1);
        assert_int_equal(count_lines(&b, log, "-"), LINES + 1);
        assert_string_equal(bench_ask(&b, "SELECT count(*) || ' ' || sum(priority) FROM "
                                          "meridian.job WHERE state = 'queued'"),
                            "2499 1124249");
    }
    assert_int_equal(run_cli(&b, "many", (const char *[]){"noop", "--count", "1500", NULL}), 0);
    assert_int_equal(count_lines(&b, "many", "-"), 1500);
    assert_string_equal(bench_ask(&b, "SELECT count(*) FROM meridian.job"), "4000");
    bench_close(&b);
}

/* A submission of a version that nobody knows yet, under a stream id: "*" is now. */
static void add_newer(struct bench *b, const char *stream_id, const char *id, const char *token)
{
    struct buf out;
    buf_init(&out, 4096);
    struct wire_writer writer;
    wire_writer_init(&writer, &out);
    wire_write_map(&writer);
    wire_write_key(&writer, "id");
    wire_write_text(&writer, span_of(id));
    wire_write_key(&writer, "v");
    wire_write_integer(&writer, MESSAGE_VERSION + 1);
    wire_write_key(&writer, "reply");
    wire_write_text(&writer, span_of(token));
    wire_write_end(&writer);
    assert_int_equal(wire_writer_finish(&writer), 0);
    char key[BENCH_KEY];
    struct err_buf e = {{0}};
    const struct redis_reply *reply = NULL;
    (void)snprintf(key, sizeof key, "{%s}:intake", b->prefix);
    const struct span args[] = {span_of("XADD"), span_of(key), span_of(stream_id), span_of("m"),
                                buf_span(&out)};
    assert_int_equal(redis_sync_send(b->redis, args, 5, 0, &reply, &e), 0);
    buf_close(&out);
}

/* A newer submission waits for a newer scheduler; one that has waited long enough is rejected by
 * naming the version; and neither holds up what this scheduler knows. */
static void test_submit_of_a_newer_version_waits_then_is_rejected(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "newer");
    struct uuid old = bench_uuid(), young = bench_uuid();
    add_newer(&b, "1000-1", old.text, "old");
    add_newer(&b, "*", young.text, "young");
    (void)bench_noop(&b, "de-DE", "known");
    b.scheduler = bench_start(&b, "newer.log");
    char job_state[64], reason[512];
    bench_reply(&b, "known", job_state, reason);
    assert_string_equal(job_state, "queued");
    bench_reply(&b, "old", job_state, reason);
    assert_string_equal(job_state, "rejected");
    assert_non_null(strstr(reason, "version 3"));
    assert_true(bench_job_becomes(&b, old.text, "rejected"));
    assert_string_equal(bench_ask(&b, "SELECT count(*) FROM meridian.job"), "2");
    char key[BENCH_KEY];
    struct err_buf e = {{0}};
    const struct redis_reply *reply = NULL;
    (void)snprintf(key, sizeof key, "{%s}:intake", b.prefix);
    const char *args[] = {"XLEN", key};
    assert_int_equal(redis_sync_send_texts(b.redis, args, 2, 5000, &reply, &e), 0);
    assert_int_equal(redis_reply_integer(reply), 1); /* still there for its scheduler */
    bench_close(&b);
}

/* As a worker does: it renews, and reports until the record has it. */
static void report_until_recorded(struct bench_worker *w, const struct message_ready *job)
{
    int64_t until = clock_mono_ms() + BENCH_WAIT_MS;
    do {
        assert_true(clock_mono_ms() < until);
        (void)bench_renew(w, job->job.text, job->attempt);
        bench_result(w, job, MESSAGE_SUCCEEDED, NULL);
        (void)bench_ask(w->bench, "SELECT pg_sleep(0.1)");
    } while (
        strcmp(bench_ask_job(w->bench, "SELECT state FROM meridian.job WHERE id = ", job->job.text),
               "succeeded") != 0);
}

/* The functions and views of the record are made anew, one view with a column more, while jobs wait
 * and run: scheduler and jobs go on. */
static void test_submit_goes_on_through_a_migration(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "migrate");
    b.scheduler = bench_start(&b, "migrate.log");
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 1);
    struct uuid first = bench_noop(&b, "de-DE", "t1");
    char job_state[64], reason[512];
    bench_reply(&b, "t1", job_state, reason);
    struct message_ready job;
    assert_true(bench_claim(&w, &job, 20000));
    assert_true(bench_job_becomes(&b, first.text, "running"));
    for (int round = 0; round < 2; round++) {
        (void)bench_ask(&b, "DO $$ BEGIN EXECUTE 'CREATE OR REPLACE VIEW meridian.job_mirror AS "
                            "SELECT q.*, 1 AS of_a_newer_release FROM (' || rtrim(pg_get_viewdef("
                            "'meridian.job_mirror'), ';') || ') q'; END $$");
        struct uuid other = bench_noop(&b, "de-DE", round ? "t3" : "t2");
        bench_reply(&b, round ? "t3" : "t2", job_state, reason);
        assert_true(bench_job_becomes(&b, other.text, "queued"));
        (void)bench_ask(&b, "UPDATE meridian.migration SET sha256 = sha256('') WHERE number = 0");
        struct err_buf e = {{0}};
        if (migrate_run(b.pg, NULL, false, NULL, NULL, &e)) {
            fail_msg("%s", e.text);
        }
    }
    assert_string_equal(bench_renew(&w, job.job.text, job.attempt), "ok");
    report_until_recorded(&w, &job);
    assert_true(bench_job_becomes(&b, first.text, "succeeded"));
    for (int done = 0; done < 2; done++) {
        int64_t until = clock_mono_ms() + BENCH_WAIT_MS;
        while (!bench_claim(&w, &job, 1000)) {
            assert_true(clock_mono_ms() < until);
        }
        report_until_recorded(&w, &job);
    }
    assert_string_equal(bench_ask(&b, "SELECT max(attempt) FROM meridian.job"), "1");
    bench_close(&b);
}

/* An argument is a pattern of the cases to run. */
int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_submit_by_sql_runs),
        cmocka_unit_test(test_submit_by_sql_survives_what_cannot_be_admitted),
        cmocka_unit_test(test_submit_with_a_unique_policy),
        cmocka_unit_test(test_submit_in_bulk_is_answered_once),
        cmocka_unit_test(test_submit_in_bulk_survives_what_cannot_be_admitted),
        cmocka_unit_test(test_submit_a_file),
        cmocka_unit_test(test_submit_of_a_newer_version_waits_then_is_rejected),
        cmocka_unit_test(test_submit_goes_on_through_a_migration),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
