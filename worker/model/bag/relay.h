/*
 * Hands samples from the thread that reads texts to one that learns from them in one pass.
 *
 * The order stays, so the result is that of one thread; what one thread gains is that reading,
 * normalising and hashing go on meanwhile. Samples go in batches through a ring of fixed size: the
 * reader waits when it is full. Between bag__relay_add and the end of bag__relay_drain the stream
 * belongs to the relay. Private to the bag family.
 */
#ifndef WORKER_MODEL_BAG_RELAY_H
#define WORKER_MODEL_BAG_RELAY_H

#include "worker/model/bag/stream.h"

struct bag_relay;

/* Keeps s. NULL when there is no memory or no thread: then the caller learns by itself. Free with
 * bag__relay_free. */
struct bag_relay *bag__relay_new(struct bag_stream *s);
/* Ends the thread; what was not drained is lost. NULL is harmless. */
void bag__relay_free(struct bag_relay *r);
/*
 * As bag__stream_add; the features are copied. ERR_NOMEM also when that came of an earlier sample:
 * then nothing is learnt any more, and every later call fails the same way.
 */
MUST_CHECK int bag__relay_add(struct bag_relay *r, const struct text_feature *features,
                              size_t count, uint32_t label, uint32_t label_count,
                              struct err_buf *e);
/* Returns when all that was added is learnt; the stream is the caller's until the next one is
 * added. Fails as bag__relay_add. */
MUST_CHECK int bag__relay_drain(struct bag_relay *r, struct err_buf *e);

#endif
