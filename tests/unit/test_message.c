/* common/message: every message comes back as it was sent; everything else is refused by name. */
#include "common/base/rng.h"
#include "common/message/message.h"
#include "common/wire/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#define ID_A "01234567-89ab-7cde-8f01-23456789abcd"
#define ID_B "11111111-2222-7333-8444-555555555555"

enum { OUT_MAX = 64 << 20 };

static struct uuid id(const char *text)
{
    struct uuid u;
    memcpy(u.text, text, UUID_SIZE);
    return u;
}

static struct message_submission submission(void)
{
    struct message_submission m = {.id = id(ID_A),
                                   .kind = "finetune",
                                   .market = "de-DE",
                                   .task = "support-intent",
                                   .spec = span_of("{\"epochs\":3}"),
                                   .has_priority = true,
                                   .priority = -5,
                                   .after_count = 1,
                                   .has_not_before = true,
                                   .not_before_ms = 1795000000000,
                                   .unique = "nightly/de-DE",
                                   .max_attempts = 7,
                                   .by = "anna",
                                   .reply = "token"};
    m.after[0] = id(ID_B);
    return m;
}

/* A submission keeps every member. */
static void test_message_submission_round_trip(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    struct err_buf e = {{0}};
    struct message_submission m = submission();
    assert_int_equal(message_encode_submission(&m, &out, &e), 0);
    struct message_submission back;
    assert_int_equal(message_decode_submission(buf_span(&out), &back, &e), 0);
    assert_string_equal(back.id.text, ID_A);
    assert_string_equal(back.kind, "finetune");
    assert_string_equal(back.market, "de-DE");
    assert_string_equal(back.task, "support-intent");
    assert_true(span_equals(back.spec, m.spec));
    assert_true(back.has_priority && back.priority == -5);
    assert_int_equal(back.after_count, 1);
    assert_string_equal(back.after[0].text, ID_B);
    assert_true(back.has_not_before && back.not_before_ms == m.not_before_ms);
    assert_string_equal(back.unique, "nightly/de-DE");
    assert_int_equal(back.max_attempts, 7);
    assert_string_equal(back.by, "anna");
    assert_string_equal(back.reply, "token");
    buf_close(&out);
}

/* What was left out stays left out. */
static void test_message_submission_minimal(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    struct message_submission m = {.id = id(ID_A), .kind = "noop", .by = "me"};
    assert_int_equal(message_encode_submission(&m, &out, NULL), 0);
    struct message_submission back;
    assert_int_equal(message_decode_submission(buf_span(&out), &back, NULL), 0);
    assert_null(back.spec.data);
    assert_false(back.has_priority || back.has_not_before);
    assert_int_equal(back.after_count, 0);
    assert_int_equal(back.max_attempts, 0);
    assert_string_equal(back.reply, "");
    buf_close(&out);
}

/* Writes {v, id, reply, name: value} and expects decoding to fail with that message, the id and the
 * reply token still known. */
static void expect_refusal(int version, const char *name, struct span value, int64_t number,
                           int code, const char *message)
{
    struct buf out;
    buf_init(&out, OUT_MAX);
    struct wire_writer w;
    wire_writer_init(&w, &out);
    wire_write_map(&w);
    wire_write_key(&w, "v");
    wire_write_integer(&w, version);
    const char *const texts[][2] = {
        {"id", ID_A}, {"reply", "token"}, {"kind", "noop"}, {"by", "me"}};
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(texts[i][0], name) != 0) {
            wire_write_key(&w, texts[i][0]);
            wire_write_text(&w, span_of(texts[i][1]));
        }
    }
    wire_write_key(&w, name);
    if (value.data) {
        wire_write_text(&w, value);
    } else {
        wire_write_integer(&w, number);
    }
    wire_write_end(&w);
    assert_int_equal(wire_writer_finish(&w), 0);
    struct message_submission m;
    struct err_buf e = {{0}};
    assert_int_equal(message_decode_submission(buf_span(&out), &m, &e), code);
    assert_string_equal(e.text, message);
    assert_string_equal(m.id.text, strcmp(name, "id") == 0 ? "" : ID_A);
    assert_string_equal(m.reply, "token");
    assert_string_equal(m.kind, "");
    buf_close(&out);
}

