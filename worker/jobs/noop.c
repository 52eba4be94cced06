/*
 * noop: does nothing for a while, or fails in a chosen way. For trying out a queue and its alarms.
 */
#include "worker/jobs/run.h"

#include "common/base/mem.h"
#include "common/json/json.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OOM_STEP_MB = 8, TELL_EVERY_MS = 1000 };
#define MB ((size_t)1024 * 1024)

/* Touches every page, else nothing is really used. */
static char *take_memory(size_t bytes)
{
    char *block = mem_new_aligned(bytes, 1);
    for (size_t at = 0; block && at < bytes; at += 4096) {
        *(volatile char *)(block + at) = 1;
    }
    return block;
}

/* Takes memory, and keeps it, until there is no more or somebody stops the process. */
static int fail_by_memory(struct run *run, struct err_buf *e)
{
    void **chain = NULL;
    for (size_t taken = 0;; taken += OOM_STEP_MB) {
        void **block = (void **)(void *)take_memory(OOM_STEP_MB * MB);
        if (!block || run_is_cancelled(run)) {
            while (chain) {
                void **next = *chain;
                mem_free(chain);
                chain = next;
            }
            mem_free(block);
            return block ? err_set(e, ERR_CANCELLED, "cancelled")
                         : err_set(e, ERR_OOM, "no more memory after %zu MB of the allowed %d MB",
                                   taken, (int)run->job->memory_mb);
        }
        *block = chain;
        chain = block;
    }
}

/* Only SIGKILL helps: that is what the supervisor must manage. */
static __attribute__((noreturn)) void hang(void)
{
    (void)signal(SIGTERM, SIG_IGN);
    for (;;) {
        (void)pause();
    }
}

static int fail_as_asked(struct run *run, const char *fail, struct err_buf *e)
{
    if (strcmp(fail, "error") == 0) {
        return err_set(e, ERR_IO, "failed as the spec asked (error)");
    }
    if (strcmp(fail, "permanent") == 0) {
        return err_set(e, ERR_DATA, "failed as the spec asked (permanent)");
    }
    if (strcmp(fail, "oom") == 0) {
        return fail_by_memory(run, e);
    }
    if (strcmp(fail, "crash") == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would turn it into an exit */
        (void)raise(SIGSEGV);
    }
    if (strcmp(fail, "hang") == 0) {
        hang();
    }
    return 0;
}

/* One step. A long one tells every second how far it is: it sleeps, and is not wedged. */
static int sleep_step(struct run *run, struct message_progress *p, int64_t from_ms, int64_t to_ms,
                      int64_t sleep_ms, struct err_buf *e)
{
    int rc = 0;
    for (int64_t at = from_ms; rc == 0; at += TELL_EVERY_MS) {
        p->done = sleep_ms > 0 ? (double)at / (double)sleep_ms : 0;
        p->eta_ms = sleep_ms - at;
        run_report(run, p);
        if (to_ms - at <= TELL_EVERY_MS) {
            return run_sleep(run, to_ms - at, e);
        }
        rc = run_sleep(run, TELL_EVERY_MS, e);
    }
    return rc;
}

static int sleep_in_steps(struct run *run, int64_t sleep_ms, int64_t steps, struct err_buf *e)
{
    bool may_hang = job_spec_has(run->spec, "hang_after");
    int64_t hang_after = job_spec_integer(run->spec, "hang_after");
    int rc = 0;
    for (int64_t step = 0; step < steps && rc == 0; step++) {
        struct message_progress p = run_progress_of("sleep", 0);
        p.step = step;
        p.steps = steps;
        if (may_hang && step == hang_after) {
            p.done = (double)step / (double)steps;
            run_report(run, &p);
            run_log(run, "hangs after %lld steps, as the spec asked", (long long)step);
            hang();
        }
        rc = sleep_step(run, &p, sleep_ms * step / steps, sleep_ms * (step + 1) / steps, sleep_ms,
                        e);
    }
    return rc;
}

int kind_noop(struct run *run, struct buf *ret_result, struct err_buf *e)
{
    int64_t sleep_ms = job_spec_integer(run->spec, "sleep_ms");
    int64_t steps = job_spec_integer(run->spec, "steps");
    int64_t allocate_mb = job_spec_integer(run->spec, "allocate_mb");
    char *block = NULL;
    if (allocate_mb > 0 && !(block = take_memory((size_t)allocate_mb * MB))) {
        return err_set(e, ERR_OOM, "cannot take %lld MB within the allowed %d MB",
                       (long long)allocate_mb, (int)run->job->memory_mb);
    }
    int rc = sleep_in_steps(run, sleep_ms, steps < 1 ? 1 : steps, e);
    if (rc == 0) {
        rc = fail_as_asked(run, job_spec_text(run->spec, "fail"), e);
    }
    mem_free(block);
    if (rc != 0) {
        return rc;
    }
    struct message_progress done = run_progress_of("done", 1);
    run_report(run, &done);
    struct json_writer w;
    char words[64];
    (void)snprintf(words, sizeof words, "slept %lld ms", (long long)sleep_ms);
    json_writer_init(&w, ret_result);
    json_write_map(&w, NULL);
    json_write_text(&w, "output", span_of(words));
    json_write_end(&w);
    return json_writer_finish(&w);
}
