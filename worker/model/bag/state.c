/* One msgpack map, its entries in the order of the list; numbers little-endian as they lie. */
#include "worker/model/bag/state.h"

#include "worker/model/bag/pack.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char format_name[] = "meridian-bag-state";
enum { FORMAT_VERSION = 1, HEAD_MAX = 128, HEADS_MAX = 64 * 1024 };

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

/* The heads lie one after the other in b, what comes before the first entry is part of its head. */
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

/* A head is known to the byte: anything else is another state. */
static int read_entry(const struct bag_state_entry *entry, struct span head,
                      int (*read)(void *to, size_t bytes, void *data, struct err_buf *e),
                      void *data, struct err_buf *e)
{
    char found[HEAD_MAX];
    CHECK(head.length <= sizeof found);
    int rc = read(found, head.length, data, e);
    if (rc == 0 && memcmp(found, head.data, head.length) != 0) {
        rc = err_set(e, ERR_CORRUPT, "no state of this training: no '%s' of %zu bytes at its place",
                     entry->name, bytes_of(entry));
    }
    if (rc == 0 && entry->count > 0) { /* no bytes would mean the end */
        rc = read(entry->data, bytes_of(entry), data, e);
    }
    if (rc == 0 && !is_usable(entry)) {
        rc = err_set(e, ERR_CORRUPT, "'%s' of the state has a number that is none", entry->name);
    }
    return rc;
}

int bag__state_read(const struct bag_state_list *s,
                    int (*read)(void *to, size_t bytes, void *data, struct err_buf *e), void *data,
                    struct err_buf *e)
{
    size_t ends[BAG_STATE_ENTRIES_MAX];
    struct buf heads;
    buf_init(&heads, HEADS_MAX);
    int rc = add_heads(s, &heads, ends);
    rc = rc ? err_set(e, rc, "no memory to read a state") : 0;
    for (size_t i = 0, at = 0; rc == 0 && i < s->count; at = ends[i++]) {
        rc = read_entry(&s->entries[i], span_make(heads.data + at, ends[i] - at), read, data, e);
    }
    buf_close(&heads);
    return rc ? rc : read(NULL, 0, data, e);
}
