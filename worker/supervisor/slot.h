/*
 * A slot: one place to run a job, and the runner process in it.
 *
 *            start             ready           begin
 *     EMPTY ───────► STARTING ───────► IDLE ───────────► RUNNING ───stop──► STOPPING
 *       ▲               │              │  ▲   result,       │  │ result        │
 *       │               │       retire │  └─ kept runner ───┘  │               │
 *       │               ▼              ▼                       │               │
 *       └──── died ─── LEAVING ◄───────┴───────────────────────┴───────────────┘
 *
 * In RUNNING and STOPPING a job holds the slot. In every state but EMPTY there is a process, and
 * its death leads to EMPTY. The table of allowed moves is the truth; a move outside it stops the
 * program.
 */
#ifndef WORKER_SUPERVISOR_SLOT_H
#define WORKER_SUPERVISOR_SLOT_H

#include <stdbool.h>

enum slot_state {
    SLOT_EMPTY = 0, /* no process; one is started as soon as that may be */
    SLOT_STARTING,  /* process started, not yet ready */
    SLOT_IDLE,      /* ready for a job */
    SLOT_RUNNING,   /* the job is in the runner */
    SLOT_STOPPING,  /* the job is being stopped; SIGKILL follows */
    SLOT_LEAVING,   /* no job; the runner was told to exit */
    SLOT_STATE_COUNT
};

/* Why a job is being stopped. */
enum slot_stop {
    SLOT_STOP_NONE = 0,
    SLOT_STOP_CANCEL, /* asked for: reported as cancelled */
    SLOT_STOP_TIME,   /* over its time limit: failed TIME */
    SLOT_STOP_MEMORY, /* over its memory limit: crashed OOM */
    SLOT_STOP_WEDGED, /* made no step for too long: crashed WEDGED */
    SLOT_STOP_DRAIN,  /* past the grace time: returned */
    SLOT_STOP_FENCED, /* not ours any more: nothing is reported */
    SLOT_STOP_COUNT
};

/* "idle"...; static storage. */
const char *slot_state_name(enum slot_state state);
const char *slot_stop_name(enum slot_stop stop);
bool slot_move_is_allowed(enum slot_state from, enum slot_state to);
/* Moves, or aborts when the table does not allow it. */
void slot_move(enum slot_state *state, enum slot_state to);
/* True in the states in which a job holds the slot. */
bool slot_has_job(enum slot_state state);

#endif
