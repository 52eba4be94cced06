/* Normalise, segment, hash; then count equal keys in a table that is reused between texts. */
#include "worker/text/features.h"

#include "common/base/mem.h"
#include "worker/text/tables.h"
#include "worker/text/utf8.h"

#include <string.h>

enum { TOKEN_SEED = 0x77 };
enum { FEW = 64, FEW_BITS = 256 }; /* tokens of a short text */
enum { BOUNDARY = 0x20 };          /* stands for white space and for either end of the text */

bool text_spec_equals(const struct text_spec *a, const struct text_spec *b)
{
    return a->word_max == b->word_max && a->word_gap == b->word_gap && a->char_min == b->char_min &&
           a->char_max == b->char_max && a->char_across == b->char_across &&
           a->char_jamo == b->char_jamo;
}

void text_extractor_init(struct text_extractor *x)
{
    memset(x, 0, sizeof *x);
    text_points_init(&x->points);
    text_tokens_init(&x->tokens);
}

void text_extractor_close(struct text_extractor *x)
{
    text_points_close(&x->points);
    text_tokens_close(&x->tokens);
    mem_free(x->features);
    mem_free(x->slots);
    mem_free(x->token_hash);
    mem_free(x->stream);
    memset(x, 0, sizeof *x);
}

/* One step of a multiplicative hash over code points or token hashes. */
static inline uint64_t hash_step(uint64_t h, uint32_t value)
{
    return (h ^ value) * 0x9e3779b97f4a7c15u;
}

static inline uint32_t hash_key(uint64_t h, enum text_block block)
{
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return ((uint32_t)(h >> 32) & ~1u) | (uint32_t)block;
}

static int grow(void **block, size_t *capacity, size_t need, size_t size, struct err_buf *e)
{
    if (need <= *capacity) {
        return 0;
    }
    size_t room = need + need / 2 + 64;
    void *bigger = mem_resize_array(*block, room, size);
    if (!bigger) {
        return err_set(e, ERR_NOMEM, "cannot hold %zu features of a text", need);
    }
    *block = bigger;
    *capacity = room;
    return 0;
}

static size_t power_of_two_above(size_t n)
{
    size_t p = 64;
    while (p < n) {
        p *= 2;
    }
    return p;
}

/* Empties the counting table and makes it hold features_max at no more than half load. */
static int reserve_features(struct text_extractor *x, size_t features_max, struct err_buf *e)
{
    int rc = grow((void **)&x->features, &x->capacity, features_max, sizeof *x->features, e);
    if (rc) {
        return rc;
    }
    size_t want = power_of_two_above(features_max * 2);
    if (want > x->slot_count) {
        uint32_t *slots = mem_resize_array(x->slots, want, sizeof *slots);
        if (!slots) {
            return err_set(e, ERR_NOMEM, "cannot count %zu features", features_max);
        }
        x->slots = slots;
        x->slot_count = want;
    }
    memset(x->slots, 0, want * sizeof *x->slots);
    x->count = 0;
    return 0;
}

static inline void count_key(struct text_extractor *x, size_t mask, uint32_t key)
{
    size_t at = (key >> 1) & mask;
    while (x->slots[at] != 0) {
        struct text_feature *f = &x->features[x->slots[at] - 1];
        if (f->key == key) {
            f->count++;
            return;
        }
        at = (at + 1) & mask;
    }
    x->features[x->count] = (struct text_feature){.key = key, .count = 1};
    x->slots[at] = (uint32_t)++x->count;
}

/* A token that is being hashed, and where finished ones go. */
struct hashing {
    uint32_t *out;
    uint64_t h;
    enum text_class open;
};

/* Goes on with the open token, or ends it and opens another. */
static inline void hash_point(struct hashing *s, uint32_t point, enum text_class class)
{
    if (text_token_continues(s->open, class)) {
        s->h = hash_step(s->h, point);
        return;
    }
    if (s->open != TEXT_SPACE) {
        *s->out++ = hash_key(s->h, TEXT_BLOCK_WORDS);
    }
    s->open = class == TEXT_MARK ? TEXT_WORD : class;
    s->h = hash_step(TOKEN_SEED, point);
}

/* Hashes Hangul syllables from bytes[i] on, as long as there are any and three bytes behind them;
 * returns where they end. */
