/* Training in one pass: learning, order of labels, bounded memory, what it refuses. */
#include "worker/model/bag/bag.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { SAMPLES = 3000, WORDS = 6, LABELS_MAX = 100 };

static void params(struct bag_params *p)
{
    bag_params_default(p);
    p->one_pass = true;
}

/* Sample number i with a word that tells its topic, among fillers. */
static int add(struct bag_data *d, uint64_t i, uint32_t topic)
{
    char text[256];
    char label[16];
    size_t at = 0;
    struct rng r = {.key = i};
    uint32_t place = rng_below(&r, WORDS);
    for (uint32_t w = 0; w < WORDS; w++) {
        at +=
            (size_t)snprintf(text + at, sizeof text - at, w == place ? " topic%u-%u" : " filler%u",
                             w == place ? topic : rng_below(&r, 50), rng_below(&r, 3));
    }
    int length = snprintf(label, sizeof label, "label%03u", topic);
    return bag_data_add(d, text, at, label, (size_t)length, NULL);
}

static struct bag_data *make(const struct bag_params *p, uint64_t from, size_t samples,
                             uint32_t labels)
{
    struct bag_data *d = bag_data_new(p, NULL);
    assert_non_null(d);
    for (uint64_t i = 0; i < samples; i++) {
        /* topics come one by one, so that the tables grow while they learn */
        struct rng r = {.key = from + i + 1000000};
        uint32_t known = (uint32_t)(1 + i / 10 < labels ? 1 + i / 10 : labels);
        assert_int_equal(add(d, from + i, rng_below(&r, known)), 0);
    }
    return d;
}

static struct bag_model *train(const struct bag_params *p, uint32_t labels,
                               struct bag_report *report)
{
    struct bag_params for_dev = *p;
    for_dev.one_pass = false;
    struct bag_data *data = make(p, 0, SAMPLES, labels);
    struct bag_data *dev = make(&for_dev, 500000, 400, labels);
    struct bag_model *m = NULL;
    struct err_buf e = {{0}};
    if (bag_train(&m, p, data, dev, NULL, NULL, report, &e)) {
        fail_msg("%s", e.text);
    }
    bag_data_free(data);
    bag_data_free(dev);
    return m;
}

/* With two labels (one weight a feature), three and many, it learns what can be learnt, and the
 * model's own predictor agrees. */
static void test_bag_stream_learns_what_can_be_learnt(void **state)
{
    (void)state;
    static const uint32_t counts[] = {2, 3, 8, 9, LABELS_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct bag_params p;
        params(&p);
        struct bag_report report;
        struct bag_model *m = train(&p, counts[i], &report);
        assert_int_equal(bag_label_count(m), counts[i]);
        assert_int_equal(report.samples, SAMPLES);
        assert_true(report.dev_accuracy > 0.95);
        struct bag_predictor *predictor = bag_predictor_new(m, NULL);
        float probs[LABELS_MAX];
        assert_int_equal(bag_predict(predictor, "filler3 topic1-1", 16, probs, NULL), 0);
        assert_true(probs[bag_label_find(m, span_of("label001"))] > 0.5f);
        bag_predictor_free(predictor);
        bag_free(m);
    }
}

/* Samples enough for several batches between two threads, some of more features than a batch
 * holds. */
static struct bag_model *train_with_long_texts(const struct bag_params *p, uint32_t labels)
{
    enum { LONG_WORDS = 9000, EVERY = 1100 };
    char *text = mem_new(LONG_WORDS * 8);
    assert_non_null(text);
    size_t length = 0;
    for (uint32_t w = 0; w < LONG_WORDS; w++) {
        length += (size_t)snprintf(text + length, 8, "w%u ", w);
    }
    struct bag_data *d = bag_data_new(p, NULL);
    for (uint32_t i = 0; i < 2 * SAMPLES; i++) {
        assert_int_equal(add(d, i, i % labels), 0);
        if (i % EVERY == 0) {
            assert_int_equal(bag_data_add(d, text, length, "label000", 8, NULL), 0);
        }
    }
    struct bag_model *m = NULL;
    assert_int_equal(bag_train(&m, p, d, NULL, NULL, NULL, NULL, NULL), 0);
    bag_data_free(d);
    mem_free(text);
    return m;
}

/* The same samples give the same bytes, whatever the thread count. */
static void test_bag_stream_is_deterministic(void **state)
{
    (void)state;
    static const uint32_t counts[] = {2, 20};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct bag_params p;
        params(&p);
        p.features = (struct text_spec){.word_max = 1};
        struct bag_model *a = train_with_long_texts(&p, counts[i]);
        p.threads = 2;
        struct bag_model *b = train_with_long_texts(&p, counts[i]);
        assert_int_equal(bag_bytes(a).length, bag_bytes(b).length);
        assert_memory_equal(bag_bytes(a).data, bag_bytes(b).data, bag_bytes(a).length);
        bag_free(a);
        bag_free(b);
    }
}

/* With two threads a sample that cannot be learnt from is told later, and from then on always; a
 * data set can be given up at any time. */
static void test_bag_stream_tells_failures_of_the_other_thread(void **state)
{
    (void)state;
    struct bag_params p;
    params(&p);
    p.threads = 2;
    struct bag_data *d = make(&p, 0, SAMPLES, 3);
    assert_true(bag_data_bytes(d) > 0); /* now nothing waits to be learnt */
    mem_fail_after(1);
    int rc = 0;
    char text[16];
    for (uint32_t i = 0; rc == 0 && i < 50 * SAMPLES; i++) {
        int length = snprintf(text, sizeof text, "new%u", i);
        rc = bag_data_add(d, text, (size_t)length, "label001", 8, NULL);
    }
    assert_int_equal(rc, ERR_NOMEM);
    mem_fail_after(0);
    struct err_buf e = {{0}};
    struct bag_model *m = NULL;
    assert_int_equal(bag_train(&m, &p, d, NULL, NULL, NULL, NULL, &e), ERR_NOMEM);
    assert_non_null(strstr(e.text, "cannot hold"));
    assert_null(m);
    bag_data_free(d);
    bag_data_free(make(&p, 0, SAMPLES, 3));
}

