/*
 * One pass of AdaGrad over the softmax loss, with one sum of squares a row, as in hidden.c: a row's
 * weights are of one kind, and a sum each would double the table.
 *
 * Each block of a text has a fixed length and there is no idf: how rare a feature is shows in how
 * little its sum has grown, so that its steps are long. Two labels need one weight a feature, since
 * the other's is always its negative.
 *
 * The slots are a hash table with linear probing that is filled in the order of keys: growing it is
 * one sequential sweep, and so is sorting it in the end.
 */
#include "worker/model/bag/stream.h"

#include "common/base/mem.h"
#include "worker/model/bag/export.h"
#include "worker/model/bag/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SLOT_BITS_MIN = 10, KEY_BITS = 32, ALIGN_FLOATS = 16, TWO = 2 };

static const float bias_value = 0.3f; /* that of words together is 1 */
static const float tiny = 1e-8f;      /* as in the kernels */

void bag__stream_init(struct bag_stream *s, const struct bag_params *p)
{
    *s = (struct bag_stream){.p = *p, .kernels = bag__kernels(), .labels = TWO};
}

void bag__stream_close(struct bag_stream *s)
{
    mem_free(s->slots);
    mem_free(s->table_block);
    mem_free(s->seen);
    mem_free(s->scores);
    mem_free(s->waiting);
    mem_free(s->terms);
    mem_free(s->places);
    *s = (struct bag_stream){0};
}

size_t bag__stream_bytes(const struct bag_stream *s)
{
    return s->slot_count * sizeof *s->slots +
           (size_t)s->row_room * (s->labels + 1) * sizeof *s->table +
           s->terms_room * (sizeof *s->terms + sizeof *s->places + sizeof *s->waiting);
}

/* --- slots --------------------------------------------------------------------------------------
 */

/* The slot of key, or the empty one where it would go. */
static inline size_t find(const struct bag_stream *s, uint32_t key)
{
    size_t at = key >> s->shift;
    while (s->slots[at].texts != 0 && s->slots[at].key != key) {
        at = (at + 1) & (s->slot_count - 1);
    }
    return at;
}

static int resize_slots(struct bag_stream *s, uint32_t bits, struct err_buf *e)
{
    struct bag_slot *old = s->slots;
    size_t old_count = s->slot_count;
    struct bag_slot *slots = mem_new_large((size_t)1 << bits, sizeof *slots);
    if (!slots) {
        return err_set(e, ERR_NOMEM, "cannot hold %zu features", s->used);
    }
    s->slots = slots;
    s->slot_count = (size_t)1 << bits;
    s->shift = KEY_BITS - bits;
    for (size_t i = 0; i < old_count; i++) {
        if (old[i].texts != 0) {
            s->slots[find(s, old[i].key)] = old[i];
        }
    }
    mem_free(old);
    return 0;
}

/* So that more new features leave a third of the slots empty. */
static int reserve_slots(struct bag_stream *s, size_t more, struct err_buf *e)
{
    size_t need = s->used + more < s->p.features_max ? s->used + more : s->p.features_max;
    if (need + need / 2 < s->slot_count) {
        return 0;
    }
    uint32_t bits = SLOT_BITS_MIN;
    while (((size_t)1 << bits) <= need + need / 2) {
        bits++;
    }
    return resize_slots(s, bits, e);
}

/* --- rows of more than two labels ---------------------------------------------------------------
 */

/* Makes the table [room][labels] with the rows that there are; each keeps its first columns, the
 * others become 0. Neither gets smaller. */
static int resize_table(struct bag_stream *s, uint32_t room, uint32_t labels, struct err_buf *e)
{
    size_t before = (size_t)(s->table - s->table_block);
    float *scores = mem_resize_array(s->scores, labels, sizeof *scores);
    s->scores = scores ? scores : s->scores;
    float *seen = scores ? mem_resize_array(s->seen, room, sizeof *seen) : NULL;
    s->seen = seen ? seen : s->seen;
    float *block =
        seen && (size_t)room < SIZE_MAX / sizeof *block / labels - ALIGN_FLOATS
            ? mem_resize_array(s->table_block, (size_t)room * labels + ALIGN_FLOATS, sizeof *block)
            : NULL;
    if (!block) {
        return err_set(e, ERR_NOMEM, "cannot hold %u features by %u labels", room, labels);
    }
    size_t after = (64 - (uintptr_t)block % 64) % 64 / sizeof *block;
    if (s->rows && after != before) {
        memmove(block + after, block + before, (size_t)s->rows * s->labels * sizeof *block);
    }
    s->table_block = block;
    s->table = block + after;
    for (size_t row = s->rows; row-- > 0 && labels != s->labels;) {
        memmove(s->table + row * labels, s->table + row * s->labels, s->labels * sizeof *block);
        memset(s->table + row * labels + s->labels, 0, (labels - s->labels) * sizeof *block);
    }
    s->row_room = room;
    s->labels = labels;
    return 0;
}

