/* Long bulks are cut on their way to the reader, in whatever pieces they come. */
#include "common/redis/cut.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct out {
    char text[4096];
    size_t length;
};

static int collect(const char *data, size_t length, void *data_of_pass, struct err_buf *e)
{
    struct out *o = data_of_pass;
    (void)e;
    assert_true(o->length + length < sizeof o->text);
    memcpy(o->text + o->length, data, length);
    o->length += length;
    o->text[o->length] = '\0';
    return 0;
}

/* Feeds the bytes in pieces of every size; the outcome must be the same each time. */
static void expect(size_t bulk_max, size_t reply_max, const char *in, const char *want)
{
    size_t length = strlen(in);
    for (size_t piece = 1; piece <= length; piece++) {
        struct cut c;
        struct out o = {.length = 0};
        cut_init(&c, bulk_max, reply_max);
        for (size_t at = 0; at < length; at += piece) {
            size_t n = length - at < piece ? length - at : piece;
            assert_int_equal(cut_feed(&c, in + at, n, collect, &o, NULL), 0);
        }
        assert_string_equal(o.text, want);
    }
}

/* What is short enough passes as it is, of every type. */
static void test_cut_passes_what_is_short(void **state)
{
    (void)state;
    const char *replies = "+OK\r\n-ERR no\r\n:12\r\n$-1\r\n$0\r\n\r\n$3\r\nabc\r\n*-1\r\n*0\r\n"
                          "*2\r\n$1\r\na\r\n*1\r\n:3\r\n$3\r\n\r\n$\r\n";
    expect(3, 0, replies, replies);
    expect(0, 0, replies, replies);
}

/* One byte more than allowed is left of what is longer, so that its user can see it. */
static void test_cut_leaves_one_byte_too_many(void **state)
{
    (void)state;
    expect(3, 0, "*2\r\n$5\r\nabcde\r\n$3\r\nxyz\r\n+OK\r\n",
           "*2\r\n$4\r\nabcd\r\n$3\r\nxyz\r\n+OK\r\n");
    expect(3, 0, "$4\r\nabcd\r\n", "$4\r\nabcd\r\n");
    expect(3, 0, "$12\r\n$3\r\n*9\r\n$99\r\r\n:1\r\n", "$4\r\n$3\r\n\r\n:1\r\n");
}

/* All of one reply together: the bulk that would pass the bound arrives empty; short ones (ids)
 * always pass, and the next reply has all of the room again. */
static void test_cut_bounds_a_whole_reply(void **state)
{
    (void)state;
    char in[1024], want[1024], big[101];
    memset(big, 'b', 100);
    big[100] = '\0';
    (void)snprintf(in, sizeof in, "*3\r\n$100\r\n%s\r\n$2\r\nid\r\n$100\r\n%s\r\n$100\r\n%s\r\n",
                   big, big, big);
    (void)snprintf(want, sizeof want, "*3\r\n$100\r\n%s\r\n$2\r\nid\r\n$0\r\n\r\n$100\r\n%s\r\n",
                   big, big);
    expect(0, 150, in, want);
}

/* A long bulk takes of that room only what is kept of it. */
static void test_cut_counts_what_is_kept(void **state)
{
    (void)state;
    char in[2048], want[1024], big[301];
    memset(big, 'b', 300);
    big[300] = '\0';
    (void)snprintf(in, sizeof in, "*2\r\n$300\r\n%s\r\n$300\r\n%s\r\n", big, big);
    (void)snprintf(want, sizeof want, "*2\r\n$101\r\n%.101s\r\n$0\r\n\r\n", big);
    expect(100, 150, in, want);
}

/* What is not the protocol is passed on: the reader refuses it. */
static void test_cut_passes_nonsense(void **state)
{
    (void)state;
    const char *nonsense = "hello\r\n$999999999999999999999999999999\r\n";
    expect(3, 0, nonsense, nonsense);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_passes_what_is_short),
        cmocka_unit_test(test_cut_leaves_one_byte_too_many),
        cmocka_unit_test(test_cut_bounds_a_whole_reply),
        cmocka_unit_test(test_cut_counts_what_is_kept),
        cmocka_unit_test(test_cut_passes_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
