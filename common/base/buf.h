/*
 * A growable byte buffer with a maximum.
 *
 * Owns its bytes; data is valid until the next call that adds. Adding past limit gives ERR_LIMIT
 * and changes nothing.
 */
#ifndef COMMON_BASE_BUF_H
#define COMMON_BASE_BUF_H

#include "common/base/err.h"
#include "common/base/span.h"

struct buf {
    /* read only */
    char *data;
    size_t length;
    /* private */
    size_t capacity;
    size_t limit;
};

void buf_init(struct buf *b, size_t limit);
void buf_close(struct buf *b);
void buf_reset(struct buf *b);
/* Adds bytes; ERR_LIMIT or ERR_NOMEM, nothing added. */
MUST_CHECK int buf_add(struct buf *b, const void *data, size_t length);
MUST_CHECK int buf_add_text(struct buf *b, const char *text);
MUST_CHECK int buf_add_format(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Makes room for length more bytes and returns where they go (commit with buf_advance), or NULL. */
char *buf_reserve(struct buf *b, size_t length);
void buf_advance(struct buf *b, size_t length);
/* Drops the first length bytes. */
void buf_consume(struct buf *b, size_t length);
/* Drops what is behind the first length bytes; length is at most b->length. */
void buf_truncate(struct buf *b, size_t length);
/* NUL-terminates (the NUL is not counted); returns data, or NULL when out of memory. */
const char *buf_text(struct buf *b);
struct span buf_span(const struct buf *b);

#endif
