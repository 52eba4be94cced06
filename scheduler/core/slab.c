#include "scheduler/core/slab.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdint.h>
#include <string.h>

enum { LINE = 64, BLOCK = 2 << 20 }; /* mem_new_large aligns a block to its size */

#if defined(__SANITIZE_ADDRESS__)
enum { IS_PLAIN = 1 };
#else
enum { IS_PLAIN = 0 };
#endif

struct place {
    struct place *next; /* free */
};

struct block {
    struct list in_usable;
    struct place *free;
    char *fresh; /* from here on nothing was ever used */
    size_t used;
};

void slab_init(struct slab *s, size_t size)
{
    CHECK(size > 0 && size <= SLAB_OBJECT_MAX);
    *s = (struct slab){.size = (size + LINE - 1) / LINE * LINE};
    list_init(&s->usable);
}

static void block_free(struct slab *s, struct block *b)
{
    list_remove(&b->in_usable);
    s->blocks--;
    mem_free(b);
}

void slab_close(struct slab *s)
{
    while (!list_is_empty(&s->usable)) {
        struct block *b = LIST_OWNER(s->usable.next, struct block, in_usable);
        CHECK(b->used == 0);
        block_free(s, b);
    }
    CHECK(s->blocks == 0);
}

static char *objects_of(struct block *b)
{
    return (char *)b + (sizeof *b + LINE - 1) / LINE * LINE;
}

static struct block *block_new(struct slab *s)
{
    struct block *b = mem_new_large(1, BLOCK);
    if (b) {
        b->fresh = objects_of(b);
        list_init(&b->in_usable);
        list_push(&s->usable, &b->in_usable);
        s->blocks++;
    }
    return b;
}

static bool is_full(const struct slab *s, const struct block *b)
{
    return !b->free && (size_t)(b->fresh - (const char *)b) + s->size > BLOCK;
}

void *slab_new(struct slab *s)
{
    if (IS_PLAIN) {
        return mem_new(s->size);
    }
    struct block *b = list_is_empty(&s->usable)
                          ? block_new(s)
                          : LIST_OWNER(s->usable.next, struct block, in_usable);
    if (!b) {
        return NULL;
    }
    void *object = b->free;
    if (object) {
        b->free = b->free->next;
        memset(object, 0, s->size);
    } else {
        object = b->fresh; /* zeroed with its block */
        b->fresh += s->size;
    }
    b->used++;
    if (is_full(s, b)) {
        list_remove(&b->in_usable);
    }
    return object;
}

void slab_free(struct slab *s, void *object)
{
    if (IS_PLAIN || !object) {
        mem_free(object);
        return;
    }
    struct block *b = (struct block *)(void *)((char *)object - (uintptr_t)object % BLOCK);
    struct place *place = object;
    place->next = b->free;
    b->free = place;
    CHECK(b->used > 0);
    b->used--;
    if (list_is_empty(&b->in_usable)) {
        list_push(&s->usable, &b->in_usable);
    }
    /* The last block stays: the next object would only ask for it again. */
    if (b->used == 0 && s->blocks > 1) {
        block_free(s, b);
    }
}
