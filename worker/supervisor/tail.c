#include "worker/supervisor/tail.h"

#include <string.h>

void tail_reset(struct tail *t)
{
    t->length = 0;
    t->lines = 0;
    t->added = 0;
}

static void drop_oldest(struct tail *t)
{
    const char *end = memchr(t->text, '\n', t->length);
    size_t cut = end ? (size_t)(end - t->text) + 1 : t->length;
    memmove(t->text, t->text + cut, t->length - cut);
    t->length -= cut;
    t->lines--;
}

/* Not in the middle of a character of UTF-8. */
static size_t cut_length(struct span line)
{
    size_t length = line.length;
    if (length > TAIL_LINE_MAX) {
        length = TAIL_LINE_MAX;
        while (length > 0 && ((unsigned char)line.data[length] & 0xc0) == 0x80) {
            length--;
        }
    }
    return length;
}

void tail_add(struct tail *t, struct span line)
{
    size_t length = cut_length(line);
    while (t->lines > 0 &&
           (t->lines >= TAIL_LINES_MAX || t->length + 1 + length > TAIL_BYTES_MAX)) {
        drop_oldest(t);
    }
    if (t->lines > 0) {
        t->text[t->length++] = '\n';
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)line.data[i];
        t->text[t->length++] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
    }
    t->lines++;
    t->added++;
}

struct span tail_text(const struct tail *t)
{
    return span_make(t->lines > 0 ? t->text : NULL, t->length);
}

struct span tail_last(const struct tail *t, size_t bytes_max)
{
    struct span all = tail_text(t);
    if (all.length <= bytes_max) {
        return all;
    }
    const char *from = all.data + all.length - bytes_max;
    const char *line = memchr(from, '\n', bytes_max);
    bool is_whole = from[-1] == '\n';
    from = is_whole || !line ? from : line + 1;
    while (((unsigned char)*from & 0xc0) == 0x80) {
        from++; /* not in the middle of a character of UTF-8 */
    }
    return span_make(from, (size_t)(all.data + all.length - from));
}
