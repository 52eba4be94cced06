/*
 * finetune: reads the train and dev samples of a market (or of several, pooled), trains from a
 * base, stores the model, and says what the base was worth.
 *
 *   base_source_loss       the base on its own dev split, as measured when it was made
 *   base_target_loss       the base on this market's dev split (without one: on train)
 *   base_gap               target - source: what the move to this market costs
 *   finetuned_target_loss  the new model on the same samples
 *   scratch_target_loss    with compare_scratch: the same budget without a base
 *   finetune_gain          scratch - finetuned: what the base was worth
 *
 * The artifact depends on spec, snapshots, base, seed and thread count alone.
 *
 * While it trains it leaves checkpoints (finetune_state.h). An attempt that finds one reads the
 * same snapshots and base as that, whatever is newest now, and goes on; if they cannot be had any
 * more, or anything else that determines the bytes is not the same, it starts anew.
 */
#include "common/artifact/artifact.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "worker/jobs/build.h"
#include "worker/jobs/checkpoint.h"
#include "worker/jobs/finetune_state.h"
#include "worker/jobs/model.h"
#include "worker/jobs/snapshot.h"
#include "worker/model/bag/bag.h"
#include "worker/model/bag/kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { METRICS_MAX = FINETUNE_METRICS_MAX, PARTS_MAX = 256 };

/* What computed it: the release and the compiler. */
#ifdef __clang__
#define ENGINE "meridian " MERIDIAN_VERSION ", " __VERSION__
#else
#define ENGINE "meridian " MERIDIAN_VERSION ", gcc " __VERSION__
#endif

struct metric {
    const char *name;
    double value;
};

/* One point a pass over the data. */
struct point {
    struct bag_progress progress;
    int64_t elapsed_ms;
};

/* What an earlier attempt left. */
struct resume {
    struct checkpoint found[CHECKPOINT_FOUND_MAX];
    size_t count, next;
    const struct checkpoint *from; /* whose state is being read or was; NULL = none */
    struct artifact_reader reader; /* open as long as there is more to read */
    bool is_read;                  /* to its end, and it was whole */
    bool is_pinned;                /* the inputs below are those of a checkpoint */
    char train[SHA256_HEX_SIZE];
    char dev[SHA256_HEX_SIZE]; /* "" = there were none */
    char base[32];             /* as in a spec */
    struct finetune_state *state;
};

struct finetune {
    struct run *run;
    struct checkpoints checkpoints;
    struct resume resume;
    struct bag_params params;
    const char *markets[SNAPSHOT_MARKETS_MAX];
    size_t market_count;
    struct model base;
    struct snapshot train_snapshot, dev_snapshot;
    struct bag_data *train;
    struct bag_data *dev; /* NULL: there are no dev samples */
    struct bag_model *model;
    void *model_bytes; /* of a model that came from a checkpoint */
    uint8_t artifact[SHA256_BYTES];
    /* the training that runs */
    const char *phase;
    double done_from, done_share; /* of the whole job */
    int64_t began_ms;             /* as if one attempt had done it all */
    int64_t step;                 /* the last that was told */
    bool keeps_curve;             /* of this training */
    struct point *curve;
    size_t points;
    /* figures */
    struct metric metrics[METRICS_MAX];
    size_t metric_count;
    char metric_names[METRICS_MAX][FINETUNE_NAME_MAX + 1]; /* of those from a checkpoint */
};

/* --- settings -------------------------------------------------------------------------------- */

/* A number of the spec by name, whatever its type; fallback when the table has no such field. */
static double spec_number(const struct job_spec *spec, const char *name, double fallback)
{
    const struct job_field *field = job_field(JOB_FINETUNE, name);
    if (!field || !job_spec_has(spec, name)) {
        return fallback;
    }
    switch (field->type) {
    case JOB_FIELD_INTEGER:
        return (double)job_spec_integer(spec, name);
    case JOB_FIELD_REAL:
        return job_spec_real(spec, name);
    case JOB_FIELD_BOOL:
        return job_spec_bool(spec, name) ? 1 : 0;
    default:
        return fallback;
    }
}

static void set_u32(const struct job_spec *spec, const char *name, uint32_t *value)
{
    *value = (uint32_t)spec_number(spec, name, *value);
}

