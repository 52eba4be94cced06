/*
 * A window of bulks between the source and the scheduler: the next is sent while earlier ones are
 * being committed, and answers are printed in the order of the source. A bulk is sent again under
 * its id when its answer is late, which is harmless.
 */
#include "ops/cli/stream.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "ops/cli/follow.h"
#include "ops/cli/print.h"
#include "ops/cli/room.h"
#include "ops/cli/submit.h"

#include <string.h>

enum {
    WINDOW = 4,       /* the scheduler works on two; the others are on their way */
    RESEND_MS = 5000, /* a scheduler that takes over needs that long */
    REDRAW_MS = 100,
    SHOWN_MAX = 20, /* rejected jobs that are told one by one */
    HEAD_MAX = 1024,
};

struct bulk {
    bool is_sent;
    int64_t sent_ms;
    struct uuid id;
    struct buf bytes; /* as sent */
    struct buf jobs;
    struct buf answer; /* "" = none yet */
    size_t count;      /* of jobs; elements unless repeated */
    int32_t repeat;
    struct uuid own[MESSAGE_BULK_JOBS_MAX]; /* ids that jobs brought along; "" = none */
    uint32_t lines[MESSAGE_BULK_JOBS_MAX];
};

struct stream {
    struct cli *c;
    const struct stream_source *source;
    struct bulk *bulks; /* WINDOW of them, a ring */
    size_t first, open;
    struct stream_job job; /* taken from the source, not in a bulk yet */
    size_t left;           /* how many times more */
    bool is_at_end;
    char intake[160];
    char reply[224];
    char token[UUID_SIZE];
    size_t sent, answered, rejected;
    int64_t started_ms, progress_ms, drawn_ms;
    bool has_bar;
    struct uuid *ids; /* of all jobs, when they are to be followed */
};

static struct bulk *at(struct stream *s, size_t place)
{
    return &s->bulks[(s->first + place) % WINDOW];
}

/* --- filling --------------------------------------------------------------------------------- */

static int take_job(struct stream *s)
{
    if (s->left > 0 || s->is_at_end) {
        return 0;
    }
    int rc = s->source->next(s->source->data, &s->job, &s->c->e);
    s->is_at_end = rc == ERR_NOTFOUND;
    s->left = rc == 0 ? s->job.times : 0;
    return s->is_at_end ? 0 : rc;
}

/* A job that is repeated has a bulk to itself, as often as one may hold it. */
static int fill_repeated(struct stream *s, struct bulk *b)
{
    size_t most = MESSAGE_BULK_MAX / s->job.element.length;
    most = most < MESSAGE_BULK_JOBS_MAX ? most : MESSAGE_BULK_JOBS_MAX;
    b->count = s->left < most ? s->left : most;
    b->repeat = (int32_t)b->count;
    s->left -= b->count;
    memset(b->own, 0, b->count * sizeof *b->own);
    memset(b->lines, 0, b->count * sizeof *b->lines);
    return buf_add(&b->jobs, s->job.element.data, s->job.element.length);
}

static int fill(struct stream *s, struct bulk *b)
{
    b->count = 0;
    b->repeat = 0;
    buf_reset(&b->jobs);
    int rc = take_job(s);
    if (rc == 0 && s->left > 1) {
        return fill_repeated(s, b);
    }
    while (rc == 0 && s->left == 1 && b->count < MESSAGE_BULK_JOBS_MAX &&
           b->jobs.length + s->job.element.length <= MESSAGE_BULK_MAX) {
        b->own[b->count] = s->job.id;
        b->lines[b->count++] = s->job.line;
        rc = buf_add(&b->jobs, s->job.element.data, s->job.element.length);
        s->left = 0;
        rc = rc ? rc : take_job(s);
    }
    return rc;
}

/* --- sending --------------------------------------------------------------------------------- */

