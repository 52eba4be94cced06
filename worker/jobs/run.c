/* What every kind needs: reporting, stopping, waiting for a server to come back. */
#include "worker/jobs/run.h"

#include "common/base/clock.h"
#include "common/base/rng.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { NAP_MS = 20, BACKOFF_MS_MIN = 100, BACKOFF_MS_MAX = 5000 };

const char *run_as_of(const struct run *run)
{
    return job_spec_has(run->spec, "as_of") ? job_spec_text(run->spec, "as_of") : NULL;
}

struct message_progress run_progress_of(const char *phase, double done)
{
    struct message_progress p = {
        .loss = (double)NAN, .examples_per_s = (double)NAN, .eta_ms = -1, .done = done};
    (void)snprintf(p.phase, sizeof p.phase, "%s", phase);
    return p;
}

void run_report(struct run *run, const struct message_progress *progress)
{
    run->done = progress->done;
    if (run->port.progress) {
        struct message_progress told = *progress;
        told.resumed_step = run->resumed_step;
        run->port.progress(&told, run->port.data);
    }
}

void run_log(struct run *run, const char *format, ...)
{
    if (!run->port.log) {
        return;
    }
    char line[MESSAGE_LINE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    run->port.log(line, run->port.data);
}

bool run_is_cancelled(struct run *run)
{
    return run->is_fenced || (run->port.is_cancelled && run->port.is_cancelled(run->port.data));
}

bool run_wants_save(struct run *run)
{
    return run->port.wants_save && run->port.wants_save(run->port.data);
}

void run_saved(struct run *run)
{
    if (run->port.saved) {
        run->port.saved(run->port.data);
    }
}

int run_sleep(struct run *run, int64_t ms, struct err_buf *e)
{
    int64_t end = clock_mono_ms() + ms;
    for (;;) {
        if (run_is_cancelled(run)) {
            return err_set(e, ERR_CANCELLED, "cancelled");
        }
        int64_t left = end - clock_mono_ms();
        if (left <= 0) {
            return 0;
        }
        int64_t nap = left < NAP_MS ? left : NAP_MS;
        struct timespec t = {.tv_nsec = (long)nap * 1000000};
        (void)nanosleep(&t, NULL); /* a signal ends it early: the loop asks again */
    }
}

int run_persist(struct run *run, int (*step)(struct run *run, void *data, struct err_buf *e),
                void *data, struct err_buf *e)
{
    int64_t backoff = BACKOFF_MS_MIN;
    struct rng jitter = {.key = rng_seed_from_system()};
    for (;;) {
        int rc = step(run, data, e);
        if (rc != ERR_UNREACHABLE) {
            return rc;
        }
        /* Waiting for a server is no wedged step: its own phase, in which no steps are expected. */
        struct message_progress waits = run_progress_of("wait", run->done);
        run_report(run, &waits);
        databases_close(run->databases); /* whatever broke, the next try connects anew */
        run_log(run, "%s; trying again", e->text);
        struct err_buf ignored;
        int64_t wait = backoff / 2 + rng_below(&jitter, (uint32_t)backoff);
        if (run_sleep(run, wait, &ignored) != 0) {
            return err_wrap(e, ERR_CANCELLED, "cancelled while waiting for a server");
        }
        backoff = backoff * 2 < BACKOFF_MS_MAX ? backoff * 2 : BACKOFF_MS_MAX;
    }
}
