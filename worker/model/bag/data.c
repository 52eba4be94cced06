/* Samples as sparse rows of (feature id, count), built text by text. */
#include "worker/model/bag/data.h"

#include "common/base/mem.h"

#include <stdlib.h>

/* Before that a second thread costs more than it gains, and a small set never has one. */
enum { RELAY_FROM = 1024 };

struct bag_data *bag_data_new(const struct bag_params *p, struct err_buf *e)
{
    if (bag_params_check(p, e)) {
        return NULL;
    }
    struct bag_data *d = mem_new(sizeof *d);
    if (!d) {
        (void)err_set(e, ERR_NOMEM, "cannot start a data set"); /* NULL says it failed */
        return NULL;
    }
    d->spec = p->features;
    d->feature_count_min = p->feature_count_min;
    text_extractor_init(&d->extractor);
    bag__vocab_init(&d->vocab, p->features_max);
    if (p->one_pass) {
        d->stream = mem_new(sizeof *d->stream);
        if (!d->stream) {
            bag_data_free(d);
            (void)err_set(e, ERR_NOMEM, "cannot start a data set"); /* NULL says it failed */
            return NULL;
        }
        bag__stream_init(d->stream, p);
        d->relay_from = p->threads > 1 ? RELAY_FROM : SIZE_MAX;
    }
    return d;
}

void bag_data_free(struct bag_data *d)
{
    if (!d) {
        return;
    }
    text_extractor_close(&d->extractor);
    bag__vocab_close(&d->vocab);
    bag__labels_close(&d->labels);
    mem_free(d->label);
    mem_free(d->entry_at);
    mem_free(d->words);
    mem_free(d->entries);
    bag__relay_free(d->relay); /* it uses the stream */
    if (d->stream) {
        bag__stream_close(d->stream);
        mem_free(d->stream);
    }
    mem_free(d);
}

static int reserve_sample(struct bag_data *d, struct err_buf *e)
{
    if (d->samples < d->sample_room) {
        return 0;
    }
    size_t room = d->sample_room + d->sample_room / 2 + 1024;
    uint32_t *label = mem_resize_array(d->label, room, sizeof *label);
    d->label = label ? label : d->label;
    uint32_t *words = label ? mem_resize_array(d->words, room, sizeof *words) : NULL;
    d->words = words ? words : d->words;
    size_t *entry_at = words ? mem_resize_array(d->entry_at, room + 1, sizeof *entry_at) : NULL;
    if (!entry_at) {
        return err_set(e, ERR_NOMEM, "cannot hold %zu samples", room);
    }
    d->entry_at = entry_at;
    d->entry_at[0] = 0;
    d->sample_room = room;
    return 0;
}

static int reserve_entries(struct bag_data *d, size_t more, struct err_buf *e)
{
    size_t used = d->samples ? d->entry_at[d->samples] : 0;
    if (used + more <= d->entry_room) {
        return 0;
    }
    size_t room = used + more + d->entry_room / 2 + 65536;
    uint32_t *entries = mem_resize_array(d->entries, room, sizeof *entries);
    if (!entries) {
        return err_set(e, ERR_NOMEM, "cannot hold %zu features of %zu samples", room, d->samples);
    }
    d->entries = entries;
    d->entry_room = room;
    return 0;
}

static void add_entries(struct bag_data *d)
{
    enum { AHEAD = 12 };
    const struct text_extractor *x = &d->extractor;
    size_t at = d->entry_at[d->samples];
    uint32_t words = 0; /* they come first */
    for (size_t i = 0; i < x->count; i++) {
        if (i + AHEAD < x->count) {
            bag__vocab_prefetch(&d->vocab, x->features[i + AHEAD].key);
        }
        uint32_t id = bag__vocab_add(&d->vocab, x->features[i].key);
        uint32_t count = x->features[i].count;
        if (id != BAG_VOCAB_NONE) {
            words += text_key_block(x->features[i].key) == TEXT_BLOCK_WORDS;
            d->entries[at++] =
                (id << BAG_ENTRY_SHIFT) | (count < BAG_ENTRY_COUNT ? count : BAG_ENTRY_COUNT);
        }
    }
    d->words[d->samples] = words;
    d->entry_at[++d->samples] = at;
}

/* Room for what the extractor has and for one more sample. */
static int reserve(struct bag_data *d, struct err_buf *e)
{
    int rc = reserve_sample(d, e);
    rc = rc ? rc : reserve_entries(d, d->extractor.count, e);
    return rc ? rc : bag__vocab_reserve(&d->vocab, d->extractor.count, e);
}

/* Learns from what the extractor has, here or in the relay's thread. */
static int add_to_stream(struct bag_data *d, uint32_t number, struct err_buf *e)
{
    const struct text_extractor *x = &d->extractor;
    if (d->samples == d->relay_from) {
        d->relay = bag__relay_new(d->stream);
        d->relay_from = SIZE_MAX;
    }
    return d->relay ? bag__relay_add(d->relay, x->features, x->count, number, d->labels.count, e)
                    : bag__stream_add(d->stream, x->features, x->count, number, d->labels.count, e);
}

