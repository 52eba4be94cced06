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

/* Where in the parts the next chunk begins. */
struct cursor {
    const struct span *parts;
    size_t count;
    size_t index, at;
};

/* The next chunk; one that lies in several parts is put together in scratch. */
static struct span next_chunk(struct cursor *c, char *scratch)
{
    size_t length = 0;
    while (c->index < c->count && length < ARTIFACT_CHUNK_BYTES) {
        struct span part = c->parts[c->index];
        size_t left = part.length - c->at;
        if (length == 0 && left >= ARTIFACT_CHUNK_BYTES) {
            c->at += ARTIFACT_CHUNK_BYTES;
            return span_make(part.data + c->at - ARTIFACT_CHUNK_BYTES, ARTIFACT_CHUNK_BYTES);
        }
        size_t taken = left < ARTIFACT_CHUNK_BYTES - length ? left : ARTIFACT_CHUNK_BYTES - length;
        if (taken > 0) {
            memcpy(scratch + length, part.data + c->at, taken);
        }
        length += taken;
        c->at += taken;
        if (c->at == part.length) {
            c->index++;
            c->at = 0;
        }
    }
    return span_make(scratch, length);
}

static int put_chunks(struct pg_sync *db, const uint8_t *sha256, const struct span *parts,
                      size_t count, size_t chunks, struct err_buf *e)
{
    struct cursor cursor = {.parts = parts, .count = count};
    char *scratch = mem_new_array(ARTIFACT_CHUNK_BYTES, 1);
    int rc = scratch ? 0 : err_set(e, ERR_NOMEM, "out of memory");
    for (size_t i = 0; rc == 0 && i < chunks; i++) {
        rc = put_chunk(db, sha256, i, next_chunk(&cursor, scratch), e);
    }
    mem_free(scratch);
    return rc;
}

/* Size and name of what the parts hold. */
static int measure(const struct span *parts, size_t count, size_t *ret_bytes, uint8_t *ret_sha256,
                   struct err_buf *e)
{
    struct sha256 *sum = sha256_new();
    size_t bytes = 0;
    if (!sum) {
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < count && bytes <= ARTIFACT_BYTES_MAX; i++) {
        sha256_add(sum, parts[i].data, parts[i].length);
        bytes += parts[i].length;
    }
    sha256_finish(sum, ret_sha256);
    sha256_free(sum);
    *ret_bytes = bytes;
    return bytes <= ARTIFACT_BYTES_MAX
               ? 0
               : err_set(e, ERR_LIMIT, "an artifact of %zu bytes is too large", bytes);
}

static int add(struct pg_sync *db, const struct span *parts, size_t count, uint8_t *ret_sha256,
               struct err_buf *e)
{
    uint8_t sha256[SHA256_BYTES];
    size_t bytes = 0;
    size_t known = 0;
    struct err_buf other = {{0}};
    int rc = measure(parts, count, &bytes, sha256, e);
    if (rc != 0) {
        return rc;
    }
    rc = artifact_size(db, sha256, &known, &other);
    if (rc == ERR_NOTFOUND) {
        size_t chunks = (bytes + ARTIFACT_CHUNK_BYTES - 1) / ARTIFACT_CHUNK_BYTES;
        rc = put_row(db, sha256, bytes, chunks, e);
        rc = rc == 0 ? put_chunks(db, sha256, parts, count, chunks, e) : rc;
    } else if (rc != 0) {
        rc = err_set(e, rc, "%s", other.text);
    }
    if (rc == 0) {
        memcpy(ret_sha256, sha256, SHA256_BYTES);
    }
    return rc;
}

int artifact_add(struct pg_sync *db, const struct span *parts, size_t count,
                 uint8_t ret_sha256[SHA256_BYTES], struct err_buf *e)
{
    int rc = add(db, parts, count, ret_sha256, e);
    return rc == 0 ? 0 : err_wrap(e, rc, "cannot store an artifact");
}

