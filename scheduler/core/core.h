/*
 * The scheduler's decisions: plain C, no clock, sockets or threads of its own.
 *
 * The core mirrors the open jobs of the record (PostgreSQL). Events come in through the functions
 * below; what is to be done goes out through two ports, a store and a transport. It never waits:
 * a store call carries a token, and its answer comes back later through core_answer, in the order
 * in which the calls were made. The record is the truth: an answer brings the fresh rows of the
 * jobs that it touched, and the mirror takes them over, whatever the core had expected.
 *
 * When an answer will never come (the connection broke, the term ended) the owner calls core_stop
 * and, later, core_start: the core forgets everything and loads it again. Nothing is kept here
 * that the record does not hold.
 *
 * Times are milliseconds of the port's monotonic clock. All strings given in are borrowed for the
 * call. Running out of memory, or a store answer that makes no sense, calls the port's fault
 * function; the owner then stops and starts the core.
 */
#ifndef SCHEDULER_CORE_CORE_H
#define SCHEDULER_CORE_CORE_H

#include "common/base/err.h"
#include "scheduler/core/id.h"
#include "scheduler/core/reason.h"
#include "scheduler/core/state.h"

#include <stddef.h>
#include <stdint.h>

/* --- what comes in --------------------------------------------------------------------------- */

/* When a need is met: the words of Slurm. */
enum core_condition {
    CORE_AFTER_OK = 0, /* when the other job succeeded */
    CORE_AFTER_NOT_OK, /* when it ended otherwise: failed, cancelled, rejected or skipped */
    CORE_AFTER_ANY,    /* when it ended */
    CORE_CONDITION_COUNT
};

/* "afterok"...: as in SQL. Static storage. */
const char *core_condition_name(enum core_condition condition);
/* CORE_CONDITION_COUNT for a name outside the list. */
enum core_condition core_condition_parse(struct span name);

/* A need of a job that is not met. */
struct core_need {
    struct core_id id;
    enum core_state state; /* CORE_STATE_UNKNOWN: not admitted yet */
    enum core_condition condition;
    /* Of a job that was skipped: the first of the chain that ended otherwise than needed, and how.
     */
    struct core_id cause;
    enum core_state cause_state;
};

/* What becomes of the children that are open when a parent has as many as its quorum asks for. */
enum core_stragglers {
    CORE_STRAGGLERS_WAIT = 0, /* the parent ends after the last of them */
    CORE_STRAGGLERS_CANCEL,   /* they are cancelled */
    CORE_STRAGGLERS_LEAVE,    /* they go on; the parent ends without them */
    CORE_STRAGGLERS_COUNT
};

/* CORE_STRAGGLERS_WAIT for a name outside the list. */
enum core_stragglers core_stragglers_parse(struct span name);

/* One row of the record, as it is now. Empty spans stand for null. */
struct core_record {
    struct core_id id;
    enum core_state state;
    struct span kind;
    struct span market;
    struct span task;
    struct span region;
    struct span worker;    /* of the open attempt */
    struct core_id parent; /* none: zero */
    int priority;
    int attempt; /* number of the newest attempt */
    int failures;
    int crashes; /* lately, of what the job runs: also in earlier jobs of the same schedule */
    int ooms;    /* of this job */
    int charged; /* attempts that were charged to any budget */
    int max_attempts;
    int64_t due_in_ms; /* 0: now; else how long until it may start */
    int64_t queued_ms; /* wall time: for order only */
    bool is_cancel_requested;
    int children;                  /* of a parent: how many were ever made */
    const struct core_need *needs; /* unmet only */
    size_t need_count;
    bool has_after_quorum;
    int after_left;       /* with a quorum: how many more needs must be met; else all must */
    struct core_id cause; /* of a skipped job, as in struct core_need */
    enum core_state cause_state;
    bool is_member; /* counts for its parent's quorum */
    /* Of a parent with a quorum. due_in_ms is what its stragglers have left once it is reached. */
    int quorum; /* members that must succeed; 0: all children must */
    int members;
    bool is_quorum_reached; /* as noted in the record by the quorum call */
    enum core_stragglers stragglers;
    /* What the worker is told; only for dispatched jobs. */
    struct span incarnation;
    int64_t worker_mono_ms; /* the worker's own clock, not younger than the assignment */
    struct span spec;
    struct span night;
    int time_limit_s;
    /* What it asks of a worker. */
    int memory_mb;
    int threads;
    struct span labels; /* "key=value,key=value", sorted */
};

