#include "worker/supervisor/stall.h"

#include <stdio.h>
#include <string.h>

void stall_begin(struct stall *s, int64_t now_ms)
{
    *s = (struct stall){.step_ms = now_ms, .looked_ms = now_ms};
}

static bool is_step(const struct stall *s, const struct message_progress *p)
{
    return p->epoch != s->epoch || p->step != s->step || p->steps != s->steps ||
           p->done < s->done || p->done > s->done;
}

void stall_saw(struct stall *s, const struct message_progress *p, int64_t now_ms)
{
    bool is_new_phase = strcmp(p->phase, s->phase) != 0;
    if (!is_new_phase && !is_step(s, p)) {
        return;
    }
    int64_t took = now_ms - s->step_ms;
    if (is_new_phase) {
        s->slowest_ms = 0;
    } else if (took > s->slowest_ms || s->slowest_ms == 0) {
        s->slowest_ms = took > 0 ? took : 1;
    }
    (void)snprintf(s->phase, sizeof s->phase, "%s", p->phase);
    s->epoch = p->epoch;
    s->step = p->step;
    s->steps = p->steps;
    s->done = p->done;
    s->step_ms = now_ms;
}

int64_t stall_quiet_ms(struct stall *s, int64_t now_ms)
{
    int64_t gap = now_ms - s->looked_ms;
    if (gap > STALL_LOOK_MS) {
        s->step_ms += gap; /* nobody looked: what the job did then is not known */
        s->step_ms = s->step_ms > now_ms ? now_ms : s->step_ms;
    }
    s->looked_ms = now_ms;
    return now_ms - s->step_ms;
}

int64_t stall_limit_ms(const struct stall *s, int64_t stall_limit_s)
{
    if (stall_limit_s != STALL_AUTOMATIC) {
        return stall_limit_s > 0 ? stall_limit_s * 1000 : INT64_MAX;
    }
    bool is_complete = s->steps > 0 && s->step >= s->steps;
    if (s->slowest_ms == 0 || is_complete) {
        return STALL_UNKNOWN_MS;
    }
    int64_t limit = s->slowest_ms * STALL_TIMES;
    return limit > STALL_LEAST_MS ? limit : STALL_LEAST_MS;
}

void stall_format(const struct stall *s, int64_t quiet_ms, char *out, size_t size)
{
    int at = snprintf(out, size, "made no step for %.0f s", (double)quiet_ms / 1000);
    if (s->phase[0] && at > 0 && (size_t)at < size) {
        at += snprintf(out + at, size - (size_t)at, " in phase %s", s->phase);
    }
    if (s->steps > 0 && at > 0 && (size_t)at < size) {
        at += snprintf(out + at, size - (size_t)at, ", at step %lld of %lld", (long long)s->step,
                       (long long)s->steps);
    }
    if (s->slowest_ms > 0 && at > 0 && (size_t)at < size) {
        (void)snprintf(out + at, size - (size_t)at, " (its slowest took %.1f s)",
                       (double)s->slowest_ms / 1000);
    }
}
