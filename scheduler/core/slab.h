/*
 * Objects of one size, close together. A million of them from the general allocator lie all over
 * the address space, and every look at one costs a walk of the page tables beside the miss of the
 * cache; here they stand in blocks of a huge page each, from a cache line's start. Blocks in which
 * nothing is left are given back.
 *
 * Under the address sanitizer each object is an allocation of its own, so that a use after the end
 * is found.
 */
#ifndef SCHEDULER_CORE_SLAB_H
#define SCHEDULER_CORE_SLAB_H

#include "scheduler/core/list.h"

#include <stddef.h>

struct slab {
    /* private */
    size_t size;        /* of an object, in whole cache lines */
    struct list usable; /* blocks that have a place free */
    size_t blocks;
};

/* size at most SLAB_OBJECT_MAX. The slab must not be moved. */
enum { SLAB_OBJECT_MAX = 4096 };
void slab_init(struct slab *s, size_t size);
/* Every object must have been freed; gives back what was kept for the next. */
void slab_close(struct slab *s);
/* A zeroed object, or NULL when memory is out. */
void *slab_new(struct slab *s);
/* NULL is allowed. */
void slab_free(struct slab *s, void *object);

#endif
