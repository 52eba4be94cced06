/*
 * A training that is interrupted and goes on from its state ends with the same bytes, wherever that
 * was. Whoever gives the trainer a variable that outlives a block of samples and does not list it
 * in its state fails here.
 */
#include "worker/model/bag/bag.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The trainer looks at its watch every 2,048 samples: three times an epoch. */
enum { SAMPLES = 4500, DEV_SAMPLES = 300, LABELS = 5, STATES_MAX = 200 };

static const char *const label_names[LABELS] = {"billing", "delivery", "login", "returns", "other"};

/* Words that half tell the label, so that no epoch learns everything. */
static void add_text(struct bag_data *d, uint64_t i)
{
    char text[128];
    size_t at = 0;
    struct rng r = {.key = i};
    uint32_t topic = rng_below(&r, LABELS);
    for (uint32_t w = 0; w < 4; w++) {
        uint32_t word = rng_below(&r, 3) ? rng_below(&r, 40) : 40 + topic * 4 + rng_below(&r, 4);
        at += (size_t)snprintf(text + at, sizeof text - at, "%sw%ux", w ? " " : "", word);
    }
    const char *label = label_names[topic];
    assert_int_equal(bag_data_add(d, text, at, label, strlen(label), NULL), 0);
}

static struct bag_data *make_data(const struct bag_params *p, uint64_t from, size_t count)
{
    struct bag_data *d = bag_data_new(p, NULL);
    assert_non_null(d);
    for (uint64_t i = 0; i < count; i++) {
        add_text(d, from + i);
    }
    return d;
}

/* One training with everything it is given. */
struct bench {
    struct bag_params params;
    bool has_dev;
    struct bag_model *base;
    struct span undisturbed;
    struct bag_model *model;  /* whose bytes those are */
    struct bag_report report; /* of that training */
    uint64_t step;            /* the last that it told */
};

/* What a training told, and where it goes on. */
struct teller {
    struct span left; /* of the state to go on from; data NULL: from the start */
    struct buf states[STATES_MAX];
    size_t count;
    size_t wanted; /* so many states at most */
    bool stops;    /* cancelled from the start */
    uint64_t step;
};

static bool on_wants_state(void *data)
{
    struct teller *t = data;
    return t->count < t->wanted;
}

static void on_state(const struct bag_state *state, void *data)
{
    struct teller *t = data;
    size_t bytes = 0;
    assert_true(state->count > 0);
    struct buf *out = &t->states[t->count++];
    buf_init(out, 64u << 20);
    for (size_t i = 0; i < state->count; i++) {
        assert_int_equal(buf_add(out, state->parts[i].data, state->parts[i].length), 0);
        bytes += state->parts[i].length;
    }
    assert_int_equal(bytes, state->bytes);
}

static int on_read_state(void *to, size_t bytes, void *data, struct err_buf *e)
{
    struct teller *t = data;
    if (bytes > t->left.length || (bytes == 0 && t->left.length > 0)) {
        return err_set(e, ERR_CORRUPT, "it ends too early or too late");
    }
    if (bytes > 0) {
        memcpy(to, t->left.data, bytes);
        t->left = span_make(t->left.data + bytes, t->left.length - bytes);
    }
    return 0;
}

static void on_progress(const struct bag_progress *progress, void *data)
{
    ((struct teller *)data)->step = progress->step;
}

/* As a drain does it: it is cancelled at once, and told where it is. */
static bool on_is_cancelled(void *data)
{
    return ((struct teller *)data)->stops;
}

static void teller_close(struct teller *t)
{
    for (size_t i = 0; i < t->count; i++) {
        buf_close(&t->states[i]);
    }
    *t = (struct teller){.count = 0};
}

static int train(const struct bench *b, struct span resume, struct teller *t,
                 struct bag_model **ret, struct bag_report *report, struct err_buf *e)
{
    const struct bag_watch watch = {.on_progress = on_progress,
                                    .is_cancelled = on_is_cancelled,
                                    .wants_state = on_wants_state,
                                    .on_state = on_state,
                                    .read_state = resume.data ? on_read_state : NULL,
                                    .data = t};
    t->left = resume;
    struct bag_data *data = make_data(&b->params, 0, SAMPLES);
    struct bag_data *dev = b->has_dev ? make_data(&b->params, 100000, DEV_SAMPLES) : NULL;
    int rc = bag_train(ret, &b->params, data, dev, b->base, &watch, report, e);
    bag_data_free(data);
    bag_data_free(dev);
    return rc;
}

