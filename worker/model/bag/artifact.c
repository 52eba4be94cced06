/*
 * The artifact: one msgpack map whose big table is one aligned bin, used in place.
 *
 * README.md of this folder has the layout. Everything that a file says is checked against its
 * length before it is used; opening allocates the model and an index of at most four bytes a row.
 */
#include "common/base/mem.h"
#include "worker/model/bag/kernels.h"
#include "worker/model/bag/model.h"
#include "worker/model/bag/pack.h"
#include "worker/model/bag/vocab.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT "meridian-bag"
/* Version 1 lacks char_jamo: its n-grams are of whole Hangul syllables. */
enum { VERSION = 2, VERSION_OF_SYLLABLES = 1, TABLE_ALIGN = 64, KEYS_PER_BUCKET = 2 };

/* --- table layout -------------------------------------------------------------------------------
 */

static size_t aligned(size_t n)
{
    return (n + TABLE_ALIGN - 1) / TABLE_ALIGN * TABLE_ALIGN;
}

struct table_layout {
    size_t keys, idf, scale, bias, hidden_row, hidden_scale, hidden_bias, out, out_bias, codes,
        hidden_codes, length;
};

static size_t place(size_t *end, size_t count, size_t size)
{
    size_t at = aligned(*end);
    *end = at + count * size;
    return at;
}

/* rows and labels are within their limits, so nothing here overflows 64 bits. */
static struct table_layout lay_out(size_t rows, size_t labels, size_t hidden, size_t hidden_rows)
{
    struct table_layout t = {0};
    t.keys = place(&t.length, rows, sizeof(uint32_t));
    t.idf = place(&t.length, rows, sizeof(float));
    t.scale = place(&t.length, rows, sizeof(float));
    t.bias = place(&t.length, labels, sizeof(float));
    t.hidden_row = place(&t.length, hidden ? rows : 0, sizeof(uint32_t));
    t.hidden_scale = place(&t.length, hidden_rows * 2, sizeof(float));
    t.hidden_bias = place(&t.length, hidden * BAG_TOWERS, sizeof(float));
    t.out = place(&t.length, hidden * BAG_TOWERS * labels, sizeof(float));
    t.out_bias = place(&t.length, hidden ? labels * BAG_TOWERS : 0, sizeof(float));
    t.codes = place(&t.length, rows * labels, 1);
    t.hidden_codes = place(&t.length, hidden_rows * 2 * hidden, 1);
    return t;
}

/* --- writing ------------------------------------------------------------------------------------
 */

static int pack_number(struct buf *b, const char *name, uint64_t value)
{
    int rc = bag__pack_text(b, span_of(name));
    return rc ? rc : bag__pack_uint(b, value);
}

static int pack_real(struct buf *b, const char *name, double value)
{
    int rc = bag__pack_text(b, span_of(name));
    return rc ? rc : bag__pack_double(b, value);
}

static int pack_head(struct buf *b, const struct bag_weights *w)
{
    int rc = bag__pack_map(b, 17);
    rc = rc ? rc : bag__pack_text(b, span_of("format"));
    rc = rc ? rc : bag__pack_text(b, span_of(FORMAT));
    rc = rc ? rc : pack_number(b, "version", VERSION);
    rc = rc ? rc : pack_number(b, "word_max", w->spec.word_max);
    rc = rc ? rc : pack_number(b, "word_gap", w->spec.word_gap);
    rc = rc ? rc : pack_number(b, "char_min", w->spec.char_min);
    rc = rc ? rc : pack_number(b, "char_max", w->spec.char_max);
    rc = rc ? rc : pack_number(b, "char_across", w->spec.char_across);
    rc = rc ? rc : pack_number(b, "char_jamo", w->spec.char_jamo);
    rc = rc ? rc : pack_real(b, "char_weight", w->char_weight);
    rc = rc ? rc : pack_real(b, "temperature", w->temperature);
    rc = rc ? rc : pack_number(b, "label_count", w->label_count);
    rc = rc ? rc : bag__pack_text(b, span_of("labels"));
    rc = rc ? rc : bag__pack_array(b, w->label_count);
    for (uint32_t i = 0; rc == 0 && i < w->label_count; i++) {
        rc = bag__pack_text(b, w->labels[i]);
    }
    rc = rc ? rc : pack_number(b, "rows", w->rows);
    rc = rc ? rc : pack_number(b, "hidden", w->hidden);
    return rc ? rc : pack_number(b, "hidden_rows", w->hidden_rows);
}

