/* common/gzip: plain and compressed input through one reader. */
#include "common/gzip/gzip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* "hello\n" as gzip -n writes it. */
static const unsigned char hello_gz[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                         0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xe7, 0x02, 0x00,
                                         0x20, 0x30, 0x3a, 0x36, 0x06, 0x00, 0x00, 0x00};

/* Reads all of content through the reader in steps of three bytes. Returns the last code. */
static int read_all(const void *content, size_t length, char *out, size_t *ret_length,
                    struct err_buf *e)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, length, file), length);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(lseek(fileno(file), 0, SEEK_SET), 0);
    struct gzip_reader *r = NULL;
    int rc = gzip_open_fd(&r, fileno(file), "x.gz", e);
    size_t total = 0;
    size_t got = 1;
    while (rc == 0 && got > 0) {
        rc = gzip_read(r, out + total, 3, &got, e);
        total += rc == 0 ? got : 0;
    }
    *ret_length = total;
    gzip_close(r);
    (void)fclose(file);
    return rc;
}

/* Content that is not gzip comes through as it is. */
static void test_gzip_plain_passes_through(void **state)
{
    (void)state;
    char out[64];
    size_t length = 0;
    struct err_buf e;
    assert_int_equal(read_all("hello\n", 6, out, &length, &e), 0);
    assert_int_equal(length, 6);
    assert_memory_equal(out, "hello\n", 6);
    assert_int_equal(read_all("", 0, out, &length, &e), 0);
    assert_int_equal(length, 0);
    assert_int_equal(read_all("x", 1, out, &length, &e), 0);
    assert_int_equal(length, 1);
}

/* Two members in one file are read as one text, as gzip does. */
static void test_gzip_members_are_joined(void **state)
{
    (void)state;
    unsigned char twice[2 * sizeof hello_gz];
    memcpy(twice, hello_gz, sizeof hello_gz);
    memcpy(twice + sizeof hello_gz, hello_gz, sizeof hello_gz);
    char out[64];
    size_t length = 0;
    struct err_buf e;
    assert_int_equal(read_all(twice, sizeof twice, out, &length, &e), 0);
    assert_int_equal(length, 12);
    assert_memory_equal(out, "hello\nhello\n", 12);
}

/* A file cut anywhere, or with a wrong checksum or foreign bytes behind it, is an error, not less
 * text. */
static void test_gzip_damage_is_reported(void **state)
{
    (void)state;
    char out[64];
    size_t length = 0;
    struct err_buf e;
    for (size_t cut = 2; cut < sizeof hello_gz; cut++) {
        assert_int_equal(read_all(hello_gz, cut, out, &length, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.text, "x.gz: byte"));
    }
    unsigned char wrong[sizeof hello_gz + 3];
    memcpy(wrong, hello_gz, sizeof hello_gz);
    wrong[18] ^= 1;
    assert_int_equal(read_all(wrong, sizeof hello_gz, out, &length, &e), ERR_CORRUPT);
    memcpy(wrong, hello_gz, sizeof hello_gz);
    memcpy(wrong + sizeof hello_gz, "abc", 3);
    assert_int_equal(read_all(wrong, sizeof wrong, out, &length, &e), ERR_CORRUPT);
}

/* A file that is not there names itself. */
static void test_gzip_absent_file_is_named(void **state)
{
    (void)state;
    struct gzip_reader *r = NULL;
    struct err_buf e;
    assert_int_equal(gzip_open(&r, "/nonexistent/a.jsonl", &e), ERR_NOTFOUND);
    assert_non_null(strstr(e.text, "/nonexistent/a.jsonl"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gzip_plain_passes_through),
        cmocka_unit_test(test_gzip_members_are_joined),
        cmocka_unit_test(test_gzip_damage_is_reported),
        cmocka_unit_test(test_gzip_absent_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
