/* meridian-scheduler on a real Redis and a real PostgreSQL; the test plays client and worker. */
#include "tests/integration/queue_bench.h"

static struct servers *servers;

static int group_setup(void **state)
{
    (void)state;
    servers = servers_new("scheduler");
    servers_redis_start(servers);
    servers_pg_set_durable(servers); /* it is killed, and must know what it committed */
    servers_pg_start(servers);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    servers_free(servers);
    return 0;
}

/* Takes the offer and reports success, as often as asked. */
static void work(struct bench_worker *w, int jobs)
{
    struct message_ready job;
    int64_t until = clock_mono_ms() + BENCH_WAIT_MS;
    for (int done = 0; done < jobs;) {
        assert_true(clock_mono_ms() < until);
        if (bench_claim(w, &job, 500)) {
            bench_result(w, &job, MESSAGE_SUCCEEDED, NULL);
            done++;
        }
    }
}

/* Works until that job has succeeded: after a crash of PostgreSQL, which may take back an
 * assignment that it had not written yet, one may be told twice. */
static void work_until(struct bench *b, struct bench_worker *w, const char *id)
{
    struct message_ready job;
    int64_t until = clock_mono_ms() + BENCH_WAIT_MS;
    while (strcmp(bench_ask_job(b, "SELECT state FROM meridian.job WHERE id = ", id),
                  "succeeded") != 0) {
        assert_true(clock_mono_ms() < until);
        if (bench_claim(w, &job, 200)) {
            bench_result(w, &job, MESSAGE_SUCCEEDED, NULL);
        }
    }
}

/* A submission becomes a row, is offered in its region, and its result is recorded. */
static void test_scheduler_runs_a_job_from_submission_to_result(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "one");
    b.scheduler = bench_start(&b, "one.log");
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 2);
    struct uuid id = bench_noop(&b, "de-DE", "t1");
    char job_state[64], reason[512];
    bench_reply(&b, "t1", job_state, reason);
    assert_string_equal(job_state, "queued");
    struct message_ready job;
    assert_true(bench_claim(&w, &job, 20000));
    assert_string_equal(job.job.text, id.text);
    assert_string_equal(job.region, "eu");
    assert_true(bench_job_becomes(&b, id.text, "running"));
    bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
    assert_true(bench_job_becomes(&b, id.text, "succeeded"));
    assert_string_equal(bench_ask(&b, "SELECT count(*) FROM meridian.attempt"), "1");
    bench_close(&b);
}

/* Sent twice, a submission is one job, and both are answered. */
static void test_scheduler_knows_a_submission_that_comes_again(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "again");
    b.scheduler = bench_start(&b, "again.log");
    struct message_submission m = {.id = bench_uuid(), .spec = span_of("{}")};
    strcpy(m.kind, "noop");
    strcpy(m.reply, "first");
    bench_submit(&b, &m);
    strcpy(m.reply, "second");
    bench_submit(&b, &m);
    char job_state[64], reason[512];
    bench_reply(&b, "first", job_state, reason);
    assert_string_equal(job_state, "queued");
    bench_reply(&b, "second", job_state, reason);
    assert_string_equal(job_state, "queued");
    assert_string_equal(bench_ask(&b, "SELECT count(*) FROM meridian.job"), "1");
    bench_close(&b);
}

/* What is wrong is recorded as rejected, with a reason that names the field; it does not stop what
 * is right. */
static void test_scheduler_rejects_by_naming_the_field(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "reject");
    b.scheduler = bench_start(&b, "reject.log");
    char job_state[64], reason[512];
    struct message_submission m = {.id = bench_uuid(), .spec = span_of("{\"sleep_ms\":-5}")};
    strcpy(m.kind, "noop");
    strcpy(m.reply, "spec");
    bench_submit(&b, &m);
    bench_reply(&b, "spec", job_state, reason);
    assert_string_equal(job_state, "rejected");
    assert_non_null(strstr(reason, "sleep_ms"));

    m = (struct message_submission){.id = bench_uuid(), .spec = span_of("{}")};
    strcpy(m.kind, "noop");
    strcpy(m.market, "xx-XX");
    strcpy(m.reply, "market");
    bench_submit(&b, &m);
    bench_reply(&b, "market", job_state, reason);
    assert_string_equal(job_state, "rejected");
    assert_non_null(strstr(reason, "market"));

    m = (struct message_submission){.id = bench_uuid(),
                                    .spec = span_of("{\"markets\":[\"de-DE\",\"ja-JP\"]}")};
    strcpy(m.kind, "finetune");
    strcpy(m.task, "intent");
    strcpy(m.reply, "pooled");
    bench_submit(&b, &m);
    bench_reply(&b, "pooled", job_state, reason);
    assert_string_equal(job_state, "rejected");
    assert_non_null(strstr(reason, "spec.markets"));

    bench_add(&b, "intake", span_of("no message at all"));
    (void)bench_noop(&b, "de-DE", "right");
    bench_reply(&b, "right", job_state, reason);
    assert_string_equal(job_state, "queued");
    assert_string_equal(bench_ask(&b, "SELECT count(*) FROM meridian.job WHERE state = 'rejected'"
                                      " AND error_code IS NOT NULL AND ended_at IS NOT NULL"),
                        "3");
    bench_close(&b);
}

