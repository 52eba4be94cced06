/* Commands that make jobs: submit, nightly run. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/job/job.h"
#include "ops/cli/backfill.h"
#include "ops/cli/bulk.h"
#include "ops/cli/cli.h"
#include "ops/cli/submit.h"

#include <stdlib.h>
#include <string.h>

enum { COUNT_MAX = 1000000, TASKS_MAX = 1000 };

/* The spec: --spec FILE first, each --set on top. */
static int build_spec(struct cli *c, enum job_kind kind, struct buf *spec)
{
    int rc = c->o.spec ? cli_read_file(c->o.spec, spec, &c->e) : 0;
    for (size_t i = 0; i < c->o.set.count && rc == 0; i++) {
        rc = job_spec_set(kind, c->o.set.items[i], spec, &c->e);
    }
    return rc;
}

static int check_spec(struct cli *c, enum job_kind kind, const struct message_submission *m)
{
    struct job_spec *spec = NULL;
    int rc = job_spec_parse(kind, m->spec, &spec, &c->e);
    rc = rc ? rc : job_check(spec, m->market, m->task, &c->e);
    job_spec_free(spec);
    return rc;
}

static int parse_at(struct cli *c, const char *text, int64_t *ret_ms)
{
    return bulk_parse_time(text, ret_ms)
               ? 0
               : cli_usage(c, "--at: \"%s\" is no time: write 2026-11-24T02:30 (UTC)", text);
}

static int fill_times(struct cli *c, struct message_submission *m)
{
    if (c->o.at && c->o.delay_ms > 0) {
        return cli_usage(c, "--at and --delay exclude each other");
    }
    m->has_not_before = c->o.at || c->o.delay_ms > 0;
    m->not_before_ms = clock_wall_ms() + c->o.delay_ms;
    return c->o.at ? parse_at(c, c->o.at, &m->not_before_ms) : 0;
}

static int add_after(struct cli *c, struct message_submission *m, const char *flag,
                     const struct config_list *ids, char letter)
{
    for (size_t i = 0; i < ids->count; i++) {
        const char *id = ids->items[i];
        if (m->after_count == MESSAGE_AFTER_MAX) {
            return cli_usage(c, "%s: at most %d jobs", flag, MESSAGE_AFTER_MAX);
        }
        if (!uuid_is_valid(id, strlen(id))) {
            return cli_usage(c, "%s: \"%s\" is no job id", flag, id);
        }
        for (size_t k = 0; k < m->after_count; k++) {
            if (strcmp(m->after[k].text, id) == 0 && m->after_if[k] != letter) {
                return cli_usage(c, "%s: job %s has another condition already", flag, id);
            }
        }
        m->after_if[m->after_count] = letter;
        memcpy(m->after[m->after_count++].text, id, UUID_SIZE);
    }
    return 0;
}

/* How many of the needs must be met: a number, or a share of them rounded up. */
static int fill_quorum(struct cli *c, struct message_submission *m)
{
    if (!c->o.quorum) {
        return 0;
    }
    char *end = NULL;
    long value = strtol(c->o.quorum, &end, 10);
    bool is_share = strcmp(end, "%") == 0;
    long needed = is_share ? (value * (long)m->after_count + 99) / 100 : value;
    if (end == c->o.quorum || (*end && !is_share) || value < 1 || (is_share && value > 100)) {
        return cli_usage(c, "--quorum: \"%s\" is neither a number (40) nor a share (95%%)",
                         c->o.quorum);
    }
    if (needed > (long)m->after_count) {
        return cli_usage(c, "--quorum: %ld of %zu jobs cannot be met; name more with --after",
                         needed, m->after_count);
    }
    m->after_quorum = (int32_t)needed;
    return 0;
}

static int fill_after(struct cli *c, struct message_submission *m)
{
    m->after_count = 0;
    int rc = add_after(c, m, "--after", &c->o.after, 'o');
    rc = rc ? rc : add_after(c, m, "--after-notok", &c->o.after_notok, 'n');
    rc = rc ? rc : add_after(c, m, "--after-any", &c->o.after_any, 'a');
    if (c->o.after_notok.count + c->o.after_any.count == 0) {
        m->after_if[0] = '\0'; /* as the first version says it */
    } else {
        m->after_if[m->after_count] = '\0';
    }
    return rc ? rc : fill_quorum(c, m);
}

