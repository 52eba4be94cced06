/*
 * May the challenger take the champion's place? A verdict with its reason and its numbers.
 *
 * The rule, in this order; d is challenger - champion of macro-F1 on the same samples, [low, high]
 * its paired bootstrap interval (compare.h):
 *   1. no or fewer than min_samples test samples                  keep     no_test_samples,
 *                                                                          too_few_test_samples
 *   2. d < -tolerance                                             keep     worse
 *   3. high < 0                                                   keep     significantly_worse
 *   4. a class with enough support has collapsed (compare.h)      keep     class_collapsed
 *   5. mode PROVEN and low <= -tolerance                          keep     not_proven
 *      mode BETTER and low <= 0                                   keep     not_better
 *   6. low > 0                                                    promote  better
 *      else                                                       promote  not_worse
 *
 * Why the default mode BALANCED has no rule 5. Classic non-inferiority (PROVEN) wants
 * low > -tolerance. When two models answer one sample in ten differently, the interval of the
 * difference is about +-1 point wide for 3,000 samples and +-8 for 60, so with a tolerance of 0.01
 * a small market would never take a new version, however good, and its champion would only age.
 * BALANCED asks what the data can answer: with few samples the point difference must be within the
 * tolerance; the more samples there are, the narrower the interval, and the smaller the loss that
 * rule 3 refuses: with many it refuses any real loss, also one within the tolerance. What it cannot
 * see is a slow slide of many steps, each too small for the test set; the market_trend report shows
 * that, and mode PROVEN with a large test set stops it.
 *
 * The first version of a market has nobody to be compared with. It is promoted when its accuracy is
 * above that of always answering the most frequent true class of the same samples.
 */
#ifndef WORKER_EVAL_GATE_H
#define WORKER_EVAL_GATE_H

#include "common/base/err.h"
#include "worker/eval/compare.h"
#include "worker/eval/confusion.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GATE_TOLERANCE 0.01
#define GATE_MIN_SAMPLES 1
#define GATE_NUMBERS_MAX 24

enum gate_mode { GATE_MODE_BALANCED = 0, GATE_MODE_PROVEN, GATE_MODE_BETTER, GATE_MODE_COUNT };

/* reason, its stable name, does it promote. The names are stored in records: never rename one. */
#define GATE_REASON_LIST(X)                                                                        \
    X(NO_TEST_SAMPLES, "no_test_samples", false)                                                   \
    X(TOO_FEW_TEST_SAMPLES, "too_few_test_samples", false)                                         \
    X(FIRST_VERSION_BEATS_MAJORITY, "first_version_beats_majority", true)                          \
    X(FIRST_VERSION_NOT_ABOVE_MAJORITY, "first_version_not_above_majority", false)                 \
    X(WORSE, "worse", false)                                                                       \
    X(SIGNIFICANTLY_WORSE, "significantly_worse", false)                                           \
    X(CLASS_COLLAPSED, "class_collapsed", false)                                                   \
    X(NOT_PROVEN, "not_proven", false)                                                             \
    X(NOT_BETTER, "not_better", false)                                                             \
    X(NOT_WORSE, "not_worse", true)                                                                \
    X(BETTER, "better", true)

enum gate_reason {
#define X(reason, name, promotes) GATE_REASON_##reason,
    GATE_REASON_LIST(X)
#undef X
        GATE_REASON_COUNT
};

struct gate_params {
    enum gate_mode mode;
    double tolerance;     /* of macro-F1, 0 .. 1; the market's setting */
    uint64_t min_samples; /* fewer test samples promote nothing; 0 counts as 1 */
};

struct gate_number {
    const char *name; /* stable, snake_case; static storage */
    double value;
};

struct gate_verdict {
    bool is_promoted;
    enum gate_reason reason;
    char sentence[512]; /* for people, UTF-8, one line; holds label names, never texts */
    size_t numbers;
    struct gate_number number[GATE_NUMBERS_MAX]; /* what was decided on, to be stored; finite */
};

/* BALANCED, GATE_TOLERANCE, GATE_MIN_SAMPLES. */
struct gate_params gate_defaults(void);
/* The stable name, "not_worse". Static storage. */
const char *gate_reason_name(enum gate_reason reason);
/* "balanced", "proven", "better". Static storage. */
const char *gate_mode_name(enum gate_mode mode);
/* The mode of that name; GATE_MODE_COUNT when there is none. */
enum gate_mode gate_mode_from_name(const char *name);

/* ERR_INVALID for a tolerance or mode out of bounds. */
MUST_CHECK int gate_check(const struct gate_params *params, struct err_buf *e);

/*
 * The verdict on a challenger. c may be NULL: there were no test samples. names[id] are the labels
 * (borrowed; NULL prints ids). params must pass gate_check.
 */
void gate_decide(struct gate_verdict *ret, const struct comparison *c, const char *const *names,
                 const struct gate_params *params);
/* The verdict on a market's first version from its confusion counts (may have no samples). */
void gate_decide_first(struct gate_verdict *ret, const struct confusion *c,
                       const struct gate_params *params);

#endif
