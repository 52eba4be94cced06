/*
 * Allocation, in one place so that tests can make the Nth allocation fail.
 *
 * mem_new and friends return NULL when memory is out; libraries report ERR_NOMEM.
 * Everything is freed with mem_free.
 */
#ifndef COMMON_BASE_MEM_H
#define COMMON_BASE_MEM_H

#include <stddef.h>

/* Zeroed bytes, or NULL. size 0 gives a valid pointer. */
void *mem_new(size_t size);
/* count zeroed elements; NULL also when count * size overflows. */
void *mem_new_array(size_t count, size_t size);
/* Resizes to count elements; the new part is not zeroed. On NULL the old block is still valid. */
void *mem_resize_array(void *block, size_t count, size_t size);
/* Uninitialised, aligned to 64 bytes for vector loads; NULL on overflow or no memory. */
void *mem_new_aligned(size_t count, size_t size);
/* Zeroed, and in huge pages where the system lends them: for tables that are read all over. */
void *mem_new_large(size_t count, size_t size);
void mem_free(void *block);
/* Copies length bytes and adds a NUL. */
char *mem_string(const char *text, size_t length);
/* Copies a NUL-terminated string; NULL in gives NULL out. */
char *mem_string_copy(const char *text);

/* Test seam: the countdown-th allocation from now on fails once (1 = the next); 0 turns it off. */
void mem_fail_after(long countdown);

#endif