struct core_market_row {
    struct span code;
    struct span region;
    double weight;
    int max_running; /* 0: no limit */
    bool is_paused;
};

struct core_region_row {
    struct span name;
    int max_running; /* 0: no limit */
    bool is_paused;
};

/* A limit of a task. */
struct core_task_row {
    struct span name;
    int max_running;
};

struct core_worker_row {
    struct span name;
    struct span incarnation; /* new at every start of the supervisor */
    struct span region;
    int slots;
    int threads;        /* 0: not said, does not limit */
    int memory_mb;      /* the same */
    struct span labels; /* "key=value,key=value", sorted */
    bool is_live;       /* renewed lately and did not say bye */
    bool is_draining;
};

/* All markets, regions, limits of tasks and workers there are. What is missing has gone. */
struct core_world {
    bool is_paused;
    const struct core_market_row *markets;
    size_t market_count;
    const struct core_region_row *regions;
    size_t region_count;
    const struct core_task_row *tasks;
    size_t task_count;
    const struct core_worker_row *workers;
    size_t worker_count;
};

/* How long a successful attempt of such a job takes. Empty: of all markets and tasks. */
struct core_estimate_row {
    struct span kind;
    struct span market;
    struct span task;
    int64_t attempts;
    double seconds;
};

/* Slot seconds that a market used, as they are worth now. */
struct core_use_row {
    struct span market;
    double used_s;
};

/* What the core learns and the record keeps for the next leader. */
struct core_kept {
    const struct core_estimate_row *estimates;
    size_t estimate_count;
    const struct core_use_row *uses;
    size_t use_count;
};

enum core_expiry { CORE_EXPIRY_UNDELIVERED = 1, CORE_EXPIRY_LOST };

/* An open attempt whose time is up. */
struct core_expired {
    struct core_id job;
    int attempt;
    enum core_expiry expiry;
    bool was_draining; /* its worker was leaving: not the job's fault */
};

enum core_outcome {
    CORE_OUTCOME_SUCCEEDED = 1,
    CORE_OUTCOME_FAILED,
    CORE_OUTCOME_CRASHED,
    CORE_OUTCOME_RETURNED,
    CORE_OUTCOME_CANCELLED,
    CORE_OUTCOME_LOST,
    CORE_OUTCOME_UNDELIVERED,
    CORE_OUTCOME_COUNT
};

const char *core_outcome_name(enum core_outcome outcome);

/* What a worker reports about an attempt. */
struct core_result {
    struct core_id job;
    int attempt;
    struct span worker;
    enum core_outcome outcome;
    struct span error_code; /* a name of ERR_LIST */
    struct span error_text;
    bool has_exit;
    int exit_code;
    int signal;
    int64_t peak_rss_kb;
    int64_t run_ms;       /* how long it ran; -1: it never did */
    struct span result;   /* JSON of a success */
    struct span log_tail; /* the runner's last lines */
};

/* A submission, from a client or made by fan-out. */
struct core_submission {
    struct core_id id;
    struct span kind;
    struct span market;
    struct span task;
    struct span spec; /* JSON */
    int priority;
    const struct core_id *after;
    size_t after_count;
    struct span after_if; /* a letter for each of after: o, n, a; empty: all are afterok */
    int after_quorum;     /* how many of them must be met; 0: all */
    bool is_member;
    int64_t not_before_ms; /* wall; 0: none */
    struct span unique;
    struct span unique_policy; /* reject, keep, replace; empty: reject */
    struct span by;
    struct core_id parent;
    struct span night;
    bool is_parent;
    /* From the checked spec. */
    int memory_mb;
    int time_limit_s;
    int threads;
    int max_attempts;
    struct span labels; /* "key=value,key=value", sorted */
    struct span region; /* named by the spec of a job that belongs to no market */
    /* A submission that was refused is recorded with its reason. */
    const char *error_code; /* NULL: accepted so far */
    const char *error_text;
    bool is_hopeless; /* written by SQL: the record refused it alone, too */
};

struct core_admitted {
    struct core_id id;
    enum core_state state;
    struct span error_text;
    struct core_id kept; /* the job that had the unique key, and was to be kept; else none */
};

struct core_plan_market {
    struct span code;
    struct span region;
};

