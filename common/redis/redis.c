/*
 * The client on a loop: a machine (state.c has its table) that owns one link at a time.
 *
 * Two lists hold commands: `sent`, in the order of their replies, and `ended`, whose outcome is
 * known but not told yet. Everything that is not a reply is told by one idle handle, `later`, on
 * the loop's next turn, so nothing is ever called from inside a call of the user.
 *
 * One timer serves whatever the state waits for; `tick` looks what is due and sets it again.
 *
 * Suspension points: RESOLVING (on_resolved), CONNECTING (on_link_ready), GREETING and READY
 * (replies), WAITING (timer), CLOSING (`later`, then the close callbacks and a resolver that cannot
 * be stopped).
 */
#include "common/redis/redis.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/redis/link.h"
#include "common/redis/redis_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    TEXTS_FIXED = 32,         /* arguments that need no allocation */
    READS_MAX = 16,           /* pieces read before others on the loop have their turn */
    STABLE_MS = 1000,         /* ready for so long: the next loss begins with the shortest wait */
    GREETING_BYTES_MAX = 8192 /* our own commands, beside those of the caller */
};

struct command {
    struct command *next;
    redis_done_cb done;
    void *data;
    int64_t deadline_ms;
    int rc; /* for those in ended */
    enum redis__step step;
};

struct list {
    struct command *head;
    struct command *tail;
};

struct redis {
    /* settings */
    uv_loop_t *loop;
    struct redis_options options;
    struct redis__url url;
    struct redis__caller caller; /* owned copies */

    /* the machine */
    enum redis__state state;
    unsigned attempt;        /* tries since the last stable connection */
    int64_t since_ms;        /* when the state was entered */
    int64_t deadline_ms;     /* of this try, or the end of WAITING */
    int64_t address_end_ms;  /* of the address that is tried */
    int64_t traffic_ms;      /* when bytes came last */
    unsigned greetings_left; /* answers of the greeting that are missing */
    unsigned next_seed;      /* where the next try begins */
    unsigned hops;           /* times that this try was sent on */
    bool is_moved;           /* url aims where a cluster sent a command of the caller */
    struct rng rng;

    /* the connection */
    struct link *link; /* CONNECTING, GREETING, READY; else NULL */
    struct addrinfo *addresses;
    const struct addrinfo *address;
    uv_getaddrinfo_t resolver;
    bool is_resolving; /* resolver is in use, maybe by a try that was given up */
    char resolving[REDIS__TEXT_MAX + REDIS__PORT_MAX + 2]; /* what it looks for: "host port" */

    /* commands */
    struct list sent;
    struct list ended;
    size_t outstanding; /* of the caller's, in both lists */

    /* what the caller is told */
    struct err_buf cause;
    struct err_buf told_cause;
    bool has_news;
    bool told_ready;

    /* handles */
    uv_timer_t timer;
    int64_t timer_ms; /* when it fires; INT64_MAX = not set */
    uv_idle_t later;
    int open_count; /* handles and links whose close callback has not been called */
    redis_close_cb closed;
    void *closed_data;
};

static void lose(struct redis *r, const char *cause);
static void on_later(uv_idle_t *later);
static void on_link_ready(struct link *link, int error, int events, void *data);
static void resolve(struct redis *r);

/* --- lists ----------------------------------------------------------------------------------- */

static void list_push(struct list *list, struct command *command)
{
    command->next = NULL;
    if (list->tail) {
        list->tail->next = command;
    } else {
        list->head = command;
    }
    list->tail = command;
}

static struct command *list_pop(struct list *list)
{
    struct command *command = list->head;
    if (command) {
        list->head = command->next;
        if (!list->head) {
            list->tail = NULL;
        }
    }
    return command;
}

/* --- states and time ------------------------------------------------------------------------- */

static bool is_connected(const struct redis *r)
{
    return r->state == REDIS__STATE_GREETING || r->state == REDIS__STATE_READY;
}

