/*
 * The supervisor's side of Redis: one connection that waits for ready messages, one for the rest.
 *
 * A ready message is acknowledged and deleted when its claim was answered, whatever the answer.
 * Messages that were delivered to our name and never acknowledged (we, or Redis, went down in
 * between) are read again first: PostgreSQL refuses the claim of those that are done.
 */
#include "worker/supervisor/supervisor_int.h"

#include "common/base/clock.h"
#include "common/base/log.h"

#include <stdio.h>
#include <string.h>

static const char group[] = "workers";

enum {
    READ_AGAIN_MS = 200,
    READ_SLACK_MS = 3000,
    COUNT_MAX = 64,
    COMPLAIN_MS = 10000 /* a refusal lasts until somebody acts: often enough to be seen */
};

/* --- ready messages -------------------------------------------------------------------------- */

static struct slot *idle_slot(struct supervisor *s)
{
    for (int i = 0; i < s->slot_count; i++) {
        if (s->slots[i].state == SLOT_IDLE) {
            return &s->slots[i];
        }
    }
    return NULL;
}

static void drop(struct supervisor *s, struct span id, const char *why)
{
    char entry[ENTRY_ID_MAX];
    (void)snprintf(entry, sizeof entry, "%.*s", (int)id.length, id.data);
    log_error("ready message dropped: %s entry=%s", why, entry);
    transport_ack(s, entry);
}

static void take_message(struct supervisor *s, const struct redis_entry *entry,
                         const struct message_ready *ready)
{
    struct slot *holder = supervisor_slot_of(s, ready->job.text, ready->attempt);
    if (holder && holder->state == SLOT_CLAIMING && span_is(entry->id, holder->held.entry)) {
        return; /* the very message, read again while its claim is on its way */
    }
    char id[ENTRY_ID_MAX];
    (void)snprintf(id, sizeof id, "%.*s", (int)entry->id.length, entry->id.data);
    if (holder || outbox_find(&s->outbox, ready->job.text, ready->attempt)) {
        log_info("ready message came twice, dropped job=%s attempt=%d", ready->job.text,
                 (int)ready->attempt);
        transport_ack(s, id);
        s->pending_taken++;
        return;
    }
    struct slot *slot = s->is_registered ? idle_slot(s) : NULL;
    if (!slot || runners_take(slot, ready, entry->id) != 0) {
        s->has_pending = true; /* no place for it now: it stays ours, and is read again */
        return;
    }
    s->pending_taken++;
    record_claim(slot);
}

static void on_entry(const struct redis_entry *entry, void *data)
{
    struct supervisor *s = data;
    struct message_ready ready;
    struct err_buf e = {{0}};
    if (s->phase != PHASE_UP) {
        return; /* stays unclaimed: the scheduler takes it back */
    }
    if (!entry->message.data) {
        drop(s, entry->id, "it has no field m");
    } else if (message_decode_ready(entry->message, &ready, &e) != 0) {
        drop(s, entry->id, e.text);
    } else if (strcmp(ready.region, s->options->region) != 0) {
        drop(s, entry->id, "it belongs to another region");
    } else {
        take_message(s, entry, &ready);
    }
}

static void on_group(int rc, const struct redis_reply *reply, void *data)
{
    struct supervisor *s = data;
    s->read_after_ms = 0;
    if (rc == 0) {
        transport_wake(s);
    }
    if (rc != 0 && rc != ERR_EXISTS && rc != ERR_CANCELLED && rc != ERR_UNREACHABLE) {
        struct span text = redis_reply_text(reply);
        log_error("cannot create the group of workers: %.*s", (int)text.length,
                  text.data ? text.data : "");
    }
}

static void make_group(struct supervisor *s)
{
    const char *const args[] = {"XGROUP", "CREATE", s->ready_key, group, "0", "MKSTREAM"};
    if (redis_send_texts(s->commands, args, 6, 0, on_group, s) != 0) {
        log_warn("cannot send to redis: too many commands wait");
    }
}

static void read_ready(struct supervisor *s, int64_t now);

