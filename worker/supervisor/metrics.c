/* What a worker counts: one table. See common/metrics for how it is shown. */
#include "common/metrics/metrics.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "worker/supervisor/supervisor_int.h"

#include <stdio.h>

enum row {
    SLOTS,
    SLOTS_BUSY,
    WAITING,
    UNRECORDED,
    ENDED,
    RENEWALS,
    RENEW_TIME,
    RENEW_AGE,
    RUNNERS,
    RUNNER_BYTES,
    LOOP_LAG,
    POSTGRESQL_UP,
    REDIS_UP,
    REGISTERED,
    DRAINING,
    ROW_COUNT
};

enum { RENEWED, NOT_RENEWED, RENEWAL_VALUES };

static const char *outcome_value(size_t index)
{
    return message_outcome_name((enum message_outcome)(index + 1));
}

static const char *renewal_value(size_t index)
{
    return index == RENEWED ? "ok" : "failed";
}

static const double time_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                     0.1,   0.25,   0.5,   1,    2.5,   5};

#define BOUNDS(b) .bounds = (b), .bound_count = sizeof(b) / sizeof *(b)
#define LABEL(n, value, count) .label = (n), .label_value = (value), .label_count = (count)

/* One row a metric. */
/* clang-format off */
static const struct metric_row rows[ROW_COUNT] = {
    [SLOTS] = {.name = "meridian_worker_slots", .type = METRIC_GAUGE,
               .help = "Jobs that may run at a time"},
    [SLOTS_BUSY] = {.name = "meridian_worker_slots_busy", .type = METRIC_GAUGE,
                    .help = "Jobs that run"},
    [WAITING] = {.name = "meridian_worker_waiting_jobs", .type = METRIC_GAUGE,
                 .help = "Jobs that were given to it and wait for a runner"},
    [UNRECORDED] = {.name = "meridian_worker_unrecorded_results", .type = METRIC_GAUGE,
                    .help = "Results that the record is not known to have yet"},
    [ENDED] = {.name = "meridian_worker_attempts_ended_total", .type = METRIC_COUNTER,
               .help = "Attempts that ended here, by how",
               LABEL("outcome", outcome_value, MESSAGE_OUTCOME_COUNT - 1)},
    [RENEWALS] = {.name = "meridian_worker_renewals_total", .type = METRIC_COUNTER,
                  .help = "Renewals of all its leases at once",
                  LABEL("result", renewal_value, RENEWAL_VALUES)},
    [RENEW_TIME] = {.name = "meridian_worker_renewal_seconds", .type = METRIC_HISTOGRAM,
                    .help = "From the start of a renewal to its answer", BOUNDS(time_bounds)},
    [RENEW_AGE] = {.name = "meridian_worker_renewal_age_seconds", .type = METRIC_GAUGE,
                   .help = "Since the start of the last renewal that was answered"},
    [RUNNERS] = {.name = "meridian_worker_runners_started_total", .type = METRIC_COUNTER,
                 .help = "Runner processes that were started"},
    [RUNNER_BYTES] = {.name = "meridian_worker_runner_resident_bytes", .type = METRIC_GAUGE,
                      .help = "Memory of the runners that have a job, as last measured"},
    [LOOP_LAG] = {.name = "meridian_loop_lag_seconds", .type = METRIC_HISTOGRAM,
                  .help = "How late the event loop serves its timer", BOUNDS(time_bounds)},
    [POSTGRESQL_UP] = {.name = "meridian_postgresql_up", .type = METRIC_GAUGE,
                       .help = "1: connected to the record"},
    [REDIS_UP] = {.name = "meridian_redis_up", .type = METRIC_GAUGE,
                  .help = "1: connected to the transport"},
    [REGISTERED] = {.name = "meridian_worker_registered", .type = METRIC_GAUGE,
                    .help = "1: the record knows this worker"},
    [DRAINING] = {.name = "meridian_worker_draining", .type = METRIC_GAUGE,
                  .help = "1: it takes no new work"},
};
/* clang-format on */

