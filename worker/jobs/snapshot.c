/* The hash of a snapshot is sha256 over sha256(external_id NUL label NUL text) of its rows. */
#include "worker/jobs/snapshot.h"

#include "common/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { CHECK_EVERY = 1024 /* rows between two looks at progress and cancel */ };

struct reading {
    struct run *run;
    struct snapshot *snapshot;
    snapshot_visit_fn visit;
    void *data;
    struct sha256 *chain;
    struct buf row; /* what the digest of a row is taken of */
    int64_t rows;
    struct err_buf *e;
};

static int add_markets(const struct snapshot *s, struct buf *out)
{
    return pg_array_add(out, s->markets, s->market_count);
}

static int take(struct pg_sync *db, struct snapshot *s, struct err_buf *e)
{
    struct buf markets;
    struct pg_result *result = NULL;
    buf_init(&markets, 64 * 1024);
    int rc = add_markets(s, &markets);
    if (rc != 0 || !buf_text(&markets)) {
        buf_close(&markets);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    const char *params[] = {markets.data, s->task, s->split, s->wanted ? s->wanted : s->until};
    rc = pg_sync_exec(db,
                      s->wanted
                          ? "SELECT encode(sha256, 'hex'), samples, labels, as_of"
                            " FROM meridian.snapshot WHERE sha256 = decode($4, 'hex')"
                            " AND markets @> $1::text[] AND markets <@ $1::text[]"
                            " AND task = $2 AND split = $3 AND erased_at IS NULL"
                          : "SELECT encode(sha256, 'hex'), samples, labels, as_of"
                            " FROM meridian.snapshot_take($1::text[], $2, $3, $4::timestamptz)",
                      params, 4, &result, e);
    if (rc == 0 && pg_rows(result) == 0) {
        pg_result_free(result);
        rc = err_set(e, ERR_NOTFOUND, "snapshot %.64s cannot be read any more", s->wanted);
    }
    if (rc == 0) {
        (void)snprintf(s->sha256, sizeof s->sha256, "%s", pg_text(result, 0, 0));
        s->samples = pg_integer(result, 0, 1, 0);
        s->labels = pg_integer(result, 0, 2, 0);
        s->as_of = pg_integer(result, 0, 3, 0);
        pg_result_free(result);
    }
    buf_close(&markets);
    return rc;
}

/* Adds the row's digest to the chain. */
static int add_digest(struct reading *r, const struct span values[3])
{
    uint8_t digest[SHA256_BYTES];
    buf_reset(&r->row);
    for (int i = 0; i < 3; i++) {
        if ((i > 0 && buf_add(&r->row, "", 1) != 0) ||
            buf_add(&r->row, values[i].data, values[i].length) != 0) {
            return err_set(r->e, ERR_NOMEM, "out of memory");
        }
    }
    sha256_of(r->row.data, r->row.length, digest);
    sha256_add(r->chain, digest, sizeof digest);
    return 0;
}

/* Whether the row at that place is among limit that are spread evenly over all. */
static bool is_chosen(const struct snapshot *s, int64_t row)
{
    return s->limit <= 0 || s->limit >= s->samples ||
           (row + 1) * s->limit / s->samples > row * s->limit / s->samples;
}

static int look_up(struct reading *r)
{
    if (run_is_cancelled(r->run)) {
        return err_set(r->e, ERR_CANCELLED, "cancelled");
    }
    double all = r->snapshot->samples > 0 ? (double)r->snapshot->samples : 1;
    struct message_progress p = run_progress_of("read", (double)r->rows / all);
    p.step = r->rows;
    p.steps = r->snapshot->samples;
    run_report(r->run, &p);
    return 0;
}

static int on_row(char *line, size_t length, void *data)
{
    struct reading *r = data;
    struct span values[3]; /* external id, label, text */
    int rc = r->rows % CHECK_EVERY == 0 ? look_up(r) : 0;
    if (rc == 0 && pg_copy_split(line, length, values, 3) != 0) {
        rc = err_set(r->e, ERR_CORRUPT, "row %lld of the snapshot cannot be read",
                     (long long)r->rows + 1);
    }
    rc = rc == 0 ? add_digest(r, values) : rc;
    if (rc == 0 && is_chosen(r->snapshot, r->rows)) {
        rc = r->visit(values[1], values[2], r->data, r->e);
        if (rc != 0) {
            (void)err_wrap(r->e, rc, "%s sample %lld of task '%s'", r->snapshot->split,
                           (long long)r->rows + 1, r->snapshot->task);
        }
    }
    r->rows++;
    return rc;
}

static int add_statement(struct pg_sync *db, const struct snapshot *s, struct buf *out)
{
    struct buf markets;
    buf_init(&markets, 64 * 1024);
    int rc = add_markets(s, &markets);
    rc = rc == 0 ? buf_add_text(out, "COPY (SELECT external_id, label, sample FROM "
                                     "meridian.snapshot_rows(")
                 : rc;
    rc = rc == 0 ? pg_sync_add_literal(db, out, buf_span(&markets)) : rc;
    rc = rc == 0 ? buf_add_text(out, "::text[], ") : rc;
    rc = rc == 0 ? pg_sync_add_literal(db, out, span_of(s->task)) : rc;
    rc = rc == 0 ? buf_add_text(out, ", ") : rc;
    rc = rc == 0 ? pg_sync_add_literal(db, out, span_of(s->split)) : rc;
    rc = rc == 0 ? buf_add_format(out, ", %lld)) TO STDOUT", (long long)s->as_of) : rc;
    buf_close(&markets);
    return rc;
}

static int stream(struct pg_sync *db, struct reading *r)
{
    struct buf sql;
    buf_init(&sql, 256 * 1024);
    int rc = add_statement(db, r->snapshot, &sql);
    if (rc != 0 || !buf_text(&sql)) {
        rc = err_set(r->e, ERR_NOMEM, "out of memory");
    } else {
        rc = pg_sync_copy_out(db, sql.data, on_row, r, r->e);
        rc = rc == 0 ? look_up(r) : rc; /* all read: what follows has another pace */
    }
    buf_close(&sql);
    return rc;
}

static int verify(struct reading *r)
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX_SIZE];
    sha256_finish(r->chain, digest);
    if (r->rows != r->snapshot->samples ||
        strcmp(sha256_hex(digest, hex), r->snapshot->sha256) != 0) {
        return err_set(r->e, ERR_CORRUPT,
                       "the %s samples that were read are not those of snapshot %s: %lld rows of "
                       "%lld; samples may have been changed in place",
                       r->snapshot->split, r->snapshot->sha256, (long long)r->rows,
                       (long long)r->snapshot->samples);
    }
    return 0;
}

