/*
 * The few msgpack types of the artifact, written and read with every length checked.
 *
 * The reader never allocates and never recurses: it walks the bytes it was given, and any length
 * that does not fit in them is an error. Private to the bag family.
 */
#ifndef WORKER_MODEL_BAG_PACK_H
#define WORKER_MODEL_BAG_PACK_H

#include "common/base/buf.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stdint.h>

/* --- writing: each returns 0, ERR_LIMIT or ERR_NOMEM --------------------------------------------
 */

MUST_CHECK int bag__pack_map(struct buf *b, uint32_t pairs);
MUST_CHECK int bag__pack_array(struct buf *b, uint32_t items);
MUST_CHECK int bag__pack_text(struct buf *b, struct span text);
MUST_CHECK int bag__pack_uint(struct buf *b, uint64_t value);
MUST_CHECK int bag__pack_double(struct buf *b, double value);
/* Only the header of length bytes, always the 5-byte form; the caller adds the bytes. */
MUST_CHECK int bag__pack_bin_header(struct buf *b, uint32_t length);

/* --- reading ------------------------------------------------------------------------------------
 */

enum bag_pack_type {
    BAG_PACK_UINT = 1,
    BAG_PACK_DOUBLE,
    BAG_PACK_TEXT,
    BAG_PACK_BIN,
    BAG_PACK_MAP,
    BAG_PACK_ARRAY,
    BAG_PACK_OTHER /* nil, booleans, negative integers, extensions: never what we look for */
};

struct bag_pack_item {
    enum bag_pack_type type;
    uint64_t number;   /* UINT; items of an ARRAY, pairs of a MAP */
    double real;       /* DOUBLE */
    struct span bytes; /* TEXT, BIN */
};

struct bag_pack_reader {
    const unsigned char *data;
    size_t length;
    size_t at;
};

/* The next item without what it contains; false at the end or when it does not fit. */
bool bag__pack_next(struct bag_pack_reader *r, struct bag_pack_item *ret);
/* Passes over the next item with everything inside it. */
bool bag__pack_skip(struct bag_pack_reader *r);

#endif
