/*
 * What the supervisor as a whole is doing.
 *
 *     STARTING ──hello answered──► UP ──signal, drain flag──► DRAINING ──no job left──► LEAVING
 *         │                         │                            │                         │
 *         └─────────────────────────┴──── second signal, name ───┴───► CLOSING ◄── told ───┘
 *                                          taken by another              │ all handles closed
 *                                                                        ▼
 *                                                                      (loop ends)
 *
 * Only in UP is work taken. In LEAVING the results still wait to be recorded.
 */
#ifndef WORKER_SUPERVISOR_PHASE_H
#define WORKER_SUPERVISOR_PHASE_H

#include <stdbool.h>

enum phase {
    PHASE_STARTING = 0,
    PHASE_UP,
    PHASE_DRAINING,
    PHASE_LEAVING,
    PHASE_CLOSING,
    PHASE_COUNT
};

const char *phase_name(enum phase phase);
bool phase_move_is_allowed(enum phase from, enum phase to);
/* Moves, or aborts when the table does not allow it. */
void phase_move(enum phase *phase, enum phase to);

#endif
