/*
 * The core's life: start, load, tick, answers. Everything that decides is in the other files.
 *
 *   STOPPED ──core_start──► LOADING ──last page and world──► READY
 *      ▲                       │                               │
 *      └───────core_stop───────┴───────────────────────────────┘
 */
#include "common/base/mem.h"
#include "scheduler/core/core_int.h"

const struct core_settings core_settings_default = {
    .changes_every_ms = 250, /* how long the scheduler may not know of a cancel or a retry */
    .world_every_ms = 1000,
    .sweep_every_ms = 1000,
    .fire_every_ms = 2000,
    .take_every_ms =
        250, /* how long a submission by SQL may not be seen, should its wake be lost */
    .keep_every_ms = 5000,
    .batch_max = 256,
    .load_page = 5000, /* rows of about 300 bytes: a page stays under 2 MB */
    .crashes_max = 3,
    .memory_max_mb = 1048576,
    .backoff_min_ms = 1000,
    .backoff_max_ms = 300000,
    .priority_age_ms = 3600000,
    .share_half_life_ms = 3600000,
    .short_ms = 5,
    .short_after = 16,
    .bundle_ms = 50, /* how much later than alone a job of another kind may get its slot */
    .bundle_max = 64,
};

int64_t core__now(const struct core *c)
{
    return c->ports.now_ms(c->ports.self);
}

void core__fault(struct core *c, const char *reason)
{
    if (!c->is_broken) {
        c->is_broken = true;
        c->ports.fault(c->ports.self, reason);
    }
}

struct core *core_new(const struct core_ports *ports, const struct core_settings *settings)
{
    struct core *c = mem_new(sizeof *c);
    if (c) {
        c->ports = *ports;
        c->settings = *settings;
        list_init(&c->dirty);
        slab_init(&c->job_slab, sizeof(struct core_job));
        slab_init(&c->lane_slab, sizeof(struct core_lane));
        list_init(&c->changed);
        heap_init(&c->due, NULL); /* no two jobs have one key */
    }
    return c;
}

void core_free(struct core *c)
{
    if (c) {
        core_stop(c);
        mem_free(c);
    }
}

/* --- calls ----------------------------------------------------------------------------------- */

uint64_t core__call_with(struct core *c, enum core_call call, const struct core_id *jobs,
                         size_t count, void *cookie)
{
    if (c->is_broken) {
        return 0;
    }
    struct core_pending *p = mem_new(sizeof *p + count * sizeof(struct core_id));
    if (!p) {
        core__fault(c, "out of memory");
        return 0;
    }
    p->call = call;
    p->token = ++c->token;
    p->cookie = cookie;
    p->count = count;
    for (size_t i = 0; i < count; i++) {
        p->jobs[i] = jobs[i];
        struct core_job *job = core__job_find(c, jobs[i]);
        if (job) {
            job->pending++;
        }
    }
    *(c->last_call ? &c->last_call->next : &c->first_call) = p;
    c->last_call = p;
    c->calls_open++;
    c->calls_of[call]++;
    return p->token;
}

uint64_t core__call(struct core *c, enum core_call call, const struct core_id *jobs, size_t count)
{
    return core__call_with(c, call, jobs, count, NULL);
}

static struct core_pending *call_take(struct core *c, uint64_t token)
{
    struct core_pending *p = c->first_call;
    CHECK(p && p->token == token); /* answers come in the order of the calls */
    c->first_call = p->next;
    if (!c->first_call) {
        c->last_call = NULL;
    }
    c->calls_open--;
    c->calls_of[p->call]--;
    for (size_t i = 0; i < p->count; i++) {
        struct core_job *job = core__job_find(c, p->jobs[i]);
        if (job) {
            CHECK(job->pending > 0);
            job->pending--;
            core__job_dirty(c, job);
        }
    }
    return p;
}

/* --- start and stop -------------------------------------------------------------------------- */

static void load_page(struct core *c, struct core_id after)
{
    uint64_t token = core__call(c, CORE_CALL_LOAD, NULL, 0);
    if (token) {
        c->ports.store.load(c->ports.store.self, token, after, c->settings.load_page);
    }
}