int snapshot_read(struct run *run, struct snapshot *s, snapshot_visit_fn visit, void *data,
                  struct err_buf *e)
{
    struct pg_sync *db = NULL;
    struct reading r = {.run = run, .snapshot = s, .visit = visit, .data = data, .e = e};
    int rc = databases_data(run->databases, &db, e);
    rc = rc == 0 ? take(db, s, e) : rc;
    if (rc != 0 || s->samples == 0) {
        return rc;
    }
    buf_init(&r.row, 64u << 20);
    r.chain = sha256_new();
    rc = r.chain ? stream(db, &r) : err_set(e, ERR_NOMEM, "out of memory");
    rc = rc == 0 ? verify(&r) : rc;
    sha256_free(r.chain);
    buf_close(&r.row);
    return rc;
}

void snapshot_write(const struct snapshot *s, struct json_writer *w, const char *key)
{
    json_write_map(w, key);
    json_write_text(w, "sha256", span_of(s->sha256));
    json_write_list(w, "markets");
    for (size_t i = 0; i < s->market_count; i++) {
        json_write_text(w, NULL, span_of(s->markets[i]));
    }
    json_write_end(w);
    json_write_text(w, "task", span_of(s->task));
    json_write_text(w, "split", span_of(s->split));
    json_write_integer(w, "as_of", s->as_of);
    json_write_integer(w, "samples", s->samples);
    json_write_integer(w, "labels", s->labels);
    json_write_end(w);
}

int snapshot_is_empty(const struct snapshot *s, struct err_buf *e)
{
    return err_set(e, ERR_DATA,
                   "market '%s'%s has no %s samples for task '%s': import some with meridian data "
                   "import",
                   s->market_count > 0 ? s->markets[0] : "",
                   s->market_count > 1 ? " (and others)" : "", s->split, s->task);
}