static int encode(struct stream *s, struct bulk *b)
{
    struct message_bulk m = {
        .id = b->id, .repeat = b->repeat, .jobs = {buf_span(&b->jobs), b->repeat ? 1 : b->count}};
    (void)snprintf(m.by, sizeof m.by, "%s", cli_actor());
    (void)snprintf(m.reply, sizeof m.reply, "%s", s->token);
    buf_reset(&b->bytes);
    return message_encode_bulk(&m, &b->bytes, &s->c->e);
}

static int64_t deadline(const struct stream *s, int64_t timeout_ms)
{
    return s->progress_ms + timeout_ms;
}

static int send(struct stream *s, struct bulk *b, int64_t timeout_ms)
{
    int rc = room_add(s->c, s->intake, buf_span(&b->bytes), deadline(s, timeout_ms));
    b->sent_ms = clock_mono_ms();
    return rc;
}

static int send_next(struct stream *s, int64_t timeout_ms)
{
    struct bulk *b = at(s, s->open);
    int rc = fill(s, b);
    if (rc || b->count == 0) {
        return rc;
    }
    b->id = submit_new_id();
    buf_reset(&b->answer);
    rc = encode(s, b);
    rc = rc ? rc : send(s, b, timeout_ms);
    if (rc == 0) {
        s->open++;
        s->sent += b->count;
    }
    return rc;
}

static int send_late(struct stream *s, int64_t timeout_ms)
{
    int rc = 0;
    for (size_t i = 0; i < s->open && rc == 0; i++) {
        struct bulk *b = at(s, i);
        if (b->answer.length == 0 && clock_mono_ms() - b->sent_ms >= RESEND_MS) {
            rc = send(s, b, timeout_ms);
        }
    }
    return rc;
}

/* --- answers --------------------------------------------------------------------------------- */

static int take_answer(struct stream *s, struct span payload)
{
    struct message_bulk_reply m;
    if (message_decode_bulk_reply(payload, &m, NULL)) {
        return 0;
    }
    for (size_t i = 0; i < s->open; i++) {
        struct bulk *b = at(s, i);
        if (strcmp(b->id.text, m.id.text) == 0 && b->answer.length == 0) {
            s->progress_ms = clock_mono_ms();
            int rc = buf_add(&b->answer, payload.data, payload.length);
            return rc ? err_set(&s->c->e, rc, "out of memory") : 0;
        }
    }
    return 0;
}

static int wait_answer(struct stream *s)
{
    const struct redis_reply *reply = NULL;
    const char *const args[] = {"BLPOP", s->reply, "1"};
    int rc = redis_sync_send_texts(s->c->redis, args, 3, 5000, &reply, &s->c->e);
    if (rc == 0 && redis_reply_count(reply) == 2) {
        rc = take_answer(s, redis_reply_text(redis_reply_at(reply, 1)));
    }
    return rc;
}

static void print_json(struct stream *s, const struct uuid *job, uint32_t line,
                       const struct message_outcome_at *o)
{
    char reason[MESSAGE_ERROR_MAX + 1];
    (void)snprintf(reason, sizeof reason, "%.*s", (int)o->reason.length,
                   o->reason.data ? o->reason.data : "");
    (void)fprintf(s->c->out, "%s{\"id\":\"%s\",", s->answered ? ",\n " : "[", job->text);
    if (s->source->name) {
        (void)fprintf(s->c->out, "\"line\":%u,", line);
    }
    (void)fprintf(s->c->out, "\"state\":\"%s\",\"reason\":", o->state);
    print_json_text(s->c->out, reason);
    (void)fputc('}', s->c->out);
}

static void clear_bar(struct stream *s)
{
    if (s->has_bar && s->drawn_ms) {
        (void)fputs("\r\033[K", stderr);
        s->drawn_ms = 0;
    }
}