/* What fan-out needs to know of a parent. */
struct core_plan {
    struct core_id parent; /* filled in by the core */
    struct span task;
    struct span spec; /* JSON */
    struct span night;
    struct span by;
    int priority;
    const struct span *sources; /* markets that the task pools for its global base */
    size_t source_count;
    const struct core_plan_market *markets; /* every market there is, by code */
    size_t market_count;
};

/* --- what goes out --------------------------------------------------------------------------- */

struct core_dispatch {
    struct core_id job;
    int attempt; /* the number that the new attempt shall have */
    struct span region;
    struct span worker;
    struct span incarnation;
};

/* The end of an attempt other than by success, and what becomes of its job. */
struct core_end {
    struct core_id job;
    int attempt;
    enum core_outcome outcome;
    bool is_final;      /* the job has failed; else it runs again after delay_ms */
    bool is_cancelled;  /* the job ends cancelled */
    int charge_failure; /* 0 or 1 */
    int charge_crash;   /* 0 or 1 */
    int charge_oom;     /* 0 or 1: the crash was a lack of memory */
    int memory_max_mb;  /* above 0: runs again in a larger memory class, up to this one */
    int64_t delay_ms;
    int error_code;                   /* enum err; 0: nobody's fault */
    const struct core_result *report; /* NULL for lost and undelivered */
};

/* A job that ends without an attempt of its own. */
struct core_skip {
    struct core_id job;
    enum core_state state; /* SKIPPED, FAILED or CANCELLED */
    const char *error_code;
    const char *error_text;
    struct core_id cause; /* SKIPPED: the first of the chain that ended otherwise than needed */
};

/*
 * Every function starts one call; its answer comes later, in order, through core_answer with the
 * same token. Arguments are borrowed for the call.
 */
struct core_store {
    void *self;
    void (*load)(void *self, uint64_t token, struct core_id after, size_t limit);
    void (*world)(void *self, uint64_t token);
    void (*changes)(void *self, uint64_t token);
    void (*sweep)(void *self, uint64_t token);
    void (*fire)(void *self, uint64_t token);
    /* Submissions written by SQL, at most so many; admit takes them off. */
    void (*take)(void *self, uint64_t token, size_t limit);
    void (*admit)(void *self, uint64_t token, const struct core_submission *jobs, size_t count);
    void (*release)(void *self, uint64_t token, const struct core_id *jobs, size_t count);
    void (*dispatch)(void *self, uint64_t token, const struct core_dispatch *jobs, size_t count);
    /* Answered with the rows of those that did not succeed by it, and none of the others. Refused
     * as a whole when one of them cannot be recorded. */
    void (*finish)(void *self, uint64_t token, const struct core_result *results, size_t count);
    void (*end)(void *self, uint64_t token, const struct core_end *ends, size_t count);
    /* A report about an attempt that is not the newest: the record refuses it and takes note. */
    void (*late)(void *self, uint64_t token, const struct core_result *result);
    void (*skip)(void *self, uint64_t token, const struct core_skip *skips, size_t count);
    void (*plan)(void *self, uint64_t token, struct core_id parent);
    /* quorum: members among the children that must succeed; 0: all children must. */
    void (*fan_out)(void *self, uint64_t token, struct core_id parent, int quorum,
                    const struct core_submission *children, size_t count);
    /* Notes of each parent whose quorum is reached that the time of its stragglers begins. */
    void (*quorum)(void *self, uint64_t token, const struct core_id *parents, size_t count);
    void (*close)(void *self, uint64_t token, const struct core_id *parents, size_t count);
    void (*cancel_children)(void *self, uint64_t token, struct core_id parent);
    /* What was kept, and what is to be; both may be NULL: then nothing is remembered. */
    void (*recall)(void *self, uint64_t token);
    void (*keep)(void *self, uint64_t token, const struct core_kept *kept);
};

struct core_transport {
    void *self;
    /* Tells the record's worker of its attempt. May be lost: the record hands it over as well. */
    void (*ready)(void *self, const struct core_record *job);
    /* The submissions of the admit call with this cookie are in the record, or failed. */
    void (*admitted)(void *self, void *cookie, int status, const struct core_admitted *rows,
                     size_t count);
};

struct core_ports {
    void *self;
    int64_t (*now_ms)(void *self);
    uint64_t (*random)(void *self);
    /* The core cannot go on: the owner must stop it, outside of this call. */
    void (*fault)(void *self, const char *reason);
    /* A job that became runnable at that wall time was given to a worker. May be NULL. */
    void (*assigned)(void *self, int64_t queued_ms);
    struct core_store store;
    struct core_transport transport;
};