static void measure(struct supervisor *s)
{
    struct metrics *m = s->metrics;
    int busy = 0;
    double bytes = 0;
    for (int i = 0; i < s->slot_count; i++) {
        bool has_job = slot_has_job(s->slots[i].state);
        busy += has_job;
        bytes += has_job ? (double)s->slots[i].held.rss_kb * 1024 : 0;
    }
    metrics_set(m, SLOTS, 0, s->slot_count);
    metrics_set(m, SLOTS_BUSY, 0, busy);
    metrics_set(m, WAITING, 0, (double)s->waiting.count);
    metrics_set(m, UNRECORDED, 0, (double)s->outbox.count);
    metrics_set(m, RENEW_AGE, 0, (double)(clock_mono_ms() - s->renewed_ms) / 1000);
    metrics_set(m, RUNNER_BYTES, 0, bytes);
    metrics_set(m, POSTGRESQL_UP, 0, pg_is_ready(s->pg));
    metrics_set(m, REDIS_UP, 0, redis_is_ready(s->commands));
    metrics_set(m, REGISTERED, 0, s->is_registered);
    metrics_set(m, DRAINING, 0, s->phase >= PHASE_DRAINING);
}

static int write_all(struct buf *out, void *data)
{
    struct supervisor *s = data;
    measure(s);
    return metrics_write(s->metrics, out);
}

/* That it answers shows that the loop turns; progress is that its leases are renewed. */
static bool is_healthy(char *why, size_t size, void *data)
{
    struct supervisor *s = data;
    int64_t age_ms = clock_mono_ms() - s->renewed_ms;
    bool is_well = s->is_registered && age_ms < LEASE_LOST_MS;
    (void)snprintf(why, size, "%s",
                   !s->is_registered            ? "waits for the record to know it"
                   : !is_well                   ? "its leases were not renewed for 10 s"
                   : s->phase >= PHASE_DRAINING ? "drains"
                                                : "works");
    return is_well;
}

int metrics_open(struct supervisor *s, struct err_buf *e)
{
    s->metrics = metrics_new(rows, ROW_COUNT);
    s->renewed_ms = clock_mono_ms();
    if (!s->metrics) {
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    struct metrics_server_options options = {.loop = &s->loop,
                                             .address = s->options->metrics,
                                             .write = write_all,
                                             .is_healthy = is_healthy,
                                             .data = s};
    struct err_buf why = {{0}};
    int rc = options.address ? metrics_server_new(&s->metrics_server, &options, &why) : 0;
    if (rc == 0 && s->metrics_server) {
        log_info("metrics on port %d", metrics_server_port(s->metrics_server));
    }
    return rc ? err_set(e, rc, "--metrics: %s", why.text) : 0;
}

void metrics_ended(struct supervisor *s, enum message_outcome outcome)
{
    metrics_add(s->metrics, ENDED, (size_t)outcome - 1, 1);
}

void metrics_renewed(struct supervisor *s, bool is_good)
{
    int64_t now = clock_mono_ms();
    metrics_add(s->metrics, RENEWALS, is_good ? RENEWED : NOT_RENEWED, 1);
    metrics_observe(s->metrics, RENEW_TIME, (double)(now - s->renew_ms) / 1000);
    if (is_good) {
        s->renewed_ms = s->renew_ms;
    }
}

void metrics_runner_started(struct supervisor *s)
{
    metrics_add(s->metrics, RUNNERS, 0, 1);
}

void metrics_tick(struct supervisor *s, int64_t now)
{
    int64_t late_ms = s->tick_ms ? now - s->tick_ms - TICK_MS : 0;
    metrics_observe(s->metrics, LOOP_LAG, late_ms > 0 ? (double)late_ms / 1000 : 0);
    s->tick_ms = now;
}
