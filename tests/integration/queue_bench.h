/*
 * A scheduler under test: its servers, its program, a client that submits and a worker that takes
 * what it is given and reports, all as the real ones do it. Every helper fails the test when it
 * cannot do its part.
 */
#ifndef TESTS_INTEGRATION_QUEUE_BENCH_H
#define TESTS_INTEGRATION_QUEUE_BENCH_H

#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/base/uuid.h"
#include "common/message/message.h"
#include "common/pg/pg_sync.h"
#include "common/redis/redis_sync.h"
#include "sql/migrate.h"
#include "tests/harness/servers.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BENCH_WAIT_MS = 30000, BENCH_KEY = 128, BENCH_URL = 512 };

struct bench {
    struct servers *servers;
    char prefix[32]; /* also the database */
    char url[BENCH_URL];
    struct pg_sync *pg;
    struct redis_sync *redis;
    pid_t scheduler;
    char holder_log[32];
};

struct bench_worker {
    struct bench *bench;
    char name[32];
    const char *region;
    struct uuid incarnation;
};

static inline struct uuid bench_uuid(void)
{
    static uint64_t count;
    count++;
    return uuid_make(clock_wall_ms(), rng_mix(rng_seed_from_system() + count), rng_mix(count));
}

/* --- servers
 * -------------------------------------------------------------------------------------- */

static inline void bench_connect(struct bench *b)
{
    struct err_buf e = {{0}};
    pg_sync_close(b->pg);
    b->pg = NULL;
    int64_t until = clock_mono_ms() + BENCH_WAIT_MS;
    while (pg_sync_open(&b->pg, b->url, "test", 0, &e)) {
        if (clock_mono_ms() > until) {
            fail_msg("%s", e.text);
        }
    }
}

static inline void bench_connect_redis(struct bench *b)
{
    struct err_buf e = {{0}};
    redis_sync_close(b->redis);
    b->redis = NULL;
    if (redis_sync_open(&b->redis, servers_redis_url(b->servers), "test", NULL, 5000, &e)) {
        fail_msg("%s", e.text);
    }
}

/* The first column of the first row; "" when there is none. Valid until the next call. */
static inline const char *bench_ask(struct bench *b, const char *sql)
{
    static char text[1024];
    struct pg_result *r = NULL;
    struct err_buf e = {{0}};
    if (pg_sync_exec(b->pg, sql, NULL, 0, &r, &e)) {
        fail_msg("%s: %s", sql, e.text);
    }
    (void)snprintf(text, sizeof text, "%s", pg_rows(r) ? pg_text(r, 0, 0) : "");
    pg_result_free(r);
    return text;
}

/* The same about one job: sql ends with "id = ". */
static inline const char *bench_ask_job(struct bench *b, const char *sql, const char *id)
{
    char whole[1024];
    (void)snprintf(whole, sizeof whole, "%s'%s'", sql, id);
    return bench_ask(b, whole);
}

static inline bool bench_eventually(struct bench *b, const char *sql, const char *expected,
                                    int64_t timeout_ms)
{
    int64_t until = clock_mono_ms() + timeout_ms;
    while (strcmp(bench_ask(b, sql), expected) != 0) {
        if (clock_mono_ms() > until) {
            print_message("%s: '%s', expected '%s'\n", sql, bench_ask(b, sql), expected);
            return false;
        }
        (void)bench_ask(b, "SELECT pg_sleep(0.01)");
    }
    return true;
}

static inline bool bench_job_becomes(struct bench *b, const char *id, const char *state)
{
    char sql[256];
    (void)snprintf(sql, sizeof sql, "SELECT state FROM meridian.job WHERE id = '%s'", id);
    return bench_eventually(b, sql, state, BENCH_WAIT_MS);
}

static inline void bench_init(struct bench *b, struct servers *servers, const char *name)
{
    *b = (struct bench){.servers = servers};
    (void)snprintf(b->prefix, sizeof b->prefix, "%s", name);
    (void)snprintf(b->url, sizeof b->url, "%s", servers_pg_new_database(servers, name));
    bench_connect(b);
    bench_connect_redis(b);
    struct err_buf e = {{0}};
    if (migrate_run(b->pg, NULL, false, NULL, NULL, &e)) {
        fail_msg("%s", e.text);
    }
    (void)bench_ask(b, "SELECT meridian.market_set('de-DE', 'eu', 'Europe/Berlin', 'test'),"
                       " meridian.market_set('fr-FR', 'eu', 'Europe/Paris', 'test'),"
                       " meridian.market_set('ja-JP', 'ap', 'Asia/Tokyo', 'test')");
    (void)bench_ask(b, "SELECT meridian.task_set('intent', ARRAY['de-DE', 'fr-FR'], 'test')");
}

