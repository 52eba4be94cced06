/* What kind of character a normalised code point is; decides where tokens begin and end. */
#ifndef WORKER_TEXT_CLASSES_H
#define WORKER_TEXT_CLASSES_H

#include <stdint.h>

enum text_class {
    TEXT_SPACE = 0, /* white space and control characters: between tokens */
    TEXT_WORD,      /* letters, digits and marks of scripts that put spaces between words */
    TEXT_MARK,      /* combining marks: belong to what is before them */
    TEXT_PUNCT,     /* punctuation and symbols: a token of their own */
    TEXT_HAN,       /* ideographs: each is a token */
    TEXT_KANA,      /* hiragana: each is a token */
    TEXT_KATAKANA,  /* a run is a token */
    TEXT_CLUSTER,   /* Thai, Lao, Khmer, Burmese: a letter with its marks is a token */
    TEXT_CLASS_COUNT
};

enum text_class text_class_of(uint32_t point);

#endif
