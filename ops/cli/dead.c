/* Running again what failed: retry, and the dead letters. */
#include "common/job/job.h"
#include "ops/cli/cli.h"
#include "ops/cli/print.h"
#include "ops/cli/select.h"

#include <stdlib.h>
#include <string.h>

enum { IDS_BYTES_MAX = 4 * 1024 * 1024, SPEC_BYTES_MAX = 64 * 1024 };

/* Retry -------------------------------------------------------------------------------------- */

/* The fields of --set as a JSON map, typed by the job's kind. NULL params when there are none. */
static int build_patch(struct cli *c, const char *id, struct buf *patch)
{
    char kind[64];
    int rc = QUERY_TEXT(c->control, kind, &c->e,
                        "SELECT kind FROM meridian.job WHERE id = $1::uuid", id);
    enum job_kind k = rc ? 0 : job_kind_from_name(kind);
    for (size_t i = 0; i < c->o.set.count && rc == 0; i++) {
        rc = k ? job_spec_set(k, c->o.set.items[i], patch, &c->e)
               : err_set(&c->e, ERR_NOTFOUND, "there is no job %s with fields to set", id);
    }
    return rc;
}

static int retry_one(struct cli *c, const char *id)
{
    struct buf patch;
    char new_id[64];
    buf_init(&patch, SPEC_BYTES_MAX);
    int rc = c->o.set.count > 0 ? build_patch(c, id, &patch) : 0;
    rc = rc ? rc
            : QUERY_TEXT(c->control, new_id, &c->e,
                         "SELECT meridian.job_retry($1::uuid, $2, $3::jsonb)", id, cli_actor(),
                         patch.length > 0 ? buf_text(&patch) : NULL);
    buf_close(&patch);
    if (rc == 0) {
        (void)fprintf(c->out,
                      c->o.json ? "{\"id\":\"%s\",\"retried_as\":\"%s\"}\n" : "%s retried as %s\n",
                      id, new_id);
    }
    return rc;
}

static int run_retry(struct cli *c)
{
    int rc = cli_check_ids(c);
    rc = rc ? rc : cli_control(c);
    for (size_t i = 0; i < c->arg_count && rc == 0; i++) {
        rc = retry_one(c, c->args[i]);
    }
    return rc;
}

/* The dead letters ----------------------------------------------------------------------------- */

static int run_dead_list(struct cli *c)
{
    struct buf filter;
    int rc = cli_control(c);
    buf_init(&filter, SELECT_FILTER_BYTES_MAX);
    rc = rc ? rc : select_write(c, &filter);
    rc = rc ? rc
            : PRINT_QUERY(
                  c, c->control, "no dead letters",
                  "SELECT d.job AS id, d.kind, d.market, d.task, d.state, d.attempts, d.since, "
                  "d.error_code, d.signal, d.exit_code, d.peak_rss_mb, d.error_text FROM "
                  "report.dead_letters d JOIN meridian.dead_select($1::jsonb) s ON s.id = "
                  "d.job ORDER BY d.since, d.job LIMIT 10000",
                  buf_text(&filter));
    buf_close(&filter);
    return rc;
}

#define DEAD_COLUMNS                                                                               \
    "d.job AS id, d.kind, d.market, d.task, d.night, d.region, d.state, d.since, d.error_text, "   \
    "d.error_code, d.error_class, d.exit_code, d.signal, d.peak_rss_mb, d.memory_mb, d.worker, "   \
    "d.attempts, d.failures, d.crashes, d.holds_up, d.replay_of, d.submitted_by, j.spec "

/* Not an error of the command: the job is there, but somebody has dealt with it. */
static int explain_missing(struct cli *c, const char *id)
{
    char why[160];
    int rc = QUERY_TEXT(c->control, why, &c->e,
                        "SELECT CASE WHEN replayed_by IS NOT NULL THEN 'was retried as job ' || "
                        "replayed_by WHEN purged_at IS NOT NULL THEN 'was purged' ELSE 'is ' || "
                        "state END FROM meridian.job WHERE id = $1::uuid",
                        id);
    if (rc) {
        return rc;
    }
    return *why ? err_set(&c->e, ERR_NOTFOUND,
                          "job %s is no dead letter: it %s; see meridian job %s", id, why, id)
                : err_set(&c->e, ERR_NOTFOUND, "there is no job %s; see meridian dead list", id);
}

