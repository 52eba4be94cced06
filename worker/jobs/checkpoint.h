/*
 * Checkpoints of a job: its state, stored by time or when the supervisor asks for one, and found
 * again by the next attempt.
 *
 * What a state is, and when it can be taken, is the kind's business; a checkpoint is bytes with the
 * hash of everything that determines the result. One with another hash is never used, one that
 * cannot be read gives way to the one before. Nothing here fails a job: without a checkpoint it
 * only has more to do again.
 */
#ifndef WORKER_JOBS_CHECKPOINT_H
#define WORKER_JOBS_CHECKPOINT_H

#include "common/artifact/artifact.h"
#include "common/base/sha256.h"
#include "worker/jobs/run.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    CHECKPOINT_FOUND_MAX = 2, /* as many as the record keeps */
    CHECKPOINT_INPUTS_MAX = 4096,
};
/* A state above this is not stored: at a hundred megabytes a second it takes ten seconds. */
#define CHECKPOINT_BYTES_MAX ((size_t)1 << 30)

struct checkpoints {
    struct run *run;
    int64_t every_ms; /* 0 = only when asked */
    int64_t next_ms;  /* monotonic; not before */
    uint8_t config[SHA256_BYTES];
    bool has_config;
    bool is_told; /* that it is too large */
    int saved;
};

/* Keeps run. The interval is the spec's checkpoint_s. */
void checkpoints_init(struct checkpoints *c, struct run *run);
/* The hash of what determines the result; without it nothing is saved. */
void checkpoints_set_config(struct checkpoints *c, struct span text);

/* Whether the state should be saved now: it is time, or the supervisor asks. */
bool checkpoints_are_due(const struct checkpoints *c);
/*
 * Stores the state, whose bytes are the parts one after the other (count 0: it is too large), and
 * registers it. inputs: JSON of what the next attempt must read again. What goes wrong is logged;
 * when a newer attempt owns the job, the run is stopped as if cancelled.
 */
void checkpoints_save(struct checkpoints *c, const struct span *parts, size_t count,
                      const char *phase, int64_t step, const char *inputs);

/* One that the record has. */
struct checkpoint {
    int64_t id;
    int32_t attempt;
    uint8_t artifact[SHA256_BYTES];
    uint8_t config[SHA256_BYTES];
    char phase[MESSAGE_PHASE_MAX + 1];
    int64_t step;
    int64_t age_s;
    char inputs[CHECKPOINT_INPUTS_MAX];
};

/* Those of earlier attempts, the newest first; none for a first attempt, or when the record cannot
 * tell. Waits for a server that is away; ERR_CANCELLED. */
MUST_CHECK int checkpoints_find(struct checkpoints *c, struct checkpoint ret[CHECKPOINT_FOUND_MAX],
                                size_t *ret_count, struct err_buf *e);
/*
 * Opens the state of one for reading when it fits (checkpoints_set_config came before). False, and
 * a log line, when it does not or cannot be read; else close the reader.
 */
bool checkpoints_open(struct checkpoints *c, const struct checkpoint *from,
                      struct artifact_reader *reader);
/* The state could not be used after all: a log line. */
void checkpoints_reject(struct checkpoints *c, const struct checkpoint *from, const char *why);
/* The attempt goes on from it: for the record, the log and later progress. */
void checkpoints_resume(struct checkpoints *c, const struct checkpoint *from);

#endif
