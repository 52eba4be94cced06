/* JSON from any bytes: what is accepted dumps to a form that is accepted and dumps to itself. */
#include "common/json/json.h"

#include <stdint.h>

static const struct json_limits limits = {
    .bytes_max = 1 << 20, .depth_max = 16, .values_max = 100000};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json *tree = NULL;
    struct json *again = NULL;
    struct err_buf e = {{0}};
    if (json_parse(span_make(data, size), &limits, &tree, &e)) {
        CHECK(e.text[0] != '\0');
        return 0;
    }
    struct buf first;
    struct buf second;
    buf_init(&first, 16 << 20);
    buf_init(&second, 16 << 20);
    CHECK(json_dump(tree, &first) == 0);
    CHECK(json_parse(buf_span(&first), &limits, &again, &e) == 0);
    CHECK(json_dump(again, &second) == 0);
    CHECK(span_equals(buf_span(&first), buf_span(&second)));
    json_free(tree);
    json_free(again);
    buf_close(&first);
    buf_close(&second);
    return 0;
}
