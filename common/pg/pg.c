/*
 * One connection in pipeline mode. Requests live in one of two lists: `sent` (in the order of their
 * answers) and `ended` (their callback is due). Callbacks of failed requests are called from a
 * timer of zero length, never from inside a call of ours; `ended` therefore outlives a connection.
 *
 * libpq may close its socket and open another with the same number while connecting, so each step
 * gets a new poll handle and the old one is stopped before libpq runs.
 */
#include "common/pg/pg.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/pg/hosts.h"
#include "common/pg/pg_int.h"
#include "common/pg/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

enum { NAMES_MAX = 128, NAME_BYTES = 64, NULLS_MAX = 8 };

struct request {
    struct request *next;
    pg_done_cb done;
    void *data;
    int64_t deadline_ms;
    int rc;                /* of an ended one */
    PGresult *held;        /* the answer so far */
    bool has_failed;       /* held is an error */
    char name[NAME_BYTES]; /* this request prepares it, and the server has not said yes; or "" */
    struct pg_error error;
};

struct list {
    struct request *first;
    struct request **last;
    size_t count;
};

/* A poll handle of its own allocation: libuv needs it until its close callback. */
struct watch {
    uv_poll_t poll;
    struct pg *owner;
};

struct pg {
    uv_loop_t *loop;
    struct pg_options options;
    char *url;
    char *application_name;
    char *role;
    enum pg_state state;
    struct hosts hosts;
    size_t host_index;
    uv_getaddrinfo_t resolver;
    bool is_resolving;
    uv_timer_t timer; /* the connect timeout, the backoff, or the oldest request's deadline */
    uv_timer_t deferred;
    struct watch *watch;
    PGconn *connection;
    int watched_events;
    struct list sent;
    struct list ended;
    size_t name_count;
    char names[NAMES_MAX][NAME_BYTES];
    int64_t backoff_ms;
    bool was_announced; /* on_state(true) was called */
    bool must_announce_loss;
    char cause[256];
    int live_handles;
    pg_close_cb closed;
    void *closed_data;
};

static void connect_start(struct pg *p);
static void lose(struct pg *p, int head_rc, const char *cause);

/* --- lists ----------------------------------------------------------------------------------- */

static void list_init(struct list *l)
{
    *l = (struct list){.last = &l->first};
}

static void list_add(struct list *l, struct request *r)
{
    r->next = NULL;
    *l->last = r;
    l->last = &r->next;
    l->count++;
}

static struct request *list_take(struct list *l)
{
    struct request *r = l->first;
    if (r) {
        l->first = r->next;
        l->count--;
        if (!l->first) {
            l->last = &l->first;
        }
    }
    return r;
}

static void request_free(struct request *r)
{
    PQclear(r->held);
    mem_free(r);
}

/* --- state ----------------------------------------------------------------------------------- */

static void move(struct pg *p, enum pg_state to)
{
    CHECK(pg__state_may_move(p->state, to));
    log_trace("postgresql %s -> %s", pg__state_name(p->state), pg__state_name(to));
    p->state = to;
}

static void on_deferred(uv_timer_t *timer);

static void defer(struct pg *p)
{
    CHECK(uv_timer_start(&p->deferred, on_deferred, 0, 0) == 0);
}

static void end_request(struct pg *p, struct request *r, int rc, const char *text)
{
    r->rc = rc;
    if (text) {
        r->error = (struct pg_error){.text = ""};
        (void)snprintf(r->error.text, sizeof r->error.text, "%s", text);
    }
    list_add(&p->ended, r);
    defer(p);
}

/* --- watching the socket --------------------------------------------------------------------- */

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *w = handle->data;
    mem_free(w);
}

static void watch_stop(struct pg *p)
{
    if (p->watch) {
        (void)uv_poll_stop(&p->watch->poll); /* cannot fail on an open handle */
        p->watch->owner = NULL;
        uv_close((uv_handle_t *)&p->watch->poll, on_watch_closed);
        p->watch = NULL;
        p->watched_events = 0;
    }
}

static bool watch_start(struct pg *p, int events, uv_poll_cb callback)
{
    struct watch *w = mem_new(sizeof *w);
    if (!w) {
        return false;
    }
    if (uv_poll_init(p->loop, &w->poll, PQsocket(p->connection)) != 0) {
        mem_free(w);
        return false;
    }
    w->poll.data = w;
    w->owner = p;
    p->watch = w;
    p->watched_events = events;
    return uv_poll_start(&w->poll, events, callback) == 0;
}