void core_start(struct core *c)
{
    CHECK(c->phase == CORE_PHASE_STOPPED);
    c->phase = CORE_PHASE_LOADING;
    c->is_broken = false;
    c->anywhere = core__region_get(c, span_of(""));
    c->no_market = core__market_get(c, span_of(""));
    c->no_task = core__task_get(c, span_of(""));
    c->clock = (struct share_clock){.reference_ms = core__now(c),
                                    .half_life_ms = c->settings.share_half_life_ms};
    load_page(c, (struct core_id){0, 0});
}

void core_stop(struct core *c)
{
    core__jobs_clear(c);
    heap_close(&c->due);
    core__places_clear(c);
    while (c->first_call) {
        struct core_pending *p = c->first_call;
        c->first_call = p->next;
        mem_free(p);
    }
    c->last_call = NULL;
    c->calls_open = 0;
    for (int i = 0; i < CORE_CALL_COUNT; i++) {
        c->calls_of[i] = 0;
    }
    c->phase = CORE_PHASE_STOPPED;
    c->is_broken = false;
    c->is_paused = false;
}

bool core_is_ready(const struct core *c)
{
    return c->phase == CORE_PHASE_READY && !c->is_broken;
}

struct core_counts core_count(const struct core *c)
{
    return (struct core_counts){.waiting = c->state_count[CORE_STATE_WAITING],
                                .queued = c->state_count[CORE_STATE_QUEUED],
                                .dispatched = c->state_count[CORE_STATE_DISPATCHED],
                                .running = c->state_count[CORE_STATE_RUNNING],
                                .decisions = c->decisions,
                                .visits = c->visits,
                                .calls_open = c->calls_open,
                                .results_open = c->calls_of[CORE_CALL_FINISH]};
}

const struct core_tally *core_tally(const struct core *c)
{
    return &c->tally;
}

/* --- duties ---------------------------------------------------------------------------------- */

static const enum core_call duty_call[CORE_DUTY_COUNT] = {
    [CORE_DUTY_CHANGES] = CORE_CALL_CHANGES, [CORE_DUTY_WORLD] = CORE_CALL_WORLD,
    [CORE_DUTY_SWEEP] = CORE_CALL_SWEEP,     [CORE_DUTY_FIRE] = CORE_CALL_FIRE,
    [CORE_DUTY_TAKE] = CORE_CALL_TAKE,       [CORE_DUTY_KEEP] = CORE_CALL_KEEP};

static int64_t duty_period(const struct core *c, enum core_duty duty)
{
    switch (duty) {
    case CORE_DUTY_CHANGES:
        return c->settings.changes_every_ms;
    case CORE_DUTY_WORLD:
        return c->settings.world_every_ms;
    case CORE_DUTY_SWEEP:
        return c->settings.sweep_every_ms;
    case CORE_DUTY_TAKE:
        return c->settings.take_every_ms;
    case CORE_DUTY_KEEP:
        return c->settings.keep_every_ms;
    case CORE_DUTY_FIRE:
    case CORE_DUTY_COUNT:
        break;
    }
    return c->settings.fire_every_ms;
}

static void duty_run(struct core *c, enum core_duty duty)
{
    const struct core_store *store = &c->ports.store;
    if (duty == CORE_DUTY_KEEP) {
        core__keep(c);
        return;
    }
    uint64_t token = core__call(c, duty_call[duty], NULL, 0);
    if (token == 0) {
        return;
    }
    switch (duty) {
    case CORE_DUTY_CHANGES:
        store->changes(store->self, token);
        break;
    case CORE_DUTY_WORLD:
        store->world(store->self, token);
        break;
    case CORE_DUTY_SWEEP:
        store->sweep(store->self, token);
        break;
    case CORE_DUTY_TAKE:
        store->take(store->self, token, c->settings.batch_max);
        break;
    case CORE_DUTY_FIRE:
    case CORE_DUTY_KEEP:
    case CORE_DUTY_COUNT:
        store->fire(store->self, token);
        break;
    }
}

static int64_t duties_run(struct core *c, int64_t now)
{
    int64_t next = now + c->settings.changes_every_ms;
    for (int i = 0; i < CORE_DUTY_COUNT; i++) {
        /* One of a kind at a time: a slow record must not be asked faster than it answers. */
        if (now >= c->duty_at[i] && c->calls_of[duty_call[i]] == 0) {
            c->duty_at[i] = now + duty_period(c, (enum core_duty)i);
            duty_run(c, (enum core_duty)i);
        }
        if (c->duty_at[i] > now && c->duty_at[i] < next) {
            next = c->duty_at[i];
        }
    }
    return next;
}

