/*
 * Champion against challenger on the very same samples.
 *
 *   McNemar    exact, two-sided, on the samples that only one of the two answers right.
 *   bootstrap  paired: each resample draws the same samples for both; interval of
 *              challenger - champion for macro-F1 and accuracy.
 *   classes    does one class get much worse while the average does not show it.
 *
 * Macro-F1 here averages over the classes that occur in the truth, for both alike. (The macro_f1 of
 * metrics.h also has a row for a class that a model only predicts, so two models would be averaged
 * over different rows. Such a prediction still costs here: the true class misses it.)
 * A class that a resample does not contain is left out of that resample, for both.
 */
#ifndef WORKER_EVAL_COMPARE_H
#define WORKER_EVAL_COMPARE_H

#include "common/base/err.h"
#include "worker/eval/bootstrap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COMPARE_RESAMPLES 10000
#define COMPARE_MIN_SUPPORT 5 /* the sign test below is what keeps noise out */
#define COMPARE_COLLAPSE_DROP 0.25
#define COMPARE_COLLAPSE_ALPHA 0.01

/* How the two differ on a set of samples. */
struct discordance {
    uint64_t only_champion;   /* right where the challenger is wrong */
    uint64_t only_challenger; /* right where the champion is wrong */
};

struct compare_class {
    uint32_t label;
    uint64_t support;
    double champion_recall;
    double champion_f1;
    double challenger_recall;
    double challenger_f1;
    double recall_p; /* one-sided sign test: chance of such a loss of recall between equals */
    double f1_p;     /* the same for right and wrong "is it this class", false alarms included */
    bool is_collapsed;
};

struct compare_params {
    struct bootstrap_params bootstrap;
    uint64_t min_support; /* classes with fewer samples are not judged; 0 counts as 1 */
    /*
     * A judged class has collapsed when its recall or its F1 falls by more than collapse_drop and
     * the matching p is at most collapse_alpha. The test is there because a drop alone is mostly
     * noise: of two equally good models of 60 classes with 8 samples each that answer one sample in
     * five differently, three nights in four show a drop above 0.25 in some class; with the test
     * less than two in a hundred. A class that is lost altogether is caught from 7 samples on.
     * collapse_alpha 1 switches the test off.
     */
    double collapse_drop;  /* 0 .. 1 */
    double collapse_alpha; /* 0 .. 1 */
};

struct comparison {
    /* read only */
    uint64_t samples;
    double champion_accuracy;
    double challenger_accuracy;
    double champion_macro_f1;
    double challenger_macro_f1;
    struct interval accuracy_difference; /* challenger - champion */
    struct interval macro_f1_difference;
    double macro_f1_worse_share; /* of resamples with a difference below 0, half of those at 0 */
    struct discordance discordance;
    double mcnemar_p;
    size_t rows; /* classes that occur in the truth, by id */
    struct compare_class *row;
    size_t collapsed; /* rows with is_collapsed */
    size_t worst;     /* the collapsed row with the largest drop; valid when collapsed > 0 */
};

/* The defaults above, with this seed. */
struct compare_params compare_defaults(uint64_t seed);

/* Two-sided exact McNemar test; 1 when the two never differ. O(min of both). */
double compare_mcnemar_p(struct discordance d);
/* Chance that one of two equals loses at least as often as the challenger did here. */
double compare_loss_p(struct discordance d);

/*
 * Compares answers to samples questions (all borrowed; ids below classes). ERR_DATA without
 * samples, ERR_INVALID for an id or a parameter out of bounds (which one is in the message),
 * ERR_LIMIT, ERR_NOMEM. Free with comparison_close; on failure there is nothing to free.
 */
MUST_CHECK int comparison_init(struct comparison *c, const uint32_t *y_true,
                               const uint32_t *champion, const uint32_t *challenger, size_t samples,
                               uint32_t classes, const struct compare_params *params,
                               struct err_buf *e);
void comparison_close(struct comparison *c);

#endif
