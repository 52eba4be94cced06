/*
 * What a decision costs with few queued jobs and with many: 1,000 markets and 1,000 workers of
 * several sizes and labels, tasks with limits, requests that differ. Counted are comparisons in
 * heaps and nodes looked at in search of a worker, so the figure is the same on every machine. A
 * decision must cost at most a few dozen of them for each doubling of what is queued.
 *
 *     sim_scale [JOBS [DECISIONS]]     (1000000 20000)
 */
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "scheduler/core/core.h"
#include "scheduler/core/heap.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MARKETS = 1000,
    WORKERS = 1000,
    REGIONS = 4,
    TASKS = 8,
    NAME = 16,
    CALLS = 64,
    DISPATCHES = 8192,
    PAGE = 5000,
    ENDS = 64
};

enum call { LOAD = 1, WORLD, CHANGES, NOTHING, DISPATCH };

struct open_call {
    enum call call;
    uint64_t token;
    struct core_id after;
    size_t first, count; /* of dispatches */
};

static struct {
    struct core *core;
    int64_t now_ms;
    size_t jobs;
    struct open_call calls[CALLS];
    size_t call_first, call_count;
    struct core_dispatch given[DISPATCHES]; /* a ring */
    size_t given_count;
    size_t taken; /* running, oldest first, from here to given_count */
    char markets[MARKETS][NAME], workers[WORKERS][NAME], tasks[TASKS][NAME];
} s;

static const char *const regions[REGIONS] = {"amer", "apac", "emea", "mena"};

/* --- the ports only note what was asked ------------------------------------------------------ */

static struct open_call *note(enum call call, uint64_t token)
{
    CHECK(s.call_count < CALLS);
    struct open_call *c = &s.calls[(s.call_first + s.call_count++) % CALLS];
    *c = (struct open_call){.call = call, .token = token};
    return c;
}

static void port_load(void *self, uint64_t token, struct core_id after, size_t limit)
{
    (void)self;
    CHECK(limit == PAGE);
    note(LOAD, token)->after = after;
}
static void port_world(void *self, uint64_t token)
{
    (void)self;
    (void)note(WORLD, token);
}
static void port_changes(void *self, uint64_t token)
{
    (void)self;
    (void)note(CHANGES, token);
}
static void port_nothing(void *self, uint64_t token)
{
    (void)self;
    (void)note(NOTHING, token);
}
static void port_take(void *self, uint64_t token, size_t limit)
{
    (void)limit;
    port_nothing(self, token);
}
static void port_dispatch(void *self, uint64_t token, const struct core_dispatch *jobs,
                          size_t count)
{
    (void)self;
    struct open_call *c = note(DISPATCH, token);
    c->first = s.given_count;
    c->count = count;
    for (size_t i = 0; i < count; i++) {
        s.given[s.given_count++ % DISPATCHES] = jobs[i];
    }
    CHECK(s.given_count - s.taken <= DISPATCHES);
}
static void port_ready(void *self, const struct core_record *job)
{
    (void)self;
    (void)job;
}
static int64_t port_now(void *self)
{
    (void)self;
    return s.now_ms;
}
static uint64_t port_random(void *self)
{
    (void)self;
    return 1;
}
static void port_fault(void *self, const char *reason)
{
    (void)self;
    (void)fprintf(stderr, "fault: %s\n", reason);
    abort();
}

/* --- answers --------------------------------------------------------------------------------- */

/* Job n is always the same one, in whatever state. */
static struct core_record row_of(uint64_t n, enum core_state state)
{
    static const int memory_mb[] = {512, 2048, 4096, 16384};
    uint64_t mix = rng_mix(n);
    size_t market = mix % MARKETS;
    return (struct core_record){
        .id = {0, n},
        .state = state,
        .kind = span_of("finetune"),
        .market = span_of(s.markets[market]),
        .task = span_of(s.tasks[(mix >> 12) % TASKS]),
        .region = span_of(regions[market % REGIONS]),
        .priority = (int)((mix >> 20) % 11) - 5,
        .max_attempts = 3,
        .queued_ms = 1764000000000 - (int64_t)((mix >> 24) % 86400000),
        .memory_mb = memory_mb[(mix >> 32) % 4],
        .threads = 1 + (int)((mix >> 36) % 4),
        .labels = span_of((mix >> 40) % 10 == 0 ? "gpu=a100" : ""),
    };
}

static void give_page(const struct open_call *c)
{
    static struct core_record rows[PAGE];
    size_t count = 0;
    for (uint64_t n = c->after.low + 1; n <= s.jobs && count < PAGE; n++) {
        rows[count++] = row_of(n, CORE_STATE_QUEUED);
    }
    core_answer(s.core,
                &(struct core_answer){.token = c->token, .records = rows, .record_count = count});
}

