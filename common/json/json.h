/*
 * JSON: the only door to jansson.
 *
 * Parsing is bounded (bytes, depth, number of values) before anything is allocated, refuses
 * duplicate keys and text that is not UTF-8, and says line and column on failure, but never shows
 * the input itself: it may hold texts of customers.
 *
 * A tree is owned through its root (json_free); everything reached from it is borrowed and valid
 * until the root is freed or that part is replaced. The writer puts JSON straight into a buffer and
 * is the better choice for building results.
 */
#ifndef COMMON_JSON_JSON_H
#define COMMON_JSON_JSON_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_kind {
    JSON_KIND_NONE = 0, /* there is no value */
    JSON_KIND_NULL,
    JSON_KIND_BOOL,
    JSON_KIND_INTEGER,
    JSON_KIND_REAL,
    JSON_KIND_TEXT,
    JSON_KIND_LIST,
    JSON_KIND_MAP,
    JSON_KIND_COUNT
};

/* A value in a tree. NULL stands for "not there" in every function that reads. */
struct json;

struct json_limits {
    size_t bytes_max;
    size_t depth_max;  /* lists and maps inside each other */
    size_t values_max; /* each costs up to about 150 bytes of memory */
};

/* For a job's spec: 64 KiB, depth 8, 4096 values. */
extern const struct json_limits json_limits_spec;
/* For a job's result: 32 MiB, depth 16, 1 million values. */
extern const struct json_limits json_limits_result;
/* For one line of imported data: 1 MiB, depth 16, 4096 values. */
extern const struct json_limits json_limits_line;

/*
 * Parses exactly one value of any kind. text is borrowed for the call and needs no NUL.
 * ERR_PARSE ("line 3, column 7: expected ':'"), ERR_LIMIT, ERR_NOMEM. *ret: free with json_free.
 */
MUST_CHECK int json_parse(struct span text, const struct json_limits *limits, struct json **ret,
                          struct err_buf *e);
/* Frees a root; NULL is fine. */
void json_free(struct json *root);

/* --- reading --------------------------------------------------------------------------------- */

enum json_kind json_kind_of(const struct json *value);
/* "a list", "an integer"...: for messages. Static storage. */
const char *json_kind_name(enum json_kind kind);
/* The member with that key, or NULL (also when map is no map). Borrowed. */
const struct json *json_get(const struct json *map, const char *key);
/* Members of a map, elements of a list, else 0. */
size_t json_count(const struct json *value);
/* The element at index of a list, or NULL. Borrowed. */
const struct json *json_at(const struct json *list, size_t index);
/* Calls visit for each member in the order of the keys' bytes until it returns other than 0;
 * returns that, or 0. ERR_NOMEM. */
int json_each(const struct json *map,
              int (*visit)(const char *key, const struct json *value, void *data), void *data);

/* The value, or fallback when it is missing or of another kind. */
int64_t json_integer_or(const struct json *value, int64_t fallback);
/* Accepts integers too. */
double json_real_or(const struct json *value, double fallback);
bool json_bool_or(const struct json *value, bool fallback);
/* NUL-terminated (JSON texts with \u0000 are refused when parsing). Borrowed. */
const char *json_text_or(const struct json *value, const char *fallback);
/* Empty with data NULL when it is no text. Borrowed. */
struct span json_span(const struct json *value);

/* Adds the compact form to out, keys sorted by bytes: equal trees give equal bytes. ERR_LIMIT,
 * ERR_NOMEM; then nothing was added. */
MUST_CHECK int json_dump(const struct json *value, struct buf *out);

/* --- building trees -------------------------------------------------------------------------- */

/* Each returns an owned root, or NULL when out of memory (or, for texts, not UTF-8; for reals, not
 * finite). */
struct json *json_new_map(void);
struct json *json_new_list(void);
struct json *json_new_null(void);
struct json *json_new_bool(bool value);
struct json *json_new_integer(int64_t value);
struct json *json_new_real(double value);
struct json *json_new_text(struct span text);
/* A deep copy, or NULL. */
struct json *json_copy_of(const struct json *value);

/* Puts value at key, replacing what was there. Takes value in any case: when it is NULL or the call
 * fails it is gone, and ERR_NOMEM is returned, so calls can be nested. */
MUST_CHECK int json_set(struct json *map, const char *key, struct json *value);
/* The same at the end of a list. */
MUST_CHECK int json_append(struct json *list, struct json *value);
/* Takes the member out and frees it; nothing happens when it is not there. */
void json_remove(struct json *map, const char *key);

/* --- writing straight into a buffer ---------------------------------------------------------- */

enum { JSON_WRITER_DEPTH_MAX = 32 };

/*
 * Remembers the first failure, so only json_writer_finish needs a check. key is NULL inside a list
 * and for the outermost value; keys are not checked for duplicates.
 *
 *     struct json_writer w;
 *     json_writer_init(&w, &out);
 *     json_write_map(&w, NULL);
 *     json_write_text(&w, "name", span_of("accuracy"));
 *     json_write_real(&w, "value", 0.91);
 *     json_write_end(&w);
 *     rc = json_writer_finish(&w);
 */
struct json_writer {
    /* private */
    struct buf *out;
    int rc;
    size_t depth;
    char closing[JSON_WRITER_DEPTH_MAX]; /* what json_write_end writes at each depth */
    bool has_element[JSON_WRITER_DEPTH_MAX + 1];
};

/* Keeps out. */
void json_writer_init(struct json_writer *w, struct buf *out);
void json_write_map(struct json_writer *w, const char *key);
void json_write_list(struct json_writer *w, const char *key);
/* Ends the innermost map or list. */
void json_write_end(struct json_writer *w);
/* ERR_INVALID when text is not UTF-8. */
void json_write_text(struct json_writer *w, const char *key, struct span text);
void json_write_integer(struct json_writer *w, const char *key, int64_t value);
/* The shortest of 15 or 17 digits that reads back equal; null when not finite. */
void json_write_real(struct json_writer *w, const char *key, double value);
void json_write_bool(struct json_writer *w, const char *key, bool value);
void json_write_null(struct json_writer *w, const char *key);
/* Bytes that are JSON already (not checked). */
void json_write_raw(struct json_writer *w, const char *key, struct span json);
/* Any tree, sorted as json_dump does. */
void json_write_tree(struct json_writer *w, const char *key, const struct json *value);
/* The first failure, ERR_INVALID when a map or list is still open, or 0. */
MUST_CHECK int json_writer_finish(const struct json_writer *w);

#endif
