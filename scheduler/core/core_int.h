/* What the files of the core share. See core.h for what it does. */
#ifndef SCHEDULER_CORE_CORE_INT_H
#define SCHEDULER_CORE_CORE_INT_H

#include "scheduler/core/core.h"
#include "scheduler/core/heap.h"
#include "scheduler/core/list.h"
#include "scheduler/core/names.h"

enum { CORE_NAME_MAX = 128, CORE_INCARNATION_MAX = 36 };

/* --- places ---------------------------------------------------------------------------------- */

struct core_region {
    char name[CORE_NAME_MAX + 1];
    bool is_paused;
    struct heap lanes;   /* that have a job which may start */
    struct heap workers; /* that may be given one now */
};

/* In its region's heap exactly when it is eligible and has a free slot. */
struct core_worker {
    char name[CORE_NAME_MAX + 1];
    char incarnation[CORE_INCARNATION_MAX + 1];
    struct core_region *region; /* NULL: not listed yet */
    int slots;
    int open;         /* attempts it was given and that have not ended */
    bool is_eligible; /* live and not draining: its slots count */
    struct heap_node node;
};

struct core_market {
    char name[CORE_NAME_MAX + 1]; /* "" for the jobs that belong to no market */
    double weight;
    int max_running;
    bool is_paused;
    int open; /* attempts of its jobs */
    struct list lanes;
};

/* The runnable jobs of one market in one region. In its region's heap exactly when it has a job
 * and its market may start one. */
struct core_lane {
    struct core_region *region;
    struct core_market *market;
    struct heap jobs;
    struct heap_node node;
    struct list in_market;
};

/* --- jobs ------------------------------------------------------------------------------------ */

struct core_job {
    /* From the record. */
    struct core_id id;
    int64_t queued_ms;
    struct core_market *market;
    struct core_region *region; /* the region "anywhere" when none is named */
    struct core_worker *worker; /* of the open attempt, or NULL */
    struct core_job *parent;    /* only while that one is open too */
    struct core_need lost; /* the first need that will never be met; its id none: none so far */
    struct core_id cause;  /* of a skipped job: see struct core_need */
    enum core_state cause_state;
    enum core_state state;
    int attempt;
    int failures;
    int crashes;
    int charged;
    int max_attempts;
    int children;
    short priority;
    short ooms;
    bool is_parent;
    bool is_cancel_requested;
    bool has_after_quorum;
    bool is_member;
    bool is_quorum_reached;
    int after_left; /* with has_after_quorum: needs that must still be met */
    int quorum;     /* of a parent: 0 = all children */
    int members;
    enum core_stragglers stragglers;
    /* Bookkeeping. */
    bool is_finishing; /* a report of its attempt is under way to the record */
    int pending;       /* store calls under way that name it */
    int children_open; /* children in the mirror */
    int members_open;  /* those of them that count for the quorum */
    int needs_open;    /* edges in needs */
    int asked_open;    /* members_open when the record was last asked for the quorum; -1: never */
    bool has_let_go;   /* the stragglers were cancelled */
    int64_t due_ms;    /* may start from here on; 0: now */
    struct core_job *next_in_bucket;
    struct core_lane *lane; /* while queued */
    struct heap_node in_lane;
    struct heap_node in_due;
    struct list in_dirty;
    struct list needs;      /* struct core_edge by in_dependant: unmet */
    struct list dependants; /* struct core_edge by in_needed */
    struct list family;     /* head: the children */
    struct list in_family;
};

struct core_edge {
    struct core_job *needed;
    struct core_job *dependant;
    enum core_condition condition;
    struct list in_needed;
    struct list in_dependant;
};

/* --- store calls under way ------------------------------------------------------------------- */

enum core_call {
    CORE_CALL_LOAD = 1,
    CORE_CALL_WORLD,
    CORE_CALL_CHANGES,
    CORE_CALL_SWEEP,
    CORE_CALL_FIRE,
    CORE_CALL_ADMIT,
    CORE_CALL_TAKE,
    CORE_CALL_ADMIT_TAKEN,
    CORE_CALL_RELEASE,
    CORE_CALL_DISPATCH,
    CORE_CALL_FINISH,
    CORE_CALL_END,
    CORE_CALL_SKIP,
    CORE_CALL_PLAN,
    CORE_CALL_FAN_OUT,
    CORE_CALL_QUORUM,
    CORE_CALL_CLOSE,
    CORE_CALL_CANCEL_CHILDREN,
    CORE_CALL_COUNT
};

struct core_pending {
    enum core_call call;
    uint64_t token;
    void *cookie;                     /* of an admit call */
    char reporter[CORE_NAME_MAX + 1]; /* of a finish call: the worker that reported */
    struct core_pending *next;
    size_t count;
    struct core_id jobs[]; /* that the call names */
};

