/*
 * What is known of the code points below TEXT_TABLE_SIZE, filled once from utf8proc, and short cuts
 * for those above. Private to text/.
 */
#ifndef WORKER_TEXT_TABLES_H
#define WORKER_TEXT_TABLES_H

#include "worker/text/classes.h"

#include <stdbool.h>
#include <stdint.h>

/* Everything below covers the alphabets, Indic scripts, Thai, kana and general punctuation. */
enum { TEXT_TABLE_SIZE = 0x3100 };

/* One entry a code point, so that one load tells all of it. */
struct text__entry {
    uint16_t fold;            /* the one code point it becomes; 0 = needs utf8proc */
    uint8_t combining;        /* canonical combining class of what it becomes */
    uint8_t class : 4;        /* enum text_class of itself */
    uint8_t folded_class : 4; /* and of what it becomes */
};

/* Hangul letters as they are typed, which become conjoining ones that may join to syllables. */
enum { TEXT_JAMO_FIRST = 0x3131, TEXT_JAMO_LAST = 0x318e };

struct text__tables {
    struct text__entry entries[TEXT_TABLE_SIZE];
    uint16_t jamo[TEXT_JAMO_LAST - TEXT_JAMO_FIRST + 1]; /* what each becomes on its own, or 0 */
};

/* Thread-safe; static storage. Loops ask once, not for each code point. */
const struct text__tables *text__tables(void);

static inline bool text__is_hangul(uint32_t p)
{
    return p >= 0xac00 && p <= 0xd7a3;
}

/* Above the table: code points that normalise to themselves and never join with another. */
static inline bool text__is_always_itself(uint32_t p)
{
    return text__is_hangul(p) || (p >= 0x4e00 && p <= 0x9fff) || (p >= 0x3400 && p <= 0x4dbf) ||
           (p >= 0x1f300 && p <= 0x1faff) || (p >= 0x20000 && p <= 0x2f7ff);
}

/* What a simple code point becomes, or 0 when it is not simple. */
static inline uint32_t text__fold(const struct text__tables *t, uint32_t p)
{
    if (p < TEXT_TABLE_SIZE) {
        return t->entries[p].fold;
    }
    if (text__is_always_itself(p)) {
        return p;
    }
    if (p >= 0xff01 && p <= 0xff5e) { /* full-width ASCII */
        uint32_t ascii = p - 0xfee0;
        return ascii + (ascii >= 'A' && ascii <= 'Z' ? 32u : 0u);
    }
    return 0;
}

static inline bool text__is_leading_jamo(uint32_t p)
{
    return p >= 0x1100 && p < 0x1113;
}

/* What a typed Hangul letter becomes behind before (normalised), when they do not join, or 0: a
 * leading consonant never joins with what is before it, a vowel only with a leading consonant, and
 * a trailing one with whole syllables. */
static inline uint32_t text__fold_jamo(const struct text__tables *t, uint32_t p, uint32_t before)
{
    if (p < TEXT_JAMO_FIRST || p > TEXT_JAMO_LAST) {
        return 0;
    }
    uint32_t folded = t->jamo[p - TEXT_JAMO_FIRST];
    bool is_vowel = folded >= 0x1161 && folded <= 0x1175;
    bool stays = text__is_leading_jamo(folded) || (is_vowel && !text__is_leading_jamo(before));
    return stays ? folded : 0;
}

static inline uint32_t text__combining(const struct text__tables *t, uint32_t p)
{
    return p < TEXT_TABLE_SIZE ? t->entries[p].combining : 0;
}

/* text_class_of with the tables at hand. */
static inline enum text_class text__class(const struct text__tables *t, uint32_t p)
{
    if (p < TEXT_TABLE_SIZE) {
        return (enum text_class)t->entries[p].class;
    }
    return text__is_hangul(p) ? TEXT_WORD : text_class_of(p);
}

#endif
