/* common/pg on a real PostgreSQL: the pipelined client and the blocking one. */
#include "common/base/clock.h"
#include "common/pg/pg.h"
#include "common/pg/pg_sync.h"
#include "tests/harness/servers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

enum { MANY = 200, WAIT_MS = 20000 };

static struct servers *servers;

/* What the callbacks saw. */
struct seen {
    struct pg *pg;
    size_t calls;
    size_t good;
    size_t lost;
    size_t cancelled;
    size_t timed_out;
    size_t failed;
    int64_t next_value; /* answers must come in this order */
    bool is_ordered;
    char sqlstate[6];
    bool is_closed;
    size_t ready;
    size_t gone;
    size_t notified;
};

static void on_state(bool is_ready, const char *cause, void *data)
{
    struct seen *s = data;
    s->ready += is_ready;
    s->gone += !is_ready;
    assert_true(is_ready || cause != NULL);
}

static void on_value(int rc, const struct pg_result *result, const struct pg_error *error,
                     void *data)
{
    struct seen *s = data;
    s->calls++;
    s->good += rc == 0;
    s->lost += rc == ERR_UNREACHABLE;
    s->cancelled += rc == ERR_CANCELLED;
    s->timed_out += rc == ERR_TIMEOUT;
    s->failed += rc == ERR_DATABASE || rc == ERR_FENCED;
    if (rc == 0) {
        s->is_ordered = s->is_ordered && pg_integer(result, 0, 0, -1) == s->next_value;
        s->next_value++;
    } else {
        assert_true(error->text[0] != '\0');
        strcpy(s->sqlstate, error->sqlstate);
    }
}

static void on_notified(void *data)
{
    ((struct seen *)data)->notified++;
}

static void on_closed(void *data)
{
    ((struct seen *)data)->is_closed = true;
}

static void turn(uv_loop_t *loop)
{
    (void)uv_run(loop, UV_RUN_NOWAIT);
}

#define RUN_UNTIL(loop, condition)                                                                 \
    do {                                                                                           \
        int64_t run_end = clock_mono_ms() + WAIT_MS;                                               \
        while (!(condition)) {                                                                     \
            turn(loop);                                                                            \
            assert_true(clock_mono_ms() < run_end);                                                \
        }                                                                                          \
    } while (0)

static struct pg *open_client(uv_loop_t *loop, struct seen *s, int64_t query_timeout_ms)
{
    *s = (struct seen){.is_ordered = true};
    assert_int_equal(uv_loop_init(loop), 0);
    struct pg_options options = {.url = servers_pg_url(servers),
                                 .application_name = "test",
                                 .query_timeout_ms = query_timeout_ms,
                                 .outstanding_max = 10 * MANY,
                                 .on_state = on_state,
                                 .data = s};
    struct err_buf e;
    assert_int_equal(pg_new(&s->pg, loop, &options, &e), 0);
    return s->pg;
}

static void close_client(uv_loop_t *loop, struct seen *s)
{
    pg_close(s->pg, on_closed, s);
    RUN_UNTIL(loop, s->is_closed);
    turn(loop);
    assert_int_equal(uv_loop_close(loop), 0); /* no handle is left */
}

static void send_value(struct pg *p, int64_t value, struct seen *s)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%lld", (long long)value);
    const char *params[] = {text};
    assert_int_equal(pg_send_texts(p, "value", "SELECT $1::bigint", params, 1, on_value, s), 0);
}

/* Queries sent together are answered in order, and an error in one does not touch the next. */
static void test_pg_pipeline_keeps_order_and_errors_apart(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct seen s;
    struct pg *p = open_client(&loop, &s, 0);
    RUN_UNTIL(&loop, pg_is_ready(p));
    for (int i = 0; i < MANY; i++) {
        send_value(p, i, &s);
        if (i == MANY / 2) {
            assert_int_equal(pg_send_texts(p, NULL, "SELECT 1 / 0", NULL, 0, on_value, &s), 0);
        }
    }
    assert_int_equal(s.calls, 0); /* never from inside the call */
    RUN_UNTIL(&loop, s.calls == MANY + 1);
    assert_int_equal(s.good, MANY);
    assert_int_equal(s.failed, 1);
    assert_string_equal(s.sqlstate, "22012");
    assert_true(s.is_ordered);
    close_client(&loop, &s);
}

/* Our functions' own SQLSTATE becomes the code that says "fenced". */
static void test_pg_fenced_is_told(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct seen s;
    struct pg *p = open_client(&loop, &s, 0);
    RUN_UNTIL(&loop, pg_is_ready(p));
    assert_int_equal(pg_send_texts(p, NULL,
                                   "DO $$ BEGIN RAISE EXCEPTION 'old' USING ERRCODE = 'MR001'; "
                                   "END $$",
                                   NULL, 0, on_value, &s),
                     0);
    RUN_UNTIL(&loop, s.calls == 1);
    assert_int_equal(s.failed, 1);
    assert_string_equal(s.sqlstate, "MR001");
    close_client(&loop, &s);
}