/* A result is only that of the worker which holds the attempt: another's, even one that the record
 * cannot read, neither ends the attempt nor keeps the true result out. */
static void test_scheduler_lets_no_stranger_end_an_attempt(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "stranger");
    b.scheduler = bench_start(&b, "stranger.log");
    struct bench_worker w, stranger;
    bench_hello(&w, &b, "w-eu", "eu", 1);
    bench_hello(&stranger, &b, "w-other", "us", 1);
    struct uuid id = bench_noop(&b, "de-DE", "t");
    struct message_ready job;
    assert_true(bench_claim(&w, &job, 20000));
    assert_true(bench_job_becomes(&b, id.text, "running"));
    struct message_report m = {.type = MESSAGE_RESULT,
                               .result = {.job = job.job,
                                          .attempt = job.attempt,
                                          .outcome = MESSAGE_SUCCEEDED,
                                          .result = span_of("{not json")}};
    bench_report(&stranger, &m);
    m.result.outcome = MESSAGE_FAILED;
    m.result.result = (struct span){0};
    bench_report(&stranger, &m);
    (void)bench_noop(&b, "ja-JP", "later"); /* its answer shows that the scheduler goes on */
    char job_state[64], reason[512];
    bench_reply(&b, "later", job_state, reason);
    int64_t until = clock_mono_ms() + BENCH_WAIT_MS;
    do { /* as a worker does: it renews, and reports until the record has it */
        (void)bench_renew(&w, job.job.text, job.attempt);
        bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
        (void)bench_ask(&b, "SELECT pg_sleep(0.1)");
    } while (strcmp(bench_ask_job(&b, "SELECT state FROM meridian.job WHERE id = ", id.text),
                    "running") == 0 &&
             clock_mono_ms() < until);
    assert_string_equal(bench_ask_job(&b,
                                      "SELECT string_agg(concat_ws(' ', state, error_text), ',')"
                                      " FROM meridian.attempt WHERE job = ",
                                      id.text),
                        "succeeded");
    assert_true(bench_job_becomes(&b, id.text, "succeeded"));
    bench_close(&b);
}

/* Waits for the words in the log of a program. */
static bool log_says(struct bench *b, const char *log_name, const char *words)
{
    char path[512], line[1024];
    (void)snprintf(path, sizeof path, "%s/%s", servers_directory(b->servers), log_name);
    int64_t until = clock_mono_ms() + BENCH_WAIT_MS;
    while (clock_mono_ms() < until) {
        FILE *file = fopen(path, "r");
        bool has = false;
        while (file && !has && fgets(line, sizeof line, file)) {
            has = strstr(line, words) != NULL;
        }
        if (file) {
            (void)fclose(file);
        }
        if (has) {
            return true;
        }
        (void)bench_ask(b, "SELECT pg_sleep(0.05)");
    }
    return false;
}

/* A key of another type where a stream belongs is said with what to do; once it is gone, all goes
 * on. */
static void test_scheduler_says_what_stands_in_the_place_of_a_stream(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "wrongtype");
    static const char *const streams[] = {"{wrongtype}:intake", "{wrongtype}:report"};
    for (size_t i = 0; i < 2; i++) {
        const struct redis_reply *reply = NULL;
        struct err_buf e = {{0}};
        const char *args[] = {"SET", streams[i], "x"};
        assert_int_equal(redis_sync_send_texts(b.redis, args, 3, 0, &reply, &e), 0);
    }
    b.scheduler = bench_start(&b, "wrongtype.log");
    for (size_t i = 0; i < 2; i++) {
        char line[96];
        (void)snprintf(line, sizeof line, "redis-cli DEL '%s'", streams[i]);
        assert_true(log_says(&b, "wrongtype.log", line));
    }
    for (size_t i = 0; i < 2; i++) {
        const struct redis_reply *reply = NULL;
        struct err_buf e = {{0}};
        const char *args[] = {"DEL", streams[i]};
        assert_int_equal(redis_sync_send_texts(b.redis, args, 2, 0, &reply, &e), 0);
    }
    (void)bench_noop(&b, "de-DE", "on");
    char job_state[64], reason[512];
    bench_reply(&b, "on", job_state, reason);
    assert_string_equal(job_state, "queued");
    bench_close(&b);
}

