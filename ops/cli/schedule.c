/* Commands about schedules. */
#include "common/job/job.h"
#include "ops/cli/cli.h"
#include "ops/cli/print.h"

#include <stdlib.h>
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
                                  cli_actor(),
                                  o->gap,
                                  o->overlap,
                                  o->missed,
                                  o->missed_max,
                                  o->missed_window,
                                  o->running,
                                  o->jitter};
    return query_text(
        c->control,
        "SELECT meridian.schedule_set($1, $2, $3, $4, $5::text[], $6::jsonb, $7::float8::integer, "
        "$8::boolean, $9, $10, $11, $12, $13::float8::integer, extract(epoch FROM "
        "$14::interval)::integer, $15, extract(epoch FROM $16::interval)::integer)",
        params, sizeof params / sizeof *params, is_new, size, &c->e);
}

#define SHIFTS                                                                                     \
    "SELECT s.day, s.timezone, array_to_string(s.markets, ' ') AS markets, s.what, s.note, s.at "  \
    "AS "                                                                                          \
    "clocks_change_at FROM meridian.schedule_shifts($1) s"

/* The dates within two years on which clocks will skip, shift or double it, at most so many. */
enum { SHIFTS_SHOWN = 20 };

static int print_shifts(struct cli *c, const char *name)
{
    char count[24];
    int rc = QUERY_TEXT(c->control, count, &c->e,
                        "SELECT count(*) FROM meridian.schedule_shifts($1)", name);
    long shifts = rc ? 0 : strtol(count, NULL, 10);
    if (rc || shifts == 0) {
        return rc;
    }
    (void)fprintf(c->out, "\nwhat clocks will do to it within two years\n");
    rc = PRINT_QUERY(c, c->control, NULL, SHIFTS " LIMIT 20", name);
    if (rc == 0 && shifts > SHIFTS_SHOWN) {
        (void)fprintf(c->out, "and %ld more: meridian schedule next %s --clocks\n",
                      shifts - SHIFTS_SHOWN, name);
    }
    return rc;
}

static int print_set(struct cli *c, bool added)
{
    const char *name = c->args[0];
    if (c->o.json) {
        return PRINT_RECORD(c, c->control,
                            "SELECT $1 AS schedule, $2::boolean AS added, (SELECT "
                            "coalesce(json_agg(s), '[]') FROM meridian.schedule_shifts($1) s) AS "
                            "clocks",
                            name, added ? "true" : "false");
    }
    (void)fprintf(c->out, "%s schedule %s; see: meridian schedule next %s\n",
                  added ? "added" : "changed", name, name);
    return print_shifts(c, name);
}

static int check_numbers(struct cli *c)
{
    int rc = cli_check_number(c, "--priority", c->o.priority);
    rc = rc ? rc : cli_check_number(c, "--missed-max", c->o.missed_max);
    if (rc == 0 && !job_schedule_is_valid(c->args[0])) {
        rc = cli_usage(c, "\"%s\" is no name: letters, digits, dot, - and _, at most 64",
                       c->args[0]);
    }
    return rc;
}

static int run_set(struct cli *c)
{
    struct buf spec;
    struct buf markets;
    char is_new[8];
    int rc = check_numbers(c);
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
    return rc ? rc : print_set(c, strcmp(is_new, "t") == 0);
}

