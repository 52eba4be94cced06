/*
 * A worker on real servers, and a scheduler of a few lines: inserts a job with its attempt, puts
 * the ready message into the stream, waits for the report, records the end.
 *
 * Every function asserts; a deadline that passes fails the test.
 */
#ifndef TESTS_INTEGRATION_WORKER_FIXTURE_H
#define TESTS_INTEGRATION_WORKER_FIXTURE_H

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/message/message.h"
#include "common/pg/pg_sync.h"
#include "common/redis/redis_sync.h"
#include "sql/migrate.h"
#include "tests/harness/servers.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 20000 };

struct fixture {
    struct servers *servers;
    struct pg_sync *pg;
    struct redis_sync *redis;
    char term[24];
    char worker[64]; /* that was started last: it gets what is dispatched */
};

/* What a report said, copied. */
struct outcome {
    enum message_outcome outcome;
    char worker[MESSAGE_WORKER_MAX + 1];
    char error_code[MESSAGE_CODE_MAX + 1];
    char error_text[512];
    char log_tail[MESSAGE_TAIL_MAX + 1];
    int signal;
    int64_t peak_rss_kb;
    char *result; /* owned; NULL when absent */
};

/* --- statements ------------------------------------------------------------------------------ */

static inline void fixture_connect(struct fixture *f)
{
    struct err_buf e = {{0}};
    if (!f->pg && pg_sync_open(&f->pg, servers_pg_url(f->servers), "test", 0, &e) != 0) {
        fail_msg("%s", e.text);
    }
}

/* Runs one statement; the first value as text in out (may be NULL), "" without rows. */
static inline void sql(struct fixture *f, char *out, size_t size, const char *statement)
{
    struct err_buf e = {{0}};
    struct pg_result *r = NULL;
    fixture_connect(f);
    if (pg_sync_exec(f->pg, statement, NULL, 0, &r, &e) != 0) {
        fail_msg("%s: %s", statement, e.text);
    }
    if (out) {
        bool has_value = pg_rows(r) > 0 && pg_columns(r) > 0;
        (void)snprintf(out, size, "%s", has_value ? pg_text(r, 0, 0) : "");
    }
    pg_result_free(r);
}