/* Padding such that the table starts at a multiple of TABLE_ALIGN. */
static int pack_padding(struct buf *b)
{
    static const char zeros[TABLE_ALIGN];
    enum { BIN_HEADER = 5, TABLE_KEY = 6 };
    int rc = bag__pack_text(b, span_of("padding"));
    size_t before = b->length + BIN_HEADER + TABLE_KEY + BIN_HEADER;
    uint32_t length = (uint32_t)(aligned(before) - before);
    rc = rc ? rc : bag__pack_bin_header(b, length);
    return rc ? rc : buf_add(b, zeros, length);
}

/* Where the arrays lie in a table of zeros that starts at start. */
static void place_draft(struct bag_draft *d, const struct table_layout *t, char *start)
{
    d->keys = (void *)(start + t->keys);
    d->idf = (void *)(start + t->idf);
    d->scale = (void *)(start + t->scale);
    d->bias = (void *)(start + t->bias);
    d->hidden_row = (void *)(start + t->hidden_row);
    d->hidden_scale = (void *)(start + t->hidden_scale);
    d->hidden_bias = (void *)(start + t->hidden_bias);
    d->out = (void *)(start + t->out);
    d->out_bias = (void *)(start + t->out_bias);
    d->codes = (void *)(start + t->codes);
    d->hidden_codes = (void *)(start + t->hidden_codes);
}

static int start_table(struct bag_draft *d, const struct table_layout *t)
{
    struct buf *b = &d->bytes;
    int rc = bag__pack_text(b, span_of("table"));
    rc = rc ? rc : bag__pack_bin_header(b, (uint32_t)t->length);
    char *start = rc ? NULL : buf_reserve(b, t->length);
    if (!start) {
        return rc ? rc : ERR_NOMEM;
    }
    CHECK(b->length % TABLE_ALIGN == 0);
    memset(start, 0, t->length);
    buf_advance(b, t->length);
    place_draft(d, t, start);
    return 0;
}

int bag__draft_init(struct bag_draft *d, const struct bag_weights *shape, struct err_buf *e)
{
    const struct bag_weights *w = shape;
    struct table_layout t = lay_out(w->rows, w->label_count, w->hidden, w->hidden_rows);
    size_t head = 4096 + (size_t)w->label_count * (BAG_LABEL_BYTES_MAX + 8);
    if (t.length > UINT32_MAX) {
        return err_set(e, ERR_LIMIT, "the model would have %zu bytes; the limit is %zu", t.length,
                       (size_t)UINT32_MAX);
    }
    buf_init(&d->bytes, head + t.length);
    int rc = pack_head(&d->bytes, w);
    rc = rc ? rc : pack_padding(&d->bytes);
    rc = rc ? rc : start_table(d, &t);
    if (rc) {
        buf_close(&d->bytes);
        return err_set(e, rc, "cannot build a model of %zu bytes", t.length);
    }
    return 0;
}

int bag__draft_finish(struct bag_model **ret, struct bag_draft *d, struct err_buf *e)
{
    int rc = bag_open(ret, buf_span(&d->bytes), e);
    if (rc) {
        buf_close(&d->bytes);
        return rc;
    }
    (*ret)->storage = BAG_OWNED;
    return 0;
}