/* Whether label names come in the order of bytes or against it, the probabilities are those of the
 * right names. */
static void test_bag_stream_orders_labels_by_name(void **state)
{
    (void)state;
    struct bag_params p;
    params(&p);
    struct bag_data *d = bag_data_new(&p, NULL);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(bag_data_add(d, "parcel", 6, "zebra", 5, NULL), 0);
        assert_int_equal(bag_data_add(d, "invoice", 7, "ant", 3, NULL), 0);
    }
    struct bag_model *m = NULL;
    assert_int_equal(bag_train(&m, &p, d, NULL, NULL, NULL, NULL, NULL), 0);
    struct bag_predictor *predictor = bag_predictor_new(m, NULL);
    float probs[2];
    assert_int_equal(bag_predict(predictor, "parcel", 6, probs, NULL), 0);
    assert_true(bag_label_find(m, span_of("zebra")) == 1 && probs[1] > 0.9f);
    assert_int_equal(bag_predict(predictor, "invoice", 7, probs, NULL), 0);
    assert_true(probs[0] > 0.9f);
    bag_predictor_free(predictor);
    bag_free(m);
    bag_data_free(d);
}

/* Features in fewer texts than asked for are not in the model, and samples are not kept: memory
 * depends on the features alone. */
static void test_bag_stream_keeps_no_samples(void **state)
{
    (void)state;
    struct bag_params p;
    params(&p);
    p.features = (struct text_spec){.word_max = 1};
    p.feature_count_min = 2;
    struct bag_data *d = make(&p, 0, SAMPLES, 9);
    size_t bytes = bag_data_bytes(d);
    for (uint64_t i = 0; i < SAMPLES; i++) {
        assert_int_equal(add(d, i, (uint32_t)(i % 9)), 0);
    }
    assert_int_equal(bag_data_bytes(d), bytes);
    assert_int_equal(bag_data_add(d, "once", 4, "label000", 8, NULL), 0);
    struct bag_report report;
    struct bag_model *m = NULL;
    assert_int_equal(bag_train(&m, &p, d, NULL, NULL, NULL, &report, NULL), 0);
    assert_int_equal(report.features, 50 + 9 + 3 + 1); /* fillers, topics, numbers, the dash */
    assert_int_equal(bag_data_add(d, "x", 1, "label000", 8, NULL), ERR_INVALID);
    bag_free(m);
    bag_data_free(d);
}

/* What one pass cannot do is refused with a reason. */
static void test_bag_stream_refuses_what_it_cannot_do(void **state)
{
    (void)state;
    struct bag_params p;
    params(&p);
    struct bag_model *base = train(&p, 3, NULL);
    struct bag_data *d = make(&p, 0, 100, 3);
    struct bag_model *m = NULL;
    struct bag_score score;
    struct err_buf e = {{0}};
    assert_int_equal(bag_train(&m, &p, d, NULL, base, NULL, NULL, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "base"));
    assert_int_equal(bag_train(&m, &p, d, d, NULL, NULL, NULL, &e), ERR_INVALID);
    assert_int_equal(bag_loss(base, d, &score, &e), ERR_INVALID);
    p.one_pass = false;
    assert_int_equal(bag_train(&m, &p, d, NULL, NULL, NULL, NULL, &e), ERR_INVALID);
    p.one_pass = true;
    p.class_weight = BAG_CLASS_BALANCED;
    assert_int_equal(bag_params_check(&p, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "one_pass"));
    bag_data_free(d);
    bag_free(base);
}

/* More different features than allowed: the later ones are left out. */
static void test_bag_stream_holds_its_limit_of_features(void **state)
{
    (void)state;
    struct bag_params p;
    params(&p);
    p.features_max = 20;
    struct bag_report report;
    struct bag_model *m = train(&p, 4, &report);
    assert_int_equal(report.features, 20);
    bag_free(m);
}

/* When memory runs out at any point, adding and training fail cleanly. */
static void test_bag_stream_survives_failed_allocations(void **state)
{
    (void)state;
    struct bag_params p;
    params(&p);
    bool is_done = false;
    for (long countdown = 1; !is_done; countdown++) {
        mem_fail_after(countdown);
        struct bag_data *d = bag_data_new(&p, NULL);
        int rc = d ? 0 : ERR_NOMEM;
        for (uint32_t i = 0; rc == 0 && i < 60; i++) {
            rc = add(d, i, i < 30 ? i % 2 : i % 12);
        }
        struct bag_model *m = NULL;
        rc = rc ? rc : bag_train(&m, &p, d, NULL, NULL, NULL, NULL, NULL);
        mem_fail_after(0);
        assert_true(rc == 0 ? m != NULL : rc == ERR_NOMEM && !m);
        is_done = rc == 0;
        bag_free(m);
        bag_data_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bag_stream_learns_what_can_be_learnt),
        cmocka_unit_test(test_bag_stream_is_deterministic),
        cmocka_unit_test(test_bag_stream_tells_failures_of_the_other_thread),
        cmocka_unit_test(test_bag_stream_orders_labels_by_name),
        cmocka_unit_test(test_bag_stream_keeps_no_samples),
        cmocka_unit_test(test_bag_stream_refuses_what_it_cannot_do),
        cmocka_unit_test(test_bag_stream_holds_its_limit_of_features),
        cmocka_unit_test(test_bag_stream_survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
