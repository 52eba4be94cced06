/*
 * Who leads: a row in PostgreSQL with a term and an expiry (sql/functions/leader.sql).
 *
 * The row is renewed every renew_ms. What was granted is believed for ttl_ms less a margin, counted
 * from when the renewal was *sent*, on the monotonic clock: so this process stops before anybody
 * else can start, whatever the network did. A standby asks as often and waits.
 *
 *   STANDBY ──granted──► LEADING ──not renewed in time, or another term──► STANDBY
 */
#ifndef SCHEDULER_LEADERSHIP_LEADERSHIP_H
#define SCHEDULER_LEADERSHIP_LEADERSHIP_H

#include <stdbool.h>
#include <stdint.h>

struct pg;
struct uv_loop_s;
struct leadership;

typedef void (*leadership_gain_cb)(int64_t term, void *data);
typedef void (*leadership_loss_cb)(const char *reason, void *data);
typedef void (*leadership_close_cb)(void *data);

struct leadership_options {
    struct uv_loop_s *loop; /* kept */
    struct pg *pg;          /* kept; a connection of its own, so that no work delays a renewal */
    const char *holder;     /* kept; unlike that of any other process */
    int64_t ttl_ms;
    int64_t renew_ms;
    leadership_gain_cb on_gain;
    leadership_loss_cb on_loss;
    void *data;
};

/* Starts asking. Returns owned (leadership_close), or NULL when out of memory. */
struct leadership *leadership_new(const struct leadership_options *options);
bool leadership_is_leading(const struct leadership *l);
int64_t leadership_term(const struct leadership *l);
/* The record said that the term is over. */
void leadership_lose(struct leadership *l, const char *reason);
/* Gives the term up so that a standby can take over at once; on_loss is not called. done is called
 * when the record knows, or cannot be reached. */
void leadership_resign(struct leadership *l, leadership_close_cb done, void *data);
/* Frees l later; pg's callbacks must have come (close it first). */
void leadership_close(struct leadership *l);

#endif
