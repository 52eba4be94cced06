/*
 * `meridian simulate`: the jobs of a past window once more through the scheduler's own decisions,
 * with other workers, limits or weights, on virtual time (scheduler/replay).
 *
 * The history is read in one query; names point into its result, which lives until the table is
 * printed.
 */
#include "common/base/mem.h"
#include "common/json/json.h"
#include "ops/cli/cli.h"
#include "ops/cli/print.h"
#include "ops/cli/table.h"
#include "scheduler/replay/replay.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 64, NUMBER_SIZE = 32, OUT_BYTES_MAX = 64 << 20 };

/* What the history says beside what a replay needs. */
struct past {
    int64_t wait_ms;
    int64_t end_ms;
};

struct market_line {
    struct span code;
    size_t jobs;
    size_t at; /* next free place of the two arrays */
    int64_t *waits_ms;
    int64_t *simulated_ms; /* waits, the same jobs */
    int64_t end_ms;
    int64_t simulated_end_ms;
};

struct simulation {
    struct pg_result *history;
    struct pg_result *workers_seen;
    struct pg_result *markets_seen;
    struct pg_result *limits_seen;
    struct pg_result *policy_seen;
    struct replay_job *jobs;
    struct past *past;
    struct core_id *needs;
    size_t job_count;
    struct replay_worker *workers;
    char (*worker_names)[NAME_SIZE];
    size_t worker_count;
    struct core_market_row *markets;
    size_t market_count;
    struct core_region_row *regions; /* those with a limit */
    size_t region_count;
    struct core_task_row *tasks; /* the same */
    size_t task_count;
    struct core_world world;
    struct core_settings settings;
    struct replay replay;
    struct market_line *lines;
    int64_t *waits; /* of all lines, twice */
    size_t line_count;
    int64_t past_busy_ms;
    int64_t past_end_ms;
    int64_t past_slots;
};

/* --- history --------------------------------------------------------------------------------- */

static const char history_sql[] =
    "WITH win AS (SELECT $1::timestamptz AS a, $2::timestamptz AS b), "
    "jobs AS (SELECT j.*, f.started, f.queued, f.run_ms FROM meridian.job j, win, LATERAL (SELECT "
    "min(t.started_at) AS started, min(t.queued_at) AS queued, (sum(extract(epoch FROM t.ended_at "
    "- t.started_at)) * 1000)::bigint AS run_ms FROM meridian.attempt t WHERE t.job = j.id AND "
    "t.started_at IS NOT NULL AND t.ended_at IS NOT NULL) f WHERE j.admitted_at >= win.a AND "
    "j.admitted_at < win.b AND j.region IS NOT NULL AND j.ended_at IS NOT NULL AND f.started IS "
    "NOT NULL) "
    "SELECT j.id, j.kind, j.market, j.task, j.region, j.priority, j.memory_mb, j.threads, "
    "j.labels, (extract(epoch FROM j.admitted_at - (SELECT a FROM win)) * 1000)::bigint AS "
    "arrive_ms, greatest(j.run_ms, 0) AS run_ms, (extract(epoch FROM j.started - "
    "coalesce(j.queued, j.admitted_at)) * 1000)::bigint AS wait_ms, (extract(epoch FROM "
    "j.ended_at - (SELECT a FROM win)) * 1000)::bigint AS end_ms, (SELECT "
    "string_agg(d.needs::text, "
    "',') FROM meridian.dependency d JOIN jobs n ON n.id = d.needs WHERE d.job = j.id) AS needs "
    "FROM jobs j ORDER BY j.admitted_at, j.id";

static const char workers_sql[] =
    "SELECT w.name, w.region, w.slots, w.threads, w.memory_mb, w.labels FROM meridian.worker "
    "w "
    "WHERE w.name IN (SELECT t.worker FROM meridian.attempt t WHERE t.started_at >= "
    "$1::timestamptz AND t.started_at < $2::timestamptz) ORDER BY w.region, w.name";

