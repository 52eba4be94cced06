/* worker/text: features of a text and their keys, which are part of the artifact format. */
#include "worker/text/features.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <utf8proc.h>

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

/* N-grams of Hangul may be of its letters, those of NFD: keys are the same for a syllable and for
 * its conjoining letters, and stay what they were; without Hangul nothing changes. */
static void test_text_features_take_hangul_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t keys[4]; /* " x", between, "x " */
    } golden[] = {
        {"가", {0x78421a2bu, 0x7c5f00c9u, 0x986690b9u, 0}},
        {"힣", {0xaec98563u, 0x96d54601u, 0x06f06909u, 0xa30620ebu}},
        {"각", {0x78421a2bu, 0x7c5f00c9u, 0xa43a821fu, 0x4f1587adu}},
    };
    const struct text_spec letters = {.char_min = 2, .char_max = 2, .char_jamo = true};
    const struct text_spec syllables = {.char_min = 2, .char_max = 2};
    struct text_extractor x;
    struct text_extractor y;
    text_extractor_init(&x);
    text_extractor_init(&y);
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        size_t count = extract(&x, &letters, golden[i].text);
        for (size_t k = 0; k < 4; k++) {
            assert_int_equal(k < count ? x.features[k].key : 0, golden[i].keys[k]);
        }
        assert_int_equal(extract(&y, &syllables, golden[i].text), 2);
    }
    assert_int_equal(extract(&x, &letters, "각"), extract(&y, &letters, "\u1100\u1161\u11a8"));
    assert_memory_equal(x.features, y.features, x.count * sizeof *x.features);
    const char *mixed = "Ab 包 ガ é 12";
    assert_int_equal(extract(&x, &letters, mixed), extract(&y, &syllables, mixed));
    assert_memory_equal(x.features, y.features, x.count * sizeof *x.features);
    text_extractor_close(&x);
    text_extractor_close(&y);
}

/* Every syllable falls apart as utf8proc says. */
static void test_text_features_letters_agree_with_unicode(void **state)
{
    (void)state;
    const struct text_spec letters = {.char_min = 1, .char_max = 1, .char_jamo = true};
    const struct text_spec whole = {.char_min = 1, .char_max = 1};
    struct text_extractor x;
    struct text_extractor y;
    text_extractor_init(&x);
    text_extractor_init(&y);
    for (int32_t p = 0xac00; p <= 0xd7a3; p++) {
        char text[8] = {0};
        utf8proc_encode_char(p, (uint8_t *)text);
        size_t count = extract(&x, &letters, text);
        utf8proc_int32_t parts[4];
        int last = 0;
        utf8proc_ssize_t n = utf8proc_decompose_char(p, parts, 4, UTF8PROC_DECOMPOSE, &last);
        assert_int_equal(count, n);
        for (size_t k = 0; k < count; k++) {
            char part[8] = {0};
            utf8proc_encode_char(parts[k], (uint8_t *)part);
            assert_int_equal(extract(&y, &whole, part), 1);
            assert_int_equal(y.features[0].key, x.features[k].key);
        }
    }
    text_extractor_close(&x);
    text_extractor_close(&y);
}

/* The words of x that are of the words' block, into ret; returns how many. */
static size_t words_of(const struct text_extractor *x, struct text_feature *ret)
{
    size_t count = 0;
    for (size_t i = 0; i < x->count; i++) {
        if (text_key_block(x->features[i].key) == TEXT_BLOCK_WORDS) {
            ret[count++] = x->features[i];
        }
    }
    return count;
}

/* Texts of words alone take a short way from bytes to keys; with characters they take the long one.
 * Both give the same words, for every code point between others. */
static void test_text_features_short_way_agrees_with_long(void **state)
{
    (void)state;
    const struct text_spec alone = {.word_max = 2, .word_gap = 2};
    const struct text_spec both = {.word_max = 2, .word_gap = 2, .char_min = 1, .char_max = 1};
    struct text_extractor x;
    struct text_extractor y;
    text_extractor_init(&x);
    text_extractor_init(&y);
    for (int32_t p = 1; p < 0x20000; p++) {
        if (p >= 0xd800 && p < 0xe000) {
            continue;
        }
        uint8_t text[64] = "Ab\xcc\x81 \xed\x95\x9c\xe3\x82\xab";
        size_t n = strlen((char *)text);
        n += (size_t)utf8proc_encode_char(p, text + n);
        n += (size_t)utf8proc_encode_char(0x323, text + n);
        n += (size_t)utf8proc_encode_char(p, text + n);
        n += (size_t)utf8proc_encode_char(0x4e00 + p % 100, text + n);
        n += (size_t)utf8proc_encode_char('z', text + n);
        struct text_feature want[64];
        assert_int_equal(text_extract(&x, &alone, (char *)text, n, NULL), 0);
        assert_int_equal(text_extract(&y, &both, (char *)text, n, NULL), 0);
        size_t count = words_of(&y, want);
        if (x.count != count || memcmp(x.features, want, count * sizeof *want) != 0) {
            fail_msg("U+%04X", (unsigned)p);
        }
        /* the same without marks, which is simple for most */
        size_t plain = strlen("Ab\xcc\x81");
        assert_int_equal(text_extract(&x, &alone, (char *)text + plain, n - plain, NULL), 0);
        assert_int_equal(text_extract(&y, &both, (char *)text + plain, n - plain, NULL), 0);
        assert_int_equal(x.count, words_of(&y, want));
        assert_memory_equal(x.features, want, x.count * sizeof *want);
    }
    text_extractor_close(&x);
    text_extractor_close(&y);
}

/* So do Hangul letters that stand alone, as in laughter, and join with neighbours or do not. */
static void test_text_features_short_way_joins_no_letters(void **state)
{
    (void)state;
    const struct text_spec alone = {.word_max = 1};
    const struct text_spec both = {.word_max = 1, .char_min = 1, .char_max = 1};
    static const int32_t before[] = {' ', 0xac00, 0xac01, 0x1100, 0x1161, 'a'};
    struct text_extractor x;
    struct text_extractor y;
    text_extractor_init(&x);
    text_extractor_init(&y);
    for (int32_t p = 0x3130; p < 0x3190; p++) {
        for (int32_t q = 0x3130; q < 0x3190; q++) {
            for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
                uint8_t text[16];
                struct text_feature want[16];
                size_t n = (size_t)utf8proc_encode_char(before[i], text);
                n += (size_t)utf8proc_encode_char(p, text + n);
                n += (size_t)utf8proc_encode_char(q, text + n);
                assert_int_equal(text_extract(&x, &alone, (char *)text, n, NULL), 0);
                assert_int_equal(text_extract(&y, &both, (char *)text, n, NULL), 0);
                assert_int_equal(x.count, words_of(&y, want));
                assert_memory_equal(x.features, want, x.count * sizeof *want);
            }
        }
    }
    struct err_buf e = {{0}};
    assert_int_equal(text_extract(&x, &alone, "a\xed\xa0\x80", 4, &e), ERR_DATA);
    assert_non_null(strstr(e.text, "byte 1"));
    text_extractor_close(&x);
    text_extractor_close(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_features_are_counted),
        cmocka_unit_test(test_text_features_have_golden_keys),
        cmocka_unit_test(test_text_features_take_hangul_apart),
        cmocka_unit_test(test_text_features_letters_agree_with_unicode),
        cmocka_unit_test(test_text_features_short_way_agrees_with_long),
        cmocka_unit_test(test_text_features_short_way_joins_no_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