int bag__model_make(struct bag_model **ret, const struct bag_weights *w, struct err_buf *e)
{
    struct bag_draft d;
    int rc = bag__draft_init(&d, w, e);
    if (rc) {
        return rc;
    }
    size_t labels = w->label_count;
    size_t rows = w->rows;
    const struct {
        void *to;
        const void *from;
        size_t length;
    } parts[] = {
        {d.keys, w->keys, rows * sizeof *w->keys},
        {d.idf, w->idf, rows * sizeof *w->idf},
        {d.scale, w->scale, rows * sizeof *w->scale},
        {d.bias, w->bias, labels * sizeof *w->bias},
        {d.hidden_row, w->hidden_row, w->hidden ? rows * sizeof *w->hidden_row : 0},
        {d.hidden_scale, w->hidden_scale, w->hidden_rows * 2 * sizeof *w->hidden_scale},
        {d.hidden_bias, w->hidden_bias, w->hidden * BAG_TOWERS * sizeof *w->hidden_bias},
        {d.out, w->out, w->hidden * BAG_TOWERS * labels * sizeof *w->out},
        {d.out_bias, w->out_bias, w->hidden ? labels * BAG_TOWERS * sizeof *w->out_bias : 0},
        {d.codes, w->codes, rows * labels},
        {d.hidden_codes, w->hidden_codes, (size_t)w->hidden_rows * 2 * w->hidden},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].length) {
            memcpy(parts[i].to, parts[i].from, parts[i].length);
        }
    }
    return bag__draft_finish(ret, &d, e);
}

/* --- reading ------------------------------------------------------------------------------------
 */

struct head {
    struct span format;
    struct span table;
    uint64_t version, rows, label_count, listed, hidden, hidden_rows;
    uint64_t word_max, word_gap, char_min, char_max, char_across, char_jamo;
};

static bool read_labels(struct bag_model *m, struct head *h, struct bag_pack_reader *r)
{
    struct bag_pack_item item;
    if (!bag__pack_next(r, &item) || item.type != BAG_PACK_ARRAY || item.number > BAG_LABELS_MAX) {
        return false;
    }
    h->listed = item.number;
    for (uint64_t i = 0; i < h->listed; i++) {
        if (!bag__pack_next(r, &item) || item.type != BAG_PACK_TEXT || item.bytes.length == 0 ||
            item.bytes.length > BAG_LABEL_BYTES_MAX) {
            return false;
        }
        m->labels[i] = item.bytes;
    }
    return true;
}

static bool read_value(struct bag_model *m, struct head *h, struct span key,
                       struct bag_pack_reader *r)
{
    const struct {
        const char *name;
        uint64_t *number;
        double *real;
        struct span *bytes;
        enum bag_pack_type type;
    } fields[] = {
        {"format", NULL, NULL, &h->format, BAG_PACK_TEXT},
        {"version", &h->version, NULL, NULL, BAG_PACK_UINT},
        {"word_max", &h->word_max, NULL, NULL, BAG_PACK_UINT},
        {"word_gap", &h->word_gap, NULL, NULL, BAG_PACK_UINT},
        {"char_min", &h->char_min, NULL, NULL, BAG_PACK_UINT},
        {"char_max", &h->char_max, NULL, NULL, BAG_PACK_UINT},
        {"char_across", &h->char_across, NULL, NULL, BAG_PACK_UINT},
        {"char_jamo", &h->char_jamo, NULL, NULL, BAG_PACK_UINT},
        {"char_weight", NULL, &m->char_weight, NULL, BAG_PACK_DOUBLE},
        {"temperature", NULL, &m->temperature, NULL, BAG_PACK_DOUBLE},
        {"label_count", &h->label_count, NULL, NULL, BAG_PACK_UINT},
        {"rows", &h->rows, NULL, NULL, BAG_PACK_UINT},
        {"hidden", &h->hidden, NULL, NULL, BAG_PACK_UINT},
        {"hidden_rows", &h->hidden_rows, NULL, NULL, BAG_PACK_UINT},
        {"table", NULL, NULL, &h->table, BAG_PACK_BIN},
    };
    if (span_is(key, "labels")) {
        return read_labels(m, h, r);
    }
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (span_is(key, fields[i].name)) {
            struct bag_pack_item item;
            if (!bag__pack_next(r, &item) || item.type != fields[i].type) {
                return false;
            }
            if (fields[i].number) {
                *fields[i].number = item.number;
            } else if (fields[i].real) {
                *fields[i].real = item.real;
            } else {
                *fields[i].bytes = item.bytes;
            }
            return true;
        }
    }
    return bag__pack_skip(r); /* keys of later minor versions */
}

