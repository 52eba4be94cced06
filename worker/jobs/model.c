/* Versions from the record, artifacts from the store, verified by their hash. */
#include "worker/jobs/model.h"

#include "common/artifact/artifact.h"
#include "common/base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void model_close(struct model *m)
{
    bag_free(m->bag);
    mem_free(m->bytes);
    *m = (struct model){0};
}

static int fetch(struct pg_sync *db, struct model *m, struct err_buf *e)
{
    size_t length = 0;
    int rc = artifact_get(db, m->artifact, BAG_BYTES_MAX, &m->bytes, &length, e);
    rc = rc == 0 ? bag_open(&m->bag, span_make(m->bytes, length), e) : rc;
    return rc == 0 ? 0 : err_wrap(e, rc, "version %lld", (long long)m->version);
}

/* Columns: id, artifact in hex, family, market, task, source loss. */
static int take_row(const struct pg_result *row, struct model *m, struct err_buf *e)
{
    m->version = pg_integer(row, 0, 0, 0);
    m->source_loss = pg_real(row, 0, 5, (double)NAN);
    (void)snprintf(m->market, sizeof m->market, "%s", pg_text(row, 0, 3));
    (void)snprintf(m->task, sizeof m->task, "%s", pg_text(row, 0, 4));
    if (strcmp(pg_text(row, 0, 2), "bag") != 0) {
        return err_set(e, ERR_UNSUPPORTED, "version %lld is of the family '%.40s', not bag",
                       (long long)m->version, pg_text(row, 0, 2));
    }
    if (sha256_from_hex(pg_text(row, 0, 1), m->artifact) != 0) {
        return err_set(e, ERR_CORRUPT, "version %lld has no readable artifact name",
                       (long long)m->version);
    }
    return 0;
}

/* Runs the select and opens what it finds; version 0 when it finds nothing. */
static int open_selected(struct run *run, const char *sql, const char *const *params, size_t count,
                         struct model *ret, struct err_buf *e)
{
    struct pg_sync *db = NULL;
    struct pg_result *result = NULL;
    struct model m = {.source_loss = (double)NAN};
    int rc = databases_control(run->databases, &db, e);
    rc = rc == 0 ? pg_sync_exec(db, sql, params, count, &result, e) : rc;
    if (rc == 0 && pg_rows(result) > 0) {
        rc = take_row(result, &m, e);
        rc = rc == 0 ? fetch(db, &m, e) : rc;
    }
    pg_result_free(result);
    if (rc != 0) {
        model_close(&m);
        return rc;
    }
    *ret = m;
    return 0;
}

int model_open_base(struct run *run, const char *base, struct model *ret, struct err_buf *e)
{
    const char *market = run->job->market[0] ? run->job->market : NULL;
    const char *params[] = {market, run->job->task, base, run_as_of(run)};
    *ret = (struct model){.source_loss = (double)NAN};
    if (strcmp(base, "none") == 0) {
        return 0;
    }
    int rc =
        open_selected(run,
                      "SELECT version, encode(artifact, 'hex'), family, market, $2, source_loss"
                      " FROM meridian.worker_read_base($1, $2, $3, $4::timestamptz)",
                      params, 4, ret, e);
    if (rc == 0 && ret->version == 0 && strcmp(base, "auto") != 0) {
        return err_set(e, ERR_DATA, "base '%s': there is no such version for task '%s'", base,
                       run->job->task);
    }
    return rc;
}

int model_open_version(struct run *run, int64_t version, const char *job, struct model *ret,
                       struct err_buf *e)
{
    char id[24];
    (void)snprintf(id, sizeof id, "%lld", (long long)version);
    const char *params[] = {version > 0 ? id : NULL, version > 0 ? NULL : job};
    int rc = open_selected(run,
                           "SELECT id, encode(artifact, 'hex'), family, market, task, NULL"
                           " FROM meridian.version WHERE id = $1::bigint OR job = $2::uuid",
                           params, 2, ret, e);
    if (rc == 0 && ret->version == 0) {
        return version > 0 ? err_set(e, ERR_DATA, "there is no version %s", id)
                           : err_set(e, ERR_DATA, "job %.36s made no version", job);
    }
    return rc;
}

int model_open_champion(struct run *run, const char *market, const char *task, struct model *ret,
                        struct err_buf *e)
{
    const char *params[] = {market, task};
    return open_selected(run,
                         "SELECT v.id, encode(v.artifact, 'hex'), v.family, v.market, v.task, NULL"
                         " FROM meridian.champion c JOIN meridian.version v ON v.id = c.version"
                         " WHERE c.market = $1 AND c.task = $2",
                         params, 2, ret, e);
}
