/*
 * The bag family: hashed words, word pairs and character n-grams into a softmax with a linear
 * and a low-rank part.
 *
 * Build a data set text by text, train on it, write the model, open it, predict. Only features are
 * kept, never texts. The model that training returns is the artifact itself: bag_bytes are the
 * bytes of the file, and predictions of a model just trained and of one opened later are equal.
 *
 * The bytes depend only on parameters, data (in order), base and thread count, on the same kind of
 * CPU. Nothing here logs, reads the clock for anything but the rate it reports, or touches a
 * network.
 */
#ifndef WORKER_MODEL_BAG_BAG_H
#define WORKER_MODEL_BAG_BAG_H

#include "common/base/err.h"
#include "common/base/span.h"
#include "worker/text/features.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BAG_LABELS_MAX = 4096,
    BAG_LABEL_BYTES_MAX = 256,
    BAG_THREADS_MAX = 64,
    BAG_EPOCHS_MAX = 1000,
    BAG_HIDDEN_MAX = 1024,
};
/* Distinct features of one data set; further new ones are ignored. Ids take 24 bits. */
#define BAG_FEATURES_MAX ((uint32_t)1 << 24)
/* The largest artifact that bag_open accepts. */
#define BAG_BYTES_MAX ((size_t)4 << 30)
/* The largest state of a training that is told (see bag_watch). */
#define BAG_STATE_BYTES_MAX ((size_t)2 << 30)

enum bag_class_weight { BAG_CLASS_EQUAL = 0, BAG_CLASS_BALANCED };

struct bag_model;

struct bag_params {
    struct text_spec features;  /* which features; must be equal for data and training */
    uint32_t feature_count_min; /* features in fewer training texts are dropped */
    uint32_t features_max;      /* at most BAG_FEATURES_MAX */
    double strength;    /* how closely to fit: the C of an SVM, the inverse of regularisation */
    double char_weight; /* length of the character block's vector; that of the words is 1 */
    enum bag_class_weight class_weight;
    uint32_t epochs;           /* passes of the linear part at most */
    uint32_t hidden;           /* width of the low-rank part, a multiple of 8; 0 = linear only */
    uint32_t hidden_epochs;    /* passes of the low-rank part */
    uint32_t hidden_rows_max;  /* only so many of the most frequent features have embeddings */
    uint32_t hidden_count_min; /* and only those in at least so many texts */
    uint32_t patience;         /* stop after so many epochs without a better dev loss; 0 = never */
    double tolerance; /* stop when an epoch changes less than this share of what was left */
    uint64_t seed;    /* order of the samples */
    /*
     * Learn the linear part from each sample when it is added and keep none: the cheapest, in time
     * and memory. The order of adding is then the order of learning, so labels must be mixed. Of
     * the settings above only features, feature_count_min, features_max and char_weight apply. A
     * second thread learns while the first prepares; more than two are of no use.
     */
    bool one_pass;
    double rate; /* of one pass: length of its steps; 0 = sqrt(labels) / 2 */
    uint32_t threads;
};

/* The measured defaults, the same for every market. */
void bag_params_default(struct bag_params *p);
/* Sets what of the features a base decides that an earlier release may have trained: char_jamo.
 * base NULL: the default. */
void bag_params_follow(struct bag_params *p, const struct bag_model *base);
/* ERR_INVALID naming the field that is out of bounds. */
MUST_CHECK int bag_params_check(const struct bag_params *p, struct err_buf *e);

/* --- data ------------------------------------------------------------------------------------ */

/* Labelled texts as features. Owned by the caller; one thread at a time. */
struct bag_data;

/* Empty, for texts turned into features after p (read, not kept). NULL and e on failure; free with
 * bag_data_free. */
struct bag_data *bag_data_new(const struct bag_params *p, struct err_buf *e);
void bag_data_free(struct bag_data *d);
/*
 * Adds one sample; text and label are borrowed (with one_pass, learns from it). ERR_DATA when the
 * text is not UTF-8 or the label is empty or too long, ERR_LIMIT (too many labels, text too long),
 * ERR_NOMEM; then nothing was added, and the next may be. With one_pass and threads ERR_NOMEM may
 * be about an earlier sample; then the data set is of no more use, and all later calls say so.
 */
MUST_CHECK int bag_data_add(struct bag_data *d, const char *text, size_t length, const char *label,
                            size_t label_length, struct err_buf *e);
/* Samples added. */
size_t bag_data_count(const struct bag_data *d);
/* Bytes that it holds in memory; with one_pass and threads waits until all is learnt. */
size_t bag_data_bytes(const struct bag_data *d);

/* --- model ----------------------------------------------------------------------------------- */

/* A trained model (struct bag_model) is read only; any number of threads may use one. */

/* Opens artifact bytes, which it keeps (the caller must outlive it; 8-byte alignment or better).
 * ERR_CORRUPT or ERR_UNSUPPORTED (newer format) with the reason. */