static int set_params(struct finetune *f, struct err_buf *e)
{
    const struct job_spec *spec = f->run->spec;
    struct bag_params *p = &f->params;
    bag_params_default(p);
    set_u32(spec, "word_max", &p->features.word_max);
    set_u32(spec, "word_gap", &p->features.word_gap);
    set_u32(spec, "char_min", &p->features.char_min);
    set_u32(spec, "char_max", &p->features.char_max);
    p->features.char_across = spec_number(spec, "char_across", p->features.char_across) > 0;
    p->features.char_jamo = spec_number(spec, "char_jamo", p->features.char_jamo) > 0;
    set_u32(spec, "feature_count_min", &p->feature_count_min);
    set_u32(spec, "features_max", &p->features_max);
    set_u32(spec, "epochs", &p->epochs);
    set_u32(spec, "patience", &p->patience);
    p->strength = spec_number(spec, "strength", p->strength);
    p->char_weight = spec_number(spec, "char_weight", p->char_weight);
    p->tolerance = spec_number(spec, "tolerance", p->tolerance);
    p->one_pass = spec_number(spec, "one_pass", p->one_pass) > 0;
    p->rate = spec_number(spec, "rate", p->rate);
    if (job_field(JOB_FINETUNE, "class_weight") && job_spec_has(spec, "class_weight")) {
        bool is_balanced = strcmp(job_spec_text(spec, "class_weight"), "balanced") == 0;
        p->class_weight = is_balanced ? BAG_CLASS_BALANCED : BAG_CLASS_EQUAL;
    }
    p->seed = (uint64_t)job_spec_integer(spec, "seed");
    p->threads = (uint32_t)f->run->job->threads;
    int rc = bag_params_check(p, e);
    return rc == 0 ? 0 : err_wrap(e, rc, "spec");
}

static int set_markets(struct finetune *f, struct err_buf *e)
{
    f->market_count = job_spec_market_count(f->run->spec);
    if (f->market_count > SNAPSHOT_MARKETS_MAX) {
        return err_set(e, ERR_LIMIT, "spec.markets: more than %d", SNAPSHOT_MARKETS_MAX);
    }
    for (size_t i = 0; i < f->market_count; i++) {
        f->markets[i] = job_spec_market(f->run->spec, i);
    }
    if (f->market_count == 0 && f->run->job->market[0]) {
        f->markets[0] = f->run->job->market;
        f->market_count = 1;
    }
    if (f->market_count == 0 || !f->run->job->task[0]) {
        return err_set(e, ERR_INVALID, "a finetune needs a task, and a market or spec.markets");
    }
    return 0;
}

/* --- reading --------------------------------------------------------------------------------- */

static int add_sample(struct span label, struct span text, void *data, struct err_buf *e)
{
    return bag_data_add(data, text.data, text.length, label.data, label.length, e);
}

static int read_split(struct finetune *f, struct snapshot *s, const char *split, const char *pinned,
                      struct bag_data **ret, struct err_buf *e)
{
    *s = (struct snapshot){.markets = f->markets,
                           .market_count = f->market_count,
                           .task = f->run->job->task,
                           .split = split,
                           .until = run_as_of(f->run),
                           .wanted = f->resume.is_pinned ? pinned : NULL};
    if (f->resume.is_pinned && !pinned[0]) {
        return 0; /* there were none then */
    }
    if (strcmp(split, "train") == 0) {
        s->limit = (int64_t)spec_number(f->run->spec, "limit_train", 0);
    }
    struct bag_params params = f->params;
    params.one_pass =
        params.one_pass && strcmp(split, "train") == 0; /* dev is kept, to be scored */
    struct bag_data *data = bag_data_new(&params, e);
    if (!data) {
        return ERR_NOMEM;
    }
    int rc = snapshot_read(f->run, s, add_sample, data, e);
    if (rc != 0 || s->samples == 0) {
        bag_data_free(data);
        return rc;
    }
    *ret = data;
    return 0;
}

static int read_splits(struct finetune *f, struct err_buf *e)
{
    if (!job_spec_has(f->run->spec, "char_jamo")) {
        bag_params_follow(&f->params, f->base.bag);
    }
    bag_data_free(f->train);
    bag_data_free(f->dev);
    f->train = NULL;
    f->dev = NULL;
    int rc = read_split(f, &f->train_snapshot, "train", f->resume.train, &f->train, e);
    if (rc == 0 && !f->train) {
        rc = snapshot_is_empty(&f->train_snapshot, e);
    }
    if (rc == 0 && f->train_snapshot.labels < 2) {
        rc = err_set(e, ERR_DATA,
                     "the %lld train samples of task '%s' have one label only: there is nothing to "
                     "tell apart",
                     (long long)f->train_snapshot.samples, f->run->job->task);
    }
    return rc == 0 ? read_split(f, &f->dev_snapshot, "dev", f->resume.dev, &f->dev, e) : rc;
}

