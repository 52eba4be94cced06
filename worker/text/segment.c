/* One pass; the class of a code point and of the one before it decide. */
#include "worker/text/segment.h"

#include "common/base/mem.h"
#include "worker/text/tables.h"

void text_tokens_init(struct text_tokens *t)
{
    *t = (struct text_tokens){0};
}

void text_tokens_close(struct text_tokens *t)
{
    mem_free(t->tokens);
    *t = (struct text_tokens){0};
}

int text_segment(struct text_tokens *t, const uint32_t *points, size_t count, struct err_buf *e)
{
    t->count = 0;
    if (count > t->capacity) {
        struct text_token *bigger = mem_resize_array(t->tokens, count, sizeof *bigger);
        if (!bigger) {
            return err_set(e, ERR_NOMEM, "cannot hold %zu tokens", count);
        }
        t->tokens = bigger;
        t->capacity = count;
    }
    const struct text__tables *tables = text__tables();
    enum text_class open = TEXT_SPACE;
    for (size_t i = 0; i < count; i++) {
        enum text_class class = text__class(tables, points[i]);
        if (class != TEXT_SPACE && text_token_continues(open, class)) {
            t->tokens[t->count - 1].count++;
            continue;
        }
        open = class == TEXT_MARK ? TEXT_WORD : class;
        if (class != TEXT_SPACE) {
            t->tokens[t->count++] =
                (struct text_token){.start = (uint32_t)i, .count = 1, .class = open};
        }
    }
    return 0;
}
