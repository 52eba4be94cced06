/* What the files of the core share. See core.h for what it does. */
#ifndef SCHEDULER_CORE_CORE_INT_H
#define SCHEDULER_CORE_CORE_INT_H

#include "scheduler/core/core.h"
#include "scheduler/core/estimate.h"
#include "scheduler/core/hash.h"
#include "scheduler/core/heap.h"
#include "scheduler/core/list.h"
#include "scheduler/core/names.h"
#include "scheduler/core/reason.h"
#include "scheduler/core/room.h"
#include "scheduler/core/share.h"
#include "scheduler/core/slab.h"

enum { CORE_NAME_MAX = 128, CORE_INCARNATION_MAX = 36, CORE_LABELS_MAX = 1600 };

/* --- places ---------------------------------------------------------------------------------- */

/* A limit on attempts that are open at a time. What they are is counted from the jobs themselves,
 * so that whatever ends an attempt gives its place back. */
struct core_gate {
    int open;
    int limit; /* 0: none */
    bool is_paused;
};

struct core_region {
    char name[CORE_NAME_MAX + 1];
    struct core_gate gate;
    struct list groups;
    struct list pools;
    struct core_pool *everyone;   /* the pool that wants no labels */
    struct core_worker **workers; /* by their place in the region; NULL: moved away */
    size_t worker_count;
    size_t worker_room;
};

/* The workers of a region that have the labels some jobs want, by their free room. The region
 * "anywhere" has pools of all workers. */
struct core_pool {
    struct core_region *region;
    struct span labels; /* of a shape; also the key */
    struct room_tree rooms;
    size_t users; /* groups, and the region itself */
    struct list in_region;
};

struct core_worker {
    char name[CORE_NAME_MAX + 1];
    char incarnation[CORE_INCARNATION_MAX + 1];
    char labels[CORE_LABELS_MAX + 1]; /* "key=value,key=value", sorted */
    struct core_region *region;       /* NULL: not listed yet */
    size_t place;                     /* in its region */
    size_t place_anywhere;
    int slots;
    int threads;   /* 0: not said, does not limit */
    int memory_mb; /* the same */
    int open;      /* attempts it was given and that have not ended */
    int64_t open_threads;
    int64_t open_memory_mb;
    bool is_eligible; /* live and not draining: its slots count */
    bool is_listed;   /* while the record's workers are taken over: eligible by its row */
};

struct core_task {
    char name[CORE_NAME_MAX + 1];
    struct core_gate gate;
    int limit_seen; /* while the record's limits are taken over */
    struct list classes;
    struct list parked; /* classes */
};

struct core_market {
    char name[CORE_NAME_MAX + 1]; /* "" for the jobs that belong to no market */
    double weight;
    struct core_gate gate;
    double used;      /* what it used lately (share.h) */
    double rank;      /* used for each of weight: the lower goes first */
    double kept_used; /* the use that the record was last told */
    struct list lanes;
    struct list parked; /* lanes */
};

/* What a job wants of a worker; shared by all that want the same. */
struct core_shape {
    struct room wanted;
    size_t users; /* jobs */
    struct hash_node in_shapes;
    size_t label_bytes;
    char labels[]; /* "key=value,key=value", sorted */
};

/* The jobs of one region and shape. */
struct core_group {
    struct core_region *region;
    struct core_shape *shape;
    struct core_pool *pool;
    struct heap classes;
    bool is_full; /* no worker had room, and none has got any since */
    size_t class_count;
    struct hash_node in_groups;
    struct list in_region;
};

/* The jobs of one task in one group. In the group's heap exactly when a lane is in its own and it
 * is not parked: it is when it was met there while its task may start nothing. */
struct core_class {
    struct core_group *group;
    struct core_task *task;
    struct heap lanes;
    size_t lane_count;
    struct heap_node node;
    struct hash_node in_classes;
    struct list in_task;
    struct list in_parked;
};

/* The jobs of one market in one class. In the class's heap exactly when it is not parked: it is
 * when it was met there while its market may start nothing. Gone when it has no job. */
struct core_lane {
    /* What is looked at to find it, and when it is met at the head of its class: a cache line. */
    struct hash_node in_lanes;
    struct core_class *class;
    struct core_market *market;
    double rank;         /* of its market, or an older and lower one: made good when it is met */
    int64_t first_key;   /* of its first job */
    int64_t first_level; /* order_level of that */
    struct heap_node node;
    /* The rest. */
    struct heap jobs;
    int64_t expected_ms; /* of all its jobs */
    struct list in_market;
    struct list in_parked;
};

enum { CORE_KEEP_MAX = 256, CORE_MEMORY_SIZE = 512 };

/* What is known of how long jobs of one kind, market and task take. */
struct core_memory {
    struct estimate estimate;
    struct hash_node in_memories;
    struct list in_changed;
    size_t length;
    char key[]; /* the three names, each with its NUL */
};