/* What a checkpoint stands on is not there any more: it is as if there were none. */
static void unpin(struct finetune *f, const char *why)
{
    run_log(f->run, "starts from nothing: what its checkpoint stands on is not there: %s", why);
    f->resume.is_pinned = false;
    f->resume.count = 0;
}

static int open_base(struct run *run, void *data, struct err_buf *e)
{
    struct finetune *f = data;
    const char *base = job_spec_text(run->spec, "base");
    if (f->params.one_pass && strcmp(base, "auto") == 0) {
        return 0; /* one pass starts from nothing */
    }
    int rc = model_open_base(run, f->resume.is_pinned ? f->resume.base : base, &f->base, e);
    if (f->resume.is_pinned && rc != 0 && rc != ERR_UNREACHABLE) {
        unpin(f, e->text);
        rc = model_open_base(run, base, &f->base, e);
    }
    bool is_unreadable = rc == ERR_CORRUPT || rc == ERR_UNSUPPORTED;
    if (is_unreadable && strcmp(base, "auto") == 0) {
        /* Of another build, or damaged: the night goes on without, as one without a base would. */
        run_log(run, "trains without a base: %s", e->text);
        return 0;
    }
    return rc;
}

/* Repeatable: starts both splits from nothing. */
static int read_samples(struct run *run, void *data, struct err_buf *e)
{
    struct finetune *f = data;
    (void)run;
    int rc = read_splits(f, e);
    if (f->resume.is_pinned && (rc == ERR_NOTFOUND || rc == ERR_CORRUPT)) {
        unpin(f, e->text);
        model_close(&f->base);
        rc = open_base(run, f, e);
        rc = rc == 0 ? read_splits(f, e) : rc;
    }
    return rc;
}

/* --- training -------------------------------------------------------------------------------- */

static void add_metric(struct finetune *f, const char *name, double value)
{
    if (isfinite(value)) {
        CHECK(f->metric_count < METRICS_MAX);
        f->metrics[f->metric_count++] = (struct metric){.name = name, .value = value};
    }
}

static void keep_point(struct finetune *f, const struct bag_progress *p)
{
    size_t index = p->epoch > 0 ? p->epoch - 1 : 0;
    if (f->keeps_curve && index < f->params.epochs) {
        f->curve[index] = (struct point){*p, clock_mono_ms() - f->began_ms};
        f->points = index + 1 > f->points ? index + 1 : f->points;
    }
}

static void on_progress(const struct bag_progress *p, void *data)
{
    struct finetune *f = data;
    double share = p->steps > 0 ? (double)p->step / (double)p->steps : 0;
    struct message_progress m = run_progress_of(f->phase, f->done_from + f->done_share * share);
    m.epoch = p->epoch;
    m.epochs = p->epochs;
    m.step = (int64_t)p->step;
    m.steps = (int64_t)p->steps;
    m.loss = p->loss;
    m.examples_per_s = p->examples_per_s;
    if (p->examples_per_s > 0) {
        m.eta_ms = (int64_t)((double)(p->steps - p->step) * 1000 / p->examples_per_s);
    }
    f->step = m.step;
    keep_point(f, p);
    run_report(f->run, &m);
}

static bool on_is_cancelled(void *data)
{
    struct finetune *f = data;
    return run_is_cancelled(f->run);
}

static bool on_wants_state(void *data)
{
    struct finetune *f = data;
    return checkpoints_are_due(&f->checkpoints);
}

static void fill_state(struct finetune *f)
{
    struct finetune_state *s = f->resume.state;
    *s = (struct finetune_state){.elapsed_ms = clock_mono_ms() - f->began_ms};
    (void)snprintf(s->phase, sizeof s->phase, "%s", f->phase);
    for (; s->points < f->points; s->points++) {
        const struct point *from = &f->curve[s->points];
        const double values[FINETUNE_CURVE] = {
            from->progress.epoch,    (double)from->progress.step,   from->progress.loss,
            from->progress.dev_loss, from->progress.examples_per_s, (double)from->elapsed_ms};
        memcpy(s->curve[s->points], values, sizeof values);
    }
    for (; f->model && s->metrics < f->metric_count; s->metrics++) {
        (void)snprintf(s->names[s->metrics], sizeof s->names[0], "%s", f->metrics[s->metrics].name);
        s->values[s->metrics] = f->metrics[s->metrics].value;
    }
    s->model_bytes = f->model ? (int64_t)bag_bytes(f->model).length : 0;
}

