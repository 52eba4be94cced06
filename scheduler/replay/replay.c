/*
 * A store that keeps the jobs in the caller's array, a transport that starts them at once, and a
 * clock that jumps to whatever comes next: an arrival, or the end of a job.
 *
 * Store calls are answered from a queue, in order and after the call has returned, as the core's
 * contract wants it. Ids are found by a hash table with open addressing; running jobs sit in the
 * core's own heap type, by their end.
 */
#include "scheduler/replay/replay.h"

#include "common/base/mem.h"
#include "scheduler/core/heap.h"
#include "scheduler/core/names.h"

#include <string.h>

enum {
    ADMIT_BATCH = 256,
    /* The core's duties look for changes by others, of which there are none here. */
    DUTY_MS = 60 * 60 * 1000,
    NEEDS_MAX = 256 /* of one job that can be unmet at once, as messages allow */
};

enum answer_kind { ANSWER_NOTHING, ANSWER_WORLD, ANSWER_ROWS, ANSWER_ADMITTED };

/* A store call that waits for its answer; the rows are made when it is given. */
struct pending {
    struct pending *next;
    uint64_t token;
    enum answer_kind kind;
    size_t count;
    struct core_id ids[];
};

/* A job at work. */
struct run {
    struct heap_node node;
    size_t job;
    int attempt;
    int64_t end_ms;
    struct run *next; /* while unused */
};

struct engine {
    struct replay *replay;
    struct core *core;
    struct core_worker_row *workers;
    struct names by_name; /* of struct replay_worker */
    size_t *table;        /* job index + 1, by id */
    size_t table_size;
    struct pending *first, *last;
    struct run *runs; /* one a slot */
    struct run *unused;
    struct heap running;
    int64_t now_ms;
    size_t arrived;
    size_t ended;
    uint64_t chance;
    const char *fault;
};

/* --- jobs by id ------------------------------------------------------------------------------ */

