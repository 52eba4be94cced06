/*
 * The bag artifact: any bytes are refused or give a model that predicts a distribution.
 *
 * With an odd first byte the input is not the file itself but edits of a good one: triples of
 * (offset low, offset high, value), which reach further than random bytes.
 */
#include "common/base/err.h"
#include "common/base/mem.h"
#include "worker/model/bag/bag.h"

#include <string.h>

static struct bag_model *good_model(void)
{
    static const char *const samples[][2] = {{"where is my parcel", "delivery"},
                                             {"my password is wrong", "login"},
                                             {"the parcel is late", "delivery"},
                                             {"cannot log in", "login"}};
    struct bag_params p;
    struct bag_model *m = NULL;
    bag_params_default(&p);
    p.hidden = 8;
    struct bag_data *d = bag_data_new(&p, NULL);
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        CHECK(bag_data_add(d, samples[i][0], strlen(samples[i][0]), samples[i][1],
                           strlen(samples[i][1]), NULL) == 0);
    }
    CHECK(bag_train(&m, &p, d, NULL, NULL, NULL, NULL, NULL) == 0);
    bag_data_free(d);
    return m;
}

static void use(const struct bag_model *m)
{
    size_t labels = bag_label_count(m);
    float *probs = mem_new_array(labels, sizeof *probs);
    struct bag_predictor *p = bag_predictor_new(m, NULL);
    CHECK(probs && p);
    CHECK(bag_predict(p, "my parcel is late", 17, probs, NULL) == 0);
    for (size_t k = 0; k < labels; k++) {
        CHECK(bag_label_find(m, bag_label(m, k)) == (ptrdiff_t)k);
        CHECK(probs[k] >= 0 && probs[k] <= 1.001f);
    }
    bag_predictor_free(p);
    mem_free(probs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct bag_model *good;
    good = good ? good : good_model();
    bool edits = size > 0 && (data[0] & 1);
    struct span whole = edits ? bag_bytes(good) : span_make(data, size);
    char *bytes = mem_new_aligned(whole.length + 1, 1);
    CHECK(bytes);
    memcpy(bytes, whole.data, whole.length);
    for (size_t i = 1; edits && i + 3 <= size; i += 3) {
        bytes[(data[i] | (size_t)data[i + 1] << 8) % whole.length] = (char)data[i + 2];
    }
    struct bag_model *m = NULL;
    struct err_buf e = {{0}};
    int rc = bag_open(&m, span_make(bytes, whole.length), &e);
    if (rc == 0) {
        use(m);
    } else {
        CHECK(e.text[0] != 0 && m == NULL);
    }
    bag_free(m);
    mem_free(bytes);
    return 0;
}
