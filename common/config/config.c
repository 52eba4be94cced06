/* Flags, environment and defaults into structs; the settings that all programs share. */
#include "common/config/config_int.h"

#include "common/base/log.h"
#include "common/base/nearest.h"

#include <stdlib.h>
#include <string.h>

/* --- the shared settings --------------------------------------------------------------------- */

static const struct config_entry common_entries[] = {
    {.name = "data-url",
     .variable = "MERIDIAN_DATA_URL",
     .type = CONFIG_URL,
     .offset = offsetof(struct config_common, data_url),
     .help = "URL of the region's database with the texts; the record's when not given"},
    {.name = "database-url",
     .variable = "MERIDIAN_DATABASE_URL",
     .type = CONFIG_URL,
     .offset = offsetof(struct config_common, database_url),
     .fallback = "postgresql://127.0.0.1:5432/meridian",
     .help = "URL of the PostgreSQL database with the record"},
    {.name = "help",
     .letter = 'h',
     .type = CONFIG_BOOL,
     .offset = offsetof(struct config_common, help),
     .help = "show this help"},
    {.name = "log",
     .variable = "MERIDIAN_LOG",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct config_common, log),
     .fallback = "info",
     .help = "LEVEL of log lines: error, warn, info, debug or trace"},
    {.name = "redis-prefix",
     .variable = "MERIDIAN_REDIS_PREFIX",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct config_common, redis_prefix),
     .fallback = "meridian",
     .min = 1,
     .max = 32,
     .help = "PREFIX of all keys in Redis"},
    {.name = "redis-url",
     .variable = "MERIDIAN_REDIS_URL",
     .type = CONFIG_URL,
     .offset = offsetof(struct config_common, redis_url),
     .fallback = "redis://127.0.0.1:6379/0",
     .help =
         "URL of Redis: redis://[user:password@]host:port/db, redis+sentinel://..., unix:///path"},
    {.name = "version",
     .type = CONFIG_BOOL,
     .offset = offsetof(struct config_common, version),
     .help = "show the version"},
};

struct config_table config_common_table(struct config_common *c)
{
    return (struct config_table){.entries = common_entries,
                                 .count = sizeof common_entries / sizeof *common_entries,
                                 .values = c};
}

/* Keys are "{prefix}:name": a brace or a colon in it would break the hash tag. */
static bool is_prefix(const char *text)
{
    return *text && strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                 "_.-") == strlen(text);
}

int config_common_finish(struct config_common *c, struct err_buf *e)
{
    static const char *const levels[LOG_LEVEL_COUNT] = {"error", "warn", "info", "debug", "trace"};
    if (!is_prefix(c->redis_prefix)) {
        return err_set(e, ERR_INVALID, "--redis-prefix: expected letters, digits, _ . or -");
    }
    c->data_url = c->data_url ? c->data_url : c->database_url;
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        if (strcmp(c->log, levels[i]) == 0) {
            log_set_level((enum log_level)i);
            return 0;
        }
    }
    return err_set(e, ERR_INVALID, "--log: expected error, warn, info, debug or trace");
}

/* --- the tables ------------------------------------------------------------------------------ */

struct found {
    const struct config_table *table;
    const struct config_entry *entry;
};

struct loader {
    const struct config_table *tables;
    size_t count;
    struct err_buf *e;
};

/* A broken table is our bug. */
static void check_tables(const struct loader *l)
{
    for (size_t t = 0; t < l->count; t++) {
        for (size_t i = 1; i < l->tables[t].count; i++) {
            CHECK(strcmp(l->tables[t].entries[i - 1].name, l->tables[t].entries[i].name) < 0);
        }
    }
}

static struct found find_name(const struct loader *l, const char *name, size_t length)
{
    for (size_t t = 0; t < l->count; t++) {
        for (size_t i = 0; i < l->tables[t].count; i++) {
            const struct config_entry *entry = &l->tables[t].entries[i];
            if (strlen(entry->name) == length && strncmp(entry->name, name, length) == 0) {
                return (struct found){&l->tables[t], entry};
            }
        }
    }
    return (struct found){NULL, NULL};
}

