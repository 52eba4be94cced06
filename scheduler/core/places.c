/* Regions, markets and workers as the record lists them, and the lanes between them. */
#include "common/base/mem.h"
#include "scheduler/core/core_int.h"

#include <string.h>

static bool name_fits(struct span name)
{
    return name.length <= CORE_NAME_MAX;
}

static void name_copy(char out[CORE_NAME_MAX + 1], struct span name)
{
    if (name.length) {
        memcpy(out, name.data, name.length);
    }
    out[name.length] = '\0';
}

struct core_region *core__region_get(struct core *c, struct span name)
{
    struct core_region *r = names_find(&c->regions, name);
    if (r) {
        return r;
    }
    r = name_fits(name) ? mem_new(sizeof *r) : NULL;
    if (!r) {
        core__fault(c, "out of memory");
        return NULL;
    }
    name_copy(r->name, name);
    heap_init(&r->lanes, core__lane_before);
    heap_init(&r->workers, core__worker_before);
    if (names_add(&c->regions, span_of(r->name), r)) {
        mem_free(r);
        core__fault(c, "out of memory");
        return NULL;
    }
    return r;
}

struct core_market *core__market_get(struct core *c, struct span code)
{
    struct core_market *m = names_find(&c->markets, code);
    if (m) {
        return m;
    }
    m = name_fits(code) ? mem_new(sizeof *m) : NULL;
    if (!m) {
        core__fault(c, "out of memory");
        return NULL;
    }
    name_copy(m->name, code);
    m->weight = 1;
    list_init(&m->lanes);
    if (names_add(&c->markets, span_of(m->name), m)) {
        mem_free(m);
        core__fault(c, "out of memory");
        return NULL;
    }
    return m;
}

struct core_worker *core__worker_get(struct core *c, struct span name)
{
    struct core_worker *w = names_find(&c->workers, name);
    if (w) {
        return w;
    }
    w = name_fits(name) ? mem_new(sizeof *w) : NULL;
    if (!w) {
        core__fault(c, "out of memory");
        return NULL;
    }
    name_copy(w->name, name);
    if (names_add(&c->workers, span_of(w->name), w)) {
        mem_free(w);
        core__fault(c, "out of memory");
        return NULL;
    }
    return w;
}

struct core_lane *core__lane_get(struct core *c, struct core_region *r, struct core_market *m)
{
    for (struct list *at = m->lanes.next; at != &m->lanes; at = at->next) {
        struct core_lane *lane = LIST_OWNER(at, struct core_lane, in_market);
        if (lane->region == r) {
            return lane;
        }
    }
    struct core_lane *lane = mem_new(sizeof *lane);
    if (!lane) {
        core__fault(c, "out of memory");
        return NULL;
    }
    lane->region = r;
    lane->market = m;
    heap_init(&lane->jobs, core__job_before);
    list_push(&m->lanes, &lane->in_market);
    return lane;
}

/* --- the world ------------------------------------------------------------------------------- */

static void apply_regions(struct core *c, const struct core_world *world)
{
    for (size_t i = 0; i < c->regions.count; i++) {
        struct core_region *r = c->regions.objects[i];
        r->is_paused = false;
    }
    for (size_t i = 0; i < world->region_count; i++) {
        struct core_region *r = core__region_get(c, world->regions[i].name);
        if (r) {
            r->is_paused = world->regions[i].is_paused;
        }
    }
}

static void apply_markets(struct core *c, const struct core_world *world)
{
    for (size_t i = 0; i < world->market_count; i++) {
        const struct core_market_row *row = &world->markets[i];
        struct core_market *m = core__market_get(c, row->code);
        if (!m) {
            return;
        }
        bool has_changed = m->is_paused != row->is_paused || m->max_running != row->max_running ||
                           m->weight < row->weight || m->weight > row->weight;
        m->is_paused = row->is_paused;
        m->max_running = row->max_running;
        m->weight = row->weight > 0 ? row->weight : 1;
        if (has_changed) {
            core__market_place(c, m);
        }
    }
}

static void apply_worker(struct core *c, const struct core_worker_row *row)
{
    struct core_worker *w = core__worker_get(c, row->name);
    struct core_region *r = core__region_get(c, row->region);
    if (!w || !r) {
        return;
    }
    if (heap_has(&w->node)) { /* by the old values */
        heap_remove(&w->region->workers, &w->node);
    }
    w->region = r;
    w->slots = row->slots;
    w->is_eligible =
        row->is_live && !row->is_draining && row->incarnation.length <= CORE_INCARNATION_MAX;
    if (w->is_eligible && row->incarnation.length) {
        memcpy(w->incarnation, row->incarnation.data, row->incarnation.length);
        w->incarnation[row->incarnation.length] = '\0';
    }
    core__worker_place(c, w);
}

static void apply_workers(struct core *c, const struct core_world *world)
{
    for (size_t i = 0; i < c->workers.count; i++) {
        struct core_worker *w = c->workers.objects[i];
        w->is_eligible = false;
        core__worker_place(c, w);
    }
    for (size_t i = 0; i < world->worker_count; i++) {
        apply_worker(c, &world->workers[i]);
    }
}

void core__world_apply(struct core *c, const struct core_world *world)
{
    c->is_paused = world->is_paused;
    apply_regions(c, world);
    apply_markets(c, world);
    apply_workers(c, world);
}

void core__places_clear(struct core *c)
{
    for (size_t i = 0; i < c->markets.count; i++) {
        struct core_market *m = c->markets.objects[i];
        while (!list_is_empty(&m->lanes)) {
            struct core_lane *lane = LIST_OWNER(m->lanes.next, struct core_lane, in_market);
            list_remove(&lane->in_market);
            heap_close(&lane->jobs);
            mem_free(lane);
        }
        mem_free(m);
    }
    for (size_t i = 0; i < c->regions.count; i++) {
        struct core_region *r = c->regions.objects[i];
        heap_close(&r->lanes);
        heap_close(&r->workers);
        mem_free(r);
    }
    for (size_t i = 0; i < c->workers.count; i++) {
        mem_free(c->workers.objects[i]);
    }
    names_close(&c->markets);
    names_close(&c->regions);
    names_close(&c->workers);
    c->anywhere = NULL;
    c->no_market = NULL;
}