/* --- answers --------------------------------------------------------------------------------- */

static void arm_timer(struct pg *p);

static void forget_name(struct pg *p, const char *name)
{
    for (size_t i = 0; i < p->name_count; i++) {
        if (strcmp(p->names[i], name) == 0) {
            memmove(p->names[i], p->names[--p->name_count], NAME_BYTES);
            return;
        }
    }
}

/* Calls back. The request is already off every list, so the callback may do anything. */
static void deliver(struct request *r)
{
    if (r->done) {
        struct pg_result result = {.pg = r->held};
        if (r->rc == 0) {
            r->done(0, &result, NULL, r->data);
        } else {
            r->done(r->rc, NULL, &r->error, r->data);
        }
    }
    request_free(r);
}

/* A prepared statement whose functions were made anew by a migration, with other columns, or at
 * that very moment. The session may refuse it for good: only a new one prepares it again. */
static bool is_outdated(const struct request *r)
{
    return (strcmp(r->error.sqlstate, "0A000") == 0 && strstr(r->error.text, "cached plan")) ||
           (strcmp(r->error.sqlstate, "XX000") == 0 && strstr(r->error.text, "cache lookup"));
}

/* The sync of the oldest request arrived: its answer is complete. */
static void complete_head(struct pg *p)
{
    bool must_renew = false;
    struct request *r = list_take(&p->sent);
    CHECK(r != NULL);
    if (!r->held) {
        r->rc = ERR_INTERNAL;
        (void)snprintf(r->error.text, sizeof r->error.text, "no answer before the sync");
    } else if (r->has_failed) {
        r->rc = pg__error_of(&r->error, r->held, NULL);
        must_renew = is_outdated(r);
        r->rc = must_renew ? ERR_UNREACHABLE : r->rc;
        if (r->name[0]) {
            forget_name(p, r->name);
        }
    }
    arm_timer(p);
    const PGconn *connection = p->connection;
    deliver(r);
    if (must_renew && p->connection == connection) {
        lose(p, ERR_UNREACHABLE, "the record's functions were made anew");
    }
}

static void take_result(struct pg *p, PGresult *result)
{
    struct request *r = p->sent.first;
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_PIPELINE_ABORTED || !r || r->has_failed) {
        PQclear(result);
        return;
    }
    PQclear(r->held);
    r->held = result;
    r->has_failed = status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK;
    if (!r->has_failed) {
        /* The first answer is the preparation's. It stays when what it was made for fails. */
        r->name[0] = '\0';
    }
}

/* Reads all answers at hand. False when a callback changed the connection under us. */
static bool read_results(struct pg *p)
{
    const PGconn *connection = p->connection;
    int nulls = 0;
    while (p->connection == connection && p->sent.first && nulls < NULLS_MAX &&
           !PQisBusy(p->connection)) {
        PGresult *result = PQgetResult(p->connection);
        nulls = result ? 0 : nulls + 1;
        if (!result) {
            continue;
        }
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            complete_head(p);
        } else {
            take_result(p, result);
        }
    }
    return p->connection == connection;
}

static void lose_connection(struct pg *p)
{
    char cause[256];
    pg__copy_line(cause, sizeof cause, PQerrorMessage(p->connection));
    lose(p, ERR_UNREACHABLE, cause[0] ? cause : "PostgreSQL closed the connection");
}

static void on_ready_io(uv_poll_t *poll, int status, int events);

/* Writes what fits, and watches for room when something is left. */
static void flush(struct pg *p)
{
    int left = PQflush(p->connection);
    if (left < 0) {
        lose_connection(p);
        return;
    }
    int events = UV_READABLE | (left > 0 ? UV_WRITABLE : 0);
    if (events != p->watched_events) {
        p->watched_events = events;
        CHECK(uv_poll_start(&p->watch->poll, events, on_ready_io) == 0);
    }
}

/* All that came at once are told as one. False when the callback changed the connection. */
static bool tell_notified(struct pg *p)
{
    const PGconn *connection = p->connection;
    bool is_notified = false;
    PGnotify *n;
    while ((n = PQnotifies(p->connection)) != NULL) {
        is_notified = true;
        PQfreemem(n);
    }
    if (is_notified && p->options.on_notified && p->state == PG_STATE_READY) {
        p->options.on_notified(p->options.data);
    }
    return p->connection == connection;
}