static void write_inputs(const struct finetune *f, char *out, size_t size)
{
    char base[32] = "none";
    if (f->base.version > 0) {
        (void)snprintf(base, sizeof base, "version:%lld", (long long)f->base.version);
    }
    (void)snprintf(out, size, "{\"base\": \"%s\", \"train\": \"%s\", \"dev\": \"%s\"}", base,
                   f->train_snapshot.sha256, f->dev ? f->dev_snapshot.sha256 : "");
}

/* Head, model if there is one, and the training's own state, without a copy of the large ones. */
static void on_state(const struct bag_state *state, void *data)
{
    struct finetune *f = data;
    struct span parts[PARTS_MAX];
    char inputs[256];
    size_t count = 0;
    struct buf head;
    buf_init(&head, FINETUNE_HEAD_MAX + 4);
    fill_state(f);
    write_inputs(f, inputs, sizeof inputs);
    if (finetune_state_write(f->resume.state, &head) == 0 && state->count + 2 <= PARTS_MAX) {
        parts[count++] = buf_span(&head);
        if (f->model) {
            parts[count++] = bag_bytes(f->model);
        }
        memcpy(parts + count, state->parts, state->count * sizeof parts[0]);
        count = state->count > 0 ? count + state->count : 0;
    }
    checkpoints_save(&f->checkpoints, parts, count, f->phase, f->step, inputs);
    buf_close(&head);
}

static void forget_model(struct finetune *f)
{
    bag_free(f->model);
    mem_free(f->model_bytes);
    f->model = NULL;
    f->model_bytes = NULL;
}

static void close_reader(struct finetune *f)
{
    artifact_reader_close(&f->resume.reader);
}

static int on_read_head(void *to, size_t bytes, void *data, struct err_buf *e)
{
    return artifact_reader_read(&((struct finetune *)data)->resume.reader, to, bytes, e);
}

static int on_read_state(void *to, size_t bytes, void *data, struct err_buf *e)
{
    struct finetune *f = data;
    if (bytes > 0) {
        return artifact_reader_read(&f->resume.reader, to, bytes, e);
    }
    int rc = artifact_reader_end(&f->resume.reader, e);
    if (rc == 0) {
        f->resume.is_read = true;
        close_reader(f);
        checkpoints_resume(&f->checkpoints, f->resume.from);
    }
    return rc;
}

static int train(struct finetune *f, const struct bag_model *base, const char *phase, double from,
                 double share, struct bag_model **ret, struct bag_report *report, struct err_buf *e)
{
    bool goes_on = f->resume.from && !f->resume.is_read;
    const struct bag_watch watch = {.on_progress = on_progress,
                                    .is_cancelled = on_is_cancelled,
                                    .wants_state = on_wants_state,
                                    .on_state = on_state,
                                    .read_state = goes_on ? on_read_state : NULL,
                                    .data = f};
    f->phase = phase;
    f->done_from = from;
    f->done_share = share;
    f->began_ms = clock_mono_ms() - (goes_on ? f->resume.state->elapsed_ms : 0);
    f->step = goes_on ? f->resume.from->step : 0;
    int rc = bag_train(ret, &f->params, f->train, f->dev, base, &watch, report, e);
    /* It may have stopped early, and what follows makes no steps. */
    struct message_progress p = run_progress_of("measure", from + share);
    run_report(f->run, &p);
    return rc;
}

/* What both models are measured on. */
static const struct bag_data *target_data(const struct finetune *f)
{
    return f->dev ? f->dev : f->train;
}

/* A base with other features or no common label has no loss here: that is no failure. */
static double loss_of(struct finetune *f, const struct bag_model *m, double *ret_accuracy)
{
    struct bag_score score;
    struct err_buf e = {{0}};
    int rc = bag_loss(m, target_data(f), &score, &e);
    if (rc != 0) {
        run_log(f->run, "no loss on the target: %s", e.text);
    }
    if (rc != 0 || score.known == 0) {
        *ret_accuracy = (double)NAN;
        return (double)NAN;
    }
    *ret_accuracy = score.accuracy;
    return score.loss;
}

