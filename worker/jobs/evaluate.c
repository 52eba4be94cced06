/*
 * evaluate: scores a version on a snapshot, and the market's champion on the very same samples;
 * says, when the spec asks for it, whether the version may take the champion's place.
 *
 * Texts go straight into the predictors; what stays of a sample is its true label, two answers and
 * two rows of calibration.
 */
#include "common/base/mem.h"
#include "worker/eval/bootstrap.h"
#include "worker/eval/calibration.h"
#include "worker/eval/compare.h"
#include "worker/eval/gate.h"
#include "worker/eval/labels.h"
#include "worker/eval/metrics.h"
#include "worker/jobs/model.h"
#include "worker/jobs/snapshot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A model's answers to all samples, in the order of the snapshot. */
struct answers {
    struct model model;
    struct bag_predictor *predictor;
    float *probs;
    struct calibration calibration;
    struct calibration_sample *samples; /* [room] */
    uint32_t *label;                    /* [room] index in the model, later id in the union */
};

struct evaluate {
    struct run *run;
    struct answers challenger, champion; /* champion.model.version 0 = there is none */
    struct snapshot snapshot;
    const char *markets[SNAPSHOT_MARKETS_MAX];
    struct pg_result *markets_row; /* keeps what markets points to, when they are the version's */
    char *unknown[BAG_LABELS_MAX]; /* true labels that neither model has */
    uint32_t unknown_count;
    uint32_t *truth; /* [room] first a provisional number, later the id in the union */
    size_t count, room;
    struct label_set labels;
    struct gate_params gate;
    struct compare_params compare;
};

/* --- what to score --------------------------------------------------------------------------- */

static int read_limits(struct evaluate *v, struct pg_sync *db, struct err_buf *e)
{
    struct pg_result *result = NULL;
    uint64_t seed = (uint64_t)job_spec_integer(v->run->spec, "seed");
    v->gate = gate_defaults();
    v->compare = compare_defaults(seed);
    int rc = PG_SYNC_EXEC(db, &result, e,
                          "SELECT tolerance, min_support, collapse_drop FROM meridian.market"
                          " WHERE code = $1",
                          v->run->job->market);
    if (rc == 0 && pg_rows(result) > 0) {
        v->gate.tolerance = pg_real(result, 0, 0, GATE_TOLERANCE);
        v->compare.min_support = (uint64_t)pg_integer(result, 0, 1, COMPARE_MIN_SUPPORT);
        v->compare.collapse_drop = pg_real(result, 0, 2, COMPARE_COLLAPSE_DROP);
    }
    pg_result_free(result);
    return rc;
}

/* A version of no market is scored on the markets that it was trained on. */
static int read_markets(struct evaluate *v, struct pg_sync *db, struct err_buf *e)
{
    char id[24];
    (void)snprintf(id, sizeof id, "%lld", (long long)v->challenger.model.version);
    int rc = PG_SYNC_EXEC(db, &v->markets_row, e,
                          "SELECT unnest(s.markets) FROM meridian.version w"
                          " JOIN meridian.snapshot s ON s.id = w.train_snapshot WHERE w.id = $1"
                          " LIMIT 256",
                          id);
    for (size_t i = 0; rc == 0 && i < pg_rows(v->markets_row); i++) {
        v->markets[i] = pg_text(v->markets_row, i, 0);
        v->snapshot.market_count = i + 1;
    }
    if (rc == 0 && v->snapshot.market_count == 0) {
        rc = err_set(e, ERR_INVALID, "an evaluate needs a market");
    }
    return rc;
}

static void close_models(struct evaluate *v)
{
    model_close(&v->challenger.model);
    model_close(&v->champion.model);
    pg_result_free(v->markets_row);
    v->markets_row = NULL;
}