static void due_run(struct core *c, int64_t now)
{
    struct heap_node *node;
    while ((node = heap_first(&c->due)) != NULL) {
        struct core_job *job = LIST_OWNER(node, struct core_job, in_due);
        if (job->due_ms > now) {
            break;
        }
        heap_remove(&c->due, &job->in_due);
        core__job_dirty(c, job);
    }
}

/* Acts on all that changed since the last time. */
static void decide(struct core *c)
{
    if (!core_is_ready(c)) {
        return;
    }
    core__graph_settle(c);
    core__dispatch(c);
}

int64_t core_tick(struct core *c)
{
    if (!core_is_ready(c)) {
        return c->settings.changes_every_ms;
    }
    int64_t now = core__now(c);
    int64_t next = duties_run(c, now);
    due_run(c, now);
    decide(c);
    struct heap_node *first = heap_first(&c->due);
    if (first && LIST_OWNER(first, struct core_job, in_due)->due_ms < next) {
        next = LIST_OWNER(first, struct core_job, in_due)->due_ms;
    }
    return next > now ? next - now : 0;
}

/* --- answers --------------------------------------------------------------------------------- */

static void recall(struct core *c)
{
    uint64_t token = c->ports.store.recall ? core__call(c, CORE_CALL_RECALL, NULL, 0) : 0;
    if (token) {
        c->ports.store.recall(c->ports.store.self, token);
    }
}

static void loaded(struct core *c, const struct core_answer *answer)
{
    if (c->phase != CORE_PHASE_LOADING) {
        return;
    }
    if (answer->record_count == c->settings.load_page) {
        load_page(c, answer->records[answer->record_count - 1].id);
        return;
    }
    recall(c);
    uint64_t token = core__call(c, CORE_CALL_WORLD, NULL, 0);
    if (token) {
        c->ports.store.world(c->ports.store.self, token);
    }
}

static void world_came(struct core *c, const struct core_answer *answer)
{
    CHECK(answer->world);
    core__world_apply(c, answer->world);
    if (c->phase == CORE_PHASE_LOADING) {
        c->phase = CORE_PHASE_READY;
        for (int i = 0; i < CORE_DUTY_COUNT; i++) {
            c->duty_at[i] = core__now(c);
        }
    }
}

/* What came back of an assignment: the worker is told only after the record has the attempt. A job
 * that is queued still was not let through. */
static void assigned(struct core *c, const struct core_answer *answer)
{
    for (size_t i = 0; i < answer->record_count; i++) {
        const struct core_record *record = &answer->records[i];
        if (record->state == CORE_STATE_DISPATCHED) {
            c->ports.transport.ready(c->ports.transport.self, record);
        }
    }
}

/* Before the rows are taken over, which makes the mirror forget who was meant. */
static void refusals(struct core *c, const struct core_answer *answer)
{
    for (size_t i = 0; i < answer->record_count; i++) {
        struct core_job *job = core__job_find(c, answer->records[i].id);
        if (answer->records[i].state == CORE_STATE_QUEUED && job && job->worker) {
            core__worker_refused(c, job->worker);
        }
    }
}

/* Before the row is taken over, for the same reason. Not when it was reported: workers that were
 * listed before are answered in between. */
static void unread(struct core *c, const struct core_pending *p)
{
    struct core_job *job = core__job_find(c, p->jobs[0]);
    if (job && job->is_unread && job->worker) {
        core__worker_aside(c, job->worker);
    }
}

static void plan_failed(struct core *c, const struct core_pending *p, const char *reason)
{
    struct core_skip skip = {.job = p->jobs[0],
                             .state = CORE_STATE_FAILED,
                             .error_code = "INVALID",
                             .error_text = reason};
    uint64_t token = core__call(c, CORE_CALL_SKIP, &skip.job, 1);
    if (token) {
        c->ports.store.skip(c->ports.store.self, token, &skip, 1);
    }
}

