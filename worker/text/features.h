/*
 * Hashed features of a text: words, word pairs and character n-grams, with counts.
 *
 * A key is 32 bits: 31 of a hash and, lowest, the block (words or characters). Keys depend only on
 * the normalised code points, never on the machine; golden values are in tests/unit/test_text.c.
 */
#ifndef WORKER_TEXT_FEATURES_H
#define WORKER_TEXT_FEATURES_H

#include "common/base/err.h"
#include "worker/text/normalize.h"
#include "worker/text/segment.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum text_block { TEXT_BLOCK_WORDS = 0, TEXT_BLOCK_CHARS = 1, TEXT_BLOCK_COUNT };

static inline enum text_block text_key_block(uint32_t key)
{
    return (enum text_block)(key & 1);
}

struct text_spec {
    uint32_t word_max; /* longest run of neighbouring tokens; 0 = no word features */
    uint32_t word_gap; /* also pairs of tokens up to this many apart, in order; 0 or 1 = none */
    uint32_t char_min; /* shortest and longest character n-gram; char_max 0 = none */
    uint32_t char_max;
    bool char_across; /* n-grams may span words */
    bool char_jamo;   /* n-grams are of the two or three letters of a Hangul syllable, not of it */
};

/* Whether both give the same features. */
bool text_spec_equals(const struct text_spec *a, const struct text_spec *b);

/* Limits of a spec; extraction relies on them. */
enum { TEXT_WORD_MAX = 4, TEXT_GAP_MAX = 16, TEXT_CHAR_MAX = 8 };

struct text_feature {
    uint32_t key;
    uint32_t count; /* times it occurs in the text, at least 1 */
};

/* Extracts features; reuse one for many texts, never from two threads at once. */
struct text_extractor {
    /* read only: the features of the last text, each key once, in order of first occurrence */
    struct text_feature *features;
    size_t count;
    /* private */
    struct text_points points;
    struct text_tokens tokens;
    size_t capacity;
    uint32_t *slots;
    size_t slot_count;
    uint32_t *token_hash;
    size_t token_count;
    size_t token_capacity;
    uint32_t *stream;
    size_t stream_capacity;
};

void text_extractor_init(struct text_extractor *x);
void text_extractor_close(struct text_extractor *x);

/* Fills x->features from text (borrowed). ERR_DATA when not UTF-8, ERR_LIMIT, ERR_NOMEM. */
MUST_CHECK int text_extract(struct text_extractor *x, const struct text_spec *spec,
                            const char *text, size_t length, struct err_buf *e);

#endif
