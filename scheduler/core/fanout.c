#include "scheduler/core/fanout.h"

#include "common/base/mem.h"
#include "common/job/job.h"
#include "scheduler/core/admission.h"
#include "scheduler/core/core_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPEC_BYTES_MAX = 64 * 1024, NAME_MAX_ = 256 };

struct core_id fanout_child_id(struct core_id parent, struct span market, const char *kind)
{
    char name[NAME_MAX_];
    (void)snprintf(name, sizeof name, "%s/%.*s/%s", core_id_format(parent).text, (int)market.length,
                   market.length ? market.data : "", kind);
    struct uuid derived = uuid_derive(name);
    struct core_id id = {0, 0};
    CHECK(core_id_parse(span_of(derived.text), &id));
    return id;
}

/* --- one child ------------------------------------------------------------------------------- */

/* Puts "key=value" into a spec. */
static int set_field(enum job_kind kind, struct buf *spec, struct err_buf *e, const char *key,
                     struct span value)
{
    struct buf assignment;
    buf_init(&assignment, SPEC_BYTES_MAX);
    int rc = buf_add_format(&assignment, "%s=", key);
    rc = rc ? rc : buf_add(&assignment, value.data, value.length);
    if (rc == 0) {
        const char *text = buf_text(&assignment);
        rc = text ? job_spec_set(kind, text, spec, e) : ERR_NOMEM;
    }
    buf_close(&assignment);
    return rc;
}

static int add_child(struct fanout *f, const struct core_plan *plan, enum job_kind kind,
                     struct span market, const char *name, struct core_id after, struct buf *spec,
                     struct err_buf *e)
{
    struct core_submission *child = &f->children[f->count];
    f->after[f->count] = after;
    *child = (struct core_submission){
        .id = fanout_child_id(plan->parent, market, name),
        .kind = span_of(job_kind_name(kind)),
        .market = market,
        .task = plan->task,
        .spec = buf_span(spec),
        .priority = plan->priority,
        .after = &f->after[f->count],
        .after_count = core_id_is_none(after) ? 0 : 1,
        .by = plan->by,
        .parent = plan->parent,
        .night = plan->night,
        .is_member = kind == JOB_EVALUATE,
    };
    int rc = core_submission_check(child, &f->storage, e);
    if (rc == 0 && child->error_code) {
        rc = ERR_INVALID;
    }
    f->count += rc == 0;
    return rc;
}

static int start_spec(const struct job_spec *night, enum job_kind kind, const char *const *skip,
                      struct buf *spec)
{
    buf_reset(spec);
    return job_spec_write_for(night, kind, skip, spec);
}

static int add_base(struct fanout *f, const struct core_plan *plan, const struct job_spec *night,
                    struct core_id *ret, struct buf *spec, struct err_buf *e)
{
    static const char *const skip[] = {"base", "compare_scratch", "markets", "task", NULL};
    struct buf sources;
    buf_init(&sources, SPEC_BYTES_MAX);
    int rc = start_spec(night, JOB_FINETUNE, skip, spec);
    for (size_t i = 0; i < plan->source_count && rc == 0; i++) {
        rc = i ? buf_add_text(&sources, ",") : 0;
        rc = rc ? rc : buf_add(&sources, plan->sources[i].data, plan->sources[i].length);
    }
    rc = rc ? rc : set_field(JOB_FINETUNE, spec, e, "markets", buf_span(&sources));
    /* From nothing: what the markets start from must not drift with the nights. */
    rc = rc ? rc : set_field(JOB_FINETUNE, spec, e, "base", span_of("none"));
    struct span nowhere = {NULL, 0};
    *ret = fanout_child_id(plan->parent, nowhere, "finetune");
    rc =
        rc ? rc
           : add_child(f, plan, JOB_FINETUNE, nowhere, "finetune", (struct core_id){0, 0}, spec, e);
    buf_close(&sources);
    return rc;
}

static int add_market(struct fanout *f, const struct core_plan *plan, const struct job_spec *night,
                      struct span market, struct core_id base, struct buf *spec, struct err_buf *e)
{
    static const char *const skip_train[] = {"markets", "task", NULL};
    static const char *const skip_test[] = {"markets",  "task",    "base", "version",
                                            "from_job", "promote", NULL};
    int rc = start_spec(night, JOB_FINETUNE, skip_train, spec);
    rc = rc ? rc : add_child(f, plan, JOB_FINETUNE, market, "finetune", base, spec, e);
    struct core_id tuned = fanout_child_id(plan->parent, market, "finetune");
    rc = rc ? rc : start_spec(night, JOB_EVALUATE, skip_test, spec);
    rc =
        rc ? rc : set_field(JOB_EVALUATE, spec, e, "from_job", span_of(core_id_format(tuned).text));
    rc = rc ? rc
            : set_field(JOB_EVALUATE, spec, e, "promote",
                        span_of(job_spec_bool(night, "promote") ? "true" : "false"));
    return rc ? rc : add_child(f, plan, JOB_EVALUATE, market, "evaluate", tuned, spec, e);
}

