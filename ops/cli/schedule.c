/* Commands about schedules. */
#include "common/job/job.h"
#include "ops/cli/cli.h"
#include "ops/cli/print.h"

#include <string.h>

enum { TEXT_BYTES_MAX = 64 * 1024 };

/* --spec and --set as a nightly's JSON; empty when neither was given. */
static int build_spec(struct cli *c, struct buf *spec)
{
    struct job_spec *checked = NULL;
    int rc = c->o.spec ? cli_read_file(c->o.spec, spec, &c->e) : 0;
    for (size_t i = 0; i < c->o.set.count && rc == 0; i++) {
        rc = job_spec_set(JOB_NIGHTLY, c->o.set.items[i], spec, &c->e);
    }
    if (rc == 0 && spec->length > 0) {
        rc = job_spec_parse(JOB_NIGHTLY, buf_span(spec), &checked, &c->e);
        job_spec_free(checked);
    }
    return rc == ERR_INVALID || rc == ERR_PARSE ? cli_usage(c, "%s", c->e.text) : rc;
}

static const char *paused_text(const struct cli_options *o)
{
    return o->paused ? "true" : o->resumed ? "false" : NULL;
}

static int store(struct cli *c, struct buf *spec, struct buf *markets, char *is_new, size_t size)
{
    const struct cli_options *o = &c->o;
    const char *const params[] = {c->args[0],
                                  o->cron,
                                  o->timezone,
                                  o->task,
                                  o->all ? "{}"
                                         : cli_array(o->markets.items, o->markets.count, markets),
                                  spec->length > 0 ? buf_text(spec) : NULL,
                                  o->priority,
                                  paused_text(o),
                                  cli_actor()};
    return query_text(c->control,
                      "SELECT meridian.schedule_set($1, $2, $3, $4, $5::text[], $6::jsonb, "
                      "$7::float8::integer, $8::boolean, $9)",
                      params, sizeof params / sizeof *params, is_new, size, &c->e);
}

static int run_set(struct cli *c)
{
    struct buf spec;
    struct buf markets;
    char is_new[8];
    if (!job_schedule_is_valid(c->args[0])) {
        return cli_usage(c, "\"%s\" is no name: letters, digits, dot, - and _, at most 64",
                         c->args[0]);
    }
    int rc = cli_check_number(c, "--priority", c->o.priority);
    if (rc) {
        return rc;
    }
    buf_init(&spec, TEXT_BYTES_MAX);
    buf_init(&markets, TEXT_BYTES_MAX);
    rc = build_spec(c, &spec);
    rc = rc ? rc : cli_control(c);
    rc = rc ? rc : store(c, &spec, &markets, is_new, sizeof is_new);
    buf_close(&markets);
    buf_close(&spec);
    if (rc) {
        return rc;
    }
    bool added = strcmp(is_new, "t") == 0;
    if (c->o.json) {
        (void)fprintf(c->out, "{\"schedule\":\"%s\",\"added\":%s}\n", c->args[0],
                      added ? "true" : "false");
    } else {
        (void)fprintf(c->out, "%s schedule %s; see: meridian schedule next %s\n",
                      added ? "added" : "changed", c->args[0], c->args[0]);
    }
    return CLI_DONE;
}

static int run_list(struct cli *c)
{
    int rc = cli_control(c);
    return rc ? rc
              : print_query(
                    c, c->control,
                    "SELECT s.name, s.cron, s.timezone, s.task, array_to_string(s.markets, ' ') AS "
                    "markets, s.priority, s.paused, (SELECT max(f.nominal_at) FROM meridian.firing "
                    "f WHERE f.schedule = s.name) AS last, CASE WHEN NOT s.paused THEN (SELECT "
                    "min(n.at) FROM meridian.schedule_next(s.name, 1) n) END AS next, s.spec FROM "
                    "meridian.schedule s ORDER BY s.name",
                    NULL, 0, "no schedules: meridian schedule set --help");
}

