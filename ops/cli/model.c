/* Commands about models: list, show, diff, promote, rollback, pull, push, export. */
#include "ops/cli/model.h"

#include "common/artifact/artifact.h"
#include "common/base/mem.h"
#include "ops/cli/print.h"
#include "worker/model/bag/bag.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_BYTES = 4096, LABELS_BYTES_MAX = 4 * 1024 * 1024 };

/* Finding ------------------------------------------------------------------------------------ */

static int take_version(struct cli *c, const struct pg_result *r, struct model_version *ret)
{
    ret->id = pg_integer(r, 0, 0, 0);
    (void)snprintf(ret->hex, sizeof ret->hex, "%s", pg_text(r, 0, 1));
    (void)snprintf(ret->family, sizeof ret->family, "%s", pg_text(r, 0, 2));
    (void)snprintf(ret->market, sizeof ret->market, "%s", pg_text(r, 0, 3));
    (void)snprintf(ret->task, sizeof ret->task, "%s", pg_text(r, 0, 4));
    ret->number = pg_integer(r, 0, 5, 0);
    return sha256_from_hex(ret->hex, ret->artifact)
               ? err_set(&c->e, ERR_CORRUPT, "version %lld has no valid artifact name",
                         (long long)ret->id)
               : 0;
}

static int not_found(struct cli *c)
{
    if (c->o.version_id > 0) {
        return err_set(&c->e, ERR_NOTFOUND,
                       "there is no version %lld; see meridian model list --all",
                       (long long)c->o.version_id);
    }
    return err_set(
        &c->e, ERR_NOTFOUND,
        "market %s has no champion for task %s: meridian nightly run --market %s --task %s",
        c->o.market, c->o.task, c->o.market, c->o.task);
}

int model_find(struct cli *c, struct model_version *ret)
{
    char id[24];
    struct pg_result *r = NULL;
    if (c->o.version_id == 0 && !(c->o.market && c->o.task)) {
        return cli_usage(
            c, "name a version (--version-id ID), or a market's champion (--market M --task T)");
    }
    (void)snprintf(id, sizeof id, "%lld", (long long)c->o.version_id);
    int rc = cli_control(c);
    rc = rc ? rc
            : PG_SYNC_EXEC(
                  c->control, &r, &c->e,
                  "SELECT v.id, encode(v.artifact, 'hex'), v.family, v.market, v.task, v.number "
                  "FROM meridian.version v WHERE CASE WHEN $1::bigint > 0 THEN v.id = $1::bigint "
                  "ELSE v.id = (SELECT ch.version FROM meridian.champion ch WHERE ch.market = $2 "
                  "AND ch.task = $3) END",
                  id, c->o.market, c->o.task);
    if (rc) {
        return c->control ? cli_explain(c->control, rc, &c->e) : rc;
    }
    rc = pg_rows(r) > 0 ? take_version(c, r, ret) : not_found(c);
    pg_result_free(r);
    return rc;
}

static int check_id(struct cli *c, const char *text)
{
    char *end = NULL;
    long long id = strtoll(text, &end, 10);
    if (end == text || *end || id <= 0) {
        return cli_usage(c, "\"%s\" is no version id; see meridian model list", text);
    }
    return 0;
}

/* Showing ------------------------------------------------------------------------------------ */

