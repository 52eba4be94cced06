/*
 * Slots and the processes in them.
 *
 * A runner that ends by itself is noticed by SIGCHLD; what it wrote before is read first, because a
 * result may lie in the socket. A runner that is told to stop gets SIGTERM (the job ends between
 * two steps) and later SIGKILL; one that broke its memory limit, or whose attempt is no longer
 * ours, gets SIGKILL at once.
 */
#include "worker/supervisor/supervisor_int.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/job/job.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 * 1024,
    READS_AT_END = 2048, /* a frame of the largest size fits */
};

/* --- the log of a job ------------------------------------------------------------------------ */

/* A line of ours, with its time; the last LOG_OWN_MAX bytes of a long one are cut. */
__attribute__((format(printf, 2, 3))) static void write_line(char out[LOG_OWN_MAX],
                                                             const char *format, ...)
{
    char now[32];
    (void)clock_format_utc(clock_wall_ms(), now, sizeof now);
    int at = snprintf(out, LOG_OWN_MAX, "%s ", now);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(out + at, LOG_OWN_MAX - (size_t)at, format, args);
    va_end(args);
}

/* The line that a job begins with is told together with the next one: most jobs are over soon. */
static void tell_line(struct slot *slot, struct span line)
{
    struct held *held = &slot->held;
    struct span lines[2];
    size_t count = 0;
    if (held->has_first_line) {
        held->has_first_line = false;
        lines[count++] = span_of(held->first_line);
    }
    if (line.data) {
        lines[count++] = line;
    }
    held->lines += (int)count;
    if (count > 0) {
        transport_log(slot->supervisor, held->job.job.text, held->lines, lines, count);
    }
}

static void say_begin(struct slot *slot)
{
    struct held *held = &slot->held;
    write_line(held->first_line, "attempt %d starts: %s %s", (int)held->job.attempt, held->job.kind,
               held->job.market);
    held->has_first_line = true;
    tail_add(&slot->tail, span_of(held->first_line));
}

static void say_end(struct slot *slot, const struct message_result *r)
{
    char line[LOG_OWN_MAX];
    bool is_done = r->outcome == MESSAGE_SUCCEEDED;
    write_line(line, "attempt %d %s after %lld ms%s%.*s", (int)slot->held.job.attempt,
               is_done ? "done" : "ended", (long long)(clock_mono_ms() - slot->held.started_ms),
               is_done ? "" : ": ", is_done ? 0 : (int)r->error_text.length,
               r->error_text.data ? r->error_text.data : "");
    tail_add(&slot->tail, span_of(line));
    tell_line(slot, span_of(line));
}

/* --- the job that holds a slot --------------------------------------------------------------- */

static void forget_job(struct slot *slot)
{
    tell_line(slot, (struct span){0});
    mem_free((char *)slot->held.job.spec.data);
    slot->held = (struct held){0};
    tail_reset(&slot->tail);
}

static struct message_result result_of(const struct slot *slot, enum message_outcome outcome)
{
    return (struct message_result){.job = slot->held.job.job,
                                   .attempt = slot->held.job.attempt,
                                   .outcome = outcome,
                                   .run_ms = clock_mono_ms() - slot->held.started_ms,
                                   .peak_rss_kb = slot->held.peak_kb,
                                   .log_tail = tail_text(&slot->tail)};
}

static void set_error(struct message_result *r, int code, const char *text)
{
    (void)snprintf(r->error_code, sizeof r->error_code, "%s", err_name(code));
    r->error_text = span_of(text);
}

static void time_text(const struct slot *slot, char *out, size_t size)
{
    (void)snprintf(out, size, "stopped after its time limit of %d s; raise time_limit_s",
                   (int)slot->held.job.time_limit_s);
}

static void memory_text(const struct slot *slot, char *out, size_t size)
{
    (void)snprintf(out, size,
                   "killed over its memory limit of %d MB (the process had %" PRId64
                   " MB); raise memory_mb",
                   (int)slot->held.job.memory_mb, slot->held.rss_kb / 1024);
}

