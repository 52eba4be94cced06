/* Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef COMMON_BASE_UTF8_H
#define COMMON_BASE_UTF8_H

#include <stddef.h>

/* Bytes of the code point that starts at data, of which left (at least 1) may be read; 0 when it is
 * not well-formed. NUL is a code point of one byte. */
size_t utf8_sequence_bytes(const unsigned char *data, size_t left);

#endif
