#include "scheduler/scheduler.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/message/message.h"
#include "common/metrics/server.h"
#include "common/pg/pg.h"
#include "common/redis/redis.h"
#include "scheduler/core/core.h"
#include "scheduler/intake/intake.h"
#include "scheduler/leadership/leadership.h"
#include "scheduler/metrics.h"
#include "scheduler/ready/ready.h"
#include "scheduler/report/left.h"
#include "scheduler/report/report.h"
#include "scheduler/store/store.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum {
    LIVE_MS = 6000,   /* three renewals were missed: such a worker is given nothing */
    GONE_MS = 120000, /* a supervisor that restarts slowly should not look lost */
    RENEW_PART = 3,   /* the term is renewed this often in its life */
    RESTART_MS_MIN = 100,
    RESTART_MS_MAX = 5000,
    TICK_MS_MAX = 250,
    STOP_MS = 5000, /* then the process ends without waiting for its connections */
    CALLS_MAX = 8192,
    /* Results in one reply: two of the largest. Those behind them come again in three seconds. */
    REPORTS_BYTES_MAX = 2 * MESSAGE_RESULT_MAX + 65536,
    BULK_HEAD_MAX = 4096,                    /* of a bulk beside its jobs */
    INTAKE_BYTES_MAX = 8 * MESSAGE_BULK_MAX, /* of one read; more waits in redis */
    CLIENTS = 5,
    BEAT_MS = 500,     /* how often the loop's lag is looked at */
    SILENT_MS = 10000, /* a leader that heard nothing from the record for so long is not well */
    KEY_SIZE = 256,
    HOLDER_SIZE = 320
};

struct scheduler {
    struct scheduler_options options;
    uv_loop_t loop;
    uv_signal_t signals[2];
    uv_timer_t tick;
    uv_timer_t beat;
    uv_timer_t restart; /* the core, after it lost an answer */
    uv_timer_t stop_deadline;
    uv_idle_t later; /* what must not happen inside a callback of the core or the store */
    char holder[HOLDER_SIZE];
    struct rng rng;
    struct pg *pg;
    struct pg *pg_leader;
    struct redis *redis;
    struct redis *redis_intake;
    struct redis *redis_report;
    struct core *core;
    struct store *store;
    struct leadership *leadership;
    struct intake *intake;
    struct report *report;
    struct left *left;
    struct ready *ready;
    struct scheduler_metrics *metrics;
    struct metrics_server *server; /* NULL unless asked for */
    int64_t beat_ms;               /* when the beat is due */
    int64_t answer_ms;             /* when the record last answered */
    bool is_started;               /* the core is */
    bool is_serving;               /* the adapters are */
    bool must_restart;
    bool has_lost_term;
    bool is_stopping;
    int restarts; /* since the last time that all was well */
    int clients_open;
};

/* --- the core: start, serve, stop ----------------------------------------------------------------
 */

static void serve(struct scheduler *s)
{
    if (s->is_serving || !core_is_ready(s->core)) {
        return;
    }
    struct core_counts n = core_count(s->core);
    log_info("ready: waiting=%zu queued=%zu dispatched=%zu running=%zu", n.waiting, n.queued,
             n.dispatched, n.running);
    s->is_serving = true;
    s->restarts = 0;
    intake_start(s->intake);
    report_start(s->report);
    left_start(s->left, leadership_term(s->leadership));
}

static void core_go(struct scheduler *s)
{
    if (s->is_started || s->is_stopping || !leadership_is_leading(s->leadership) ||
        !pg_is_ready(s->pg)) {
        return;
    }
    s->is_started = true;
    store_reset(s->store);
    store_set_term(s->store, leadership_term(s->leadership));
    core_start(s->core);
}

static void core_halt(struct scheduler *s)
{
    if (!s->is_started) {
        return;
    }
    s->is_started = false;
    if (s->is_serving) {
        s->is_serving = false;
        intake_stop(s->intake);
        report_stop(s->report);
        left_stop(s->left);
    }
    core_stop(s->core);
    store_reset(s->store);
}

