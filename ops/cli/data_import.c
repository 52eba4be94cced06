/*
 * `meridian data import`: files into meridian.sample, in one transaction.
 *
 * Rows stream through COPY into a temporary table; when all files are read and the share of bad
 * rows is within its limit, one set of statements compares them with what is current: same id and
 * content, no change; other content, a new revision. Anything that fails leaves nothing. The
 * advisory lock of market and task orders imports, so ids order revisions (snapshots rely on it).
 */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/sha256.h"
#include "ops/cli/bar.h"
#include "ops/cli/cli.h"
#include "ops/cli/data.h"
#include "ops/cli/print.h"
#include "ops/ingest/ingest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHOWN_MAX = 20,     /* bad rows in the text form */
    LISTED_MAX = 10000, /* bad rows in --json */
    BATCH_BYTES = 256 * 1024,
    REDRAW_MS = 100,
};

struct bad_row {
    const char *file;
    uint64_t line;
    enum ingest_fault fault;
};

struct import {
    struct cli *c;
    const char *file;
    struct buf batch; /* rows in COPY's text format */
    uint64_t good;
    uint64_t bad_count;
    struct bad_row *bad; /* the first LISTED_MAX */
    int64_t started_ms;
    int64_t drawn_ms;
    bool has_bar;
    /* afterwards */
    long long added;
    long long changed;
    long long unchanged;
    long long repeated;
};

/* Reading ----------------------------------------------------------------------------------- */

static int send_batch(struct import *im, struct err_buf *e)
{
    int rc = im->batch.length > 0
                 ? pg_sync_copy_add(im->c->data, im->batch.data, im->batch.length, e)
                 : 0;
    buf_reset(&im->batch);
    return rc;
}

/* sha256(external_id NUL label NUL text): the digest that snapshots are made of. */
static int add_digest(struct buf *row, const struct ingest_row *r)
{
    uint8_t digest[SHA256_BYTES];
    struct sha256 *sum = sha256_new();
    if (!sum) {
        return ERR_NOMEM;
    }
    sha256_add(sum, r->id.data, r->id.length);
    sha256_add(sum, "", 1);
    sha256_add(sum, r->label.data, r->label.length);
    sha256_add(sum, "", 1);
    sha256_add(sum, r->text.data, r->text.length);
    sha256_finish(sum, digest);
    sha256_free(sum);
    return pg_copy_add_bytes(row, span_make(digest, sizeof digest), false);
}

static int on_row(const struct ingest_row *r, struct err_buf *e, void *data)
{
    struct import *im = data;
    char ordinal[24];
    (void)snprintf(ordinal, sizeof ordinal, "%llu", (unsigned long long)++im->good);
    int rc = pg_copy_add_value(&im->batch, span_of(ordinal), true);
    rc = rc ? rc : pg_copy_add_value(&im->batch, r->id, false);
    rc = rc ? rc : pg_copy_add_value(&im->batch, r->label, false);
    rc = rc ? rc : pg_copy_add_value(&im->batch, r->text, false);
    rc = rc ? rc : add_digest(&im->batch, r);
    rc = rc ? rc : pg_copy_end_row(&im->batch);
    if (rc) {
        return err_set(e, rc, "%s", err_text(rc));
    }
    return im->batch.length >= BATCH_BYTES ? send_batch(im, e) : 0;
}

static void on_bad(uint64_t line, enum ingest_fault fault, void *data)
{
    struct import *im = data;
    if (im->bad_count < LISTED_MAX) {
        im->bad[im->bad_count] = (struct bad_row){im->file, line, fault};
    }
    im->bad_count++;
}

static void draw(const struct import *im, const struct ingest_progress *p)
{
    char bar[40];
    double seconds = (double)(clock_mono_ms() - im->started_ms) / 1000;
    double rate = seconds > 0 ? (double)im->good / seconds : 0;
    if (p->bytes_size > 0) {
        double done = (double)p->bytes / (double)p->bytes_size;
        (void)fprintf(stderr, "\r\033[K%s %3.0f %%  %llu rows  %.0f rows/s  %s",
                      bar_format(done, 24, bar, sizeof bar), done * 100,
                      (unsigned long long)im->good, rate, im->file);
    } else {
        (void)fprintf(stderr, "\r\033[K%llu rows  %.1f MB  %.0f rows/s",
                      (unsigned long long)im->good, (double)p->bytes / 1e6, rate);
    }
    (void)fflush(stderr);
}

