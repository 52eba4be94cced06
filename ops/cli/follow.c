/*
 * PostgreSQL is asked for states (nothing is missed), Redis only makes the figures fresher. Without
 * Redis the figures are those of the last lease renewal.
 */
#include "ops/cli/follow.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/message/message.h"
#include "ops/cli/bar.h"
#include "ops/cli/width.h"

#include <math.h>
#include <string.h>

enum {
    POLL_MS = 500,
    PLAIN_EVERY_MS = 2000, /* a line per running job and so long, into a pipe */
    FRESH_MS = 5000,       /* so long a message counts for more than the stored progress */
    SHOWN_MAX = 40,        /* bars at once */
    NARROW_COLUMNS = 100,  /* a terminal below this gets short bars */
    JOBS_MAX = 20000,
    IDS_BYTES_MAX = 4 * 1024 * 1024,
};

/* Ids ---------------------------------------------------------------------------------------- */

static int check_ids(struct cli *c, const char *const *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!uuid_is_valid(ids[i], strlen(ids[i]))) {
            return cli_usage(c, "\"%s\" is no job id", ids[i]);
        }
    }
    return 0;
}

static const char *const wait_sql =
    "SELECT w.id::text, j.state, j.ended_at IS NOT NULL, j.kind, j.market, j.error_text "
    "FROM unnest($1::uuid[]) WITH ORDINALITY AS w (id, n) LEFT JOIN meridian.job j ON j.id = w.id "
    "ORDER BY w.n";

/* How they ended: a line each, or JSON. The exit code. */
static int print_ends(struct cli *c, const struct pg_result *r)
{
    int code = CLI_DONE;
    for (size_t i = 0; i < pg_rows(r); i++) {
        const char *state = pg_text(r, i, 1);
        code = strcmp(state, "succeeded") == 0 ? code : CLI_JOB_FAILED;
        if (c->o.json) {
            (void)fprintf(c->out, "{\"id\":\"%s\",\"state\":\"%s\"}\n", pg_text(r, i, 0), state);
        } else {
            (void)fprintf(c->out, "%s %s %s%s%s%s%s\n", pg_text(r, i, 0), pg_text(r, i, 3),
                          pg_text(r, i, 4), *pg_text(r, i, 4) ? " " : "", state,
                          *pg_text(r, i, 5) ? ": " : "", pg_text(r, i, 5));
        }
    }
    if (code == CLI_JOB_FAILED && !c->o.json) {
        (void)fprintf(stderr, "see: meridian job ID, meridian logs ID, meridian report failures\n");
    }
    return code;
}

/* One look: *ret_open how many have not ended. */
static int poll_ids(struct cli *c, const char *ids, size_t *ret_open, struct pg_result **ret)
{
    int rc = PG_SYNC_EXEC(c->control, ret, &c->e, wait_sql, ids);
    if (rc) {
        return cli_explain(c->control, rc, &c->e);
    }
    *ret_open = 0;
    for (size_t i = 0; i < pg_rows(*ret); i++) {
        if (pg_is_null(*ret, i, 1)) {
            return err_set(&c->e, ERR_NOTFOUND, "there is no job %s; see meridian jobs",
                           pg_text(*ret, i, 0));
        }
        *ret_open += !pg_bool(*ret, i, 2);
    }
    return 0;
}

static int wait_loop(struct cli *c, const char *ids, int64_t timeout_ms)
{
    int64_t end = clock_mono_ms() + timeout_ms;
    char took[32];
    for (;;) {
        struct pg_result *r = NULL;
        size_t open = 0;
        int rc = poll_ids(c, ids, &open, &r);
        if (rc == 0 && open == 0) {
            rc = print_ends(c, r);
            pg_result_free(r);
            return rc;
        }
        pg_result_free(r);
        if (rc) {
            return rc;
        }
        if (cli_is_interrupted()) {
            return err_set(&c->e, ERR_CANCELLED, "interrupted; the jobs go on");
        }
        if (timeout_ms > 0 && clock_mono_ms() >= end) {
            return err_set(&c->e, ERR_TIMEOUT, "%zu jobs have not ended within %s; they go on",
                           open, cli_format_duration(timeout_ms, took, sizeof took));
        }
        cli_sleep_ms(POLL_MS / 2);
    }
}

