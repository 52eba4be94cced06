/* Commands to bytes, bytes to replies. The reader is hiredis's; it is bounded here. */
#include "common/base/mem.h"
#include "common/redis/redis_int.h"

#include <hiredis/hiredis.h>

#include <stdio.h>
#include <string.h>

enum {
    PREFIX_MAX = 24, /* '$', 20 digits, CR LF, and a NUL for snprintf */
    DEPTH_MAX = 8    /* the most that hiredis 0.14 reads; XREADGROUP has five */
};

/* --- commands -------------------------------------------------------------------------------- */

size_t redis__encoded_max(const struct span *args, size_t count)
{
    size_t size = PREFIX_MAX;
    for (size_t i = 0; i < count; i++) {
        if (args[i].length > SIZE_MAX / 4 || size > SIZE_MAX / 4) {
            return SIZE_MAX / 2; /* more than any limit */
        }
        size += PREFIX_MAX + args[i].length + 2;
    }
    return size;
}

static size_t put_prefix(char *out, char kind, size_t number)
{
    return (size_t)snprintf(out, PREFIX_MAX, "%c%zu\r\n", kind, number);
}

int redis__encode(struct buf *out, const struct span *args, size_t count)
{
    if (count == 0 || count > REDIS__ARGS_MAX) {
        return ERR_INVALID;
    }
    for (size_t i = 0; i < count; i++) {
        if (!args[i].data && (args[i].length > 0 || i == 0)) {
            return ERR_INVALID;
        }
    }
    size_t size = redis__encoded_max(args, count);
    if (size > out->limit || out->length > out->limit - size) {
        return ERR_LIMIT;
    }
    char *at = buf_reserve(out, size);
    if (!at) {
        return ERR_NOMEM;
    }
    size_t length = put_prefix(at, '*', count);
    for (size_t i = 0; i < count; i++) {
        length += put_prefix(at + length, '$', args[i].length);
        if (args[i].length > 0) {
            memcpy(at + length, args[i].data, args[i].length);
        }
        length += args[i].length;
        at[length++] = '\r';
        at[length++] = '\n';
    }
    buf_advance(out, length);
    return 0;
}

struct span *redis__spans(const char *const *texts, size_t count, struct span *fixed, size_t room)
{
    struct span *spans = count <= room ? fixed : mem_new_array(count, sizeof *spans);
    for (size_t i = 0; spans && i < count; i++) {
        /* A missing text is a bug of the caller: the length makes redis__encode refuse it. */
        spans[i] = texts[i] ? span_of(texts[i]) : span_make(NULL, 1);
    }
    return spans;
}

/* --- replies --------------------------------------------------------------------------------- */

struct redisReader *redis__reader_new(void)
{
    return redisReaderCreate();
}

void redis__reader_free(struct redisReader *reader)
{
    if (reader) {
        redisReaderFree(reader);
    }
}

int redis__reader_feed(struct redisReader *reader, const void *data, size_t length,
                       struct err_buf *e)
{
    if (redisReaderFeed(reader, data, length) != REDIS_OK) {
        return err_set(e, ERR_NOMEM, "no memory for a reply");
    }
    return 0;
}

/* Bytes come in pieces of REDIS__READ_BYTES and the depth is looked at after each, so a reply can
 * not nest deeper than one piece allows before it is refused: freeing it recurses. */
int redis__reader_next(struct redisReader *reader, struct redis_reply **ret, struct err_buf *e)
{
    void *reply = NULL;
    if (redisReaderGetReply(reader, &reply) != REDIS_OK) {
        return err_set(e, ERR_CORRUPT, "the answer is not Redis's protocol (%s)", reader->errstr);
    }
    if (reply) {
        *ret = reply;
        return 1;
    }
    if (reader->ridx > DEPTH_MAX || reader->len > REDIS__REPLY_BYTES_MAX) {
        return err_set(e, ERR_LIMIT, "a reply is too large or nested too deeply");
    }
    return 0;
}

void redis__reply_free(struct redis_reply *reply)
{
    if (reply) {
        freeReplyObject(reply);
    }
}

static bool begins_with(struct span text, const char *word)
{
    size_t length = strlen(word);
    return text.length >= length && memcmp(text.data, word, length) == 0 &&
           (text.length == length || text.data[length] == ' ');
}

int redis__reply_code(const struct redis_reply *reply)
{
    static const struct {
        const char *word;
        int code;
    } codes[] = {
        {"NOGROUP", ERR_NOTFOUND},
        {"BUSYGROUP", ERR_EXISTS},
        {"LOADING", ERR_UNREACHABLE},
        {"READONLY", ERR_UNREACHABLE},
        {"MASTERDOWN", ERR_UNREACHABLE},
        {"CLUSTERDOWN", ERR_UNREACHABLE},
        {"MOVED", ERR_UNREACHABLE},
        {"ASK", ERR_UNREACHABLE}, /* the slot moves to another node: soon it is MOVED */
        {"TRYAGAIN", ERR_UNREACHABLE},
        {"OOM", ERR_LIMIT},
        {"MISCONF", ERR_IO}, /* its disk is full, or broken: until then nothing is written */
    };
    if (redis_reply_type(reply) != REDIS_TYPE_ERROR) {
        return 0;
    }
    struct span text = redis_reply_text(reply);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (begins_with(text, codes[i].word)) {
            return codes[i].code;
        }
    }
    return ERR_INVALID;
}

bool redis__reply_is_demotion(const struct redis_reply *reply)
{
    struct span text = redis_reply_text(reply);
    return redis_reply_type(reply) == REDIS_TYPE_ERROR &&
           (begins_with(text, "READONLY") || begins_with(text, "MASTERDOWN"));
}

/* "MOVED 3999 host:port"; without a host it is the node that was asked. */
bool redis__reply_is_moved(const struct redis_reply *reply, struct redis__url *url)
{
    struct span text = redis_reply_text(reply);
    if (redis_reply_type(reply) != REDIS_TYPE_ERROR || !begins_with(text, "MOVED")) {
        return false;
    }
    const char *space = memrchr(text.data, ' ', text.length);
    const char *colon = memrchr(text.data, ':', text.length);
    if (!space || !colon || colon < space) {
        return false;
    }
    struct span host = span_make(space + 1, (size_t)(colon - space - 1));
    struct span port = span_make(colon + 1, text.length - (size_t)(colon + 1 - text.data));
    char same[REDIS__TEXT_MAX + 1];
    (void)snprintf(same, sizeof same, "%s", url->host);
    return redis__url_aim(url, host.length > 0 ? host : span_of(same), port) == 0;
}

bool redis__reply_is_message(const struct redis_reply *reply, struct span *ret_channel,
                             struct span *ret_payload)
{
    if (redis_reply_count(reply) != 3 ||
        !span_is(redis_reply_text(redis_reply_at(reply, 0)), "message")) {
        return false;
    }
    *ret_channel = redis_reply_text(redis_reply_at(reply, 1));
    *ret_payload = redis_reply_text(redis_reply_at(reply, 2));
    return true;
}
