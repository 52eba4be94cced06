/*
 * Bounds what a reply can take: cuts long bulk strings on their way from the socket to the reader,
 * without ever holding them whole. Of a bulk of more than bulk_max bytes the first bulk_max + 1
 * arrive, so that the user of the reply sees that it was too long; the rest is thrown away as it
 * comes. When all bulks of one reply together pass reply_max, further ones of more than CUT_ID_MAX
 * bytes arrive empty.
 *
 * Understands RESP2, which is all that is asked for; what it does not understand it passes on.
 */
#ifndef COMMON_REDIS_CUT_H
#define COMMON_REDIS_CUT_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CUT_HEADER_MAX = 24, /* "$" and 20 digits, CR LF */
    CUT_ID_MAX = 64,     /* ids of entries and names of fields always pass */
};

struct cut {
    /* settings; 0 = no bound */
    size_t bulk_max;
    size_t reply_max;
    /* private */
    char header[CUT_HEADER_MAX + 1];
    size_t header_length;
    int state;
    uint64_t keep;    /* bytes of the bulk that pass */
    uint64_t drop;    /* bytes behind them that do not */
    uint64_t missing; /* elements until the reply is complete */
    uint64_t passed;  /* bytes of bulks in this reply */
};

/* Takes the bytes that pass; 0 or a code, which ends cut_feed. */
typedef int (*cut_pass_fn)(const char *data, size_t length, void *data_of_pass, struct err_buf *e);

void cut_init(struct cut *c, size_t bulk_max, size_t reply_max);
/* Bytes as they came, in any pieces; pass is called for what is left of them, in order. */
MUST_CHECK int cut_feed(struct cut *c, const char *data, size_t length, cut_pass_fn pass,
                        void *data_of_pass, struct err_buf *e);

#endif