static void tell_rejected(struct stream *s, uint32_t line, const struct message_outcome_at *o)
{
    if (s->rejected++ >= SHOWN_MAX) {
        return;
    }
    clear_bar(s);
    if (s->source->name) {
        (void)fprintf(stderr, "%s:%u: rejected: %.*s\n", s->source->name, line,
                      (int)o->reason.length, o->reason.data ? o->reason.data : "");
    } else {
        (void)fprintf(stderr, "meridian %s: rejected: %.*s\n", s->c->command->name,
                      (int)o->reason.length, o->reason.data ? o->reason.data : "");
    }
}

static void print_job(struct stream *s, const struct bulk *b, size_t place,
                      const struct message_outcome_at *o)
{
    struct uuid id = *b->own[place].text ? b->own[place] : message_bulk_job_id(&b->id, place);
    const struct uuid *job = *o->job.text ? &o->job : &id;
    if (s->c->o.json) {
        print_json(s, job, b->lines[place], o);
    } else {
        (void)fprintf(s->c->out, "%s\n", job->text);
    }
    if (strcmp(o->state, "rejected") == 0) {
        tell_rejected(s, b->lines[place], o);
    }
    if (s->ids) {
        s->ids[s->answered] = *job;
    }
    s->answered++;
}

static void print_bulk(struct stream *s, const struct bulk *b)
{
    struct message_bulk_reply m;
    struct message_outcome_at other = {.place = -1}, most = {.place = -1};
    if (message_decode_bulk_reply(buf_span(&b->answer), &m, NULL)) {
        return; /* it was decoded when it came */
    }
    memcpy(most.state, m.state, sizeof most.state);
    most.reason = m.reason;
    bool has_other = message_bulk_reply_next(&m, &other, NULL) == 0;
    for (size_t i = 0; i < b->count; i++) {
        bool is_other = has_other && other.place == (int32_t)i;
        print_job(s, b, i, is_other ? &other : &most);
        if (is_other) {
            has_other = message_bulk_reply_next(&m, &other, NULL) == 0;
        }
    }
    (void)fflush(s->c->out);
}

static void print_answered(struct stream *s)
{
    while (s->open > 0 && at(s, 0)->answer.length > 0) {
        print_bulk(s, at(s, 0));
        s->first = (s->first + 1) % WINDOW;
        s->open--;
    }
}

/* --- all of it ------------------------------------------------------------------------------- */

static double rate_of(const struct stream *s)
{
    int64_t ms = clock_mono_ms() - s->started_ms;
    return (double)s->answered * 1000 / (double)(ms > 0 ? ms : 1);
}

static void draw(struct stream *s)
{
    if (!s->has_bar || clock_mono_ms() - s->drawn_ms < REDRAW_MS) {
        return;
    }
    s->drawn_ms = clock_mono_ms();
    (void)fprintf(stderr, "\r\033[K%3.0f %%  %zu of %zu jobs  %.0f jobs/s",
                  100.0 * (double)s->answered / (double)s->source->total, s->answered,
                  s->source->total, rate_of(s));
    (void)fflush(stderr);
}

static int not_answered(struct stream *s, int64_t timeout_ms)
{
    char took[32];
    return err_set(&s->c->e, ERR_UNREACHABLE,
                   "no scheduler answered for %s; %zu of %zu jobs are submitted, %zu more are in "
                   "Redis and are taken up when one runs: start meridian-scheduler, then see "
                   "meridian jobs",
                   cli_format_duration(timeout_ms, took, sizeof took), s->answered,
                   s->source->total, s->sent - s->answered);
}

static int converse(struct stream *s, int64_t timeout_ms)
{
    int rc = 0;
    while (rc == 0) {
        if (cli_is_interrupted()) {
            return err_set(&s->c->e, ERR_CANCELLED, "interrupted; what was sent stays submitted");
        }
        if (s->open < WINDOW && !(s->is_at_end && s->left == 0)) {
            rc = send_next(s, timeout_ms);
            continue;
        }
        if (s->open == 0) {
            return 0;
        }
        if (clock_mono_ms() >= deadline(s, timeout_ms)) {
            return not_answered(s, timeout_ms);
        }
        rc = send_late(s, timeout_ms);
        rc = rc ? rc : wait_answer(s);
        print_answered(s);
        draw(s);
    }
    return rc;
}

