/* UTF-8: strict decoding (no overlong forms, no surrogates, nothing above U+10FFFF). */
#ifndef WORKER_TEXT_UTF8_H
#define WORKER_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether every byte is below 0x80. */
bool utf8_is_ascii(const char *text, size_t length);

/*
 * Decodes text into ret, which holds at least length code points. Returns how many were written,
 * or -1 when the bytes are not UTF-8; then *ret_bad (may be NULL) is the offset of the first bad
 * byte.
 */
ptrdiff_t utf8_decode(const char *text, size_t length, uint32_t *ret, size_t *ret_bad);

/* One code point of two or more bytes at p, of which left are there; returns how many it takes, or
 * 0 when it is malformed. After table 3-7 of the Unicode standard. */
static inline size_t utf8_next_long(const unsigned char *p, size_t left, uint32_t *ret)
{
    unsigned char c = p[0];
    if ((c & 0xf0) == 0xe0 && left >= 3) {
        uint32_t cp = ((uint32_t)(c & 0x0f) << 12) | ((uint32_t)(p[1] & 0x3f) << 6) | (p[2] & 0x3f);
        bool is_good = (((p[1] & 0xc0) ^ 0x80) | ((p[2] & 0xc0) ^ 0x80)) == 0;
        *ret = cp;
        return is_good && cp >= 0x800 && (cp < 0xd800 || cp > 0xdfff) ? 3 : 0;
    }
    if (c >= 0xc2 && c <= 0xdf && left >= 2) {
        *ret = ((uint32_t)(c & 0x1f) << 6) | (p[1] & 0x3f);
        return (p[1] & 0xc0) == 0x80 ? 2 : 0;
    }
    if (c >= 0xf0 && c <= 0xf4 && left >= 4) {
        uint32_t cp = ((uint32_t)(c & 0x07) << 18) | ((uint32_t)(p[1] & 0x3f) << 12) |
                      ((uint32_t)(p[2] & 0x3f) << 6) | (p[3] & 0x3f);
        bool is_good =
            (((p[1] & 0xc0) ^ 0x80) | ((p[2] & 0xc0) ^ 0x80) | ((p[3] & 0xc0) ^ 0x80)) == 0;
        *ret = cp;
        return is_good && cp >= 0x10000 && cp <= 0x10ffff ? 4 : 0;
    }
    return 0;
}

#endif
