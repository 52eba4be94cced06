/*
 * The lock is a session's, not a transaction's, because every migration commits on its own; it ends
 * with the connection, so a killed migrate holds up nobody.
 */
#include "sql/migrate.h"

#include "common/base/sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCK_KEY "7236833" /* "nig"; any number that nobody else in the database uses */
#define REPEATABLE_NAME "functions and views"

enum { NAME_SIZE = 128, PG_VERSION_MIN = 150000 };

struct run {
    struct pg_sync *s;
    const struct sql_set *set;
    bool is_dry_run;
    migrate_step_cb on_step;
    void *data;
    struct pg_result
        *applied;     /* rows number, name, sha256, applied_at; NULL before the first run */
    bool has_changed; /* a migration was, or would be, applied */
};

/* The number of "migrations/0002_name.sql", or 0 for a repeatable file. */
static int number_of(const struct sql_file *file)
{
    static const char folder[] = "migrations/";
    if (strncmp(file->path, folder, sizeof folder - 1) != 0) {
        return 0;
    }
    return (int)strtol(file->path + sizeof folder - 1, NULL, 10);
}

/* "0002_name". */
static void name_of(const struct sql_file *file, char out[NAME_SIZE])
{
    const char *slash = strrchr(file->path, '/');
    const char *base = slash ? slash + 1 : file->path;
    size_t length = strcspn(base, ".");
    (void)snprintf(out, NAME_SIZE, "%.*s", (int)length, base);
}

/* The row of that number in what was applied, or -1. */
static long find_applied(const struct run *r, int number)
{
    size_t rows = r->applied ? pg_rows(r->applied) : 0;
    for (size_t i = 0; i < rows; i++) {
        if (pg_integer(r->applied, i, 0, -1) == number) {
            return (long)i;
        }
    }
    return -1;
}

static void tell(const struct run *r, int number, const char *name, enum migrate_state state,
                 const char *applied_at)
{
    struct migrate_step step = {
        .number = number, .name = name, .state = state, .applied_at = applied_at};
    if (r->on_step) {
        r->on_step(&step, r->data);
    }
}

/* --- what was applied ------------------------------------------------------------------------ */

static int make_table(struct run *r, struct err_buf *e)
{
    return pg_sync_run(r->s,
                       "SET client_min_messages = warning;"
                       "CREATE SCHEMA IF NOT EXISTS meridian;"
                       "CREATE TABLE IF NOT EXISTS meridian.migration ("
                       " number integer PRIMARY KEY CHECK (number >= 0),"
                       " name text NOT NULL,"
                       " sha256 bytea NOT NULL CHECK (length(sha256) = 32),"
                       " applied_at timestamptz NOT NULL DEFAULT now(),"
                       " by text NOT NULL DEFAULT current_user);",
                       e);
}

static int load_applied(struct run *r, struct err_buf *e)
{
    struct pg_result *exists = NULL;
    int rc = pg_sync_exec(r->s, "SELECT to_regclass('meridian.migration') IS NOT NULL", NULL, 0,
                          &exists, e);
    if (rc < 0) {
        return rc;
    }
    bool has_table = pg_bool(exists, 0, 0);
    pg_result_free(exists);
    if (!has_table) {
        return 0;
    }
    return pg_sync_exec(r->s,
                        "SELECT number, name, encode(sha256, 'hex'),"
                        " to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
                        " FROM meridian.migration ORDER BY number",
                        NULL, 0, &r->applied, e);
}

static const struct sql_file *find_file(const struct sql_set *set, int64_t number)
{
    for (size_t i = 0; i < set->count; i++) {
        if (number_of(&set->files[i]) == number) {
            return &set->files[i];
        }
    }
    return NULL;
}

