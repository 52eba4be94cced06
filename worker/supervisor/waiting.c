/* An array whose front moves on: there are a few items, or the bundles of all slots. */
#include "worker/supervisor/waiting.h"

#include "common/base/mem.h"

#include <string.h>

void waiting_init(struct waiting *w, size_t max)
{
    *w = (struct waiting){.max = max};
}

void waiting_close(struct waiting *w)
{
    for (size_t i = 0; i < w->count; i++) {
        waiting_free(w->items[i]);
    }
    mem_free(w->room_start);
    *w = (struct waiting){0};
}

void waiting_free(struct waiting_item *item)
{
    if (item) {
        mem_free((char *)item->job.spec.data);
        mem_free(item);
    }
}

static int make_room(struct waiting *w)
{
    size_t gone = w->room ? (size_t)(w->items - w->room_start) : 0;
    if (gone + w->count < w->room) {
        return 0;
    }
    if (gone >= w->room / 2 && gone > 0) { /* moved once for each half that was taken */
        memmove(w->room_start, w->items, w->count * sizeof *w->items);
        w->items = w->room_start;
        return 0;
    }
    size_t room = w->room ? w->room * 2 : 16;
    struct waiting_item **start = mem_resize_array(w->room_start, room, sizeof *start);
    if (!start) {
        return ERR_NOMEM;
    }
    w->room_start = start;
    w->items = start + gone;
    w->room = room;
    return 0;
}

int waiting_add(struct waiting *w, const struct message_ready *job, int64_t lease_ms,
                int64_t now_ms)
{
    if (w->count >= w->max) {
        return ERR_LIMIT;
    }
    struct waiting_item *item = mem_new(sizeof *item);
    char *spec =
        job->spec.data ? mem_string(job->spec.data, job->spec.length) : mem_string("{}", 2);
    if (!item || !spec || make_room(w)) {
        mem_free(item);
        mem_free(spec);
        return ERR_NOMEM;
    }
    *item = (struct waiting_item){.job = *job, .lease_ms = lease_ms, .taken_ms = now_ms};
    item->job.spec = span_of(spec);
    w->items[w->count++] = item;
    return 0;
}

long waiting_find(const struct waiting *w, const char *job, int32_t attempt)
{
    for (size_t i = 0; i < w->count; i++) {
        const struct message_ready *at = &w->items[i]->job;
        if (at->attempt == attempt && strcmp(at->job.text, job) == 0) {
            return (long)i;
        }
    }
    return -1;
}

struct waiting_item *waiting_take(struct waiting *w, size_t at)
{
    CHECK(at < w->count);
    struct waiting_item *item = w->items[at];
    w->count--;
    if (at == 0) {
        w->items++;
    } else {
        memmove(&w->items[at], &w->items[at + 1], (w->count - at) * sizeof(struct waiting_item *));
    }
    return item;
}
