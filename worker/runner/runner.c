/* One job at a time, blocking; the only concurrency is the supervisor's wish to stop it. */
#include "worker/runner/runner.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "worker/jobs/run.h"
#include "worker/runner/channel.h"

#include <fcntl.h>
#include <malloc.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    RUNNER_FD = 3,
    POLL_EVERY_MS = 20,      /* how often a busy job looks for messages */
    PROGRESS_EVERY_MS = 100, /* the supervisor passes on at most 5 a second */
    TRIM_FROM_BYTES = 4 * 1024 * 1024,
    PEAK_SLACK_KB = 1024,
};

struct runner {
    struct channel channel;
    struct databases databases;
    int64_t fresh_kb; /* the peak of the process when that was last made to start anew */
    int64_t peak_kb;  /* and by now */
    /* of the job that runs */
    int64_t polled_ms;
    int64_t progress_ms;
    int64_t epoch; /* the last that was logged */
    char phase[MESSAGE_PHASE_MAX + 1];
    bool is_cancelled;
    bool wants_save;
};

static volatile sig_atomic_t stop_wanted;

static void on_terminate(int signal_number)
{
    (void)signal_number;
    stop_wanted = 1;
}

static void set_signals(void)
{
    struct sigaction stop = {.sa_handler = on_terminate}; /* no SA_RESTART: waits shall end */
    (void)sigaction(SIGTERM, &stop, NULL);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
}

static int64_t peak_memory_kb(void)
{
    struct rusage used;
    return getrusage(RUSAGE_SELF, &used) == 0 ? used.ru_maxrss : 0;
}

/* Makes the peak that the kernel remembers start from here, when the jobs since the last time have
 * raised it. */
static void reset_peak_memory(struct runner *r)
{
    if (r->fresh_kb > 0 && r->peak_kb <= r->fresh_kb + PEAK_SLACK_KB) {
        return;
    }
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t ignored = write(fd, "5", 1); /* where it is not allowed the peak is the process's */
        (void)ignored;
        (void)close(fd);
    }
    r->fresh_kb = peak_memory_kb();
}

static void send_or_end(struct runner *r, const struct message_pipe *m)
{
    struct err_buf e = {{0}};
    int rc = channel_send(&r->channel, m, &e);
    if (rc == ERR_IO) {
        _exit(1); /* nobody is left to work for */
    }
    if (rc != 0) {
        log_warn("cannot tell the supervisor: %s", e.text);
    }
}

/* `meridian logs` shows these lines as they are, so each carries its time. */
static void on_log(const char *line, void *data)
{
    char now[32];
    char text[MESSAGE_LINE_MAX];
    (void)clock_format_utc(clock_wall_ms(), now, sizeof now);
    (void)snprintf(text, sizeof text, "%s %s", now, line);
    struct message_pipe m = {.type = MESSAGE_PIPE_LOG, .line = span_of(text)};
    send_or_end(data, &m);
}