/* A refused submission names its field and still says whose it is. */
static void test_message_refusals_name_field_and_keep_id(void **state)
{
    (void)state;
    const struct span none = {0};
    expect_refusal(1, "priority", none, 1001, ERR_PARSE,
                   "field \"priority\": not within -1000 and 1000");
    expect_refusal(1, "not_before_ms", none, INT64_C(253402300800000), ERR_PARSE,
                   "field \"not_before_ms\": not within 0 and 253402300799999");
    expect_refusal(1, "kind", span_of(""), 0, ERR_PARSE, "field \"kind\": 0 is shorter than 1");
    expect_refusal(1, "market", none, 1, ERR_PARSE,
                   "field \"market\": expected text, got an integer");
    expect_refusal(1, "id", span_of("0123456789ABCDEF0123456789ABCDEF0123"), 0, ERR_PARSE,
                   "field \"id\": not an id (8-4-4-4-12 lower-case hex digits)");
    expect_refusal(9, "x", none, 1, ERR_UNSUPPORTED,
                   "message version 9: this program knows up to version 3; update it");
    expect_refusal(0, "x", none, 1, ERR_PARSE, "field \"v\": not within 1 and 2147483647");
    static char large[MESSAGE_SPEC_MAX + 1];
    memset(large, ' ', sizeof large);
    expect_refusal(1, "spec", span_make(large, sizeof large), 0, ERR_PARSE,
                   "field \"spec\": 65537 is longer than 65536");
}

/* What decoding would refuse is not encoded, and the buffer is left as it was. */
static void test_message_encode_refuses_too(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    struct err_buf e = {{0}};
    struct message_submission m = submission();
    m.priority = 5000;
    assert_int_equal(message_encode_submission(&m, &out, &e), ERR_INVALID);
    assert_string_equal(e.text, "field \"priority\": not a valid value");
    m = submission();
    m.id.text[0] = '\0';
    assert_int_equal(message_encode_submission(&m, &out, &e), ERR_INVALID);
    assert_string_equal(e.text, "field \"id\": missing");
    assert_int_equal(out.length, 0);
    buf_close(&out);
}

/* A bulk of jobs as written by version 3, its by and ids included. */
static void encode_bulk(struct buf *out, int32_t repeat, size_t count)
{
    struct buf jobs;
    buf_init(&jobs, OUT_MAX);
    for (size_t i = 0; i < count; i++) {
        struct message_submission m = submission();
        m.id.text[0] = '\0';
        m.priority = (int32_t)i;
        if (i == 1) {
            m.id = id(ID_B);
            m.after_count = 0;
        }
        assert_int_equal(message_bulk_add(&m, &jobs, NULL), 0);
    }
    struct message_bulk bulk = {.id = id(ID_A),
                                .by = "anna",
                                .reply = "token",
                                .repeat = repeat,
                                .jobs = {buf_span(&jobs), count}};
    struct err_buf e = {{0}};
    assert_int_equal(message_encode_bulk(&bulk, out, &e), 0);
    buf_close(&jobs);
}

/* A bulk keeps its jobs in order, with the bulk's submitter and their own ids. */
static void test_message_bulk_round_trip(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    encode_bulk(&out, 0, 3);
    struct message_bulk bulk;
    assert_int_equal(message_decode_bulk(buf_span(&out), &bulk, NULL), 0);
    assert_string_equal(bulk.id.text, ID_A);
    assert_string_equal(bulk.reply, "token");
    assert_int_equal(message_bulk_count(&bulk), 3);
    struct message_submission m;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(message_bulk_next(&bulk, &m, NULL), 0);
        assert_int_equal(m.priority, i);
        assert_string_equal(m.by, "anna");
        assert_string_equal(m.unique, "nightly/de-DE");
        assert_string_equal(m.id.text, i == 1 ? ID_B : "");
    }
    assert_int_equal(message_bulk_next(&bulk, &m, NULL), ERR_NOTFOUND);
    buf_close(&out);
}

