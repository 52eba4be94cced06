/* worker/text: features of a text and their keys, which are part of the artifact format. */
#include "worker/text/features.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static size_t extract(struct text_extractor *x, const struct text_spec *spec, const char *text)
{
    assert_int_equal(text_extract(x, spec, text, strlen(text), NULL), 0);
    return x->count;
}

/* Words, pairs, pairs with a gap and n-grams inside words are counted, each key once. */
static void test_text_features_are_counted(void **state)
{
    (void)state;
    struct text_extractor x;
    text_extractor_init(&x);
    const struct text_spec words = {.word_max = 1};
    const struct text_spec pairs = {.word_max = 2};
    const struct text_spec gaps = {.word_max = 2, .word_gap = 2};
    const struct text_spec chars = {.char_min = 2, .char_max = 2};
    assert_int_equal(extract(&x, &words, "to be or not to be"), 4);
    assert_int_equal(x.features[0].count, 2);
    assert_int_equal(extract(&x, &pairs, "to be or not to be"), 4 + 4);
    assert_int_equal(extract(&x, &gaps, "to be or not to be"), 4 + 4 + 4);
    assert_int_equal(extract(&x, &chars, "ab  ab"), 3); /* " a" "ab" "b " */
    assert_int_equal(x.features[0].count, 2);
    assert_int_equal(extract(&x, &gaps, " \t"), 0);
    text_extractor_close(&x);
}

/* The keys do not change: a model of last year must still find its rows. */
static void test_text_features_have_golden_keys(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t key;
    } golden[] = {{"parcel", 0x533f365au}, {"PARCEL", 0x533f365au}, {"Straße", 0xfbf22272u},
                  {"包", 0x7ff80d26u},     {"ガ", 0x24659f12u},     {"ตั้", 0x4bc69c02u},
                  {"मुझे", 0x983fc2b8u},     {"۴۲", 0x3a975202u}};
    struct text_extractor x;
    text_extractor_init(&x);
    const struct text_spec words = {.word_max = 1};
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        assert_int_equal(extract(&x, &words, golden[i].text), 1);
        assert_int_equal(x.features[0].key, golden[i].key);
        assert_int_equal(text_key_block(x.features[0].key), TEXT_BLOCK_WORDS);
    }
    text_extractor_close(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_features_are_counted),
        cmocka_unit_test(test_text_features_have_golden_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
