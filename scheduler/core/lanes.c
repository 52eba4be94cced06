/*
 * Where queued jobs stand: a job in the lane of its market, a lane in the class of its task, a
 * class in the group of its region and shape (what it asks of a worker). Each level is a heap by
 * what goes next.
 *
 * Of two lanes the one with the higher effective priority (order.h) goes first; between equal ones
 * the market that used less for its weight (share.h); then the oldest job.
 *
 * What may start nothing is not sought out when that becomes so; it is parked when it is met at the
 * head of a heap, and put back by the event that frees it. In the same way a market that has used
 * more sinks in a heap only when it is met there. So an event costs nothing for the lanes that
 * nobody looks at, and the head is always right: the error of an old rank is only ever to be met
 * too early.
 */
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "scheduler/core/core_int.h"
#include "scheduler/core/order.h"

#include <string.h>

/* --- orders ---------------------------------------------------------------------------------- */

static struct core_job *job_of(const struct heap_node *node)
{
    return LIST_OWNER(node, struct core_job, in_lane);
}

static struct core_lane *lane_of(const struct heap_node *node)
{
    return LIST_OWNER(node, struct core_lane, node);
}

/* Lanes go by the level of their first job, the rank of their market, and the job's own key; here
 * are two for which that is the same. */
static bool lane_before(const struct heap_node *a, const struct heap_node *b)
{
    return heap_first_before(&lane_of(a)->jobs, &lane_of(b)->jobs);
}

/* The lane has a job. */
static struct heap_key lane_key(const struct core_lane *lane)
{
    struct heap_key key = {.major = lane->first_level, .last = lane->first_key};
    /* A rank is never negative, and the bits of such numbers are in the numbers' order. */
    memcpy(&key.minor, &lane->rank, sizeof key.minor);
    return key;
}

bool core__class_before(const struct core_class *a, const struct core_class *b)
{
    return heap_first_before(&a->lanes, &b->lanes);
}

/* Classes go by the keys of their first lanes. */
static bool class_before(const struct heap_node *x, const struct heap_node *y)
{
    return core__class_before(LIST_OWNER(x, struct core_class, node),
                              LIST_OWNER(y, struct core_class, node));
}

struct core_job *core__class_first(const struct core_class *class)
{
    return job_of(heap_first(&lane_of(heap_first(&class->lanes))->jobs));
}

/* --- shapes ---------------------------------------------------------------------------------- */

static uint64_t hash_bytes(uint64_t seed, const char *data, size_t length)
{
    uint64_t h = seed ^ 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++) {
        h = (h ^ (unsigned char)data[i]) * 0x100000001b3u;
    }
    return rng_mix(h);
}

static struct core_shape *shape_find(const struct core *c, uint64_t value,
                                     const struct room *wanted, struct span labels)
{
    for (struct hash_node *n = hash_first(&c->shapes, value); n; n = hash_next(n)) {
        struct core_shape *s = LIST_OWNER(n, struct core_shape, in_shapes);
        if (s->wanted.threads == wanted->threads && s->wanted.memory_mb == wanted->memory_mb &&
            s->label_bytes == labels.length &&
            (labels.length == 0 || memcmp(s->labels, labels.data, labels.length) == 0)) {
            return s;
        }
    }
    return NULL;
}

struct core_shape *core__shape_join(struct core *c, const struct core_record *record)
{
    struct room wanted = {.slots = 1, .threads = record->threads, .memory_mb = record->memory_mb};
    uint64_t numbers = (uint64_t)(unsigned)wanted.threads << 32 | (unsigned)wanted.memory_mb;
    uint64_t value = hash_bytes(numbers, record->labels.data, record->labels.length);
    struct core_shape *s = shape_find(c, value, &wanted, record->labels);
    if (!s) {
        s = mem_new(sizeof *s + record->labels.length + 1);
        if (!s || hash_add(&c->shapes, &s->in_shapes, value)) {
            mem_free(s);
            return NULL;
        }
        s->wanted = wanted;
        s->label_bytes = record->labels.length;
        if (s->label_bytes) {
            memcpy(s->labels, record->labels.data, s->label_bytes);
        }
    }
    s->users++;
    return s;
}

struct span core__shape_labels(const struct core_shape *s)
{
    return span_make(s->labels, s->label_bytes);
}

void core__shape_leave(struct core *c, struct core_shape *s)
{
    CHECK(s->users > 0);
    if (--s->users == 0) {
        hash_remove(&c->shapes, &s->in_shapes);
        mem_free(s);
    }
}

/* --- groups ---------------------------------------------------------------------------------- */

static uint64_t hash_two(const void *a, const void *b)
{
    return rng_mix((uint64_t)(uintptr_t)a + rng_mix((uint64_t)(uintptr_t)b));
}