/* A statement whose first run fails is prepared all the same: the next run works. */
static void test_pg_named_statement_survives_a_failed_first_run(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct seen s;
    struct pg *p = open_client(&loop, &s, 0);
    RUN_UNTIL(&loop, pg_is_ready(p));
    static const char sql[] = "SELECT (10 / $1::integer)::bigint";
    const char *bad[] = {"0"};
    const char *good[] = {"1"};
    assert_int_equal(pg_send_texts(p, "divide", sql, bad, 1, on_value, &s), 0);
    RUN_UNTIL(&loop, s.calls == 1);
    assert_int_equal(s.good, 0);
    s.next_value = 10;
    assert_int_equal(pg_send_texts(p, "divide", sql, good, 1, on_value, &s), 0);
    RUN_UNTIL(&loop, s.calls == 2);
    assert_int_equal(s.good, 1);
    close_client(&loop, &s);
}

/* A statement that cannot be prepared is tried again by the next request of its name. */
static void test_pg_named_statement_that_failed_to_prepare_is_prepared_again(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct seen s;
    struct pg *p = open_client(&loop, &s, 0);
    RUN_UNTIL(&loop, pg_is_ready(p));
    assert_int_equal(
        pg_send_texts(p, "late", "SELECT a::bigint FROM test_late", NULL, 0, on_value, &s), 0);
    RUN_UNTIL(&loop, s.calls == 1);
    assert_int_equal(s.good, 0);
    assert_int_equal(
        pg_send_texts(p, NULL, "CREATE TABLE test_late AS SELECT 3 AS a", NULL, 0, NULL, NULL), 0);
    s.next_value = 3;
    assert_int_equal(
        pg_send_texts(p, "late", "SELECT a::bigint FROM test_late", NULL, 0, on_value, &s), 0);
    RUN_UNTIL(&loop, s.calls == 2);
    assert_int_equal(s.good, 1);
    close_client(&loop, &s);
}

/* kill -9 of the server: each callback comes once, the client comes back by itself, names are
 * prepared again. */
static void test_pg_comes_back_after_kill(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct seen s;
    struct pg *p = open_client(&loop, &s, 0);
    RUN_UNTIL(&loop, pg_is_ready(p));
    for (int i = 0; i < MANY; i++) {
        send_value(p, i, &s);
    }
    servers_pg_kill(servers);
    RUN_UNTIL(&loop, s.calls == MANY && s.gone == 1);
    assert_int_equal(s.good + s.lost, MANY);
    assert_true(s.is_ordered);
    send_value(p, 0, &s); /* while away: an answer all the same, and not from inside the call */
    assert_int_equal(s.calls, MANY);
    RUN_UNTIL(&loop, s.calls == MANY + 1);
    servers_pg_start(servers);
    RUN_UNTIL(&loop, pg_is_ready(p));
    s.next_value = 7;
    size_t before = s.good;
    send_value(p, 7, &s);
    RUN_UNTIL(&loop, s.calls == MANY + 2);
    assert_int_equal(s.good, before + 1);
    assert_int_equal(s.ready, 2);
    close_client(&loop, &s);
}

/* A silent server costs the query its time and the connection; then the client comes back. */
static void test_pg_silent_server_times_out(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct seen s;
    struct pg *p = open_client(&loop, &s, 300);
    RUN_UNTIL(&loop, pg_is_ready(p));
    servers_pg_freeze(servers);
    send_value(p, 0, &s);
    send_value(p, 1, &s);
    RUN_UNTIL(&loop, s.calls == 2);
    assert_int_equal(s.timed_out, 1);
    assert_int_equal(s.lost, 1);
    servers_pg_thaw(servers);
    RUN_UNTIL(&loop, pg_is_ready(p));
    close_client(&loop, &s);
}

/* Closing answers what is outstanding, once, and leaves nothing on the loop; also before the first
 * connection. */
static void test_pg_close_answers_everything(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct seen s;
    struct pg *p = open_client(&loop, &s, 0);
    close_client(&loop, &s);
    p = open_client(&loop, &s, 0);
    RUN_UNTIL(&loop, pg_is_ready(p));
    for (int i = 0; i < MANY; i++) {
        send_value(p, i, &s);
    }
    close_client(&loop, &s);
    assert_int_equal(s.calls, MANY);
    assert_int_equal(s.cancelled, MANY);
}