static inline pid_t bench_start_with(struct bench *b, const char *log_name,
                                     const char *undelivered_after)
{
    const char *argv[] = {"meridian-scheduler",
                          "--redis-url",
                          servers_redis_url(b->servers),
                          "--database-url",
                          b->url,
                          "--redis-prefix",
                          b->prefix,
                          "--undelivered-after",
                          undelivered_after,
                          "--leader-ttl",
                          "2s",
                          NULL};
    return servers_spawn(b->servers, "meridian-scheduler", argv, NULL, log_name);
}

static inline pid_t bench_start(struct bench *b, const char *log_name)
{
    return bench_start_with(b, log_name, "1500ms");
}

static inline void bench_close(struct bench *b)
{
    if (b->scheduler > 0) {
        assert_int_equal(servers_wait(b->servers, b->scheduler, SIGTERM, 10000), 0);
    }
    pg_sync_close(b->pg);
    redis_sync_close(b->redis);
}

/* --- a client
 * ------------------------------------------------------------------------------------- */

static inline void bench_add(struct bench *b, const char *stream, struct span message)
{
    char key[BENCH_KEY];
    struct err_buf e = {{0}};
    const struct redis_reply *reply = NULL;
    (void)snprintf(key, sizeof key, "{%s}:%s", b->prefix, stream);
    const struct span args[] = {span_of("XADD"), span_of(key), span_of("*"), span_of("m"), message};
    if (redis_sync_send(b->redis, args, 5, 0, &reply, &e)) {
        fail_msg("%s", e.text);
    }
}

static inline void bench_submit(struct bench *b, struct message_submission *m)
{
    struct buf out;
    struct err_buf e = {{0}};
    buf_init(&out, 1 << 20);
    (void)snprintf(m->by, sizeof m->by, "test");
    if (message_encode_submission(m, &out, &e)) {
        fail_msg("%s", e.text);
    }
    bench_add(b, "intake", buf_span(&out));
    buf_close(&out);
}

/* Waits for the reply; the state is copied into m->state. */
static inline void bench_reply(struct bench *b, const char *token, char state[32], char reason[512])
{
    char key[BENCH_KEY];
    struct err_buf e = {{0}};
    const struct redis_reply *reply = NULL;
    (void)snprintf(key, sizeof key, "{%s}:reply:%s", b->prefix, token);
    const char *args[] = {"BLPOP", key, "20"};
    if (redis_sync_send_texts(b->redis, args, 3, 25000, &reply, &e)) {
        fail_msg("%s", e.text);
    }
    struct message_reply m;
    assert_int_equal(redis_reply_count(reply), 2);
    assert_int_equal(message_decode_reply(redis_reply_text(redis_reply_at(reply, 1)), &m, &e), 0);
    (void)snprintf(state, 64, "%s", m.state);
    (void)snprintf(reason, 512, "%.*s", (int)m.reason.length, m.reason.length ? m.reason.data : "");
}

static inline struct uuid bench_noop(struct bench *b, const char *market, const char *token)
{
    struct message_submission m = {.id = bench_uuid(), .spec = span_of("{}")};
    (void)snprintf(m.kind, sizeof m.kind, "noop");
    (void)snprintf(m.market, sizeof m.market, "%s", market);
    (void)snprintf(m.reply, sizeof m.reply, "%s", token);
    bench_submit(b, &m);
    return m.id;
}

/* --- a worker
 * --------------------------------------------------------------------------------------- */

static inline void bench_report(struct bench_worker *w, struct message_report *m)
{
    struct buf out;
    struct err_buf e = {{0}};
    buf_init(&out, 1 << 20);
    (void)snprintf(m->worker, sizeof m->worker, "%s", w->name);
    m->incarnation = w->incarnation;
    if (message_encode_report(m, &out, &e)) {
        fail_msg("%s", e.text);
    }
    bench_add(w->bench, "report", buf_span(&out));
    buf_close(&out);
}

static inline void bench_hello(struct bench_worker *w, struct bench *b, const char *name,
                               const char *region, int slots)
{
    *w = (struct bench_worker){.bench = b, .region = region, .incarnation = bench_uuid()};
    (void)snprintf(w->name, sizeof w->name, "%s", name);
    char sql[512];
    (void)snprintf(
        sql, sizeof sql,
        "SELECT meridian.worker_hello('%s', '%s', true, '%s', 'host', 1, %d, %d, %d, '0', 7)", name,
        w->incarnation.text, region, slots, slots, slots * 2048);
    assert_string_equal(bench_ask(b, sql), "t");
    struct message_report m = {.type = MESSAGE_HELLO, .slots = slots, .free = slots};
    (void)snprintf(m.region, sizeof m.region, "%s", region);
    bench_report(w, &m);
}