static void check_invariants(const struct redis *r)
{
    CHECK((r->link != NULL) == (is_connected(r) || r->state == REDIS__STATE_CONNECTING));
    CHECK(is_connected(r) || r->sent.head == NULL);
    CHECK(r->state != REDIS__STATE_READY || r->greetings_left == 0);
    CHECK(r->state != REDIS__STATE_CLOSED || (r->ended.head == NULL && r->outstanding == 0));
}

static void move(struct redis *r, enum redis__state to)
{
    CHECK(redis__state_may_move(r->state, to));
    log_trace("redis moves client=%s from=%s to=%s", r->caller.name ? r->caller.name : "-",
              redis__state_text(r->state), redis__state_text(to));
    r->state = to;
    r->since_ms = clock_mono_ms();
    check_invariants(r);
}

static int64_t min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t first_deadline(const struct redis *r)
{
    int64_t first = INT64_MAX;
    for (const struct command *c = r->sent.head; c; c = c->next) {
        first = min_ms(first, c->deadline_ms);
    }
    return first;
}

/* When the state has to be looked at if nothing happens. */
static int64_t next_wake(const struct redis *r)
{
    switch (r->state) {
    case REDIS__STATE_CONNECTING:
        return min_ms(r->deadline_ms, r->address_end_ms);
    case REDIS__STATE_READY:
        return r->sent.head ? first_deadline(r) : r->traffic_ms + r->options.ping_after_ms;
    case REDIS__STATE_RESOLVING:
    case REDIS__STATE_GREETING:
    case REDIS__STATE_WAITING:
        return r->deadline_ms;
    default:
        return INT64_MAX;
    }
}

static void on_timer(uv_timer_t *timer);

/* The loop's own time may be old after a long callback: then the timer fires early, and tick sets
 * it again. Never 0: libuv 1.44 would call it again in the same turn. */
static void set_timer(struct redis *r, int64_t wake_ms)
{
    int64_t wait = wake_ms - clock_mono_ms();
    r->timer_ms = wake_ms;
    /* Fails only for a closing handle. */
    CHECK(uv_timer_start(&r->timer, on_timer, wait > 1 ? (uint64_t)wait : 1, 0) == 0);
}

static void set_timer_for_state(struct redis *r)
{
    int64_t wake = next_wake(r);
    if (wake == INT64_MAX) {
        r->timer_ms = INT64_MAX;
        (void)uv_timer_stop(&r->timer); /* always 0 */
    } else {
        set_timer(r, wake);
    }
}

static void tell_later(struct redis *r)
{
    CHECK(uv_idle_start(&r->later, on_later) == 0);
}

/* --- the end of a connection ----------------------------------------------------------------- */

static void free_caller(struct redis *r)
{
    mem_free((char *)r->caller.name);
    mem_free((char *)r->caller.channel);
    mem_free((char *)r->caller.key);
}

/* CLOSING is over when the last handle has gone and the resolver has answered. */
static void finish(struct redis *r)
{
    if (r->state != REDIS__STATE_CLOSING || r->open_count > 0 || r->is_resolving) {
        return;
    }
    redis_close_cb closed = r->closed;
    void *data = r->closed_data;
    move(r, REDIS__STATE_CLOSED);
    redis__url_wipe(&r->url);
    free_caller(r);
    mem_free(r);
    if (closed) {
        closed(data);
    }
}

static void on_link_closed(void *data)
{
    struct redis *r = data;
    r->open_count--;
    finish(r);
}

static void drop_link(struct redis *r)
{
    if (r->link) {
        struct link *link = r->link;
        r->link = NULL;
        link_close(link);
    }
}

static void drop_addresses(struct redis *r)
{
    if (r->addresses) {
        uv_freeaddrinfo(r->addresses);
    }
    r->addresses = NULL;
    r->address = NULL;
}

/* Every command that waits for its reply ends with rc, or with the code that it has already. */
static void end_sent(struct redis *r, int rc)
{
    struct command *command;
    while ((command = list_pop(&r->sent))) {
        if (command->step != REDIS__STEP_NONE) {
            mem_free(command);
            continue;
        }
        command->rc = command->rc != 0 ? command->rc : rc;
        list_push(&r->ended, command);
    }
    r->greetings_left = 0;
}

