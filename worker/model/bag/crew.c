/* See crew.h: one lock, one condition, a count. */
#include "worker/model/bag/crew.h"

#include <time.h>

bool bag__crew_init(struct bag_crew *c)
{
    pthread_condattr_t monotonic;
    *c = (struct bag_crew){.working = 0};
    if (pthread_condattr_init(&monotonic) != 0) {
        return false;
    }
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC); /* it is a clock: cannot fail */
    bool has_lock = pthread_mutex_init(&c->lock, NULL) == 0;
    bool has_condition = has_lock && pthread_cond_init(&c->changed, &monotonic) == 0;
    if (has_lock && !has_condition) {
        (void)pthread_mutex_destroy(&c->lock);
    }
    (void)pthread_condattr_destroy(&monotonic);
    return has_condition;
}

void bag__crew_close(struct bag_crew *c)
{
    (void)pthread_cond_destroy(&c->changed);
    (void)pthread_mutex_destroy(&c->lock);
}

static void change_working(struct bag_crew *c, int by)
{
    (void)pthread_mutex_lock(&c->lock);
    c->working += (uint32_t)by;
    (void)pthread_cond_broadcast(&c->changed);
    (void)pthread_mutex_unlock(&c->lock);
}

void bag__crew_join(struct bag_crew *c)
{
    change_working(c, 1);
}

void bag__crew_leave(struct bag_crew *c)
{
    change_working(c, -1);
}

void bag__crew_rest(struct bag_crew *c)
{
    if (!atomic_load(&c->is_halted)) {
        return;
    }
    (void)pthread_mutex_lock(&c->lock);
    c->working--;
    (void)pthread_cond_broadcast(&c->changed);
    while (atomic_load(&c->is_halted)) {
        (void)pthread_cond_wait(&c->changed, &c->lock);
    }
    c->working++;
    (void)pthread_mutex_unlock(&c->lock);
}

void bag__crew_halt(struct bag_crew *c)
{
    (void)pthread_mutex_lock(&c->lock);
    atomic_store(&c->is_halted, true);
    while (c->working > 0) {
        (void)pthread_cond_wait(&c->changed, &c->lock);
    }
    (void)pthread_mutex_unlock(&c->lock);
}

void bag__crew_go_on(struct bag_crew *c)
{
    (void)pthread_mutex_lock(&c->lock);
    atomic_store(&c->is_halted, false);
    (void)pthread_cond_broadcast(&c->changed);
    (void)pthread_mutex_unlock(&c->lock);
}

bool bag__crew_wait(struct bag_crew *c, int ms)
{
    struct timespec end;
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += (long)ms * 1000000;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    (void)pthread_mutex_lock(&c->lock);
    int rc = 0;
    while (c->working > 0 && rc == 0) {
        rc = pthread_cond_timedwait(&c->changed, &c->lock, &end);
    }
    bool is_empty = c->working == 0;
    (void)pthread_mutex_unlock(&c->lock);
    return is_empty;
}