/* Redis itself says no (a key of another type, no rights): that does not pass by waiting. */
static void complain(struct supervisor *s, int rc, const struct redis_reply *reply)
{
    int64_t now = clock_mono_ms();
    if (now < s->complain_at_ms) {
        return;
    }
    s->complain_at_ms = now + COMPLAIN_MS;
    struct span text = redis_reply_text(reply);
    log_error("cannot read ready messages: %.*s; if the key holds something else, delete it: "
              "redis-cli DEL '%s'",
              (int)text.length, text.data ? text.data : err_text(rc), s->ready_key);
}

static void on_read(int rc, const struct redis_reply *reply, void *data)
{
    struct supervisor *s = data;
    s->is_read_open = false;
    if (rc == ERR_CANCELLED || s->phase == PHASE_CLOSING) {
        return;
    }
    if (rc != 0) {
        s->read_after_ms = clock_mono_ms() + READ_AGAIN_MS;
        if (rc == ERR_NOTFOUND) {
            make_group(s);
        } else if (rc != ERR_UNREACHABLE && rc != ERR_TIMEOUT) {
            complain(s, rc, reply);
        }
        return;
    }
    bool was_pending_read = s->is_pending_read;
    s->pending_taken = 0;
    s->has_pending = false;
    (void)redis_read_entries(reply, on_entry, s);
    if (was_pending_read && s->pending_taken > 0) {
        s->has_pending = true; /* there may be more than one reply holds */
    } else if (was_pending_read && s->has_pending) {
        s->read_after_ms = clock_mono_ms() + READ_AGAIN_MS;
    }
    read_ready(s, clock_mono_ms());
}

static void read_ready(struct supervisor *s, int64_t now)
{
    int free = supervisor_free(s);
    if (free == 0 || s->is_read_open || now < s->read_after_ms || !s->reader ||
        !redis_is_ready(s->reader)) {
        return;
    }
    char count[16], block[16];
    s->is_pending_read = s->has_pending;
    (void)snprintf(count, sizeof count, "%d",
                   s->is_pending_read ? s->slot_count + COUNT_MAX : free);
    (void)snprintf(block, sizeof block, "%d", READ_BLOCK_MS);
    const char *const args[] = {"XREADGROUP",
                                "GROUP",
                                group,
                                s->options->name,
                                "COUNT",
                                count,
                                "BLOCK",
                                block,
                                "STREAMS",
                                s->ready_key,
                                s->is_pending_read ? "0" : ">"};
    s->is_read_open = redis_send_texts(s->reader, args, sizeof args / sizeof args[0],
                                       READ_BLOCK_MS + READ_SLACK_MS, on_read, s) == 0;
}

static void on_acked(int rc, const struct redis_reply *reply, void *data)
{
    struct supervisor *s = data;
    (void)reply;
    if (rc == ERR_UNREACHABLE || rc == ERR_TIMEOUT) {
        s->has_pending = true; /* it may still be there, in our name */
    }
}

void transport_ack(struct supervisor *s, const char *entry)
{
    if (!s->commands || REDIS_CALL(s->commands, on_acked, s, "XACK", s->ready_key, group, entry) ||
        REDIS_CALL(s->commands, on_acked, s, "XDEL", s->ready_key, entry)) {
        s->has_pending = true;
    }
}

/* --- reports --------------------------------------------------------------------------------- */

/* XADD to the report stream; 0 when it was sent. */
static int add_report(struct supervisor *s, struct span bytes, redis_done_cb done)
{
    char max[16];
    (void)snprintf(max, sizeof max, "%d", REPORTS_MAX);
    const struct span args[] = {
        span_of("XADD"), span_of(s->report_key), span_of("MAXLEN"), span_of("~"),
        span_of(max),    span_of("*"),           span_of("m"),      bytes};
    return s->commands ? redis_send(s->commands, args, sizeof args / sizeof args[0], 0, done, s)
                       : ERR_UNREACHABLE;
}