static int train_from_base(struct finetune *f, double share, struct err_buf *e)
{
    struct bag_report report = {0};
    f->keeps_curve = true;
    int rc = train(f, f->base.bag, "train", 0.1, share, &f->model, &report, e);
    if (rc != 0) {
        return rc;
    }
    double accuracy = (double)NAN;
    add_metric(f, "train_seconds", (double)(clock_mono_ms() - f->began_ms) / 1000);
    add_metric(f, "train_loss", report.loss);
    add_metric(f, "epochs", report.epochs_run);
    add_metric(f, "epoch_best", report.epoch_best);
    add_metric(f, "features", (double)report.features);
    add_metric(f, "samples", (double)report.samples);
    add_metric(f, "temperature", report.temperature);
    add_metric(f, "finetuned_target_loss", loss_of(f, f->model, &accuracy));
    add_metric(f, f->dev ? "dev_accuracy" : "train_accuracy", accuracy);
    add_metric(f, "artifact_bytes", (double)bag_bytes(f->model).length);
    return 0;
}

/* A champion made with other features is no base any more; with "auto" the night goes on without.
 */
static void check_base(struct finetune *f)
{
    struct bag_score score;
    struct err_buf e = {{0}};
    bool is_auto = strcmp(job_spec_text(f->run->spec, "base"), "auto") == 0;
    if (f->base.version > 0 && is_auto &&
        bag_loss(f->base.bag, target_data(f), &score, &e) == ERR_INVALID) {
        run_log(f->run, "version %lld has other features than this spec: training from nothing",
                (long long)f->base.version);
        model_close(&f->base);
    }
}

static void measure_base(struct finetune *f)
{
    double accuracy = (double)NAN;
    if (f->base.version == 0) {
        return;
    }
    double target = loss_of(f, f->base.bag, &accuracy);
    add_metric(f, "base_source_loss", f->base.source_loss);
    add_metric(f, "base_target_loss", target);
    add_metric(f, f->dev ? "base_dev_accuracy" : "base_train_accuracy", accuracy);
    add_metric(f, "base_gap", target - f->base.source_loss);
}

/* The value of a metric added before, or NAN. */
static double metric_of(const struct finetune *f, const char *name)
{
    for (size_t i = 0; i < f->metric_count; i++) {
        if (strcmp(f->metrics[i].name, name) == 0) {
            return f->metrics[i].value;
        }
    }
    return (double)NAN;
}

/* The same budget from nothing; its curve and model are not kept. */
static int train_from_scratch(struct finetune *f, struct err_buf *e)
{
    struct bag_model *scratch = NULL;
    double accuracy = (double)NAN;
    f->keeps_curve = false;
    int rc = train(f, NULL, "scratch", 0.5, 0.4, &scratch, NULL, e);
    if (rc != 0) {
        return rc;
    }
    double loss = loss_of(f, scratch, &accuracy);
    bag_free(scratch);
    add_metric(f, "scratch_train_seconds", (double)(clock_mono_ms() - f->began_ms) / 1000);
    add_metric(f, "scratch_target_loss", loss);
    add_metric(f, f->dev ? "scratch_dev_accuracy" : "scratch_train_accuracy", accuracy);
    add_metric(f, "finetune_gain", loss - metric_of(f, "finetuned_target_loss"));
    return 0;
}

/* --- result ---------------------------------------------------------------------------------- */

static int store(struct run *run, void *data, struct err_buf *e)
{
    struct finetune *f = data;
    struct pg_sync *db = NULL;
    int rc = databases_control(run->databases, &db, e);
    return rc == 0 ? artifact_put(db, bag_bytes(f->model), f->artifact, e) : rc;
}

static void write_version(const struct finetune *f, struct json_writer *w, struct span spec)
{
    char hex[SHA256_HEX_SIZE];
    json_write_map(w, "version");
    json_write_text(w, "family", span_of("bag"));
    json_write_text(w, "method", span_of("full"));
    json_write_text(w, "artifact", span_of(sha256_hex(f->artifact, hex)));
    if (f->base.version > 0) {
        json_write_integer(w, "base_version", f->base.version);
    } else {
        json_write_null(w, "base_version");
    }
    json_write_list(w, "labels");
    for (size_t i = 0; i < bag_label_count(f->model); i++) {
        json_write_text(w, NULL, bag_label(f->model, i));
    }
    json_write_end(w);
    json_write_text(w, "engine", span_of(ENGINE));
    json_write_text(w, "kernel", span_of(bag__kernels()->name));
    json_write_integer(w, "threads", f->params.threads);
    json_write_integer(w, "seed", (int64_t)f->params.seed);
    json_write_raw(w, "spec", spec);
    snapshot_write(&f->train_snapshot, w, "train_snapshot");
    if (f->dev) {
        snapshot_write(&f->dev_snapshot, w, "dev_snapshot");
    } else {
        json_write_null(w, "dev_snapshot");
    }
    json_write_end(w);
}

