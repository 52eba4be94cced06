/*
 * Start, phases, signals, and the tick. Callbacks of libuv only change state and let the tick, or
 * the part that owns the state, do what follows.
 */
#include "worker/supervisor/supervisor_int.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/metrics/metrics.h"

#include <signal.h>
#include <string.h>

int supervisor_free(const struct supervisor *s)
{
    int free = 0;
    for (int i = 0; s->phase == PHASE_UP && i < s->slot_count; i++) {
        free += s->slots[i].state == SLOT_IDLE;
    }
    return free;
}

struct slot *supervisor_slot_of(struct supervisor *s, const char *job, int32_t attempt)
{
    for (int i = 0; i < s->slot_count; i++) {
        struct slot *slot = &s->slots[i];
        if (slot_has_job(slot->state) && slot->held.job.attempt == attempt &&
            strcmp(slot->held.job.job.text, job) == 0) {
            return slot;
        }
    }
    return NULL;
}

/* --- phases ---------------------------------------------------------------------------------- */

void supervisor_drain(struct supervisor *s, int64_t grace_ms)
{
    if (s->phase != PHASE_STARTING && s->phase != PHASE_UP) {
        return;
    }
    phase_move(&s->phase, PHASE_DRAINING);
    s->grace_end_ms = grace_ms < 0 ? 0 : clock_mono_ms() + grace_ms;
    transport_stop_reading(s);
    assignment_return(s);
    s->must_renew = true; /* the record shall give us nothing more */
    for (int i = 0; i < s->slot_count; i++) {
        if (s->slots[i].state == SLOT_IDLE) {
            runners_retire(&s->slots[i]);
        }
        runners_save(&s->slots[i]); /* whoever drains us may not wait for the grace to end */
    }
}

static void on_closed(uv_handle_t *handle)
{
    (void)handle;
}

void supervisor_close(struct supervisor *s, int exit_code)
{
    if (s->phase == PHASE_CLOSING) {
        return;
    }
    phase_move(&s->phase, PHASE_CLOSING);
    s->exit_code = exit_code;
    runners_kill(s);
    record_close(s);
    transport_close(s);
    metrics_server_close(s->metrics_server);
    uv_close((uv_handle_t *)&s->tick, on_closed);
    uv_close((uv_handle_t *)&s->on_child, on_closed);
    uv_close((uv_handle_t *)&s->on_term, on_closed);
    uv_close((uv_handle_t *)&s->on_int, on_closed);
}

static void tick_draining(struct supervisor *s, int64_t now)
{
    bool is_over = s->grace_end_ms != 0 && now >= s->grace_end_ms;
    for (int i = 0; i < s->slot_count; i++) {
        struct slot *slot = &s->slots[i];
        if (slot->state == SLOT_RUNNING && is_over) {
            runners_stop(slot, SLOT_STOP_DRAIN);
        }
    }
    if (!runners_have_jobs(s)) {
        phase_move(&s->phase, PHASE_LEAVING);
        s->leave_end_ms = now + LEAVE_WAIT_MS;
    }
}

