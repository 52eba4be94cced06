/*
 * Labelled texts from files that other people wrote: JSON Lines, CSV and TSV, as a stream.
 *
 * Bytes are pushed in, in pieces of any size; rows come out through a callback. A row that cannot
 * be used is reported with its line and a reason and reading goes on; what makes the rest of the
 * file unreadable (no header, a quote that never closes, UTF-16) ends it with an error. Memory is
 * bounded by the text limit, whatever the input is. Neither errors nor reasons hold bytes of rows.
 */
#ifndef OPS_INGEST_INGEST_H
#define OPS_INGEST_INGEST_H

#include "common/base/err.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    INGEST_TEXT_BYTES_DEFAULT = 64 * 1024,
    INGEST_TEXT_BYTES_MAX = 16 * 1024 * 1024,
    INGEST_NAME_CHARACTERS_MAX = 256, /* ids and labels; the same limit as in the tables */
    INGEST_COLUMNS_MAX = 4096,        /* of a header; a header with more is not one */
};

enum ingest_format { INGEST_AUTO = 0, INGEST_JSONL, INGEST_CSV, INGEST_TSV, INGEST_FORMAT_COUNT };

/* code, stable name (in --json), sentence. */
#define INGEST_FAULT_LIST(X)                                                                       \
    X(UTF8, "not_utf8", "not valid UTF-8")                                                         \
    X(NUL, "nul", "holds a NUL byte")                                                              \
    X(NO_TEXT, "no_text", "no text")                                                               \
    X(EMPTY, "empty_text", "the text is empty")                                                    \
    X(LONG, "too_long", "longer than the limit (see --max-text)")                                  \
    X(NO_LABEL, "no_label", "no label")                                                            \
    X(LABEL, "bad_label", "the label is over 256 characters or holds control characters")          \
    X(ID, "bad_id", "the id is over 256 characters or holds control characters")                   \
    X(COLUMNS, "columns", "not as many columns as the header")                                     \
    X(QUOTE, "quote", "characters after a closing quote")                                          \
    X(JSON, "json", "not a JSON object")                                                           \
    X(TYPE, "type", "id, text or label is neither a string nor a number")

enum ingest_fault {
#define X(code, name, text) INGEST_FAULT_##code,
    INGEST_FAULT_LIST(X)
#undef X
        INGEST_FAULT_COUNT
};

/* Spans are borrowed: valid until the callback returns. */
struct ingest_row {
    uint64_t line;  /* where the row begins, from 1 */
    struct span id; /* as given, or derived from the text: the same text, the same id */
    struct span text;
    struct span label;
    bool id_is_derived;
};

struct ingest_options {
    enum ingest_format format; /* AUTO: by file name, else by the first line */
    size_t text_bytes_max;     /* 0 = INGEST_TEXT_BYTES_DEFAULT */
    bool no_quotes;            /* CSV and TSV: a quote is a character like any other */
    /* Column (or key) names; NULL = the usual ones, see ingest_aliases. Kept: must outlive. */
    const char *id;
    const char *text;
    const char *label;
};

/* Returning an error stops reading with that error. */
typedef int (*ingest_row_cb)(const struct ingest_row *row, struct err_buf *e, void *data);
typedef void (*ingest_bad_cb)(uint64_t line, enum ingest_fault fault, void *data);

struct ingest;

/* Returns owned (ingest_free), or NULL with e set: ERR_INVALID (text_bytes_max), ERR_NOMEM. */
struct ingest *ingest_new(const struct ingest_options *options, ingest_row_cb on_row,
                          ingest_bad_cb on_bad, void *data, struct err_buf *e);
void ingest_free(struct ingest *in);
/* Borrows bytes. After an error only ingest_free is allowed. ERR_PARSE, ERR_LIMIT and ERR_NOMEM are
 * its own, others come from on_row. */
MUST_CHECK int ingest_feed(struct ingest *in, struct span bytes, struct err_buf *e);
/* Ends the input: a last line without a newline is a line too. */
MUST_CHECK int ingest_finish(struct ingest *in, struct err_buf *e);

uint64_t ingest_good(const struct ingest *in);
uint64_t ingest_bad(const struct ingest *in);
/* The row (or header) being read: for messages. */
uint64_t ingest_line(const struct ingest *in);

const char *ingest_fault_name(enum ingest_fault fault);
const char *ingest_fault_text(enum ingest_fault fault);
/* By the name's ending, ".gz" set aside; INGEST_AUTO when it says nothing. */
enum ingest_format ingest_format_of_path(const char *path);
/* "jsonl", "csv", "tsv", "auto"; false for another word. */
bool ingest_format_from_name(const char *name, enum ingest_format *ret_format);
/* The names that a column may have, NULL-terminated, best first: column is 0 id, 1 text, 2 label.
 */
const char *const *ingest_aliases(int column);

/* How far a file is read, for progress bars. */
struct ingest_progress {
    int64_t bytes;      /* of the file, as it lies there (compressed or not) */
    int64_t bytes_size; /* of all of it; -1 = not known (a pipe) */
};
/* Returning an error stops reading with that error. */
typedef int (*ingest_progress_cb)(const struct ingest_progress *progress, struct err_buf *e,
                                  void *data);

/* Reads a whole file (path "-" is standard input; gzip is recognised by its first bytes, whatever
 * the name). on_bad and on_progress (called after each block) may be NULL. Errors begin with the
 * path and, when the content is at fault, the line. */
MUST_CHECK int ingest_read_file(const char *path, const struct ingest_options *options,
                                ingest_row_cb on_row, ingest_bad_cb on_bad,
                                ingest_progress_cb on_progress, void *data, struct err_buf *e);

#endif