static void on_restart(uv_timer_t *timer)
{
    core_go(timer->data);
}

static void on_later(uv_idle_t *idle)
{
    struct scheduler *s = idle->data;
    (void)uv_idle_stop(idle); /* cannot fail */
    if (s->has_lost_term) {
        s->has_lost_term = false;
        leadership_lose(s->leadership, "the record says that the term is over");
    }
    if (s->must_restart) {
        s->must_restart = false;
        core_halt(s);
        int64_t delay = RESTART_MS_MIN;
        for (int i = 0; i < s->restarts && delay < RESTART_MS_MAX; i++) {
            delay *= 2;
        }
        s->restarts++;
        delay += (int64_t)(rng_unit(&s->rng) * (double)delay);
        (void)uv_timer_start(&s->restart, on_restart, (uint64_t)delay, 0); /* cannot fail */
    }
}

static void restart_later(struct scheduler *s)
{
    scheduler_metrics_restarted(s->metrics);
    s->must_restart = true;
    (void)uv_idle_start(&s->later, on_later); /* cannot fail with a callback */
}

static void on_tick(uv_timer_t *timer)
{
    struct scheduler *s = timer->data;
    int64_t next = TICK_MS_MAX;
    if (s->is_started && leadership_is_leading(s->leadership)) {
        next = core_tick(s->core);
        serve(s);
    }
    next = next < 1 ? 1 : next > TICK_MS_MAX ? TICK_MS_MAX : next;
    (void)uv_timer_start(timer, on_tick, (uint64_t)next, 0); /* cannot fail with a callback */
}

/* --- ports ---------------------------------------------------------------------------------------
 */

static int64_t port_now(void *self)
{
    (void)self;
    return clock_mono_ms();
}

static uint64_t port_random(void *self)
{
    struct scheduler *s = self;
    return rng_next(&s->rng);
}

static void port_fault(void *self, const char *reason)
{
    log_warn("starts over from the record: %s", reason);
    restart_later(self);
}

static void port_assigned(void *self, int64_t queued_ms)
{
    struct scheduler *s = self;
    scheduler_metrics_waited(s->metrics, (double)(clock_wall_ms() - queued_ms) / 1000);
}

static void port_ready(void *self, const struct core_record *job)
{
    struct scheduler *s = self;
    ready_send(s->ready, job);
}

static void port_admitted(void *self, void *cookie, int status, const struct core_admitted *rows,
                          size_t count)
{
    (void)self;
    intake_admitted(cookie, status, rows, count);
}

/* --- what the parts report ---------------------------------------------------------------------
 */

static void on_answer(const struct core_answer *answer, void *data)
{
    struct scheduler *s = data;
    s->answer_ms = clock_mono_ms();
    if (!s->is_started || s->must_restart || !leadership_is_leading(s->leadership)) {
        return; /* a new start reads again what this would have said */
    }
    core_answer(s->core, answer);
    serve(s);
    report_go_on(s->report);
}

static void on_store_lost(int rc, const char *reason, void *data)
{
    struct scheduler *s = data;
    s->has_lost_term = s->has_lost_term || rc == ERR_FENCED;
    if (s->is_started && !s->is_stopping) {
        log_warn("lost touch with the record, starts over when it answers: %s", reason);
    }
    restart_later(s);
}

static void on_gain(int64_t term, void *data)
{
    struct scheduler *s = data;
    log_info("leads: term=%lld holder=%s", (long long)term, s->holder);
    core_go(s);
}

static void on_loss(const char *reason, void *data)
{
    struct scheduler *s = data;
    log_warn("stands by: %s", reason);
    core_halt(s);
}

static void on_pg_state(bool is_ready, const char *cause, void *data)
{
    struct scheduler *s = data;
    if (is_ready) {
        log_info("connected to postgresql");
        core_go(s);
    } else if (!s->is_stopping) {
        log_warn("postgresql is away, keeps trying: %s", cause ? cause : "");
        if (s->is_started) { /* a crash may have taken back what it last answered: job_dispatch */
            restart_later(s);
        }
    }
}