static const char markets_sql[] =
    "SELECT code, region, weight, max_running FROM meridian.market WHERE removed_at IS NULL ORDER "
    "BY code";

static const char limits_sql[] =
    "SELECT l.scope, l.name, l.max_running FROM meridian.run_limit l ORDER BY l.scope, l.name";

static const char policy_sql[] = "SELECT (priority_age_s * 1000)::bigint AS age_ms, (half_life_s * "
                                 "1000)::bigint AS half_life_ms "
                                 "FROM meridian.leader_policy";

static struct span text_at(const struct pg_result *r, size_t row, const char *column)
{
    return span_of(pg_text(r, row, pg_column(r, column)));
}

static int64_t number_at(const struct pg_result *r, size_t row, const char *column)
{
    return pg_integer(r, row, pg_column(r, column), 0);
}

/* "uuid,uuid": into at; returns how many. */
static size_t read_needs(struct span text, struct core_id *at)
{
    size_t count = 0;
    for (size_t from = 0; from + UUID_SIZE - 1 <= text.length; from += UUID_SIZE) {
        if (core_id_parse(span_make(text.data + from, UUID_SIZE - 1), &at[count])) {
            count++;
        }
    }
    return count;
}

static size_t count_needs(const struct pg_result *r)
{
    size_t count = 0;
    for (size_t i = 0; i < pg_rows(r); i++) {
        count += text_at(r, i, "needs").length / (UUID_SIZE - 1);
    }
    return count;
}

static void read_job(struct simulation *s, size_t row, struct core_id *needs)
{
    const struct pg_result *r = s->history;
    struct replay_job *job = &s->jobs[row];
    *job = (struct replay_job){
        .kind = text_at(r, row, "kind"),
        .market = text_at(r, row, "market"),
        .task = text_at(r, row, "task"),
        .region = text_at(r, row, "region"),
        .labels = text_at(r, row, "labels"),
        .priority = (int)number_at(r, row, "priority"),
        .memory_mb = (int)number_at(r, row, "memory_mb"),
        .threads = (int)number_at(r, row, "threads"),
        .arrive_ms = number_at(r, row, "arrive_ms"),
        .run_ms = number_at(r, row, "run_ms"),
        .needs = needs,
        .need_count = read_needs(text_at(r, row, "needs"), needs),
    };
    CHECK(core_id_parse(text_at(r, row, "id"), &job->id));
    s->past[row] = (struct past){.wait_ms = number_at(r, row, "wait_ms"),
                                 .end_ms = number_at(r, row, "end_ms")};
    s->past_busy_ms += job->run_ms;
    s->past_end_ms = s->past[row].end_ms > s->past_end_ms ? s->past[row].end_ms : s->past_end_ms;
}

static int read_jobs(struct simulation *s)
{
    s->job_count = pg_rows(s->history);
    s->jobs = mem_new_array(s->job_count + 1, sizeof *s->jobs);
    s->past = mem_new_array(s->job_count + 1, sizeof *s->past);
    s->needs = mem_new_array(count_needs(s->history) + 1, sizeof *s->needs);
    if (!s->jobs || !s->past || !s->needs) {
        return ERR_NOMEM;
    }
    struct core_id *at = s->needs;
    for (size_t i = 0; i < s->job_count; i++) {
        read_job(s, i, at);
        at += s->jobs[i].need_count;
    }
    return 0;
}

static int read_markets(struct simulation *s)
{
    const struct pg_result *r = s->markets_seen;
    s->market_count = pg_rows(r);
    s->markets = mem_new_array(s->market_count + 1, sizeof *s->markets);
    for (size_t i = 0; s->markets && i < s->market_count; i++) {
        s->markets[i] =
            (struct core_market_row){.code = text_at(r, i, "code"),
                                     .region = text_at(r, i, "region"),
                                     .weight = pg_real(r, i, pg_column(r, "weight"), 1),
                                     .max_running = (int)number_at(r, i, "max_running")};
    }
    return s->markets ? 0 : ERR_NOMEM;
}