static void plan_came(struct core *c, const struct core_pending *p,
                      const struct core_answer *answer)
{
    CHECK(answer->plan);
    struct core_plan plan = *answer->plan;
    plan.parent = p->jobs[0];
    core__plan_apply(c, &plan);
}

static void refused(struct core *c, const struct core_pending *p, const struct core_answer *answer)
{
    const char *reason = answer->error_text ? answer->error_text : err_text(answer->status);
    switch (p->call) {
    case CORE_CALL_ADMIT:
        c->ports.transport.admitted(c->ports.transport.self, p->cookie, answer->status, NULL, 0);
        break;
    case CORE_CALL_FINISH:
        core__finish_refused(c, p, reason);
        break;
    case CORE_CALL_FAN_OUT:
        plan_failed(c, p, reason);
        break;
    case CORE_CALL_LATE:
        break;                  /* it changed nothing either way */
    case CORE_CALL_ADMIT_TAKEN: /* comes again, one by one */
    case CORE_CALL_FIRE:
    case CORE_CALL_KEEP:
        break; /* tried again at the next turn */
    default:
        core__fault(c, reason);
        break;
    }
}

/* The jobs of an answer are all over the memory; so the first is still dealt with while those after
 * it are fetched: two steps ahead what stands in the bucket, four ahead the bucket. */
static void take_rows(struct core *c, const struct core_record *rows, size_t count)
{
    enum { JOB_AHEAD = 2, BUCKET_AHEAD = 4 };
    for (size_t i = 0; i < count && !c->is_broken; i++) {
        if (i + BUCKET_AHEAD < count) {
            core__job_foresee(c, rows[i + BUCKET_AHEAD].id, false);
        }
        if (i + JOB_AHEAD < count) {
            core__job_foresee(c, rows[i + JOB_AHEAD].id, true);
        }
        core__record_apply(c, &rows[i]);
    }
}

static void accepted(struct core *c, const struct core_pending *p, const struct core_answer *answer)
{
    if (p->call == CORE_CALL_DISPATCH) {
        refusals(c, answer);
    } else if (p->call == CORE_CALL_END) {
        unread(c, p);
    }
    take_rows(c, answer->records, answer->record_count);
    switch (p->call) {
    case CORE_CALL_LOAD:
        loaded(c, answer);
        break;
    case CORE_CALL_WORLD:
        world_came(c, answer);
        break;
    case CORE_CALL_SWEEP:
        core__expired_apply(c, answer->expired, answer->expired_count);
        break;
    case CORE_CALL_ADMIT:
        c->ports.transport.admitted(c->ports.transport.self, p->cookie, 0, answer->admitted,
                                    answer->admitted_count);
        break;
    case CORE_CALL_DISPATCH:
        assigned(c, answer);
        break;
    case CORE_CALL_TAKE:
        core__taken_apply(c, answer->submissions, answer->submission_count);
        break;
    case CORE_CALL_FINISH:
        core__finished(c, p, answer);
        break;
    case CORE_CALL_PLAN:
        plan_came(c, p, answer);
        break;
    case CORE_CALL_RECALL:
        CHECK(answer->kept);
        core__recall(c, answer->kept);
        break;
    default:
        break;
    }
}

/* Somebody asked to look while the last look was still under way. */
static bool is_look_due(const struct core *c)
{
    return c->duty_at[CORE_DUTY_WORLD] == 0 || c->duty_at[CORE_DUTY_CHANGES] == 0;
}

void core_answer(struct core *c, const struct core_answer *answer)
{
    if (c->phase == CORE_PHASE_STOPPED || c->is_broken) {
        return;
    }
    struct core_pending *p = call_take(c, answer->token);
    if (answer->status) {
        refused(c, p, answer);
    } else {
        accepted(c, p, answer);
    }
    mem_free(p);
    if (is_look_due(c)) {
        (void)core_tick(c);
    } else {
        decide(c);
    }
}

/* --- other events ---------------------------------------------------------------------------- */

void core_worker_changed(struct core *c)
{
    c->duty_at[CORE_DUTY_WORLD] = 0;
    c->duty_at[CORE_DUTY_CHANGES] = 0;
    c->duty_at[CORE_DUTY_TAKE] = 0;
    (void)core_tick(c); /* the owner's timer goes by the answer that follows */
}
