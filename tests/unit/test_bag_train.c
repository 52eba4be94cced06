/* The bag family from samples to predictions: learning, determinism, warm start, stopping. */
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
#include <unistd.h>

#include <cmocka.h>

enum { SAMPLES = 400, LABELS = 4 };

static const char *const label_names[] = {"billing", "delivery", "login", "returns", "zzz-new"};
static const char *const words[][4] = {{"invoice", "charge", "Rechnung", "请款"},
                                       {"parcel", "courier", "Paket", "包裹"},
                                       {"password", "account", "Kennwort", "密码"},
                                       {"refund", "exchange", "Umtausch", "退货"},
                                       {"voucher", "coupon", "Gutschein", "优惠券"}};
static const char *const fillers[] = {"where", "is", "my", "please", "help", "the", "with", "now"};

/* Text number i about a topic: one telling word among fillers. */
static int add_text(struct bag_data *d, uint64_t i, size_t topic, const char *label)
{
    char text[256];
    size_t at = 0;
    struct rng r = {.key = i};
    uint32_t place = rng_below(&r, 6);
    for (uint32_t w = 0; w < 6; w++) {
        const char *word = w == place ? words[topic][rng_below(&r, 4)] : fillers[rng_below(&r, 8)];
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", w ? " " : "", word);
    }
    return bag_data_add(d, text, at, label, strlen(label), NULL);
}

static struct bag_data *make_data(const struct bag_params *p, uint64_t from, size_t first_topic)
{
    struct bag_data *d = bag_data_new(p, NULL);
    assert_non_null(d);
    for (uint64_t i = 0; i < SAMPLES; i++) {
        size_t topic = first_topic + i % LABELS;
        assert_int_equal(add_text(d, from + i, topic, label_names[topic]), 0);
    }
    return d;
}

static struct bag_model *train(const struct bag_params *p, const struct bag_model *base,
                               size_t first_topic, struct bag_report *report)
{
    struct bag_data *data = make_data(p, 0, first_topic);
    struct bag_data *dev = make_data(p, 100000, first_topic);
    struct bag_model *m = NULL;
    struct err_buf e = {{0}};
    if (bag_train(&m, p, data, dev, base, NULL, report, &e)) {
        fail_msg("%s", e.text);
    }
    bag_data_free(data);
    bag_data_free(dev);
    return m;
}

static void assert_same_bytes(const struct bag_model *a, const struct bag_model *b)
{
    assert_int_equal(bag_bytes(a).length, bag_bytes(b).length);
    assert_memory_equal(bag_bytes(a).data, bag_bytes(b).data, bag_bytes(a).length);
}

/* A separable task is learnt, and a text of it is predicted with a proper distribution. */
static void test_bag_train_learns_what_can_be_learnt(void **state)
{
    (void)state;
    struct bag_params p;
    bag_params_default(&p);
    struct bag_report report;
    struct bag_model *m = train(&p, NULL, 0, &report);
    assert_true(report.dev_accuracy > 0.99);
    struct bag_predictor *predictor = bag_predictor_new(m, NULL);
    float probs[LABELS];
    assert_int_equal(bag_predict(predictor, "where is my PAKET", 17, probs, NULL), 0);
    float sum = 0;
    for (int k = 0; k < LABELS; k++) {
        sum += probs[k];
    }
    assert_true(fabsf(sum - 1) < 1e-5f);
    ptrdiff_t delivery = bag_label_find(m, span_of("delivery"));
    assert_true(probs[delivery] > 0.5f);
    assert_int_equal(bag_predict(predictor, "\xff", 1, probs, NULL), ERR_DATA);
    assert_int_equal(bag_predict(predictor, "", 0, probs, NULL), 0);
    bag_predictor_free(predictor);
    bag_free(m);
}

