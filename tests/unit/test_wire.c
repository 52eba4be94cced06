/* common/wire: what is written is read back, and no bytes can do harm. */
#include "common/base/buf.h"
#include "common/base/rng.h"
#include "common/wire/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

enum { OUT_MAX = 1 << 20 };

struct sample {
    struct span text;
    char name[9];
    struct span bytes;
    int64_t integer;
    double real;
    bool flag;
    bool has_flag;
    struct wire_array array;
    struct span map;
};

enum { SAMPLE_FIELDS = 7 };

static void sample_fields(struct sample *s, struct wire_field f[SAMPLE_FIELDS])
{
    memset(s, 0, sizeof *s);
    f[0] = (struct wire_field){.name = "text", .type = WIRE_TEXT, .max = 100, .ret = &s->text};
    f[1] =
        (struct wire_field){.name = "name", .type = WIRE_NAME, .min = 1, .max = 8, .ret = s->name};
    f[2] = (struct wire_field){.name = "bytes", .type = WIRE_BYTES, .max = 100, .ret = &s->bytes};
    f[3] = (struct wire_field){.name = "integer",
                               .type = WIRE_INTEGER,
                               .min = -1000,
                               .max = 1000,
                               .ret = &s->integer,
                               .is_required = true};
    f[4] = (struct wire_field){.name = "real", .type = WIRE_REAL, .ret = &s->real};
    f[5] = (struct wire_field){
        .name = "flag", .type = WIRE_BOOL, .ret = &s->flag, .ret_has = &s->has_flag};
    f[6] = (struct wire_field){.name = "array", .type = WIRE_ARRAY, .max = 10, .ret = &s->array};
}

static int read_sample(struct span bytes, struct sample *s, struct err_buf *e)
{
    struct wire_field f[SAMPLE_FIELDS];
    sample_fields(s, f);
    return wire_read(bytes, f, SAMPLE_FIELDS, e);
}

/* Expects reading exactly these bytes to fail with that message. */
static void expect_failure(const char *bytes, size_t length, int code, const char *message)
{
    struct sample s;
    struct err_buf e = {{0}};
    assert_int_equal(read_sample(span_make(bytes, length), &s, &e), code);
    assert_string_equal(e.text, message);
}
#define EXPECT_FAILURE(bytes, code, message)                                                       \
    expect_failure((bytes), sizeof(bytes) - 1, (code), (message))

/* Every type comes back as it was written, nested levels included. */
static void test_wire_values_round_trip(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    struct wire_writer w;
    wire_writer_init(&w, &out);
    wire_write_map(&w);
    wire_write_key(&w, "text");
    wire_write_text(&w, span_of("gr\xc3\xbc\xc3\x9f dich"));
    wire_write_key(&w, "name");
    wire_write_text(&w, span_of("de-DE"));
    wire_write_key(&w, "bytes");
    wire_write_bytes(&w, span_make("\0\xff", 2));
    wire_write_key(&w, "unknown");
    wire_write_array(&w);
    wire_write_map(&w);
    wire_write_end(&w);
    wire_write_null(&w);
    wire_write_end(&w);
    wire_write_key(&w, "integer");
    wire_write_integer(&w, -777);
    wire_write_key(&w, "real");
    wire_write_real(&w, 0.1);
    wire_write_key(&w, "flag");
    wire_write_bool(&w, true);
    wire_write_key(&w, "array");
    wire_write_array_of(&w, 2);
    wire_write_integer(&w, 300);
    wire_write_text(&w, span_of("x"));
    wire_write_end(&w);
    assert_int_equal(wire_writer_finish(&w), 0);
    struct sample s;
    struct err_buf e = {{0}};
    assert_int_equal(read_sample(buf_span(&out), &s, &e), 0);
    assert_true(span_is(s.text, "gr\xc3\xbc\xc3\x9f dich"));
    assert_string_equal(s.name, "de-DE");
    assert_int_equal(s.bytes.length, 2);
    assert_int_equal(s.integer, -777);
    assert_true(s.real == 0.1);
    assert_true(s.flag && s.has_flag);
    assert_int_equal(s.array.count, 2);
    int64_t first = 0;
    struct span second;
    assert_int_equal(wire_next_integer(&s.array, "array", &first, &e), 0);
    assert_int_equal(wire_next_text(&s.array, "array", 10, &second, &e), 0);
    assert_int_equal(first, 300);
    assert_true(span_is(second, "x"));
    assert_int_equal(wire_next_text(&s.array, "array", 10, &second, &e), ERR_NOTFOUND);
    buf_close(&out);
}

