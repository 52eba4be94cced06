/* Job ids as 16 bytes: half the memory of their text, and a number to hash by. */
#ifndef SCHEDULER_CORE_ID_H
#define SCHEDULER_CORE_ID_H

#include "common/base/span.h"
#include "common/base/uuid.h"

#include <stdbool.h>
#include <stdint.h>

struct core_id {
    uint64_t high;
    uint64_t low;
};

/* False, and ret_id untouched, unless text is 8-4-4-4-12 lower-case hex. */
bool core_id_parse(struct span text, struct core_id *ret_id);
struct uuid core_id_format(struct core_id id);

static inline bool core_id_equals(struct core_id a, struct core_id b)
{
    return a.high == b.high && a.low == b.low;
}

static inline bool core_id_is_none(struct core_id id)
{
    return id.high == 0 && id.low == 0;
}

/* Below 0, 0 or above 0. */
int core_id_compare(struct core_id a, struct core_id b);

#endif
