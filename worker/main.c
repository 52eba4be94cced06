/* meridian-worker: settings, then the supervisor; or, with --runner, its child. */
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/config/config.h"
#include "common/job/job.h"
#include "common/pg/pg_sync.h"
#include "worker/runner/runner.h"
#include "worker/supervisor/supervisor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, SLOTS_MAX = 256, CHECK_TIMEOUT_MS = 2000 };

struct settings {
    bool check;
    const char *region;
    const char *name;
    int64_t slots;
    int64_t threads;
    int64_t memory_mb;
    int64_t grace_ms;
    const char *metrics;
    struct config_list label;
    char labels[JOB_LABELS_SIZE]; /* all of them, sorted */
};

/* Sorted by name. */
static const struct config_entry entries[] = {
    {.name = "check",
     .type = CONFIG_BOOL,
     .offset = offsetof(struct settings, check),
     .help = "only tell whether the worker of this --name lives: exit 0 when seen within 10 s"},
    {.name = "grace",
     .variable = "MERIDIAN_GRACE",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct settings, grace_ms),
     .fallback = "30s",
     .max = 7.0 * 24 * 3600 * 1000,
     .help = "DURATION that running jobs may go on after SIGTERM, then they return to the queue"},
    {.name = "label",
     .type = CONFIG_LIST,
     .offset = offsetof(struct settings, label),
     .help = "KEY=VALUE that jobs may ask for with --set labels=KEY=VALUE; may be repeated"},
    {.name = "memory",
     .variable = "MERIDIAN_MEMORY",
     .type = CONFIG_SIZE_MB,
     .offset = offsetof(struct settings, memory_mb),
     .help = "MB of memory for jobs of this worker; default: the machine's, at least 2 GB a slot"},
    {.name = "metrics",
     .variable = "MERIDIAN_METRICS",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct settings, metrics),
     .help = "HOST:PORT for GET /metrics and /healthz, such as 127.0.0.1:9465 (off)"},
    {.name = "name",
     .variable = "MERIDIAN_WORKER_NAME",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct settings, name),
     .max = 128,
     .help = "NAME of this worker, different for each one; default: the host's name"},
    {.name = "region",
     .variable = "MERIDIAN_REGION",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct settings, region),
     .min = 1,
     .max = 32,
     .is_required = true,
     .help = "REGION to work for: only jobs of its markets are taken"},
    {.name = "slots",
     .variable = "MERIDIAN_SLOTS",
     .type = CONFIG_INTEGER,
     .offset = offsetof(struct settings, slots),
     .fallback = "1",
     .min = 1,
     .max = SLOTS_MAX,
     .help = "N jobs at a time, each in a process of its own"},
    {.name = "threads",
     .variable = "MERIDIAN_THREADS",
     .type = CONFIG_INTEGER,
     .offset = offsetof(struct settings, threads),
     .max = 4096,
     .help = "N threads that its jobs may use; default: the processors, at least one a slot"},
};

static int usage_error(const struct err_buf *e)
{
    (void)fprintf(stderr, "meridian-worker: %s\ntry meridian-worker --help\n", e->text);
    return EXIT_USAGE;
}

static void print_help(const struct config_table *tables, size_t count)
{
    (void)puts(
        "meridian-worker runs jobs of one region.\n\n"
        "usage: meridian-worker --region REGION [flags]\n\n"
        "example: meridian-worker --region emea --name emea-1 --slots 2\n\n"
        "SIGTERM drains: no new work, running jobs finish within --grace or go back to the\n"
        "queue uncharged; a second SIGTERM ends at once. It needs no configuration file and\n"
        "keeps nothing on disk.\n\nflags:");
    config_print_help(stdout, tables, count);
}

static void set_defaults(struct settings *s)
{
    static char host[129];
    if (!s->name || s->name[0] == '\0') {
        (void)gethostname(host, sizeof host - 1);
        s->name = host[0] ? host : "worker";
    }
    if (s->threads == 0) {
        long n = sysconf(_SC_NPROCESSORS_ONLN);
        /* Who asks for more slots than there are processors means it. */
        s->threads = n > s->slots ? n : s->slots;
    }
    if (s->memory_mb == 0) {
        int64_t all = (int64_t)sysconf(_SC_PHYS_PAGES) / 1024 * sysconf(_SC_PAGESIZE) / 1024;
        int64_t asked = s->slots * JOB_MEMORY_MB;
        s->memory_mb = all > asked ? all : asked;
    }
}

