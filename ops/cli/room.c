#include "ops/cli/room.h"

#include "common/base/clock.h"
#include "common/base/rng.h"

#include <stdlib.h>
#include <string.h>

enum { WAIT_MS_MIN = 50, WAIT_MS_MAX = 1000, REPLY_MS = 5000 };

/* What is left of maxmemory is for those that empty the stream: leave a tenth. */
#define MEMORY_PART 0.9

struct room {
    int64_t stream_bytes; /* -1: Redis did not say (no right to ask) */
    int64_t used_bytes;
    int64_t max_bytes; /* 0: no maxmemory */
    int replies;
};

static int64_t info_number(struct span info, const char *name)
{
    char text[8192];
    (void)snprintf(text, sizeof text, "%.*s", (int)info.length, info.data ? info.data : "");
    const char *at = strstr(text, name);
    return at ? strtoll(at + strlen(name), NULL, 10) : 0;
}

static void on_answer(int rc, const struct redis_reply *reply, void *data)
{
    struct room *r = data;
    if (r->replies++ == 0) {
        r->stream_bytes = rc ? -1 : redis_reply_integer(reply);
    } else if (rc == 0) {
        struct span info = redis_reply_text(reply);
        r->used_bytes = info_number(info, "\nused_memory:");
        r->max_bytes = info_number(info, "\nmaxmemory:");
    }
}

static int look(struct cli *c, const char *intake, struct room *ret)
{
    *ret = (struct room){0};
    const struct span usage[] = {span_of("MEMORY"), span_of("USAGE"), span_of(intake)};
    const struct span info[] = {span_of("INFO"), span_of("memory")};
    int rc = redis_sync_add(c->redis, usage, 3);
    rc = rc ? rc : redis_sync_add(c->redis, info, 2);
    rc = rc ? rc : redis_sync_flush(c->redis, REPLY_MS, on_answer, ret, &c->e);
    /* An answer that is an error leaves that limit to Redis itself. */
    return rc == ERR_UNREACHABLE || rc == ERR_TIMEOUT || rc == ERR_NOMEM ? rc : 0;
}

/* Whether a message of that length is too much, and for what. Redis holds it twice for a moment: as
 * it was read, and in the stream. */
static bool is_full(const struct cli *c, const struct room *r, size_t length, struct err_buf *why)
{
    long long limit_mb = c->o.intake_max_mb;
    if (r->stream_bytes > limit_mb << 20) {
        (void)err_set(why, ERR_LIMIT,
                      "%lld MB of submissions wait in Redis, the limit is %lld "
                      "(--intake-max)",
                      (long long)(r->stream_bytes >> 20), limit_mb);
        return true;
    }
    if (r->max_bytes > 0 &&
        (double)r->used_bytes + 2 * (double)length > MEMORY_PART * (double)r->max_bytes) {
        (void)err_set(why, ERR_LIMIT, "Redis uses %lld of its %lld MB (maxmemory)",
                      (long long)(r->used_bytes >> 20), (long long)(r->max_bytes >> 20));
        return true;
    }
    return false;
}

/* Between half of it and all of it, so that clients that wait together do not come together. */
static int64_t jittered(int64_t ms)
{
    uint64_t random = rng_mix(rng_seed_from_system());
    return ms / 2 + (int64_t)(random % (uint64_t)(ms / 2 + 1));
}

/* One wait; fails when the deadline would pass. */
static int wait_a_while(struct cli *c, int64_t *wait_ms, int64_t deadline_ms,
                        const struct err_buf *why)
{
    int64_t left = deadline_ms - clock_mono_ms();
    if (cli_is_interrupted()) {
        return err_set(&c->e, ERR_CANCELLED, "interrupted; what was sent stays submitted");
    }
    if (left <= 0) {
        return err_set(&c->e, ERR_UNREACHABLE,
                       "the queue is full: %s; is a scheduler at work? Try again later, or with a "
                       "longer --timeout",
                       why->text);
    }
    int64_t ms = jittered(*wait_ms);
    cli_sleep_ms(ms < left ? ms : left);
    *wait_ms = *wait_ms * 2 < WAIT_MS_MAX ? *wait_ms * 2 : WAIT_MS_MAX;
    return 0;
}

static int wait_for_room(struct cli *c, const char *intake, size_t length, int64_t deadline_ms)
{
    int64_t wait_ms = WAIT_MS_MIN;
    struct err_buf why = {{0}};
    struct room r;
    int rc = look(c, intake, &r);
    while (rc == 0 && is_full(c, &r, length, &why)) {
        rc = wait_a_while(c, &wait_ms, deadline_ms, &why);
        rc = rc ? rc : look(c, intake, &r);
    }
    return rc;
}

int room_add(struct cli *c, const char *intake, struct span message, int64_t deadline_ms)
{
    int64_t wait_ms = WAIT_MS_MIN;
    const struct span args[] = {span_of("XADD"), span_of(intake), span_of("*"), span_of("m"),
                                message};
    int rc = wait_for_room(c, intake, message.length, deadline_ms);
    while (rc == 0) {
        rc = redis_sync_send(c->redis, args, sizeof args / sizeof *args, 0, NULL, &c->e);
        if (rc != ERR_LIMIT) {
            return rc;
        }
        struct err_buf why = {{0}};
        (void)err_set(&why, ERR_LIMIT, "Redis is out of memory (maxmemory)");
        rc = wait_a_while(c, &wait_ms, deadline_ms, &why);
    }
    return rc;
}
