/* Backfills: a range of nights as one object. */
#include "ops/cli/backfill.h"

#include "common/base/mem.h"
#include "common/base/uuid.h"
#include "common/job/job.h"
#include "ops/cli/follow.h"
#include "ops/cli/print.h"

#include <string.h>

enum { TEXT_BYTES_MAX = 64 * 1024 };

/* --spec, each --set on top, and --promote, as a nightly's JSON. */
static int build_spec(struct cli *c, struct buf *spec)
{
    struct job_spec *checked = NULL;
    int rc = c->o.spec ? cli_read_file(c->o.spec, spec, &c->e) : 0;
    for (size_t i = 0; i < c->o.set.count && rc == 0; i++) {
        rc = job_spec_set(JOB_NIGHTLY, c->o.set.items[i], spec, &c->e);
    }
    if (rc == 0 && c->o.promote) {
        rc = job_spec_set(JOB_NIGHTLY, "promote=true", spec, &c->e);
    }
    if (rc == 0 && spec->length > 0) {
        rc = job_spec_parse(JOB_NIGHTLY, buf_span(spec), &checked, &c->e);
        job_spec_free(checked);
    }
    return rc == ERR_INVALID || rc == ERR_PARSE ? cli_usage(c, "%s", c->e.text) : rc;
}

/* --market and --markets: a code is a pattern that names itself. */
static const char *patterns(struct cli *c, struct buf *out)
{
    struct config_list all = c->o.markets;
    for (size_t i = 0; i < c->o.patterns.count && all.count < CONFIG_LIST_MAX; i++) {
        all.items[all.count++] = c->o.patterns.items[i];
    }
    return cli_array(all.items, all.count, out);
}

int backfill_match(struct cli *c, char *out, size_t size)
{
    struct buf array;
    *out = 0;
    if (c->o.patterns.count == 0) {
        return 0;
    }
    int rc = cli_control(c);
    if (rc) {
        return rc;
    }
    buf_init(&array, TEXT_BYTES_MAX);
    const char *const params[] = {cli_array(c->o.patterns.items, c->o.patterns.count, &array)};
    rc = query_text(c->control, "SELECT array_to_string(meridian.market_match($1::text[]), ',')",
                    params, 1, out, size, &c->e);
    buf_close(&array);
    return rc;
}

static void print_started(struct cli *c, const struct pg_result *r)
{
    bool is_new = pg_bool(r, 0, 1);
    if (c->o.json) {
        (void)fprintf(c->out, "{\"id\":\"%s\",\"new\":%s,\"nights\":%s,\"markets\":%s}\n",
                      pg_text(r, 0, 0), is_new ? "true" : "false", pg_text(r, 0, 2),
                      pg_text(r, 0, 3));
        return;
    }
    (void)fprintf(c->out, "%s\n", pg_text(r, 0, 0));
    (void)fflush(c->out);
    (void)fprintf(stderr, "%s%s nights of %s markets; see: meridian backfill list\n",
                  is_new ? "" : "under way already: ", pg_text(r, 0, 2), pg_text(r, 0, 3));
}

static int start(struct cli *c, const char *task, const struct buf *spec, char *id)
{
    struct buf markets;
    struct pg_result *r = NULL;
    char cap[24];
    buf_init(&markets, TEXT_BYTES_MAX);
    (void)snprintf(cap, sizeof cap, "%lld", (long long)c->o.cap);
    int rc = PG_SYNC_EXEC(
        c->control, &r, &c->e,
        "SELECT id, is_new, nights, cardinality(markets) FROM meridian.backfill_start($1, "
        "$2::text[], $3::date, $4::date, $5::integer, $6::jsonb, $7::float8::integer, "
        "$8::boolean, $9)",
        task, patterns(c, &markets), c->o.from, c->o.to, cap, spec->length > 0 ? spec->data : NULL,
        c->o.priority, c->o.again ? "true" : "false", cli_actor());
    buf_close(&markets);
    if (rc) {
        return cli_explain(c->control, rc, &c->e);
    }
    (void)snprintf(id, UUID_SIZE, "%s", pg_text(r, 0, 0));
    print_started(c, r);
    pg_result_free(r);
    return 0;
}

