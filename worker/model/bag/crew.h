/*
 * The threads that help a training, and how they are made to stand still.
 *
 * A helper is counted from before it is started (bag__crew_join) until it says that it ends
 * (bag__crew_leave). Between two blocks of samples it calls bag__crew_rest, where it waits as long
 * as the crew is halted. The thread that owns the crew is not counted: it halts, looks at what all
 * have written, and lets them go on. Private to the bag family.
 */
#ifndef WORKER_MODEL_BAG_CREW_H
#define WORKER_MODEL_BAG_CREW_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct bag_crew {
    /* private */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_bool is_halted;
    uint32_t working; /* helpers that neither rest nor have left */
};

/* False when the system has no more locks. */
bool bag__crew_init(struct bag_crew *c);
/* Nobody may be in it any more. */
void bag__crew_close(struct bag_crew *c);

/* For the owner: counts a helper that is about to be started. */
void bag__crew_join(struct bag_crew *c);
/* For a helper, or for the owner when it could not be started. */
void bag__crew_leave(struct bag_crew *c);
/* For a helper: waits while the crew is halted. Costs one load otherwise. */
void bag__crew_rest(struct bag_crew *c);

/* For the owner: returns when every helper rests or has left; what they wrote can be read. */
void bag__crew_halt(struct bag_crew *c);
void bag__crew_go_on(struct bag_crew *c);
/* For the owner: waits up to ms for all to leave; true when nobody is left. */
bool bag__crew_wait(struct bag_crew *c, int ms);

#endif
