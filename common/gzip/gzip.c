/* Two fixed buffers: what the file gave, and (inside zlib) the window. Plain files skip zlib. */
#include "common/gzip/gzip.h"

#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { INPUT_BYTES = 64 * 1024, MAGIC_BYTES = 2, GZIP_WINDOW_BITS = 15 + 16 };

struct gzip_reader {
    int fd;
    bool owns_fd;
    bool is_compressed;
    bool is_input_over;
    bool is_member_open; /* inside a gzip member: the end of input here is a cut-off file */
    char *name;
    int64_t size;
    int64_t position; /* bytes that read(2) gave */
    z_stream z;
    unsigned char input[INPUT_BYTES];
};

static int fill(struct gzip_reader *r, struct err_buf *e)
{
    memmove(r->input, r->z.next_in, r->z.avail_in);
    r->z.next_in = r->input;
    while (!r->is_input_over && r->z.avail_in < INPUT_BYTES) {
        ssize_t got = read(r->fd, r->input + r->z.avail_in, INPUT_BYTES - r->z.avail_in);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_set(e, ERR_IO, "%s: byte %lld: %s", r->name, (long long)r->position,
                           strerror(errno));
        }
        r->is_input_over = got == 0;
        r->z.avail_in += (unsigned)got;
        r->position += got;
        if (r->z.avail_in >= MAGIC_BYTES) {
            break; /* a slow pipe should be answered as it comes */
        }
    }
    return 0;
}

static bool has_magic(const struct gzip_reader *r)
{
    return r->z.avail_in >= MAGIC_BYTES && r->z.next_in[0] == 0x1f && r->z.next_in[1] == 0x8b;
}

int gzip_open_fd(struct gzip_reader **ret, int fd, const char *name, struct err_buf *e)
{
    struct gzip_reader *r = mem_new(sizeof *r);
    if (!r) {
        return err_set(e, ERR_NOMEM, "%s: out of memory", name);
    }
    r->fd = fd;
    r->z.next_in = r->input;
    r->name = mem_string_copy(name);
    struct stat status;
    r->size = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? status.st_size : -1;
    int rc = r->name ? fill(r, e) : err_set(e, ERR_NOMEM, "%s: out of memory", name);
    if (rc == 0 && has_magic(r)) {
        r->is_compressed = true;
        r->is_member_open = true;
        if (inflateInit2(&r->z, GZIP_WINDOW_BITS) != Z_OK) {
            r->is_compressed = false;
            rc = err_set(e, ERR_NOMEM, "%s: out of memory", name);
        }
    }
    if (rc != 0) {
        gzip_close(r);
        return rc;
    }
    *ret = r;
    return 0;
}

int gzip_open(struct gzip_reader **ret, const char *path, struct err_buf *e)
{
    if (strcmp(path, "-") == 0) {
        return gzip_open_fd(ret, STDIN_FILENO, "standard input", e);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_set(e, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, "%s: %s", path, strerror(errno));
    }
    int rc = gzip_open_fd(ret, fd, path, e);
    if (rc != 0) {
        (void)close(fd); /* only read from */
        return rc;
    }
    (*ret)->owns_fd = true;
    return 0;
}

void gzip_close(struct gzip_reader *r)
{
    if (!r) {
        return;
    }
    if (r->is_compressed) {
        (void)inflateEnd(&r->z); /* frees in any state */
    }
    if (r->owns_fd) {
        (void)close(r->fd); /* only read from */
    }
    mem_free(r->name);
    mem_free(r);
}

static int read_plain(struct gzip_reader *r, void *data, size_t size, size_t *ret_length,
                      struct err_buf *e)
{
    int rc = r->z.avail_in == 0 ? fill(r, e) : 0;
    if (rc != 0) {
        return rc;
    }
    size_t length = r->z.avail_in < size ? r->z.avail_in : size;
    memcpy(data, r->z.next_in, length);
    r->z.next_in += length;
    r->z.avail_in -= (unsigned)length;
    *ret_length = length;
    return 0;
}

static int damaged(const struct gzip_reader *r, const char *why, struct err_buf *e)
{
    return err_set(e, ERR_CORRUPT, "%s: byte %lld of the compressed file: %s", r->name,
                   (long long)(r->position - r->z.avail_in), why);
}

/* After a member: the next one, or the end. Anything else is not gzip. */
static int next_member(struct gzip_reader *r, struct err_buf *e)
{
    while (r->z.avail_in < MAGIC_BYTES && !r->is_input_over) {
        int rc = fill(r, e);
        if (rc != 0) {
            return rc;
        }
    }
    if (r->z.avail_in == 0) {
        return 0;
    }
    if (!has_magic(r)) {
        return damaged(r, "bytes that are not gzip follow", e);
    }
    r->is_member_open = true;
    return inflateReset(&r->z) == Z_OK ? 0 : damaged(r, "cannot start the next member", e);
}

/* One inflate call. *ret_progress false: the end of everything. */
static int inflate_some(struct gzip_reader *r, bool *ret_progress, struct err_buf *e)
{
    *ret_progress = true;
    if (!r->is_member_open) {
        int rc = next_member(r, e);
        *ret_progress = r->is_member_open;
        return rc;
    }
    if (r->z.avail_in == 0) {
        int rc = fill(r, e);
        if (rc != 0) {
            return rc;
        }
        if (r->z.avail_in == 0) {
            return damaged(r, "the file ends too early", e);
        }
    }
    int status = inflate(&r->z, Z_NO_FLUSH);
    if (status == Z_STREAM_END) {
        r->is_member_open = false;
        return 0;
    }
    if (status == Z_OK || status == Z_BUF_ERROR) {
        return 0;
    }
    return status == Z_MEM_ERROR ? err_set(e, ERR_NOMEM, "%s: out of memory", r->name)
                                 : damaged(r, r->z.msg ? r->z.msg : "not valid gzip", e);
}

int gzip_read(struct gzip_reader *r, void *data, size_t size, size_t *ret_length, struct err_buf *e)
{
    if (!r->is_compressed) {
        return read_plain(r, data, size, ret_length, e);
    }
    unsigned room = size > (1u << 30) ? 1u << 30 : (unsigned)size;
    r->z.next_out = data;
    r->z.avail_out = room;
    bool has_progress = true;
    while (has_progress && r->z.avail_out == room && room > 0) {
        int rc = inflate_some(r, &has_progress, e);
        if (rc != 0) {
            return rc;
        }
    }
    *ret_length = room - r->z.avail_out;
    return 0;
}

bool gzip_is_compressed(const struct gzip_reader *r)
{
    return r->is_compressed;
}

int64_t gzip_position(const struct gzip_reader *r)
{
    return r->position - (int64_t)r->z.avail_in;
}

int64_t gzip_size(const struct gzip_reader *r)
{
    return r->size;
}
