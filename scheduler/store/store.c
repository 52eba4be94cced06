#include "scheduler/store/store.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/pg/pg.h"
#include "scheduler/store/store_int.h"

#include <stdio.h>
#include <string.h>

enum {
    JSON_BYTES_MAX = 64 * 1024 * 1024, /* a batch of 256 submissions with full specs is 16 MB */
    PARAMS_MAX = 8,
    NUMBER_SIZE = 24,
    CHANGES_LIMIT = 10000, /* events; four times a second, more than a drain of short jobs makes */
    CLOCK_KNOWN_MS = 60000 /* clocks of two machines drift apart by less than 30 ms in it */
};

struct store {
    struct store_options options;
    uint64_t generation; /* calls of older ones are answered to nobody */
    bool is_lost;
    char term[NUMBER_SIZE];
    int64_t term_number;
    struct store_feed feed;
    /* The record's clock at the last sweep, and ours when that was sent: not forgotten with a term,
     * since it may be the clock that ended it. */
    char clock[64];
    int64_t clock_ms;
    int64_t clock_term; /* then; of no use when another has led since */
    int64_t sweep_ms;   /* when the newest sweep was sent */
};

struct call {
    struct store *store;
    uint64_t generation;
    uint64_t token;
    enum store_call_kind kind;
};

struct store *store_new(const struct store_options *options)
{
    struct store *s = mem_new(sizeof *s);
    if (s) {
        s->options = *options;
        store_set_term(s, 0);
    }
    return s;
}

void store_free(struct store *s)
{
    mem_free(s);
}

void store_set_term(struct store *s, int64_t term)
{
    (void)snprintf(s->term, sizeof s->term, "%lld", (long long)term);
    s->term_number = term;
}

void store_reset(struct store *s)
{
    s->generation++;
    s->is_lost = false;
    s->feed = (struct store_feed){0};
}

static void lost(struct store *s, int rc, const char *reason)
{
    if (!s->is_lost) {
        s->is_lost = true;
        s->options.on_lost(rc, reason, s->options.data);
    }
}

/* --- answers --------------------------------------------------------------------------------- */

static void give(struct store *s, const struct core_answer *answer)
{
    s->options.on_answer(answer, s->options.data);
}

static void answer_records(struct store *s, const struct call *c, const struct pg_result *r)
{
    struct store_rows rows;
    int rc = store__rows_init(&rows, r);
    if (rc) {
        lost(s, rc, "a job's row cannot be read");
        return;
    }
    give(s, &(struct core_answer){
                .token = c->token, .records = rows.records, .record_count = rows.count});
    store__rows_close(&rows);
}

static void answer_admit(struct store *s, const struct call *c, const struct pg_result *r)
{
    struct store_rows rows;
    int rc = store__rows_init(&rows, r);
    struct core_admitted *admitted = rc ? NULL : mem_new_array(rows.count, sizeof *admitted);
    if (!admitted) {
        lost(s, rc ? rc : ERR_NOMEM, "a job's row cannot be read");
        if (rc == 0) {
            store__rows_close(&rows);
        }
        return;
    }
    size_t column = pg_column(r, "error_text");
    size_t kept_for = pg_column(r, "kept_for");
    for (size_t i = 0; i < rows.count; i++) {
        admitted[i] = (struct core_admitted){.id = rows.records[i].id,
                                             .state = rows.records[i].state,
                                             .error_text = pg_span(r, i, column)};
        if (core_id_parse(pg_span(r, i, kept_for), &admitted[i].id)) {
            admitted[i].kept = rows.records[i].id;
        }
    }
    give(s, &(struct core_answer){.token = c->token,
                                  .records = rows.records,
                                  .record_count = rows.count,
                                  .admitted = admitted,
                                  .admitted_count = rows.count});
    mem_free(admitted);
    store__rows_close(&rows);
}

static void answer_changes(struct store *s, const struct call *c, const struct pg_result *r)
{
    size_t first = pg_column(r, "first");
    size_t last = pg_column(r, "event");
    int64_t now = clock_mono_ms();
    store__feed_expire(&s->feed, now);
    for (size_t i = 0; i < pg_rows(r); i++) {
        store__feed_saw(&s->feed, pg_integer(r, i, first, 0), pg_integer(r, i, last, 0), now);
    }
    answer_records(s, c, r);
}