struct core_answer {
    uint64_t token;
    int status; /* 0, or why the store refused the call (nothing was changed) */
    const char *error_text;
    const struct core_record *records;
    size_t record_count;
    const struct core_admitted *admitted;
    size_t admitted_count;
    const struct core_expired *expired;
    size_t expired_count;
    const struct core_world *world;
    const struct core_plan *plan;
    const struct core_submission *submissions; /* as they were written, not checked */
    size_t submission_count;
    const struct core_kept *kept;
};

/* --- the core -------------------------------------------------------------------------------- */

struct core_settings {
    int64_t changes_every_ms;
    int64_t world_every_ms;
    int64_t sweep_every_ms;
    int64_t fire_every_ms;
    int64_t take_every_ms;
    int64_t keep_every_ms;
    size_t batch_max;  /* jobs in one store call */
    size_t load_page;  /* rows in one page of the first load */
    int crashes_max;   /* runner deaths and lost workers that what is run may have in a while */
    int memory_max_mb; /* of the larger class that a job gets when it ran out of memory */
    int64_t backoff_min_ms;
    int64_t backoff_max_ms;
    int64_t priority_age_ms;    /* a job that waits so long gains a point of priority; 0: never */
    int64_t share_half_life_ms; /* after which half of a market's use is forgotten */
    /* Jobs that took up to short_ms, at least short_after times, are given to a worker together: as
     * many as bundle_max (1: each alone) that take bundle_ms in all. */
    int64_t short_ms;
    int64_t short_after;
    int64_t bundle_ms;
    int bundle_max;
};

extern const struct core_settings core_settings_default;

struct core_counts {
    size_t waiting;
    size_t queued;
    size_t dispatched;
    size_t running;
    uint64_t decisions;  /* jobs dispatched since the start */
    uint64_t visits;     /* nodes looked at in search of a worker */
    size_t calls_open;   /* store calls without an answer */
    size_t results_open; /* of them, those that record results */
};

/* A region's work, for those who add and remove workers. */
struct core_region_load {
    struct span name;
    int slots; /* of live workers that do not drain */
    int open;  /* attempts */
    size_t runnable;
    double runnable_s; /* expected slot time of jobs that only want for a worker with room */
};

/* What has happened since core_new. */
enum { CORE_ERROR_CLASSES = 5 };
struct core_tally {
    uint64_t moves[CORE_STATE_COUNT][CORE_STATE_COUNT]; /* from, to */
    uint64_t outcomes[CORE_OUTCOME_COUNT];
    uint64_t classes[CORE_ERROR_CLASSES]; /* enum err_class, of attempts that did not succeed */
};

struct core;

/* Keeps ports' functions and their self pointers. Returns owned (core_free), or NULL. */
struct core *core_new(const struct core_ports *ports, const struct core_settings *settings);
void core_free(struct core *c);

/* Starts to load the record. Must be stopped. */
void core_start(struct core *c);
/* Forgets everything; answers that are still under way must not be given any more. */
void core_stop(struct core *c);
bool core_is_ready(const struct core *c); /* loaded, and deciding */
struct core_counts core_count(const struct core *c);

const struct core_tally *core_tally(const struct core *c);
/* How many jobs have not started, by what holds them up. */
void core_pending(const struct core *c, size_t counts[CORE_REASON_COUNT]);

/* Calls `each` for every region that was named; its name is borrowed for the call. O(lanes and
 * workers). */
void core_regions(const struct core *c, void (*each)(const struct core_region_load *, void *data),
                  void *data);

/* Does what is due and returns how long until the next duty. */
int64_t core_tick(struct core *c);

void core_answer(struct core *c, const struct core_answer *answer);

/* Sends the submissions to the record; transport.admitted comes for each call. Must be ready. */
void core_admit(struct core *c, const struct core_submission *jobs, size_t count, void *cookie);
/* Workers' reports about attempts. */
void core_report(struct core *c, const struct core_result *results, size_t count);
/* A worker came, left or changed, or a person changed something: look now rather than at the next
 * turn. */
void core_worker_changed(struct core *c);

/* Aborts with the place when the mirror contradicts itself: for tests and the simulation, O(n). */
void core_check(const struct core *c);

#endif