/* A login that may not lead is told so, rather than standing by in silence. */
static void test_scheduler_says_that_it_may_not_lead(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "norights");
    (void)bench_ask(&b, "ALTER FUNCTION meridian.leader_acquire(text, integer) RENAME TO gone");
    b.scheduler = bench_start(&b, "norights.log");
    assert_true(log_says(&b, "norights.log", "cannot lead, the record refuses"));
    (void)bench_ask(&b, "ALTER FUNCTION meridian.gone(text, integer) RENAME TO leader_acquire");
    assert_true(log_says(&b, "norights.log", "leads: term="));
    bench_close(&b);
}

/* A scheduler that was upgraded before its database refuses nobody for that: it says what to do,
 * and takes what was sent once that is done. */
static void test_scheduler_waits_for_the_migration(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "older");
    (void)bench_ask(&b, "ALTER FUNCTION meridian.job_admit_plain(bigint, jsonb) RENAME TO gone");
    b.scheduler = bench_start(&b, "older.log");
    struct uuid id = bench_noop(&b, "de-DE", "");
    assert_true(log_says(&b, "older.log", "run meridian migrate"));
    (void)bench_ask(&b, "ALTER FUNCTION meridian.gone(bigint, jsonb) RENAME TO job_admit_plain");
    assert_true(bench_job_becomes(&b, id.text, "queued"));
    assert_string_equal(bench_ask(&b, "SELECT count(*) FROM meridian.job"), "1");
    bench_close(&b);
}

/* A job waits for the one it needs; when that fails for good, it is skipped and says why. */
static void test_scheduler_skips_what_needs_a_failed_job(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "needs");
    b.scheduler = bench_start(&b, "needs.log");
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 1);
    struct uuid first = bench_noop(&b, "de-DE", "");
    struct message_submission m = {
        .id = bench_uuid(), .spec = span_of("{}"), .after_count = 1, .after = {first}};
    strcpy(m.kind, "noop");
    strcpy(m.market, "de-DE");
    bench_submit(&b, &m);
    assert_true(bench_job_becomes(&b, m.id.text, "waiting"));
    struct message_ready job;
    assert_true(bench_claim(&w, &job, 20000));
    bench_result(&w, &job, MESSAGE_FAILED, "DATA");
    assert_true(bench_job_becomes(&b, first.text, "failed"));
    assert_true(bench_job_becomes(&b, m.id.text, "skipped"));
    assert_non_null(
        strstr(bench_ask_job(&b, "SELECT error_text FROM meridian.job WHERE id = ", m.id.text),
               first.text));
    bench_close(&b);
}

/* A runner that crashes is tried again, at most three times; then the job is a dead letter. */
static void test_scheduler_gives_up_after_three_crashes(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "crash");
    b.scheduler = bench_start(&b, "crash.log");
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 1);
    struct uuid id = bench_noop(&b, "de-DE", "");
    struct message_ready job;
    for (int i = 0; i < 3; i++) {
        int64_t until = clock_mono_ms() + BENCH_WAIT_MS;
        while (!bench_claim(&w, &job, 500)) {
            assert_true(clock_mono_ms() < until);
        }
        bench_result(&w, &job, MESSAGE_CRASHED, "CRASH");
    }
    assert_true(bench_job_becomes(&b, id.text, "failed"));
    assert_string_equal(bench_ask(&b,
                                  "SELECT count(*) || ' ' || max(error_class) FROM meridian.attempt"
                                  " WHERE state = 'crashed' AND charged"),
                        "3 retry");
    bench_close(&b);
}

/* An offer that nobody takes goes back, uncharged, and is made again. */
static void test_scheduler_takes_back_what_nobody_took(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "untaken");
    b.scheduler = bench_start(&b, "untaken.log");
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 1);
    struct uuid id = bench_noop(&b, "de-DE", "");
    assert_true(bench_eventually(
        &b, "SELECT count(*) > 0 FROM meridian.attempt WHERE state = 'undelivered'", "t",
        BENCH_WAIT_MS));
    struct message_ready job;
    int64_t until = clock_mono_ms() + BENCH_WAIT_MS;
    while (!bench_claim(&w, &job, 500)) { /* the first message is still there, and too late */
        assert_true(clock_mono_ms() < until);
    }
    bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
    assert_true(bench_job_becomes(&b, id.text, "succeeded"));
    assert_string_equal(bench_ask(&b, "SELECT failures + crashes FROM meridian.job"), "0");
    bench_close(&b);
}