static inline bool sql_is(struct fixture *f, const char *expected, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static inline bool sql_is(struct fixture *f, const char *expected, const char *format, ...)
{
    char statement[4096], out[256];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(statement, sizeof statement, format, args);
    va_end(args);
    sql(f, out, sizeof out, statement);
    return strcmp(out, expected) == 0;
}

static inline void sql_do(struct fixture *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void sql_do(struct fixture *f, const char *format, ...)
{
    char statement[4096];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(statement, sizeof statement, format, args);
    va_end(args);
    sql(f, NULL, 0, statement);
}

/* Until the statement says true. */
static inline void wait_sql(struct fixture *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void wait_sql(struct fixture *f, const char *format, ...)
{
    char statement[4096];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(statement, sizeof statement, format, args);
    va_end(args);
    for (int64_t end = clock_mono_ms() + WAIT_MS; !sql_is(f, "t", "%s", statement);) {
        if (clock_mono_ms() > end) {
            fail_msg("not true in time: %s", statement);
        }
        (void)usleep(10000);
    }
}

static inline struct redis_sync *fixture_redis(struct fixture *f)
{
    struct err_buf e = {{0}};
    if (!f->redis &&
        redis_sync_open(&f->redis, servers_redis_url(f->servers), NULL, NULL, 5000, &e) != 0) {
        fail_msg("%s", e.text);
    }
    return f->redis;
}

/* --- set-up ---------------------------------------------------------------------------------- */

static inline void fixture_migrate(struct fixture *f)
{
    struct err_buf e = {{0}};
    fixture_connect(f);
    if (migrate_run(f->pg, NULL, false, NULL, NULL, &e) != 0) {
        fail_msg("%s", e.text);
    }
    sql(f, f->term, sizeof f->term,
        "SELECT term::text FROM meridian.leader_acquire('test', 3600000)");
    sql(f, NULL, 0, "INSERT INTO meridian.region VALUES ('emea'), ('apac')");
    sql(f, NULL, 0,
        "INSERT INTO meridian.market (code, region) VALUES ('de-DE', 'emea'), ('ja-JP', 'apac')");
    sql(f, NULL, 0, "INSERT INTO meridian.task (name) VALUES ('support-intent')");
}

static inline int fixture_setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.servers = servers_new("worker")};
    servers_redis_start(f.servers);
    servers_pg_set_durable(f.servers); /* a killed server must remember what was assigned */
    servers_pg_start(f.servers);
    fixture_migrate(&f);
    *state = &f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    if (f->pg) {
        pg_sync_close(f->pg);
    }
    if (f->redis) {
        redis_sync_close(f->redis);
    }
    servers_free(f->servers);
    return 0;
}

/* Starts a worker of the region with that name, so many slots, that memory and this grace time. */
static inline pid_t worker_start_sized(struct fixture *f, const char *name, const char *region,
                                       const char *grace, const char *slots, const char *memory)
{
    char redis[256], database[512], log_name[128];
    (void)snprintf(redis, sizeof redis, "MERIDIAN_REDIS_URL=%s", servers_redis_url(f->servers));
    /* With the rights of a worker and no more. */
    (void)snprintf(database, sizeof database,
                   "MERIDIAN_DATABASE_URL=%s?options=-crole%%3Dmeridian_worker",
                   servers_pg_url(f->servers));
    (void)snprintf(log_name, sizeof log_name, "%s.log", name);
    const char *const argv[] = {
        "meridian-worker", "--region", region,     "--name", name, "--grace", grace,
        "--slots",         slots,      "--memory", memory,   NULL};
    const char *const env[] = {redis, database, "MERIDIAN_LOG=debug", NULL};
    pid_t pid = servers_spawn(f->servers, "meridian-worker", argv, env, log_name);
    (void)snprintf(f->worker, sizeof f->worker, "%s", name);
    wait_sql(f, "SELECT EXISTS (SELECT FROM meridian.worker WHERE name = '%s' AND pid = %d)", name,
             (int)pid);
    return pid;
}

/* The same with one slot. */
static inline pid_t worker_start(struct fixture *f, const char *name, const char *region,
                                 const char *grace)
{
    return worker_start_sized(f, name, region, grace, "1", "8g");
}

/* Until the worker's log has these words. */
static inline void wait_log(struct fixture *f, const char *name, const char *words)
{
    char path[512], text[65536];
    (void)snprintf(path, sizeof path, "%s/%s.log", servers_directory(f->servers), name);
    for (int64_t end = clock_mono_ms() + WAIT_MS;; (void)usleep(5000)) {
        FILE *file = fopen(path, "r");
        size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;
        text[length] = '\0';
        if (file) {
            (void)fclose(file);
        }
        if (strstr(text, words)) {
            return;
        }
        if (clock_mono_ms() > end) {
            fail_msg("%s.log does not say \"%s\"", name, words);
        }
    }
}

/* SIGTERM, and the exit code. */
static inline int worker_stop(struct fixture *f, pid_t pid)
{
    int status = servers_wait(f->servers, pid, SIGTERM, WAIT_MS);
    assert_true(status != -1 && WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The runner: the first child of the supervisor. 0 = none. */
static inline pid_t runner_of(pid_t supervisor)
{
    char path[64];
    int child = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)supervisor,
                   (int)supervisor);
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%d", &child) != 1) {
            child = 0;
        }
        (void)fclose(file);
    }
    return child;
}

/* --- a scheduler of a few lines -------------------------------------------------------------- */

struct job {
    struct uuid id;
    struct message_ready ready;
    char spec[1024];
};

/* The ready message, into the stream of the worker. */
static inline void job_send(struct fixture *f, const struct job *j)
{
    struct buf m;
    struct err_buf e = {{0}};
    char key[128];
    buf_init(&m, 70000);
    assert_int_equal(message_encode_ready(&j->ready, &m, &e), 0);
    (void)snprintf(key, sizeof key, "{meridian}:ready:%s", f->worker);
    const struct span args[] = {span_of("XADD"), span_of(key), span_of("*"), span_of("m"),
                                buf_span(&m)};
    assert_int_equal(redis_sync_send(fixture_redis(f), args, 5, 0, NULL, &e), 0);
    buf_close(&m);
}

/* A job of the region's market that is assigned to the worker, without a message. */
static inline void job_assign(struct fixture *f, struct job *j, const char *kind,
                              const char *region, const char *spec, int memory_mb, int limit_s)
{
    *j = (struct job){
        .id = uuid_make(clock_wall_ms(), rng_seed_from_system(), rng_seed_from_system())};
    const char *market = strcmp(region, "emea") == 0 ? "de-DE" : "ja-JP";
    (void)snprintf(j->spec, sizeof j->spec, "%s", spec);
    j->ready = (struct message_ready){.job = j->id,
                                      .attempt = 1,
                                      .spec = span_of(j->spec),
                                      .memory_mb = memory_mb,
                                      .time_limit_s = limit_s,
                                      .threads = 1};
    (void)snprintf(j->ready.kind, sizeof j->ready.kind, "%s", kind);
    (void)snprintf(j->ready.market, sizeof j->ready.market, "%s", market);
    (void)snprintf(j->ready.task, sizeof j->ready.task, "support-intent");
    (void)snprintf(j->ready.region, sizeof j->ready.region, "%s", region);
    sql_do(f,
           "INSERT INTO meridian.job (id, kind, market, task, region, state, attempt, spec)"
           " VALUES ('%s', '%s', '%s', 'support-intent', '%s', 'dispatched', 1, '%s')",
           j->id.text, kind, market, region, spec);
    sql_do(f,
           "INSERT INTO meridian.attempt (job, number, state, region, worker, incarnation,"
           " lease_expires_at) SELECT '%s', 1, 'dispatched', '%s', name, incarnation,"
           " now() + interval '10 s' FROM meridian.worker WHERE name = '%s'",
           j->id.text, region, f->worker);
    char mono[24], question[128];
    (void)snprintf(question, sizeof question,
                   "SELECT incarnation FROM meridian.worker WHERE name = '%s'", f->worker);
    sql(f, j->ready.incarnation.text, sizeof j->ready.incarnation.text, question);
    (void)snprintf(question, sizeof question,
                   "SELECT mono_ms FROM meridian.worker WHERE name = '%s'", f->worker);
    sql(f, mono, sizeof mono, question);
    j->ready.worker_mono_ms = strtoll(mono, NULL, 10);
}

