/*
 * Trains the linear part and the towers of the low-rank part, then fits the temperature on dev.
 *
 * The parts know nothing of each other: their scores are added. So threads train them at the same
 * time, and the bytes of the result are the same as with one thread.
 */
#include "common/base/clock.h"
#include "worker/model/bag/dev.h"
#include "worker/model/bag/export.h"
#include "worker/model/bag/hidden.h"
#include "worker/model/bag/linear.h"
#include "worker/model/bag/problem.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

/* Scores of two parts that each were sharp enough alone are too sharp together; what dev sets
 * agree on, for when there is no dev. */
static const double temperature_alone = 0.8;
static const double temperature_both = 4.5;

struct trainer {
    const struct bag_params *p;
    const struct bag_watch *watch;
    struct bag_problem problem;
    struct bag_linear linear;
    struct bag_hidden hidden;
    struct bag_dev dev;
    bool has_dev;
    int64_t started_us;
    double linear_loss;
    double dev_loss; /* of the linear part */
    uint32_t linear_epochs;
    atomic_bool must_stop;
    atomic_int next_task;
    atomic_uint_fast64_t done; /* samples visited, over all parts */
};

/* --- telling and asking -------------------------------------------------------------------------
 */

static bool must_stop(struct trainer *t)
{
    if (t->watch && t->watch->is_cancelled && t->watch->is_cancelled(t->watch->data)) {
        atomic_store(&t->must_stop, true);
    }
    return atomic_load(&t->must_stop);
}

static uint64_t steps_in_all(const struct trainer *t)
{
    uint32_t epochs = t->p->epochs + (t->p->hidden ? BAG_TOWERS * t->p->hidden_epochs : 0);
    return (uint64_t)epochs * t->problem.data->samples;
}

/* Reports loss over the done samples of an epoch. */
static void tell(const struct trainer *t, size_t done, double loss, double dev_loss)
{
    if (!t->watch || !t->watch->on_progress) {
        return;
    }
    size_t n = t->problem.data->samples;
    uint64_t steps = steps_in_all(t);
    uint64_t step = atomic_load(&t->done);
    int64_t us = clock_mono_us() - t->started_us;
    const struct bag_progress progress = {.epoch = (uint32_t)((step + n - 1) / n),
                                          .epochs = (uint32_t)(steps / n),
                                          .step = step,
                                          .steps = steps,
                                          .loss = loss / (double)done,
                                          .dev_loss = dev_loss,
                                          .examples_per_s =
                                              1e6 * (double)step / (double)(us > 0 ? us : 1)};
    t->watch->on_progress(&progress, t->watch->data);
}

/* --- parts: the linear one and the towers are tasks that any thread may take ---------------------
 */

enum { TASK_LINEAR = BAG_TOWERS, TASKS };
enum { BLOCK = 2048 }; /* samples between two looks at the watch */

/* One epoch of one part; false when it was told to stop. Only one thread has the watch. */
static bool run_epoch(struct trainer *t, int task, uint32_t epoch, bool has_watch, double *ret_loss)
{
    size_t n = t->problem.data->samples;
    double loss = 0;
    for (size_t from = 0; from < n; from += BLOCK) {
        size_t to = from + BLOCK < n ? from + BLOCK : n;
        loss += task == TASK_LINEAR ? bag__linear_run(&t->linear, from, to)
                                    : bag__hidden_run(&t->hidden, task, epoch, from, to);
        atomic_fetch_add(&t->done, to - from);
        if (has_watch ? must_stop(t) : atomic_load(&t->must_stop)) {
            return false;
        }
        if (has_watch) {
            tell(t, to, loss, (double)NAN);
        }
    }
    *ret_loss = loss / (double)n;
    return true;
}

/* Whether an epoch of the linear part was the last: nothing changes any more, or dev was not
 * better for patience epochs. */
struct stopper {
    double best;
    double before;
    uint32_t waited;
};

static bool should_stop(const struct trainer *t, struct stopper *s)
{
    const double better = 1e-3;
    bool is_settled = fabs(s->before - t->linear_loss) <= t->p->tolerance * s->before;
    s->before = t->linear_loss;
    bool is_better = t->dev_loss < s->best * (1 - better);
    s->waited = is_better ? 0 : s->waited + 1;
    s->best = is_better ? t->dev_loss : s->best;
    return is_settled || (t->has_dev && t->p->patience && s->waited >= t->p->patience);
}

static void run_linear(struct trainer *t, bool has_watch)
{
    struct stopper stopper = {.best = (double)INFINITY, .before = (double)INFINITY};
    for (uint32_t epoch = 1; epoch <= t->p->epochs; epoch++) {
        bag__linear_start_epoch(&t->linear, epoch);
        if (!run_epoch(t, TASK_LINEAR, epoch, has_watch, &t->linear_loss)) {
            return;
        }
        t->linear_epochs = epoch;
        if (t->has_dev) {
            bag__dev_score(&t->dev, &t->linear, NULL);
            t->dev_loss = bag__dev_loss(&t->dev, 1, NULL);
        }
        if (has_watch) {
            tell(t, 1, t->linear_loss, t->dev_loss);
        }
        if (should_stop(t, &stopper)) {
            atomic_fetch_add(&t->done, (uint64_t)(t->p->epochs - epoch) * t->problem.data->samples);
            return;
        }
    }
}

static void run_tower(struct trainer *t, int tower, bool has_watch)
{
    double loss = 0;
    for (uint32_t epoch = 1; epoch <= t->p->hidden_epochs; epoch++) {
        bag__hidden_start_epoch(&t->hidden, tower, epoch);
        if (!run_epoch(t, tower, epoch, has_watch, &loss)) {
            return;
        }
    }
}