/* Leaves; the scheduler has heard of it when this returns. */
static inline void bench_bye(struct bench_worker *w)
{
    char sql[256];
    (void)snprintf(sql, sizeof sql, "SELECT meridian.worker_bye('%s', '%s')", w->name,
                   w->incarnation.text);
    assert_string_equal(bench_ask(w->bench, sql), "t");
    struct message_report m = {.type = MESSAGE_BYE};
    (void)snprintf(m.region, sizeof m.region, "%s", w->region);
    bench_report(w, &m);
    /* What was under way to it meanwhile comes back. */
    assert_true(bench_eventually(
        w->bench, "SELECT count(*) FROM meridian.job WHERE ended_at IS NULL", "0", BENCH_WAIT_MS));
}

/* Renews what it holds: the record's verdict. */
static inline const char *bench_renew(struct bench_worker *w, const char *job, int attempt)
{
    char sql[512];
    (void)snprintf(sql, sizeof sql,
                   "SELECT verdict FROM meridian.lease_renew('%s', '%s', 7, false, '{%s}', '{%d}',"
                   " '{0}', '{null}', 15000)",
                   w->name, w->incarnation.text, job, attempt);
    return bench_ask(w->bench, sql);
}

struct bench_take {
    struct message_ready *message;
    char id[48];
    int count;
};

static inline void bench_on_ready(const struct redis_entry *entry, void *data)
{
    struct bench_take *take = data;
    struct err_buf e = {{0}};
    assert_int_equal(message_decode_ready(entry->message, take->message, &e), 0);
    (void)snprintf(take->id, sizeof take->id, "%.*s", (int)entry->id.length, entry->id.data);
    take->count++;
}

/* Takes one message, without telling the record; false when none came in time. */
static inline bool bench_take_offer(struct bench_worker *w, struct message_ready *ret,
                                    int timeout_ms)
{
    char key[BENCH_KEY];
    char block[16];
    struct err_buf e = {{0}};
    const struct redis_reply *reply = NULL;
    (void)snprintf(key, sizeof key, "{%s}:ready:%s", w->bench->prefix, w->name);
    (void)snprintf(block, sizeof block, "%d", timeout_ms);
    const char *args[] = {"XREAD", "COUNT", "1", "BLOCK", block, "STREAMS", key, "0"};
    int rc = redis_sync_send_texts(w->bench->redis, args, 8, timeout_ms + 5000, &reply, &e);
    struct bench_take take = {.message = ret};
    (void)redis_read_entries(rc ? NULL : reply, bench_on_ready, &take);
    if (take.count == 0) {
        return false;
    }
    assert_string_equal(ret->incarnation.text, w->incarnation.text);
    assert_int_equal(ret->worker_mono_ms, 7);
    if (REDIS_SYNC_CALL(w->bench->redis, &reply, &e, "XDEL", key, take.id)) {
        fail_msg("%s", e.text);
    }
    return true;
}

/* Tells the record that it holds what was taken; false when another attempt is meant by now. */
static inline bool bench_claim_offer(struct bench_worker *w, const struct message_ready *offer)
{
    return strcmp(bench_renew(w, offer->job.text, offer->attempt), "ok") == 0;
}

/* When the next offer came, in microseconds of the monotonic clock. */
static inline int64_t bench_await_offer(struct bench_worker *w, struct message_ready *ret)
{
    int64_t until = clock_mono_ms() + BENCH_WAIT_MS;
    while (!bench_take_offer(w, ret, 1000)) {
        assert_true(clock_mono_ms() < until);
    }
    return clock_mono_us();
}

/* Takes one message and tells the record. False when none came, or another attempt had been meant.
 */
static inline bool bench_claim(struct bench_worker *w, struct message_ready *ret, int timeout_ms)
{
    (void)bench_renew(w, "00000000-0000-0000-0000-000000000000",
                      1); /* a worker shows that it lives */
    return bench_take_offer(w, ret, timeout_ms) && bench_claim_offer(w, ret);
}

static inline void bench_result(struct bench_worker *w, const struct message_ready *job,
                                enum message_outcome outcome, const char *code)
{
    struct message_report m = {.type = MESSAGE_RESULT,
                               .result = {.job = job->job,
                                          .attempt = job->attempt,
                                          .outcome = outcome,
                                          .peak_rss_kb = 1000,
                                          .run_ms = 1}};
    if (outcome == MESSAGE_SUCCEEDED) {
        m.result.result = span_of("{\"output\":\"done\"}");
    } else if (code) {
        (void)snprintf(m.result.error_code, sizeof m.result.error_code, "%s", code);
        m.result.error_text = span_of("it did not work");
    }
    bench_report(w, &m);
}

#endif
