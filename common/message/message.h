/*
 * The messages between client, scheduler, supervisor and runner, as structs.
 *
 * In Redis a message is a MessagePack map in the field "m" of a stream entry (or the payload of a
 * list or channel) with its version under "v": the lowest whose readers understand it, so that a
 * message without anything new is read by the previous release too. Decoding accepts unknown keys,
 * this version and the previous one, refuses a newer with ERR_UNSUPPORTED that names it, and
 * otherwise ERR_PARSE that names the field. Nothing read here is trusted beyond its shape:
 * PostgreSQL decides.
 *
 * Decoded struct span members borrow the input; names are copied and NUL-terminated ("" = absent).
 * For encoding, a span with data NULL is absent. Every encode adds to out and, on failure
 * (ERR_LIMIT, ERR_NOMEM, ERR_INVALID for a member that decoding would refuse), adds nothing.
 */
#ifndef COMMON_MESSAGE_MESSAGE_H
#define COMMON_MESSAGE_MESSAGE_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/base/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MESSAGE_VERSION = 3, /* 2: conditions and quorums of after, unique policies; 3: bulks */
    MESSAGE_KIND_MAX = 32,
    MESSAGE_MARKET_MAX = 32, /* as in SQL */
    MESSAGE_TASK_MAX = 64,
    MESSAGE_REGION_MAX = 32,
    MESSAGE_WORKER_MAX = 128,
    MESSAGE_USER_MAX = 128,
    MESSAGE_UNIQUE_MAX = 256,
    MESSAGE_TOKEN_MAX = 64,
    MESSAGE_STATE_MAX = 32,
    MESSAGE_CODE_MAX = 32,   /* an error code's name */
    MESSAGE_ERROR_MAX = 511, /* fits struct err_buf */
    MESSAGE_PHASE_MAX = 32,
    MESSAGE_LINE_MAX = 1024, /* a log line */
    MESSAGE_TAIL_MAX = 8192, /* the last log lines of an attempt */
    MESSAGE_AFTER_MAX = 256, /* dependencies of one job */
    MESSAGE_NIGHT_MAX = 10,  /* 2026-11-23 */
    MESSAGE_SPEC_MAX = 64 * 1024,
    MESSAGE_SUBMISSION_MAX = 128 * 1024, /* all of it: far above what its fields may take */
    MESSAGE_BULK_JOBS_MAX = 1000,        /* a commit of some 20 ms */
    MESSAGE_BULK_MAX = 1024 * 1024,      /* also of what it stands for, repeated jobs written out */
    MESSAGE_RESULT_MAX = 32 * 1024 * 1024,
    MESSAGE_FRAME_MAX = 64 * 1024 * 1024,
};
#define MESSAGE_TIME_MAX INT64_C(253402300799999) /* ms: the end of the year 9999 */

/* --- client -> scheduler --------------------------------------------------------------------- */

/* What a submission wants done when an open job has its unique key. */
enum message_policy {
    MESSAGE_POLICY_REJECT = 1, /* be rejected; also when absent */
    MESSAGE_POLICY_KEEP,       /* be answered with that job */
    MESSAGE_POLICY_REPLACE,    /* supersede it, unless it runs */
    MESSAGE_POLICY_COUNT
};

/* "reject"...; "" for 0. Static storage. */
const char *message_policy_name(enum message_policy policy);
/* 0 for a name outside the list. */
enum message_policy message_policy_from_name(const char *name);

