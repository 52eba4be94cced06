#include "worker/supervisor/recent.h"

#include "common/base/mem.h"
#include "common/base/rng.h"

#include <string.h>

enum { ROOM_FIRST = 64 };

void recent_init(struct recent *r, int64_t period_ms, size_t max)
{
    *r = (struct recent){.period_ms = period_ms, .max = max};
}

void recent_close(struct recent *r)
{
    mem_free(r->now.slots);
    mem_free(r->before.slots);
    *r = (struct recent){0};
}

/* Never 0. Two attempts of the last seconds that share one: once in 10^10 years of a full set; the
 * second would be given to somebody again as undelivered. */
static uint64_t fingerprint(const char *job, int32_t attempt)
{
    uint64_t h = (uint32_t)attempt;
    for (; *job; job++) {
        h = (h ^ (unsigned char)*job) * 0x100000001b3u;
        h ^= h >> 29;
    }
    h = rng_mix(h);
    return h ? h : 1;
}

static size_t place_of(const struct recent_set *s, uint64_t print)
{
    size_t at = (size_t)print & (s->room - 1);
    while (s->slots[at] && s->slots[at] != print) {
        at = (at + 1) & (s->room - 1);
    }
    return at;
}

static bool has(const struct recent_set *s, uint64_t print)
{
    return s->count > 0 && s->slots[place_of(s, print)] == print;
}

static int grow(struct recent_set *s)
{
    struct recent_set next = {.room = s->room ? 2 * s->room : ROOM_FIRST, .count = s->count};
    next.slots = mem_new_array(next.room, sizeof(uint64_t));
    if (!next.slots) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < s->room; i++) {
        if (s->slots[i]) {
            next.slots[place_of(&next, s->slots[i])] = s->slots[i];
        }
    }
    mem_free(s->slots);
    *s = next;
    return 0;
}

static void turn(struct recent *r, int64_t now_ms)
{
    mem_free(r->before.slots);
    r->before = r->now;
    r->now = (struct recent_set){0};
    r->turned_ms = now_ms;
}

int recent_add(struct recent *r, const char *job, int32_t attempt, int64_t now_ms)
{
    if (now_ms - r->turned_ms >= r->period_ms || r->now.count >= r->max) {
        turn(r, now_ms);
    }
    if (2 * (r->now.count + 1) > r->now.room && grow(&r->now)) {
        return ERR_NOMEM;
    }
    uint64_t print = fingerprint(job, attempt);
    size_t at = place_of(&r->now, print);
    r->now.count += r->now.slots[at] == 0;
    r->now.slots[at] = print;
    return 0;
}

bool recent_has(const struct recent *r, const char *job, int32_t attempt)
{
    uint64_t print = fingerprint(job, attempt);
    return has(&r->now, print) || has(&r->before, print);
}