/* The jobs of a bulk are numbered behind its own id, which none of them has. */
static void test_message_bulk_ids_follow_each_other(void **state)
{
    (void)state;
    struct uuid bulk = id("01234567-89ab-7cde-8f01-fffffffffffe");
    assert_string_equal(message_bulk_job_id(&bulk, 0).text, "01234567-89ab-7cde-8f01-ffffffffffff");
    assert_string_equal(message_bulk_job_id(&bulk, 1).text, "01234567-89ab-7cde-8f01-000000000000");
    assert_string_equal(message_bulk_job_id(&bulk, 999).text,
                        "01234567-89ab-7cde-8f01-0000000003e6");
}

/* One job may stand for many, up to what a bulk may hold. */
static void test_message_bulk_repeats_one_job(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    encode_bulk(&out, 1000, 1);
    struct message_bulk bulk;
    assert_int_equal(message_decode_bulk(buf_span(&out), &bulk, NULL), 0);
    assert_int_equal(message_bulk_count(&bulk), 1000);
    struct err_buf e = {{0}};
    bulk.jobs.count = 2;
    assert_int_equal(message_encode_bulk(&bulk, &out, &e), ERR_INVALID);
    assert_string_equal(e.text, "field \"repeat\": of 2 jobs, where it goes with one");
    static char large[MESSAGE_SPEC_MAX];
    struct message_submission m = submission();
    struct buf jobs;
    buf_init(&jobs, OUT_MAX);
    memset(large, ' ', sizeof large);
    m.spec = span_make(large, sizeof large);
    assert_int_equal(message_bulk_add(&m, &jobs, NULL), 0);
    bulk.jobs = (struct message_list){buf_span(&jobs), 1};
    assert_int_equal(message_encode_bulk(&bulk, &out, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "bytes written out, the limit is 1048576"));
    bulk.repeat = 15;
    assert_int_equal(message_encode_bulk(&bulk, &out, &e), 0);
    buf_close(&jobs);
    buf_close(&out);
}

/* Writes a bulk of that version with one job of that priority. */
static void write_bulk(struct buf *out, int version, int64_t priority)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_write_map(&w);
    const char *const texts[][2] = {
        {"id", ID_A}, {"reply", "token"}, {"kind", "noop"}, {"by", "me"}};
    wire_write_key(&w, "v");
    wire_write_integer(&w, version);
    for (size_t i = 0; i < 4; i++) {
        wire_write_key(&w, texts[i][0]);
        wire_write_text(&w, span_of(texts[i][1]));
    }
    wire_write_key(&w, "jobs");
    wire_write_array_of(&w, 1);
    wire_write_map(&w);
    wire_write_key(&w, "id");
    wire_write_text(&w, span_of(ID_B));
    wire_write_key(&w, "kind");
    wire_write_text(&w, span_of("noop"));
    wire_write_key(&w, "priority");
    wire_write_integer(&w, priority);
    wire_write_end(&w);
    wire_write_end(&w);
    assert_int_equal(wire_writer_finish(&w), 0);
}

/* A job of a bulk that cannot be taken still says who it is, and where it is wrong. */
static void test_message_bulk_job_is_refused_alone(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    write_bulk(&out, 3, 5000);
    struct message_bulk bulk;
    struct message_submission m;
    struct err_buf e = {{0}};
    assert_int_equal(message_decode_bulk(buf_span(&out), &bulk, &e), 0);
    assert_int_equal(message_bulk_next(&bulk, &m, &e), ERR_PARSE);
    assert_string_equal(e.text, "field \"priority\": not within -1000 and 1000");
    assert_string_equal(m.id.text, ID_B);
    assert_string_equal(m.by, "me");
    assert_int_equal(message_bulk_next(&bulk, &m, &e), ERR_NOTFOUND);
    buf_close(&out);
}

/* Messages of the previous version are no bulks, whatever else is in them; those of a newer one are
 * refused by it, and still say whose they are. */