static int corrupt(struct err_buf *e, const char *what)
{
    return err_set(e, ERR_CORRUPT, "not a bag model: %s", what);
}

static int read_head(struct bag_model *m, struct head *h, struct err_buf *e)
{
    struct bag_pack_reader r = {.data = (const unsigned char *)m->bytes.data,
                                .length = m->bytes.length};
    struct bag_pack_item item;
    if (!bag__pack_next(&r, &item) || item.type != BAG_PACK_MAP) {
        return corrupt(e, "it does not start with a map");
    }
    uint64_t pairs = item.number;
    for (uint64_t i = 0; i < pairs; i++) {
        if (!bag__pack_next(&r, &item) || item.type != BAG_PACK_TEXT) {
            return corrupt(e, "a key is missing or cut off");
        }
        if (!read_value(m, h, item.bytes, &r)) {
            return err_set(e, ERR_CORRUPT, "not a bag model: the value of key %llu is malformed",
                           (unsigned long long)i);
        }
        if (i == 0 && !span_is(h->format, FORMAT)) {
            return corrupt(e, "the first key is not format \"" FORMAT "\"");
        }
    }
    return r.at == r.length ? 0 : corrupt(e, "bytes after its end");
}

static int check_head(const struct bag_model *m, const struct head *h, struct err_buf *e)
{
    if (h->version != VERSION && h->version != VERSION_OF_SYLLABLES) {
        return err_set(e, ERR_UNSUPPORTED, "bag model version %llu; this build reads %d and %d",
                       (unsigned long long)h->version, VERSION_OF_SYLLABLES, VERSION);
    }
    if (h->word_max > TEXT_WORD_MAX || h->word_gap > TEXT_GAP_MAX || h->char_max > TEXT_CHAR_MAX ||
        h->char_min > h->char_max || h->char_across > 1 || h->char_jamo > (h->version == VERSION)) {
        return corrupt(e, "its feature settings are out of bounds");
    }
    if (!(m->char_weight >= 0 && m->char_weight <= 1e3) ||
        !(m->temperature >= 1e-3 && m->temperature <= 1e3)) {
        return corrupt(e, "its char_weight or temperature is out of bounds");
    }
    if (h->label_count < 2 || h->label_count != h->listed) {
        return corrupt(e, "label_count and labels disagree");
    }
    if (h->hidden > BAG_HIDDEN_MAX || h->hidden % BAG_LANES != 0 || h->hidden_rows > h->rows ||
        (h->hidden == 0 && h->hidden_rows != 0)) {
        return corrupt(e, "its hidden part is out of bounds");
    }
    if (h->rows > BAG_FEATURES_MAX ||
        h->table.length != lay_out(h->rows, h->label_count, h->hidden, h->hidden_rows).length) {
        return corrupt(e, "the table's length does not follow from rows, labels and hidden");
    }
    return 0;
}

static void place_table(struct bag_model *m, const struct head *h)
{
    m->spec = (struct text_spec){.word_max = (uint32_t)h->word_max,
                                 .word_gap = (uint32_t)h->word_gap,
                                 .char_min = (uint32_t)h->char_min,
                                 .char_max = (uint32_t)h->char_max,
                                 .char_across = h->char_across != 0,
                                 .char_jamo = h->char_jamo != 0};
    m->rows = (uint32_t)h->rows;
    m->label_count = (uint32_t)h->label_count;
    m->hidden = (uint32_t)h->hidden;
    m->hidden_rows = (uint32_t)h->hidden_rows;
    struct table_layout t = lay_out(m->rows, m->label_count, m->hidden, m->hidden_rows);
    const void *table = h->table.data;
    const char *start = table;
    m->keys = (const void *)(start + t.keys);
    m->idf = (const void *)(start + t.idf);
    m->scale = (const void *)(start + t.scale);
    m->bias = (const void *)(start + t.bias);
    m->codes = (const void *)(start + t.codes);
    m->hidden_row = (const void *)(start + t.hidden_row);
    m->hidden_scale = (const void *)(start + t.hidden_scale);
    m->hidden_bias = (const void *)(start + t.hidden_bias);
    m->out = (const void *)(start + t.out);
    m->out_bias = (const void *)(start + t.out_bias);
    m->hidden_codes = (const void *)(start + t.hidden_codes);
}