static uint32_t new_row(struct bag_stream *s)
{
    memset(s->table + (size_t)s->rows * s->labels, 0, s->labels * sizeof *s->table);
    s->seen[s->rows] = 0;
    return s->rows++;
}

static int reserve_rows(struct bag_stream *s, size_t more, struct err_buf *e)
{
    size_t need = s->rows + more;
    size_t room = need + need / 4 + 64;
    size_t most = (size_t)s->p.features_max + 1;
    return need <= s->row_room || s->row_room >= most
               ? 0
               : resize_table(s, (uint32_t)(room < most ? room : most), s->labels, e);
}

/* From one weight a feature to rows: the third label has come. */
static int make_rows(struct bag_stream *s, uint32_t labels, struct err_buf *e)
{
    size_t need = 1;
    for (size_t i = 0; i < s->slot_count; i++) {
        need += s->slots[i].texts >= s->p.feature_count_min;
    }
    int rc = resize_table(s, (uint32_t)need, labels, e);
    if (rc) {
        return rc;
    }
    uint32_t row = new_row(s);
    s->table[0] = -s->bias;
    s->table[1] = s->bias;
    s->seen[row] = s->bias_seen;
    for (size_t i = 0; i < s->slot_count; i++) {
        struct bag_slot *slot = &s->slots[i];
        if (slot->texts >= s->p.feature_count_min) {
            float weight = slot->weight;
            row = new_row(s);
            s->table[(size_t)row * labels] = -weight;
            s->table[(size_t)row * labels + 1] = weight;
            s->seen[row] = slot->seen;
            slot->row = row;
        }
    }
    return 0;
}

/* Labels come early, so small steps cost little; rows that are too wide would cost all the way. */
static int reserve_labels(struct bag_stream *s, uint32_t count, struct err_buf *e)
{
    if (count <= s->labels) {
        return 0;
    }
    uint32_t step = s->labels / 4 / BAG_LANES * BAG_LANES;
    uint32_t labels = s->labels == TWO ? BAG_LANES : s->labels + (step ? step : BAG_LANES);
    labels = labels < count ? (count + BAG_LANES - 1) / BAG_LANES * BAG_LANES : labels;
    return s->labels == TWO ? make_rows(s, labels, e) : resize_table(s, s->row_room, labels, e);
}

/* --- learning -----------------------------------------------------------------------------------
 */

static float rate_of(const struct bag_stream *s, uint32_t labels)
{
    /* the more labels, the smaller a gradient's parts; found on dev parts, flat around */
    return s->p.rate > 0 ? (float)s->p.rate : 0.5f * sqrtf((float)(labels > TWO ? labels : TWO));
}

/* The slots of the sample that waits, each counted once more, into places; those that were not seen
 * often enough are left out. Terms get the values, so that each block has its length. */
static size_t load_terms(struct bag_stream *s)
{
    float square[TEXT_BLOCK_COUNT] = {0};
    size_t count = 0;
    for (size_t i = 0; i < s->waiting_count; i++) {
        const struct text_feature *f = &s->waiting[i];
        size_t at = find(s, f->key);
        struct bag_slot *slot = &s->slots[at];
        if (slot->texts == 0) {
            if (s->used >= s->p.features_max) {
                continue;
            }
            s->used++;
            slot->key = f->key;
        }
        slot->texts += slot->texts < UINT32_MAX;
        if (slot->texts < s->p.feature_count_min) {
            continue;
        }
        float value = f->count == 1 ? 1.0f : bag__count_weight(f->count);
        if (s->labels > TWO && slot->texts == s->p.feature_count_min) {
            slot->row = new_row(s);
        }
        s->places[count] = (uint32_t)at;
        s->terms[count++] = (struct bag_term){.row = f->key & 1, .value = value};
        square[text_key_block(f->key)] += value * value;
    }
    float scale[TEXT_BLOCK_COUNT];
    for (int k = 0; k < TEXT_BLOCK_COUNT; k++) {
        float length = k == TEXT_BLOCK_CHARS ? (float)s->p.char_weight : 1.0f;
        scale[k] = square[k] > 0 ? length / sqrtf(square[k]) : 0;
    }
    for (size_t i = 0; i < count; i++) {
        s->terms[i].value *= scale[s->terms[i].row];
    }
    return count;
}