static int print_last_lines(struct cli *c, const char *id)
{
    struct pg_result *r = NULL;
    int rc = PG_SYNC_EXEC(c->control, &r, &c->e,
                          "SELECT unnest(string_to_array(log_tail, E'\\n')) FROM "
                          "report.dead_letters WHERE job = $1::uuid",
                          id);
    if (rc == 0 && pg_rows(r) > 0) {
        (void)fprintf(c->out, "\nLast lines\n");
    }
    for (size_t i = 0; rc == 0 && i < pg_rows(r); i++) {
        (void)fprintf(c->out, "  %s\n", pg_text(r, i, 0));
    }
    pg_result_free(r);
    return rc;
}

static int print_dead_text(struct cli *c, const char *id)
{
    int rc =
        PRINT_RECORD(c, c->control,
                     "SELECT " DEAD_COLUMNS "FROM report.dead_letters d JOIN meridian.job j ON "
                     "j.id = d.job WHERE d.job = $1::uuid",
                     id);
    rc = rc ? rc
            : print_section(c, "Attempts",
                            "SELECT number, state, worker, started_at, date_trunc('milliseconds', "
                            "coalesce(ended_at, now()) - started_at) AS took, exit_code, signal, "
                            "peak_rss_kb / 1024 AS peak_mb, error_code, error_text FROM "
                            "meridian.attempt WHERE job = $1::uuid ORDER BY number",
                            id);
    rc = rc ? rc : print_last_lines(c, id);
    if (rc == 0) {
        (void)fprintf(c->out,
                      "\nNext: meridian dead replay %s [--set NAME=VALUE]\n"
                      "      meridian dead purge %s\n",
                      id, id);
    }
    return rc;
}

static int print_dead_json(struct cli *c, const char *id)
{
    return PRINT_RECORD(c, c->control,
                        "SELECT " DEAD_COLUMNS
                        ", string_to_array(d.log_tail, E'\\n') AS last_lines, "
                        "(SELECT coalesce(json_agg(a ORDER BY a.number), '[]') FROM "
                        "meridian.attempt a WHERE a.job = d.job) AS tries FROM "
                        "report.dead_letters d JOIN meridian.job j ON j.id = d.job WHERE d.job = "
                        "$1::uuid",
                        id);
}

static int run_dead_show(struct cli *c)
{
    int rc = cli_check_ids(c);
    rc = rc ? rc : cli_control(c);
    rc = rc ? rc : (c->o.json ? print_dead_json(c, c->args[0]) : print_dead_text(c, c->args[0]));
    return rc == ERR_NOTFOUND && !*c->e.text ? explain_missing(c, c->args[0]) : rc;
}

/* The ids that the filter names. Rejected ones cannot be replayed as they are. */
static int selected(struct cli *c, bool is_replay, struct pg_result **ret)
{
    struct buf filter;
    bool leaves_rejected = is_replay && c->o.set.count == 0;
    buf_init(&filter, SELECT_FILTER_BYTES_MAX);
    int rc = select_write(c, &filter);
    rc = rc ? rc
            : PG_SYNC_EXEC(c->control, ret, &c->e,
                           "SELECT s.id::text FROM meridian.dead_select($1::jsonb) s JOIN "
                           "meridian.job j ON j.id = s.id WHERE NOT ($2::boolean AND j.state = "
                           "'rejected') LIMIT 10000",
                           buf_text(&filter), leaves_rejected ? "true" : "false");
    buf_close(&filter);
    return rc;
}

/* Oldest first; those that cannot be replayed as they are keep their place. */
static int replay_selected(struct cli *c)
{
    struct pg_result *r = NULL;
    int rc = selected(c, true, &r);
    int code = CLI_DONE;
    for (size_t i = 0; rc == 0 && i < pg_rows(r) && !cli_is_interrupted(); i++) {
        if (retry_one(c, pg_text(r, i, 0))) {
            (void)fprintf(stderr, "%s: %s\n", pg_text(r, i, 0), c->e.text);
            code = CLI_FAILED;
        }
    }
    if (rc == 0 && pg_rows(r) == 0 && !c->o.json) {
        (void)fprintf(stderr, "no dead letters that can be replayed as they are\n");
    }
    pg_result_free(r);
    return rc ? rc : code;
}

static int run_dead_replay(struct cli *c)
{
    int rc = select_check(c);
    rc = rc ? rc : cli_control(c);
    if (rc) {
        return rc;
    }
    return c->arg_count > 0 ? run_retry(c) : replay_selected(c);
}

static int purge(struct cli *c, const char *ids)
{
    char count[24];
    int rc =
        QUERY_TEXT(c->control, count, &c->e,
                   "SELECT meridian.dead_purge(coalesce($1::uuid[], '{}'), $2)", ids, cli_actor());
    if (rc == 0) {
        (void)fprintf(c->out, c->o.json ? "{\"purged\":%s}\n" : "purged %s; their history stays\n",
                      count);
    }
    return rc;
}

