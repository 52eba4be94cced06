/* UUIDs as text: random ones name jobs, derived ones make a fan-out repeatable. */
#ifndef COMMON_BASE_UUID_H
#define COMMON_BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UUID_SIZE = 37 }; /* 36 characters and a NUL */

struct uuid {
    char text[UUID_SIZE];
};

/* Version 7 (RFC 9562): milliseconds, then random, so ids sort by birth. random is 128 random bits.
 */
struct uuid uuid_make(int64_t wall_ms, uint64_t random_high, uint64_t random_low);
/* Version 8: the first bits of SHA-256 over name; the same name always gives the same id. */
struct uuid uuid_derive(const char *name);
/* True for 8-4-4-4-12 lower-case hex. */
bool uuid_is_valid(const char *text, size_t length);

#endif
