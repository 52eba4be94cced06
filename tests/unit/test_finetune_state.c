/* worker/jobs/finetune_state: what is written is read again, and nothing else is. */
#include "worker/jobs/finetune_state.h"

#include "common/base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int on_read(void *to, size_t bytes, void *data, struct err_buf *e)
{
    struct span *left = data;
    if (bytes > left->length) {
        return err_set(e, ERR_CORRUPT, "it ends early");
    }
    memcpy(to, left->data, bytes);
    *left = span_make(left->data + bytes, left->length - bytes);
    return 0;
}

static struct finetune_state *sample(void)
{
    struct finetune_state *s = mem_new(sizeof *s);
    assert_non_null(s);
    *s = (struct finetune_state){.phase = "scratch",
                                 .elapsed_ms = 1234,
                                 .points = 2,
                                 .curve = {{1, 100, 0.5, (double)NAN, 10, 20}, {2, 200, 0.25}},
                                 .metrics = 2,
                                 .names = {"train_loss", "epochs"},
                                 .values = {0.25, 2},
                                 .model_bytes = 77};
    return s;
}

/* Everything comes back, a loss that is not known included, and what follows is left alone. */
static void test_finetune_state_round_trip(void **state)
{
    (void)state;
    struct finetune_state *s = sample();
    struct finetune_state *back = mem_new(sizeof *back);
    struct err_buf e = {{0}};
    struct buf out;
    buf_init(&out, FINETUNE_HEAD_MAX + 100);
    assert_int_equal(finetune_state_write(s, &out), 0);
    assert_int_equal(buf_add_text(&out, "model"), 0);
    struct span left = buf_span(&out);
    assert_int_equal(finetune_state_read(back, on_read, &left, &e), 0);
    assert_int_equal(left.length, 5);
    assert_string_equal(back->phase, "scratch");
    assert_int_equal(back->elapsed_ms, 1234);
    assert_int_equal(back->model_bytes, 77);
    assert_int_equal(back->points, 2);
    assert_memory_equal(back->curve, s->curve, 2 * sizeof s->curve[0]);
    assert_int_equal(back->metrics, 2);
    assert_string_equal(back->names[1], "epochs");
    assert_true(back->values[0] == 0.25);
    buf_close(&out);
    mem_free(back);
    mem_free(s);
}

/* The largest that can be fits its limit. */
static void test_finetune_state_of_the_largest_fits(void **state)
{
    (void)state;
    struct finetune_state *s = sample();
    struct buf out;
    buf_init(&out, FINETUNE_HEAD_MAX + 4);
    s->points = BAG_EPOCHS_MAX;
    s->metrics = FINETUNE_METRICS_MAX;
    for (size_t i = 0; i < s->metrics; i++) {
        memset(s->names[i], 'n', FINETUNE_NAME_MAX);
    }
    assert_int_equal(finetune_state_write(s, &out), 0);
    buf_close(&out);
    mem_free(s);
}

/* Cut short anywhere, or with any byte changed, it is refused or read; never more than that. */
static void test_finetune_state_survives_any_bytes(void **state)
{
    (void)state;
    struct finetune_state *s = sample();
    struct finetune_state *back = mem_new(sizeof *back);
    struct buf out;
    buf_init(&out, FINETUNE_HEAD_MAX + 4);
    assert_int_equal(finetune_state_write(s, &out), 0);
    for (size_t length = 0; length < out.length; length++) {
        struct span left = span_make(out.data, length);
        struct err_buf e = {{0}};
        assert_int_equal(finetune_state_read(back, on_read, &left, &e), ERR_CORRUPT);
        assert_true(e.text[0] != '\0');
    }
    for (size_t at = 0; at < out.length; at++) {
        for (unsigned flip = 1; flip < 256; flip *= 2) {
            out.data[at] = (char)((unsigned char)out.data[at] ^ flip);
            struct span left = buf_span(&out);
            struct err_buf e = {{0}};
            int rc = finetune_state_read(back, on_read, &left, &e);
            assert_true(rc == 0 ||
                        (e.text[0] != '\0' && (rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED)));
            out.data[at] = (char)((unsigned char)out.data[at] ^ flip);
        }
    }
    buf_close(&out);
    mem_free(back);
    mem_free(s);
}

/* A curve whose counts are none is refused before anything is made of it. */
static void test_finetune_state_refuses_a_strange_curve(void **state)
{
    (void)state;
    static const double strange[] = {-1, 1e300, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        struct finetune_state *s = sample();
        struct err_buf e = {{0}};
        struct buf out;
        buf_init(&out, FINETUNE_HEAD_MAX + 4);
        s->curve[1][0] = strange[i];
        assert_int_equal(finetune_state_write(s, &out), 0);
        struct span left = buf_span(&out);
        assert_int_equal(finetune_state_read(s, on_read, &left, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.text, "point 1"));
        buf_close(&out);
        mem_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finetune_state_round_trip),
        cmocka_unit_test(test_finetune_state_of_the_largest_fits),
        cmocka_unit_test(test_finetune_state_survives_any_bytes),
        cmocka_unit_test(test_finetune_state_refuses_a_strange_curve),
    };
    return cmocka_run_group_tests_name("finetune_state", tests, NULL, NULL);
}
