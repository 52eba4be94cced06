/*
 * Writing MessagePack through msgpack-c's packer.
 *
 * A map or array gets a 16-bit header with a count of 0 that wire_write_end completes, so callers
 * need not count optional members. An array of known length is a level that closes by itself.
 */
#include "common/wire/wire.h"

#include <msgpack/pack.h>

enum { HEADER_BYTES = 3, MAP16 = 0xde, ARRAY16 = 0xdc, COUNT_MAX = 65535 };

static int on_packed(void *data, const char *bytes, size_t length)
{
    struct wire_writer *w = data;
    if (w->rc == 0) {
        w->rc = buf_add(w->out, bytes, length);
    }
    return w->rc ? -1 : 0;
}

static msgpack_packer packer(struct wire_writer *w)
{
    msgpack_packer p;
    msgpack_packer_init(&p, w, on_packed);
    return p;
}

/* Arrays of known length end when their last element has been written. */
static void close_counted(struct wire_writer *w)
{
    while (w->depth > 0 && w->open[w->depth - 1].is_counted && w->open[w->depth - 1].count == 0) {
        w->depth--;
    }
}

/* Every value passes here first: counts it at its level. */
static bool begin(struct wire_writer *w)
{
    close_counted(w);
    if (w->depth > 0 && w->rc == 0) {
        if (w->open[w->depth - 1].is_counted) {
            w->open[w->depth - 1].count--;
        } else {
            w->open[w->depth - 1].count++;
        }
    }
    return w->rc == 0;
}

static bool push(struct wire_writer *w)
{
    if (w->depth == WIRE_DEPTH_MAX) {
        w->rc = ERR_LIMIT;
        return false;
    }
    memset(&w->open[w->depth], 0, sizeof w->open[w->depth]);
    w->open[w->depth].offset = w->out->length;
    w->depth++;
    return true;
}

static void open_level(struct wire_writer *w, unsigned char header, bool is_map)
{
    if (!begin(w) || !push(w)) {
        return;
    }
    w->open[w->depth - 1].is_map = is_map;
    const char bytes[HEADER_BYTES] = {(char)header, 0, 0};
    w->rc = buf_add(w->out, bytes, sizeof bytes);
}

void wire_writer_init(struct wire_writer *w, struct buf *out)
{
    *w = (struct wire_writer){.out = out};
}

void wire_write_map(struct wire_writer *w)
{
    open_level(w, MAP16, true);
}

void wire_write_array(struct wire_writer *w)
{
    open_level(w, ARRAY16, false);
}

void wire_write_end(struct wire_writer *w)
{
    close_counted(w);
    if (w->rc) {
        return;
    }
    if (w->depth == 0 || w->open[w->depth - 1].is_counted ||
        (w->open[w->depth - 1].is_map && w->open[w->depth - 1].count % 2 != 0)) {
        w->rc = ERR_INVALID;
        return;
    }
    w->depth--;
    size_t members = w->open[w->depth].count / (w->open[w->depth].is_map ? 2 : 1);
    if (members > COUNT_MAX) {
        w->rc = ERR_LIMIT;
        return;
    }
    char *header = w->out->data + w->open[w->depth].offset;
    header[1] = (char)(members >> 8);
    header[2] = (char)(members & 0xff);
}

void wire_write_array_of(struct wire_writer *w, uint32_t count)
{
    if (!begin(w) || !push(w)) {
        return;
    }
    w->open[w->depth - 1].is_counted = true;
    w->open[w->depth - 1].count = count;
    msgpack_packer p = packer(w);
    (void)msgpack_pack_array(&p, count); /* failures are kept in w->rc, here and below */
}

void wire_write_array_raw(struct wire_writer *w, uint32_t count, struct span elements)
{
    if (!begin(w)) {
        return;
    }
    msgpack_packer p = packer(w);
    (void)msgpack_pack_array(&p, count);
    if (w->rc == 0 && elements.length > 0) {
        w->rc = buf_add(w->out, elements.data, elements.length);
    }
}

void wire_write_key(struct wire_writer *w, const char *key)
{
    wire_write_text(w, span_of(key));
}

void wire_write_text(struct wire_writer *w, struct span text)
{
    if (!begin(w)) {
        return;
    }
    if (text.length > UINT32_MAX) {
        w->rc = ERR_LIMIT;
        return;
    }
    msgpack_packer p = packer(w);
    (void)msgpack_pack_str(&p, text.length);
    if (text.length > 0) {
        (void)msgpack_pack_str_body(&p, text.data, text.length);
    }
}

void wire_write_bytes(struct wire_writer *w, struct span bytes)
{
    if (!begin(w)) {
        return;
    }
    if (bytes.length > UINT32_MAX) {
        w->rc = ERR_LIMIT;
        return;
    }
    msgpack_packer p = packer(w);
    (void)msgpack_pack_bin(&p, bytes.length);
    if (bytes.length > 0) {
        (void)msgpack_pack_bin_body(&p, bytes.data, bytes.length);
    }
}

void wire_write_integer(struct wire_writer *w, int64_t value)
{
    if (begin(w)) {
        msgpack_packer p = packer(w);
        (void)msgpack_pack_int64(&p, value);
    }
}

void wire_write_real(struct wire_writer *w, double value)
{
    if (begin(w)) {
        msgpack_packer p = packer(w);
        (void)msgpack_pack_double(&p, value);
    }
}

void wire_write_bool(struct wire_writer *w, bool value)
{
    if (begin(w)) {
        msgpack_packer p = packer(w);
        (void)(value ? msgpack_pack_true(&p) : msgpack_pack_false(&p));
    }
}

void wire_write_null(struct wire_writer *w)
{
    if (begin(w)) {
        msgpack_packer p = packer(w);
        (void)msgpack_pack_nil(&p);
    }
}

int wire_writer_finish(const struct wire_writer *w)
{
    size_t depth = w->depth;
    while (depth > 0 && w->open[depth - 1].is_counted && w->open[depth - 1].count == 0) {
        depth--;
    }
    return w->rc ? w->rc : depth > 0 ? ERR_INVALID : 0;
}
