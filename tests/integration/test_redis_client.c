/* Both Redis clients on a real server: what they answer, and what becomes of commands when the
 * server is killed, silent, demoted, or says no. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/redis/redis.h"
#include "common/redis/redis_sync.h"
#include "tests/harness/servers.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#include <cmocka.h>

enum { DEADLINE_MS = 20000, CALLS_MAX = 2048 };

struct call {
    struct fixture *fixture;
    int times; /* how often its callback was called */
    int rc;
    enum redis_type type;
    int64_t integer;
    int order;
    char text[64];
};

struct fixture {
    struct servers *servers;
    uv_loop_t loop;
    struct redis *redis;
    bool is_in_call;
    bool is_closed;
    int ready_count;
    int lost_count;
    char cause[512];
    int message_count;
    char message[64];
    struct call calls[CALLS_MAX];
    int answered;
    int close_at; /* close the client in the callback with this number */
};

/* --- fixture --------------------------------------------------------------------------------- */

static void copy_span(char *out, size_t size, struct span text)
{
    (void)snprintf(out, size, "%.*s", (int)text.length, text.data ? text.data : "");
}

static void on_state(bool is_ready, const char *cause, void *data)
{
    struct fixture *f = data;
    assert_false(f->is_in_call);
    f->ready_count += is_ready;
    f->lost_count += !is_ready;
    (void)snprintf(f->cause, sizeof f->cause, "%s", cause);
}

static void on_message(struct span channel, struct span payload, void *data)
{
    struct fixture *f = data;
    assert_true(span_is(channel, "news"));
    copy_span(f->message, sizeof f->message, payload);
    f->message_count++;
}

static void on_closed(void *data)
{
    struct fixture *f = data;
    f->is_closed = true;
}

static void on_done(int rc, const struct redis_reply *reply, void *data)
{
    struct call *call = data;
    struct fixture *f = call->fixture;
    assert_false(f->is_in_call);
    call->times++;
    call->rc = rc;
    call->type = redis_reply_type(reply);
    call->integer = redis_reply_integer(reply);
    copy_span(call->text, sizeof call->text, redis_reply_text(reply));
    call->order = f->answered++;
    if (f->close_at > 0 && f->answered == f->close_at) {
        redis_close(f->redis, on_closed, f);
    }
}

static struct call *next_call(struct fixture *f, int index)
{
    f->calls[index] = (struct call){.fixture = f};
    return &f->calls[index];
}

/* Sends and makes sure that nothing is called from inside. */
#define SEND(f, index, timeout_ms, ...)                                                            \
    send_texts((f), (index), (timeout_ms), (const char *const[]){__VA_ARGS__, NULL})

static int send_texts(struct fixture *f, int index, int64_t timeout_ms, const char *const *args)
{
    size_t count = 0;
    while (args[count]) {
        count++;
    }
    f->is_in_call = true;
    int rc = redis_send_texts(f->redis, args, count, timeout_ms, on_done, next_call(f, index));
    f->is_in_call = false;
    return rc;
}

static void on_wake(uv_timer_t *timer)
{
    (void)timer; /* ends a turn of the loop, so that the condition is looked at */
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
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    return is_met;
}

static bool is_ready(struct fixture *f)
{
    return f->ready_count > f->lost_count && redis_is_ready(f->redis);
}

static bool is_lost(struct fixture *f)
{
    return f->lost_count > 0;
}

static bool is_idle(struct fixture *f)
{
    return redis_outstanding(f->redis) == 0;
}

static bool is_closed(struct fixture *f)
{
    return f->is_closed;
}

static void start(struct fixture *f, struct redis_options options)
{
    options.on_state = on_state;
    options.data = f;
    options.name = options.name ? options.name : "test";
    options.backoff_max_ms = options.backoff_max_ms ? options.backoff_max_ms : 100;
    struct err_buf e = {0};
    f->is_in_call = true;
    assert_int_equal(redis_new(&f->redis, &f->loop, &options, &e), 0);
    f->is_in_call = false;
}

static void start_ready(struct fixture *f)
{
    servers_redis_start(f->servers);
    start(f, (struct redis_options){.url = servers_redis_url(f->servers)});
    assert_true(run_until(f, is_ready));
}

static int set_up(void **state)
{
    struct fixture *f = mem_new(sizeof *f);
    assert_non_null(f);
    f->servers = servers_new("redis client");
    assert_int_equal(uv_loop_init(&f->loop), 0);
    *state = f;
    return 0;
}

