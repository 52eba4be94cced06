/* Cutting the bytes of a pipe into frames. */
#include "common/message/message.h"

/* One read more than a frame, so that the end of one and the start of the next fit together. */
enum { READ_MAX = 1 << 20, LENGTH_BYTES = 4 };

void message_frames_init(struct message_frames *f)
{
    buf_init(&f->in, (size_t)MESSAGE_FRAME_MAX + LENGTH_BYTES + READ_MAX);
    f->used = 0;
}

void message_frames_close(struct message_frames *f)
{
    buf_close(&f->in);
    f->used = 0;
}

int message_frames_add(struct message_frames *f, const void *data, size_t length)
{
    buf_consume(&f->in, f->used);
    f->used = 0;
    return buf_add(&f->in, data, length);
}

int message_frames_next(struct message_frames *f, struct span *ret)
{
    size_t left = f->in.length - f->used;
    if (left < LENGTH_BYTES) {
        return ERR_NOTFOUND;
    }
    const unsigned char *p = (const unsigned char *)f->in.data + f->used;
    size_t length = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    if (length > MESSAGE_FRAME_MAX) {
        return ERR_LIMIT;
    }
    if (left - LENGTH_BYTES < length) {
        return ERR_NOTFOUND;
    }
    *ret = span_make(p + LENGTH_BYTES, length);
    f->used += LENGTH_BYTES + length;
    return 0;
}
