/* worker/runner/channel and worker/jobs: frames over a socket, kinds against a port of the test. */
#include "common/base/clock.h"
#include "worker/jobs/run.h"
#include "worker/runner/channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* A frame that comes byte by byte is received once it is whole, not before. */
static void test_channel_waits_for_whole_frames(void **state)
{
    (void)state;
    int fds[2];
    struct channel c;
    struct message_pipe m = {.type = MESSAGE_PIPE_CANCEL};
    struct message_pipe got;
    struct err_buf e = {{0}};
    struct buf frame;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    channel_init(&c, fds[0]);
    buf_init(&frame, 1000);
    assert_int_equal(message_encode_frame(&m, &frame, &e), 0);
    for (size_t i = 0; i < frame.length; i++) {
        assert_int_equal(channel_receive(&c, 0, &got, &e), ERR_TIMEOUT);
        assert_int_equal(write(fds[1], frame.data + i, 1), 1);
    }
    assert_int_equal(channel_receive(&c, 0, &got, &e), 0);
    assert_int_equal(got.type, MESSAGE_PIPE_CANCEL);
    buf_close(&frame);
    channel_close(&c);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* What one side sends the other receives; when it is gone, both directions say so. */
static void test_channel_tells_that_the_other_is_gone(void **state)
{
    (void)state;
    int fds[2];
    struct channel a, b;
    struct message_pipe got;
    struct err_buf e = {{0}};
    struct message_pipe line = {.type = MESSAGE_PIPE_LOG, .line = span_of("reading")};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    channel_init(&a, fds[0]);
    channel_init(&b, fds[1]);
    assert_int_equal(channel_send(&a, &line, &e), 0);
    assert_int_equal(channel_receive(&b, 1000, &got, &e), 0);
    assert_true(span_is(got.line, "reading"));
    (void)close(fds[0]);
    assert_int_equal(channel_receive(&b, 1000, &got, &e), ERR_IO);
    assert_int_equal(channel_send(&b, &line, &e), ERR_IO);
    channel_close(&a);
    channel_close(&b);
    (void)close(fds[1]);
}

/* A stream that announces more than a frame may have is broken, not waited for. */
static void test_channel_refuses_a_huge_frame(void **state)
{
    (void)state;
    int fds[2];
    struct channel c;
    struct message_pipe got;
    struct err_buf e = {{0}};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    channel_init(&c, fds[0]);
    assert_int_equal(write(fds[1], "\xff\xff\xff\xff", 4), 4);
    assert_int_equal(channel_receive(&c, 100, &got, &e), ERR_LIMIT);
    channel_close(&c);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* --- kinds ----------------------------------------------------------------------------------- */

struct fake {
    int progress, logs;
    double done;
    bool is_cancelled;
};

static void on_progress(const struct message_progress *p, void *data)
{
    struct fake *f = data;
    f->progress++;
    f->done = p->done;
}

static bool on_is_cancelled(void *data)
{
    struct fake *f = data;
    return f->is_cancelled;
}

static int run_noop(const char *json, struct fake *f, struct buf *out, struct err_buf *e)
{
    struct message_ready job = {.memory_mb = 64};
    struct databases databases = {0};
    struct job_spec *spec = NULL;
    assert_int_equal(job_spec_parse(JOB_NOOP, span_of(json), &spec, e), 0);
    struct run run = {
        .job = &job,
        .spec = spec,
        .databases = &databases,
        .port = {.progress = on_progress, .is_cancelled = on_is_cancelled, .data = f}};
    int rc = run_kind_find(JOB_NOOP)(&run, out, e);
    job_spec_free(spec);
    return rc;
}

/* Every kind that is no parent has a row, and no other. */
static void test_kinds_cover_the_supported_ones(void **state)
{
    (void)state;
    for (int k = 0; k <= JOB_KIND_COUNT; k++) {
        enum job_kind kind = (enum job_kind)k;
        bool is_run = k >= 1 && k < JOB_KIND_COUNT && job_kind_is_supported(kind) &&
                      !job_kind_is_parent(kind);
        assert_int_equal(run_kind_find(kind) != NULL, is_run);
    }
}

/* A noop reports each step and the end, and its result is JSON. */
static void test_noop_reports_its_steps(void **state)
{
    (void)state;
    struct fake f = {0};
    struct err_buf e = {{0}};
    struct buf out;
    buf_init(&out, 1000);
    assert_int_equal(run_noop("{\"sleep_ms\": 4, \"steps\": 4}", &f, &out, &e), 0);
    assert_int_equal(f.progress, 5);
    assert_true(f.done == 1);
    const char *same =
        "{\"output\":\"slept 4 ms\",\"steps\":4,\"steps_here\":4,\"chain\":\"f18e56c1870a";
    assert_non_null(strstr(buf_text(&out), same));
    buf_reset(&out);
    assert_int_equal(run_noop("{\"sleep_ms\": 4}", &f, &out, &e), 0);
    assert_string_equal(buf_text(&out), "{\"output\":\"slept 4 ms\"}");
    buf_close(&out);
}

/* The asked failures come with the class that decides about a retry. */
static void test_noop_fails_as_asked(void **state)
{
    (void)state;
    struct fake f = {0};
    struct err_buf e = {{0}};
    struct buf out;
    buf_init(&out, 1000);
    int rc = run_noop("{\"fail\": \"error\"}", &f, &out, &e);
    assert_int_equal(err_class_of(rc), ERR_CLASS_RETRY);
    rc = run_noop("{\"fail\": \"permanent\"}", &f, &out, &e);
    assert_int_equal(err_class_of(rc), ERR_CLASS_PERMANENT);
    assert_int_equal(out.length, 0);
    buf_close(&out);
}

/* A cancelled job ends between two naps, long before its time. */
static void test_noop_stops_when_cancelled(void **state)
{
    (void)state;
    struct fake f = {.is_cancelled = true};
    struct err_buf e = {{0}};
    struct buf out;
    buf_init(&out, 1000);
    int64_t began = clock_mono_ms();
    assert_int_equal(run_noop("{\"sleep_ms\": 60000}", &f, &out, &e), ERR_CANCELLED);
    assert_true(clock_mono_ms() - began < 5000);
    buf_close(&out);
}

static int fail_twice(struct run *run, void *data, struct err_buf *e)
{
    (void)run;
    int *calls = data;
    return ++*calls < 3 ? err_set(e, ERR_UNREACHABLE, "gone") : 0;
}

static int fail_hard(struct run *run, void *data, struct err_buf *e)
{
    (void)run;
    ++*(int *)data;
    return err_set(e, ERR_DATA, "bad");
}

/* An unreachable server is waited for; any other failure is final at once; a cancel ends it. */
static void test_persist_waits_for_servers_only(void **state)
{
    (void)state;
    int calls = 0;
    struct err_buf e = {{0}};
    struct fake f = {0};
    struct databases databases = {0};
    struct run run = {.databases = &databases,
                      .port = {.is_cancelled = on_is_cancelled, .data = &f}};
    assert_int_equal(run_persist(&run, fail_twice, &calls, &e), 0);
    assert_int_equal(calls, 3);
    calls = 0;
    assert_int_equal(run_persist(&run, fail_hard, &calls, &e), ERR_DATA);
    assert_int_equal(calls, 1);
    f.is_cancelled = true;
    calls = 0;
    assert_int_equal(run_persist(&run, fail_twice, &calls, &e), ERR_CANCELLED);
    assert_int_equal(calls, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channel_waits_for_whole_frames),
        cmocka_unit_test(test_channel_tells_that_the_other_is_gone),
        cmocka_unit_test(test_channel_refuses_a_huge_frame),
        cmocka_unit_test(test_kinds_cover_the_supported_ones),
        cmocka_unit_test(test_noop_reports_its_steps),
        cmocka_unit_test(test_noop_fails_as_asked),
        cmocka_unit_test(test_noop_stops_when_cancelled),
        cmocka_unit_test(test_persist_waits_for_servers_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