static void on_ready_io(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    struct pg *p = w->owner;
    if (!p || (p->state != PG_STATE_READY && p->state != PG_STATE_CONNECTING)) {
        return;
    }
    if (status < 0) {
        lose(p, ERR_UNREACHABLE, uv_strerror(status));
        return;
    }
    if ((events & UV_READABLE) && PQconsumeInput(p->connection) != 1) {
        lose_connection(p);
        return;
    }
    if (!read_results(p) || !p->connection || !tell_notified(p) || !p->connection) {
        return;
    }
    if (PQstatus(p->connection) == CONNECTION_BAD) {
        lose_connection(p);
        return;
    }
    flush(p);
}

/* --- deadlines ------------------------------------------------------------------------------- */

static void on_deadline(uv_timer_t *timer)
{
    struct pg *p = timer->data;
    if (p->sent.first && clock_mono_ms() >= p->sent.first->deadline_ms) {
        lose(p, ERR_TIMEOUT, "no answer in time");
    } else {
        arm_timer(p);
    }
}

/* Answers come in order, so only the oldest request's deadline matters. */
static void arm_timer(struct pg *p)
{
    if (p->state != PG_STATE_READY) {
        return;
    }
    if (!p->sent.first) {
        (void)uv_timer_stop(&p->timer); /* cannot fail */
        return;
    }
    int64_t left = p->sent.first->deadline_ms - clock_mono_ms();
    CHECK(uv_timer_start(&p->timer, on_deadline, left > 0 ? (uint64_t)left : 0, 0) == 0);
}

/* --- losing and coming back ------------------------------------------------------------------ */

static void on_backoff(uv_timer_t *timer)
{
    struct pg *p = timer->data;
    connect_start(p);
}

/* Half of the wait is jitter, so that many clients do not come back at once. */
static uint64_t next_backoff(struct pg *p)
{
    int64_t wait = p->backoff_ms;
    p->backoff_ms = wait * 2 < p->options.backoff_max_ms ? wait * 2 : p->options.backoff_max_ms;
    return (uint64_t)(wait / 2 + (int64_t)(rng_seed_from_system() % (uint64_t)(wait / 2 + 1)));
}

static void drop_connection(struct pg *p)
{
    watch_stop(p);
    if (p->connection) {
        PQfinish(p->connection);
        p->connection = NULL;
    }
    p->name_count = 0;
}

static void end_all_sent(struct pg *p, int head_rc, int rc, const char *cause)
{
    struct request *r;
    bool is_head = true;
    while ((r = list_take(&p->sent)) != NULL) {
        end_request(p, r, is_head ? head_rc : rc, cause);
        is_head = false;
    }
}

static void lose(struct pg *p, int head_rc, const char *cause)
{
    (void)snprintf(p->cause, sizeof p->cause, "%s", cause);
    log_debug("postgresql connection lost: %s", p->cause);
    drop_connection(p);
    end_all_sent(p, head_rc, ERR_UNREACHABLE, p->cause);
    if (p->state == PG_STATE_CLOSING) {
        return;
    }
    move(p, PG_STATE_WAITING);
    p->must_announce_loss = true;
    CHECK(uv_timer_start(&p->timer, on_backoff, next_backoff(p), 0) == 0);
    defer(p);
}

/* --- connecting ------------------------------------------------------------------------------ */

static void on_connect_timeout(uv_timer_t *timer)
{
    struct pg *p = timer->data;
    if (p->is_resolving) {
        (void)uv_cancel((uv_req_t *)&p->resolver); /* too late is fine: the answer is ignored */
    }
    lose(p, ERR_UNREACHABLE, "PostgreSQL did not answer in time");
}

static void on_setup(int rc, const struct pg_result *result, const struct pg_error *error,
                     void *data)
{
    struct pg *p = data;
    (void)result;
    if (p->state != PG_STATE_CONNECTING) {
        return;
    }
    if (rc != 0) {
        char cause[256];
        (void)snprintf(cause, sizeof cause, "cannot set the session up: %.200s", error->text);
        lose(p, ERR_UNREACHABLE, cause);
        return;
    }
    move(p, PG_STATE_READY);
    p->backoff_ms = p->options.backoff_min_ms;
    (void)uv_timer_stop(&p->timer); /* cannot fail */
    p->was_announced = true;
    p->must_announce_loss = false;
    if (p->options.on_state) {
        p->options.on_state(true, NULL, p->options.data);
    }
}

static int send_now(struct pg *p, const struct pg_query *query, pg_done_cb done, void *data);