/* The job was stopped for a reason of ours and has ended; signal 0: by itself. */
static void report_stopped(struct slot *slot, int signal_number)
{
    char text[256];
    struct message_result r = result_of(slot, MESSAGE_RETURNED);
    r.signal = signal_number;
    switch (slot->held.stop) {
    case SLOT_STOP_CANCEL:
        r.outcome = MESSAGE_CANCELLED;
        set_error(&r, ERR_CANCELLED, "cancelled while it ran");
        break;
    case SLOT_STOP_TIME:
        r.outcome = MESSAGE_FAILED;
        time_text(slot, text, sizeof text);
        set_error(&r, ERR_TIME, text);
        break;
    case SLOT_STOP_MEMORY:
        r.outcome = MESSAGE_CRASHED;
        memory_text(slot, text, sizeof text);
        set_error(&r, ERR_OOM, text);
        break;
    case SLOT_STOP_WEDGED:
        r.outcome = MESSAGE_CRASHED;
        (void)snprintf(text, sizeof text, "%s and was stopped; stall_limit_s changes the limit",
                       slot->held.stalled);
        set_error(&r, ERR_WEDGED, text);
        break;
    case SLOT_STOP_FENCED:
        log_info("job stopped without a report: the attempt is not ours job=%s attempt=%d",
                 slot->held.job.job.text, (int)slot->held.job.attempt);
        return;
    case SLOT_STOP_DRAIN:
    case SLOT_STOP_NONE:
    case SLOT_STOP_COUNT:
        break;
    }
    transport_result(slot->supervisor, &r);
}

/* The runner died while the job ran, and not by our hand. */
static void report_crash(struct slot *slot, const struct process_end *end)
{
    char text[256];
    struct message_result r = result_of(slot, MESSAGE_CRASHED);
    bool is_oom = end->signal == SIGKILL && slot->held.rss_limit_kb > 0 &&
                  r.peak_rss_kb > slot->held.rss_limit_kb / 10 * 9;
    r.signal = end->signal;
    if (end->signal == 0) {
        r.has_exit_code = true;
        r.exit_code = end->exit_code;
        (void)snprintf(text, sizeof text, "the runner exited with code %d", end->exit_code);
    } else if (is_oom) {
        memory_text(slot, text, sizeof text);
    } else {
        (void)snprintf(text, sizeof text, "the runner was killed by signal %d (%s)", end->signal,
                       strsignal(end->signal));
    }
    set_error(&r, is_oom ? ERR_OOM : ERR_CRASH, text);
    log_warn("runner died job=%s attempt=%d signal=%d exit_code=%d peak_rss_kb=%" PRId64,
             r.job.text, (int)r.attempt, end->signal, end->exit_code, r.peak_rss_kb);
    transport_result(slot->supervisor, &r);
}

/* --- the link to a runner -------------------------------------------------------------------- */

static void on_link_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    (void)close(link->fd);
    message_frames_close(&link->in);
    buf_close(&link->out);
    mem_free(link);
}