/* A market is done when its evaluation succeeded: nothing of the family comes after that. */
static int resolve_quorum(const char *text, size_t markets, int *ret, struct err_buf *e)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);
    long needed = strcmp(text, "all") == 0 ? 0
                  : *end == '%'            ? (value * (long)markets + 99) / 100
                                           : value;
    if (needed > (long)markets) {
        return err_set(e, ERR_INVALID, "spec.quorum: %ld of %zu markets cannot be done", needed,
                       markets);
    }
    *ret = (int)needed;
    return 0;
}

/* --- all of them ------------------------------------------------------------------------------ */

static bool plan_has(const struct core_plan *plan, struct span market)
{
    for (size_t i = 0; i < plan->market_count; i++) {
        if (span_equals(plan->markets[i].code, market)) {
            return true;
        }
    }
    return false;
}

static bool wants_base(const struct core_plan *plan, const struct job_spec *night)
{
    const char *base = job_spec_text(night, "base");
    return plan->source_count > 0 && (strcmp(base, "auto") == 0 || strcmp(base, "global") == 0);
}

static int add_all(struct fanout *f, const struct core_plan *plan, const struct job_spec *night,
                   struct buf *spec, struct err_buf *e)
{
    struct core_id base = {0, 0};
    int rc = wants_base(plan, night) ? add_base(f, plan, night, &base, spec, e) : 0;
    size_t named = job_spec_market_count(night);
    size_t count = named ? named : plan->market_count;
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct span market = named ? span_of(job_spec_market(night, i)) : plan->markets[i].code;
        if (!plan_has(plan, market)) {
            return err_set(e, ERR_INVALID, "spec.markets: there is no market \"%.*s\"",
                           (int)market.length, market.data);
        }
        rc = add_market(f, plan, night, market, base, spec, e);
    }
    return rc;
}

/* Names of markets must outlive the parsed spec: those of the plan do. */
static void rebase_markets(struct fanout *f, const struct core_plan *plan)
{
    for (size_t i = 0; i < f->count; i++) {
        for (size_t m = 0; m < plan->market_count; m++) {
            if (span_equals(f->children[i].market, plan->markets[m].code)) {
                f->children[i].market = plan->markets[m].code;
                break;
            }
        }
    }
}

static int make(struct fanout *f, const struct core_plan *plan, const struct job_spec *night,
                struct err_buf *e)
{
    size_t named = job_spec_market_count(night);
    size_t markets = named ? named : plan->market_count;
    if (markets == 0 || markets > FANOUT_MARKETS_MAX) {
        return err_set(e, ERR_INVALID,
                       markets
                           ? "spec.markets: more than %d"
                           : "spec.markets: there is no market; add one with meridian market set",
                       FANOUT_MARKETS_MAX);
    }
    int rc = resolve_quorum(job_spec_text(night, "quorum"), markets, &f->quorum, e);
    if (rc) {
        return rc;
    }
    size_t room = 2 * markets + 1;
    size_t bytes = room * 3 * 4096 + SPEC_BYTES_MAX;
    f->children = mem_new_array(room, sizeof *f->children);
    f->after = mem_new_array(room, sizeof *f->after);
    buf_init(&f->storage, bytes);
    /* Reserved once: the children's spans point into it. */
    if (!f->children || !f->after || !buf_reserve(&f->storage, bytes)) {
        return ERR_NOMEM;
    }
    struct buf spec;
    buf_init(&spec, SPEC_BYTES_MAX);
    rc = add_all(f, plan, night, &spec, e);
    buf_close(&spec);
    rebase_markets(f, plan);
    return rc;
}

int fanout_init(struct fanout *f, const struct core_plan *plan, struct err_buf *e)
{
    *f = (struct fanout){0};
    struct job_spec *night = NULL;
    int rc = job_spec_parse(JOB_NIGHTLY, plan->spec, &night, e);
    if (rc == 0) {
        rc = make(f, plan, night, e);
    }
    job_spec_free(night);
    if (rc) {
        fanout_close(f);
    }
    return rc;
}

void fanout_close(struct fanout *f)
{
    mem_free(f->children);
    mem_free(f->after);
    buf_close(&f->storage);
    *f = (struct fanout){0};
}

/* --- in the core ------------------------------------------------------------------------------ */

static void fail_parent(struct core *c, struct core_id parent, const struct err_buf *e)
{
    struct core_skip skip = {
        .job = parent, .state = CORE_STATE_FAILED, .error_code = "INVALID", .error_text = e->text};
    uint64_t token = core__call(c, CORE_CALL_SKIP, &parent, 1);
    if (token) {
        c->ports.store.skip(c->ports.store.self, token, &skip, 1);
    }
}

void core__plan_apply(struct core *c, const struct core_plan *plan)
{
    struct core_job *job = core__job_find(c, plan->parent);
    if (!job || job->pending > 0 || job->children > 0 || core_state_is_ended(job->state)) {
        return;
    }
    struct fanout f;
    struct err_buf e = {{0}};
    int rc = fanout_init(&f, plan, &e);
    if (rc == ERR_NOMEM) {
        core__fault(c, "out of memory");
        return;
    }
    if (rc) {
        fail_parent(c, plan->parent, &e);
        return;
    }
    uint64_t token = core__call(c, CORE_CALL_FAN_OUT, &plan->parent, 1);
    if (token) {
        c->ports.store.fan_out(c->ports.store.self, token, plan->parent, f.quorum, f.children,
                               f.count);
    }
    fanout_close(&f);
}