static int purge_selected(struct cli *c, struct buf *ids)
{
    struct pg_result *r = NULL;
    int rc = selected(c, false, &r);
    rc = rc ? rc : buf_add_text(ids, "{");
    for (size_t i = 0; rc == 0 && i < pg_rows(r); i++) {
        rc = buf_add_format(ids, "%s%s", i ? "," : "", pg_text(r, i, 0));
    }
    rc = rc ? rc : buf_add_text(ids, "}");
    pg_result_free(r);
    return rc ? rc : purge(c, buf_text(ids));
}

static int run_dead_purge(struct cli *c)
{
    struct buf ids;
    int rc = select_check(c);
    rc = rc ? rc : cli_control(c);
    if (rc) {
        return rc;
    }
    buf_init(&ids, IDS_BYTES_MAX);
    rc = c->arg_count > 0 ? purge(c, cli_array(c->args, c->arg_count, &ids))
                          : purge_selected(c, &ids);
    buf_close(&ids);
    return rc;
}

/* Flags -------------------------------------------------------------------------------------- */

#define FLAG_SET                                                                                   \
    CLI_FLAG("set", CONFIG_LIST, set, "NAME=VALUE to change in the spec; may be repeated")
#define FLAG_ALL CLI_FLAG("all", CONFIG_BOOL, all, "every dead letter")
#define FLAG_CODE CLI_FLAG("code", CONFIG_TEXT, code, "CODE of the error, such as OOM or CRASH")
#define FLAG_KIND CLI_FLAG("kind", CONFIG_TEXT, kind, "KIND: noop, finetune, evaluate, nightly")
#define FLAG_SINCE CLI_FLAG("since", CONFIG_TEXT, since, "TIME: 7d, 12h or 2026-11-23")

static const struct config_entry retry_flags[] = {FLAG_SET};
static const struct config_entry list_flags[] = {FLAG_CODE, FLAG_KIND, CLI_FLAG_MARKET, FLAG_SINCE,
                                                 CLI_FLAG_TASK};
static const struct config_entry replay_flags[] = {
    FLAG_ALL, FLAG_CODE, FLAG_KIND, CLI_FLAG_MARKET, FLAG_SET, FLAG_SINCE, CLI_FLAG_TASK};
static const struct config_entry purge_flags[] = {FLAG_ALL,        FLAG_CODE,  FLAG_KIND,
                                                  CLI_FLAG_MARKET, FLAG_SINCE, CLI_FLAG_TASK};

#define ID "018f2b6e-0000-7000-8000-000000000001"

static const struct cli_command commands[] = {
    {.name = "retry",
     .args = "ID...",
     .summary = "run ended jobs again, under a new id",
     .details =
         "What was skipped because of them is retried with them. --set changes fields of the spec.",
     .examples = "  meridian retry " ID "\n  meridian retry " ID " --set memory_mb=4096",
     CLI_FLAGS(retry_flags),
     .arg_min = 1,
     .arg_max = CLI_ARGS_ANY,
     .run = run_retry},
    {.name = "dead list",
     .args = "",
     .summary = "jobs that failed or were rejected and nobody dealt with",
     .examples = "  meridian dead list --market de-DE\n  meridian dead list --code OOM --since 1d",
     CLI_FLAGS(list_flags),
     .run = run_dead_list},
    {.name = "dead show",
     .args = "ID",
     .summary = "why one of them is there: reason, signal, memory, attempts, last lines",
     .examples = "  meridian dead show " ID,
     .arg_min = 1,
     .arg_max = 1,
     .run = run_dead_show},
    {.name = "dead replay",
     .args = "[ID...]",
     .summary = "run them again, under new ids",
     .details =
         "As meridian retry. Flags given together must all match. What had crashed three times "
         "within 72\nhours is run again only by this or by retry.",
     .examples = "  meridian dead replay " ID "\n"
                 "  meridian dead replay --code OOM --set memory_mb=8192\n"
                 "  meridian dead replay --all --market de-DE",
     CLI_FLAGS(replay_flags),
     .arg_max = CLI_ARGS_ANY,
     .run = run_dead_replay},
    {.name = "dead purge",
     .args = "[ID...]",
     .summary = "take them off the list; their history stays",
     .details = "Flags given together must all match.",
     .examples = "  meridian dead purge " ID "\n  meridian dead purge --code DATA --since 7d",
     CLI_FLAGS(purge_flags),
     .arg_max = CLI_ARGS_ANY,
     .run = run_dead_purge},
};

CLI_GROUP(cli_dead_group, commands);
