/* See utf8.h. */
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
        size_t used = utf8_next_long(p + i, length - i, &ret[count]);
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
