/* Commands that look at jobs: jobs, job, wait, logs. */
#include "common/base/mem.h"
#include "common/base/uuid.h"
#include "common/job/job.h"
#include "ops/cli/cli.h"
#include "ops/cli/follow.h"
#include "ops/cli/print.h"

#include <stdlib.h>
#include <string.h>

enum { SQL_BYTES_MAX = 64 * 1024, LOG_LINES_MAX = 200 };

/* Lists -------------------------------------------------------------------------------------- */

static int run_jobs(struct cli *c)
{
    char since[64];
    char limit[24];
    if (c->o.state && !job_state_from_name(c->o.state)) {
        return cli_usage(c,
                         "--state: \"%s\" is no state: waiting, queued, dispatched, running, "
                         "succeeded, failed, cancelled, rejected, skipped",
                         c->o.state);
    }
    int rc = cli_parse_since(c, c->o.since, since, sizeof since);
    rc = rc ? rc : cli_control(c);
    (void)snprintf(limit, sizeof limit, "%lld", (long long)c->o.limit);
    return rc ? rc
              : PRINT_QUERY(
                    c, c->control, "no such jobs",
                    /* The view is asked by ids: it then looks at no other job one by one. */
                    "WITH picked AS MATERIALIZED (SELECT * FROM "
                    "meridian.job WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS "
                    "NULL OR market = $2) AND ($3::text IS NULL OR task = $3) AND ($4::text "
                    "IS NULL OR kind = $4) AND submitted_at >= $5::timestamptz ORDER BY "
                    "submitted_at DESC, id DESC LIMIT $6::bigint) "
                    "SELECT j.id, j.kind, j.market, j.task, j.state, j.attempt, j.submitted_at, "
                    "date_trunc('milliseconds', coalesce(j.ended_at, now()) - j.started_at) AS "
                    "took, "
                    "coalesce(p.why, j.error_text, (SELECT 'no step for ' || "
                    "(a.progress->>'quiet_ms')::bigint / 1000 || ' s' FROM meridian.attempt a "
                    "WHERE a.job = j.id AND a.ended_at IS NULL AND j.state = 'running')) AS "
                    "reason, p.reason AS pending, p.expected_start FROM picked j LEFT JOIN "
                    "(SELECT * FROM report.pending WHERE job = ANY (ARRAY(SELECT id FROM "
                    "picked))) p ON p.job = j.id ORDER BY j.submitted_at, j.id",
                    c->o.state, c->o.market, c->o.task, c->o.kind, since, limit);
}

/* One job ------------------------------------------------------------------------------------ */

#define JOB_COLUMNS                                                                                \
    "j.id, j.kind, j.market, j.task, j.region, j.state, "                                          \
    "p.why, p.reason AS pending, p.blocked_by, p.expected_start, "                                 \
    "j.error_code, j.error_text, j.priority, j.night, j.parent, j.replayed_by, (SELECT o.id FROM " \
    "meridian.job o WHERE o.replayed_by = j.id) AS replay_of, j.unique_key, "                      \
    "j.submitted_by, j.submitted_at, j.not_before, j.started_at, j.ended_at, j.attempt, "          \
    "j.failures, j.crashes, j.ooms, j.max_attempts, j.memory_mb, j.time_limit_s, j.threads, "      \
    "j.cancel_requested_by, j.cancel_requested_at, j.superseded_by, j.cause, j.after_quorum, "     \
    "dl.error_class, dl.exit_code, dl.signal, dl.peak_rss_mb, nullif(dl.holds_up, 0) AS "          \
    "holds_up, j.spec, j.result, (SELECT v.id FROM meridian.version v WHERE "                      \
    "v.job = j.id) AS version, (SELECT e.sentence FROM meridian.evaluation e WHERE e.job = j.id) " \
    "AS verdict, nullif(j.labels, '') AS labels"

#define JOB_SOURCES                                                                                \
    " FROM meridian.job j LEFT JOIN (SELECT * FROM report.pending WHERE job = $1::uuid) p ON "     \
    "p.job = j.id LEFT JOIN (SELECT * FROM report.dead_letters WHERE job = $1::uuid) dl ON "       \
    "dl.job = j.id WHERE j.id = $1::uuid"

/* What the job is after: with what condition, how each of them stands, and whether that may still
 * be met. */
#define AFTER                                                                                      \
    "SELECT d.needs AS job, d.condition, n.kind, n.market, coalesce(n.state, 'not submitted yet')" \
    " AS state, CASE WHEN n.ended_at IS NULL THEN 'open' WHEN d.condition = 'afterany' OR "        \
    "(d.condition = 'afterok') = (n.state = 'succeeded') THEN 'met' ELSE 'never' END AS need, "    \
    "n.error_text FROM meridian.dependency d LEFT JOIN meridian.job n ON n.id = d.needs WHERE "    \
    "d.job = $1::uuid ORDER BY n.submitted_at, d.needs"