static struct found find_letter(const struct loader *l, char letter)
{
    for (size_t t = 0; t < l->count; t++) {
        for (size_t i = 0; i < l->tables[t].count; i++) {
            if (letter && l->tables[t].entries[i].letter == letter) {
                return (struct found){&l->tables[t], &l->tables[t].entries[i]};
            }
        }
    }
    return (struct found){NULL, NULL};
}

static int refuse_flag(const struct loader *l, const char *flag, size_t length)
{
    char name[64];
    size_t cut = length < sizeof name ? length : sizeof name - 1;
    memcpy(name, flag, cut);
    name[cut] = '\0';
    const char *best = NULL;
    for (size_t t = 0; t < l->count; t++) {
        for (size_t i = 0; i < l->tables[t].count; i++) {
            nearest_offer(name, l->tables[t].entries[i].name, &best);
        }
    }
    return best ? err_set(l->e, ERR_INVALID, "--%s: no such flag, did you mean --%s?", name, best)
                : err_set(l->e, ERR_INVALID, "--%s: no such flag", name);
}

/* --- defaults and environment ---------------------------------------------------------------- */

static int load_defaults(const struct loader *l, const struct config_table *t)
{
    int rc = 0;
    for (size_t i = 0; i < t->count && rc == 0; i++) {
        const struct config_entry *entry = &t->entries[i];
        const char *value = entry->variable ? getenv(entry->variable) : NULL;
        if (value && *value) {
            rc = config__store(entry, t->values, value, entry->variable, l->e);
        } else if (entry->fallback) {
            rc = config__store(entry, t->values, entry->fallback, entry->name, l->e);
        }
    }
    return rc;
}

/* --- flags ----------------------------------------------------------------------------------- */

enum { SOURCE_SIZE = 80 };

/* The arguments that are left to read. */
struct arguments {
    int count;
    char **items;
    int at;
};

/* The value of a flag: after "=", or the next argument. */
static int take_value(const struct loader *l, const struct found *f, const char *source,
                      const char *inline_value, struct arguments *a)
{
    const char *value = inline_value;
    if (!value && f->entry->type == CONFIG_BOOL) {
        value = "true";
    } else if (!value) {
        if (a->at + 1 >= a->count) {
            return err_set(l->e, ERR_INVALID, "%s: needs a value", source);
        }
        value = a->items[++a->at];
    }
    return config__store(f->entry, f->table->values, value, source, l->e);
}

static int take_long(const struct loader *l, struct arguments *a)
{
    const char *flag = a->items[a->at] + 2;
    size_t length = strcspn(flag, "=");
    const char *value = flag[length] == '=' ? flag + length + 1 : NULL;
    struct found f = find_name(l, flag, length);
    char source[SOURCE_SIZE];
    (void)snprintf(source, sizeof source, "--%.*s", (int)(length < 64 ? length : 64), flag);
    if (f.entry) {
        return take_value(l, &f, source, value, a);
    }
    if (strncmp(flag, "no-", 3) == 0 && !value) {
        f = find_name(l, flag + 3, length - 3);
        if (f.entry && f.entry->type == CONFIG_BOOL) {
            return config__store(f.entry, f.table->values, "false", source, l->e);
        }
    }
    return refuse_flag(l, flag, length);
}

/* "-f", "-f value" or "-fvalue". */
static int take_short(const struct loader *l, struct arguments *a)
{
    const char *flag = a->items[a->at] + 1;
    struct found f = find_letter(l, *flag);
    const char source[] = {'-', *flag, '\0'};
    if (!f.entry || (f.entry->type == CONFIG_BOOL && flag[1])) {
        return err_set(l->e, ERR_INVALID, "-%.64s: no such flag", flag);
    }
    return take_value(l, &f, source, flag[1] ? flag + 1 : NULL, a);
}

static int load_flags(const struct loader *l, int argc, char **argv, int *ret_count)
{
    struct arguments a = {.count = argc, .items = argv};
    int kept = 0;
    bool flags_have_ended = false;
    for (a.at = 1; a.at < argc; a.at++) {
        char *argument = argv[a.at];
        int rc = 0;
        if (flags_have_ended || argument[0] != '-' || argument[1] == '\0') {
            argv[1 + kept++] = argument; /* "-" is an argument: standard input */
        } else if (strcmp(argument, "--") == 0) {
            flags_have_ended = true;
        } else {
            rc = argument[1] == '-' ? take_long(l, &a) : take_short(l, &a);
        }
        if (rc) {
            return rc;
        }
    }
    *ret_count = kept;
    return 0;
}

