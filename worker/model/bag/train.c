/*
 * Trains the linear part and the towers of the low-rank part, then fits the temperature on dev.
 *
 * The parts know nothing of each other: their scores are added. So threads train them at the same
 * time, and the bytes of the result are the same as with one thread.
 *
 * Between two blocks of samples all threads can be made to stand still (crew.h), and what the rest
 * of the training depends on is told as a state (state.h). Order and chance depend only on seed,
 * epoch and sample, so a position in each part is all that they need.
 */
#include "common/base/clock.h"
#include "worker/model/bag/crew.h"
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

/* --- parts: the linear one and the towers are tasks that any thread may take ---------------------
 */

enum { TASK_LINEAR = BAG_TOWERS, TASKS };
enum { BLOCK = 2048 };   /* samples between two looks at the watch */
enum { ATTEND_MS = 50 }; /* between two looks while only helpers work */

/* Where each task is; all of it is part of the state. */
struct place {
    uint32_t epoch[TASKS];    /* from 1 */
    uint32_t is_ended[TASKS]; /* 0 or 1 */
    uint64_t at[TASKS];       /* samples of that epoch that were visited */
    double loss[TASKS];       /* their sum */
};

/* Whether an epoch of the linear part was the last: nothing changes any more, or dev was not
 * better for patience epochs. */
struct stopper {
    double best;
    double before;
    uint32_t waited;
};

struct trainer {
    const struct bag_params *p;
    const struct bag_watch *watch;
    struct bag_problem problem;
    struct bag_linear linear;
    struct bag_hidden hidden;
    struct bag_dev dev;
    bool has_dev;
    int64_t started_us;
    uint64_t started_at; /* samples visited before this process went on */
    struct place place;
    struct stopper stopper;
    double linear_loss;
    double dev_loss; /* of the linear part */
    uint32_t linear_epochs;
    struct bag_crew crew;
    bool has_crew;
    atomic_bool must_stop;
    atomic_int next_task;
    atomic_uint_fast64_t done; /* samples visited, over all parts */
    uint64_t done_told;        /* the same, in the state */
};

/* --- telling and asking -------------------------------------------------------------------------
 */

static uint64_t steps_in_all(const struct trainer *t)
{
    uint32_t epochs = t->p->epochs + (t->p->hidden ? BAG_TOWERS * t->p->hidden_epochs : 0);
    return (uint64_t)epochs * t->problem.data->samples;
}

/* Everything that the rest of the training depends on and a start does not make anew. Whoever adds
 * such a thing adds it here, or to the list of its part. */
static void list_state(struct trainer *t, struct bag_state_list *s)
{
    *s = (struct bag_state_list){.count = 0};
    bag__state_add(s, "", "done", BAG_STATE_U64, &t->done_told, 1);
    bag__state_add(s, "place.", "epoch", BAG_STATE_U32, t->place.epoch, TASKS);
    bag__state_add(s, "place.", "is_ended", BAG_STATE_U32, t->place.is_ended, TASKS);
    bag__state_add(s, "place.", "at", BAG_STATE_U64, t->place.at, TASKS);
    bag__state_add(s, "place.", "loss", BAG_STATE_F64, t->place.loss, TASKS);
    bag__state_add(s, "stopper.", "best", BAG_STATE_F64, &t->stopper.best, 1);
    bag__state_add(s, "stopper.", "before", BAG_STATE_F64, &t->stopper.before, 1);
    bag__state_add(s, "stopper.", "waited", BAG_STATE_U32, &t->stopper.waited, 1);
    bag__state_add(s, "linear.", "epochs", BAG_STATE_U32, &t->linear_epochs, 1);
    bag__state_add(s, "linear.", "loss", BAG_STATE_F64, &t->linear_loss, 1);
    bag__linear_state(&t->linear, s);
    if (t->p->hidden) {
        bag__hidden_state(&t->hidden, s);
    }
}

static void tell_state(struct trainer *t)
{
    struct bag_state_list list;
    bag__crew_halt(&t->crew);
    t->done_told = atomic_load(&t->done);
    list_state(t, &list);
    /* Without memory for a few hundred bytes there is no state this time; training goes on. */
    int ignored = bag__state_write(&list, t->watch->on_state, t->watch->data);
    (void)ignored;
    bag__crew_go_on(&t->crew);
}

/* For the thread that has the watch: what it wants, and whether all shall stop. */
static bool must_stop(struct trainer *t)
{
    const struct bag_watch *watch = t->watch;
    if (!watch) {
        return false;
    }
    bool is_cancelled = watch->is_cancelled && watch->is_cancelled(watch->data);
    if (watch->wants_state && watch->on_state && watch->wants_state(watch->data)) {
        tell_state(t); /* before the others hear of the end: they shall still be there */
    }
    if (is_cancelled) {
        atomic_store(&t->must_stop, true);
    }
    return is_cancelled;
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
                                          .examples_per_s = 1e6 * (double)(step - t->started_at) /
                                                            (double)(us > 0 ? us : 1)};
    t->watch->on_progress(&progress, t->watch->data);
}

