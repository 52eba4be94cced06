/* Counts jobs that have not started by what holds them up: O(lanes + classes x workers), nothing of
 * the number of jobs. */
#include "scheduler/core/reason.h"

#include "scheduler/core/core_int.h"

/* A job that may not start for longer is held back by a pause (sql/functions/backfill.sql). */
#define HELD_MS ((int64_t)50 * 365 * 24 * 3600 * 1000)

static const struct {
    const char *code;
    const char *help;
} rows[CORE_REASON_COUNT] = {
#define CORE_REASON_ROW(name, code, help) [CORE_REASON_##name] = {code, help},
    CORE_REASON_LIST(CORE_REASON_ROW)
#undef CORE_REASON_ROW
};

const char *core_reason_code(enum core_reason reason)
{
    CHECK(reason > CORE_REASON_NONE && reason < CORE_REASON_COUNT);
    return rows[reason].code;
}

const char *core_reason_help(enum core_reason reason)
{
    CHECK(reason > CORE_REASON_NONE && reason < CORE_REASON_COUNT);
    return rows[reason].help;
}

/* Why no worker has room for the jobs of the group. */
static enum core_reason room_reason(const struct core_group *g)
{
    const struct core_region *r = g->region;
    const struct room *wanted = &g->shape->wanted;
    enum core_reason reason = CORE_REASON_NO_WORKER;
    for (size_t i = 0; i < r->worker_count; i++) {
        const struct core_worker *w = r->workers[i];
        enum core_reason of_this;
        if (!w || !w->is_eligible) {
            continue;
        }
        if (!core__labels_hold(span_of(w->labels), g->pool->labels)) {
            of_this = CORE_REASON_LABELS;
        } else if ((w->threads > 0 && w->threads < wanted->threads) ||
                   (w->memory_mb > 0 && w->memory_mb < wanted->memory_mb)) {
            of_this = CORE_REASON_TOO_LARGE;
        } else {
            of_this = w->open >= w->slots ? CORE_REASON_SLOTS : CORE_REASON_ROOM;
        }
        /* The codes are in the order of how far the job gets. */
        reason = of_this > reason ? of_this : reason;
    }
    return reason;
}

static bool is_paused(const struct core *c, const struct core_lane *lane)
{
    return c->is_paused || lane->class->group->region->gate.is_paused ||
           lane->market->gate.is_paused;
}

static enum core_reason lane_reason(const struct core *c, const struct core_lane *lane)
{
    const struct core_class *k = lane->class;
    const struct core_group *g = k->group;
    if (is_paused(c, lane)) {
        return CORE_REASON_PAUSED;
    }
    if (!core__gate_has_room(&g->region->gate)) {
        return CORE_REASON_REGION_LIMIT;
    }
    if (!core__gate_has_room(&lane->market->gate)) {
        return CORE_REASON_MARKET_LIMIT;
    }
    if (!core__gate_has_room(&k->task->gate)) {
        return CORE_REASON_TASK_LIMIT;
    }
    if (room_find(&g->pool->rooms, &g->shape->wanted, NULL) == ROOM_NONE) {
        return room_reason(g);
    }
    return CORE_REASON_SCHEDULER;
}

static void add_workers(const struct core_region *r, struct core_region_load *load)
{
    for (size_t i = 0; i < r->worker_count; i++) {
        const struct core_worker *w = r->workers[i];
        load->slots += w && w->is_eligible ? w->slots : 0;
    }
}

static bool only_wants_room(enum core_reason reason)
{
    return reason == CORE_REASON_SCHEDULER || reason == CORE_REASON_SLOTS ||
           reason == CORE_REASON_ROOM || reason == CORE_REASON_NO_WORKER;
}

void core_regions(const struct core *c, void (*each)(const struct core_region_load *, void *data),
                  void *data)
{
    for (size_t i = 0; i < c->regions.count; i++) {
        const struct core_region *r = c->regions.objects[i];
        struct core_region_load load = {.name = span_of(r->name), .open = r->gate.open};
        if (r == c->anywhere) {
            continue;
        }
        add_workers(r, &load);
        for (struct hash_node *n = hash_any(&c->lanes); n; n = hash_after(&c->lanes, n)) {
            const struct core_lane *lane = LIST_OWNER(n, struct core_lane, in_lanes);
            if (lane->class->group->region == r && only_wants_room(lane_reason(c, lane))) {
                load.runnable += lane->jobs.count;
                load.runnable_s += (double)lane->expected_ms / 1000;
            }
        }
        each(&load, data);
    }
}

/* What holds up a job that stands in no lane. */
static enum core_reason own_reason(const struct core *c, const struct core_job *job)
{
    bool is_idle = job->state == CORE_STATE_WAITING || job->state == CORE_STATE_QUEUED;
    if (!is_idle || job->lane) {
        return CORE_REASON_NONE;
    }
    if (job->is_cancel_requested) {
        return CORE_REASON_CANCELLING;
    }
    if (job->is_parent && job->children_open > 0) {
        return CORE_REASON_CHILDREN;
    }
    if (!list_is_empty(&job->needs)) {
        return CORE_REASON_DEPENDENCY;
    }
    if (job->due_ms - core__now(c) > HELD_MS) {
        return CORE_REASON_PAUSED; /* of a backfill that is */
    }
    if (job->due_ms > core__now(c)) {
        return job->attempt > 0 ? CORE_REASON_BACKOFF : CORE_REASON_NOT_BEFORE;
    }
    return CORE_REASON_SCHEDULER;
}

void core__reason_set(struct core *c, struct core_job *job)
{
    core__reason_clear(c, job);
    job->reason = own_reason(c, job);
    c->reasons[job->reason]++;
}

void core__reason_clear(struct core *c, struct core_job *job)
{
    if (job->reason != CORE_REASON_NONE) {
        CHECK(c->reasons[job->reason] > 0);
        c->reasons[job->reason]--;
        job->reason = CORE_REASON_NONE;
    }
}

void core_pending(const struct core *c, size_t counts[CORE_REASON_COUNT])
{
    for (int i = 0; i < CORE_REASON_COUNT; i++) {
        counts[i] = 0;
    }
    for (size_t i = 0; i < c->markets.count; i++) {
        const struct core_market *m = c->markets.objects[i];
        for (const struct list *at = m->lanes.next; at != &m->lanes; at = at->next) {
            const struct core_lane *lane = LIST_OWNER(at, struct core_lane, in_market);
            counts[lane_reason(c, lane)] += lane->jobs.count;
        }
    }
    for (int i = CORE_REASON_NONE + 1; i < CORE_REASON_COUNT; i++) {
        counts[i] += c->reasons[i];
    }
}
