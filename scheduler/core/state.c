#include "scheduler/core/state.h"

#include "common/base/err.h"

#define BIT(state) (1u << CORE_STATE_##state)

static const struct {
    const char *name;
    unsigned decided; /* bits of the states that the scheduler may choose next */
} rows[CORE_STATE_COUNT] = {
    [CORE_STATE_UNKNOWN] = {"unknown", 0},
    [CORE_STATE_WAITING] = {"waiting", BIT(QUEUED)},
    [CORE_STATE_QUEUED] = {"queued", BIT(DISPATCHED)},
    [CORE_STATE_DISPATCHED] = {"dispatched", 0},
    [CORE_STATE_RUNNING] = {"running", 0},
    [CORE_STATE_SUCCEEDED] = {"succeeded", 0},
    [CORE_STATE_FAILED] = {"failed", 0},
    [CORE_STATE_CANCELLED] = {"cancelled", 0},
    [CORE_STATE_REJECTED] = {"rejected", 0},
    [CORE_STATE_SKIPPED] = {"skipped", 0},
};

const char *core_state_name(enum core_state state)
{
    CHECK(state < CORE_STATE_COUNT);
    return rows[state].name;
}

enum core_state core_state_parse(struct span name)
{
    for (int i = CORE_STATE_WAITING; i < CORE_STATE_COUNT; i++) {
        if (span_is(name, rows[i].name)) {
            return (enum core_state)i;
        }
    }
    return CORE_STATE_UNKNOWN;
}

bool core_state_is_ended(enum core_state state)
{
    return state >= CORE_STATE_SUCCEEDED;
}

bool core_state_is_open_attempt(enum core_state state)
{
    return state == CORE_STATE_DISPATCHED || state == CORE_STATE_RUNNING;
}

bool core_state_may_follow(enum core_state from, enum core_state to)
{
    return to != CORE_STATE_UNKNOWN && (!core_state_is_ended(from) || from == to);
}

bool core_state_may_decide(enum core_state from, enum core_state to)
{
    CHECK(from < CORE_STATE_COUNT);
    return (rows[from].decided & 1u << to) != 0;
}