/* Integers of every width keep their value, and limits their meaning. */
static void test_wire_integers_of_every_width(void **state)
{
    (void)state;
    const int64_t values[] = {
        0,         1,  127, 128, 255,  256,  65535,  65536,  4294967295,    4294967296,
        INT64_MAX, -1, -32, -33, -128, -129, -32768, -32769, -2147483648LL, -2147483649LL,
        INT64_MIN};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct buf out;
        buf_init(&out, OUT_MAX);
        struct wire_writer w;
        wire_writer_init(&w, &out);
        wire_write_array(&w);
        wire_write_integer(&w, values[i]);
        wire_write_end(&w);
        assert_int_equal(wire_writer_finish(&w), 0);
        assert_int_equal(wire_check(buf_span(&out), NULL), 0);
        struct wire_array a = {.bytes = span_make(out.data + 3, out.length - 3), .count = 1};
        int64_t value = 0;
        assert_int_equal(wire_next_integer(&a, "a", &value, NULL), 0);
        assert_true(value == values[i]);
        buf_close(&out);
    }
    EXPECT_FAILURE("\x81\xa7integer\xcf\xff\xff\xff\xff\xff\xff\xff\xff", ERR_PARSE,
                   "field \"integer\": not within -1000 and 1000");
}

/* A failure names the field and what was wrong with it. */
static void test_wire_failures_name_the_field(void **state)
{
    (void)state;
    EXPECT_FAILURE("\x81\xa7integer\xa1x", ERR_PARSE,
                   "field \"integer\": expected an integer, got text");
    EXPECT_FAILURE("\x80", ERR_PARSE, "field \"integer\": missing");
    EXPECT_FAILURE("\x81\xa7integer\xc0", ERR_PARSE, "field \"integer\": missing");
    EXPECT_FAILURE("\x82\xa7integer\x01\xa7integer\x01", ERR_PARSE,
                   "field \"integer\": given twice");
    EXPECT_FAILURE("\x83\xa7integer\x01\xa1z\x01\xa1z\x01", ERR_PARSE,
                   "member 3: its key was given before");
    EXPECT_FAILURE("\x82\xa7integer\x01\xa4name\xa9"
                   "123456789",
                   ERR_PARSE, "field \"name\": 9 is longer than 8");
    EXPECT_FAILURE("\x82\xa7integer\x01\xa4name\xa0", ERR_PARSE,
                   "field \"name\": 0 is shorter than 1");
    EXPECT_FAILURE("\x82\xa7integer\x01\xa4text\xa2\xc3\x28", ERR_PARSE,
                   "field \"text\": not UTF-8, or with a NUL");
    EXPECT_FAILURE("\x82\xa7integer\x01\xa4real\xcb\x7f\xf8\0\0\0\0\0\0", ERR_PARSE,
                   "field \"real\": not finite");
    EXPECT_FAILURE("\x81\x01\x01", ERR_PARSE, "member 1: its key is not text");
    EXPECT_FAILURE("\x93\x01\x01\x01", ERR_PARSE, "expected a map, got an array");
    EXPECT_FAILURE("\x81\xa7integer\x01\x01", ERR_PARSE, "1 bytes behind the end of the message");
    EXPECT_FAILURE("\x81\xa7integer\xc1", ERR_PARSE, "not MessagePack: byte 9 of 10");
}

/* A header that promises more than there is fails at once, whatever its width. */
static void test_wire_promises_are_checked(void **state)
{
    (void)state;
    EXPECT_FAILURE("\xdd\xff\xff\xff\xff", ERR_PARSE, "not MessagePack: byte 0 of 5");
    EXPECT_FAILURE("\xdf\x80\0\0\0", ERR_PARSE, "not MessagePack: byte 0 of 5");
    EXPECT_FAILURE("\xdb\xff\xff\xff\xff"
                   "abc",
                   ERR_PARSE, "not MessagePack: byte 0 of 8");
    EXPECT_FAILURE("\xc9\xff\xff\xff\xff\x01", ERR_PARSE, "not MessagePack: byte 0 of 6");
    EXPECT_FAILURE("\xcf\x01", ERR_PARSE, "not MessagePack: byte 0 of 2");
    EXPECT_FAILURE("", ERR_PARSE, "not MessagePack: byte 0 of 0");
}