static int follow(struct cli *c, char (*ids)[UUID_SIZE], size_t count)
{
    if (!c->o.wait && !c->o.watch) {
        return CLI_DONE;
    }
    const char **list = mem_new_array(count, sizeof *list);
    if (!list) {
        return err_set(&c->e, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        list[i] = ids[i];
    }
    int rc = c->o.watch ? follow_watch(c, list, count) : follow_wait(c, list, count, 0);
    mem_free(list);
    return rc;
}

int backfill_run(struct cli *c, const char *const *tasks, size_t count)
{
    struct buf spec;
    CLI_NEED(c, c->o.from, "--from");
    CLI_NEED(c, c->o.to, "--to");
    int rc = cli_check_number(c, "--priority", c->o.priority);
    rc = rc ? rc : cli_control(c);
    char(*ids)[UUID_SIZE] = rc ? NULL : mem_new_array(count, sizeof *ids);
    if (!ids) {
        return rc ? rc : err_set(&c->e, ERR_NOMEM, "out of memory");
    }
    buf_init(&spec, TEXT_BYTES_MAX);
    rc = build_spec(c, &spec);
    if (rc == 0 && spec.length > 0 && !buf_text(&spec)) {
        rc = err_set(&c->e, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = start(c, tasks[i], &spec, ids[i]);
    }
    rc = rc ? rc : follow(c, ids, count);
    buf_close(&spec);
    mem_free(ids);
    return rc;
}

/* Commands ----------------------------------------------------------------------------------- */

static int run_list(struct cli *c)
{
    int rc = cli_control(c);
    return rc ? rc
              : PRINT_QUERY(c, c->control, "no backfills: meridian nightly run --help",
                            "SELECT backfill AS id, task, state, first_night, last_night, nights, "
                            "succeeded, failed, cancelled, done_before, open, left_to_begin, cap, "
                            "paused_by, cardinality(markets) AS markets, submitted_by, "
                            "submitted_at, ended_at, error_text FROM report.backfill WHERE "
                            "ended_at IS NULL OR $1::boolean ORDER BY submitted_at",
                            c->o.all ? "true" : "false");
}

static int change(struct cli *c, const char *sql, const char *did, const char *was)
{
    char changed[8];
    if (!uuid_is_valid(c->args[0], strlen(c->args[0]))) {
        return cli_usage(c, "\"%s\" is no job id", c->args[0]);
    }
    int rc = cli_control(c);
    rc = rc ? rc : QUERY_TEXT(c->control, changed, &c->e, sql, c->args[0], cli_actor());
    if (rc) {
        return rc;
    }
    bool is_changed = strcmp(changed, "t") == 0;
    if (c->o.json) {
        (void)fprintf(c->out, "{\"id\":\"%s\",\"changed\":%s}\n", c->args[0],
                      is_changed ? "true" : "false");
    } else {
        (void)fprintf(c->out, "%s\n", is_changed ? did : was);
    }
    return CLI_DONE;
}

static int run_pause(struct cli *c)
{
    return change(c, "SELECT meridian.backfill_pause($1::uuid, $2)",
                  "paused: what runs goes on, nothing new of it starts", "was paused already");
}

static int run_resume(struct cli *c)
{
    return change(c, "SELECT meridian.backfill_resume($1::uuid, $2)", "resumed", "was not paused");
}

static const struct config_entry list_flags[] = {
    CLI_FLAG("all", CONFIG_BOOL, all, "also those that have ended"),
};

static const struct cli_command commands[] = {
    {.name = "backfill list",
     .args = "",
     .summary = "the backfills that are under way, with their nights",
     .details = "The same with more columns: meridian report backfill. Started by nightly run "
                "--from --to, ended early\n"
                "by meridian cancel ID.",
     .examples = "  meridian backfill list --all",
     CLI_FLAGS(list_flags),
     .run = run_list},
    {.name = "backfill pause",
     .args = "ID",
     .summary = "start nothing new of it; what runs goes on",
     .examples = "  meridian backfill pause 018f2b6e-0000-7000-8000-000000000001",
     .arg_min = 1,
     .arg_max = 1,
     .run = run_pause},
    {.name = "backfill resume",
     .args = "ID",
     .summary = "go on with it",
     .examples = "  meridian backfill resume 018f2b6e-0000-7000-8000-000000000001",
     .arg_min = 1,
     .arg_max = 1,
     .run = run_resume},
};

CLI_GROUP(cli_backfill_group, commands);