int follow_wait(struct cli *c, const char *const *ids, size_t count, int64_t timeout_ms)
{
    struct buf array;
    int rc = check_ids(c, ids, count);
    rc = rc ? rc : cli_control(c);
    if (rc) {
        return rc;
    }
    buf_init(&array, IDS_BYTES_MAX);
    const char *text = cli_array(ids, count, &array);
    rc = text ? wait_loop(c, text, timeout_ms)
              : err_set(&c->e, ERR_LIMIT, "too many jobs to wait for");
    buf_close(&array);
    return rc;
}

/* Watching ----------------------------------------------------------------------------------- */

struct watched {
    char id[UUID_SIZE];
    char kind[MESSAGE_KIND_MAX + 1];
    char market[MESSAGE_MARKET_MAX + 1];
    char state[MESSAGE_STATE_MAX + 1];
    bool is_parent;
    bool is_new;                      /* its state was not printed yet */
    struct message_progress progress; /* job "" = none yet */
    int64_t printed_ms;
    int64_t heard_ms; /* of the last message through Redis; 0 = none */
};

struct watch {
    struct cli *c;
    const char *ids; /* array of the named jobs, or NULL: all */
    struct watched *jobs;
    size_t count;
    size_t capacity;
    int drawn; /* lines of bars on the terminal */
    bool is_terminal;
    bool has_redis;
    size_t open_named;
};

static struct watched *find(struct watch *w, const char *id)
{
    for (size_t i = 0; i < w->count; i++) {
        if (strcmp(w->jobs[i].id, id) == 0) {
            return &w->jobs[i];
        }
    }
    return NULL;
}

static struct watched *add(struct watch *w, const char *id)
{
    if (w->count == w->capacity) {
        size_t capacity = w->capacity ? w->capacity * 2 : 64;
        struct watched *jobs =
            capacity <= 2 * JOBS_MAX ? mem_resize_array(w->jobs, capacity, sizeof *jobs) : NULL;
        if (!jobs) {
            return NULL;
        }
        w->jobs = jobs;
        w->capacity = capacity;
    }
    struct watched *j = &w->jobs[w->count++];
    *j = (struct watched){
        .progress = {.loss = (double)NAN, .examples_per_s = (double)NAN, .eta_ms = -1}};
    (void)snprintf(j->id, sizeof j->id, "%s", id);
    return j;
}

static bool has_ended(const struct watched *j)
{
    return strcmp(j->state, "succeeded") == 0 || strcmp(j->state, "failed") == 0 ||
           strcmp(j->state, "cancelled") == 0 || strcmp(j->state, "rejected") == 0 ||
           strcmp(j->state, "skipped") == 0;
}

/* Removes the bars, so that a line can be printed where they were. */
static void clear_bars(struct watch *w)
{
    if (w->drawn > 0) {
        (void)fprintf(stderr, "\033[%dA\033[J", w->drawn);
        w->drawn = 0;
    }
}

static void print_state(struct watch *w, const struct watched *j, const char *text)
{
    clear_bars(w);
    if (w->c->o.json) {
        (void)fprintf(w->c->out,
                      "{\"id\":\"%s\",\"kind\":\"%s\",\"market\":\"%s\",\"state\":\"%s\"}\n", j->id,
                      j->kind, j->market, j->state);
    } else {
        (void)fprintf(w->c->out, "%-10s %-9s %s %s%s%s\n", j->market, j->kind, j->id, j->state,
                      *text ? ": " : "", text);
    }
    (void)fflush(w->c->out);
}