/* --- jobs ------------------------------------------------------------------------------------ */

/* Short jobs that were given to a worker together: they take one slot, and what one of them asks,
 * until all are over. Jobs of one shape. */
struct core_bundle {
    struct core_worker *worker;
    struct core_shape *shape; /* counted */
    int open;                 /* of its attempts */
    int users;                /* jobs that refer to it, and who fills it */
};

/* Fields that one event looks at together stand together: there may be a million jobs, and none of
 * them is in the cache. */
struct core_job {
    struct core_id id;
    struct core_job *next_in_bucket;
    struct core_lane *lane; /* while queued */
    struct core_shape *shape;
    struct core_region *region; /* the region "anywhere" when none is named */
    enum core_state state;
    int pending; /* store calls under way that name it */
    struct heap_node in_lane;
    struct heap_node in_due;
    int64_t key; /* order_key */
    struct core_market *market;
    struct core_task *task;
    struct core_worker *worker; /* of the open attempt, or NULL */
    struct core_bundle *bundle; /* that this attempt came in; NULL: it has its slot alone */
    struct core_memory *memory; /* NULL: its names are too long */
    enum core_reason reason;    /* counted in reasons; of a job that stands in no lane */
    int attempt;
    struct list in_dirty;
    /* From the record. */
    struct core_job *parent; /* only while that one is open too */
    struct core_need lost;   /* the first need that will never be met; its id none: none so far */
    struct core_id cause;    /* of a skipped job: see struct core_need */
    enum core_state cause_state;
    int failures;
    int crashes;
    int charged;
    int max_attempts;
    int children;
    int opened;         /* the attempt that these are of: */
    int64_t opened_ms;  /* when it was opened, or loaded */
    int64_t charged_ms; /* what its market was charged for it */
    int expected_ms;    /* while it stands in a lane */
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
    bool is_unread;    /* its worker could not read what it was told of it */
    bool is_apart; /* its result is sent to the record alone: it is large, or others' was refused */
    int children_open; /* children in the mirror */
    int members_open;  /* those of them that count for the quorum */
    int needs_open;    /* edges in needs */
    int asked_open;    /* members_open when the record was last asked for the quorum; -1: never */
    bool has_let_go;   /* the stragglers were cancelled */
    int64_t due_ms;    /* may start from here on; 0: now */
    struct list needs; /* struct core_edge by in_dependant: unmet */
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
    CORE_CALL_LATE,
    CORE_CALL_SKIP,
    CORE_CALL_PLAN,
    CORE_CALL_FAN_OUT,
    CORE_CALL_QUORUM,
    CORE_CALL_CLOSE,
    CORE_CALL_CANCEL_CHILDREN,
    CORE_CALL_RECALL,
    CORE_CALL_KEEP,
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
    CORE_DUTY_KEEP,
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
    struct slab job_slab;
    struct slab lane_slab;
    struct list dirty;
    struct heap due;
    /* places */
    struct names regions;
    struct names markets;
    struct names workers;
    struct names tasks;
    struct hash shapes;
    struct hash groups;
    struct hash classes;
    struct hash lanes;
    struct hash memories;
    struct list changed;          /* memories that the record does not have yet */
    struct core_region *anywhere; /* jobs that any region may run */
    struct core_market *no_market;
    struct core_task *no_task;
    struct share_clock clock;
    /* calls */
    struct core_pending *first_call;
    struct core_pending *last_call;
    uint64_t token;
    size_t calls_open;
    size_t calls_of[CORE_CALL_COUNT];
    int64_t duty_at[CORE_DUTY_COUNT];
    size_t state_count[CORE_STATE_COUNT];
    size_t reasons[CORE_REASON_COUNT];
    struct core_tally tally;
    uint64_t decisions;
    uint64_t visits; /* nodes looked at in search of a worker */
};

/* core.c */
int64_t core__now(const struct core *c);
void core__fault(struct core *c, const char *reason);
/* Registers a store call that names jobs; 0 when out of memory (the core is then broken). */
uint64_t core__call(struct core *c, enum core_call call, const struct core_id *jobs, size_t count);
uint64_t core__call_with(struct core *c, enum core_call call, const struct core_id *jobs,
                         size_t count, void *cookie);