/* The row without a job. */
static void take_clock(struct store *s, const char *text)
{
    (void)snprintf(s->clock, sizeof s->clock, "%s", text);
    s->clock_ms = s->sweep_ms;
    s->clock_term = s->term_number;
}

static void answer_sweep(struct store *s, const struct call *c, const struct pg_result *r)
{
    struct core_expired *rows = mem_new_array(pg_rows(r), sizeof *rows);
    if (!rows) {
        lost(s, ERR_NOMEM, "out of memory");
        return;
    }
    size_t count = 0;
    for (size_t i = 0; i < pg_rows(r); i++) {
        if (pg_is_null(r, i, 0)) {
            take_clock(s, pg_text(r, i, 2));
            continue;
        }
        rows[count] = (struct core_expired){
            .attempt = (int)pg_integer(r, i, 1, 0),
            .expiry =
                strcmp(pg_text(r, i, 2), "lost") == 0 ? CORE_EXPIRY_LOST : CORE_EXPIRY_UNDELIVERED,
            .was_draining = pg_bool(r, i, 3),
        };
        count += core_id_parse(pg_span(r, i, 0), &rows[count].job);
    }
    give(s, &(struct core_answer){.token = c->token, .expired = rows, .expired_count = count});
    mem_free(rows);
}

static void read_world_row(const struct pg_result *r, size_t i, struct core_world *world,
                           struct core_market_row *markets, struct core_region_row *regions,
                           struct core_task_row *tasks, struct core_worker_row *workers)
{
    const char *what = pg_text(r, i, 0);
    if (strcmp(what, "all") == 0) {
        world->is_paused = true;
    } else if (strcmp(what, "region") == 0) {
        regions[world->region_count++] =
            (struct core_region_row){.name = pg_span(r, i, 1),
                                     .max_running = (int)pg_integer(r, i, 4, 0),
                                     .is_paused = pg_bool(r, i, 5)};
    } else if (strcmp(what, "task") == 0) {
        tasks[world->task_count++] = (struct core_task_row){
            .name = pg_span(r, i, 1), .max_running = (int)pg_integer(r, i, 4, 0)};
    } else if (strcmp(what, "market") == 0) {
        markets[world->market_count++] =
            (struct core_market_row){.code = pg_span(r, i, 1),
                                     .region = pg_span(r, i, 2),
                                     .weight = pg_real(r, i, 3, 1),
                                     .max_running = (int)pg_integer(r, i, 4, 0),
                                     .is_paused = pg_bool(r, i, 5)};
    } else {
        workers[world->worker_count++] =
            (struct core_worker_row){.name = pg_span(r, i, 1),
                                     .incarnation = pg_span(r, i, 8),
                                     .region = pg_span(r, i, 2),
                                     .slots = (int)pg_integer(r, i, 4, 0),
                                     .threads = (int)pg_integer(r, i, 9, 0),
                                     .memory_mb = (int)pg_integer(r, i, 10, 0),
                                     .labels = pg_span(r, i, 11),
                                     .is_live = pg_bool(r, i, 6) && !pg_is_null(r, i, 8),
                                     .is_draining = pg_bool(r, i, 7)};
    }
}

static void answer_world(struct store *s, const struct call *c, const struct pg_result *r)
{
    size_t count = pg_rows(r);
    struct core_market_row *markets = mem_new_array(count, sizeof *markets);
    struct core_region_row *regions = mem_new_array(count, sizeof *regions);
    struct core_task_row *tasks = mem_new_array(count, sizeof *tasks);
    struct core_worker_row *workers = mem_new_array(count, sizeof *workers);
    if (markets && regions && tasks && workers) {
        struct core_world world = {
            .markets = markets, .regions = regions, .tasks = tasks, .workers = workers};
        for (size_t i = 0; i < count; i++) {
            read_world_row(r, i, &world, markets, regions, tasks, workers);
        }
        give(s, &(struct core_answer){.token = c->token, .world = &world});
    } else {
        lost(s, ERR_NOMEM, "out of memory");
    }
    mem_free(markets);
    mem_free(regions);
    mem_free(tasks);
    mem_free(workers);
}