/* --- running -------------------------------------------------------------------------------------
 */

/* What is left of one epoch of one part; false when it was told to stop. Only one thread has the
 * watch. */
static bool run_epoch(struct trainer *t, int task, bool has_watch)
{
    size_t n = t->problem.data->samples;
    uint32_t epoch = t->place.epoch[task];
    while (t->place.at[task] < n) {
        size_t from = (size_t)t->place.at[task];
        size_t to = n - from > BLOCK ? from + BLOCK : n;
        t->place.loss[task] += task == TASK_LINEAR
                                   ? bag__linear_run(&t->linear, from, to)
                                   : bag__hidden_run(&t->hidden, task, epoch, from, to);
        t->place.at[task] = to;
        atomic_fetch_add(&t->done, to - from);
        if (!has_watch) {
            bag__crew_rest(&t->crew);
        }
        if (has_watch ? must_stop(t) : atomic_load(&t->must_stop)) {
            return false;
        }
        if (has_watch) {
            tell(t, to, t->place.loss[task], (double)NAN);
        }
    }
    return true;
}

static void next_epoch(struct trainer *t, int task)
{
    t->place.epoch[task]++;
    t->place.at[task] = 0;
    t->place.loss[task] = 0;
}

static bool should_stop(const struct trainer *t, struct stopper *s)
{
    const double better = 1e-3;
    bool is_settled =
        isfinite(s->before) && fabs(s->before - t->linear_loss) <= t->p->tolerance * s->before;
    s->before = t->linear_loss;
    bool is_better = t->dev_loss < s->best * (1 - better);
    s->waited = is_better ? 0 : s->waited + 1;
    s->best = is_better ? t->dev_loss : s->best;
    return is_settled || (t->has_dev && t->p->patience && s->waited >= t->p->patience);
}

static bool run_linear(struct trainer *t, bool has_watch)
{
    uint32_t epoch = 0;
    for (; (epoch = t->place.epoch[TASK_LINEAR]) <= t->p->epochs; next_epoch(t, TASK_LINEAR)) {
        bag__linear_start_epoch(&t->linear, epoch);
        if (!run_epoch(t, TASK_LINEAR, has_watch)) {
            return false;
        }
        t->linear_loss = t->place.loss[TASK_LINEAR] / (double)t->problem.data->samples;
        t->linear_epochs = epoch;
        if (t->has_dev) {
            bag__dev_score(&t->dev, &t->linear, NULL);
            t->dev_loss = bag__dev_loss(&t->dev, 1, NULL);
        }
        if (has_watch) {
            tell(t, 1, t->linear_loss, t->dev_loss);
        }
        if (should_stop(t, &t->stopper)) {
            atomic_fetch_add(&t->done, (uint64_t)(t->p->epochs - epoch) * t->problem.data->samples);
            return true;
        }
    }
    return true;
}

static bool run_tower(struct trainer *t, int tower, bool has_watch)
{
    for (; t->place.epoch[tower] <= t->p->hidden_epochs; next_epoch(t, tower)) {
        bag__hidden_start_epoch(&t->hidden, tower, t->place.epoch[tower]);
        if (!run_epoch(t, tower, has_watch)) {
            return false;
        }
    }
    return true;
}

/* Takes tasks until none is left. */
static void run_tasks(struct trainer *t, bool has_watch)
{
    for (;;) {
        int task = atomic_fetch_add(&t->next_task, 1);
        if (task >= TASKS || atomic_load(&t->must_stop)) {
            return;
        }
        if (!t->place.is_ended[task]) {
            bool is_ended =
                task == TASK_LINEAR ? run_linear(t, has_watch) : run_tower(t, task, has_watch);
            t->place.is_ended[task] = is_ended;
        }
    }
}

static void *run_tasks_aside(void *data)
{
    struct trainer *t = data;
    run_tasks(t, false);
    bag__crew_leave(&t->crew);
    return NULL;
}

static bool start_helper(struct trainer *t, pthread_t *ret)
{
    bag__crew_join(&t->crew);
    if (pthread_create(ret, NULL, run_tasks_aside, t) != 0) {
        bag__crew_leave(&t->crew); /* one thread does it all, later */
        return false;
    }
    return true;
}

