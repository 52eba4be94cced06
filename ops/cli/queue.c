/* Commands about the queue and its workers. */
#include "ops/cli/cli.h"
#include "ops/cli/print.h"

#include <string.h>

static int run_stats(struct cli *c)
{
    int rc = cli_control(c);
    rc =
        rc ? rc
           : print_query(
                 c, c->control,
                 "SELECT r.name AS region, count(j.id) FILTER (WHERE j.state = 'waiting') AS "
                 "waiting, "
                 "count(j.id) FILTER (WHERE j.state = 'queued') AS queued, count(j.id) FILTER "
                 "(WHERE "
                 "j.state = 'dispatched') AS dispatched, count(j.id) FILTER (WHERE j.state = "
                 "'running') AS running, (SELECT count(*) FROM meridian.worker w WHERE w.region = "
                 "r.name AND w.state <> 'gone') AS workers, (SELECT coalesce(sum(w.slots), 0) FROM "
                 "meridian.worker w WHERE w.region = r.name AND w.state = 'up') AS slots, "
                 "date_trunc('second', now() - min(j.queued_at) FILTER (WHERE j.state = 'queued')) "
                 "AS oldest_queued, EXISTS (SELECT FROM meridian.pause p WHERE p.scope = 'all' OR "
                 "(p.scope = 'region' AND p.name = r.name)) AS paused FROM meridian.region r LEFT "
                 "JOIN meridian.job j ON j.region = r.name AND j.ended_at IS NULL GROUP BY r.name "
                 "ORDER BY r.name",
                 NULL, 0, "no regions yet: meridian market set --help");
    if (rc || c->o.json || c->o.csv) {
        return rc;
    }
    char leader[256];
    rc = query_text(
        c->control,
        "SELECT coalesce((SELECT 'scheduler: ' || holder || ', term ' || term || CASE WHEN "
        "expires_at < now() THEN ' (expired: is it running?)' ELSE '' END FROM "
        "meridian.leader), 'scheduler: none has run yet: start meridian-scheduler') || "
        "coalesce((SELECT E'\\npaused markets: ' || string_agg(name, ' ' ORDER BY name) FROM "
        "meridian.pause WHERE scope = 'market' HAVING count(*) > 0), '')",
        NULL, 0, leader, sizeof leader, &c->e);
    if (rc == 0) {
        (void)fprintf(c->out, "%s\n", leader);
    }
    return rc;
}

static int change(struct cli *c, const char *sql, const char *did, const char *was)
{
    char changed[8];
    const char *scope = c->o.market ? "market" : c->o.region ? "region" : "all";
    const char *name = c->o.market ? c->o.market : c->o.region ? c->o.region : "";
    if (c->o.market && c->o.region) {
        return cli_usage(c, "--market and --region exclude each other");
    }
    int rc = cli_control(c);
    rc = rc ? rc : QUERY_TEXT(c->control, changed, &c->e, sql, scope, name, cli_actor());
    if (rc) {
        return rc;
    }
    bool is_changed = strcmp(changed, "t") == 0;
    if (c->o.json) {
        (void)fprintf(c->out, "{\"scope\":\"%s\",\"name\":\"%s\",\"changed\":%s}\n", scope, name,
                      is_changed ? "true" : "false");
    } else {
        (void)fprintf(c->out, "%s: %s%s%s\n", is_changed ? did : was,
                      strcmp(scope, "all") == 0 ? "the queue" : scope, *name ? " " : "", name);
    }
    return CLI_DONE;
}

/* Whether or not it was paused already: a pause of a moment ago may not have settled. */
static int settle(struct cli *c)
{
    char left[24];
    const char *scope = c->o.market ? "market" : c->o.region ? "region" : "all";
    const char *name = c->o.market ? c->o.market : c->o.region ? c->o.region : "";
    int rc =
        QUERY_TEXT(c->control, left, &c->e, "SELECT meridian.pause_settle($1, $2)", scope, name);
    if (rc == 0 && !c->o.json) {
        (void)fprintf(c->out,
                      "nothing of it starts from now on; %s given to workers before go on\n", left);
    }
    return rc;
}

static int run_pause(struct cli *c)
{
    int rc = change(c, "SELECT meridian.queue_pause($1, $2, $3)", "paused", "was paused already");
    return rc == CLI_DONE ? settle(c) : rc;
}

static int run_resume(struct cli *c)
{
    return change(c, "SELECT meridian.queue_resume($1, $2, $3)", "resumed", "was not paused");
}

static int run_workers(struct cli *c)
{
    char all[8];
    int rc = cli_control(c);
    (void)snprintf(all, sizeof all, "%s", c->o.all ? "true" : "false");
    return rc ? rc
              : PRINT_QUERY(
                    c, c->control, "no workers: start meridian-worker --region R",
                    "SELECT w.name, w.region, w.state, w.slots, (SELECT count(*) FROM "
                    "meridian.attempt a WHERE a.worker = w.name AND a.ended_at IS NULL) AS "
                    "running, "
                    "w.threads, w.memory_mb, w.labels, w.host, w.pid, w.version, w.started_at, "
                    "date_trunc('second', now() - w.seen_at) AS seen_ago FROM meridian.worker w "
                    "WHERE w.state <> 'gone' OR $1::boolean ORDER BY w.region, w.name",
                    all);
}

static int run_drain(struct cli *c)
{
    char state[32];
    int rc = cli_control(c);
    rc = rc ? rc
            : QUERY_TEXT(c->control, state, &c->e, "SELECT meridian.worker_drain($1, $2)",
                         c->args[0], cli_actor());
    if (rc == 0) {
        (void)fprintf(c->out,
                      c->o.json ? "{\"worker\":\"%s\",\"draining\":true}\n"
                                : "%s takes no new work and ends when its jobs have ended\n",
                      c->args[0]);
    }
    return rc;
}

static const struct config_entry scope_flags[] = {
    CLI_FLAG_MARKET,
    CLI_FLAG("region", CONFIG_TEXT, region, "REGION"),
};
static const struct config_entry workers_flags[] = {
    CLI_FLAG("all", CONFIG_BOOL, all, "also those that are gone"),
};

static const struct cli_command commands[] = {
    {.name = "queue stats",
     .args = "",
     .summary = "open jobs, workers and slots by region; who schedules",
     .examples = "  meridian queue stats --json",
     .run = run_stats},
    {.name = "queue pause",
     .args = "",
     .summary = "start nothing new: everywhere, in a region, for a market",
     .details =
         "When it returns, nothing of what is paused will be given to a worker until it is "
         "resumed:\nit waits for what the scheduler is just recording. What workers were given "
         "before goes\non; cancel ends that. By SQL: queue_pause, commit, then pause_settle.",
     .examples = "  meridian queue pause --region emea",
     CLI_FLAGS(scope_flags),
     .run = run_pause},
    {.name = "queue resume",
     .args = "",
     .summary = "go on after a pause",
     .examples = "  meridian queue resume --region emea",
     CLI_FLAGS(scope_flags),
     .run = run_resume},
    {.name = "workers",
     .args = "",
     .summary = "list the workers",
     .examples = "  meridian workers",
     CLI_FLAGS(workers_flags),
     .run = run_workers},
    {.name = "workers drain",
     .args = "NAME",
     .summary = "let a worker end its jobs and stop",
     .examples = "  meridian workers drain worker-emea",
     .arg_min = 1,
     .arg_max = 1,
     .run = run_drain},
};

CLI_GROUP(cli_queue_group, commands);