static int run_list(struct cli *c)
{
    char all[8];
    int rc = cli_control(c);
    (void)snprintf(all, sizeof all, "%s", c->o.all ? "true" : "false");
    return rc ? rc
              : PRINT_QUERY(
                    c, c->control, "no models yet: meridian nightly run",
                    "SELECT v.id AS version, v.market, v.task, v.number, v.family, v.method, "
                    "(ch.version IS NOT NULL) AS champion, s.accuracy, s.macro_f1, t.samples AS "
                    "train_samples, cardinality(v.labels) AS labels, v.base_version AS base, "
                    "v.created_at FROM meridian.version v LEFT JOIN meridian.champion ch ON "
                    "ch.version = v.id LEFT JOIN meridian.snapshot t ON t.id = v.train_snapshot "
                    "LEFT JOIN LATERAL (SELECT max(m.value) FILTER (WHERE m.name = 'accuracy') AS "
                    "accuracy, max(m.value) FILTER (WHERE m.name = 'macro_f1') AS macro_f1 FROM "
                    "meridian.metric m WHERE m.version = v.id AND m.role = 'challenger' AND "
                    "m.evaluation = (SELECT max(e.id) FROM meridian.evaluation e WHERE e.version = "
                    "v.id)) s ON true WHERE ($1::text IS NULL OR v.market = $1) AND ($2::text IS "
                    "NULL OR v.task = $2) AND ($3::boolean OR ch.version IS NOT NULL OR v.id IN "
                    "(SELECT max(n.id) FROM meridian.version n GROUP BY n.market, n.task)) ORDER "
                    "BY "
                    "v.task, v.market NULLS FIRST, v.number",
                    c->o.market, c->o.task, all);
}

static int run_show(struct cli *c)
{
    int rc = check_id(c, c->args[0]);
    rc = rc ? rc : cli_control(c);
    rc = rc ? rc
            : PRINT_RECORD(
                  c, c->control,
                  "SELECT v.id AS version, v.market, v.task, v.number, v.family, v.method, "
                  "encode(v.artifact, 'hex') AS artifact, a.bytes, v.base_version, (SELECT "
                  "encode(b.artifact, 'hex') FROM meridian.version b WHERE b.id = v.base_version) "
                  "AS base_artifact, encode(s.sha256, 'hex') AS train_snapshot, s.samples AS "
                  "train_samples, encode(d.sha256, 'hex') AS dev_snapshot, v.job, v.attempt, "
                  "v.region, v.engine, v.kernel, v.threads, v.seed, v.created_at, EXISTS (SELECT "
                  "FROM meridian.champion ch WHERE ch.version = v.id) AS champion, "
                  "to_json(v.labels) AS labels, v.spec, (SELECT json_object_agg(m.role || '.' || "
                  "m.name, m.value ORDER BY m.role, m.name) FROM meridian.metric m WHERE m.version "
                  "= v.id AND m.role <> 'champion') AS metrics FROM meridian.version v JOIN "
                  "meridian.artifact a ON a.sha256 = v.artifact LEFT JOIN meridian.snapshot s ON "
                  "s.id = v.train_snapshot LEFT JOIN meridian.snapshot d ON d.id = v.dev_snapshot "
                  "WHERE v.id = $1::bigint",
                  c->args[0]);
    return rc == ERR_NOTFOUND && !*c->e.text
               ? err_set(&c->e, rc, "there is no version %s; see meridian model list --all",
                         c->args[0])
               : rc;
}

/* What differs between two versions: how they were made, and every figure both or one have. */
static int run_diff(struct cli *c)
{
    int rc = check_id(c, c->args[0]);
    rc = rc ? rc : check_id(c, c->args[1]);
    rc = rc ? rc : cli_control(c);
    return rc ? rc
              : PRINT_QUERY(
                    c, c->control, "the two versions do not differ",
                    "WITH facts AS (SELECT v.id, f.key AS name, f.value #>> '{}' AS value FROM "
                    "meridian.version v, LATERAL jsonb_each(v.spec || "
                    "jsonb_build_object('artifact', "
                    "encode(v.artifact, 'hex'), 'family', v.family, 'method', v.method, "
                    "'base_version', v.base_version, 'train_snapshot', v.train_snapshot, 'engine', "
                    "v.engine, 'kernel', v.kernel, 'threads', v.threads, 'seed', v.seed, 'labels', "
                    "to_jsonb(v.labels))) f WHERE v.id IN ($1::bigint, $2::bigint) UNION ALL "
                    "SELECT "
                    "m.version, 'metric ' || m.name, m.value::text FROM meridian.metric m WHERE "
                    "m.version IN ($1::bigint, $2::bigint) AND m.role <> 'champion' AND m.id IN "
                    "(SELECT max(n.id) FROM meridian.metric n WHERE n.version IN ($1::bigint, "
                    "$2::bigint) AND n.role <> 'champion' GROUP BY n.version, n.name)) SELECT "
                    "name, "
                    "max(value) FILTER (WHERE id = $1::bigint) AS first, max(value) FILTER (WHERE "
                    "id "
                    "= $2::bigint) AS second FROM facts GROUP BY name HAVING max(value) FILTER "
                    "(WHERE "
                    "id = $1::bigint) IS DISTINCT FROM max(value) FILTER (WHERE id = $2::bigint) "
                    "ORDER BY name",
                    c->args[0], c->args[1]);
}