static int fill_policy(struct cli *c, struct message_submission *m)
{
    if (!c->o.unique_policy) {
        return 0;
    }
    m->unique_policy = message_policy_from_name(c->o.unique_policy);
    if (!m->unique_policy) {
        return cli_usage(c, "--unique-policy: \"%s\" is none of reject, keep and replace",
                         c->o.unique_policy);
    }
    return *m->unique ? 0 : cli_usage(c, "--unique-policy: without --unique KEY");
}

static int fill_priority(struct cli *c, struct message_submission *m)
{
    char *end = NULL;
    if (!c->o.priority) {
        return 0;
    }
    long value = strtol(c->o.priority, &end, 10);
    if (end == c->o.priority || *end || value < -1000 || value > 1000) {
        return cli_usage(c, "--priority: \"%s\" is not within -1000..1000", c->o.priority);
    }
    m->has_priority = true;
    m->priority = (int32_t)value;
    return 0;
}

static int fill_name(struct cli *c, const char *flag, const char *value, char *out, size_t size)
{
    if (value && strlen(value) >= size) {
        return cli_usage(c, "%s: at most %zu characters", flag, size - 1);
    }
    (void)snprintf(out, size, "%s", value ? value : "");
    return 0;
}

static int fill(struct cli *c, enum job_kind kind, struct message_submission *m)
{
    (void)snprintf(m->kind, sizeof m->kind, "%s", job_kind_name(kind));
    int rc = fill_name(c, "--market", c->o.market, m->market, sizeof m->market);
    rc = rc ? rc : fill_name(c, "--task", c->o.task, m->task, sizeof m->task);
    rc = rc ? rc : fill_name(c, "--unique", c->o.unique, m->unique, sizeof m->unique);
    rc = rc ? rc : fill_policy(c, m);
    rc = rc ? rc : fill_priority(c, m);
    rc = rc ? rc : fill_after(c, m);
    rc = rc ? rc : fill_times(c, m);
    m->max_attempts = (int32_t)c->o.max_attempts;
    return rc;
}

/* Sends, prints, follows. */
static int send_all(struct cli *c, struct message_submission *ms, size_t kinds, size_t count)
{
    struct submit_answer *answers = mem_new_array(count, sizeof *answers);
    if (!answers) {
        return err_set(&c->e, ERR_NOMEM, "out of memory");
    }
    int rc = submit_all(c, ms, kinds, answers, count, c->o.timeout_ms);
    if (rc == 0 || rc == ERR_UNREACHABLE) {
        int printed = submit_print(c, answers, rc == 0 ? count : 0);
        rc = rc ? rc : printed;
    }
    if (rc == CLI_DONE) {
        rc = submit_follow(c, answers, count);
    }
    mem_free(answers);
    return rc;
}

/* The same job again and again: written once, repeated by number. */
static int next_repeated(void *data, struct stream_job *ret, struct err_buf *e)
{
    struct stream_job *job = data;
    (void)e;
    *ret = *job;
    job->times = 0;
    return ret->times ? 0 : ERR_NOTFOUND;
}

static int send_repeated(struct cli *c, const struct message_submission *m)
{
    struct buf element;
    buf_init(&element, 2 * MESSAGE_SUBMISSION_MAX);
    int rc = message_bulk_add(m, &element, &c->e);
    struct stream_job job = {.element = buf_span(&element), .times = (size_t)c->o.count};
    const struct stream_source source = {
        .next = next_repeated, .data = &job, .total = (size_t)c->o.count};
    rc = rc ? rc : stream_submit(c, &source, c->o.timeout_ms);
    buf_close(&element);
    return rc;
}

/* Flags that say what a job is: with --bulk the lines say that. */
static bool has_job_flags(const struct cli_options *o)
{
    return o->market || o->task || o->spec || o->set.count || o->priority || o->after.count ||
           o->after_any.count || o->after_notok.count || o->quorum || o->unique ||
           o->unique_policy || o->at || o->delay_ms || o->max_attempts || o->count != 1;
}

static int run_bulk(struct cli *c)
{
    struct bulk_file *file = NULL;
    if (c->arg_count > 0 || has_job_flags(&c->o)) {
        return cli_usage(c, "--bulk: each line says what its job is; KIND and the flags of a job "
                            "do not go with it");
    }
    int rc = bulk_open(c, c->o.bulk, c->o.skip_bad, &file);
    if (rc) {
        return rc;
    }
    const struct stream_source source = {.next = bulk_next,
                                         .data = file,
                                         .name =
                                             strcmp(c->o.bulk, "-") ? c->o.bulk : "standard input",
                                         .total = bulk_count(file)};
    rc = stream_submit(c, &source, c->o.timeout_ms);
    bulk_close(file);
    return rc;
}

