/*
 * Import of any bytes as any format: no crash, and the same rows whether they come in one piece or
 * byte by byte. The first byte chooses format and quoting.
 */
#include "common/base/sha256.h"
#include "ops/ingest/ingest.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_BYTES_MAX = 4096 }; /* byte by byte only for inputs up to this */

static void add(struct sha256 *sum, struct span s)
{
    uint64_t length = s.length;
    sha256_add(sum, &length, sizeof length);
    sha256_add(sum, s.data, s.length);
}

static int on_row(const struct ingest_row *row, struct err_buf *e, void *data)
{
    (void)e;
    CHECK(row->id.length > 0 && row->text.length > 0 && row->label.length > 0);
    add(data, row->id);
    add(data, row->text);
    add(data, row->label);
    return 0;
}

static void on_bad(uint64_t line, enum ingest_fault fault, void *data)
{
    sha256_add(data, &line, sizeof line);
    sha256_add(data, &fault, sizeof fault);
}

static int read_all(const struct ingest_options *o, struct span bytes, size_t step,
                    uint8_t ret_digest[SHA256_BYTES])
{
    struct err_buf e = {{0}};
    struct sha256 *sum = sha256_new();
    struct ingest *in = ingest_new(o, on_row, on_bad, sum, &e);
    CHECK(sum && in);
    int rc = 0;
    for (size_t at = 0; at < bytes.length && rc == 0; at += step) {
        size_t n = bytes.length - at < step ? bytes.length - at : step;
        rc = ingest_feed(in, span_make(bytes.data + at, n), &e);
    }
    rc = rc ? rc : ingest_finish(in, &e);
    ingest_free(in);
    sha256_finish(sum, ret_digest);
    sha256_free(sum);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct ingest_options o = {.format = (enum ingest_format)(data[0] % INGEST_FORMAT_COUNT),
                               .text_bytes_max = 64 + data[0],
                               .no_quotes = (data[0] & 0x40) != 0};
    struct span bytes = span_make(data + 1, size - 1);
    uint8_t whole[SHA256_BYTES];
    uint8_t pieces[SHA256_BYTES];
    int rc = read_all(&o, bytes, bytes.length + 1, whole);
    if (bytes.length <= STEP_BYTES_MAX) {
        int again = read_all(&o, bytes, 1, pieces);
        CHECK(rc == again && memcmp(whole, pieces, sizeof whole) == 0);
    }
    return 0;
}
