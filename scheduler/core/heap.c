#include "scheduler/core/heap.h"

#include "common/base/mem.h"

/* Of the one thread that decides. */
static uint64_t compares;

uint64_t heap_compares(void)
{
    return compares;
}

static bool goes_before(const struct heap *h, const struct heap_node *a, const struct heap_node *b)
{
    compares++;
    return h->before(a, b);
}

void heap_init(struct heap *h, heap_before_fn *before)
{
    *h = (struct heap){.before = before};
}

void heap_close(struct heap *h)
{
    mem_free(h->nodes);
    heap_init(h, h->before);
}

static void put(struct heap *h, size_t index, struct heap_node *node)
{
    h->nodes[index] = node;
    node->place = index + 1;
}

static void sift_up(struct heap *h, size_t index, struct heap_node *node)
{
    while (index > 0) {
        size_t above = (index - 1) / 2;
        if (!goes_before(h, node, h->nodes[above])) {
            break;
        }
        put(h, index, h->nodes[above]);
        index = above;
    }
    put(h, index, node);
}

static void sift_down(struct heap *h, size_t index, struct heap_node *node)
{
    for (;;) {
        size_t below = 2 * index + 1;
        if (below >= h->count) {
            break;
        }
        if (below + 1 < h->count && goes_before(h, h->nodes[below + 1], h->nodes[below])) {
            below++;
        }
        if (!goes_before(h, h->nodes[below], node)) {
            break;
        }
        put(h, index, h->nodes[below]);
        index = below;
    }
    put(h, index, node);
}

int heap_add(struct heap *h, struct heap_node *node)
{
    CHECK(node->place == 0);
    if (h->count == h->capacity) {
        size_t capacity = h->capacity ? 2 * h->capacity : 16;
        struct heap_node **nodes = mem_resize_array(h->nodes, capacity, sizeof(struct heap_node *));
        if (!nodes) {
            return ERR_NOMEM;
        }
        h->nodes = nodes;
        h->capacity = capacity;
    }
    h->count++;
    sift_up(h, h->count - 1, node);
    return 0;
}

void heap_moved(struct heap *h, struct heap_node *node)
{
    CHECK(node->place != 0 && node->place <= h->count);
    sift_up(h, node->place - 1, node);
    sift_down(h, node->place - 1, node);
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    CHECK(node->place != 0 && node->place <= h->count && h->nodes[node->place - 1] == node);
    size_t index = node->place - 1;
    struct heap_node *last = h->nodes[h->count - 1];
    h->count--;
    node->place = 0;
    if (last != node) {
        put(h, index, last);
        heap_moved(h, last);
    }
}

struct heap_node *heap_first(const struct heap *h)
{
    return h->count ? h->nodes[0] : NULL;
}
