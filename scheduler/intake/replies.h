/*
 * Answers on their way to those who submitted. What Redis does not take because it is out of memory
 * is kept, within a bound, and sent again until it does: emptying the intake is what frees memory.
 * Any other loss costs nothing: a client that misses its reply sends the submission again and is
 * answered then.
 */
#ifndef SCHEDULER_INTAKE_REPLIES_H
#define SCHEDULER_INTAKE_REPLIES_H

#include "common/base/span.h"

struct redis;
struct replies;
struct uv_loop_s;

/* Keeps loop and redis. Returns owned (replies_close), or NULL when out of memory. */
struct replies *replies_new(struct uv_loop_s *loop, struct redis *redis);
/* Adds bytes to the list at key, which goes by itself when nobody fetches it. */
void replies_send(struct replies *r, const char *key, struct span bytes);
/* Frees r later; redis must be closed first. */
void replies_close(struct replies *r);

#endif
