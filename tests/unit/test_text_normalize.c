/* worker/text: decoding, normalising and cutting into tokens. */
#include "worker/text/normalize.h"
#include "worker/text/segment.h"
#include "worker/text/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <utf8proc.h>

static void assert_normalizes(const char *from, const char *to)
{
    struct text_points t;
    uint32_t want[256];
    text_points_init(&t);
    struct err_buf e = {{0}};
    assert_int_equal(text_normalize(&t, from, strlen(from), &e), 0);
    ptrdiff_t count = utf8_decode(to, strlen(to), want, NULL);
    assert_true(count >= 0);
    assert_int_equal(t.count, count);
    assert_memory_equal(t.points, want, t.count * sizeof *want);
    text_points_close(&t);
}

/* Upper case, full width, ligatures and accents in two code points come out in one form. */
static void test_text_normalize_folds_case_and_form(void **state)
{
    (void)state;
    assert_normalizes("", "");
    assert_normalizes("Hello WORLD 42!", "hello world 42!");
    assert_normalizes("Straße ÄÖÜ", "strasse äöü");
    assert_normalizes("ＡＢｃ１２", "abc12");
    assert_normalizes("ﬁne", "fine");
    assert_normalizes("e\xcc\x81t\xc3\x89", "été");
    assert_normalizes("ｶﾞｷﾞ", "ガギ");
    assert_normalizes("soft\xc2\xadhyphen", "softhyphen");
    assert_normalizes("ΣΊΣΥΦΟΣ", "σίσυφοσ");
    assert_normalizes("한국어", "한국어");
    assert_normalizes("क़", "क\xe0\xa4\xbc");
}

/* The table's short cut and utf8proc alone agree on every code point with a mark after it. */
static void test_text_normalize_agrees_with_utf8proc(void **state)
{
    (void)state;
    static const int32_t after[] = {'a', 0x301, 0x323, 0x93c, 0xe48, 0x3099, 0x11a8};
    struct text_points t;
    text_points_init(&t);
    for (int32_t p = 1; p < 0x20000; p++) {
        if (p >= 0xd800 && p < 0xe000) {
            continue;
        }
        for (size_t i = 0; i < sizeof after / sizeof after[0]; i++) {
            uint8_t text[16];
            utf8proc_ssize_t n = utf8proc_encode_char(p, text);
            n += utf8proc_encode_char(after[i], text + n);
            n += utf8proc_encode_char(0x301, text + n);
            int32_t want[128];
            utf8proc_option_t options = (utf8proc_option_t)(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT |
                                                            UTF8PROC_CASEFOLD | UTF8PROC_IGNORE);
            utf8proc_ssize_t count = utf8proc_decompose(text, n, want, 128, options);
            count = utf8proc_normalize_utf32(want, count, UTF8PROC_COMPOSE);
            assert_int_equal(text_normalize(&t, (char *)text, (size_t)n, NULL), 0);
            if (t.count != (size_t)count || memcmp(t.points, want, t.count * sizeof *want) != 0) {
                fail_msg("U+%04X U+%04X U+0301", (unsigned)p, (unsigned)after[i]);
            }
        }
    }
    text_points_close(&t);
}

/* Typed Hangul letters become syllables where they join, and the short cut knows where. */
static void test_text_normalize_joins_letters_as_utf8proc(void **state)
{
    (void)state;
    static const int32_t before[] = {' ', 'a', 0xac00, 0xac01, 0x1100, 0x1161, 0x11a8};
    struct text_points t;
    text_points_init(&t);
    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
        for (int32_t p = 0x3130; p < 0x3190; p++) {
            for (int32_t q = 0x3130; q < 0x3190; q++) {
                uint8_t text[32];
                utf8proc_ssize_t n = utf8proc_encode_char(before[i], text);
                n += utf8proc_encode_char(p, text + n);
                n += utf8proc_encode_char(q, text + n);
                n += utf8proc_encode_char(0x3161, text + n);
                int32_t want[64];
                utf8proc_option_t options =
                    (utf8proc_option_t)(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD |
                                        UTF8PROC_IGNORE);
                utf8proc_ssize_t count = utf8proc_decompose(text, n, want, 64, options);
                count = utf8proc_normalize_utf32(want, count, UTF8PROC_COMPOSE);
                assert_int_equal(text_normalize(&t, (char *)text, (size_t)n, NULL), 0);
                assert_int_equal(t.count, count);
                assert_memory_equal(t.points, want, t.count * sizeof *want);
            }
        }
    }
    text_points_close(&t);
}

/* What is not UTF-8 is refused with the offset of the first bad byte. */
static void test_text_normalize_refuses_bad_bytes(void **state)
{
    (void)state;
    static const char *const bad[] = {"a\xff",    "\xc0\x80", "\xed\xa0\x80",    "\xf4\x90\x80\x80",
                                      "\xe2\x82", "\x80",     "\xf0\x8f\xbf\xbf"};
    struct text_points t;
    text_points_init(&t);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err_buf e = {{0}};
        assert_int_equal(text_normalize(&t, bad[i], strlen(bad[i]), &e), ERR_DATA);
        assert_non_null(strstr(e.text, i == 0 ? "byte 1" : "byte 0"));
    }
    assert_int_equal(text_normalize(&t, "", TEXT_BYTES_MAX + 1, NULL), ERR_LIMIT);
    text_points_close(&t);
}

static void assert_tokens(const char *text, const char *want)
{
    struct text_points points;
    struct text_tokens tokens;
    text_points_init(&points);
    text_tokens_init(&tokens);
    assert_int_equal(text_normalize(&points, text, strlen(text), NULL), 0);
    assert_int_equal(text_segment(&tokens, points.points, points.count, NULL), 0);
    char joined[512] = {0};
    size_t at = 0;
    for (size_t i = 0; i < tokens.count; i++) {
        at += i ? (size_t)(stpcpy(joined + at, "|") - (joined + at)) : 0;
        for (uint32_t j = 0; j < tokens.tokens[i].count; j++) {
            at += (size_t)utf8proc_encode_char((int32_t)points.points[tokens.tokens[i].start + j],
                                               (uint8_t *)joined + at);
        }
    }
    assert_string_equal(joined, want);
    text_points_close(&points);
    text_tokens_close(&tokens);
}

/* Each script is cut in its own way; none needs spaces. */
static void test_text_segment_cuts_by_script(void **state)
{
    (void)state;
    assert_tokens("Wo ist mein Paket?", "wo|ist|mein|paket|?");
    assert_tokens("我的包裹在哪里", "我|的|包|裹|在|哪|里");
    assert_tokens("アラームをセット", "アラーム|を|セット");
    assert_tokens("ตั้ง", "ตั้|ง");
    assert_tokens("ខ្មែរ", "ខ្|មែ|រ");
    assert_tokens("मुझे जगाओ", "मुझे|जगाओ");
    assert_tokens("የማንቂያ ደውል", "የማንቂያ|ደውል");
    assert_tokens("أين طلبي؟", "أين|طلبي|؟");
    assert_tokens("配送5日 ok", "配|送|5|日|ok");
    assert_tokens(" \t ", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_normalize_folds_case_and_form),
        cmocka_unit_test(test_text_normalize_agrees_with_utf8proc),
        cmocka_unit_test(test_text_normalize_joins_letters_as_utf8proc),
        cmocka_unit_test(test_text_normalize_refuses_bad_bytes),
        cmocka_unit_test(test_text_segment_cuts_by_script),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