/* Every test ends with a loop without handles: nothing of the client is left behind. */
static int tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->redis && !f->is_closed) {
        redis_close(f->redis, on_closed, f);
        assert_true(run_until(f, is_closed));
    }
    assert_int_equal(uv_run(&f->loop, UV_RUN_NOWAIT), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    servers_free(f->servers);
    mem_free(f);
    return 0;
}

/* --- commands -------------------------------------------------------------------------------- */

/* A thousand commands sent at once are answered once each, in their order. */
static void test_redis_pipeline_keeps_the_order(void **state)
{
    struct fixture *f = *state;
    start_ready(f);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(SEND(f, i, 0, "INCR", "counter"), 0);
    }
    assert_int_equal(redis_outstanding(f->redis), 1000);
    assert_true(run_until(f, is_idle));
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(f->calls[i].times, 1);
        assert_int_equal(f->calls[i].rc, 0);
        assert_int_equal(f->calls[i].order, i);
        assert_int_equal(f->calls[i].integer, i + 1);
    }
}

/* A unix socket with a database number, a name for CLIENT LIST, and bytes that are no text. */
static void test_redis_unix_socket_selects_and_names(void **state)
{
    struct fixture *f = *state;
    servers_redis_start(f->servers);
    char url[300];
    (void)snprintf(url, sizeof url, "%s?db=3", servers_redis_socket_url(f->servers));
    start(f, (struct redis_options){.url = url, .name = "named"});
    assert_true(run_until(f, is_ready));
    const struct span set[3] = {span_of("SET"), span_of("k"), span_make("a\0\r\nb", 5)};
    assert_int_equal(redis_send(f->redis, set, 3, 0, on_done, next_call(f, 0)), 0);
    assert_int_equal(SEND(f, 1, 0, "STRLEN", "k"), 0);
    assert_int_equal(SEND(f, 2, 0, "CLIENT", "GETNAME"), 0);
    assert_int_equal(SEND(f, 3, 0, "SELECT", "0"), 0);
    assert_int_equal(SEND(f, 4, 0, "EXISTS", "k"), 0);
    assert_true(run_until(f, is_idle));
    assert_int_equal(f->calls[1].integer, 5);
    assert_string_equal(f->calls[2].text, "named");
    assert_int_equal(f->calls[4].integer, 0);
}

/* Redis's errors come as codes, with its words. */
static void test_redis_errors_have_codes(void **state)
{
    struct fixture *f = *state;
    start_ready(f);
    assert_int_equal(SEND(f, 0, 0, "XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"), 0);
    assert_int_equal(SEND(f, 1, 0, "XGROUP", "CREATE", "s", "g", "0"), 0);
    assert_int_equal(SEND(f, 2, 0, "XREADGROUP", "GROUP", "x", "c", "STREAMS", "s", ">"), 0);
    assert_int_equal(SEND(f, 3, 0, "NOSUCH"), 0);
    assert_true(run_until(f, is_idle));
    assert_int_equal(f->calls[0].rc, 0);
    assert_int_equal(f->calls[1].rc, ERR_EXISTS);
    assert_int_equal(f->calls[2].rc, ERR_NOTFOUND);
    assert_int_equal(f->calls[3].rc, ERR_INVALID);
    assert_int_equal(f->calls[3].type, REDIS_TYPE_ERROR);
    assert_non_null(strstr(f->calls[3].text, "unknown command"));
}

static void count_entry(const struct redis_entry *entry, void *data)
{
    char *text = data;
    copy_span(text, 64, entry->message);
}

static void on_read(int rc, const struct redis_reply *reply, void *data)
{
    struct call *call = data;
    on_done(rc, reply, data);
    call->integer = (int64_t)redis_read_entries(reply, count_entry, call->text);
}

static const char *const READ[] = {"XREADGROUP", "GROUP",   "g", "c", "BLOCK",
                                   "200",        "STREAMS", "s", ">"};

static void read_stream(struct fixture *f, int index)
{
    assert_int_equal(redis_send_texts(f->redis, READ, sizeof READ / sizeof READ[0], 5000, on_read,
                                      next_call(f, index)),
                     0);
}

