/* Limits: how many jobs of a region or a task may run at a time. */
#include "ops/cli/cli.h"
#include "ops/cli/print.h"

#include <stdlib.h>
#include <string.h>

static int report_change(struct cli *c, const char *changed, const char *did, const char *was)
{
    bool is_changed = strcmp(changed, "t") == 0;
    if (c->o.json) {
        (void)fprintf(c->out, "{\"scope\":\"%s\",\"name\":\"%s\",\"changed\":%s}\n", c->args[0],
                      c->args[1], is_changed ? "true" : "false");
    } else {
        (void)fprintf(c->out, "%s: %s %s\n", is_changed ? did : was, c->args[0], c->args[1]);
    }
    return CLI_DONE;
}

static int run_set(struct cli *c)
{
    char changed[8];
    char *end = NULL;
    long most = strtol(c->args[2], &end, 10);
    if (end == c->args[2] || *end || most < 1 || most > 1000000) {
        return cli_usage(c, "\"%.40s\" is not a number from 1 to 1000000", c->args[2]);
    }
    int rc = cli_control(c);
    rc = rc ? rc
            : QUERY_TEXT(c->control, changed, &c->e,
                         "SELECT meridian.limit_set($1, $2, $3::integer, $4)", c->args[0],
                         c->args[1], c->args[2], cli_actor());
    return rc ? rc
              : report_change(c, changed, "limited within a second (what runs goes on)",
                              "was limited so already");
}

static int run_rm(struct cli *c)
{
    char changed[8];
    int rc = cli_control(c);
    rc = rc ? rc
            : QUERY_TEXT(c->control, changed, &c->e, "SELECT meridian.limit_remove($1, $2, $3)",
                         c->args[0], c->args[1], cli_actor());
    return rc ? rc : report_change(c, changed, "no longer limited", "was not limited");
}

static int run_list(struct cli *c)
{
    int rc = cli_control(c);
    return rc ? rc
              : print_query(
                    c, c->control,
                    "WITH running AS (SELECT region, market, task, count(*) AS jobs FROM "
                    "meridian.job WHERE state IN ('dispatched', 'running') AND ended_at IS NULL "
                    "GROUP BY 1, 2, 3) SELECT l.scope, l.name, l.max_running, (SELECT "
                    "coalesce(sum(r.jobs), 0) FROM running r WHERE CASE l.scope WHEN 'region' "
                    "THEN r.region WHEN 'task' THEN r.task ELSE r.market END = l.name) AS "
                    "running, l.set_by, l.set_at FROM (SELECT scope, name, max_running, set_by, "
                    "set_at FROM meridian.run_limit UNION ALL SELECT 'market', code, "
                    "max_running, NULL, NULL FROM meridian.market WHERE max_running > 0 AND "
                    "removed_at IS NULL) l ORDER BY l.scope, l.name",
                    NULL, 0, "nothing is limited");
}

static const struct cli_command commands[] = {
    {.name = "limit set",
     .args = "region|task NAME N",
     .summary = "let at most N jobs of a region or a task run at a time",
     .examples = "  meridian limit set region emea 40\n"
                 "  meridian limit set task support-intent 8\n"
                 "  meridian market set de-DE --max-running 2",
     .arg_min = 3,
     .arg_max = 3,
     .run = run_set},
    {.name = "limit list",
     .args = "",
     .summary = "list the limits, those of markets too, and what runs under each",
     .examples = "  meridian limit list",
     .run = run_list},
    {.name = "limit rm",
     .args = "region|task NAME",
     .summary = "take a limit off",
     .examples = "  meridian limit rm task support-intent",
     .arg_min = 2,
     .arg_max = 2,
     .run = run_rm},
};

CLI_GROUP(cli_limit_group, commands);