static int submit_kind(struct cli *c, enum job_kind kind)
{
    struct buf spec;
    struct message_submission *m = mem_new(sizeof *m);
    if (!m) {
        return err_set(&c->e, ERR_NOMEM, "out of memory");
    }
    buf_init(&spec, MESSAGE_SPEC_MAX);
    int rc = fill(c, kind, m);
    if (rc == 0) {
        rc = build_spec(c, kind, &spec);
        m->spec = buf_span(&spec);
        rc = rc ? rc : check_spec(c, kind, m);
        if (rc == ERR_INVALID || rc == ERR_PARSE || rc == ERR_UNSUPPORTED) {
            rc = cli_usage(c, "%s", c->e.text);
        }
    }
    rc = rc ? rc : c->o.count > 1 ? send_repeated(c, m) : send_all(c, m, 1, 1);
    buf_close(&spec);
    mem_free(m);
    return rc;
}

static int run_submit(struct cli *c)
{
    if (c->o.bulk) {
        return run_bulk(c);
    }
    if (c->o.skip_bad) {
        return cli_usage(c, "--skip-bad: without --bulk FILE");
    }
    if (c->arg_count == 0) {
        return cli_usage(c, "an argument is missing (KIND, or --bulk FILE)");
    }
    enum job_kind kind = job_kind_from_name(c->args[0]);
    if (!kind) {
        return cli_usage(c, "\"%s\" is no kind of job: noop, finetune, evaluate, nightly",
                         c->args[0]);
    }
    return submit_kind(c, kind);
}

/* nightly ----------------------------------------------------------------------------------- */

/* {"markets":[...]} and each --set on top. */
static int nightly_spec(struct cli *c, struct buf *spec)
{
    struct buf markets;
    char matched[16 * 1024];
    int rc = c->o.spec ? cli_read_file(c->o.spec, spec, &c->e) : 0;
    rc = rc ? rc : backfill_match(c, matched, sizeof matched);
    if (rc == 0 && (c->o.markets.count > 0 || *matched)) {
        buf_init(&markets, MESSAGE_SPEC_MAX);
        rc = buf_add_format(&markets, "markets=%s", matched);
        for (size_t i = 0; i < c->o.markets.count && rc == 0; i++) {
            rc = buf_add_format(&markets, "%s%s", i || *matched ? "," : "", c->o.markets.items[i]);
        }
        rc = rc ? rc : job_spec_set(JOB_NIGHTLY, buf_text(&markets), spec, &c->e);
        buf_close(&markets);
    }
    for (size_t i = 0; i < c->o.set.count && rc == 0; i++) {
        rc = job_spec_set(JOB_NIGHTLY, c->o.set.items[i], spec, &c->e);
    }
    return rc;
}

/* The tasks that have texts to train on. */
static int find_tasks(struct cli *c, struct pg_result **ret)
{
    struct buf markets;
    int rc = cli_data(c);
    if (rc) {
        return rc;
    }
    buf_init(&markets, 64 * 1024);
    rc = PG_SYNC_EXEC(
        c->data, ret, &c->e,
        "SELECT DISTINCT task FROM meridian.sample WHERE split = 'train' AND superseded_by "
        "IS NULL AND ($1::text[] IS NULL OR market = ANY ($1)) ORDER BY task LIMIT 1000",
        cli_array(c->o.markets.items, c->o.markets.count, &markets));
    buf_close(&markets);
    return cli_explain(c->data, rc, &c->e);
}

static int send_nightlies(struct cli *c, const char *const *tasks, size_t count)
{
    struct buf spec;
    struct message_submission *ms = mem_new_array(count, sizeof *ms);
    if (!ms) {
        return err_set(&c->e, ERR_NOMEM, "out of memory");
    }
    buf_init(&spec, MESSAGE_SPEC_MAX);
    int rc = nightly_spec(c, &spec);
    for (size_t i = 0; i < count && rc == 0; i++) {
        c->o.task = tasks[i];
        rc = fill(c, JOB_NIGHTLY, &ms[i]);
        ms[i].spec = buf_span(&spec);
        rc = rc ? rc : check_spec(c, JOB_NIGHTLY, &ms[i]);
    }
    if (rc == ERR_INVALID || rc == ERR_PARSE) {
        rc = cli_usage(c, "%s", c->e.text);
    }
    rc = rc ? rc : send_all(c, ms, count, count);
    buf_close(&spec);
    mem_free(ms);
    return rc;
}