static size_t place_of(const struct engine *g, struct core_id id)
{
    return (size_t)((id.low ^ id.high * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u >> 20) &
           (g->table_size - 1);
}

/* The job's index, or job_count. */
static size_t find(const struct engine *g, struct core_id id)
{
    for (size_t at = place_of(g, id);; at = (at + 1) & (g->table_size - 1)) {
        if (g->table[at] == 0) {
            return g->replay->job_count;
        }
        if (core_id_equals(g->replay->jobs[g->table[at] - 1].id, id)) {
            return g->table[at] - 1;
        }
    }
}

static void enter(struct engine *g, size_t job)
{
    size_t at = place_of(g, g->replay->jobs[job].id);
    while (g->table[at] != 0) {
        at = (at + 1) & (g->table_size - 1);
    }
    g->table[at] = job + 1;
}

/* --- answers --------------------------------------------------------------------------------- */

static void expect(struct engine *g, uint64_t token, enum answer_kind kind,
                   const struct core_id *ids, size_t count)
{
    struct pending *p = mem_new(sizeof *p + count * sizeof *ids);
    if (!p) {
        g->fault = "out of memory";
        return;
    }
    p->token = token;
    p->kind = kind;
    p->count = count;
    if (count > 0) {
        memcpy(p->ids, ids, count * sizeof *ids);
    }
    *(g->last ? &g->last->next : &g->first) = p;
    g->last = p;
}

/* out: room for as many as the job needs. */
static size_t unmet(const struct engine *g, const struct replay_job *job, struct core_need *out)
{
    size_t count = 0;
    for (size_t i = 0; i < job->need_count; i++) {
        const struct replay_job *need = &g->replay->jobs[find(g, job->needs[i])];
        if (need->state != CORE_STATE_SUCCEEDED) {
            out[count++] = (struct core_need){.id = need->id, .state = need->state};
        }
    }
    return count;
}

static struct core_record row_of(const struct engine *g, const struct replay_job *job,
                                 struct core_need *needs)
{
    bool is_open = core_state_is_open_attempt(job->state);
    const struct replay_worker *w = is_open ? &g->replay->workers[job->worker] : NULL;
    return (struct core_record){
        .id = job->id,
        .state = job->state,
        .kind = job->kind,
        .market = job->market,
        .task = job->task,
        .region = job->region,
        .worker = w ? w->name : span_make(NULL, 0),
        .priority = job->priority,
        .attempt = is_open || job->state == CORE_STATE_SUCCEEDED ? 1 : 0,
        .max_attempts = 1,
        .queued_ms = job->queued_ms,
        .needs = needs,
        .need_count = core_state_is_ended(job->state) ? 0 : unmet(g, job, needs),
        .memory_mb = job->memory_mb,
        .threads = job->threads,
        .labels = job->labels,
    };
}

static void answer_rows(struct engine *g, const struct pending *p, struct core_answer *answer)
{
    size_t need_count = 0;
    for (size_t i = 0; i < p->count; i++) {
        need_count += g->replay->jobs[find(g, p->ids[i])].need_count;
    }
    struct core_record *rows = mem_new_array(p->count, sizeof *rows);
    struct core_need *needs = mem_new_array(need_count + 1, sizeof *needs);
    struct core_admitted *admitted = mem_new_array(p->count, sizeof *admitted);
    if (rows && needs && admitted) {
        struct core_need *at = needs;
        for (size_t i = 0; i < p->count; i++) {
            const struct replay_job *job = &g->replay->jobs[find(g, p->ids[i])];
            rows[i] = row_of(g, job, at);
            at += job->need_count;
            admitted[i] = (struct core_admitted){.id = job->id, .state = job->state};
        }
        answer->records = rows;
        answer->record_count = p->count;
        answer->admitted = admitted;
        answer->admitted_count = p->kind == ANSWER_ADMITTED ? p->count : 0;
        core_answer(g->core, answer);
    } else {
        g->fault = "out of memory";
    }
    mem_free(admitted);
    mem_free(needs);
    mem_free(rows);
}

static void answer_all(struct engine *g)
{
    while (g->first && !g->fault) {
        struct pending *p = g->first;
        g->first = p->next;
        g->last = g->first ? g->last : NULL;
        struct core_answer answer = {.token = p->token};
        struct core_world world = *g->replay->world;
        if (p->kind == ANSWER_ROWS || p->kind == ANSWER_ADMITTED) {
            answer_rows(g, p, &answer);
        } else {
            world.workers = g->workers;
            world.worker_count = g->replay->worker_count;
            answer.world = p->kind == ANSWER_WORLD ? &world : NULL;
            core_answer(g->core, &answer);
        }
        mem_free(p);
    }
}

/* --- the store ------------------------------------------------------------------------------- */

static void port_load(void *self, uint64_t token, struct core_id after, size_t limit)
{
    (void)after; /* nothing is there yet */
    (void)limit;
    expect(self, token, ANSWER_NOTHING, NULL, 0);
}

static void port_world(void *self, uint64_t token)
{
    expect(self, token, ANSWER_WORLD, NULL, 0);
}

static void port_nothing(void *self, uint64_t token)
{
    expect(self, token, ANSWER_NOTHING, NULL, 0);
}

/* SQL writes no submissions here. */
static void port_take(void *self, uint64_t token, size_t limit)
{
    (void)limit;
    expect(self, token, ANSWER_NOTHING, NULL, 0);
}

static void port_admit(void *self, uint64_t token, const struct core_submission *jobs, size_t count)
{
    struct engine *g = self;
    struct core_id ids[ADMIT_BATCH];
    struct core_need needs[NEEDS_MAX];
    CHECK(count <= ADMIT_BATCH);
    for (size_t i = 0; i < count; i++) {
        struct replay_job *job = &g->replay->jobs[find(g, jobs[i].id)];
        job->state = unmet(g, job, needs) > 0 ? CORE_STATE_WAITING : CORE_STATE_QUEUED;
        job->queued_ms = g->now_ms;
        ids[i] = job->id;
    }
    expect(g, token, ANSWER_ADMITTED, ids, count);
}

static void port_release(void *self, uint64_t token, const struct core_id *ids, size_t count)
{
    struct engine *g = self;
    for (size_t i = 0; i < count; i++) {
        struct replay_job *job = &g->replay->jobs[find(g, ids[i])];
        job->state = CORE_STATE_QUEUED;
        job->queued_ms = g->now_ms;
    }
    expect(g, token, ANSWER_ROWS, ids, count);
}

static void start(struct engine *g, struct replay_job *job, const struct core_dispatch *d)
{
    struct run *run = g->unused;
    CHECK(run); /* the core never assigns more than there are slots */
    g->unused = run->next;
    job->state = CORE_STATE_DISPATCHED;
    const struct replay_worker *worker = names_find(&g->by_name, d->worker);
    CHECK(worker);
    job->worker = (size_t)(worker - g->replay->workers);
    job->start_ms = g->now_ms;
    *run = (struct run){.job = (size_t)(job - g->replay->jobs),
                        .attempt = d->attempt,
                        .end_ms = g->now_ms + job->run_ms};
    struct heap_key key = {.major = run->end_ms, .minor = (int64_t)run->job};
    if (heap_add(&g->running, &run->node, key)) {
        g->fault = "out of memory";
    }
}

static void port_dispatch(void *self, uint64_t token, const struct core_dispatch *jobs,
                          size_t count)
{
    struct engine *g = self;
    struct core_id ids[ADMIT_BATCH];
    CHECK(count <= ADMIT_BATCH);
    for (size_t i = 0; i < count; i++) {
        ids[i] = jobs[i].job;
        start(g, &g->replay->jobs[find(g, ids[i])], &jobs[i]);
    }
    expect(g, token, ANSWER_ROWS, ids, count);
}

static void finish_job(struct engine *g, struct core_id id)
{
    struct replay_job *job = &g->replay->jobs[find(g, id)];
    job->state = CORE_STATE_SUCCEEDED;
    job->end_ms = g->now_ms;
    g->replay->workers[job->worker].busy_ms += job->end_ms - job->start_ms;
    g->replay->end_ms = g->now_ms;
    g->ended++;
}

static void port_finish(void *self, uint64_t token, const struct core_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        finish_job(self, results[i].job);
    }
    expect(self, token, ANSWER_ROWS, &results->job, 0); /* all of them have succeeded */
}