/* Somebody paused, cancelled, retried or drained: what they did shall bind at once. */
static void on_wake(void *data)
{
    struct scheduler *s = data;
    if (s->is_started && leadership_is_leading(s->leadership)) {
        core_worker_changed(s->core);
        left_look(s->left);
    }
}

static void on_redis_state(bool is_ready, const char *cause, void *data)
{
    struct scheduler *s = data;
    if (is_ready) {
        log_info("connected to redis");
    } else if (!s->is_stopping) {
        log_warn("redis is away, keeps trying: %s", cause ? cause : "");
    }
}

/* --- stop ----------------------------------------------------------------------------------------
 */

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void close_rest(struct scheduler *s)
{
    leadership_close(s->leadership);
    intake_close(s->intake);
    report_close(s->report);
    left_close(s->left);
    metrics_server_close(s->server);
    close_handle((uv_handle_t *)&s->beat);
    close_handle((uv_handle_t *)&s->tick);
    close_handle((uv_handle_t *)&s->restart);
    close_handle((uv_handle_t *)&s->later);
    close_handle((uv_handle_t *)&s->stop_deadline);
    close_handle((uv_handle_t *)&s->signals[0]);
    close_handle((uv_handle_t *)&s->signals[1]);
}

static void on_client_closed(void *data)
{
    struct scheduler *s = data;
    if (--s->clients_open == 0) {
        close_rest(s);
    }
}

static void on_resigned(void *data)
{
    struct scheduler *s = data;
    pg_close(s->pg, on_client_closed, s);
    pg_close(s->pg_leader, on_client_closed, s);
    redis_close(s->redis, on_client_closed, s);
    redis_close(s->redis_intake, on_client_closed, s);
    redis_close(s->redis_report, on_client_closed, s);
}