static void expect_undisturbed(const struct bench *b, struct span resume, struct teller *t,
                               size_t place)
{
    struct bag_model *m = NULL;
    struct bag_report report;
    struct err_buf e = {{0}};
    if (train(b, resume, t, &m, &report, &e) != 0) {
        fail_msg("place %zu: %s", place, e.text);
    }
    if (!span_equals(bag_bytes(m), b->undisturbed)) {
        fail_msg("a training that went on from place %zu made other bytes", place);
    }
    assert_int_equal(report.epochs_run, b->report.epochs_run);
    assert_true(report.loss == b->report.loss);
    assert_true(b->params.threads > 1 || t->step == b->step);
    bag_free(m);
}

static void bench_init(struct bench *b, uint32_t hidden, uint32_t threads)
{
    *b = (struct bench){.has_dev = false};
    bag_params_default(&b->params);
    b->params.features.char_min = 2;
    b->params.features.char_max = 2;
    b->params.features.word_gap = 0;
    b->params.hidden = hidden;
    b->params.hidden_epochs = 2;
    b->params.epochs = 3;
    b->params.tolerance = 0;
    b->params.threads = threads;
}

static void bench_run(struct bench *b)
{
    struct teller t = {.wanted = 0};
    assert_int_equal(train(b, span_make(NULL, 0), &t, &b->model, &b->report, NULL), 0);
    b->undisturbed = bag_bytes(b->model);
    b->step = t.step;
}

static void bench_close(struct bench *b)
{
    bag_free(b->model);
    bag_free(b->base);
}

/* A base, a dev set that may decide when to stop, weights by class. */
static void bench_enrich(struct bench *b)
{
    struct bench before = *b;
    struct teller t = {.wanted = 0};
    before.params.seed = 7;
    before.params.hidden_epochs = 1;
    before.params.epochs = 1;
    assert_int_equal(train(&before, span_make(NULL, 0), &t, &b->base, NULL, NULL), 0);
    b->has_dev = true;
    b->params.class_weight = BAG_CLASS_BALANCED;
}

/* Tells every state, then goes on from each. */
static void check_every_place(struct bench *b)
{
    struct teller all = {.wanted = STATES_MAX};
    bench_run(b);
    expect_undisturbed(b, span_make(NULL, 0), &all, 0);
    assert_true(all.count >= 3 && all.count < STATES_MAX);
    for (size_t i = 0; i < all.count; i++) {
        struct teller none = {.wanted = 0};
        expect_undisturbed(b, buf_span(&all.states[i]), &none, i);
    }
    teller_close(&all);
}

/* The linear part alone goes on from between any two blocks as if nothing had been. */
static void test_bag_resume_linear_goes_on_anywhere(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0, 1);
    check_every_place(&b);
    bench_close(&b);
}

/* So do the towers, and telling the state changes nothing. */
static void test_bag_resume_towers_go_on_anywhere(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 8, 1);
    check_every_place(&b);
    bench_close(&b);
}

/* Towers without a single embedding have a state too. */
static void test_bag_resume_without_embeddings_goes_on(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 8, 1);
    b.params.epochs = 1;
    b.params.hidden_epochs = 1;
    b.params.hidden_count_min = 1000000;
    check_every_place(&b);
    bench_close(&b);
}

/* With a base, weighted classes, and a dev set that stops the linear part early. */
static void test_bag_resume_that_dev_stops_goes_on_anywhere(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 8, 1);
    bench_enrich(&b);
    b.params.strength = 100; /* learns the noise */
    b.params.patience = 3;
    b.params.epochs = 12;
    check_every_place(&b);
    assert_in_range(b.report.epochs_run, 4, 11);
    bench_close(&b);
}

/* A linear part that ends because nothing changes any more. */
static void test_bag_resume_that_settles_goes_on_anywhere(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0, 1);
    b.params.tolerance = 0.1;
    b.params.epochs = 12;
    check_every_place(&b);
    assert_in_range(b.report.epochs_run, 3, 11);
    bench_close(&b);
}

