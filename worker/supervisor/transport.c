/*
 * The supervisor's side of Redis: one connection that waits for ready messages, one for the rest.
 *
 * Ready messages lie in a stream of our own. What was read is deleted in front of the next read, on
 * the same connection, and each read begins at the stream's start: whatever Redis forgot or brings
 * back, no message is passed over. One that is read twice is known, one that was lost is handed
 * over by the record.
 */
#include "worker/supervisor/supervisor_int.h"

#include "common/base/clock.h"
#include "common/base/log.h"

#include <stdio.h>
#include <string.h>

enum {
    READ_AGAIN_MS = 200,
    READ_SLACK_MS = 3000,
    COMPLAIN_MS = 10000 /* a refusal lasts until somebody acts: often enough to be seen */
};

/* --- ready messages -------------------------------------------------------------------------- */

static void take_message(struct supervisor *s, const struct message_ready *ready)
{
    if (strcmp(ready->incarnation.text, s->incarnation.text) != 0) {
        log_info("ready message for an earlier start of this worker, dropped job=%s attempt=%d",
                 ready->job.text, (int)ready->attempt);
    } else {
        assignment_take(s, ready, ready->worker_mono_ms);
    }
}

static void on_entry(const struct redis_entry *entry, void *data)
{
    struct supervisor *s = data;
    struct message_ready ready;
    struct err_buf e = {{0}};
    char *id = s->read_ids[s->read_count];
    if (s->read_count == READ_MAX || entry->id.length >= ENTRY_ID_MAX) {
        return; /* read again; Redis gives no more than was asked for, and its ids are short */
    }
    (void)snprintf(id, ENTRY_ID_MAX, "%.*s", (int)entry->id.length, entry->id.data);
    s->read_count++;
    if (!entry->message.data) {
        log_error("ready message dropped: it has no field m entry=%s", id);
        return;
    }
    int rc = message_decode_ready(entry->message, &ready, &e);
    if (rc == ERR_UNSUPPORTED && ready.attempt > 0) {
        assignment_refuse(s, &ready, e.text);
    } else if (rc != 0) {
        log_error("ready message dropped: %s entry=%s", e.text, id);
    } else if (strcmp(ready.region, s->options->region) != 0) {
        log_error("ready message dropped: it belongs to another region entry=%s", id);
    } else {
        take_message(s, &ready);
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
    if (rc == ERR_IO) {
        log_error("redis cannot write to its disk, and ready messages wait: %.*s", (int)text.length,
                  text.data ? text.data : "");
        return;
    }
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
    s->read_count = 0; /* the deletion went in front; if not, they are read again */
    if (rc != 0) {
        s->read_after_ms = clock_mono_ms() + READ_AGAIN_MS;
        if (rc != ERR_UNREACHABLE && rc != ERR_TIMEOUT) {
            complain(s, rc, reply);
        }
        return;
    }
    (void)redis_read_entries(reply, on_entry, s);
    read_ready(s, clock_mono_ms());
}

static int delete_read(struct supervisor *s)
{
    const char *args[READ_MAX + 2] = {"XDEL", s->ready_key};
    for (size_t i = 0; i < s->read_count; i++) {
        args[i + 2] = s->read_ids[i];
    }
    return s->read_count == 0 ? 0
                              : redis_send_texts(s->reader, args, s->read_count + 2, 0, NULL, NULL);
}

static void read_ready(struct supervisor *s, int64_t now)
{
    if (s->phase != PHASE_UP || s->is_read_open || now < s->read_after_ms || !s->reader ||
        !redis_is_ready(s->reader) || delete_read(s) != 0) {
        return;
    }
    char count[16], block[16];
    (void)snprintf(count, sizeof count, "%d", READ_MAX);
    (void)snprintf(block, sizeof block, "%d", READ_BLOCK_MS);
    const char *const args[] = {"XREAD", "COUNT",   count,        "BLOCK",
                                block,   "STREAMS", s->ready_key, "0"};
    s->is_read_open = redis_send_texts(s->reader, args, sizeof args / sizeof args[0],
                                       READ_BLOCK_MS + READ_SLACK_MS, on_read, s) == 0;
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
        log_error("cannot encode a report: %s", e.text);
    } else if (add_report(s, buf_span(&out), done) == 0) {
        s->is_hello_due = false;
        s->byes_open += type == MESSAGE_BYE;
    }
    buf_close(&out);
}