/* Champions ---------------------------------------------------------------------------------- */

static int print_change(struct cli *c, const char *verb, const struct pg_result *r)
{
    if (c->o.json) {
        (void)fprintf(
            c->out,
            "{\"promotion\":%s,\"version\":%s,\"number\":%s,\"previous\":%s,\"market\":\"%s\","
            "\"task\":\"%s\"}\n",
            pg_text(r, 0, 0), pg_text(r, 0, 1), pg_text(r, 0, 2),
            pg_is_null(r, 0, 3) ? "null" : pg_text(r, 0, 3), c->o.market, c->o.task);
    } else {
        (void)fprintf(c->out, "%s %s: version %s (number %s) is the champion; before: %s\n",
                      c->o.market, verb, pg_text(r, 0, 1), pg_text(r, 0, 2),
                      pg_is_null(r, 0, 3) ? "none" : pg_text(r, 0, 3));
    }
    return CLI_DONE;
}

static int run_promote(struct cli *c)
{
    char id[24];
    struct model_version v;
    struct pg_result *r = NULL;
    int rc = check_id(c, c->args[0]);
    if (rc == 0) {
        c->o.version_id = strtoll(c->args[0], NULL, 10);
        rc = model_find(c, &v);
    }
    if (rc) {
        return rc;
    }
    /* The database refuses when they are given and are not the version's. */
    c->o.market = c->o.market ? c->o.market : v.market;
    c->o.task = c->o.task ? c->o.task : v.task;
    (void)snprintf(id, sizeof id, "%lld", (long long)v.id);
    rc = PG_SYNC_EXEC(c->control, &r, &c->e,
                      "SELECT promotion, version, number, previous FROM "
                      "meridian.model_promote($1, $2, $3::bigint, $4, $5)",
                      c->o.market, c->o.task, id, cli_actor(), c->o.reason);
    rc = rc ? cli_explain(c->control, rc, &c->e) : print_change(c, "promoted", r);
    pg_result_free(r);
    return rc;
}

static int run_rollback(struct cli *c)
{
    struct pg_result *r = NULL;
    CLI_NEED(c, c->o.market, "--market");
    CLI_NEED(c, c->o.task, "--task");
    int rc = cli_control(c);
    if (rc) {
        return rc;
    }
    rc = PG_SYNC_EXEC(c->control, &r, &c->e,
                      "SELECT promotion, version, number, previous FROM "
                      "meridian.model_rollback($1, $2, $3, $4)",
                      c->o.market, c->o.task, cli_actor(), c->o.reason);
    rc = rc ? cli_explain(c->control, rc, &c->e) : print_change(c, "rolled back", r);
    pg_result_free(r);
    return rc;
}

/* Files -------------------------------------------------------------------------------------- */

static void print_file(struct cli *c, const struct model_version *v, const char *path)
{
    if (c->o.json) {
        (void)fprintf(c->out, "{\"version\":%lld,\"number\":%lld,\"sha256\":\"%s\",\"file\":",
                      (long long)v->id, (long long)v->number, v->hex);
        print_json_text(c->out, path);
        (void)fputs("}\n", c->out);
    } else {
        (void)fprintf(c->out, "%s: version %lld, sha256 %s\n", path, (long long)v->id, v->hex);
    }
}