/* From the job that was skipped, need by need, to the first that ended otherwise than needed. */
#define BECAUSE_OF                                                                                 \
    "WITH RECURSIVE chain (step, job, cause) AS (SELECT 0, id, cause FROM meridian.job WHERE id "  \
    "= $1::uuid AND cause IS NOT NULL UNION ALL SELECT c.step + 1, x.needs, c.cause FROM chain c " \
    "CROSS JOIN LATERAL (SELECT d.needs FROM meridian.dependency d JOIN meridian.job n ON n.id = " \
    "d.needs WHERE d.job = c.job AND (n.id = c.cause OR n.cause = c.cause) ORDER BY n.id = "       \
    "c.cause DESC, n.ended_at, n.id LIMIT 1) x WHERE c.job <> c.cause AND c.step < 1000) SELECT "  \
    "j.id AS job, j.kind, j.market, j.state, j.ended_at, j.error_text FROM chain c JOIN "          \
    "meridian.job j ON j.id = c.job WHERE c.step > 0 ORDER BY c.step"

#define LAST_LINES                                                                                 \
    "SELECT unnest(string_to_array(log_tail, E'\\n')) AS line FROM report.dead_letters WHERE job " \
    "= $1::uuid"

static int print_job_json(struct cli *c, const char *id)
{
    return PRINT_RECORD(
        c, c->control,
        "SELECT " JOB_COLUMNS ", (SELECT coalesce(json_agg(a ORDER BY a.number), '[]') "
        "FROM meridian.attempt a WHERE a.job = j.id) AS attempts, (SELECT "
        "coalesce(json_agg(e ORDER BY e.id), '[]') FROM meridian.event e WHERE e.job = "
        "j.id) AS events, (SELECT coalesce(json_agg(x), '[]') FROM (" AFTER
        ") x) AS after, (SELECT coalesce(json_agg(x), '[]') FROM (" BECAUSE_OF
        ") x) AS because_of, (SELECT coalesce(json_agg(x.line), '[]') FROM (" LAST_LINES
        ") x) AS last_lines" JOB_SOURCES,
        id);
}

static int print_job_text(struct cli *c, const char *id)
{
    int rc = PRINT_RECORD(c, c->control, "SELECT " JOB_COLUMNS JOB_SOURCES, id);
    rc = rc ? rc
            : print_section(
                  c, "Children",
                  "SELECT id, kind, market, state, attempt, error_text FROM meridian.job "
                  "WHERE parent = $1::uuid ORDER BY market NULLS FIRST, submitted_at, kind DESC",
                  id);
    rc = rc ? rc : print_section(c, "After", AFTER, id);
    rc = rc ? rc : print_section(c, "Because of", BECAUSE_OF, id);
    rc = rc ? rc
            : print_section(
                  c, "Attempts",
                  "SELECT number, state, worker, dispatched_at, date_trunc('milliseconds', "
                  "coalesce(ended_at, now()) - started_at) AS took, exit_code, signal, "
                  "peak_rss_kb / 1024 AS peak_mb, error_code, error_text FROM "
                  "meridian.attempt WHERE job = $1::uuid ORDER BY number",
                  id);
    rc = rc ? rc : print_section(c, "Last lines", LAST_LINES, id);
    return rc ? rc
              : print_section(c, "Events",
                              "SELECT at, actor, attempt, from_state, to_state, reason FROM "
                              "meridian.event WHERE job = $1::uuid ORDER BY id",
                              id);
}

static int run_job(struct cli *c)
{
    int rc = cli_check_ids(c);
    rc = rc ? rc : cli_control(c);
    rc = rc ? rc : (c->o.json ? print_job_json(c, c->args[0]) : print_job_text(c, c->args[0]));
    return rc == ERR_NOTFOUND && !*c->e.text
               ? err_set(&c->e, rc, "there is no job %s; see meridian jobs", c->args[0])
               : rc;
}

static int run_wait(struct cli *c)
{
    return follow_wait(c, c->args, c->arg_count, c->o.timeout_ms);
}

/* Logs --------------------------------------------------------------------------------------- */

struct lines {
    char *items[LOG_LINES_MAX];
    size_t count;
};

static void lines_free(struct lines *l)
{
    for (size_t i = 0; i < l->count; i++) {
        mem_free(l->items[i]);
    }
    l->count = 0;
}

static int lines_read(struct cli *c, const char *key, struct lines *ret)
{
    const struct redis_reply *reply = NULL;
    int rc = REDIS_SYNC_CALL(c->redis, &reply, &c->e, "LRANGE", key, "-200", "-1");
    if (rc) {
        return rc;
    }
    for (size_t i = 0; i < redis_reply_count(reply) && ret->count < LOG_LINES_MAX; i++) {
        struct span s = redis_reply_text(redis_reply_at(reply, i));
        char *line = mem_string(s.data ? s.data : "", s.length);
        if (!line) {
            return err_set(&c->e, ERR_NOMEM, "out of memory");
        }
        ret->items[ret->count++] = line;
    }
    return 0;
}

/* How many of now's lines were in before already: the list is cut at its front while it grows. */
static size_t lines_known(const struct lines *before, const struct lines *now)
{
    for (size_t shift = 0; shift < before->count; shift++) {
        size_t overlap = before->count - shift;
        bool is_equal = overlap <= now->count;
        for (size_t i = 0; i < overlap && is_equal; i++) {
            is_equal = strcmp(before->items[shift + i], now->items[i]) == 0;
        }
        if (is_equal) {
            return overlap;
        }
    }
    return 0;
}

