#include "scheduler/ready/ready.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/message/message.h"
#include "common/redis/redis.h"
#include "scheduler/core/names.h"

#include <stdio.h>

enum {
    KEY_SIZE = 256,
    COMPLAIN_MS = 10000,
    KEEP_EVERY_MS = 600000, /* well within STREAM_KEEP_S */
    KEPT_MAX = 10000,       /* then all are forgotten: an EXPIRE more each */
    MESSAGE_BYTES_MAX = MESSAGE_SPEC_MAX + 4096
};

/* The stream of a worker that reads nothing stays bounded, and goes with the worker; what is cut
 * off is handed over by the record. */
#define STREAM_LENGTH_MAX "10000"
#define STREAM_KEEP_S "3600"

/* When the stream of a worker was last made to expire. */
struct kept {
    char worker[MESSAGE_WORKER_MAX + 1];
    int64_t at_ms;
};

struct ready {
    struct ready_options options;
    struct buf message;
    struct names kept;      /* of struct kept, by worker */
    int64_t complain_at_ms; /* not before */
};

struct ready *ready_new(const struct ready_options *options)
{
    struct ready *r = mem_new(sizeof *r);
    if (r) {
        r->options = *options;
        buf_init(&r->message, MESSAGE_BYTES_MAX);
        names_init(&r->kept);
    }
    return r;
}

/* The record hands over what Redis did not take: that it is so is said now and then. */
static void on_added(int rc, const struct redis_reply *reply, void *data)
{
    struct ready *r = data;
    int64_t now = clock_mono_ms();
    if (rc && rc != ERR_UNREACHABLE && rc != ERR_CANCELLED && now >= r->complain_at_ms) {
        r->complain_at_ms = now + COMPLAIN_MS;
        struct span text = redis_reply_text(reply);
        log_warn("redis did not take a ready message: %.*s", (int)text.length,
                 text.data ? text.data : "");
    }
}

static void copy_name(char *out, size_t size, struct span name)
{
    (void)snprintf(out, size, "%.*s", (int)name.length, name.length ? name.data : "");
}

static void fill(struct message_ready *m, const struct core_record *job)
{
    struct uuid incarnation = {{0}};
    copy_name(incarnation.text, sizeof incarnation.text, job->incarnation);
    *m = (struct message_ready){
        .job = core_id_format(job->id),
        .attempt = job->attempt,
        .spec = job->spec,
        .memory_mb = job->memory_mb,
        .time_limit_s = job->time_limit_s,
        .threads = job->threads,
        .incarnation = incarnation,
        .worker_mono_ms = job->worker_mono_ms,
    };
    copy_name(m->kind, sizeof m->kind, job->kind);
    copy_name(m->market, sizeof m->market, job->market);
    copy_name(m->task, sizeof m->task, job->task);
    copy_name(m->region, sizeof m->region, job->region);
    copy_name(m->night, sizeof m->night, job->night);
}

static void forget_kept(struct ready *r)
{
    for (size_t i = 0; i < r->kept.count; i++) {
        mem_free(r->kept.objects[i]);
    }
    names_close(&r->kept);
}

/* Once in a while for each worker, so that its stream goes when nobody is told anything any more.
 */
static int keep(struct ready *r, const char *key, struct span worker)
{
    int64_t now = clock_mono_ms();
    struct kept *kept = names_find(&r->kept, worker);
    if (kept && now - kept->at_ms < KEEP_EVERY_MS) {
        return 0;
    }
    if (r->kept.count >= KEPT_MAX) {
        forget_kept(r);
        kept = NULL;
    }
    if (!kept && (kept = mem_new(sizeof *kept)) != NULL) {
        copy_name(kept->worker, sizeof kept->worker, worker);
        if (names_add(&r->kept, span_of(kept->worker), kept)) {
            mem_free(kept);
            kept = NULL;
        }
    }
    if (kept) {
        kept->at_ms = now;
    }
    return REDIS_CALL(r->options.redis, NULL, NULL, "EXPIRE", key, STREAM_KEEP_S);
}

static int add(struct ready *r, const char *key, struct span worker)
{
    const struct span args[] = {span_of("XADD"),
                                span_of(key),
                                span_of("MAXLEN"),
                                span_of("~"),
                                span_of(STREAM_LENGTH_MAX),
                                span_of("*"),
                                span_of("m"),
                                buf_span(&r->message)};
    int rc = redis_send(r->options.redis, args, sizeof args / sizeof args[0], 0, on_added, r);
    return rc ? rc : keep(r, key, worker);
}

void ready_send(struct ready *r, const struct core_record *job)
{
    if (!redis_is_ready(r->options.redis)) {
        return; /* handed over by the record */
    }
    struct message_ready m;
    struct err_buf e = {{0}};
    fill(&m, job);
    buf_reset(&r->message);
    int rc = message_encode_ready(&m, &r->message, &e);
    char key[KEY_SIZE];
    (void)snprintf(key, sizeof key, "{%s}:ready:%.*s", r->options.prefix, (int)job->worker.length,
                   job->worker.length ? job->worker.data : "");
    rc = rc ? rc : add(r, key, job->worker);
    if (rc) {
        log_warn("a ready message was not sent, the record hands it over: %s job=%s attempt=%d",
                 e.text[0] ? e.text : err_text(rc), m.job.text, (int)m.attempt);
    }
}

void ready_free(struct ready *r)
{
    if (r) {
        buf_close(&r->message);
        forget_kept(r);
        mem_free(r);
    }
}
