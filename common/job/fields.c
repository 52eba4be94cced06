/* What each kind's spec may hold. Tables are sorted by name; test_job checks that. */
#include "common/job/job.h"

#include <string.h>

enum { MARKETS_MAX = 256 };
/* Integers above this are not exact in every JSON reader. */
#define EXACT_MAX 9007199254740992.0

/* One row a field. */
/* clang-format off */
#define INTEGER(n, low, high, otherwise, text)                                                     \
    {.name = n, .type = JOB_FIELD_INTEGER, .min = (low), .max = (high), .fallback = (otherwise),   \
     .help = text}
#define REAL(n, low, high, otherwise, text)                                                        \
    {.name = n, .type = JOB_FIELD_REAL, .min = (low), .max = (high), .fallback = (otherwise),      \
     .help = text}
#define BOOL(n, otherwise, text)                                                                   \
    {.name = n, .type = JOB_FIELD_BOOL, .fallback = (otherwise), .help = text}
#define CHOICE(n, of, otherwise, text)                                                             \
    {.name = n, .type = JOB_FIELD_CHOICE, .choices = (of), .fallback = (otherwise), .help = text}
#define OTHER(n, kind_of, most, otherwise, text)                                                   \
    {.name = n, .type = JOB_FIELD_##kind_of, .max = (most), .fallback = (otherwise), .help = text}

/* Common to all kinds. */
#define MAX_ATTEMPTS                                                                               \
    INTEGER("max_attempts", 1, 100, "3", "how often it is tried before it counts as failed")
#define LABELS                                                                                     \
    OTHER("labels", LABELS, JOB_LABELS_SIZE, NULL, "only on workers that have these: KEY=VALUE,...")
#define MEMORY_MB INTEGER("memory_mb", 16, 1048576, "2048", "memory that its process may use, MiB")
#define THREADS INTEGER("threads", 1, 64, "1", "threads that compute")
#define TIME_LIMIT_S                                                                               \
    INTEGER("time_limit_s", 1, 2592000, "3600", "seconds after which it is stopped")

#define STALL_LIMIT_S                                                                              \
    INTEGER("stall_limit_s", 0, 2592000, NULL,                                                     \
            "seconds without a step after which it is stopped; 0 = never; none = by its own pace")

/* Of training. Defaults NULL: measured ones, kept with the model. */
#define AS_OF                                                                                      \
    OTHER("as_of", TIME, 20, NULL, "use what was known before this time only: samples, and the base")
#define BASE OTHER("base", BASE, 32, "auto", "what training starts from: auto, none, global, "     \
                   "champion or version:ID")
#define CHAR_ACROSS BOOL("char_across", NULL, "character n-grams may span words")
#define CHAR_JAMO                                                                                  \
    BOOL("char_jamo", NULL, "character n-grams take Hangul syllables apart; none = as the base")
#define CHAR_MAX_ INTEGER("char_max", 0, 8, NULL, "longest character n-gram; 0 = none")
#define CHAR_MIN_ INTEGER("char_min", 0, 8, NULL, "shortest character n-gram")
#define CHAR_WEIGHT REAL("char_weight", 0, 100, NULL, "weight of characters; that of words is 1")
#define CHECKPOINT_S                                                                               \
    REAL("checkpoint_s", 0, 86400, "30",                                                           \
         "seconds between checkpoints; from 1 on also as many as keep their cost below 2 %; 0 = "   \
         "only when asked to stop")
#define CLASS_WEIGHT                                                                               \
    CHOICE("class_weight", "none|balanced", NULL, "balanced: rare labels count as much as common")
#define COMPARE_SCRATCH                                                                            \
    BOOL("compare_scratch", "false", "also train from nothing, and record the gain")
#define EPOCHS INTEGER("epochs", 1, 1000, NULL, "passes over the samples, at most")
#define FAMILY CHOICE("family", "bag", "bag", "model family")
#define FEATURE_COUNT_MIN                                                                          \
    INTEGER("feature_count_min", 1, 1e6, NULL, "features in fewer texts are dropped")
#define FEATURES_MAX INTEGER("features_max", 1, 16777216, NULL, "features at most")
#define LIMIT_TRAIN                                                                                \
    INTEGER("limit_train", 0, 1e9, "0", "train on so many samples at most; 0 = all")
#define MARKETS(text) OTHER("markets", MARKETS, MARKETS_MAX, NULL, text)
#define METHOD CHOICE("method", "full", "full", "what is trained")
#define ONE_PASS BOOL("one_pass", NULL, "learn from each sample once, keeping none: fastest; no base")
#define PATIENCE                                                                                   \
    INTEGER("patience", 0, 1000, NULL, "stop after so many epochs without gain on dev; 0 = never")
#define RATE REAL("rate", 0, 1000, NULL, "length of the steps of one_pass; 0 = by the labels")
#define SEED INTEGER("seed", 0, EXACT_MAX, "1", "of every random choice")
#define STRENGTH REAL("strength", 1e-6, 1e6, NULL, "how closely to fit (C of an SVM)")
#define TOLERANCE                                                                                  \
    REAL("tolerance", 0, 1, NULL, "stop when an epoch changes less than this share")
