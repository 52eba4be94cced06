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

#endif
