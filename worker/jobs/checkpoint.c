/*
 * A state is stored and registered in one transaction. The last statement and the commit go in one
 * message: it locks the job's row, and a runner that hangs between them would hold up whoever
 * decides about the job.
 */
#include "worker/jobs/checkpoint.h"

#include "common/base/clock.h"

#include <stdio.h>
#include <string.h>

/* Saving takes at most a fiftieth of the time: after a save that took t there is none for 50 t. Who
 * asks for more than one a second gets them whatever they cost. */
enum { COST_SHARE = 50, CHEAP_FROM_MS = 1000 };

void checkpoints_init(struct checkpoints *c, struct run *run)
{
    double every_s = job_spec_real(run->spec, "checkpoint_s");
    *c = (struct checkpoints){.run = run, .every_ms = (int64_t)(every_s * 1000 + 0.5)};
    c->next_ms = clock_mono_ms() + c->every_ms;
}

void checkpoints_set_config(struct checkpoints *c, struct span text)
{
    sha256_of(text.data, text.length, c->config);
    c->has_config = true;
}

/* --- saving ---------------------------------------------------------------------------------- */

bool checkpoints_are_due(const struct checkpoints *c)
{
    return c->has_config &&
           (run_wants_save(c->run) || (c->every_ms > 0 && clock_mono_ms() >= c->next_ms));
}

static int add_statement(const struct checkpoints *c, struct pg_sync *db, struct buf *out,
                         const uint8_t *artifact, const char *phase, int64_t step,
                         const char *inputs)
{
    char name[SHA256_HEX_SIZE], config[SHA256_HEX_SIZE];
    int rc = buf_add_format(out,
                            "SELECT meridian.checkpoint_put('%s', %d, decode('%s', 'hex'),"
                            " decode('%s', 'hex'), ",
                            c->run->job->job.text, (int)c->run->job->attempt,
                            sha256_hex(artifact, name), sha256_hex(c->config, config));
    rc = rc ? rc : pg_sync_add_literal(db, out, span_of(phase));
    rc = rc ? rc : buf_add_format(out, ", %lld, ", (long long)step);
    rc = rc ? rc : pg_sync_add_literal(db, out, span_of(inputs));
    return rc ? rc : buf_add_text(out, "); COMMIT");
}

static int store(struct checkpoints *c, struct pg_sync *db, const struct span *parts, size_t count,
                 const char *phase, int64_t step, const char *inputs, struct err_buf *e)
{
    uint8_t artifact[SHA256_BYTES];
    struct buf statement;
    int rc = pg_sync_begin(db, e);
    if (rc != 0) {
        return rc;
    }
    buf_init(&statement, 64 * 1024);
    rc = artifact_add(db, parts, count, artifact, e);
    if (rc == 0 && (add_statement(c, db, &statement, artifact, phase, step, inputs) != 0 ||
                    !buf_text(&statement))) {
        rc = err_set(e, ERR_NOMEM, "out of memory");
    }
    rc = rc == 0 ? pg_sync_run(db, statement.data, e) : rc;
    if (rc != 0) {
        pg_sync_rollback(db);
    }
    buf_close(&statement);
    return rc;
}

/* The record notes it, if it can; the run has nothing to work for any more. */
static void fenced(struct checkpoints *c, struct pg_sync *db)
{
    char number[16];
    struct err_buf e = {{0}};
    (void)snprintf(number, sizeof number, "%d", (int)c->run->job->attempt);
    c->run->is_fenced = true;
    run_log(c->run, "no checkpoint: a newer attempt owns this job");
    if (PG_SYNC_EXEC(db, NULL, &e, "SELECT meridian.checkpoint_refused($1::uuid, $2::integer)",
                     c->run->job->job.text, number) != 0) {
        run_log(c->run, "that cannot be recorded: %s", e.text);
    }
}

static bool is_too_large(struct checkpoints *c, const struct span *parts, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += parts[i].length;
    }
    bool is_too = count == 0 || bytes > CHECKPOINT_BYTES_MAX;
    if (is_too && !c->is_told) {
        c->is_told = true;
        run_log(c->run, "no checkpoints: the state has more than %zu MiB",
                CHECKPOINT_BYTES_MAX >> 20);
    }
    return is_too;
}

void checkpoints_save(struct checkpoints *c, const struct span *parts, size_t count,
                      const char *phase, int64_t step, const char *inputs)
{
    int64_t began = clock_mono_ms();
    struct pg_sync *db = NULL;
    struct err_buf e = {{0}};
    int rc = 0;
    if (!is_too_large(c, parts, count)) {
        rc = databases_control(c->run->databases, &db, &e);
        rc = rc == 0 ? store(c, db, parts, count, phase, step, inputs, &e) : rc;
        c->saved += rc == 0;
    }
    if (rc == ERR_FENCED) {
        fenced(c, db);
    } else if (rc != 0) {
        run_log(c->run, "no checkpoint this time: %s", e.text);
    }
    if (rc == ERR_UNREACHABLE) {
        databases_close(c->run->databases); /* the next try connects anew */
    }
    int64_t now = clock_mono_ms();
    int64_t pause = c->every_ms >= CHEAP_FROM_MS ? (now - began) * COST_SHARE : 0;
    c->next_ms = now + (pause > c->every_ms ? pause : c->every_ms);
    run_saved(c->run);
}