struct message_submission {
    struct uuid id; /* made by the client: sending it again is harmless */
    char kind[MESSAGE_KIND_MAX + 1];
    char market[MESSAGE_MARKET_MAX + 1];
    char task[MESSAGE_TASK_MAX + 1];
    struct span spec; /* JSON; absent = {} */
    bool has_priority;
    int32_t priority; /* -1000..1000 */
    size_t after_count;
    struct uuid after[MESSAGE_AFTER_MAX];
    /* Version 2: a letter for each of after: o = when it succeeded, n = when it did not, a = when
     * it ended; "" = all o. */
    char after_if[MESSAGE_AFTER_MAX + 1];
    int32_t after_quorum; /* version 2: how many of them must be met; 0 = all */
    bool has_not_before;
    int64_t not_before_ms; /* wall clock */
    char unique[MESSAGE_UNIQUE_MAX + 1];
    enum message_policy unique_policy; /* version 2; 0 = absent */
    int32_t max_attempts;              /* 1..100; 0 = the kind's default */
    char by[MESSAGE_USER_MAX + 1];
    char reply[MESSAGE_TOKEN_MAX + 1]; /* who waits at {prefix}:reply:TOKEN */
};

/* Also on failure ret->id and ret->reply are set when they could be read (else ""), so that the
 * rejection can be recorded and answered. */
MUST_CHECK int message_decode_submission(struct span bytes, struct message_submission *ret,
                                         struct err_buf *e);
/* The id of a submission of which only the beginning is at hand; "" when it is not in there. */
struct uuid message_submission_id(struct span beginning);
MUST_CHECK int message_encode_submission(const struct message_submission *m, struct buf *out,
                                         struct err_buf *e);

/* Values of a message that are read one by one. Borrowed. */
struct message_list {
    struct span bytes;
    size_t count;
};

/*
 * Many submissions as one message (version 3), in the same stream as single ones:
 *
 *     {v: 3, id, by, reply, repeat: N, jobs: [{kind, market, spec...}, ...]}
 *
 * Each element of jobs is a submission without v, by and reply. One that names no id of its own has
 * message_bulk_job_id of its place. With repeat there is one element, and it stands for N jobs.
 */
struct message_bulk {
    struct uuid id; /* of the message, and of no job: only its rejection as a whole bears it */
    char by[MESSAGE_USER_MAX + 1];
    char reply[MESSAGE_TOKEN_MAX + 1];
    int32_t repeat; /* 0 = not repeated */
    struct message_list jobs;
};

/* Adds a submission (its id may be ""; by and reply are not looked at) to what becomes jobs.bytes;
 * the caller counts. */
MUST_CHECK int message_bulk_add(const struct message_submission *m, struct buf *jobs,
                                struct err_buf *e);
MUST_CHECK int message_encode_bulk(const struct message_bulk *m, struct buf *out,
                                   struct err_buf *e);
/* ERR_NOTFOUND: it is no bulk, but some other message. Otherwise as message_decode_submission, id
 * and reply included: then all of it is refused. */
MUST_CHECK int message_decode_bulk(struct span bytes, struct message_bulk *ret, struct err_buf *e);
/* How many jobs it stands for. */
size_t message_bulk_count(const struct message_bulk *m);
/* The id of the job at that place (from 0) unless it has its own: the number behind the bulk's. */
struct uuid message_bulk_job_id(const struct uuid *bulk, size_t place);
/* The next element of jobs, which moves on, with by of the bulk; its id "" when it names none.
 * ERR_NOTFOUND at the end. ERR_PARSE: this one is refused, ret->id set when it could be read. */
MUST_CHECK int message_bulk_next(struct message_bulk *m, struct message_submission *ret,
                                 struct err_buf *e);

struct message_reply {
    struct uuid id;
    struct uuid job; /* the job that has the key, when the submission was to keep it; "" = none */
    char state[MESSAGE_STATE_MAX + 1]; /* the job's state, "rejected" included */
    struct span reason;
};

MUST_CHECK int message_decode_reply(struct span bytes, struct message_reply *ret,
                                    struct err_buf *e);
MUST_CHECK int message_encode_reply(const struct message_reply *m, struct buf *out,
                                    struct err_buf *e);

/* What became of the job at a place of a bulk. */
struct message_outcome_at {
    int32_t place;
    struct uuid job; /* as in message_reply */
    char state[MESSAGE_STATE_MAX + 1];
    struct span reason;
};

