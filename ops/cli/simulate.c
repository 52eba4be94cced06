/*
 * `meridian simulate`: the jobs of a past window once more through the scheduler's own decisions,
 * with other workers, limits or weights, on virtual time (scheduler/replay).
 */
#include "common/base/mem.h"
#include "common/json/json.h"
#include "ops/cli/cli.h"
#include "ops/cli/past.h"
#include "ops/cli/table.h"
#include "scheduler/core/names.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 64, NUMBER_SIZE = 32, OUT_BYTES_MAX = 64 << 20 };

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
    struct past past;
    struct replay_worker *workers; /* those of the past, but for regions that a flag names */
    char (*worker_names)[NAME_SIZE];
    size_t worker_count;
    struct core_world world;
    struct replay replay;
    struct market_line *lines;
    struct names by_market; /* of lines, while they are filled */
    int64_t *waits;         /* of all lines, twice */
    size_t line_count;
};

/* --- what if --------------------------------------------------------------------------------- */

/* "NAME=VALUE" into its parts; usage error otherwise. */
static int split(struct cli *c, const char *flag, const char *text, struct span *ret_name,
                 const char **ret_value)
{
    const char *equals = strchr(text, '=');
    *ret_name = (struct span){0};
    *ret_value = "";
    if (!equals || equals == text || equals[1] == '\0') {
        return cli_usage(c, "%s: \"%s\" is not NAME=VALUE", flag, text);
    }
    *ret_name = span_make(text, (size_t)(equals - text));
    *ret_value = equals + 1;
    return 0;
}