static void link_drop(struct slot *slot)
{
    struct link *link = slot->link;
    slot->link = NULL;
    if (link) {
        link->slot = NULL;
        link->is_closing = true;
        uv_close((uv_handle_t *)&link->poll, on_link_closed);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void link_write(struct link *link)
{
    while (link->out.length > 0) {
        ssize_t n = send(link->fd, link->out.data, link->out.length, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            break; /* full: the poll tells when to go on; broken: SIGCHLD tells */
        }
        buf_consume(&link->out, (size_t)n);
    }
    int events = UV_READABLE | (link->out.length > 0 ? UV_WRITABLE : 0);
    (void)uv_poll_start(&link->poll, events, on_poll);
}

static int link_send(struct slot *slot, const struct message_pipe *m, struct err_buf *e)
{
    if (!slot->link) {
        return err_set(e, ERR_IO, "the runner is gone");
    }
    int rc = message_encode_frame(m, &slot->link->out, e);
    if (rc == 0) {
        link_write(slot->link);
    }
    return rc;
}

static void tell(struct slot *slot, enum message_pipe_type type)
{
    struct message_pipe m = {.type = type};
    struct err_buf ignored;
    (void)link_send(slot, &m, &ignored); /* signals do the work; this only makes it quicker */
}

/* --- leaving --------------------------------------------------------------------------------- */

static void leave(struct slot *slot)
{
    tell(slot, MESSAGE_PIPE_EXIT);
    slot_move(&slot->state, SLOT_LEAVING);
    slot->kill_ms = clock_mono_ms() + EXIT_AFTER_MS;
}

void runners_retire(struct slot *slot)
{
    leave(slot);
}

/* --- frames from a runner -------------------------------------------------------------------- */

static void handle_ready(struct slot *slot)
{
    struct process_memory memory = {0};
    if (slot->state != SLOT_STARTING) {
        return;
    }
    if (process_measure(slot->process.pid, &memory) == 0) {
        slot->fresh_kb = memory.rss_kb;
    }
    slot->backoff_ms = 0;
    slot_move(&slot->state, SLOT_IDLE);
    if (slot->supervisor->phase >= PHASE_DRAINING) {
        leave(slot);
    } else {
        assignment_fill(slot->supervisor);
    }
}

static void handle_progress(struct slot *slot, const struct message_progress *progress)
{
    struct held *held = &slot->held;
    if (slot->state != SLOT_RUNNING) {
        return;
    }
    stall_saw(&held->stall, progress, clock_mono_ms());
    held->quiet_told_ms = 0;
    held->progress = *progress;
    held->progress.job = held->job.job;
    held->progress.attempt = held->job.attempt;
    memcpy(held->progress.market, held->job.market, sizeof held->progress.market);
    memcpy(held->progress.task, held->job.task, sizeof held->progress.task);
    memcpy(held->progress.kind, held->job.kind, sizeof held->progress.kind);
    (void)snprintf(held->progress.worker, sizeof held->progress.worker, "%s",
                   slot->supervisor->options->name);
    held->has_progress = true;
    held->is_progress_new = true;
}

static void handle_log(struct slot *slot, struct span line)
{
    if (!slot_has_job(slot->state)) {
        return;
    }
    tail_add(&slot->tail, line);
    if (slot->held.log_lines++ < LOG_LINES_PER_TICK) {
        tell_line(slot, line);
    }
}

static bool is_worn(const struct slot *slot)
{
    return slot->served >= RUNNER_JOBS_MAX || slot->supervisor->phase >= PHASE_DRAINING ||
           slot->held.rss_kb > slot->fresh_kb + RUNNER_GROWTH_KB;
}

/* False: the process is gone. */
static bool measure(struct slot *slot)
{
    slot->is_measured = process_measure(slot->process.pid, &slot->memory) == 0;
    return slot->is_measured;
}

static void handle_result(struct slot *slot, const struct message_result *from_runner)
{
    if (slot->state != SLOT_RUNNING && slot->state != SLOT_STOPPING) {
        return;
    }
    int64_t peak = from_runner->peak_rss_kb > 0 ? from_runner->peak_rss_kb
                                                : process_peak_kb(slot->process.pid);
    say_end(slot, from_runner);
    slot->is_measured = slot->is_measured && peak <= slot->memory.rss_kb + MEASURE_GROWTH_KB &&
                        slot->served % MEASURE_EVERY != 0;
    if (!slot->is_measured) {
        measure(slot);
    }
    slot->held.rss_kb = slot->memory.rss_kb;
    slot->held.peak_kb = peak > slot->held.peak_kb ? peak : slot->held.peak_kb;
    if (from_runner->outcome == MESSAGE_CANCELLED || slot->held.stop == SLOT_STOP_FENCED) {
        /* Stopped without our asking (the host goes down): back to the queue. */
        report_stopped(slot, 0);
    } else {
        struct message_result r = *from_runner;
        r.job = slot->held.job.job;
        r.attempt = slot->held.job.attempt;
        r.run_ms = clock_mono_ms() - slot->held.started_ms;
        r.peak_rss_kb = slot->held.peak_kb;
        r.log_tail = r.outcome == MESSAGE_SUCCEEDED ? (struct span){0} : tail_text(&slot->tail);
        transport_result(slot->supervisor, &r);
    }
    bool is_reusable =
        slot->state == SLOT_RUNNING && from_runner->outcome == MESSAGE_SUCCEEDED && !is_worn(slot);
    forget_job(slot);
    if (is_reusable) { /* its memory limit stays: the next job has its own */
        slot_move(&slot->state, SLOT_IDLE);
        assignment_fill(slot->supervisor);
    } else {
        leave(slot);
    }
}

static void handle_frame(struct slot *slot, struct span frame)
{
    struct message_pipe m;
    struct err_buf e = {{0}};
    int rc = message_decode_frame(frame, &m, &e);
    if (rc != 0) {
        log_error("runner sent what cannot be read, killed: %s", e.text);
        process_signal(&slot->process, SIGKILL);
        return;
    }
    switch (m.type) {
    case MESSAGE_PIPE_READY:
        handle_ready(slot);
        break;
    case MESSAGE_PIPE_PROGRESS:
        handle_progress(slot, &m.progress);
        break;
    case MESSAGE_PIPE_LOG:
        handle_log(slot, m.line);
        break;
    case MESSAGE_PIPE_RESULT:
        handle_result(slot, &m.result);
        break;
    case MESSAGE_PIPE_JOB:
    case MESSAGE_PIPE_CANCEL:
    case MESSAGE_PIPE_EXIT:
    case MESSAGE_PIPE_SAVE:
    case MESSAGE_PIPE_COUNT:
        log_error("runner sent a message that only the supervisor sends, killed");
        process_signal(&slot->process, SIGKILL);
        break;
    }
}

/* Handles all whole frames; false when the stream is broken. */
static bool take_frames(struct link *link)
{
    struct span frame;
    int rc = 0;
    while (link->slot && (rc = message_frames_next(&link->in, &frame)) == 0) {
        handle_frame(link->slot, frame);
    }
    return rc == 0 || rc == ERR_NOTFOUND;
}

/* Reads what there is, at most max_reads times; false at the end of the stream. */
static bool link_read(struct link *link, int max_reads)
{
    char bytes[READ_BYTES];
    for (int i = 0; i < max_reads && link->slot; i++) {
        ssize_t n = recv(link->fd, bytes, sizeof bytes, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            return true;
        }
        if (n <= 0) {
            return false;
        }
        if (message_frames_add(&link->in, bytes, (size_t)n) != 0 || !take_frames(link)) {
            log_error("the pipe of a runner is broken, killed");
            process_signal(&link->slot->process, SIGKILL);
            return false;
        }
    }
    return true;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct link *link = poll->data;
    bool is_open = status == 0;
    if (is_open && (events & UV_READABLE)) {
        is_open = link_read(link, 16); /* bounded: other handles get their turn */
    }
    if (!is_open) {
        (void)uv_poll_stop(poll); /* the end of the process follows by SIGCHLD */
    } else if ((events & UV_WRITABLE) && !link->is_closing) {
        link_write(link);
    }
}

/* --- start and end of a process -------------------------------------------------------------- */

static int link_open(struct slot *slot)
{
    struct link *link = mem_new(sizeof *link);
    if (!link) {
        return ERR_NOMEM;
    }
    link->fd = slot->process.fd;
    link->slot = slot;
    message_frames_init(&link->in);
    buf_init(&link->out, (size_t)MESSAGE_FRAME_MAX + 4);
    if (uv_poll_init(&slot->supervisor->loop, &link->poll, link->fd) != 0) {
        message_frames_close(&link->in);
        mem_free(link);
        return ERR_IO;
    }
    link->poll.data = link;
    slot->link = link;
    (void)uv_poll_start(&link->poll, UV_READABLE, on_poll);
    return 0;
}

static void start(struct slot *slot, int64_t now)
{
    struct err_buf e = {{0}};
    /* Grows with each start that did not lead to a ready runner. */
    slot->backoff_ms = slot->backoff_ms ? slot->backoff_ms * 2 : 100;
    if (slot->backoff_ms > START_BACKOFF_MS_MAX) {
        slot->backoff_ms = START_BACKOFF_MS_MAX;
    }
    slot->start_ms = now + slot->backoff_ms;
    int rc = process_start(&slot->process, slot->supervisor->options->runner_path, &e);
    if (rc != 0) {
        log_error("%s", e.text);
        return;
    }
    metrics_runner_started(slot->supervisor);
    slot_move(&slot->state, SLOT_STARTING);
    slot->kill_ms = now + READY_WITHIN_MS;
    slot->served = 0;
    slot->is_measured = false;
    slot->limit_kb = 0;
    if (link_open(slot) != 0) {
        log_error("cannot watch a runner: out of memory");
        (void)close(slot->process.fd);
        process_signal(&slot->process, SIGKILL);
    }
}

static void end_of_process(struct slot *slot, const struct process_end *end)
{
    if (slot->link) {
        (void)link_read(slot->link, READS_AT_END); /* a result may have been its last word */
    }
    int64_t peak = end->peak_rss_kb;
    if (slot_has_job(slot->state)) {
        slot->held.peak_kb = peak > slot->held.peak_kb ? peak : slot->held.peak_kb;
    }
    if (slot->state == SLOT_RUNNING) {
        report_crash(slot, end);
    } else if (slot->state == SLOT_STOPPING) {
        report_stopped(slot, end->signal);
    } else if (slot->state == SLOT_STARTING) {
        log_error("runner ended before it was ready exit_code=%d signal=%d", end->exit_code,
                  end->signal);
    } else {
        slot->start_ms = 0; /* at once */
    }
    if (slot_has_job(slot->state)) {
        forget_job(slot);
        slot->start_ms = 0;
    }
    link_drop(slot);
    slot_move(&slot->state, SLOT_EMPTY);
    slot->kill_ms = 0;
}

void runners_reap(struct supervisor *s)
{
    int64_t now = clock_mono_ms();
    for (int i = 0; i < s->slot_count; i++) {
        struct process_end end;
        struct slot *slot = &s->slots[i];
        if (process_reap(&slot->process, &end)) {
            end_of_process(slot, &end);
            if (s->phase < PHASE_DRAINING && slot->start_ms <= now) {
                start(slot, now); /* the slot goes on at once */
            }
        }
    }
}

/* --- jobs in and out ------------------------------------------------------------------------- */

/* What the process had before its job is known from the end of the last one, when that left nothing
 * behind: a job that is over in a millisecond does not wait for /proc. */
static void limit_memory(struct slot *slot)
{
    struct held *held = &slot->held;
    if (!slot->is_measured && !measure(slot)) {
        return; /* it is gone: SIGCHLD tells */
    }
    int64_t allowed_kb = (int64_t)held->job.memory_mb * 1024;
    held->rss_kb = slot->memory.rss_kb;
    held->rss_limit_kb = slot->memory.rss_kb + allowed_kb;
    int64_t threads_kb = (int64_t)held->job.threads * THREAD_DATA_KB;
    int64_t limit_kb = slot->memory.data_kb + allowed_kb + threads_kb;
    if (limit_kb == slot->limit_kb) {
        return;
    }
    slot->limit_kb = limit_kb;
    if (process_limit_data(slot->process.pid, limit_kb) != 0) {
        slot->limit_kb = 0;
        log_warn("cannot limit a runner's memory; it is only watched job=%s", held->job.job.text);
    }
}

void runners_begin(struct slot *slot, struct waiting_item *item)
{
    struct held *held = &slot->held;
    int64_t now = clock_mono_ms();
    slot_move(&slot->state, SLOT_RUNNING);
    *held = (struct held){.job = item->job, .lease_ms = item->lease_ms, .started_ms = now};
    held->job.incarnation = (struct uuid){{0}}; /* nothing to a runner */
    held->job.worker_mono_ms = 0;
    stall_begin(&held->stall, now);
    held->end_ms = now + (int64_t)held->job.time_limit_s * 1000;
    mem_free(item); /* its spec lives on in the slot */
    slot->served++;
    say_begin(slot);
    limit_memory(slot);
    struct message_pipe m = {.type = MESSAGE_PIPE_JOB, .job = held->job};
    struct err_buf e = {{0}};
    if (link_send(slot, &m, &e) != 0) {
        log_error("cannot hand a job to its runner, killed: %s job=%s", e.text, held->job.job.text);
        process_signal(&slot->process, SIGKILL);
    }
    log_debug("job started job=%s attempt=%d kind=%s slot=%d", held->job.job.text,
              (int)held->job.attempt, held->job.kind, slot->index);
}

void runners_save(struct slot *slot)
{
    if (slot->state == SLOT_RUNNING) {
        tell(slot, MESSAGE_PIPE_SAVE);
    }
}

void runners_stop(struct slot *slot, enum slot_stop stop)
{
    bool is_at_once = stop == SLOT_STOP_MEMORY || stop == SLOT_STOP_FENCED;
    if (slot->state == SLOT_STOPPING) {
        if (stop == SLOT_STOP_FENCED) { /* the one reason that beats all others */
            slot->held.stop = stop;
            process_signal(&slot->process, SIGKILL);
        }
        return;
    }
    if (slot->state != SLOT_RUNNING) {
        return;
    }
    log_info("stopping a job reason=%s job=%s attempt=%d", slot_stop_name(stop),
             slot->held.job.job.text, (int)slot->held.job.attempt);
    slot_move(&slot->state, SLOT_STOPPING);
    slot->held.stop = stop;
    slot->held.kill_ms =
        clock_mono_ms() + (stop == SLOT_STOP_DRAIN ? KILL_AFTER_DRAIN_MS : KILL_AFTER_MS);
    if (stop == SLOT_STOP_DRAIN) {
        tell(slot, MESSAGE_PIPE_SAVE); /* it goes on elsewhere */
    }
    if (!is_at_once) {
        tell(slot, MESSAGE_PIPE_CANCEL);
    }
    process_signal(&slot->process, is_at_once ? SIGKILL : SIGTERM);
}

/* --- what is due ----------------------------------------------------------------------------- */

/* The spec is parsed only for a job that was quiet for a while: most never are. */
static int64_t stall_limit_of(struct held *held)
{
    if (!held->knows_stall_limit) {
        struct job_spec *spec = NULL;
        struct err_buf ignored; /* a spec that cannot be read fails in the runner */
        held->knows_stall_limit = true;
        held->stall_limit_s = STALL_AUTOMATIC;
        if (job_spec_parse(job_kind_from_name(held->job.kind), held->job.spec, &spec, &ignored) ==
            0) {
            held->stall_limit_s = job_spec_has(spec, "stall_limit_s")
                                      ? job_spec_integer(spec, "stall_limit_s")
                                      : STALL_AUTOMATIC;
            job_spec_free(spec);
        }
    }
    return stall_limit_ms(&held->stall, held->stall_limit_s);
}

/* True when the job is wedged. On the way there the watchers hear how long it has been quiet. */
static bool watch_steps(struct held *held, int64_t now)
{
    int64_t quiet = stall_quiet_ms(&held->stall, now);
    held->progress.quiet_ms = quiet >= QUIET_TOLD_MS ? quiet : 0;
    if (held->has_progress && quiet - held->quiet_told_ms >= QUIET_TOLD_MS) {
        held->quiet_told_ms = quiet;
        held->is_progress_new = true;
    }
    if (quiet < 1000 || quiet < stall_limit_of(held)) {
        return false;
    }
    stall_format(&held->stall, quiet, held->stalled, sizeof held->stalled);
    log_warn("job is wedged: %s job=%s attempt=%d", held->stalled, held->job.job.text,
             (int)held->job.attempt);
    return true;
}

static void watch_job(struct slot *slot, int64_t now)
{
    struct held *held = &slot->held;
    struct process_memory memory;
    held->log_lines = 0;
    tell_line(slot, (struct span){0});
    if (process_measure(slot->process.pid, &memory) == 0) {
        held->rss_kb = memory.rss_kb;
        held->peak_kb = memory.rss_kb > held->peak_kb ? memory.rss_kb : held->peak_kb;
    }
    if (now - held->lease_ms > LEASE_LOST_MS) {
        log_warn("lease could not be renewed in time job=%s", held->job.job.text);
        runners_stop(slot, SLOT_STOP_FENCED);
    } else if (held->rss_limit_kb > 0 && held->rss_kb > held->rss_limit_kb) {
        runners_stop(slot, SLOT_STOP_MEMORY);
    } else if (now >= held->end_ms) {
        runners_stop(slot, SLOT_STOP_TIME);
    } else if (watch_steps(held, now)) {
        runners_stop(slot, SLOT_STOP_WEDGED);
    }
}

static void tick_slot(struct slot *slot, int64_t now)
{
    switch (slot->state) {
    case SLOT_EMPTY:
        if (slot->supervisor->phase < PHASE_DRAINING && now >= slot->start_ms) {
            start(slot, now);
        }
        break;
    case SLOT_RUNNING:
        watch_job(slot, now);
        break;
    case SLOT_STOPPING:
        if (now - slot->held.lease_ms > LEASE_LOST_MS && slot->held.stop != SLOT_STOP_FENCED) {
            runners_stop(slot, SLOT_STOP_FENCED);
        } else if (now >= slot->held.kill_ms) {
            process_signal(&slot->process, SIGKILL);
        }
        break;
    case SLOT_STARTING:
    case SLOT_LEAVING:
        if (now >= slot->kill_ms) {
            process_signal(&slot->process, SIGKILL);
        }
        break;
    case SLOT_IDLE:
    case SLOT_STATE_COUNT:
        break;
    }
}

void runners_tick(struct supervisor *s, int64_t now)
{
    for (int i = 0; i < s->slot_count; i++) {
        tick_slot(&s->slots[i], now);
    }
}

bool runners_have_jobs(const struct supervisor *s)
{
    for (int i = 0; i < s->slot_count; i++) {
        if (slot_has_job(s->slots[i].state)) {
            return true;
        }
    }
    return false;
}

void runners_kill(struct supervisor *s)
{
    for (int i = 0; i < s->slot_count; i++) {
        struct slot *slot = &s->slots[i];
        process_signal(&slot->process, SIGKILL);
        if (slot_has_job(slot->state)) {
            forget_job(slot);
        }
        link_drop(slot);
    }
}
