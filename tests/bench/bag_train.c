/*
 * Trains a bag model from JSON Lines and scores it: the program that the benchmarks time.
 *
 *   bag_train TRAIN.jsonl [--dev FILE] [--test FILE] [--base MODEL] [--out MODEL] [--set key=value]
 *
 * Reads only the keys "text" and "label" of each line. Prints one line of key=value pairs.
 */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/bench/jsonl.h"
#include "worker/model/bag/bag.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "bag_train: %s: %s\n", what, detail);
    exit(1);
}

/* --- settings -----------------------------------------------------------------------------------
 */

static void set_param(struct bag_params *p, const char *setting)
{
    const char *equals = strchr(setting, '=');
    if (!equals) {
        die("--set needs key=value", setting);
    }
    const struct {
        const char *name;
        uint32_t *number;
        double *real;
    } fields[] = {
        {"word_max", &p->features.word_max, NULL},
        {"word_gap", &p->features.word_gap, NULL},
        {"char_min", &p->features.char_min, NULL},
        {"char_max", &p->features.char_max, NULL},
        {"count_min", &p->feature_count_min, NULL},
        {"features_max", &p->features_max, NULL},
        {"strength", NULL, &p->strength},
        {"char_weight", NULL, &p->char_weight},
        {"epochs", &p->epochs, NULL},
        {"hidden", &p->hidden, NULL},
        {"hidden_epochs", &p->hidden_epochs, NULL},
        {"hidden_rows_max", &p->hidden_rows_max, NULL},
        {"hidden_count_min", &p->hidden_count_min, NULL},
        {"patience", &p->patience, NULL},
        {"tolerance", NULL, &p->tolerance},
        {"rate", NULL, &p->rate},
        {"threads", &p->threads, NULL},
    };
    size_t length = (size_t)(equals - setting);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strlen(fields[i].name) == length && memcmp(fields[i].name, setting, length) == 0) {
            if (fields[i].number) {
                *fields[i].number = (uint32_t)strtoul(equals + 1, NULL, 10);
            } else {
                *fields[i].real = strtod(equals + 1, NULL);
            }
            return;
        }
    }
    if (length == 4 && memcmp(setting, "seed", 4) == 0) {
        p->seed = strtoull(equals + 1, NULL, 10);
    } else if (strncmp(setting, "char_across", 11) == 0) {
        p->features.char_across = equals[1] == '1';
    } else if (strncmp(setting, "char_jamo", 9) == 0) {
        p->features.char_jamo = equals[1] == '1';
    } else if (strncmp(setting, "one_pass", 8) == 0) {
        p->one_pass = equals[1] == '1';
    } else if (strncmp(setting, "class_weight", 12) == 0) {
        p->class_weight = equals[1] == 'b' ? BAG_CLASS_BALANCED : BAG_CLASS_EQUAL;
    } else {
        die("no such setting", setting);
    }
}

/* --- running ------------------------------------------------------------------------------------
 */

static void add_sample(void *data, struct span text, struct span label)
{
    struct err_buf e = {{0}};
    if (bag_data_add(data, text.data, text.length, label.data, label.length, &e)) {
        die("cannot add a sample", e.text);
    }
}

struct scoring {
    const struct bag_model *model;
    struct bag_predictor *predictor;
    float *probs;
    size_t *cells; /* [labels + 1][labels]: truth by prediction; the last row is unknown truth */
    double loss;
    size_t samples;
};

static void score_sample(void *data, struct span text, struct span label)
{
    struct scoring *s = data;
    struct err_buf e = {{0}};
    if (bag_predict(s->predictor, text.data, text.length, s->probs, &e)) {
        die("cannot predict", e.text);
    }
    size_t labels = bag_label_count(s->model);
    size_t best = 0;
    for (size_t k = 1; k < labels; k++) {
        best = s->probs[k] > s->probs[best] ? k : best;
    }
    ptrdiff_t truth = bag_label_find(s->model, label);
    s->cells[(truth < 0 ? labels : (size_t)truth) * labels + best]++;
    s->loss -= truth < 0 ? 0 : log((double)s->probs[truth] + 1e-15);
    s->samples++;
}

