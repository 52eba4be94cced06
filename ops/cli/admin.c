/* Commands that set up: migrate, market, task. */
#include "common/job/job.h"
#include "ops/cli/cli.h"
#include "ops/cli/print.h"
#include "sql/migrate.h"

#include <string.h>

enum { ARRAY_BYTES_MAX = 64 * 1024 };

/* migrate ----------------------------------------------------------------------------------- */

struct migrate_print {
    struct cli *c;
    size_t pending;
    size_t applied;
    size_t steps;
};

static void on_step(const struct migrate_step *step, void *data)
{
    struct migrate_print *p = data;
    p->pending += step->state == MIGRATE_PENDING;
    p->applied += step->state == MIGRATE_APPLIED;
    if (p->c->o.json) {
        (void)fprintf(p->c->out, "%s{\"number\":%d,\"name\":", p->steps ? ",\n " : "[",
                      step->number);
        print_json_text(p->c->out, step->name);
        (void)fprintf(p->c->out,
                      ",\"state\":\"%s\",\"applied_at\":", migrate_state_name(step->state));
        print_json_text(p->c->out, step->applied_at);
        (void)fputc('}', p->c->out);
    } else if (p->c->o.status || step->state == MIGRATE_APPLIED) {
        (void)fprintf(p->c->out, "%-28s %-8s %s\n", step->name, migrate_state_name(step->state),
                      step->applied_at);
    }
    p->steps++;
}

static int run_migrate(struct cli *c)
{
    struct migrate_print p = {.c = c};
    int rc = cli_control(c);
    rc = rc ? rc : migrate_run(c->control, NULL, c->o.status, on_step, &p, &c->e);
    if (rc) {
        return rc;
    }
    if (c->o.json) {
        (void)fputs(p.steps ? "]\n" : "[]\n", c->out);
    } else if (c->o.status && p.pending > 0) {
        (void)fprintf(c->out, "%zu pending: run meridian migrate\n", p.pending);
    } else if (p.applied == 0) {
        (void)fputs("nothing to do: the database is up to date\n", c->out);
    }
    return CLI_DONE;
}

static const struct config_entry migrate_flags[] = {
    CLI_FLAG("status", CONFIG_BOOL, status, "only show what is applied and what is pending"),
};

/* market ------------------------------------------------------------------------------------ */

static int check_market_numbers(struct cli *c)
{
    int rc = cli_check_number(c, "--weight", c->o.weight);
    rc = rc ? rc : cli_check_number(c, "--max-running", c->o.max_running);
    rc = rc ? rc : cli_check_number(c, "--tolerance", c->o.tolerance);
    rc = rc ? rc : cli_check_number(c, "--min-support", c->o.min_support);
    return rc ? rc : cli_check_number(c, "--collapse-drop", c->o.collapse_drop);
}

static int run_market_set(struct cli *c)
{
    char is_new[8];
    const struct cli_options *o = &c->o;
    if (!job_market_is_valid(c->args[0])) {
        return cli_usage(c, "\"%s\" is no market code: letters, digits and -, at most 32",
                         c->args[0]);
    }
    if (o->region && !job_region_is_valid(o->region)) {
        return cli_usage(
            c, "--region: \"%s\" is no region: lower-case letters, digits and -, at most 32",
            o->region);
    }
    int rc = check_market_numbers(c);
    rc = rc ? rc : cli_control(c);
    if (rc) {
        return rc;
    }
    rc = QUERY_TEXT(
        c->control, is_new, &c->e,
        "SELECT meridian.market_set($1, $2, $3, $4, $5, $6::float8, $7::float8::integer, "
        "$8::float8, $9::float8::integer, $10::float8)",
        c->args[0], o->region, o->timezone, cli_actor(), o->language, o->weight, o->max_running,
        o->tolerance, o->min_support, o->collapse_drop);
    if (rc) {
        return rc;
    }
    bool added = strcmp(is_new, "t") == 0;
    if (o->json) {
        (void)fprintf(c->out, "{\"market\":\"%s\",\"added\":%s}\n", c->args[0],
                      added ? "true" : "false");
    } else {
        (void)fprintf(c->out, "%s market %s\n", added ? "added" : "changed", c->args[0]);
    }
    return CLI_DONE;
}

