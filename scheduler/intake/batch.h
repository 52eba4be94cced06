/* The submissions of one read, decoded and checked; owns copies of all their bytes. */
#ifndef SCHEDULER_INTAKE_BATCH_H
#define SCHEDULER_INTAKE_BATCH_H

#include "common/base/buf.h"
#include "common/message/message.h"
#include "scheduler/core/core.h"

enum { BATCH_MAX = 512, BATCH_ENTRY_ID_SIZE = 48 };

struct batch_item {
    char entry[BATCH_ENTRY_ID_SIZE]; /* in the stream */
    bool is_recordable;              /* it has an id: else it can only be dropped */
    char reply[MESSAGE_TOKEN_MAX + 1];
    struct core_submission submission;
    /* private */
    char *bytes; /* of the message */
    struct message_submission *message;
    struct core_id *after;
    struct buf spec;
    struct err_buf reason;
};

struct batch {
    struct batch_item *items;
    size_t count;
};

/* Room for BATCH_MAX items; ERR_NOMEM. */
MUST_CHECK int batch_init(struct batch *b);
void batch_close(struct batch *b);
/* How long a submission of a newer version is left in the stream for the scheduler that knows it: a
 * rolling upgrade is over by then, or a person looks. */
enum { BATCH_NEWER_WAIT_MS = 60000 };

/* Takes a copy of an entry; a message that cannot be read becomes a rejected submission, or one
 * that is not recordable. ERR_NOMEM, ERR_LIMIT: not added. ERR_UNSUPPORTED: not added, for it is of
 * a newer version and its entry younger than BATCH_NEWER_WAIT_MS. */
MUST_CHECK int batch_add(struct batch *b, struct span entry, struct span message);
/* The record would not even take it as it is: leaves only the id, and says why. */
void batch_reduce(struct batch_item *item, const char *why);

#endif
