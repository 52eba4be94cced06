#include "scheduler/ready/ready.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/message/message.h"
#include "common/redis/redis.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

enum { KEY_SIZE = 256, WATCH_MS = 1000, MESSAGE_BYTES_MAX = MESSAGE_SPEC_MAX + 4096 };

/* A stream that nobody reads stays bounded; what is cut off is offered again as undelivered. */
#define STREAM_LENGTH_MAX "10000"

struct ready {
    struct ready_options options;
    uv_timer_t timer;
    char mark_key[KEY_SIZE];
    struct buf message;
    bool is_asking;
    bool is_started;
};

struct ready *ready_new(const struct ready_options *options)
{
    struct ready *r = mem_new(sizeof *r);
    if (r) {
        r->options = *options;
        (void)snprintf(r->mark_key, sizeof r->mark_key, "{%s}:leader", options->prefix);
        buf_init(&r->message, MESSAGE_BYTES_MAX);
        r->timer.data = r;
        (void)uv_timer_init(options->loop, &r->timer); /* cannot fail */
    }
    return r;
}

/* Losing this command costs nothing; the comment at each use says why. */
static void harmless(int rc)
{
    if (rc) {
        log_debug("redis did not take a command: %s", err_text(rc));
    }
}

/* --- the mark -------------------------------------------------------------------------------- */

static void set_mark(struct ready *r)
{
    /* When this is lost the next look says "forgotten" once more, which is harmless. */
    harmless(REDIS_CALL(r->options.redis, NULL, NULL, "SET", r->mark_key, r->options.holder));
}

static void on_mark(int rc, const struct redis_reply *reply, void *data)
{
    struct ready *r = data;
    r->is_asking = false;
    if (rc || !r->is_started || span_is(redis_reply_text(reply), r->options.holder)) {
        return;
    }
    log_warn("redis has forgotten what was in it: offering again what is open");
    set_mark(r);
    r->options.on_forgotten(r->options.data);
}

static void on_watch(uv_timer_t *timer)
{
    struct ready *r = timer->data;
    if (!r->is_asking && redis_is_ready(r->options.redis)) {
        r->is_asking = REDIS_CALL(r->options.redis, on_mark, r, "GET", r->mark_key) == 0;
    }
}

void ready_start(struct ready *r)
{
    r->is_started = true;
    set_mark(r);
    (void)uv_timer_start(&r->timer, on_watch, WATCH_MS, WATCH_MS); /* cannot fail */
}

void ready_stop(struct ready *r)
{
    r->is_started = false;
    (void)uv_timer_stop(&r->timer); /* cannot fail */
}

/* --- offers ---------------------------------------------------------------------------------- */

static void on_added(int rc, const struct redis_reply *reply, void *data)
{
    (void)data;
    if (rc && rc != ERR_UNREACHABLE && rc != ERR_CANCELLED) {
        struct span text = redis_reply_text(reply);
        log_warn("redis did not take an offer: %.*s", (int)text.length, text.data ? text.data : "");
    }
}

static void copy_name(char *out, size_t size, struct span name)
{
    (void)snprintf(out, size, "%.*s", (int)name.length, name.length ? name.data : "");
}

static void fill(struct message_ready *m, const struct core_record *job)
{
    *m = (struct message_ready){
        .job = core_id_format(job->id),
        .attempt = job->attempt,
        .spec = job->spec,
        .memory_mb = job->memory_mb,
        .time_limit_s = job->time_limit_s,
        .threads = job->threads,
    };
    copy_name(m->kind, sizeof m->kind, job->kind);
    copy_name(m->market, sizeof m->market, job->market);
    copy_name(m->task, sizeof m->task, job->task);
    copy_name(m->region, sizeof m->region, job->region);
    copy_name(m->night, sizeof m->night, job->night);
}

void ready_offer(struct ready *r, const struct core_record *job)
{
    struct message_ready m;
    struct err_buf e = {{0}};
    fill(&m, job);
    buf_reset(&r->message);
    int rc = message_encode_ready(&m, &r->message, &e);
    char key[KEY_SIZE];
    (void)snprintf(key, sizeof key, "{%s}:ready:%s", r->options.prefix, m.region);
    if (rc == 0) {
        const struct span args[] = {span_of("XADD"),
                                    span_of(key),
                                    span_of("MAXLEN"),
                                    span_of("~"),
                                    span_of(STREAM_LENGTH_MAX),
                                    span_of("*"),
                                    span_of("m"),
                                    buf_span(&r->message)};
        rc = redis_send(r->options.redis, args, sizeof args / sizeof args[0], 0, on_added, r);
    }
    if (rc) {
        log_warn("could not offer, will be offered again: %s job=%s attempt=%d",
                 e.text[0] ? e.text : err_text(rc), m.job.text, (int)m.attempt);
    }
}

void ready_clear(struct ready *r, const struct span *regions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char key[KEY_SIZE];
        (void)snprintf(key, sizeof key, "{%s}:ready:%.*s", r->options.prefix,
                       (int)regions[i].length, regions[i].data);
        /* What stays behind is refused when a worker tries to claim it. */
        harmless(REDIS_CALL(r->options.redis, NULL, NULL, "XTRIM", key, "MAXLEN", "0"));
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct ready *r = handle->data;
    buf_close(&r->message);
    mem_free(r);
}

void ready_close(struct ready *r)
{
    uv_close((uv_handle_t *)&r->timer, on_closed);
}
