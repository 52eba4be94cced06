/*
 * Cuts normalised code points into tokens, by script.
 *
 * Scripts with spaces: runs of letters, digits and marks. Ideographs and hiragana: one each.
 * Katakana: a run. Thai, Lao, Khmer, Burmese: a letter with its marks. Punctuation and symbols:
 * one each. So no language needs spaces, and none needs a dictionary.
 */
#ifndef WORKER_TEXT_SEGMENT_H
#define WORKER_TEXT_SEGMENT_H

#include "common/base/err.h"
#include "worker/text/classes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text_token {
    uint32_t start; /* index of its first code point */
    uint32_t count; /* code points */
    enum text_class class;
};

/* Whether a code point of this class goes on with a token of that class. */
static inline bool text_token_continues(enum text_class token, enum text_class class)
{
    if (class == TEXT_MARK) {
        return token != TEXT_SPACE;
    }
    return class == token && (class == TEXT_WORD || class == TEXT_KATAKANA);
}

struct text_tokens {
    /* read only */
    struct text_token *tokens;
    size_t count;
    /* private */
    size_t capacity;
};

void text_tokens_init(struct text_tokens *t);
void text_tokens_close(struct text_tokens *t);

/* Replaces what was in t by the tokens of points (borrowed). ERR_NOMEM. */
MUST_CHECK int text_segment(struct text_tokens *t, const uint32_t *points, size_t count,
                            struct err_buf *e);

#endif
