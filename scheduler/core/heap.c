#include "scheduler/core/heap.h"

#include "common/base/mem.h"

/* The heap of a lane often has a few jobs, and there are hundreds of thousands of lanes. */
enum { CHILDREN = 4, CAPACITY_FIRST = 4 };

/* Of the one thread that decides. */
static uint64_t compares;

uint64_t heap_compares(void)
{
    return compares;
}

static bool goes_before(const struct heap *h, const struct heap_entry *a,
                        const struct heap_entry *b)
{
    compares++;
    if (a->key.major != b->key.major) {
        return a->key.major < b->key.major;
    }
    if (a->key.minor != b->key.minor) {
        return a->key.minor < b->key.minor;
    }
    if (a->key.last != b->key.last) {
        return a->key.last < b->key.last;
    }
    return h->before && h->before(a->node, b->node);
}

void heap_init(struct heap *h, heap_before_fn *before)
{
    *h = (struct heap){.before = before};
}

void heap_close(struct heap *h)
{
    mem_free(h->entries);
    heap_init(h, h->before);
}

static void put(struct heap *h, uint32_t index, struct heap_entry entry)
{
    h->entries[index] = entry;
    entry.node->place = index + 1;
}

/* True when it moved. */
static bool sift_up(struct heap *h, uint32_t index, struct heap_entry entry)
{
    uint32_t from = index;
    while (index > 0) {
        uint32_t above = (index - 1) / CHILDREN;
        if (!goes_before(h, &entry, &h->entries[above])) {
            break;
        }
        put(h, index, h->entries[above]);
        index = above;
    }
    put(h, index, entry);
    return index != from;
}

static void sift_down(struct heap *h, uint32_t index, struct heap_entry entry)
{
    for (;;) {
        uint64_t first = (uint64_t)index * CHILDREN + 1;
        if (first >= h->count) {
            break;
        }
        uint32_t best = (uint32_t)first;
        uint32_t end = h->count - best < CHILDREN ? h->count : best + CHILDREN;
        for (uint32_t i = best + 1; i < end; i++) {
            if (goes_before(h, &h->entries[i], &h->entries[best])) {
                best = i;
            }
        }
        if (!goes_before(h, &h->entries[best], &entry)) {
            break;
        }
        put(h, index, h->entries[best]);
        index = best;
    }
    put(h, index, entry);
}

static void sift(struct heap *h, uint32_t index, struct heap_entry entry)
{
    if (!sift_up(h, index, entry)) {
        sift_down(h, index, entry);
    }
}

int heap_add(struct heap *h, struct heap_node *node, struct heap_key key)
{
    CHECK(node->place == 0);
    if (h->count == h->capacity) {
        uint32_t capacity = h->capacity ? 2 * h->capacity : CAPACITY_FIRST;
        struct heap_entry *entries =
            capacity ? mem_resize_array(h->entries, capacity, sizeof *entries) : NULL;
        if (!entries) {
            return ERR_NOMEM;
        }
        h->entries = entries;
        h->capacity = capacity;
    }
    h->count++;
    (void)sift_up(h, h->count - 1, (struct heap_entry){.key = key, .node = node});
    return 0;
}

void heap_moved(struct heap *h, struct heap_node *node, struct heap_key key)
{
    CHECK(node->place != 0 && node->place <= h->count);
    sift(h, node->place - 1, (struct heap_entry){.key = key, .node = node});
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    CHECK(node->place != 0 && node->place <= h->count && h->entries[node->place - 1].node == node);
    uint32_t index = node->place - 1;
    struct heap_entry last = h->entries[h->count - 1];
    h->count--;
    node->place = 0;
    if (last.node != node) {
        sift(h, index, last);
    }
}

struct heap_node *heap_first(const struct heap *h)
{
    return h->count ? h->entries[0].node : NULL;
}

bool heap_first_before(const struct heap *a, const struct heap *b)
{
    return goes_before(a, &a->entries[0], &b->entries[0]);
}

bool heap_is_ordered(const struct heap *h)
{
    for (uint32_t i = 1; i < h->count; i++) {
        if (goes_before(h, &h->entries[i], &h->entries[(i - 1) / CHILDREN])) {
            return false;
        }
    }
    return true;
}
