/* Shared by the two clients of this folder. */
#ifndef COMMON_PG_PG_INT_H
#define COMMON_PG_PG_INT_H

#include "common/pg/result.h"

#include <libpq-fe.h>

/* A view of a libpq result; pg_sync's are heap objects that own it, pg's live in the callback. */
struct pg_result {
    PGresult *pg;
};

/* Fills error from a failed result (may be NULL: then from the connection's last message). Returns
 * the code. */
int pg__error_of(struct pg_error *error, const PGresult *result, const PGconn *connection);
/* One line of a libpq message: no newline, no "FATAL:", no passwords (libpq never shows any). */
void pg__copy_line(char *out, size_t size, const char *message);
/* Drops NOTICEs into the debug log without their data. */
void pg__notice(void *data, const PGresult *result);

#endif
