/*
 * One sorted list of label names for all who take part in an evaluation.
 *
 * The truth, the champion and the challenger may each know other labels. Their union, sorted by
 * bytes (which for UTF-8 is by code point, as scikit-learn sorts), gives every label the id that
 * the rest of this folder counts with.
 */
#ifndef WORKER_EVAL_LABELS_H
#define WORKER_EVAL_LABELS_H

#include "common/base/err.h"

#include <stdint.h>

#define LABEL_NONE UINT32_MAX

struct label_set {
    /* read only */
    uint32_t count;
    char **name; /* [count], sorted, distinct; owned */
};

void label_set_init(struct label_set *s);
void label_set_close(struct label_set *s);
/* Adds count NUL-terminated names (borrowed, copied), known ones once. Earlier ids change.
 * ERR_LIMIT above EVAL_CLASSES_MAX labels and ERR_NOMEM leave the set as it was. */
MUST_CHECK int label_set_add(struct label_set *s, const char *const *names, uint32_t count,
                             struct err_buf *e);
/* The id of name, or LABEL_NONE. */
uint32_t label_set_find(const struct label_set *s, const char *name);

#endif