/* The answer to a bulk; one that refuses the whole bulk is a message_reply with its id. */
struct message_bulk_reply {
    struct uuid id;
    char state[MESSAGE_STATE_MAX + 1]; /* of every job that is not among others */
    struct span reason;
    struct message_list others;
};

MUST_CHECK int message_bulk_reply_add(const struct message_outcome_at *m, struct buf *others,
                                      struct err_buf *e);
MUST_CHECK int message_encode_bulk_reply(const struct message_bulk_reply *m, struct buf *out,
                                         struct err_buf *e);
MUST_CHECK int message_decode_bulk_reply(struct span bytes, struct message_bulk_reply *ret,
                                         struct err_buf *e);
/* As message_bulk_next, of others. */
MUST_CHECK int message_bulk_reply_next(struct message_bulk_reply *m, struct message_outcome_at *ret,
                                       struct err_buf *e);

/* --- scheduler -> supervisor ----------------------------------------------------------------- */

struct message_ready {
    struct uuid job;
    int32_t attempt; /* the fencing epoch, from 1 */
    char kind[MESSAGE_KIND_MAX + 1];
    char market[MESSAGE_MARKET_MAX + 1];
    char task[MESSAGE_TASK_MAX + 1];
    char region[MESSAGE_REGION_MAX + 1];
    struct span spec;
    int32_t memory_mb;
    int32_t time_limit_s;
    int32_t threads;
    char night[MESSAGE_NIGHT_MAX + 1];
    struct uuid incarnation; /* of the supervisor that it is for; absent in the pipe */
    int64_t worker_mono_ms;  /* that supervisor's clock, not younger than the assignment */
};

/* Also when the version is newer, ret->job and ret->attempt are set if they could be read (else ""
 * and 0), so that the attempt can be handed back. */
MUST_CHECK int message_decode_ready(struct span bytes, struct message_ready *ret,
                                    struct err_buf *e);
MUST_CHECK int message_encode_ready(const struct message_ready *m, struct buf *out,
                                    struct err_buf *e);

/* --- supervisor -> scheduler ----------------------------------------------------------------- */

enum message_report_type {
    MESSAGE_HELLO = 1,
    MESSAGE_BEAT,
    MESSAGE_BYE,
    MESSAGE_RESULT,
    MESSAGE_REPORT_COUNT
};

enum message_outcome {
    MESSAGE_SUCCEEDED = 1,
    MESSAGE_FAILED,    /* the job said so: error_code, error_text */
    MESSAGE_CRASHED,   /* the runner died: exit_code or signal */
    MESSAGE_RETURNED,  /* handed back unfinished (drain): not charged */
    MESSAGE_CANCELLED, /* stopped because it was asked to */
    MESSAGE_OUTCOME_COUNT
};

/* "succeeded"...: as in SQL. Static storage. */
const char *message_outcome_name(enum message_outcome outcome);

struct message_result {
    struct uuid job;
    int32_t attempt;
    enum message_outcome outcome;
    char error_code[MESSAGE_CODE_MAX + 1]; /* err_name of the cause, "" when none */
    struct span error_text;                /* up to MESSAGE_ERROR_MAX bytes */
    bool has_exit_code;
    int32_t exit_code;
    int32_t signal; /* 0 = none */
    int64_t peak_rss_kb;
    int64_t run_ms;       /* how long it ran; -1 = it never did, or nobody says */
    struct span result;   /* JSON; absent unless succeeded */
    struct span log_tail; /* the runner's last lines, its own words; absent when it succeeded */
};

struct message_report {
    enum message_report_type type;
    char worker[MESSAGE_WORKER_MAX + 1];
    struct uuid incarnation;
    /* hello, beat, bye */
    char region[MESSAGE_REGION_MAX + 1];
    int32_t slots;
    int32_t free;
    /* result */
    struct message_result result;
};