/* Repeatable: everything that is read from the record. */
static int read_record(struct run *run, void *data, struct err_buf *e)
{
    struct evaluate *v = data;
    struct pg_sync *db = NULL;
    int64_t id = job_spec_has(run->spec, "version") ? job_spec_integer(run->spec, "version") : 0;
    const char *job =
        job_spec_has(run->spec, "from_job") ? job_spec_text(run->spec, "from_job") : NULL;
    close_models(v);
    if (id <= 0 && !job) {
        return err_set(e, ERR_INVALID, "an evaluate needs spec.version or spec.from_job");
    }
    int rc = databases_control(run->databases, &db, e);
    rc = rc == 0 ? model_open_version(run, id, job, &v->challenger.model, e) : rc;
    const char *task = run->job->task[0] ? run->job->task : v->challenger.model.task;
    v->snapshot = (struct snapshot){.markets = v->markets, .task = task};
    v->snapshot.split = job_spec_text(run->spec, "split");
    v->snapshot.until = run_as_of(run);
    if (rc == 0 && strcmp(task, v->challenger.model.task) != 0) {
        rc = err_set(e, ERR_DATA, "version %lld is for task '%s', not '%s'",
                     (long long)v->challenger.model.version, v->challenger.model.task, task);
    }
    if (rc == 0 && run->job->market[0]) {
        v->markets[0] = run->job->market;
        v->snapshot.market_count = 1;
        rc = model_open_champion(run, run->job->market, task, &v->champion.model, e);
        if (rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED) {
            /* Nothing is promoted unseen: a person decides. */
            rc = err_wrap(e, rc,
                          "the champion cannot be read; to replace it: meridian model promote %lld",
                          (long long)v->challenger.model.version);
        }
    } else if (rc == 0) {
        rc = read_markets(v, db, e);
    }
    return rc == 0 ? read_limits(v, db, e) : rc;
}

/* --- answers --------------------------------------------------------------------------------- */

static void answers_reset(struct answers *a)
{
    bag_predictor_free(a->predictor);
    mem_free(a->probs);
    a->predictor = NULL;
    a->probs = NULL;
}

