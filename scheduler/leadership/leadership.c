#include "scheduler/leadership/leadership.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/pg/pg.h"

#include <stdio.h>
#include <uv.h>

enum {
    /* Between the end of our trust and the end of the row: clocks drift, and a call that was sent
     * in the last moment must still arrive. */
    TRUST_MARGIN_MS = 500,
    TICK_MS = 250,
    QUERY_TIMEOUT_MS = 2000,
    COMPLAIN_MS = 10000, /* a refusal lasts until somebody acts: often enough to be seen */
    NUMBER_SIZE = 24
};

struct leadership {
    struct leadership_options options;
    uv_timer_t timer;
    bool is_asking;
    bool is_closing;
    bool is_resigning;
    bool is_leading;
    int64_t term;
    int64_t asked_at_ms;      /* when the newest question was sent */
    int64_t trusted_until_ms; /* monotonic */
    int64_t complain_at_ms;   /* not before */
    leadership_close_cb resigned;
    void *resigned_data;
};

void leadership_lose(struct leadership *l, const char *reason)
{
    if (l->is_leading) {
        l->is_leading = false;
        l->options.on_loss(reason, l->options.data);
    }
}

static void granted(struct leadership *l, int64_t term)
{
    l->trusted_until_ms = l->asked_at_ms + l->options.ttl_ms - TRUST_MARGIN_MS;
    if (clock_mono_ms() >= l->trusted_until_ms) {
        return; /* the answer came too late to be of use */
    }
    if (l->is_leading && term != l->term) {
        leadership_lose(l, "the term ended without notice");
    }
    if (!l->is_leading) {
        l->is_leading = true;
        l->term = term;
        l->options.on_gain(term, l->options.data);
    }
}

/* Unreachable servers are reported by their connection. */
static void refused(struct leadership *l, int rc, const char *reason)
{
    bool is_away = rc == ERR_UNREACHABLE || rc == ERR_TIMEOUT || rc == ERR_CANCELLED;
    int64_t now = clock_mono_ms();
    if (is_away || now < l->complain_at_ms) {
        log_debug("cannot ask for leadership: %s", reason);
        return;
    }
    l->complain_at_ms = now + COMPLAIN_MS;
    log_error("cannot lead, the record refuses: %s; run meridian migrate, and give this login the "
              "role meridian_scheduler",
              reason);
}

static void on_asked(int rc, const struct pg_result *r, const struct pg_error *error, void *data)
{
    struct leadership *l = data;
    l->is_asking = false;
    if (rc) {
        refused(l, rc, error->text);
        return;
    }
    if (l->is_closing || l->is_resigning) {
        return;
    }
    if (pg_rows(r) == 1 && pg_bool(r, 0, pg_column(r, "is_leader"))) {
        granted(l, pg_integer(r, 0, pg_column(r, "term"), 0));
    } else {
        leadership_lose(l, "another scheduler leads");
    }
}

static void ask(struct leadership *l)
{
    char ttl[NUMBER_SIZE];
    (void)snprintf(ttl, sizeof ttl, "%lld", (long long)l->options.ttl_ms);
    const char *params[] = {l->options.holder, ttl};
    struct pg_query query = {.sql = "SELECT term, is_leader FROM meridian.leader_acquire($1, $2)",
                             .name = "leader",
                             .param_count = 2,
                             .params = params,
                             .timeout_ms = QUERY_TIMEOUT_MS};
    l->asked_at_ms = clock_mono_ms();
    l->is_asking = pg_send(l->options.pg, &query, on_asked, l) == 0;
}

static void on_tick(uv_timer_t *timer)
{
    struct leadership *l = timer->data;
    int64_t now = clock_mono_ms();
    if (l->is_leading && now >= l->trusted_until_ms) {
        leadership_lose(l, "the term could not be renewed in time");
    }
    bool is_due = now - l->asked_at_ms >= l->options.renew_ms;
    if (is_due && !l->is_asking && !l->is_resigning && pg_is_ready(l->options.pg)) {
        ask(l);
    }
}

struct leadership *leadership_new(const struct leadership_options *options)
{
    struct leadership *l = mem_new(sizeof *l);
    if (!l) {
        return NULL;
    }
    l->options = *options;
    l->asked_at_ms = clock_mono_ms() - options->renew_ms;
    l->timer.data = l;
    (void)uv_timer_init(options->loop, &l->timer);        /* cannot fail */
    (void)uv_timer_start(&l->timer, on_tick, 0, TICK_MS); /* cannot fail with a callback */
    return l;
}

bool leadership_is_leading(const struct leadership *l)
{
    return l->is_leading && clock_mono_ms() < l->trusted_until_ms;
}

int64_t leadership_term(const struct leadership *l)
{
    return l->term;
}

static void on_resigned(int rc, const struct pg_result *r, const struct pg_error *error, void *data)
{
    struct leadership *l = data;
    (void)rc; /* the row expires by itself */
    (void)r;
    (void)error;
    l->resigned(l->resigned_data);
}

void leadership_resign(struct leadership *l, leadership_close_cb done, void *data)
{
    bool was_leading = l->is_leading;
    l->is_leading = false;
    l->is_resigning = true;
    l->resigned = done;
    l->resigned_data = data;
    char term[NUMBER_SIZE];
    (void)snprintf(term, sizeof term, "%lld", (long long)l->term);
    const char *params[] = {l->options.holder, term};
    struct pg_query query = {.sql = "SELECT meridian.leader_resign($1, $2)",
                             .param_count = 2,
                             .params = params,
                             .timeout_ms = QUERY_TIMEOUT_MS};
    if (!was_leading || pg_send(l->options.pg, &query, on_resigned, l)) {
        done(data);
    }
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void leadership_close(struct leadership *l)
{
    l->is_closing = true;
    uv_close((uv_handle_t *)&l->timer, on_closed);
}
