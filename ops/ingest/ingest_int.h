/* Shared by the files of this folder only. */
#ifndef OPS_INGEST_INGEST_INT_H
#define OPS_INGEST_INGEST_INT_H

#include "common/base/buf.h"
#include "ops/ingest/ingest.h"

enum { INGEST__ID = 0, INGEST__TEXT, INGEST__LABEL, INGEST__WANTED };

enum delimited_state {
    DELIMITED_START = 0, /* at the first byte of a field */
    DELIMITED_PLAIN,     /* in a field without quotes */
    DELIMITED_QUOTED,    /* between quotes */
    DELIMITED_QUOTE,     /* after a quote inside quotes: its end, or half of "" */
    DELIMITED_STATE_COUNT
};

/*
 * CSV and TSV, a byte machine:
 *
 *   START --"--> QUOTED --"--> QUOTE --"--> QUOTED      (a doubled quote is one quote)
 *     |                          |--other--> PLAIN      (marked malformed)
 *     '--other--> PLAIN          '--delimiter, newline--> START
 */
struct delimited {
    char delimiter;
    bool has_quotes;
    enum delimited_state state;
    bool has_header;
    uint64_t line;                /* being read */
    uint64_t record_line;         /* where the record began */
    size_t columns;               /* of the header */
    size_t column;                /* being read */
    size_t rank[INGEST__WANTED];  /* of the alias found in the header; 0 is best */
    size_t where[INGEST__WANTED]; /* its column; SIZE_MAX = none */
    struct buf record;            /* bytes of the wanted fields, or of one header name */
    size_t field_at;              /* where the field's bytes begin in record */
    uint64_t field_bytes;         /* all of the field, kept or not */
    uint64_t field_newlines;      /* between its quotes */
    char field_last;              /* its last byte so far */
    struct {
        size_t at;
        size_t length;
    } field[INGEST__WANTED];
    bool is_wanted; /* the current column's bytes are kept */
    bool was_quoted;
    bool is_long;
    bool is_malformed;
};

struct jsonl {
    struct buf line;
    struct buf text; /* decoded strings */
    bool is_long;
    uint64_t number; /* of the line being read */
};

struct ingest {
    struct ingest_options options;
    ingest_row_cb on_row;
    ingest_bad_cb on_bad;
    void *data;
    uint64_t good;
    uint64_t bad;
    bool has_started;
    struct buf head; /* the first bytes, until the format is known */
    union {
        struct delimited delimited;
        struct jsonl jsonl;
    };
};

void ingest__report(struct ingest *in, uint64_t line, enum ingest_fault fault);
/* Checks the row and passes it on. A span with NULL data is a missing field. */
MUST_CHECK int ingest__emit(struct ingest *in, uint64_t line, struct span id, struct span text,
                            struct span label, struct err_buf *e);
/* Which wanted column that name is (case does not matter), with the rank of its alias; or -1. */
int ingest__match(const struct ingest *in, struct span name, size_t *ret_rank);
bool ingest__utf8_is_valid(struct span s);
/* Characters of valid UTF-8. */
size_t ingest__utf8_length(struct span s);

void delimited__init(struct ingest *in, char delimiter);
void delimited__close(struct ingest *in);
MUST_CHECK int delimited__feed(struct ingest *in, struct span bytes, struct err_buf *e);
MUST_CHECK int delimited__finish(struct ingest *in, struct err_buf *e);

void jsonl__init(struct ingest *in);
void jsonl__close(struct ingest *in);
MUST_CHECK int jsonl__feed(struct ingest *in, struct span bytes, struct err_buf *e);
MUST_CHECK int jsonl__finish(struct ingest *in, struct err_buf *e);

#endif
