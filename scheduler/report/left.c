#include "scheduler/report/left.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/pg/pg.h"

#include <stdio.h>
#include <uv.h>

enum { LOOK_EVERY_MS = 1000, NUMBER_SIZE = 24 };

/* A result is up to 32 MB; they come one at a time when they are as large. */
#define ROWS_MAX "64"
#define BYTES_MAX "33554432"

struct left {
    struct left_options options;
    uv_timer_t timer;
    int64_t term;
    bool is_started;
    bool is_asking;
};

static void on_rows(int rc, const struct pg_result *r, const struct pg_error *error, void *data)
{
    struct left *l = data;
    l->is_asking = false;
    if (rc) {
        log_debug("cannot look for results in the record: %s", error->text);
        return; /* the connection and the term are watched elsewhere */
    }
    for (size_t i = 0; i < pg_rows(r) && l->is_started; i++) {
        report_take(l->options.report, pg_span(r, i, 0));
    }
}

void left_look(struct left *l)
{
    char term[NUMBER_SIZE];
    (void)snprintf(term, sizeof term, "%lld", (long long)l->term);
    const char *params[] = {term, ROWS_MAX, BYTES_MAX};
    struct pg_query query = {.sql = "SELECT report FROM meridian.scheduler_results($1::bigint,"
                                    " $2::integer, $3::integer)",
                             .name = "results_left",
                             .param_count = 3,
                             .params = params,
                             .wants_binary = true};
    if (l->is_started && !l->is_asking && pg_is_ready(l->options.pg)) {
        l->is_asking = pg_send(l->options.pg, &query, on_rows, l) == 0;
    }
}

static void on_timer(uv_timer_t *timer)
{
    left_look(timer->data);
}

struct left *left_new(const struct left_options *options)
{
    struct left *l = mem_new(sizeof *l);
    if (l) {
        l->options = *options;
        l->timer.data = l;
        (void)uv_timer_init(options->loop, &l->timer); /* cannot fail */
    }
    return l;
}

void left_start(struct left *l, int64_t term)
{
    l->is_started = true;
    l->term = term;
    (void)uv_timer_start(&l->timer, on_timer, 0, LOOK_EVERY_MS); /* cannot fail */
}

void left_stop(struct left *l)
{
    l->is_started = false;
    (void)uv_timer_stop(&l->timer); /* cannot fail */
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void left_close(struct left *l)
{
    l->is_started = false;
    uv_close((uv_handle_t *)&l->timer, on_closed);
}
