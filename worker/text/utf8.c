/* UTF-8 decoding after table 3-7 of the Unicode standard. */
#include "worker/text/utf8.h"

#include <string.h>

bool utf8_is_ascii(const char *text, size_t length)
{
    size_t i = 0;
    uint64_t seen = 0;
    for (; i + sizeof seen <= length; i += sizeof seen) {
        uint64_t word;
        memcpy(&word, text + i, sizeof word);
        seen |= word;
    }
    for (; i < length; i++) {
        seen |= (uint64_t)(unsigned char)text[i];
    }
    return (seen & 0x8080808080808080u) == 0;
}

static bool is_tail(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* One code point of two or more bytes at p; returns its length, or 0 when it is malformed. */
static size_t decode_long(const unsigned char *p, size_t left, uint32_t *ret)
{
    unsigned char c = p[0];
    if (c >= 0xc2 && c <= 0xdf && left >= 2 && is_tail(p[1])) {
        *ret = ((uint32_t)(c & 0x1f) << 6) | (p[1] & 0x3f);
        return 2;
    }
    if ((c & 0xf0) == 0xe0 && left >= 3 && is_tail(p[1]) && is_tail(p[2])) {
        uint32_t cp = ((uint32_t)(c & 0x0f) << 12) | ((uint32_t)(p[1] & 0x3f) << 6) | (p[2] & 0x3f);
        *ret = cp;
        return cp >= 0x800 && (cp < 0xd800 || cp > 0xdfff) ? 3 : 0;
    }
    if (c >= 0xf0 && c <= 0xf4 && left >= 4 && is_tail(p[1]) && is_tail(p[2]) && is_tail(p[3])) {
        uint32_t cp = ((uint32_t)(c & 0x07) << 18) | ((uint32_t)(p[1] & 0x3f) << 12) |
                      ((uint32_t)(p[2] & 0x3f) << 6) | (p[3] & 0x3f);
        *ret = cp;
        return cp >= 0x10000 && cp <= 0x10ffff ? 4 : 0;
    }
    return 0;
}

ptrdiff_t utf8_decode(const char *text, size_t length, uint32_t *ret, size_t *ret_bad)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t i = 0;
    ptrdiff_t count = 0;
    while (i < length) {
        if (p[i] < 0x80) {
            ret[count++] = p[i++];
            continue;
        }
        size_t used = decode_long(p + i, length - i, &ret[count]);
        if (used == 0) {
            if (ret_bad) {
                *ret_bad = i;
            }
            return -1;
        }
        i += used;
        count++;
    }
    return count;
}