/* A worker that cannot read what it is given hands it back; another one gets it at once, nobody is
 * charged, and the events say why. */
static void test_scheduler_gives_another_what_a_worker_cannot_read(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "unread");
    b.scheduler = bench_start(&b, "unread.log");
    struct bench_worker older, newer;
    struct message_ready job;
    bench_hello(&older, &b, "w-old", "eu", 8); /* the larger of two idle ones goes first */
    struct uuid id = bench_noop(&b, "de-DE", "");
    assert_true(bench_await_offer(&older, &job) > 0);
    bench_hello(&newer, &b, "w-new", "eu", 1);
    assert_true(bench_eventually(&b, "SELECT count(*) FROM meridian.worker", "2", BENCH_WAIT_MS));
    bench_result(&older, &job, MESSAGE_RETURNED, "UNSUPPORTED");
    assert_true(bench_claim(&newer, &job, BENCH_WAIT_MS));
    assert_string_equal(job.job.text, id.text);
    bench_result(&newer, &job, MESSAGE_SUCCEEDED, NULL);
    assert_true(bench_job_becomes(&b, id.text, "succeeded"));
    assert_string_equal(
        bench_ask(&b, "SELECT failures + crashes || ' ' || attempt FROM meridian.job"), "0 2");
    assert_string_equal(bench_ask(&b, "SELECT count(*) FROM meridian.event WHERE reason LIKE"
                                      " 'returned%' AND to_state = 'queued' AND detail ->>"
                                      " 'error_code' = 'UNSUPPORTED'"),
                        "1");
    bench_close(&b);
}

/* A region never gets more than it has free slots, and never what belongs to another region. */
static void test_scheduler_offers_only_free_slots_of_the_region(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "slots");
    b.scheduler = bench_start(&b, "slots.log");
    struct bench_worker eu, ap;
    bench_hello(&eu, &b, "w-eu", "eu", 2);
    bench_hello(&ap, &b, "w-ap", "ap", 1);
    for (int i = 0; i < 5; i++) {
        (void)bench_noop(&b, "de-DE", "");
    }
    (void)bench_noop(&b, "ja-JP", "");
    struct message_ready jobs[3];
    assert_true(bench_claim(&eu, &jobs[0], 20000));
    assert_true(bench_claim(&eu, &jobs[1], 20000));
    assert_true(bench_claim(&ap, &jobs[2], 20000));
    assert_string_equal(jobs[2].market, "ja-JP");
    assert_false(bench_claim(&eu, &jobs[2], 500));
    assert_string_equal(
        bench_ask(&b, "SELECT string_agg(region || ' ' || n, ',' ORDER BY region) FROM (SELECT"
                      " region, count(*) AS n FROM meridian.attempt GROUP BY region) a"),
        "ap 1,eu 2");
    bench_result(&eu, &jobs[0], MESSAGE_SUCCEEDED, NULL);
    assert_true(bench_claim(&eu, &jobs[0], 20000));
    bench_close(&b);
}

/* What operators write straight into the record reaches the scheduler: pause, resume, cancel. */
static void test_scheduler_sees_pause_resume_and_cancel(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "people");
    b.scheduler = bench_start(&b, "people.log");
    struct bench_worker w;
    (void)bench_ask(&b, "SELECT meridian.queue_pause('market', 'de-DE', 'test')");
    bench_hello(&w, &b, "w-eu", "eu", 1);
    struct uuid paused = bench_noop(&b, "de-DE", "p");
    char job_state[64], reason[512];
    bench_reply(&b, "p", job_state, reason);
    struct uuid other = bench_noop(&b, "fr-FR", "");
    struct message_ready job;
    assert_true(bench_claim(&w, &job, 20000));
    assert_string_equal(job.job.text, other.text); /* the paused one does not block it */
    bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
    assert_true(bench_job_becomes(&b, other.text, "succeeded"));
    assert_string_equal(
        bench_ask_job(&b, "SELECT state FROM meridian.job WHERE id = ", paused.text), "queued");
    (void)bench_ask(&b, "SELECT meridian.queue_resume('market', 'de-DE', 'test')");
    assert_true(bench_claim(&w, &job, 20000));
    assert_string_equal(job.job.text, paused.text);
    (void)bench_ask_job(&b,
                        "SELECT meridian.job_cancel(ARRAY[id], 'test') FROM meridian.job"
                        " WHERE id = ",
                        paused.text);
    bench_result(&w, &job, MESSAGE_CANCELLED, NULL);
    assert_true(bench_job_becomes(&b, paused.text, "cancelled"));
    bench_close(&b);
}

