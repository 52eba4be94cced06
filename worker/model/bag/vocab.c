/* See vocab.h. */
#include "worker/model/bag/vocab.h"

#include "common/base/mem.h"

#include <string.h>

void bag__vocab_init(struct bag_vocab *v, uint32_t limit)
{
    *v = (struct bag_vocab){.limit = limit};
}

void bag__vocab_close(struct bag_vocab *v)
{
    mem_free(v->keys);
    mem_free(v->texts);
    mem_free(v->slots);
    *v = (struct bag_vocab){0};
}

static uint32_t *find_slot(const struct bag_vocab *v, uint32_t key)
{
    size_t mask = v->slot_count - 1;
    size_t at = (key >> 1) & mask;
    while (v->slots[at] != 0 && v->keys[v->slots[at] - 1] != key) {
        at = (at + 1) & mask;
    }
    return &v->slots[at];
}

static size_t slots_for(size_t count)
{
    size_t slots = 1024;
    while (slots < count + count / 2) {
        slots *= 2;
    }
    return slots;
}

static int rehash(struct bag_vocab *v, size_t slot_count, struct err_buf *e)
{
    uint32_t *slots = mem_new_array(slot_count, sizeof *slots);
    if (!slots) {
        return err_set(e, ERR_NOMEM, "cannot index %u features", v->count);
    }
    mem_free(v->slots);
    v->slots = slots;
    v->slot_count = slot_count;
    for (uint32_t id = 0; id < v->count; id++) {
        *find_slot(v, v->keys[id]) = id + 1;
    }
    return 0;
}

int bag__vocab_reserve(struct bag_vocab *v, size_t more, struct err_buf *e)
{
    size_t need = v->count + more;
    need = need < v->limit ? need : v->limit;
    if (need > v->room) {
        size_t room = need + need / 2 + 1024;
        uint32_t *keys = mem_resize_array(v->keys, room, sizeof *keys);
        v->keys = keys ? keys : v->keys;
        uint32_t *texts = keys ? mem_resize_array(v->texts, room, sizeof *texts) : NULL;
        v->texts = texts ? texts : v->texts;
        if (!texts) {
            return err_set(e, ERR_NOMEM, "cannot hold %zu features", need);
        }
        v->room = (uint32_t)room;
    }
    size_t slots = slots_for(need);
    return slots > v->slot_count ? rehash(v, slots, e) : 0;
}

uint32_t bag__vocab_add(struct bag_vocab *v, uint32_t key)
{
    uint32_t *slot = find_slot(v, key);
    if (*slot == 0) {
        if (v->count >= v->limit) {
            return BAG_VOCAB_NONE;
        }
        v->keys[v->count] = key;
        v->texts[v->count] = 0;
        *slot = ++v->count;
    }
    v->texts[*slot - 1]++;
    return *slot - 1;
}

uint32_t bag__vocab_find(const struct bag_vocab *v, uint32_t key)
{
    return v->slot_count ? *find_slot(v, key) - 1 : BAG_VOCAB_NONE;
}

int bag__vocab_renumber(struct bag_vocab *v, const uint32_t *keep, uint32_t count,
                        struct err_buf *e)
{
    uint32_t *keys = mem_new_array(count, sizeof *keys);
    uint32_t *texts = mem_new_array(count, sizeof *texts);
    size_t slot_count = slots_for(count);
    uint32_t *slots = mem_new_array(slot_count, sizeof *slots);
    if (!keys || !texts || !slots) {
        mem_free(keys);
        mem_free(texts);
        mem_free(slots);
        return err_set(e, ERR_NOMEM, "cannot renumber %u features", count);
    }
    for (uint32_t id = 0; id < v->count; id++) {
        if (keep[id] != BAG_VOCAB_NONE) {
            keys[keep[id]] = v->keys[id];
            texts[keep[id]] = v->texts[id];
        }
    }
    uint32_t limit = v->limit;
    bag__vocab_close(v);
    *v = (struct bag_vocab){.keys = keys,
                            .texts = texts,
                            .count = count,
                            .room = count,
                            .limit = limit,
                            .slots = slots,
                            .slot_count = slot_count};
    for (uint32_t id = 0; id < count; id++) {
        *find_slot(v, keys[id]) = id + 1;
    }
    return 0;
}