static void write_curve(const struct finetune *f, struct json_writer *w)
{
    json_write_list(w, "curve");
    for (size_t i = 0; i < f->points; i++) {
        const struct bag_progress *p = &f->curve[i].progress;
        json_write_map(w, NULL);
        json_write_integer(w, "epoch", p->epoch);
        json_write_integer(w, "step", (int64_t)p->step);
        json_write_real(w, "train_loss", p->loss);
        json_write_real(w, "dev_loss", p->dev_loss);
        json_write_real(w, "examples_per_s", p->examples_per_s);
        json_write_integer(w, "elapsed_ms", f->curve[i].elapsed_ms);
        json_write_end(w);
    }
    json_write_end(w);
}

/* The spec with every parameter of the model as it was used, defaults included: whoever repeats
 * this job later must not get later defaults. */
static int resolve_spec(const struct finetune *f, struct buf *out, struct err_buf *e)
{
    const struct bag_params *p = &f->params;
    const struct metric numbers[] = {
        {"word_max", p->features.word_max},
        {"word_gap", p->features.word_gap},
        {"char_min", p->features.char_min},
        {"char_max", p->features.char_max},
        {"feature_count_min", p->feature_count_min},
        {"features_max", p->features_max},
        {"epochs", p->epochs},
        {"patience", p->patience},
        {"threads", p->threads},
    };
    struct json *map = NULL;
    struct buf given;
    buf_init(&given, MESSAGE_SPEC_MAX);
    int rc = job_spec_write(f->run->spec, &given);
    rc = rc == 0 ? json_parse(buf_span(&given), &json_limits_spec, &map, e) : rc;
    for (size_t i = 0; rc == 0 && i < sizeof numbers / sizeof numbers[0]; i++) {
        rc = json_set(map, numbers[i].name, json_new_integer((int64_t)numbers[i].value));
    }
    bool is_balanced = p->class_weight == BAG_CLASS_BALANCED;
    rc = rc == 0 ? json_set(map, "char_across", json_new_bool(p->features.char_across)) : rc;
    rc = rc == 0 ? json_set(map, "char_jamo", json_new_bool(p->features.char_jamo)) : rc;
    rc = rc == 0 ? json_set(map, "class_weight",
                            json_new_text(span_of(is_balanced ? "balanced" : "none")))
                 : rc;
    rc = rc == 0 ? json_set(map, "strength", json_new_real(p->strength)) : rc;
    rc = rc == 0 ? json_set(map, "char_weight", json_new_real(p->char_weight)) : rc;
    rc = rc == 0 ? json_set(map, "tolerance", json_new_real(p->tolerance)) : rc;
    rc = rc == 0 ? json_set(map, "one_pass", json_new_bool(p->one_pass)) : rc;
    rc = rc == 0 ? json_set(map, "rate", json_new_real(p->rate)) : rc;
    rc = rc == 0 ? json_dump(map, out) : rc;
    json_free(map);
    buf_close(&given);
    return rc;
}

static int write_result(const struct finetune *f, struct buf *out, struct err_buf *e)
{
    struct json_writer w;
    struct buf spec;
    buf_init(&spec, MESSAGE_SPEC_MAX);
    int rc = resolve_spec(f, &spec, e);
    json_writer_init(&w, out);
    json_write_map(&w, NULL);
    write_version(f, &w, buf_span(&spec));
    json_write_list(&w, "metrics");
    for (size_t i = 0; i < f->metric_count; i++) {
        json_write_map(&w, NULL);
        json_write_text(&w, "name", span_of(f->metrics[i].name));
        json_write_real(&w, "value", f->metrics[i].value);
        json_write_end(&w);
    }
    json_write_end(&w);
    write_curve(f, &w);
    json_write_end(&w);
    buf_close(&spec);
    return rc == 0 ? json_writer_finish(&w) : rc;
}

