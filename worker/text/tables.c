/* Fills the tables by asking utf8proc about each code point once per process. */
#include "worker/text/tables.h"

#include "worker/text/classes.h"

#include <pthread.h>
#include <stdbool.h>
#include <utf8proc.h>

static struct text__tables tables;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static enum text_class class_from_category(utf8proc_category_t category)
{
    switch (category) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return TEXT_WORD;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
        return TEXT_MARK;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CN:
        return TEXT_SPACE;
    default:
        return TEXT_PUNCT;
    }
}

static bool in_range(uint32_t point, uint32_t first, uint32_t last)
{
    return point >= first && point <= last;
}

static bool is_unspaced_script(uint32_t p)
{
    return in_range(p, 0x0e00, 0x0eff) || in_range(p, 0x1000, 0x109f) ||
           in_range(p, 0x1780, 0x17ff) || in_range(p, 0x19e0, 0x19ff) ||
           in_range(p, 0xa9e0, 0xa9ff) || in_range(p, 0xaa60, 0xaa7f);
}

static bool is_han(uint32_t p)
{
    return p == 0x3005 || p == 0x3007 || in_range(p, 0x3400, 0x4dbf) ||
           in_range(p, 0x4e00, 0x9fff) || in_range(p, 0xf900, 0xfaff) ||
           in_range(p, 0x20000, 0x3ffff);
}

static enum text_class classify(uint32_t p)
{
    enum text_class class = class_from_category(utf8proc_category((utf8proc_int32_t)p));
    if (is_han(p)) {
        return TEXT_HAN;
    }
    if (in_range(p, 0x3041, 0x309f) && class != TEXT_MARK) {
        return TEXT_KANA;
    }
    if (in_range(p, 0x30a0, 0x30ff) || in_range(p, 0x31f0, 0x31ff)) {
        return p == 0x30fb ? TEXT_PUNCT : TEXT_KATAKANA;
    }
    if (class == TEXT_WORD && is_unspaced_script(p) &&
        utf8proc_category((utf8proc_int32_t)p) != UTF8PROC_CATEGORY_ND) {
        return TEXT_CLUSTER;
    }
    return class;
}

/* What one code point becomes on its own, or 0 when that is not exactly one code point. */
static uint16_t fold_alone(int32_t point)
{
    enum { ROOM = 32 };
    int32_t out[ROOM];
    int boundary = 0;
    utf8proc_option_t options = (utf8proc_option_t)(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT |
                                                    UTF8PROC_CASEFOLD | UTF8PROC_IGNORE);
    utf8proc_ssize_t n = utf8proc_decompose_char(point, out, ROOM, options, &boundary);
    if (n > 1 && n <= ROOM) {
        n = utf8proc_normalize_utf32(out, n, UTF8PROC_COMPOSE);
    }
    return n == 1 && out[0] > 0 && out[0] < TEXT_TABLE_SIZE ? (uint16_t)out[0] : 0;
}

/* Code points that may join with one before them must not take the table's way. */
static void mark_composing(void)
{
    enum { ROOM = 32 };
    for (int32_t point = 0; point < TEXT_TABLE_SIZE; point++) {
        int32_t out[ROOM];
        int boundary = 0;
        utf8proc_ssize_t n =
            utf8proc_decompose_char(point, out, ROOM, UTF8PROC_DECOMPOSE, &boundary);
        for (utf8proc_ssize_t i = 1; i < n && i < ROOM; i++) {
            if (out[i] < TEXT_TABLE_SIZE) {
                tables.entries[out[i]].fold = 0;
            }
        }
    }
    for (int32_t jamo = 0x1100; jamo < 0x1200; jamo++) {
        tables.entries[jamo].fold = 0;
    }
}

static void fill(void)
{
    for (int32_t point = 1; point < TEXT_TABLE_SIZE; point++) {
        uint16_t folded = fold_alone(point);
        tables.entries[point] = (struct text__entry){
            .fold = folded,
            .combining = (uint8_t)utf8proc_get_property(folded ? folded : point)->combining_class,
            .class = classify((uint32_t)point) & 0xf};
    }
    tables.entries[0].fold = ' ';
    for (int32_t point = TEXT_JAMO_FIRST; point <= TEXT_JAMO_LAST; point++) {
        tables.jamo[point - TEXT_JAMO_FIRST] = fold_alone(point);
    }
    mark_composing();
    for (int32_t point = 0; point < TEXT_TABLE_SIZE; point++) {
        tables.entries[point].folded_class = tables.entries[tables.entries[point].fold].class;
    }
}

const struct text__tables *text__tables(void)
{
    (void)pthread_once(&once, fill); /* cannot fail with a static once and a plain function */
    return &tables;
}

enum text_class text_class_of(uint32_t point)
{
    if (point < TEXT_TABLE_SIZE) {
        return (enum text_class)text__tables()->entries[point].class;
    }
    if (text__is_hangul(point)) {
        return TEXT_WORD;
    }
    return in_range(point, 0x4e00, 0x9fff) ? TEXT_HAN : classify(point);
}
