/*
 * NFKC with case folding, run by run.
 *
 * A code point is simple when it becomes one code point and never joins with one before it. A
 * run of others is handed to utf8proc together with the starter before it, which it may join.
 */
#include "worker/text/normalize.h"

#include "common/base/mem.h"
#include "worker/text/tables.h"
#include "worker/text/utf8.h"

#include <utf8proc.h>

/* The longest compatibility decomposition (U+FDFA) has 18 code points. */
enum { EXPANSION_MAX = 18 };

void text_points_init(struct text_points *t)
{
    *t = (struct text_points){0};
}

void text_points_close(struct text_points *t)
{
    mem_free(t->points);
    mem_free(t->raw);
    *t = (struct text_points){0};
}

static int reserve(uint32_t **block, size_t *capacity, size_t need, struct err_buf *e)
{
    if (need <= *capacity) {
        return 0;
    }
    size_t room = need + need / 2 + 64;
    uint32_t *bigger = mem_resize_array(*block, room, sizeof **block);
    if (!bigger) {
        return err_set(e, ERR_NOMEM, "cannot hold a text of %zu code points", need);
    }
    *block = bigger;
    *capacity = room;
    return 0;
}

static void fold_ascii(struct text_points *t, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        t->points[i] = c + (c >= 'A' && c <= 'Z' ? 32u : 0u);
    }
    t->count = length;
}

/* Canonical order: a stable sort of marks by class; runs of marks are short. */
static void order_marks(int32_t *points, ptrdiff_t count)
{
    for (ptrdiff_t i = 1; i < count; i++) {
        int32_t p = points[i];
        int class = utf8proc_get_property(p)->combining_class;
        ptrdiff_t j = i;
        while (class != 0 && j > 0 &&
               utf8proc_get_property(points[j - 1])->combining_class > class) {
            points[j] = points[j - 1];
            j--;
        }
        points[j] = p;
    }
}

static int fold_run(struct text_points *t, const uint32_t *raw, size_t count, struct err_buf *e)
{
    int rc = reserve(&t->points, &t->capacity, t->count + count * EXPANSION_MAX, e);
    if (rc) {
        return rc;
    }
    int32_t *out = (int32_t *)t->points + t->count;
    ptrdiff_t used = 0;
    int boundary = 0;
    utf8proc_option_t options = (utf8proc_option_t)(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT |
                                                    UTF8PROC_CASEFOLD | UTF8PROC_IGNORE);
    for (size_t i = 0; i < count; i++) {
        utf8proc_ssize_t n =
            utf8proc_decompose_char((int32_t)raw[i], out + used, EXPANSION_MAX, options, &boundary);
        used += n > 0 && n <= EXPANSION_MAX ? n : 0;
    }
    order_marks(out, used);
    utf8proc_ssize_t n = utf8proc_normalize_utf32(out, used, UTF8PROC_COMPOSE);
    t->count += (size_t)(n > 0 ? n : 0);
    return 0;
}

static int fold_points(struct text_points *t, const uint32_t *raw, size_t count, struct err_buf *e)
{
    const struct text__tables *tables = text__tables();
    size_t simple_from = 0; /* raw[simple_from..i) went one to one into points */
    uint32_t class_before = 0;
    for (size_t i = 0; i < count;) {
        uint32_t folded = text__fold(tables, raw[i]);
        uint32_t class = folded ? text__combining(tables, raw[i]) : 0;
        if (folded && (class == 0 || class >= class_before)) {
            t->points[t->count++] = folded;
            class_before = class;
            i++;
            continue;
        }
        size_t from = i;
        while (from > simple_from && text__combining(tables, raw[from - 1]) != 0) {
            from--;
        }
        from -= from > simple_from;
        t->count -= i - from;
        size_t to = i + 1;
        while (to < count &&
               (text__fold(tables, raw[to]) == 0 || text__combining(tables, raw[to]) != 0)) {
            to++;
        }
        int rc = fold_run(t, raw + from, to - from, e);
        if (rc == 0) {
            rc = reserve(&t->points, &t->capacity, t->count + (count - to), e);
        }
        if (rc) {
            return rc;
        }
        i = to;
        simple_from = to;
        class_before = 0;
    }
    return 0;
}

/* Decodes and folds in one go while every code point is simple; false when one is not, or is
 * malformed. */
static bool fold_all_simple(struct text_points *t, const char *text, size_t length)
{
    const struct text__tables *tables = text__tables();
    const unsigned char *p = (const unsigned char *)text;
    uint32_t *out = t->points;
    uint32_t class_before = 0;
    for (size_t i = 0; i < length;) {
        uint32_t point = p[i];
        size_t used = point < 0x80 ? 1 : utf8_next_long(p + i, length - i, &point);
        uint32_t folded = used ? text__fold(tables, point) : 0;
        uint32_t class = folded ? text__combining(tables, point) : 0;
        if (used && !folded) {
            folded = text__fold_jamo(tables, point, out > t->points ? out[-1] : 0);
        }
        if (!folded || (class != 0 && class < class_before)) {
            return false;
        }
        *out++ = folded;
        class_before = class;
        i += used;
    }
    t->count = (size_t)(out - t->points);
    return true;
}

int text_normalize(struct text_points *t, const char *text, size_t length, struct err_buf *e)
{
    t->count = 0;
    if (length > TEXT_BYTES_MAX) {
        return err_set(e, ERR_LIMIT, "a text of %zu bytes; the limit is %zu", length,
                       TEXT_BYTES_MAX);
    }
    int rc = reserve(&t->points, &t->capacity, length, e);
    if (rc) {
        return rc;
    }
    if (utf8_is_ascii(text, length)) {
        fold_ascii(t, text, length);
        return 0;
    }
    if (fold_all_simple(t, text, length)) {
        return 0;
    }
    rc = reserve(&t->raw, &t->raw_capacity, length, e);
    if (rc) {
        return rc;
    }
    size_t bad = 0;
    ptrdiff_t count = utf8_decode(text, length, t->raw, &bad);
    if (count < 0) {
        return err_set(e, ERR_DATA, "not UTF-8 at byte %zu of a text of %zu", bad, length);
    }
    return fold_points(t, t->raw, (size_t)count, e);
}