/* A nightly becomes a base, a fine-tune and an evaluation for each market, in that order, and
 * closes when the last has ended. */
static void test_scheduler_expands_and_closes_a_nightly(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "nightly");
    b.scheduler = bench_start(&b, "nightly.log");
    struct message_submission m = {.id = bench_uuid(), .spec = span_of("{}")};
    strcpy(m.kind, "nightly");
    strcpy(m.task, "intent");
    strcpy(m.reply, "n");
    bench_submit(&b, &m);
    char job_state[64], reason[512];
    bench_reply(&b, "n", job_state, reason);
    assert_string_equal(job_state, "waiting");
    assert_true(bench_eventually(
        &b,
        "SELECT count(*) || ' ' || count(*) FILTER (WHERE kind = 'evaluate') || ' ' ||"
        " count(*) FILTER (WHERE market IS NULL) FROM meridian.job WHERE parent IS NOT NULL",
        "7 3 1", BENCH_WAIT_MS));
    assert_true(
        bench_eventually(&b,
                         "SELECT string_agg(state, ',') FROM meridian.job WHERE parent IS NOT NULL"
                         " AND state <> 'waiting'",
                         "queued", BENCH_WAIT_MS));
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 1);
    struct message_ready job;
    assert_true(bench_claim(&w, &job, 20000));
    assert_string_equal(job.kind, "finetune");
    assert_string_equal(job.market, "");
    bench_result(&w, &job, MESSAGE_FAILED, "DATA");
    assert_true(bench_job_becomes(&b, m.id.text, "failed"));
    assert_string_equal(
        bench_ask(&b, "SELECT result ->> 'skipped' FROM meridian.job WHERE kind = 'nightly'"), "6");
    bench_close(&b);
}

/* A schedule that is due becomes a nightly with children, without anybody's help. */
static void test_scheduler_fires_a_schedule(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "schedule");
    b.scheduler = bench_start(&b, "schedule.log");
    (void)bench_ask(&b, "SELECT meridian.schedule_set('nightly', '* * * * *', 'Europe/Berlin',"
                        " 'intent', '{de-DE}', NULL, NULL, NULL, 'test')");
    (void)bench_ask(&b, "UPDATE meridian.schedule_zone SET decided_until = now() - interval"
                        " '2 min', due_at = now() - interval '2 min'");
    assert_true(bench_eventually(
        &b,
        "SELECT string_agg(DISTINCT kind, ' ') FROM meridian.job WHERE parent = (SELECT job FROM"
        " meridian.firing WHERE job IS NOT NULL ORDER BY nominal_at LIMIT 1)",
        "evaluate finetune", BENCH_WAIT_MS));
    bench_close(&b);
}

static void fail_the_base(struct bench *b, struct bench_worker *w)
{
    struct message_ready job;
    (void)b;
    assert_true(bench_claim(w, &job, 20000));
    assert_string_equal(job.kind, "finetune");
    assert_string_equal(job.market, "");
    bench_result(w, &job, MESSAGE_FAILED, "DATA");
}

/* Two nights, one at a time: the second is made when the first has ended, a pause holds what has
 * not started, and the whole ends with the last night. */
static void test_scheduler_works_through_a_backfill(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "backfill");
    b.scheduler = bench_start(&b, "backfill.log");
    (void)bench_ask(&b, "SELECT meridian.backfill_start('intent', '{de-*}', '2026-01-01',"
                        " '2026-01-02', 1, NULL, NULL, false, 'test')");
    const char *const queued = "SELECT count(*) FROM meridian.job WHERE kind = 'finetune' AND"
                               " state = 'queued' AND spec ->> 'as_of' = '2026-01-02T00:00:00Z'";
    assert_true(bench_eventually(&b, queued, "1", BENCH_WAIT_MS));
    (void)bench_ask(&b, "SELECT meridian.backfill_pause(job, 'test') FROM meridian.backfill");
    assert_true(bench_eventually(&b, queued, "0", BENCH_WAIT_MS));
    (void)bench_ask(&b, "SELECT meridian.backfill_resume(job, 'test') FROM meridian.backfill");
    assert_true(bench_eventually(&b, queued, "1", BENCH_WAIT_MS));
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 1);
    fail_the_base(&b, &w);
    assert_true(bench_eventually(
        &b,
        "SELECT string_agg(night || ' ' || state, ', ' ORDER BY night) FROM meridian.job"
        " WHERE kind = 'nightly' AND night = '2026-01-01'",
        "2026-01-01 failed", BENCH_WAIT_MS));
    fail_the_base(&b, &w);
    assert_true(bench_eventually(&b, "SELECT state || ' ' || failed FROM report.backfill",
                                 "failed 2", BENCH_WAIT_MS));
    assert_string_equal(bench_ask(&b, "SELECT count(*) FROM meridian.job WHERE kind = 'evaluate'"
                                      " AND spec ->> 'promote' = 'false'"),
                        "2");
    bench_close(&b);
}

