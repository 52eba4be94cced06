/* One MessagePack header, decoded: shared by the check and the reader. */
#ifndef COMMON_WIRE_WIRE_INT_H
#define COMMON_WIRE_WIRE_INT_H

#include "common/wire/wire.h"

enum wire__kind {
    WIRE__NULL = 0,
    WIRE__BOOL,
    WIRE__INTEGER,
    WIRE__REAL,
    WIRE__TEXT,
    WIRE__BYTES,
    WIRE__EXTENSION,
    WIRE__ARRAY,
    WIRE__MAP,
    WIRE__KIND_COUNT
};

struct wire__item {
    enum wire__kind kind;
    size_t start;      /* offset of the header */
    size_t body;       /* offset behind the header */
    size_t length;     /* bytes of the body: texts, bytes, extensions */
    uint64_t children; /* values inside: arrays n, maps 2n */
    int64_t integer;   /* integers, booleans */
    bool is_huge;      /* an integer that int64_t cannot hold */
    double real;
};

/* Decodes the header at offset at; its body lies within bytes, and children are at most the bytes
 * left. ERR_PARSE otherwise. */
MUST_CHECK int wire__item_at(struct span bytes, size_t at, struct wire__item *ret);
/* The offset behind the value at offset at. bytes have passed wire_check. */
size_t wire__skip(struct span bytes, size_t at);

#endif
