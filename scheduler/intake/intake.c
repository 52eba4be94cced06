#include "scheduler/intake/intake.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/redis/redis.h"
#include "scheduler/intake/batch.h"

#include <stdio.h>
#include <uv.h>

enum {
    KEY_SIZE = 256,
    BLOCK_MS = 1000,
    READ_TIMEOUT_MS = 10000,
    AGAIN_MS = 100,
    COMPLAIN_MS = 10000, /* a refusal lasts until somebody acts: often enough to be seen */
    /* How often pending entries are looked for again: another scheduler, deposed in the middle of a
     * read, may have left some behind. */
    OWN_EVERY_MS = 5000,
    REPLY_BYTES_MAX = 4096
};

/* A reply that nobody fetches goes by itself. */
#define REPLY_TTL_S "120"

enum intake_state { INTAKE_STOPPED, INTAKE_READING, INTAKE_ADMITTING };

struct intake {
    struct intake_options options;
    uv_timer_t timer; /* to try again */
    char key[KEY_SIZE];
    enum intake_state state;
    bool is_waiting;        /* for an answer of the blocking client */
    bool is_stale;          /* that answer belongs to a time before intake_stop */
    bool reads_own;         /* what is pending, rather than what is new */
    int64_t own_at_ms;      /* when pending entries were last looked for */
    int64_t complain_at_ms; /* not before */
    int64_t newer_at_ms;    /* the same, of submissions of a newer version */
    struct batch batch;
    bool is_single;  /* the batch was refused: one by one */
    bool is_reduced; /* and this one was refused alone, too */
    size_t at;       /* of the one by one */
};

static void read_next(struct intake *in);

static void on_again(uv_timer_t *timer)
{
    read_next(timer->data);
}

static void again_later(struct intake *in)
{
    (void)uv_timer_start(&in->timer, on_again, AGAIN_MS, 0); /* cannot fail */
}

/* Losing this command costs nothing; the comment at each use says why. */
static void harmless(int rc)
{
    if (rc) {
        log_debug("redis did not take a command: %s", err_text(rc));
    }
}

/* --- replies --------------------------------------------------------------------------------- */

static void send_reply(struct intake *in, const struct batch_item *item, const char *state,
                       struct span reason, struct core_id kept)
{
    struct message_reply m = {.id = core_id_format(item->submission.id), .reason = reason};
    if (!core_id_is_none(kept)) {
        m.job = core_id_format(kept);
    }
    (void)snprintf(m.state, sizeof m.state, "%s", state);
    struct buf out;
    buf_init(&out, REPLY_BYTES_MAX);
    struct err_buf e = {{0}};
    if (message_encode_reply(&m, &out, &e) == 0) {
        char key[KEY_SIZE];
        (void)snprintf(key, sizeof key, "{%s}:reply:%s", in->options.prefix, item->reply);
        const struct span push[] = {span_of("RPUSH"), span_of(key), buf_span(&out)};
        /* A client that misses its reply sends the submission again and is answered then. */
        harmless(redis_send(in->options.redis, push, 3, 0, NULL, NULL));
        harmless(REDIS_CALL(in->options.redis, NULL, NULL, "EXPIRE", key, REPLY_TTL_S));
    } else {
        log_warn("could not reply: %s job=%s", e.text, m.id.text);
    }
    buf_close(&out);
}

static void reply_row(struct intake *in, const struct batch_item *item,
                      const struct core_admitted *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (core_id_equals(rows[i].id, item->submission.id)) {
            send_reply(in, item, core_state_name(rows[i].state), rows[i].error_text, rows[i].kept);
            return;
        }
    }
}

/* --- the stream ------------------------------------------------------------------------------ */

static void forget_entries(struct intake *in, const char *command, const char *group)
{
    const char *args[BATCH_MAX + 3];
    size_t count = 0;
    args[count++] = command;
    args[count++] = in->key;
    if (group) {
        args[count++] = group;
    }
    for (size_t i = 0; i < in->batch.count; i++) {
        args[count++] = in->batch.items[i].entry;
    }
    /* When this is lost the entries are read again, and answered as known. */
    harmless(redis_send_texts(in->options.redis, args, count, 0, NULL, NULL));
}