static void test_message_bulk_of_other_versions(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    struct message_bulk bulk;
    struct message_submission m;
    struct err_buf e = {{0}};
    write_bulk(&out, 2, 0);
    assert_int_equal(message_decode_bulk(buf_span(&out), &bulk, &e), ERR_NOTFOUND);
    assert_int_equal(message_decode_submission(buf_span(&out), &m, &e), 0);
    assert_string_equal(m.kind, "noop");
    buf_reset(&out);
    write_bulk(&out, 4, 0);
    assert_int_equal(message_decode_bulk(buf_span(&out), &bulk, &e), ERR_UNSUPPORTED);
    assert_string_equal(e.text, "message version 4: this program knows up to version 3; update it");
    assert_string_equal(bulk.id.text, ID_A);
    assert_string_equal(bulk.reply, "token");
    buf_reset(&out);
    m = submission();
    assert_int_equal(message_encode_submission(&m, &out, &e), 0);
    assert_int_equal(message_decode_bulk(buf_span(&out), &bulk, &e), ERR_NOTFOUND);
    assert_int_equal(message_decode_bulk(span_of("\xc1"), &bulk, &e), ERR_NOTFOUND);
    buf_close(&out);
}

/* The reply to a bulk: one outcome for most, and those that differ; without any it is a reply that
 * the previous version reads. */
static void test_message_bulk_reply_round_trip(void **state)
{
    (void)state;
    struct buf out, others;
    buf_init(&out, OUT_MAX);
    buf_init(&others, OUT_MAX);
    struct message_outcome_at at = {.place = 7,
                                    .job = id(ID_B),
                                    .state = "rejected",
                                    .reason = span_of("spec.epochs: 0 is below 1")};
    struct message_bulk_reply m = {.id = id(ID_A), .state = "queued"}, back;
    struct message_reply plain;
    assert_int_equal(message_encode_bulk_reply(&m, &out, NULL), 0);
    assert_int_equal(message_decode_reply(buf_span(&out), &plain, NULL), 0);
    assert_string_equal(plain.state, "queued");
    buf_reset(&out);
    assert_int_equal(message_bulk_reply_add(&at, &others, NULL), 0);
    m.others = (struct message_list){buf_span(&others), 1};
    assert_int_equal(message_encode_bulk_reply(&m, &out, NULL), 0);
    assert_int_equal(message_decode_bulk_reply(buf_span(&out), &back, NULL), 0);
    assert_string_equal(back.state, "queued");
    memset(&at, 0, sizeof at);
    assert_int_equal(message_bulk_reply_next(&back, &at, NULL), 0);
    assert_int_equal(at.place, 7);
    assert_string_equal(at.job.text, ID_B);
    assert_string_equal(at.state, "rejected");
    assert_true(span_is(at.reason, "spec.epochs: 0 is below 1"));
    assert_int_equal(message_bulk_reply_next(&back, &at, NULL), ERR_NOTFOUND);
    buf_close(&others);
    buf_close(&out);
}

/* Reply and ready keep their members. */
static void test_message_reply_and_ready_round_trip(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    struct message_reply reply = {
        .id = id(ID_A), .state = "rejected", .reason = span_of("spec.epochs: 0 is below 1")};
    struct message_reply reply_back;
    assert_int_equal(message_encode_reply(&reply, &out, NULL), 0);
    assert_int_equal(message_decode_reply(buf_span(&out), &reply_back, NULL), 0);
    assert_string_equal(reply_back.state, "rejected");
    assert_true(span_equals(reply_back.reason, reply.reason));
    buf_reset(&out);
    struct message_ready ready = {.job = id(ID_A),
                                  .attempt = 3,
                                  .kind = "evaluate",
                                  .market = "ja-JP",
                                  .task = "t",
                                  .region = "apac",
                                  .spec = span_of("{}"),
                                  .memory_mb = 512,
                                  .time_limit_s = 60,
                                  .threads = 2,
                                  .night = "2026-11-23"};
    struct message_ready back;
    assert_int_equal(message_encode_ready(&ready, &out, NULL), 0);
    assert_int_equal(message_decode_ready(buf_span(&out), &back, NULL), 0);
    assert_string_equal(back.job.text, ID_A);
    assert_int_equal(back.attempt, 3);
    assert_string_equal(back.region, "apac");
    assert_int_equal(back.memory_mb, 512);
    assert_int_equal(back.time_limit_s, 60);
    assert_int_equal(back.threads, 2);
    assert_string_equal(back.night, "2026-11-23");
    buf_close(&out);
}

