/* The head of an HTTP/1 request, as far as this server needs it. Pure: bytes in, verdict out. */
#ifndef COMMON_METRICS_REQUEST_H
#define COMMON_METRICS_REQUEST_H

#include "common/base/span.h"

#include <stdbool.h>

enum {
    REQUEST_BYTES_MAX = 4096, /* a scraper sends a few hundred */
    REQUEST_PATH_MAX = 256
};

enum request_verdict {
    REQUEST_MORE = 1, /* the head has not ended yet */
    REQUEST_GOOD,
    REQUEST_BAD,      /* it will never be a request: 400 */
    REQUEST_TOO_LONG, /* 431 */
    REQUEST_NO_METHOD /* neither GET nor HEAD: 405 */
};

struct request {
    bool is_head;
    char path[REQUEST_PATH_MAX + 1]; /* without the query */
};

/* Judges what has come so far. *ret is set only for REQUEST_GOOD. */
enum request_verdict request_read(struct span bytes, struct request *ret);

#endif
