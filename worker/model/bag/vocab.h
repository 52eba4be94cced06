/*
 * Keys to dense ids in order of first sight, with the number of texts that have each.
 *
 * Open addressing, linear probing, at most two thirds full. Private to the bag family.
 */
#ifndef WORKER_MODEL_BAG_VOCAB_H
#define WORKER_MODEL_BAG_VOCAB_H

#include "common/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct bag_vocab {
    /* read only; indexed by id */
    uint32_t *keys;
    uint32_t *texts; /* how many texts have it */
    uint32_t count;
    /* private */
    uint32_t room;
    uint32_t limit;
    uint32_t *slots; /* id + 1, 0 = empty */
    size_t slot_count;
};

#define BAG_VOCAB_NONE UINT32_MAX

void bag__vocab_init(struct bag_vocab *v, uint32_t limit);
void bag__vocab_close(struct bag_vocab *v);
/* Makes room for more new keys, so that so many bag__vocab_add cannot fail. ERR_NOMEM. */
MUST_CHECK int bag__vocab_reserve(struct bag_vocab *v, size_t more, struct err_buf *e);
/* The id of key, new or not; BAG_VOCAB_NONE for a new key when the limit is reached. Counts one
 * text. */
uint32_t bag__vocab_add(struct bag_vocab *v, uint32_t key);
/* The id of key, or BAG_VOCAB_NONE. */
uint32_t bag__vocab_find(const struct bag_vocab *v, uint32_t key);
/* Asks the memory for the slot of key ahead of its use. */
static inline void bag__vocab_prefetch(const struct bag_vocab *v, uint32_t key)
{
    __builtin_prefetch(&v->slots[(key >> 1) & (v->slot_count - 1)]);
}
/*
 * Keeps the ids for which keep[id] is not BAG_VOCAB_NONE and renumbers them to keep[id], which
 * must be a bijection onto 0..count-1. The lookup table is rebuilt. ERR_NOMEM leaves it as it was.
 */
MUST_CHECK int bag__vocab_renumber(struct bag_vocab *v, const uint32_t *keep, uint32_t count,
                                   struct err_buf *e);

#endif
