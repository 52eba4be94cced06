/*
 * MessagePack: the only door to msgpack-c.
 *
 * Writing goes through msgpack-c's packer onto a struct buf. Reading never builds objects: bytes
 * are first walked once (wire_check: bounded depth, and no header may promise more elements or
 * bytes than there are), then read in place by a table of typed fields. So five bytes that promise
 * four billion elements cost five bytes.
 *
 * Everything read borrows the input.
 */
#ifndef COMMON_WIRE_WIRE_H
#define COMMON_WIRE_WIRE_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WIRE_DEPTH_MAX = 16, /* maps and arrays inside each other */
    WIRE_KEYS_MAX = 128, /* members of a map that is read by fields */
};

/* --- writing --------------------------------------------------------------------------------- */

/*
 * Remembers the first failure; only wire_writer_finish needs a check. Maps and arrays need no count
 * in advance: wire_write_end puts it in (at most 65,535 members; wire_write_array_of for more).
 *
 *     struct wire_writer w;
 *     wire_writer_init(&w, &out);
 *     wire_write_map(&w);
 *     wire_write_key(&w, "v");
 *     wire_write_integer(&w, 1);
 *     wire_write_end(&w);
 *     rc = wire_writer_finish(&w);
 */
struct wire_writer {
    /* private */
    struct buf *out;
    int rc;
    size_t depth;
    struct {
        size_t offset; /* of the header to be completed */
        size_t count;  /* values written at this level, keys included; is_counted: yet to come */
        bool is_map;
        bool is_counted;
    } open[WIRE_DEPTH_MAX];
};

/* Keeps out. */
void wire_writer_init(struct wire_writer *w, struct buf *out);
void wire_write_map(struct wire_writer *w);
void wire_write_array(struct wire_writer *w);
/* Ends the innermost map or array. */
void wire_write_end(struct wire_writer *w);
/* An array header for exactly count values that follow at this level; no wire_write_end. */
void wire_write_array_of(struct wire_writer *w, uint32_t count);
/* An array of count elements that are MessagePack already (not checked). */
void wire_write_array_raw(struct wire_writer *w, uint32_t count, struct span elements);
void wire_write_key(struct wire_writer *w, const char *key);
void wire_write_text(struct wire_writer *w, struct span text);
void wire_write_bytes(struct wire_writer *w, struct span bytes);
void wire_write_integer(struct wire_writer *w, int64_t value);
void wire_write_real(struct wire_writer *w, double value);
void wire_write_bool(struct wire_writer *w, bool value);
void wire_write_null(struct wire_writer *w);
/* The first failure (ERR_LIMIT, ERR_NOMEM), ERR_INVALID when a level is still open or a map lacks a
 * value, or 0. */
MUST_CHECK int wire_writer_finish(const struct wire_writer *w);

/* --- reading --------------------------------------------------------------------------------- */

/* True for well-formed UTF-8 without NUL bytes: what PostgreSQL can store as text. */
bool wire_text_is_valid(struct span text);

/* Walks bytes without allocating: exactly one value, nothing behind it. ERR_PARSE with the offset,
 * ERR_LIMIT when deeper than WIRE_DEPTH_MAX. */
MUST_CHECK int wire_check(struct span bytes, struct err_buf *e);

enum wire_type {
    WIRE_TEXT = 1, /* struct span; well-formed UTF-8 without NUL, length in min..max */
    WIRE_NAME,     /* char[max + 1], NUL-terminated; as WIRE_TEXT otherwise */
    WIRE_BYTES,    /* struct span; bin or str, any bytes */
    WIRE_INTEGER,  /* int64_t in min..max */
    WIRE_REAL,     /* double, finite; integers are accepted */
    WIRE_BOOL,     /* bool */
    WIRE_ARRAY,    /* struct wire_array; at most max elements */
    WIRE_MAP,      /* struct span: the bytes of the map, for wire_read */
    WIRE_TYPE_COUNT
};

/* An array inside checked bytes. */
struct wire_array {
    struct span bytes; /* of the elements */
    size_t count;
};

struct wire_field {
    const char *name;
    enum wire_type type;
    bool is_required;
    int64_t min, max; /* bounds of an integer, lengths of texts and bytes, elements of an array */
    void *ret;        /* where the value goes; untouched when the field is absent or null */
    bool *ret_has;    /* set true when present and not null; may be NULL */
};

/*
 * Checks bytes (one map with text keys, nothing behind it) and reads the fields of the table.
 * Unknown keys are skipped, null counts as absent. ERR_PARSE naming the field: of another type, out
 * of bounds, given twice, or missing. On failure some ret may have been written.
 */
MUST_CHECK int wire_read(struct span bytes, const struct wire_field *fields, size_t count,
                         struct err_buf *e);

/* The next element of an array, whose name is for messages; array moves on. At its end
 * ERR_NOTFOUND. Elements of another type: ERR_PARSE. */
MUST_CHECK int wire_next_text(struct wire_array *array, const char *name, size_t bytes_max,
                              struct span *ret, struct err_buf *e);
MUST_CHECK int wire_next_integer(struct wire_array *array, const char *name, int64_t *ret,
                                 struct err_buf *e);
MUST_CHECK int wire_next_real(struct wire_array *array, const char *name, double *ret,
                              struct err_buf *e);
/* Any element, as its bytes: a map for wire_read. */
MUST_CHECK int wire_next_value(struct wire_array *array, struct span *ret, struct err_buf *e);

#endif
