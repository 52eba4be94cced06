/* States of the asynchronous client, and the moves between them; see the drawing in pg.h. */
#ifndef COMMON_PG_STATE_H
#define COMMON_PG_STATE_H

#include <stdbool.h>

enum pg_state {
    PG_STATE_IDLE = 0,
    PG_STATE_RESOLVING,
    PG_STATE_CONNECTING,
    PG_STATE_READY,
    PG_STATE_WAITING,
    PG_STATE_CLOSING,
    PG_STATE_CLOSED,
    PG_STATE_COUNT
};

const char *pg__state_name(enum pg_state state);
bool pg__state_may_move(enum pg_state from, enum pg_state to);

#endif