/* A result that the record refuses fails the attempt with the record's words, and nothing of it is
 * kept. */
static void test_scheduler_fails_a_result_that_cannot_be_recorded(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "refused");
    b.scheduler = bench_start(&b, "refused.log");
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 1);
    struct message_submission m = {.id = bench_uuid(), .spec = span_of("{\"max_attempts\": 1}")};
    strcpy(m.kind, "finetune");
    strcpy(m.market, "de-DE");
    strcpy(m.task, "intent");
    bench_submit(&b, &m);
    struct message_ready job;
    assert_true(bench_claim(&w, &job, 20000));
    bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL); /* of a noop: it has no version */
    assert_true(bench_job_becomes(&b, m.id.text, "failed"));
    assert_string_equal(
        bench_ask_job(&b, "SELECT error_text FROM meridian.job WHERE id = ", m.id.text),
        "the result cannot be recorded: version is missing");
    assert_string_equal(bench_ask(&b, "SELECT count(*) FROM meridian.version"), "0");
    struct uuid next = bench_noop(&b, "de-DE", ""); /* and the next result is recorded */
    work(&w, 1);
    assert_true(bench_job_becomes(&b, next.text, "succeeded"));
    bench_close(&b);
}

static int check_of(struct bench *b)
{
    const char *argv[] = {
        "meridian-scheduler", "--check", "--database-url", b->url, "--leader-ttl", "2s", NULL};
    return servers_run(b->servers, "meridian-scheduler", argv, NULL, "check.log", 10000);
}

/* --check tells whether a leader is at work, for health checks; without a record it says no. */
static void test_scheduler_check_tells_whether_a_leader_works(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "check");
    assert_int_equal(check_of(&b), 1);
    b.scheduler = bench_start(&b, "checked.log");
    assert_true(bench_eventually(&b, "SELECT count(*) FROM meridian.leader", "1", BENCH_WAIT_MS));
    assert_int_equal(check_of(&b), 0);
    assert_int_equal(servers_wait(b.servers, b.scheduler, SIGKILL, 5000), SIGKILL);
    b.scheduler = 0;
    (void)bench_ask(&b, "UPDATE meridian.leader SET expires_at = now() - interval '9 s'");
    assert_int_equal(check_of(&b), 1);
    bench_close(&b);
}

/* Killed in the middle, the scheduler goes on where the record says: nothing is lost, nothing runs
 * twice for effect. */
static void test_scheduler_survives_kill_9(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "killed");
    b.scheduler = bench_start(&b, "killed.log");
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 2);
    for (int i = 0; i < 20; i++) {
        (void)bench_noop(&b, "de-DE", "");
    }
    work(&w, 5);
    servers_wait(b.servers, b.scheduler, SIGKILL, 5000);
    for (int i = 0; i < 5; i++) {
        (void)bench_noop(&b, "de-DE", ""); /* waits in redis */
    }
    b.scheduler = bench_start(&b, "killed.log");
    int64_t until = clock_mono_ms() + BENCH_WAIT_MS;
    struct message_ready job;
    while (strcmp(bench_ask(&b, "SELECT count(*) FROM meridian.job WHERE state = 'succeeded'"),
                  "25") != 0) {
        assert_true(clock_mono_ms() < until);
        if (bench_claim(&w, &job, 200)) {
            bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
        } else {
            /* The supervisor would send again what was not yet recorded. */
            struct pg_result *r = NULL;
            struct err_buf e = {{0}};
            assert_int_equal(pg_sync_exec(b.pg,
                                          "SELECT job, number FROM meridian.attempt"
                                          " WHERE state = 'running'",
                                          NULL, 0, &r, &e),
                             0);
            for (size_t i = 0; i < pg_rows(r); i++) {
                (void)snprintf(job.job.text, sizeof job.job.text, "%s", pg_text(r, i, 0));
                job.attempt = (int32_t)pg_integer(r, i, 1, 0);
                bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
            }
            pg_result_free(r);
        }
    }
    assert_string_equal(
        bench_ask(&b, "SELECT count(*) FROM meridian.attempt WHERE state = 'succeeded'"), "25");
    bench_close(&b);
}

