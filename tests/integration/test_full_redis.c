/* Redis with little memory that refuses writes when it is full (noeviction): who submits waits or
 * is told, and what was acknowledged is run, once. */
#include "tests/integration/queue_bench.h"

enum { JOBS = 5000, PAD = 1000 };

static struct servers *servers;

static int group_setup(void **state)
{
    (void)state;
    servers = servers_new("full");
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

/* --- Redis ----------------------------------------------------------------------------------- */

static int64_t redis_number(struct bench *b, const char *const *args, size_t count)
{
    const struct redis_reply *reply = NULL;
    struct err_buf e = {{0}};
    if (redis_sync_send_texts(b->redis, args, count, 0, &reply, &e)) {
        fail_msg("%s", e.text);
    }
    return redis_reply_integer(reply);
}

static int64_t intake_length(struct bench *b)
{
    char key[BENCH_KEY];
    (void)snprintf(key, sizeof key, "{%s}:intake", b->prefix);
    return redis_number(b, (const char *[]){"XLEN", key}, 2);
}

static void set_maxmemory(struct bench *b, const char *bytes)
{
    const char *args[] = {"CONFIG", "SET", "maxmemory", bytes, "maxmemory-policy", "noeviction"};
    (void)redis_number(b, args, 6);
}

/* Bytes that Redis uses now, and so many more. */
static void leave(struct bench *b, int64_t more)
{
    const struct redis_reply *reply = NULL;
    struct err_buf e = {{0}};
    char text[4096], bytes[32];
    assert_int_equal(REDIS_SYNC_CALL(b->redis, &reply, &e, "INFO", "memory"), 0);
    struct span info = redis_reply_text(reply);
    (void)snprintf(text, sizeof text, "%.*s", (int)info.length, info.data);
    const char *used = strstr(text, "used_memory:");
    assert_non_null(used);
    (void)snprintf(bytes, sizeof bytes, "%lld",
                   (long long)(strtoll(used + strlen("used_memory:"), NULL, 10) + more));
    set_maxmemory(b, bytes);
}

/* --- the CLI --------------------------------------------------------------------------------- */

struct command {
    const char *argv[16];
    char redis[BENCH_URL + 64], database[BENCH_URL + 64], prefix[64];
    const char *env[4];
};

static void command_init(struct command *c, struct bench *b, const char *const *args)
{
    size_t count = 0;
    memset(c, 0, sizeof *c);
    c->argv[count++] = "meridian";
    c->argv[count++] = "submit";
    for (size_t i = 0; args[i]; i++) {
        c->argv[count++] = args[i];
    }
    (void)snprintf(c->redis, sizeof c->redis, "MERIDIAN_REDIS_URL=%s", servers_redis_url(servers));
    (void)snprintf(c->database, sizeof c->database, "MERIDIAN_DATABASE_URL=%s", b->url);
    (void)snprintf(c->prefix, sizeof c->prefix, "MERIDIAN_REDIS_PREFIX=%s", b->prefix);
    c->env[0] = c->redis;
    c->env[1] = c->database;
    c->env[2] = c->prefix;
}

static size_t lines_with(const char *log_name, const char *text)
{
    char path[512], line[1024];
    size_t count = 0;
    (void)snprintf(path, sizeof path, "%s/%s", servers_directory(servers), log_name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        count += strstr(line, text) != NULL;
    }
    (void)fclose(f);
    return count;
}

static const char *write_file(void)
{
    static char path[512];
    char pad[PAD + 1];
    memset(pad, 'x', PAD);
    pad[PAD] = '\0';
    (void)snprintf(path, sizeof path, "%s/jobs.jsonl", servers_directory(servers));
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < JOBS; i++) {
        (void)fprintf(
            f, "{\"kind\": \"noop\", \"market\": \"de-DE\", \"spec\": {\"note\": \"%s\"}}\n", pad);
    }
    assert_int_equal(fclose(f), 0);
    return path;
}

static pid_t start_worker(struct bench *b)
{
    const char *argv[] = {"meridian-worker", "--redis-url", servers_redis_url(servers),
                          "--database-url",  b->url,        "--redis-prefix",
                          b->prefix,         "--region",    "eu",
                          "--slots",         "8",           NULL};
    return servers_spawn(servers, "meridian-worker", argv, NULL, "worker.log");
}

/* --- the cases ------------------------------------------------------------------------------- */

static void stop_and_clear(struct bench *b, pid_t worker)
{
    if (worker > 0) {
        assert_int_equal(servers_wait(servers, worker, SIGTERM, 20000), 0);
    }
    set_maxmemory(b, "0");
    (void)redis_number(b, (const char *[]){"FLUSHALL"}, 1);
    bench_close(b);
}

/* No scheduler empties the intake: clients give up with the reason, another one waits; Redis is
 * never out of memory. When the scheduler comes, the one that waited goes on, and everything that
 * either of them got in is run once. */