static struct core_group *group_new(struct core *c, const struct core_job *job, uint64_t value)
{
    struct core_group *g = mem_new(sizeof *g);
    struct core_pool *pool =
        g ? core__pool_get(c, job->region, core__shape_labels(job->shape)) : NULL;
    if (!pool || hash_add(&c->groups, &g->in_groups, value)) {
        if (pool) {
            core__pool_leave(pool);
        }
        mem_free(g);
        return NULL;
    }
    g->region = job->region;
    g->shape = job->shape;
    g->shape->users++;
    g->pool = pool;
    heap_init(&g->classes, class_before);
    list_push(&g->region->groups, &g->in_region);
    return g;
}

struct core_group *core__group_find(const struct core *c, const struct core_region *region,
                                    const struct core_shape *shape)
{
    uint64_t value = hash_two(region, shape);
    for (struct hash_node *n = hash_first(&c->groups, value); n; n = hash_next(n)) {
        struct core_group *g = LIST_OWNER(n, struct core_group, in_groups);
        if (g->region == region && g->shape == shape) {
            return g;
        }
    }
    return NULL;
}

static struct core_group *group_get(struct core *c, const struct core_job *job)
{
    struct core_group *g = core__group_find(c, job->region, job->shape);
    return g ? g : group_new(c, job, hash_two(job->region, job->shape));
}

static void group_free(struct core *c, struct core_group *g)
{
    CHECK(g->class_count == 0);
    hash_remove(&c->groups, &g->in_groups);
    list_remove(&g->in_region);
    heap_close(&g->classes);
    core__pool_leave(g->pool);
    core__shape_leave(c, g->shape);
    mem_free(g);
}

/* --- classes --------------------------------------------------------------------------------- */

static struct core_class *class_new(struct core *c, struct core_group *g, struct core_task *t,
                                    uint64_t value)
{
    struct core_class *k = mem_new(sizeof *k);
    if (!k || hash_add(&c->classes, &k->in_classes, value)) {
        mem_free(k);
        return NULL;
    }
    k->group = g;
    k->task = t;
    g->class_count++;
    heap_init(&k->lanes, lane_before);
    list_push(&t->classes, &k->in_task);
    list_init(&k->in_parked);
    return k;
}

static struct core_class *class_get(struct core *c, struct core_group *g, struct core_task *t)
{
    uint64_t value = hash_two(g, t);
    for (struct hash_node *n = hash_first(&c->classes, value); n; n = hash_next(n)) {
        struct core_class *k = LIST_OWNER(n, struct core_class, in_classes);
        if (k->group == g && k->task == t) {
            return k;
        }
    }
    return class_new(c, g, t, value);
}

static void class_free(struct core *c, struct core_class *k)
{
    CHECK(k->lane_count == 0);
    hash_remove(&c->classes, &k->in_classes);
    list_remove(&k->in_task);
    list_remove(&k->in_parked);
    heap_close(&k->lanes);
    k->group->class_count--;
    mem_free(k);
}

/* key NULL: it does not belong there. */
static void settle(struct core *c, struct heap *heap, struct heap_node *node,
                   const struct heap_key *key)
{
    if (key && !heap_has(node)) {
        if (heap_add(heap, node, *key)) {
            core__fault(c, "out of memory");
        }
    } else if (key) {
        heap_moved(heap, node, *key);
    } else if (heap_has(node)) {
        heap_remove(heap, node);
    }
}

static void class_place(struct core *c, struct core_class *k)
{
    bool belongs = k->lanes.count > 0 && list_is_empty(&k->in_parked);
    settle(c, &k->group->classes, &k->node, belongs ? heap_first_key(&k->lanes) : NULL);
}

void core__task_unpark(struct core *c, struct core_task *t)
{
    while (!list_is_empty(&t->parked)) {
        struct core_class *k = LIST_OWNER(t->parked.next, struct core_class, in_parked);
        list_remove(&k->in_parked);
        class_place(c, k);
    }
}

/* --- lanes ----------------------------------------------------------------------------------- */

static struct core_lane *lane_new(struct core *c, struct core_class *k, struct core_market *m,
                                  uint64_t value)
{
    struct core_lane *lane = slab_new(&c->lane_slab);
    if (!lane || hash_add(&c->lanes, &lane->in_lanes, value)) {
        slab_free(&c->lane_slab, lane);
        return NULL;
    }
    lane->class = k;
    lane->market = m;
    lane->rank = m->rank;
    heap_init(&lane->jobs, NULL); /* no two jobs have one key */
    list_push(&m->lanes, &lane->in_market);
    list_init(&lane->in_parked);
    k->lane_count++;
    return lane;
}

static struct core_lane *lane_get(struct core *c, struct core_class *k, struct core_market *m)
{
    uint64_t value = hash_two(k, m);
    for (struct hash_node *n = hash_first(&c->lanes, value); n; n = hash_next(n)) {
        struct core_lane *lane = LIST_OWNER(n, struct core_lane, in_lanes);
        if (lane->class == k && lane->market == m) {
            return lane;
        }
    }
    return lane_new(c, k, m, value);
}

