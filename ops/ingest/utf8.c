/* Whole texts by the project's one UTF-8 check, eight ASCII bytes at a time. */
#include "common/base/utf8.h"
#include "ops/ingest/ingest_int.h"

#include <stdint.h>
#include <string.h>

static bool is_tail(unsigned char c)
{
    return (c & 0xc0) == 0x80;
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
        size_t n = utf8_sequence_bytes(p, left);
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