/* The four reports keep their members and their type. */
static void test_message_reports_round_trip(void **state)
{
    (void)state;
    struct err_buf e = {{0}};
    for (enum message_report_type type = MESSAGE_HELLO; type <= MESSAGE_RESULT; type++) {
        struct buf out;
        buf_init(&out, OUT_MAX);
        struct message_report m = {.type = type,
                                   .worker = "w1",
                                   .incarnation = id(ID_B),
                                   .region = "eu",
                                   .slots = 4,
                                   .free = 2};
        m.result = (struct message_result){.job = id(ID_A),
                                           .attempt = 1,
                                           .outcome = MESSAGE_CRASHED,
                                           .error_code = "CRASH",
                                           .error_text = span_of("killed by signal 9"),
                                           .signal = 9,
                                           .peak_rss_kb = 123456};
        assert_int_equal(message_encode_report(&m, &out, &e), 0);
        struct message_report back;
        assert_int_equal(message_decode_report(buf_span(&out), &back, &e), 0);
        assert_int_equal(back.type, type);
        assert_string_equal(back.worker, "w1");
        assert_string_equal(back.incarnation.text, ID_B);
        if (type == MESSAGE_RESULT) {
            assert_int_equal(back.result.outcome, MESSAGE_CRASHED);
            assert_string_equal(back.result.error_code, "CRASH");
            assert_true(span_is(back.result.error_text, "killed by signal 9"));
            assert_false(back.result.has_exit_code);
            assert_int_equal(back.result.signal, 9);
            assert_int_equal(back.result.peak_rss_kb, 123456);
            assert_null(back.result.result.data);
        } else {
            assert_string_equal(back.region, "eu");
            assert_int_equal(back.slots, 4);
            assert_int_equal(back.free, 2);
        }
        buf_close(&out);
    }
}

/* Progress keeps unknown figures unknown, in MessagePack and in JSON. */
static void test_message_progress_round_trip(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    struct message_progress m = {.job = id(ID_A),
                                 .attempt = 1,
                                 .worker = "w",
                                 .kind = "finetune",
                                 .phase = "train",
                                 .epoch = 2,
                                 .epochs = 5,
                                 .step = 10,
                                 .steps = 100,
                                 .loss = (double)NAN,
                                 .examples_per_s = 1000.5,
                                 .eta_ms = -1,
                                 .done = 0.25};
    assert_int_equal(message_encode_progress(&m, &out, NULL), 0);
    struct message_progress back;
    assert_int_equal(message_decode_progress(buf_span(&out), &back, NULL), 0);
    assert_true(isnan(back.loss));
    assert_true(back.examples_per_s == 1000.5);
    assert_int_equal(back.eta_ms, -1);
    assert_true(back.done == 0.25);
    assert_int_equal(back.steps, 100);
    buf_reset(&out);
    assert_int_equal(message_progress_json(&back, &out), 0);
    assert_string_equal(buf_text(&out),
                        "{\"job\":\"" ID_A "\",\"attempt\":1,\"worker\":\"w\",\"kind\":"
                        "\"finetune\",\"phase\":\"train\",\"epoch\":2,\"epochs\":5,\"step\":10,"
                        "\"steps\":100,\"examples_per_s\":1000.5,\"done\":0.25}");
    buf_close(&out);
}

static void expect_frame(struct message_frames *f, enum message_pipe_type type,
                         struct message_pipe *ret)
{
    struct span frame;
    struct err_buf e = {{0}};
    assert_int_equal(message_frames_next(f, &frame), 0);
    assert_int_equal(message_decode_frame(frame, ret, &e), 0);
    assert_int_equal(ret->type, type);
}

