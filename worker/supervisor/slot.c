/* The slot's moves, as a table. */
#include "worker/supervisor/slot.h"

#include "common/base/err.h"
#include "common/base/log.h"

#include <stddef.h>

#define TO(state) (1u << (state))

static const struct {
    const char *name;
    unsigned to;
} states[SLOT_STATE_COUNT] = {
    [SLOT_EMPTY] = {"empty", TO(SLOT_STARTING)},
    [SLOT_STARTING] = {"starting", TO(SLOT_IDLE) | TO(SLOT_LEAVING) | TO(SLOT_EMPTY)},
    [SLOT_IDLE] = {"idle", TO(SLOT_RUNNING) | TO(SLOT_LEAVING) | TO(SLOT_EMPTY)},
    [SLOT_RUNNING] = {"running",
                      TO(SLOT_IDLE) | TO(SLOT_STOPPING) | TO(SLOT_LEAVING) | TO(SLOT_EMPTY)},
    [SLOT_STOPPING] = {"stopping", TO(SLOT_LEAVING) | TO(SLOT_EMPTY)},
    [SLOT_LEAVING] = {"leaving", TO(SLOT_EMPTY)},
};

static const char *const stops[SLOT_STOP_COUNT] = {
    [SLOT_STOP_NONE] = "none",     [SLOT_STOP_CANCEL] = "cancel", [SLOT_STOP_TIME] = "time",
    [SLOT_STOP_MEMORY] = "memory", [SLOT_STOP_WEDGED] = "wedged", [SLOT_STOP_DRAIN] = "drain",
    [SLOT_STOP_FENCED] = "fenced",
};

const char *slot_state_name(enum slot_state state)
{
    CHECK(state >= 0 && state < SLOT_STATE_COUNT);
    return states[state].name;
}

const char *slot_stop_name(enum slot_stop stop)
{
    CHECK(stop >= 0 && stop < SLOT_STOP_COUNT);
    return stops[stop];
}

bool slot_move_is_allowed(enum slot_state from, enum slot_state to)
{
    return from >= 0 && from < SLOT_STATE_COUNT && to >= 0 && to < SLOT_STATE_COUNT &&
           (states[from].to & TO(to)) != 0;
}

void slot_move(enum slot_state *state, enum slot_state to)
{
    if (!slot_move_is_allowed(*state, to)) {
        log_error("slot cannot move from=%s to=%s", slot_state_name(*state), slot_state_name(to));
    }
    CHECK(slot_move_is_allowed(*state, to));
    *state = to;
}

bool slot_has_job(enum slot_state state)
{
    return state == SLOT_RUNNING || state == SLOT_STOPPING;
}