static void on_stop_deadline(uv_timer_t *timer)
{
    struct scheduler *s = timer->data;
    log_warn("stops without waiting for its connections any longer");
    uv_stop(&s->loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct scheduler *s = handle->data;
    if (s->is_stopping) {
        return;
    }
    log_info("stops: %s", number == SIGTERM ? "SIGTERM" : "SIGINT");
    s->is_stopping = true;
    core_halt(s);
    (void)uv_timer_start(&s->stop_deadline, on_stop_deadline, STOP_MS, 0); /* cannot fail */
    leadership_resign(s->leadership, on_resigned, s);
}

/* --- what others may know ------------------------------------------------------------------------
 */

static void on_beat(uv_timer_t *timer)
{
    struct scheduler *s = timer->data;
    int64_t now = clock_mono_ms();
    scheduler_metrics_lag(s->metrics, (double)(now - s->beat_ms) / 1000);
    s->beat_ms = now + BEAT_MS;
    (void)uv_timer_start(timer, on_beat, BEAT_MS, 0); /* cannot fail with a callback */
}

static int write_metrics(struct buf *out, void *data)
{
    struct scheduler *s = data;
    struct scheduler_facts facts = {.core = s->core,
                                    .is_leading = leadership_is_leading(s->leadership),
                                    .is_ready = s->is_started && core_is_ready(s->core),
                                    .term = leadership_term(s->leadership),
                                    .is_postgresql_up = pg_is_ready(s->pg),
                                    .is_redis_up = redis_is_ready(s->redis)};
    return scheduler_metrics_write(s->metrics, &facts, out);
}

/* That it answers shows that the loop turns; progress is what the record says to it. */
static bool is_healthy(char *why, size_t size, void *data)
{
    struct scheduler *s = data;
    int64_t silent_ms = clock_mono_ms() - s->answer_ms;
    bool is_leading = leadership_is_leading(s->leadership);
    bool is_well = is_leading ? s->is_serving && silent_ms < SILENT_MS : pg_is_ready(s->pg_leader);
    (void)snprintf(why, size, "%s",
                   !is_leading      ? is_well ? "stands by" : "stands by, without the record"
                   : !s->is_serving ? "leads, and loads the open jobs"
                   : is_well        ? "leads"
                                    : "leads, and the record has not answered for 10 s");
    return is_well;
}

/* --- start ---------------------------------------------------------------------------------------
 */

static void make_holder(struct scheduler *s)
{
    char host[256];
    if (gethostname(host, sizeof host)) {
        (void)snprintf(host, sizeof host, "unknown");
    }
    host[sizeof host - 1] = '\0';
    (void)snprintf(s->holder, sizeof s->holder, "%s/%ld/%08llx", host, (long)getpid(),
                   (unsigned long long)(rng_next(&s->rng) & 0xffffffffu));
}

static int open_clients(struct scheduler *s, struct err_buf *e)
{
    struct pg_options pg = {.url = s->options.database_url,
                            .application_name = "meridian-scheduler",
                            .role = s->options.role,
                            .outstanding_max = CALLS_MAX,
                            .on_state = on_pg_state,
                            .listen = "meridian_wake",
                            .on_notified = on_wake,
                            .data = s};
    int rc = pg_new(&s->pg, &s->loop, &pg, e);
    s->clients_open += rc == 0;
    pg.application_name = "meridian-scheduler-leader";
    pg.on_state = NULL;
    pg.listen = NULL;
    rc = rc ? rc : pg_new(&s->pg_leader, &s->loop, &pg, e);
    s->clients_open += rc == 0;
    char key[KEY_SIZE];
    (void)snprintf(key, sizeof key, "{%s}:intake", s->options.prefix);
    struct redis_options redis = {.url = s->options.redis_url,
                                  .name = "meridian-scheduler",
                                  .key = key,
                                  .outstanding_max = CALLS_MAX,
                                  .on_state = on_redis_state,
                                  .data = s};
    rc = rc ? rc : redis_new(&s->redis, &s->loop, &redis, e);
    s->clients_open += rc == 0;
    redis.on_state = NULL;
    redis.name = "meridian-scheduler-intake";
    redis.bulk_bytes_max = MESSAGE_BULK_MAX + BULK_HEAD_MAX;
    redis.reply_bytes_max = INTAKE_BYTES_MAX;
    rc = rc ? rc : redis_new(&s->redis_intake, &s->loop, &redis, e);
    s->clients_open += rc == 0;
    redis.name = "meridian-scheduler-report";
    redis.bulk_bytes_max = 0;
    redis.reply_bytes_max = REPORTS_BYTES_MAX;
    rc = rc ? rc : redis_new(&s->redis_report, &s->loop, &redis, e);
    s->clients_open += rc == 0;
    return rc;
}

static int open_core(struct scheduler *s)
{
    struct store_options store = {.pg = s->pg,
                                  .on_answer = on_answer,
                                  .on_lost = on_store_lost,
                                  .data = s,
                                  .half_life_ms = s->options.half_life_ms,
                                  .priority_age_ms = s->options.priority_age_ms,
                                  .live_ms = LIVE_MS,
                                  .undelivered_ms = (int)s->options.undelivered_ms,
                                  .gone_ms = GONE_MS};
    s->store = store_new(&store);
    if (!s->store) {
        return ERR_NOMEM;
    }
    struct core_ports ports = {
        .self = s,
        .now_ms = port_now,
        .random = port_random,
        .fault = port_fault,
        .assigned = port_assigned,
        .store = store_port(s->store),
        .transport = {.self = s, .ready = port_ready, .admitted = port_admitted}};
    struct core_settings settings = core_settings_default;
    settings.priority_age_ms = s->options.priority_age_ms;
    settings.share_half_life_ms = s->options.half_life_ms;
    settings.memory_max_mb = (int)s->options.memory_max_mb;
    s->core = core_new(&ports, &settings);
    return s->core ? 0 : ERR_NOMEM;
}

static int open_adapters(struct scheduler *s)
{
    s->leadership =
        leadership_new(&(struct leadership_options){.loop = &s->loop,
                                                    .pg = s->pg_leader,
                                                    .holder = s->holder,
                                                    .ttl_ms = s->options.ttl_ms,
                                                    .renew_ms = s->options.ttl_ms / RENEW_PART,
                                                    .on_gain = on_gain,
                                                    .on_loss = on_loss,
                                                    .data = s});
    s->intake = intake_new(&(struct intake_options){.loop = &s->loop,
                                                    .blocking = s->redis_intake,
                                                    .redis = s->redis,
                                                    .core = s->core,
                                                    .prefix = s->options.prefix});
    s->report = report_new(&(struct report_options){.loop = &s->loop,
                                                    .blocking = s->redis_report,
                                                    .redis = s->redis,
                                                    .core = s->core,
                                                    .prefix = s->options.prefix});
    s->left = left_new(&(struct left_options){.loop = &s->loop, .pg = s->pg, .report = s->report});
    s->ready = ready_new(&(struct ready_options){.redis = s->redis, .prefix = s->options.prefix});
    return s->leadership && s->intake && s->report && s->left && s->ready ? 0 : ERR_NOMEM;
}

static void open_handles(struct scheduler *s)
{
    static const int numbers[2] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        s->signals[i].data = s;
        (void)uv_signal_init(&s->loop, &s->signals[i]); /* its pipe was made with the loop */
        (void)uv_signal_start(&s->signals[i], on_signal, numbers[i]); /* valid signals */
    }
    s->tick.data = s;
    s->beat.data = s;
    s->restart.data = s;
    s->later.data = s;
    s->stop_deadline.data = s;
    /* None of these can fail. */
    (void)uv_timer_init(&s->loop, &s->tick);
    (void)uv_timer_init(&s->loop, &s->beat);
    (void)uv_timer_init(&s->loop, &s->restart);
    (void)uv_timer_init(&s->loop, &s->stop_deadline);
    (void)uv_idle_init(&s->loop, &s->later);
    (void)uv_timer_start(&s->tick, on_tick, 1, 0);
    s->beat_ms = clock_mono_ms() + BEAT_MS;
    (void)uv_timer_start(&s->beat, on_beat, BEAT_MS, 0);
}

