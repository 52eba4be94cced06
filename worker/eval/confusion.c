/* Counting by sorting: n log n, and the memory of one key a sample while it runs. */
#include "worker/eval/confusion.h"

#include "common/base/mem.h"
#include "worker/eval/eval_int.h"

#include <stdlib.h>

static int compare_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct eval_key *eval__count_keys(uint64_t *keys, size_t count, size_t *ret_distinct)
{
    size_t distinct = 0;
    if (count > 0) {
        qsort(keys, count, sizeof(*keys), compare_keys);
    }
    for (size_t i = 0; i < count; i++) {
        distinct += i == 0 || keys[i] != keys[i - 1];
    }
    struct eval_key *out = mem_new_array(distinct, sizeof(*out));
    if (!out) {
        return NULL;
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && keys[i] == keys[i - 1]) {
            out[at - 1].count++;
        } else {
            out[at++] = (struct eval_key){.key = keys[i], .count = 1};
        }
    }
    *ret_distinct = distinct;
    return out;
}

int eval__check_size(size_t samples, uint32_t classes, struct err_buf *e)
{
    if (samples > EVAL_SAMPLES_MAX) {
        return err_set(e, ERR_LIMIT, "%zu samples to evaluate, the limit is %u", samples,
                       EVAL_SAMPLES_MAX);
    }
    if (classes == 0) {
        return err_set(e, ERR_INVALID, "no classes to evaluate");
    }
    if (classes > EVAL_CLASSES_MAX) {
        return err_set(e, ERR_LIMIT, "%u classes to evaluate, the limit is %u", classes,
                       EVAL_CLASSES_MAX);
    }
    return 0;
}

int eval__check_ids(const uint32_t *ids, size_t samples, uint32_t classes, const char *what,
                    struct err_buf *e)
{
    for (size_t i = 0; i < samples; i++) {
        if (ids[i] >= classes) {
            return err_set(e, ERR_INVALID, "sample %zu: %s class %u is out of 0..%u", i, what,
                           ids[i], classes - 1);
        }
    }
    return 0;
}

static int check(const uint32_t *y_true, const uint32_t *y_pred, size_t samples, uint32_t classes,
                 struct err_buf *e)
{
    int rc = eval__check_size(samples, classes, e);
    if (rc == 0) {
        rc = eval__check_ids(y_true, samples, classes, "true", e);
    }
    if (rc == 0) {
        rc = eval__check_ids(y_pred, samples, classes, "predicted", e);
    }
    return rc;
}

int confusion_init(struct confusion *c, const uint32_t *y_true, const uint32_t *y_pred,
                   size_t samples, uint32_t classes, struct err_buf *e)
{
    int rc = check(y_true, y_pred, samples, classes, e);
    if (rc != 0) {
        return rc;
    }
    uint64_t *keys = mem_new_array(samples, sizeof(*keys));
    if (!keys) {
        return err_set(e, ERR_NOMEM, "no memory for %zu samples", samples);
    }
    for (size_t i = 0; i < samples; i++) {
        keys[i] = (uint64_t)y_true[i] << 32 | y_pred[i];
    }
    size_t cells = 0;
    struct eval_key *counted = eval__count_keys(keys, samples, &cells);
    mem_free(keys);
    struct confusion_cell *cell = counted ? mem_new_array(cells, sizeof(*cell)) : NULL;
    if (!cell) {
        mem_free(counted);
        return err_set(e, ERR_NOMEM, "no memory for the confusion counts");
    }
    for (size_t i = 0; i < cells; i++) {
        cell[i] = (struct confusion_cell){.truth = (uint32_t)(counted[i].key >> 32),
                                          .predicted = (uint32_t)counted[i].key,
                                          .count = counted[i].count};
    }
    mem_free(counted);
    *c = (struct confusion){.samples = samples, .classes = classes, .cells = cells, .cell = cell};
    return 0;
}

void confusion_close(struct confusion *c)
{
    mem_free(c->cell);
    *c = (struct confusion){0};
}

static int compare_cells(const void *a, const void *b)
{
    const struct confusion_cell *x = a;
    const struct confusion_cell *y = b;
    if (x->truth != y->truth) {
        return (x->truth > y->truth) - (x->truth < y->truth);
    }
    return (x->predicted > y->predicted) - (x->predicted < y->predicted);
}

uint64_t confusion_at(const struct confusion *c, uint32_t truth, uint32_t predicted)
{
    struct confusion_cell key = {.truth = truth, .predicted = predicted};
    if (c->cells == 0) {
        return 0;
    }
    const struct confusion_cell *found =
        bsearch(&key, c->cell, c->cells, sizeof(key), compare_cells);
    return found ? found->count : 0;
}
