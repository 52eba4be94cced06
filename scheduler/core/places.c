/* Regions, markets, tasks and workers as the record lists them; what is open counted at each. */
#include "common/base/mem.h"
#include "scheduler/core/core_int.h"

#include <string.h>

/* Tasks that are not in the table of the record can only be named by jobs that compute nothing. */
enum { TASKS_MAX = 65536 };

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
    list_init(&r->groups);
    list_init(&r->pools);
    r->everyone = core__pool_get(c, r, span_of(""));
    if (!r->everyone || names_add(&c->regions, span_of(r->name), r)) {
        if (r->everyone) {
            core__pool_leave(r->everyone);
        }
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
    list_init(&m->parked);
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

struct core_task *core__task_get(struct core *c, struct span name)
{
    struct core_task *t = names_find(&c->tasks, name);
    if (t) {
        return t;
    }
    if (!name_fits(name) || c->tasks.count >= TASKS_MAX) {
        return c->no_task;
    }
    t = mem_new(sizeof *t);
    if (!t) {
        core__fault(c, "out of memory");
        return NULL;
    }
    name_copy(t->name, name);
    list_init(&t->classes);
    list_init(&t->parked);
    if (names_add(&c->tasks, span_of(t->name), t)) {
        mem_free(t);
        core__fault(c, "out of memory");
        return NULL;
    }
    return t;
}

/* --- limits ---------------------------------------------------------------------------------- */

bool core__gate_has_room(const struct core_gate *gate)
{
    return !gate->is_paused && (gate->limit == 0 || gate->open < gate->limit);
}

/* Sets what the market used, and its weight. */
static void use_set(struct core *c, struct core_market *m, double used, double weight)
{
    double rank = used / weight;
    bool has_fallen = rank < m->rank;
    m->used = used;
    m->weight = weight;
    m->rank = rank;
    if (has_fallen) {
        core__market_reorder(c, m);
    }
}

/* An attempt is charged what it is expected to take when it starts, so that the next decision knows
 * of it, and when it ends what it took beyond that. A row that only says more of an open attempt
 * takes the job out and in again: that charges nothing twice. */
static void charge(struct core *c, struct core_job *job, int change)
{
    struct core_market *m = job->market;
    int64_t now = core__now(c);
    int64_t more_ms = 0;
    if (change < 0) {
        more_ms = now - job->opened_ms - job->charged_ms;
    } else if (job->opened != job->attempt) {
        more_ms = job->expected_ms;
        job->opened = job->attempt;
        job->opened_ms = now;
        job->charged_ms = 0;
    }
    if (more_ms > 0) {
        job->charged_ms += more_ms;
        use_set(c, m, m->used + share_of(&c->clock, (double)more_ms / 1000, now), m->weight);
    }
}

static void gate_count(struct core_gate *gate, int change)
{
    gate->open += change;
    CHECK(gate->open >= 0);
}

/* What a worker has given to the job, counted in or out. */
static void worker_count(struct core *c, struct core_worker *w, const struct core_shape *shape,
                         int change)
{
    w->open += change;
    w->open_threads += change * (int64_t)shape->wanted.threads;
    w->open_memory_mb += change * (int64_t)shape->wanted.memory_mb;
    CHECK(w->open >= 0 && w->open_threads >= 0 && w->open_memory_mb >= 0);
    core__worker_place(c, w);
}

void core__open_count(struct core *c, struct core_job *job, int change)
{
    gate_count(&job->market->gate, change);
    gate_count(&job->task->gate, change);
    gate_count(&job->region->gate, change);
    if (change < 0 && core__gate_has_room(&job->market->gate)) {
        core__market_unpark(c, job->market);
    }
    if (change < 0 && core__gate_has_room(&job->task->gate)) {
        core__task_unpark(c, job->task);
    }
    charge(c, job, change);
    if (job->bundle) {
        if (core__bundle_count(job->bundle, change)) {
            worker_count(c, job->bundle->worker, job->bundle->shape, change);
        }
    } else if (job->worker) {
        worker_count(c, job->worker, job->shape, change);
    }
}

void core__market_used(struct core *c, struct core_market *m, double used_s)
{
    use_set(c, m, m->used + share_of(&c->clock, used_s, core__now(c)), m->weight);
    m->kept_used = m->used;
}

void core__shares_refresh(struct core *c)
{
    double factor;
    if (!share_clock_moves(&c->clock, core__now(c), &factor)) {
        return;
    }
    for (size_t i = 0; i < c->markets.count; i++) {
        struct core_market *m = c->markets.objects[i];
        m->kept_used *= factor;
        m->used *= factor;
        m->rank = m->used / m->weight;
    }
    /* All have fallen: those that were not looked at yet are put in order among each other too. */
    for (size_t i = 0; i < c->markets.count; i++) {
        core__market_reorder(c, c->markets.objects[i]);
    }
}

/* --- the world ------------------------------------------------------------------------------- */

static void apply_regions(struct core *c, const struct core_world *world)
{
    for (size_t i = 0; i < c->regions.count; i++) {
        struct core_region *r = c->regions.objects[i];
        r->gate.is_paused = false;
        r->gate.limit = 0;
    }
    for (size_t i = 0; i < world->region_count; i++) {
        struct core_region *r = core__region_get(c, world->regions[i].name);
        if (r) {
            r->gate.is_paused = world->regions[i].is_paused;
            r->gate.limit = world->regions[i].max_running;
        }
    }
}

static void apply_tasks(struct core *c, const struct core_world *world)
{
    for (size_t i = 0; i < c->tasks.count; i++) {
        struct core_task *t = c->tasks.objects[i];
        t->limit_seen = 0;
    }
    for (size_t i = 0; i < world->task_count; i++) {
        struct core_task *t = core__task_get(c, world->tasks[i].name);
        if (t && t != c->no_task) {
            t->limit_seen = world->tasks[i].max_running;
        }
    }
    for (size_t i = 0; i < c->tasks.count; i++) {
        struct core_task *t = c->tasks.objects[i];
        if (t->gate.limit != t->limit_seen) {
            t->gate.limit = t->limit_seen;
            if (core__gate_has_room(&t->gate)) {
                core__task_unpark(c, t);
            }
        }
    }
}

static void apply_market(struct core *c, const struct core_market_row *row)
{
    struct core_market *m = core__market_get(c, row->code);
    if (!m) {
        return;
    }
    double weight = row->weight > 0 ? row->weight : 1;
    m->gate.is_paused = row->is_paused;
    m->gate.limit = row->max_running;
    if (core__gate_has_room(&m->gate)) {
        core__market_unpark(c, m);
    }
    if (m->weight < weight || m->weight > weight) {
        use_set(c, m, m->used, weight);
    }
}

/* Nothing is done for a worker whose row says what is known: a thousand are listed every second. */
static bool is_known(const struct core_worker *w, const struct core_region *r,
                     const struct core_worker_row *row)
{
    return w->region == r && w->slots == row->slots && w->threads == row->threads &&
           w->memory_mb == row->memory_mb && span_is(row->labels, w->labels) &&
           w->is_eligible == w->is_listed;
}

static void apply_worker(struct core *c, const struct core_worker_row *row)
{
    struct core_worker *w = core__worker_get(c, row->name);
    struct core_region *r = core__region_get(c, row->region);
    if (!w || !r) {
        return;
    }
    w->is_listed = row->is_live && !row->is_draining &&
                   row->incarnation.length <= CORE_INCARNATION_MAX &&
                   row->labels.length <= CORE_LABELS_MAX;
    if (w->is_listed && row->incarnation.length) {
        memcpy(w->incarnation, row->incarnation.data, row->incarnation.length);
        w->incarnation[row->incarnation.length] = '\0';
    }
    if (is_known(w, r, row) || !core__worker_list(c, w, r)) {
        return;
    }
    w->slots = row->slots;
    w->threads = row->threads;
    w->memory_mb = row->memory_mb;
    if (w->is_listed) {
        memcpy(w->labels, row->labels.length ? row->labels.data : "", row->labels.length);
        w->labels[row->labels.length] = '\0';
    }
    w->is_eligible = w->is_listed;
    core__worker_place(c, w);
}

static void apply_workers(struct core *c, const struct core_world *world)
{
    for (size_t i = 0; i < c->workers.count; i++) {
        struct core_worker *w = c->workers.objects[i];
        w->is_listed = false;
    }
    for (size_t i = 0; i < world->worker_count; i++) {
        apply_worker(c, &world->workers[i]);
    }
    for (size_t i = 0; i < c->workers.count; i++) {
        struct core_worker *w = c->workers.objects[i];
        if (w->is_eligible && !w->is_listed) {
            w->is_eligible = false;
            core__worker_place(c, w);
        }
    }
}

void core__world_apply(struct core *c, const struct core_world *world)
{
    c->is_paused = world->is_paused;
    apply_regions(c, world);
    for (size_t i = 0; i < world->market_count; i++) {
        apply_market(c, &world->markets[i]);
    }
    apply_tasks(c, world);
    apply_workers(c, world);
    core__shares_refresh(c);
}

void core__places_clear(struct core *c)
{
    core__lanes_clear(c);
    core__memories_clear(c);
    for (size_t i = 0; i < c->markets.count; i++) {
        mem_free(c->markets.objects[i]);
    }
    for (size_t i = 0; i < c->tasks.count; i++) {
        mem_free(c->tasks.objects[i]);
    }
    for (size_t i = 0; i < c->regions.count; i++) {
        struct core_region *r = c->regions.objects[i];
        core__pool_leave(r->everyone);
        CHECK(list_is_empty(&r->pools));
        mem_free(r->workers);
        mem_free(r);
    }
    for (size_t i = 0; i < c->workers.count; i++) {
        mem_free(c->workers.objects[i]);
    }
    names_close(&c->markets);
    names_close(&c->tasks);
    names_close(&c->regions);
    names_close(&c->workers);
    c->anywhere = NULL;
    c->no_market = NULL;
    c->no_task = NULL;
}