/* A blocking read ends with nil after its time, and with the entry when there is one. */
static void test_redis_blocking_read_ends(void **state)
{
    struct fixture *f = *state;
    start_ready(f);
    assert_int_equal(SEND(f, 0, 0, "XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"), 0);
    read_stream(f, 1);
    assert_true(run_until(f, is_idle));
    assert_int_equal(f->calls[1].rc, 0);
    assert_int_equal(f->calls[1].type, REDIS_TYPE_NIL);
    assert_int_equal(f->calls[1].integer, 0);
    assert_int_equal(SEND(f, 2, 0, "XADD", "s", "*", "m", "hello"), 0);
    read_stream(f, 3);
    assert_true(run_until(f, is_idle));
    assert_int_equal(f->calls[3].integer, 1);
    assert_string_equal(f->calls[3].text, "hello");
}

/* At its bounds the client says so at once, and nothing was sent. */
static void test_redis_bounds_are_kept(void **state)
{
    struct fixture *f = *state;
    static char large[5000];
    servers_redis_start(f->servers);
    start(f, (struct redis_options){.url = servers_redis_url(f->servers),
                                    .outstanding_max = 3,
                                    .outgoing_bytes_max = 4096});
    assert_true(run_until(f, is_ready));
    const struct span args[2] = {span_of("ECHO"), span_make(large, sizeof large)};
    assert_int_equal(redis_send(f->redis, args, 2, 0, on_done, next_call(f, 9)), ERR_LIMIT);
    assert_int_equal(redis_send(f->redis, args, 0, 0, on_done, next_call(f, 9)), ERR_INVALID);
    assert_int_equal(redis_send_texts(f->redis, (const char *const[]){"GET", NULL}, 2, 0, on_done,
                                      next_call(f, 9)),
                     ERR_INVALID);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(SEND(f, i, 0, "INCR", "n"), 0);
    }
    assert_int_equal(SEND(f, 9, 0, "INCR", "n"), ERR_LIMIT);
    assert_true(run_until(f, is_idle));
    assert_int_equal(f->calls[2].integer, 3);
    assert_int_equal(f->calls[9].times, 0);
}

/* --- loss ------------------------------------------------------------------------------------ */

/* kill -9 with commands outstanding: each ends once as unreachable; the client comes back. */
static void test_redis_kill_ends_each_command_once(void **state)
{
    struct fixture *f = *state;
    start_ready(f);
    servers_redis_freeze(f->servers);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(SEND(f, i, 0, "INCR", "n"), 0);
    }
    (void)uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(f->answered, 0);
    servers_redis_kill(f->servers);
    assert_true(run_until(f, is_idle));
    assert_true(run_until(f, is_lost));
    assert_false(redis_is_ready(f->redis));
    assert_int_equal(SEND(f, 100, 0, "INCR", "n"), 0); /* not connected: also later */
    assert_int_equal(f->calls[100].times, 0);
    assert_true(run_until(f, is_idle));
    for (int i = 0; i <= 100; i++) {
        assert_int_equal(f->calls[i].times, 1);
        assert_int_equal(f->calls[i].rc, ERR_UNREACHABLE);
        assert_int_equal(f->calls[i].order, i);
    }
    servers_redis_start(f->servers);
    f->ready_count = 0;
    f->lost_count = 0;
    assert_true(run_until(f, is_ready));
    assert_int_equal(SEND(f, 101, 0, "INCR", "n"), 0);
    assert_true(run_until(f, is_idle));
    assert_int_equal(f->calls[101].rc, 0);
}

/* A server that is silent: the overdue command timed out, the others have an unknown outcome. */
static void test_redis_silence_is_a_timeout(void **state)
{
    struct fixture *f = *state;
    start_ready(f);
    servers_redis_freeze(f->servers);
    assert_int_equal(SEND(f, 0, 0, "INCR", "n"), 0);
    assert_int_equal(SEND(f, 1, 100, "INCR", "n"), 0);
    assert_int_equal(SEND(f, 2, 0, "INCR", "n"), 0);
    assert_true(run_until(f, is_idle));
    assert_int_equal(f->calls[0].rc, ERR_UNREACHABLE);
    assert_int_equal(f->calls[1].rc, ERR_TIMEOUT);
    assert_int_equal(f->calls[2].rc, ERR_UNREACHABLE);
    servers_redis_thaw(f->servers);
    f->ready_count = 0;
    f->lost_count = 0;
    assert_true(run_until(f, is_ready));
}