static void print_scores(const struct scoring *s)
{
    size_t n = bag_label_count(s->model);
    double f1 = 0;
    size_t right = 0;
    size_t present = 0;
    for (size_t k = 0; k < n; k++) {
        size_t truth = 0;
        size_t predicted = 0;
        for (size_t j = 0; j < n; j++) {
            truth += s->cells[k * n + j];
        }
        for (size_t j = 0; j <= n; j++) {
            predicted += s->cells[j * n + k];
        }
        size_t hit = s->cells[k * n + k];
        right += hit;
        present += truth + predicted > 0;
        f1 += truth + predicted > 0 ? 2.0 * (double)hit / (double)(truth + predicted) : 0;
    }
    printf(" accuracy=%.4f macro_f1=%.4f test_loss=%.4f", (double)right / (double)s->samples,
           f1 / (double)(present ? present : 1), s->loss / (double)s->samples);
}

static void score(const struct bag_model *m, const char *path)
{
    struct err_buf e = {{0}};
    size_t n = bag_label_count(m);
    struct scoring s = {.model = m,
                        .predictor = bag_predictor_new(m, &e),
                        .probs = mem_new_array(n, sizeof(float)),
                        .cells = mem_new_array((n + 1) * n, sizeof(size_t))};
    if (!s.predictor || !s.probs || !s.cells) {
        die("cannot score", "out of memory");
    }
    jsonl_read(path, score_sample, &s);
    print_scores(&s);
    bag_predictor_free(s.predictor);
    mem_free(s.probs);
    mem_free(s.cells);
}

struct paths {
    const char *train, *dev, *test, *base, *out;
};

static struct bag_data *load(const struct bag_params *p, const char *path)
{
    struct err_buf e = {{0}};
    struct bag_data *d = bag_data_new(p, &e);
    if (!d) {
        die("cannot start", e.text);
    }
    jsonl_read(path, add_sample, d);
    return d;
}

static void run(const struct paths *paths, const struct bag_params *p)
{
    struct err_buf e = {{0}};
    struct bag_model *base = NULL;
    struct bag_model *model = NULL;
    struct bag_report report;
    int64_t start_us = clock_mono_us();
    if (paths->base && bag_open_file(&base, paths->base, &e)) {
        die("cannot open the base", e.text);
    }
    struct bag_data *train = load(p, paths->train);
    struct bag_params for_dev = *p;
    for_dev.one_pass = false;
    struct bag_data *dev = paths->dev ? load(&for_dev, paths->dev) : NULL;
    int64_t loaded_us = clock_mono_us();
    if (bag_train(&model, p, train, dev, base, NULL, &report, &e)) {
        die("cannot train", e.text);
    }
    if (paths->out && bag_write(model, paths->out, &e)) {
        die("cannot write", e.text);
    }
    int64_t done_us = clock_mono_us();
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("total_s=%.3f load_s=%.3f train_s=%.3f rss_mb=%ld samples=%zu features=%zu epochs=%u "
           "best=%u loss=%.4f dev_loss=%.4f dev_accuracy=%.4f temperature=%.3f bytes=%zu",
           (double)(done_us - start_us) / 1e6, (double)(loaded_us - start_us) / 1e6,
           (double)(done_us - loaded_us) / 1e6, usage.ru_maxrss / 1024, report.samples,
           report.features, report.epochs_run, report.epoch_best, report.loss, report.dev_loss,
           report.dev_accuracy, report.temperature, bag_bytes(model).length);
    bag_data_free(train);
    bag_data_free(dev);
    if (paths->test) {
        score(model, paths->test);
    }
    printf("\n");
    bag_free(model);
    bag_free(base);
}

int main(int argc, char **argv)
{
    struct bag_params p;
    bag_params_default(&p);
    struct paths paths = {0};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        const char **target = strcmp(argv[i], "--dev") == 0    ? &paths.dev
                              : strcmp(argv[i], "--test") == 0 ? &paths.test
                              : strcmp(argv[i], "--base") == 0 ? &paths.base
                              : strcmp(argv[i], "--out") == 0  ? &paths.out
                                                               : NULL;
        if (target && value) {
            *target = value;
            i++;
        } else if (strcmp(argv[i], "--set") == 0 && value) {
            set_param(&p, value);
            i++;
        } else if (argv[i][0] != '-' && !paths.train) {
            paths.train = argv[i];
        } else {
            die("unknown argument", argv[i]);
        }
    }
    if (!paths.train) {
        die("usage", "bag_train TRAIN.jsonl [--dev F] [--test F] [--base M] [--out M] "
                     "[--set key=value]...");
    }
    run(&paths, &p);
    return 0;
}
