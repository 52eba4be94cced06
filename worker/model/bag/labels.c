/* See labels.h. */
#include "worker/model/bag/labels.h"

#include "common/base/mem.h"
#include "worker/model/bag/bag.h"

/* Twice the most labels, so that probing always ends; a power of two. */
enum { LABEL_SLOTS = 2 * BAG_LABELS_MAX };

void bag__labels_close(struct bag_labels *l)
{
    for (uint32_t i = 0; i < l->count; i++) {
        mem_free((void *)(uintptr_t)l->names[i].data); /* owned here, const for readers */
    }
    mem_free(l->names);
    mem_free(l->samples);
    mem_free(l->slots);
    *l = (struct bag_labels){0};
}

static uint32_t hash_name(struct span name)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < name.length; i++) {
        h = (h ^ (unsigned char)name.data[i]) * 16777619u;
    }
    return h ^ (h >> 15);
}

static int grow(struct bag_labels *l, struct err_buf *e)
{
    if (!l->slots) {
        l->slots = mem_new_array(LABEL_SLOTS, sizeof *l->slots);
        if (!l->slots) {
            return err_set(e, ERR_NOMEM, "cannot hold labels");
        }
        l->slot_count = LABEL_SLOTS;
    }
    if (l->count < l->room) {
        return 0;
    }
    uint32_t room = l->room ? l->room * 2 : 16;
    struct span *names = mem_resize_array(l->names, room, sizeof *names);
    l->names = names ? names : l->names;
    uint32_t *samples = names ? mem_resize_array(l->samples, room, sizeof *samples) : NULL;
    l->samples = samples ? samples : l->samples;
    if (!samples) {
        return err_set(e, ERR_NOMEM, "cannot hold %u labels", room);
    }
    l->room = room;
    return 0;
}

int bag__labels_add(struct bag_labels *l, struct span name, uint32_t *ret, struct err_buf *e)
{
    if (name.length == 0 || name.length > BAG_LABEL_BYTES_MAX) {
        return err_set(e, ERR_DATA, "a label of %zu bytes; it must have 1 to %d", name.length,
                       BAG_LABEL_BYTES_MAX);
    }
    int rc = grow(l, e);
    if (rc) {
        return rc;
    }
    uint32_t at = hash_name(name) & (l->slot_count - 1);
    while (l->slots[at] && !span_equals(l->names[l->slots[at] - 1], name)) {
        at = (at + 1) & (l->slot_count - 1);
    }
    if (l->slots[at] == 0) {
        if (l->count >= BAG_LABELS_MAX) {
            return err_set(e, ERR_LIMIT, "more than %d labels", BAG_LABELS_MAX);
        }
        char *copy = mem_string(name.data, name.length);
        if (!copy) {
            return err_set(e, ERR_NOMEM, "cannot hold a label");
        }
        l->names[l->count] = span_make(copy, name.length);
        l->samples[l->count] = 0;
        l->slots[at] = ++l->count;
    }
    *ret = l->slots[at] - 1;
    return 0;
}
