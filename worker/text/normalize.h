/*
 * Text to normalised code points: NFKC with case folding, default-ignorable code points removed
 * (soft hyphen, zero-width joiners, variation selectors).
 *
 * Most code points map to one code point and do not combine with their neighbours; they go
 * through a table. Only runs that need it go through utf8proc, and ASCII needs neither.
 */
#ifndef WORKER_TEXT_NORMALIZE_H
#define WORKER_TEXT_NORMALIZE_H

#include "common/base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Longest text that is accepted, in bytes; a longer one is cut by the caller or refused here. */
#define TEXT_BYTES_MAX ((size_t)1 << 20)

struct text_points {
    /* read only: the code points of the last text_normalize */
    uint32_t *points;
    size_t count;
    /* private */
    size_t capacity;
    uint32_t *raw;
    size_t raw_capacity;
};

void text_points_init(struct text_points *t);
void text_points_close(struct text_points *t);

/*
 * Normalises text (borrowed) into t, replacing what was there. ERR_DATA when it is not UTF-8 (the
 * message has the offset, never the text), ERR_LIMIT when it is longer than TEXT_BYTES_MAX,
 * ERR_NOMEM.
 */
MUST_CHECK int text_normalize(struct text_points *t, const char *text, size_t length,
                              struct err_buf *e);

#endif
