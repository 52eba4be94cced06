/*
 * Rows of text for people (aligned by display width), and CSV for programs.
 *
 * A table owns copies of its cells. Numbers stand to the right, control characters become spaces,
 * a null is empty.
 */
#ifndef OPS_CLI_TABLE_H
#define OPS_CLI_TABLE_H

#include "common/base/err.h"
#include "common/base/span.h"

#include <stdio.h>

struct table;

/* Heap object, or NULL when out of memory. */
struct table *table_new(void);
void table_free(struct table *t);
/* Columns first, then cells row by row. ERR_NOMEM, ERR_LIMIT. */
MUST_CHECK int table_add_column(struct table *t, const char *name);
/* data NULL = null. */
MUST_CHECK int table_add_cell(struct table *t, struct span value);
size_t table_rows(const struct table *t);
/* Makes the table at most width columns wide, where it can: cells of sentences are cut (with an
 * ellipsis), then columns at the right are left out. Returns the number of columns left out. */
size_t table_fit(struct table *t, size_t width);
/* The name of a column, counted from the left; those that are left out come last. */
struct span table_column_name(const struct table *t, size_t column);
size_t table_columns(const struct table *t);
void table_print(const struct table *t, FILE *out);

/* PostgreSQL's "2026-11-23 20:29:00.123456+00" without fraction and zone; other values as they are.
 */
struct span table_shorten(struct span v);

/* One field after RFC 4180: quoted when it holds a comma, a quote or a line break. */
void csv_print_field(FILE *out, struct span value, bool is_first);
void csv_end_row(FILE *out);

#endif