/* A zombie statement must not hold locks for ever: the server gives up after the client did. And
 * no compiling: statements here take a millisecond, PostgreSQL's JIT takes a hundred. */
static void setup(struct pg *p)
{
    char timeout[32];
    (void)snprintf(timeout, sizeof timeout, "%" PRId64, p->options.query_timeout_ms * 2);
    const char *params[] = {timeout, p->role};
    const struct pg_query query = {
        .sql = p->role ? "SELECT set_config('statement_timeout', $1, false), "
                         "set_config('jit', 'off', false), set_config('role', $2, false)"
                       : "SELECT set_config('statement_timeout', $1, false), "
                         "set_config('jit', 'off', false)",
        .params = params,
        .param_count = p->role ? 2 : 1,
    };
    char listen[80];
    (void)snprintf(listen, sizeof listen, "LISTEN %.64s",
                   p->options.listen ? p->options.listen : "");
    const struct pg_query channel = {.sql = listen};
    /* Where it is refused (a standby) nobody is told of anything, which costs only time. */
    if ((p->options.listen && send_now(p, &channel, NULL, NULL) != 0) ||
        send_now(p, &query, on_setup, p) != 0) {
        lose_connection(p);
    }
}

static void connected(struct pg *p)
{
    (void)PQsetNoticeReceiver(p->connection, pg__notice, NULL);
    if (PQsetnonblocking(p->connection, 1) != 0 || PQenterPipelineMode(p->connection) != 1 ||
        !watch_start(p, UV_READABLE, on_ready_io)) {
        lose(p, ERR_UNREACHABLE, "cannot switch to pipeline mode");
        return;
    }
    setup(p);
}

static void connect_step(struct pg *p);

static void on_connect_io(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    (void)events;
    if (!w->owner || w->owner->state != PG_STATE_CONNECTING) {
        return;
    }
    if (status < 0) {
        log_trace("postgresql poll: %s", uv_strerror(status)); /* libpq finds out by itself */
    }
    connect_step(w->owner);
}

static void connect_step(struct pg *p)
{
    watch_stop(p);
    switch (PQconnectPoll(p->connection)) {
    case PGRES_POLLING_OK:
        connected(p);
        return;
    case PGRES_POLLING_READING:
        if (watch_start(p, UV_READABLE, on_connect_io)) {
            return;
        }
        break;
    case PGRES_POLLING_WRITING:
        if (watch_start(p, UV_WRITABLE, on_connect_io)) {
            return;
        }
        break;
    default:
        lose_connection(p);
        return;
    }
    lose(p, ERR_UNREACHABLE, "cannot watch the socket");
}

static void open_connection(struct pg *p)
{
    char addresses[HOSTS_MAX * ADDRESS_BYTES];
    hosts_addresses(&p->hosts, addresses, sizeof addresses);
    const char *keys[] = {"dbname",
                          "application_name",
                          "client_encoding",
                          "keepalives_idle",
                          "keepalives_interval",
                          "keepalives_count",
                          "tcp_user_timeout",
                          addresses[0] ? "hostaddr" : NULL,
                          NULL};
    const char *values[] = {p->url,  p->application_name, "UTF8", "30", "10", "3",
                            "30000", addresses,           NULL};
    move(p, PG_STATE_CONNECTING);
    p->connection = PQconnectStartParams(keys, values, 1);
    if (!p->connection) {
        lose(p, ERR_UNREACHABLE, "out of memory");
    } else if (PQstatus(p->connection) == CONNECTION_BAD) {
        lose_connection(p);
    } else if (!watch_start(p, UV_WRITABLE, on_connect_io)) {
        lose(p, ERR_UNREACHABLE, "cannot watch the socket");
    }
}

static void resolve_next(struct pg *p);

static void finish_close(struct pg *p);

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *answer)
{
    struct pg *p = request->data;
    p->is_resolving = false;
    if (p->state == PG_STATE_RESOLVING) {
        if (status == 0) {
            hosts_resolved(&p->hosts, p->host_index, answer);
            p->host_index++;
            resolve_next(p);
        } else {
            char cause[256];
            (void)snprintf(cause, sizeof cause, "cannot resolve \"%.150s\": %s",
                           p->hosts.name[p->host_index], uv_strerror(status));
            lose(p, ERR_UNREACHABLE, cause);
        }
    }
    uv_freeaddrinfo(answer);
    finish_close(p);
}