/* Of two schedulers one leads; when it is killed the other takes over within seconds. */
static void test_scheduler_standby_takes_over(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "standby");
    pid_t first = bench_start(&b, "standby-1.log");
    assert_true(bench_eventually(&b, "SELECT count(*) FROM meridian.leader", "1", BENCH_WAIT_MS));
    b.scheduler = bench_start(&b, "standby-2.log");
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 1);
    (void)bench_noop(&b, "de-DE", "");
    work(&w, 1);
    assert_string_equal(bench_ask(&b, "SELECT term FROM meridian.leader"), "1");
    servers_wait(b.servers, first, SIGKILL, 5000);
    int64_t start = clock_mono_ms();
    struct uuid id = bench_noop(&b, "de-DE", "");
    work(&w, 1);
    assert_true(bench_job_becomes(&b, id.text, "succeeded"));
    assert_true(clock_mono_ms() - start < 10000);
    assert_string_equal(bench_ask(&b, "SELECT term FROM meridian.leader"), "2");
    bench_close(&b);
}

/* The worker's renewal brings what the record says it was given and does not hold. */
static void hand_over(struct bench_worker *w, struct message_ready *ret)
{
    char sql[512];
    (void)snprintf(
        sql, sizeof sql,
        "SELECT job || ' ' || number FROM meridian.lease_renew('%s', '%s', 7, false, '{}',"
        " '{}', '{}', '{}', 15000) WHERE verdict = 'take' AND spec IS NOT NULL",
        w->name, w->incarnation.text);
    int64_t until = clock_mono_ms() + BENCH_WAIT_MS;
    const char *text;
    while ((text = bench_ask(w->bench, sql))[0] == '\0') {
        assert_true(clock_mono_ms() < until);
    }
    assert_int_equal(sscanf(text, "%36s %d", ret->job.text, &ret->attempt), 2);
}

/* FLUSHALL loses nothing: what was on its way is handed over by the record, and new work flows. */
static void test_scheduler_survives_a_redis_that_forgets(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "forget");
    b.scheduler = bench_start_with(&b, "forget.log", "10s");
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 1);
    struct uuid id = bench_noop(&b, "de-DE", "f");
    char job_state[64], reason[512];
    bench_reply(&b, "f", job_state, reason);
    assert_true(bench_job_becomes(&b, id.text, "dispatched"));
    const struct redis_reply *reply = NULL;
    struct err_buf e = {{0}};
    assert_int_equal(REDIS_SYNC_CALL(b.redis, &reply, &e, "FLUSHALL"), 0);
    struct message_ready job;
    hand_over(&w, &job);
    assert_string_equal(job.job.text, id.text);
    bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
    assert_true(bench_job_becomes(&b, id.text, "succeeded"));
    id = bench_noop(&b, "de-DE", "g");
    bench_reply(&b, "g", job_state, reason);
    work(&w, 1);
    assert_true(bench_job_becomes(&b, id.text, "succeeded"));
    assert_string_equal(bench_ask(&b, "SELECT max(attempt) FROM meridian.job"), "1");
    bench_close(&b);
}

/* Redis restarted without its data: the same. */
static void test_scheduler_survives_a_restart_of_redis(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "redis");
    b.scheduler = bench_start_with(&b, "redis.log", "10s");
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 1);
    struct uuid id = bench_noop(&b, "de-DE", "");
    assert_true(bench_job_becomes(&b, id.text, "dispatched"));
    servers_redis_kill(servers);
    servers_redis_start(servers);
    bench_connect_redis(&b);
    struct message_ready job;
    hand_over(&w, &job);
    bench_result(&w, &job, MESSAGE_SUCCEEDED, NULL);
    assert_true(bench_job_becomes(&b, id.text, "succeeded"));
    bench_close(&b);
}

