/* The supervisor's moves, as a table. */
#include "worker/supervisor/phase.h"

#include "common/base/err.h"

#define TO(phase) (1u << (phase))

static const struct {
    const char *name;
    unsigned to;
} phases[PHASE_COUNT] = {
    [PHASE_STARTING] = {"starting", TO(PHASE_UP) | TO(PHASE_DRAINING) | TO(PHASE_CLOSING)},
    [PHASE_UP] = {"up", TO(PHASE_DRAINING) | TO(PHASE_CLOSING)},
    [PHASE_DRAINING] = {"draining", TO(PHASE_LEAVING) | TO(PHASE_CLOSING)},
    [PHASE_LEAVING] = {"leaving", TO(PHASE_CLOSING)},
    [PHASE_CLOSING] = {"closing", 0},
};

const char *phase_name(enum phase phase)
{
    CHECK(phase >= 0 && phase < PHASE_COUNT);
    return phases[phase].name;
}

bool phase_move_is_allowed(enum phase from, enum phase to)
{
    return from >= 0 && from < PHASE_COUNT && to >= 0 && to < PHASE_COUNT &&
           (phases[from].to & TO(to)) != 0;
}

void phase_move(enum phase *phase, enum phase to)
{
    CHECK(phase_move_is_allowed(*phase, to));
    *phase = to;
}
