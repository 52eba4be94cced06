/*
 * The workers of each region, and where there is room for what shape of job.
 *
 * A pool is the workers of one region that have some labels, as a tree by free room (room.h). Every
 * pool of a region numbers the workers alike: by their place in the region; whoever lacks the
 * labels, is not eligible or has no free slot counts as no room there.
 */
#include "common/base/mem.h"
#include "scheduler/core/core_int.h"

#include <string.h>

enum { PLACES_FIRST = 8 };

/* --- labels ---------------------------------------------------------------------------------- */

static bool holds_one(struct span held, const char *label, size_t length)
{
    size_t at = 0;
    while (at < held.length) {
        size_t end = at;
        while (end < held.length && held.data[end] != ',') {
            end++;
        }
        if (end - at == length && memcmp(held.data + at, label, length) == 0) {
            return true;
        }
        at = end + 1;
    }
    return false;
}

bool core__labels_hold(struct span held, struct span wanted)
{
    size_t at = 0;
    while (at < wanted.length) {
        size_t end = at;
        while (end < wanted.length && wanted.data[end] != ',') {
            end++;
        }
        if (!holds_one(held, wanted.data + at, end - at)) {
            return false;
        }
        at = end + 1;
    }
    return true;
}

/* --- room ------------------------------------------------------------------------------------ */

static int rest(int64_t offered, int64_t taken)
{
    int64_t left = offered > 0 ? offered - taken : INT32_MAX;
    return left > 0 ? (int)left : 0;
}

static struct room room_of(const struct core_worker *w)
{
    if (!w->is_eligible || w->open >= w->slots) {
        return (struct room){0, 0, 0, 0};
    }
    /* Of equally loaded ones the larger goes first. */
    float load = (float)w->open / (float)w->slots - (float)w->slots * 1e-6f;
    return (struct room){.slots = w->slots - w->open,
                         .threads = rest(w->threads, w->open_threads),
                         .memory_mb = rest(w->memory_mb, w->open_memory_mb),
                         .load = load};
}

static bool pool_set(struct core *c, struct core_pool *pool, const struct core_worker *w,
                     size_t place, const struct room *room)
{
    static const struct room nothing = {0, 0, 0, 0};
    bool is_in = room->slots > 0 && core__labels_hold(span_of(w->labels), pool->labels);
    if (room_set(&pool->rooms, place, is_in ? *room : nothing)) {
        core__fault(c, "out of memory");
        return false;
    }
    return true;
}

static void pools_set(struct core *c, struct core_region *r, const struct core_worker *w,
                      size_t place, const struct room *room)
{
    for (struct list *at = r->pools.next; at != &r->pools; at = at->next) {
        (void)pool_set(c, LIST_OWNER(at, struct core_pool, in_region), w, place, room);
    }
}

/* Groups that found no room are looked at again when this worker has some for them. */
static void room_freed(struct core_region *r, const struct core_worker *w, const struct room *room)
{
    for (struct list *at = r->groups.next; at != &r->groups; at = at->next) {
        struct core_group *g = LIST_OWNER(at, struct core_group, in_region);
        if (g->is_full && room_holds(room, &g->shape->wanted)) {
            g->is_full = !core__labels_hold(span_of(w->labels), g->pool->labels);
        }
    }
}

void core__worker_place(struct core *c, struct core_worker *w)
{
    if (!w->region) {
        return;
    }
    struct room room = room_of(w);
    pools_set(c, w->region, w, w->place, &room);
    pools_set(c, c->anywhere, w, w->place_anywhere, &room);
    if (room.slots > 0) {
        room_freed(w->region, w, &room);
        room_freed(c->anywhere, w, &room);
    }
}

void core__worker_aside(struct core *c, struct core_worker *w)
{
    w->is_eligible = false;
    core__worker_place(c, w);
}

void core__worker_refused(struct core *c, struct core_worker *w)
{
    core__worker_aside(c, w);
    c->duty_at[CORE_DUTY_WORLD] = 0;
}

struct core_worker *core__worker_find(struct core *c, const struct core_pool *pool,
                                      const struct core_shape *shape)
{
    long place = room_find(&pool->rooms, &shape->wanted, &c->visits);
    return place == ROOM_NONE ? NULL : pool->region->workers[place];
}

/* --- lists ----------------------------------------------------------------------------------- */

static bool list_in(struct core_region *r, struct core_worker *w, size_t *ret_place)
{
    size_t place = 0;
    while (place < r->worker_count && r->workers[place]) {
        place++;
    }
    if (place == r->worker_room) {
        size_t room = r->worker_room ? 2 * r->worker_room : PLACES_FIRST;
        struct core_worker **workers =
            mem_resize_array(r->workers, room, sizeof(struct core_worker *));
        if (!workers) {
            return false;
        }
        r->workers = workers;
        r->worker_room = room;
    }
    r->workers[place] = w;
    r->worker_count += place == r->worker_count;
    *ret_place = place;
    return true;
}

bool core__worker_list(struct core *c, struct core_worker *w, struct core_region *r)
{
    if (w->region == r) {
        return true;
    }
    if (w->region) {
        static const struct room nothing = {0, 0, 0, 0};
        pools_set(c, w->region, w, w->place, &nothing);
        w->region->workers[w->place] = NULL;
    } else if (!list_in(c->anywhere, w, &w->place_anywhere)) {
        core__fault(c, "out of memory");
        return false;
    }
    w->region = NULL;
    if (!list_in(r, w, &w->place)) {
        core__fault(c, "out of memory");
        return false;
    }
    w->region = r;
    return true;
}

/* --- pools ----------------------------------------------------------------------------------- */

static bool pool_fill(struct core *c, struct core_pool *pool)
{
    const struct core_region *r = pool->region;
    for (size_t i = 0; i < r->worker_count; i++) {
        const struct core_worker *w = r->workers[i];
        struct room room = w ? room_of(w) : (struct room){0, 0, 0, 0};
        if (w && !pool_set(c, pool, w, i, &room)) {
            return false;
        }
    }
    return true;
}

static bool is_same(struct span a, struct span b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

struct core_pool *core__pool_get(struct core *c, struct core_region *r, struct span labels)
{
    for (struct list *at = r->pools.next; at != &r->pools; at = at->next) {
        struct core_pool *pool = LIST_OWNER(at, struct core_pool, in_region);
        if (is_same(pool->labels, labels)) {
            pool->users++;
            return pool;
        }
    }
    struct core_pool *pool = mem_new(sizeof *pool + labels.length + 1);
    if (!pool) {
        return NULL;
    }
    char *copy = (char *)(pool + 1);
    memcpy(copy, labels.length ? labels.data : "", labels.length);
    pool->region = r;
    pool->labels = span_make(copy, labels.length);
    pool->users = 1;
    room_init(&pool->rooms);
    list_push(&r->pools, &pool->in_region);
    if (!pool_fill(c, pool)) {
        core__pool_leave(pool);
        return NULL;
    }
    return pool;
}

void core__pool_leave(struct core_pool *pool)
{
    CHECK(pool->users > 0);
    if (--pool->users == 0) {
        list_remove(&pool->in_region);
        room_close(&pool->rooms);
        mem_free(pool);
    }
}
