/* The head of a fine-tune's checkpoint, as msgpack; whatever does not fit is refused. */
#include "worker/jobs/finetune_state.h"

#include "common/base/mem.h"
#include "common/wire/wire.h"

#include <stdio.h>
#include <string.h>

static const char format_name[] = "meridian-finetune-state";
enum { FORMAT_VERSION = 1 };

static void write_map(const struct finetune_state *s, struct wire_writer *w)
{
    wire_write_map(w);
    wire_write_key(w, "format");
    wire_write_text(w, span_of(format_name));
    wire_write_key(w, "version");
    wire_write_integer(w, FORMAT_VERSION);
    wire_write_key(w, "phase");
    wire_write_text(w, span_of(s->phase));
    wire_write_key(w, "elapsed_ms");
    wire_write_integer(w, s->elapsed_ms);
    wire_write_key(w, "curve");
    wire_write_bytes(w, span_make(s->curve, s->points * sizeof s->curve[0]));
    wire_write_key(w, "names");
    wire_write_array(w);
    for (size_t i = 0; i < s->metrics; i++) {
        wire_write_text(w, span_of(s->names[i]));
    }
    wire_write_end(w);
    wire_write_key(w, "values");
    wire_write_bytes(w, span_make(s->values, s->metrics * sizeof s->values[0]));
    wire_write_key(w, "model_bytes");
    wire_write_integer(w, s->model_bytes);
    wire_write_end(w);
}

int finetune_state_write(const struct finetune_state *s, struct buf *out)
{
    struct buf map;
    struct wire_writer w;
    unsigned char length[4];
    buf_init(&map, FINETUNE_HEAD_MAX);
    wire_writer_init(&w, &map);
    write_map(s, &w);
    int rc = wire_writer_finish(&w);
    for (size_t i = 0; i < sizeof length; i++) {
        length[i] = (unsigned char)(map.length >> (8 * i) & 0xff);
    }
    rc = rc ? rc : buf_add(out, length, sizeof length);
    rc = rc ? rc : buf_add(out, map.data, map.length);
    buf_close(&map);
    return rc;
}

static int take_names(struct finetune_state *s, struct wire_array *names, struct err_buf *e)
{
    s->metrics = names->count;
    for (size_t i = 0; i < s->metrics; i++) {
        struct span name;
        int rc = wire_next_text(names, "names", FINETUNE_NAME_MAX, &name, e);
        if (rc != 0) {
            return rc;
        }
        (void)snprintf(s->names[i], sizeof s->names[i], "%.*s", (int)name.length, name.data);
    }
    return 0;
}

/* Bytes of an array of float64, whole elements of size only. */
static int take_values(struct span from, void *to, size_t size, size_t *ret_count,
                       struct err_buf *e)
{
    if (from.length % size != 0) {
        return err_set(e, ERR_CORRUPT, "%zu bytes of values do not come out even", from.length);
    }
    if (from.length > 0) {
        memcpy(to, from.data, from.length);
    }
    *ret_count = from.length / size;
    return 0;
}

/* Counts must be ones; losses and rates may be anything. */
static int check_curve(const struct finetune_state *s, struct err_buf *e)
{
    const double limit = 9007199254740992.0; /* whole numbers are exact up to here */
    for (size_t i = 0; i < s->points; i++) {
        const double *p = s->curve[i];
        if (!(p[0] >= 0 && p[0] <= UINT32_MAX && p[1] >= 0 && p[1] <= limit && p[5] >= 0 &&
              p[5] <= limit)) {
            return err_set(e, ERR_CORRUPT, "point %zu of its curve is none", i);
        }
    }
    return 0;
}

static int take_map(struct finetune_state *s, struct span map, struct err_buf *e)
{
    struct span format = {0};
    struct span curve = {0};
    struct span values = {0};
    struct wire_array names = {.count = 0};
    int64_t version = 0;
    size_t count = 0;
    *s = (struct finetune_state){.points = 0};
    const struct wire_field fields[] = {
        {.name = "format", .type = WIRE_TEXT, .is_required = true, .max = 64, .ret = &format},
        {.name = "version",
         .type = WIRE_INTEGER,
         .is_required = true,
         .max = INT32_MAX,
         .ret = &version},
        {.name = "phase",
         .type = WIRE_NAME,
         .is_required = true,
         .max = FINETUNE_PHASE_MAX,
         .ret = s->phase},
        {.name = "elapsed_ms",
         .type = WIRE_INTEGER,
         .is_required = true,
         .max = INT64_MAX / 2,
         .ret = &s->elapsed_ms},
        {.name = "curve",
         .type = WIRE_BYTES,
         .is_required = true,
         .max = sizeof s->curve,
         .ret = &curve},
        {.name = "names",
         .type = WIRE_ARRAY,
         .is_required = true,
         .max = FINETUNE_METRICS_MAX,
         .ret = &names},
        {.name = "values",
         .type = WIRE_BYTES,
         .is_required = true,
         .max = sizeof s->values,
         .ret = &values},
        {.name = "model_bytes",
         .type = WIRE_INTEGER,
         .is_required = true,
         .max = (int64_t)BAG_BYTES_MAX,
         .ret = &s->model_bytes}};
    int rc = wire_read(map, fields, sizeof fields / sizeof fields[0], e);
    if (rc == 0 && !span_is(format, format_name)) {
        rc = err_set(e, ERR_CORRUPT, "it is not the state of a fine-tune");
    }
    if (rc == 0 && version != FORMAT_VERSION) {
        rc = err_set(e, ERR_UNSUPPORTED, "it has version %lld, not %d", (long long)version,
                     FORMAT_VERSION);
    }
    rc = rc ? rc : take_values(curve, s->curve, sizeof s->curve[0], &s->points, e);
    rc = rc ? rc : check_curve(s, e);
    rc = rc ? rc : take_names(s, &names, e);
    rc = rc ? rc : take_values(values, s->values, sizeof s->values[0], &count, e);
    return rc == 0 && count != s->metrics
               ? err_set(e, ERR_CORRUPT, "%zu metrics have %zu values", s->metrics, count)
               : rc;
}

int finetune_state_read(struct finetune_state *ret,
                        int (*read)(void *to, size_t bytes, void *data, struct err_buf *e),
                        void *data, struct err_buf *e)
{
    unsigned char head[4];
    int rc = read(head, sizeof head, data, e);
    if (rc != 0) {
        return rc;
    }
    size_t length = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    if (length == 0 || length > FINETUNE_HEAD_MAX) {
        return err_set(e, ERR_CORRUPT, "its head has %zu bytes", length);
    }
    char *map = mem_new_array(length, 1);
    if (!map) {
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    rc = read(map, length, data, e);
    rc = rc ? rc : take_map(ret, span_make(map, length), e);
    mem_free(map);
    return rc == ERR_PARSE || rc == ERR_LIMIT ? ERR_CORRUPT : rc;
}