static void give_world(const struct open_call *c)
{
    static struct core_market_row markets[MARKETS];
    static struct core_worker_row workers[WORKERS];
    static struct core_region_row places[REGIONS];
    static struct core_task_row tasks[1];
    for (size_t i = 0; i < MARKETS; i++) {
        markets[i] = (struct core_market_row){.code = span_of(s.markets[i]),
                                              .region = span_of(regions[i % REGIONS]),
                                              .weight = 1 + (double)(i % 3),
                                              .max_running = i % 7 == 0 ? 2 : 0};
    }
    for (size_t i = 0; i < WORKERS; i++) {
        workers[i] = (struct core_worker_row){.name = span_of(s.workers[i]),
                                              .incarnation = span_of("1"),
                                              .region = span_of(regions[i % REGIONS]),
                                              .slots = 1 + (int)(i % 4),
                                              .threads = 2 + (int)(i % 8),
                                              .memory_mb = 4096 << (i % 4),
                                              .labels = span_of(i % 16 == 0 ? "gpu=a100" : ""),
                                              .is_live = true};
    }
    for (size_t i = 0; i < REGIONS; i++) {
        places[i] =
            (struct core_region_row){.name = span_of(regions[i]), .max_running = i == 0 ? 400 : 0};
    }
    tasks[0] = (struct core_task_row){.name = span_of(s.tasks[0]), .max_running = 50};
    struct core_world world = {.markets = markets,
                               .market_count = MARKETS,
                               .workers = workers,
                               .worker_count = WORKERS,
                               .regions = places,
                               .region_count = REGIONS,
                               .tasks = tasks,
                               .task_count = 1};
    core_answer(s.core, &(struct core_answer){.token = c->token, .world = &world});
}

/* The record has the attempts: they run. */
static void give_running(const struct open_call *c)
{
    static struct core_record rows[DISPATCHES];
    for (size_t i = 0; i < c->count; i++) {
        const struct core_dispatch *d = &s.given[(c->first + i) % DISPATCHES];
        rows[i] = row_of(d->job.low, CORE_STATE_RUNNING);
        rows[i].attempt = d->attempt;
        rows[i].worker = d->worker;
    }
    core_answer(s.core, &(struct core_answer){
                            .token = c->token, .records = rows, .record_count = c->count});
}

/* The oldest ones have ended, and as many new jobs have come. */
static void give_ends(const struct open_call *c)
{
    static struct core_record rows[2 * ENDS];
    size_t count = 0;
    for (size_t i = 0; i < ENDS && s.taken < s.given_count; i++) {
        const struct core_dispatch *d = &s.given[s.taken++ % DISPATCHES];
        rows[count] = row_of(d->job.low, CORE_STATE_SUCCEEDED);
        rows[count++].attempt = d->attempt;
        rows[count++] = row_of(++s.jobs, CORE_STATE_QUEUED);
    }
    core_answer(s.core,
                &(struct core_answer){.token = c->token, .records = rows, .record_count = count});
}

static void answer_one(void)
{
    struct open_call c = s.calls[s.call_first % CALLS];
    s.call_first++;
    s.call_count--;
    switch (c.call) {
    case LOAD:
        give_page(&c);
        break;
    case WORLD:
        give_world(&c);
        break;
    case CHANGES:
        give_ends(&c);
        break;
    case DISPATCH:
        give_running(&c);
        break;
    case NOTHING:
        core_answer(s.core, &(struct core_answer){.token = c.token});
        break;
    }
}

static double cpu_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* cannot fail */
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void start(size_t jobs)
{
    struct core_ports ports = {.now_ms = port_now,
                               .random = port_random,
                               .fault = port_fault,
                               .store = {.load = port_load,
                                         .world = port_world,
                                         .changes = port_changes,
                                         .sweep = port_nothing,
                                         .fire = port_nothing,
                                         .take = port_take,
                                         .dispatch = port_dispatch},
                               .transport = {.ready = port_ready}};
    memset(&s, 0, sizeof s);
    s.jobs = jobs;
    s.now_ms = 1000;
    for (int i = 0; i < MARKETS; i++) {
        (void)snprintf(s.markets[i], NAME, "m%d", i);
    }
    for (int i = 0; i < WORKERS; i++) {
        (void)snprintf(s.workers[i], NAME, "w%d", i);
    }
    for (int i = 0; i < TASKS; i++) {
        (void)snprintf(s.tasks[i], NAME, "t%d", i);
    }
    struct core_settings settings = core_settings_default;
    settings.load_page = PAGE;
    s.core = core_new(&ports, &settings);
    CHECK(s.core);
    core_start(s.core);
}

/* Until so many decisions were made. */
static void run_until(uint64_t decisions)
{
    int idle = 0;
    while (core_count(s.core).decisions < decisions) {
        uint64_t before = core_count(s.core).decisions;
        while (s.call_count > 0) {
            answer_one();
        }
        s.now_ms += 250;
        (void)core_tick(s.core);
        idle = core_count(s.core).decisions == before ? idle + 1 : 0;
        CHECK(idle < 100); /* work is there, and workers: it must go on */
    }
}

/* Operations of one decision, everything included that ends and new jobs cost. */
static double measure(size_t jobs, uint64_t decisions)
{
    double began = cpu_s();
    start(jobs);
    run_until(2000); /* all slots are taken */
    double loaded = cpu_s();
    uint64_t before = core_count(s.core).decisions;
    uint64_t work = heap_compares() + core_count(s.core).visits;
    run_until(before + decisions);
    double ended = cpu_s();
    double made = (double)(core_count(s.core).decisions - before);
    double cost = (double)(heap_compares() + core_count(s.core).visits - work) / made;
    (void)printf("%8zu queued: %6.1f operations and %.2f us a decision; loaded in %.2f s\n", jobs,
                 cost, (ended - loaded) / made * 1e6, loaded - began);
    core_free(s.core);
    return cost;
}

int main(int argc, char **argv)
{
    size_t jobs = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    uint64_t decisions = argc > 2 ? strtoul(argv[2], NULL, 10) : 20000;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    double few = measure(10000, decisions);
    double many = measure(jobs, decisions);
    /* A dozen for each doubling; a million is twenty doublings. */
    double most = 12 * log2((double)jobs);
    (void)printf("many to few: %.2f; bound: %.0f operations\n", many / few, most);
    CHECK(many <= most);
    return 0;
}
