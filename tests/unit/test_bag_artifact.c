/* The artifact of the bag family: same bytes, same predictions, and no bytes that crash it. */
#include "worker/model/bag/bag.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct bag_model *small_model(void)
{
    struct bag_params p;
    bag_params_default(&p);
    p.feature_count_min = 1;
    struct bag_data *d = bag_data_new(&p, NULL);
    static const char *const samples[][2] = {{"where is my parcel", "delivery"},
                                             {"my password is wrong", "login"},
                                             {"the parcel is late", "delivery"},
                                             {"cannot log in", "login"}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(bag_data_add(d, samples[i][0], strlen(samples[i][0]), samples[i][1],
                                      strlen(samples[i][1]), NULL),
                         0);
    }
    struct bag_model *m = NULL;
    assert_int_equal(bag_train(&m, &p, d, NULL, NULL, NULL, NULL, NULL), 0);
    bag_data_free(d);
    return m;
}

static void predict(const struct bag_model *m, float probs[2])
{
    struct bag_predictor *p = bag_predictor_new(m, NULL);
    assert_int_equal(bag_predict(p, "a late parcel", 13, probs, NULL), 0);
    bag_predictor_free(p);
}

/* A model written and opened again has the same bytes and predicts the same. */
static void test_bag_artifact_round_trip(void **state)
{
    (void)state;
    struct bag_model *m = small_model();
    char path[] = "/tmp/test_bag_XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    assert_int_equal(bag_write(m, path, NULL), 0);
    struct bag_model *opened = NULL;
    assert_int_equal(bag_open_file(&opened, path, NULL), 0);
    assert_int_equal(bag_bytes(opened).length, bag_bytes(m).length);
    assert_memory_equal(bag_bytes(opened).data, bag_bytes(m).data, bag_bytes(m).length);
    float a[2];
    float b[2];
    predict(m, a);
    predict(opened, b);
    assert_memory_equal(a, b, sizeof a);
    assert_true(a[0] > 0.5f);
    assert_true(span_is(bag_label(opened, 0), "delivery"));
    unlink(path);
    bag_free(opened);
    bag_free(m);
}

/* Changes the number behind a key of a model's head. */
static void set_number(char *bytes, size_t length, const char *key, char value)
{
    size_t n = strlen(key);
    for (size_t at = 0; at + n < length; at++) {
        if (memcmp(bytes + at, key, n) == 0) {
            bytes[at + n] = value;
            return;
        }
    }
    fail_msg("no %s", key);
}

/* A model of the previous version has n-grams of whole syllables and is read so; a base of it makes
 * training do the same. One of a later version is refused. */
static void test_bag_artifact_versions(void **state)
{
    (void)state;
    struct bag_params p;
    bag_params_default(&p);
    assert_true(p.features.char_jamo);
    struct bag_model *m = small_model();
    size_t length = bag_bytes(m).length;
    char *copy = mem_new_aligned(length, 1);
    memcpy(copy, bag_bytes(m).data, length);
    struct bag_model *opened = NULL;
    struct err_buf e = {{0}};
    set_number(copy, length, "version", 3);
    assert_int_equal(bag_open(&opened, span_make(copy, length), &e), ERR_UNSUPPORTED);
    assert_non_null(strstr(e.text, "version 3; this build reads 1 and 2"));
    set_number(copy, length, "version", 1);
    assert_int_equal(bag_open(&opened, span_make(copy, length), NULL), ERR_CORRUPT);
    set_number(copy, length, "char_jamo", 0);
    assert_int_equal(bag_open(&opened, span_make(copy, length), NULL), 0);
    bag_params_follow(&p, opened);
    assert_false(p.features.char_jamo);
    struct bag_data *d = bag_data_new(&p, NULL);
    assert_int_equal(bag_data_add(d, "한국 parcel", 13, "delivery", 8, NULL), 0);
    struct bag_score score;
    assert_int_equal(bag_loss(opened, d, &score, NULL), 0);
    assert_int_equal(bag_loss(m, d, &score, NULL), ERR_INVALID);
    bag_params_follow(&p, m);
    assert_true(p.features.char_jamo);
    bag_params_follow(&p, NULL);
    assert_true(p.features.char_jamo);
    bag_data_free(d);
    bag_free(opened);
    bag_free(m);
    mem_free(copy);
}

/* Every prefix of a model is refused. */
static void test_bag_artifact_cut_short_is_refused(void **state)
{
    (void)state;
    struct bag_model *m = small_model();
    struct span whole = bag_bytes(m);
    char *copy = mem_new_aligned(whole.length, 1);
    memcpy(copy, whole.data, whole.length);
    for (size_t length = 0; length < whole.length; length++) {
        struct bag_model *opened = NULL;
        assert_int_equal(bag_open(&opened, span_make(copy, length), NULL), ERR_CORRUPT);
        assert_null(opened);
    }
    mem_free(copy);
    bag_free(m);
}

/* A model with any one byte changed is refused or predicts; it never reads outside its bytes. */
static void test_bag_artifact_changed_bytes_are_survived(void **state)
{
    (void)state;
    struct bag_model *m = small_model();
    struct span whole = bag_bytes(m);
    struct rng r = {.key = 7};
    for (size_t at = 0; at < whole.length; at++) {
        char *copy = mem_new_aligned(whole.length, 1);
        memcpy(copy, whole.data, whole.length);
        copy[at] = (char)rng_next(&r);
        struct bag_model *opened = NULL;
        struct err_buf e = {{0}};
        int rc = bag_open(&opened, span_make(copy, whole.length), &e);
        assert_true(rc == 0 || rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED);
        if (rc == 0) {
            float *probs = mem_new_array(bag_label_count(opened), sizeof *probs);
            struct bag_predictor *p = bag_predictor_new(opened, NULL);
            assert_int_equal(bag_predict(p, "my parcel", 9, probs, NULL), 0);
            bag_predictor_free(p);
            mem_free(probs);
        } else {
            assert_true(e.text[0] != 0);
        }
        bag_free(opened);
        mem_free(copy);
    }
    bag_free(m);
}

/* Headers that promise more than there is are refused without asking for the memory. */
static void test_bag_artifact_promises_are_not_believed(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
    } bad[] = {
        {"\xdf\xff\xff\xff\xff", 5},
        {"\xdd\xff\xff\xff\xff", 5},
        {"\x81\xa6"
         "format\xc6\xff\xff\xff\xff",
         13},
        {"\x82\xa6"
         "format\xac"
         "meridian-bag\xa6"
         "labels\xdd\xff\xff\xff\xff",
         34},
        {"\x82\xa6"
         "format\xac"
         "meridian-bag\xa3"
         "new\xdf\xff\xff\xff\xff",
         31},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct bag_model *opened = NULL;
        struct err_buf e = {{0}};
        assert_int_equal(bag_open(&opened, span_make(bad[i].bytes, bad[i].length), &e),
                         ERR_CORRUPT);
    }
    struct bag_model *opened = NULL;
    assert_int_equal(bag_open_file(&opened, "/no/such/file", NULL), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bag_artifact_round_trip),
        cmocka_unit_test(test_bag_artifact_versions),
        cmocka_unit_test(test_bag_artifact_cut_short_is_refused),
        cmocka_unit_test(test_bag_artifact_changed_bytes_are_survived),
        cmocka_unit_test(test_bag_artifact_promises_are_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
