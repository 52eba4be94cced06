/*
 * The state of a bag training: any bytes are refused with a reason, or a training goes on from them
 * to its end.
 *
 * With an odd first byte the input is not the state itself but edits of a good one: triples of
 * (offset low, offset high, value), which reach further than random bytes.
 */
#include "common/base/buf.h"
#include "common/base/err.h"
#include "worker/model/bag/bag.h"

#include <string.h>

static const char *const samples[][2] = {{"where is my parcel", "delivery"},
                                         {"my password is wrong", "login"},
                                         {"the parcel is late", "delivery"},
                                         {"cannot log in", "login"}};

static bool wants_state(void *data)
{
    return ((const struct buf *)data)->length == 0;
}

static void keep_state(const struct bag_state *state, void *data)
{
    for (size_t i = 0; i < state->count; i++) {
        CHECK(buf_add(data, state->parts[i].data, state->parts[i].length) == 0);
    }
}

static int read_state(void *to, size_t bytes, void *data, struct err_buf *e)
{
    struct span *left = data;
    if (bytes > left->length || (bytes == 0 && left->length > 0)) {
        return err_set(e, ERR_CORRUPT, "it ends too early or too late");
    }
    if (bytes > 0) {
        memcpy(to, left->data, bytes);
        *left = span_make(left->data + bytes, left->length - bytes);
    }
    return 0;
}

static int train(const struct bag_watch *watch, struct err_buf *e)
{
    struct bag_params p;
    struct bag_model *m = NULL;
    bag_params_default(&p);
    p.features.char_max = 2;
    p.hidden = 8;
    p.hidden_epochs = 2;
    p.epochs = 3;
    struct bag_data *d = bag_data_new(&p, NULL);
    CHECK(d);
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        CHECK(bag_data_add(d, samples[i][0], strlen(samples[i][0]), samples[i][1],
                           strlen(samples[i][1]), NULL) == 0);
    }
    int rc = bag_train(&m, &p, d, NULL, NULL, watch, NULL, e);
    bag_free(m);
    bag_data_free(d);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct buf good;
    struct err_buf e = {{0}};
    if (good.length == 0) {
        buf_init(&good, 1u << 20);
        const struct bag_watch watch = {
            .wants_state = wants_state, .on_state = keep_state, .data = &good};
        CHECK(train(&watch, &e) == 0 && good.length > 0);
    }
    bool edits = size > 0 && (data[0] & 1);
    struct span whole = edits ? buf_span(&good) : span_make(data, size);
    struct buf bytes;
    buf_init(&bytes, 1u << 20);
    CHECK(buf_add(&bytes, whole.data, whole.length) == 0 && buf_add(&bytes, "", 1) == 0);
    for (size_t i = 1; edits && i + 3 <= size; i += 3) {
        bytes.data[(data[i] | (size_t)data[i + 1] << 8) % whole.length] = (char)data[i + 2];
    }
    struct span left = span_make(bytes.data, whole.length);
    const struct bag_watch watch = {.read_state = read_state, .data = &left};
    int rc = train(&watch, &e);
    CHECK(rc == 0 || e.text[0] != 0);
    buf_close(&bytes);
    return 0;
}
