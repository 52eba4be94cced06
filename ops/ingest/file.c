/* A file, block by block, through the gzip door into the reader. */
#include "common/base/mem.h"
#include "common/gzip/gzip.h"
#include "ops/ingest/ingest.h"

#include <string.h>

enum { BLOCK_BYTES = 256 * 1024 };

/* Content errors get their line; a full disk or a lost server has none. */
static int add_place(const struct ingest *in, const char *path, int rc, struct err_buf *e)
{
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    if (rc == ERR_PARSE || rc == ERR_LIMIT) {
        return err_wrap(e, rc, "%s: line %llu", name, (unsigned long long)ingest_line(in));
    }
    return rc;
}

static int read_blocks(struct gzip_reader *file, const char *path, struct ingest *in, char *block,
                       ingest_progress_cb on_progress, void *data, struct err_buf *e)
{
    for (;;) {
        size_t length = 0;
        int rc = gzip_read(file, block, BLOCK_BYTES, &length, e);
        if (rc) {
            return rc;
        }
        rc = length > 0 ? ingest_feed(in, span_make(block, length), e) : ingest_finish(in, e);
        if (rc) {
            return add_place(in, path, rc, e);
        }
        struct ingest_progress progress = {gzip_position(file), gzip_size(file)};
        rc = on_progress ? on_progress(&progress, e, data) : 0;
        if (rc || length == 0) {
            return rc;
        }
    }
}

int ingest_read_file(const char *path, const struct ingest_options *options, ingest_row_cb on_row,
                     ingest_bad_cb on_bad, ingest_progress_cb on_progress, void *data,
                     struct err_buf *e)
{
    struct ingest_options with_format = *options;
    struct gzip_reader *file = NULL;
    if (with_format.format == INGEST_AUTO) {
        with_format.format = ingest_format_of_path(path);
    }
    int rc = gzip_open(&file, path, e);
    if (rc) {
        return rc;
    }
    struct ingest *in = ingest_new(&with_format, on_row, on_bad, data, e);
    char *block = mem_new(BLOCK_BYTES);
    if (!in || !block) {
        rc = in ? err_set(e, ERR_NOMEM, "out of memory") : ERR_INVALID;
    } else {
        rc = read_blocks(file, path, in, block, on_progress, data, e);
    }
    mem_free(block);
    ingest_free(in);
    gzip_close(file);
    return rc;
}
