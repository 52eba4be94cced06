/*
 * The states of a job, and which moves the scheduler may decide.
 *
 *   waiting ──► queued ──► dispatched ──► running ──► succeeded
 *      ▲ │         ▲            │            │   └──► failed, cancelled
 *      │ │         └────────────┴────────────┤ (lost, returned, undelivered)
 *      │ └──► skipped, failed, cancelled     │
 *      └─────────────────────────────────────┘ (again after a delay)
 *
 * rejected is born ended. Nothing leaves an ended state: a retry by hand is a new job.
 */
#ifndef SCHEDULER_CORE_STATE_H
#define SCHEDULER_CORE_STATE_H

#include "common/base/span.h"

#include <stdbool.h>

enum core_state {
    CORE_STATE_UNKNOWN = 0, /* named by another job, never seen */
    CORE_STATE_WAITING,
    CORE_STATE_QUEUED,
    CORE_STATE_DISPATCHED,
    CORE_STATE_RUNNING,
    CORE_STATE_SUCCEEDED,
    CORE_STATE_FAILED,
    CORE_STATE_CANCELLED,
    CORE_STATE_REJECTED,
    CORE_STATE_SKIPPED,
    CORE_STATE_COUNT
};

/* Static storage. */
const char *core_state_name(enum core_state state);
/* CORE_STATE_UNKNOWN for a name outside the list. */
enum core_state core_state_parse(struct span name);
bool core_state_is_ended(enum core_state state);
/* True for a job that has an open attempt. */
bool core_state_is_open_attempt(enum core_state state);
/* True when the record may show `to` next, others (CLI, workers) having acted in between. */
bool core_state_may_follow(enum core_state from, enum core_state to);
/* True when the scheduler itself may decide the move. */
bool core_state_may_decide(enum core_state from, enum core_state to);

#endif
