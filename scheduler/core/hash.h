/* A chained hash table of nodes that live inside their owners. The owner says what equal means: it
 * walks the nodes of one hash value. */
#ifndef SCHEDULER_CORE_HASH_H
#define SCHEDULER_CORE_HASH_H

#include "common/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct hash_node {
    uint64_t value;
    struct hash_node *next;
};

struct hash {
    /* read only */
    size_t count;
    /* private */
    struct hash_node **buckets;
    size_t bucket_count;
};

void hash_init(struct hash *h);
/* Frees the table; the nodes belong to their owners. */
void hash_close(struct hash *h);
/* Keeps node until it is removed. ERR_NOMEM: not added. */
MUST_CHECK int hash_add(struct hash *h, struct hash_node *node, uint64_t value);
void hash_remove(struct hash *h, struct hash_node *node);
/* The first node of that value, then the next one, then NULL. */
struct hash_node *hash_first(const struct hash *h, uint64_t value);
struct hash_node *hash_next(const struct hash_node *node);
/* Any node, or NULL; from it every other one, in no order. */
struct hash_node *hash_any(const struct hash *h);
struct hash_node *hash_after(const struct hash *h, const struct hash_node *node);

#endif
