/* An array, and chains through it by the hash of (job, attempt). */
#include "worker/supervisor/outbox.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include <string.h>

enum { ROOM_FIRST = 16 };

#define NONE UINT32_MAX /* the end of a chain */

void outbox_init(struct outbox *o, size_t max)
{
    *o = (struct outbox){.max = max};
}

void outbox_close(struct outbox *o)
{
    for (size_t i = 0; i < o->count; i++) {
        mem_free(o->items[i].bytes);
    }
    mem_free(o->items);
    mem_free(o->chains);
    *o = (struct outbox){0};
}

/* Where the chain of that attempt begins. There is room. */
static uint32_t *chain_of(const struct outbox *o, const char *job, int32_t attempt)
{
    uint64_t h = (uint32_t)attempt;
    for (; *job; job++) {
        h = (h ^ (unsigned char)*job) * 0x100000001b3u;
    }
    return &o->chains[rng_mix(h) & (o->room - 1)];
}

/* The link that leads to the item at that place. */
static uint32_t *link_to(const struct outbox *o, uint32_t place)
{
    const struct outbox_item *item = &o->items[place];
    uint32_t *link = chain_of(o, item->job.text, item->attempt);
    while (*link != place) {
        link = &o->items[*link].next;
    }
    return link;
}

static void chain_in(const struct outbox *o, uint32_t place)
{
    struct outbox_item *item = &o->items[place];
    uint32_t *chain = chain_of(o, item->job.text, item->attempt);
    item->next = *chain;
    *chain = place;
}

struct outbox_item *outbox_find(struct outbox *o, const char *job, int32_t attempt)
{
    uint32_t at = o->room > 0 ? *chain_of(o, job, attempt) : NONE;
    while (at != NONE &&
           (o->items[at].attempt != attempt || strcmp(o->items[at].job.text, job) != 0)) {
        at = o->items[at].next;
    }
    return at == NONE ? NULL : &o->items[at];
}

static int make_room(struct outbox *o)
{
    if (o->count < o->room) {
        return 0;
    }
    size_t room = o->room ? o->room * 2 : ROOM_FIRST;
    uint32_t *chains = mem_new_array(room, sizeof *chains);
    struct outbox_item *items = chains ? mem_resize_array(o->items, room, sizeof *items) : NULL;
    if (!items) {
        mem_free(chains);
        return ERR_NOMEM;
    }
    mem_free(o->chains);
    memset(chains, 0xff, room * sizeof *chains); /* NONE */
    o->items = items;
    o->chains = chains;
    o->room = room;
    for (size_t i = 0; i < o->count; i++) {
        chain_in(o, (uint32_t)i);
    }
    return 0;
}

int outbox_add(struct outbox *o, const struct uuid *job, int32_t attempt, int64_t began_ms,
               struct span bytes)
{
    if (!outbox_find(o, job->text, attempt) && o->count >= o->max) {
        return ERR_LIMIT;
    }
    char *copy = mem_string(bytes.data, bytes.length);
    if (!copy || make_room(o) != 0) {
        mem_free(copy);
        return ERR_NOMEM;
    }
    outbox_remove(o, job->text, attempt);
    o->items[o->count] = (struct outbox_item){.job = *job,
                                              .attempt = attempt,
                                              .bytes = copy,
                                              .length = bytes.length,
                                              .began_ms = began_ms};
    chain_in(o, (uint32_t)o->count++);
    return 0;
}

void outbox_remove(struct outbox *o, const char *job, int32_t attempt)
{
    struct outbox_item *item = outbox_find(o, job, attempt);
    if (!item) {
        return;
    }
    uint32_t place = (uint32_t)(item - o->items);
    uint32_t last = (uint32_t)(o->count - 1);
    *link_to(o, place) = item->next;
    mem_free(item->bytes);
    if (place != last) { /* the last one takes its place */
        *link_to(o, last) = place;
        *item = o->items[last];
    }
    o->count--;
}