/* An idle connection is asked with PING, so a silent server is noticed without any command. */
static void test_redis_idle_connection_is_watched(void **state)
{
    struct fixture *f = *state;
    servers_redis_start(f->servers);
    start(f, (struct redis_options){.url = servers_redis_url(f->servers),
                                    .ping_after_ms = 50,
                                    .command_timeout_ms = 300,
                                    .connect_timeout_ms = 300});
    assert_true(run_until(f, is_ready));
    servers_redis_freeze(f->servers);
    assert_true(run_until(f, is_lost));
    assert_non_null(strstr(f->cause, "not answered in time"));
    servers_redis_thaw(f->servers);
    f->ready_count = 0;
    f->lost_count = 0;
    assert_true(run_until(f, is_ready));
}

/* Nobody listens yet: the cause says so, and the client is ready once the server is there. */
static void test_redis_waits_for_the_server(void **state)
{
    struct fixture *f = *state;
    servers_redis_start(f->servers);
    servers_redis_stop(f->servers);
    start(f, (struct redis_options){.url = servers_redis_url(f->servers)});
    assert_true(run_until(f, is_lost));
    assert_non_null(strstr(f->cause, "Connection refused"));
    int told = f->lost_count;
    servers_redis_start(f->servers);
    f->ready_count = told;
    assert_true(run_until(f, is_ready));
    assert_int_equal(f->lost_count, told);
}

/* A host name that has several addresses, of which not all answer, and one that has none. */
static void test_redis_names_are_resolved(void **state)
{
    struct fixture *f = *state;
    servers_redis_start(f->servers);
    char url[64];
    (void)snprintf(url, sizeof url, "redis://localhost%s",
                   strrchr(servers_redis_url(f->servers), ':'));
    start(f, (struct redis_options){.url = url});
    assert_true(run_until(f, is_ready));
    redis_close(f->redis, on_closed, f);
    assert_true(run_until(f, is_closed));
    f->is_closed = false;
    f->lost_count = 0;
    start(f, (struct redis_options){.url = "redis://host.invalid:1"});
    assert_true(run_until(f, is_lost));
    assert_non_null(strstr(f->cause, "not resolved"));
}

/* Asked to connect again: as if lost, told later. */
static void test_redis_reconnect_is_a_loss(void **state)
{
    struct fixture *f = *state;
    start_ready(f);
    assert_int_equal(SEND(f, 0, 0, "INCR", "n"), 0);
    f->is_in_call = true;
    redis_reconnect(f->redis);
    redis_reconnect(f->redis);
    f->is_in_call = false;
    assert_true(run_until(f, is_idle));
    assert_int_equal(f->calls[0].rc, ERR_UNREACHABLE);
    f->ready_count = 0;
    f->lost_count = 0;
    assert_true(run_until(f, is_ready));
}

/* --- refusals -------------------------------------------------------------------------------- */

/* A wrong or missing password is told as such, without the password; the right one works. */
static void test_redis_password_has_a_clear_cause(void **state)
{
    struct fixture *f = *state;
    servers_redis_start(f->servers);
    struct redis_sync *sync = NULL;
    struct err_buf e = {0};
    assert_int_equal(redis_sync_open(&sync, servers_redis_url(f->servers), NULL, NULL, 5000, &e),
                     0);
    assert_int_equal(
        REDIS_SYNC_CALL(sync, NULL, &e, "CONFIG", "SET", "requirepass", "correct horse"), 0);
    redis_sync_close(sync);
    const char *port = strrchr(servers_redis_url(f->servers), ':');
    char url[128];
    start(f, (struct redis_options){.url = servers_redis_url(f->servers)});
    assert_true(run_until(f, is_lost));
    assert_non_null(strstr(f->cause, "wants a password"));
    redis_close(f->redis, on_closed, f);
    assert_true(run_until(f, is_closed));
    (void)snprintf(url, sizeof url, "redis://default:hunter2@127.0.0.1%s", port);
    assert_int_equal(redis_sync_open(&sync, url, NULL, NULL, 5000, &e), ERR_INVALID);
    f->lost_count = 0;
    f->is_closed = false;
    start(f, (struct redis_options){.url = url});
    assert_true(run_until(f, is_lost));
    assert_non_null(strstr(f->cause, "user or password are refused"));
    assert_null(strstr(f->cause, "hunter2"));
    redis_close(f->redis, on_closed, f);
    assert_true(run_until(f, is_closed));
    (void)snprintf(url, sizeof url, "redis://:correct%%20horse@127.0.0.1%s", port);
    f->lost_count = 0;
    f->is_closed = false;
    start(f, (struct redis_options){.url = url});
    assert_true(run_until(f, is_ready));
}