static struct core_market_row *find_market(struct simulation *s, struct span code)
{
    for (size_t i = 0; i < s->past.market_count; i++) {
        if (span_equals(s->past.markets[i].code, code)) {
            return &s->past.markets[i];
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

static int choose_workers(struct cli *c, struct simulation *s)
{
    s->workers = mem_new_array(REPLAY_WORKERS_MAX, sizeof *s->workers);
    s->worker_names = mem_new_array(REPLAY_WORKERS_MAX, sizeof *s->worker_names);
    if (!s->workers || !s->worker_names) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < s->past.worker_count && s->worker_count < REPLAY_WORKERS_MAX; i++) {
        if (!is_replaced(c, s->past.workers[i].region)) {
            s->workers[s->worker_count++] = s->past.workers[i];
        }
    }
    int rc = 0;
    for (size_t i = 0; i < c->o.workers.count && rc == 0; i++) {
        rc = add_workers(c, s, c->o.workers.items[i]);
    }
    return rc;
}

static void choose_policy(struct cli *c, struct simulation *s)
{
    if (c->o.priority_age_ms > 0) {
        s->past.settings.priority_age_ms = c->o.priority_age_ms;
    }
    if (c->o.half_life_ms > 0) {
        s->past.settings.share_half_life_ms = c->o.half_life_ms;
    }
}

/* --- by market ------------------------------------------------------------------------------- */

/* The market's line, new when it is the first job's; NULL when out of memory. */
static struct market_line *line_of(struct simulation *s, struct span code)
{
    struct market_line *line = names_find(&s->by_market, code);
    if (line) {
        return line;
    }
    line = &s->lines[s->line_count];
    *line = (struct market_line){.code = code};
    if (names_add(&s->by_market, line->code, line)) {
        return NULL;
    }
    s->line_count++;
    return line;
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

static void count_job(struct market_line *line, const struct replay_job *job,
                      const struct past_times *past)
{
    line->waits_ms[line->at] = past->wait_ms;
    line->simulated_ms[line->at++] = job->start_ms - job->queued_ms;
    line->end_ms = later(line->end_ms, past->end_ms);
    line->simulated_end_ms = later(line->simulated_end_ms, job->end_ms);
}

/* Only jobs that ended in the replay as well are compared. */
static int group(struct simulation *s)
{
    const struct past *p = &s->past;
    s->lines = mem_new_array(p->job_count + 1, sizeof *s->lines);
    s->waits = mem_new_array(2 * p->job_count + 1, sizeof *s->waits);
    if (!s->lines || !s->waits) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < p->job_count; i++) {
        struct market_line *line = line_of(s, p->jobs[i].market);
        if (!line) {
            return ERR_NOMEM;
        }
        line->jobs += p->jobs[i].end_ms >= 0;
    }
    lay_out(s);
    for (size_t i = 0; i < p->job_count; i++) {
        if (p->jobs[i].end_ms >= 0) {
            count_job(line_of(s, p->jobs[i].market), &p->jobs[i], &p->times[i]);
        }
    }
    qsort(s->lines, s->line_count, sizeof *s->lines, compare_lines);
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
    return s->past.job_count > 0 ? s->past.jobs[0].arrive_ms : 0;
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
                      seconds(s->past.end_ms - first), seconds(s->replay.end_ms - first),
                      100 * use_of(s->past.busy_ms, s->past.slots, s->past.end_ms - first),
                      (long long)s->past.slots, 100 * use_of(busy, slots, s->replay.end_ms - first),
                      (long long)slots, s->past.job_count);
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
    json_write_integer(&w, "jobs", (int64_t)s->past.job_count);
    json_write_integer(&w, "stuck", (int64_t)s->replay.stuck);
    json_write_real(&w, "makespan_s", seconds(s->past.end_ms - first));
    json_write_real(&w, "sim_makespan_s", seconds(s->replay.end_ms - first));
    json_write_real(&w, "use", use_of(s->past.busy_ms, s->past.slots, s->past.end_ms - first));
    json_write_real(&w, "sim_use", use_of(busy, slots, s->replay.end_ms - first));
    json_write_integer(&w, "slots", s->past.slots);
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

static int read_past(struct cli *c, struct simulation *s)
{
    char since[64], until[64];
    int rc = cli_parse_since(c, c->o.since ? c->o.since : "24h", since, sizeof since);
    (void)snprintf(until, sizeof until, "now");
    rc = rc || !c->o.until ? rc : cli_parse_since(c, c->o.until, until, sizeof until);
    rc = rc ? rc : cli_control(c);
    rc = rc ? rc : past_read(&s->past, c, since, until);
    if (rc == 0 && s->past.job_count == 0) {
        rc = err_set(&c->e, ERR_NOTFOUND,
                     "no finished jobs in that time; choose another: --since 7d");
    }
    return rc;
}

static int change_past(struct cli *c, struct simulation *s)
{
    int rc = choose_workers(c, s);
    rc = rc ? rc : change_markets(c, s, "--weight", &c->o.weights, 0.001, 1000, set_weight);
    rc = rc ? rc : change_markets(c, s, "--max-running", &c->o.limits, 0, 1000000, set_max_running);
    choose_policy(c, s);
    return rc;
}

static int replay(struct cli *c, struct simulation *s)
{
    const struct past *p = &s->past;
    s->world = (struct core_world){.markets = p->markets,
                                   .market_count = p->market_count,
                                   .regions = p->regions,
                                   .region_count = p->region_count,
                                   .tasks = p->tasks,
                                   .task_count = p->task_count};
    s->replay = (struct replay){.jobs = p->jobs,
                                .job_count = p->job_count,
                                .workers = s->workers,
                                .worker_count = s->worker_count,
                                .world = &s->world,
                                .settings = &p->settings};
    return replay_run(&s->replay, &c->e);
}

static int run_simulate(struct cli *c)
{
    struct simulation s = {.worker_count = 0};
    int rc = read_past(c, &s);
    rc = rc ? rc : change_past(c, &s);
    rc = rc ? rc : replay(c, &s);
    rc = rc ? rc : group(&s);
    rc = rc ? rc : c->o.json ? print_json(c, &s) : print_table(c, &s);
    names_close(&s.by_market);
    mem_free(s.waits);
    mem_free(s.lines);
    mem_free(s.worker_names);
    mem_free(s.workers);
    past_close(&s.past);
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