static int on_progress(const struct ingest_progress *p, struct err_buf *e, void *data)
{
    struct import *im = data;
    if (cli_is_interrupted()) {
        return err_set(e, ERR_CANCELLED, "interrupted; nothing was written");
    }
    if (im->has_bar && clock_mono_ms() - im->drawn_ms >= REDRAW_MS) {
        im->drawn_ms = clock_mono_ms();
        draw(im, p);
    }
    return 0;
}

static int read_files(struct import *im)
{
    struct cli *c = im->c;
    struct ingest_options o = {.text_bytes_max = (size_t)c->o.max_text,
                               .no_quotes = c->o.no_quotes,
                               .id = c->o.id_column,
                               .text = c->o.text_column,
                               .label = c->o.label_column};
    if (!ingest_format_from_name(c->o.format, &o.format)) {
        return cli_usage(c, "--format: \"%s\" is none of auto, jsonl, csv, tsv", c->o.format);
    }
    for (size_t i = 0; i < c->arg_count; i++) {
        im->file = c->args[i];
        int rc = ingest_read_file(im->file, &o, on_row, on_bad, on_progress, im, &c->e);
        if (rc) {
            return rc;
        }
    }
    return send_batch(im, &c->e);
}

/* Writing ----------------------------------------------------------------------------------- */

static const char *const stage_sql =
    "CREATE TEMPORARY TABLE meridian_import (ordinal bigint, external_id text, label text, "
    "text text, digest bytea) ON COMMIT DROP";

/* The last row of an id counts. */
static const char *const dedupe_sql =
    "WITH ranked AS (SELECT ctid AS at, row_number() OVER (PARTITION BY external_id ORDER BY "
    "ordinal "
    "DESC) AS n FROM meridian_import), gone AS (DELETE FROM meridian_import i USING ranked r "
    "WHERE i.ctid = r.at AND r.n > 1 RETURNING 1) SELECT count(*) FROM gone";

static const char *const changes_sql =
    "CREATE TEMPORARY TABLE meridian_change (id bigint, external_id text, revision integer, label "
    "text, text text, digest bytea, old_id bigint) ON COMMIT DROP";

/* New ids are drawn in the order of the files. */
static const char *const compare_sql =
    "INSERT INTO meridian_change SELECT meridian.sample_next_id(), "
    "d.external_id, d.revision, d.label, d.text, d.digest, d.old_id FROM ("
    "SELECT i.*, c.id AS old_id, coalesce(c.revision, 0) + 1 AS revision FROM meridian_import i "
    "LEFT JOIN meridian.sample c ON c.market = $1 AND c.task = $2 AND c.split = $3 AND "
    "c.external_id = i.external_id COLLATE \"C\" AND c.superseded_by IS NULL "
    "WHERE c.digest IS DISTINCT FROM i.digest ORDER BY i.ordinal) d";

/* Before the insertion: only one current row for each id is allowed. */
static const char *const supersede_sql = "UPDATE meridian.sample s SET superseded_by = n.id FROM "
                                         "meridian_change n WHERE s.id = n.old_id";

static const char *const insert_sql =
    "INSERT INTO meridian.sample (id, market, task, split, external_id, revision, label, text, "
    "digest) "
    "OVERRIDING SYSTEM VALUE SELECT id, $1, $2, $3, external_id, revision, label, text, digest "
    "FROM meridian_change ORDER BY id";

static const char *const counts_sql =
    "SELECT count(*) FILTER (WHERE old_id IS NULL), count(old_id), "
    "(SELECT count(*) FROM meridian_import) - count(*) FROM meridian_change";

