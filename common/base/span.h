/* Bytes that somebody else owns: a pointer and a length. Nothing relies on a terminating NUL. */
#ifndef COMMON_BASE_SPAN_H
#define COMMON_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
    const char *data;
    size_t length;
};

static inline struct span span_of(const char *text)
{
    return (struct span){.data = text, .length = text ? strlen(text) : 0};
}

static inline struct span span_make(const void *data, size_t length)
{
    return (struct span){.data = data, .length = length};
}

static inline bool span_equals(struct span a, struct span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

static inline bool span_is(struct span a, const char *text)
{
    return span_equals(a, span_of(text));
}

#endif
