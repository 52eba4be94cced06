/* Bytes from Redis, cut: the same whatever pieces they come in, never more than came in by more
 * than a header, and unchanged without bounds. The first two bytes are the bounds. */
#include "common/base/buf.h"
#include "common/redis/cut.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int collect(const char *data, size_t length, void *out, struct err_buf *e)
{
    (void)e;
    return buf_add(out, data, length);
}

static void feed(size_t bulk_max, size_t reply_max, struct span in, size_t piece, struct buf *out)
{
    struct cut c;
    cut_init(&c, bulk_max, reply_max);
    buf_init(out, 4 << 20);
    for (size_t at = 0; at < in.length; at += piece) {
        size_t n = in.length - at < piece ? in.length - at : piece;
        CHECK(cut_feed(&c, in.data + at, n, collect, out, NULL) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    struct span in = span_make(data + 2, size - 2);
    struct buf whole, single, free;
    feed(data[0], data[1], in, in.length, &whole);
    feed(data[0], data[1], in, 1, &single);
    feed(0, 0, in, in.length, &free);
    CHECK(span_equals(buf_span(&whole), buf_span(&single)));
    CHECK(whole.length <= in.length);
    CHECK(free.length <= in.length); /* a header that is not complete yet waits */
    CHECK(span_equals(buf_span(&free), span_make(in.data, free.length)));
    buf_close(&whole);
    buf_close(&single);
    buf_close(&free);
    return 0;
}