static void read_plan_row(const struct pg_result *r, size_t i, struct core_plan *plan,
                          struct span *sources, struct core_plan_market *markets)
{
    const char *what = pg_text(r, i, 0);
    if (strcmp(what, "job") == 0) {
        plan->task = pg_span(r, i, 1);
        plan->spec = pg_span(r, i, 3);
        plan->night = pg_span(r, i, 4);
        plan->by = pg_span(r, i, 5);
        plan->priority = (int)pg_integer(r, i, 6, 0);
    } else if (strcmp(what, "source") == 0) {
        sources[plan->source_count++] = pg_span(r, i, 1);
    } else {
        markets[plan->market_count++] =
            (struct core_plan_market){.code = pg_span(r, i, 1), .region = pg_span(r, i, 2)};
    }
}

static void answer_plan(struct store *s, const struct call *c, const struct pg_result *r)
{
    size_t count = pg_rows(r);
    struct span *sources = mem_new_array(count, sizeof *sources);
    struct core_plan_market *markets = mem_new_array(count, sizeof *markets);
    if (sources && markets) {
        struct core_plan plan = {.sources = sources, .markets = markets};
        for (size_t i = 0; i < count; i++) {
            read_plan_row(r, i, &plan, sources, markets);
        }
        give(s, &(struct core_answer){.token = c->token, .plan = &plan});
    } else {
        lost(s, ERR_NOMEM, "out of memory");
    }
    mem_free(sources);
    mem_free(markets);
}

static void answer_take(struct store *s, const struct call *c, const struct pg_result *r)
{
    struct store_taken taken;
    int rc = store__taken_init(&taken, r);
    if (rc) {
        lost(s, rc, "a submission cannot be read");
        return;
    }
    give(s, &(struct core_answer){
                .token = c->token, .submissions = taken.jobs, .submission_count = taken.count});
    store__taken_close(&taken);
}

static void answer_recall(struct store *s, const struct call *c, const struct pg_result *r)
{
    size_t count = pg_rows(r);
    struct core_estimate_row *estimates = mem_new_array(count, sizeof *estimates);
    struct core_use_row *uses = mem_new_array(count, sizeof *uses);
    if (estimates && uses) {
        struct core_kept kept = {.estimates = estimates, .uses = uses};
        for (size_t i = 0; i < count; i++) {
            if (strcmp(pg_text(r, i, 0), "use") == 0) {
                uses[kept.use_count++] = (struct core_use_row){.market = pg_span(r, i, 2),
                                                               .used_s = pg_real(r, i, 5, 0)};
            } else {
                estimates[kept.estimate_count++] =
                    (struct core_estimate_row){.kind = pg_span(r, i, 1),
                                               .market = pg_span(r, i, 2),
                                               .task = pg_span(r, i, 3),
                                               .attempts = pg_integer(r, i, 4, 0),
                                               .seconds = pg_real(r, i, 5, 0)};
            }
        }
        give(s, &(struct core_answer){.token = c->token, .kept = &kept});
    } else {
        lost(s, ERR_NOMEM, "out of memory");
    }
    mem_free(estimates);
    mem_free(uses);
}

static void accepted(struct store *s, const struct call *c, const struct pg_result *r)
{
    switch (c->kind) {
    case STORE_CALL_RECORDS:
        answer_records(s, c, r);
        break;
    case STORE_CALL_ADMIT:
        answer_admit(s, c, r);
        break;
    case STORE_CALL_CHANGES:
        answer_changes(s, c, r);
        break;
    case STORE_CALL_CURSOR:
        s->feed.after = pg_integer(r, 0, 0, 0);
        break;
    case STORE_CALL_WORLD:
        answer_world(s, c, r);
        break;
    case STORE_CALL_SWEEP:
        answer_sweep(s, c, r);
        break;
    case STORE_CALL_PLAN:
        answer_plan(s, c, r);
        break;
    case STORE_CALL_TAKE:
        answer_take(s, c, r);
        break;
    case STORE_CALL_RECALL:
        answer_recall(s, c, r);
        break;
    case STORE_CALL_NOTHING:
        give(s, &(struct core_answer){.token = c->token});
        break;
    }
}

/* True when the server refused this very statement: asking again would not help, and nothing was
 * changed. Otherwise nobody knows, or all calls are affected. */
static bool is_refusal(int rc)
{
    return rc != ERR_FENCED && rc != ERR_UNREACHABLE && rc != ERR_TIMEOUT && rc != ERR_CANCELLED &&
           rc != ERR_IO && rc != ERR_NOMEM;
}

/* The functions or tables that this program calls are not there: every call is affected until
 * somebody migrates. */