static int run_pull(struct cli *c)
{
    char path[PATH_BYTES];
    struct model_version v;
    int rc = model_find(c, &v);
    if (rc) {
        return rc;
    }
    if (c->o.output) {
        (void)snprintf(path, sizeof path, "%s", c->o.output);
    } else {
        (void)snprintf(path, sizeof path, "%s-%s-%lld.%s", *v.market ? v.market : "global", v.task,
                       (long long)v.number, v.family);
    }
    rc = artifact_get_file(c->control, v.artifact, path, &c->e);
    if (rc == 0) {
        print_file(c, &v, path);
    }
    return rc;
}

static int write_labels(struct cli *c, const struct model_version *v, const char *path)
{
    char id[24];
    struct pg_result *r = NULL;
    (void)snprintf(id, sizeof id, "%lld", (long long)v->id);
    int rc = PG_SYNC_EXEC(
        c->control, &r, &c->e,
        "SELECT json_build_object('market', v.market, 'task', v.task, 'version', v.id, "
        "'number', v.number, 'family', v.family, 'sha256', encode(v.artifact, 'hex'), "
        "'labels', to_json(v.labels))::text FROM meridian.version v WHERE id = $1::bigint",
        id);
    if (rc) {
        return rc;
    }
    FILE *f = fopen(path, "w");
    bool is_ok = f && fprintf(f, "%s\n", pg_text(r, 0, 0)) > 0;
    is_ok = f && fclose(f) == 0 && is_ok;
    pg_result_free(r);
    return is_ok ? 0 : err_set(&c->e, ERR_IO, "%s: %s", path, strerror(errno));
}

static int run_export(struct cli *c)
{
    char model[PATH_BYTES];
    char labels[PATH_BYTES];
    struct model_version v;
    CLI_NEED(c, c->o.output, "--output");
    if (strlen(c->o.output) > PATH_BYTES - 32) {
        return cli_usage(c, "--output: the name is too long");
    }
    int rc = model_find(c, &v);
    if (rc) {
        return rc;
    }
    if (mkdir(c->o.output, 0755) != 0 && errno != EEXIST) {
        return err_set(&c->e, ERR_IO, "%s: %s", c->o.output, strerror(errno));
    }
    (void)snprintf(model, sizeof model, "%s/model.msgpack", c->o.output);
    (void)snprintf(labels, sizeof labels, "%s/labels.json", c->o.output);
    rc = artifact_get_file(c->control, v.artifact, model, &c->e);
    rc = rc ? rc : write_labels(c, &v, labels);
    if (rc == 0) {
        print_file(c, &v, model);
    }
    return rc;
}

/* The labels of a bag model as a PostgreSQL array. */
static int model_labels(const struct bag_model *m, struct buf *out)
{
    size_t count = bag_label_count(m);
    char **labels = mem_new_array(count ? count : 1, sizeof *labels);
    int rc = labels ? 0 : ERR_NOMEM;
    for (size_t i = 0; i < count && rc == 0; i++) {
        struct span s = bag_label(m, i);
        labels[i] = mem_string(s.data, s.length);
        rc = labels[i] ? 0 : ERR_NOMEM;
    }
    rc = rc ? rc : pg_array_add(out, (const char *const *)labels, count);
    for (size_t i = 0; labels && i < count; i++) {
        mem_free(labels[i]);
    }
    mem_free(labels);
    return rc;
}

static int store_version(struct cli *c, const uint8_t sha256[SHA256_BYTES], const char *labels)
{
    char hex[SHA256_HEX_SIZE];
    int rc = PRINT_RECORD(
        c, c->control,
        "SELECT version, number, job FROM meridian.model_push($1, $2, decode($3, 'hex'), "
        "'bag', $4::text[], $5, $6)",
        c->o.market, c->o.task, sha256_hex(sha256, hex), labels, cli_actor(), c->o.reason);
    if (rc == 0 && !c->o.json && c->o.market) {
        (void)fprintf(c->out, "not the champion yet: meridian model promote ID\n");
    }
    return rc;
}