static int read_limits(struct simulation *s)
{
    const struct pg_result *r = s->limits_seen;
    s->regions = mem_new_array(pg_rows(r) + 1, sizeof *s->regions);
    s->tasks = mem_new_array(pg_rows(r) + 1, sizeof *s->tasks);
    for (size_t i = 0; s->regions && s->tasks && i < pg_rows(r); i++) {
        struct span name = text_at(r, i, "name");
        int most = (int)number_at(r, i, "max_running");
        if (span_is(text_at(r, i, "scope"), "region")) {
            s->regions[s->region_count++] =
                (struct core_region_row){.name = name, .max_running = most};
        } else {
            s->tasks[s->task_count++] = (struct core_task_row){.name = name, .max_running = most};
        }
    }
    return s->regions && s->tasks ? 0 : ERR_NOMEM;
}

/* What the leader goes by now, unless a flag says otherwise. */
static void read_policy(struct cli *c, struct simulation *s)
{
    const struct pg_result *r = s->policy_seen;
    s->settings = core_settings_default;
    if (pg_rows(r) == 1) {
        s->settings.priority_age_ms = number_at(r, 0, "age_ms");
        s->settings.share_half_life_ms = number_at(r, 0, "half_life_ms");
    }
    if (c->o.priority_age_ms > 0) {
        s->settings.priority_age_ms = c->o.priority_age_ms;
    }
    if (c->o.half_life_ms > 0) {
        s->settings.share_half_life_ms = c->o.half_life_ms;
    }
}

/* --- what if --------------------------------------------------------------------------------- */

/* "NAME=VALUE" into its parts; usage error otherwise. */
static int split(struct cli *c, const char *flag, const char *text, struct span *ret_name,
                 const char **ret_value)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text || equals[1] == '\0') {
        return cli_usage(c, "%s: \"%s\" is not NAME=VALUE", flag, text);
    }
    *ret_name = span_make(text, (size_t)(equals - text));
    *ret_value = equals + 1;
    return 0;
}

static struct core_market_row *find_market(struct simulation *s, struct span code)
{
    for (size_t i = 0; i < s->market_count; i++) {
        if (span_equals(s->markets[i].code, code)) {
            return &s->markets[i];
        }
    }
    return NULL;
}

static int change_markets(struct cli *c, struct simulation *s, const char *flag,
                          const struct config_list *changes, double low, double high,
                          void (*change)(struct core_market_row *m, double value))
{
    for (size_t i = 0; i < changes->count; i++) {
        struct span code;
        const char *value;
        char *end = NULL;
        int rc = split(c, flag, changes->items[i], &code, &value);
        if (rc) {
            return rc;
        }
        double number = strtod(value, &end);
        struct core_market_row *m = find_market(s, code);
        if (!m) {
            return cli_usage(c, "%s: there is no market \"%.*s\"", flag, (int)code.length,
                             code.data);
        }
        if (*end != '\0' || !(number >= low && number <= high)) {
            return cli_usage(c, "%s: \"%s\" is not a number from %g to %g", flag, value, low, high);
        }
        change(m, number);
    }
    return 0;
}

static void set_weight(struct core_market_row *m, double value)
{
    m->weight = value;
}

static void set_max_running(struct core_market_row *m, double value)
{
    m->max_running = (int)value;
}

/* "REGION=3" or "REGION=3x4": three workers, of four slots each. */
static int parse_workers(struct cli *c, const char *text, struct span *ret_region, long *ret_count,
                         long *ret_slots)
{
    const char *value;
    char *end = NULL;
    int rc = split(c, "--workers", text, ret_region, &value);
    if (rc) {
        return rc;
    }
    *ret_slots = 1;
    *ret_count = strtol(value, &end, 10);
    if (*end == 'x') {
        *ret_slots = strtol(end + 1, &end, 10);
    }
    if (*end != '\0' || *ret_count < 1 || *ret_slots < 1 || *ret_slots > 1024 ||
        *ret_count > REPLAY_WORKERS_MAX) {
        return cli_usage(c, "--workers: \"%s\" is not REGION=COUNT or REGION=COUNTxSLOTS", text);
    }
    return 0;
}

