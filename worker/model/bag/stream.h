/*
 * The linear part learnt in one pass: from each sample once, as it is added, keeping none.
 * Private to the bag family.
 *
 * Memory is a slot a feature and, with more than two labels, a row of weights for each feature that
 * was seen often enough. Nothing depends on how many samples there are.
 */
#ifndef WORKER_MODEL_BAG_STREAM_H
#define WORKER_MODEL_BAG_STREAM_H

#include "worker/model/bag/bag.h"
#include "worker/model/bag/kernels.h"
#include "worker/model/bag/labels.h"

/* A feature. Slots lie in the order of keys, but for the few that found their place taken. */
struct bag_slot {
    uint32_t key;
    uint32_t texts; /* how many texts have it; 0 = the slot is empty */
    union {
        float weight; /* up to two labels: of label 1; that of label 0 is its negative */
        uint32_t row; /* more: its row, once it has one */
    };
    float seen; /* up to two labels: the sum of its squared gradients */
};

struct bag_stream {
    struct bag_params p;
    const struct bag_kernels *kernels;
    struct bag_slot *slots;
    uint32_t shift; /* key >> shift is where a key belongs */
    size_t slot_count;
    size_t used;
    /* more than two labels; row 0 is the bias */
    uint32_t labels; /* that rows have room for: 2, or a multiple of BAG_LANES */
    float *table;    /* [row_room][labels], at a multiple of 64 bytes in table_block */
    float *table_block;
    float *seen; /* [row_room] sum of a row's squared gradients */
    uint32_t rows;
    uint32_t row_room;
    float *scores;
    /* up to two */
    float bias, bias_seen;
    /* the sample that is learnt from when the next one comes, so that memory has time to answer */
    struct text_feature *waiting;
    size_t waiting_count;
    uint32_t waiting_label;
    bool has_waiting;
    struct bag_term *terms;
    uint32_t *places;  /* [terms_room] slots of the terms, up to two labels */
    size_t terms_room; /* of terms, places and waiting */
    /* figures */
    double loss;
    size_t samples;
    bool is_sorted; /* the slots are sealed: 0..used, ascending, none empty */
};

/* Features after p, which is copied. */
void bag__stream_init(struct bag_stream *s, const struct bag_params *p);
void bag__stream_close(struct bag_stream *s);
/*
 * Learns from a sample that has label number label of label_count so far. The features are
 * borrowed. ERR_NOMEM or ERR_LIMIT: then nothing was learnt from this one.
 */
MUST_CHECK int bag__stream_add(struct bag_stream *s, const struct text_feature *features,
                               size_t count, uint32_t label, uint32_t label_count,
                               struct err_buf *e);
/* Learns from the last sample and puts the slots in order; nothing can be added afterwards. */
MUST_CHECK int bag__stream_seal(struct bag_stream *s, uint32_t label_count, struct err_buf *e);
/* The artifact of a sealed stream; labels as it was told them by number. */
MUST_CHECK int bag__stream_export(struct bag_model **ret, const struct bag_stream *s,
                                  const struct bag_labels *labels, struct err_buf *e);
size_t bag__stream_bytes(const struct bag_stream *s);

#endif
