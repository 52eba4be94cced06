#include "scheduler/core/order.h"

enum { BAND_POINTS = 100, BAND_LOW = -50 };

/* Above any time in ms (2^50 is the year 37648) and any age of a band's points. */
#define BAND_STEP ((int64_t)1 << 56)
/* Without ageing a point outweighs all time. */
#define NEVER_MS ((int64_t)1 << 50)

static int64_t floor_divide(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

int64_t order_key(int priority, int64_t queued_ms, int64_t age_ms)
{
    if (age_ms <= 0) {
        return queued_ms - priority * NEVER_MS;
    }
    int64_t band = floor_divide(priority - BAND_LOW, BAND_POINTS);
    return queued_ms - priority * age_ms - band * BAND_STEP;
}

int64_t order_queued_ms(int64_t key, int priority, int64_t age_ms)
{
    return key - order_key(priority, 0, age_ms);
}

int64_t order_level(int64_t key, int64_t age_ms)
{
    return floor_divide(key, age_ms > 0 ? age_ms : NEVER_MS);
}
