/*
 * A core with ports that only note what was asked of them; the test gives the answers. Rows are
 * made from a few fields; everything else has a default.
 */
#ifndef TESTS_UNIT_CORE_BENCH_H
#define TESTS_UNIT_CORE_BENCH_H

#include "scheduler/core/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum bench_call {
    BENCH_LOAD = 1,
    BENCH_WORLD,
    BENCH_CHANGES,
    BENCH_SWEEP,
    BENCH_FIRE,
    BENCH_ADMIT,
    BENCH_RELEASE,
    BENCH_DISPATCH,
    BENCH_FINISH,
    BENCH_END,
    BENCH_LATE,
    BENCH_SKIP,
    BENCH_PLAN,
    BENCH_FAN_OUT,
    BENCH_CLOSE,
    BENCH_CANCEL_CHILDREN,
    BENCH_QUORUM,
    BENCH_TAKE
};

enum { BENCH_CALLS = 64, BENCH_JOBS = 16 };

/* A store call without an answer yet. */
struct bench_open {
    enum bench_call call;
    uint64_t token;
    size_t count;
    struct core_id jobs[BENCH_JOBS];
    struct core_dispatch dispatches[BENCH_JOBS];
    struct core_end end;
    struct core_skip skip;
    char text[256];
};

static struct {
    struct core *core;
    int64_t now_ms;
    struct bench_open open[BENCH_CALLS];
    size_t open_count;
    struct core_id offered[BENCH_JOBS];
    size_t offered_count;
    const char *fault;
    int admitted_status;
    size_t admitted_count;
    int quorum; /* of the newest fan-out */
} bench;

static inline struct core_id bench_id(uint64_t n)
{
    return (struct core_id){.high = 7, .low = n};
}

/* --- ports
 * ------------------------------------------------------------------------------------------- */

static inline struct bench_open *bench_note(enum bench_call call, uint64_t token)
{
    assert_true(bench.open_count < BENCH_CALLS);
    struct bench_open *o = &bench.open[bench.open_count++];
    *o = (struct bench_open){.call = call, .token = token};
    return o;
}

static inline void bench_note_ids(enum bench_call call, uint64_t token, const struct core_id *ids,
                                  size_t count)
{
    struct bench_open *o = bench_note(call, token);
    assert_true(count <= BENCH_JOBS);
    o->count = count;
    memcpy(o->jobs, ids, count * sizeof *ids);
}