static void lines_print(struct cli *c, const struct lines *l, size_t from)
{
    for (size_t i = from; i < l->count; i++) {
        if (c->o.json) {
            print_json_text(c->out, l->items[i]);
            (void)fputc('\n', c->out);
        } else {
            (void)fprintf(c->out, "%s\n", l->items[i]);
        }
    }
    (void)fflush(c->out);
}

static int job_has_ended(struct cli *c, const char *id, bool *ret)
{
    char text[8];
    int rc = QUERY_TEXT(c->control, text, &c->e,
                        "SELECT ended_at IS NOT NULL FROM meridian.job WHERE id = $1::uuid", id);
    if (rc == 0 && !*text) {
        return err_set(&c->e, ERR_NOTFOUND, "there is no job %s; see meridian jobs", id);
    }
    *ret = strcmp(text, "t") == 0;
    return rc;
}

static int follow_lines(struct cli *c, const char *key)
{
    struct lines before = {.count = 0};
    bool ended = false;
    int rc = 0;
    do {
        struct lines now = {.count = 0};
        /* First whether it has ended, then the lines: none can be missed. */
        rc = job_has_ended(c, c->args[0], &ended);
        rc = rc ? rc : lines_read(c, key, &now);
        if (rc == 0) {
            lines_print(c, &now, lines_known(&before, &now));
        }
        lines_free(&before);
        before = now;
        if (c->o.follow && !ended) {
            cli_sleep_ms(500);
        }
    } while (rc == 0 && c->o.follow && !ended && !cli_is_interrupted());
    if (rc == 0 && before.count == 0 && !c->o.json) {
        (void)fprintf(stderr, "no lines: the job has not run yet, or ran more than 7 days ago\n");
    }
    lines_free(&before);
    return rc;
}

static int run_logs(struct cli *c)
{
    char name[64];
    char key[224];
    int rc = cli_check_ids(c);
    rc = rc ? rc : cli_control(c);
    rc = rc ? rc : cli_redis(c);
    if (rc) {
        return rc;
    }
    (void)snprintf(name, sizeof name, "log:%s", c->args[0]);
    return follow_lines(c, cli_redis_key(c, name, key, sizeof key));
}

static const struct config_entry jobs_flags[] = {
    CLI_FLAG("kind", CONFIG_TEXT, kind, "KIND: noop, finetune, evaluate, nightly"),
    CLI_FLAG_NUMBER("limit", CONFIG_INTEGER, limit, "50", 1, 1000000, "N newest jobs"),
    CLI_FLAG_MARKET,
    CLI_FLAG("since", CONFIG_TEXT, since, "TIME: 7d, 12h or 2026-11-23"),
    CLI_FLAG("state", CONFIG_TEXT, state, "STATE: waiting, queued, running, succeeded, failed..."),
    CLI_FLAG_TASK,
};
static const struct config_entry wait_flags[] = {
    CLI_FLAG_NUMBER("timeout", CONFIG_DURATION, timeout_ms, NULL, 0, 31536000000.0,
                    "DURATION to wait at most (default: for ever)"),
};
static const struct config_entry logs_flags[] = {
    {.name = "follow",
     .letter = 'f',
     .type = CONFIG_BOOL,
     .offset = offsetof(struct cli_options, follow),
     .help = "go on until the job ends"},
};
#define ID "018f2b6e-0000-7000-8000-000000000001"

static const struct cli_command commands[] = {
    {.name = "jobs",
     .args = "",
     .summary = "list jobs, newest last, with the reason why one waits",
     .examples = "  meridian jobs --state failed --since 1d\n  meridian jobs --market de-DE --kind "
                 "finetune",
     CLI_FLAGS(jobs_flags),
     .run = run_jobs},
    {.name = "job",
     .args = "ID",
     .summary = "show one job: why it waits or how it ended, its attempts, its events",
     .details = "After: what it needs, with what condition, and whether that is met, open or never "
                "will be.\nBecause of: for a skipped job the chain of needs down to the first that "
                "ended otherwise\nthan needed. Last lines: of a dead letter; more in dead show ID.",
     .examples = "  meridian job " ID,
     .arg_min = 1,
     .arg_max = 1,
     .run = run_job},
    {.name = "wait",
     .args = "ID...",
     .summary = "wait until jobs have ended; exit 3 when one failed",
     .examples = "  meridian wait " ID " --timeout 10m",
     CLI_FLAGS(wait_flags),
     .arg_min = 1,
     .arg_max = CLI_ARGS_ANY,
     .run = run_wait},
    {.name = "logs",
     .args = "ID",
     .summary = "the runner's last 200 lines",
     .examples = "  meridian logs " ID " -f",
     CLI_FLAGS(logs_flags),
     .arg_min = 1,
     .arg_max = 1,
     .run = run_logs},
};

CLI_GROUP(cli_jobs_group, commands);
