#include "scheduler/intake/intake.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/redis/redis.h"
#include "scheduler/intake/batch.h"
#include "scheduler/intake/replies.h"

#include <stdio.h>
#include <string.h>
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
    REPLY_BYTES_MAX = 2 * MESSAGE_BULK_MAX, /* every job of a bulk with the longest reason */
    /* Batches under way: while the record works on one the next is read and checked. */
    FLIGHTS = 2,
    RANGES_MAX = 2 * 12, /* halves of halves of BATCH_JOBS_MAX */
};

enum intake_state { INTAKE_STOPPED, INTAKE_READING };

/* Jobs from..to-1 of a batch, to be admitted together. */
struct range {
    size_t from, to;
};

struct flight {
    struct intake *in;
    bool is_open;
    bool is_reduced; /* a job was refused alone, and now goes without what it says */
    struct batch batch;
    struct range todo[RANGES_MAX]; /* the last is under way */
    size_t todo_count;
};

struct intake {
    struct intake_options options;
    uv_timer_t timer; /* to try again */
    char key[KEY_SIZE];
    enum intake_state state;
    bool is_waiting;        /* for an answer of the blocking client */
    bool is_stale;          /* that answer belongs to a time before intake_stop */
    bool reads_own;         /* what is pending, rather than what is new */
    bool has_bulks;         /* the last read had: a bulk is enough for a batch */
    bool has_left;          /* entries of the read at hand that found no room: pending */
    int64_t own_at_ms;      /* when pending entries were last looked for */
    int64_t complain_at_ms; /* not before */
    int64_t newer_at_ms;    /* the same, of submissions of a newer version */
    char own_after[BATCH_ENTRY_ID_SIZE]; /* pending entries behind it have not been looked at */
    struct replies *replies;
    struct flight flights[FLIGHTS];
    struct flight *reading; /* which the read at hand fills */
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

static struct flight *free_flight(struct intake *in, size_t *ret_open)
{
    struct flight *found = NULL;
    *ret_open = 0;
    for (size_t i = 0; i < FLIGHTS; i++) {
        if (in->flights[i].is_open) {
            ++*ret_open;
        } else {
            found = &in->flights[i];
        }
    }
    return found;
}

/* --- replies --------------------------------------------------------------------------------- */

static void send_reply(struct intake *in, const struct batch_entry *entry, struct span bytes)
{
    char key[KEY_SIZE];
    (void)snprintf(key, sizeof key, "{%s}:reply:%s", in->options.prefix, entry->reply);
    replies_send(in->replies, key, bytes);
}

static struct uuid kept_of(const struct batch_outcome *o)
{
    return core_id_is_none(o->kept) ? (struct uuid){.text = ""} : core_id_format(o->kept);
}

static int write_single(const struct batch_entry *entry, const struct batch_outcome *o,
                        struct buf *out, struct err_buf *e)
{
    struct message_reply m = {.id = entry->message, .job = kept_of(o)};
    (void)snprintf(m.state, sizeof m.state, "%s", core_state_name(o->state));
    if (o->reason) {
        m.reason = span_of(o->reason);
    }
    return message_encode_reply(&m, out, e);
}

static bool is_alike(const struct batch_outcome *a, const struct batch_outcome *b)
{
    const char *x = a->reason ? a->reason : "", *y = b->reason ? b->reason : "";
    return a->state == b->state && strcmp(x, y) == 0 && core_id_is_none(b->kept);
}

/* The first job's outcome stands for all that are alike; the others are listed. */
static int write_bulk(const struct batch_entry *entry, const struct batch_outcome *o,
                      struct buf *others, struct buf *out, struct err_buf *e)
{
    struct message_bulk_reply m = {.id = entry->message};
    int rc = 0;
    for (size_t i = 0; i < entry->count && rc == 0; i++) {
        if (is_alike(&o[0], &o[i])) {
            continue;
        }
        struct message_outcome_at at = {.place = (int32_t)i, .job = kept_of(&o[i])};
        (void)snprintf(at.state, sizeof at.state, "%s", core_state_name(o[i].state));
        if (o[i].reason) {
            at.reason = span_of(o[i].reason);
        }
        rc = message_bulk_reply_add(&at, others, e);
        m.others.count++;
    }
    (void)snprintf(m.state, sizeof m.state, "%s", core_state_name(o[0].state));
    if (o[0].reason) {
        m.reason = span_of(o[0].reason);
    }
    m.others.bytes = buf_span(others);
    return rc ? rc : message_encode_bulk_reply(&m, out, e);
}

static bool is_known(const struct batch_entry *entry, const struct batch_outcome *o)
{
    bool is_known = entry->count > 0;
    for (size_t i = 0; i < entry->count; i++) {
        is_known = is_known && o[i].state != CORE_STATE_UNKNOWN;
    }
    return is_known;
}

static void reply(struct intake *in, const struct batch *b, const struct batch_entry *entry)
{
    const struct batch_outcome *o = &b->outcomes[entry->first];
    if (!entry->reply[0] || !is_known(entry, o)) {
        return;
    }
    struct buf out, others;
    struct err_buf e = {{0}};
    buf_init(&out, REPLY_BYTES_MAX);
    buf_init(&others, REPLY_BYTES_MAX);
    int rc =
        entry->is_bulk ? write_bulk(entry, o, &others, &out, &e) : write_single(entry, o, &out, &e);
    if (rc) {
        log_warn("could not reply: %s submission=%s", e.text, entry->message.text);
    } else {
        send_reply(in, entry, buf_span(&out));
    }
    buf_close(&others);
    buf_close(&out);
}

/* --- admission ------------------------------------------------------------------------------- */

static void forget_entries(struct intake *in, const struct batch *b, const char *command,
                           const char *group)
{
    const char *args[BATCH_MAX + 3];
    size_t count = 0;
    args[count++] = command;
    args[count++] = in->key;
    if (group) {
        args[count++] = group;
    }
    for (size_t i = 0; i < b->entry_count; i++) {
        args[count++] = b->entries[i].id;
    }
    /* When this is lost the entries are read again, and answered as known. */
    harmless(redis_send_texts(in->options.redis, args, count, 0, NULL, NULL));
}

static void flight_done(struct flight *f)
{
    struct intake *in = f->in;
    forget_entries(in, &f->batch, "XACK", "scheduler");
    forget_entries(in, &f->batch, "XDEL", NULL);
    for (size_t i = 0; i < f->batch.entry_count; i++) {
        reply(in, &f->batch, &f->batch.entries[i]);
    }
    batch_reset(&f->batch);
    f->is_open = false;
    read_next(in);
}

static void admit_next(struct flight *f)
{
    if (f->todo_count == 0) {
        flight_done(f);
    } else if (core_is_ready(f->in->options.core)) {
        const struct range *r = &f->todo[f->todo_count - 1];
        core_admit(f->in->options.core, &f->batch.jobs[r->from], r->to - r->from, f);
    } /* else the owner stops us, and what is pending is read again */
}

static void admit_all(struct flight *f)
{
    f->is_open = true;
    f->is_reduced = false;
    f->todo_count = 0;
    if (f->batch.count > 0) {
        f->todo[f->todo_count++] = (struct range){0, f->batch.count};
    }
    admit_next(f);
}

/* A range of one was refused: without what it says, then not at all. */
static void single_refused(struct flight *f, size_t job, int status)
{
    batch_reduce(&f->batch, job, err_text(status));
    if (!f->is_reduced) {
        f->is_reduced = true;
        return;
    }
    const struct core_submission *s = &f->batch.jobs[job];
    log_error("a submission can be neither admitted nor recorded as rejected: %s job=%s",
              err_text(status), core_id_format(s->id).text);
    f->batch.outcomes[job] =
        (struct batch_outcome){.state = CORE_STATE_REJECTED, .reason = s->error_text};
    f->is_reduced = false;
    f->todo_count--;
}

/* Refused as a whole: whom it is about is found by halves. */
static void refused(struct flight *f, int status)
{
    struct range r = f->todo[f->todo_count - 1];
    size_t middle = r.from + (r.to - r.from) / 2;
    if (r.to - r.from == 1) {
        single_refused(f, r.from, status);
        return;
    }
    CHECK(f->todo_count < RANGES_MAX);
    f->todo[f->todo_count - 1] = (struct range){middle, r.to};
    f->todo[f->todo_count++] = (struct range){r.from, middle};
}

void intake_admitted(void *cookie, int status, const struct core_admitted *rows, size_t count)
{
    struct flight *f = cookie;
    if (!f->is_open) {
        return;
    }
    if (status) {
        refused(f, status);
    } else {
        const struct range *r = &f->todo[--f->todo_count];
        batch_note(&f->batch, r->from, r->to, rows, count);
        f->is_reduced = false;
    }
    admit_next(f);
}

/* --- the stream ------------------------------------------------------------------------------ */

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

/* An entry that finds no room stays pending and is read again, with those behind it. So is one that
 * arrives empty behind others, for the bound of a reply may have emptied it. */
static void on_entry(const struct redis_entry *entry, void *data)
{
    struct intake *in = data;
    struct batch *b = &in->reading->batch;
    bool is_cut = entry->message.data && entry->message.length == 0 && b->entry_count > 0;
    int rc = in->has_left || is_cut ? ERR_LIMIT : batch_add(b, entry->id, entry->message);
    if (rc == ERR_LIMIT) {
        in->has_left = true;
        return;
    }
    if (rc == ERR_UNSUPPORTED) {
        note_newer(in, entry);
    } else if (rc) {
        /* It stays pending, and is read again. */
        log_warn("could not take a submission: %s entry=%.*s", err_text(rc), (int)entry->id.length,
                 entry->id.data);
    }
    (void)snprintf(in->own_after, sizeof in->own_after, "%.*s", (int)entry->id.length,
                   entry->id.data);
}

static void take_entries(struct intake *in, const struct redis_reply *reply)
{
    size_t open;
    struct flight *f = free_flight(in, &open);
    if (!f->batch.entries && batch_init(&f->batch)) {
        log_warn("out of memory: submissions wait in redis");
        in->reads_own = true;
        again_later(in);
        return;
    }
    in->reading = f;
    in->has_left = false;
    size_t count = redis_read_entries(reply, on_entry, in);
    in->has_bulks = f->batch.has_bulk;
    in->reads_own = (in->reads_own && count > 0) || in->has_left;
    if (f->batch.entry_count > 0) {
        admit_all(f);
    }
    read_next(in);
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
    if (rc == ERR_IO || rc == ERR_LIMIT) {
        log_error("redis cannot %s, and what is in the stream %s waits: %.*s",
                  rc == ERR_IO ? "write to its disk" : "have more memory", in->key,
                  (int)text.length, text.data ? text.data : "");
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

/* Pending entries are read when nothing is under way, for what is under way is pending too. */
static bool may_read(struct intake *in)
{
    size_t open;
    if (in->state != INTAKE_READING || in->is_waiting || !free_flight(in, &open)) {
        return false;
    }
    if (!redis_is_ready(in->options.blocking) || !core_is_ready(in->options.core)) {
        again_later(in);
        return false;
    }
    int64_t now = clock_mono_ms();
    if (now - in->own_at_ms >= OWN_EVERY_MS && !in->reads_own) {
        in->own_at_ms = now;
        in->reads_own = true;
        (void)snprintf(in->own_after, sizeof in->own_after, "0");
    }
    return open == 0 || !in->reads_own;
}

static void read_next(struct intake *in)
{
    if (!may_read(in)) {
        return;
    }
    char block[16], count[16];
    (void)snprintf(block, sizeof block, "%d", BLOCK_MS);
    (void)snprintf(count, sizeof count, "%d", in->has_bulks ? 1 : BATCH_MAX);
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
                          in->reads_own ? in->own_after : ">"};
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
    struct replies *replies = in ? replies_new(options->loop, options->redis) : NULL;
    if (in && !replies) {
        mem_free(in);
        return NULL;
    }
    if (in) {
        in->replies = replies;
        in->options = *options;
        (void)snprintf(in->key, sizeof in->key, "{%s}:intake", options->prefix);
        for (size_t i = 0; i < FLIGHTS; i++) {
            in->flights[i].in = in;
        }
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
    in->has_bulks = false;
    (void)snprintf(in->own_after, sizeof in->own_after, "0");
    read_next(in);
}

void intake_stop(struct intake *in)
{
    for (size_t i = 0; i < FLIGHTS; i++) {
        in->flights[i].is_open = false;
        batch_close(&in->flights[i].batch);
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
    replies_close(in->replies);
    uv_close((uv_handle_t *)&in->timer, on_closed);
}