static inline void bench_load(void *self, uint64_t token, struct core_id after, size_t limit)
{
    (void)self;
    (void)after;
    bench_note(BENCH_LOAD, token)->count = limit;
}
static inline void bench_world(void *self, uint64_t token)
{
    (void)self;
    (void)bench_note(BENCH_WORLD, token);
}
static inline void bench_changes(void *self, uint64_t token)
{
    (void)self;
    (void)bench_note(BENCH_CHANGES, token);
}
static inline void bench_sweep(void *self, uint64_t token)
{
    (void)self;
    (void)bench_note(BENCH_SWEEP, token);
}
static inline void bench_fire(void *self, uint64_t token)
{
    (void)self;
    (void)bench_note(BENCH_FIRE, token);
}
static inline void bench_take_call(void *self, uint64_t token, size_t limit)
{
    (void)self;
    bench_note(BENCH_TAKE, token)->count = limit;
}
static inline void bench_admit(void *self, uint64_t token, const struct core_submission *jobs,
                               size_t count)
{
    (void)self;
    struct bench_open *o = bench_note(BENCH_ADMIT, token);
    o->count = count;
    o->jobs[0] = jobs[0].id;
    (void)snprintf(o->text, sizeof o->text, "%s", jobs[0].error_text ? jobs[0].error_text : "");
}
static inline void bench_release(void *self, uint64_t token, const struct core_id *jobs,
                                 size_t count)
{
    (void)self;
    bench_note_ids(BENCH_RELEASE, token, jobs, count);
}
static inline void bench_close_parents(void *self, uint64_t token, const struct core_id *jobs,
                                       size_t count)
{
    (void)self;
    bench_note_ids(BENCH_CLOSE, token, jobs, count);
}
static inline void bench_quorum(void *self, uint64_t token, const struct core_id *jobs,
                                size_t count)
{
    (void)self;
    bench_note_ids(BENCH_QUORUM, token, jobs, count);
}
static inline void bench_dispatch(void *self, uint64_t token, const struct core_dispatch *jobs,
                                  size_t count)
{
    (void)self;
    struct bench_open *o = bench_note(BENCH_DISPATCH, token);
    assert_true(count <= BENCH_JOBS);
    o->count = count;
    memcpy(o->dispatches, jobs, count * sizeof *jobs);
    for (size_t i = 0; i < count; i++) {
        o->jobs[i] = jobs[i].job;
    }
}
static inline void bench_late(void *self, uint64_t token, const struct core_result *result)
{
    (void)self;
    bench_note_ids(BENCH_LATE, token, &result->job, 1);
}
static inline void bench_finish(void *self, uint64_t token, const struct core_result *results,
                                size_t count)
{
    (void)self;
    struct bench_open *o = bench_note(BENCH_FINISH, token);
    assert_true(count <= BENCH_JOBS);
    o->count = count;
    for (size_t i = 0; i < count; i++) {
        o->jobs[i] = results[i].job;
    }
}
static inline void bench_end(void *self, uint64_t token, const struct core_end *ends, size_t count)
{
    (void)self;
    assert_int_equal(count, 1);
    bench_note_ids(BENCH_END, token, &ends->job, 1);
    bench.open[bench.open_count - 1].end = *ends;
}
static inline void bench_skip(void *self, uint64_t token, const struct core_skip *skips,
                              size_t count)
{
    (void)self;
    struct bench_open *o = bench_note(BENCH_SKIP, token);
    o->count = count;
    o->skip = skips[0];
    o->jobs[0] = skips[0].job;
    (void)snprintf(o->text, sizeof o->text, "%s", skips[0].error_text);
}
static inline void bench_plan(void *self, uint64_t token, struct core_id parent)
{
    (void)self;
    bench_note_ids(BENCH_PLAN, token, &parent, 1);
}
static inline void bench_fan_out(void *self, uint64_t token, struct core_id parent, int quorum,
                                 const struct core_submission *children, size_t count)
{
    (void)self;
    (void)children;
    bench.quorum = quorum;
    bench_note_ids(BENCH_FAN_OUT, token, &parent, 1);
    bench.open[bench.open_count - 1].count = count;
}
static inline void bench_cancel_children(void *self, uint64_t token, struct core_id parent)
{
    (void)self;
    bench_note_ids(BENCH_CANCEL_CHILDREN, token, &parent, 1);
}
static inline int64_t bench_now(void *self)
{
    (void)self;
    return bench.now_ms;
}
static inline uint64_t bench_random(void *self)
{
    (void)self;
    return 12345;
}
static inline void bench_fault(void *self, const char *reason)
{
    (void)self;
    bench.fault = reason;
}
static inline void bench_ready(void *self, const struct core_record *job)
{
    (void)self;
    assert_true(bench.offered_count < BENCH_JOBS);
    bench.offered[bench.offered_count++] = job->id;
}
static inline void bench_admitted(void *self, void *cookie, int status,
                                  const struct core_admitted *rows, size_t count)
{
    (void)self;
    (void)cookie;
    (void)rows;
    bench.admitted_status = status;
    bench.admitted_count += count;
}

/* --- answers
 * ------------------------------------------------------------------------------------------ */

/* The oldest open call must be this one; takes it. */
static inline struct bench_open bench_take(enum bench_call call)
{
    assert_true(bench.open_count > 0);
    struct bench_open first = bench.open[0];
    assert_int_equal(first.call, call);
    bench.open_count--;
    memmove(&bench.open[0], &bench.open[1], bench.open_count * sizeof bench.open[0]);
    return first;
}

/* How many calls of that kind are open. */
static inline size_t bench_count(enum bench_call call)
{
    size_t count = 0;
    for (size_t i = 0; i < bench.open_count; i++) {
        count += bench.open[i].call == call;
    }
    return count;
}

static inline struct bench_open bench_answer(enum bench_call call, const struct core_record *rows,
                                             size_t count)
{
    struct bench_open o = bench_take(call);
    core_answer(bench.core,
                &(struct core_answer){.token = o.token, .records = rows, .record_count = count});
    core_check(bench.core);
    return o;
}

