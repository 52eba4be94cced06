/*
 * The core's store port on PostgreSQL: each call is one function of sql/functions/scheduler.sql,
 * one transaction, sent through one pipelined connection, so that answers come in the order of
 * calls.
 *
 * Every call names the term. When an answer cannot be had (the connection was lost, the term is
 * over, the server asks to run it again) on_lost is called once: the owner then stops the core,
 * calls store_reset, and starts the core again when there is a connection and a term. Answers to
 * calls from before store_reset are dropped.
 */
#ifndef SCHEDULER_STORE_STORE_H
#define SCHEDULER_STORE_STORE_H

#include "common/base/err.h"
#include "scheduler/core/core.h"

struct pg;
struct store;

/* rc: ERR_FENCED when the term is over, else ERR_UNREACHABLE and the like. */
typedef void (*store_lost_cb)(int rc, const char *reason, void *data);
typedef void (*store_answer_cb)(const struct core_answer *answer, void *data);

struct store_options {
    struct pg *pg; /* kept */
    store_answer_cb on_answer;
    store_lost_cb on_lost;
    void *data;
    int64_t half_life_ms;    /* what the core was set to, for the record's views */
    int64_t priority_age_ms; /* the same */
    int live_ms;             /* a worker that was not seen for so long is given nothing */
    int undelivered_ms;      /* what its worker does not hold after so long is taken back */
    int gone_ms;             /* a worker that was not seen for so long is marked as gone */
};

/* Returns owned, or NULL when out of memory. */
struct store *store_new(const struct store_options *options);
/* Calls under way must have been answered (close the pg client first). */
void store_free(struct store *s);
/* The port to give to the core; borrows s. */
struct core_store store_port(struct store *s);
/* The term that calls name from now on. */
void store_set_term(struct store *s, int64_t term);
void store_reset(struct store *s);

#endif