/* Every applied migration must be known and unchanged. */
static int check_applied(const struct run *r, int64_t *ret_newest, struct err_buf *e)
{
    size_t rows = r->applied ? pg_rows(r->applied) : 0;
    for (size_t i = 0; i < rows; i++) {
        int64_t number = pg_integer(r->applied, i, 0, 0);
        if (number == 0) {
            continue;
        }
        const struct sql_file *file = find_file(r->set, number);
        if (!file) {
            return err_set(e, ERR_INVALID,
                           "the database has migration \"%s\", which this program does not know: "
                           "it is older than the database; use the newer program",
                           pg_text(r->applied, i, 1));
        }
        if (strcmp(file->sha256, pg_text(r->applied, i, 2)) != 0) {
            return err_set(e, ERR_INVALID,
                           "migration \"%s\" was changed after it was applied: restore the file, "
                           "and put the change into a new migration",
                           pg_text(r->applied, i, 1));
        }
        *ret_newest = number;
    }
    return 0;
}

static int check_order(const struct run *r, int64_t newest, struct err_buf *e)
{
    int last = 0;
    for (size_t i = 0; i < r->set->count; i++) {
        int number = number_of(&r->set->files[i]);
        if (number == 0) {
            continue;
        }
        if (number <= last) {
            return err_set(e, ERR_INVALID, "\"%s\": its number is taken", r->set->files[i].path);
        }
        if (number < newest && find_applied(r, number) < 0) {
            return err_set(e, ERR_INVALID,
                           "\"%s\" comes before migration %lld, which is applied already: give it "
                           "the next free number",
                           r->set->files[i].path, (long long)newest);
        }
        last = number;
    }
    return 0;
}

/* --- applying -------------------------------------------------------------------------------- */

static int record(struct run *r, int number, const char *name, const char *sha256,
                  struct err_buf *e)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%d", number);
    return PG_SYNC_EXEC(r->s, NULL, e,
                        "INSERT INTO meridian.migration (number, name, sha256)"
                        " VALUES ($1::integer, $2, decode($3, 'hex'))"
                        " ON CONFLICT (number) DO UPDATE SET sha256 = excluded.sha256,"
                        " applied_at = excluded.applied_at, by = excluded.by",
                        text, name, sha256);
}

static int run_file(struct run *r, const struct sql_file *file, struct err_buf *e)
{
    int rc = pg_sync_run(r->s, file->text, e);
    return rc < 0 ? err_wrap(e, rc, "sql/%s", file->path) : 0;
}

static int apply_migration(struct run *r, const struct sql_file *file, const char *name,
                           struct err_buf *e)
{
    int rc = pg_sync_begin(r->s, e);
    if (rc < 0) {
        return rc;
    }
    rc = run_file(r, file, e);
    if (rc == 0) {
        rc = record(r, number_of(file), name, file->sha256, e);
    }
    if (rc == 0) {
        rc = pg_sync_commit(r->s, e);
    }
    if (rc < 0) {
        pg_sync_rollback(r->s);
    }
    return rc;
}

static int apply_migrations(struct run *r, struct err_buf *e)
{
    for (size_t i = 0; i < r->set->count; i++) {
        const struct sql_file *file = &r->set->files[i];
        int number = number_of(file);
        if (number == 0) {
            continue;
        }
        char name[NAME_SIZE];
        name_of(file, name);
        long row = find_applied(r, number);
        if (row >= 0) {
            tell(r, number, name, MIGRATE_KNOWN, pg_text(r->applied, (size_t)row, 3));
            continue;
        }
        r->has_changed = true;
        if (!r->is_dry_run) {
            int rc = apply_migration(r, file, name, e);
            if (rc < 0) {
                return rc;
            }
        }
        tell(r, number, name, r->is_dry_run ? MIGRATE_PENDING : MIGRATE_APPLIED, "");
    }
    return 0;
}

/* One hash over the paths and hashes of all repeatable files. */
static int hash_repeatable(const struct sql_set *set, char out[SHA256_HEX_SIZE])
{
    struct sha256 *sum = sha256_new();
    if (!sum) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < set->count; i++) {
        const struct sql_file *file = &set->files[i];
        if (number_of(file) == 0) {
            sha256_add(sum, file->path, strlen(file->path) + 1);
            sha256_add(sum, file->sha256, strlen(file->sha256));
        }
    }
    uint8_t digest[SHA256_BYTES];
    sha256_finish(sum, digest);
    sha256_free(sum);
    (void)sha256_hex(digest, out);
    return 0;
}