/* Takes tasks until none is left. */
static void run_tasks(struct trainer *t, bool has_watch)
{
    for (;;) {
        int task = atomic_fetch_add(&t->next_task, 1);
        if (task >= TASKS || atomic_load(&t->must_stop)) {
            return;
        }
        if (task == TASK_LINEAR) {
            run_linear(t, has_watch);
        } else {
            run_tower(t, task, has_watch);
        }
    }
}

static void *run_tasks_aside(void *data)
{
    run_tasks(data, false);
    return NULL;
}

static void run_parts(struct trainer *t)
{
    pthread_t aside[TASKS];
    uint32_t count = 0;
    atomic_store(&t->next_task, t->p->hidden ? 0 : TASK_LINEAR);
    while (t->p->hidden && count + 1 < t->p->threads && count + 1 < TASKS &&
           pthread_create(&aside[count], NULL, run_tasks_aside, t) == 0) {
        count++;
    }
    run_tasks(t, true);
    while (count > 0) {
        (void)pthread_join(aside[--count], NULL); /* fails only for a thread that does not exist */
    }
}

/* --- all of it ----------------------------------------------------------------------------------
 */

static int check(const struct bag_params *p, const struct bag_data *train,
                 const struct bag_data *dev, const struct bag_model *base, struct err_buf *e)
{
    int rc = bag_params_check(p, e);
    if (rc) {
        return rc;
    }
    if (train->samples == 0 || train->labels.count < 2) {
        return err_set(e, ERR_DATA, "%zu samples with %u labels; training needs two labels",
                       train->samples, train->labels.count);
    }
    if (train->samples > UINT32_MAX) {
        return err_set(e, ERR_LIMIT, "%zu samples; the limit is %u", train->samples, UINT32_MAX);
    }
    if (!text_spec_equals(&train->spec, &p->features) ||
        (dev && !text_spec_equals(&dev->spec, &p->features)) ||
        (base && !text_spec_equals(&base->spec, &p->features))) {
        return err_set(e, ERR_INVALID, "data, base and parameters have different features");
    }
    return 0;
}

/* Scores dev with or without the towers at the best temperature; false when dev has no known label.
 */
static bool score_dev(struct trainer *t, const struct bag_hidden *hidden, struct bag_report *ret)
{
    bag__dev_score(&t->dev, &t->linear, hidden);
    if (!isfinite(bag__dev_loss(&t->dev, 1, &ret->dev_accuracy))) {
        return false;
    }
    ret->temperature = bag__dev_temperature(&t->dev);
    ret->dev_loss = bag__dev_loss(&t->dev, ret->temperature, NULL);
    return true;
}

/* Fills the report; returns the towers, or NULL when there are none or dev is better without: on
 * few and noisy samples they learn the noise. */
static const struct bag_hidden *judge(struct trainer *t, struct bag_report *report)
{
    const struct bag_hidden *hidden = t->p->hidden ? &t->hidden : NULL;
    *report = (struct bag_report){.epochs_run = t->linear_epochs,
                                  .epoch_best = t->linear_epochs,
                                  .loss = t->linear_loss,
                                  .dev_loss = (double)NAN,
                                  .dev_accuracy = (double)NAN,
                                  .temperature = hidden ? temperature_both : temperature_alone,
                                  .features = t->problem.features,
                                  .samples = t->problem.data->samples};
    if (!t->has_dev || !score_dev(t, hidden, report) || !hidden) {
        return hidden;
    }
    struct bag_report alone = *report;
    if (score_dev(t, NULL, &alone) && alone.dev_loss < report->dev_loss) {
        *report = alone;
        hidden = NULL;
    }
    return hidden;
}

static int train_parts(struct trainer *t, const struct bag_data *train, const struct bag_data *dev,
                       const struct bag_model *base, struct err_buf *e)
{
    int rc = bag__problem_init(&t->problem, t->p, train, base, e);
    rc = rc ? rc : bag__linear_init(&t->linear, &t->problem, e);
    if (rc == 0 && t->p->hidden) {
        rc = bag__hidden_init(&t->hidden, &t->problem, e);
    }
    if (rc == 0 && t->has_dev) {
        rc = bag__dev_init(&t->dev, &t->problem, dev, e);
    }
    if (rc) {
        return rc;
    }
    t->started_us = clock_mono_us();
    run_parts(t);
    return atomic_load(&t->must_stop) ? err_set(e, ERR_CANCELLED, "training was cancelled") : 0;
}

int bag_train(struct bag_model **ret, const struct bag_params *p, struct bag_data *train,
              const struct bag_data *dev, const struct bag_model *base,
              const struct bag_watch *watch, struct bag_report *report, struct err_buf *e)
{
    struct trainer t = {
        .p = p, .watch = watch, .has_dev = dev && dev->samples > 0, .dev_loss = (double)NAN};
    struct bag_report own;
    report = report ? report : &own;
    int rc = check(p, train, dev, base, e);
    rc = rc ? rc : bag__data_seal(train, e);
    rc = rc ? rc : train_parts(&t, train, dev, base, e);
    if (rc == 0) {
        const struct bag_hidden *hidden = judge(&t, report);
        /* the copies that an export makes fit in what they held */
        bag__dev_close(&t.dev);
        t.dev = (struct bag_dev){0};
        if (!hidden) {
            bag__hidden_close(&t.hidden);
            t.hidden = (struct bag_hidden){0};
        }
        rc = bag__export(ret, &t.problem, &t.linear, hidden, report->temperature, e);
    }
    bag__dev_close(&t.dev);
    bag__hidden_close(&t.hidden);
    bag__linear_close(&t.linear);
    bag__problem_close(&t.problem);
    return rc;
}