/* Depth is bounded without recursion. */
static void test_wire_depth_is_bounded(void **state)
{
    (void)state;
    char bytes[64];
    memset(bytes, '\x91', sizeof bytes);
    struct err_buf e = {{0}};
    assert_int_equal(wire_check(span_make(bytes, sizeof bytes), &e), ERR_LIMIT);
    bytes[WIRE_DEPTH_MAX] = 1;
    assert_int_equal(wire_check(span_make(bytes, WIRE_DEPTH_MAX + 1), &e), 0);
    struct buf out;
    buf_init(&out, OUT_MAX);
    struct wire_writer w;
    wire_writer_init(&w, &out);
    for (int i = 0; i <= WIRE_DEPTH_MAX; i++) {
        wire_write_array(&w);
    }
    assert_int_equal(wire_writer_finish(&w), ERR_LIMIT);
    buf_close(&out);
}

/* A writer that was used wrongly, or whose buffer is full, says so at its end. */
static void test_wire_writer_reports_its_first_failure(void **state)
{
    (void)state;
    struct buf out;
    struct wire_writer w;
    buf_init(&out, 4);
    wire_writer_init(&w, &out);
    wire_write_text(&w, span_of("longer than four"));
    wire_write_integer(&w, 1);
    assert_int_equal(wire_writer_finish(&w), ERR_LIMIT);
    buf_close(&out);
    buf_init(&out, OUT_MAX);
    wire_writer_init(&w, &out);
    wire_write_map(&w);
    wire_write_key(&w, "lonely");
    wire_write_end(&w);
    assert_int_equal(wire_writer_finish(&w), ERR_INVALID);
    wire_writer_init(&w, &out);
    wire_write_array(&w);
    assert_int_equal(wire_writer_finish(&w), ERR_INVALID);
    buf_close(&out);
}

/* Well-formed UTF-8 passes; overlong forms, surrogates, cut and NUL bytes do not. */
static void test_wire_text_validity(void **state)
{
    (void)state;
    assert_true(wire_text_is_valid(span_of("")));
    assert_true(wire_text_is_valid(span_of("a\xc3\xa9\xe0\xa4\xb9\xf0\x9f\x98\x80")));
    const char *bad[] = {
        "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xc3",
        "\x80",     "\xff",         "\xe2\x82"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(wire_text_is_valid(span_of(bad[i])));
    }
    assert_false(wire_text_is_valid(span_make("a\0b", 3)));
}

/* Random bytes, and valid ones with a byte changed, never crash and never read outside. */
static void test_wire_survives_any_bytes(void **state)
{
    (void)state;
    struct rng r = {.key = 7};
    const char good[] = "\x84\xa7integer\x01\xa4text\xa3"
                        "abc\xa5"
                        "array\x92\x01\x02\xa4real\x05";
    int accepted = 0;
    for (int i = 0; i < 200000; i++) {
        char bytes[sizeof good - 1];
        memcpy(bytes, good, sizeof bytes);
        size_t length = rng_below(&r, (uint32_t)sizeof bytes + 1);
        if (i % 2 == 0) {
            length = sizeof bytes;
            bytes[rng_below(&r, (uint32_t)length)] = (char)rng_below(&r, 256);
        } else {
            for (size_t j = 0; j < length; j++) {
                bytes[j] = (char)rng_below(&r, 256);
            }
        }
        struct sample s;
        accepted += read_sample(span_make(bytes, length), &s, NULL) == 0;
    }
    assert_true(accepted > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_values_round_trip),
        cmocka_unit_test(test_wire_integers_of_every_width),
        cmocka_unit_test(test_wire_failures_name_the_field),
        cmocka_unit_test(test_wire_promises_are_checked),
        cmocka_unit_test(test_wire_depth_is_bounded),
        cmocka_unit_test(test_wire_writer_reports_its_first_failure),
        cmocka_unit_test(test_wire_text_validity),
        cmocka_unit_test(test_wire_survives_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