static int run_nightly(struct cli *c)
{
    const char *tasks[TASKS_MAX];
    struct pg_result *r = NULL;
    size_t count = 1;
    tasks[0] = c->o.task;
    if (!c->o.task) {
        int rc = find_tasks(c, &r);
        if (rc) {
            return rc;
        }
        count = pg_rows(r);
        for (size_t i = 0; i < count; i++) {
            tasks[i] = pg_text(r, i, 0);
        }
    }
    int rc = count == 0             ? err_set(&c->e, ERR_NOTFOUND,
                                              "no market has samples to train on: meridian data import --help")
             : c->o.from || c->o.to ? backfill_run(c, tasks, count)
                                    : send_nightlies(c, tasks, count);
    pg_result_free(r);
    return rc;
}

#define FLAG_TIMEOUT                                                                               \
    CLI_FLAG_NUMBER("timeout", CONFIG_DURATION, timeout_ms, "30s", 100, 86400000,                  \
                    "DURATION to wait for the scheduler's answer")
#define FLAG_INTAKE                                                                                \
    {                                                                                              \
        .name = "intake-max", .variable = "MERIDIAN_INTAKE_MAX", .type = CONFIG_SIZE_MB,           \
        .offset = offsetof(struct cli_options, intake_max_mb), .fallback = "256", .min = 1,        \
        .max = 1048576,                                                                            \
        .help = "SIZE of what may wait in Redis to be admitted; above it, submitting waits"        \
    }
#define FLAG_SET CLI_FLAG("set", CONFIG_LIST, set, "NAME=VALUE of the spec; may be repeated")
#define FLAG_SPEC                                                                                  \
    CLI_FLAG("spec", CONFIG_TEXT, spec, "FILE with the spec as JSON; - is standard input")
#define FLAG_PRIORITY                                                                              \
    CLI_FLAG("priority", CONFIG_TEXT, priority, "N, -1000..1000; higher runs first")
#define FLAG_WAIT CLI_FLAG("wait", CONFIG_BOOL, wait, "wait for the end; exit 3 when a job fails")
#define FLAG_WATCH CLI_FLAG("watch", CONFIG_BOOL, watch, "the same, with progress")

static const struct config_entry submit_flags[] = {
    CLI_FLAG("after", CONFIG_LIST, after, "ID of a job that must succeed first; may be repeated"),
    CLI_FLAG("after-any", CONFIG_LIST, after_any, "ID of a job that must end first, however"),
    CLI_FLAG("after-notok", CONFIG_LIST, after_notok,
             "ID of a job that must fail, or be cancelled or skipped, first"),
    CLI_FLAG("at", CONFIG_TEXT, at, "TIME before which it does not start, UTC: 2026-11-24T02:30"),
    CLI_FLAG("bulk", CONFIG_TEXT, bulk, "FILE of jobs, a JSON object a line; - is standard input"),
    CLI_FLAG_NUMBER("count", CONFIG_INTEGER, count, "1", 1, COUNT_MAX, "N equal jobs"),
    CLI_FLAG_NUMBER("delay", CONFIG_DURATION, delay_ms, NULL, 0, 31536000000.0,
                    "DURATION before which it does not start: 90s, 15m, 2h"),
    FLAG_INTAKE,
    CLI_FLAG_MARKET,
    CLI_FLAG_NUMBER("max-attempts", CONFIG_INTEGER, max_attempts, NULL, 0, 100,
                    "N attempts at most (default: the kind's)"),
    FLAG_PRIORITY,
    CLI_FLAG("quorum", CONFIG_TEXT, quorum,
             "N or P% of the jobs named by --after...: so many suffice (default: all)"),
    FLAG_SET,
    CLI_FLAG("skip-bad", CONFIG_BOOL, skip_bad, "with --bulk: leave bad lines out"),
    FLAG_SPEC,
    CLI_FLAG_TASK,
    FLAG_TIMEOUT,
    CLI_FLAG("unique", CONFIG_TEXT, unique, "KEY: at most one open job has it"),
    CLI_FLAG("unique-policy", CONFIG_TEXT, unique_policy,
             "reject, keep or replace: what happens while an open job has the key"),
    FLAG_WAIT,
    FLAG_WATCH,
};

