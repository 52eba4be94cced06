/* Both Redis clients where Redis is more than one server: a master with a replica and a Sentinel,
 * and a cluster of three nodes. Real servers, real failovers. */
#include "common/base/clock.h"
#include "common/redis/redis.h"
#include "common/redis/redis_sync.h"
#include "tests/harness/servers.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#include <cmocka.h>

#define REDIS_SERVER "/usr/bin/redis-server"
#define REDIS_CLI "/usr/bin/redis-cli"

enum { NODES_MAX = 3, DEADLINE_MS = 60000, URL_SIZE = 256 };

struct node {
    int port;
    pid_t pid;
};

struct fixture {
    struct servers *servers;
    struct node nodes[NODES_MAX];
    struct node sentinel;
    uv_loop_t loop;
    struct redis *redis;
    bool is_closed;
    int answers;
    int last_rc;
};

/* --- servers --------------------------------------------------------------------------------- */

static void spawn_node(struct fixture *f, struct node *node, const char *more[4])
{
    char port[16], directory[512], log[32];
    node->port = node->port ? node->port : servers_free_port();
    (void)snprintf(port, sizeof port, "%d", node->port);
    (void)snprintf(log, sizeof log, "node-%d.log", node->port);
    (void)snprintf(directory, sizeof directory, "%s/%d", servers_directory(f->servers), node->port);
    (void)mkdir(directory, 0755); /* a second start finds it */
    const char *argv[] = {"redis-server", "--port",  port,     "--bind", "127.0.0.1",
                          "--dir",        directory, "--save", "",       more[0],
                          more[1],        more[2],   more[3],  NULL};
    node->pid = servers_spawn(f->servers, REDIS_SERVER, argv, NULL, log);
}

static void url_of(const struct node *node, char out[URL_SIZE])
{
    (void)snprintf(out, URL_SIZE, "redis://127.0.0.1:%d", node->port);
}

/* Opens without a key, so that nothing sends it on. */
static bool answers(void *data)
{
    char url[URL_SIZE];
    struct redis_sync *sync = NULL;
    struct err_buf e = {0};
    url_of(data, url);
    int rc = redis_sync_open(&sync, url, NULL, NULL, 1000, &e);
    if (rc == 0) {
        redis_sync_close(sync);
    }
    return rc == 0 || strstr(e.text, "not the master") != NULL;
}

static void kill_node(struct fixture *f, struct node *node)
{
    assert_int_not_equal(servers_wait(f->servers, node->pid, SIGKILL, 10000), -1);
}

/* --- the client on a loop -------------------------------------------------------------------- */

static void on_closed(void *data)
{
    struct fixture *f = data;
    f->is_closed = true;
}

static void on_answer(int rc, const struct redis_reply *reply, void *data)
{
    struct fixture *f = data;
    (void)reply;
    f->answers++;
    f->last_rc = rc;
}

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

static bool run_until(struct fixture *f, bool (*condition)(struct fixture *f))
{
    uv_timer_t wake;
    int64_t end = clock_mono_ms() + DEADLINE_MS;
    assert_int_equal(uv_timer_init(&f->loop, &wake), 0);
    assert_int_equal(uv_timer_start(&wake, on_wake, 5, 5), 0);
    while (!condition(f) && clock_mono_ms() < end) {
        (void)uv_run(&f->loop, UV_RUN_ONCE);
    }
    bool is_met = condition(f);
    uv_close((uv_handle_t *)&wake, NULL);
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    return is_met;
}

static bool is_ready(struct fixture *f)
{
    return redis_is_ready(f->redis);
}

static bool is_away(struct fixture *f)
{
    return !redis_is_ready(f->redis);
}

static bool is_gone(struct fixture *f)
{
    return f->is_closed;
}

static bool has_answer(struct fixture *f)
{
    return f->answers > 0;
}

static void connect_client(struct fixture *f, const char *url, const char *key)
{
    struct err_buf e = {0};
    struct redis_options options = {.url = url, .name = "test", .key = key, .backoff_max_ms = 100};
    assert_int_equal(redis_new(&f->redis, &f->loop, &options, &e), 0);
    assert_true(run_until(f, is_ready));
}