static int run_list(struct cli *c)
{
    int rc = cli_control(c);
    return rc ? rc
              : print_query(
                    c, c->control,
                    "SELECT s.name, s.cron, s.timezone, s.task, array_to_string(s.markets, ' ') AS "
                    "markets, s.paused, (SELECT max(f.nominal_at) FROM meridian.firing f WHERE "
                    "f.schedule = s.name AND f.outcome = 'fired') AS last, (SELECT min(z.next_at) "
                    "FROM meridian.schedule_zone z WHERE z.schedule = s.name) AS next, (SELECT "
                    "min(z.timezone || ': ' || z.error_text) FROM meridian.schedule_zone z WHERE "
                    "z.schedule = s.name AND z.error_text IS NOT NULL) AS error, s.gap, s.overlap, "
                    "s.missed, s.running, s.jitter_s, s.missed_max, s.missed_window_s, s.priority, "
                    "s.spec FROM meridian.schedule s ORDER BY s.name",
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
    if (rc) {
        return rc;
    }
    if (c->o.clocks) {
        return PRINT_QUERY(c, c->control, "no clock change touches it within two years", SHIFTS,
                           c->args[0]);
    }
    return PRINT_QUERY(c, c->control, "it never fires: no market has a time zone for it",
                       "SELECT at AS utc, local, timezone, note, array_to_string(markets, ' ') AS "
                       "markets, fires, starts_at FROM meridian.schedule_next($1, $2::integer)",
                       c->args[0], count);
}

static int run_log(struct cli *c)
{
    char limit[24];
    int rc = cli_control(c);
    (void)snprintf(limit, sizeof limit, "%lld", (long long)c->o.limit);
    return rc ? rc
              : PRINT_QUERY(c, c->control, "it was never due since it is there",
                            "SELECT local_at AS local, timezone, outcome, why, job_state, at AS "
                            "utc, reason, job, array_to_string(markets, ' ') AS markets, fired_at "
                            "FROM (SELECT * FROM report.firings WHERE schedule = $1 ORDER BY at "
                            "DESC, timezone LIMIT $2::bigint) f ORDER BY at, timezone",
                            c->args[0], limit);
}

static const struct config_entry set_flags[] = {
    CLI_FLAG("all-markets", CONFIG_BOOL, all, "every market, also those added later"),
    CLI_FLAG("cron", CONFIG_TEXT, cron, "EXPR, five fields: \"30 2 * * *\" is each night at 02:30"),
    CLI_FLAG("gap", CONFIG_TEXT, gap,
             "next|skip: a local time that does not exist, fires after the gap or not (next)"),
    CLI_FLAG("jitter", CONFIG_TEXT, jitter,
             "DURATION by which it is delayed at most, so that not all start at once: 15m"),
    CLI_FLAG_MARKETS,
    CLI_FLAG("missed", CONFIG_TEXT, missed,
             "skip|latest|all: what came due while no scheduler was at work (latest)"),
    CLI_FLAG("missed-max", CONFIG_TEXT, missed_max, "N that --missed all catches up at most (7)"),
    CLI_FLAG("missed-window", CONFIG_TEXT, missed_window,
             "DURATION after which --missed all lets one go (7d)"),
    CLI_FLAG("overlap", CONFIG_TEXT, overlap,
             "first|second|both: when a local time that comes twice fires (first)"),
    CLI_FLAG("pause", CONFIG_BOOL, paused, "keep it, but do not fire"),
    CLI_FLAG("priority", CONFIG_TEXT, priority, "N of its nightlies, -1000..1000"),
    CLI_FLAG("resume", CONFIG_BOOL, resumed, "fire again; what was missed is not caught up"),
    CLI_FLAG("running", CONFIG_TEXT, running,
             "skip|buffer|cancel|allow: when an earlier firing still runs (buffer)"),
    CLI_FLAG("set", CONFIG_LIST, set, "NAME=VALUE of the nightly's spec; may be repeated"),
    CLI_FLAG("spec", CONFIG_TEXT, spec,
             "FILE with the nightly's spec as JSON; - is standard input"),
    CLI_FLAG_TASK,
    CLI_FLAG("tz", CONFIG_TEXT, timezone, "ZONE, or market: each market's own night (default)"),
};
static const struct config_entry log_flags[] = {
    CLI_FLAG_NUMBER("limit", CONFIG_INTEGER, limit, "20", 1, 10000, "N firings"),
};
static const struct config_entry next_flags[] = {
    CLI_FLAG("clocks", CONFIG_BOOL, clocks,
             "instead: all dates within two years on which clocks skip, shift or double it"),
    CLI_FLAG_NUMBER("count", CONFIG_INTEGER, count, "5", 1, 1000, "N firings"),
};

static const struct cli_command commands[] = {
    {.name = "schedule set",
     .args = "NAME",
     .summary = "add or change a schedule of nightlies",
     .details =
         "What is not given stays as it is. With --tz market one line serves every market: each "
         "has its nightly\n"
         "at its own local time. Prints the dates within two years on which clocks will skip, "
         "shift "
         "or double it.\n"
         "A change of when it fires, and --resume, begin anew: nothing from before is caught up.\n"
         "When an earlier firing still runs: skip drops the new one, buffer lets the newest wait "
         "until that has\n"
         "ended (at most one; with --missed all, all that are caught up), cancel ends the old one, "
         "allow runs both.",
     .examples =
         "  meridian schedule set nightly --cron \"30 2 * * *\" --tz market --task support-intent\n"
         "  meridian schedule set nightly --gap skip --overlap both --running cancel --jitter 15m\n"
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
    {.name = "schedule log",
     .args = "NAME",
     .summary = "what became of each time it was due, and why a night did not run",
     .details = "outcome: fired, buffered (waits for an earlier firing), skipped or refused. The "
                "same for all\n"
                "schedules: meridian report firings --since 7d",
     .examples = "  meridian schedule log nightly --limit 50",
     CLI_FLAGS(log_flags),
     .arg_min = 1,
     .arg_max = 1,
     .run = run_log},
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
     .details = "Whatever its cron line, a pause or an earlier firing that still runs say. Twice "
                "within a second fires once.",
     .examples = "  meridian schedule run nightly",
     .arg_min = 1,
     .arg_max = 1,
     .run = run_run},
    {.name = "schedule next",
     .args = "NAME",
     .summary = "when it fires next, in UTC and local time",
     .details = "note says where clocks matter: a time that does not exist or comes twice, and the "
                "first firing after\n"
                "a change. starts_at is later than utc by the schedule's jitter.",
     .examples = "  meridian schedule next nightly --count 10\n"
                 "  meridian schedule next nightly --clocks",
     CLI_FLAGS(next_flags),
     .arg_min = 1,
     .arg_max = 1,
     .run = run_next},
};

CLI_GROUP(cli_schedule_group, commands);