/* Frames come out whole, however the bytes are split. */
static void test_message_frames_of_any_split(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    struct message_pipe job = {.type = MESSAGE_PIPE_JOB};
    job.job = (struct message_ready){.job = id(ID_A),
                                     .attempt = 1,
                                     .kind = "noop",
                                     .region = "eu",
                                     .memory_mb = 64,
                                     .time_limit_s = 5,
                                     .threads = 1};
    struct message_pipe cancel = {.type = MESSAGE_PIPE_CANCEL};
    struct message_pipe save = {.type = MESSAGE_PIPE_SAVE};
    struct message_pipe log = {.type = MESSAGE_PIPE_LOG, .line = span_of("reading")};
    struct message_pipe result = {.type = MESSAGE_PIPE_RESULT};
    result.result.outcome = MESSAGE_SUCCEEDED;
    result.result.result = span_of("{\"output\":\"x\"}");
    assert_int_equal(message_encode_frame(&job, &out, NULL), 0);
    assert_int_equal(message_encode_frame(&cancel, &out, NULL), 0);
    assert_int_equal(message_encode_frame(&save, &out, NULL), 0);
    assert_int_equal(message_encode_frame(&log, &out, NULL), 0);
    assert_int_equal(message_encode_frame(&result, &out, NULL), 0);
    for (size_t piece = 1; piece <= out.length; piece += piece < 16 ? 1 : 37) {
        struct message_frames f;
        message_frames_init(&f);
        struct message_pipe got[5];
        size_t count = 0;
        for (size_t at = 0; at < out.length; at += piece) {
            size_t length = out.length - at < piece ? out.length - at : piece;
            assert_int_equal(message_frames_add(&f, out.data + at, length), 0);
            struct span frame;
            while (message_frames_next(&f, &frame) == 0) {
                assert_true(count < 5);
                assert_int_equal(message_decode_frame(frame, &got[count], NULL), 0);
                count++;
            }
        }
        assert_int_equal(count, 5);
        assert_int_equal(got[1].type, MESSAGE_PIPE_CANCEL);
        message_frames_close(&f);
    }
    struct message_frames f;
    message_frames_init(&f);
    assert_int_equal(message_frames_add(&f, out.data, out.length), 0);
    struct message_pipe m;
    expect_frame(&f, MESSAGE_PIPE_JOB, &m);
    assert_int_equal(m.job.memory_mb, 64);
    expect_frame(&f, MESSAGE_PIPE_CANCEL, &m);
    expect_frame(&f, MESSAGE_PIPE_SAVE, &m);
    expect_frame(&f, MESSAGE_PIPE_LOG, &m);
    assert_true(span_is(m.line, "reading"));
    expect_frame(&f, MESSAGE_PIPE_RESULT, &m);
    assert_true(span_is(m.result.result, "{\"output\":\"x\"}"));
    message_frames_close(&f);
    buf_close(&out);
}

/* A frame that announces too much breaks the stream; one that announces much allocates nothing. */
static void test_message_frames_are_bounded(void **state)
{
    (void)state;
    struct message_frames f;
    struct span frame;
    message_frames_init(&f);
    assert_int_equal(message_frames_add(&f, "\xff\xff\xff\xff", 4), 0);
    assert_int_equal(message_frames_next(&f, &frame), ERR_LIMIT);
    message_frames_close(&f);
    message_frames_init(&f);
    assert_int_equal(message_frames_add(&f, "\0\0\0\4x", 5), 0);
    assert_int_equal(message_frames_next(&f, &frame), ERR_NOTFOUND);
    assert_true(f.in.capacity < 4096);
    message_frames_close(&f);
}