/* Threads stand still for it; each part goes on from its own place, with fewer threads too. The
 * linear part has long ended when the towers are in their last epochs. */
static void test_bag_resume_with_threads_goes_on_anywhere(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 8, 4);
    bench_enrich(&b);
    b.params.epochs = 1;
    b.params.hidden_epochs = 8;
    bench_run(&b);
    struct teller all = {.wanted = STATES_MAX};
    expect_undisturbed(&b, span_make(NULL, 0), &all, 0);
    assert_true(all.count > 0);
    for (size_t i = 0; i < all.count; i++) {
        struct teller none = {.wanted = 0};
        b.params.threads = 4 - (uint32_t)(i % 3);
        expect_undisturbed(&b, buf_span(&all.states[i]), &none, i);
    }
    teller_close(&all);
    bench_close(&b);
}

/* Stopped at every single place in turn: each attempt does one block and hands on. */
static void test_bag_resume_after_every_block_ends(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 8, 1);
    bench_enrich(&b);
    bench_run(&b);
    struct buf at;
    struct bag_model *m = NULL;
    size_t attempts = 0;
    buf_init(&at, 64u << 20);
    for (int rc = ERR_CANCELLED; rc != 0; attempts++) {
        struct err_buf e = {{0}};
        struct teller t = {.wanted = 1, .stops = true};
        rc = train(&b, attempts ? buf_span(&at) : span_make(NULL, 0), &t, &m, NULL, &e);
        assert_true(rc == 0 || (rc == ERR_CANCELLED && t.count == 1));
        buf_reset(&at);
        if (rc != 0) {
            assert_int_equal(buf_add(&at, t.states[0].data, t.states[0].length), 0);
        }
        teller_close(&t);
        assert_true(attempts < STATES_MAX);
    }
    assert_true(attempts > 20);
    assert_true(span_equals(bag_bytes(m), b.undisturbed));
    bag_free(m);
    buf_close(&at);
    bench_close(&b);
}

/* A state of another training is refused by name, not half used. */
static void test_bag_resume_refuses_a_foreign_state(void **state)
{
    (void)state;
    struct bench b;
    struct teller t = {.wanted = 1, .stops = true};
    struct teller none = {.wanted = 0};
    struct bag_model *m = NULL;
    struct err_buf e = {{0}};
    bench_init(&b, 8, 1);
    assert_int_equal(train(&b, span_make(NULL, 0), &t, &m, NULL, &e), ERR_CANCELLED);
    assert_int_equal(t.count, 1);
    struct span told = buf_span(&t.states[0]);
    b.params.hidden = 16;
    assert_int_equal(train(&b, told, &none, &m, NULL, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "hidden."));
    b.params.hidden = 0;
    assert_int_equal(train(&b, told, &none, &m, NULL, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "no state"));
    assert_int_equal(train(&b, span_of("x"), &none, &m, NULL, &e), ERR_CORRUPT);
    assert_int_equal(train(&b, span_make("", 0), &none, &m, NULL, &e), ERR_CORRUPT);
    b.params.hidden = 8;
    assert_int_equal(train(&b, span_make(told.data, told.length - 1), &none, &m, NULL, &e),
                     ERR_CORRUPT);
    t.states[0].data[told.length - 1] = (char)0x7f; /* with 0xff before it: not a number */
    t.states[0].data[told.length - 2] = (char)0xff;
    assert_int_equal(train(&b, told, &none, &m, NULL, &e), ERR_CORRUPT);
    assert_null(m);
    teller_close(&t);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bag_resume_linear_goes_on_anywhere),
        cmocka_unit_test(test_bag_resume_towers_go_on_anywhere),
        cmocka_unit_test(test_bag_resume_without_embeddings_goes_on),
        cmocka_unit_test(test_bag_resume_that_dev_stops_goes_on_anywhere),
        cmocka_unit_test(test_bag_resume_that_settles_goes_on_anywhere),
        cmocka_unit_test(test_bag_resume_with_threads_goes_on_anywhere),
        cmocka_unit_test(test_bag_resume_after_every_block_ends),
        cmocka_unit_test(test_bag_resume_refuses_a_foreign_state),
    };
    return cmocka_run_group_tests_name("bag_resume", tests, NULL, NULL);
}