static void send_state(struct supervisor *s, enum message_report_type type, redis_done_cb done)
{
    struct message_report m = {.type = type,
                               .incarnation = s->incarnation,
                               .slots = s->slot_count,
                               .free = supervisor_free(s)};
    (void)snprintf(m.worker, sizeof m.worker, "%s", s->options->name);
    (void)snprintf(m.region, sizeof m.region, "%s", s->options->region);
    struct buf out;
    struct err_buf e = {{0}};
    buf_init(&out, 4096);
    if (message_encode_report(&m, &out, &e) != 0) {
        log_error("cannot encode a beat: %s", e.text);
    } else if (add_report(s, buf_span(&out), done) == 0) {
        s->beat_ms = clock_mono_ms();
        s->beat_free = m.free;
        s->byes_open += type == MESSAGE_BYE;
    }
    buf_close(&out);
}

static void beat(struct supervisor *s, int64_t now)
{
    bool is_due = now - s->beat_ms >= BEAT_EVERY_MS || s->beat_free != supervisor_free(s);
    if (is_due && s->was_registered && !s->is_bye_sent) {
        send_state(s, s->beat_ms == 0 ? MESSAGE_HELLO : MESSAGE_BEAT, NULL);
    }
}

static void send_result(struct supervisor *s, struct outbox_item *item, int64_t now)
{
    if (s->commands && redis_is_ready(s->commands) &&
        add_report(s, span_make(item->bytes, item->length), NULL) == 0) {
        item->sent_ms = now;
    }
}

static void resend_results(struct supervisor *s, int64_t now)
{
    for (size_t i = 0; i < s->outbox.count; i++) {
        struct outbox_item *item = &s->outbox.items[i];
        if (item->sent_ms == 0 || now - item->sent_ms >= REPORT_EVERY_MS) {
            send_result(s, item, now);
        }
    }
}

void transport_result(struct supervisor *s, const struct message_result *result)
{
    struct message_report m = {
        .type = MESSAGE_RESULT, .incarnation = s->incarnation, .result = *result};
    (void)snprintf(m.worker, sizeof m.worker, "%s", s->options->name);
    struct buf out;
    struct err_buf e = {{0}};
    buf_init(&out, (size_t)MESSAGE_FRAME_MAX);
    int rc = message_encode_report(&m, &out, &e);
    if (rc == 0) {
        rc = outbox_add(&s->outbox, &result->job, result->attempt, buf_span(&out));
    }
    buf_close(&out);
    struct outbox_item *item = outbox_find(&s->outbox, result->job.text, result->attempt);
    if (rc != 0 || !item) {
        /* Its lease ends, and the job runs again. */
        log_error("a result cannot be kept: %s job=%s", e.text[0] ? e.text : err_text(rc),
                  result->job.text);
        return;
    }
    log_info("job ended job=%s attempt=%d outcome=%s%s%s peak_rss_kb=%lld", result->job.text,
             (int)result->attempt, message_outcome_name(result->outcome),
             result->error_code[0] ? " error=" : "", result->error_code,
             (long long)result->peak_rss_kb);
    send_result(s, item, clock_mono_ms());
}

static void on_bye(int rc, const struct redis_reply *reply, void *data)
{
    struct supervisor *s = data;
    (void)rc; /* a lost bye costs the scheduler a few seconds */
    (void)reply;
    s->byes_open--;
}

void transport_bye(struct supervisor *s)
{
    if (s->commands && redis_is_ready(s->commands)) {
        send_state(s, MESSAGE_BYE, on_bye);
    }
}

/* --- progress and log lines ------------------------------------------------------------------ */

/* For what may be lost: watchers and readers of logs do without. */
static int send_lossy(struct supervisor *s, const struct span *args, size_t count)
{
    int rc = redis_send(s->commands, args, count, 0, NULL, NULL);
    if (rc != 0) {
        log_debug("not sent to redis: %s", err_text(rc));
    }
    return rc;
}

static void publish(struct supervisor *s, struct held *held)
{
    struct buf out;
    struct err_buf e = {{0}};
    buf_init(&out, 16 * 1024);
    if (message_encode_progress(&held->progress, &out, &e) == 0) {
        const struct span args[] = {span_of("PUBLISH"), span_of(s->progress_key), buf_span(&out)};
        (void)send_lossy(s, args, 3);
    } else {
        log_warn("progress cannot be encoded: %s", e.text);
    }
    buf_close(&out);
    held->is_progress_new = false;
}

