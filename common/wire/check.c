/*
 * Decoding headers, and the walk that makes sure of their promises before anybody believes them.
 *
 * Layout of a value: one byte of type (it may hold a small number or length itself), then a
 * big-endian number, length or count of 1, 2, 4 or 8 bytes, then the body.
 */
#include "common/wire/wire_int.h"

#include "common/base/utf8.h"

#include <string.h>

/* What follows a type byte from 0xc0 to 0xdf: the kind and how many bytes its number has. */
struct shape {
    enum wire__kind kind;
    unsigned char number_bytes; /* of the length, count or value */
    unsigned char extra_bytes;  /* extensions: their own type byte */
    bool is_valid;
    unsigned char fixed_length; /* fixext */
};

#define SHAPE(k, n)                                                                                \
    {                                                                                              \
        .kind = WIRE__##k, .number_bytes = (n), .is_valid = true                                   \
    }
#define EXTENSION(n, fixed)                                                                        \
    {                                                                                              \
        .kind = WIRE__EXTENSION, .number_bytes = (n), .extra_bytes = 1, .is_valid = true,          \
        .fixed_length = (fixed)                                                                    \
    }

static const struct shape shapes[32] = {
    [0x00] = SHAPE(NULL, 0),    [0x02] = SHAPE(BOOL, 0),    [0x03] = SHAPE(BOOL, 0),
    [0x04] = SHAPE(BYTES, 1),   [0x05] = SHAPE(BYTES, 2),   [0x06] = SHAPE(BYTES, 4),
    [0x07] = EXTENSION(1, 0),   [0x08] = EXTENSION(2, 0),   [0x09] = EXTENSION(4, 0),
    [0x0a] = SHAPE(REAL, 4),    [0x0b] = SHAPE(REAL, 8),    [0x0c] = SHAPE(INTEGER, 1),
    [0x0d] = SHAPE(INTEGER, 2), [0x0e] = SHAPE(INTEGER, 4), [0x0f] = SHAPE(INTEGER, 8),
    [0x10] = SHAPE(INTEGER, 1), [0x11] = SHAPE(INTEGER, 2), [0x12] = SHAPE(INTEGER, 4),
    [0x13] = SHAPE(INTEGER, 8), [0x14] = EXTENSION(0, 1),   [0x15] = EXTENSION(0, 2),
    [0x16] = EXTENSION(0, 4),   [0x17] = EXTENSION(0, 8),   [0x18] = EXTENSION(0, 16),
    [0x19] = SHAPE(TEXT, 1),    [0x1a] = SHAPE(TEXT, 2),    [0x1b] = SHAPE(TEXT, 4),
    [0x1c] = SHAPE(ARRAY, 2),   [0x1d] = SHAPE(ARRAY, 4),   [0x1e] = SHAPE(MAP, 2),
    [0x1f] = SHAPE(MAP, 4),
};

