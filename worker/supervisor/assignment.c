/*
 * What was given to this supervisor. An assignment comes twice at times: as a message through
 * Redis, and from the record with a renewal when the message was lost or is late. It is taken once:
 * what was taken lately is remembered for longer than anything that is taken can be old.
 *
 * Its lease began when the record gave it to us. What we know of that moment is on our own clock
 * and not later than it was, so a job that is begun within TAKE_WITHIN_MS of it, and stopped
 * LEASE_LOST_MS after it unless renewed, is never run after the record may have given it away.
 */
#include "worker/supervisor/supervisor_int.h"

#include "common/base/clock.h"
#include "common/base/log.h"

#include <stdio.h>

static void end_unstarted(struct supervisor *s, const struct uuid *job, int32_t attempt,
                          enum message_outcome outcome)
{
    struct message_result r = {.job = *job, .attempt = attempt, .outcome = outcome, .run_ms = -1};
    transport_result(s, &r);
}

/* False: it is not taken, because it could not be remembered. It comes again. */
static bool remember(struct supervisor *s, const char *job, int32_t attempt, int64_t now)
{
    int rc = recent_add(&s->recent, job, attempt, now);
    if (rc) {
        log_warn("an assignment is not taken now: %s job=%s", err_text(rc), job);
    }
    return rc == 0;
}

void assignment_refuse(struct supervisor *s, const struct message_ready *job, const char *why)
{
    if (recent_has(&s->recent, job->job.text, job->attempt) ||
        !remember(s, job->job.text, job->attempt, clock_mono_ms())) {
        return;
    }
    log_warn("an assignment cannot be read, handed back: %s job=%s attempt=%d", why, job->job.text,
             (int)job->attempt);
    struct message_result r = {.job = job->job,
                               .attempt = job->attempt,
                               .outcome = MESSAGE_RETURNED,
                               .error_text = span_of(why),
                               .run_ms = -1};
    (void)snprintf(r.error_code, sizeof r.error_code, "%s", err_name(ERR_UNSUPPORTED));
    transport_result(s, &r);
}

void assignment_take(struct supervisor *s, const struct message_ready *job, int64_t lease_ms)
{
    int64_t now = clock_mono_ms();
    if (recent_has(&s->recent, job->job.text, job->attempt)) {
        log_debug("taken already, dropped job=%s attempt=%d", job->job.text, (int)job->attempt);
    } else if (now - lease_ms >= TAKE_WITHIN_MS) {
        log_warn("an assignment came too late, not begun job=%s attempt=%d", job->job.text,
                 (int)job->attempt); /* the record takes it back */
    } else if (s->waiting.count >= WAITING_MAX) {
        log_warn("too many jobs wait for a runner, not taken now job=%s", job->job.text);
    } else if (!remember(s, job->job.text, job->attempt, now)) {
        return;
    } else if (s->phase >= PHASE_DRAINING || waiting_add(&s->waiting, job, lease_ms, now)) {
        end_unstarted(s, &job->job, job->attempt, MESSAGE_RETURNED);
    } else {
        assignment_fill(s);
    }
}

void assignment_cancel(struct supervisor *s, const char *job, int32_t attempt)
{
    struct uuid id = {{0}};
    (void)snprintf(id.text, sizeof id.text, "%s", job);
    long at = waiting_find(&s->waiting, job, attempt);
    if (at >= 0) {
        waiting_free(waiting_take(&s->waiting, (size_t)at));
    } else if (recent_has(&s->recent, job, attempt) ||
               !remember(s, job, attempt, clock_mono_ms())) {
        return; /* it has ended by itself meanwhile, or is asked about again */
    }
    end_unstarted(s, &id, attempt, MESSAGE_CANCELLED);
}

static struct slot *idle_slot(struct supervisor *s)
{
    for (int i = 0; i < s->slot_count; i++) {
        if (s->slots[i].state == SLOT_IDLE) {
            return &s->slots[i];
        }
    }
    return NULL;
}

/* Jobs of a bundle wait here behind each other, so what runs at once is judged here too: never more
 * than this worker offers. */
static bool has_room_for(const struct supervisor *s, const struct message_ready *job)
{
    int64_t memory_mb = 0, threads = 0;
    for (int i = 0; i < s->slot_count; i++) {
        if (slot_has_job(s->slots[i].state)) {
            memory_mb += s->slots[i].held.job.memory_mb;
            threads += s->slots[i].held.job.threads;
        }
    }
    return memory_mb == 0 || (memory_mb + job->memory_mb <= s->options->memory_mb &&
                              threads + job->threads <= s->options->threads);
}

void assignment_fill(struct supervisor *s)
{
    struct slot *slot;
    /* Results that nobody records must not pile up: then nothing new is begun. */
    while (s->phase == PHASE_UP && s->waiting.count > 0 && s->outbox.count < OUTBOX_MAX / 2 &&
           (slot = idle_slot(s)) != NULL && has_room_for(s, &s->waiting.items[0]->job)) {
        struct waiting_item *item = waiting_take(&s->waiting, 0);
        if (clock_mono_ms() - item->lease_ms < TAKE_WITHIN_MS) {
            runners_begin(slot, item);
        } else {
            log_warn("waited too long for a runner, not begun job=%s attempt=%d",
                     item->job.job.text, (int)item->job.attempt);
            waiting_free(item);
        }
    }
}

static void return_first(struct supervisor *s)
{
    struct waiting_item *item = waiting_take(&s->waiting, 0);
    end_unstarted(s, &item->job.job, item->job.attempt, MESSAGE_RETURNED);
    waiting_free(item);
}

void assignment_return(struct supervisor *s)
{
    while (s->waiting.count > 0) {
        return_first(s);
    }
}

void assignment_tick(struct supervisor *s, int64_t now)
{
    while (s->waiting.count > 0 && now - s->waiting.items[0]->taken_ms >= RETURN_AFTER_MS) {
        log_info("waited long for a runner, handed back job=%s attempt=%d",
                 s->waiting.items[0]->job.job.text, (int)s->waiting.items[0]->job.attempt);
        return_first(s);
    }
    assignment_fill(s);
}
