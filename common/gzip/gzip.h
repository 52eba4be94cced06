/*
 * Reading files that may be gzip: the only door to zlib.
 *
 * Looks at the first bytes, not at the name. Streams with two fixed buffers, whatever the size or
 * the ratio. Several members in one file are read as one, as gzip does.
 */
#ifndef COMMON_GZIP_GZIP_H
#define COMMON_GZIP_GZIP_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gzip_reader;

/* Opens path, "-" being standard input. ERR_NOTFOUND, ERR_IO, ERR_NOMEM. Close with gzip_close. */
MUST_CHECK int gzip_open(struct gzip_reader **ret, const char *path, struct err_buf *e);
/* Reads from fd, which stays the caller's; name is for messages (copied). */
MUST_CHECK int gzip_open_fd(struct gzip_reader **ret, int fd, const char *name, struct err_buf *e);
void gzip_close(struct gzip_reader *r);

/* Up to size bytes of plain content; *ret_length 0 = the end. ERR_IO; ERR_CORRUPT ("a.csv.gz: byte
 * 4711 of the compressed file: ...") for damaged or cut-off gzip. */
MUST_CHECK int gzip_read(struct gzip_reader *r, void *data, size_t size, size_t *ret_length,
                         struct err_buf *e);

bool gzip_is_compressed(const struct gzip_reader *r);
/* Bytes of the file consumed so far, and its size (-1 when not a regular file): for progress. */
int64_t gzip_position(const struct gzip_reader *r);
int64_t gzip_size(const struct gzip_reader *r);

#endif