static bool is_replaced(const struct cli *c, struct span region)
{
    for (size_t i = 0; i < c->o.workers.count; i++) {
        size_t length = strcspn(c->o.workers.items[i], "=");
        if (span_equals(span_make(c->o.workers.items[i], length), region)) {
            return true;
        }
    }
    return false;
}

/* Workers that the flags name offer no threads or memory, so those do not limit. */
static int add_workers(struct cli *c, struct simulation *s, const char *text)
{
    struct span region;
    long count, slots;
    int rc = parse_workers(c, text, &region, &count, &slots);
    for (long n = 1; rc == 0 && n <= count; n++) {
        if (s->worker_count == REPLAY_WORKERS_MAX) {
            return cli_usage(c, "--workers: more than %d in all", REPLAY_WORKERS_MAX);
        }
        char *name = s->worker_names[s->worker_count];
        (void)snprintf(name, NAME_SIZE, "%.*s-%ld", (int)(region.length < 40 ? region.length : 40),
                       region.data, n);
        s->workers[s->worker_count++] = (struct replay_worker){
            .name = span_of(name), .region = region, .labels = span_of(""), .slots = (int)slots};
    }
    return rc;
}

static int read_workers(struct cli *c, struct simulation *s)
{
    const struct pg_result *r = s->workers_seen;
    s->workers = mem_new_array(REPLAY_WORKERS_MAX, sizeof *s->workers);
    s->worker_names = mem_new_array(REPLAY_WORKERS_MAX, sizeof *s->worker_names);
    if (!s->workers || !s->worker_names) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < pg_rows(r) && s->worker_count < REPLAY_WORKERS_MAX; i++) {
        s->past_slots += number_at(r, i, "slots");
        if (!is_replaced(c, text_at(r, i, "region"))) {
            s->workers[s->worker_count++] =
                (struct replay_worker){.name = text_at(r, i, "name"),
                                       .region = text_at(r, i, "region"),
                                       .labels = text_at(r, i, "labels"),
                                       .slots = (int)number_at(r, i, "slots"),
                                       .threads = (int)number_at(r, i, "threads"),
                                       .memory_mb = (int)number_at(r, i, "memory_mb")};
        }
    }
    int rc = 0;
    for (size_t i = 0; i < c->o.workers.count && rc == 0; i++) {
        rc = add_workers(c, s, c->o.workers.items[i]);
    }
    return rc;
}

/* --- by market ------------------------------------------------------------------------------- */

static struct market_line *line_of(struct simulation *s, struct span code)
{
    for (size_t i = 0; i < s->line_count; i++) {
        if (span_equals(s->lines[i].code, code)) {
            return &s->lines[i];
        }
    }
    s->lines[s->line_count] = (struct market_line){.code = code};
    return &s->lines[s->line_count++];
}

static void lay_out(struct simulation *s)
{
    int64_t *at = s->waits;
    for (size_t i = 0; i < s->line_count; i++) {
        s->lines[i].waits_ms = at;
        s->lines[i].simulated_ms = at + s->lines[i].jobs;
        at += 2 * s->lines[i].jobs;
    }
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int compare_lines(const void *x, const void *y)
{
    const struct market_line *a = x, *b = y;
    size_t length = a->code.length < b->code.length ? a->code.length : b->code.length;
    int order = memcmp(a->code.data, b->code.data, length);
    return order != 0 ? order
                      : (a->code.length > b->code.length) - (a->code.length < b->code.length);
}

static int group(struct simulation *s)
{
    s->lines = mem_new_array(s->market_count + s->job_count + 1, sizeof *s->lines);
    s->waits = mem_new_array(2 * s->job_count + 1, sizeof *s->waits);
    if (!s->lines || !s->waits) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < s->job_count; i++) {
        line_of(s, s->jobs[i].market)->jobs += s->jobs[i].end_ms >= 0;
    }
    qsort(s->lines, s->line_count, sizeof *s->lines, compare_lines);
    lay_out(s);
    for (size_t i = 0; i < s->job_count; i++) {
        const struct replay_job *job = &s->jobs[i];
        struct market_line *line = line_of(s, job->market);
        if (job->end_ms >= 0) {
            line->waits_ms[line->at] = s->past[i].wait_ms;
            line->simulated_ms[line->at++] = job->start_ms - job->queued_ms;
            line->end_ms = later(line->end_ms, s->past[i].end_ms);
            line->simulated_end_ms = later(line->simulated_end_ms, job->end_ms);
        }
    }
    return 0;
}