static int run_push(struct cli *c)
{
    struct bag_model *m = NULL;
    struct buf labels;
    uint8_t sha256[SHA256_BYTES];
    CLI_NEED(c, c->o.task, "--task");
    int rc = bag_open_file(&m, c->args[0], &c->e);
    if (rc) {
        return err_wrap(&c->e, rc, "%s", c->args[0]);
    }
    buf_init(&labels, LABELS_BYTES_MAX);
    rc = model_labels(m, &labels);
    rc = rc ? err_set(&c->e, rc, "%s", err_text(rc)) : cli_control(c);
    rc = rc ? rc : artifact_put(c->control, bag_bytes(m), sha256, &c->e);
    rc = rc ? rc : store_version(c, sha256, buf_text(&labels));
    buf_close(&labels);
    bag_free(m);
    return rc;
}

#define FLAG_VERSION                                                                               \
    CLI_FLAG_NUMBER("version-id", CONFIG_INTEGER, version_id, NULL, 0, 9e15, "ID of a version")

static const struct config_entry list_flags[] = {
    CLI_FLAG("all", CONFIG_BOOL, all, "every version, not only the champions and the newest"),
    CLI_FLAG_MARKET,
    CLI_FLAG_TASK,
};
static const struct config_entry promote_flags[] = {CLI_FLAG_MARKET, CLI_FLAG_REASON,
                                                    CLI_FLAG_TASK};
static const struct config_entry rollback_flags[] = {CLI_FLAG_MARKET, CLI_FLAG_REASON,
                                                     CLI_FLAG_TASK};
static const struct config_entry pull_flags[] = {
    CLI_FLAG_MARKET,
    {.name = "output",
     .letter = 'o',
     .type = CONFIG_TEXT,
     .offset = offsetof(struct cli_options, output),
     .help = "FILE (or folder, for export) to write"},
    CLI_FLAG_TASK,
    FLAG_VERSION,
};
static const struct config_entry push_flags[] = {CLI_FLAG_MARKET, CLI_FLAG_REASON, CLI_FLAG_TASK};

static const struct cli_command commands[] = {
    {.name = "model list",
     .args = "",
     .summary = "champions and newest versions, with their scores",
     .examples = "  meridian model list --market de-DE --all",
     CLI_FLAGS(list_flags),
     .run = run_list},
    {.name = "model show",
     .args = "ID",
     .summary = "how a version was made, and its figures",
     .examples = "  meridian model show 12",
     .arg_min = 1,
     .arg_max = 1,
     .run = run_show},
    {.name = "model diff",
     .args = "ID ID",
     .summary = "what differs between two versions",
     .examples = "  meridian model diff 12 15",
     .arg_min = 2,
     .arg_max = 2,
     .run = run_diff},
    {.name = "model promote",
     .args = "ID",
     .summary = "make a version its market's champion",
     .examples = "  meridian model promote 12 --reason \"checked by hand\"",
     CLI_FLAGS(promote_flags),
     .arg_min = 1,
     .arg_max = 1,
     .run = run_promote},
    {.name = "model rollback",
     .args = "",
     .summary = "go back to the champion before this one",
     .examples =
         "  meridian model rollback --market de-DE --task support-intent --reason \"bad answers\"",
     CLI_FLAGS(rollback_flags),
     .run = run_rollback},
    {.name = "model pull",
     .args = "",
     .summary = "fetch a champion (or a version) into a file, hash checked",
     .examples = "  meridian model pull --market de-DE --task support-intent -o de.bag\n"
                 "  meridian model pull --version-id 12",
     CLI_FLAGS(pull_flags),
     .run = run_pull},
    {.name = "model push",
     .args = "FILE",
     .summary = "store a model file as a new version",
     .details =
         "Without --market it becomes a global base of the task. It is not promoted by this.",
     .examples = "  meridian model push de.bag --market de-DE --task support-intent",
     CLI_FLAGS(push_flags),
     .arg_min = 1,
     .arg_max = 1,
     .run = run_push},
    {.name = "model export",
     .args = "",
     .summary = "a folder with the model and its labels, for other programs",
     .examples = "  meridian model export --market de-DE --task support-intent -o de-DE.model",
     CLI_FLAGS(pull_flags),
     .run = run_export},
};

CLI_GROUP(cli_model_group, commands);
