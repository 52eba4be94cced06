/*
 * Reading a snapshot of samples from the region's data database: taken, streamed, verified.
 *
 * One row is in memory at a time. The hash of the snapshot is recomputed from the very bytes that
 * are given to the reader; if it differs, the read fails with ERR_CORRUPT and nothing that was
 * read may be used.
 */
#ifndef WORKER_JOBS_SNAPSHOT_H
#define WORKER_JOBS_SNAPSHOT_H

#include "common/base/sha256.h"
#include "common/base/span.h"
#include "common/json/json.h"
#include "worker/jobs/run.h"

#include <stdint.h>

enum { SNAPSHOT_MARKETS_MAX = 256 };

/* What to read, and afterwards what was read. */
struct snapshot {
    /* set by the caller, kept */
    const char *const *markets;
    size_t market_count;
    const char *task;
    const char *split;
    int64_t limit;      /* at most so many samples, spread evenly over all; 0 = all */
    const char *until;  /* only what was imported before, as spec.as_of; NULL: all */
    const char *wanted; /* this one, by its hash, instead of a new one; NULL = a new one */
    /* read only */
    char sha256[SHA256_HEX_SIZE];
    int64_t as_of;
    int64_t samples; /* of the snapshot, whatever limit says; 0: there are none */
    int64_t labels;
};

/* Gets each sample; label and text are borrowed. Other than 0 ends the read and is returned. */
typedef int (*snapshot_visit_fn)(struct span label, struct span text, void *data,
                                 struct err_buf *e);

/* Takes the snapshot and gives its samples to visit, in its order. ERR_CORRUPT, ERR_CANCELLED,
 * ERR_UNREACHABLE (may be repeated from the start), ERR_NOTFOUND when the wanted one cannot be read
 * any more, or what visit said. No samples is no error. */
MUST_CHECK int snapshot_read(struct run *run, struct snapshot *s, snapshot_visit_fn visit,
                             void *data, struct err_buf *e);

/* The object that the record's functions read. */
void snapshot_write(const struct snapshot *s, struct json_writer *w, const char *key);

/* ERR_DATA: "market 'x' has no train samples for task 'y': import some with meridian data import"
 */
int snapshot_is_empty(const struct snapshot *s, struct err_buf *e);

#endif