static inline size_t hash_syllables(struct hashing *s, const unsigned char *bytes, size_t i,
                                    size_t length)
{
    const uint32_t first = 0xac00;
    const uint32_t last = 0xd7a3;
    for (; i + 3 <= length; i += 3) {
        const unsigned char *p = bytes + i;
        uint32_t point =
            ((uint32_t)(p[0] & 0x0f) << 12) | ((uint32_t)(p[1] & 0x3f) << 6) | (p[2] & 0x3f);
        uint32_t odd = ((p[0] & 0xf0u) ^ 0xe0) | ((p[1] & 0xc0u) ^ 0x80) | ((p[2] & 0xc0u) ^ 0x80);
        if (odd || point < first || point > last) {
            break;
        }
        hash_point(s, point, TEXT_WORD);
    }
    return i;
}

/* In one go from bytes to token hashes, as normalising, segmenting and hash_tokens do one after the
 * other; false when a code point is not simple, malformed or out of order. */
static bool hash_simple_tokens(struct text_extractor *x, const char *text, size_t length)
{
    const struct text__tables *tables = text__tables();
    const unsigned char *bytes = (const unsigned char *)text;
    struct hashing s = {.out = x->token_hash, .open = TEXT_SPACE};
    uint32_t combining_before = 0;
    uint32_t before = 0;
    for (size_t i = 0; i < length;) {
        uint32_t p = bytes[i];
        size_t used = p < 0x80 ? 1 : utf8_next_long(bytes + i, length - i, &p);
        if (used == 0) {
            return false;
        }
        i += used;
        if (text__is_hangul(p)) {
            hash_point(&s, p, TEXT_WORD);
            i = hash_syllables(&s, bytes, i, length);
            combining_before = before = 0; /* syllables do not join with typed letters */
            continue;
        }
        bool is_in_table = p < TEXT_TABLE_SIZE;
        uint32_t folded = text__fold(tables, p);
        uint32_t combining = is_in_table ? tables->entries[p].combining : 0;
        folded = folded || is_in_table ? folded : text__fold_jamo(tables, p, before);
        if (!folded || (combining != 0 && combining < combining_before)) {
            return false;
        }
        combining_before = combining;
        before = folded;
        hash_point(&s, folded,
                   is_in_table ? (enum text_class)tables->entries[p].folded_class
                               : text__class(tables, folded));
    }
    if (s.open != TEXT_SPACE) {
        *s.out++ = hash_key(s.h, TEXT_BLOCK_WORDS);
    }
    x->token_count = (size_t)(s.out - x->token_hash);
    return true;
}

/* Counts the tokens of a short text without the table: most are there once, and a bit for each
 * place they may have tells those. */
static void count_few_tokens(struct text_extractor *x)
{
    uint64_t seen[FEW_BITS / 64] = {0};
    x->count = 0;
    for (size_t i = 0; i < x->token_count; i++) {
        uint32_t key = x->token_hash[i];
        uint64_t *word = &seen[(key >> 1) % FEW_BITS / 64];
        uint64_t bit = (uint64_t)1 << ((key >> 1) % 64);
        size_t at = *word & bit ? 0 : x->count;
        while (at < x->count && x->features[at].key != key) {
            at++;
        }
        *word |= bit;
        if (at < x->count) {
            x->features[at].count++;
        } else {
            x->features[x->count++] = (struct text_feature){.key = key, .count = 1};
        }
    }
}

static int hash_tokens(struct text_extractor *x, struct err_buf *e)
{
    int rc = grow((void **)&x->token_hash, &x->token_capacity, x->tokens.count,
                  sizeof *x->token_hash, e);
    x->token_count = x->tokens.count;
    for (size_t i = 0; rc == 0 && i < x->tokens.count; i++) {
        const struct text_token *token = &x->tokens.tokens[i];
        uint64_t h = TOKEN_SEED;
        for (uint32_t j = 0; j < token->count; j++) {
            h = hash_step(h, x->points.points[token->start + j]);
        }
        x->token_hash[i] = hash_key(h, TEXT_BLOCK_WORDS);
    }
    return rc;
}

static void add_words(struct text_extractor *x, const struct text_spec *spec, size_t mask)
{
    size_t count = x->token_count;
    for (size_t i = 0; i < count; i++) {
        uint64_t h = 0;
        for (size_t n = 1; n <= spec->word_max && i + n <= count; n++) {
            h = hash_step(h, x->token_hash[i + n - 1]);
            uint32_t key = n == 1 ? x->token_hash[i] : hash_key(h, TEXT_BLOCK_WORDS);
            count_key(x, mask, key);
        }
        for (size_t gap = 2; gap <= spec->word_gap && i + gap < count; gap++) {
            uint64_t g = hash_step(hash_step(0x67, x->token_hash[i]), x->token_hash[i + gap]);
            count_key(x, mask, hash_key(g, TEXT_BLOCK_WORDS));
        }
    }
}