static void resolve_next(struct pg *p)
{
    p->host_index = hosts_next(&p->hosts, p->host_index);
    if (p->host_index >= p->hosts.count) {
        open_connection(p);
        return;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    p->resolver.data = p;
    int rc = uv_getaddrinfo(p->loop, &p->resolver, on_resolved, p->hosts.name[p->host_index], NULL,
                            &hints);
    if (rc != 0) {
        lose(p, ERR_UNREACHABLE, uv_strerror(rc));
        return;
    }
    p->is_resolving = true;
}

static void connect_start(struct pg *p)
{
    move(p, PG_STATE_RESOLVING);
    CHECK(uv_timer_start(&p->timer, on_connect_timeout, (uint64_t)p->options.connect_timeout_ms,
                         0) == 0);
    if (p->is_resolving) {
        lose(p, ERR_UNREACHABLE, "the last look-up of the host is still running");
        return;
    }
    p->host_index = 0;
    resolve_next(p);
}

/* --- the deferred step ----------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct pg *p = handle->data;
    p->live_handles--;
    finish_close(p);
}

static void finish_close(struct pg *p)
{
    if (p->state != PG_STATE_CLOSING || p->live_handles > 0 || p->is_resolving) {
        return;
    }
    move(p, PG_STATE_CLOSED);
    pg_close_cb closed = p->closed;
    void *data = p->closed_data;
    mem_free(p->url);
    mem_free(p->application_name);
    mem_free(p->role);
    mem_free(p);
    if (closed) {
        closed(data);
    }
}

static void announce_loss(struct pg *p)
{
    if (!p->must_announce_loss) {
        return;
    }
    p->must_announce_loss = false;
    p->was_announced = false;
    if (p->options.on_state && p->state != PG_STATE_CLOSING) {
        p->options.on_state(false, p->cause, p->options.data);
    }
}

static void on_deferred(uv_timer_t *timer)
{
    struct pg *p = timer->data;
    struct list due = p->ended;
    if (due.first) {
        /* What the callbacks add is for the next turn. */
        list_init(&p->ended);
    }
    while (due.first) {
        struct request *r = due.first;
        due.first = r->next;
        deliver(r);
    }
    announce_loss(p);
    if (p->state != PG_STATE_CLOSING) {
        return;
    }
    if (p->ended.first) {
        defer(p);
        return;
    }
    if (!uv_is_closing((uv_handle_t *)&p->timer)) {
        uv_close((uv_handle_t *)&p->timer, on_handle_closed);
        uv_close((uv_handle_t *)&p->deferred, on_handle_closed);
    }
}

/* --- public ---------------------------------------------------------------------------------- */

static void set_defaults(struct pg_options *o)
{
    o->connect_timeout_ms = o->connect_timeout_ms ? o->connect_timeout_ms : 10000;
    o->query_timeout_ms = o->query_timeout_ms ? o->query_timeout_ms : 30000;
    o->backoff_min_ms = o->backoff_min_ms ? o->backoff_min_ms : 100;
    o->backoff_max_ms = o->backoff_max_ms ? o->backoff_max_ms : 5000;
    o->outstanding_max = o->outstanding_max ? o->outstanding_max : 256;
}