/* The scheduler looks at the workers then, rather than at its next turn. */
static void greet(struct supervisor *s)
{
    if (s->is_hello_due && s->was_registered && !s->is_bye_sent) {
        send_state(s, MESSAGE_HELLO, NULL);
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
    metrics_ended(s, result->outcome);
    struct message_report m = {
        .type = MESSAGE_RESULT, .incarnation = s->incarnation, .result = *result};
    (void)snprintf(m.worker, sizeof m.worker, "%s", s->options->name);
    struct buf out;
    struct err_buf e = {{0}};
    buf_init(&out, (size_t)MESSAGE_FRAME_MAX);
    int rc = message_encode_report(&m, &out, &e);
    if (rc == 0) {
        int64_t run_ms = result->run_ms > 0 ? result->run_ms : 0;
        rc = outbox_add(&s->outbox, &result->job, result->attempt, clock_mono_ms() - run_ms,
                        buf_span(&out));
    }
    buf_close(&out);
    struct outbox_item *item = outbox_find(&s->outbox, result->job.text, result->attempt);
    if (rc != 0 || !item) {
        /* Its lease ends, and the job runs again. */
        log_error("a result cannot be kept: %s job=%s", e.text[0] ? e.text : err_text(rc),
                  result->job.text);
        return;
    }
    item->added_ms = clock_mono_ms();
    log_write(result->outcome == MESSAGE_SUCCEEDED ? LOG_DEBUG : LOG_INFO,
              "job ended job=%s attempt=%d outcome=%s%s%s peak_rss_kb=%lld", result->job.text,
              (int)result->attempt, message_outcome_name(result->outcome),
              result->error_code[0] ? " error=" : "", result->error_code,
              (long long)result->peak_rss_kb);
    send_result(s, item, clock_mono_ms());
    if (s->outbox.count % CONFIRM_EVERY == 0) {
        record_confirm(s);
    }
}

/* For what may be lost: watchers and readers of logs do without. */
static int send_lossy(struct supervisor *s, const struct span *args, size_t count)
{
    int rc = redis_send(s->commands, args, count, 0, NULL, NULL);
    if (rc != 0) {
        log_debug("not sent to redis: %s", err_text(rc));
    }
    return rc;
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
        const struct span gone[] = {span_of("DEL"), span_of(s->ready_key)};
        (void)send_lossy(s, gone, 2); /* else it expires */
    }
}

/* --- progress and log lines ------------------------------------------------------------------ */

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

void transport_log(struct supervisor *s, const char *job, int number, const struct span *lines,
                   size_t count)
{
    if (!s->commands || !redis_is_ready(s->commands)) {
        return; /* lines are a convenience; the reason of a failure is in its result */
    }
    char key[160], first[16], seconds[16];
    (void)snprintf(key, sizeof key, "%s%s", s->log_prefix, job);
    (void)snprintf(first, sizeof first, "-%d", LOG_LINES_MAX);
    (void)snprintf(seconds, sizeof seconds, "%d", LOG_KEEP_S);
    const struct span push[] = {span_of("RPUSH"), span_of(key), lines[0], lines[count - 1]};
    const struct span trim[] = {span_of("LTRIM"), span_of(key), span_of(first), span_of("-1")};
    const struct span expire[] = {span_of("EXPIRE"), span_of(key), span_of(seconds)};
    if (send_lossy(s, push, 2 + count) != 0) {
        return;
    }
    /* Most jobs say two lines: the list is cut and kept only now and then. */
    int before = number - (int)count;
    bool is_turn = number / LOG_TRIM_EVERY != before / LOG_TRIM_EVERY;
    if (is_turn) {
        (void)send_lossy(s, trim, 4);
    }
    if (is_turn || before == 0) {
        (void)send_lossy(s, expire, 3);
    }
}

/* --- connections ----------------------------------------------------------------------------- */

static void on_commands_state(bool is_ready, const char *cause, void *data)
{
    struct supervisor *s = data;
    if (is_ready) {
        log_info("connected to redis");
        s->is_hello_due = true;
        for (size_t i = 0; i < s->outbox.count; i++) {
            s->outbox.items[i].sent_ms = 0; /* Redis may have forgotten it */
        }
        greet(s);
        resend_results(s, clock_mono_ms());
    } else if (s->phase != PHASE_CLOSING) {
        log_warn("redis is not reachable, trying again: %s", cause);
    }
}

static void on_reader_state(bool is_ready, const char *cause, void *data)
{
    struct supervisor *s = data;
    (void)cause; /* the other connection says it */
    s->read_count = 0;
    if (is_ready) {
        read_ready(s, clock_mono_ms());
    }
}

int transport_open(struct supervisor *s, struct err_buf *e)
{
    const char *prefix = s->options->redis_prefix;
    (void)snprintf(s->ready_key, sizeof s->ready_key, "{%s}:ready:%s", prefix, s->options->name);
    (void)snprintf(s->report_key, sizeof s->report_key, "{%s}:report", prefix);
    (void)snprintf(s->progress_key, sizeof s->progress_key, "{%s}:progress", prefix);
    (void)snprintf(s->log_prefix, sizeof s->log_prefix, "{%s}:log:", prefix);
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
    greet(s);
    resend_results(s, now);
    for (int i = 0; i < s->slot_count; i++) {
        if (slot_has_job(s->slots[i].state) && s->slots[i].held.is_progress_new) {
            publish(s, &s->slots[i].held);
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