/* The same inputs give the same bytes, every time and with any number of threads. */
static void test_bag_train_is_deterministic(void **state)
{
    (void)state;
    struct bag_params p;
    bag_params_default(&p);
    struct bag_model *first = train(&p, NULL, 0, NULL);
    for (uint32_t threads = 1; threads <= 2; threads++) {
        p.threads = threads;
        struct bag_model *again = train(&p, NULL, 0, NULL);
        assert_same_bytes(first, again);
        bag_free(again);
    }
    p.seed++;
    struct bag_model *other = train(&p, NULL, 0, NULL);
    assert_true(bag_bytes(other).length != bag_bytes(first).length ||
                memcmp(bag_bytes(other).data, bag_bytes(first).data, bag_bytes(first).length) != 0);
    bag_free(other);
    bag_free(first);
}

/* A base with other labels gives the shared ones a head start; new ones are learnt from nothing. */
static void test_bag_train_warm_start_matches_labels_by_name(void **state)
{
    (void)state;
    struct bag_params p;
    bag_params_default(&p);
    struct bag_model *base = train(&p, NULL, 0, NULL);
    struct bag_data *target = make_data(&p, 5000, 1);
    struct bag_score before;
    assert_int_equal(bag_loss(base, target, &before, NULL), 0);
    assert_int_equal(before.known, SAMPLES / LABELS * 3);
    assert_true(before.accuracy > 0.7 && before.accuracy < 0.76);
    struct bag_report report;
    struct bag_model *m = train(&p, base, 1, &report);
    assert_true(report.dev_accuracy > 0.99);
    assert_int_equal(bag_label_count(m), LABELS);
    assert_int_equal(bag_label_find(m, span_of("billing")), -1);
    assert_int_equal(bag_label_find(m, span_of("zzz-new")), 3);
    assert_true(bag_feature_count(m) > bag_feature_count(base));
    bag_data_free(target);
    bag_free(base);
    bag_free(m);
}

/* Training ends before the last epoch when dev has nothing left to gain. */
static void test_bag_train_stops_early(void **state)
{
    (void)state;
    struct bag_params p;
    bag_params_default(&p);
    p.epochs = 500;
    p.patience = 2;
    struct bag_report report;
    struct bag_model *m = train(&p, NULL, 0, &report);
    assert_true(report.epochs_run < 100);
    bag_free(m);
}

/* The model alone, as an artifact of codes, gives dev the loss that training saw with its floats:
 * whatever weighs features while learning is part of the weights. */
static void test_bag_train_model_predicts_as_trained(void **state)
{
    (void)state;
    for (uint32_t hidden = 0; hidden <= 32; hidden += 32) {
        struct bag_params p;
        bag_params_default(&p);
        p.hidden = hidden;
        struct bag_report report;
        struct bag_model *m = train(&p, NULL, 0, &report);
        struct bag_data *dev = make_data(&p, 100000, 0);
        struct bag_score score;
        assert_int_equal(bag_loss(m, dev, &score, NULL), 0);
        assert_true(fabs(score.loss - report.dev_loss) < 0.01 * report.dev_loss + 1e-3);
        bag_data_free(dev);
        bag_free(m);
    }
}

/* A model that is far too sure is made as unsure as dev says, whatever that takes. */
static void test_bag_train_temperature_has_room(void **state)
{
    (void)state;
    struct bag_params p;
    bag_params_default(&p);
    p.hidden = 0;
    p.strength = 1000;
    struct bag_data *data = make_data(&p, 0, 0);
    struct bag_data *dev = bag_data_new(&p, NULL);
    for (uint64_t i = 0; i < SAMPLES; i++) { /* of four labels, two fifths are as learnt */
        size_t told = i % 10 < 4 ? i % LABELS : (i + 1 + i / 10 % 3) % LABELS;
        assert_int_equal(add_text(dev, 100000 + i, i % LABELS, label_names[told]), 0);
    }
    struct bag_model *m = NULL;
    struct bag_report report;
    assert_int_equal(bag_train(&m, &p, data, dev, NULL, NULL, &report, NULL), 0);
    assert_true(report.temperature > 6 && report.temperature < 45);
    assert_true(report.dev_loss < log(LABELS)); /* that of knowing nothing */
    bag_data_free(data);
    bag_data_free(dev);
    bag_free(m);
}