/* The letters of a Hangul syllable, as Unicode decomposes it, to out; returns how many. */
static size_t put_letters(uint32_t *out, uint32_t syllable)
{
    enum { VOWELS = 21, TRAILS = 28 }; /* no trail counts as one */
    uint32_t number = syllable - 0xac00;
    uint32_t trail = number % TRAILS;
    out[0] = 0x1100 + number / (VOWELS * TRAILS);
    out[1] = 0x1161 + number / TRAILS % VOWELS;
    out[2] = 0x11a7 + trail;
    return trail ? 3 : 2;
}

static size_t count_syllables(const struct text_points *points)
{
    size_t count = 0;
    for (size_t i = 0; i < points->count; i++) {
        count += text__is_hangul(points->points[i]);
    }
    return count;
}

/* The code points with every run of white space as one boundary, and one at either end. */
static int make_stream(struct text_extractor *x, bool has_letters, size_t *ret_count,
                       struct err_buf *e)
{
    size_t room = x->points.count + 2 + (has_letters ? 2 * count_syllables(&x->points) : 0);
    int rc = grow((void **)&x->stream, &x->stream_capacity, room, sizeof *x->stream, e);
    if (rc) {
        return rc;
    }
    const struct text__tables *tables = text__tables();
    size_t n = 0;
    x->stream[n++] = BOUNDARY;
    for (size_t i = 0; i < x->points.count; i++) {
        uint32_t p = x->points.points[i];
        bool is_space = p == BOUNDARY || text__class(tables, p) == TEXT_SPACE;
        if (has_letters && text__is_hangul(p)) {
            n += put_letters(x->stream + n, p);
        } else if (!is_space) {
            x->stream[n++] = p;
        } else if (x->stream[n - 1] != BOUNDARY) {
            x->stream[n++] = BOUNDARY;
        }
    }
    if (x->stream[n - 1] != BOUNDARY) {
        x->stream[n++] = BOUNDARY;
    }
    *ret_count = n;
    return 0;
}

static void add_chars(struct text_extractor *x, const struct text_spec *spec, size_t stream_count,
                      size_t mask)
{
    for (size_t i = 0; i < stream_count; i++) {
        uint64_t h = 0x63;
        for (size_t n = 1; n <= spec->char_max && i + n <= stream_count; n++) {
            uint32_t p = x->stream[i + n - 1];
            h = hash_step(h, p);
            bool is_boundary = p == BOUNDARY;
            if (n >= spec->char_min && !(n == 1 && is_boundary)) {
                count_key(x, mask, hash_key(h, TEXT_BLOCK_CHARS));
            }
            if (is_boundary && n > 1 && !spec->char_across) {
                break;
            }
        }
    }
}

/* Token hashes, and the stream that character n-grams are made of. */
static int prepare(struct text_extractor *x, const struct text_spec *spec, const char *text,
                   size_t length, size_t *ret_stream, struct err_buf *e)
{
    *ret_stream = 0;
    if (spec->char_max == 0 && length <= TEXT_BYTES_MAX) {
        int rc =
            grow((void **)&x->token_hash, &x->token_capacity, length, sizeof *x->token_hash, e);
        if (rc || hash_simple_tokens(x, text, length)) {
            return rc;
        }
    }
    int rc = text_normalize(&x->points, text, length, e);
    if (rc == 0) {
        rc = make_stream(x, spec->char_jamo, ret_stream, e);
    }
    x->tokens.count = 0;
    if (rc == 0 && spec->word_max) {
        rc = text_segment(&x->tokens, x->points.points, x->points.count, e);
    }
    if (rc == 0) {
        rc = hash_tokens(x, e);
    }
    return rc;
}

int text_extract(struct text_extractor *x, const struct text_spec *spec, const char *text,
                 size_t length, struct err_buf *e)
{
    size_t stream_count = 0;
    int rc = prepare(x, spec, text, length, &stream_count, e);
    if (rc) {
        return rc;
    }
    if (spec->word_max == 1 && spec->word_gap < 2 && spec->char_max == 0 && x->token_count <= FEW) {
        rc = grow((void **)&x->features, &x->capacity, FEW, sizeof *x->features, e);
        if (rc == 0) {
            count_few_tokens(x);
        }
        return rc;
    }
    size_t features_max =
        x->token_count * (spec->word_max + spec->word_gap) + stream_count * spec->char_max;
    rc = reserve_features(x, features_max, e);
    if (rc == 0) {
        size_t mask = power_of_two_above(features_max * 2) - 1;
        add_words(x, spec, mask);
        add_chars(x, spec, stream_count, mask);
    }
    return rc;
}