static int run_market_list(struct cli *c)
{
    int rc = cli_control(c);
    return rc ? rc
              : print_query(
                    c, c->control,
                    "SELECT m.code AS market, m.region, m.timezone, m.language, m.weight, "
                    "m.max_running, m.tolerance, (SELECT count(*) FROM meridian.champion ch "
                    "WHERE ch.market = m.code) AS champions FROM meridian.market m "
                    "WHERE m.removed_at IS NULL ORDER BY m.code",
                    NULL, 0, "no markets yet: meridian market set CODE --region R --timezone TZ");
}

static int run_market_show(struct cli *c)
{
    int rc = cli_control(c);
    rc = rc ? rc
            : PRINT_RECORD(
                  c, c->control,
                  "SELECT m.*, (now() AT TIME ZONE m.timezone)::timestamp(0) AS local_time, "
                  "(SELECT string_agg(ch.task || ' version ' || ch.version, ', ' ORDER BY "
                  "ch.task) FROM meridian.champion ch WHERE ch.market = m.code) AS champions, "
                  "(SELECT count(*) FROM meridian.job j WHERE j.market = m.code AND j.ended_at "
                  "IS NULL) AS open_jobs FROM meridian.market m WHERE m.code = $1",
                  c->args[0]);
    return rc == ERR_NOTFOUND && !*c->e.text
               ? err_set(&c->e, rc, "there is no market \"%s\"; see meridian market list",
                         c->args[0])
               : rc;
}

static int run_market_rm(struct cli *c)
{
    char none[8];
    int rc = cli_control(c);
    rc = rc ? rc
            : QUERY_TEXT(c->control, none, &c->e, "SELECT meridian.market_rm($1, $2)", c->args[0],
                         cli_actor());
    if (rc == 0 && c->o.json) {
        (void)fprintf(c->out, "{\"market\":\"%s\",\"removed\":true}\n", c->args[0]);
    } else if (rc == 0) {
        (void)fprintf(c->out, "removed market %s; its history stays\n", c->args[0]);
    }
    return rc;
}

static const struct config_entry market_set_flags[] = {
    CLI_FLAG("collapse-drop", CONFIG_TEXT, collapse_drop,
             "SHARE of F1 that a class may lose before promotion is refused (default 0.25)"),
    CLI_FLAG("language", CONFIG_TEXT, language, "LANGUAGE, such as de"),
    CLI_FLAG("max-running", CONFIG_TEXT, max_running, "N jobs at most at once; 0 = no limit"),
    CLI_FLAG("min-support", CONFIG_TEXT, min_support,
             "N test samples from which a class is watched for collapse (default 5)"),
    CLI_FLAG("region", CONFIG_TEXT, region,
             "REGION that the texts stay in; needed for a new market"),
    CLI_FLAG("timezone", CONFIG_TEXT, timezone, "ZONE, such as Europe/Berlin (default UTC)"),
    CLI_FLAG("tolerance", CONFIG_TEXT, tolerance,
             "SHARE of macro-F1 that a new champion may lose (default 0.01)"),
    CLI_FLAG("weight", CONFIG_TEXT, weight,
             "N, share of the slots against other markets (default 1)"),
};

/* task -------------------------------------------------------------------------------------- */

static int run_task_set(struct cli *c)
{
    struct buf sources;
    char is_new[8];
    if (!job_task_is_valid(c->args[0])) {
        return cli_usage(c,
                         "\"%s\" is no task name: lower-case letters, digits, - and _, at most 64",
                         c->args[0]);
    }
    int rc = cli_control(c);
    if (rc) {
        return rc;
    }
    buf_init(&sources, ARRAY_BYTES_MAX);
    const char *array = cli_array(c->o.sources.items, c->o.sources.count, &sources);
    rc = QUERY_TEXT(c->control, is_new, &c->e, "SELECT meridian.task_set($1, $2::text[], $3)",
                    c->args[0], c->o.no_sources ? "{}" : array, cli_actor());
    buf_close(&sources);
    if (rc) {
        return rc;
    }
    bool added = strcmp(is_new, "t") == 0;
    if (c->o.json) {
        (void)fprintf(c->out, "{\"task\":\"%s\",\"added\":%s}\n", c->args[0],
                      added ? "true" : "false");
    } else {
        (void)fprintf(c->out, "%s task %s\n", added ? "added" : "changed", c->args[0]);
    }
    return CLI_DONE;
}