/* The same cause is not told again while we try. */
static void set_news(struct redis *r)
{
    bool is_ready = r->state == REDIS__STATE_READY;
    r->has_news =
        is_ready != r->told_ready || (!is_ready && strcmp(r->cause.text, r->told_cause.text) != 0);
}

static void lose(struct redis *r, const char *cause)
{
    bool was_stable = r->state == REDIS__STATE_READY && clock_mono_ms() - r->since_ms >= STABLE_MS;
    if (cause != r->cause.text) {
        (void)err_set(&r->cause, ERR_UNREACHABLE, "redis at %.200s: %.200s", r->url.shown, cause);
    }
    log_debug("redis lost client=%s state=%s cause=\"%s\"", r->caller.name ? r->caller.name : "-",
              redis__state_text(r->state), r->cause.text);
    drop_link(r);
    drop_addresses(r);
    end_sent(r, ERR_UNREACHABLE);
    r->attempt = was_stable ? 0 : r->attempt;
    move(r, REDIS__STATE_WAITING);
    r->deadline_ms = r->since_ms + redis__backoff_ms(r->attempt, r->options.backoff_min_ms,
                                                     r->options.backoff_max_ms, rng_unit(&r->rng));
    r->attempt++;
    set_timer_for_state(r);
    set_news(r);
    tell_later(r);
}

/* --- commands -------------------------------------------------------------------------------- */

/* Queues a command; the codes of redis__encode, and then nothing was changed. */
static int add_command(struct redis *r, const struct span *args, size_t count,
                       struct command values)
{
    struct command *command = mem_new(sizeof *command);
    if (!command) {
        return ERR_NOMEM;
    }
    int rc = link_add(r->link, args, count);
    if (rc == 0) {
        rc = link_watch(r->link) == 0 ? 0 : ERR_INTERNAL;
        CHECK(rc == 0); /* libuv refuses only closing handles */
    }
    if (rc != 0) {
        mem_free(command);
        return rc;
    }
    *command = values;
    list_push(&r->sent, command);
    if (values.deadline_ms < r->timer_ms) {
        set_timer(r, values.deadline_ms);
    }
    return 0;
}

static int add_step(struct redis *r, enum redis__step step, int64_t deadline_ms)
{
    struct span args[3];
    size_t count = redis__step_args(step, &r->url, &r->caller, args);
    if (count == 0) {
        return 0;
    }
    struct command values = {.step = step, .deadline_ms = deadline_ms};
    int rc = add_command(r, args, count, values);
    return rc == 0 ? 1 : rc;
}

/* All of the greeting goes out at once; the first refusal is the cause that is told. */
static void greet(struct redis *r)
{
    move(r, REDIS__STATE_GREETING);
    for (enum redis__step step = REDIS__STEP_NONE + 1; step < REDIS__STEP_COUNT; step++) {
        int rc = add_step(r, step, r->deadline_ms);
        if (rc < 0) {
            lose(r, err_text(rc));
            return;
        }
        r->greetings_left += (unsigned)rc;
    }
    set_timer_for_state(r);
}

/* A Sentinel or a cluster named the server to talk to: on to it, within the time of this try. */
static void go_elsewhere(struct redis *r)
{
    if (++r->hops > REDIS__HOPS_MAX) {
        lose(r, "it sends us on, as those before it did");
        return;
    }
    log_debug("redis sends the client on client=%s to=%s", r->caller.name ? r->caller.name : "-",
              r->url.shown);
    drop_link(r);
    end_sent(r, ERR_UNREACHABLE);
    int64_t deadline_ms = r->deadline_ms;
    move(r, REDIS__STATE_RESOLVING);
    r->deadline_ms = deadline_ms;
    set_timer_for_state(r);
    resolve(r);
}

static void take_step(struct redis *r, enum redis__step step, const struct redis_reply *reply)
{
    if (r->state == REDIS__STATE_READY) {
        return; /* the PING of an idle connection: any answer will do */
    }
    int rc = redis__step_check(step, &r->url, reply, &r->cause);
    if (rc == REDIS__ELSEWHERE) {
        go_elsewhere(r);
        return;
    }
    if (rc != 0) {
        lose(r, r->cause.text);
        return;
    }
    r->greetings_left--;
    if (r->greetings_left == 0) {
        r->cause.text[0] = '\0';
        move(r, REDIS__STATE_READY);
        set_timer_for_state(r);
        set_news(r);
        tell_later(r);
    }
}

