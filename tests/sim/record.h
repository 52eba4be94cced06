/*
 * The record as the simulation has it: what PostgreSQL and sql/functions/ do, in memory and on
 * virtual time, with the same fences. Whatever would be an error of the system aborts.
 */
#ifndef TESTS_SIM_RECORD_H
#define TESTS_SIM_RECORD_H

#include "scheduler/core/core.h"

enum {
    REC_JOBS_MAX = 512,
    REC_NEEDS_MAX = 4,
    REC_ATTEMPTS_MAX = 200,
    REC_WORKERS_MAX = 12,
    REC_MARKETS = 6,
    REC_REGIONS = 3,
    REC_LEASE_MS = 15000,
    REC_UNDELIVERED_MS = 10000,
    REC_SWEEP_SLACK_MS = 50, /* of calls that took longer than the last */
    REC_HAND_OVER_MS = 1000,
    REC_LIVE_MS = 6000,
    REC_CRASHES_MAX = 3, /* of what is run; nights are shorter than the rule's 72 hours */
    REC_MEMORY_MB = 2048,
    /* What a worker offers, and how many jobs of one task and of one region may run: little, so
     * that all of it is met. */
    REC_WORKER_MEMORY_MB = 9000,
    REC_WORKER_THREADS = 3,
    REC_TASKS = 3,
    REC_TASK_MAX = 2, /* of the first task */
    REC_REGION_MAX = 3 /* of the last region */,
    REC_LOST_MAX = 64,
};

extern const char *const rec_markets[REC_MARKETS];
extern const char *const rec_regions[REC_REGIONS];
extern const char *const rec_tasks[REC_TASKS];
extern const int rec_region_of[REC_MARKETS];

enum rec_attempt_state { REC_DISPATCHED = 1, REC_RUNNING, REC_ENDED };

struct rec_attempt {
    enum rec_attempt_state state;
    int worker;
    int incarnation;
    int64_t dispatched_ms;
    bool was_anywhere;      /* the job had no region before */
    int64_t lease_until_ms; /* from the assignment on; by the record's clock, */
    int64_t renewed_ms;     /* and by the true time, when that was said last */
    bool is_cut;            /* its worker left or was replaced: it may end at once */
};

struct rec_job {
    struct core_id id;
    const char *kind;
    int market; /* -1: none */
    int region; /* -1: none */
    enum core_state state;
    int priority;
    int parent; /* index, -1: none */
    int attempt;
    int failures;
    int crashes;
    int ooms;     /* of the crashes, those for lack of memory */
    int identity; /* what is run, for crashes across jobs; 0: this job alone */
    int memory_mb;
    int max_attempts;
    bool is_cancel_requested;
    int64_t due_ms;
    int64_t queued_ms;
    int64_t order_ms; /* its place in the queue, when it was interrupted; else 0 */
    struct core_id needs[REC_NEEDS_MAX];
    enum core_condition conditions[REC_NEEDS_MAX];
    int need_count;
    int after_quorum; /* needs that must be met; 0: all */
    struct core_id cause;
    bool is_member;
    /* of a parent */
    int quorum; /* 0: all */
    enum core_stragglers stragglers;
    int64_t straggler_wait_ms;
    int64_t quorum_ms; /* when it was noted; 0: not yet */
    int children;
    int commits; /* results that took effect */
    struct rec_attempt attempts[REC_ATTEMPTS_MAX];
};

struct rec_worker {
    int region;
    int slots;
    int incarnation;
    bool is_known;
    bool is_gone;
    bool is_draining;
    int64_t seen_ms; /* its last renewal: also what it knows of it by its own clock */
};

struct rec_market {
    int max_running;
    bool is_paused;
    int64_t changed_ms;
};

struct record {
    struct rec_job *jobs; /* REC_JOBS_MAX */
    int job_count;
    int bundle_max; /* short jobs that may be given to a worker together, in the place of one */
    struct rec_worker workers[REC_WORKERS_MAX];
    struct rec_market markets[REC_MARKETS];
    bool is_paused;
    int64_t fire_ms; /* when the schedule is due; 0: fired */
    /* the leader's row */
    int holder;
    int64_t term;
    int64_t expires_ms;
    /* which jobs others changed, in order */
    int changes[8192];
    int change_count;
    int64_t now_ms;    /* the true time */
    int64_t clock_ms;  /* how far the record's clock is ahead of it */
    int64_t synced_ms; /* the last commit that was waited for until it was on disk */
    struct rec_lost {
        struct core_id job;
        int attempt, worker;
    } lost[REC_LOST_MAX]; /* assignments that a crash of the record took back */
    int lost_count;
    int64_t fenced_calls;
    int64_t late_results;
    int64_t left_running; /* children that their parent's quorum left behind */
    int64_t quorums;      /* parents that succeeded without all of their children */
};

void rec_reset(struct record *r);
/* What the record takes for the time: leases and the leader's row are kept by it. */
int64_t rec_clock(const struct record *r);
/* clock_mend and clock_ahead. before: the record's clock at the leader's last sweep, NULL: not
 * known; ahead_ms: how much further than the leader's own it went since. */
void rec_clock_mend(struct record *r, const int64_t *before, int64_t ahead_ms);
int rec_find(const struct record *r, struct core_id id);
/* As a text. */
const char *rec_incarnation(int number);
/* A job as it is now; needs go to out_needs (REC_NEEDS_MAX). */
struct core_record rec_row(const struct record *r, int job, struct core_need *out_needs);
void rec_check(const struct record *r);

/* What the scheduler's functions do. */
void rec_admit(struct record *r, const struct rec_job *job, struct core_id parent);
void rec_release(struct record *r, struct core_id id);
void rec_dispatch(struct record *r, struct core_id id, int number, int region, int worker,
                  int incarnation);
/* Whether the attempt is not the job's newest open one. */
bool rec_is_late(const struct record *r, struct core_id id, int number);
/* The record crashes: assignments after the last commit that is on disk are gone, but for kinds
 * whose assignments are waited for. */
void rec_crash(struct record *r);
bool rec_is_lost(const struct record *r, struct core_id job, int attempt, int worker);
void rec_finish(struct record *r, struct core_id id, int number, int worker);
void rec_end(struct record *r, const struct core_end *end, int worker);
void rec_skip(struct record *r, struct core_id id, enum core_state state, struct core_id cause);
void rec_quorum(struct record *r, struct core_id id);
void rec_close(struct record *r, struct core_id id);

/* What workers and people do. */
enum rec_verdict { REC_OK, REC_CANCEL, REC_CLOSED, REC_FENCED };
enum rec_verdict rec_renew(struct record *r, struct core_id id, int number, int worker,
                           int incarnation);
/* The next job at or after *at that was given to the worker and is not known to run; false when
 * there is no more. */
bool rec_hand_over(struct record *r, int worker, int incarnation, int *at);
void rec_hello(struct record *r, int worker, int region, int slots, int incarnation);
void rec_bye(struct record *r, int worker, int incarnation);
void rec_cancel(struct record *r, int job);
/* term or 0 */
int64_t rec_lead(struct record *r, int holder, int64_t ttl_ms);

#endif