/* --- what cannot come: nothing fails, and nightlies are taken apart by the caller ----------------
 */

static void refuse(struct engine *g)
{
    g->fault = "the scheduler wanted something that a replay does not have";
}

static void port_end(void *self, uint64_t token, const struct core_end *ends, size_t count)
{
    (void)token, (void)ends, (void)count;
    refuse(self);
}

static void port_skip(void *self, uint64_t token, const struct core_skip *skips, size_t count)
{
    (void)token, (void)skips, (void)count;
    refuse(self);
}

static void port_parent(void *self, uint64_t token, struct core_id parent)
{
    (void)token, (void)parent;
    refuse(self);
}

static void port_fan_out(void *self, uint64_t token, struct core_id parent, int quorum,
                         const struct core_submission *children, size_t count)
{
    (void)token, (void)parent, (void)quorum, (void)children, (void)count;
    refuse(self);
}

static void port_parents(void *self, uint64_t token, const struct core_id *parents, size_t count)
{
    (void)token, (void)parents, (void)count;
    refuse(self);
}

/* --- transport, clock, chance ---------------------------------------------------------------- */

static void port_ready(void *self, const struct core_record *job)
{
    (void)self, (void)job; /* it runs since it was assigned */
}

static void port_admitted(void *self, void *cookie, int status, const struct core_admitted *rows,
                          size_t count)
{
    (void)self, (void)cookie, (void)status, (void)rows, (void)count;
}

static int64_t port_now(void *self)
{
    const struct engine *g = self;
    return g->now_ms;
}

static uint64_t port_random(void *self)
{
    struct engine *g = self;
    return g->chance += 0x9e3779b97f4a7c15u; /* nothing that is decided here depends on it */
}