static float learn_two(struct bag_stream *s, size_t count, uint32_t label)
{
    float score = s->bias * bias_value;
    for (size_t i = 0; i < count; i++) {
        score += s->terms[i].value * s->slots[s->places[i]].weight;
    }
    float other = 1.0f / (1.0f + expf(label ? 2 * score : -2 * score)); /* of the wrong label */
    float g = label ? -other : other;
    float step = -rate_of(s, TWO) * g;
    float square = 2 * g * g;
    for (size_t i = 0; i < count; i++) {
        struct bag_slot *slot = &s->slots[s->places[i]];
        float value = s->terms[i].value;
        slot->seen += value * value * square;
        slot->weight += step * value / sqrtf(slot->seen + tiny);
    }
    s->bias_seen += bias_value * bias_value * square;
    s->bias += step * bias_value / sqrtf(s->bias_seen + tiny);
    return -logf(1.0f - other + tiny);
}

static float learn_many(struct bag_stream *s, size_t count, uint32_t label, uint32_t label_count)
{
    for (size_t i = 0; i < count; i++) {
        s->terms[i].row = s->slots[s->places[i]].row;
    }
    s->terms[count++] = (struct bag_term){.row = 0, .value = bias_value};
    float *p = s->scores;
    memset(p, 0, s->labels * sizeof *p);
    s->kernels->gather(p, s->table, s->labels, s->labels, s->terms, count);
    for (uint32_t k = label_count; k < s->labels; k++) {
        p[k] = -1e30f;
    }
    float score = p[label];
    float loss = s->kernels->softmax(p, s->labels) - score;
    for (uint32_t k = label_count; k < s->labels; k++) {
        p[k] = 0;
    }
    p[label] -= 1;
    float square = 0;
    for (uint32_t k = 0; k < label_count; k++) {
        square += p[k] * p[k];
    }
    s->kernels->adagrad(s->table, s->labels, s->labels, s->seen, 1, s->terms, count, p,
                        rate_of(s, label_count), square);
    return loss;
}

static void learn_waiting(struct bag_stream *s, uint32_t label_count)
{
    if (!s->has_waiting) {
        return;
    }
    size_t count = load_terms(s);
    s->loss += (double)(s->labels > TWO ? learn_many(s, count, s->waiting_label, label_count)
                                        : learn_two(s, count, s->waiting_label));
    s->samples++;
    s->has_waiting = false;
}

static int reserve_terms(struct bag_stream *s, size_t count, struct err_buf *e)
{
    if (count < s->terms_room) {
        return 0;
    }
    size_t room = count + count / 2 + 64;
    struct bag_term *terms = mem_resize_array(s->terms, room, sizeof *terms);
    s->terms = terms ? terms : s->terms;
    uint32_t *places = terms ? mem_resize_array(s->places, room, sizeof *places) : NULL;
    s->places = places ? places : s->places;
    struct text_feature *waiting =
        places ? mem_resize_array(s->waiting, room, sizeof *waiting) : NULL;
    if (!waiting) {
        return err_set(e, ERR_NOMEM, "cannot hold %zu features of a text", count);
    }
    s->waiting = waiting;
    s->terms_room = room;
    return 0;
}

int bag__stream_add(struct bag_stream *s, const struct text_feature *features, size_t count,
                    uint32_t label, uint32_t label_count, struct err_buf *e)
{
    size_t more = s->waiting_count + count;
    int rc = reserve_terms(s, count, e);
    rc = rc ? rc : reserve_slots(s, more, e);
    rc = rc ? rc : reserve_labels(s, label_count, e);
    rc = rc || s->labels == TWO ? rc : reserve_rows(s, more, e);
    if (rc) {
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        __builtin_prefetch(&s->slots[features[i].key >> s->shift], 1);
    }
    learn_waiting(s, label_count);
    memcpy(s->waiting, features, count * sizeof *features);
    s->waiting_count = count;
    s->waiting_label = label;
    s->has_waiting = true;
    return 0;
}

/* --- sealing ------------------------------------------------------------------------------------
 */

/* Slots whose key belongs to the table's end but found no place there lie at its start. */
static size_t count_wrapped(const struct bag_stream *s)
{
    size_t wrapped = 0;
    for (size_t i = 0; i < s->slot_count && s->slots[i].texts != 0; i++) {
        wrapped += s->slots[i].key >> s->shift > i;
    }
    return wrapped;
}

/* Ascending, without gaps. No key has moved further than it was probed for, so this is one sweep.
 */
