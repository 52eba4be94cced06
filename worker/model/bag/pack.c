/* See pack.h; the format is msgpack's specification of 2017. */
#include "worker/model/bag/pack.h"

#include <string.h>

static int add_big_endian(struct buf *b, unsigned char tag, uint64_t value, size_t bytes)
{
    unsigned char out[9];
    out[0] = tag;
    for (size_t i = 0; i < bytes; i++) {
        out[1 + i] = (unsigned char)(value >> (8 * (bytes - 1 - i)));
    }
    return buf_add(b, out, 1 + bytes);
}

int bag__pack_map(struct buf *b, uint32_t pairs)
{
    return pairs < 16 ? add_big_endian(b, (unsigned char)(0x80 | pairs), 0, 0)
                      : add_big_endian(b, 0xdf, pairs, 4);
}

int bag__pack_array(struct buf *b, uint32_t items)
{
    return items < 16 ? add_big_endian(b, (unsigned char)(0x90 | items), 0, 0)
                      : add_big_endian(b, 0xdd, items, 4);
}

int bag__pack_text(struct buf *b, struct span text)
{
    int rc = text.length < 32 ? add_big_endian(b, (unsigned char)(0xa0 | text.length), 0, 0)
                              : add_big_endian(b, 0xdb, text.length, 4);
    return rc ? rc : buf_add(b, text.data, text.length);
}

int bag__pack_uint(struct buf *b, uint64_t value)
{
    return value < 128 ? add_big_endian(b, (unsigned char)value, 0, 0)
                       : add_big_endian(b, 0xcf, value, 8);
}

int bag__pack_double(struct buf *b, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return add_big_endian(b, 0xcb, bits, 8);
}

int bag__pack_bin_header(struct buf *b, uint32_t length)
{
    return add_big_endian(b, 0xc6, length, 4);
}

/* --- reading ------------------------------------------------------------------------------------
 */

static bool take_number(struct bag_pack_reader *r, size_t bytes, uint64_t *ret)
{
    if (r->length - r->at < bytes) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value = (value << 8) | r->data[r->at++];
    }
    *ret = value;
    return true;
}

static bool take_bytes(struct bag_pack_reader *r, uint64_t count, struct bag_pack_item *ret,
                       enum bag_pack_type type)
{
    if (count > r->length - r->at) {
        return false;
    }
    ret->type = type;
    ret->bytes = span_make(r->data + r->at, (size_t)count);
    r->at += (size_t)count;
    return true;
}

static bool take_real(struct bag_pack_reader *r, bool is_double, struct bag_pack_item *ret)
{
    uint64_t bits = 0;
    if (!take_number(r, is_double ? 8 : 4, &bits)) {
        return false;
    }
    ret->type = BAG_PACK_DOUBLE;
    if (is_double) {
        memcpy(&ret->real, &bits, sizeof bits);
    } else {
        float real = 0;
        uint32_t low = (uint32_t)bits;
        memcpy(&real, &low, sizeof low);
        ret->real = (double)real;
    }
    return true;
}

/* Types whose header is one byte: the value or length is in it. */
static bool next_short(struct bag_pack_reader *r, unsigned char tag, struct bag_pack_item *ret)
{
    if (tag < 0x80) {
        ret->type = BAG_PACK_UINT;
        ret->number = tag;
        return true;
    }
    if (tag < 0xa0) {
        ret->type = tag < 0x90 ? BAG_PACK_MAP : BAG_PACK_ARRAY;
        ret->number = tag & 0x0f;
        return true;
    }
    if (tag < 0xc0) {
        return take_bytes(r, tag & 0x1f, ret, BAG_PACK_TEXT);
    }
    ret->type = BAG_PACK_OTHER; /* 0xe0..0xff, negative fixint */
    return true;
}

/* Types whose length or value follows in 1, 2, 4 or 8 bytes. */
static bool next_long(struct bag_pack_reader *r, unsigned char tag, struct bag_pack_item *ret)
{
    uint64_t n = 0;
    switch (tag) {
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return take_number(r, (size_t)1 << (tag - 0xc4), &n) && take_bytes(r, n, ret, BAG_PACK_BIN);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return take_number(r, (size_t)1 << (tag - 0xc7), &n) &&
               take_bytes(r, n + 1, ret, BAG_PACK_OTHER);
    case 0xca:
    case 0xcb:
        return take_real(r, tag == 0xcb, ret);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        ret->type = BAG_PACK_UINT;
        return take_number(r, (size_t)1 << (tag - 0xcc), &ret->number);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        ret->type = BAG_PACK_OTHER;
        return take_number(r, (size_t)1 << (tag - 0xd0), &n);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return take_bytes(r, ((uint64_t)1 << (tag - 0xd4)) + 1, ret, BAG_PACK_OTHER);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return take_number(r, (size_t)1 << (tag - 0xd9), &n) &&
               take_bytes(r, n, ret, BAG_PACK_TEXT);
    case 0xdc:
    case 0xdd:
        ret->type = BAG_PACK_ARRAY;
        return take_number(r, tag == 0xdc ? 2 : 4, &ret->number);
    case 0xde:
    case 0xdf:
        ret->type = BAG_PACK_MAP;
        return take_number(r, tag == 0xde ? 2 : 4, &ret->number);
    case 0xc1:
        return false; /* never used */
    default:
        ret->type = BAG_PACK_OTHER; /* nil, false, true */
        return true;
    }
}

bool bag__pack_next(struct bag_pack_reader *r, struct bag_pack_item *ret)
{
    *ret = (struct bag_pack_item){.type = BAG_PACK_OTHER};
    if (r->at >= r->length) {
        return false;
    }
    unsigned char tag = r->data[r->at++];
    return tag < 0xc0 || tag >= 0xe0 ? next_short(r, tag, ret) : next_long(r, tag, ret);
}

/* Counts what is still owed instead of recursing; every item takes at least one byte, so a count
 * above what is left is refused at once. */
bool bag__pack_skip(struct bag_pack_reader *r)
{
    uint64_t owed = 1;
    while (owed > 0) {
        struct bag_pack_item item;
        if (!bag__pack_next(r, &item)) {
            return false;
        }
        owed--;
        if (item.type == BAG_PACK_MAP || item.type == BAG_PACK_ARRAY) {
            owed += item.type == BAG_PACK_MAP ? item.number * 2 : item.number;
        }
        if (owed > r->length - r->at) {
            return false;
        }
    }
    return true;
}
