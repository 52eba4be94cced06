/* Tables over the code points below TEXT_TABLE_SIZE, filled once from utf8proc. Private to text/.
 */
#ifndef WORKER_TEXT_TABLES_H
#define WORKER_TEXT_TABLES_H

#include <stdint.h>

/* Everything below covers the alphabets, Indic scripts, Thai, kana and general punctuation. */
enum { TEXT_TABLE_SIZE = 0x3100 };

struct text__tables {
    uint16_t fold[TEXT_TABLE_SIZE];     /* the one code point it becomes; 0 = needs utf8proc */
    uint8_t combining[TEXT_TABLE_SIZE]; /* canonical combining class of what it becomes */
    uint8_t class[TEXT_TABLE_SIZE];     /* enum text_class */
};

/* Thread-safe; static storage. */
const struct text__tables *text__tables(void);

#endif
