/*
 * Brings a database to the state that this program knows.
 *
 * Numbered migrations (migrations/NNNN_name.sql) run once, each in its own transaction with the row
 * of meridian.migration that records it. All other files are repeatable: they are applied together,
 * in one transaction, whenever one of them (or a migration) is new. Two programs at once are safe:
 * the second waits for an advisory lock and then finds nothing to do.
 *
 * Refused, with nothing changed (ERR_INVALID): an applied migration whose file changed, a migration
 * in the database that this program does not know (it is newer), one that would have to run before
 * an applied one. ERR_UNSUPPORTED: a server before PostgreSQL 15.
 */
#ifndef SQL_MIGRATE_H
#define SQL_MIGRATE_H

#include "common/base/err.h"
#include "common/pg/pg_sync.h"
#include "sql/files.h"

#include <stdbool.h>

enum migrate_state {
    MIGRATE_KNOWN = 1, /* applied earlier */
    MIGRATE_APPLIED,   /* applied by this call */
    MIGRATE_PENDING,   /* would be applied (dry run) */
};

struct migrate_step {
    int number;       /* 0 for the repeatable files, which are one step */
    const char *name; /* "0001_tables"; "functions and views" */
    enum migrate_state state;
    const char *applied_at; /* UTC, ISO 8601; "" unless known */
};

/* step is valid during the call. */
typedef void (*migrate_step_cb)(const struct migrate_step *step, void *data);

/* Borrows s, which must not be in a transaction. set NULL = sql_embedded. With is_dry_run nothing
 * is written and nothing waits. on_step (may be NULL) hears of each step once, in order. */
MUST_CHECK int migrate_run(struct pg_sync *s, const struct sql_set *set, bool is_dry_run,
                           migrate_step_cb on_step, void *data, struct err_buf *e);

/* "known", "applied", "pending". Static storage. */
const char *migrate_state_name(enum migrate_state state);

#endif