/* --- going on -------------------------------------------------------------------------------- */

struct search {
    struct checkpoint *found;
    size_t count;
};

static bool take_row(const struct pg_result *r, size_t row, struct checkpoint *ret)
{
    *ret = (struct checkpoint){.id = pg_integer(r, row, 0, 0),
                               .attempt = (int32_t)pg_integer(r, row, 1, 0),
                               .step = pg_integer(r, row, 5, 0),
                               .age_s = pg_integer(r, row, 7, 0)};
    (void)snprintf(ret->phase, sizeof ret->phase, "%s", pg_text(r, row, 4));
    int length = snprintf(ret->inputs, sizeof ret->inputs, "%s", pg_text(r, row, 6));
    return length >= 0 && (size_t)length < sizeof ret->inputs &&
           sha256_from_hex(pg_text(r, row, 2), ret->artifact) == 0 &&
           sha256_from_hex(pg_text(r, row, 3), ret->config) == 0;
}

static int select_all(struct run *run, void *data, struct err_buf *e)
{
    struct search *s = data;
    struct pg_sync *db = NULL;
    struct pg_result *r = NULL;
    char number[16];
    (void)snprintf(number, sizeof number, "%d", (int)run->job->attempt);
    s->count = 0;
    int rc = databases_control(run->databases, &db, e);
    rc = rc == 0
             ? PG_SYNC_EXEC(db, &r, e,
                            "SELECT id, attempt, encode(artifact, 'hex'), encode(config, 'hex'),"
                            " phase, step, inputs, age_s"
                            " FROM meridian.checkpoint_list($1::uuid, $2::integer)",
                            run->job->job.text, number)
             : rc;
    for (size_t row = 0; rc == 0 && row < (size_t)pg_rows(r); row++) {
        s->count +=
            s->count < CHECKPOINT_FOUND_MAX && take_row(r, row, &s->found[s->count]) ? 1 : 0;
    }
    if (rc == 0) {
        pg_result_free(r);
    }
    return rc;
}

int checkpoints_find(struct checkpoints *c, struct checkpoint ret[CHECKPOINT_FOUND_MAX],
                     size_t *ret_count, struct err_buf *e)
{
    struct search s = {.found = ret};
    int rc = c->run->job->attempt > 1 ? run_persist(c->run, select_all, &s, e) : 0;
    if (rc != 0 && rc != ERR_CANCELLED) {
        run_log(c->run, "starts from nothing, the record does not tell its checkpoints: %s",
                e->text);
        rc = 0;
    }
    *ret_count = rc == 0 ? s.count : 0;
    return rc;
}

void checkpoints_reject(struct checkpoints *c, const struct checkpoint *from, const char *why)
{
    run_log(c->run, "the checkpoint of attempt %d, %s step %lld, is not used: %s",
            (int)from->attempt, from->phase, (long long)from->step, why);
}

struct opening {
    const struct checkpoint *from;
    struct artifact_reader *reader;
};

static int open_artifact(struct run *run, void *data, struct err_buf *e)
{
    const struct opening *o = data;
    struct pg_sync *db = NULL;
    artifact_reader_close(o->reader);
    int rc = databases_control(run->databases, &db, e);
    return rc == 0 ? artifact_reader_open(o->reader, db, o->from->artifact, e) : rc;
}

bool checkpoints_open(struct checkpoints *c, const struct checkpoint *from,
                      struct artifact_reader *reader)
{
    struct opening opening = {.from = from, .reader = reader};
    struct err_buf e = {{0}};
    *reader = (struct artifact_reader){.bytes = 0};
    if (memcmp(from->config, c->config, SHA256_BYTES) != 0) {
        checkpoints_reject(c, from, "spec, data, base or build are not what they were");
        return false;
    }
    int rc = run_persist(c->run, open_artifact, &opening, &e);
    if (rc == 0 && reader->bytes > CHECKPOINT_BYTES_MAX) {
        rc = err_set(&e, ERR_LIMIT, "it has %zu bytes", reader->bytes);
    }
    if (rc != 0) {
        checkpoints_reject(c, from, e.text);
        artifact_reader_close(reader);
    }
    return rc == 0;
}

void checkpoints_resume(struct checkpoints *c, const struct checkpoint *from)
{
    struct pg_sync *db = NULL;
    struct err_buf e = {{0}};
    char number[16], id[24];
    (void)snprintf(number, sizeof number, "%d", (int)c->run->job->attempt);
    (void)snprintf(id, sizeof id, "%lld", (long long)from->id);
    int rc = databases_control(c->run->databases, &db, &e);
    rc = rc == 0
             ? PG_SYNC_EXEC(db, NULL, &e,
                            "SELECT meridian.checkpoint_resume($1::uuid, $2::integer, $3::bigint)",
                            c->run->job->job.text, number, id)
             : rc;
    if (rc != 0) {
        run_log(c->run, "where it goes on cannot be recorded: %s", e.text);
    }
    c->run->resumed_step = from->step;
    run_log(c->run, "goes on from %s step %lld of attempt %d, saved %lld s ago", from->phase,
            (long long)from->step, (int)from->attempt, (long long)from->age_s);
}