static int compare_ms(const void *x, const void *y)
{
    const int64_t *a = x, *b = y;
    return *a < *b ? -1 : *a > *b;
}

/* The value that a share of them does not exceed; sorts. */
static int64_t quantile(int64_t *values, size_t count, double share)
{
    if (count == 0) {
        return 0;
    }
    qsort(values, count, sizeof *values, compare_ms);
    size_t at = (size_t)(share * (double)count);
    return values[at < count ? at : count - 1];
}

/* --- printing -------------------------------------------------------------------------------- */

static const char *const columns[] = {"market",    "jobs",  "wait_p50_s", "sim_p50_s", "wait_p95_s",
                                      "sim_p95_s", "end_s", "sim_end_s",  "earlier_s"};

static double seconds(int64_t ms)
{
    return (double)ms / 1000;
}

static int64_t arrival_ms(const struct simulation *s)
{
    return s->job_count > 0 ? s->jobs[0].arrive_ms : 0;
}

/* Ends are counted from the first job's arrival. */
static void values_of(struct market_line *line, int64_t first_ms, double out[8])
{
    out[0] = (double)line->jobs;
    out[1] = seconds(quantile(line->waits_ms, line->jobs, 0.5));
    out[2] = seconds(quantile(line->simulated_ms, line->jobs, 0.5));
    out[3] = seconds(quantile(line->waits_ms, line->jobs, 0.95));
    out[4] = seconds(quantile(line->simulated_ms, line->jobs, 0.95));
    out[5] = seconds(line->end_ms - first_ms);
    out[6] = seconds(line->simulated_end_ms - first_ms);
    out[7] = seconds(line->end_ms - line->simulated_end_ms);
}

static int add_row(struct table *t, struct market_line *line, int64_t first_ms)
{
    double values[8];
    char text[NUMBER_SIZE];
    values_of(line, first_ms, values);
    int rc = table_add_cell(t, line->code.length > 0 ? line->code : span_of("(none)"));
    for (size_t i = 0; i < 8 && rc == 0; i++) {
        (void)snprintf(text, sizeof text, "%.*f", i == 0 ? 0 : 1, values[i]);
        rc = table_add_cell(t, span_of(text));
    }
    return rc;
}

static double use_of(int64_t busy_ms, int64_t slots, int64_t span_ms)
{
    return slots > 0 && span_ms > 0 ? (double)busy_ms / ((double)slots * (double)span_ms) : 0;
}

static int64_t slots_of(const struct simulation *s, int64_t *ret_busy_ms)
{
    int64_t slots = 0;
    *ret_busy_ms = 0;
    for (size_t i = 0; i < s->worker_count; i++) {
        slots += s->workers[i].slots;
        *ret_busy_ms += s->workers[i].busy_ms;
    }
    return slots;
}

