/*
 * What is expected of jobs, by (kind, market, task); and what is to be kept of it, and of the use
 * of markets, in the record, so that the next leader starts with it.
 */
#include "scheduler/core/estimate.h"

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "scheduler/core/core_int.h"

#include <string.h>

/* The first few count alike; then old ones fade. */
#define WEIGHT_MIN 0.05
#define ODD 8.0

enum {
    TRUSTED = 4,          /* attempts from which on one more may be called odd */
    MEMORIES_MAX = 65536, /* names beyond that share what is known of their kind */
    UNKNOWN_MS = 60000,   /* of a kind that has never run */
    EXPECTED_MS_MAX = 1 << 30
};

void estimate_add(struct estimate *e, double seconds)
{
    if (e->attempts >= TRUSTED && e->seconds > 0) {
        double low = e->seconds / ODD;
        double high = e->seconds * ODD;
        seconds = seconds < low ? low : seconds > high ? high : seconds;
    }
    e->attempts++;
    double weight = 1.0 / (double)e->attempts;
    weight = weight < WEIGHT_MIN ? WEIGHT_MIN : weight;
    e->seconds += (seconds - e->seconds) * weight;
}

/* --- memories -------------------------------------------------------------------------------- */

/* The three names one after the other, each with its NUL. */
static bool key_write(char out[CORE_MEMORY_SIZE], struct span kind, struct span market,
                      struct span task, size_t *ret_length)
{
    struct span parts[] = {kind, market, task};
    size_t used = 0;
    for (int i = 0; i < 3; i++) {
        if (parts[i].length >= CORE_MEMORY_SIZE - used - 1) {
            return false;
        }
        if (parts[i].length) {
            memcpy(out + used, parts[i].data, parts[i].length);
        }
        used += parts[i].length;
        out[used++] = '\0';
    }
    *ret_length = used;
    return true;
}

static uint64_t hash_of(const char *key, size_t length)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++) {
        h = (h ^ (unsigned char)key[i]) * 0x100000001b3u;
    }
    return rng_mix(h);
}

static struct core_memory *memory_new(struct core *c, const char *key, size_t length,
                                      uint64_t value)
{
    struct core_memory *m = mem_new(sizeof *m + length);
    if (!m || hash_add(&c->memories, &m->in_memories, value)) {
        mem_free(m);
        return NULL;
    }
    memcpy(m->key, key, length);
    m->length = length;
    list_init(&m->in_changed);
    return m;
}

struct core_memory *core__memory_get(struct core *c, struct span kind, struct span market,
                                     struct span task)
{
    char key[CORE_MEMORY_SIZE];
    size_t length;
    if (!key_write(key, kind, market, task, &length)) {
        return NULL;
    }
    uint64_t value = hash_of(key, length);
    for (struct hash_node *n = hash_first(&c->memories, value); n; n = hash_next(n)) {
        struct core_memory *m = LIST_OWNER(n, struct core_memory, in_memories);
        if (m->length == length && memcmp(m->key, key, length) == 0) {
            return m;
        }
    }
    if (c->memories.count >= MEMORIES_MAX && market.length + task.length > 0) {
        return core__memory_get(c, kind, span_of(""), span_of(""));
    }
    return memory_new(c, key, length, value);
}

static struct core_memory *memory_of_kind(struct core *c, const struct core_memory *m)
{
    return core__memory_get(c, span_of(m->key), span_of(""), span_of(""));
}

int core__expected_ms(struct core *c, const struct core_job *job)
{
    const struct core_memory *m = job->memory;
    if (m && m->estimate.attempts == 0) {
        m = memory_of_kind(c, m);
    }
    if (!m || m->estimate.attempts == 0) {
        return UNKNOWN_MS;
    }
    double ms = m->estimate.seconds * 1000;
    return ms > (double)EXPECTED_MS_MAX ? EXPECTED_MS_MAX : (int)ms;
}

bool core__is_short(const struct core *c, const struct core_job *job)
{
    const struct core_memory *m = job->memory;
    return c->settings.bundle_max > 1 && m && m->estimate.attempts >= c->settings.short_after &&
           m->estimate.seconds * 1000 <= (double)c->settings.short_ms;
}

static void learn(struct core *c, struct core_memory *m, double seconds)
{
    estimate_add(&m->estimate, seconds);
    if (list_is_empty(&m->in_changed)) {
        list_push(&c->changed, &m->in_changed);
    }
}

void core__duration_add(struct core *c, const struct core_job *job, int64_t run_ms)
{
    struct core_memory *m = job->memory;
    if (!m || run_ms < 0) {
        return;
    }
    learn(c, m, (double)run_ms / 1000);
    struct core_memory *kind = memory_of_kind(c, m);
    if (kind && kind != m) {
        learn(c, kind, (double)run_ms / 1000);
    }
}

/* --- in the record --------------------------------------------------------------------------- */

void core__keep(struct core *c)
{
    struct core_estimate_row estimates[CORE_KEEP_MAX];
    struct core_use_row uses[CORE_KEEP_MAX];
    struct core_kept kept = {.estimates = estimates, .uses = uses};
    if (!c->ports.store.keep) {
        return;
    }
    int64_t now = core__now(c);
    while (!list_is_empty(&c->changed) && kept.estimate_count < CORE_KEEP_MAX) {
        struct core_memory *m = LIST_OWNER(c->changed.next, struct core_memory, in_changed);
        list_remove(&m->in_changed);
        const char *market = m->key + strlen(m->key) + 1;
        estimates[kept.estimate_count++] =
            (struct core_estimate_row){.kind = span_of(m->key),
                                       .market = span_of(market),
                                       .task = span_of(market + strlen(market) + 1),
                                       .attempts = m->estimate.attempts,
                                       .seconds = m->estimate.seconds};
    }
    for (size_t i = 0; i < c->markets.count && kept.use_count < CORE_KEEP_MAX; i++) {
        struct core_market *m = c->markets.objects[i];
        if (m->used > m->kept_used || m->used < m->kept_used) {
            m->kept_used = m->used;
            uses[kept.use_count++] = (struct core_use_row){
                .market = span_of(m->name), .used_s = share_now(&c->clock, m->used, now)};
        }
    }
    uint64_t token =
        kept.estimate_count + kept.use_count > 0 ? core__call(c, CORE_CALL_KEEP, NULL, 0) : 0;
    if (token) {
        c->ports.store.keep(c->ports.store.self, token, &kept);
    }
}

void core__recall(struct core *c, const struct core_kept *kept)
{
    for (size_t i = 0; i < kept->estimate_count; i++) {
        const struct core_estimate_row *row = &kept->estimates[i];
        struct core_memory *m = core__memory_get(c, row->kind, row->market, row->task);
        if (m && m->estimate.attempts == 0 && row->attempts > 0) {
            m->estimate = (struct estimate){.attempts = row->attempts, .seconds = row->seconds};
        }
    }
    for (size_t i = 0; i < kept->use_count; i++) {
        struct core_market *m = core__market_get(c, kept->uses[i].market);
        if (!m) {
            return;
        }
        core__market_used(c, m, kept->uses[i].used_s);
    }
}

void core__memories_clear(struct core *c)
{
    for (struct hash_node *n = hash_any(&c->memories), *next; n; n = next) {
        next = hash_after(&c->memories, n);
        hash_remove(&c->memories, n);
        mem_free(LIST_OWNER(n, struct core_memory, in_memories));
    }
    hash_close(&c->memories);
    list_init(&c->changed);
}