/* Columns: id, kind, market, state, error or verdict, and the progress of the open attempt. */
static const char *const watch_sql =
    "WITH named AS (SELECT unnest($1::uuid[]) AS id) "
    "SELECT j.id::text, j.kind, coalesce(j.market, ''), j.state, "
    "coalesce(j.error_text, e.sentence, ''), j.region IS NULL, a.progress->>'phase', "
    "a.progress->>'epoch', a.progress->>'epochs', a.progress->>'loss', "
    "a.progress->>'examples_per_s', a.progress->>'eta_ms', a.progress->>'done', "
    "($1::uuid[] IS NULL OR j.id IN (SELECT id FROM named)) AND j.ended_at IS NULL, "
    "a.progress->>'quiet_ms' "
    "FROM meridian.job j LEFT JOIN meridian.attempt a ON a.job = j.id AND a.ended_at IS NULL "
    "LEFT JOIN meridian.evaluation e ON e.job = j.id "
    "WHERE CASE WHEN $1::uuid[] IS NULL THEN j.ended_at IS NULL OR j.id = ANY ($2::uuid[]) "
    "ELSE j.id IN (SELECT id FROM named) OR j.parent IN (SELECT id FROM named) END "
    "ORDER BY j.submitted_at, j.id LIMIT 20000";

/* What the lease renewal stored, unless Redis told something newer. */
static void take_stored_progress(struct watch *w, struct watched *j, const struct pg_result *r,
                                 size_t row)
{
    struct message_progress *p = &j->progress;
    bool is_fresh = w->has_redis && j->heard_ms > 0 && clock_mono_ms() - j->heard_ms < FRESH_MS;
    if (pg_is_null(r, row, 12) || is_fresh) {
        return;
    }
    (void)snprintf(p->phase, sizeof p->phase, "%s", pg_text(r, row, 6));
    (void)snprintf(p->job.text, sizeof p->job.text, "%s", j->id);
    p->epoch = pg_integer(r, row, 7, 0);
    p->epochs = pg_integer(r, row, 8, 0);
    p->loss = pg_real(r, row, 9, (double)NAN);
    p->examples_per_s = pg_real(r, row, 10, (double)NAN);
    p->eta_ms = pg_integer(r, row, 11, -1);
    p->done = pg_real(r, row, 12, 0);
    p->quiet_ms = pg_integer(r, row, 14, 0);
}

static int take_row(struct watch *w, const struct pg_result *r, size_t row)
{
    struct watched *j = find(w, pg_text(r, row, 0));
    if (!j) {
        j = add(w, pg_text(r, row, 0));
        if (!j) {
            return err_set(&w->c->e, ERR_LIMIT, "too many jobs to watch");
        }
        (void)snprintf(j->kind, sizeof j->kind, "%s", pg_text(r, row, 1));
        (void)snprintf(j->market, sizeof j->market, "%s", pg_text(r, row, 2));
        j->is_parent = pg_bool(r, row, 5);
    }
    take_stored_progress(w, j, r, row);
    w->open_named += pg_bool(r, row, 13);
    if (strcmp(j->state, pg_text(r, row, 3)) != 0) {
        (void)snprintf(j->state, sizeof j->state, "%s", pg_text(r, row, 3));
        bool is_worth_a_line = !w->is_terminal || has_ended(j) || w->c->o.json;
        if (is_worth_a_line && strcmp(j->state, "dispatched") != 0) {
            print_state(w, j, has_ended(j) ? pg_text(r, row, 4) : "");
        }
    }
    return 0;
}

/* Jobs that were open at the last look: their end must be seen, too. */
static const char *open_ids(const struct watch *w, struct buf *out)
{
    const char **ids = mem_new_array(w->count ? w->count : 1, sizeof *ids);
    size_t n = 0;
    for (size_t i = 0; ids && i < w->count; i++) {
        if (!has_ended(&w->jobs[i])) {
            ids[n++] = w->jobs[i].id;
        }
    }
    const char *text = ids ? cli_array(ids, n, out) : NULL;
    mem_free(ids);
    return text ? text : "{}";
}