/* A server that became a replica is left, and used again when it is the master. */
static void test_redis_replica_is_no_master(void **state)
{
    struct fixture *f = *state;
    start_ready(f);
    assert_int_equal(SEND(f, 0, 0, "REPLICAOF", "127.0.0.1", "1"), 0);
    assert_int_equal(SEND(f, 1, 0, "SET", "k", "v"), 0);
    assert_true(run_until(f, is_lost));
    assert_int_equal(f->calls[1].rc, ERR_UNREACHABLE);
    f->lost_count = 0;
    assert_true(run_until(f, is_lost)); /* a second cause: what ROLE says */
    assert_non_null(strstr(f->cause, "not the master"));
    const char *argv[] = {"redis-cli", "-u", servers_redis_url(f->servers), "REPLICAOF", "NO",
                          "ONE",       NULL};
    assert_int_equal(servers_run(f->servers, "/usr/bin/redis-cli", argv, NULL, "cli.log", 10000),
                     0);
    f->ready_count = 0;
    f->lost_count = 0;
    assert_true(run_until(f, is_ready));
}

/* --- subscriber ------------------------------------------------------------------------------ */

static bool has_message(struct fixture *f)
{
    return f->message_count > 0;
}

static void publish(struct fixture *f, const char *text)
{
    struct redis_sync *sync = NULL;
    struct err_buf e = {0};
    const struct redis_reply *reply = NULL;
    assert_int_equal(redis_sync_open(&sync, servers_redis_url(f->servers), NULL, NULL, 5000, &e),
                     0);
    assert_int_equal(REDIS_SYNC_CALL(sync, &reply, &e, "PUBLISH", "news", text), 0);
    assert_int_equal(redis_reply_integer(reply), 1);
    redis_sync_close(sync);
}

/* A subscriber hears, also after the server was killed, and takes no commands. */
static void test_redis_subscriber_hears_after_a_restart(void **state)
{
    struct fixture *f = *state;
    servers_redis_start(f->servers);
    start(f, (struct redis_options){.url = servers_redis_url(f->servers),
                                    .channel = "news",
                                    .on_message = on_message,
                                    .ping_after_ms = 20});
    assert_true(run_until(f, is_ready));
    assert_int_equal(SEND(f, 0, 0, "PING"), ERR_INVALID);
    publish(f, "one");
    assert_true(run_until(f, has_message));
    assert_string_equal(f->message, "one");
    servers_redis_kill(f->servers);
    assert_true(run_until(f, is_lost));
    servers_redis_start(f->servers);
    f->ready_count = 0;
    f->lost_count = 0;
    f->message_count = 0;
    assert_true(run_until(f, is_ready));
    publish(f, "two");
    assert_true(run_until(f, has_message));
    assert_string_equal(f->message, "two");
}

/* --- the end --------------------------------------------------------------------------------- */

/* Closing with commands outstanding: each is cancelled once, then closed is called. */
static void test_redis_close_cancels_what_is_outstanding(void **state)
{
    struct fixture *f = *state;
    start_ready(f);
    servers_redis_freeze(f->servers);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(SEND(f, i, 0, "INCR", "n"), 0);
    }
    f->is_in_call = true;
    redis_close(f->redis, on_closed, f);
    f->is_in_call = false;
    assert_int_equal(SEND(f, 50, 0, "INCR", "n"), ERR_CANCELLED);
    assert_true(run_until(f, is_closed));
    for (int i = 0; i < 50; i++) {
        assert_int_equal(f->calls[i].times, 1);
        assert_int_equal(f->calls[i].rc, ERR_CANCELLED);
    }
    assert_int_equal(f->calls[50].times, 0);
    servers_redis_thaw(f->servers);
}

