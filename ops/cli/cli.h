/*
 * The command line of Meridian: the command table, what a running command has at hand, and how it
 * ends.
 *
 * A command is a row in a table (name, arguments, flags, help, examples, function); help, man page
 * check and completion come from it. A command's function returns an exit code (0 and above) or a
 * negative enum err, which the caller turns into a message and an exit code.
 */
#ifndef OPS_CLI_CLI_H
#define OPS_CLI_CLI_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/config/config.h"
#include "common/pg/pg_sync.h"
#include "common/redis/redis_sync.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum cli_exit {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_JOB_FAILED = 3,
    CLI_UNREACHABLE = 4,
    CLI_INTERRUPTED = 130,
};

/* The values of every flag of every command; a command sees those that its table names. */
struct cli_options {
    bool json;
    bool csv;
    struct config_list markets; /* --market, where it may be repeated */
    const char *market;
    const char *task;
    const char *split;
    const char *region;
    const char *timezone;
    const char *language;
    const char *weight;
    const char *max_running;
    const char *tolerance;
    const char *min_support;
    const char *collapse_drop;
    struct config_list sources;
    bool no_sources;
    bool status;
    /* data */
    const char *max_bad;
    int64_t max_text;
    const char *format;
    bool no_quotes;
    const char *id_column;
    const char *text_column;
    const char *label_column;
    bool yes;
    /* jobs */
    struct config_list set;
    struct config_list after;
    struct config_list after_notok;
    struct config_list after_any;
    const char *quorum;
    const char *unique_policy;
    const char *bulk;
    bool skip_bad;
    int64_t intake_max_mb;
    const char *spec;
    const char *priority;
    const char *unique;
    const char *at;
    int64_t delay_ms;
    int64_t count;
    int64_t max_attempts;
    int64_t timeout_ms;
    bool wait;
    bool watch;
    const char *state;
    const char *kind;
    const char *code;
    const char *since;
    int64_t limit;
    bool follow;
    bool all;
    /* schedules */
    const char *cron;
    bool paused;
    bool resumed;
    const char *gap;
    const char *overlap;
    const char *missed;
    const char *missed_max;
    const char *missed_window;
    const char *running;
    const char *jitter;
    bool clocks;
    /* backfills */
    struct config_list patterns; /* --markets */
    const char *from;
    const char *to;
    int64_t cap;
    bool again;
    bool promote;
    /* simulate */
    const char *until;
    struct config_list workers;
    struct config_list weights;
    struct config_list limits;
    int64_t priority_age_ms;
    int64_t half_life_ms;
    /* models */
    int64_t version_id;
    const char *output;
    const char *reason;
    const char *model;
    bool force;
};

struct cli_command;

struct cli {
    struct config_common common;
    struct cli_options o;
    const struct cli_command *command;
    const char *const *args; /* those that are no flags, behind the command's words */
    size_t arg_count;
    FILE *out;
    struct err_buf e;
    /* Opened on first use, closed at the end. */
    struct pg_sync *control;
    struct pg_sync *data;
    struct redis_sync *redis;
};

struct cli_command {
    const char *name;     /* "market set" */
    const char *args;     /* "CODE", "[ID...]"; "" = none */
    const char *summary;  /* one line, no full stop */
    const char *details;  /* more lines for its help, or NULL */
    const char *examples; /* lines */
    const struct config_entry *flags;
    size_t flag_count;
    size_t arg_min;
    size_t arg_max;
    int (*run)(struct cli *c);
};

enum { CLI_ARGS_ANY = 10000 };

/* A group of commands that one file defines. */
struct cli_group {
    const struct cli_command *commands;
    size_t count;
};

extern const struct cli_group cli_admin_group;    /* migrate, market, task */
extern const struct cli_group cli_data_group;     /* data */
extern const struct cli_group cli_submit_group;   /* submit, nightly */
extern const struct cli_group cli_jobs_group;     /* jobs, job, wait, logs */
extern const struct cli_group cli_cancel_group;   /* cancel */
extern const struct cli_group cli_dead_group;     /* retry, dead */
extern const struct cli_group cli_watch_group;    /* watch */
extern const struct cli_group cli_backfill_group; /* backfill */
extern const struct cli_group cli_schedule_group; /* schedule */
extern const struct cli_group cli_queue_group;    /* queue, workers */
extern const struct cli_group cli_limit_group;    /* limit */
extern const struct cli_group cli_model_group;    /* model */
extern const struct cli_group cli_predict_group;  /* predict */
extern const struct cli_group cli_report_group;   /* report */
extern const struct cli_group cli_simulate_group; /* simulate */
extern const struct cli_group cli_help_group;     /* help, completion */

