/*
 * Settings: flags, then environment, then defaults, from sorted tables.
 *
 * A table row says name, flag, variable, type, bounds, default and help, and where in the program's
 * struct the value goes. The settings that all programs share are one table here; a program adds
 * its own. Errors name the flag or the variable that is wrong; passwords in URLs are never shown.
 */
#ifndef COMMON_CONFIG_CONFIG_H
#define COMMON_CONFIG_CONFIG_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum config_type {
    CONFIG_TEXT = 1, /* const char *; min..max bytes when max > 0 */
    CONFIG_URL,      /* const char *; redacted in messages; empty default = not set: NULL */
    CONFIG_INTEGER,  /* int64_t, min..max */
    CONFIG_REAL,     /* double, min..max */
    CONFIG_BOOL,     /* bool; a flag without a value, or =true/false; variables: 1/0, true/false */
    CONFIG_DURATION, /* int64_t milliseconds: "90s", "15m", "2h", "1d", "500ms"; min..max in ms */
    CONFIG_SIZE_MB,  /* int64_t MiB: "512", "2g", "900m"; min..max in MiB */
    CONFIG_LIST,     /* struct config_list; the flag may be repeated (no variable) */
    CONFIG_TYPE_COUNT
};

enum { CONFIG_LIST_MAX = 256 };

struct config_list {
    const char *items[CONFIG_LIST_MAX];
    size_t count;
};

struct config_entry {
    const char *name;     /* the flag without its dashes, and the key the table is sorted by */
    char letter;          /* a one-letter flag, or 0 */
    const char *variable; /* environment variable, or NULL */
    enum config_type type;
    size_t offset;        /* of the value in the program's struct */
    const char *fallback; /* default as text, parsed like the rest; NULL: zero, false or NULL */
    double min, max;      /* bounds of numbers, inclusive; both 0 = none */
    bool is_required;
    const char *help; /* one line; upper-case word = the value's name: "REGION to work for" */
};

/* A table and the struct that its offsets mean. */
struct config_table {
    const struct config_entry *entries;
    size_t count;
    void *values;
};

/* What every program shares. Texts point into argv, the environment or static storage. */
struct config_common {
    const char *redis_url;    /* MERIDIAN_REDIS_URL, --redis-url */
    const char *database_url; /* MERIDIAN_DATABASE_URL, --database-url: the record */
    const char *data_url;     /* MERIDIAN_DATA_URL, --data-url: texts; database_url when not set */
    const char *redis_prefix; /* MERIDIAN_REDIS_PREFIX, --redis-prefix: "meridian" */
    const char *log;          /* MERIDIAN_LOG, --log: error, warn, info, debug, trace */
    bool help;                /* --help, -h */
    bool version;             /* --version */
};

/* The shared table with its values in c (kept). */
struct config_table config_common_table(struct config_common *c);
/* Defaults data_url to database_url and sets the log level. ERR_INVALID naming the setting. */
MUST_CHECK int config_common_finish(struct config_common *c, struct err_buf *e);

/*
 * Fills every table's struct. Knows --flag value, --flag=value, -f value, --no-flag for booleans
 * and "--" (the rest is no flags). argv[0] is skipped. Arguments that are no flags are moved to
 * the front of argv[1...] in their order; their number is *ret_count. The values point into argv
 * and the environment (kept: they must not change). Required settings are not demanded when a
 * boolean setting called "help", "version" or "check" is given.
 *
 * ERR_INVALID: "--slots: 0 is below 1", "MERIDIAN_LOG: ...", "--slot: no such flag, did you mean
 * --slots?".
 */
MUST_CHECK int config_load(const struct config_table *tables, size_t table_count, int argc,
                           char **argv, int *ret_count, struct err_buf *e);
/* The tables' flags, aligned, with variable and default. */
void config_print_help(FILE *out, const struct config_table *tables, size_t table_count);

/* "90s" into milliseconds (a bare number is seconds). ERR_PARSE. */
MUST_CHECK int config_parse_duration(const char *text, int64_t *ret_ms, struct err_buf *e);
/* A copy of url without its password ("redis://user:***@host:6379/0") into out, cut to size.
 * Also hides password=... in a query or a libpq "key=value" string. Returns out. */
const char *config_redact_url(const char *url, char *out, size_t size);

#endif