MUST_CHECK int bag_open(struct bag_model **ret, struct span bytes, struct err_buf *e);
/* Maps the file and opens it. ERR_IO, or as bag_open. */
MUST_CHECK int bag_open_file(struct bag_model **ret, const char *path, struct err_buf *e);
/* The artifact; valid until bag_free. */
struct span bag_bytes(const struct bag_model *m);
/* Writes the artifact to a new file beside path and renames it into place. ERR_IO. */
MUST_CHECK int bag_write(const struct bag_model *m, const char *path, struct err_buf *e);
void bag_free(struct bag_model *m);

size_t bag_label_count(const struct bag_model *m);
/* Labels are sorted by bytes; not NUL-terminated, valid until bag_free. */
struct span bag_label(const struct bag_model *m, size_t index);
/* The index of that label, or -1. */
ptrdiff_t bag_label_find(const struct bag_model *m, struct span label);
/* Rows of the weight table. */
size_t bag_feature_count(const struct bag_model *m);

/* --- prediction ------------------------------------------------------------------------------ */

/* Working memory for predictions with one model (kept); one thread at a time. */
struct bag_predictor;

struct bag_predictor *bag_predictor_new(const struct bag_model *m, struct err_buf *e);
void bag_predictor_free(struct bag_predictor *p);
/*
 * The probability of each label, in label order, into ret_probs (bag_label_count floats). A text
 * without any known feature gets the model's prior. ERR_DATA when not UTF-8, ERR_LIMIT, ERR_NOMEM.
 */
MUST_CHECK int bag_predict(struct bag_predictor *p, const char *text, size_t length,
                           float *ret_probs, struct err_buf *e);

/* What a model makes of a data set. */
struct bag_score {
    double loss;     /* mean log loss in nats, over samples whose label the model knows */
    double accuracy; /* over all samples; an unknown label counts as wrong */
    size_t known;    /* samples whose label the model knows */
};
/* The data must have been made with the feature settings of the model and without one_pass, else
 * ERR_INVALID. */
MUST_CHECK int bag_loss(const struct bag_model *m, const struct bag_data *d, struct bag_score *ret,
                        struct err_buf *e);

/* --- training -------------------------------------------------------------------------------- */

struct bag_progress {
    uint32_t epoch; /* from 1 */
    uint32_t epochs;
    uint64_t step; /* samples seen, over all epochs */
    uint64_t steps;
    double loss;     /* training loss of this epoch so far */
    double dev_loss; /* after this epoch, or NAN */
    double examples_per_s;
};

/*
 * All that a training needs to go on later as if it had not been interrupted: parts one after the
 * other are the bytes, in the format of README.md. Valid only as long as it is being told.
 */
struct bag_state {
    const struct span *parts;
    size_t count; /* 0: it would be larger than BAG_STATE_BYTES_MAX */
    size_t bytes;
};

/* Told and asked between blocks of samples, in the thread that trains. Any may be NULL. */
struct bag_watch {
    void (*on_progress)(const struct bag_progress *progress, void *data);
    bool (*is_cancelled)(void *data);
    /* Asked after is_cancelled, also when that said yes, and even when threads only wait for each
     * other: true makes all of them stand still and on_state follow. Neither changes the model. */
    bool (*wants_state)(void *data);
    void (*on_state)(const struct bag_state *state, void *data);
    /* Where to go on; NULL: from the start. Gives the next bytes of a state that a training with
     * equal parameters, data and base told, of the same build and kernel; they go straight to where
     * they belong. Asked for no bytes at the end: 0 when nothing is left and all of it was whole.
     * What it fails with, bag_train fails with. */
    int (*read_state)(void *to, size_t bytes, void *data, struct err_buf *e);
    void *data;
};

struct bag_report {
    uint32_t epochs_run;
    uint32_t epoch_best; /* the epoch whose weights the model has */
    double loss;         /* training loss of the last epoch */
    double dev_loss;     /* of the model, or NAN without dev */
    double dev_accuracy; /* of the model, or NAN without dev */
    double temperature;  /* scores are divided by it before the softmax */
    size_t features;
    size_t samples;
};

/*
 * Trains on train, which is sealed by it: no sample can be added after. dev (may be NULL) decides
 * when to stop and the temperature. base (may be NULL) is where to start: labels are matched by
 * name, features by key, what is new starts at zero, and a base label that train lacks is dropped.
 * report and watch may be NULL. On success *ret owns its bytes.
 * With one_pass (as train was made, or ERR_INVALID) it only builds the model: there can be no base
 * and is no state, and dev, made without one_pass, is only scored.
 * ERR_DATA (no samples, fewer than two labels), ERR_INVALID, ERR_CANCELLED, ERR_NOMEM; ERR_CORRUPT
 * for a state to go on from that is none or is of another training.
 */
MUST_CHECK int bag_train(struct bag_model **ret, const struct bag_params *p, struct bag_data *train,
                         const struct bag_data *dev, const struct bag_model *base,
                         const struct bag_watch *watch, struct bag_report *report,
                         struct err_buf *e);

#endif