/* Valid messages with a few bytes changed never crash a decoder. */
static void test_message_survives_changed_bytes(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    struct message_submission m = submission();
    assert_int_equal(message_encode_submission(&m, &out, NULL), 0);
    struct rng r = {.key = 11};
    char bytes[1024];
    assert_true(out.length < sizeof bytes);
    int refused = 0;
    for (int i = 0; i < 20000; i++) {
        memcpy(bytes, out.data, out.length);
        for (uint32_t n = 1 + rng_below(&r, 3); n > 0; n--) {
            bytes[rng_below(&r, (uint32_t)out.length)] = (char)rng_below(&r, 256);
        }
        struct message_submission back;
        struct message_report report;
        struct message_pipe pipe;
        refused += message_decode_submission(span_make(bytes, out.length), &back, NULL) != 0;
        refused += message_decode_report(span_make(bytes, out.length), &report, NULL) != 0;
        refused += message_decode_frame(span_make(bytes, out.length), &pipe, NULL) != 0;
    }
    assert_true(refused > 20000);
    buf_close(&out);
}

/* A submission says the lowest version that understands it: without anything new, the first. */
static void test_message_submission_says_the_lowest_version(void **state)
{
    (void)state;
    struct err_buf e = {{0}};
    struct buf out;
    buf_init(&out, 4096);
    struct message_submission m = {.id = {"01a2112b-fcfe-7cd0-86ca-8ca89a228796"},
                                   .kind = "noop",
                                   .by = "me",
                                   .after = {{"01a2112b-fcfe-7cd0-86ca-8ca89a228797"}},
                                   .after_count = 1};
    assert_int_equal(message_encode_submission(&m, &out, &e), 0);
    assert_non_null(memmem(out.data, out.length, "\xa1v\x01", 3));
    buf_reset(&out);
    strcpy(m.after_if, "n");
    assert_int_equal(message_encode_submission(&m, &out, &e), 0);
    assert_non_null(memmem(out.data, out.length, "\xa1v\x02", 3));
    struct message_submission back;
    assert_int_equal(message_decode_submission(buf_span(&out), &back, &e), 0);
    assert_string_equal(back.after_if, "n");
    m.after_quorum = 2; /* of one */
    assert_int_equal(message_encode_submission(&m, &out, &e), ERR_INVALID);
    buf_close(&out);
}

/* Bytes that the previous release wrote: read as it meant them. */
static void test_message_reads_the_previous_version(void **state)
{
    (void)state;
    static const char golden[] = "\x86\xa1v\x01\xa2id\xd9\x24"
                                 "01a2112b-fcfe-7cd0-86ca-8ca89a228796"
                                 "\xa4kind\xa4noop\xa8priority\x07"
                                 "\xa6unique\xa1k\xa2"
                                 "by\xa2me";
    struct err_buf e = {{0}};
    struct message_submission m;
    if (message_decode_submission(span_make(golden, sizeof golden - 1), &m, &e)) {
        fail_msg("%s", e.text);
    }
    assert_string_equal(m.id.text, "01a2112b-fcfe-7cd0-86ca-8ca89a228796");
    assert_int_equal(m.priority, 7);
    assert_string_equal(m.unique, "k");
    assert_int_equal(m.unique_policy, 0);
    assert_int_equal(m.after_quorum, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_submission_says_the_lowest_version),
        cmocka_unit_test(test_message_reads_the_previous_version),
        cmocka_unit_test(test_message_submission_round_trip),
        cmocka_unit_test(test_message_submission_minimal),
        cmocka_unit_test(test_message_refusals_name_field_and_keep_id),
        cmocka_unit_test(test_message_encode_refuses_too),
        cmocka_unit_test(test_message_bulk_round_trip),
        cmocka_unit_test(test_message_bulk_ids_follow_each_other),
        cmocka_unit_test(test_message_bulk_repeats_one_job),
        cmocka_unit_test(test_message_bulk_job_is_refused_alone),
        cmocka_unit_test(test_message_bulk_of_other_versions),
        cmocka_unit_test(test_message_bulk_reply_round_trip),
        cmocka_unit_test(test_message_reply_and_ready_round_trip),
        cmocka_unit_test(test_message_reports_round_trip),
        cmocka_unit_test(test_message_progress_round_trip),
        cmocka_unit_test(test_message_frames_of_any_split),
        cmocka_unit_test(test_message_frames_are_bounded),
        cmocka_unit_test(test_message_survives_changed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