/* The same, and its ready message in the worker's stream. */
static inline void job_dispatch(struct fixture *f, struct job *j, const char *kind,
                                const char *region, const char *spec, int memory_mb, int limit_s)
{
    job_assign(f, j, kind, region, spec, memory_mb, limit_s);
    job_send(f, j);
}

struct search {
    const char *job;
    struct outcome *found;
    int count;
};

static inline void look_at(const struct redis_entry *entry, void *data)
{
    struct search *s = data;
    struct message_report m;
    struct err_buf e = {{0}};
    assert_int_equal(message_decode_report(entry->message, &m, &e), 0);
    if (m.type != MESSAGE_RESULT || strcmp(m.result.job.text, s->job) != 0) {
        return;
    }
    if (s->count++ == 0 && s->found) {
        struct outcome *o = s->found;
        *o = (struct outcome){.outcome = m.result.outcome,
                              .signal = m.result.signal,
                              .peak_rss_kb = m.result.peak_rss_kb};
        (void)snprintf(o->worker, sizeof o->worker, "%s", m.worker);
        (void)snprintf(o->error_code, sizeof o->error_code, "%s", m.result.error_code);
        (void)snprintf(o->error_text, sizeof o->error_text, "%.*s", (int)m.result.error_text.length,
                       m.result.error_text.data ? m.result.error_text.data : "");
        (void)snprintf(o->log_tail, sizeof o->log_tail, "%.*s", (int)m.result.log_tail.length,
                       m.result.log_tail.data ? m.result.log_tail.data : "");
        if (m.result.result.data) {
            o->result = mem_string(m.result.result.data, m.result.result.length);
        }
    }
}

/* How many results of that job were reported; the first into found (may be NULL). */
static inline int reports_of(struct fixture *f, const char *job, struct outcome *found)
{
    const struct redis_reply *reply = NULL;
    struct err_buf e = {{0}};
    struct search s = {.job = job, .found = found};
    assert_int_equal(
        REDIS_SYNC_CALL(fixture_redis(f), &reply, &e, "XRANGE", "{meridian}:report", "-", "+"), 0);
    (void)redis_range_entries(reply, look_at, &s);
    return s.count;
}

static inline void wait_report(struct fixture *f, const struct job *j, struct outcome *ret)
{
    for (int64_t end = clock_mono_ms() + WAIT_MS; reports_of(f, j->id.text, ret) == 0;) {
        if (clock_mono_ms() > end) {
            fail_msg("no report of job %s in time", j->id.text);
        }
        (void)usleep(5000);
    }
}

static inline void wait_running(struct fixture *f, const struct job *j)
{
    wait_sql(f, "SELECT state = 'running' FROM meridian.attempt WHERE job = '%s'", j->id.text);
}

/* Records a success as the scheduler does; the answer of attempt_finish must be "committed". */
static inline void job_finish(struct fixture *f, const struct job *j, const struct outcome *o)
{
    struct err_buf e = {{0}};
    struct pg_result *r = NULL;
    int rc = PG_SYNC_EXEC(
        f->pg, &r, &e, "SELECT meridian.attempt_finish($1::bigint, $2::uuid, 1, $3, 1, $4::jsonb)",
        f->term, j->id.text, o->worker, o->result);
    if (rc != 0) {
        fail_msg("%s", e.text);
    }
    assert_string_equal(pg_text(r, 0, 0), "committed");
    pg_result_free(r);
}

/* Records any other end. */
static inline void job_close(struct fixture *f, const struct job *j, const char *state)
{
    sql_do(f,
           "UPDATE meridian.attempt SET state = '%s', ended_at = now(), lease_expires_at = NULL"
           " WHERE job = '%s'",
           state, j->id.text);
    sql_do(f,
           "UPDATE meridian.job SET state = 'failed', ended_at = now(), error_code = 'TEST'"
           " WHERE id = '%s'",
           j->id.text);
}

#endif
