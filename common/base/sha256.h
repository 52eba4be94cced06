/* SHA-256 (libcrypto behind it): names of artifacts, snapshots and migrations. */
#ifndef COMMON_BASE_SHA256_H
#define COMMON_BASE_SHA256_H

#include "common/base/err.h"

#include <stdint.h>

enum { SHA256_BYTES = 32, SHA256_HEX_SIZE = 65 };

struct sha256;

/* Heap object, or NULL when out of memory. */
struct sha256 *sha256_new(void);
void sha256_free(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t length);
/* Ends the sum; afterwards only sha256_free is allowed. */
void sha256_finish(struct sha256 *s, uint8_t ret_digest[SHA256_BYTES]);

/* One call for bytes at hand. */
void sha256_of(const void *data, size_t length, uint8_t ret_digest[SHA256_BYTES]);
/* Lower-case hex with a NUL. Returns out. */
char *sha256_hex(const uint8_t digest[SHA256_BYTES], char out[SHA256_HEX_SIZE]);
/* ERR_PARSE unless text is exactly 64 hex digits. */
MUST_CHECK int sha256_from_hex(const char *text, uint8_t ret_digest[SHA256_BYTES]);

#endif
