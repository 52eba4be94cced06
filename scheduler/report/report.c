#include "scheduler/report/report.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/message/message.h"
#include "common/redis/redis.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

enum {
    KEY_SIZE = 256,
    ID_SIZE = 48,
    BATCH = 256,
    BLOCK_MS = 1000,
    READ_TIMEOUT_MS = 10000,
    AGAIN_MS = 100,
    COMPLAIN_MS = 10000,  /* a refusal lasts until somebody acts: often enough to be seen */
    RESULTS_AT_ONCE = 2,  /* calls that record results: a third would only wait */
    CALLS_OPEN_MAX = 1024 /* beyond this reports wait in Redis rather than in our memory */
};

struct names {
    char worker[MESSAGE_WORKER_MAX + 1];
    char error_code[MESSAGE_CODE_MAX + 1];
};

struct report {
    struct report_options options;
    uv_timer_t timer; /* to try again */
    char key[KEY_SIZE];
    bool is_started;
    bool is_reading;
    int64_t complain_at_ms;            /* not before */
    struct message_report message;     /* of the entry at hand */
    struct core_result results[BATCH]; /* of one read; borrow names and the reply */
    struct names names[BATCH];
    size_t result_count;
    char ids[BATCH][ID_SIZE]; /* read, to be deleted */
    size_t id_count;
};

static void read_next(struct report *r);

static void on_again(uv_timer_t *timer)
{
    read_next(timer->data);
}

static void again_later(struct report *r)
{
    (void)uv_timer_start(&r->timer, on_again, AGAIN_MS, 0); /* cannot fail */
}

/* --- one report ------------------------------------------------------------------------------ */

/* Results of one read wait for each other: they are recorded together. */
static void hand_over(struct report *r)
{
    static const enum core_outcome outcomes[MESSAGE_OUTCOME_COUNT] = {
        [MESSAGE_SUCCEEDED] = CORE_OUTCOME_SUCCEEDED, [MESSAGE_FAILED] = CORE_OUTCOME_FAILED,
        [MESSAGE_CRASHED] = CORE_OUTCOME_CRASHED,     [MESSAGE_RETURNED] = CORE_OUTCOME_RETURNED,
        [MESSAGE_CANCELLED] = CORE_OUTCOME_CANCELLED,
    };
    const struct message_result *m = &r->message.result;
    struct core_id job;
    if (!core_id_parse(span_of(m->job.text), &job)) {
        return;
    }
    struct names *names = &r->names[r->result_count];
    memcpy(names->worker, r->message.worker, sizeof names->worker);
    memcpy(names->error_code, m->error_code, sizeof names->error_code);
    r->results[r->result_count++] = (struct core_result){
        .job = job,
        .attempt = m->attempt,
        .worker = span_of(names->worker),
        .outcome = outcomes[m->outcome],
        .error_code = span_of(names->error_code),
        .error_text = m->error_text,
        .has_exit = m->has_exit_code,
        .exit_code = m->exit_code,
        .signal = m->signal,
        .peak_rss_kb = m->peak_rss_kb,
        .run_ms = m->run_ms,
        .result = m->result,
        .log_tail = m->log_tail,
    };
}

static void flush(struct report *r)
{
    size_t count = r->result_count;
    r->result_count = 0;
    if (count > 0) {
        core_report(r->options.core, r->results, count);
    }
}

static void take(struct report *r, struct span message)
{
    struct err_buf e = {{0}};
    if (!r->is_started || !message.data) {
        return;
    }
    if (message_decode_report(message, &r->message, &e)) {
        log_warn("a report cannot be read: %s", e.text);
        return;
    }
    if (r->message.type == MESSAGE_RESULT) {
        if (r->result_count == BATCH) {
            flush(r);
        }
        hand_over(r);
    } else if (r->message.type != MESSAGE_BEAT) {
        core_worker_changed(r->options.core);
    }
}

static void on_entry(const struct redis_entry *entry, void *data)
{
    struct report *r = data;
    if (r->id_count < BATCH && entry->id.length < ID_SIZE) {
        (void)snprintf(r->ids[r->id_count++], ID_SIZE, "%.*s", (int)entry->id.length,
                       entry->id.data);
    }
    take(r, entry->message);
}

void report_take(struct report *r, struct span message)
{
    take(r, message);
    flush(r);
}

/* Losing this command costs nothing; the comment at each use says why. */
static void harmless(int rc)
{
    if (rc) {
        log_debug("redis did not take a command: %s", err_text(rc));
    }
}