__attribute__((format(printf, 2, 3))) static void say(struct runner *r, const char *format, ...)
{
    char line[MESSAGE_LINE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    on_log(line, r);
}

static void log_epoch(struct runner *r, const struct message_progress *p)
{
    if (p->epoch <= 0 || p->epoch == r->epoch) {
        return;
    }
    char loss[40] = "";
    r->epoch = p->epoch;
    if (!isnan(p->loss)) {
        (void)snprintf(loss, sizeof loss, ", loss %.4f", p->loss);
    }
    say(r, "%s: epoch %lld of %lld%s", p->phase, (long long)p->epoch, (long long)p->epochs, loss);
}

static void on_progress(const struct message_progress *progress, void *data)
{
    struct runner *r = data;
    log_epoch(r, progress);
    int64_t now = clock_mono_ms();
    bool is_new_phase = strcmp(r->phase, progress->phase) != 0;
    /* The supervisor must know when all steps are done: what follows has another pace. */
    bool is_complete = progress->steps > 0 && progress->step >= progress->steps;
    if (!is_new_phase && !is_complete && now - r->progress_ms < PROGRESS_EVERY_MS) {
        return;
    }
    r->progress_ms = now;
    (void)snprintf(r->phase, sizeof r->phase, "%s", progress->phase);
    struct message_pipe m = {.type = MESSAGE_PIPE_PROGRESS, .progress = *progress};
    send_or_end(r, &m);
}

/* What the supervisor has said since the last look. */
static void take_wishes(struct runner *r)
{
    struct message_pipe m;
    struct err_buf e = {{0}};
    int rc = 0;
    while ((rc = channel_receive(&r->channel, 0, &m, &e)) == 0) {
        r->is_cancelled |= m.type == MESSAGE_PIPE_CANCEL || m.type == MESSAGE_PIPE_EXIT;
        r->wants_save |= m.type == MESSAGE_PIPE_SAVE;
    }
    if (rc == ERR_IO) {
        _exit(1);
    }
}

/* A SIGTERM that no message explains comes from a host that goes down: the job will go on
 * elsewhere. The supervisor's own messages lie in the socket before its signal comes. */
static bool on_is_cancelled(void *data)
{
    struct runner *r = data;
    int64_t now = clock_mono_ms();
    bool is_signal_new = stop_wanted && !r->is_cancelled;
    if (!is_signal_new && now - r->polled_ms < POLL_EVERY_MS) {
        return r->is_cancelled;
    }
    r->polled_ms = now;
    take_wishes(r);
    if (is_signal_new && !r->is_cancelled) {
        r->is_cancelled = true;
        r->wants_save = true;
    }
    return r->is_cancelled;
}

static bool on_wants_save(void *data)
{
    return ((struct runner *)data)->wants_save;
}

static void on_saved(void *data)
{
    ((struct runner *)data)->wants_save = false;
}

/* Parses the spec and runs the kind's function. */
static int run_kind(struct runner *r, const struct message_ready *job, struct buf *result,
                    struct err_buf *e)
{
    enum job_kind kind = job_kind_from_name(job->kind);
    run_kind_fn run_it = run_kind_find(kind);
    if (!run_it) {
        return err_set(e, ERR_UNSUPPORTED, "this worker has no kind \"%s\"", job->kind);
    }
    struct job_spec *spec = NULL;
    int rc = job_spec_parse(kind, job->spec, &spec, e);
    if (rc != 0) {
        return rc;
    }
    struct run run = {.job = job,
                      .spec = spec,
                      .databases = &r->databases,
                      .port = {.progress = on_progress,
                               .log = on_log,
                               .is_cancelled = on_is_cancelled,
                               .wants_save = on_wants_save,
                               .saved = on_saved,
                               .data = r}};
    rc = run_it(&run, result, e);
    job_spec_free(spec);
    return rc;
}

static void send_result(struct runner *r, int rc, const struct buf *result, struct err_buf *e)
{
    if (rc == 0 && result->length > MESSAGE_RESULT_MAX) {
        rc = err_set(e, ERR_LIMIT, "the result has %zu bytes, the limit is %d", result->length,
                     (int)MESSAGE_RESULT_MAX);
    }
    if (rc == ERR_NOMEM) {
        rc = ERR_OOM; /* the job's limit, not the machine, is what a person can change */
    }
    struct message_pipe m = {.type = MESSAGE_PIPE_RESULT};
    r->peak_kb = peak_memory_kb();
    m.result.peak_rss_kb = r->peak_kb;
    m.result.outcome = rc == 0               ? MESSAGE_SUCCEEDED
                       : rc == ERR_CANCELLED ? MESSAGE_CANCELLED
                                             : MESSAGE_FAILED;
    if (rc == 0) {
        m.result.result = buf_span(result);
    } else {
        (void)snprintf(m.result.error_code, sizeof m.result.error_code, "%s", err_name(rc));
        m.result.error_text = span_of(e->text[0] ? e->text : err_text(rc));
    }
    send_or_end(r, &m);
}

/* The supervisor looks at our size when the result comes. Small heaps are not worth a walk. */
static void give_back_memory(void)
{
    struct mallinfo2 now = mallinfo2();
    if (now.fordblks + now.keepcost > TRIM_FROM_BYTES) {
        (void)malloc_trim(0);
    }
}

static void run_job(struct runner *r, const struct message_pipe *m)
{
    struct message_ready job = m->job;
    struct err_buf e = {{0}};
    struct buf result;
    buf_init(&result, (size_t)MESSAGE_RESULT_MAX + 1);
    /* The frame is gone with the next message, the job stays. */
    char *spec =
        mem_string(job.spec.data ? job.spec.data : "{}", job.spec.data ? job.spec.length : 2);
    job.spec = span_of(spec);
    r->is_cancelled = false;
    r->wants_save = false;
    r->phase[0] = '\0';
    r->epoch = 0;
    reset_peak_memory(r);
    databases_refresh(&r->databases);
    int rc = spec ? run_kind(r, &job, &result, &e) : ERR_NOMEM;
    give_back_memory();
    send_result(r, rc, &result, &e);
    buf_close(&result);
    mem_free(spec);
}

static int serve(struct runner *r)
{
    struct message_pipe ready = {.type = MESSAGE_PIPE_READY};
    send_or_end(r, &ready);
    for (;;) {
        struct message_pipe m;
        struct err_buf e = {{0}};
        int rc = channel_receive(&r->channel, -1, &m, &e);
        if (rc == ERR_TIMEOUT) {
            continue;
        }
        if (rc == ERR_IO || (rc == 0 && m.type == MESSAGE_PIPE_EXIT)) {
            return 0;
        }
        if (rc != 0) {
            log_error("runner stops: %s", e.text);
            return 1;
        }
        if (m.type == MESSAGE_PIPE_JOB) {
            run_job(r, &m);
        }
    }
}

int runner_main(void)
{
    log_open("runner");
    if (fcntl(RUNNER_FD, F_GETFD) < 0) {
        log_error("--runner is for meridian-worker itself; start meridian-worker --region REGION");
        return 2;
    }
    (void)fcntl(RUNNER_FD, F_SETFD, FD_CLOEXEC);
    set_signals();
    const char *control = getenv("MERIDIAN_DATABASE_URL");
    const char *data = getenv("MERIDIAN_DATA_URL");
    struct runner r = {
        .databases = {.control_url = control, .data_url = data && data[0] ? data : control}};
    channel_init(&r.channel, RUNNER_FD);
    int code = serve(&r);
    databases_close(&r.databases);
    channel_close(&r.channel);
    return code;
}
