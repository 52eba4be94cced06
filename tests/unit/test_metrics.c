/* Prometheus text, the request reader, and the server under clients that mean no good. */
#include "common/base/clock.h"
#include "common/metrics/metrics.h"
#include "common/metrics/request.h"
#include "common/metrics/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const char *outcome(size_t index)
{
    static const char *const names[] = {"good", "b\"a\\d\n"};
    return names[index];
}

static const double bounds[] = {0.1, 1};
enum { ROW_TOTAL, ROW_BY, ROW_WAIT, ROW_OWN, ROW_COUNT };
static const struct metric_row rows[ROW_COUNT] = {
    [ROW_TOTAL] = {.name = "t_total", .type = METRIC_COUNTER, .help = "All"},
    [ROW_BY] = {.name = "by",
                .type = METRIC_GAUGE,
                .help = "By",
                .label = "outcome",
                .label_value = outcome,
                .label_count = 2},
    [ROW_WAIT] = {.name = "wait_seconds",
                  .type = METRIC_HISTOGRAM,
                  .help = "Wait",
                  .bounds = bounds,
                  .bound_count = 2},
    [ROW_OWN] = {.name = "own", .type = METRIC_GAUGE, .help = "Own", .label = "region"},
};

/* Every row has its help and type; buckets add up; labels are escaped. */
static void test_metrics_writes_the_text_format(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(rows, ROW_COUNT);
    struct buf out;
    buf_init(&out, 4096);
    metrics_add(m, ROW_TOTAL, 0, 3);
    metrics_set(m, ROW_BY, 1, 0.25);
    metrics_observe(m, ROW_WAIT, 0.1);
    metrics_observe(m, ROW_WAIT, 0.5);
    metrics_observe(m, ROW_WAIT, 7);
    assert_int_equal(metrics_write(m, &out), 0);
    assert_int_equal(metrics_write_head(m, ROW_OWN, &out), 0);
    assert_int_equal(metrics_write_labelled(m, ROW_OWN, span_of("eu"), 1.5, &out), 0);
    assert_string_equal(buf_text(&out),
                        "# HELP t_total All\n# TYPE t_total counter\nt_total 3\n"
                        "# HELP by By\n# TYPE by gauge\n"
                        "by{outcome=\"good\"} 0\nby{outcome=\"b\\\"a\\\\d\\n\"} 0.25\n"
                        "# HELP wait_seconds Wait\n# TYPE wait_seconds histogram\n"
                        "wait_seconds_bucket{le=\"0.1\"} 1\nwait_seconds_bucket{le=\"1\"} 2\n"
                        "wait_seconds_bucket{le=\"+Inf\"} 3\nwait_seconds_sum 7.6\n"
                        "wait_seconds_count 3\n"
                        "# HELP own Own\n# TYPE own gauge\nown{region=\"eu\"} 1.5\n");
    buf_close(&out);
    metrics_free(m);
}

/* A text that does not fit is an error, never a cut one. */
static void test_metrics_reports_a_full_buffer(void **state)
{
    (void)state;
    struct metrics *m = metrics_new(rows, ROW_COUNT);
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(metrics_write(m, &out), ERR_LIMIT);
    buf_close(&out);
    metrics_free(m);
}

static enum request_verdict read_text(const char *text)
{
    struct request request;
    return request_read(span_of(text), &request);
}

static void test_metrics_request_takes_what_scrapers_send(void **state)
{
    (void)state;
    struct request r;
    assert_int_equal(request_read(span_of("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"), &r),
                     REQUEST_GOOD);
    assert_string_equal(r.path, "/metrics");
    assert_false(r.is_head);
    assert_int_equal(request_read(span_of("HEAD / HTTP/1.0\n\n"), &r), REQUEST_GOOD);
    assert_true(r.is_head);
}

/* Each prefix of a good request asks for more; nothing else is ever taken for one. */
static void test_metrics_request_refuses_the_rest(void **state)
{
    (void)state;
    const char *good = "GET / HTTP/1.1\r\nA: b\r\n\r\n";
    struct request r;
    for (size_t i = 0; i < strlen(good); i++) {
        assert_int_equal(request_read(span_make(good, i), &r), REQUEST_MORE);
    }
    assert_int_equal(read_text("GET /\r\n\r\n"), REQUEST_BAD);
    assert_int_equal(read_text("GET / HTTP/2.0\r\n\r\n"), REQUEST_BAD);
    assert_int_equal(read_text("GET / HTTP/1.1 \r\n\r\n"), REQUEST_BAD);
    assert_int_equal(read_text("GET metrics HTTP/1.1\r\n\r\n"), REQUEST_BAD);
    assert_int_equal(read_text("\r\n\r\n"), REQUEST_BAD);
    assert_int_equal(read_text("POST / HTTP/1.1\r\n\r\n"), REQUEST_NO_METHOD);
    assert_int_equal(request_read(span_make("GET /\0 HTTP/1.1\r\n\r\n", 20), &r), REQUEST_BAD);
    static char big[REQUEST_BYTES_MAX + 10];
    memset(big, 'a', sizeof big);
    memcpy(big, "GET /", 5);
    assert_int_equal(request_read(span_make(big, sizeof big), &r), REQUEST_TOO_LONG);
    memcpy(big + 300, " HTTP/1.1\r\n\r\n", 13);
    assert_int_equal(request_read(span_make(big, 313), &r), REQUEST_TOO_LONG);
}

