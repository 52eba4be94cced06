/*
 * What Redis answered, read without seeing hiredis.
 *
 * A reply is borrowed: an asynchronous one is valid inside the callback only, a synchronous one
 * until the next call on its client. NULL may be passed to every function: type NONE, nothing in
 * it.
 */
#ifndef COMMON_REDIS_REPLY_H
#define COMMON_REDIS_REPLY_H

#include "common/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum redis_type {
    REDIS_TYPE_NONE = 0,
    REDIS_TYPE_NIL,
    REDIS_TYPE_INTEGER,
    REDIS_TYPE_TEXT,   /* bulk string */
    REDIS_TYPE_STATUS, /* +OK */
    REDIS_TYPE_ERROR,  /* only inside arrays; an error as the whole reply is a return code */
    REDIS_TYPE_ARRAY,
    REDIS_TYPE_COUNT
};

struct redis_reply;

enum redis_type redis_reply_type(const struct redis_reply *reply);
/* 0 when it is no integer. */
int64_t redis_reply_integer(const struct redis_reply *reply);
/* Text, status or error; else empty with data NULL. */
struct span redis_reply_text(const struct redis_reply *reply);
/* Elements of an array, else 0. */
size_t redis_reply_count(const struct redis_reply *reply);
/* Element of an array, or NULL. */
const struct redis_reply *redis_reply_at(const struct redis_reply *reply, size_t index);
/* In [key, value, key, value...]: the value of that key, or NULL. */
const struct redis_reply *redis_reply_get(const struct redis_reply *pairs, const char *key);

/* One entry of a stream. */
struct redis_entry {
    struct span id;
    struct span message; /* the field "m"; data NULL when the entry lacks it or was deleted */
};

/* Calls visit for each entry of an XREADGROUP or XREAD reply (one stream asked for, nil = none).
 * Returns how many there were. visit may be NULL. */
size_t redis_read_entries(const struct redis_reply *reply,
                          void (*visit)(const struct redis_entry *entry, void *data), void *data);
/* The same for the bare list of entries of XRANGE, XCLAIM, or element 1 of XAUTOCLAIM. */
size_t redis_range_entries(const struct redis_reply *reply,
                           void (*visit)(const struct redis_entry *entry, void *data), void *data);

#endif
