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

static void gaps_remove(struct store_feed *f, int64_t first, int64_t last)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->gap_count; i++) {
        if (f->gaps[i].id < first || f->gaps[i].id > last) {
            f->gaps[kept++] = f->gaps[i];
        }
    }
    f->gap_count = kept;
}

void store__feed_saw(struct store_feed *f, int64_t first, int64_t last, int64_t now_ms)
{
    gaps_remove(f, first, last);
    if (last <= f->after) {
        return;
    }
    int64_t missing = f->after + 1;
    if (first - missing > STORE_GAPS_MAX) {
        missing = first - STORE_GAPS_MAX; /* older ones were given up by a crash of the server */
    }
    for (; missing < first; missing++) {
        gap_add(f, missing, now_ms);
    }
    f->after = last;
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