/* --- the server ------------------------------------------------------------------------------ */

static int write_some(struct buf *out, void *data)
{
    (void)data;
    return buf_add_text(out, "up 1\n");
}

static bool is_well = true;
static bool judge(char *why, size_t size, void *data)
{
    (void)data;
    (void)snprintf(why, size, is_well ? "all is well" : "waits for the record");
    return is_well;
}

static uv_loop_t loop;
static struct metrics_server *server;

static void start(void)
{
    struct err_buf e = {{0}};
    struct metrics_server_options options = {
        .loop = &loop, .address = "127.0.0.1:0", .write = write_some, .is_healthy = judge};
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(metrics_server_new(&server, &options, &e), 0);
}

static void stop(void)
{
    metrics_server_close(server);
    int64_t until = clock_mono_ms() + 5000;
    while (uv_run(&loop, UV_RUN_NOWAIT) != 0) {
        assert_true(clock_mono_ms() < until);
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)metrics_server_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* Reads until the server closes, turning the loop meanwhile. */
static size_t read_all(int fd, char *out, size_t size)
{
    size_t length = 0;
    int64_t until = clock_mono_ms() + 8000;
    for (;;) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        ssize_t got = recv(fd, out + length, size - 1 - length, 0);
        if (got > 0) {
            length += (size_t)got;
        } else if (got == 0 || errno == ECONNRESET) {
            break;
        }
        assert_true(clock_mono_ms() < until);
    }
    out[length] = '\0';
    (void)close(fd);
    return length;
}

static void ask(const char *request, char *out, size_t size)
{
    int fd = dial();
    size_t length = strlen(request);
    assert_int_equal(send(fd, request, length, MSG_NOSIGNAL), (ssize_t)length);
    (void)read_all(fd, out, size);
}

static void test_metrics_server_answers(void **state)
{
    (void)state;
    char out[1024];
    start();
    ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(out, "Content-Length: 5\r\n"));
    assert_non_null(strstr(out, "\r\n\r\nup 1\n"));
    ask("HEAD /metrics HTTP/1.1\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, "Content-Length: 5\r\n"));
    assert_null(strstr(out, "up 1"));
    ask("GET /healthz HTTP/1.1\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, "200 OK"));
    is_well = false;
    ask("GET /healthz HTTP/1.1\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, "503 Service Unavailable"));
    assert_non_null(strstr(out, "waits for the record"));
    is_well = true;
    ask("GET /etc/passwd HTTP/1.1\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, "404 Not Found"));
    ask("DELETE / HTTP/1.1\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, "405 Method Not Allowed"));
    ask("\x16\x03\x01\x02", out, sizeof out); /* somebody tries TLS */
    assert_non_null(strstr(out, "400 Bad Request"));
    stop();
}

/* A line without end is answered once it is too long, not kept. */
static void test_metrics_server_bounds_a_request(void **state)
{
    (void)state;
    static char flood[REQUEST_BYTES_MAX];
    static char out[1024];
    memset(flood, 'a', sizeof flood);
    start();
    int fd = dial();
    assert_int_equal(send(fd, flood, sizeof flood, MSG_NOSIGNAL), (ssize_t)sizeof flood);
    (void)read_all(fd, out, sizeof out);
    assert_non_null(strstr(out, "431 "));
    stop();
}

/* Whoever says nothing holds a place for a while, and one more than there are places gets none; the
 * others are answered again when the silent ones have been closed. */
static void test_metrics_server_bounds_its_clients(void **state)
{
    (void)state;
    enum { SILENT = 16 };
    char out[1024];
    int silent[SILENT];
    start();
    for (int i = 0; i < SILENT; i++) {
        silent[i] = dial();
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
    int one_more = dial();
    assert_int_equal(read_all(one_more, out, sizeof out), 0);
    for (int i = 0; i < SILENT; i++) {
        assert_int_equal(read_all(silent[i], out, sizeof out), 0); /* by its deadline */
    }
    ask("GET /metrics HTTP/1.1\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, "200 OK"));
    stop();
}

/* Closing with clients connected leaves nothing behind. */
static void test_metrics_server_closes_with_clients(void **state)
{
    (void)state;
    start();
    int fd = dial();
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    stop();
    (void)close(fd);
}

static void test_metrics_server_refuses_a_bad_address(void **state)
{
    (void)state;
    static const char *const bad[] = {"9464",      "host:9464",   "127.0.0.1:", "127.0.0.1:70000",
                                      "[::1:9464", "127.0.0.1:1x"};
    assert_int_equal(uv_loop_init(&loop), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err_buf e = {{0}};
        struct metrics_server_options options = {.loop = &loop, .address = bad[i]};
        struct metrics_server *s = NULL;
        assert_int_equal(metrics_server_new(&s, &options, &e), ERR_INVALID);
        assert_non_null(strstr(e.text, bad[i]));
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_writes_the_text_format),
        cmocka_unit_test(test_metrics_reports_a_full_buffer),
        cmocka_unit_test(test_metrics_request_takes_what_scrapers_send),
        cmocka_unit_test(test_metrics_request_refuses_the_rest),
        cmocka_unit_test(test_metrics_server_answers),
        cmocka_unit_test(test_metrics_server_bounds_a_request),
        cmocka_unit_test(test_metrics_server_bounds_its_clients),
        cmocka_unit_test(test_metrics_server_closes_with_clients),
        cmocka_unit_test(test_metrics_server_refuses_a_bad_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