/* jobs.c */
/* By that number, then by id, so that no two jobs have the same. */
static inline struct heap_key core__job_key(const struct core_job *job, int64_t first)
{
    return (struct heap_key){.major = first,
                             .minor = heap_key_unsigned(job->id.high),
                             .last = heap_key_unsigned(job->id.low)};
}
struct core_job *core__job_find(const struct core *c, struct core_id id);
/* The job is looked for soon: its bucket, or what stands there, is on its way to the cache. */
void core__job_foresee(const struct core *c, struct core_id id, bool is_bucket_here);
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
/* Beyond a bound all new names are one, that of no task. */
struct core_task *core__task_get(struct core *c, struct span name);
void core__world_apply(struct core *c, const struct core_world *world);
void core__places_clear(struct core *c);
bool core__gate_has_room(const struct core_gate *gate);
/* Counts an open attempt in, or out, wherever it counts. */
void core__open_count(struct core *c, struct core_job *job, int change);
/* The market is known to have used so much, as it is worth now. */
void core__market_used(struct core *c, struct core_market *m, double used_s);
/* Keeps the numbers that use is counted in within what a number holds. */
void core__shares_refresh(struct core *c);

/* workers.c */
/* Lists the worker in the region and takes it out of the one it was in. False: out of memory. */
bool core__worker_list(struct core *c, struct core_worker *w, struct core_region *r);
/* Puts the worker's free room where it is looked for, after its load or its row changed. */
void core__worker_place(struct core *c, struct core_worker *w);
/* A job that it could not read goes to another one: until the workers are listed again, within a
 * second, nothing is given to it. */
void core__worker_aside(struct core *c, struct core_worker *w);
/* The record did not let a job go to this worker: what is known of it is old. */
void core__worker_refused(struct core *c, struct core_worker *w);
/* Counted: core__pool_leave. NULL when out of memory. */
struct core_pool *core__pool_get(struct core *c, struct core_region *r, struct span labels);
void core__pool_leave(struct core_pool *pool);
/* A worker of the region with room for the shape, or NULL. */
struct core_worker *core__worker_find(struct core *c, const struct core_pool *pool,
                                      const struct core_shape *shape);
bool core__labels_hold(struct span held, struct span wanted);

/* lanes.c */
/* Both must have a lane. */
bool core__class_before(const struct core_class *a, const struct core_class *b);
/* NULL when out of memory. Counted: core__shape_leave. */
struct core_shape *core__shape_join(struct core *c, const struct core_record *record);
void core__shape_leave(struct core *c, struct core_shape *shape);
struct span core__shape_labels(const struct core_shape *shape);
/* Puts a queued job where it is looked for, and takes it out. */
void core__lane_enter(struct core *c, struct core_job *job);
void core__lane_leave(struct core *c, struct core_job *job);
/* NULL: nothing of that shape is queued there. */
struct core_group *core__group_find(const struct core *c, const struct core_region *region,
                                    const struct core_shape *shape);
/* The class of the group that goes next, by what is true now; NULL: nothing of it may start. */
struct core_class *core__group_first(struct core *c, struct core_group *group);
struct core_job *core__class_first(const struct core_class *class);
/* After the market, or the task, may start something again. */
void core__market_unpark(struct core *c, struct core_market *m);
void core__task_unpark(struct core *c, struct core_task *t);
/* After the market's rank fell; while it rises nothing need be done. */
void core__market_reorder(struct core *c, struct core_market *m);
void core__lanes_clear(struct core *c);

/* dispatch.c */
void core__dispatch(struct core *c);

/* bundle.c */
/* The caller refers to it, until it lets go. NULL when out of memory. */
struct core_bundle *core__bundle_new(struct core_worker *w, struct core_shape *shape);
void core__bundle_let_go(struct core *c, struct core_bundle *bundle);
/* The job's next attempt comes in the bundle. */
void core__bundle_join(struct core_job *job, struct core_bundle *bundle);
/* The attempt is over, or was never in one. */
void core__bundle_leave(struct core *c, struct core_job *job);
/* Counts an open attempt in or out. True: with it the bundle takes, or no longer takes, its slot.
 */
bool core__bundle_count(struct core_bundle *bundle, int change);

/* estimate.c */
/* NULL when a name is too long, or out of memory. */
struct core_memory *core__memory_get(struct core *c, struct span kind, struct span market,
                                     struct span task);
int core__expected_ms(struct core *c, const struct core_job *job);
/* What such jobs took so far was short, often enough to count on it. */
bool core__is_short(const struct core *c, const struct core_job *job);
/* A successful attempt of the job ran for so long. */
void core__duration_add(struct core *c, const struct core_job *job, int64_t run_ms);
void core__keep(struct core *c);
void core__recall(struct core *c, const struct core_kept *kept);
void core__memories_clear(struct core *c);

/* reason.c */
/* Counts the job by what holds it up now, or not at all. */
void core__reason_set(struct core *c, struct core_job *job);
void core__reason_clear(struct core *c, struct core_job *job);

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
/* What the answer does not name has succeeded. */
void core__finished(struct core *c, const struct core_pending *p, const struct core_answer *answer);
void core__finish_refused(struct core *c, const struct core_pending *p, const char *reason);

#endif