int bag__compare_spans(struct span a, struct span b)
{
    size_t shorter = a.length < b.length ? a.length : b.length;
    int order = memcmp(a.data, b.data, shorter);
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

/* Far above what training makes, and such that no sum of them overflows. */
#define WEIGHT_MAX 1e6f

static bool are_sane(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(values[i]) <= WEIGHT_MAX)) { /* false for NaN */
            return false;
        }
    }
    return true;
}

static int check_table(const struct bag_model *m, struct err_buf *e)
{
    for (uint32_t i = 1; i < m->label_count; i++) {
        if (bag__compare_spans(m->labels[i - 1], m->labels[i]) >= 0) {
            return corrupt(e, "labels are not in order");
        }
    }
    for (uint32_t i = 0; i < m->rows; i++) {
        if (i > 0 && m->keys[i] <= m->keys[i - 1]) {
            return corrupt(e, "keys are not in order");
        }
        if (!(m->idf[i] >= 1 / WEIGHT_MAX && m->idf[i] <= WEIGHT_MAX)) {
            return corrupt(e, "a row's idf is out of bounds");
        }
    }
    for (uint32_t i = 0; m->hidden && i < m->rows; i++) {
        if (m->hidden_row[i] != BAG_VOCAB_NONE && m->hidden_row[i] >= m->hidden_rows) {
            return corrupt(e, "a row points outside the hidden part");
        }
    }
    return are_sane(m->bias, m->label_count) && are_sane(m->scale, m->rows) &&
                   are_sane(m->hidden_scale, (size_t)m->hidden_rows * 2) &&
                   are_sane(m->hidden_bias, (size_t)m->hidden * BAG_TOWERS) &&
                   are_sane(m->out, (size_t)m->hidden * BAG_TOWERS * m->label_count) &&
                   are_sane(m->out_bias, m->hidden ? (size_t)m->label_count * BAG_TOWERS : 0)
               ? 0
               : corrupt(e, "a weight is out of bounds");
}

static int index_keys(struct bag_model *m, struct err_buf *e)
{
    uint32_t bits = 0;
    while (bits < 24 && ((uint32_t)1 << bits) * KEYS_PER_BUCKET < m->rows) {
        bits++;
    }
    m->shift = 32 - bits;
    size_t buckets = (size_t)1 << bits;
    m->first = mem_new_array(buckets + 1, sizeof *m->first);
    if (!m->first) {
        return err_set(e, ERR_NOMEM, "cannot index a model of %u rows", m->rows);
    }
    uint32_t row = 0;
    for (size_t b = 0; b < buckets; b++) {
        m->first[b] = row;
        while (row < m->rows && (uint64_t)m->keys[row] >> m->shift <= b) {
            row++;
        }
    }
    m->first[buckets] = m->rows;
    return 0;
}

int bag_open(struct bag_model **ret, struct span bytes, struct err_buf *e)
{
    const uint16_t probe = 1;
    unsigned char low;
    memcpy(&low, &probe, 1);
    if (low != 1) {
        return err_set(e, ERR_UNSUPPORTED, "bag models are little-endian, this CPU is not");
    }
    struct bag_model *m = mem_new(sizeof *m);
    if (!m) {
        return err_set(e, ERR_NOMEM, "cannot open a bag model");
    }
    m->bytes = bytes;
    struct head h = {0};
    int rc = read_head(m, &h, e);
    rc = rc ? rc : check_head(m, &h, e);
    if (rc == 0 && (uintptr_t)h.table.data % sizeof(uint64_t) != 0) {
        rc = corrupt(e, "its table is not aligned");
    }
    if (rc == 0) {
        place_table(m, &h);
        rc = check_table(m, e);
    }
    rc = rc ? rc : index_keys(m, e);
    if (rc) {
        bag_free(m);
        return rc;
    }
    *ret = m;
    return 0;
}

