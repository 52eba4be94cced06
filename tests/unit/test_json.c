/* common/json: bounded parsing that does not repeat its input, and deterministic writing. */
#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/json/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

static struct json *parse(const char *text)
{
    struct json *root = NULL;
    struct err_buf e = {{0}};
    int rc = json_parse(span_of(text), &json_limits_spec, &root, &e);
    if (rc) {
        fail_msg("%s: %s", text, e.text);
    }
    return root;
}

static void expect_failure(const char *text, int code, const char *message)
{
    struct json *root = NULL;
    struct err_buf e = {{0}};
    assert_int_equal(json_parse(span_of(text), &json_limits_spec, &root, &e), code);
    assert_string_equal(e.text, message);
    assert_null(root);
}

/* Values are read by kind, and the fallback stands in for what is missing or of another kind. */
static void test_json_getters_read_by_kind(void **state)
{
    (void)state;
    struct json *root = parse("{\"i\":-3,\"r\":0.5,\"b\":true,\"t\":\"x\\u00e9\",\"l\":[1,2],"
                              "\"m\":{\"k\":null}}");
    assert_int_equal(json_integer_or(json_get(root, "i"), 9), -3);
    assert_int_equal(json_integer_or(json_get(root, "r"), 9), 9);
    assert_true(json_real_or(json_get(root, "i"), 9) == -3.0);
    assert_true(json_real_or(json_get(root, "r"), 9) == 0.5);
    assert_true(json_bool_or(json_get(root, "b"), false));
    assert_string_equal(json_text_or(json_get(root, "t"), ""), "x\xc3\xa9");
    assert_string_equal(json_text_or(json_get(root, "missing"), "none"), "none");
    assert_int_equal(json_count(json_get(root, "l")), 2);
    assert_int_equal(json_integer_or(json_at(json_get(root, "l"), 1), 0), 2);
    assert_null(json_at(json_get(root, "l"), 2));
    assert_int_equal(json_kind_of(json_get(json_get(root, "m"), "k")), JSON_KIND_NULL);
    assert_int_equal(json_kind_of(json_get(json_get(root, "i"), "k")), JSON_KIND_NONE);
    json_free(root);
}

/* Failures say line and column, and never show what was read. */
static void test_json_failures_say_where_but_not_what(void **state)
{
    (void)state;
    expect_failure("{\"a\":1,\n  \"b\" secret}", ERR_PARSE, "line 2, column 12: not JSON");
    expect_failure("{\"a\":1", ERR_PARSE, "line 1, column 6: the text ends too early");
    expect_failure("", ERR_PARSE, "line 1, column 1: the text ends too early");
    expect_failure("{} x", ERR_PARSE, "line 1, column 4: something follows the end of the value");
    expect_failure("{\"a\":1,\"a\":2}", ERR_PARSE, "line 1, column 10: a key is given twice");
    expect_failure("\"\\u0000\"", ERR_PARSE, "line 1, column 8: a NUL character");
    expect_failure("[99999999999999999999]", ERR_PARSE, "line 1, column 21: a number is too large");
    expect_failure("\"\xc3\x28\"", ERR_PARSE, "line 1, column 1: not UTF-8");
    expect_failure("[[[[[[[[[1]]]]]]]]]", ERR_LIMIT,
                   "line 1, column 9: lists and maps inside each other deeper than 8");
}

/* Size and number of values are bounded before anything is built; brackets in strings are text. */
static void test_json_limits_hold(void **state)
{
    (void)state;
    const struct json_limits few = {.bytes_max = 40, .depth_max = 1, .values_max = 4};
    struct json *root = NULL;
    assert_int_equal(json_parse(span_of("[1,2,3,4]"), &few, &root, NULL), ERR_LIMIT);
    assert_int_equal(json_parse(span_of("[1,2,3]"), &few, &root, NULL), 0);
    json_free(root);
    assert_int_equal(json_parse(span_of("[\"[[[[,,,,,,\\\"[[\"]"), &few, &root, NULL), 0);
    json_free(root);
    assert_int_equal(
        json_parse(span_of("\"0123456789012345678901234567890123456789\""), &few, &root, NULL),
        ERR_LIMIT);
}

