#include "scheduler/core/hash.h"

#include "common/base/mem.h"

enum { BUCKETS_FIRST = 16 };

void hash_init(struct hash *h)
{
    *h = (struct hash){0};
}

void hash_close(struct hash *h)
{
    mem_free(h->buckets);
    hash_init(h);
}

static struct hash_node **bucket_of(const struct hash *h, uint64_t value)
{
    return &h->buckets[value & (h->bucket_count - 1)];
}

static int grow(struct hash *h)
{
    size_t count = h->bucket_count ? 2 * h->bucket_count : BUCKETS_FIRST;
    struct hash bigger = {.count = h->count,
                          .buckets = mem_new_large(count, sizeof(struct hash_node *)),
                          .bucket_count = count};
    if (!bigger.buckets) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < h->bucket_count; i++) {
        for (struct hash_node *node = h->buckets[i], *next; node; node = next) {
            next = node->next;
            struct hash_node **bucket = bucket_of(&bigger, node->value);
            node->next = *bucket;
            *bucket = node;
        }
    }
    mem_free(h->buckets);
    *h = bigger;
    return 0;
}

int hash_add(struct hash *h, struct hash_node *node, uint64_t value)
{
    if (h->count >= h->bucket_count && grow(h)) {
        return ERR_NOMEM;
    }
    struct hash_node **bucket = bucket_of(h, value);
    node->value = value;
    node->next = *bucket;
    *bucket = node;
    h->count++;
    return 0;
}

void hash_remove(struct hash *h, struct hash_node *node)
{
    struct hash_node **at = bucket_of(h, node->value);
    while (*at != node) {
        CHECK(*at);
        at = &(*at)->next;
    }
    *at = node->next;
    h->count--;
}

static struct hash_node *find(struct hash_node *node, uint64_t value)
{
    while (node && node->value != value) {
        node = node->next;
    }
    return node;
}

struct hash_node *hash_first(const struct hash *h, uint64_t value)
{
    return h->bucket_count ? find(*bucket_of(h, value), value) : NULL;
}

struct hash_node *hash_next(const struct hash_node *node)
{
    return find(node->next, node->value);
}

static struct hash_node *first_from(const struct hash *h, size_t bucket)
{
    while (bucket < h->bucket_count && !h->buckets[bucket]) {
        bucket++;
    }
    return bucket < h->bucket_count ? h->buckets[bucket] : NULL;
}

struct hash_node *hash_any(const struct hash *h)
{
    return h->count > 0 ? first_from(h, 0) : NULL;
}

struct hash_node *hash_after(const struct hash *h, const struct hash_node *node)
{
    return node->next ? node->next : first_from(h, (node->value & (h->bucket_count - 1)) + 1);
}