static uint64_t big_endian(const unsigned char *bytes, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* Types whose byte holds the number itself. */
static bool read_small(unsigned char type, struct wire__item *item, uint64_t *ret_number)
{
    if (type <= 0x7f || type >= 0xe0) {
        item->kind = WIRE__INTEGER;
        item->integer = type <= 0x7f ? type : (int64_t)type - 256;
        *ret_number = 0;
    } else if (type <= 0x8f) {
        item->kind = WIRE__MAP;
        *ret_number = type & 0x0f;
    } else if (type <= 0x9f) {
        item->kind = WIRE__ARRAY;
        *ret_number = type & 0x0f;
    } else if (type <= 0xbf) {
        item->kind = WIRE__TEXT;
        *ret_number = type & 0x1f;
    } else {
        return false;
    }
    return true;
}

static void read_integer(unsigned char type, uint64_t number, size_t number_bytes,
                         struct wire__item *item)
{
    if (type <= 0xcf) {
        item->is_huge = number > INT64_MAX;
        item->integer = item->is_huge ? INT64_MAX : (int64_t)number;
        return;
    }
    unsigned shift = (unsigned)(64 - 8 * number_bytes) % 64;
    item->integer = (int64_t)(number << shift) >> shift; /* extends the sign */
}

static void read_real(uint64_t number, size_t number_bytes, struct wire__item *item)
{
    if (number_bytes == 4) {
        uint32_t bits = (uint32_t)number;
        float value = 0;
        memcpy(&value, &bits, sizeof value);
        item->real = (double)value;
    } else {
        memcpy(&item->real, &number, sizeof item->real);
    }
}

/* Types from 0xc0 to 0xdf; left is what lies behind the type byte. */
static int read_shaped(const unsigned char *at, size_t left, struct wire__item *item,
                       uint64_t *ret_number)
{
    const struct shape *shape = &shapes[*at - 0xc0];
    size_t header = (size_t)shape->number_bytes + shape->extra_bytes;
    if (!shape->is_valid || header > left) {
        return ERR_PARSE;
    }
    item->kind = shape->kind;
    item->body += header;
    uint64_t number = big_endian(at + 1, shape->number_bytes);
    if (shape->kind == WIRE__BOOL) {
        item->integer = *at == 0xc3;
    } else if (shape->kind == WIRE__INTEGER) {
        read_integer(*at, number, shape->number_bytes, item);
    } else if (shape->kind == WIRE__REAL) {
        read_real(number, shape->number_bytes, item);
    }
    *ret_number = shape->fixed_length ? shape->fixed_length : number;
    return 0;
}

int wire__item_at(struct span bytes, size_t at, struct wire__item *ret)
{
    if (at >= bytes.length) {
        return ERR_PARSE;
    }
    struct wire__item item = {.start = at, .body = at + 1};
    const unsigned char *p = (const unsigned char *)bytes.data + at;
    uint64_t number = 0;
    if (!read_small(*p, &item, &number)) {
        int rc = read_shaped(p, bytes.length - at - 1, &item, &number);
        if (rc) {
            return rc;
        }
    }
    uint64_t left = bytes.length - item.body;
    switch (item.kind) {
    case WIRE__TEXT:
    case WIRE__BYTES:
    case WIRE__EXTENSION:
        if (number > left) {
            return ERR_PARSE;
        }
        item.length = (size_t)number;
        break;
    case WIRE__ARRAY:
    case WIRE__MAP:
        item.children = item.kind == WIRE__MAP ? number * 2 : number;
        if (item.children > left) { /* every value takes a byte at least */
            return ERR_PARSE;
        }
        break;
    default:
        break;
    }
    *ret = item;
    return 0;
}

/* How many values are still to come at each open level. */
struct walk {
    uint64_t left[WIRE_DEPTH_MAX + 1];
    size_t depth;
};

static void close_levels(struct walk *w)
{
    while (w->depth > 0 && w->left[w->depth] == 0) {
        w->depth--;
    }
}

int wire_check(struct span bytes, struct err_buf *e)
{
    struct walk w = {.left = {1}};
    size_t at = 0;
    while (w.left[w.depth] > 0) {
        struct wire__item item;
        if (wire__item_at(bytes, at, &item)) {
            return err_set(e, ERR_PARSE, "not MessagePack: byte %zu of %zu", at, bytes.length);
        }
        w.left[w.depth]--;
        at = item.body + item.length;
        if (item.children > 0) {
            if (w.depth == WIRE_DEPTH_MAX) {
                return err_set(e, ERR_LIMIT, "byte %zu: more than %d levels inside each other", at,
                               WIRE_DEPTH_MAX);
            }
            w.left[++w.depth] = item.children;
        }
        close_levels(&w);
    }
    if (at != bytes.length) {
        return err_set(e, ERR_PARSE, "%zu bytes behind the end of the message", bytes.length - at);
    }
    return 0;
}

size_t wire__skip(struct span bytes, size_t at)
{
    uint64_t left = 1;
    while (left > 0) {
        struct wire__item item;
        int rc = wire__item_at(bytes, at, &item);
        CHECK(rc == 0);
        left += item.children;
        left--;
        at = item.body + item.length;
    }
    return at;
}

/* --- text ------------------------------------------------------------------------------------ */

bool wire_text_is_valid(struct span text)
{
    const unsigned char *p = (const unsigned char *)text.data;
    for (size_t at = 0; at < text.length;) {
        size_t count = utf8_sequence_bytes(p + at, text.length - at);
        if (count == 0 || p[at] == '\0') {
            return false;
        }
        at += count;
    }
    return true;
}