/* --- going on -------------------------------------------------------------------------------- */

/* Everything that the artifact's bytes depend on, as text. */
static int set_config(struct finetune *f, struct err_buf *e)
{
    static const char *const irrelevant[] = {"checkpoint_s", "max_attempts", "memory_mb",
                                             "time_limit_s"};
    char id[BUILD_ID_SIZE], base[SHA256_HEX_SIZE] = "none";
    struct json *map = NULL;
    struct buf text, spec;
    buf_init(&text, 2 * MESSAGE_SPEC_MAX);
    buf_init(&spec, MESSAGE_SPEC_MAX);
    int rc = resolve_spec(f, &spec, e);
    rc = rc ? rc : json_parse(buf_span(&spec), &json_limits_spec, &map, e);
    for (size_t i = 0; rc == 0 && i < sizeof irrelevant / sizeof irrelevant[0]; i++) {
        json_remove(map, irrelevant[i]);
    }
    if (f->base.version > 0) {
        (void)sha256_hex(f->base.artifact, base);
    }
    rc = rc ? rc
            : buf_add_format(&text, "finetune\n%s\n%s\n%s\n%s\n%s\n%s\n", ENGINE, build_id(id),
                             bag__kernels()->name, base, f->train_snapshot.sha256,
                             f->dev ? f->dev_snapshot.sha256 : "none");
    rc = rc ? rc : json_dump(map, &text);
    if (rc == 0) {
        checkpoints_set_config(&f->checkpoints, buf_span(&text));
    }
    json_free(map);
    buf_close(&spec);
    buf_close(&text);
    return rc;
}

/* The inputs of the newest checkpoint become those of this attempt. */
static void pin(struct finetune *f)
{
    struct resume *r = &f->resume;
    struct json *map = NULL;
    struct err_buf ignored;
    if (r->count == 0 ||
        json_parse(span_of(r->found[0].inputs), &json_limits_spec, &map, &ignored) != 0) {
        return; /* then what is newest is read, and the hash will tell whether it is the same */
    }
    (void)snprintf(r->base, sizeof r->base, "%s", json_text_or(json_get(map, "base"), ""));
    (void)snprintf(r->train, sizeof r->train, "%s", json_text_or(json_get(map, "train"), ""));
    (void)snprintf(r->dev, sizeof r->dev, "%s", json_text_or(json_get(map, "dev"), ""));
    r->is_pinned = r->base[0] && strlen(r->train) == SHA256_HEX_SIZE - 1;
    json_free(map);
}

static void restore_curve(struct finetune *f)
{
    const struct finetune_state *s = f->resume.state;
    for (f->points = 0; f->points < s->points && f->points < f->params.epochs; f->points++) {
        const double *from = s->curve[f->points];
        f->curve[f->points] = (struct point){{.epoch = (uint32_t)from[0],
                                              .step = (uint64_t)from[1],
                                              .loss = from[2],
                                              .dev_loss = from[3],
                                              .examples_per_s = from[4]},
                                             (int64_t)from[5]};
    }
}

