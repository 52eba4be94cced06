/* Inside of struct bag_model: the artifact's bytes and where its parts lie. Private. */
#ifndef WORKER_MODEL_BAG_MODEL_H
#define WORKER_MODEL_BAG_MODEL_H

#include "common/base/buf.h"
#include "worker/model/bag/bag.h"

/* The towers of the low-rank part: of all features, of words, of characters. */
enum { BAG_TOWER_ALL = 0, BAG_TOWER_WORDS, BAG_TOWER_CHARS, BAG_TOWERS };

/* With towers, the linear part's score counts this much: against three others it would be lost. */
#define BAG_LINEAR_SHARE 1.5f

enum bag_storage { BAG_BORROWED = 0, BAG_OWNED, BAG_MAPPED };

struct bag_model {
    struct span bytes;
    enum bag_storage storage;
    struct text_spec spec;
    double char_weight;
    double temperature;
    uint32_t rows;
    uint32_t label_count;
    struct span labels[BAG_LABELS_MAX];
    /* the table, in place */
    const uint32_t *keys; /* [rows], ascending */
    const float *idf;     /* [rows] */
    const float *scale;   /* [rows]; a weight is scale * code */
    const float *bias;    /* [labels] */
    const int8_t *codes;  /* [rows][labels] */
    /* the low-rank part, also in place; hidden is 0 without one */
    uint32_t hidden;            /* width of a tower */
    uint32_t hidden_rows;       /* rows that have embeddings */
    const uint32_t *hidden_row; /* [rows] which, or BAG_VOCAB_NONE */
    const float *hidden_scale;  /* [hidden_rows][2] */
    const float *hidden_bias;   /* [towers][hidden] */
    const float *out;           /* [labels][towers][hidden] */
    const float *out_bias;      /* [towers][labels] */
    const int8_t *hidden_codes; /* [hidden_rows][2][hidden]: of all, of the row's block */
    /* keys whose top bits are b lie in [first[b], first[b + 1]) */
    uint32_t *first;
    uint32_t shift;
};

/* What training hands over; everything is borrowed. */
struct bag_weights {
    struct text_spec spec;
    double char_weight;
    double temperature;
    uint32_t rows;
    uint32_t label_count;
    const struct span *labels; /* ascending */
    const uint32_t *keys;      /* [rows], ascending */
    const float *idf;
    const float *scale;
    const float *bias;
    const int8_t *codes;
    uint32_t hidden;
    uint32_t hidden_rows;
    const uint32_t *hidden_row;
    const float *hidden_scale;
    const float *hidden_bias;
    const float *out;
    const float *out_bias;
    const int8_t *hidden_codes;
};

/* An artifact whose head is written and whose table is zeros, to be filled in place. */
struct bag_draft {
    struct buf bytes; /* private */
    uint32_t *keys;
    float *idf, *scale, *bias;
    uint32_t *hidden_row;
    float *hidden_scale, *hidden_bias, *out, *out_bias;
    int8_t *codes, *hidden_codes;
};

/* Head and sizes after shape, whose tables are not looked at. ERR_LIMIT, ERR_NOMEM. */
MUST_CHECK int bag__draft_init(struct bag_draft *d, const struct bag_weights *shape,
                               struct err_buf *e);
/* Opens the filled table; the model owns the bytes. The draft is gone in any case. */
MUST_CHECK int bag__draft_finish(struct bag_model **ret, struct bag_draft *d, struct err_buf *e);

/* Builds the artifact and opens it; the model owns the bytes. */
MUST_CHECK int bag__model_make(struct bag_model **ret, const struct bag_weights *w,
                               struct err_buf *e);
/* The row of key, or BAG_VOCAB_NONE (UINT32_MAX). */
uint32_t bag__model_row(const struct bag_model *m, uint32_t key);

/* A feature of a text with the row it has in a model. */
struct bag_hit {
    uint32_t row;
    uint32_t count;
};
/* Scores before temperature and softmax: [labels] floats. hits' rows are all known; work has room
 * for BAG_TOWERS * hidden floats. */
void bag__model_score(const struct bag_model *m, const struct bag_hit *hits, size_t count,
                      float *work, float *ret_scores);
/* In place: scores become probabilities. */
void bag__model_softmax(const struct bag_model *m, float *scores);

/* Order by bytes, as memcmp. */
int bag__compare_spans(struct span a, struct span b);

/* How much a count adds: 1 + ln(count). */
float bag__count_weight(uint32_t count);

#endif
