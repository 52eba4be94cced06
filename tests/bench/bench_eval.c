/*
 * How long one evaluation takes: scores, 1,000 resamples for the intervals, 1,000 for calibration,
 * 10,000 paired ones for the comparison. Prints one line a size; medians of 5.
 *
 *   bin/bench_eval
 */
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "worker/eval/bootstrap.h"
#include "worker/eval/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 5

enum step { STEP_SCORES = 0, STEP_INTERVALS, STEP_CALIBRATION, STEP_PAIRED, STEP_COUNT };

struct answers {
    uint32_t samples;
    uint32_t classes;
    uint32_t *y_true;
    uint32_t *champion;
    uint32_t *challenger;
    struct calibration_sample *calibration;
};

static void *must(void *block)
{
    CHECK(block != NULL);
    return block;
}

/* The champion is right in 87 of 100, the challenger answers one in ten anew. */
static void answers_init(struct answers *a, uint32_t samples, uint32_t classes)
{
    struct rng r = {.key = samples};
    *a = (struct answers){.samples = samples, .classes = classes};
    a->y_true = must(mem_new_array(samples, sizeof(*a->y_true)));
    a->champion = must(mem_new_array(samples, sizeof(*a->champion)));
    a->challenger = must(mem_new_array(samples, sizeof(*a->challenger)));
    a->calibration = must(mem_new_array(samples, sizeof(*a->calibration)));
    for (uint32_t i = 0; i < samples; i++) {
        uint32_t truth = rng_below(&r, classes);
        uint32_t other = rng_below(&r, classes);
        double u = rng_unit(&r);
        a->y_true[i] = truth;
        a->champion[i] = rng_below(&r, 100) < 87 ? truth : other;
        a->challenger[i] = rng_below(&r, 10) ? a->champion[i] : rng_below(&r, 4) ? truth : other;
        a->calibration[i] = (struct calibration_sample){u, u, u, rng_below(&r, 2) == 0};
    }
}

static void answers_close(struct answers *a)
{
    mem_free(a->y_true);
    mem_free(a->champion);
    mem_free(a->challenger);
    mem_free(a->calibration);
}

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void evaluate(const struct answers *a, double ms[STEP_COUNT])
{
    const struct bootstrap_params params = {.resamples = BOOTSTRAP_RESAMPLES,
                                            .level = BOOTSTRAP_LEVEL};
    const struct compare_params how = compare_defaults(0);
    struct interval intervals[BOOTSTRAP_METRIC_COUNT];
    struct confusion counts;
    struct eval_metrics m;
    struct comparison c;
    double start = now_ms();
    CHECK(confusion_init(&counts, a->y_true, a->champion, a->samples, a->classes, NULL) == 0);
    CHECK(eval_metrics_init(&m, &counts, NULL, 0, ZERO_DIVISION_0, NULL) == 0);
    double scored = now_ms();
    CHECK(bootstrap_metrics(intervals, &counts, &m, &params, NULL) == 0);
    double bounded = now_ms();
    CHECK(bootstrap_calibration(intervals, a->calibration, a->samples, &params, NULL) == 0);
    double calibrated = now_ms();
    CHECK(comparison_init(&c, a->y_true, a->champion, a->challenger, a->samples, a->classes, &how,
                          NULL) == 0);
    ms[STEP_SCORES] = scored - start;
    ms[STEP_INTERVALS] = bounded - scored;
    ms[STEP_CALIBRATION] = calibrated - bounded;
    ms[STEP_PAIRED] = now_ms() - calibrated;
    comparison_close(&c);
    eval_metrics_close(&m);
    confusion_close(&counts);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench(uint32_t samples, uint32_t classes)
{
    struct answers a;
    double ms[STEP_COUNT][ROUNDS];
    answers_init(&a, samples, classes);
    for (int round = 0; round < ROUNDS; round++) {
        double one[STEP_COUNT];
        evaluate(&a, one);
        for (int step = 0; step < STEP_COUNT; step++) {
            ms[step][round] = one[step];
        }
    }
    for (int step = 0; step < STEP_COUNT; step++) {
        qsort(ms[step], ROUNDS, sizeof(ms[step][0]), compare_doubles);
    }
    (void)printf("samples=%u classes=%u scores_ms=%.2f intervals_ms=%.1f calibration_ms=%.1f "
                 "paired_ms=%.1f\n",
                 samples, classes, ms[STEP_SCORES][ROUNDS / 2], ms[STEP_INTERVALS][ROUNDS / 2],
                 ms[STEP_CALIBRATION][ROUNDS / 2], ms[STEP_PAIRED][ROUNDS / 2]);
    answers_close(&a);
}

int main(void)
{
    bench(64, 8);
    bench(2974, 60);
    bench(3080, 77);
    bench(50000, 2);
    return 0;
}
