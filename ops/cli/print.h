/* Rows of a query, printed the way the flags ask for: table, CSV or JSON. */
#ifndef OPS_CLI_PRINT_H
#define OPS_CLI_PRINT_H

#include "ops/cli/cli.h"

/* Runs sql on s and prints its rows; JSON is an array of objects with the types of the columns.
 * With no rows a table prints empty (a sentence, may be NULL) to standard error instead. */
MUST_CHECK int print_query(struct cli *c, struct pg_sync *s, const char *sql,
                           const char *const *params, size_t count, const char *empty);
#define PRINT_QUERY(c, s, empty, sql, ...)                                                         \
    print_query((c), (s), (sql), (const char *const[]){__VA_ARGS__},                               \
                sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *), (empty))

/* The first row as "name: value" lines, or one JSON object. ERR_NOTFOUND (e untouched) without one.
 */
MUST_CHECK int print_record(struct cli *c, struct pg_sync *s, const char *sql,
                            const char *const *params, size_t count);
#define PRINT_RECORD(c, s, sql, ...)                                                               \
    print_record((c), (s), (sql), (const char *const[]){__VA_ARGS__},                              \
                 sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* A title and the rows of a statement with one parameter; nothing when there are no rows. */
MUST_CHECK int print_section(struct cli *c, const char *title, const char *sql, const char *param);

/* A statement whose single row and column is wanted: into out (NUL-terminated, cut to size; empty
 * for null or no row). */
MUST_CHECK int query_text(struct pg_sync *s, const char *sql, const char *const *params,
                          size_t count, char *out, size_t size, struct err_buf *e);
#define QUERY_TEXT(s, out, e, sql, ...)                                                            \
    query_text((s), (sql), (const char *const[]){__VA_ARGS__},                                     \
               sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *), (out),           \
               sizeof(out), (e))

/* A text as a JSON string. */
void print_json_text(FILE *out, const char *text);

#endif
