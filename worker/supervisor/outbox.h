/*
 * Results that are not yet known to be recorded. Each stays, and is sent again and again, until
 * PostgreSQL says that its attempt is closed: Redis may lose any message.
 */
#ifndef WORKER_SUPERVISOR_OUTBOX_H
#define WORKER_SUPERVISOR_OUTBOX_H

#include "common/base/err.h"
#include "common/base/span.h"
#include "common/base/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct outbox_item {
    struct uuid job;
    int32_t attempt;
    char *bytes; /* the encoded report; owned */
    size_t length;
    int64_t sent_ms; /* last XADD; 0 = never */
    int64_t left_ms; /* last left in the record; 0 = never */
    int64_t added_ms;
    int64_t began_ms; /* when the job began, or ended without having begun */
    uint32_t next;    /* private */
};

struct outbox {
    /* read only */
    struct outbox_item *items; /* [count] */
    size_t count;
    /* private */
    size_t room;      /* a power of two, or 0 */
    uint32_t *chains; /* [room]: places in items, or UINT32_MAX */
    size_t max;
};

void outbox_init(struct outbox *o, size_t max);
void outbox_close(struct outbox *o);
/* Copies bytes. A result for the same attempt is replaced. ERR_LIMIT, ERR_NOMEM. */
MUST_CHECK int outbox_add(struct outbox *o, const struct uuid *job, int32_t attempt,
                          int64_t began_ms, struct span bytes);
/* The item of that attempt, or NULL; valid until the next change. */
struct outbox_item *outbox_find(struct outbox *o, const char *job, int32_t attempt);
/* Forgets it; fine when it is not there. */
void outbox_remove(struct outbox *o, const char *job, int32_t attempt);
#endif
