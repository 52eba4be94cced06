/* Inside of struct bag_data. Private to the bag family. */
#ifndef WORKER_MODEL_BAG_DATA_H
#define WORKER_MODEL_BAG_DATA_H

#include "worker/model/bag/bag.h"
#include "worker/model/bag/labels.h"
#include "worker/model/bag/relay.h"
#include "worker/model/bag/stream.h"
#include "worker/model/bag/vocab.h"

/* A feature of a sample: its id above, how often the text has it (255 = or more) below. */
enum { BAG_ENTRY_SHIFT = 8, BAG_ENTRY_COUNT = 255 };

struct bag_data {
    struct text_spec spec;
    uint32_t feature_count_min;
    struct text_extractor extractor;
    struct bag_vocab vocab;
    struct bag_labels labels;
    size_t samples;
    size_t sample_room;
    uint32_t *label;  /* [samples] */
    size_t *entry_at; /* [samples + 1] */
    uint32_t *words;  /* [samples] so many of a sample's entries, the first, are of words */
    uint32_t *entries;
    size_t entry_room;
    struct bag_stream *stream; /* one pass: learns what is added; then there are no entries */
    struct bag_relay *relay;   /* then the stream is in its hands; NULL: in one thread */
    size_t relay_from;         /* samples before there is one; SIZE_MAX = never */
    bool is_sealed;
};

/*
 * Drops rare features and numbers the others by falling count (ties by key), so that the rows used
 * most lie together. Nothing can be added afterwards; sealing twice is harmless. ERR_NOMEM.
 */
MUST_CHECK int bag__data_seal(struct bag_data *d, struct err_buf *e);

#endif