/* Closing inside a callback, with replies behind it in the same bytes. */
static void test_redis_close_inside_a_callback(void **state)
{
    struct fixture *f = *state;
    start_ready(f);
    f->close_at = 10;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(SEND(f, i, 0, "INCR", "n"), 0);
    }
    assert_true(run_until(f, is_closed));
    for (int i = 0; i < 20; i++) {
        assert_int_equal(f->calls[i].times, 1);
        assert_int_equal(f->calls[i].rc, i < 10 ? 0 : ERR_CANCELLED);
    }
}

/* Closing while a name is being resolved, and while nobody listens. */
static void test_redis_close_in_other_states(void **state)
{
    struct fixture *f = *state;
    start(f, (struct redis_options){.url = "redis://localhost:1"});
    assert_string_equal(redis_state_name(f->redis), "RESOLVING");
    redis_close(f->redis, on_closed, f);
    assert_true(run_until(f, is_closed));
    f->is_closed = false;
    start(f, (struct redis_options){.url = "unix:///nonexistent/redis.sock"});
    assert_string_equal(redis_state_name(f->redis), "WAITING");
    redis_close(f->redis, on_closed, f);
    assert_true(run_until(f, is_closed));
    assert_int_equal(f->lost_count, 0);
}

/* The socket is not inherited by children. */
static void test_redis_socket_closes_on_exec(void **state)
{
    struct fixture *f = *state;
    start_ready(f);
    int sockets = 0;
    for (int fd = 3; fd < 256; fd++) {
        struct stat info;
        if (fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode)) {
            sockets++;
            assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        }
    }
    assert_true(sockets > 0);
}

/* Any allocation may fail: a code comes back, and later calls work. */
static void test_redis_out_of_memory_is_a_code(void **state)
{
    struct fixture *f = *state;
    servers_redis_start(f->servers);
    struct redis_options options = {
        .url = servers_redis_url(f->servers), .name = "n", .on_state = on_state, .data = f};
    struct err_buf e = {0};
    int rc = ERR_NOMEM;
    for (long nth = 1; rc == ERR_NOMEM; nth++) {
        mem_fail_after(nth);
        rc = redis_new(&f->redis, &f->loop, &options, &e);
        mem_fail_after(0);
        assert_true(rc == 0 || rc == ERR_NOMEM);
    }
    assert_true(run_until(f, is_ready));
    rc = ERR_NOMEM;
    for (long nth = 1; rc == ERR_NOMEM; nth++) {
        mem_fail_after(nth);
        rc = SEND(f, 0, 0, "INCR", "n");
        mem_fail_after(0);
    }
    assert_int_equal(rc, 0);
    assert_true(run_until(f, is_idle));
    assert_int_equal(f->calls[0].integer, 1);
}

/* --- the client that waits ------------------------------------------------------------------- */

static struct redis_sync *open_sync(struct fixture *f, const char *url)
{
    struct redis_sync *sync = NULL;
    struct err_buf e = {0};
    int rc = redis_sync_open(&sync, url, "cli", NULL, 5000, &e);
    if (rc != 0) {
        print_error("%s\n", e.text);
    }
    (void)f;
    assert_int_equal(rc, 0);
    return sync;
}

struct seen {
    int count;
    int failed;
    int64_t last;
};

static void on_visit(int rc, const struct redis_reply *reply, void *data)
{
    struct seen *seen = data;
    seen->failed += rc != 0;
    seen->count++;
    seen->last = rc == 0 ? redis_reply_integer(reply) : seen->last;
}

/* 65,536 commands in one flush with large replies: nobody waits for the other; one more is too
 * many; a failing one does not stop the rest. */
static void test_redis_sync_pipelines(void **state)
{
    struct fixture *f = *state;
    servers_redis_start(f->servers);
    struct redis_sync *sync = open_sync(f, servers_redis_socket_url(f->servers));
    static char large[2000];
    memset(large, 'x', sizeof large);
    const struct span echo[2] = {span_of("ECHO"), span_make(large, sizeof large)};
    const struct span bad[1] = {span_of("NOSUCH")};
    const struct span incr[2] = {span_of("INCR"), span_of("n")};
    struct err_buf e = {0};
    for (int i = 0; i < 65534; i++) {
        assert_int_equal(redis_sync_add(sync, echo, 2), 0);
    }
    assert_int_equal(redis_sync_add(sync, bad, 1), 0);
    assert_int_equal(redis_sync_add(sync, incr, 2), 0);
    assert_int_equal(redis_sync_add(sync, incr, 2), ERR_LIMIT);
    struct seen seen = {0};
    assert_int_equal(redis_sync_flush(sync, 60000, on_visit, &seen, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "unknown command"));
    assert_int_equal(seen.count, 65536);
    assert_int_equal(seen.failed, 1);
    assert_int_equal(seen.last, 1);
    redis_sync_close(sync);
}