static void batch_done(struct intake *in)
{
    forget_entries(in, "XACK", "scheduler");
    forget_entries(in, "XDEL", NULL);
    batch_close(&in->batch);
    in->state = INTAKE_READING;
    read_next(in);
}

static void drop_unrecordable(struct intake *in)
{
    for (size_t i = 0; i < in->batch.count; i++) {
        struct batch_item *item = &in->batch.items[i];
        if (!item->is_recordable) {
            log_warn("a submission without a readable id is dropped: %s entry=%s",
                     item->reason.text, item->entry);
        }
    }
}

static void admit_all(struct intake *in)
{
    struct core_submission jobs[BATCH_MAX];
    size_t count = 0;
    for (size_t i = 0; i < in->batch.count; i++) {
        if (in->batch.items[i].is_recordable) {
            jobs[count++] = in->batch.items[i].submission;
        }
    }
    in->is_single = false;
    if (count == 0) {
        batch_done(in);
        return;
    }
    core_admit(in->options.core, jobs, count, in);
}

static void admit_single(struct intake *in)
{
    while (in->at < in->batch.count && !in->batch.items[in->at].is_recordable) {
        in->at++;
    }
    if (in->at == in->batch.count) {
        batch_done(in);
        return;
    }
    core_admit(in->options.core, &in->batch.items[in->at].submission, 1, in);
}

static void single_refused(struct intake *in, int status)
{
    struct batch_item *item = &in->batch.items[in->at];
    if (!in->is_reduced) {
        in->is_reduced = true;
        batch_reduce(item, err_text(status));
    } else {
        log_error("a submission can be neither admitted nor recorded as rejected: %s job=%s",
                  err_text(status), core_id_format(item->submission.id).text);
        send_reply(in, item, "rejected", span_of(item->reason.text), (struct core_id){0, 0});
        in->is_reduced = false;
        in->at++;
    }
    admit_single(in);
}

void intake_admitted(struct intake *in, int status, const struct core_admitted *rows, size_t count)
{
    if (in->state != INTAKE_ADMITTING) {
        return;
    }
    if (!in->is_single && status == 0) {
        for (size_t i = 0; i < in->batch.count; i++) {
            if (in->batch.items[i].reply[0]) {
                reply_row(in, &in->batch.items[i], rows, count);
            }
        }
        batch_done(in);
    } else if (!in->is_single) {
        in->is_single = true;
        in->is_reduced = false;
        in->at = 0;
        admit_single(in);
    } else if (status) {
        single_refused(in, status);
    } else {
        if (in->batch.items[in->at].reply[0]) {
            reply_row(in, &in->batch.items[in->at], rows, count);
        }
        in->is_reduced = false;
        in->at++;
        admit_single(in);
    }
}

/* Left pending: in a rolling upgrade the new leader takes it, else this one rejects it in the end.
 */
static void note_newer(struct intake *in, const struct redis_entry *entry)
{
    int64_t now = clock_mono_ms();
    if (now >= in->newer_at_ms) {
        in->newer_at_ms = now + COMPLAIN_MS;
        log_warn("a submission of a newer version waits for a newer scheduler: entry=%.*s",
                 (int)entry->id.length, entry->id.data);
    }
}

static void on_entry(const struct redis_entry *entry, void *data)
{
    struct intake *in = data;
    int rc = batch_add(&in->batch, entry->id, entry->message);
    if (rc == ERR_UNSUPPORTED) {
        note_newer(in, entry);
    } else if (rc) {
        /* It stays pending, and is read again. */
        log_warn("could not take a submission: %s entry=%.*s", err_text(rc), (int)entry->id.length,
                 entry->id.data);
    }
}

static void take_entries(struct intake *in, const struct redis_reply *reply)
{
    if (batch_init(&in->batch)) {
        log_warn("out of memory: submissions wait in redis");
        again_later(in);
        return;
    }
    size_t count = redis_read_entries(reply, on_entry, in);
    if (in->batch.count == 0) {
        batch_close(&in->batch);
        in->reads_own = false;
        if (count > 0) {
            again_later(in);
        } else {
            read_next(in);
        }
        return;
    }
    in->state = INTAKE_ADMITTING;
    drop_unrecordable(in);
    admit_all(in);
}