static int answers_open(struct answers *a, struct err_buf *e)
{
    answers_reset(a);
    if (a->model.version == 0) {
        return 0;
    }
    calibration_init(&a->calibration, (uint32_t)bag_label_count(a->model.bag));
    a->probs = mem_new_array(bag_label_count(a->model.bag), sizeof *a->probs);
    a->predictor = bag_predictor_new(a->model.bag, e);
    return a->probs && a->predictor ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

static int answer(struct answers *a, size_t at, struct span label, struct span text,
                  struct err_buf *e)
{
    if (a->model.version == 0) {
        return 0;
    }
    int rc = bag_predict(a->predictor, text.data, text.length, a->probs, e);
    if (rc != 0) {
        return rc;
    }
    ptrdiff_t truth = bag_label_find(a->model.bag, label);
    size_t best = 0;
    for (size_t i = 1; i < bag_label_count(a->model.bag); i++) {
        best = a->probs[i] > a->probs[best] ? i : best;
    }
    a->label[at] = (uint32_t)best;
    return calibration_add_float(&a->calibration, a->probs,
                                 truth < 0 ? CALIBRATION_UNKNOWN : (uint32_t)truth, &a->samples[at],
                                 e);
}

/*
 * A number for the true label until the union is known: the challenger's labels come first, then
 * the champion's, then those that neither has.
 */
static int number_truth(struct evaluate *v, struct span label, uint32_t *ret, struct err_buf *e)
{
    size_t first = bag_label_count(v->challenger.model.bag);
    size_t second = v->champion.model.version ? bag_label_count(v->champion.model.bag) : 0;
    ptrdiff_t index = bag_label_find(v->challenger.model.bag, label);
    if (index >= 0) {
        *ret = (uint32_t)index;
        return 0;
    }
    index = second > 0 ? bag_label_find(v->champion.model.bag, label) : -1;
    if (index >= 0) {
        *ret = (uint32_t)(first + (size_t)index);
        return 0;
    }
    uint32_t i = 0;
    while (i < v->unknown_count && !span_is(label, v->unknown[i])) {
        i++;
    }
    if (i == v->unknown_count) {
        if (i == BAG_LABELS_MAX) {
            return err_set(e, ERR_LIMIT, "more than %d labels that no model knows", BAG_LABELS_MAX);
        }
        v->unknown[i] = mem_string(label.data, label.length);
        if (!v->unknown[i]) {
            return err_set(e, ERR_NOMEM, "out of memory");
        }
        v->unknown_count++;
    }
    *ret = (uint32_t)(first + second + i);
    return 0;
}

static int grow(void **block, size_t room, size_t size)
{
    void *grown = mem_resize_array(*block, room, size);
    if (!grown) {
        return ERR_NOMEM;
    }
    *block = grown;
    return 0;
}

static int make_room(struct evaluate *v, struct err_buf *e)
{
    size_t room = v->room ? v->room * 2 : 1024;
    if (v->count < v->room) {
        return 0;
    }
    if (room > EVAL_SAMPLES_MAX) {
        return err_set(e, ERR_LIMIT, "more than %u samples", EVAL_SAMPLES_MAX);
    }
    struct answers *both[] = {&v->challenger, &v->champion};
    int rc = grow((void **)&v->truth, room, sizeof *v->truth);
    for (int i = 0; rc == 0 && i < 2; i++) {
        rc = grow((void **)&both[i]->label, room, sizeof *both[i]->label);
        rc = rc == 0 ? grow((void **)&both[i]->samples, room, sizeof *both[i]->samples) : rc;
    }
    if (rc != 0) {
        return err_set(e, rc, "out of memory for %zu samples", room);
    }
    v->room = room;
    return 0;
}

static int on_sample(struct span label, struct span text, void *data, struct err_buf *e)
{
    struct evaluate *v = data;
    int rc = make_room(v, e);
    rc = rc == 0 ? number_truth(v, label, &v->truth[v->count], e) : rc;
    rc = rc == 0 ? answer(&v->challenger, v->count, label, text, e) : rc;
    rc = rc == 0 ? answer(&v->champion, v->count, label, text, e) : rc;
    v->count += rc == 0;
    return rc;
}

/* Repeatable: starts from the first sample. */
static int predict_all(struct run *run, void *data, struct err_buf *e)
{
    struct evaluate *v = data;
    v->count = 0;
    int rc = answers_open(&v->challenger, e);
    rc = rc == 0 ? answers_open(&v->champion, e) : rc;
    rc = rc == 0 ? snapshot_read(run, &v->snapshot, on_sample, v, e) : rc;
    return rc == 0 && v->count == 0 ? snapshot_is_empty(&v->snapshot, e) : rc;
}

/* --- one numbering of labels for all --------------------------------------------------------- */

/* The name that a provisional number stands for; owned. */
static char *name_of(const struct evaluate *v, uint32_t number)
{
    size_t first = bag_label_count(v->challenger.model.bag);
    size_t second = v->champion.model.version ? bag_label_count(v->champion.model.bag) : 0;
    struct span name = number < first            ? bag_label(v->challenger.model.bag, number)
                       : number < first + second ? bag_label(v->champion.model.bag, number - first)
                                                 : span_of(v->unknown[number - first - second]);
    return mem_string(name.data, name.length);
}

static void renumber(const struct evaluate *v, uint32_t *numbers, uint32_t offset,
                     const uint32_t *ids)
{
    for (size_t i = 0; i < v->count; i++) {
        numbers[i] = ids[numbers[i] + offset];
    }
}

static int unite_labels(struct evaluate *v, struct err_buf *e)
{
    size_t first = bag_label_count(v->challenger.model.bag);
    size_t second = v->champion.model.version ? bag_label_count(v->champion.model.bag) : 0;
    uint32_t all = (uint32_t)(first + second + v->unknown_count);
    char **names = mem_new_array(all, sizeof *names);
    uint32_t *ids = mem_new_array(all, sizeof *ids);
    int rc = names && ids ? 0 : ERR_NOMEM;
    for (uint32_t i = 0; rc == 0 && i < all; i++) {
        names[i] = name_of(v, i);
        rc = names[i] ? 0 : ERR_NOMEM;
    }
    rc = rc == 0 ? label_set_add(&v->labels, (const char *const *)names, all, e) : rc;
    for (uint32_t i = 0; rc == 0 && i < all; i++) {
        ids[i] = label_set_find(&v->labels, names[i]);
    }
    if (rc == 0) {
        renumber(v, v->truth, 0, ids);
        renumber(v, v->challenger.label, 0, ids);
        if (second > 0) {
            renumber(v, v->champion.label, (uint32_t)first, ids);
        }
    }
    for (uint32_t i = 0; names && i < all; i++) {
        mem_free(names[i]);
    }
    mem_free(names);
    mem_free(ids);
    return rc == ERR_NOMEM ? err_set(e, rc, "out of memory") : rc;
}

/* --- result ---------------------------------------------------------------------------------- */

static void write_metric(struct json_writer *w, const char *name, double value,
                         const struct interval *i)
{
    json_write_map(w, NULL);
    json_write_text(w, "name", span_of(name));
    json_write_real(w, "value", value);
    if (i) {
        json_write_real(w, "low", i->low);
        json_write_real(w, "high", i->high);
    }
    json_write_end(w);
}

static void write_intervals(struct json_writer *w, const struct interval *scores,
                            const struct interval *calibration, bool has_intervals, double samples)
{
    for (int i = 0; i < BOOTSTRAP_METRIC_COUNT; i++) {
        write_metric(w, bootstrap_metric_name((enum bootstrap_metric)i), scores[i].point,
                     has_intervals ? &scores[i] : NULL);
    }
    for (int i = 0; i < BOOTSTRAP_CALIBRATION_COUNT; i++) {
        write_metric(w, bootstrap_calibration_name((enum bootstrap_calibration_metric)i),
                     calibration[i].point, has_intervals ? &calibration[i] : NULL);
    }
    write_metric(w, "samples", samples, NULL);
}

static void write_classes(const struct evaluate *v, const struct eval_metrics *m,
                          const struct confusion *c, struct json_writer *w)
{
    json_write_list(w, "classes");
    for (size_t i = 0; i < m->rows; i++) {
        json_write_map(w, NULL);
        json_write_text(w, "label", span_of(v->labels.name[m->row[i].label]));
        json_write_real(w, "precision", m->row[i].score.precision);
        json_write_real(w, "recall", m->row[i].score.recall);
        json_write_real(w, "f1", m->row[i].score.f1);
        json_write_integer(w, "support", (int64_t)m->row[i].support);
        json_write_end(w);
    }
    json_write_end(w);
    json_write_list(w, "confusion");
    for (size_t i = 0; i < c->cells; i++) {
        json_write_list(w, NULL);
        json_write_text(w, NULL, span_of(v->labels.name[c->cell[i].truth]));
        json_write_text(w, NULL, span_of(v->labels.name[c->cell[i].predicted]));
        json_write_integer(w, NULL, c->cell[i].count);
        json_write_end(w);
    }
    json_write_end(w);
}

/* Scores one model's answers under that key; the challenger's also by class. */
static int write_scores(struct evaluate *v, const struct answers *a, const char *key,
                        bool has_classes, struct json_writer *w, struct err_buf *e)
{
    struct confusion c;
    struct eval_metrics m;
    struct interval scores[BOOTSTRAP_METRIC_COUNT];
    struct interval calibration[BOOTSTRAP_CALIBRATION_COUNT];
    uint32_t resamples = (uint32_t)job_spec_integer(v->run->spec, "bootstrap");
    const struct bootstrap_params how = {
        .resamples = resamples > 0 ? resamples : 1, /* 0: only the scores themselves are kept */
        .level = BOOTSTRAP_LEVEL,
        .seed = (uint64_t)job_spec_integer(v->run->spec, "seed")};
    int rc = confusion_init(&c, v->truth, a->label, v->count, v->labels.count, e);
    if (rc != 0) {
        return rc;
    }
    rc = eval_metrics_init(&m, &c, NULL, 0, ZERO_DIVISION_0, e);
    if (rc == 0) {
        rc = bootstrap_metrics(scores, &c, &m, &how, e);
        rc = rc == 0 ? bootstrap_calibration(calibration, a->samples, v->count, &how, e) : rc;
        if (rc == 0) {
            json_write_list(w, key);
            write_intervals(w, scores, calibration, resamples > 0, (double)v->count);
            json_write_end(w);
            if (has_classes) {
                write_classes(v, &m, &c, w);
            }
        }
        eval_metrics_close(&m);
    }
    confusion_close(&c);
    return rc;
}

static int decide(struct evaluate *v, struct gate_verdict *ret, struct err_buf *e)
{
    int rc = 0;
    if (v->champion.model.version > 0) {
        struct comparison c;
        rc = comparison_init(&c, v->truth, v->champion.label, v->challenger.label, v->count,
                             v->labels.count, &v->compare, e);
        if (rc == 0) {
            gate_decide(ret, &c, (const char *const *)v->labels.name, &v->gate);
            comparison_close(&c);
        }
    } else {
        struct confusion c;
        rc = confusion_init(&c, v->truth, v->challenger.label, v->count, v->labels.count, e);
        if (rc == 0) {
            gate_decide_first(ret, &c, &v->gate);
            confusion_close(&c);
        }
    }
    return rc;
}

static int write_verdict(struct evaluate *v, struct json_writer *w, struct err_buf *e)
{
    if (!job_spec_bool(v->run->spec, "promote")) {
        json_write_null(w, "verdict");
        return 0;
    }
    struct gate_verdict verdict;
    int rc = gate_check(&v->gate, e);
    rc = rc == 0 ? decide(v, &verdict, e) : rc;
    if (rc != 0) {
        return rc;
    }
    run_log(v->run, "verdict: %s, %s", verdict.is_promoted ? "promote" : "keep",
            gate_reason_name(verdict.reason));
    json_write_map(w, "verdict");
    json_write_bool(w, "promote", verdict.is_promoted);
    json_write_text(w, "reason", span_of(gate_reason_name(verdict.reason)));
    json_write_text(w, "sentence", span_of(verdict.sentence));
    json_write_map(w, "numbers");
    for (size_t i = 0; i < verdict.numbers; i++) {
        json_write_real(w, verdict.number[i].name, verdict.number[i].value);
    }
    json_write_end(w);
    json_write_end(w);
    return 0;
}

static int write_result(struct evaluate *v, struct buf *out, struct err_buf *e)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_map(&w, NULL);
    json_write_map(&w, "evaluation");
    json_write_integer(&w, "version", v->challenger.model.version);
    if (v->champion.model.version > 0) {
        json_write_integer(&w, "champion", v->champion.model.version);
    } else {
        json_write_null(&w, "champion");
    }
    snapshot_write(&v->snapshot, &w, "snapshot");
    int rc = write_scores(v, &v->challenger, "metrics", true, &w, e);
    if (rc == 0 && v->champion.model.version > 0) {
        rc = write_scores(v, &v->champion, "champion_metrics", false, &w, e);
    }
    rc = rc == 0 ? write_verdict(v, &w, e) : rc;
    json_write_end(&w);
    json_write_end(&w);
    if (rc == 0 && (rc = json_writer_finish(&w)) != 0) {
        rc = err_set(e, rc, "the result cannot be written");
    }
    return rc;
}