static void port_fault(void *self, const char *reason)
{
    struct engine *g = self;
    g->fault = reason;
}

static struct core_ports ports_of(struct engine *g)
{
    return (struct core_ports){
        .self = g,
        .now_ms = port_now,
        .random = port_random,
        .fault = port_fault,
        .store = {.self = g,
                  .load = port_load,
                  .world = port_world,
                  .changes = port_nothing,
                  .sweep = port_nothing,
                  .fire = port_nothing,
                  .take = port_take,
                  .admit = port_admit,
                  .release = port_release,
                  .dispatch = port_dispatch,
                  .finish = port_finish,
                  .end = port_end,
                  .skip = port_skip,
                  .plan = port_parent,
                  .fan_out = port_fan_out,
                  .quorum = port_parents,
                  .close = port_parents,
                  .cancel_children = port_parent},
        .transport = {.self = g, .ready = port_ready, .admitted = port_admitted},
    };
}

/* --- time ------------------------------------------------------------------------------------ */

static void arrive(struct engine *g)
{
    struct core_submission jobs[ADMIT_BATCH];
    while (g->arrived < g->replay->job_count &&
           g->replay->jobs[g->arrived].arrive_ms <= g->now_ms) {
        size_t count = 0;
        while (count < ADMIT_BATCH && g->arrived < g->replay->job_count &&
               g->replay->jobs[g->arrived].arrive_ms <= g->now_ms) {
            jobs[count++] = (struct core_submission){.id = g->replay->jobs[g->arrived++].id};
        }
        core_admit(g->core, jobs, count, NULL);
    }
}

static void report_ends(struct engine *g)
{
    struct heap_node *node;
    while ((node = heap_first(&g->running)) && !g->fault) {
        struct run *run = (struct run *)(void *)node;
        if (run->end_ms > g->now_ms) {
            break;
        }
        heap_remove(&g->running, node);
        const struct replay_job *job = &g->replay->jobs[run->job];
        struct core_result result = {.job = job->id,
                                     .attempt = run->attempt,
                                     .worker = g->replay->workers[job->worker].name,
                                     .outcome = CORE_OUTCOME_SUCCEEDED};
        run->next = g->unused;
        g->unused = run;
        core_report(g->core, &result, 1);
    }
}

/* The next arrival or end; false when neither is left. */
static bool next_time(const struct engine *g, int64_t *ret_ms)
{
    const struct heap_node *node = heap_first(&g->running);
    bool has_arrival = g->arrived < g->replay->job_count;
    if (!node && !has_arrival) {
        return false;
    }
    int64_t end = node ? ((const struct run *)(const void *)node)->end_ms : INT64_MAX;
    int64_t arrival = has_arrival ? g->replay->jobs[g->arrived].arrive_ms : INT64_MAX;
    *ret_ms = end < arrival ? end : arrival;
    return true;
}

static void settle(struct engine *g)
{
    do {
        answer_all(g);
        (void)core_tick(g->core); /* time moves by arrivals and ends alone */
    } while (g->first && !g->fault);
}

static void run_night(struct engine *g)
{
    core_start(g->core);
    settle(g);
    int64_t next = 0;
    while (!g->fault && next_time(g, &next)) {
        g->now_ms = next > g->now_ms ? next : g->now_ms;
        report_ends(g);
        arrive(g);
        settle(g);
    }
}

/* --- start and end --------------------------------------------------------------------------- */

static int check_jobs(const struct engine *g, struct err_buf *e)
{
    const struct replay *r = g->replay;
    for (size_t i = 0; i < r->job_count; i++) {
        if (r->jobs[i].need_count > NEEDS_MAX ||
            (i > 0 && r->jobs[i].arrive_ms < r->jobs[i - 1].arrive_ms)) {
            return err_set(e, ERR_INVALID, "job %s: out of order, or with more than %d needs",
                           core_id_format(r->jobs[i].id).text, NEEDS_MAX);
        }
        for (size_t n = 0; n < r->jobs[i].need_count; n++) {
            if (find(g, r->jobs[i].needs[n]) == r->job_count) {
                return err_set(e, ERR_INVALID, "job %s needs job %s, which is not there",
                               core_id_format(r->jobs[i].id).text,
                               core_id_format(r->jobs[i].needs[n]).text);
            }
        }
    }
    return 0;
}

