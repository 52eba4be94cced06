/*
 * A binary heap of nodes that live inside their owners. Each node knows its place, so an owner
 * whose key changed is moved, or taken out, in O(log n).
 */
#ifndef SCHEDULER_CORE_HEAP_H
#define SCHEDULER_CORE_HEAP_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    size_t place; /* 0: in no heap; else 1 + index */
};

/* True when a comes out before b. Must be a strict order. */
typedef bool heap_before_fn(const struct heap_node *a, const struct heap_node *b);

struct heap {
    /* read only */
    size_t count;
    /* private */
    struct heap_node **nodes;
    size_t capacity;
    heap_before_fn *before;
};

void heap_init(struct heap *h, heap_before_fn *before);
/* Frees the array; the nodes belong to their owners. */
void heap_close(struct heap *h);
/* Keeps node until it is removed. ERR_NOMEM: not added. */
MUST_CHECK int heap_add(struct heap *h, struct heap_node *node);
void heap_remove(struct heap *h, struct heap_node *node);
/* Call after the key of node changed. */
void heap_moved(struct heap *h, struct heap_node *node);
/* The first node, or NULL. */
struct heap_node *heap_first(const struct heap *h);

/* How often nodes were compared, in all heaps since the start: what a decision costs. */
uint64_t heap_compares(void);

static inline bool heap_has(const struct heap_node *node)
{
    return node->place != 0;
}

#endif
