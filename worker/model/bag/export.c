/* Rows in key order, weights as int8 with one scale a row. */
#include "worker/model/bag/export.h"

#include "common/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct key_row {
    uint32_t key;
    uint32_t id;       /* feature of the data, or BAG_VOCAB_NONE */
    uint32_t base_row; /* where id is none */
};

struct tables {
    struct key_row *rows;
    uint32_t count;
    uint32_t *keys;
    float *idf;
    float *scale;
    int8_t *codes;
    uint32_t *hidden_row;
    float *hidden_scale;
    int8_t *hidden_codes;
    uint32_t hidden_count;
    float *hidden_bias;
    float *out;
    float *out_bias;
    float *row; /* one row of the base */
};

static int compare_keys(const void *a, const void *b)
{
    const struct key_row *x = a;
    const struct key_row *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

/* All features of the data and the rows of the base that it did not touch, by key. */
static int list_rows(struct tables *t, const struct bag_problem *b, struct err_buf *e)
{
    const struct bag_vocab *v = &b->data->vocab;
    size_t room = b->features + (b->base ? b->base->rows : 0u);
    t->rows = mem_new_array(room, sizeof *t->rows);
    if (!t->rows) {
        return err_set(e, ERR_NOMEM, "cannot list %zu rows", room);
    }
    for (uint32_t id = 0; id < b->features; id++) {
        t->rows[t->count++] = (struct key_row){v->keys[id], id, 0};
    }
    for (uint32_t row = 0; b->base && row < b->base->rows; row++) {
        if (bag__vocab_find(v, b->base->keys[row]) == BAG_VOCAB_NONE) {
            t->rows[t->count++] = (struct key_row){b->base->keys[row], BAG_VOCAB_NONE, row};
        }
    }
    qsort(t->rows, t->count, sizeof *t->rows, compare_keys);
    return t->count <= BAG_FEATURES_MAX
               ? 0
               : err_set(e, ERR_LIMIT, "the model would have %u features; the limit is %u",
                         t->count, BAG_FEATURES_MAX);
}

static int allocate(struct tables *t, const struct bag_problem *b, uint32_t width,
                    struct err_buf *e)
{
    t->keys = mem_new_array(t->count, sizeof *t->keys);
    t->idf = mem_new_array(t->count, sizeof *t->idf);
    t->scale = mem_new_array(t->count, sizeof *t->scale);
    t->codes = mem_new_array((size_t)t->count * b->labels, 1);
    t->hidden_row = mem_new_array(t->count, sizeof *t->hidden_row);
    t->row = mem_new_array(b->stride + width, sizeof *t->row);
    if (!t->keys || !t->idf || !t->scale || !t->codes || !t->hidden_row || !t->row) {
        return err_set(e, ERR_NOMEM, "cannot build a model of %u rows", t->count);
    }
    return 0;
}

static void tables_close(struct tables *t)
{
    mem_free(t->rows);
    mem_free(t->keys);
    mem_free(t->idf);
    mem_free(t->scale);
    mem_free(t->codes);
    mem_free(t->hidden_row);
    mem_free(t->hidden_scale);
    mem_free(t->hidden_codes);
    mem_free(t->hidden_bias);
    mem_free(t->out);
    mem_free(t->out_bias);
    mem_free(t->row);
}

float bag__quantise(const float *row, size_t count, int8_t *codes)
{
    float largest = 0;
    for (size_t k = 0; k < count; k++) {
        largest = fabsf(row[k]) > largest ? fabsf(row[k]) : largest;
    }
    float scale = largest / 127.0f;
    float inverse = scale > 0 ? 1.0f / scale : 0;
    for (size_t k = 0; k < count; k++) {
        codes[k] = (int8_t)lrintf(row[k] * inverse);
    }
    return scale;
}

static void fill_linear(struct tables *t, const struct bag_problem *b,
                        const struct bag_linear *linear)
{
    for (uint32_t i = 0; i < t->count; i++) {
        const struct key_row *from = &t->rows[i];
        const float *row = t->row;
        if (from->id == BAG_VOCAB_NONE) {
            bag__linear_base_row(b, from->base_row, t->row);
            t->idf[i] = b->base->idf[from->base_row];
        } else {
            row = linear->table + (size_t)from->id * b->row;
            t->idf[i] = b->idf[from->id];
        }
        t->keys[i] = from->key;
        float scale = bag__quantise(row, b->labels, t->codes + (size_t)i * b->labels);
        t->scale[i] = t->idf[i] > 0 ? scale / t->idf[i] : 0;
    }
}

/* Whether a row that the data did not touch has an embedding that can be kept as it is. */
static bool keeps_base(const struct bag_problem *b, const struct bag_hidden *h,
                       const struct key_row *row)
{
    return row->id == BAG_VOCAB_NONE && b->base->hidden == h->width &&
           b->base->hidden_row[row->base_row] != BAG_VOCAB_NONE;
}

/* The towers' output rows, bias and out_bias side by side. */
static void join_towers(struct tables *t, const struct bag_problem *b, const struct bag_hidden *h)
{
    size_t width = h->width;
    for (size_t tower = 0; tower < BAG_TOWERS; tower++) {
        const struct bag_tower *from = &h->towers[tower];
        memcpy(t->hidden_bias + tower * width, from->bias, width * sizeof *from->bias);
        memcpy(t->out_bias + tower * b->labels, from->out_bias, b->labels * sizeof(float));
        for (size_t k = 0; k < b->labels; k++) {
            memcpy(t->out + (k * BAG_TOWERS + tower) * width, from->out + k * width,
                   width * sizeof *from->out);
        }
    }
}

static int allocate_hidden(struct tables *t, const struct bag_problem *b, size_t width,
                           struct err_buf *e)
{
    t->hidden_scale = mem_new_array((size_t)t->hidden_count * 2, sizeof *t->hidden_scale);
    t->hidden_codes = mem_new_array(t->hidden_count * 2 * width, 1);
    t->hidden_bias = mem_new_array(BAG_TOWERS * width, sizeof *t->hidden_bias);
    t->out = mem_new_array(BAG_TOWERS * width * b->labels, sizeof *t->out);
    t->out_bias = mem_new_array((size_t)BAG_TOWERS * b->labels, sizeof *t->out_bias);
    if (!t->hidden_scale || !t->hidden_codes || !t->hidden_bias || !t->out || !t->out_bias) {
        return err_set(e, ERR_NOMEM, "cannot build a model of %u embeddings", t->hidden_count);
    }
    return 0;
}

static int fill_hidden(struct tables *t, const struct bag_problem *b, const struct bag_hidden *h,
                       struct err_buf *e)
{
    size_t width = h->width;
    for (uint32_t i = 0; i < t->count; i++) {
        bool has = t->rows[i].id < h->rows || keeps_base(b, h, &t->rows[i]);
        t->hidden_row[i] = has ? t->hidden_count++ : BAG_VOCAB_NONE;
    }
    int rc = allocate_hidden(t, b, width, e);
    for (uint32_t i = 0; rc == 0 && i < t->count; i++) {
        size_t at = t->hidden_row[i];
        if (at == BAG_VOCAB_NONE) {
            continue;
        }
        for (size_t half = 0; half < 2; half++) {
            int8_t *codes = t->hidden_codes + (at * 2 + half) * width;
            if (t->rows[i].id != BAG_VOCAB_NONE) {
                const float *row = h->embed + ((size_t)t->rows[i].id * 2 + half) * width;
                t->hidden_scale[at * 2 + half] = bag__quantise(row, width, codes);
            } else {
                size_t from = (size_t)b->base->hidden_row[t->rows[i].base_row] * 2 + half;
                t->hidden_scale[at * 2 + half] = b->base->hidden_scale[from];
                memcpy(codes, b->base->hidden_codes + from * width, width);
            }
        }
    }
    if (rc == 0) {
        join_towers(t, b, h);
    }
    return rc;
}

int bag__export(struct bag_model **ret, const struct bag_problem *b,
                const struct bag_linear *linear, const struct bag_hidden *hidden,
                double temperature, struct err_buf *e)
{
    struct tables t = {0};
    int rc = list_rows(&t, b, e);
    rc = rc ? rc : allocate(&t, b, hidden ? hidden->width : 0, e);
    if (rc == 0) {
        fill_linear(&t, b, linear);
        rc = hidden ? fill_hidden(&t, b, hidden, e) : 0;
    }
    const struct bag_weights w = {.spec = b->p->features,
                                  .char_weight = b->p->char_weight,
                                  .temperature = temperature,
                                  .rows = t.count,
                                  .label_count = b->labels,
                                  .labels = b->names,
                                  .keys = t.keys,
                                  .idf = t.idf,
                                  .scale = t.scale,
                                  .bias = linear->table + (size_t)b->features * b->row,
                                  .codes = t.codes,
                                  .hidden = hidden ? hidden->width : 0,
                                  .hidden_rows = t.hidden_count,
                                  .hidden_row = t.hidden_row,
                                  .hidden_scale = t.hidden_scale,
                                  .hidden_bias = t.hidden_bias,
                                  .out = t.out,
                                  .out_bias = t.out_bias,
                                  .hidden_codes = t.hidden_codes};
    rc = rc ? rc : bag__model_make(ret, &w, e);
    tables_close(&t);
    return rc;
}