static int run_repeatable(struct run *r, const char *sha256, struct err_buf *e)
{
    int rc = pg_sync_begin(r->s, e);
    for (size_t i = 0; rc == 0 && i < r->set->count; i++) {
        if (number_of(&r->set->files[i]) == 0) {
            rc = run_file(r, &r->set->files[i], e);
        }
    }
    if (rc == 0) {
        rc = record(r, 0, REPEATABLE_NAME, sha256, e);
    }
    if (rc == 0) {
        rc = pg_sync_commit(r->s, e);
    }
    if (rc < 0) {
        pg_sync_rollback(r->s);
    }
    return rc;
}

static int apply_repeatable(struct run *r, struct err_buf *e)
{
    char sha256[SHA256_HEX_SIZE];
    int rc = hash_repeatable(r->set, sha256);
    if (rc < 0) {
        return err_set(e, rc, "out of memory");
    }
    long row = find_applied(r, 0);
    if (row >= 0 && !r->has_changed && strcmp(pg_text(r->applied, (size_t)row, 2), sha256) == 0) {
        tell(r, 0, REPEATABLE_NAME, MIGRATE_KNOWN, pg_text(r->applied, (size_t)row, 3));
        return 0;
    }
    if (!r->is_dry_run) {
        rc = run_repeatable(r, sha256, e);
        if (rc < 0) {
            return rc;
        }
    }
    tell(r, 0, REPEATABLE_NAME, r->is_dry_run ? MIGRATE_PENDING : MIGRATE_APPLIED, "");
    return 0;
}

/* --- public ---------------------------------------------------------------------------------- */

static int run_locked(struct run *r, struct err_buf *e)
{
    int rc = r->is_dry_run ? 0 : make_table(r, e);
    int64_t newest = 0;
    if (rc == 0) {
        rc = load_applied(r, e);
    }
    if (rc == 0) {
        rc = check_applied(r, &newest, e);
    }
    if (rc == 0) {
        rc = check_order(r, newest, e);
    }
    if (rc == 0) {
        rc = apply_migrations(r, e);
    }
    if (rc == 0) {
        rc = apply_repeatable(r, e);
    }
    pg_result_free(r->applied);
    r->applied = NULL;
    return rc;
}

int migrate_run(struct pg_sync *s, const struct sql_set *set, bool is_dry_run,
                migrate_step_cb on_step, void *data, struct err_buf *e)
{
    struct run r = {.s = s,
                    .set = set ? set : &sql_embedded,
                    .is_dry_run = is_dry_run,
                    .on_step = on_step,
                    .data = data};
    int version = pg_sync_version(s);
    if (version < PG_VERSION_MIN) {
        return err_set(e, ERR_UNSUPPORTED, "PostgreSQL %d is too old: 15 or newer is needed",
                       version / 10000);
    }
    if (is_dry_run) {
        return run_locked(&r, e);
    }
    int rc = pg_sync_exec(s, "SELECT pg_advisory_lock(" LOCK_KEY ")", NULL, 0, NULL, e);
    if (rc < 0) {
        return rc;
    }
    rc = run_locked(&r, e);
    struct err_buf ignored;
    /* A failure here means the connection is gone, and the lock with it. */
    (void)!pg_sync_exec(s, "SELECT pg_advisory_unlock(" LOCK_KEY ")", NULL, 0, NULL, &ignored);
    return rc;
}

const char *migrate_state_name(enum migrate_state state)
{
    switch (state) {
    case MIGRATE_KNOWN:
        return "known";
    case MIGRATE_APPLIED:
        return "applied";
    case MIGRATE_PENDING:
        return "pending";
    }
    return "unknown";
}