static void take_answer(struct redis *r, struct command *command, const struct redis_reply *reply)
{
    const struct link *link = r->link;
    int rc = redis__reply_code(reply);
    redis_done_cb done = command->done;
    void *data = command->data;
    mem_free(command);
    r->outstanding--;
    if (done) {
        done(rc, reply, data);
    }
    if (r->link != link) {
        return;
    }
    if (redis__reply_is_demotion(reply)) {
        lose(r, "it is no longer the master");
    } else if (redis__reply_is_moved(reply, &r->url)) {
        r->is_moved = true;
        lose(r, "another node of the cluster has the keys now");
    }
}

static void take_reply(struct redis *r, const struct redis_reply *reply)
{
    struct span channel;
    struct span payload;
    if (r->caller.channel && r->state == REDIS__STATE_READY &&
        redis__reply_is_message(reply, &channel, &payload)) {
        r->options.on_message(channel, payload, r->options.data);
        return;
    }
    struct command *command = list_pop(&r->sent);
    if (!command) {
        lose(r, "it sent something that nobody asked for");
        return;
    }
    if (command->step == REDIS__STEP_NONE) {
        take_answer(r, command, reply);
        return;
    }
    enum redis__step step = command->step;
    mem_free(command);
    take_step(r, step, reply);
}

/* Reads and delivers until nothing is left, the connection has ended, or others want a turn. */
static void read_replies(struct redis *r)
{
    struct link *link = r->link;
    struct err_buf e = {0};
    int rc = 1;
    for (int i = 0; i < READS_MAX && rc > 0; i++) {
        rc = link_read(link, &e);
        if (rc > 0) {
            r->traffic_ms = clock_mono_ms();
        }
        struct redis_reply *reply = NULL;
        int found = rc > 0;
        while (found > 0 && (found = link_next(link, &reply, &e)) > 0) {
            take_reply(r, reply);
            redis__reply_free(reply);
            if (r->link != link) {
                return;
            }
        }
        rc = found < 0 ? found : rc;
    }
    if (rc < 0) {
        lose(r, e.text);
    }
}

/* --- connecting ------------------------------------------------------------------------------ */

static void use_socket(struct redis *r, int fd)
{
    int rc = link_new(&r->link, r->loop, fd, r->options.outgoing_bytes_max * 2 + GREETING_BYTES_MAX,
                      on_link_ready, on_link_closed, r);
    if (rc != 0) {
        lose(r, err_text(rc));
        return;
    }
    r->open_count++;
    link_bound(r->link, r->options.bulk_bytes_max, r->options.reply_bytes_max);
    if (r->state == REDIS__STATE_RESOLVING) {
        move(r, REDIS__STATE_CONNECTING);
    }
    set_timer_for_state(r);
}

/* Tries r->address and those behind it; each has an equal part of the time that is left. */
static void try_addresses(struct redis *r, int error)
{
    while (r->address) {
        const struct addrinfo *address = r->address;
        int64_t left = 0;
        for (const struct addrinfo *a = address; a; a = a->ai_next) {
            left++;
        }
        int64_t now = clock_mono_ms();
        r->address_end_ms = now + (r->deadline_ms - now) / left;
        r->address = address->ai_next;
        int fd = -1;
        error = redis__socket_open(address->ai_addr, address->ai_addrlen, &fd);
        if (error == 0) {
            use_socket(r, fd);
            return;
        }
    }
    lose(r, strerror(-error));
}

/* The link of an address that failed is replaced within CONNECTING. */
static void try_next_address(struct redis *r, int error)
{
    if (!r->address) {
        lose(r, strerror(-error));
        return;
    }
    struct link *failed = r->link;
    r->link = NULL;
    link_close(failed);
    try_addresses(r, error);
}

