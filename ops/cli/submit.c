/* A submission is a stream entry; its reply comes through a list that only this call knows. */
#include "ops/cli/submit.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "ops/cli/follow.h"
#include "ops/cli/print.h"
#include "ops/cli/room.h"

#include <string.h>

enum {
    RESEND_MS = 5000, /* a scheduler that takes over needs that long; ids make it harmless */
    MESSAGE_BYTES_MAX = MESSAGE_SPEC_MAX + 64 * 1024,
};

struct exchange {
    struct cli *c;
    struct message_submission *ms;
    size_t kinds;
    struct submit_answer *answers;
    size_t count;
    size_t answered;
    char intake[160];
    char reply[224];
};

/* Entry i is a copy of submission i modulo kinds. */
static int send_one(struct exchange *x, size_t i, struct buf *bytes, int64_t end_ms)
{
    struct message_submission *m = &x->ms[i % x->kinds];
    m->id = x->answers[i].id;
    buf_reset(bytes);
    int rc = message_encode_submission(m, bytes, &x->c->e);
    if (rc) {
        return rc;
    }
    return room_add(x->c, x->intake, buf_span(bytes), end_ms);
}

static int send_unanswered(struct exchange *x, int64_t end_ms)
{
    struct buf bytes;
    int rc = 0;
    buf_init(&bytes, MESSAGE_BYTES_MAX);
    for (size_t i = 0; i < x->count && rc == 0; i++) {
        if (!*x->answers[i].state) {
            rc = send_one(x, i, &bytes, end_ms);
        }
    }
    buf_close(&bytes);
    return rc;
}

/* Answers come mostly in the order sent: looking from the last found on is one step each. */
static void take_reply(struct exchange *x, struct span payload, size_t *ret_at)
{
    struct message_reply m;
    if (message_decode_reply(payload, &m, NULL)) {
        return;
    }
    for (size_t n = 0; n < x->count; n++) {
        size_t i = (*ret_at + n) % x->count;
        struct submit_answer *a = &x->answers[i];
        if (strcmp(a->id.text, m.id.text) != 0) {
            continue;
        }
        x->answered += !*a->state;
        a->job = *m.job.text ? m.job : m.id;
        (void)snprintf(a->state, sizeof a->state, "%s", m.state);
        (void)snprintf(a->reason, sizeof a->reason, "%.*s", (int)m.reason.length,
                       m.reason.data ? m.reason.data : "");
        *ret_at = i + 1;
        return;
    }
}

static int wait_one(struct exchange *x, size_t *ret_at)
{
    const struct redis_reply *reply = NULL;
    const char *const args[] = {"BLPOP", x->reply, "1"};
    int rc = redis_sync_send_texts(x->c->redis, args, 3, 5000, &reply, &x->c->e);
    if (rc) {
        return rc;
    }
    if (redis_reply_count(reply) == 2) {
        take_reply(x, redis_reply_text(redis_reply_at(reply, 1)), ret_at);
    }
    return 0;
}

static int not_answered(struct exchange *x, int64_t timeout_ms)
{
    char took[32];
    return err_set(
        &x->c->e, ERR_UNREACHABLE,
        "no scheduler answered within %s for %zu of %zu submissions; they stay in Redis and "
        "are taken up when one runs: start meridian-scheduler, then see meridian jobs",
        cli_format_duration(timeout_ms, took, sizeof took), x->count - x->answered, x->count);
}

static int converse(struct exchange *x, int64_t timeout_ms)
{
    int64_t end = clock_mono_ms() + timeout_ms;
    int64_t resend = clock_mono_ms() + RESEND_MS;
    size_t at = 0;
    int rc = send_unanswered(x, end);
    while (rc == 0 && x->answered < x->count) {
        if (cli_is_interrupted()) {
            return err_set(&x->c->e, ERR_CANCELLED, "interrupted; what was sent stays submitted");
        }
        if (clock_mono_ms() >= end) {
            return not_answered(x, timeout_ms);
        }
        if (clock_mono_ms() >= resend) {
            rc = send_unanswered(x, end);
            resend = clock_mono_ms() + RESEND_MS;
        }
        rc = rc ? rc : wait_one(x, &at);
    }
    return rc;
}

struct uuid submit_new_id(void)
{
    return uuid_make(clock_wall_ms(), rng_seed_from_system(), rng_seed_from_system());
}

int submit_all(struct cli *c, struct message_submission *ms, size_t kinds,
               struct submit_answer *answers, size_t count, int64_t timeout_ms)
{
    struct exchange x = {.c = c, .ms = ms, .kinds = kinds, .answers = answers, .count = count};
    char name[128];
    struct uuid token = submit_new_id();
    int rc = cli_redis(c);
    if (rc) {
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        answers[i] = (struct submit_answer){.id = submit_new_id()};
    }
    for (size_t i = 0; i < kinds; i++) {
        (void)snprintf(ms[i].by, sizeof ms[i].by, "%s", cli_actor());
        (void)snprintf(ms[i].reply, sizeof ms[i].reply, "%s", token.text);
    }
    (void)snprintf(name, sizeof name, "reply:%s", token.text);
    (void)cli_redis_key(c, "intake", x.intake, sizeof x.intake);
    (void)cli_redis_key(c, name, x.reply, sizeof x.reply);
    return converse(&x, timeout_ms);
}

int submit_print(struct cli *c, const struct submit_answer *answers, size_t count)
{
    int code = CLI_DONE;
    for (size_t i = 0; i < count; i++) {
        const struct submit_answer *a = &answers[i];
        bool is_rejected = strcmp(a->state, "rejected") == 0;
        code = is_rejected ? CLI_FAILED : code;
        if (c->o.json) {
            (void)fprintf(c->out, "%s{\"id\":\"%s\",\"state\":\"%s\",\"reason\":", i ? ",\n " : "[",
                          a->job.text, a->state);
            print_json_text(c->out, a->reason);
            (void)fputc('}', c->out);
            continue;
        }
        if (is_rejected) {
            (void)fprintf(stderr, "meridian %s: rejected: %s\n", c->command->name, a->reason);
        }
        (void)fprintf(c->out, "%s\n", a->job.text);
    }
    if (c->o.json) {
        (void)fputs(count ? "]\n" : "[]\n", c->out);
    }
    (void)fflush(c->out); /* ids first, progress after */
    return code;
}

int submit_follow(struct cli *c, const struct submit_answer *answers, size_t count)
{
    if (!c->o.wait && !c->o.watch) {
        return CLI_DONE;
    }
    const char **ids = mem_new_array(count ? count : 1, sizeof *ids);
    if (!ids) {
        return err_set(&c->e, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        ids[i] = answers[i].job.text;
    }
    int rc = c->o.watch ? follow_watch(c, ids, count) : follow_wait(c, ids, count, 0);
    mem_free(ids);
    return rc;
}