static int open_jobs(struct engine *g)
{
    struct replay *r = g->replay;
    g->table_size = 16;
    while (g->table_size < r->job_count * 2) {
        g->table_size *= 2;
    }
    g->table = mem_new_array(g->table_size, sizeof *g->table);
    if (!g->table) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < r->job_count; i++) {
        r->jobs[i].state = CORE_STATE_UNKNOWN;
        r->jobs[i].start_ms = -1;
        r->jobs[i].end_ms = -1;
        enter(g, i);
    }
    return 0;
}

static int open_workers(struct engine *g)
{
    struct replay *r = g->replay;
    size_t slots = 0;
    g->workers = mem_new_array(r->worker_count + 1, sizeof *g->workers);
    for (size_t i = 0; g->workers && i < r->worker_count; i++) {
        struct replay_worker *w = &r->workers[i];
        if (names_find(&g->by_name, w->name) || names_add(&g->by_name, w->name, w)) {
            return ERR_NOMEM;
        }
        w->busy_ms = 0;
        slots += (size_t)w->slots;
        g->workers[i] = (struct core_worker_row){.name = w->name,
                                                 .incarnation = w->name,
                                                 .region = w->region,
                                                 .slots = w->slots,
                                                 .threads = w->threads,
                                                 .memory_mb = w->memory_mb,
                                                 .labels = w->labels,
                                                 .is_live = true};
    }
    g->runs = mem_new_array(slots + 1, sizeof *g->runs);
    for (size_t i = 0; g->runs && i < slots; i++) {
        g->runs[i].next = g->unused;
        g->unused = &g->runs[i];
    }
    return g->workers && g->runs ? 0 : ERR_NOMEM;
}

static int open_core(struct engine *g)
{
    struct core_settings settings =
        g->replay->settings ? *g->replay->settings : core_settings_default;
    settings.bundle_max = 1; /* the replayed workers begin at once what they are given */
    settings.changes_every_ms = DUTY_MS;
    settings.world_every_ms = DUTY_MS;
    settings.sweep_every_ms = DUTY_MS;
    settings.fire_every_ms = DUTY_MS;
    settings.take_every_ms = DUTY_MS;
    struct core_ports ports = ports_of(g);
    g->core = core_new(&ports, &settings);
    return g->core ? 0 : ERR_NOMEM;
}

static void close_engine(struct engine *g)
{
    core_free(g->core);
    while (g->first) {
        struct pending *p = g->first;
        g->first = p->next;
        mem_free(p);
    }
    heap_close(&g->running);
    names_close(&g->by_name);
    mem_free(g->runs);
    mem_free(g->workers);
    mem_free(g->table);
}

int replay_run(struct replay *r, struct err_buf *e)
{
    if (r->job_count > REPLAY_JOBS_MAX || r->worker_count > REPLAY_WORKERS_MAX) {
        return err_set(e, ERR_LIMIT, "at most %d jobs and %d workers can be replayed",
                       REPLAY_JOBS_MAX, REPLAY_WORKERS_MAX);
    }
    struct engine g = {.replay = r};
    heap_init(&g.running, NULL);
    r->end_ms = 0;
    int rc = open_jobs(&g);
    rc = rc ? rc : open_workers(&g);
    rc = rc ? rc : check_jobs(&g, e);
    rc = rc ? rc : open_core(&g);
    if (rc == 0) {
        run_night(&g);
        r->stuck = r->job_count - g.ended;
        r->decisions = core_count(g.core).decisions;
        rc = g.fault ? err_set(e, ERR_INTERNAL, "%s", g.fault) : 0;
    } else if (rc == ERR_NOMEM) {
        rc = err_set(e, rc, "%s", err_text(rc));
    }
    close_engine(&g);
    return rc;
}
