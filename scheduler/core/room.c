#include "scheduler/core/room.h"

#include "common/base/mem.h"

#include <float.h>

enum { LEAVES_FIRST = 8 };

void room_init(struct room_tree *t)
{
    *t = (struct room_tree){0};
}

void room_close(struct room_tree *t)
{
    mem_free(t->nodes);
    room_init(t);
}

static int most(int a, int b)
{
    return a > b ? a : b;
}

/* Nobody is there. */
static const struct room nothing = {0, 0, 0, FLT_MAX};

static void sum_up(struct room_tree *t, size_t at)
{
    for (at /= 2; at >= 1; at /= 2) {
        const struct room *left = &t->nodes[2 * at];
        const struct room *right = &t->nodes[2 * at + 1];
        t->nodes[at] = (struct room){.slots = most(left->slots, right->slots),
                                     .threads = most(left->threads, right->threads),
                                     .memory_mb = most(left->memory_mb, right->memory_mb),
                                     .load = left->load < right->load ? left->load : right->load};
    }
}

static int grow(struct room_tree *t, size_t index)
{
    size_t leaves = t->leaves ? t->leaves : LEAVES_FIRST;
    while (leaves <= index) {
        leaves *= 2;
    }
    struct room *nodes = mem_new_array(2 * leaves, sizeof *nodes);
    if (!nodes) {
        return ERR_NOMEM;
    }
    struct room_tree bigger = {.nodes = nodes, .leaves = leaves};
    for (size_t i = 0; i < 2 * leaves; i++) {
        nodes[i] = nothing;
    }
    for (size_t i = 0; i < t->leaves; i++) {
        nodes[leaves + i] = t->nodes[t->leaves + i];
        sum_up(&bigger, leaves + i);
    }
    mem_free(t->nodes);
    *t = bigger;
    return 0;
}

int room_set(struct room_tree *t, size_t index, struct room free)
{
    if (index >= t->leaves && grow(t, index)) {
        return ERR_NOMEM;
    }
    size_t at = t->leaves + index;
    t->nodes[at] = free.slots > 0 ? free : nothing;
    sum_up(t, at);
    return 0;
}

/* Which of two neighbours is looked at first. */
static bool goes_first(const struct room_tree *t, size_t at, size_t other)
{
    float a = t->nodes[at].load;
    float b = t->nodes[other].load;
    return a < b || (a <= b && at < other);
}

/* The next node to look at after everything below `at` was looked at: the other side of the nearest
 * node whose first side it was; 0 when there is none. */
static size_t turn_back(const struct room_tree *t, size_t at)
{
    for (; at > 1; at /= 2) {
        size_t other = at ^ 1;
        if (goes_first(t, at, other)) {
            return other;
        }
    }
    return 0;
}

bool room_may_hold(const struct room_tree *t, const struct room *wanted)
{
    return t->leaves > 0 && room_holds(&t->nodes[1], wanted);
}

long room_find(const struct room_tree *t, const struct room *wanted, uint64_t *ret_visits)
{
    size_t at = t->leaves ? 1 : 0;
    while (at != 0) {
        if (ret_visits) {
            (*ret_visits)++;
        }
        if (!room_holds(&t->nodes[at], wanted)) {
            at = turn_back(t, at);
        } else if (at >= t->leaves) {
            return (long)(at - t->leaves);
        } else {
            at = 2 * at + goes_first(t, 2 * at + 1, 2 * at);
        }
    }
    return ROOM_NONE;
}