static int set(struct fixture *f, const char *key, const char *value)
{
    f->answers = 0;
    assert_int_equal(REDIS_CALL(f->redis, on_answer, f, "SET", key, value), 0);
    assert_true(run_until(f, has_answer));
    return f->last_rc;
}

static void close_client(struct fixture *f)
{
    f->is_closed = false;
    redis_close(f->redis, on_closed, f);
    assert_true(run_until(f, is_gone));
}

static void expect_at(const char *url, const char *key, const char *value)
{
    struct redis_sync *sync = NULL;
    const struct redis_reply *reply = NULL;
    struct err_buf e = {0};
    int rc = redis_sync_open(&sync, url, "cli", key, 10000, &e);
    if (rc != 0) {
        print_error("%s\n", e.text);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(REDIS_SYNC_CALL(sync, &reply, &e, "GET", key), 0);
    assert_true(span_is(redis_reply_text(reply), value));
    redis_sync_close(sync);
}

/* --- Sentinel -------------------------------------------------------------------------------- */

static void start_sentinel(struct fixture *f)
{
    char path[512], port[16], log[32];
    f->sentinel.port = servers_free_port();
    (void)snprintf(path, sizeof path, "%s/sentinel.conf", servers_directory(f->servers));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fprintf(file,
                  "bind 127.0.0.1\ndir %s\n"
                  "sentinel monitor main 127.0.0.1 %d 1\n"
                  "sentinel down-after-milliseconds main 500\n"
                  "sentinel failover-timeout main 5000\n",
                  servers_directory(f->servers), f->nodes[0].port);
    assert_int_equal(fclose(file), 0);
    (void)snprintf(port, sizeof port, "%d", f->sentinel.port);
    (void)snprintf(log, sizeof log, "sentinel.log");
    const char *argv[] = {"redis-server", path, "--sentinel", "--port", port, NULL};
    f->sentinel.pid = servers_spawn(f->servers, REDIS_SERVER, argv, NULL, log);
}

/* The Sentinel counts the replica only after it has asked the master twice or so. */
static bool sentinel_knows_replica(void *data)
{
    struct fixture *f = data;
    char command[256];
    (void)snprintf(command, sizeof command,
                   "%s -p %d SENTINEL replicas main 2>/dev/null | grep -A1 master-link-status | "
                   "grep -q ok",
                   REDIS_CLI, f->sentinel.port);
    const char *argv[] = {"sh", "-c", command, NULL};
    return servers_run(f->servers, "/bin/sh", argv, NULL, "wait.log", 10000) == 0;
}

/* The master is killed; the clients find the one that the Sentinel has made of the replica, through
 * the same URL, and what was written there is seen. A wrong Sentinel in front costs only a try. */
static void test_redis_sentinel_failover_is_followed(void **state)
{
    struct fixture *f = *state;
    char url[URL_SIZE], port[16];
    spawn_node(f, &f->nodes[0], (const char *[4]){NULL});
    assert_true(servers_wait_until(answers, &f->nodes[0], DEADLINE_MS));
    (void)snprintf(port, sizeof port, "%d", f->nodes[0].port);
    spawn_node(f, &f->nodes[1], (const char *[4]){"--replicaof", "127.0.0.1", port});
    assert_true(servers_wait_until(answers, &f->nodes[1], DEADLINE_MS));
    start_sentinel(f);
    assert_true(servers_wait_until(sentinel_knows_replica, f, DEADLINE_MS));

    (void)snprintf(url, sizeof url, "redis+sentinel://127.0.0.1:%d,127.0.0.1:%d/main",
                   servers_free_port(), f->sentinel.port);
    connect_client(f, url, NULL);
    assert_int_equal(set(f, "k", "before"), 0);
    expect_at(url, "k", "before");

    kill_node(f, &f->nodes[0]);
    assert_true(run_until(f, is_away));
    assert_true(run_until(f, is_ready));
    assert_int_equal(set(f, "k", "after"), 0);
    expect_at(url, "k", "after");
    char direct[URL_SIZE];
    url_of(&f->nodes[1], direct);
    expect_at(direct, "k", "after");
    close_client(f);
}

/* A name that the Sentinel does not watch is a cause that says so. */
static void test_redis_sentinel_unknown_master_is_named(void **state)
{
    struct fixture *f = *state;
    char url[URL_SIZE];
    spawn_node(f, &f->nodes[0], (const char *[4]){NULL});
    assert_true(servers_wait_until(answers, &f->nodes[0], DEADLINE_MS));
    start_sentinel(f);
    (void)snprintf(url, sizeof url, "redis+sentinel://127.0.0.1:%d/other", f->sentinel.port);
    struct redis_sync *sync = NULL;
    struct err_buf e = {0};
    int64_t end = clock_mono_ms() + DEADLINE_MS;
    do {
        e.text[0] = '\0';
        assert_int_equal(redis_sync_open(&sync, url, NULL, NULL, 2000, &e), ERR_UNREACHABLE);
    } while (!strstr(e.text, "watches no master \"other\"") && clock_mono_ms() < end);
    assert_non_null(strstr(e.text, "watches no master \"other\""));
}

/* --- Cluster --------------------------------------------------------------------------------- */

static bool cluster_is_up(void *data)
{
    const struct node *node = data;
    char command[256];
    (void)snprintf(command, sizeof command,
                   "%s -p %d CLUSTER INFO 2>/dev/null | grep -q cluster_state:ok", REDIS_CLI,
                   node->port);
    struct fixture *f = (struct fixture *)(void *)((char *)data - offsetof(struct fixture, nodes));
    const char *argv[] = {"sh", "-c", command, NULL};
    return servers_run(f->servers, "/bin/sh", argv, NULL, "wait.log", 10000) == 0;
}

static void start_cluster(struct fixture *f)
{
    char command[512];
    for (int i = 0; i < NODES_MAX; i++) {
        char bus[16];
        (void)snprintf(bus, sizeof bus, "%d", servers_free_port());
        spawn_node(f, &f->nodes[i],
                   (const char *[4]){"--cluster-enabled", "yes", "--cluster-port", bus});
        assert_true(servers_wait_until(answers, &f->nodes[i], DEADLINE_MS));
    }
    (void)snprintf(command, sizeof command,
                   "%s --cluster create 127.0.0.1:%d 127.0.0.1:%d 127.0.0.1:%d --cluster-yes",
                   REDIS_CLI, f->nodes[0].port, f->nodes[1].port, f->nodes[2].port);
    const char *argv[] = {"sh", "-c", command, NULL};
    assert_int_equal(servers_run(f->servers, "/bin/sh", argv, NULL, "create.log", DEADLINE_MS), 0);
    assert_true(servers_wait_until(cluster_is_up, &f->nodes[0], DEADLINE_MS));
}

/* Whatever node the URL names, a client that says its key ends at the node that holds it; one that
 * does not is sent on by its first command, which fails as unreachable, once. */
static void test_redis_cluster_sends_clients_to_the_slot(void **state)
{
    struct fixture *f = *state;
    static const char key[] = "{meridian}:intake";
    start_cluster(f);
    for (int i = 0; i < NODES_MAX; i++) {
        char url[URL_SIZE], value[16];
        url_of(&f->nodes[i], url);
        (void)snprintf(value, sizeof value, "v%d", i);
        connect_client(f, url, key);
        assert_int_equal(set(f, key, value), 0);
        close_client(f);
        expect_at(url, key, value);
    }
    int refusals = 0;
    for (int i = 0; i < NODES_MAX; i++) {
        char url[URL_SIZE];
        url_of(&f->nodes[i], url);
        connect_client(f, url, NULL);
        int rc = set(f, key, "w");
        if (rc != 0) {
            assert_int_equal(rc, ERR_UNREACHABLE);
            refusals++;
            assert_true(run_until(f, is_ready));
            assert_int_equal(set(f, key, "w"), 0);
        }
        close_client(f);
    }
    assert_int_equal(refusals, NODES_MAX - 1);
}

/* --- fixture --------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    static struct fixture f;
    f = (struct fixture){.servers = servers_new("redis failover")};
    assert_int_equal(uv_loop_init(&f.loop), 0);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    servers_free(f->servers);
    return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_redis_sentinel_failover_is_followed),
        CASE(test_redis_sentinel_unknown_master_is_named),
        CASE(test_redis_cluster_sends_clients_to_the_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
