/*
 * Messages from any bytes. The first byte chooses the decoder; what decodes must encode again, and
 * decode and encode to the same bytes from then on.
 */
#include "common/message/message.h"

#include <stdint.h>
#include <stdlib.h>

enum { OUT_MAX = 64 << 20 };

union any {
    struct message_submission submission;
    struct message_reply reply;
    struct message_ready ready;
    struct message_report report;
    struct message_progress progress;
};

static int decode(uint8_t which, struct span bytes, union any *ret, struct err_buf *e)
{
    switch (which) {
    case 0:
        return message_decode_submission(bytes, &ret->submission, e);
    case 1:
        return message_decode_reply(bytes, &ret->reply, e);
    case 2:
        return message_decode_ready(bytes, &ret->ready, e);
    case 3:
        return message_decode_report(bytes, &ret->report, e);
    default:
        return message_decode_progress(bytes, &ret->progress, e);
    }
}

static int encode(uint8_t which, const union any *m, struct buf *out)
{
    switch (which) {
    case 0:
        return message_encode_submission(&m->submission, out, NULL);
    case 1:
        return message_encode_reply(&m->reply, out, NULL);
    case 2:
        return message_encode_ready(&m->ready, out, NULL);
    case 3:
        return message_encode_report(&m->report, out, NULL);
    default:
        return message_encode_progress(&m->progress, out, NULL);
    }
}

static void try_message(uint8_t which, struct span bytes)
{
    union any m;
    union any again;
    struct err_buf e = {{0}};
    if (decode(which, bytes, &m, &e)) {
        CHECK(e.text[0] != '\0');
        return;
    }
    struct buf first;
    struct buf second;
    buf_init(&first, OUT_MAX);
    buf_init(&second, OUT_MAX);
    CHECK(encode(which, &m, &first) == 0);
    CHECK(decode(which, buf_span(&first), &again, &e) == 0);
    CHECK(encode(which, &again, &second) == 0);
    CHECK(span_equals(buf_span(&first), buf_span(&second)));
    buf_close(&first);
    buf_close(&second);
}

/* What a bulk's elements decode to makes the same elements again. */
static void try_bulk(struct span bytes)
{
    static struct message_submission m;
    struct message_bulk bulk;
    struct err_buf e = {{0}};
    int rc = message_decode_bulk(bytes, &bulk, &e);
    if (rc) {
        CHECK(rc == ERR_NOTFOUND || e.text[0] != '\0');
        return;
    }
    struct buf jobs;
    struct buf out;
    buf_init(&jobs, OUT_MAX);
    buf_init(&out, OUT_MAX);
    struct message_bulk again = bulk;
    CHECK(message_encode_bulk(&bulk, &out, &e) == 0);
    again.jobs = (struct message_list){.count = 0};
    while ((rc = message_bulk_next(&bulk, &m, &e)) != ERR_NOTFOUND) {
        if (rc == 0) {
            CHECK(message_bulk_add(&m, &jobs, &e) == 0);
            again.jobs.count++;
        }
    }
    again.jobs.bytes = buf_span(&jobs);
    if (again.jobs.count == 1 || (again.jobs.count > 0 && !again.repeat)) {
        buf_reset(&out);
        rc = message_encode_bulk(&again, &out, &e);
        CHECK(rc == 0 || rc == ERR_INVALID); /* written out it may be longer than it was */
        CHECK(rc || message_decode_bulk(buf_span(&out), &bulk, &e) == 0);
    }
    buf_close(&out);
    buf_close(&jobs);
}

static void try_bulk_reply(struct span bytes)
{
    struct message_bulk_reply reply;
    struct message_outcome_at at;
    struct err_buf e = {{0}};
    if (message_decode_bulk_reply(bytes, &reply, &e) == 0) {
        while (message_bulk_reply_next(&reply, &at, &e) != ERR_NOTFOUND) {
        }
    }
}

/* The bytes as a pipe, in pieces whose sizes they name themselves. */
static void try_pipe(struct span bytes)
{
    struct message_frames f;
    message_frames_init(&f);
    size_t at = 0;
    int rc = 0;
    while (at < bytes.length && rc == 0) {
        size_t piece = 1 + ((unsigned char)bytes.data[at] & 31);
        piece = piece < bytes.length - at ? piece : bytes.length - at;
        rc = message_frames_add(&f, bytes.data + at, piece);
        at += piece;
        struct span frame;
        while (rc == 0 && (rc = message_frames_next(&f, &frame)) == 0) {
            struct message_pipe m;
            struct err_buf e = {{0}};
            if (message_decode_frame(frame, &m, &e) == 0) {
                struct buf out;
                buf_init(&out, OUT_MAX);
                CHECK(message_encode_frame(&m, &out, &e) == 0);
                buf_close(&out);
            }
        }
        rc = rc == ERR_NOTFOUND ? 0 : rc;
    }
    message_frames_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { PIPE = 5, BULK, BULK_REPLY, CHOICES };
    uint8_t which = size > 0 ? data[0] % CHOICES : 0;
    struct span bytes = size > 0 ? span_make(data + 1, size - 1) : (struct span){0};
    if (size > 0 && which == PIPE) {
        try_pipe(bytes);
    } else if (size > 0 && which == BULK) {
        try_bulk(bytes);
    } else if (size > 0 && which == BULK_REPLY) {
        try_bulk_reply(bytes);
    } else if (size > 0) {
        try_message(which, bytes);
    }
    return 0;
}
