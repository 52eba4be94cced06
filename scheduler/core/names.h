/*
 * Names to objects (markets, regions, workers): an open-addressing hash table that only grows. The
 * name belongs to the object and must outlive its entry.
 */
#ifndef SCHEDULER_CORE_NAMES_H
#define SCHEDULER_CORE_NAMES_H

#include "common/base/err.h"
#include "common/base/span.h"

#include <stdint.h>

struct names {
    /* read only: objects in the order in which they were added */
    void **objects;
    size_t count;
    /* private */
    size_t capacity;
    struct span *keys;
    uint32_t *slots; /* 0: free; else 1 + index into objects */
    size_t slot_count;
};

void names_init(struct names *n);
void names_close(struct names *n);
/* The object, or NULL. */
void *names_find(const struct names *n, struct span name);
/* Keeps name and object. The name must be new. ERR_NOMEM: not added. */
MUST_CHECK int names_add(struct names *n, struct span name, void *object);

#endif