/* Errors, a timeout and a loss have their codes; afterwards the client is of no use. */
static void test_redis_sync_failures_have_codes(void **state)
{
    struct fixture *f = *state;
    servers_redis_start(f->servers);
    struct redis_sync *sync = open_sync(f, servers_redis_url(f->servers));
    const struct redis_reply *reply = NULL;
    struct err_buf e = {0};
    assert_int_equal(
        REDIS_SYNC_CALL(sync, &reply, &e, "XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"),
        ERR_NOTFOUND);
    assert_int_equal(redis_reply_type(reply), REDIS_TYPE_ERROR);
    assert_int_equal(REDIS_SYNC_CALL(sync, &reply, &e, "GET", "k"), 0);
    assert_int_equal(redis_reply_type(reply), REDIS_TYPE_NIL);
    const char *blocking[] = {"BLPOP", "list", "0"};
    assert_int_equal(redis_sync_send_texts(sync, blocking, 3, 100, &reply, &e), ERR_TIMEOUT);
    assert_null(reply);
    assert_int_equal(REDIS_SYNC_CALL(sync, NULL, &e, "PING"), ERR_UNREACHABLE);
    redis_sync_close(sync);
    sync = open_sync(f, servers_redis_url(f->servers));
    servers_redis_kill(f->servers);
    assert_int_equal(REDIS_SYNC_CALL(sync, NULL, &e, "PING"), ERR_UNREACHABLE);
    assert_int_equal(redis_sync_fd(sync), -1);
    redis_sync_close(sync);
    assert_int_equal(redis_sync_open(&sync, servers_redis_url(f->servers), NULL, NULL, 1000, &e),
                     ERR_UNREACHABLE);
    assert_non_null(strstr(e.text, "Connection refused"));
    assert_int_equal(redis_sync_open(&sync, "redis://", NULL, NULL, 1000, &e), ERR_INVALID);
}

/* A listener waits with an end and can go on after it; a lost server is told. */
static void test_redis_sync_listens(void **state)
{
    struct fixture *f = *state;
    servers_redis_start(f->servers);
    struct redis_sync *sync = open_sync(f, servers_redis_url(f->servers));
    struct err_buf e = {0};
    struct span payload;
    assert_int_equal(redis_sync_subscribe(sync, "news", &e), 0);
    assert_int_equal(redis_sync_wait(sync, 20, &payload, &e), ERR_TIMEOUT);
    publish(f, "three");
    publish(f, "four");
    assert_int_equal(redis_sync_wait(sync, 5000, &payload, &e), 0);
    assert_true(span_is(payload, "three"));
    assert_int_equal(redis_sync_wait(sync, 5000, &payload, &e), 0);
    assert_true(span_is(payload, "four"));
    servers_redis_kill(f->servers);
    assert_int_equal(redis_sync_wait(sync, 5000, &payload, &e), ERR_UNREACHABLE);
    redis_sync_close(sync);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_redis_pipeline_keeps_the_order),
        CASE(test_redis_unix_socket_selects_and_names),
        CASE(test_redis_errors_have_codes),
        CASE(test_redis_blocking_read_ends),
        CASE(test_redis_bounds_are_kept),
        CASE(test_redis_kill_ends_each_command_once),
        CASE(test_redis_silence_is_a_timeout),
        CASE(test_redis_idle_connection_is_watched),
        CASE(test_redis_waits_for_the_server),
        CASE(test_redis_names_are_resolved),
        CASE(test_redis_reconnect_is_a_loss),
        CASE(test_redis_password_has_a_clear_cause),
        CASE(test_redis_replica_is_no_master),
        CASE(test_redis_subscriber_hears_after_a_restart),
        CASE(test_redis_close_cancels_what_is_outstanding),
        CASE(test_redis_close_inside_a_callback),
        CASE(test_redis_close_in_other_states),
        CASE(test_redis_socket_closes_on_exec),
        CASE(test_redis_out_of_memory_is_a_code),
        CASE(test_redis_sync_pipelines),
        CASE(test_redis_sync_failures_have_codes),
        CASE(test_redis_sync_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
