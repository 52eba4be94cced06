/* Doubling growth, capped at the limit. */
#include "common/base/buf.h"

#include "common/base/mem.h"

#include <stdio.h>

void buf_init(struct buf *b, size_t limit)
{
    *b = (struct buf){.limit = limit};
}

void buf_close(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf){.limit = b->limit};
}

void buf_reset(struct buf *b)
{
    b->length = 0;
}

/* One byte more than asked for, so that buf_text always has room for its NUL. */
static int grow(struct buf *b, size_t more)
{
    if (more > b->limit || b->length > b->limit - more) {
        return ERR_LIMIT;
    }
    size_t need = b->length + more + 1;
    if (need <= b->capacity) {
        return 0;
    }
    size_t capacity = b->capacity ? b->capacity : 256;
    while (capacity < need) {
        capacity *= 2;
    }
    char *data = mem_resize_array(b->data, capacity, 1);
    if (!data) {
        return ERR_NOMEM;
    }
    b->data = data;
    b->capacity = capacity;
    return 0;
}

int buf_add(struct buf *b, const void *data, size_t length)
{
    int rc = grow(b, length);
    if (rc == 0 && length) {
        memcpy(b->data + b->length, data, length);
        b->length += length;
    }
    return rc;
}

int buf_add_text(struct buf *b, const char *text)
{
    return buf_add(b, text, strlen(text));
}

int buf_add_format(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    int rc = length < 0 ? ERR_INVALID : grow(b, (size_t)length);
    if (rc == 0) {
        (void)vsnprintf(b->data + b->length, (size_t)length + 1, format, again);
        b->length += (size_t)length;
    }
    va_end(again);
    return rc;
}

char *buf_reserve(struct buf *b, size_t length)
{
    return grow(b, length) == 0 ? b->data + b->length : NULL;
}

void buf_advance(struct buf *b, size_t length)
{
    CHECK(b->length + length < b->capacity || length == 0);
    b->length += length;
}

void buf_consume(struct buf *b, size_t length)
{
    CHECK(length <= b->length);
    if (length) {
        memmove(b->data, b->data + length, b->length - length);
        b->length -= length;
    }
}

void buf_truncate(struct buf *b, size_t length)
{
    CHECK(length <= b->length);
    b->length = length;
}

const char *buf_text(struct buf *b)
{
    if (grow(b, 0) != 0) {
        return NULL;
    }
    b->data[b->length] = '\0';
    return b->data;
}

struct span buf_span(const struct buf *b)
{
    return span_make(b->data, b->length);
}
