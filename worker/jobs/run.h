/*
 * One run of a job, as the kinds see it: what to do, and the ports to the world around it.
 *
 * A kind is one file with one function and one row in kinds.c. It reports progress, asks between
 * steps whether it should stop, and puts its result into a buffer as JSON. It never logs texts.
 */
#ifndef WORKER_JOBS_RUN_H
#define WORKER_JOBS_RUN_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/job/job.h"
#include "common/message/message.h"
#include "worker/jobs/databases.h"

#include <stdbool.h>

/* What the runner (or a test) offers. Any function may be NULL. */
struct run_port {
    void (*progress)(const struct message_progress *progress, void *data);
    void (*log)(const char *line, void *data);
    bool (*is_cancelled)(void *data);
    bool (*wants_save)(void *data); /* a checkpoint, as soon as there can be one */
    void (*saved)(void *data);      /* there is one now, or there will be none */
    void *data;
};

struct run {
    const struct message_ready *job;
    const struct job_spec *spec;
    struct databases *databases;
    struct run_port port;
    double done;          /* as last reported */
    bool is_fenced;       /* a newer attempt owns the job: counts as cancelled */
    int64_t resumed_step; /* of the checkpoint that it went on from; 0 = none */
};

/* 0: done, ret_result holds one JSON value; else a code with its reason in e. */
typedef int (*run_kind_fn)(struct run *run, struct buf *ret_result, struct err_buf *e);

/* The function of that kind, or NULL when no worker runs it. */
run_kind_fn run_kind_find(enum job_kind kind);

/* A progress with nothing known but the phase and the share that is done (0..1). */
struct message_progress run_progress_of(const char *phase, double done);
void run_report(struct run *run, const struct message_progress *progress);
/* A line for `meridian logs`; never texts. */
void run_log(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool run_is_cancelled(struct run *run);
bool run_wants_save(struct run *run);
void run_saved(struct run *run);
/* spec.as_of, or NULL: what came after that time shall not be used. Borrowed from the spec. */
const char *run_as_of(const struct run *run);

/* Sleeps up to ms, ending early when the job is cancelled: then ERR_CANCELLED. */
MUST_CHECK int run_sleep(struct run *run, int64_t ms, struct err_buf *e);

/*
 * Calls step until it succeeds, as long as it fails with ERR_UNREACHABLE and the job is not
 * cancelled: a server that restarts costs time, not the attempt. The time limit of the job bounds
 * it. step must be repeatable.
 */
MUST_CHECK int run_persist(struct run *run,
                           int (*step)(struct run *run, void *data, struct err_buf *e), void *data,
                           struct err_buf *e);

/* The kinds. */
int kind_noop(struct run *run, struct buf *ret_result, struct err_buf *e);
int kind_finetune(struct run *run, struct buf *ret_result, struct err_buf *e);
int kind_evaluate(struct run *run, struct buf *ret_result, struct err_buf *e);

#endif