/* The labels as one text, in the order in which they are compared. */
static int join_labels(struct settings *s, struct err_buf *e)
{
    char all[JOB_LABELS_SIZE] = "";
    size_t used = 0;
    for (size_t i = 0; i < s->label.count; i++) {
        int n = snprintf(all + used, sizeof all - used, "%s%s", i ? "," : "", s->label.items[i]);
        used += (size_t)n;
        if (used >= sizeof all) {
            return err_set(e, ERR_INVALID, "--label: too many");
        }
    }
    struct err_buf why = {{0}};
    int rc = job_labels_sort(all, s->labels, &why);
    return rc ? err_set(e, rc, "--label: %s", why.text) : 0;
}

static int check_settings(struct settings *s, const struct config_common *c, struct err_buf *e)
{
    if (!s->check && !job_region_is_valid(s->region)) {
        return err_set(e, ERR_INVALID,
                       "--region: \"%.40s\" is not a region's name (a-z, 0-9 and -, at most 32)",
                       s->region);
    }
    if (strpbrk(s->name, " \t\n")) {
        return err_set(e, ERR_INVALID, "--name: a name has no spaces");
    }
    int rc = join_labels(s, e);
    if (rc) {
        return rc;
    }
    bool has_redis = s->check || c->redis_url;
    if (!has_redis || !c->database_url) {
        return err_set(e, ERR_INVALID, "%s is not set; . ops/env sets it after ops/quickstart",
                       has_redis ? "MERIDIAN_DATABASE_URL" : "MERIDIAN_REDIS_URL");
    }
    return 0;
}

/* Whether the supervisor of that name keeps in touch with the record. */
static int check(const struct settings *s, const struct config_common *c)
{
    const char *const params[] = {s->name};
    struct err_buf e = {{0}};
    bool is_seen = false;
    const struct pg_query question = {
        .sql = "SELECT state <> 'gone' AND seen_at > clock_timestamp() - interval '10 s'"
               " FROM meridian.worker WHERE name = $1",
        .params = params,
        .param_count = 1};
    if (pg_sync_ask(c->database_url, "meridian-worker-check", CHECK_TIMEOUT_MS, &question, &is_seen,
                    &e)) {
        (void)fprintf(stderr, "meridian-worker: %s\n", e.text);
        return 1;
    }
    (void)printf("worker \"%s\" %s\n", s->name, is_seen ? "is up" : "was not seen within 10 s");
    return is_seen ? 0 : 1;
}

/* Runners read their settings from the environment, flags of ours included. */
static void export_settings(const struct config_common *c)
{
    (void)setenv("MERIDIAN_DATABASE_URL", c->database_url, 1);
    (void)setenv("MERIDIAN_DATA_URL", c->data_url ? c->data_url : c->database_url, 1);
    if (c->log) {
        (void)setenv("MERIDIAN_LOG", c->log, 1);
    }
    (void)setenv("OPENBLAS_NUM_THREADS", "1", 0); /* a job's threads come from its spec */
}

static int supervise(const struct settings *s, const struct config_common *c)
{
    struct err_buf e = {{0}};
    struct supervisor_options options = {.redis_url = c->redis_url,
                                         .redis_prefix = c->redis_prefix,
                                         .database_url = c->database_url,
                                         .region = s->region,
                                         .name = s->name,
                                         .slots = s->slots,
                                         .threads = s->threads,
                                         .memory_mb = s->memory_mb,
                                         .labels = s->labels,
                                         .metrics = s->metrics && s->metrics[0] ? s->metrics : NULL,
                                         .grace_ms = s->grace_ms};
    int rc = supervisor_run(&options, &e);
    if (rc < 0) {
        log_error("cannot start: %s", e.text);
        return rc == ERR_INVALID ? EXIT_USAGE : 1;
    }
    return rc;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--runner") == 0) {
        return runner_main();
    }
    log_open("worker");
    struct config_common common = {0};
    struct settings settings = {0};
    const struct config_table tables[] = {
        {.entries = entries, .count = sizeof entries / sizeof entries[0], .values = &settings},
        config_common_table(&common)};
    struct err_buf e = {{0}};
    int rest = 0;
    int rc = config_load(tables, 2, argc, argv, &rest, &e);
    if (rc == 0 && common.help) {
        print_help(tables, 2);
        return 0;
    }
    if (rc == 0 && common.version) {
        (void)puts("meridian-worker " MERIDIAN_VERSION);
        return 0;
    }
    if (rc == 0 && rest > 0) {
        rc = err_set(&e, ERR_INVALID, "\"%.60s\" is not a flag", argv[1]);
    }
    rc = rc == 0 ? config_common_finish(&common, &e) : rc;
    if (rc == 0) {
        set_defaults(&settings);
        rc = check_settings(&settings, &common, &e);
    }
    if (rc != 0) {
        return usage_error(&e);
    }
    if (settings.check) {
        return check(&settings, &common);
    }
    export_settings(&common);
    return supervise(&settings, &common);
}
