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
        cmocka_unit_test(test_submit_of_a_newer_version_waits_then_is_rejected),
        cmocka_unit_test(test_submit_goes_on_through_a_migration),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