static int poll_jobs(struct watch *w)
{
    struct pg_result *r = NULL;
    struct buf open;
    buf_init(&open, IDS_BYTES_MAX);
    int rc = PG_SYNC_EXEC(w->c->control, &r, &w->c->e, watch_sql, w->ids, open_ids(w, &open));
    buf_close(&open);
    w->open_named = 0;
    for (size_t i = 0; rc == 0 && i < pg_rows(r); i++) {
        rc = take_row(w, r, i);
    }
    pg_result_free(r);
    return cli_explain(w->c->control, rc, &w->c->e);
}

/* "train 3/12  loss 0.412  18200 ex/s  ETA 4 s" */
static void format_figures(const struct message_progress *p, char *out, size_t size)
{
    char eta[32];
    size_t at = (size_t)snprintf(out, size, "%s", *p->phase ? p->phase : "starting");
    if (p->epochs > 0 && at < size) {
        at += (size_t)snprintf(out + at, size - at, " %lld/%lld", (long long)p->epoch,
                               (long long)p->epochs);
    }
    if (!isnan(p->loss) && at < size) {
        at += (size_t)snprintf(out + at, size - at, "  loss %.4f", p->loss);
    }
    if (!isnan(p->examples_per_s) && at < size) {
        at += (size_t)snprintf(out + at, size - at, "  %.0f ex/s", p->examples_per_s);
    }
    if (p->quiet_ms > 0 && at < size) {
        (void)snprintf(out + at, size - at, "  no step for %s",
                       cli_format_duration(p->quiet_ms, eta, sizeof eta));
    } else if (p->eta_ms >= 0 && at < size) {
        (void)snprintf(out + at, size - at, "  ETA %s",
                       cli_format_duration(p->eta_ms, eta, sizeof eta));
    }
}

static void draw_job(const struct watched *j, int columns)
{
    char bar[40];
    char figures[160];
    char line[320];
    format_figures(&j->progress, figures, sizeof figures);
    bool is_narrow = columns < NARROW_COLUMNS;
    (void)bar_format(j->progress.done, is_narrow ? 8 : 20, bar, sizeof bar);
    (void)snprintf(line, sizeof line, "%-*s %-8s %s %3.0f %%  %s", is_narrow ? 6 : 10, j->market,
                   j->kind, bar, j->progress.done * 100, figures);
    size_t cut = width_cut(span_of(line), (size_t)columns - 1);
    (void)fprintf(stderr, "%.*s\n", (int)cut, line);
}

static void draw_bars(struct watch *w)
{
    int columns = bar_terminal_columns();
    size_t waiting = 0;
    size_t running = 0;
    size_t ended = 0;
    clear_bars(w);
    for (size_t i = 0; i < w->count; i++) {
        const struct watched *j = &w->jobs[i];
        bool is_running = strcmp(j->state, "running") == 0;
        ended += has_ended(j) && !j->is_parent;
        waiting += !has_ended(j) && !is_running && !j->is_parent;
        running += is_running && !j->is_parent;
        if (is_running && !j->is_parent && w->drawn < SHOWN_MAX) {
            draw_job(j, columns);
            w->drawn++;
        }
    }
    (void)fprintf(stderr, "%zu running, %zu waiting, %zu ended\n", running, waiting, ended);
    w->drawn++;
    (void)fflush(stderr);
}

static void print_progress(struct watch *w, struct watched *j)
{
    char figures[160];
    struct buf json;
    if (w->c->o.json) {
        buf_init(&json, 16 * 1024);
        if (message_progress_json(&j->progress, &json) == 0) {
            (void)fprintf(w->c->out, "%s\n", buf_text(&json));
        }
        buf_close(&json);
        return;
    }
    format_figures(&j->progress, figures, sizeof figures);
    (void)fprintf(w->c->out, "%-10s %-9s %s %3.0f %%  %s\n", j->market, j->kind, j->id,
                  j->progress.done * 100, figures);
    (void)fflush(w->c->out);
}