static int write_changes(struct cli *c)
{
    int rc = pg_sync_run(c->data, changes_sql, &c->e);
    rc = rc ? rc
            : PG_SYNC_EXEC(c->data, NULL, &c->e, compare_sql, c->o.market, c->o.task, c->o.split);
    rc = rc ? rc : pg_sync_run(c->data, supersede_sql, &c->e);
    return rc ? rc
              : PG_SYNC_EXEC(c->data, NULL, &c->e, insert_sql, c->o.market, c->o.task, c->o.split);
}

static int apply(struct import *im)
{
    struct cli *c = im->c;
    struct pg_result *r = NULL;
    char text[32];
    int rc = QUERY_TEXT(c->data, text, &c->e,
                        "SELECT pg_advisory_xact_lock(hashtext('meridian.sample.' || $1 || $2))",
                        c->o.market, c->o.task);
    rc = rc ? rc : query_text(c->data, dedupe_sql, NULL, 0, text, sizeof text, &c->e);
    if (rc) {
        return rc;
    }
    im->repeated = strtoll(text, NULL, 10);
    rc = write_changes(c);
    rc = rc ? rc : pg_sync_exec(c->data, counts_sql, NULL, 0, &r, &c->e);
    if (rc == 0) {
        im->added = pg_integer(r, 0, 0, 0);
        im->changed = pg_integer(r, 0, 1, 0);
        im->unchanged = pg_integer(r, 0, 2, 0);
    }
    pg_result_free(r);
    return rc;
}

/* "1%", "1 %" or "0.01". */
static bool parse_share(const char *text, double *ret)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text) {
        return false;
    }
    while (*end == ' ') {
        end++;
    }
    if (*end == '%') {
        value /= 100;
        end++;
    }
    *ret = value;
    return *end == 0 && value >= 0 && value <= 1;
}

static int check_bad_share(const struct import *im, double share_max)
{
    uint64_t all = im->good + im->bad_count;
    if (im->bad_count == 0 || (double)im->bad_count <= share_max * (double)all) {
        return 0;
    }
    return err_set(&im->c->e, ERR_DATA,
                   "%llu of %llu rows are bad, more than --max-bad %s allows; nothing was written. "
                   "Correct them (they are listed above), or raise the limit",
                   (unsigned long long)im->bad_count, (unsigned long long)all, im->c->o.max_bad);
}

static int stage_and_apply(struct import *im, double share_max)
{
    struct cli *c = im->c;
    int rc = pg_sync_run(c->data, stage_sql, &c->e);
    rc = rc ? rc
            : pg_sync_copy_in(
                  c->data,
                  "COPY meridian_import (ordinal, external_id, label, text, digest) FROM STDIN",
                  &c->e);
    if (rc) {
        return rc;
    }
    rc = read_files(im);
    if (im->has_bar) {
        (void)fputs("\r\033[K", stderr);
    }
    rc = rc ? rc : check_bad_share(im, share_max);
    if (rc) {
        pg_sync_copy_abort(c->data);
        return rc;
    }
    int64_t rows = 0;
    rc = pg_sync_copy_end(c->data, &rows, &c->e);
    rc = rc ? rc : pg_sync_run(c->data, "ANALYZE meridian_import", &c->e);
    return rc ? rc : apply(im);
}

static int run_transaction(struct import *im, double share_max)
{
    struct cli *c = im->c;
    int rc = pg_sync_begin(c->data, &c->e);
    rc = rc ? rc : stage_and_apply(im, share_max);
    rc = rc == 0 ? pg_sync_commit(c->data, &c->e) : rc;
    if (rc) {
        /* What the rollback answers does not matter: nothing was committed. */
        rc = cli_explain(c->data, rc, &c->e);
        pg_sync_rollback(c->data);
    }
    return rc;
}

/* The words at the end ---------------------------------------------------------------------- */

static void print_bad_rows(const struct import *im)
{
    uint64_t shown = im->bad_count < SHOWN_MAX ? im->bad_count : SHOWN_MAX;
    for (uint64_t i = 0; i < shown; i++) {
        (void)fprintf(stderr, "%s:%llu: %s\n", im->bad[i].file, (unsigned long long)im->bad[i].line,
                      ingest_fault_text(im->bad[i].fault));
    }
    if (im->bad_count > shown) {
        (void)fprintf(stderr, "... and %llu more bad rows (--json lists up to %d)\n",
                      (unsigned long long)(im->bad_count - shown), LISTED_MAX);
    }
}