static int open_stream(struct stream *s)
{
    char name[128];
    int rc = cli_redis(s->c);
    if (rc) {
        return rc;
    }
    bool is_followed = s->c->o.wait || s->c->o.watch;
    s->bulks = mem_new_array(WINDOW, sizeof *s->bulks);
    s->ids = is_followed ? mem_new_array(s->source->total, sizeof *s->ids) : NULL;
    if (!s->bulks || (is_followed && !s->ids)) {
        return err_set(&s->c->e, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < WINDOW; i++) {
        buf_init(&s->bulks[i].jobs, MESSAGE_BULK_MAX);
        buf_init(&s->bulks[i].bytes, MESSAGE_BULK_MAX + HEAD_MAX);
        buf_init(&s->bulks[i].answer, 2 * MESSAGE_BULK_MAX);
    }
    (void)snprintf(s->token, sizeof s->token, "%s", submit_new_id().text);
    (void)snprintf(name, sizeof name, "reply:%s", s->token);
    (void)cli_redis_key(s->c, "intake", s->intake, sizeof s->intake);
    (void)cli_redis_key(s->c, name, s->reply, sizeof s->reply);
    s->started_ms = clock_mono_ms();
    s->progress_ms = s->started_ms;
    s->has_bar = s->source->name && cli_is_terminal(stderr);
    return 0;
}

static void close_stream(struct stream *s)
{
    for (size_t i = 0; s->bulks && i < WINDOW; i++) {
        buf_close(&s->bulks[i].jobs);
        buf_close(&s->bulks[i].bytes);
        buf_close(&s->bulks[i].answer);
    }
    mem_free(s->bulks);
    mem_free(s->ids);
}

static void summarise(struct stream *s, int rc)
{
    char took[32];
    clear_bar(s);
    if (s->c->o.json) {
        (void)fputs(s->answered ? "]\n" : "[]\n", s->c->out);
        (void)fflush(s->c->out);
    }
    if (s->rejected > SHOWN_MAX) {
        (void)fprintf(stderr, "... and %zu more were rejected\n", s->rejected - SHOWN_MAX);
    }
    if (s->source->name && (rc == 0 || s->answered > 0)) {
        (void)fprintf(stderr, "meridian submit: %zu jobs submitted, %zu rejected, in %s (%.0f/s)\n",
                      s->answered - s->rejected, s->rejected,
                      cli_format_duration(clock_mono_ms() - s->started_ms, took, sizeof took),
                      rate_of(s));
    }
}

static int follow(struct stream *s)
{
    const char **ids = mem_new_array(s->answered ? s->answered : 1, sizeof *ids);
    if (!ids) {
        return err_set(&s->c->e, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < s->answered; i++) {
        ids[i] = s->ids[i].text;
    }
    int rc = s->c->o.watch ? follow_watch(s->c, ids, s->answered)
                           : follow_wait(s->c, ids, s->answered, 0);
    mem_free(ids);
    return rc;
}

int stream_submit(struct cli *c, const struct stream_source *source, int64_t timeout_ms)
{
    struct stream s = {.c = c, .source = source};
    if ((c->o.wait || c->o.watch) && source->total > STREAM_FOLLOWED_MAX) {
        return cli_usage(c, "--wait and --watch: at most %d jobs", STREAM_FOLLOWED_MAX);
    }
    int rc = open_stream(&s);
    rc = rc ? rc : converse(&s, timeout_ms);
    summarise(&s, rc);
    rc = rc ? rc : s.rejected ? CLI_FAILED : CLI_DONE;
    if (rc == CLI_DONE && s.ids) {
        rc = follow(&s);
    }
    close_stream(&s);
    return rc;
}