/* --- the stream ------------------------------------------------------------------------------ */

static void delete_read(struct report *r)
{
    if (r->id_count == 0) {
        return;
    }
    const char *args[BATCH + 2] = {"XDEL", r->key};
    for (size_t i = 0; i < r->id_count; i++) {
        args[i + 2] = r->ids[i];
    }
    /* An entry that stays is only memory: it was read without being kept as pending. */
    harmless(redis_send_texts(r->options.redis, args, r->id_count + 2, 0, NULL, NULL));
    r->id_count = 0;
}

/* Redis itself says no (a key of another type, no rights): that does not pass by waiting. */
static void complain(struct report *r, int rc, const struct redis_reply *reply)
{
    int64_t now = clock_mono_ms();
    if (rc == ERR_UNREACHABLE || rc == ERR_TIMEOUT || rc == ERR_CANCELLED ||
        now < r->complain_at_ms) {
        return;
    }
    r->complain_at_ms = now + COMPLAIN_MS;
    struct span text = redis_reply_text(reply);
    if (rc == ERR_IO || rc == ERR_LIMIT) {
        log_error("redis cannot %s, and what is in the stream %s waits: %.*s",
                  rc == ERR_IO ? "write to its disk" : "have more memory", r->key, (int)text.length,
                  text.data ? text.data : "");
        return;
    }
    log_error("cannot read the stream %s: %.*s; if its key holds something else, delete it: "
              "redis-cli DEL '%s'",
              r->key, (int)text.length, text.data ? text.data : err_text(rc), r->key);
}

static void on_group(int rc, const struct redis_reply *reply, void *data)
{
    struct report *r = data;
    r->is_reading = false;
    if (rc && rc != ERR_EXISTS) {
        complain(r, rc, reply);
        again_later(r);
    } else {
        read_next(r);
    }
}

static void make_group(struct report *r)
{
    r->is_reading = REDIS_CALL(r->options.blocking, on_group, r, "XGROUP", "CREATE", r->key,
                               "scheduler", "0", "MKSTREAM") == 0;
    if (!r->is_reading) {
        again_later(r);
    }
}

static void on_read(int rc, const struct redis_reply *reply, void *data)
{
    struct report *r = data;
    r->is_reading = false;
    if (rc == ERR_NOTFOUND && r->is_started) {
        make_group(r);
        return;
    }
    if (rc) {
        complain(r, rc, reply);
        again_later(r);
        return;
    }
    (void)redis_read_entries(reply, on_entry, r);
    flush(r);
    delete_read(r);
    read_next(r);
}

static void read_next(struct report *r)
{
    if (!r->is_started || r->is_reading) {
        return;
    }
    struct core_counts counts = core_count(r->options.core);
    if (counts.results_open >= RESULTS_AT_ONCE) {
        return; /* report_go_on: what comes meanwhile is read, and recorded, together */
    }
    if (!redis_is_ready(r->options.blocking) || counts.calls_open > CALLS_OPEN_MAX) {
        again_later(r);
        return;
    }
    char block[16], count[16];
    (void)snprintf(block, sizeof block, "%d", BLOCK_MS);
    (void)snprintf(count, sizeof count, "%d", BATCH);
    const char *args[] = {"XREADGROUP", "GROUP", "scheduler", "leader",  "COUNT", count,
                          "BLOCK",      block,   "NOACK",     "STREAMS", r->key,  ">"};
    r->is_reading = redis_send_texts(r->options.blocking, args, sizeof args / sizeof args[0],
                                     READ_TIMEOUT_MS, on_read, r) == 0;
    if (!r->is_reading) {
        again_later(r);
    }
}

/* --- life ------------------------------------------------------------------------------------ */

struct report *report_new(const struct report_options *options)
{
    struct report *r = mem_new(sizeof *r);
    if (r) {
        r->options = *options;
        (void)snprintf(r->key, sizeof r->key, "{%s}:report", options->prefix);
        r->timer.data = r;
        (void)uv_timer_init(options->loop, &r->timer); /* cannot fail */
    }
    return r;
}

void report_go_on(struct report *r)
{
    read_next(r);
}

void report_start(struct report *r)
{
    r->is_started = true;
    read_next(r);
}

void report_stop(struct report *r)
{
    r->is_started = false;
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void report_close(struct report *r)
{
    r->is_started = false;
    uv_close((uv_handle_t *)&r->timer, on_closed);
}