static int open_metrics(struct scheduler *s, struct err_buf *e)
{
    s->metrics = scheduler_metrics_new();
    if (!s->metrics) {
        return ERR_NOMEM;
    }
    struct metrics_server_options options = {.loop = &s->loop,
                                             .address = s->options.metrics,
                                             .write = write_metrics,
                                             .is_healthy = is_healthy,
                                             .data = s};
    struct err_buf why = {{0}};
    int rc = options.address ? metrics_server_new(&s->server, &options, &why) : 0;
    if (rc) {
        return err_set(e, rc, "--metrics: %s", why.text);
    }
    if (s->server) {
        log_info("metrics on port %d", metrics_server_port(s->server));
    }
    return 0;
}

static int start(struct scheduler *s, struct err_buf *e)
{
    make_holder(s);
    int rc = open_metrics(s, e);
    rc = rc ? rc : open_clients(s, e);
    rc = rc ? rc : open_core(s);
    rc = rc ? rc : open_adapters(s);
    if (rc && e->text[0] == '\0') {
        err_set(e, rc, "%s", err_text(rc));
    }
    return rc;
}

int scheduler_run(const struct scheduler_options *options, struct err_buf *e)
{
    struct scheduler *s = mem_new(sizeof *s);
    if (!s) {
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    s->options = *options;
    s->rng.key = rng_seed_from_system();
    int rc = uv_loop_init(&s->loop);
    if (rc) {
        mem_free(s);
        return err_set(e, ERR_INTERNAL, "event loop: %s", uv_strerror(rc));
    }
    rc = start(s, e);
    if (rc) {
        return rc; /* the process ends: what was opened goes with it */
    }
    open_handles(s);
    log_info("started: holder=%s prefix=%s", s->holder, options->prefix);
    (void)uv_run(&s->loop, UV_RUN_DEFAULT); /* what is left when it was stopped does not matter */
    core_free(s->core);
    store_free(s->store);
    ready_free(s->ready);
    scheduler_metrics_free(s->metrics);
    bool is_clean = uv_loop_close(&s->loop) == 0;
    log_info("stopped");
    if (is_clean) {
        mem_free(s);
    }
    return 0;
}