/* --- the job --------------------------------------------------------------------------------- */

static void answers_free(struct answers *a)
{
    answers_reset(a);
    mem_free(a->label);
    mem_free(a->samples);
}

static void evaluate_free(struct evaluate *v)
{
    answers_free(&v->challenger);
    answers_free(&v->champion);
    close_models(v);
    for (uint32_t i = 0; i < v->unknown_count; i++) {
        mem_free(v->unknown[i]);
    }
    label_set_close(&v->labels);
    mem_free(v->truth);
    mem_free(v);
}

int kind_evaluate(struct run *run, struct buf *ret_result, struct err_buf *e)
{
    struct evaluate *v = mem_new(sizeof *v);
    if (!v) {
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    v->run = run;
    label_set_init(&v->labels);
    int rc = run_persist(run, read_record, v, e);
    rc = rc == 0 ? run_persist(run, predict_all, v, e) : rc;
    rc = rc == 0 ? unite_labels(v, e) : rc;
    if (rc == 0) {
        struct message_progress p = run_progress_of("score", 0.8);
        run_report(run, &p);
        rc = run_is_cancelled(run) ? err_set(e, ERR_CANCELLED, "cancelled")
                                   : write_result(v, ret_result, e);
    }
    evaluate_free(v);
    return rc;
}
