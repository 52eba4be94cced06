/* What the files of the store share. */
#ifndef SCHEDULER_STORE_STORE_INT_H
#define SCHEDULER_STORE_STORE_INT_H

#include "common/base/buf.h"
#include "common/pg/result.h"
#include "scheduler/store/store.h"

enum { STORE_GAPS_MAX = 512 };

enum store_call_kind {
    STORE_CALL_RECORDS = 1, /* the answer is rows of job_mirror */
    STORE_CALL_ADMIT,
    STORE_CALL_CHANGES,
    STORE_CALL_CURSOR,
    STORE_CALL_WORLD,
    STORE_CALL_SWEEP,
    STORE_CALL_PLAN,
    STORE_CALL_TAKE,
    STORE_CALL_RECALL,
    STORE_CALL_NOTHING /* the answer says that it was done */
};

/* Follows the event table: the newest id seen, and ids below it that were not there yet. */
struct store_feed {
    int64_t after;
    struct {
        int64_t id;
        int64_t since_ms;
    } gaps[STORE_GAPS_MAX];
    size_t gap_count;
};

/* Takes note of all ids from first to last; those of one answer come in rising order. */
void store__feed_saw(struct store_feed *f, int64_t first, int64_t last, int64_t now_ms);
/* Forgets gaps that were rolled back for certain. */
void store__feed_expire(struct store_feed *f, int64_t now_ms);

/* --- decoding: rows borrow from the result ------------------------------------------------------
 */

struct store_rows {
    struct core_record *records;
    size_t count;
    struct core_need *needs; /* of all records */
};

/* Rows without an id (a change that names no job) are left out. ERR_NOMEM; ERR_PARSE for a row that
 * the scheduler cannot read. Free with store__rows_close. */
MUST_CHECK int store__rows_init(struct store_rows *rows, const struct pg_result *r);
void store__rows_close(struct store_rows *rows);

struct store_taken {
    struct core_submission *jobs;
    size_t count;
    struct core_id *after; /* of all jobs */
};

/* Rows of scheduler_take. ERR_NOMEM, ERR_PARSE. Free with store__taken_close. */
MUST_CHECK int store__taken_init(struct store_taken *t, const struct pg_result *r);
void store__taken_close(struct store_taken *t);

/* --- encoding ------------------------------------------------------------------------------------
 */

MUST_CHECK int store__write_submissions(struct buf *out, const struct core_submission *jobs,
                                        size_t count);
/* Whether two plain jobs (store.c) differ in id and spec only. */
bool store__is_alike(const struct core_submission *a, const struct core_submission *b);
enum { STORE_ALIKE_PARTS = 3 };
/* What such jobs have in common, their ids, and their specs, or the one that all have. */
MUST_CHECK int store__write_alike(struct buf parts[STORE_ALIKE_PARTS],
                                  const struct core_submission *jobs, size_t count);
MUST_CHECK int store__write_ends(struct buf *out, const struct core_end *ends, size_t count);
MUST_CHECK int store__write_skips(struct buf *out, const struct core_skip *skips, size_t count);
/* Ids, numbers, regions, workers, incarnations: an array a part. parts are initialised whatever is
 * returned; close each. */
enum { STORE_DISPATCH_PARTS = 5 };
MUST_CHECK int store__write_dispatches(struct buf parts[STORE_DISPATCH_PARTS],
                                       const struct core_dispatch *jobs, size_t count);
MUST_CHECK int store__write_kept(struct buf *out, const struct core_kept *kept);
/* Ids, numbers, workers, peak memory, run times, results; as above. */
enum { STORE_FINISH_PARTS = 6 };
MUST_CHECK int store__write_results(struct buf parts[STORE_FINISH_PARTS],
                                    const struct core_result *results, size_t count);
/* "{id,id}" */
MUST_CHECK int store__write_ids(struct buf *out, const struct core_id *ids, size_t count);

#endif
