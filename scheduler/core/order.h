/*
 * The order of waiting jobs as one number a job that never changes while it waits, so that a heap
 * of them stays in order by itself.
 *
 * A job gains one point of priority in every age_ms that it waits. Two jobs gain at the same speed,
 * so which of them is ahead was settled when the later one came: the number is the time at which
 * the job was queued, less age_ms for each point of its priority. The gain is bounded by bands of a
 * hundred points (-50..49 is the normal one): a job passes others of its band, however late, and
 * never one of a higher band.
 */
#ifndef SCHEDULER_CORE_ORDER_H
#define SCHEDULER_CORE_ORDER_H

#include <stdint.h>

/* The smaller goes first. age_ms 0: priorities do not age. */
int64_t order_key(int priority, int64_t queued_ms, int64_t age_ms);
/* The time that went into the key. */
int64_t order_queued_ms(int64_t key, int priority, int64_t age_ms);
/* What counts as equal effective priority: keys within the same age_ms. Rises with the key. */
int64_t order_level(int64_t key, int64_t age_ms);

#endif