static void lane_free(struct core *c, struct core_lane *lane)
{
    CHECK(lane->jobs.count == 0);
    hash_remove(&c->lanes, &lane->in_lanes);
    list_remove(&lane->in_market);
    list_remove(&lane->in_parked);
    heap_close(&lane->jobs);
    lane->class->lane_count--;
    slab_free(&c->lane_slab, lane);
}

static void lane_place(struct core *c, struct core_lane *lane)
{
    if (lane->jobs.count > 0 && list_is_empty(&lane->in_parked)) {
        struct heap_key key = lane_key(lane);
        settle(c, &lane->class->lanes, &lane->node, &key);
    } else {
        settle(c, &lane->class->lanes, &lane->node, NULL);
    }
    class_place(c, lane->class);
}

/* After its jobs changed. */
static void lane_changed(struct core *c, struct core_lane *lane)
{
    if (lane->jobs.count > 0) {
        lane->first_key = heap_first_key(&lane->jobs)->major;
        lane->first_level = order_level(lane->first_key, c->settings.priority_age_ms);
    }
    lane_place(c, lane);
}

void core__market_unpark(struct core *c, struct core_market *m)
{
    while (!list_is_empty(&m->parked)) {
        struct core_lane *lane = LIST_OWNER(m->parked.next, struct core_lane, in_parked);
        list_remove(&lane->in_parked);
        lane->rank = m->rank;
        lane_place(c, lane);
    }
}

void core__market_reorder(struct core *c, struct core_market *m)
{
    for (struct list *at = m->lanes.next; at != &m->lanes; at = at->next) {
        struct core_lane *lane = LIST_OWNER(at, struct core_lane, in_market);
        lane->rank = m->rank;
        lane_place(c, lane);
    }
}

void core__lane_enter(struct core *c, struct core_job *job)
{
    struct core_group *g = group_get(c, job);
    struct core_class *k = g ? class_get(c, g, job->task) : NULL;
    struct core_lane *lane = k ? lane_get(c, k, job->market) : NULL;
    if (!lane || heap_add(&lane->jobs, &job->in_lane, core__job_key(job, job->key))) {
        core__fault(c, "out of memory");
        return;
    }
    job->lane = lane;
    job->expected_ms = core__expected_ms(c, job);
    lane->expected_ms += job->expected_ms;
    lane_changed(c, lane);
}

void core__lane_leave(struct core *c, struct core_job *job)
{
    struct core_lane *lane = job->lane;
    struct core_class *k = lane->class;
    struct core_group *g = k->group;
    job->lane = NULL;
    lane->expected_ms -= job->expected_ms;
    heap_remove(&lane->jobs, &job->in_lane);
    lane_changed(c, lane);
    if (lane->jobs.count == 0) {
        lane_free(c, lane);
    }
    if (k->lane_count == 0) {
        class_free(c, k);
    }
    if (g->class_count == 0) {
        group_free(c, g);
    }
}

/* Makes good what is old about the lane at the head of a class; false: nothing is. */
static bool lane_mend(struct core *c, struct core_lane *lane)
{
    struct core_market *m = lane->market;
    if (!core__gate_has_room(&m->gate)) {
        list_push(&m->parked, &lane->in_parked);
    } else if (lane->rank < m->rank) {
        lane->rank = m->rank;
    } else {
        return false;
    }
    lane_place(c, lane);
    return true;
}

struct core_class *core__group_first(struct core *c, struct core_group *g)
{
    struct heap_node *node;
    while ((node = heap_first(&g->classes)) != NULL && !c->is_broken) {
        struct core_class *k = LIST_OWNER(node, struct core_class, node);
        if (!core__gate_has_room(&k->task->gate)) {
            list_push(&k->task->parked, &k->in_parked);
            class_place(c, k);
        } else if (!lane_mend(c, lane_of(heap_first(&k->lanes)))) {
            return k;
        }
    }
    return NULL;
}

void core__lanes_clear(struct core *c)
{
    for (struct hash_node *n = hash_any(&c->lanes), *next; n; n = next) {
        struct core_lane *lane = LIST_OWNER(n, struct core_lane, in_lanes);
        next = hash_after(&c->lanes, n);
        lane->jobs.count = 0; /* the jobs have gone before */
        lane_free(c, lane);
    }
    for (struct hash_node *n = hash_any(&c->classes), *next; n; n = next) {
        next = hash_after(&c->classes, n);
        class_free(c, LIST_OWNER(n, struct core_class, in_classes));
    }
    for (struct hash_node *n = hash_any(&c->groups), *next; n; n = next) {
        next = hash_after(&c->groups, n);
        group_free(c, LIST_OWNER(n, struct core_group, in_groups));
    }
    for (struct hash_node *n = hash_any(&c->shapes), *next; n; n = next) {
        next = hash_after(&c->shapes, n);
        hash_remove(&c->shapes, n);
        mem_free(LIST_OWNER(n, struct core_shape, in_shapes));
    }
    slab_close(&c->lane_slab);
    hash_close(&c->lanes);
    hash_close(&c->classes);
    hash_close(&c->groups);
    hash_close(&c->shapes);
}
