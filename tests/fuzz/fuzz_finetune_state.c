/* The head of a fine-tune's checkpoint: any bytes are refused with a reason, or written and read
 * again they give the same. */
#include "common/base/buf.h"
#include "common/base/err.h"
#include "worker/jobs/finetune_state.h"

#include <string.h>

static int on_read(void *to, size_t bytes, void *data, struct err_buf *e)
{
    struct span *left = data;
    if (bytes > left->length) {
        return err_set(e, ERR_CORRUPT, "it ends early");
    }
    memcpy(to, left->data, bytes);
    *left = span_make(left->data + bytes, left->length - bytes);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct finetune_state first, second;
    struct span left = span_make(data, size);
    struct err_buf e = {{0}};
    struct buf out;
    if (size == 0 || finetune_state_read(&first, on_read, &left, &e) != 0) {
        CHECK(size == 0 || e.text[0] != 0);
        return 0;
    }
    buf_init(&out, FINETUNE_HEAD_MAX + 4);
    CHECK(finetune_state_write(&first, &out) == 0);
    left = buf_span(&out);
    CHECK(finetune_state_read(&second, on_read, &left, &e) == 0 && left.length == 0);
    CHECK(strcmp(first.phase, second.phase) == 0 && first.points == second.points);
    CHECK(memcmp(first.curve, second.curve, sizeof first.curve) == 0);
    CHECK(memcmp(first.names, second.names, sizeof first.names) == 0);
    CHECK(first.model_bytes == second.model_bytes && first.elapsed_ms == second.elapsed_ms);
    buf_close(&out);
    return 0;
}
