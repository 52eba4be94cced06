/* A short array: there are about as many items as slots. */
#include "worker/supervisor/outbox.h"

#include "common/base/mem.h"

#include <string.h>

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
    *o = (struct outbox){0};
}

struct outbox_item *outbox_find(struct outbox *o, const char *job, int32_t attempt)
{
    for (size_t i = 0; i < o->count; i++) {
        if (o->items[i].attempt == attempt && strcmp(o->items[i].job.text, job) == 0) {
            return &o->items[i];
        }
    }
    return NULL;
}

static int make_room(struct outbox *o)
{
    if (o->count < o->room) {
        return 0;
    }
    size_t room = o->room ? o->room * 2 : 16;
    struct outbox_item *items = mem_resize_array(o->items, room, sizeof *items);
    if (!items) {
        return ERR_NOMEM;
    }
    o->items = items;
    o->room = room;
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
    o->items[o->count++] = (struct outbox_item){.job = *job,
                                                .attempt = attempt,
                                                .bytes = copy,
                                                .length = bytes.length,
                                                .began_ms = began_ms};
    return 0;
}

void outbox_remove(struct outbox *o, const char *job, int32_t attempt)
{
    struct outbox_item *item = outbox_find(o, job, attempt);
    if (item) {
        mem_free(item->bytes);
        *item = o->items[--o->count];
    }
}