enum core_duty {
    CORE_DUTY_CHANGES,
    CORE_DUTY_WORLD,
    CORE_DUTY_SWEEP,
    CORE_DUTY_FIRE,
    CORE_DUTY_TAKE,
    CORE_DUTY_COUNT
};

enum core_phase { CORE_PHASE_STOPPED, CORE_PHASE_LOADING, CORE_PHASE_READY };

struct core {
    struct core_ports ports;
    struct core_settings settings;
    enum core_phase phase;
    bool is_broken; /* fault was called: do nothing until stopped */
    bool is_paused;
    /* jobs by id */
    struct core_job **buckets;
    size_t bucket_count;
    size_t job_count;
    struct list dirty;
    struct heap due;
    /* places */
    struct names regions;
    struct names markets;
    struct names workers;
    struct core_region *anywhere; /* jobs that any region may run */
    struct core_market *no_market;
    /* calls */
    struct core_pending *first_call;
    struct core_pending *last_call;
    uint64_t token;
    size_t calls_open;
    size_t calls_of[CORE_CALL_COUNT];
    int64_t duty_at[CORE_DUTY_COUNT];
    size_t state_count[CORE_STATE_COUNT];
    uint64_t decisions;
};

/* core.c */
int64_t core__now(const struct core *c);
void core__fault(struct core *c, const char *reason);
/* Registers a store call that names jobs; 0 when out of memory (the core is then broken). */
uint64_t core__call(struct core *c, enum core_call call, const struct core_id *jobs, size_t count);
uint64_t core__call_with(struct core *c, enum core_call call, const struct core_id *jobs,
                         size_t count, void *cookie);

/* jobs.c */
struct core_job *core__job_find(const struct core *c, struct core_id id);
/* Finds it, or makes one in CORE_STATE_UNKNOWN; NULL when out of memory. */
struct core_job *core__job_get(struct core *c, struct core_id id);
/* A move has two halves: leave takes the job out of every count and heap that its fields decide;
 * then the fields may change; then move gives it its state and puts it back. */
void core__job_leave(struct core *c, struct core_job *job);
void core__job_move(struct core *c, struct core_job *job, enum core_state state);
void core__job_dirty(struct core *c, struct core_job *job);
/* Frees it when nothing refers to it any more and it is not open. */
void core__job_drop(struct core *c, struct core_job *job);
void core__jobs_clear(struct core *c);

/* places.c */
struct core_region *core__region_get(struct core *c, struct span name);
struct core_market *core__market_get(struct core *c, struct span code);
struct core_worker *core__worker_get(struct core *c, struct span name);
struct core_lane *core__lane_get(struct core *c, struct core_region *r, struct core_market *m);
void core__world_apply(struct core *c, const struct core_world *world);
void core__places_clear(struct core *c);

/* dispatch.c */
bool core__lane_before(const struct heap_node *a, const struct heap_node *b);
bool core__job_before(const struct heap_node *a, const struct heap_node *b);
bool core__worker_before(const struct heap_node *a, const struct heap_node *b);
/* Puts the lane where it belongs after its jobs or its market changed. */
void core__lane_place(struct core *c, struct core_lane *lane);
void core__market_place(struct core *c, struct core_market *m);
/* Puts the worker where it belongs after its load or its row changed. */
void core__worker_place(struct core *c, struct core_worker *w);
/* The record did not let a job go to this worker: what is known of it is old. */
void core__worker_refused(struct core *c, struct core_worker *w);
void core__dispatch(struct core *c);

/* mirror.c */
void core__record_apply(struct core *c, const struct core_record *record);

/* graph.c */
int core__needs_set(struct core *c, struct core_job *job, const struct core_need *needs,
                    size_t count);
void core__needs_clear(struct core *c, struct core_job *job);
int core__parent_set(struct core *c, struct core_job *job, struct core_id parent);
/* Tells dependants and parent that the job ended, and forgets it. */
void core__job_ended(struct core *c, struct core_job *job, enum core_state state);
/* Decides what becomes of the jobs whose situation changed. */
void core__graph_settle(struct core *c);

/* admission.c */
void core__taken_apply(struct core *c, const struct core_submission *taken, size_t count);

/* fanout.c */
void core__plan_apply(struct core *c, const struct core_plan *plan);

/* lease.c */
void core__expired_apply(struct core *c, const struct core_expired *rows, size_t count);
/* Sends the end of one attempt to the record. */
void core__attempt_end(struct core *c, struct core_job *job, enum core_outcome outcome,
                       const struct core_result *report, bool was_draining);
void core__finish_refused(struct core *c, const struct core_pending *p, const char *reason);

#endif