int bag_data_add(struct bag_data *d, const char *text, size_t length, const char *label,
                 size_t label_length, struct err_buf *e)
{
    if (d->is_sealed) {
        return err_set(e, ERR_INVALID, "a data set that was trained on takes no more samples");
    }
    int rc = text_extract(&d->extractor, &d->spec, text, length, e);
    if (rc == 0 && !d->stream) {
        rc = reserve(d, e);
    }
    uint32_t number = 0;
    if (rc == 0) {
        rc = bag__labels_add(&d->labels, span_make(label, label_length), &number, e);
    }
    if (rc == 0 && d->stream) {
        rc = add_to_stream(d, number, e);
    }
    if (rc) {
        return rc;
    }
    d->labels.samples[number]++;
    if (d->stream) {
        d->samples++;
    } else {
        d->label[d->samples] = number;
        add_entries(d);
    }
    return 0;
}

size_t bag_data_count(const struct bag_data *d)
{
    return d->samples;
}

size_t bag_data_bytes(const struct bag_data *d)
{
    if (d->stream) {
        /* a failure to learn does not change what is held, and is told by the next call */
        int ignored = d->relay ? bag__relay_drain(d->relay, NULL) : 0;
        (void)ignored;
        return bag__stream_bytes(d->stream);
    }
    return d->entry_room * sizeof *d->entries +
           d->sample_room * (sizeof *d->label + sizeof *d->entry_at + sizeof *d->words) +
           d->vocab.room * 2 * sizeof(uint32_t) + d->vocab.slot_count * sizeof(uint32_t);
}

/* --- sealing --------------------------------------------------------------------------------- */

struct rank {
    uint32_t texts;
    uint32_t key;
    uint32_t id;
};

static int compare_ranks(const void *a, const void *b)
{
    const struct rank *x = a;
    const struct rank *y = b;
    if (x->texts != y->texts) {
        return x->texts > y->texts ? -1 : 1;
    }
    return x->key < y->key ? -1 : x->key > y->key;
}

/* keep[id] = the new number, or BAG_VOCAB_NONE. */
static int rank_features(const struct bag_data *d, uint32_t *keep, uint32_t *ret_count,
                         struct err_buf *e)
{
    uint32_t count = 0;
    for (uint32_t id = 0; id < d->vocab.count; id++) {
        keep[id] = BAG_VOCAB_NONE;
        count += d->vocab.texts[id] >= d->feature_count_min;
    }
    struct rank *ranks = mem_new_array(count, sizeof *ranks);
    if (!ranks) {
        return err_set(e, ERR_NOMEM, "cannot rank %u features", count);
    }
    uint32_t at = 0;
    for (uint32_t id = 0; id < d->vocab.count; id++) {
        if (d->vocab.texts[id] >= d->feature_count_min) {
            ranks[at++] = (struct rank){d->vocab.texts[id], d->vocab.keys[id], id};
        }
    }
    qsort(ranks, count, sizeof *ranks, compare_ranks);
    for (uint32_t i = 0; i < count; i++) {
        keep[ranks[i].id] = i;
    }
    mem_free(ranks);
    *ret_count = count;
    return 0;
}

static void renumber_entries(struct bag_data *d, const uint32_t *keep)
{
    size_t to = 0;
    size_t from = 0;
    for (size_t i = 0; i < d->samples; i++) {
        size_t words_end = from + d->words[i];
        d->words[i] = 0;
        for (; from < d->entry_at[i + 1]; from++) {
            uint32_t id = keep[d->entries[from] >> BAG_ENTRY_SHIFT];
            if (id != BAG_VOCAB_NONE) {
                d->words[i] += from < words_end;
                d->entries[to++] = (id << BAG_ENTRY_SHIFT) | (d->entries[from] & BAG_ENTRY_COUNT);
            }
        }
        d->entry_at[i + 1] = to;
    }
    uint32_t *fitted = mem_resize_array(d->entries, to, sizeof *fitted);
    if (fitted) {
        d->entries = fitted;
        d->entry_room = to;
    }
}

int bag__data_seal(struct bag_data *d, struct err_buf *e)
{
    if (d->is_sealed) {
        return 0;
    }
    if (d->stream) {
        int rc = d->relay ? bag__relay_drain(d->relay, e) : 0;
        rc = rc ? rc : bag__stream_seal(d->stream, d->labels.count, e);
        d->is_sealed = rc == 0;
        return rc;
    }
    uint32_t *keep = mem_new_array(d->vocab.count, sizeof *keep);
    if (!keep) {
        return err_set(e, ERR_NOMEM, "cannot number %u features", d->vocab.count);
    }
    uint32_t count = 0;
    int rc = rank_features(d, keep, &count, e);
    if (rc == 0) {
        rc = bag__vocab_renumber(&d->vocab, keep, count, e);
    }
    if (rc == 0) {
        renumber_entries(d, keep);
        text_extractor_close(&d->extractor);
        d->is_sealed = true;
    }
    mem_free(keep);
    return rc;
}
