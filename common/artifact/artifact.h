/*
 * Bytes by their SHA-256, in the control database, in chunks of 1 MiB.
 *
 * Writing the same bytes again changes nothing; an artifact is there whole or not at all. Every
 * read recomputes the hash: what comes back are the bytes that were asked for, or ERR_CORRUPT.
 * Memory while writing, or reading into a file or through a reader: two chunks.
 */
#ifndef COMMON_ARTIFACT_ARTIFACT_H
#define COMMON_ARTIFACT_ARTIFACT_H

#include "common/base/err.h"
#include "common/base/sha256.h"
#include "common/base/span.h"
#include "common/pg/pg_sync.h"

#include <stddef.h>
#include <stdint.h>

enum { ARTIFACT_CHUNK_BYTES = 1 << 20 };
/* 2^31 - 1 chunks would fit the table; nothing of ours is larger than this. */
#define ARTIFACT_BYTES_MAX ((size_t)64 << 30)

/*
 * Stores bytes (borrowed) and returns their name. db must not be in a transaction. Safe to repeat
 * and to do from several places at once. ERR_LIMIT, or what the client says.
 */
MUST_CHECK int artifact_put(struct pg_sync *db, struct span bytes, uint8_t ret_sha256[SHA256_BYTES],
                            struct err_buf *e);

/*
 * The same for bytes that lie in parts, inside the caller's transaction: it is there when that is
 * committed, together with whatever refers to it.
 */
MUST_CHECK int artifact_add(struct pg_sync *db, const struct span *parts, size_t count,
                            uint8_t ret_sha256[SHA256_BYTES], struct err_buf *e);

/* How many bytes it has. ERR_NOTFOUND. */
MUST_CHECK int artifact_size(struct pg_sync *db, const uint8_t sha256[SHA256_BYTES],
                             size_t *ret_bytes, struct err_buf *e);

/* Reads it into memory aligned to 64 bytes: owned, free with mem_free. ERR_NOTFOUND, ERR_LIMIT when
 * it is larger than bytes_max, ERR_CORRUPT, ERR_NOMEM. */
MUST_CHECK int artifact_get(struct pg_sync *db, const uint8_t sha256[SHA256_BYTES],
                            size_t bytes_max, void **ret_data, size_t *ret_bytes,
                            struct err_buf *e);

/* Writes it to a new file beside path and, when its hash is right, renames that into place: path is
 * whole or untouched. ERR_NOTFOUND, ERR_CORRUPT, ERR_IO. */
MUST_CHECK int artifact_get_file(struct pg_sync *db, const uint8_t sha256[SHA256_BYTES],
                                 const char *path, struct err_buf *e);

/* Reads one from its start to its end, in pieces of any size, straight to where they belong. What
 * was read may be used only after artifact_reader_end said that all of it was right. */
struct artifact_reader {
    /* read only */
    size_t bytes; /* in all */
    /* private */
    struct pg_sync *db;
    uint8_t sha256[SHA256_BYTES];
    size_t chunks, next, used;
    struct pg_result *chunk;
    struct span left; /* of the chunk */
    struct sha256 *sum;
};

/* Keeps db, which is free for others between calls. ERR_NOTFOUND, ERR_NOMEM; close in any case. */
MUST_CHECK int artifact_reader_open(struct artifact_reader *r, struct pg_sync *db,
                                    const uint8_t sha256[SHA256_BYTES], struct err_buf *e);
/* Exactly that many bytes. ERR_CORRUPT when there are fewer. */
MUST_CHECK int artifact_reader_read(struct artifact_reader *r, void *to, size_t bytes,
                                    struct err_buf *e);
/* 0 when nothing is left and the hash is right, else ERR_CORRUPT. */
MUST_CHECK int artifact_reader_end(struct artifact_reader *r, struct err_buf *e);
void artifact_reader_close(struct artifact_reader *r);

#endif
