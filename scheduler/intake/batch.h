/* The submissions of one read, decoded and checked; owns copies of all their bytes. */
#ifndef SCHEDULER_INTAKE_BATCH_H
#define SCHEDULER_INTAKE_BATCH_H

#include "common/message/message.h"
#include "scheduler/core/core.h"

enum {
    BATCH_MAX = 512,                                        /* entries */
    BATCH_JOBS_MAX = MESSAGE_BULK_JOBS_MAX + BATCH_MAX - 1, /* a bulk, and what came before it */
    BATCH_ENTRY_ID_SIZE = 48,
    /* How long a submission of a newer version is left in the stream for the scheduler that knows
     * it: a rolling upgrade is over by then, or a person looks. */
    BATCH_NEWER_WAIT_MS = 60000
};

/* One entry of the stream: a submission, a bulk of them, or (count 0) what cannot be recorded. */
struct batch_entry {
    char id[BATCH_ENTRY_ID_SIZE]; /* in the stream */
    char reply[MESSAGE_TOKEN_MAX + 1];
    struct uuid message; /* the id that the reply bears */
    bool is_bulk;
    size_t first; /* of the batch's jobs */
    size_t count;
};

/* What became of a job; CORE_STATE_UNKNOWN: nothing is known yet. */
struct batch_outcome {
    enum core_state state;
    const char *reason; /* NULL: none */
    struct core_id kept;
};

struct batch_arena;

struct batch {
    /* read only */
    struct batch_entry *entries;
    size_t entry_count;
    struct core_submission *jobs;
    struct batch_outcome *outcomes; /* one a job */
    size_t count;                   /* of jobs */
    bool has_bulk;
    /* private */
    struct batch_arena *arena;
    struct message_submission *message; /* the one at hand */
    struct buf spec;                    /* the complete one of the job at hand */
    struct err_buf reason;
};

/* Room for BATCH_MAX entries and BATCH_JOBS_MAX jobs; ERR_NOMEM. */
MUST_CHECK int batch_init(struct batch *b);
void batch_close(struct batch *b);
/* Empty again. */
void batch_reset(struct batch *b);

/* Takes a copy of an entry; a message that cannot be read becomes a rejected submission, or an
 * entry without a job, which is logged. ERR_NOMEM, ERR_LIMIT (no room left): not added.
 * ERR_UNSUPPORTED: not added, for it is of a newer version and its entry younger than
 * BATCH_NEWER_WAIT_MS. */
MUST_CHECK int batch_add(struct batch *b, struct span entry, struct span message);
/* The record would not even take this job as it is: leaves only the id, and says why. */
void batch_reduce(struct batch *b, size_t job, const char *why);
/* Notes what became of jobs from..to-1. */
void batch_note(struct batch *b, size_t from, size_t to, const struct core_admitted *rows,
                size_t count);

#endif