static bool is_true(const struct loader *l, const char *name)
{
    struct found f = find_name(l, name, strlen(name));
    return f.entry && f.entry->type == CONFIG_BOOL &&
           *(const bool *)((const char *)f.table->values + f.entry->offset);
}

/* Texts are set when not NULL, lists when not empty; numbers always have a value. */
static bool is_set(const struct config_table *t, const struct config_entry *entry)
{
    const char *at = (const char *)t->values + entry->offset;
    switch (entry->type) {
    case CONFIG_TEXT:
    case CONFIG_URL:
        return *(const char *const *)(const void *)at != NULL;
    case CONFIG_LIST:
        return ((const struct config_list *)(const void *)at)->count > 0;
    default:
        return true;
    }
}

static int check_required(const struct loader *l)
{
    if (is_true(l, "help") || is_true(l, "version") || is_true(l, "check")) {
        return 0;
    }
    for (size_t t = 0; t < l->count; t++) {
        for (size_t i = 0; i < l->tables[t].count; i++) {
            const struct config_entry *entry = &l->tables[t].entries[i];
            if (entry->is_required && !is_set(&l->tables[t], entry)) {
                return err_set(l->e, ERR_INVALID, "--%s: missing%s%s", entry->name,
                               entry->variable ? "; or set " : "",
                               entry->variable ? entry->variable : "");
            }
        }
    }
    return 0;
}

int config_load(const struct config_table *tables, size_t table_count, int argc, char **argv,
                int *ret_count, struct err_buf *e)
{
    const struct loader l = {.tables = tables, .count = table_count, .e = e};
    check_tables(&l);
    for (size_t t = 0; t < table_count; t++) {
        int rc = load_defaults(&l, &tables[t]);
        if (rc) {
            return rc;
        }
    }
    int count = 0;
    int rc = load_flags(&l, argc, argv, &count);
    rc = rc ? rc : check_required(&l);
    if (rc == 0) {
        *ret_count = count;
    }
    return rc;
}

/* --- help ------------------------------------------------------------------------------------ */

enum { HELP_COLUMN = 28 };

/* The upper-case word in the help names the value. */
static const char *find_value_name(const char *help, size_t *ret_length)
{
    for (const char *at = help; *at; at += *at == ' ') {
        size_t length = strcspn(at, " ,;:");
        if (length >= 2 && strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == length) {
            *ret_length = length;
            return at;
        }
        at += strcspn(at, " ");
    }
    *ret_length = 5;
    return "VALUE";
}

static void print_entry(FILE *out, const struct config_entry *entry)
{
    char flag[128];
    size_t length = 0;
    const char *name = find_value_name(entry->help, &length);
    char letter[] = {'-', entry->letter ? entry->letter : ' ', ',', ' ', '\0'};
    (void)snprintf(flag, sizeof flag, "%s--%s%s%.*s", entry->letter ? letter : "", entry->name,
                   entry->type == CONFIG_BOOL ? "" : " ",
                   entry->type == CONFIG_BOOL ? 0 : (int)length, name);
    (void)fprintf(out, "  %-*s %s", HELP_COLUMN, flag, entry->help);
    bool has_default = entry->fallback && *entry->fallback && entry->type != CONFIG_BOOL;
    if (has_default || entry->variable) {
        (void)fprintf(out, " [%s%s%s]", entry->variable ? entry->variable : "",
                      has_default && entry->variable ? ", " : "",
                      has_default ? entry->fallback : "");
    }
    (void)fputc('\n', out);
}

void config_print_help(FILE *out, const struct config_table *tables, size_t table_count)
{
    for (size_t t = 0; t < table_count; t++) {
        for (size_t i = 0; i < tables[t].count; i++) {
            print_entry(out, &tables[t].entries[i]);
        }
    }
}