static void print_json(const struct import *im, bool is_written)
{
    FILE *out = im->c->out;
    (void)fprintf(
        out,
        "{\"market\":\"%s\",\"task\":\"%s\",\"split\":\"%s\",\"written\":%s,\"added\":%lld,"
        "\"changed\":%lld,\"unchanged\":%lld,\"repeated\":%lld,\"bad\":%llu,\"bad_rows\":[",
        im->c->o.market, im->c->o.task, im->c->o.split, is_written ? "true" : "false", im->added,
        im->changed, im->unchanged, im->repeated, (unsigned long long)im->bad_count);
    uint64_t listed = im->bad_count < LISTED_MAX ? im->bad_count : LISTED_MAX;
    for (uint64_t i = 0; i < listed; i++) {
        (void)fprintf(out, "%s{\"file\":", i ? "," : "");
        print_json_text(out, im->bad[i].file);
        (void)fprintf(out, ",\"line\":%llu,\"reason\":\"%s\"}", (unsigned long long)im->bad[i].line,
                      ingest_fault_name(im->bad[i].fault));
    }
    (void)fputs("]}\n", out);
}

static void print_text(const struct import *im)
{
    (void)fprintf(im->c->out, "%s %s %s: %lld added, %lld changed, %lld unchanged, %llu bad\n",
                  im->c->o.market, im->c->o.task, im->c->o.split, im->added, im->changed,
                  im->unchanged, (unsigned long long)im->bad_count);
    if (im->repeated > 0) {
        (void)fprintf(stderr,
                      "%lld rows had an id or text that came again later; the last one counts\n",
                      im->repeated);
    }
}

/* The market is known, and the task is made with its first data. */
static int prepare_place(struct cli *c)
{
    char found[8];
    int rc = cli_control(c);
    rc = rc ? rc
            : QUERY_TEXT(c->control, found, &c->e,
                         "SELECT 1 FROM meridian.market WHERE code = $1 AND removed_at IS NULL",
                         c->o.market);
    if (rc) {
        return rc;
    }
    if (!*found) {
        return err_set(&c->e, ERR_NOTFOUND,
                       "there is no market \"%s\": meridian market set %s --region R --timezone TZ",
                       c->o.market, c->o.market);
    }
    return QUERY_TEXT(c->control, found, &c->e,
                      "SELECT meridian.task_set($1, NULL, $2) WHERE NOT EXISTS (SELECT FROM "
                      "meridian.task WHERE name = $1)",
                      c->o.task, cli_actor());
}

int data_run_import(struct cli *c)
{
    double share_max = 0;
    int rc = data_check_place(c, true);
    if (rc == 0 && !parse_share(c->o.max_bad, &share_max)) {
        rc = cli_usage(c, "--max-bad: \"%s\" is no share (1%% or 0.01)", c->o.max_bad);
    }
    rc = rc ? rc : prepare_place(c);
    rc = rc ? rc : cli_data(c);
    if (rc) {
        return rc;
    }
    struct import im = {.c = c, .started_ms = clock_mono_ms(), .has_bar = cli_is_terminal(stderr)};
    buf_init(&im.batch, BATCH_BYTES + 8 * (size_t)INGEST_TEXT_BYTES_MAX);
    im.bad = mem_new_array(LISTED_MAX, sizeof *im.bad);
    rc = im.bad ? run_transaction(&im, share_max) : err_set(&c->e, ERR_NOMEM, "out of memory");
    if (rc <= 0 && c->o.json) {
        print_json(&im, rc == 0);
    } else if (rc <= 0 && im.bad) {
        print_bad_rows(&im);
    }
    if (rc == 0 && !c->o.json) {
        print_text(&im);
    }
    mem_free(im.bad);
    buf_close(&im.batch);
    return rc;
}