#define CLI_GROUP(variable, table)                                                                 \
    const struct cli_group variable = {(table), sizeof(table) / sizeof *(table)}
#define CLI_FLAGS(table) .flags = (table), .flag_count = sizeof(table) / sizeof *(table)

/* Rows of flag tables. Every table is sorted by name. */
#define CLI_FLAG(name_, type_, field_, help_)                                                      \
    {                                                                                              \
        .name = (name_), .type = (type_), .offset = offsetof(struct cli_options, field_),          \
        .help = (help_)                                                                            \
    }
#define CLI_FLAG_NUMBER(name_, type_, field_, fallback_, min_, max_, help_)                        \
    {                                                                                              \
        .name = (name_), .type = (type_), .offset = offsetof(struct cli_options, field_),          \
        .fallback = (fallback_), .min = (min_), .max = (max_), .help = (help_)                     \
    }
#define CLI_FLAG_MARKETS CLI_FLAG("market", CONFIG_LIST, markets, "MARKET; may be repeated")
#define CLI_FLAG_MARKET CLI_FLAG("market", CONFIG_TEXT, market, "MARKET, such as de-DE")
#define CLI_FLAG_TASK CLI_FLAG("task", CONFIG_TEXT, task, "TASK, such as support-intent")
#define CLI_FLAG_SPLIT CLI_FLAG("split", CONFIG_TEXT, split, "SPLIT: train, dev or test")
#define CLI_FLAG_REASON CLI_FLAG("reason", CONFIG_TEXT, reason, "TEXT for the audit")

/* --- the program ----------------------------------------------------------------------------- */

/* Runs the command that argv names and returns the exit code. */
int cli_main(int argc, char **argv);
/* The command at index of the table (groups in order), or NULL behind the last. */
const struct cli_command *cli_command_at(size_t index);
/* The command whose words argv begins with; *ret_words says how many. NULL: none. */
const struct cli_command *cli_command_find(int argc, char **argv, int *ret_words);
void cli_print_usage(FILE *out);
void cli_print_command_help(FILE *out, const struct cli_command *command);
/* The flags that every command has: --json, --csv. */
struct config_table cli_output_table(struct cli_options *o);

/* Ctrl-C or SIGTERM was received; long loops ask. */
bool cli_is_interrupted(void);

/* --- for commands ---------------------------------------------------------------------------- */

/* Prints "meridian CMD: ..." and where to look; returns CLI_USAGE. */
int cli_usage(struct cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A required flag was not given. */
#define CLI_NEED(c, value, flag)                                                                   \
    do {                                                                                           \
        if (!(value)) {                                                                            \
            return cli_usage((c), "%s is missing", (flag));                                        \
        }                                                                                          \
    } while (0)

/* Connected to the record (control database), the texts (data database), Redis; 0 or an error. */
MUST_CHECK int cli_control(struct cli *c);
MUST_CHECK int cli_data(struct cli *c);
MUST_CHECK int cli_redis(struct cli *c);
/* Every argument is a job's id: 0, or CLI_USAGE. */
int cli_check_ids(struct cli *c);
/* Adds "what failed" in front of a server's error and the next step behind it, when one is known.
 */
int cli_explain(const struct pg_sync *s, int rc, struct err_buf *e);

/* "{meridian}:name" with the prefix set; returns out. */
const char *cli_redis_key(const struct cli *c, const char *name, char *out, size_t size);
/* Who asks: the login name. Static storage. */
const char *cli_actor(void);
/* A whole number or a number as text; usage error (CLI_USAGE) naming the flag, or 0. NULL is fine.
 */
int cli_check_number(struct cli *c, const char *flag, const char *text);
/* "7d", "12h", "90m" or a date "2026-11-23" as text for PostgreSQL (timestamptz, UTC); returns
 * CLI_USAGE when it is neither, 0 when fine. NULL in gives "-infinity". */
int cli_parse_since(struct cli *c, const char *text, char *out, size_t size);
/* True when stdout (or stderr) is a terminal. */
bool cli_is_terminal(FILE *stream);
/* Waits, unless interrupted. */
void cli_sleep_ms(int64_t ms);
/* "3 s", "4 min 05 s", "2 h 03 min". Returns out. */
const char *cli_format_duration(int64_t ms, char *out, size_t size);

/* A list of texts as a PostgreSQL array literal, in out; NULL when empty, or no memory. */
const char *cli_array(const char *const *texts, size_t count, struct buf *out);

/* Whole file into out; "-" is standard input. ERR_IO, ERR_LIMIT, ERR_NOTFOUND. */
MUST_CHECK int cli_read_file(const char *path, struct buf *out, struct err_buf *e);

#endif
