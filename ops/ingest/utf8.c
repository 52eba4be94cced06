/* UTF-8 as Unicode 15, table 3-7 defines it: no overlong forms, no surrogates, up to U+10FFFF. */
#include "ops/ingest/ingest_int.h"

#include <stdint.h>
#include <string.h>

static bool is_tail(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* Bytes of the well-formed sequence at p (n left), or 0. */
static size_t sequence(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        return n >= 2 && is_tail(p[1]) ? 2 : 0;
    }
    if ((p[0] & 0xf0) == 0xe0 && n >= 3 && is_tail(p[1]) && is_tail(p[2])) {
        bool is_overlong = p[0] == 0xe0 && p[1] < 0xa0;
        bool is_surrogate = p[0] == 0xed && p[1] > 0x9f;
        return is_overlong || is_surrogate ? 0 : 3;
    }
    if (p[0] >= 0xf0 && p[0] <= 0xf4 && n >= 4 && is_tail(p[1]) && is_tail(p[2]) && is_tail(p[3])) {
        bool is_overlong = p[0] == 0xf0 && p[1] < 0x90;
        bool is_beyond = p[0] == 0xf4 && p[1] > 0x8f;
        return is_overlong || is_beyond ? 0 : 4;
    }
    return 0;
}

bool ingest__utf8_is_valid(struct span s)
{
    const unsigned char *p = (const unsigned char *)s.data;
    size_t left = s.length;
    while (left > 0) {
        uint64_t eight;
        if (left >= sizeof eight) {
            memcpy(&eight, p, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                p += sizeof eight;
                left -= sizeof eight;
                continue;
            }
        }
        size_t n = sequence(p, left);
        if (n == 0) {
            return false;
        }
        p += n;
        left -= n;
    }
    return true;
}

size_t ingest__utf8_length(struct span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.length; i++) {
        n += !is_tail((unsigned char)s.data[i]);
    }
    return n;
}
