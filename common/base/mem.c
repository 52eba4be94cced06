/* malloc behind a countdown; the countdown is for single-threaded sweeps in tests. */
#include "common/base/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static long fail_countdown;

void mem_fail_after(long countdown)
{
    fail_countdown = countdown;
}

static bool should_fail(void)
{
    if (__builtin_expect(fail_countdown > 0, 0)) {
        fail_countdown--;
        return fail_countdown == 0;
    }
    return false;
}

static bool overflows(size_t count, size_t size)
{
    return size != 0 && count > SIZE_MAX / size;
}

void *mem_new(size_t size)
{
    return should_fail() ? NULL : calloc(1, size ? size : 1);
}

void *mem_new_array(size_t count, size_t size)
{
    return overflows(count, size) ? NULL : mem_new(count * size);
}

void *mem_resize_array(void *block, size_t count, size_t size)
{
    if (overflows(count, size) || should_fail()) {
        return NULL;
    }
    size_t bytes = count * size;
    return realloc(block, bytes ? bytes : 1);
}

void *mem_new_aligned(size_t count, size_t size)
{
    enum { ALIGN = 64 };
    if (overflows(count, size) || count * size > SIZE_MAX - ALIGN || should_fail()) {
        return NULL;
    }
    size_t bytes = (count * size + ALIGN - 1) / ALIGN * ALIGN;
    return aligned_alloc(ALIGN, bytes ? bytes : ALIGN);
}

void *mem_new_large(size_t count, size_t size)
{
    const size_t huge = (size_t)2 << 20;
    if (overflows(count, size) || count * size < huge) {
        return mem_new_array(count, size);
    }
    if (count * size > SIZE_MAX - huge || should_fail()) {
        return NULL;
    }
    size_t bytes = (count * size + huge - 1) / huge * huge;
    void *block = aligned_alloc(huge, bytes);
    if (block) {
        (void)madvise(block, bytes, MADV_HUGEPAGE); /* a hint: without it there are small pages */
        memset(block, 0, count * size);
    }
    return block;
}

void mem_free(void *block)
{
    free(block);
}

char *mem_string(const char *text, size_t length)
{
    char *copy = length == SIZE_MAX ? NULL : mem_new(length + 1);
    if (copy && length) {
        memcpy(copy, text, length);
    }
    return copy;
}

char *mem_string_copy(const char *text)
{
    return text ? mem_string(text, strlen(text)) : NULL;
}