void transport_log(struct supervisor *s, const char *job, struct span line)
{
    if (!s->commands || !redis_is_ready(s->commands)) {
        return; /* lines are a convenience; the reason of a failure is in its result */
    }
    char key[160], first[16], seconds[16];
    (void)snprintf(key, sizeof key, "%s%s", s->log_prefix, job);
    (void)snprintf(first, sizeof first, "-%d", LOG_LINES_MAX);
    (void)snprintf(seconds, sizeof seconds, "%d", LOG_KEEP_S);
    const struct span push[] = {span_of("RPUSH"), span_of(key), line};
    const struct span trim[] = {span_of("LTRIM"), span_of(key), span_of(first), span_of("-1")};
    const struct span expire[] = {span_of("EXPIRE"), span_of(key), span_of(seconds)};
    if (send_lossy(s, push, 3) == 0) {
        (void)send_lossy(s, trim, 4);
        (void)send_lossy(s, expire, 3);
    }
}

/* --- connections ----------------------------------------------------------------------------- */

static void on_commands_state(bool is_ready, const char *cause, void *data)
{
    struct supervisor *s = data;
    if (is_ready) {
        log_info("connected to redis");
        s->beat_ms = 0; /* hello: whoever starts to listen learns of us */
        for (size_t i = 0; i < s->outbox.count; i++) {
            s->outbox.items[i].sent_ms = 0; /* Redis may have forgotten it */
        }
        beat(s, clock_mono_ms());
        resend_results(s, clock_mono_ms());
    } else if (s->phase != PHASE_CLOSING) {
        log_warn("redis is not reachable, trying again: %s", cause);
    }
}

static void on_reader_state(bool is_ready, const char *cause, void *data)
{
    struct supervisor *s = data;
    (void)cause; /* the other connection says it */
    s->has_pending = true;
    if (is_ready) {
        read_ready(s, clock_mono_ms());
    }
}

int transport_open(struct supervisor *s, struct err_buf *e)
{
    const char *prefix = s->options->redis_prefix;
    (void)snprintf(s->ready_key, sizeof s->ready_key, "{%s}:ready:%s", prefix, s->options->region);
    (void)snprintf(s->report_key, sizeof s->report_key, "{%s}:report", prefix);
    (void)snprintf(s->progress_key, sizeof s->progress_key, "{%s}:progress", prefix);
    (void)snprintf(s->log_prefix, sizeof s->log_prefix, "{%s}:log:", prefix);
    s->has_pending = true;
    struct redis_options options = {.url = s->options->redis_url,
                                    .name = "meridian-worker",
                                    .key = s->report_key,
                                    .backoff_max_ms = 2000,
                                    .outstanding_max = 8192,
                                    .on_state = on_commands_state,
                                    .data = s};
    int rc = redis_new(&s->commands, &s->loop, &options, e);
    if (rc == 0) {
        options.name = "meridian-worker-reader";
        options.on_state = on_reader_state;
        rc = redis_new(&s->reader, &s->loop, &options, e);
    }
    return rc;
}

void transport_tick(struct supervisor *s, int64_t now)
{
    if (s->phase == PHASE_CLOSING) {
        return;
    }
    read_ready(s, now);
    if (!s->commands || !redis_is_ready(s->commands)) {
        return;
    }
    beat(s, now);
    resend_results(s, now);
    for (int i = 0; i < s->slot_count; i++) {
        if (slot_has_job(s->slots[i].state) && s->slots[i].held.is_progress_new) {
            publish(s, &s->slots[i].held);
        }
    }
}

void transport_wake(struct supervisor *s)
{
    if (s->phase != PHASE_CLOSING) {
        read_ready(s, clock_mono_ms());
        if (s->commands && redis_is_ready(s->commands)) {
            beat(s, clock_mono_ms());
        }
    }
}

void transport_stop_reading(struct supervisor *s)
{
    if (s->reader) {
        redis_close(s->reader, NULL, NULL); /* Redis then gives us nothing more */
        s->reader = NULL;
    }
}

void transport_close(struct supervisor *s)
{
    transport_stop_reading(s);
    if (s->commands) {
        redis_close(s->commands, NULL, NULL);
        s->commands = NULL;
    }
}
