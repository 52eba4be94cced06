/*
 * The row of an artifact and its chunks are written in one transaction, so a row that can be seen
 * has all its chunks. Reading goes chunk by chunk through one sink and one running hash.
 */
#include "common/artifact/artifact.h"

#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the bytes of a read go. */
struct sink {
    int (*take)(struct sink *sink, struct span bytes, struct err_buf *e);
    char *memory;
    size_t used;
    int fd;
};

/* --- writing --------------------------------------------------------------------------------- */

static int put_row(struct pg_sync *db, const uint8_t *sha256, size_t bytes, size_t chunks,
                   struct err_buf *e)
{
    char size[24], count[24];
    (void)snprintf(size, sizeof size, "%zu", bytes);
    (void)snprintf(count, sizeof count, "%zu", chunks);
    const char *params[] = {(const char *)sha256, size, count};
    struct pg_query query = {.sql = "INSERT INTO meridian.artifact (sha256, bytes, chunks)"
                                    " VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                             .param_count = 3,
                             .params = params,
                             .lengths = (const int[]){SHA256_BYTES, 0, 0},
                             .formats = (const int[]){1, 0, 0}};
    return pg_sync_query(db, &query, NULL, e);
}

static int put_chunk(struct pg_sync *db, const uint8_t *sha256, size_t number, struct span data,
                     struct err_buf *e)
{
    char position[24];
    (void)snprintf(position, sizeof position, "%zu", number);
    const char *params[] = {(const char *)sha256, position, data.data};
    struct pg_query query = {.sql = "INSERT INTO meridian.artifact_chunk (sha256, number, data)"
                                    " VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                             .name = "artifact_put_chunk",
                             .param_count = 3,
                             .params = params,
                             .lengths = (const int[]){SHA256_BYTES, 0, (int)data.length},
                             .formats = (const int[]){1, 0, 1}};
    return pg_sync_query(db, &query, NULL, e);
}

static int put_all(struct pg_sync *db, const uint8_t *sha256, struct span bytes, struct err_buf *e)
{
    size_t chunks = (bytes.length + ARTIFACT_CHUNK_BYTES - 1) / ARTIFACT_CHUNK_BYTES;
    int rc = pg_sync_begin(db, e);
    if (rc != 0) {
        return rc;
    }
    rc = put_row(db, sha256, bytes.length, chunks, e);
    for (size_t i = 0; rc == 0 && i < chunks; i++) {
        size_t at = i * ARTIFACT_CHUNK_BYTES;
        size_t left = bytes.length - at;
        size_t length = left < ARTIFACT_CHUNK_BYTES ? left : ARTIFACT_CHUNK_BYTES;
        rc = put_chunk(db, sha256, i, span_make(bytes.data + at, length), e);
    }
    if (rc == 0) {
        rc = pg_sync_commit(db, e);
    } else {
        pg_sync_rollback(db);
    }
    return rc;
}

int artifact_put(struct pg_sync *db, struct span bytes, uint8_t ret_sha256[SHA256_BYTES],
                 struct err_buf *e)
{
    if (bytes.length > ARTIFACT_BYTES_MAX) {
        return err_set(e, ERR_LIMIT, "an artifact of %zu bytes is too large", bytes.length);
    }
    uint8_t sha256[SHA256_BYTES];
    size_t known = 0;
    struct err_buf ignored;
    sha256_of(bytes.data, bytes.length, sha256);
    int rc = artifact_size(db, sha256, &known, &ignored);
    if (rc == ERR_NOTFOUND) {
        rc = put_all(db, sha256, bytes, e);
    } else if (rc != 0) {
        rc = err_set(e, rc, "%s", ignored.text);
    }
    if (rc == 0) {
        memcpy(ret_sha256, sha256, SHA256_BYTES);
    }
    return rc == 0 ? 0 : err_wrap(e, rc, "cannot store an artifact");
}

/* --- reading --------------------------------------------------------------------------------- */

static int select_row(struct pg_sync *db, const uint8_t *sha256, size_t *ret_bytes,
                      size_t *ret_chunks, struct err_buf *e)
{
    const char *params[] = {(const char *)sha256};
    struct pg_query query = {.sql = "SELECT bytes, chunks FROM meridian.artifact WHERE sha256 = $1",
                             .param_count = 1,
                             .params = params,
                             .lengths = (const int[]){SHA256_BYTES},
                             .formats = (const int[]){1}};
    struct pg_result *result = NULL;
    int rc = pg_sync_query(db, &query, &result, e);
    if (rc != 0) {
        return rc;
    }
    if (pg_rows(result) == 0) {
        char hex[SHA256_HEX_SIZE];
        rc = err_set(e, ERR_NOTFOUND, "no artifact %s", sha256_hex(sha256, hex));
    } else {
        *ret_bytes = (size_t)pg_integer(result, 0, 0, 0);
        *ret_chunks = (size_t)pg_integer(result, 0, 1, 0);
    }
    pg_result_free(result);
    return rc;
}

int artifact_size(struct pg_sync *db, const uint8_t sha256[SHA256_BYTES], size_t *ret_bytes,
                  struct err_buf *e)
{
    size_t chunks = 0;
    return select_row(db, sha256, ret_bytes, &chunks, e);
}