static void tick_leaving(struct supervisor *s, int64_t now)
{
    if (!s->is_bye_sent) {
        if (s->outbox.count > 0 && now < s->leave_end_ms) {
            return;
        }
        if (s->outbox.count > 0) {
            log_warn(
                "leaving with results that are not yet recorded; redis has them, else the jobs "
                "run again results=%zu",
                s->outbox.count);
        }
        transport_bye(s);
        record_bye(s);
        s->is_bye_sent = true;
        s->leave_end_ms = now + BYE_WAIT_MS;
    }
    if (s->byes_open == 0 || now >= s->leave_end_ms) {
        log_info("worker leaves name=%s", s->options->name);
        supervisor_close(s, 0);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct supervisor *s = timer->data;
    int64_t now = clock_mono_ms();
    metrics_tick(s, now);
    runners_reap(s); /* SIGCHLD may be merged; this costs nothing */
    runners_tick(s, now);
    assignment_tick(s, now);
    record_tick(s, now);
    transport_tick(s, now);
    if (s->phase == PHASE_DRAINING) {
        tick_draining(s, now);
    }
    if (s->phase == PHASE_LEAVING) {
        tick_leaving(s, now);
    }
}

/* --- signals --------------------------------------------------------------------------------- */

static void on_child(uv_signal_t *handle, int signal_number)
{
    struct supervisor *s = handle->data;
    (void)signal_number;
    runners_reap(s);
    transport_tick(s, clock_mono_ms()); /* results are told at once */
}

static void on_stop(uv_signal_t *handle, int signal_number)
{
    struct supervisor *s = handle->data;
    (void)signal_number;
    if (++s->signals > 1) {
        log_warn("second signal: stopping at once; running jobs go back when their lease ends");
        supervisor_close(s, 1);
        return;
    }
    log_info("draining: no new work, running jobs have %lld s grace_ms=%lld",
             (long long)s->options->grace_ms / 1000, (long long)s->options->grace_ms);
    if (s->phase == PHASE_DRAINING) { /* a drain without limit goes on with one */
        s->grace_end_ms = clock_mono_ms() + s->options->grace_ms;
    }
    supervisor_drain(s, s->options->grace_ms);
}

/* --- start and end --------------------------------------------------------------------------- */

static int open_handles(struct supervisor *s, struct err_buf *e)
{
    if (uv_timer_init(&s->loop, &s->tick) != 0 || uv_signal_init(&s->loop, &s->on_child) != 0 ||
        uv_signal_init(&s->loop, &s->on_term) != 0 || uv_signal_init(&s->loop, &s->on_int) != 0) {
        return err_set(e, ERR_NOMEM, "cannot open the event loop's handles");
    }
    s->tick.data = s->on_child.data = s->on_term.data = s->on_int.data = s;
    if (uv_timer_start(&s->tick, on_tick, 0, TICK_MS) != 0 ||
        uv_signal_start(&s->on_child, on_child, SIGCHLD) != 0 ||
        uv_signal_start(&s->on_term, on_stop, SIGTERM) != 0 ||
        uv_signal_start(&s->on_int, on_stop, SIGINT) != 0) {
        return err_set(e, ERR_INTERNAL, "cannot start the event loop's handles");
    }
    return 0;
}

static int open_slots(struct supervisor *s, struct err_buf *e)
{
    s->slot_count = (int)s->options->slots;
    CHECK(s->slot_count >= 1 && s->slot_count <= SLOTS_MAX);
    s->slots = mem_new_array((size_t)s->slot_count, sizeof *s->slots);
    if (!s->slots) {
        return err_set(e, ERR_NOMEM, "out of memory for %d slots", s->slot_count);
    }
    for (int i = 0; i < s->slot_count; i++) {
        s->slots[i].supervisor = s;
        s->slots[i].index = i;
    }
    return 0;
}

static void reap_all(struct supervisor *s)
{
    for (int i = 0; i < s->slot_count; i++) {
        struct process_end end;
        while (s->slots[i].process.pid > 0 && !process_reap(&s->slots[i].process, &end)) {
            uv_sleep(5); /* they got SIGKILL: the loop is over, nothing else waits */
        }
    }
}

int supervisor_run(const struct supervisor_options *options, struct err_buf *e)
{
    struct supervisor s = {.options = options, .phase = PHASE_STARTING};
    s.incarnation = uuid_make(clock_wall_ms(), rng_seed_from_system(), rng_seed_from_system());
    outbox_init(&s.outbox, OUTBOX_MAX);
    waiting_init(&s.waiting, WAITING_MAX);
    recent_init(&s.recent, RECENT_MS, RECENT_MAX);
    (void)signal(SIGPIPE, SIG_IGN);
    if (uv_loop_init(&s.loop) != 0) {
        return err_set(e, ERR_NOMEM, "cannot make an event loop");
    }
    int rc = open_slots(&s, e);
    rc = rc == 0 ? metrics_open(&s, e) : rc;
    rc = rc == 0 ? open_handles(&s, e) : rc;
    rc = rc == 0 ? record_open(&s, e) : rc;
    rc = rc == 0 ? transport_open(&s, e) : rc;
    if (rc == 0) {
        (void)uv_run(&s.loop, UV_RUN_DEFAULT);
        CHECK(uv_loop_close(&s.loop) == 0); /* no live handles */
    }
    reap_all(&s);
    metrics_free(s.metrics);
    outbox_close(&s.outbox);
    waiting_close(&s.waiting);
    recent_close(&s.recent);
    mem_free(s.slots);
    return rc == 0 ? s.exit_code : rc;
}
