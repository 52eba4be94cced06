/* common/base: errors, buffers, ids, hashes and random numbers. */
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/base/sha256.h"
#include "common/base/uuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A wrapped message reads from the outermost attempt to the innermost cause. */
static void test_err_wrap_puts_context_first(void **state)
{
    (void)state;
    struct err_buf e = {{0}};
    int rc = err_set(&e, ERR_LIMIT, "line %d: too long", 7);
    assert_int_equal(err_wrap(&e, rc, "cannot import \"%s\"", "a.csv"), ERR_LIMIT);
    assert_string_equal(e.text, "cannot import \"a.csv\": line 7: too long");
}

/* Every code has a name that leads back to it. */
static void test_err_names_round_trip(void **state)
{
    (void)state;
#define X(code, number, text, class) assert_int_equal(err_from_name(err_name(number)), number);
    ERR_LIST(X)
#undef X
    assert_int_equal(err_class_of(ERR_UNREACHABLE), ERR_CLASS_RETRY);
    assert_string_equal(err_name(12345), "UNKNOWN");
}

/* Adding past the limit is refused and leaves the buffer as it was. */
static void test_buf_limit_is_kept(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 8);
    assert_int_equal(buf_add_text(&b, "12345678"), 0);
    assert_int_equal(buf_add_text(&b, "9"), ERR_LIMIT);
    assert_string_equal(buf_text(&b), "12345678");
    buf_consume(&b, 3);
    assert_int_equal(buf_add_format(&b, "%d", 99), 0);
    assert_string_equal(buf_text(&b), "4567899");
    buf_close(&b);
}

/* When memory runs out, adding fails cleanly and the old bytes stay. */
static void test_buf_survives_failed_allocation(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    assert_int_equal(buf_add_text(&b, "kept"), 0);
    mem_fail_after(1);
    char big[1000] = {0};
    assert_int_equal(buf_add(&b, big, sizeof big), ERR_NOMEM);
    assert_string_equal(buf_text(&b), "kept");
    buf_close(&b);
}

/* The digest is the published one, in one piece or in several (FIPS 180-2, "abc"). */
static void test_sha256_matches_the_standard(void **state)
{
    (void)state;
    uint8_t digest[SHA256_BYTES];
    uint8_t back[SHA256_BYTES];
    char hex[SHA256_HEX_SIZE];
    struct sha256 *s = sha256_new();
    assert_non_null(s);
    sha256_add(s, "a", 1);
    sha256_add(s, "bc", 2);
    sha256_finish(s, digest);
    sha256_free(s);
    assert_string_equal(sha256_hex(digest, hex),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(sha256_from_hex(hex, back), 0);
    assert_memory_equal(back, digest, SHA256_BYTES);
    assert_int_equal(sha256_from_hex("ba78", back), ERR_PARSE);
}

/* Derived ids repeat, random ones do not, and both are well formed. */
static void test_uuid_derived_ids_repeat(void **state)
{
    (void)state;
    struct uuid a = uuid_derive("night/de-DE/finetune");
    struct uuid b = uuid_derive("night/de-DE/finetune");
    struct uuid c = uuid_derive("night/de-DE/evaluate");
    assert_string_equal(a.text, b.text);
    assert_string_not_equal(a.text, c.text);
    assert_true(uuid_is_valid(a.text, 36));
    struct uuid early = uuid_make(1000, 1, 2);
    struct uuid late = uuid_make(2000, 1, 2);
    assert_true(uuid_is_valid(early.text, 36));
    assert_true(strcmp(early.text, late.text) < 0);
    assert_false(uuid_is_valid("not-a-uuid", 10));
}

/* A draw depends on key and counter alone. */
static void test_rng_is_counter_based(void **state)
{
    (void)state;
    struct rng r = {.key = 42};
    uint64_t first = rng_next(&r);
    (void)rng_next(&r);
    assert_true(first == rng_at(42, 0));
    assert_true(rng_at(42, 1) != rng_at(43, 1));
    for (int i = 0; i < 1000; i++) {
        assert_in_range(rng_below(&r, 7), 0, 6);
    }
}

/* Records hold UTC with milliseconds. */
static void test_clock_formats_utc(void **state)
{
    (void)state;
    char out[32];
    assert_string_equal(clock_format_utc(1700000000123, out, sizeof out),
                        "2023-11-14T22:13:20.123Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_wrap_puts_context_first),
        cmocka_unit_test(test_err_names_round_trip),
        cmocka_unit_test(test_buf_limit_is_kept),
        cmocka_unit_test(test_buf_survives_failed_allocation),
        cmocka_unit_test(test_sha256_matches_the_standard),
        cmocka_unit_test(test_uuid_derived_ids_repeat),
        cmocka_unit_test(test_rng_is_counter_based),
        cmocka_unit_test(test_clock_formats_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
