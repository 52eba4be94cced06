/* hiredis's replies behind our own names. A redis_reply is a redisReply, seen from outside. */
#include "common/redis/reply.h"

#include <hiredis/hiredis.h>

static const redisReply *inside(const struct redis_reply *reply)
{
    return (const redisReply *)(const void *)reply;
}

enum redis_type redis_reply_type(const struct redis_reply *reply)
{
    switch (reply ? inside(reply)->type : 0) {
    case REDIS_REPLY_NIL:
        return REDIS_TYPE_NIL;
    case REDIS_REPLY_INTEGER:
        return REDIS_TYPE_INTEGER;
    case REDIS_REPLY_STRING:
        return REDIS_TYPE_TEXT;
    case REDIS_REPLY_STATUS:
        return REDIS_TYPE_STATUS;
    case REDIS_REPLY_ERROR:
        return REDIS_TYPE_ERROR;
    case REDIS_REPLY_ARRAY:
        return REDIS_TYPE_ARRAY;
    default:
        return REDIS_TYPE_NONE; /* also the types of RESP3, which we do not ask for */
    }
}

int64_t redis_reply_integer(const struct redis_reply *reply)
{
    return redis_reply_type(reply) == REDIS_TYPE_INTEGER ? inside(reply)->integer : 0;
}

struct span redis_reply_text(const struct redis_reply *reply)
{
    switch (redis_reply_type(reply)) {
    case REDIS_TYPE_TEXT:
    case REDIS_TYPE_STATUS:
    case REDIS_TYPE_ERROR:
        return span_make(inside(reply)->str, (size_t)inside(reply)->len);
    default:
        return span_make(NULL, 0);
    }
}

size_t redis_reply_count(const struct redis_reply *reply)
{
    return redis_reply_type(reply) == REDIS_TYPE_ARRAY ? inside(reply)->elements : 0;
}

const struct redis_reply *redis_reply_at(const struct redis_reply *reply, size_t index)
{
    if (index >= redis_reply_count(reply)) {
        return NULL;
    }
    return (const struct redis_reply *)(const void *)inside(reply)->element[index];
}

const struct redis_reply *redis_reply_get(const struct redis_reply *pairs, const char *key)
{
    for (size_t i = 0; i + 1 < redis_reply_count(pairs); i += 2) {
        struct span text = redis_reply_text(redis_reply_at(pairs, i));
        if (text.data && span_is(text, key)) {
            return redis_reply_at(pairs, i + 1);
        }
    }
    return NULL;
}

/* [id, [field, value...]]; the fields are nil for an entry that was deleted meanwhile, and Redis 6
 * gives nil in place of the whole entry. */
size_t redis_range_entries(const struct redis_reply *reply,
                           void (*visit)(const struct redis_entry *entry, void *data), void *data)
{
    size_t count = 0;
    for (size_t i = 0; i < redis_reply_count(reply); i++) {
        const struct redis_reply *item = redis_reply_at(reply, i);
        struct redis_entry entry = {
            .id = redis_reply_text(redis_reply_at(item, 0)),
            .message = redis_reply_text(redis_reply_get(redis_reply_at(item, 1), "m")),
        };
        if (!entry.id.data) {
            continue;
        }
        count++;
        if (visit) {
            visit(&entry, data);
        }
    }
    return count;
}

size_t redis_read_entries(const struct redis_reply *reply,
                          void (*visit)(const struct redis_entry *entry, void *data), void *data)
{
    const struct redis_reply *stream = redis_reply_at(reply, 0);
    return redis_range_entries(redis_reply_at(stream, 1), visit, data);
}