#define TASK_COLUMNS                                                                               \
    "t.name AS task, array_to_string(t.source_markets, ' ') AS source_markets, "                   \
    "(SELECT max(v.number) FROM meridian.version v WHERE v.task = t.name AND v.market IS NULL) "   \
    "AS "                                                                                          \
    "global_base, (SELECT count(*) FROM meridian.champion ch WHERE ch.task = t.name) AS "          \
    "champions, "                                                                                  \
    "t.created_at"

static int run_task_list(struct cli *c)
{
    int rc = cli_control(c);
    return rc ? rc
              : print_query(c, c->control,
                            "SELECT " TASK_COLUMNS " FROM meridian.task t ORDER BY t.name", NULL, 0,
                            "no tasks yet: meridian task set NAME, or import data for one");
}

static int run_task_show(struct cli *c)
{
    int rc = cli_control(c);
    rc = rc ? rc
            : PRINT_RECORD(c, c->control,
                           "SELECT " TASK_COLUMNS " FROM meridian.task t WHERE t.name = $1",
                           c->args[0]);
    return rc == ERR_NOTFOUND && !*c->e.text
               ? err_set(&c->e, rc, "there is no task \"%s\"; see meridian task list", c->args[0])
               : rc;
}

static const struct config_entry task_set_flags[] = {
    CLI_FLAG("no-source", CONFIG_BOOL, no_sources, "no global base"),
    CLI_FLAG("source", CONFIG_LIST, sources,
             "MARKET whose texts are pooled for the global base; may be repeated, one region"),
};

static const struct cli_command commands[] = {
    {.name = "migrate",
     .args = "",
     .summary = "bring the database to this program's version",
     .details = "Safe to run again, and by two at once. With --status nothing is changed.",
     .examples = "  meridian migrate\n  meridian migrate --status",
     CLI_FLAGS(migrate_flags),
     .run = run_migrate},
    {.name = "market set",
     .args = "CODE",
     .summary = "add or change a market",
     .details = "What is not given stays as it is.",
     .examples =
         "  meridian market set de-DE --region emea --timezone Europe/Berlin --language de\n"
         "  meridian market set de-DE --weight 2 --max-running 1",
     CLI_FLAGS(market_set_flags),
     .arg_min = 1,
     .arg_max = 1,
     .run = run_market_set},
    {.name = "market list",
     .args = "",
     .summary = "list the markets",
     .examples = "  meridian market list --json",
     .run = run_market_list},
    {.name = "market show",
     .args = "CODE",
     .summary = "show one market",
     .examples = "  meridian market show de-DE",
     .arg_min = 1,
     .arg_max = 1,
     .run = run_market_show},
    {.name = "market rm",
     .args = "CODE",
     .summary = "take a market out of every nightly",
     .examples = "  meridian market rm de-DE",
     .arg_min = 1,
     .arg_max = 1,
     .run = run_market_rm},
    {.name = "task set",
     .args = "NAME",
     .summary = "add or change a task and its global base's markets",
     .details = "A nightly of the task first trains a global base on the pooled source markets; "
                "each market\n"
                "starts from it, or from its champion.",
     .examples = "  meridian task set support-intent --source de-DE --source fr-FR\n"
                 "  meridian task set support-intent --no-source",
     CLI_FLAGS(task_set_flags),
     .arg_min = 1,
     .arg_max = 1,
     .run = run_task_set},
    {.name = "task list",
     .args = "",
     .summary = "list the tasks",
     .examples = "  meridian task list",
     .run = run_task_list},
    {.name = "task show",
     .args = "NAME",
     .summary = "show one task",
     .examples = "  meridian task show support-intent",
     .arg_min = 1,
     .arg_max = 1,
     .run = run_task_show},
};

CLI_GROUP(cli_admin_group, commands);
