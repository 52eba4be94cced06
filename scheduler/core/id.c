#include "scheduler/core/id.h"

#include <stdio.h>

static uint64_t digit(char c)
{
    return (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

bool core_id_parse(struct span text, struct core_id *ret_id)
{
    if (!uuid_is_valid(text.data, text.length)) {
        return false;
    }
    uint64_t half[2] = {0, 0};
    int digits = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] != '-') {
            half[digits / 16] = half[digits / 16] << 4 | digit(text.data[i]);
            digits++;
        }
    }
    *ret_id = (struct core_id){.high = half[0], .low = half[1]};
    return true;
}

struct uuid core_id_format(struct core_id id)
{
    struct uuid u;
    (void)snprintf(u.text, sizeof u.text, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(id.high >> 32),
                   (unsigned)(id.high >> 16 & 0xffffu), (unsigned)(id.high & 0xffffu),
                   (unsigned)(id.low >> 48), (unsigned long long)(id.low & 0xffffffffffffu));
    return u;
}

int core_id_compare(struct core_id a, struct core_id b)
{
    if (a.high != b.high) {
        return a.high < b.high ? -1 : 1;
    }
    if (a.low != b.low) {
        return a.low < b.low ? -1 : 1;
    }
    return 0;
}