static int sort_slots(struct bag_stream *s, struct err_buf *e)
{
    size_t wrapped = count_wrapped(s);
    struct bag_slot *aside = mem_new_array(wrapped, sizeof *aside);
    if (!aside) {
        return err_set(e, ERR_NOMEM, "cannot sort %zu features", s->used);
    }
    size_t count = 0;
    size_t moved = 0;
    for (size_t i = 0; i < s->slot_count + wrapped; i++) {
        bool is_aside = i >= s->slot_count;
        struct bag_slot slot = is_aside ? aside[i - s->slot_count] : s->slots[i];
        if (slot.texts == 0) {
            continue;
        }
        if (!is_aside && moved < wrapped && slot.key >> s->shift > i) {
            aside[moved++] = slot;
            continue;
        }
        size_t to = count++;
        for (; to > 0 && s->slots[to - 1].key > slot.key; to--) {
            s->slots[to] = s->slots[to - 1];
        }
        s->slots[to] = slot;
    }
    mem_free(aside);
    s->is_sorted = true;
    return 0;
}

int bag__stream_seal(struct bag_stream *s, uint32_t label_count, struct err_buf *e)
{
    if (s->is_sorted) {
        return 0;
    }
    learn_waiting(s, label_count);
    return sort_slots(s, e);
}

/* --- the artifact -------------------------------------------------------------------------------
 */

/* A row in the labels' order by bytes: from[k] is the number of label k. */
static void order_row(const struct bag_stream *s, const struct bag_slot *slot, const uint32_t *from,
                      uint32_t labels, float *ret)
{
    for (uint32_t k = 0; k < labels; k++) {
        if (s->labels == TWO) {
            float weight = slot ? slot->weight : s->bias * bias_value;
            ret[k] = from[k] ? weight : -weight;
        } else {
            const float *row = s->table + (slot ? (size_t)slot->row * s->labels : 0);
            ret[k] = slot ? row[from[k]] : row[from[k]] * bias_value;
        }
    }
}

struct order {
    struct span *names; /* ascending */
    uint32_t *from;     /* the number that each had */
    float *row;
};

static int order_init(struct order *o, const struct bag_labels *labels, struct err_buf *e)
{
    o->names = mem_new_array(labels->count, sizeof *o->names);
    o->from = mem_new_array(labels->count, sizeof *o->from);
    o->row = mem_new_array(labels->count, sizeof *o->row);
    if (!o->names || !o->from || !o->row) {
        return err_set(e, ERR_NOMEM, "cannot order %u labels", labels->count);
    }
    for (uint32_t i = 0; i < labels->count; i++) {
        uint32_t at = i;
        for (; at > 0 && bag__compare_spans(o->names[at - 1], labels->names[i]) > 0; at--) {
            o->names[at] = o->names[at - 1];
            o->from[at] = o->from[at - 1];
        }
        o->names[at] = labels->names[i];
        o->from[at] = i;
    }
    return 0;
}

static void order_close(struct order *o)
{
    mem_free(o->names);
    mem_free(o->from);
    mem_free(o->row);
}

static void fill(const struct bag_stream *s, const struct order *o, uint32_t labels,
                 struct bag_draft *d)
{
    order_row(s, NULL, o->from, labels, d->bias);
    uint32_t row = 0;
    for (size_t i = 0; i < s->used; i++) {
        const struct bag_slot *slot = &s->slots[i];
        if (slot->texts >= s->p.feature_count_min) {
            order_row(s, slot, o->from, labels, o->row);
            d->keys[row] = slot->key;
            d->idf[row] = 1;
            d->scale[row] = bag__quantise(o->row, labels, d->codes + (size_t)row * labels);
            row++;
        }
    }
}

int bag__stream_export(struct bag_model **ret, const struct bag_stream *s,
                       const struct bag_labels *labels, struct err_buf *e)
{
    CHECK(s->is_sorted);
    uint32_t rows = 0;
    for (size_t i = 0; i < s->used; i++) {
        rows += s->slots[i].texts >= s->p.feature_count_min;
    }
    struct order o = {0};
    int rc = order_init(&o, labels, e);
    if (rc == 0) {
        const struct bag_weights shape = {.spec = s->p.features,
                                          .char_weight = s->p.char_weight,
                                          .temperature = 1,
                                          .rows = rows,
                                          .label_count = labels->count,
                                          .labels = o.names};
        struct bag_draft draft;
        rc = bag__draft_init(&draft, &shape, e);
        if (rc == 0) {
            fill(s, &o, labels->count, &draft);
            rc = bag__draft_finish(ret, &draft, e);
        }
    }
    order_close(&o);
    return rc;
}