static int run_rm(struct cli *c)
{
    char none[8];
    int rc = cli_control(c);
    rc = rc ? rc
            : QUERY_TEXT(c->control, none, &c->e, "SELECT meridian.schedule_rm($1, $2)", c->args[0],
                         cli_actor());
    if (rc == 0) {
        (void)fprintf(c->out,
                      c->o.json ? "{\"schedule\":\"%s\",\"removed\":true}\n"
                                : "removed schedule %s\n",
                      c->args[0]);
    }
    return rc;
}

static int run_run(struct cli *c)
{
    int rc = cli_control(c);
    return rc ? rc
              : PRINT_QUERY(
                    c, c->control, "nothing to fire: the schedule has no markets",
                    "SELECT r AS id FROM meridian.schedule_run($1, $2) r WHERE r IS NOT NULL",
                    c->args[0], cli_actor());
}

static int run_next(struct cli *c)
{
    char count[24];
    int rc = cli_control(c);
    (void)snprintf(count, sizeof count, "%lld", (long long)c->o.count);
    return rc ? rc
              : PRINT_QUERY(
                    c, c->control, "it never fires: no market has a time zone for it",
                    "SELECT at AS utc, local, timezone, array_to_string(markets, ' ') AS markets "
                    "FROM meridian.schedule_next($1, $2::integer)",
                    c->args[0], count);
}

static const struct config_entry set_flags[] = {
    CLI_FLAG("all-markets", CONFIG_BOOL, all, "every market, also those added later"),
    CLI_FLAG("cron", CONFIG_TEXT, cron, "EXPR, five fields: \"30 2 * * *\" is each night at 02:30"),
    CLI_FLAG_MARKETS,
    CLI_FLAG("pause", CONFIG_BOOL, paused, "keep it, but do not fire"),
    CLI_FLAG("priority", CONFIG_TEXT, priority, "N of its nightlies, -1000..1000"),
    CLI_FLAG("resume", CONFIG_BOOL, resumed, "fire again; what was missed is not caught up"),
    CLI_FLAG("set", CONFIG_LIST, set, "NAME=VALUE of the nightly's spec; may be repeated"),
    CLI_FLAG("spec", CONFIG_TEXT, spec,
             "FILE with the nightly's spec as JSON; - is standard input"),
    CLI_FLAG_TASK,
    CLI_FLAG("tz", CONFIG_TEXT, timezone, "ZONE, or market: each market's own night (default)"),
};
static const struct config_entry next_flags[] = {
    CLI_FLAG_NUMBER("count", CONFIG_INTEGER, count, "5", 1, 1000, "N firings"),
};

static const struct cli_command commands[] = {
    {.name = "schedule set",
     .args = "NAME",
     .summary = "add or change a schedule of nightlies",
     .details = "What is not given stays as it is. With --tz market one line serves every market: "
                "each has its\n"
                "nightly at its own local time. A local time that a clock change skips fires right "
                "after the gap,\n"
                "one that comes twice fires once.",
     .examples =
         "  meridian schedule set nightly --cron \"30 2 * * *\" --tz market --task support-intent\n"
         "  meridian schedule set nightly --pause",
     CLI_FLAGS(set_flags),
     .arg_min = 1,
     .arg_max = 1,
     .run = run_set},
    {.name = "schedule list",
     .args = "",
     .summary = "list the schedules with their last and next firing",
     .examples = "  meridian schedule list",
     .run = run_list},
    {.name = "schedule rm",
     .args = "NAME",
     .summary = "remove a schedule",
     .examples = "  meridian schedule rm nightly",
     .arg_min = 1,
     .arg_max = 1,
     .run = run_rm},
    {.name = "schedule run",
     .args = "NAME",
     .summary = "fire it now; prints the ids of the nightlies",
     .examples = "  meridian schedule run nightly",
     .arg_min = 1,
     .arg_max = 1,
     .run = run_run},
    {.name = "schedule next",
     .args = "NAME",
     .summary = "when it fires next, in UTC and local time",
     .examples = "  meridian schedule next nightly --count 10",
     CLI_FLAGS(next_flags),
     .arg_min = 1,
     .arg_max = 1,
     .run = run_next},
};

CLI_GROUP(cli_schedule_group, commands);