static inline void bench_answer_world(const struct core_world *world)
{
    struct bench_open o = bench_take(BENCH_WORLD);
    core_answer(bench.core, &(struct core_answer){.token = o.token, .world = world});
    core_check(bench.core);
}

/* Answers everything that only asks, with nothing, until a call that acts comes first. */
static inline void bench_settle(const struct core_world *world)
{
    while (bench.open_count > 0) {
        enum bench_call call = bench.open[0].call;
        if (call == BENCH_WORLD) {
            bench_answer_world(world);
        } else if (call == BENCH_CHANGES || call == BENCH_SWEEP || call == BENCH_FIRE ||
                   call == BENCH_TAKE) {
            (void)bench_answer(call, NULL, 0);
        } else {
            break;
        }
    }
}

static inline struct core_record bench_row(uint64_t n, enum core_state state, const char *market)
{
    return (struct core_record){.id = bench_id(n),
                                .state = state,
                                .kind = span_of("noop"),
                                .market = span_of(market),
                                .region = span_of("eu"),
                                .queued_ms = (int64_t)n,
                                .max_attempts = 3};
}

static const struct core_market_row bench_markets[] = {
    {.code = {"de-DE", 5}, .region = {"eu", 2}, .weight = 1},
    {.code = {"fr-FR", 5}, .region = {"eu", 2}, .weight = 1},
    {.code = {"ja-JP", 5}, .region = {"ap", 2}, .weight = 1},
};
static const struct core_region_row bench_regions[] = {{.name = {"ap", 2}}, {.name = {"eu", 2}}};

static inline struct core_worker_row bench_worker_of(const char *name, const char *incarnation,
                                                     int slots)
{
    return (struct core_worker_row){.name = span_of(name),
                                    .incarnation = span_of(incarnation),
                                    .region = span_of("eu"),
                                    .slots = slots,
                                    .is_live = true};
}

/* One live worker "w" of region eu with that many slots; all markets as above. */
static inline struct core_world bench_world_of(struct core_worker_row *worker, int slots)
{
    *worker = (struct core_worker_row){.name = span_of("w"),
                                       .incarnation = span_of("one"),
                                       .region = span_of("eu"),
                                       .slots = slots,
                                       .is_live = slots > 0};
    return (struct core_world){.markets = bench_markets,
                               .market_count = 3,
                               .regions = bench_regions,
                               .region_count = 2,
                               .workers = worker,
                               .worker_count = 1};
}

/* A started core that has loaded the rows and knows a worker with that many slots. */
static inline void bench_start(const struct core_record *rows, size_t count, int slots)
{
    memset(&bench, 0, sizeof bench);
    bench.now_ms = 1000;
    struct core_ports ports = {.now_ms = bench_now,
                               .random = bench_random,
                               .fault = bench_fault,
                               .store = {.load = bench_load,
                                         .world = bench_world,
                                         .changes = bench_changes,
                                         .sweep = bench_sweep,
                                         .fire = bench_fire,
                                         .take = bench_take_call,
                                         .admit = bench_admit,
                                         .release = bench_release,
                                         .dispatch = bench_dispatch,
                                         .finish = bench_finish,
                                         .late = bench_late,
                                         .end = bench_end,
                                         .skip = bench_skip,
                                         .plan = bench_plan,
                                         .fan_out = bench_fan_out,
                                         .quorum = bench_quorum,
                                         .close = bench_close_parents,
                                         .cancel_children = bench_cancel_children},
                               .transport = {.ready = bench_ready, .admitted = bench_admitted}};
    bench.core = core_new(&ports, &core_settings_default);
    assert_non_null(bench.core);
    core_start(bench.core);
    (void)bench_answer(BENCH_LOAD, rows, count);
    struct core_worker_row worker;
    struct core_world world = bench_world_of(&worker, slots);
    bench_answer_world(&world);
    assert_true(core_is_ready(bench.core));
    bench_settle(&world);
}

static inline void bench_stop(void)
{
    core_free(bench.core);
    assert_null(bench.fault);
}

#endif