static void print_plain(struct watch *w)
{
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < w->count; i++) {
        struct watched *j = &w->jobs[i];
        bool is_due = now - j->printed_ms >= PLAIN_EVERY_MS;
        if (strcmp(j->state, "running") == 0 && *j->progress.job.text && is_due) {
            j->printed_ms = now;
            print_progress(w, j);
        }
    }
}

static void take_message(struct watch *w, struct span payload)
{
    struct message_progress p;
    if (message_decode_progress(payload, &p, NULL)) {
        return;
    }
    struct watched *j = find(w, p.job.text);
    if (j) {
        j->progress = p;
        j->heard_ms = clock_mono_ms();
    }
}

/* Listens until the next poll is due; without Redis it only waits. */
static void listen(struct watch *w, int64_t until_ms)
{
    for (int64_t left = until_ms - clock_mono_ms(); left > 0 && !cli_is_interrupted();
         left = until_ms - clock_mono_ms()) {
        struct span payload = {0};
        if (!w->has_redis) {
            cli_sleep_ms(left);
            return;
        }
        int rc = redis_sync_wait(w->c->redis, left, &payload, NULL);
        if (rc == 0) {
            take_message(w, payload);
        } else if (rc != ERR_TIMEOUT) {
            w->has_redis = false;
            redis_sync_close(w->c->redis);
            w->c->redis = NULL;
        }
    }
}

static void subscribe(struct watch *w)
{
    char channel[160];
    struct err_buf ignored = {{0}};
    struct err_buf kept = w->c->e;
    w->has_redis =
        cli_redis(w->c) == 0 &&
        redis_sync_subscribe(w->c->redis, cli_redis_key(w->c, "progress", channel, sizeof channel),
                             &ignored) == 0;
    w->c->e = kept; /* it works without Redis, too */
}

static int watch_loop(struct watch *w)
{
    for (;;) {
        int rc = poll_jobs(w);
        if (rc) {
            return rc;
        }
        if (w->is_terminal) {
            draw_bars(w);
        } else {
            print_plain(w);
        }
        if (w->ids && w->open_named == 0) {
            clear_bars(w);
            return 0;
        }
        if (cli_is_interrupted()) {
            return w->ids ? err_set(&w->c->e, ERR_CANCELLED, "interrupted; the jobs go on")
                          : CLI_DONE;
        }
        listen(w, clock_mono_ms() + POLL_MS);
    }
}

/* A redis that was subscribed cannot send: the connection goes with the watching. */
static void unsubscribe(struct watch *w)
{
    redis_sync_close(w->c->redis);
    w->c->redis = NULL;
}

static int watch_named(struct watch *w, const char *const *ids, size_t count)
{
    struct pg_result *r = NULL;
    size_t open = 0;
    int rc = w->ids ? poll_ids(w->c, w->ids, &open, &r) : 0;
    pg_result_free(r);
    rc = rc ? rc : watch_loop(w);
    if (rc != 0 || !w->ids) {
        return rc;
    }
    int code = CLI_DONE;
    for (size_t i = 0; i < count; i++) {
        const struct watched *j = find(w, ids[i]);
        code = j && strcmp(j->state, "succeeded") == 0 ? code : CLI_JOB_FAILED;
    }
    return code;
}

int follow_watch(struct cli *c, const char *const *ids, size_t count)
{
    struct watch w = {.c = c, .is_terminal = cli_is_terminal(stderr) && !c->o.json};
    struct buf array;
    int rc = check_ids(c, ids, count);
    rc = rc ? rc : cli_control(c);
    if (rc) {
        return rc;
    }
    buf_init(&array, IDS_BYTES_MAX);
    w.ids = count > 0 ? cli_array(ids, count, &array) : NULL;
    unsubscribe(&w); /* the one that submitted may have a reply waiting */
    subscribe(&w);
    rc = watch_named(&w, ids, count);
    unsubscribe(&w);
    mem_free(w.jobs);
    buf_close(&array);
    return rc;
}
