#include "common/pg/state.h"

#define BIT(state) (1u << (unsigned)PG_STATE_##state)

static const struct {
    const char *name;
    unsigned moves;
} states[PG_STATE_COUNT] = {
    [PG_STATE_IDLE] = {"IDLE", BIT(RESOLVING) | BIT(CLOSING)},
    [PG_STATE_RESOLVING] = {"RESOLVING", BIT(CONNECTING) | BIT(WAITING) | BIT(CLOSING)},
    [PG_STATE_CONNECTING] = {"CONNECTING", BIT(READY) | BIT(WAITING) | BIT(CLOSING)},
    [PG_STATE_READY] = {"READY", BIT(WAITING) | BIT(CLOSING)},
    [PG_STATE_WAITING] = {"WAITING", BIT(RESOLVING) | BIT(CLOSING)},
    [PG_STATE_CLOSING] = {"CLOSING", BIT(CLOSED)},
    [PG_STATE_CLOSED] = {"CLOSED", 0},
};

const char *pg__state_name(enum pg_state state)
{
    return states[state].name;
}

bool pg__state_may_move(enum pg_state from, enum pg_state to)
{
    return (states[from].moves >> (unsigned)to & 1u) != 0;
}
