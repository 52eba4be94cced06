#include "scheduler/core/names.h"

#include "common/base/mem.h"

void names_init(struct names *n)
{
    *n = (struct names){0};
}

void names_close(struct names *n)
{
    mem_free(n->objects);
    mem_free(n->keys);
    mem_free(n->slots);
    names_init(n);
}

/* FNV-1a: names are short and come from the record, not from strangers. */
static size_t hash(struct span name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < name.length; i++) {
        h = (h ^ (unsigned char)name.data[i]) * 0x100000001b3u;
    }
    return (size_t)(h ^ h >> 32);
}

static size_t slot_of(const struct names *n, struct span name)
{
    size_t slot = hash(name) & (n->slot_count - 1);
    while (n->slots[slot] && !span_equals(n->keys[n->slots[slot] - 1], name)) {
        slot = (slot + 1) & (n->slot_count - 1);
    }
    return slot;
}

void *names_find(const struct names *n, struct span name)
{
    if (n->count == 0) {
        return NULL;
    }
    uint32_t entry = n->slots[slot_of(n, name)];
    return entry ? n->objects[entry - 1] : NULL;
}

static int grow(struct names *n)
{
    size_t capacity = n->capacity ? 2 * n->capacity : 16;
    uint32_t *slots = mem_new_array(2 * capacity, sizeof(uint32_t));
    void **objects = slots ? mem_resize_array(n->objects, capacity, sizeof(void *)) : NULL;
    if (objects) {
        n->objects = objects;
    }
    struct span *keys = objects ? mem_resize_array(n->keys, capacity, sizeof(struct span)) : NULL;
    if (!keys) {
        mem_free(slots);
        return ERR_NOMEM;
    }
    mem_free(n->slots);
    n->keys = keys;
    n->slots = slots;
    n->slot_count = 2 * capacity;
    n->capacity = capacity;
    for (size_t i = 0; i < n->count; i++) {
        n->slots[slot_of(n, n->keys[i])] = (uint32_t)(i + 1);
    }
    return 0;
}

int names_add(struct names *n, struct span name, void *object)
{
    if (n->count == n->capacity && grow(n)) {
        return ERR_NOMEM;
    }
    n->objects[n->count] = object;
    n->keys[n->count] = name;
    size_t slot = slot_of(n, name);
    CHECK(n->slots[slot] == 0);
    n->slots[slot] = (uint32_t)(++n->count);
    return 0;
}