static bool is_older(const struct pg_error *error)
{
    static const char *const states[] = {"42883", "42P01", "42703", "3F000"};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        if (strcmp(error->sqlstate, states[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void lost_for(struct store *s, int rc, const struct pg_error *error)
{
    struct err_buf why = {{0}};
    if (is_older(error)) {
        (void)err_set(&why, rc,
                      "the database is older than this program: run meridian migrate (%s)",
                      error->text);
    }
    lost(s, rc, why.text[0] ? why.text : error->text);
}

static void on_done(int rc, const struct pg_result *r, const struct pg_error *error, void *data)
{
    struct call *c = data;
    struct store *s = c->store;
    if (c->generation == s->generation && !s->is_lost) {
        if (rc == 0) {
            accepted(s, c, r);
        } else if (is_refusal(rc) && !is_older(error) && c->token) {
            give(s,
                 &(struct core_answer){.token = c->token, .status = rc, .error_text = error->text});
        } else {
            lost_for(s, rc, error);
        }
    }
    mem_free(c);
}

/* --- calls ----------------------------------------------------------------------------------- */

/* A statement of ours: its name is also what it is prepared under. */
struct statement {
    const char *name;
    const char *sql;
};

#define MIRROR(name, args)                                                                         \
    {                                                                                              \
        name, "SELECT * FROM meridian." args                                                       \
    }

static void send(struct store *s, uint64_t token, enum store_call_kind kind,
                 struct statement statement, const char *const *params, size_t count)
{
    struct call *c = mem_new(sizeof *c);
    int rc = ERR_NOMEM;
    if (c) {
        *c = (struct call){.store = s, .generation = s->generation, .token = token, .kind = kind};
        const char *all[PARAMS_MAX] = {s->term};
        CHECK(count < PARAMS_MAX);
        for (size_t i = 0; i < count; i++) {
            all[i + 1] = params[i];
        }
        rc =
            pg_send_texts(s->options.pg, statement.name, statement.sql, all, count + 1, on_done, c);
    }
    if (rc) {
        mem_free(c);
        lost(s, rc, "the call could not be sent");
    }
}

static void send_one(struct store *s, uint64_t token, struct statement statement, struct buf *param,
                     int rc)
{
    const char *text = rc ? NULL : buf_text(param);
    if (text) {
        send(s, token, STORE_CALL_RECORDS, statement, &text, 1);
    } else {
        lost(s, rc ? rc : ERR_NOMEM, "the call could not be written");
    }
}

static void port_load(void *self, uint64_t token, struct core_id after, size_t limit)
{
    struct store *s = self;
    char number[NUMBER_SIZE];
    (void)snprintf(number, sizeof number, "%zu", limit);
    struct uuid id = core_id_format(after);
    const char *params[] = {id.text, number};
    if (core_id_is_none(after)) {
        /* Before the first row is read: what changes while we read is seen again later. */
        send(s, 0, STORE_CALL_CURSOR,
             (struct statement){"cursor", "SELECT meridian.scheduler_cursor($1)"}, NULL, 0);
    }
    send(s, token, STORE_CALL_RECORDS,
         (struct statement)MIRROR("load", "scheduler_load($1, $2, $3)"), params, 2);
}

static void port_world(void *self, uint64_t token)
{
    struct store *s = self;
    char live[NUMBER_SIZE];
    (void)snprintf(live, sizeof live, "%d", s->options.live_ms);
    const char *params[] = {live};
    send(s, token, STORE_CALL_WORLD,
         (struct statement){"world", "SELECT * FROM meridian.scheduler_world($1, $2)"}, params, 1);
}

static void port_changes(void *self, uint64_t token)
{
    struct store *s = self;
    struct buf missing;
    buf_init(&missing, STORE_GAPS_MAX * NUMBER_SIZE);
    int rc = buf_add(&missing, "{", 1);
    for (size_t i = 0; i < s->feed.gap_count && rc == 0; i++) {
        rc = buf_add_format(&missing, "%s%lld", i ? "," : "", (long long)s->feed.gaps[i].id);
    }
    rc = rc ? rc : buf_add(&missing, "}", 1);
    const char *gaps = rc ? NULL : buf_text(&missing);
    char after[NUMBER_SIZE], limit[NUMBER_SIZE];
    (void)snprintf(after, sizeof after, "%lld", (long long)s->feed.after);
    (void)snprintf(limit, sizeof limit, "%d", CHANGES_LIMIT);
    const char *params[] = {after, gaps, limit};
    if (gaps) {
        send(s, token, STORE_CALL_CHANGES,
             (struct statement){"changes", "SELECT c.first, c.event, (c.job).* "
                                           "FROM meridian.scheduler_feed($1, $2, $3, $4) c"},
             params, 3);
    } else {
        lost(s, ERR_NOMEM, "out of memory");
    }
    buf_close(&missing);
}

static void port_sweep(void *self, uint64_t token)
{
    struct store *s = self;
    char undelivered[NUMBER_SIZE], gone[NUMBER_SIZE], since[NUMBER_SIZE];
    s->sweep_ms = clock_mono_ms();
    int64_t since_ms = s->sweep_ms - s->clock_ms;
    bool is_comparable =
        *s->clock && since_ms <= CLOCK_KNOWN_MS && s->term_number - s->clock_term <= 1;
    (void)snprintf(since, sizeof since, "%lld", (long long)(is_comparable ? since_ms : 0));
    (void)snprintf(undelivered, sizeof undelivered, "%d", s->options.undelivered_ms);
    (void)snprintf(gone, sizeof gone, "%d", s->options.gone_ms);
    const char *params[] = {undelivered, gone, since, is_comparable ? s->clock : NULL};
    send(s, token, STORE_CALL_SWEEP,
         (struct statement){"sweep", "SELECT * FROM meridian.scheduler_sweep($1, $2, $3, $4, $5)"},
         params, 4);
}

static void port_fire(void *self, uint64_t token)
{
    send(self, token, STORE_CALL_RECORDS, (struct statement)MIRROR("fire", "scheduler_fire($1)"),
         NULL, 0);
}

static void port_take(void *self, uint64_t token, size_t limit)
{
    char number[NUMBER_SIZE];
    (void)snprintf(number, sizeof number, "%zu", limit);
    const char *params[] = {number};
    send(self, token, STORE_CALL_TAKE,
         (struct statement){"take", "SELECT * FROM meridian.scheduler_take($1, $2)"}, params, 1);
}

static bool names_markets(struct span spec)
{
    static const char key[] = "\"markets\"";
    return spec.length > 0 && memmem(spec.data, spec.length, key, sizeof key - 1);
}

/* Jobs of which the record has little to judge: it has a shorter way for them. */
static bool is_plain(const struct core_submission *s)
{
    return !s->error_code && s->after_count == 0 && s->unique.length == 0 &&
           core_id_is_none(s->parent) && !s->is_parent && !s->is_member && s->region.length == 0 &&
           s->night.length == 0 && !names_markets(s->spec);
}

enum admission { ADMIT_ANY = 0, ADMIT_PLAIN, ADMIT_ALIKE };

static enum admission admission_of(const struct core_submission *jobs, size_t count)
{
    enum admission way = count > 1 ? ADMIT_ALIKE : ADMIT_PLAIN;
    for (size_t i = 0; i < count; i++) {
        if (!is_plain(&jobs[i])) {
            return ADMIT_ANY;
        }
        if (way == ADMIT_ALIKE && !store__is_alike(&jobs[0], &jobs[i])) {
            way = ADMIT_PLAIN;
        }
    }
    return way;
}

static void send_admission(struct store *s, uint64_t token, struct statement statement,
                           struct buf *parts, size_t count, int rc)
{
    const char *params[STORE_ALIKE_PARTS];
    for (size_t i = 0; i < count && rc == 0; i++) {
        params[i] = buf_text(&parts[i]);
        rc = params[i] ? 0 : ERR_NOMEM;
    }
    if (rc == 0) {
        send(s, token, STORE_CALL_ADMIT, statement, params, count);
    } else {
        lost(s, rc, "the submissions could not be written");
    }
}

static void port_admit(void *self, uint64_t token, const struct core_submission *jobs, size_t count)
{
    static const struct statement any = MIRROR("admit", "job_admit($1, $2)");
    static const struct statement plain = MIRROR("admit_plain", "job_admit_plain($1, $2)");
    static const struct statement alike = MIRROR("admit_alike", "job_admit_alike($1, $2, $3, $4)");
    struct buf parts[STORE_ALIKE_PARTS];
    enum admission way = admission_of(jobs, count);
    for (size_t i = 0; i < STORE_ALIKE_PARTS; i++) {
        buf_init(&parts[i], JSON_BYTES_MAX);
    }
    if (way == ADMIT_ALIKE) {
        int rc = store__write_alike(parts, jobs, count);
        send_admission(self, token, alike, parts, STORE_ALIKE_PARTS, rc);
    } else {
        int rc = store__write_submissions(&parts[0], jobs, count);
        send_admission(self, token, way == ADMIT_PLAIN ? plain : any, parts, 1, rc);
    }
    for (size_t i = 0; i < STORE_ALIKE_PARTS; i++) {
        buf_close(&parts[i]);
    }
}

static void port_release(void *self, uint64_t token, const struct core_id *jobs, size_t count)
{
    struct buf ids;
    buf_init(&ids, JSON_BYTES_MAX);
    int rc = store__write_ids(&ids, jobs, count);
    send_one(self, token, (struct statement)MIRROR("release", "job_release($1, $2)"), &ids, rc);
    buf_close(&ids);
}

static void port_close(void *self, uint64_t token, const struct core_id *parents, size_t count)
{
    struct buf ids;
    buf_init(&ids, JSON_BYTES_MAX);
    int rc = store__write_ids(&ids, parents, count);
    send_one(self, token, (struct statement)MIRROR("close", "job_close($1, $2)"), &ids, rc);
    buf_close(&ids);
}

static void port_quorum(void *self, uint64_t token, const struct core_id *parents, size_t count)
{
    struct buf ids;
    buf_init(&ids, JSON_BYTES_MAX);
    int rc = store__write_ids(&ids, parents, count);
    send_one(self, token, (struct statement)MIRROR("quorum", "job_quorum($1, $2)"), &ids, rc);
    buf_close(&ids);
}

static void port_dispatch(void *self, uint64_t token, const struct core_dispatch *jobs,
                          size_t count)
{
    struct store *s = self;
    struct buf part[STORE_DISPATCH_PARTS];
    char lease[NUMBER_SIZE];
    const char *params[STORE_DISPATCH_PARTS + 1] = {NULL};
    int rc = store__write_dispatches(part, jobs, count);
    for (size_t i = 0; i < STORE_DISPATCH_PARTS && rc == 0; i++) {
        params[i] = buf_text(&part[i]);
        rc = params[i] ? 0 : ERR_NOMEM;
    }
    (void)snprintf(lease, sizeof lease, "%d", s->options.undelivered_ms);
    params[STORE_DISPATCH_PARTS] = lease;
    if (rc == 0) {
        send(s, token, STORE_CALL_RECORDS,
             (struct statement)MIRROR("dispatch", "job_dispatch($1, $2, $3, $4, $5, $6, $7)"),
             params, STORE_DISPATCH_PARTS + 1);
    } else {
        lost(s, rc, "the assignments could not be written");
    }
    for (size_t i = 0; i < STORE_DISPATCH_PARTS; i++) {
        buf_close(&part[i]);
    }
}

static void port_finish(void *self, uint64_t token, const struct core_result *results, size_t count)
{
    struct store *s = self;
    struct buf part[STORE_FINISH_PARTS];
    const char *params[STORE_FINISH_PARTS] = {NULL};
    int rc = store__write_results(part, results, count);
    for (size_t i = 0; i < STORE_FINISH_PARTS && rc == 0; i++) {
        params[i] = buf_text(&part[i]);
        rc = params[i] ? 0 : ERR_NOMEM;
    }
    if (rc == 0) {
        send(s, token, STORE_CALL_RECORDS,
             (struct statement)MIRROR("finish", "job_finish($1, $2, $3, $4, $5, $6, $7)"), params,
             STORE_FINISH_PARTS);
    } else {
        lost(s, rc, "the results could not be written");
    }
    for (size_t i = 0; i < STORE_FINISH_PARTS; i++) {
        buf_close(&part[i]);
    }
}

static void port_end(void *self, uint64_t token, const struct core_end *ends, size_t count)
{
    struct buf json;
    buf_init(&json, JSON_BYTES_MAX);
    int rc = store__write_ends(&json, ends, count);
    send_one(self, token, (struct statement)MIRROR("end", "attempt_fail($1, $2)"), &json, rc);
    buf_close(&json);
}

static void port_late(void *self, uint64_t token, const struct core_result *result)
{
    struct store *s = self;
    char number[NUMBER_SIZE];
    (void)snprintf(number, sizeof number, "%d", result->attempt);
    struct uuid id = core_id_format(result->job);
    char *worker = mem_string(result->worker.data, result->worker.length);
    const char *params[] = {id.text, number, worker};
    if (worker) {
        send(s, token, STORE_CALL_RECORDS,
             (struct statement)MIRROR("late", "job_late($1, $2, $3, $4)"), params, 3);
    } else {
        lost(s, ERR_NOMEM, "out of memory");
    }
    mem_free(worker);
}

static void port_skip(void *self, uint64_t token, const struct core_skip *skips, size_t count)
{
    struct buf json;
    buf_init(&json, JSON_BYTES_MAX);
    int rc = store__write_skips(&json, skips, count);
    send_one(self, token, (struct statement)MIRROR("skip", "job_skip($1, $2)"), &json, rc);
    buf_close(&json);
}

static void port_plan(void *self, uint64_t token, struct core_id parent)
{
    struct uuid id = core_id_format(parent);
    const char *params[] = {id.text};
    send(self, token, STORE_CALL_PLAN,
         (struct statement){"plan", "SELECT * FROM meridian.scheduler_plan($1, $2)"}, params, 1);
}

static void port_fan_out(void *self, uint64_t token, struct core_id parent, int quorum,
                         const struct core_submission *children, size_t count)
{
    struct store *s = self;
    struct buf json;
    buf_init(&json, JSON_BYTES_MAX);
    int rc = store__write_submissions(&json, children, count);
    struct uuid id = core_id_format(parent);
    char needed[NUMBER_SIZE];
    (void)snprintf(needed, sizeof needed, "%d", quorum);
    const char *params[] = {id.text, rc ? NULL : buf_text(&json), quorum > 0 ? needed : NULL};
    if (params[1]) {
        send(s, token, STORE_CALL_RECORDS,
             (struct statement)MIRROR("fan_out", "job_fan_out($1, $2, $3, $4)"), params, 3);
    } else {
        lost(s, rc ? rc : ERR_NOMEM, "the children could not be written");
    }
    buf_close(&json);
}

static void port_cancel_children(void *self, uint64_t token, struct core_id parent)
{
    struct uuid id = core_id_format(parent);
    const char *params[] = {id.text};
    send(self, token, STORE_CALL_RECORDS,
         (struct statement)MIRROR("cancel_children", "job_cancel_children($1, $2)"), params, 1);
}

static void port_recall(void *self, uint64_t token)
{
    struct store *s = self;
    char half_life[NUMBER_SIZE], age[NUMBER_SIZE], live[NUMBER_SIZE];
    (void)snprintf(half_life, sizeof half_life, "%lld", (long long)s->options.half_life_ms);
    (void)snprintf(age, sizeof age, "%lld", (long long)s->options.priority_age_ms);
    (void)snprintf(live, sizeof live, "%d", s->options.live_ms);
    const char *params[] = {half_life, age, live};
    send(s, token, STORE_CALL_RECALL,
         (struct statement){"recall", "SELECT * FROM meridian.scheduler_recall($1, $2, $3, $4)"},
         params, 3);
}

static void port_keep(void *self, uint64_t token, const struct core_kept *kept)
{
    struct store *s = self;
    struct buf json;
    buf_init(&json, JSON_BYTES_MAX);
    int rc = store__write_kept(&json, kept);
    const char *text = rc ? NULL : buf_text(&json);
    if (text) {
        send(s, token, STORE_CALL_NOTHING,
             (struct statement){"keep", "SELECT meridian.scheduler_keep($1, $2)"}, &text, 1);
    } else {
        lost(s, rc ? rc : ERR_NOMEM, "what was learnt could not be written");
    }
    buf_close(&json);
}

struct core_store store_port(struct store *s)
{
    return (struct core_store){
        .self = s,
        .load = port_load,
        .world = port_world,
        .changes = port_changes,
        .sweep = port_sweep,
        .fire = port_fire,
        .take = port_take,
        .admit = port_admit,
        .release = port_release,
        .dispatch = port_dispatch,
        .finish = port_finish,
        .late = port_late,
        .end = port_end,
        .skip = port_skip,
        .plan = port_plan,
        .fan_out = port_fan_out,
        .quorum = port_quorum,
        .close = port_close,
        .cancel_children = port_cancel_children,
        .recall = port_recall,
        .keep = port_keep,
    };
}