static void run_parts(struct trainer *t)
{
    pthread_t aside[TASKS];
    uint32_t count = 0;
    atomic_store(&t->next_task, t->p->hidden ? 0 : TASK_LINEAR);
    while (t->p->hidden && count + 1 < t->p->threads && count + 1 < TASKS &&
           start_helper(t, &aside[count])) {
        count++;
    }
    run_tasks(t, true);
    while (!bag__crew_wait(&t->crew, ATTEND_MS)) {
        (void)must_stop(t); /* the watch is looked at as long as anybody works */
    }
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
    if (p->one_pass != (train->stream != NULL) || (dev && dev->stream)) {
        return err_set(e, ERR_INVALID, "one_pass is for the training data, from the start");
    }
    if (p->one_pass && base) {
        return err_set(e, ERR_INVALID, "a training in one pass cannot start from a base");
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

/* Whether a state that was read is one that a training can be in. */
static bool is_possible(const struct trainer *t)
{
    for (int task = t->p->hidden ? 0 : TASK_LINEAR; task < TASKS; task++) {
        uint32_t epochs = task == TASK_LINEAR ? t->p->epochs : t->p->hidden_epochs;
        uint32_t epoch = t->place.epoch[task];
        if (epoch < 1 || epoch > epochs + 1 || t->place.at[task] > t->problem.data->samples ||
            t->place.is_ended[task] > 1) {
            return false;
        }
    }
    return t->linear_epochs <= t->p->epochs && t->done_told <= steps_in_all(t);
}

static int go_on(struct trainer *t, struct err_buf *e)
{
    struct bag_state_list list;
    list_state(t, &list);
    int rc = bag__state_read(&list, t->watch->read_state, t->watch->data, e);
    if (rc == 0 && !is_possible(t)) {
        rc = err_set(e, ERR_CORRUPT, "the state is at a place that this training does not have");
    }
    t->started_at = t->done_told;
    atomic_store(&t->done, t->done_told);
    return rc;
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
    if (rc == 0 && !(t->has_crew = bag__crew_init(&t->crew))) {
        rc = err_set(e, ERR_NOMEM, "no lock for the threads of a training");
    }
    if (rc == 0 && t->watch && t->watch->read_state) {
        rc = go_on(t, e);
    }
    if (rc) {
        return rc;
    }
    t->started_us = clock_mono_us();
    run_parts(t);
    return atomic_load(&t->must_stop) ? err_set(e, ERR_CANCELLED, "training was cancelled") : 0;
}

/* Learning is done: builds the model, and scores it on dev. */
static int train_stream(struct bag_model **ret, const struct trainer *t, struct bag_data *train,
                        const struct bag_data *dev, struct bag_report *report, struct err_buf *e)
{
    const struct bag_stream *s = train->stream;
    *report = (struct bag_report){.epochs_run = 1,
                                  .epoch_best = 1,
                                  .loss = s->loss / (double)s->samples,
                                  .dev_loss = (double)NAN,
                                  .dev_accuracy = (double)NAN,
                                  .temperature = 1,
                                  .samples = s->samples};
    struct bag_model *m = NULL;
    int rc = bag__stream_export(&m, s, &train->labels, e);
    if (rc == 0 && dev) {
        struct bag_score score;
        rc = bag_loss(m, dev, &score, e);
        report->dev_loss = rc ? (double)NAN : score.loss;
        report->dev_accuracy = rc ? (double)NAN : score.accuracy;
    }
    if (rc) {
        bag_free(m);
        return rc;
    }
    report->features = m->rows;
    if (t->watch && t->watch->on_progress) {
        const struct bag_progress progress = {.epoch = 1,
                                              .epochs = 1,
                                              .step = s->samples,
                                              .steps = s->samples,
                                              .loss = report->loss,
                                              .dev_loss = report->dev_loss};
        t->watch->on_progress(&progress, t->watch->data);
    }
    *ret = m;
    return 0;
}

int bag_train(struct bag_model **ret, const struct bag_params *p, struct bag_data *train,
              const struct bag_data *dev, const struct bag_model *base,
              const struct bag_watch *watch, struct bag_report *report, struct err_buf *e)
{
    struct trainer t = {.p = p,
                        .watch = watch,
                        .has_dev = dev && dev->samples > 0,
                        .stopper = {.best = (double)INFINITY, .before = (double)INFINITY},
                        .dev_loss = (double)NAN};
    for (int task = 0; task < TASKS; task++) {
        t.place.epoch[task] = 1;
    }
    struct bag_report own;
    report = report ? report : &own;
    int rc = check(p, train, dev, base, e);
    rc = rc ? rc : bag__data_seal(train, e);
    if (rc == 0 && train->stream) {
        return train_stream(ret, &t, train, dev, report, e);
    }
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
    if (t.has_crew) {
        bag__crew_close(&t.crew);
    }
    return rc;
}