MUST_CHECK int message_decode_report(struct span bytes, struct message_report *ret,
                                     struct err_buf *e);
MUST_CHECK int message_encode_report(const struct message_report *m, struct buf *out,
                                     struct err_buf *e);

/* --- supervisor -> watchers ------------------------------------------------------------------ */

struct message_progress {
    struct uuid job; /* job, attempt, worker, market, task and kind are absent in the pipe */
    int32_t attempt;
    char worker[MESSAGE_WORKER_MAX + 1];
    char market[MESSAGE_MARKET_MAX + 1];
    char task[MESSAGE_TASK_MAX + 1];
    char kind[MESSAGE_KIND_MAX + 1];
    char phase[MESSAGE_PHASE_MAX + 1]; /* "read", "train", "evaluate"... */
    int64_t epoch, epochs;
    int64_t step, steps;
    int64_t resumed_step;  /* of the checkpoint that this attempt went on from; 0 = none */
    double loss;           /* NAN = not known */
    double examples_per_s; /* NAN = not known */
    int64_t eta_ms;        /* -1 = not known */
    double done;           /* 0..1 */
    int64_t quiet_ms;      /* since the last step, by the supervisor's clock; 0 = it goes on */
};

MUST_CHECK int message_decode_progress(struct span bytes, struct message_progress *ret,
                                       struct err_buf *e);
MUST_CHECK int message_encode_progress(const struct message_progress *m, struct buf *out,
                                       struct err_buf *e);
/* The same as JSON, for the attempt's row and `meridian watch --json`. */
MUST_CHECK int message_progress_json(const struct message_progress *m, struct buf *out);

/* --- supervisor <-> runner ------------------------------------------------------------------- */

enum message_pipe_type {
    /* to the runner */
    MESSAGE_PIPE_JOB = 1,
    MESSAGE_PIPE_CANCEL,
    MESSAGE_PIPE_EXIT,
    MESSAGE_PIPE_SAVE, /* a checkpoint as soon as it can, also when a cancel follows */
    /* from the runner */
    MESSAGE_PIPE_READY,
    MESSAGE_PIPE_PROGRESS,
    MESSAGE_PIPE_LOG,
    MESSAGE_PIPE_RESULT,
    MESSAGE_PIPE_COUNT
};

struct message_pipe {
    enum message_pipe_type type;
    struct message_ready job;         /* JOB */
    struct message_progress progress; /* PROGRESS */
    struct span line;                 /* LOG: the runner's own words, never texts */
    struct message_result result;     /* RESULT: outcome, error_*, result, peak_rss_kb */
};

/* Adds one frame: 4 bytes little-endian length, then the map. */
MUST_CHECK int message_encode_frame(const struct message_pipe *m, struct buf *out,
                                    struct err_buf *e);
/* One frame's map, as message_frames_next gave it. */
MUST_CHECK int message_decode_frame(struct span bytes, struct message_pipe *ret, struct err_buf *e);

/*
 * Cuts a stream of bytes into frames. Bounded by MESSAGE_FRAME_MAX plus one read; grows only as far
 * as bytes have really arrived, whatever a header promises.
 */
struct message_frames {
    /* private */
    struct buf in;
    size_t used; /* bytes of in that were given out */
};

void message_frames_init(struct message_frames *f);
void message_frames_close(struct message_frames *f);
/* Takes bytes as they come; any split is fine. Frames given out before are no longer valid.
 * ERR_LIMIT when what waits is larger than a frame may be, ERR_NOMEM. */
MUST_CHECK int message_frames_add(struct message_frames *f, const void *data, size_t length);
/* The next whole frame (valid until message_frames_add); ERR_NOTFOUND when more bytes are needed;
 * ERR_LIMIT when its header announces more than MESSAGE_FRAME_MAX: the stream is broken then. */
MUST_CHECK int message_frames_next(struct message_frames *f, struct span *ret);

#endif