static void name_target(const struct redis *r, char *out, size_t size)
{
    (void)snprintf(out, size, "%s %s", r->url.host, r->url.port);
}

static bool is_resolving_target(const struct redis *r)
{
    char target[sizeof r->resolving];
    name_target(r, target, sizeof target);
    return strcmp(target, r->resolving) == 0;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct redis *r = request->data;
    r->is_resolving = false;
    if (r->state != REDIS__STATE_RESOLVING) {
        uv_freeaddrinfo(addresses); /* that try was given up */
        finish(r);
        return;
    }
    if (!is_resolving_target(r)) {
        uv_freeaddrinfo(addresses); /* an earlier try looked for another host */
        resolve(r);
        return;
    }
    if (status != 0) {
        char cause[200];
        (void)snprintf(cause, sizeof cause, "the host name is not resolved: %s",
                       uv_strerror(status));
        lose(r, cause);
        return;
    }
    r->addresses = addresses;
    r->address = addresses;
    try_addresses(r, -ENOENT);
}

/* A resolver that is still busy for an earlier try answers this one too: never more than one
 * thread of the pool waits for a name. */
static void resolve(struct redis *r)
{
    if (r->is_resolving) {
        return;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    r->resolver.data = r;
    name_target(r, r->resolving, sizeof r->resolving);
    int rc = uv_getaddrinfo(r->loop, &r->resolver, on_resolved, r->url.host, r->url.port, &hints);
    if (rc != 0) {
        lose(r, uv_strerror(rc));
        return;
    }
    r->is_resolving = true;
}

static void start_try(struct redis *r)
{
    move(r, REDIS__STATE_RESOLVING);
    r->hops = 0;
    if (!r->is_moved) {
        redis__url_aim_seed(&r->url, r->next_seed++);
    }
    r->is_moved = false;
    r->deadline_ms = r->since_ms + r->options.connect_timeout_ms;
    r->address_end_ms = r->deadline_ms;
    set_timer_for_state(r);
    if (!r->url.is_unix) {
        resolve(r);
        return;
    }
    int fd = -1;
    int error = redis__socket_open_unix(r->url.host, &fd);
    if (error != 0) {
        lose(r, strerror(-error));
        return;
    }
    use_socket(r, fd);
}

static void on_connect(struct redis *r)
{
    int error = link_connect_error(r->link);
    if (error != 0) {
        try_next_address(r, error);
        return;
    }
    r->traffic_ms = clock_mono_ms();
    drop_addresses(r);
    greet(r);
}

static void on_link_ready(struct link *link, int error, int events, void *data)
{
    struct redis *r = data;
    if (r->link != link) {
        return;
    }
    if (r->state == REDIS__STATE_CONNECTING) {
        on_connect(r);
        return;
    }
    if (error != 0 || (events & UV_READABLE)) {
        read_replies(r); /* also after an error: Redis may have said why */
    }
    if (r->link == link && error != 0) {
        lose(r, uv_strerror(error));
    }
    if (r->link == link && (events & UV_WRITABLE)) {
        int rc = link_write(link);
        if (rc != 0) {
            lose(r, strerror(-rc));
        }
    }
    if (r->link == link) {
        CHECK(link_watch(link) == 0);
    }
}

/* --- time ------------------------------------------------------------------------------------ */

/* True when a command is overdue; it is marked as timed out. */
static bool mark_overdue(struct redis *r, int64_t now)
{
    bool is_any = false;
    for (struct command *c = r->sent.head; c; c = c->next) {
        if (c->deadline_ms <= now) {
            c->rc = ERR_TIMEOUT;
            is_any = true;
        }
    }
    return is_any;
}

/* When this process itself was stopped or busy, the reply may wait in the socket: looked for before
 * the connection is given up. */
static void tick_ready(struct redis *r, int64_t now)
{
    if (first_deadline(r) <= now) {
        read_replies(r);
    }
    if (r->state != REDIS__STATE_READY) {
        return;
    }
    if (mark_overdue(r, now)) {
        lose(r, "a command was not answered in time");
        return;
    }
    if (!r->sent.head && r->traffic_ms + r->options.ping_after_ms <= now) {
        int rc = add_step(r, REDIS__STEP_PING, now + r->options.command_timeout_ms);
        if (rc < 0) {
            lose(r, err_text(rc));
            return;
        }
    }
    set_timer_for_state(r);
}

static void tick(struct redis *r)
{
    int64_t now = clock_mono_ms();
    if (r->state == REDIS__STATE_READY) {
        tick_ready(r, now);
        return;
    }
    if (next_wake(r) > now) {
        set_timer_for_state(r);
        return;
    }
    switch (r->state) {
    case REDIS__STATE_RESOLVING:
        lose(r, "the host name was not resolved in time");
        break;
    case REDIS__STATE_CONNECTING:
        try_next_address(r, -ETIMEDOUT);
        break;
    case REDIS__STATE_GREETING:
        lose(r, "it accepted the connection but does not answer");
        break;
    case REDIS__STATE_WAITING:
        start_try(r);
        break;
    default:
        break;
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct redis *r = timer->data;
    r->timer_ms = INT64_MAX;
    tick(r);
}

/* --- telling --------------------------------------------------------------------------------- */

static void tell_state(struct redis *r)
{
    if (!r->has_news || r->state >= REDIS__STATE_CLOSING) {
        return;
    }
    r->has_news = false;
    r->told_ready = r->state == REDIS__STATE_READY;
    r->told_cause = r->cause;
    if (r->options.on_state) {
        r->options.on_state(r->told_ready, r->told_cause.text, r->options.data);
    }
}

static void tell_ended(struct redis *r)
{
    struct list ended = r->ended; /* what the callbacks add has its turn later */
    struct command *command;
    r->ended = (struct list){NULL, NULL};
    while ((command = list_pop(&ended))) {
        r->outstanding--;
        if (command->done) {
            command->done(command->rc, NULL, command->data);
        }
        mem_free(command);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct redis *r = handle->data;
    r->open_count--;
    finish(r);
}

static void on_later(uv_idle_t *later)
{
    struct redis *r = later->data;
    CHECK(uv_idle_stop(later) == 0);
    bool was_closing = r->state == REDIS__STATE_CLOSING;
    tell_state(r);
    tell_ended(r);
    if (was_closing) {
        uv_close((uv_handle_t *)&r->timer, on_handle_closed);
        uv_close((uv_handle_t *)&r->later, on_handle_closed);
    }
}

/* --- public ---------------------------------------------------------------------------------- */

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

static void set_defaults(struct redis_options *o)
{
    o->connect_timeout_ms = or_default(o->connect_timeout_ms, REDIS__CONNECT_MS);
    o->command_timeout_ms = or_default(o->command_timeout_ms, REDIS__COMMAND_MS);
    o->ping_after_ms = or_default(o->ping_after_ms, REDIS__PING_MS);
    o->backoff_min_ms = or_default(o->backoff_min_ms, REDIS__BACKOFF_MIN_MS);
    o->backoff_max_ms = or_default(o->backoff_max_ms, REDIS__BACKOFF_MAX_MS);
    o->outstanding_max = o->outstanding_max ? o->outstanding_max : REDIS__OUTSTANDING_MAX;
    o->outgoing_bytes_max =
        o->outgoing_bytes_max ? o->outgoing_bytes_max : REDIS__OUTGOING_BYTES_MAX;
    o->url = NULL; /* copied, and not kept */
    o->name = NULL;
    o->channel = NULL;
    o->key = NULL;
}

static int copy_options(struct redis *r, const struct redis_options *options, struct err_buf *e)
{
    if (!redis__name_is_valid(options->name)) {
        return err_set(e, ERR_INVALID, "redis client name \"%.100s\" has spaces", options->name);
    }
    if (options->channel && !options->on_message) {
        return err_set(e, ERR_INVALID, "redis: a channel needs on_message");
    }
    r->options = *options;
    set_defaults(&r->options);
    r->caller = (struct redis__caller){.name = mem_string_copy(options->name),
                                       .channel = mem_string_copy(options->channel),
                                       .key = mem_string_copy(options->key)};
    if ((options->name && !r->caller.name) || (options->channel && !r->caller.channel) ||
        (options->key && !r->caller.key)) {
        return err_set(e, ERR_NOMEM, "redis: %s", err_text(ERR_NOMEM));
    }
    return redis__url_parse(&r->url, options->url, e);
}

int redis_new(struct redis **ret, struct uv_loop_s *loop, const struct redis_options *options,
              struct err_buf *e)
{
    struct redis *r = mem_new(sizeof *r);
    if (!r) {
        return err_set(e, ERR_NOMEM, "redis: %s", err_text(ERR_NOMEM));
    }
    r->loop = loop;
    r->rng.key = rng_seed_from_system();
    r->timer_ms = INT64_MAX;
    int rc = copy_options(r, options, e);
    if (rc != 0) {
        free_caller(r);
        mem_free(r);
        return rc;
    }
    CHECK(uv_timer_init(loop, &r->timer) == 0); /* these two never fail */
    CHECK(uv_idle_init(loop, &r->later) == 0);
    r->timer.data = r;
    r->later.data = r;
    r->open_count = 2;
    start_try(r);
    *ret = r;
    return 0;
}

bool redis_is_ready(const struct redis *r)
{
    return r->state == REDIS__STATE_READY;
}

const char *redis_state_name(const struct redis *r)
{
    return redis__state_text(r->state);
}

size_t redis_outstanding(const struct redis *r)
{
    return r->outstanding;
}

/* Not connected: the answer comes on the next turn, as it would for a command that was sent. */
static int refuse_later(struct redis *r, struct command values)
{
    struct command *command = mem_new(sizeof *command);
    if (!command) {
        return ERR_NOMEM;
    }
    *command = values;
    command->rc = ERR_UNREACHABLE;
    list_push(&r->ended, command);
    tell_later(r);
    return 0;
}

static int send_ready(struct redis *r, const struct span *args, size_t count, struct command values)
{
    size_t max = r->options.outgoing_bytes_max;
    size_t size = redis__encoded_max(args, count);
    if (size > max || link_pending(r->link) > max - size) {
        return ERR_LIMIT;
    }
    return add_command(r, args, count, values);
}

int redis_send(struct redis *r, const struct span *args, size_t count, int64_t timeout_ms,
               redis_done_cb done, void *data)
{
    if (r->state >= REDIS__STATE_CLOSING) {
        return ERR_CANCELLED;
    }
    if (r->caller.channel || count == 0) {
        return ERR_INVALID;
    }
    if (r->outstanding >= r->options.outstanding_max) {
        return ERR_LIMIT;
    }
    struct command values = {
        .done = done,
        .data = data,
        .deadline_ms = clock_mono_ms() + or_default(timeout_ms, r->options.command_timeout_ms),
    };
    int rc = redis_is_ready(r) ? send_ready(r, args, count, values) : refuse_later(r, values);
    r->outstanding += rc == 0;
    return rc;
}

int redis_send_texts(struct redis *r, const char *const *args, size_t count, int64_t timeout_ms,
                     redis_done_cb done, void *data)
{
    struct span fixed[TEXTS_FIXED];
    struct span *spans = redis__spans(args, count, fixed, TEXTS_FIXED);
    if (!spans) {
        return ERR_NOMEM;
    }
    int rc = redis_send(r, spans, count, timeout_ms, done, data);
    if (spans != fixed) {
        mem_free(spans);
    }
    return rc;
}

void redis_reconnect(struct redis *r)
{
    if (r->link || r->state == REDIS__STATE_RESOLVING) {
        lose(r, "given up to connect again");
    }
}

void redis_close(struct redis *r, redis_close_cb closed, void *data)
{
    CHECK(r->state < REDIS__STATE_CLOSING);
    r->closed = closed;
    r->closed_data = data;
    drop_link(r);
    drop_addresses(r);
    end_sent(r, ERR_CANCELLED);
    move(r, REDIS__STATE_CLOSING);
    if (r->is_resolving) {
        (void)uv_cancel((uv_req_t *)&r->resolver); /* when it runs already, finish waits for it */
    }
    set_timer_for_state(r);
    tell_later(r);
}