static const struct config_entry nightly_flags[] = {
    CLI_FLAG("again", CONFIG_BOOL, again, "with --from: also nights that have succeeded"),
    CLI_FLAG_NUMBER("cap", CONFIG_INTEGER, cap, "1", 1, 100, "N nights at once, with --from"),
    CLI_FLAG("from", CONFIG_TEXT, from, "DATE, the first of a range of nights: a backfill"),
    FLAG_INTAKE,
    CLI_FLAG_MARKETS,
    CLI_FLAG("markets", CONFIG_LIST, patterns,
             "PATTERN in quotes, 'EU/*' (of a region) or 'de-*'; may be repeated"),
    FLAG_PRIORITY,
    CLI_FLAG("promote", CONFIG_BOOL, promote, "with --from: promote too, not only measure"),
    FLAG_SET,
    FLAG_SPEC,
    CLI_FLAG_TASK,
    FLAG_TIMEOUT,
    CLI_FLAG("to", CONFIG_TEXT, to, "DATE, the last of the range"),
    FLAG_WAIT,
    FLAG_WATCH,
};

static const struct cli_command commands[] = {
    {.name = "submit",
     .args = "KIND | --bulk FILE",
     .summary = "submit a job, or many, and print the ids",
     .details =
         "Kinds: noop, finetune, evaluate, nightly. Answers when the scheduler has committed the "
         "job. Without\n"
         "an answer (exit 4) the submission stays in Redis and is taken up by the next scheduler.\n"
         "When it starts: --at or --delay; --after, --after-notok and --after-any name jobs that "
         "must succeed, fail or\n"
         "end first, all of them or a --quorum; one whose needs cannot be met is skipped.\n"
         "Where it runs: --set memory_mb=N, threads=N and labels=KEY=VALUE,... are asked of a "
         "worker.\n"
         "--unique KEY: while an open job has the key, a second one is rejected (reject), answered "
         "with the first\n"
         "(keep), or takes its place unless it runs (replace).\n"
         "--bulk FILE: a job a line, {\"kind\": ..., \"market\": ..., \"task\": ..., \"spec\": "
         "{...}, \"priority\": N,\n"
         "\"id\", \"after\", \"after_notok\", \"after_any\", \"quorum\", \"unique_key\", "
         "\"unique_policy\", \"not_before\",\n"
         "\"max_attempts\"}. Every line is checked first: a bad one is told with line and field, "
         "and then nothing is\n"
         "submitted (exit 1), or with --skip-bad the others are. Give jobs an id when a file may "
         "be sent again.\n"
         "While Redis is full (--intake-max, or its maxmemory), submitting waits, for --timeout at "
         "most (then exit 4).",
     .examples =
         "  meridian submit noop --set sleep_ms=500 --count 100\n"
         "  meridian submit finetune --market de-DE --task support-intent --set seed=7 --watch\n"
         "  meridian submit evaluate --set version=12 --task support-intent --market de-DE --after "
         "ID\n"
         "  meridian submit --bulk jobs.jsonl > ids",
     CLI_FLAGS(submit_flags),
     .arg_max = 1,
     .run = run_submit},
    {.name = "nightly run",
     .args = "",
     .summary = "fine-tune, evaluate and promote, for each market",
     .details =
         "Without --task: one nightly for each task that has samples. Without --market: every "
         "market.\n"
         "With --from and --to it is a backfill, one object: a nightly for each night, oldest "
         "first, at most --cap\n"
         "at once, at priority -100 unless told otherwise, with the samples and bases of then, "
         "measured and not\n"
         "promoted. Nights that a market has done are left out, so the same range may be given "
         "again. Hold it with\n"
         "backfill pause ID, end it with cancel ID.",
     .examples =
         "  meridian nightly run --task support-intent --watch\n"
         "  meridian nightly run --market de-DE --market fr-FR --set compare_scratch=true --wait\n"
         "  meridian nightly run --task support-intent --markets 'EU/*' --from 2026-01-01 --to "
         "2026-01-31 --cap 2",
     CLI_FLAGS(nightly_flags),
     .run = run_nightly},
};

CLI_GROUP(cli_submit_group, commands);