#define WORD_GAP INTEGER("word_gap", 0, 16, NULL, "pairs of words up to so far apart")
#define WORD_MAX INTEGER("word_max", 0, 4, NULL, "longest run of neighbouring words; 0 = no words")
#define BOOTSTRAP                                                                                  \
    INTEGER("bootstrap", 0, 100000, "1000", "resamples for confidence intervals; 0 = none")

/* Of a family. */
#define QUORUM                                                                                     \
    OTHER("quorum", TEXT, 8, "all", "markets that must be done for it to succeed: all, 40 or 95%")
#define STRAGGLERS                                                                                 \
    CHOICE("stragglers", "wait|cancel|leave", "wait", "what becomes of the other markets then")
#define STRAGGLER_WAIT_S                                                                           \
    INTEGER("straggler_wait_s", 0, 604800, "0", "seconds that they are given before that")

static const struct job_field noop_fields[] = {
    INTEGER("allocate_mb", 0, 1048576, "0", "memory to allocate and touch, MiB"),
    CHECKPOINT_S,
    CHOICE("fail", "none|error|permanent|crash|oom|hang", "none", "how to end"),
    INTEGER("hang_after", 0, 1000000, NULL, "make no step after so many, nor end by itself"),
    LABELS, MAX_ATTEMPTS, MEMORY_MB,
    OTHER("note", TEXT, 1024, NULL, "anything; nothing reads it"),
    OTHER("region", REGION, 32, NULL, "whose workers run it, when it has no market"),
    INTEGER("sleep_ms", 0, 86400000, "0", "how long it takes"),
    STALL_LIMIT_S,
    INTEGER("steps", 0, 1000000, "0", "progress reports on the way"),
    THREADS, TIME_LIMIT_S,
};

static const struct job_field finetune_fields[] = {
    AS_OF, BASE, CHAR_ACROSS, CHAR_JAMO, CHAR_MAX_, CHAR_MIN_, CHAR_WEIGHT, CHECKPOINT_S, CLASS_WEIGHT,
    COMPARE_SCRATCH, EPOCHS, FAMILY, FEATURE_COUNT_MIN, FEATURES_MAX, LABELS, LIMIT_TRAIN,
    MARKETS("pool these markets into a global base, instead of one market"),
    MAX_ATTEMPTS, MEMORY_MB, METHOD, ONE_PASS, PATIENCE, RATE, SEED, STALL_LIMIT_S, STRENGTH, THREADS, TIME_LIMIT_S,
    TOLERANCE, WORD_GAP, WORD_MAX,
};

static const struct job_field evaluate_fields[] = {
    AS_OF, BOOTSTRAP,
    OTHER("from_job", JOB, 36, NULL, "the finetune whose version is measured"),
    LABELS, MAX_ATTEMPTS, MEMORY_MB,
    BOOL("promote", "false", "compare with the champion, and promote when not worse"),
    SEED,
    CHOICE("split", "test|dev|train", "test", "samples to measure on"),
    STALL_LIMIT_S,
    THREADS, TIME_LIMIT_S,
    INTEGER("version", 1, EXACT_MAX, NULL, "the version to measure, instead of from_job"),
};

static const struct job_field nightly_fields[] = {
    AS_OF, BASE, BOOTSTRAP, CHAR_ACROSS, CHAR_JAMO, CHAR_MAX_, CHAR_MIN_, CHAR_WEIGHT, CHECKPOINT_S, CLASS_WEIGHT,
    COMPARE_SCRATCH, EPOCHS, FAMILY, FEATURE_COUNT_MIN, FEATURES_MAX, LABELS, LIMIT_TRAIN,
    MARKETS("only these; none = every market"),
    MAX_ATTEMPTS, MEMORY_MB, METHOD, PATIENCE,
    BOOL("promote", "true", "promote what is not worse than the champion; else only measure"), QUORUM, SEED, STALL_LIMIT_S, STRAGGLER_WAIT_S,
    STRAGGLERS, STRENGTH, THREADS, TIME_LIMIT_S, TOLERANCE, WORD_GAP, WORD_MAX,
};

static const struct {
    const struct job_field *fields;
    size_t count;
} tables[JOB_KIND_COUNT] = {
#define TABLE(t) {(t), sizeof(t) / sizeof *(t)}
    [JOB_NOOP] = TABLE(noop_fields),
    [JOB_FINETUNE] = TABLE(finetune_fields),
    [JOB_EVALUATE] = TABLE(evaluate_fields),
    [JOB_NIGHTLY] = TABLE(nightly_fields),
};
/* clang-format on */

const struct job_field *job_fields(enum job_kind kind, size_t *ret_count)
{
    bool is_known = kind >= 1 && kind < JOB_KIND_COUNT;
    *ret_count = is_known ? tables[kind].count : 0;
    return is_known ? tables[kind].fields : NULL;
}

const struct job_field *job_field(enum job_kind kind, const char *name)
{
    size_t count = 0;
    const struct job_field *fields = job_fields(kind, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].name, name) == 0) {
            return &fields[i];
        }
    }
    return NULL;
}