static int print_table(struct cli *c, struct simulation *s)
{
    struct table *t = table_new();
    int rc = t ? 0 : ERR_NOMEM;
    for (size_t i = 0; i < sizeof columns / sizeof *columns && rc == 0; i++) {
        rc = table_add_column(t, columns[i]);
    }
    for (size_t i = 0; i < s->line_count && rc == 0; i++) {
        rc = add_row(t, &s->lines[i], arrival_ms(s));
    }
    if (rc == 0) {
        int64_t busy, slots = slots_of(s, &busy), first = arrival_ms(s);
        table_print(t, c->out);
        (void)fprintf(c->out,
                      "\nmakespan: %.1f s, simulated %.1f s; use of slots: %.0f %% of %lld, "
                      "simulated %.0f %% of %lld; %zu jobs\n",
                      seconds(s->past_end_ms - first), seconds(s->replay.end_ms - first),
                      100 * use_of(s->past_busy_ms, s->past_slots, s->past_end_ms - first),
                      (long long)s->past_slots, 100 * use_of(busy, slots, s->replay.end_ms - first),
                      (long long)slots, s->job_count);
        if (s->replay.stuck > 0) {
            (void)fprintf(c->out, "%zu jobs could never start: no worker fits them\n",
                          s->replay.stuck);
        }
    }
    table_free(t);
    return rc;
}

static void write_lines(struct simulation *s, struct json_writer *w)
{
    json_write_list(w, "markets");
    for (size_t i = 0; i < s->line_count; i++) {
        double values[8];
        values_of(&s->lines[i], arrival_ms(s), values);
        json_write_map(w, NULL);
        json_write_text(w, columns[0], s->lines[i].code);
        json_write_integer(w, columns[1], (int64_t)s->lines[i].jobs);
        for (size_t v = 1; v < 8; v++) {
            json_write_real(w, columns[v + 1], values[v]);
        }
        json_write_end(w);
    }
    json_write_end(w);
}

static int print_json(struct cli *c, struct simulation *s)
{
    struct buf out;
    struct json_writer w;
    int64_t busy, slots = slots_of(s, &busy), first = arrival_ms(s);
    buf_init(&out, OUT_BYTES_MAX);
    json_writer_init(&w, &out);
    json_write_map(&w, NULL);
    json_write_integer(&w, "jobs", (int64_t)s->job_count);
    json_write_integer(&w, "stuck", (int64_t)s->replay.stuck);
    json_write_real(&w, "makespan_s", seconds(s->past_end_ms - first));
    json_write_real(&w, "sim_makespan_s", seconds(s->replay.end_ms - first));
    json_write_real(&w, "use", use_of(s->past_busy_ms, s->past_slots, s->past_end_ms - first));
    json_write_real(&w, "sim_use", use_of(busy, slots, s->replay.end_ms - first));
    json_write_integer(&w, "slots", s->past_slots);
    json_write_integer(&w, "sim_slots", slots);
    write_lines(s, &w);
    json_write_end(&w);
    int rc = json_writer_finish(&w);
    const char *text = rc == 0 ? buf_text(&out) : NULL;
    rc = rc == 0 && !text ? ERR_NOMEM : rc;
    if (rc == 0) {
        (void)fprintf(c->out, "%s\n", text);
    }
    buf_close(&out);
    return rc;
}

/* --- the command ----------------------------------------------------------------------------- */

static int read_history(struct cli *c, struct simulation *s)
{
    char since[64], until[64];
    int rc = cli_parse_since(c, c->o.since ? c->o.since : "24h", since, sizeof since);
    if (rc) {
        return rc;
    }
    (void)snprintf(until, sizeof until, "now");
    rc = c->o.until ? cli_parse_since(c, c->o.until, until, sizeof until) : 0;
    rc = rc ? rc : cli_control(c);
    if (rc) {
        return rc;
    }
    rc = PG_SYNC_EXEC(c->control, &s->history, &c->e, history_sql, since, until);
    rc = rc ? rc : PG_SYNC_EXEC(c->control, &s->workers_seen, &c->e, workers_sql, since, until);
    rc = rc ? rc : pg_sync_exec(c->control, markets_sql, NULL, 0, &s->markets_seen, &c->e);
    rc = rc ? rc : pg_sync_exec(c->control, limits_sql, NULL, 0, &s->limits_seen, &c->e);
    rc = rc ? rc : pg_sync_exec(c->control, policy_sql, NULL, 0, &s->policy_seen, &c->e);
    return cli_explain(c->control, rc, &c->e);
}

