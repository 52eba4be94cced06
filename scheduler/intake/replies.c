#include "scheduler/intake/replies.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/redis/redis.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

enum {
    KEY_SIZE = 256,
    AGAIN_MS = 200,
    COMPLAIN_MS = 10000,
    KEPT_BYTES_MAX = 16 * 1024 * 1024,
};

#define TTL_S "120"

struct parcel {
    struct parcel *next;
    struct replies *owner;
    char key[KEY_SIZE];
    size_t length;
    char bytes[];
};

struct replies {
    struct redis *redis;
    uv_timer_t timer;
    struct parcel *first, **last; /* to be sent again */
    size_t bytes;
    int64_t complain_at_ms;
};

struct replies *replies_new(struct uv_loop_s *loop, struct redis *redis)
{
    struct replies *r = mem_new(sizeof *r);
    if (r) {
        r->redis = redis;
        r->last = &r->first;
        r->timer.data = r;
        (void)uv_timer_init(loop, &r->timer); /* cannot fail */
    }
    return r;
}

static void push(struct parcel *p);

static void send_again(uv_timer_t *timer)
{
    struct replies *r = timer->data;
    struct parcel *p = r->first;
    r->first = NULL;
    r->last = &r->first;
    r->bytes = 0;
    while (p) {
        struct parcel *next = p->next;
        push(p);
        p = next;
    }
}

static void complain(struct replies *r)
{
    int64_t now = clock_mono_ms();
    if (now >= r->complain_at_ms) {
        r->complain_at_ms = now + COMPLAIN_MS;
        log_warn("redis is out of memory: answers to submissions wait");
    }
}

static void keep(struct parcel *p)
{
    struct replies *r = p->owner;
    complain(r);
    if (r->bytes + p->length > KEPT_BYTES_MAX) {
        mem_free(p); /* it is asked for again */
        return;
    }
    p->next = NULL;
    *r->last = p;
    r->last = &p->next;
    r->bytes += p->length;
    if (!uv_is_active((uv_handle_t *)&r->timer)) {
        (void)uv_timer_start(&r->timer, send_again, AGAIN_MS, 0); /* cannot fail */
    }
}

static void on_pushed(int rc, const struct redis_reply *reply, void *data)
{
    struct parcel *p = data;
    (void)reply;
    if (rc == ERR_LIMIT) {
        keep(p);
    } else {
        mem_free(p);
    }
}

static void push(struct parcel *p)
{
    struct redis *redis = p->owner->redis;
    const struct span args[] = {span_of("RPUSH"), span_of(p->key), span_make(p->bytes, p->length)};
    char key[KEY_SIZE];
    memcpy(key, p->key, sizeof key);
    int rc = redis_send(redis, args, 3, 0, on_pushed, p);
    if (rc == ERR_LIMIT) {
        keep(p);
    } else if (rc) {
        mem_free(p);
    } else if (REDIS_CALL(redis, NULL, NULL, "EXPIRE", key, TTL_S)) {
        log_debug("redis did not take a command"); /* the next reply to that key does it */
    }
}

void replies_send(struct replies *r, const char *key, struct span bytes)
{
    struct parcel *p = mem_new(sizeof *p + bytes.length);
    if (!p) {
        return; /* as any other loss */
    }
    p->owner = r;
    p->length = bytes.length;
    (void)snprintf(p->key, sizeof p->key, "%s", key);
    memcpy(p->bytes, bytes.data, bytes.length);
    push(p);
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void replies_close(struct replies *r)
{
    while (r->first) {
        struct parcel *p = r->first;
        r->first = p->next;
        mem_free(p);
    }
    uv_close((uv_handle_t *)&r->timer, on_closed);
}