struct watched {
    uint32_t calls;
    uint32_t last_epoch;
    bool wants_cancel;
};

static void on_progress(const struct bag_progress *progress, void *data)
{
    struct watched *w = data;
    w->calls++;
    assert_true(progress->epoch >= w->last_epoch && progress->step <= progress->steps);
    w->last_epoch = progress->epoch;
}

static bool wants_cancel(void *data)
{
    return ((struct watched *)data)->wants_cancel;
}

/* Progress is told every epoch, and a cancel ends training with its own code. */
static void test_bag_train_tells_and_asks(void **state)
{
    (void)state;
    struct bag_params p;
    bag_params_default(&p);
    p.epochs = 3;
    p.hidden_epochs = 2;
    struct bag_data *data = make_data(&p, 0, 0);
    struct watched w = {0};
    struct bag_watch watch = {.on_progress = on_progress, .is_cancelled = wants_cancel, .data = &w};
    struct bag_model *m = NULL;
    assert_int_equal(bag_train(&m, &p, data, NULL, NULL, &watch, NULL, NULL), 0);
    assert_true(w.calls >= 3);
    assert_int_equal(w.last_epoch, 3 + 3 * 2);
    bag_free(m);
    w.wants_cancel = true;
    m = NULL;
    assert_int_equal(bag_train(&m, &p, data, NULL, NULL, &watch, NULL, NULL), ERR_CANCELLED);
    assert_null(m);
    assert_int_equal(bag_data_add(data, "x", 1, "y", 1, NULL), ERR_INVALID);
    bag_data_free(data);
}

/* Data that cannot be trained on, and settings out of bounds, are refused with a reason. */
static void test_bag_train_refuses_useless_input(void **state)
{
    (void)state;
    struct bag_params p;
    bag_params_default(&p);
    struct bag_data *data = bag_data_new(&p, NULL);
    struct bag_model *m = NULL;
    assert_int_equal(bag_train(&m, &p, data, NULL, NULL, NULL, NULL, NULL), ERR_DATA);
    assert_int_equal(bag_data_add(data, "\xc3", 1, "a", 1, NULL), ERR_DATA);
    assert_int_equal(bag_data_add(data, "text", 4, "", 0, NULL), ERR_DATA);
    assert_int_equal(bag_data_count(data), 0);
    assert_int_equal(bag_data_add(data, "text", 4, "only", 4, NULL), 0);
    assert_int_equal(bag_train(&m, &p, data, NULL, NULL, NULL, NULL, NULL), ERR_DATA);
    bag_data_free(data);
    p.epochs = 0;
    struct err_buf e = {{0}};
    assert_int_equal(bag_params_check(&p, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "epochs"));
}

/* When memory runs out at any point, training fails cleanly and works again afterwards. */
static void test_bag_train_survives_failed_allocations(void **state)
{
    (void)state;
    struct bag_params p;
    bag_params_default(&p);
    p.epochs = 2;
    for (long countdown = 1;; countdown++) {
        struct bag_data *data = make_data(&p, 0, 0);
        struct bag_data *dev = make_data(&p, 900, 0);
        struct bag_model *m = NULL;
        mem_fail_after(countdown);
        int rc = bag_train(&m, &p, data, dev, NULL, NULL, NULL, NULL);
        mem_fail_after(0);
        assert_true(rc == 0 || (rc == ERR_NOMEM && !m));
        bag_free(m);
        bag_data_free(data);
        bag_data_free(dev);
        if (rc == 0) {
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bag_train_learns_what_can_be_learnt),
        cmocka_unit_test(test_bag_train_is_deterministic),
        cmocka_unit_test(test_bag_train_warm_start_matches_labels_by_name),
        cmocka_unit_test(test_bag_train_stops_early),
        cmocka_unit_test(test_bag_train_model_predicts_as_trained),
        cmocka_unit_test(test_bag_train_temperature_has_room),
        cmocka_unit_test(test_bag_train_tells_and_asks),
        cmocka_unit_test(test_bag_train_refuses_useless_input),
        cmocka_unit_test(test_bag_train_survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