int artifact_put(struct pg_sync *db, struct span bytes, uint8_t ret_sha256[SHA256_BYTES],
                 struct err_buf *e)
{
    uint8_t sha256[SHA256_BYTES];
    int rc = pg_sync_begin(db, e);
    if (rc == 0) {
        rc = add(db, &bytes, 1, sha256, e);
        rc = rc == 0 ? pg_sync_commit(db, e) : rc;
        if (rc != 0) {
            pg_sync_rollback(db);
        } else {
            memcpy(ret_sha256, sha256, SHA256_BYTES);
        }
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

/* One chunk's bytes, in a result of the caller's. */
static int fetch_chunk(struct pg_sync *db, const uint8_t *sha256, size_t number,
                       struct pg_result **ret, struct err_buf *e)
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
    int rc = pg_sync_query(db, &query, ret, e);
    if (rc == 0 && pg_rows(*ret) == 0) {
        pg_result_free(*ret);
        *ret = NULL;
        rc = err_set(e, ERR_CORRUPT, "chunk %zu is missing", number);
    }
    return rc;
}

static int get_chunk(struct pg_sync *db, const uint8_t *sha256, size_t number, struct sink *sink,
                     struct sha256 *sum, struct err_buf *e)
{
    struct pg_result *result = NULL;
    int rc = fetch_chunk(db, sha256, number, &result, e);
    if (rc == 0) {
        struct span bytes = pg_span(result, 0, 0);
        sha256_add(sum, bytes.data, bytes.length);
        rc = sink->take(sink, bytes, e);
        pg_result_free(result);
    }
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

/* --- in pieces ------------------------------------------------------------------------------- */

static int corrupt(const struct artifact_reader *r, struct err_buf *e, const char *what)
{
    char hex[SHA256_HEX_SIZE];
    return err_set(e, ERR_CORRUPT, "artifact %s: %s", sha256_hex(r->sha256, hex), what);
}

int artifact_reader_open(struct artifact_reader *r, struct pg_sync *db,
                         const uint8_t sha256[SHA256_BYTES], struct err_buf *e)
{
    *r = (struct artifact_reader){.db = db};
    memcpy(r->sha256, sha256, SHA256_BYTES);
    int rc = select_row(db, sha256, &r->bytes, &r->chunks, e);
    if (rc == 0 && !(r->sum = sha256_new())) {
        rc = err_set(e, ERR_NOMEM, "out of memory");
    }
    return rc;
}

static int next_piece(struct artifact_reader *r, struct err_buf *e)
{
    if (r->next == r->chunks) {
        return corrupt(r, e, "it ends early");
    }
    pg_result_free(r->chunk);
    r->chunk = NULL;
    int rc = fetch_chunk(r->db, r->sha256, r->next, &r->chunk, e);
    if (rc == ERR_CORRUPT) {
        return corrupt(r, e, "a chunk is missing");
    }
    if (rc == 0) {
        r->next++;
        r->left = pg_span(r->chunk, 0, 0);
        sha256_add(r->sum, r->left.data, r->left.length);
    }
    return rc;
}

int artifact_reader_read(struct artifact_reader *r, void *to, size_t bytes, struct err_buf *e)
{
    char *at = to;
    while (bytes > 0) {
        if (r->left.length == 0) {
            int rc = next_piece(r, e);
            if (rc != 0) {
                return rc;
            }
        }
        size_t length = bytes < r->left.length ? bytes : r->left.length;
        memcpy(at, r->left.data, length);
        r->left = span_make(r->left.data + length, r->left.length - length);
        r->used += length;
        at += length;
        bytes -= length;
    }
    return 0;
}

int artifact_reader_end(struct artifact_reader *r, struct err_buf *e)
{
    uint8_t digest[SHA256_BYTES];
    sha256_finish(r->sum, digest);
    bool is_whole = r->left.length == 0 && r->next == r->chunks && r->used == r->bytes;
    return is_whole && memcmp(digest, r->sha256, SHA256_BYTES) == 0
               ? 0
               : corrupt(r, e, "the stored bytes do not have that hash");
}

void artifact_reader_close(struct artifact_reader *r)
{
    pg_result_free(r->chunk);
    sha256_free(r->sum);
    *r = (struct artifact_reader){.bytes = 0};
}
