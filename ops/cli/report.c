/*
 * `meridian report`: the views of schema report, with filters on the columns that they have.
 *
 * The catalogue is read from the database: a new view is there without a change here.
 */
#include "common/base/mem.h"
#include "ops/cli/cli.h"
#include "ops/cli/print.h"

#include <string.h>

enum { SQL_BYTES_MAX = 16 * 1024 };

static int print_catalogue(struct cli *c)
{
    return print_query(
        c, c->control,
        "SELECT v.relname AS report, split_part(coalesce(obj_description(v.oid, "
        "'pg_class'), ''), E'\\n', 1) AS shows FROM pg_class v JOIN pg_namespace n ON "
        "n.oid = v.relnamespace WHERE n.nspname = 'report' AND v.relkind IN ('v', 'm') "
        "ORDER BY v.relname",
        NULL, 0, "no reports in this database: run meridian migrate");
}

/* The view's columns in one text, " market night ", or an empty one when there is no such view. */
static int read_columns(struct cli *c, const char *name, char *out, size_t size)
{
    const char *const params[] = {name};
    return query_text(
        c->control,
        "SELECT ' ' || string_agg(a.attname, ' ') || ' ' FROM pg_attribute a JOIN pg_class v "
        "ON v.oid = a.attrelid JOIN pg_namespace n ON n.oid = v.relnamespace WHERE n.nspname "
        "= 'report' AND v.relname = $1 AND a.attnum > 0 AND NOT a.attisdropped",
        params, 1, out, size, &c->e);
}

static bool has_column(const char *columns, const char *name)
{
    char word[80];
    (void)snprintf(word, sizeof word, " %s ", name);
    return strstr(columns, word) != NULL;
}

/* The column that --since means: the night, or the first point in time that the view has. */
static const char *time_column(const char *columns)
{
    static const char *const names[] = {"night",        "day",        "at",         "ended_at",
                                        "evaluated_at", "created_at", "started_at", "submitted_at",
                                        "queued_at",    "since",      "promoted_at"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (has_column(columns, names[i])) {
            return names[i];
        }
    }
    return NULL;
}

/* In a table, which a line may cut short, what matters most comes first. */
static const struct {
    const char *report;
    const char *first;
} orders[] = {
    {"failures", "at, market, kind, state, error_code, error_text"},
    {"firings", "local_at, timezone, schedule, outcome, why, job_state"},
    {"nightly", "night, market, state, promoted, challenger_macro_f1, champion_macro_f1, why, "
                "challenger_accuracy, champion_accuracy, duration_s, train_samples"},
};

/* The names of the columns that orders does not put first, after those that it does. */
static int add_columns(const struct cli *c, const char *name, const char *columns, struct buf *sql)
{
    const char *first = NULL;
    for (size_t i = 0; i < sizeof orders / sizeof *orders && !c->o.csv && !c->o.json; i++) {
        first = strcmp(orders[i].report, name) == 0 ? orders[i].first : first;
    }
    int rc = buf_add_format(sql, "SELECT %s", first ? first : "*");
    char whole[1024];
    (void)snprintf(whole, sizeof whole, " %s,", first ? first : "");
    for (const char *at = columns; first && *at && rc == 0;) {
        char word[80];
        at += strspn(at, " ");
        size_t length = strcspn(at, " ");
        (void)snprintf(word, sizeof word, " %.*s,", (int)length, at);
        if (length > 0 && !strstr(whole, word)) {
            rc = buf_add_format(sql, ", %.*s", (int)length, at);
        }
        at += length;
    }
    return rc;
}

static int add_filters(struct cli *c, const char *name, const char *columns, struct buf *sql)
{
    int rc = add_columns(c, name, columns, sql);
    rc = rc ? rc
            : buf_add_format(sql,
                             " FROM report.%s WHERE ($1::text IS NULL OR true) AND ($2::text "
                             "IS NULL OR true) AND ($3::text IS NULL OR true)",
                             name);
    if (rc == 0 && c->o.market) {
        if (!has_column(columns, "market")) {
            return cli_usage(c, "report %s is not by market", name);
        }
        rc = buf_add_text(sql, " AND market = $1");
    }
    if (rc == 0 && c->o.task) {
        if (!has_column(columns, "task")) {
            return cli_usage(c, "report %s is not by task", name);
        }
        rc = buf_add_text(sql, " AND task = $2");
    }
    if (rc == 0 && c->o.since) {
        const char *column = time_column(columns);
        if (!column) {
            return cli_usage(c, "report %s has no time to go by: leave --since out", name);
        }
        /* A night is a date, and belongs to the period when it ended within it. */
        rc = buf_add_format(sql,
                            strcmp(column, "night") == 0 || strcmp(column, "day") == 0
                                ? " AND %s >= ($3::timestamptz AT TIME ZONE 'UTC')::date"
                                : " AND %s >= $3::timestamptz",
                            column);
    }
    if (rc == 0 && strncmp(columns, " night ", 7) == 0 && has_column(columns, "started_at")) {
        rc = buf_add_text(sql, " ORDER BY night DESC, market, started_at DESC"); /* newest first */
    }
    if (rc == 0 && c->o.limit > 0) {
        rc = buf_add_format(sql, " LIMIT %lld", (long long)c->o.limit);
    }
    return rc;
}

static int print_report(struct cli *c, const char *name, const char *columns, const char *since)
{
    struct buf sql;
    buf_init(&sql, SQL_BYTES_MAX);
    int rc = add_filters(c, name, columns, &sql);
    rc = rc ? rc
            : PRINT_QUERY(c, c->control, "nothing to report yet", buf_text(&sql), c->o.market,
                          c->o.task, since);
    buf_close(&sql);
    return rc;
}

static int run_report(struct cli *c)
{
    char columns[8192];
    char since[64];
    int rc = cli_parse_since(c, c->o.since, since, sizeof since);
    rc = rc ? rc : cli_control(c);
    if (rc) {
        return rc;
    }
    if (c->arg_count == 0) {
        return print_catalogue(c);
    }
    rc = read_columns(c, c->args[0], columns, sizeof columns);
    if (rc) {
        return rc;
    }
    if (!*columns) {
        return cli_usage(c, "there is no report \"%s\"; meridian report lists them", c->args[0]);
    }
    /* The name is that of a view that exists, but it could need quoting. */
    if (strspn(c->args[0], "abcdefghijklmnopqrstuvwxyz_0123456789") != strlen(c->args[0])) {
        return cli_usage(c, "\"%s\" is no name of a report", c->args[0]);
    }
    return print_report(c, c->args[0], columns, since);
}

static const struct config_entry flags[] = {
    CLI_FLAG_NUMBER("limit", CONFIG_INTEGER, limit, NULL, 0, 1e12, "N rows at most (default: all)"),
    CLI_FLAG_MARKET,
    CLI_FLAG("since", CONFIG_TEXT, since, "TIME: 7d, 12h or 2026-11-23"),
    CLI_FLAG_TASK,
};

static const struct cli_command commands[] = {
    {.name = "report",
     .args = "[NAME]",
     .summary = "print a report; without a name: which there are",
     .details =
         "Reports are the views of schema \"report\": anything that speaks SQL can ask them, too.",
     .examples = "  meridian report\n  meridian report nightly --since 1d\n"
                 "  meridian report class_report --market de-DE --csv > classes.csv",
     CLI_FLAGS(flags),
     .arg_max = 1,
     .run = run_report},
};

CLI_GROUP(cli_report_group, commands);
