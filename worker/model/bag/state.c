/* One msgpack map, its entries in the order of the list; numbers little-endian as they lie. */
#include "worker/model/bag/state.h"

#include "worker/model/bag/pack.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char format_name[] = "meridian-bag-state";
enum { FORMAT_VERSION = 1, HEADS_MAX = 64 * 1024 };

static size_t bytes_of(const struct bag_state_entry *entry)
{
    bool is_wide = entry->type == BAG_STATE_U64 || entry->type == BAG_STATE_F64;
    return entry->count * (is_wide ? 8 : 4);
}

void bag__state_add(struct bag_state_list *s, const char *prefix, const char *name,
                    enum bag_state_type type, void *data, size_t count)
{
    CHECK(s->count < BAG_STATE_ENTRIES_MAX);
    struct bag_state_entry *entry = &s->entries[s->count++];
    int length = snprintf(entry->name, sizeof entry->name, "%s%s", prefix, name);
    CHECK(length > 0 && length <= BAG_STATE_NAME_MAX);
    entry->type = type;
    entry->data = data;
    entry->count = count;
}

/* --- writing ------------------------------------------------------------------------------------
 */

static int add_head(struct buf *b, const struct bag_state_entry *entry)
{
    int rc = bag__pack_text(b, span_of(entry->name));
    return rc ? rc : bag__pack_bin_header(b, (uint32_t)bytes_of(entry));
}

static int add_start(struct buf *b, size_t entries)
{
    int rc = bag__pack_map(b, (uint32_t)entries + 2);
    rc = rc ? rc : bag__pack_text(b, span_of("format"));
    rc = rc ? rc : bag__pack_text(b, span_of(format_name));
    rc = rc ? rc : bag__pack_text(b, span_of("version"));
    return rc ? rc : bag__pack_uint(b, FORMAT_VERSION);
}

/* The heads lie one after the other in b; parts are a head and its values in turn. */
static int add_heads(const struct bag_state_list *s, struct buf *b, size_t ends[])
{
    int rc = add_start(b, s->count);
    for (size_t i = 0; rc == 0 && i < s->count; i++) {
        rc = add_head(b, &s->entries[i]);
        ends[i] = b->length;
    }
    return rc;
}

int bag__state_write(const struct bag_state_list *s,
                     void (*take)(const struct bag_state *state, void *data), void *data)
{
    struct span parts[2 * BAG_STATE_ENTRIES_MAX];
    size_t ends[BAG_STATE_ENTRIES_MAX];
    struct buf heads;
    struct bag_state state = {.parts = parts};
    buf_init(&heads, HEADS_MAX);
    int rc = add_heads(s, &heads, ends);
    for (size_t i = 0, at = 0; rc == 0 && i < s->count; i++) {
        parts[state.count++] = span_make(heads.data + at, ends[i] - at);
        parts[state.count++] = span_make(s->entries[i].data, bytes_of(&s->entries[i]));
        state.bytes += ends[i] - at + bytes_of(&s->entries[i]);
        at = ends[i];
    }
    if (rc == 0) {
        /* The lengths of a larger one may not fit their heads. */
        state.count = state.bytes <= BAG_STATE_BYTES_MAX ? state.count : 0;
        take(&state, data);
    }
    buf_close(&heads);
    return rc;
}

/* --- reading ------------------------------------------------------------------------------------
 */

static bool take_key(struct bag_pack_reader *r, const char *name)
{
    struct bag_pack_item item;
    return bag__pack_next(r, &item) && item.type == BAG_PACK_TEXT &&
           span_equals(item.bytes, span_of(name));
}

static int read_start(struct bag_pack_reader *r, size_t entries, struct err_buf *e)
{
    struct bag_pack_item item;
    if (!bag__pack_next(r, &item) || item.type != BAG_PACK_MAP || !take_key(r, "format") ||
        !take_key(r, format_name)) {
        return err_set(e, ERR_CORRUPT, "not the state of a training");
    }
    uint64_t pairs = item.number;
    if (!take_key(r, "version") || !bag__pack_next(r, &item) || item.type != BAG_PACK_UINT) {
        return err_set(e, ERR_CORRUPT, "the state of a training has no version");
    }
    if (item.number != FORMAT_VERSION) {
        return err_set(e, ERR_UNSUPPORTED, "the state of a training has version %llu, not %d",
                       (unsigned long long)item.number, FORMAT_VERSION);
    }
    return pairs == entries + 2
               ? 0
               : err_set(e, ERR_CORRUPT, "the state has %llu entries, this training has %zu",
                         (unsigned long long)pairs - 2, entries);
}

/* Weights and sums of squares are finite; losses (F64) may be not known yet. */
static bool is_usable(const struct bag_state_entry *entry)
{
    const float *values = entry->data;
    for (size_t i = 0; entry->type == BAG_STATE_F32 && i < entry->count; i++) {
        if (!isfinite(values[i])) {
            return false;
        }
    }
    return true;
}

static int read_entry(struct bag_pack_reader *r, const struct bag_state_entry *entry,
                      struct err_buf *e)
{
    struct bag_pack_item item;
    if (!take_key(r, entry->name) || !bag__pack_next(r, &item) || item.type != BAG_PACK_BIN) {
        return err_set(e, ERR_CORRUPT, "the state has no '%s' where it should be", entry->name);
    }
    if (item.bytes.length != bytes_of(entry)) {
        return err_set(e, ERR_CORRUPT, "'%s' of the state has %zu bytes, not %zu", entry->name,
                       item.bytes.length, bytes_of(entry));
    }
    if (item.bytes.length > 0) {
        memcpy(entry->data, item.bytes.data, item.bytes.length);
    }
    return is_usable(entry) ? 0
                            : err_set(e, ERR_CORRUPT, "'%s' of the state has a number that is none",
                                      entry->name);
}

int bag__state_read(const struct bag_state_list *s, struct span bytes, struct err_buf *e)
{
    struct bag_pack_reader r = {.data = (const unsigned char *)bytes.data, .length = bytes.length};
    int rc = read_start(&r, s->count, e);
    for (size_t i = 0; rc == 0 && i < s->count; i++) {
        rc = read_entry(&r, &s->entries[i], e);
    }
    return rc == 0 && r.at != r.length
               ? err_set(e, ERR_CORRUPT, "%zu bytes behind the state", r.length - r.at)
               : rc;
}