/* The model that was already trained, and what was measured then. */
static int restore_model(struct finetune *f, struct err_buf *e)
{
    struct finetune_state *s = f->resume.state;
    size_t length = (size_t)s->model_bytes;
    if (length == 0 || length > f->resume.reader.bytes) {
        return err_set(e, ERR_CORRUPT, "its model has %zu bytes", length);
    }
    f->model_bytes = mem_new_aligned(length, 1);
    if (!f->model_bytes) {
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    int rc = artifact_reader_read(&f->resume.reader, f->model_bytes, length, e);
    rc = rc ? rc : bag_open(&f->model, span_make(f->model_bytes, length), e);
    for (f->metric_count = 0; rc == 0 && f->metric_count < s->metrics; f->metric_count++) {
        char *name = f->metric_names[f->metric_count];
        (void)snprintf(name, sizeof f->metric_names[0], "%s", s->names[f->metric_count]);
        f->metrics[f->metric_count] =
            (struct metric){.name = name, .value = s->values[f->metric_count]};
    }
    return rc;
}

static bool is_scratch(const struct finetune *f)
{
    return f->resume.from && strcmp(f->resume.state->phase, "scratch") == 0;
}

/* Opens the newest checkpoint that is left and whose head can be used. */
static void open_next(struct finetune *f)
{
    struct resume *r = &f->resume;
    r->from = NULL;
    r->is_read = false;
    while (!r->from && r->next < r->count) {
        const struct checkpoint *from = &r->found[r->next++];
        struct err_buf e = {{0}};
        if (!checkpoints_open(&f->checkpoints, from, &r->reader)) {
            continue;
        }
        r->from = from;
        int rc = finetune_state_read(r->state, on_read_head, f, &e);
        if (rc == 0 && !is_scratch(f) && strcmp(r->state->phase, "train") != 0) {
            rc = err_set(&e, ERR_CORRUPT, "there is no phase '%s'", r->state->phase);
        }
        rc = rc == 0 && is_scratch(f) ? restore_model(f, &e) : rc;
        if (rc != 0) {
            checkpoints_reject(&f->checkpoints, from, e.text);
            close_reader(f);
            forget_model(f);
            r->from = NULL;
        }
    }
    if (r->from) {
        restore_curve(f);
    }
}

/* --- the job --------------------------------------------------------------------------------- */

static int prepare(struct finetune *f, struct err_buf *e)
{
    int rc = set_params(f, e);
    rc = rc == 0 ? set_markets(f, e) : rc;
    checkpoints_init(&f->checkpoints, f->run);
    rc = rc == 0 ? checkpoints_find(&f->checkpoints, f->resume.found, &f->resume.count, e) : rc;
    pin(f);
    int64_t began = clock_mono_ms();
    rc = rc == 0 ? run_persist(f->run, open_base, f, e) : rc;
    rc = rc == 0 ? run_persist(f->run, read_samples, f, e) : rc;
    if (rc == 0) {
        add_metric(f, "read_seconds", (double)(clock_mono_ms() - began) / 1000);
        run_log(f->run, "read %lld train and %lld dev samples, base version %lld",
                (long long)f->train_snapshot.samples, (long long)f->dev_snapshot.samples,
                (long long)f->base.version);
    }
    return rc;
}

/* From where the attempt is, to the last training. */
static int learn_once(struct finetune *f, struct err_buf *e)
{
    int rc = 0;
    bool is_compared = job_spec_bool(f->run->spec, "compare_scratch") && f->base.version > 0;
    if (!is_scratch(f)) {
        measure_base(f);
        rc = train_from_base(f, is_compared ? 0.4 : 0.8, e);
    }
    return rc == 0 && is_compared ? train_from_scratch(f, e) : rc;
}

static int learn(struct finetune *f, struct err_buf *e)
{
    check_base(f);
    int rc = set_config(f, e);
    f->curve = rc == 0 ? mem_new_array(f->params.epochs, sizeof *f->curve) : NULL;
    if (rc == 0 && !f->curve) {
        rc = err_set(e, ERR_NOMEM, "out of memory");
    }
    size_t metrics = f->metric_count;
    for (bool is_again = rc == 0; is_again;) {
        f->metric_count = metrics;
        f->points = 0;
        open_next(f);
        rc = learn_once(f, e);
        /* A state that turned out to be none is no reason to fail: the one before, or none. */
        is_again = rc != 0 && rc != ERR_CANCELLED && f->resume.from && !f->resume.is_read;
        if (is_again) {
            checkpoints_reject(&f->checkpoints, f->resume.from, e->text);
            forget_model(f);
        }
        close_reader(f);
        if (is_again && rc == ERR_UNREACHABLE) {
            databases_close(f->run->databases); /* a server that comes back has it again */
            f->resume.next--;
        }
    }
    if (rc == 0) {
        struct message_progress p = run_progress_of("store", 0.95);
        run_report(f->run, &p);
        rc = run_persist(f->run, store, f, e);
    }
    return rc;
}

int kind_finetune(struct run *run, struct buf *ret_result, struct err_buf *e)
{
    struct finetune *f = mem_new(sizeof *f);
    if (!f) {
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    f->run = run;
    f->base.source_loss = (double)NAN;
    f->resume.state = mem_new(sizeof *f->resume.state);
    int rc = f->resume.state ? prepare(f, e) : err_set(e, ERR_NOMEM, "out of memory");
    rc = rc == 0 ? learn(f, e) : rc;
    if (rc == 0 && (rc = write_result(f, ret_result, e)) != 0) {
        rc = err_set(e, rc, "the result cannot be written");
    }
    forget_model(f);
    mem_free(f->resume.state);
    bag_data_free(f->train);
    bag_data_free(f->dev);
    model_close(&f->base);
    mem_free(f->curve);
    mem_free(f);
    return rc;
}