static int simulate(struct cli *c, struct simulation *s)
{
    int rc = read_history(c, s);
    rc = rc ? rc : read_jobs(s);
    rc = rc ? rc : read_markets(s);
    rc = rc ? rc : read_limits(s);
    rc = rc ? rc : read_workers(c, s);
    rc = rc ? rc : change_markets(c, s, "--weight", &c->o.weights, 0.001, 1000, set_weight);
    rc = rc ? rc : change_markets(c, s, "--max-running", &c->o.limits, 0, 1000000, set_max_running);
    if (rc) {
        return rc;
    }
    if (s->job_count == 0) {
        return err_set(&c->e, ERR_NOTFOUND,
                       "no finished jobs in that time; choose another: --since 7d");
    }
    read_policy(c, s);
    s->world = (struct core_world){.markets = s->markets,
                                   .market_count = s->market_count,
                                   .regions = s->regions,
                                   .region_count = s->region_count,
                                   .tasks = s->tasks,
                                   .task_count = s->task_count};
    s->replay = (struct replay){.jobs = s->jobs,
                                .job_count = s->job_count,
                                .workers = s->workers,
                                .worker_count = s->worker_count,
                                .world = &s->world,
                                .settings = &s->settings};
    rc = replay_run(&s->replay, &c->e);
    rc = rc ? rc : group(s);
    return rc ? rc : c->o.json ? print_json(c, s) : print_table(c, s);
}

static int run_simulate(struct cli *c)
{
    struct simulation s = {.job_count = 0};
    int rc = simulate(c, &s);
    mem_free(s.waits);
    mem_free(s.lines);
    mem_free(s.tasks);
    mem_free(s.regions);
    mem_free(s.markets);
    mem_free(s.worker_names);
    mem_free(s.workers);
    mem_free(s.needs);
    mem_free(s.past);
    mem_free(s.jobs);
    pg_result_free(s.policy_seen);
    pg_result_free(s.limits_seen);
    pg_result_free(s.markets_seen);
    pg_result_free(s.workers_seen);
    pg_result_free(s.history);
    return rc;
}

static const struct config_entry simulate_flags[] = {
    CLI_FLAG("max-running", CONFIG_LIST, limits, "MARKET=N; may be repeated"),
    CLI_FLAG_NUMBER("priority-age", CONFIG_DURATION, priority_age_ms, "0", 0, 365 * 86400000.0,
                    "TIME of waiting that is worth a point of priority (as now)"),
    CLI_FLAG_NUMBER("share-half-life", CONFIG_DURATION, half_life_ms, "0", 0, 365 * 86400000.0,
                    "TIME after which half of a market's use is forgotten (as now)"),
    CLI_FLAG("since", CONFIG_TEXT, since, "TIME or DATE the window begins (24h)"),
    CLI_FLAG("until", CONFIG_TEXT, until, "TIME or DATE it ends (now)"),
    CLI_FLAG("weight", CONFIG_LIST, weights, "MARKET=W; may be repeated"),
    CLI_FLAG("workers", CONFIG_LIST, workers,
             "REGION=COUNT or REGION=COUNTxSLOTS; may be repeated; other regions keep theirs"),
};

static const struct cli_command commands[] = {
    {
        .name = "simulate",
        .args = "",
        .summary = "replay past jobs with other workers, weights or limits",
        .details =
            "The jobs admitted in the window run once more through the scheduler's own decisions,\n"
            "on virtual time: each takes as long as it took, nothing fails. Without flags it is\n"
            "the past itself, which tells how far the answer can be trusted. Ends are seconds\n"
            "since the first job came; sim_ is simulated.",
        .examples = "  meridian simulate --since 24h --workers emea=2x4\n"
                    "  meridian simulate --since 2026-11-23 --until 2026-11-24 --weight de-DE=4",
        CLI_FLAGS(simulate_flags),
        .run = run_simulate,
    },
};

CLI_GROUP(cli_simulate_group, commands);
