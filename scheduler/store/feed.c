#include "common/base/buf.h"
#include "scheduler/store/store_int.h"

/* Transactions that write events are short: an id that has not appeared for so long never will. */
enum { GAP_MAX_MS = 60000 };

static void gap_add(struct store_feed *f, int64_t id, int64_t now_ms)
{
    if (f->gap_count == STORE_GAPS_MAX) {
        for (size_t i = 1; i < f->gap_count; i++) {
            f->gaps[i - 1] = f->gaps[i];
        }
        f->gap_count--;
    }
    f->gaps[f->gap_count].id = id;
    f->gaps[f->gap_count].since_ms = now_ms;
    f->gap_count++;
}

static void gap_remove(struct store_feed *f, int64_t id)
{
    for (size_t i = 0; i < f->gap_count; i++) {
        if (f->gaps[i].id == id) {
            f->gap_count--;
            for (size_t k = i; k < f->gap_count; k++) {
                f->gaps[k] = f->gaps[k + 1];
            }
            return;
        }
    }
}

void store__feed_saw(struct store_feed *f, int64_t id, int64_t now_ms)
{
    if (id <= f->after) {
        gap_remove(f, id);
        return;
    }
    int64_t first = f->after + 1;
    if (id - first > STORE_GAPS_MAX) {
        first = id - STORE_GAPS_MAX; /* older ones were given up by a crash of the server */
    }
    for (int64_t missing = first; missing < id; missing++) {
        gap_add(f, missing, now_ms);
    }
    f->after = id;
}

void store__feed_expire(struct store_feed *f, int64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->gap_count; i++) {
        if (now_ms - f->gaps[i].since_ms < GAP_MAX_MS) {
            f->gaps[kept++] = f->gaps[i];
        }
    }
    f->gap_count = kept;
}