/* Equal trees give equal bytes: keys are sorted, numbers read back the same. */
static void test_json_dump_is_deterministic(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    struct json *root = parse(" { \"b\" : [ 1.50 , 1e300, 2.0, \"\\n\\\"\\u0001/\" ], \"a\" : "
                              "0.1, \"A\": false } ");
    assert_int_equal(json_dump(root, &out), 0);
    assert_string_equal(buf_text(&out), "{\"A\":false,\"a\":0.1,\"b\":[1.5,1e+300,2.0,"
                                        "\"\\n\\\"\\u0001/\"]}");
    json_free(root);
    struct json *again = parse(buf_text(&out));
    struct buf second;
    buf_init(&second, 1000);
    assert_int_equal(json_dump(again, &second), 0);
    assert_string_equal(buf_text(&out), buf_text(&second));
    json_free(again);
    buf_close(&second);
    buf_close(&out);
}

/* Trees are built with nested calls; a failed one leaves nothing behind. */
static void test_json_build(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    struct json *map = json_new_map();
    struct json *list = json_new_list();
    assert_int_equal(json_append(list, json_new_text(span_of("x"))), 0);
    assert_int_equal(json_append(list, json_new_text(span_make("\xff", 1))), ERR_NOMEM);
    assert_int_equal(json_set(map, "list", list), 0);
    assert_int_equal(json_set(map, "n", json_new_integer(1)), 0);
    assert_int_equal(json_set(map, "n", json_new_null()), 0);
    assert_int_equal(json_set(map, "gone", json_new_bool(true)), 0);
    assert_int_equal(json_set(map, "r", json_new_real((double)NAN)), ERR_NOMEM);
    json_remove(map, "gone");
    json_remove(map, "never");
    struct json *copy = json_copy_of(map);
    json_free(map);
    assert_int_equal(json_dump(copy, &out), 0);
    assert_string_equal(buf_text(&out), "{\"list\":[\"x\"],\"n\":null}");
    json_free(copy);
    buf_close(&out);
}

/* The writer puts commas and brackets right, and keeps its first failure to the end. */
static void test_json_writer(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 100);
    struct json_writer w;
    json_writer_init(&w, &out);
    json_write_map(&w, NULL);
    json_write_list(&w, "l");
    json_write_integer(&w, NULL, INT64_MIN);
    json_write_real(&w, NULL, (double)NAN);
    json_write_end(&w);
    json_write_raw(&w, "raw", span_of("[{}]"));
    json_write_bool(&w, "b", false);
    json_write_end(&w);
    assert_int_equal(json_writer_finish(&w), 0);
    assert_string_equal(buf_text(&out),
                        "{\"l\":[-9223372036854775808,null],\"raw\":[{}],\"b\":false}");
    json_writer_init(&w, &out);
    json_write_text(&w, NULL, span_make("a\xc3", 2));
    assert_int_equal(json_writer_finish(&w), ERR_INVALID);
    json_writer_init(&w, &out);
    json_write_map(&w, NULL);
    assert_int_equal(json_writer_finish(&w), ERR_INVALID);
    buf_close(&out);
    buf_init(&out, 3);
    json_writer_init(&w, &out);
    json_write_text(&w, NULL, span_of("too long"));
    json_write_null(&w, NULL);
    assert_int_equal(json_writer_finish(&w), ERR_LIMIT);
    buf_close(&out);
}

/* Running out of memory is reported, and the buffer is as before. */
static void test_json_dump_survives_no_memory(void **state)
{
    (void)state;
    struct json *root = parse("{\"a\":{\"b\":[1,2,3]},\"c\":{}}");
    for (long n = 1;; n++) {
        struct buf out;
        buf_init(&out, 1000);
        mem_fail_after(n);
        int rc = json_dump(root, &out);
        mem_fail_after(0);
        if (rc == 0) {
            buf_close(&out);
            assert_true(n > 3);
            break;
        }
        assert_int_equal(rc, ERR_NOMEM);
        assert_int_equal(out.length, 0);
        buf_close(&out);
    }
    json_free(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_getters_read_by_kind),
        cmocka_unit_test(test_json_failures_say_where_but_not_what),
        cmocka_unit_test(test_json_limits_hold),
        cmocka_unit_test(test_json_dump_is_deterministic),
        cmocka_unit_test(test_json_build),
        cmocka_unit_test(test_json_writer),
        cmocka_unit_test(test_json_dump_survives_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