static int map_file(int file, const char *path, struct span *ret, struct err_buf *e)
{
    struct stat st;
    if (fstat(file, &st) != 0) {
        return err_set(e, ERR_IO, "cannot read \"%s\": %s", path, strerror(errno));
    }
    if (st.st_size <= 0 || (uint64_t)st.st_size > BAG_BYTES_MAX) {
        return err_set(e, ERR_CORRUPT, "\"%s\" has %lld bytes: not a bag model", path,
                       (long long)st.st_size);
    }
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (bytes == MAP_FAILED) {
        return err_set(e, ERR_IO, "cannot map \"%s\": %s", path, strerror(errno));
    }
    *ret = span_make(bytes, (size_t)st.st_size);
    return 0;
}

int bag_open_file(struct bag_model **ret, const char *path, struct err_buf *e)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return err_set(e, ERR_IO, "cannot open \"%s\": %s", path, strerror(errno));
    }
    struct span bytes = {0};
    int rc = map_file(file, path, &bytes, e);
    (void)close(file); /* the mapping stays */
    if (rc) {
        return rc;
    }
    rc = bag_open(ret, bytes, e);
    if (rc) {
        (void)munmap((void *)(uintptr_t)bytes.data, bytes.length); /* ours, just mapped */
        return err_wrap(e, rc, "\"%s\"", path);
    }
    (*ret)->storage = BAG_MAPPED;
    return 0;
}

struct span bag_bytes(const struct bag_model *m)
{
    return m->bytes;
}

static int write_all(int file, struct span bytes)
{
    size_t done = 0;
    while (done < bytes.length) {
        ssize_t n = write(file, bytes.data + done, bytes.length - done);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int bag_write(const struct bag_model *m, const char *path, struct err_buf *e)
{
    char beside[4096];
    int length = snprintf(beside, sizeof beside, "%s.%ld.part", path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof beside) {
        return err_set(e, ERR_INVALID, "the path of the model is too long");
    }
    int file = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0) {
        return err_set(e, ERR_IO, "cannot write \"%s\": %s", beside, strerror(errno));
    }
    int failed = write_all(file, m->bytes);
    failed = close(file) != 0 && !failed ? errno : failed;
    if (!failed && rename(beside, path) != 0) {
        failed = errno;
    }
    if (failed) {
        (void)unlink(beside); /* the write's error is the one to report */
        return err_set(e, ERR_IO, "cannot write \"%s\": %s", path, strerror(failed));
    }
    return 0;
}

void bag_free(struct bag_model *m)
{
    if (!m) {
        return;
    }
    void *bytes = (void *)(uintptr_t)m->bytes.data; /* owned when storage says so */
    if (m->storage == BAG_OWNED) {
        mem_free(bytes);
    } else if (m->storage == BAG_MAPPED) {
        (void)munmap(bytes, m->bytes.length); /* an address that mmap gave */
    }
    mem_free(m->first);
    mem_free(m);
}

/* --- looking things up --------------------------------------------------------------------------
 */

size_t bag_label_count(const struct bag_model *m)
{
    return m->label_count;
}

struct span bag_label(const struct bag_model *m, size_t index)
{
    CHECK(index < m->label_count);
    return m->labels[index];
}

ptrdiff_t bag_label_find(const struct bag_model *m, struct span label)
{
    size_t low = 0;
    size_t high = m->label_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = bag__compare_spans(m->labels[middle], label);
        if (order == 0) {
            return (ptrdiff_t)middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return -1;
}

size_t bag_feature_count(const struct bag_model *m)
{
    return m->rows;
}

uint32_t bag__model_row(const struct bag_model *m, uint32_t key)
{
    uint64_t bucket = (uint64_t)key >> m->shift;
    uint32_t low = m->first[bucket];
    uint32_t high = m->first[bucket + 1];
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (m->keys[middle] == key) {
            return middle;
        }
        if (m->keys[middle] < key) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return BAG_VOCAB_NONE;
}