static void test_full_redis_holds_clients_back(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "full");
    leave(&b, 8 << 20);
    const char *path = write_file();
    struct command c;
    command_init(&c, &b, (const char *[]){"--bulk", path, "--timeout", "1s", NULL});
    size_t full = 0; /* a client has only a few bulks on their way, so it takes some */
    for (int client = 0; client < 10 && full == 0; client++) {
        assert_int_equal(servers_run(servers, "meridian", c.argv, c.env, "gives_up", 60000), 4);
        full = lines_with("gives_up", "the queue is full: Redis uses");
    }
    assert_int_equal(full, 1);
    int64_t left = intake_length(&b);
    assert_true(left > 0);
    command_init(&c, &b, (const char *[]){"--bulk", path, "--timeout", "60s", NULL});
    pid_t waits = servers_spawn(servers, "meridian", c.argv, c.env, "waits");
    assert_int_equal(servers_wait(servers, waits, 0, 1500), -1); /* it does wait */
    assert_int_equal(intake_length(&b), left);
    b.scheduler = bench_start(&b, "full.log");
    pid_t worker = start_worker(&b);
    assert_int_equal(servers_wait(servers, waits, 0, 60000), 0);
    assert_int_equal(lines_with("waits", "5000 jobs submitted, 0 rejected"), 1);
    assert_true(bench_eventually(&b, "SELECT count(*) FROM meridian.job WHERE state <> 'succeeded'",
                                 "0", 120000));
    /* What the first clients got in, told to nobody, is there as well. */
    assert_true(atoi(bench_ask(&b, "SELECT count(*) FROM meridian.job")) > JOBS + 100 * left);
    assert_int_equal(intake_length(&b), 0);
    assert_string_equal(bench_ask(&b, "SELECT max(attempt) FROM meridian.job"), "1");
    stop_and_clear(&b, worker);
}

/* The same by the size of the intake alone. */
static void test_full_intake_holds_clients_back(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "intake");
    struct command c;
    command_init(
        &c, &b,
        (const char *[]){"--bulk", write_file(), "--timeout", "1s", "--intake-max", "1", NULL});
    assert_int_equal(servers_run(servers, "meridian", c.argv, c.env, "intake", 60000), 4);
    assert_int_equal(lines_with("intake", "the queue is full: 1 MB of submissions wait in Redis"),
                     1);
    assert_true(intake_length(&b) < 4);
    stop_and_clear(&b, 0);
}

/* A client that may not ask how full Redis is meets its refusal, and says so. */
static void test_full_redis_refuses_a_client_that_cannot_ask(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "refuses");
    (void)redis_number(&b,
                       (const char *[]){"ACL", "SETUSER", "blind", "on", ">pw", "~*", "&*", "+@all",
                                        "-info", "-memory"},
                       10);
    set_maxmemory(&b, "1");
    struct command c;
    command_init(&c, &b, (const char *[]){"noop", "--timeout", "1s", NULL});
    (void)snprintf(c.redis, sizeof c.redis, "MERIDIAN_REDIS_URL=redis://blind:pw@%s",
                   servers_redis_url(servers) + strlen("redis://"));
    assert_int_equal(servers_run(servers, "meridian", c.argv, c.env, "blind", 20000), 4);
    assert_int_equal(lines_with("blind", "the queue is full: Redis is out of memory"), 1);
    assert_int_equal(intake_length(&b), 0);
    stop_and_clear(&b, 0);
}

/* Redis takes nothing more at all: what is in the intake is admitted and run nevertheless, through
 * the record, and the answer comes when there is memory again. */
static void test_full_redis_loses_no_answer(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, servers, "answer");
    char key[BENCH_KEY];
    (void)snprintf(key, sizeof key, "{%s}:intake", b.prefix);
    (void)redis_number(&b, (const char *[]){"XGROUP", "CREATE", key, "scheduler", "0", "MKSTREAM"},
                       6);
    struct uuid job = bench_noop(&b, "de-DE", "answer");
    set_maxmemory(&b, "1");
    b.scheduler = bench_start_with(&b, "answer.log", "10s");
    pid_t worker = start_worker(&b);
    assert_true(bench_job_becomes(&b, job.text, "succeeded"));
    assert_true(lines_with("answer.log", "redis is out of memory: answers") > 0);
    set_maxmemory(&b, "0");
    char job_state[64], reason[512];
    bench_reply(&b, "answer", job_state, reason);
    assert_string_equal(job_state, "queued");
    assert_string_equal(bench_ask(&b, "SELECT max(attempt) FROM meridian.job"), "1");
    stop_and_clear(&b, worker);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_redis_holds_clients_back),
        cmocka_unit_test(test_full_intake_holds_clients_back),
        cmocka_unit_test(test_full_redis_refuses_a_client_that_cannot_ask),
        cmocka_unit_test(test_full_redis_loses_no_answer),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