static int get_chunk(struct pg_sync *db, const uint8_t *sha256, size_t number, struct sink *sink,
                     struct sha256 *sum, struct err_buf *e)
{
    char position[24];
    (void)snprintf(position, sizeof position, "%zu", number);
    const char *params[] = {(const char *)sha256, position};
    struct pg_query query = {
        .sql = "SELECT data FROM meridian.artifact_chunk WHERE sha256 = $1 AND number = $2",
        .name = "artifact_get_chunk",
        .param_count = 2,
        .params = params,
        .lengths = (const int[]){SHA256_BYTES, 0},
        .formats = (const int[]){1, 0},
        .wants_binary = true};
    struct pg_result *result = NULL;
    int rc = pg_sync_query(db, &query, &result, e);
    if (rc != 0) {
        return rc;
    }
    if (pg_rows(result) == 0) {
        rc = err_set(e, ERR_CORRUPT, "chunk %zu is missing", number);
    } else {
        struct span bytes = pg_span(result, 0, 0);
        sha256_add(sum, bytes.data, bytes.length);
        rc = sink->take(sink, bytes, e);
    }
    pg_result_free(result);
    return rc;
}

/* Gives every chunk to the sink, then compares size and hash. */
static int get_all(struct pg_sync *db, const uint8_t *sha256, size_t bytes, size_t chunks,
                   struct sink *sink, struct err_buf *e)
{
    uint8_t digest[SHA256_BYTES];
    struct sha256 *sum = sha256_new();
    if (!sum) {
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < chunks; i++) {
        rc = get_chunk(db, sha256, i, sink, sum, e);
    }
    sha256_finish(sum, digest);
    sha256_free(sum);
    if (rc == 0 && (sink->used != bytes || memcmp(digest, sha256, SHA256_BYTES) != 0)) {
        rc = err_set(e, ERR_CORRUPT, "the stored bytes do not have that hash");
    }
    if (rc == ERR_CORRUPT) {
        char hex[SHA256_HEX_SIZE];
        (void)err_wrap(e, rc, "artifact %s", sha256_hex(sha256, hex));
    }
    return rc;
}

struct memory_sink {
    struct sink sink;
    size_t room;
};

static int take_memory(struct sink *sink, struct span bytes, struct err_buf *e)
{
    struct memory_sink *m = (struct memory_sink *)(void *)sink;
    if (bytes.length > m->room - sink->used) {
        return err_set(e, ERR_CORRUPT, "there are more bytes than its row says");
    }
    memcpy(sink->memory + sink->used, bytes.data, bytes.length);
    sink->used += bytes.length;
    return 0;
}

int artifact_get(struct pg_sync *db, const uint8_t sha256[SHA256_BYTES], size_t bytes_max,
                 void **ret_data, size_t *ret_bytes, struct err_buf *e)
{
    size_t bytes = 0;
    size_t chunks = 0;
    int rc = select_row(db, sha256, &bytes, &chunks, e);
    if (rc != 0) {
        return rc;
    }
    if (bytes > bytes_max) {
        return err_set(e, ERR_LIMIT, "the artifact has %zu bytes, the limit is %zu", bytes,
                       bytes_max);
    }
    struct memory_sink m = {.sink = {.take = take_memory}, .room = bytes};
    m.sink.memory = mem_new_aligned(bytes ? bytes : 1, 1);
    if (!m.sink.memory) {
        return err_set(e, ERR_NOMEM, "out of memory for an artifact of %zu bytes", bytes);
    }
    rc = get_all(db, sha256, bytes, chunks, &m.sink, e);
    if (rc != 0) {
        mem_free(m.sink.memory);
        return rc;
    }
    *ret_data = m.sink.memory;
    *ret_bytes = bytes;
    return 0;
}

static int take_file(struct sink *sink, struct span bytes, struct err_buf *e)
{
    size_t done = 0;
    while (done < bytes.length) {
        ssize_t n = write(sink->fd, bytes.data + done, bytes.length - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_set(e, ERR_IO, "cannot write: %s", strerror(errno));
        }
        done += (size_t)n;
    }
    sink->used += bytes.length;
    return 0;
}

int artifact_get_file(struct pg_sync *db, const uint8_t sha256[SHA256_BYTES], const char *path,
                      struct err_buf *e)
{
    char temporary[4096];
    size_t bytes = 0;
    size_t chunks = 0;
    int rc = select_row(db, sha256, &bytes, &chunks, e);
    if (rc != 0) {
        return rc;
    }
    int length = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (length < 0 || (size_t)length >= sizeof temporary) {
        return err_set(e, ERR_INVALID, "the path is too long");
    }
    struct sink sink = {.take = take_file, .fd = mkostemp(temporary, O_CLOEXEC)};
    if (sink.fd < 0) {
        return err_set(e, ERR_IO, "cannot make a file beside \"%s\": %s", path, strerror(errno));
    }
    rc = get_all(db, sha256, bytes, chunks, &sink, e);
    if (rc == 0 && (fchmod(sink.fd, 0644) != 0 || fsync(sink.fd) != 0)) {
        rc = err_set(e, ERR_IO, "cannot write \"%s\": %s", path, strerror(errno));
    }
    (void)close(sink.fd);
    if (rc == 0 && rename(temporary, path) != 0) {
        rc = err_set(e, ERR_IO, "cannot write \"%s\": %s", path, strerror(errno));
    }
    if (rc != 0) {
        (void)unlink(temporary);
    }
    return rc;
}
