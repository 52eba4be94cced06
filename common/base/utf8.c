/* The second byte's range depends on the first; the rest are 80..BF. */
#include "common/base/utf8.h"

#include <stdbool.h>

size_t utf8_sequence_bytes(const unsigned char *data, size_t left)
{
    unsigned char first = data[0];
    if (first < 0x80) {
        return 1;
    }
    size_t count = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || count > left) {
        return 0;
    }
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    bool good = data[1] >= low && data[1] <= high;
    for (size_t i = 2; i < count; i++) {
        good = good && (data[i] & 0xc0) == 0x80;
    }
    return good ? count : 0;
}
