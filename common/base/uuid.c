#include "common/base/uuid.h"

#include "common/base/sha256.h"

#include <stdio.h>
#include <string.h>

static struct uuid format(const uint8_t b[16])
{
    struct uuid u;
    (void)snprintf(u.text, sizeof u.text,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
    return u;
}

static void set_version(uint8_t b[16], unsigned version)
{
    b[6] = (uint8_t)((b[6] & 0x0fu) | (version << 4));
    b[8] = (uint8_t)((b[8] & 0x3fu) | 0x80u);
}

struct uuid uuid_make(int64_t wall_ms, uint64_t random_high, uint64_t random_low)
{
    uint8_t b[16];
    memcpy(b, &random_high, 8);
    memcpy(b + 8, &random_low, 8);
    for (int i = 0; i < 6; i++) {
        b[i] = (uint8_t)((uint64_t)wall_ms >> (40 - 8 * i));
    }
    set_version(b, 7);
    return format(b);
}

struct uuid uuid_derive(const char *name)
{
    uint8_t digest[SHA256_BYTES];
    sha256_of(name, strlen(name), digest);
    set_version(digest, 8);
    return format(digest);
}

bool uuid_is_valid(const char *text, size_t length)
{
    if (length != UUID_SIZE - 1) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        char c = text[i];
        bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (is_dash ? c != '-' : !is_hex) {
            return false;
        }
    }
    return true;
}
