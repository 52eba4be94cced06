/*
 * A heap of nodes that live inside their owners. Each node knows its place, so an owner whose key
 * changed is moved, or taken out, in O(log n).
 *
 * The keys stand in the heap's own array, four children beside each other in two cache lines: with
 * a million queued jobs a comparison that looks at the owners costs two misses of the cache, and a
 * decision makes a hundred of them.
 */
#ifndef SCHEDULER_CORE_HEAP_H
#define SCHEDULER_CORE_HEAP_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    uint32_t place; /* 0: in no heap; else 1 + index */
};

/* The lower goes first: by major, then minor, then last. */
struct heap_key {
    int64_t major;
    int64_t minor;
    int64_t last;
};

/* Of two nodes with the same key: true when a comes out before b. Must be a strict order. */
typedef bool heap_before_fn(const struct heap_node *a, const struct heap_node *b);

struct heap_entry {
    struct heap_key key;
    struct heap_node *node;
};

struct heap {
    /* read only */
    uint32_t count;
    /* private */
    uint32_t capacity;
    struct heap_entry *entries;
    heap_before_fn *before;
};

/* before may be NULL: nodes of the same key come in any order. */
void heap_init(struct heap *h, heap_before_fn *before);
/* Frees the array; the nodes belong to their owners. */
void heap_close(struct heap *h);
/* Keeps node until it is removed. ERR_NOMEM: not added. */
MUST_CHECK int heap_add(struct heap *h, struct heap_node *node, struct heap_key key);
void heap_remove(struct heap *h, struct heap_node *node);
/* The node's key is this from now on. */
void heap_moved(struct heap *h, struct heap_node *node, struct heap_key key);
/* The first node, or NULL. */
struct heap_node *heap_first(const struct heap *h);
/* Whether the first of a goes before the first of b, by the order of a. Neither may be empty. */
bool heap_first_before(const struct heap *a, const struct heap *b);
/* No node goes before the one above it. */
bool heap_is_ordered(const struct heap *h);

/* How often nodes were compared, in all heaps since the start: what a decision costs. */
uint64_t heap_compares(void);

/* The key of the first node; the heap must not be empty. */
static inline const struct heap_key *heap_first_key(const struct heap *h)
{
    return &h->entries[0].key;
}

static inline bool heap_has(const struct heap_node *node)
{
    return node->place != 0;
}

/* Keys compare signed: puts unsigned numbers in their order. */
static inline int64_t heap_key_unsigned(uint64_t value)
{
    return (int64_t)(value ^ (uint64_t)1 << 63);
}

#endif