int pg_new(struct pg **ret, struct uv_loop_s *loop, const struct pg_options *options,
           struct err_buf *e)
{
    struct hosts hosts;
    int rc = hosts_parse(&hosts, options->url, e);
    if (rc != 0) {
        return rc;
    }
    struct pg *p = mem_new(sizeof *p);
    if (!p) {
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    p->loop = loop;
    p->options = *options;
    set_defaults(&p->options);
    p->hosts = hosts;
    p->url = mem_string_copy(options->url);
    p->application_name = mem_string_copy(options->application_name);
    p->role = mem_string_copy(options->role);
    if (!p->url || (options->application_name && !p->application_name) ||
        (options->role && !p->role)) {
        mem_free(p->url);
        mem_free(p->application_name);
        mem_free(p->role);
        mem_free(p);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    list_init(&p->sent);
    list_init(&p->ended);
    p->backoff_ms = p->options.backoff_min_ms;
    CHECK(uv_timer_init(loop, &p->timer) == 0 && uv_timer_init(loop, &p->deferred) == 0);
    p->timer.data = p;
    p->deferred.data = p;
    p->live_handles = 2;
    /* The first step from the loop, so that no callback comes from inside this call. */
    move(p, PG_STATE_RESOLVING);
    move(p, PG_STATE_WAITING);
    CHECK(uv_timer_start(&p->timer, on_backoff, 0, 0) == 0);
    *ret = p;
    return 0;
}

bool pg_is_ready(const struct pg *p)
{
    return p->state == PG_STATE_READY;
}

const char *pg_state_name(const struct pg *p)
{
    return pg__state_name(p->state);
}

size_t pg_outstanding(const struct pg *p)
{
    return p->sent.count + p->ended.count;
}

static bool is_prepared(const struct pg *p, const char *name)
{
    for (size_t i = 0; i < p->name_count; i++) {
        if (strcmp(p->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Prepares on first use, in the same unit as the query: one sync for both. */
static bool put_named(struct pg *p, const struct pg_query *q, struct request *r)
{
    if (!is_prepared(p, q->name)) {
        if (PQsendPrepare(p->connection, q->name, q->sql, 0, NULL) != 1) {
            return false;
        }
        (void)snprintf(p->names[p->name_count++], NAME_BYTES, "%s", q->name);
        (void)snprintf(r->name, sizeof r->name, "%s", q->name);
    }
    return PQsendQueryPrepared(p->connection, q->name, (int)q->param_count, q->params, q->lengths,
                               q->formats, q->wants_binary ? 1 : 0) == 1;
}

static bool put(struct pg *p, const struct pg_query *q, struct request *r)
{
    bool can_name = q->name && strlen(q->name) < NAME_BYTES &&
                    (is_prepared(p, q->name) || p->name_count < NAMES_MAX);
    bool ok = can_name
                  ? put_named(p, q, r)
                  : PQsendQueryParams(p->connection, q->sql, (int)q->param_count, NULL, q->params,
                                      q->lengths, q->formats, q->wants_binary ? 1 : 0) == 1;
    return ok && PQpipelineSync(p->connection) == 1;
}

static int send_now(struct pg *p, const struct pg_query *q, pg_done_cb done, void *data)
{
    struct request *r = mem_new(sizeof *r);
    if (!r) {
        return ERR_NOMEM;
    }
    r->done = done;
    r->data = data;
    r->deadline_ms =
        clock_mono_ms() + (q->timeout_ms ? q->timeout_ms : p->options.query_timeout_ms);
    if (!p->connection) {
        end_request(p, r, ERR_UNREACHABLE, "not connected to PostgreSQL");
        return 0;
    }
    list_add(&p->sent, r);
    if (!put(p, q, r)) {
        /* libpq refuses only on a broken connection or without memory: nothing can follow. */
        lose_connection(p);
        return 0;
    }
    if (p->sent.first == r) {
        arm_timer(p);
    }
    flush(p);
    return 0;
}

int pg_send(struct pg *p, const struct pg_query *query, pg_done_cb done, void *data)
{
    if (p->state == PG_STATE_CLOSING) {
        return ERR_CANCELLED;
    }
    if (pg_outstanding(p) >= p->options.outstanding_max) {
        return ERR_LIMIT;
    }
    if (p->state != PG_STATE_READY) {
        struct request *r = mem_new(sizeof *r);
        if (!r) {
            return ERR_NOMEM;
        }
        r->done = done;
        r->data = data;
        end_request(p, r, ERR_UNREACHABLE, "not connected to PostgreSQL");
        return 0;
    }
    return send_now(p, query, done, data);
}

int pg_send_texts(struct pg *p, const char *name, const char *sql, const char *const *params,
                  size_t count, pg_done_cb done, void *data)
{
    return pg_send(
        p, &(struct pg_query){.sql = sql, .name = name, .params = params, .param_count = count},
        done, data);
}

void pg_reconnect(struct pg *p)
{
    if (p->state == PG_STATE_READY || p->state == PG_STATE_CONNECTING) {
        lose(p, ERR_UNREACHABLE, "given up to connect again");
    }
}

void pg_close(struct pg *p, pg_close_cb closed, void *data)
{
    CHECK(p->state != PG_STATE_CLOSING && p->state != PG_STATE_CLOSED);
    p->closed = closed;
    p->closed_data = data;
    move(p, PG_STATE_CLOSING);
    (void)uv_timer_stop(&p->timer); /* cannot fail */
    if (p->is_resolving) {
        (void)uv_cancel((uv_req_t *)&p->resolver); /* too late is fine: it ends by itself */
    }
    drop_connection(p);
    end_all_sent(p, ERR_CANCELLED, ERR_CANCELLED, "the client is closing");
    defer(p);
}
