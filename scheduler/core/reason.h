/*
 * Why a job has not started: one list of codes, for metrics, the record's views and people. The
 * codes are stable; sql/reports/pending.sql gives the same ones from the same facts.
 */
#ifndef SCHEDULER_CORE_REASON_H
#define SCHEDULER_CORE_REASON_H

/* What holds up a job that has not become runnable, in the order in which it is looked for. */
/* clang-format off */
#define CORE_REASON_LIST(X)                                                                        \
    X(CANCELLING, "cancelling", "is being cancelled")                                              \
    X(CHILDREN, "children", "a parent whose jobs are open")                                        \
    X(DEPENDENCY, "dependency", "a job that it needs has not succeeded")                           \
    X(BACKOFF, "retry", "its last attempt failed, and it waits before the next")                   \
    X(NOT_BEFORE, "not_before", "its time has not come")                                           \
    X(PAUSED, "paused", "the queue, its region or its market is paused")                           \
    X(REGION_LIMIT, "region_limit", "its region runs as many jobs as it may")                      \
    X(MARKET_LIMIT, "market_limit", "its market runs as many jobs as it may")                      \
    X(TASK_LIMIT, "task_limit", "its task runs as many jobs as it may")                            \
    X(NO_WORKER, "no_worker", "no worker of its region is up")                                     \
    X(LABELS, "labels", "no worker of its region has the labels that it wants")                    \
    X(TOO_LARGE, "too_large", "no worker with these labels has so much memory or so many threads") \
    X(SLOTS, "slots", "all slots of the workers that could run it are taken")                      \
    X(ROOM, "room", "slots are free, but not the memory or the threads that it asks for")          \
    X(SCHEDULER, "scheduler", "nothing holds it up: it is about to be dispatched")                 \
    X(NO_LEADER, "no_leader", "no scheduler is at work")
/* clang-format on */

enum core_reason {
    CORE_REASON_NONE = 0,
#define CORE_REASON_VALUE(name, code, help) CORE_REASON_##name,
    CORE_REASON_LIST(CORE_REASON_VALUE)
#undef CORE_REASON_VALUE
        CORE_REASON_COUNT
};

/* Static storage. */
const char *core_reason_code(enum core_reason reason);
const char *core_reason_help(enum core_reason reason);

#endif