/* A result that a worker left in the record is recorded, and then goes; a stranger leaves none. */
static void test_scheduler_takes_a_result_from_the_record(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "left");
    b.scheduler = bench_start_with(&b, "left.log", "10s");
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 1);
    struct uuid id = bench_noop(&b, "de-DE", "");
    struct message_ready job;
    assert_true(bench_claim(&w, &job, 20000));
    struct message_report m = {.type = MESSAGE_RESULT,
                               .incarnation = w.incarnation,
                               .result = {.job = job.job,
                                          .attempt = job.attempt,
                                          .outcome = MESSAGE_SUCCEEDED,
                                          .run_ms = 5,
                                          .result = span_of("{\"output\":\"left\"}")}};
    (void)snprintf(m.worker, sizeof m.worker, "%s", w.name);
    struct buf out, hex;
    struct err_buf e = {{0}};
    buf_init(&out, 4096);
    buf_init(&hex, 16384);
    assert_int_equal(message_encode_report(&m, &out, &e), 0);
    for (int stranger = 1; stranger >= 0; stranger--) {
        buf_reset(&hex);
        assert_int_equal(buf_add_format(&hex,
                                        "SELECT meridian.result_leave('%s', '%s', '%s', 1, '\\x",
                                        stranger ? "w-other" : w.name, w.incarnation.text, id.text),
                         0);
        for (size_t i = 0; i < out.length; i++) {
            assert_int_equal(buf_add_format(&hex, "%02x", (unsigned char)out.data[i]), 0);
        }
        assert_int_equal(buf_add_text(&hex, "')"), 0);
        assert_string_equal(bench_ask(&b, buf_text(&hex)), stranger ? "f" : "t");
    }
    buf_close(&out);
    buf_close(&hex);
    assert_true(bench_job_becomes(&b, id.text, "succeeded"));
    assert_true(
        bench_eventually(&b, "SELECT count(*) FROM meridian.result_left", "0", BENCH_WAIT_MS));
    bench_close(&b);
}

/* PostgreSQL killed and restarted: submissions wait in Redis, then all goes on. */
static void test_scheduler_survives_a_restart_of_postgresql(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "pg_restart");
    b.scheduler = bench_start(&b, "pg-restart.log");
    struct bench_worker w;
    bench_hello(&w, &b, "w-eu", "eu", 1);
    struct uuid first = bench_noop(&b, "de-DE", "");
    assert_true(bench_job_becomes(&b, first.text, "dispatched"));
    servers_pg_kill(servers);
    struct uuid second = bench_noop(&b, "de-DE", "late");
    servers_pg_start(servers);
    bench_connect(&b);
    char job_state[64], reason[512];
    bench_reply(&b, "late", job_state, reason);
    assert_true(strcmp(job_state, "queued") == 0 || strcmp(job_state, "dispatched") == 0);
    work_until(&b, &w, first.text);
    work_until(&b, &w, second.text);
    assert_string_equal(bench_ask(&b, "SELECT count(*) FROM meridian.attempt WHERE state = "
                                      "'succeeded'"),
                        "2");
    bench_close(&b);
}

/* An argument is a pattern of the cases to run. */
int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scheduler_runs_a_job_from_submission_to_result),
        cmocka_unit_test(test_scheduler_knows_a_submission_that_comes_again),
        cmocka_unit_test(test_scheduler_rejects_by_naming_the_field),
        cmocka_unit_test(test_scheduler_lets_no_stranger_end_an_attempt),
        cmocka_unit_test(test_scheduler_says_what_stands_in_the_place_of_a_stream),
        cmocka_unit_test(test_scheduler_says_that_it_may_not_lead),
        cmocka_unit_test(test_scheduler_waits_for_the_migration),
        cmocka_unit_test(test_scheduler_skips_what_needs_a_failed_job),
        cmocka_unit_test(test_scheduler_gives_up_after_three_crashes),
        cmocka_unit_test(test_scheduler_takes_back_what_nobody_took),
        cmocka_unit_test(test_scheduler_gives_another_what_a_worker_cannot_read),
        cmocka_unit_test(test_scheduler_offers_only_free_slots_of_the_region),
        cmocka_unit_test(test_scheduler_sees_pause_resume_and_cancel),
        cmocka_unit_test(test_scheduler_expands_and_closes_a_nightly),
        cmocka_unit_test(test_scheduler_fires_a_schedule),
        cmocka_unit_test(test_scheduler_works_through_a_backfill),
        cmocka_unit_test(test_scheduler_fails_a_result_that_cannot_be_recorded),
        cmocka_unit_test(test_scheduler_check_tells_whether_a_leader_works),
        cmocka_unit_test(test_scheduler_survives_kill_9),
        cmocka_unit_test(test_scheduler_standby_takes_over),
        cmocka_unit_test(test_scheduler_survives_a_redis_that_forgets),
        cmocka_unit_test(test_scheduler_survives_a_restart_of_redis),
        cmocka_unit_test(test_scheduler_takes_a_result_from_the_record),
        cmocka_unit_test(test_scheduler_survives_a_restart_of_postgresql),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
