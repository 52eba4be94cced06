/* The machine of redis.h as a table, without anything that acts. */
#include "common/base/err.h"
#include "common/redis/redis_int.h"

#define MAY(state) (1u << REDIS__STATE_##state)

static const struct {
    const char *name;
    unsigned next; /* allowed moves */
} states[REDIS__STATE_COUNT] = {
    [REDIS__STATE_IDLE] = {"IDLE", MAY(RESOLVING) | MAY(CLOSING)},
    [REDIS__STATE_RESOLVING] = {"RESOLVING", MAY(CONNECTING) | MAY(WAITING) | MAY(CLOSING)},
    [REDIS__STATE_CONNECTING] = {"CONNECTING", MAY(GREETING) | MAY(WAITING) | MAY(CLOSING)},
    [REDIS__STATE_GREETING] = {"GREETING",
                               MAY(READY) | MAY(RESOLVING) | MAY(WAITING) | MAY(CLOSING)},
    [REDIS__STATE_READY] = {"READY", MAY(WAITING) | MAY(CLOSING)},
    [REDIS__STATE_WAITING] = {"WAITING", MAY(RESOLVING) | MAY(CLOSING)},
    [REDIS__STATE_CLOSING] = {"CLOSING", MAY(CLOSED)},
    [REDIS__STATE_CLOSED] = {"CLOSED", 0},
};

const char *redis__state_text(enum redis__state state)
{
    CHECK((unsigned)state < REDIS__STATE_COUNT);
    return states[state].name;
}

bool redis__state_may_move(enum redis__state from, enum redis__state to)
{
    CHECK((unsigned)from < REDIS__STATE_COUNT && (unsigned)to < REDIS__STATE_COUNT);
    return (states[from].next & (1u << to)) != 0;
}

int64_t redis__backoff_ms(unsigned attempt, int64_t min_ms, int64_t max_ms, double unit)
{
    int64_t wait = min_ms < max_ms ? min_ms : max_ms;
    for (unsigned i = 0; i < attempt && wait < max_ms; i++) {
        wait = wait > max_ms / 2 ? max_ms : wait * 2;
    }
    int64_t half = wait / 2;
    return wait - half + (int64_t)((double)half * unit);
}
