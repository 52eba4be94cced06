/* meridian-scheduler: settings, then the loop. */
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/pg/pg_sync.h"
#include "scheduler/scheduler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct settings {
    struct config_common common;
    bool check;
    const char *role;
    int64_t ttl_ms;
    int64_t undelivered_ms;
    int64_t priority_age_ms;
    int64_t half_life_ms;
    const char *metrics;
    int64_t memory_max_mb;
};

enum { CHECK_TIMEOUT_MS = 2000, SILENT_MS_MAX = 10000, LEADER_TTL_MS_MAX = 60000 };

/* Sorted by name. */
static const struct config_entry entries[] = {
    {.name = "check",
     .type = CONFIG_BOOL,
     .offset = offsetof(struct settings, check),
     .help = "only tell whether a leader is at work: exit 0 when it renewed within 10 s, else 1"},
    {.name = "database-role",
     .variable = "MERIDIAN_SCHEDULER_ROLE",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct settings, role),
     .help = "ROLE to take on in PostgreSQL after connecting (none)"},
    {.name = "leader-ttl",
     .variable = "MERIDIAN_LEADER_TTL",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct settings, ttl_ms),
     .fallback = "5s",
     .min = 2000,
     .max = LEADER_TTL_MS_MAX,
     .help = "TIME after which a standby takes over from a leader that is silent"},
    {.name = "memory-max",
     .variable = "MERIDIAN_MEMORY_MAX_MB",
     .type = CONFIG_INTEGER,
     .offset = offsetof(struct settings, memory_max_mb),
     .fallback = "1048576",
     .min = 16,
     .max = 1048576,
     .help = "MIB at most for a job that ran out of memory and runs once more with twice as much"},
    {.name = "metrics",
     .variable = "MERIDIAN_METRICS",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct settings, metrics),
     .help = "HOST:PORT for GET /metrics and /healthz, such as 127.0.0.1:9464 (off)"},
    {.name = "priority-age",
     .variable = "MERIDIAN_PRIORITY_AGE",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct settings, priority_age_ms),
     .fallback = "1h",
     .max = 24.0 * 3600 * 1000,
     .help = "TIME of waiting that is worth a point of priority, within a hundred; 0 = none"},
    {.name = "share-half-life",
     .variable = "MERIDIAN_SHARE_HALF_LIFE",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct settings, half_life_ms),
     .fallback = "1h",
     .min = 60000,
     .max = 30.0 * 24 * 3600 * 1000,
     .help = "TIME after which half of what a market used is forgotten"},
    {.name = "undelivered-after",
     .variable = "MERIDIAN_UNDELIVERED_AFTER",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct settings, undelivered_ms),
     .fallback = "10s",
     .min = 500,
     .max = 600000,
     .help = "TIME in which a worker must say that it holds what it was given"},
};

static void print_help(const struct config_table *tables, size_t count)
{
    puts("Usage: meridian-scheduler [FLAG]...\n\n"
         "Takes submissions from Redis into PostgreSQL, decides what runs where, and records the\n"
         "results. Start as many as you like: one leads, the others stand by.\n\n"
         "  meridian-scheduler --redis-url redis://localhost:6379/0 \\\n"
         "                     --database-url postgresql://localhost/meridian\n");
    config_print_help(stdout, tables, count);
}

/* Of any scheduler: one that stands by is well when another leads. */
static int check(const struct settings *settings)
{
    char silent[24];
    const char *const params[] = {silent};
    struct err_buf e = {{0}};
    bool is_led = false;
    /* The row has when the term ends, which is ttl after it was renewed. */
    (void)snprintf(silent, sizeof silent, "%lld", (long long)(SILENT_MS_MAX - settings->ttl_ms));
    const struct pg_query question = {
        .sql = "SELECT expires_at + $1::integer * interval '1 ms' > clock_timestamp()"
               " FROM meridian.leader",
        .params = params,
        .param_count = 1};
    if (pg_sync_ask(settings->common.database_url, "meridian-scheduler-check", CHECK_TIMEOUT_MS,
                    &question, &is_led, &e)) {
        (void)fprintf(stderr, "meridian-scheduler: %s\n", e.text);
        return 1;
    }
    (void)puts(is_led ? "a leader is at work" : "no leader renewed within 10 s");
    return is_led ? 0 : 1;
}

static int run(const struct settings *settings)
{
    struct scheduler_options options = {
        .redis_url = settings->common.redis_url,
        .database_url = settings->common.database_url,
        .prefix = settings->common.redis_prefix,
        .role = settings->role && settings->role[0] ? settings->role : NULL,
        .ttl_ms = settings->ttl_ms,
        .undelivered_ms = settings->undelivered_ms,
        .priority_age_ms = settings->priority_age_ms,
        .half_life_ms = settings->half_life_ms,
        .metrics = settings->metrics && settings->metrics[0] ? settings->metrics : NULL,
        .memory_max_mb = settings->memory_max_mb,
    };
    struct err_buf e = {{0}};
    if (scheduler_run(&options, &e)) {
        log_error("cannot start: %s", e.text);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    log_open("scheduler");
    struct settings settings = {0};
    struct config_table tables[] = {
        config_common_table(&settings.common),
        {.entries = entries, .count = sizeof entries / sizeof entries[0], .values = &settings},
    };
    struct err_buf e = {{0}};
    int extra = 0;
    int rc = config_load(tables, 2, argc, argv, &extra, &e);
    rc = rc ? rc : config_common_finish(&settings.common, &e);
    if (rc == 0 && extra > 0) {
        rc = err_set(&e, ERR_INVALID, "%s: not a flag", argv[1]);
    }
    if (rc) {
        fprintf(stderr, "meridian-scheduler: %s; see meridian-scheduler --help\n", e.text);
        return 2;
    }
    if (settings.common.help) {
        print_help(tables, 2);
        return 0;
    }
    if (settings.common.version) {
        puts("meridian-scheduler " MERIDIAN_VERSION);
        return 0;
    }
    return settings.check ? check(&settings) : run(&settings);
}