/* A URL that cannot be read is refused without repeating its password. */
static void test_pg_bad_url_is_refused_quietly(void **state)
{
    (void)state;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct pg *p = NULL;
    struct err_buf e;
    struct pg_options options = {.url = "postgresql://me:geheim@host/x?nonsense=1"};
    assert_int_equal(pg_new(&p, &loop, &options, &e), ERR_INVALID);
    assert_null(strstr(e.text, "geheim"));
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* --- blocking -------------------------------------------------------------------------------- */

static struct pg_sync *open_sync(void)
{
    struct pg_sync *s = NULL;
    struct err_buf e;
    assert_int_equal(pg_sync_open(&s, servers_pg_url(servers), "test", 0, &e), 0);
    return s;
}

struct rows {
    size_t count;
    size_t stop_at;
    char last[64];
};

static int on_line(char *line, size_t length, void *data)
{
    struct rows *rows = data;
    struct span values[2];
    assert_int_equal(pg_copy_split(line, length, values, 2), 0);
    assert_int_equal(pg_copy_split((char[]){"a\n"}, 2, values, 2), ERR_PARSE);
    rows->count++;
    return rows->count == rows->stop_at ? ERR_LIMIT : 0;
}

static int on_text_line(char *line, size_t length, void *data)
{
    struct rows *rows = data;
    struct span values[2];
    assert_int_equal(pg_copy_split(line, length, values, 2), 0);
    rows->count++;
    if (values[1].data) {
        memcpy(rows->last, values[1].data, values[1].length);
        rows->last[values[1].length] = '\0';
    }
    return 0;
}

/* What goes in by COPY comes out byte for byte: tabs, newlines, backslashes, null. */
static void test_pg_sync_copy_round_trip(void **state)
{
    (void)state;
    static const char nasty[] = "a\tb\nc\\d\re \\N";
    struct pg_sync *s = open_sync();
    struct err_buf e;
    struct buf row;
    buf_init(&row, 1024);
    assert_int_equal(pg_sync_run(s, "CREATE TEMP TABLE t (n int, v text)", &e), 0);
    assert_int_equal(pg_sync_copy_in(s, "COPY t FROM STDIN", &e), 0);
    assert_int_equal(pg_copy_add_value(&row, span_of("1"), true), 0);
    assert_int_equal(pg_copy_add_value(&row, span_of(nasty), false), 0);
    assert_int_equal(pg_copy_end_row(&row), 0);
    assert_int_equal(pg_copy_add_value(&row, span_of("2"), true), 0);
    assert_int_equal(pg_copy_add_value(&row, (struct span){.data = NULL}, false), 0);
    assert_int_equal(pg_copy_end_row(&row), 0);
    assert_int_equal(pg_sync_copy_add(s, row.data, row.length, &e), 0);
    int64_t copied = 0;
    assert_int_equal(pg_sync_copy_end(s, &copied, &e), 0);
    assert_int_equal(copied, 2);
    struct rows rows = {.count = 0};
    assert_int_equal(pg_sync_copy_out(s, "COPY (SELECT n, v FROM t ORDER BY n) TO STDOUT",
                                      on_text_line, &rows, &e),
                     0);
    assert_int_equal(rows.count, 2);
    assert_string_equal(rows.last, nasty);
    buf_close(&row);
    pg_sync_close(s);
}

/* A visitor that has seen enough ends the COPY, and the connection goes on. */
static void test_pg_sync_copy_out_can_stop(void **state)
{
    (void)state;
    struct pg_sync *s = open_sync();
    struct err_buf e;
    struct rows rows = {.stop_at = 5};
    assert_int_equal(pg_sync_copy_out(s,
                                      "COPY (SELECT i, i FROM generate_series(1, 1000000) i) "
                                      "TO STDOUT",
                                      on_line, &rows, &e),
                     ERR_LIMIT);
    assert_int_equal(rows.count, 5);
    struct pg_result *r = NULL;
    assert_int_equal(PG_SYNC_EXEC(s, &r, &e, "SELECT $1::int + $2::int", "40", "2"), 0);
    assert_int_equal(pg_integer(r, 0, 0, 0), 42);
    pg_result_free(r);
    pg_sync_close(s);
}

/* A transaction whose statement failed cannot look committed. */
static void test_pg_sync_failed_transaction_does_not_commit(void **state)
{
    (void)state;
    struct pg_sync *s = open_sync();
    struct err_buf e;
    assert_int_equal(pg_sync_begin(s, &e), 0);
    assert_int_equal(pg_sync_exec(s, "SELECT 1 / 0", NULL, 0, NULL, &e), ERR_DATABASE);
    assert_null(strstr(e.text, "division")); /* class 22 may repeat data */
    assert_int_equal(pg_sync_commit(s, &e), ERR_DATABASE);
    assert_int_equal(pg_sync_exec(s, "SELECT 1", NULL, 0, NULL, &e), 0);
    pg_sync_close(s);
}

/* A script's error names its line. */
static void test_pg_sync_run_names_the_line(void **state)
{
    (void)state;
    struct pg_sync *s = open_sync();
    struct err_buf e;
    assert_int_equal(pg_sync_run(s, "SELECT 1;\n\nSELECT nothing_here;\n", &e), ERR_DATABASE);
    assert_non_null(strstr(e.text, "line 3"));
    pg_sync_close(s);
}

/* bytea and arrays travel without loss. */
static void test_pg_sync_bytes_and_arrays(void **state)
{
    (void)state;
    struct pg_sync *s = open_sync();
    struct err_buf e;
    struct pg_result *r = NULL;
    struct buf b;
    buf_init(&b, 4096);
    const char *words[] = {"plain", "with \"quotes\" and \\", "", "a,b{}"};
    assert_int_equal(pg_array_add(&b, words, 4), 0);
    assert_int_equal(PG_SYNC_EXEC(s, &r, &e,
                                  "SELECT ($1::text[])[2], cardinality($1::text[]), "
                                  "decode('00ff10', 'hex')",
                                  buf_text(&b)),
                     0);
    assert_string_equal(pg_text(r, 0, 0), words[1]);
    assert_int_equal(pg_integer(r, 0, 1, 0), 4);
    buf_reset(&b);
    assert_int_equal(pg_bytes(r, 0, 2, &b), 0);
    assert_int_equal(b.length, 3);
    assert_memory_equal(b.data, "\x00\xff\x10", 3);
    pg_result_free(r);
    buf_close(&b);
    pg_sync_close(s);
}

static int set_up(void **state)
{
    (void)state;
    servers = servers_new("pg client");
    servers_pg_start(servers);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    servers_free(servers);
    return 0;
}

/* An idle connection hears a NOTIFY at once, between answers too, and again after it came back. */
static void test_pg_hears_notifications(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct seen s = {.is_ordered = true, .next_value = 1};
    struct err_buf e = {{0}};
    struct pg_sync *other = NULL;
    struct pg_options options = {.url = servers_pg_url(servers),
                                 .on_state = on_state,
                                 .listen = "meridian_wake",
                                 .on_notified = on_notified,
                                 .data = &s};
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(pg_sync_open(&other, servers_pg_url(servers), "test", 0, &e), 0);
    assert_int_equal(pg_new(&s.pg, &loop, &options, &e), 0);
    RUN_UNTIL(&loop, s.ready == 1);
    assert_int_equal(pg_sync_run(other, "NOTIFY another; NOTIFY meridian_wake", &e), 0);
    RUN_UNTIL(&loop, s.notified == 1);
    const char *params[] = {"1"};
    assert_int_equal(pg_send_texts(s.pg, NULL, "SELECT $1::integer", params, 1, on_value, &s), 0);
    assert_int_equal(pg_sync_run(other, "NOTIFY meridian_wake", &e), 0);
    RUN_UNTIL(&loop, s.notified == 2 && s.good == 1);
    pg_reconnect(s.pg);
    RUN_UNTIL(&loop, s.ready == 2);
    assert_int_equal(pg_sync_run(other, "NOTIFY meridian_wake", &e), 0);
    RUN_UNTIL(&loop, s.notified == 3);
    pg_close(s.pg, on_closed, &s);
    RUN_UNTIL(&loop, s.is_closed);
    assert_int_equal(uv_loop_close(&loop), 0);
    pg_sync_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pg_pipeline_keeps_order_and_errors_apart),
        cmocka_unit_test(test_pg_fenced_is_told),
        cmocka_unit_test(test_pg_named_statement_survives_a_failed_first_run),
        cmocka_unit_test(test_pg_named_statement_that_failed_to_prepare_is_prepared_again),
        cmocka_unit_test(test_pg_comes_back_after_kill),
        cmocka_unit_test(test_pg_silent_server_times_out),
        cmocka_unit_test(test_pg_close_answers_everything),
        cmocka_unit_test(test_pg_bad_url_is_refused_quietly),
        cmocka_unit_test(test_pg_sync_copy_round_trip),
        cmocka_unit_test(test_pg_sync_copy_out_can_stop),
        cmocka_unit_test(test_pg_sync_failed_transaction_does_not_commit),
        cmocka_unit_test(test_pg_sync_run_names_the_line),
        cmocka_unit_test(test_pg_hears_notifications),
        cmocka_unit_test(test_pg_sync_bytes_and_arrays),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
