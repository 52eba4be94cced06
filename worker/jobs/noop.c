/*
 * noop: does nothing for a while, or fails in a chosen way. For trying out a queue and its alarms.
 *
 * With steps it has checkpoints. Each step is folded into a hash that goes into the result, so that
 * a step which was left out or counted twice shows.
 */
#include "worker/jobs/checkpoint.h"

#include "common/base/mem.h"
#include "common/json/json.h"
#include "common/wire/wire.h"

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

/* --- steps ----------------------------------------------------------------------------------- */

struct noop {
    struct run *run;
    struct checkpoints checkpoints;
    int64_t sleep_ms;
    int64_t steps;
    int64_t step;                /* that many are done */
    int64_t here;                /* of them, by this attempt */
    uint8_t chain[SHA256_BYTES]; /* of all that are done */
};

static const char state_format[] = "meridian-noop-state";

static void save(struct noop *n)
{
    struct buf state;
    struct wire_writer w;
    buf_init(&state, 4096);
    wire_writer_init(&w, &state);
    wire_write_map(&w);
    wire_write_key(&w, "format");
    wire_write_text(&w, span_of(state_format));
    wire_write_key(&w, "step");
    wire_write_integer(&w, n->step);
    wire_write_key(&w, "chain");
    wire_write_bytes(&w, span_make(n->chain, sizeof n->chain));
    wire_write_end(&w);
    if (wire_writer_finish(&w) == 0) {
        struct span part = buf_span(&state);
        checkpoints_save(&n->checkpoints, &part, 1, "sleep", n->step, "{}");
    }
    buf_close(&state);
}

static int load(struct noop *n, struct artifact_reader *reader, struct err_buf *e)
{
    char bytes[4096];
    struct span format = {0};
    struct span chain = {0};
    int64_t step = 0;
    const struct wire_field fields[] = {
        {.name = "format", .type = WIRE_TEXT, .is_required = true, .max = 64, .ret = &format},
        {.name = "step", .type = WIRE_INTEGER, .is_required = true, .max = n->steps, .ret = &step},
        {.name = "chain",
         .type = WIRE_BYTES,
         .is_required = true,
         .min = SHA256_BYTES,
         .max = SHA256_BYTES,
         .ret = &chain}};
    if (reader->bytes > sizeof bytes) {
        return err_set(e, ERR_CORRUPT, "it has %zu bytes", reader->bytes);
    }
    size_t length = reader->bytes;
    int rc = artifact_reader_read(reader, bytes, length, e);
    rc = rc ? rc : artifact_reader_end(reader, e);
    rc = rc ? rc : wire_read(span_make(bytes, length), fields, 3, e);
    if (rc == 0 && !span_is(format, state_format)) {
        rc = err_set(e, ERR_CORRUPT, "it is not the state of a noop");
    }
    if (rc == 0) {
        n->step = step;
        memcpy(n->chain, chain.data, SHA256_BYTES);
    }
    return rc;
}

/* Goes on from the newest checkpoint that can be used. */
static int find_start(struct noop *n, struct err_buf *e)
{
    struct checkpoint found[CHECKPOINT_FOUND_MAX];
    char config[128];
    size_t count = 0;
    (void)snprintf(config, sizeof config, "noop 1 %lld %lld", (long long)n->sleep_ms,
                   (long long)n->steps);
    checkpoints_set_config(&n->checkpoints, span_of(config));
    int rc = checkpoints_find(&n->checkpoints, found, &count, e);
    for (size_t i = 0; rc == 0 && n->step == 0 && i < count; i++) {
        struct artifact_reader reader;
        struct err_buf why = {{0}};
        if (!checkpoints_open(&n->checkpoints, &found[i], &reader)) {
            continue;
        }
        if (load(n, &reader, &why) == 0) {
            checkpoints_resume(&n->checkpoints, &found[i]);
        } else {
            checkpoints_reject(&n->checkpoints, &found[i], why.text);
        }
        artifact_reader_close(&reader);
    }
    return rc;
}

static void fold(struct noop *n)
{
    uint8_t bytes[SHA256_BYTES + sizeof n->step];
    memcpy(bytes, n->chain, SHA256_BYTES);
    memcpy(bytes + SHA256_BYTES, &n->step, sizeof n->step);
    sha256_of(bytes, sizeof bytes, n->chain);
    n->step++;
    n->here++;
}

static int sleep_in_steps(struct noop *n, struct err_buf *e)
{
    struct run *run = n->run;
    bool has_steps = n->steps > 0;
    bool may_hang = job_spec_has(run->spec, "hang_after");
    int64_t hang_after = job_spec_integer(run->spec, "hang_after");
    int64_t steps = has_steps ? n->steps : 1;
    int rc = has_steps ? find_start(n, e) : 0;
    while (rc == 0 && n->step < steps) {
        struct message_progress p = run_progress_of("sleep", 0);
        p.step = n->step;
        p.steps = steps;
        if (may_hang && n->step == hang_after) {
            p.done = (double)n->step / (double)steps;
            run_report(run, &p);
            run_log(run, "hangs after %lld steps, as the spec asked", (long long)n->step);
            hang();
        }
        rc = sleep_step(run, &p, n->sleep_ms * n->step / steps, n->sleep_ms * (n->step + 1) / steps,
                        n->sleep_ms, e);
        if (rc == 0) {
            fold(n);
        }
        if (has_steps && n->step > 0 && checkpoints_are_due(&n->checkpoints)) {
            save(n);
        }
    }
    return rc;
}

static int write_result(const struct noop *n, struct buf *out)
{
    struct json_writer w;
    char words[64];
    char chain[SHA256_HEX_SIZE];
    (void)snprintf(words, sizeof words, "slept %lld ms", (long long)n->sleep_ms);
    json_writer_init(&w, out);
    json_write_map(&w, NULL);
    json_write_text(&w, "output", span_of(words));
    if (n->steps > 0) {
        json_write_integer(&w, "steps", n->step);
        json_write_integer(&w, "steps_here", n->here);
        json_write_text(&w, "chain", span_of(sha256_hex(n->chain, chain)));
    }
    json_write_end(&w);
    return json_writer_finish(&w);
}

int kind_noop(struct run *run, struct buf *ret_result, struct err_buf *e)
{
    struct noop n = {.run = run,
                     .sleep_ms = job_spec_integer(run->spec, "sleep_ms"),
                     .steps = job_spec_integer(run->spec, "steps")};
    int64_t allocate_mb = job_spec_integer(run->spec, "allocate_mb");
    char *block = NULL;
    if (allocate_mb > 0 && !(block = take_memory((size_t)allocate_mb * MB))) {
        return err_set(e, ERR_OOM, "cannot take %lld MB within the allowed %d MB",
                       (long long)allocate_mb, (int)run->job->memory_mb);
    }
    checkpoints_init(&n.checkpoints, run);
    int rc = sleep_in_steps(&n, e);
    if (rc == 0) {
        rc = fail_as_asked(run, job_spec_text(run->spec, "fail"), e);
    }
    mem_free(block);
    if (rc != 0) {
        return rc;
    }
    struct message_progress done = run_progress_of("done", 1);
    run_report(run, &done);
    return write_result(&n, ret_result);
}