/* Redis itself says no (a key of another type, no rights): that does not pass by waiting. */
static void complain(struct intake *in, int rc, const struct redis_reply *reply)
{
    int64_t now = clock_mono_ms();
    if (rc == ERR_UNREACHABLE || rc == ERR_TIMEOUT || rc == ERR_CANCELLED ||
        now < in->complain_at_ms) {
        return;
    }
    in->complain_at_ms = now + COMPLAIN_MS;
    struct span text = redis_reply_text(reply);
    if (rc == ERR_IO) {
        log_error("redis cannot write to its disk, and what is in the stream %s waits: %.*s",
                  in->key, (int)text.length, text.data ? text.data : "");
        return;
    }
    log_error("cannot read the stream %s: %.*s; if its key holds something else, delete it: "
              "redis-cli DEL '%s'",
              in->key, (int)text.length, text.data ? text.data : err_text(rc), in->key);
}

static void on_group(int rc, const struct redis_reply *reply, void *data)
{
    struct intake *in = data;
    in->is_waiting = false;
    if (rc && rc != ERR_EXISTS) {
        complain(in, rc, reply);
        again_later(in);
    } else {
        read_next(in);
    }
}

static void make_group(struct intake *in)
{
    in->is_waiting = REDIS_CALL(in->options.blocking, on_group, in, "XGROUP", "CREATE", in->key,
                                "scheduler", "0", "MKSTREAM") == 0;
    if (!in->is_waiting) {
        again_later(in);
    }
}

static void on_read(int rc, const struct redis_reply *reply, void *data)
{
    struct intake *in = data;
    in->is_waiting = false;
    bool is_stale = in->is_stale;
    in->is_stale = false;
    if (in->state != INTAKE_READING) {
        return; /* what was read is pending, and read again after the start */
    }
    if (rc == ERR_NOTFOUND) {
        make_group(in);
    } else if (rc) {
        complain(in, rc, reply);
        again_later(in);
    } else if (is_stale) {
        read_next(in);
    } else {
        take_entries(in, reply);
    }
}

static void read_next(struct intake *in)
{
    if (in->state != INTAKE_READING || in->is_waiting) {
        return;
    }
    if (!redis_is_ready(in->options.blocking) || !core_is_ready(in->options.core)) {
        again_later(in);
        return;
    }
    int64_t now = clock_mono_ms();
    if (now - in->own_at_ms >= OWN_EVERY_MS) {
        in->own_at_ms = now;
        in->reads_own = true;
    }
    char block[16], count[16];
    (void)snprintf(block, sizeof block, "%d", BLOCK_MS);
    (void)snprintf(count, sizeof count, "%d", BATCH_MAX);
    const char *args[] = {"XREADGROUP",
                          "GROUP",
                          "scheduler",
                          "leader",
                          "COUNT",
                          count,
                          "BLOCK",
                          block,
                          "STREAMS",
                          in->key,
                          in->reads_own ? "0" : ">"};
    in->is_waiting = redis_send_texts(in->options.blocking, args, sizeof args / sizeof args[0],
                                      READ_TIMEOUT_MS, on_read, in) == 0;
    if (!in->is_waiting) {
        again_later(in);
    }
}

/* --- life ------------------------------------------------------------------------------------ */

struct intake *intake_new(const struct intake_options *options)
{
    struct intake *in = mem_new(sizeof *in);
    if (in) {
        in->options = *options;
        (void)snprintf(in->key, sizeof in->key, "{%s}:intake", options->prefix);
        in->timer.data = in;
        (void)uv_timer_init(options->loop, &in->timer); /* cannot fail */
    }
    return in;
}

void intake_start(struct intake *in)
{
    CHECK(in->state == INTAKE_STOPPED);
    in->state = INTAKE_READING;
    in->own_at_ms = clock_mono_ms();
    in->reads_own = true;
    read_next(in);
}

void intake_stop(struct intake *in)
{
    if (in->state == INTAKE_ADMITTING) {
        batch_close(&in->batch);
    }
    in->state = INTAKE_STOPPED;
    in->is_stale = in->is_waiting;
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void intake_close(struct intake *in)
{
    intake_stop(in);
    uv_close((uv_handle_t *)&in->timer, on_closed);
}
