#include "scheduler/metrics.h"

#include "common/base/mem.h"
#include "common/metrics/metrics.h"

enum row {
    JOBS,
    PENDING,
    ATTEMPTS_ENDED,
    ERRORS,
    DECISIONS,
    VISITS,
    QUEUE_WAIT,
    LOOP_LAG,
    LEADER,
    TERM,
    READY,
    RESTARTS,
    CALLS_OPEN,
    POSTGRESQL_UP,
    REDIS_UP,
    /* written by hand: their labels are not a closed list, or are two */
    MOVES,
    REGION_SLOTS,
    REGION_OPEN,
    REGION_RUNNABLE,
    REGION_WORK,
    ROW_COUNT
};

/* --- label values ---------------------------------------------------------------------------- */

static const char *state_value(size_t index)
{
    return core_state_name((enum core_state)(index + CORE_STATE_WAITING));
}

static const char *reason_value(size_t index)
{
    return core_reason_code((enum core_reason)(index + 1));
}

static const char *outcome_value(size_t index)
{
    return core_outcome_name((enum core_outcome)(index + 1));
}

static const char *class_value(size_t index)
{
    return err_class_name((enum err_class)(index + 1));
}

enum { OPEN_STATES = CORE_STATE_RUNNING - CORE_STATE_WAITING + 1 };

static const double wait_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.05, 0.25,  1,    5,
                                     30,    120,    600,   1800, 7200, 21600, 86400};
static const double lag_bounds[] = {0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5};

#define BOUNDS(b) .bounds = (b), .bound_count = sizeof(b) / sizeof *(b)
#define LABEL(n, value, count) .label = (n), .label_value = (value), .label_count = (count)

/* One row a metric. */
/* clang-format off */
static const struct metric_row rows[ROW_COUNT] = {
    [JOBS] = {.name = "meridian_jobs", .type = METRIC_GAUGE,
              .help = "Open jobs by state", LABEL("state", state_value, OPEN_STATES)},
    [PENDING] = {.name = "meridian_pending_jobs", .type = METRIC_GAUGE,
                 .help = "Jobs that have not started, by what holds them up (report.pending)",
                 LABEL("reason", reason_value, CORE_REASON_COUNT - 1)},
    [ATTEMPTS_ENDED] = {.name = "meridian_attempts_ended_total", .type = METRIC_COUNTER,
                        .help = "Attempts that ended while this scheduler led, by how",
                        LABEL("outcome", outcome_value, CORE_OUTCOME_COUNT - 1)},
    [ERRORS] = {.name = "meridian_attempt_errors_total", .type = METRIC_COUNTER,
                .help = "Attempts that did not succeed, by who can do something about it",
                LABEL("class", class_value, CORE_ERROR_CLASSES - 1)},
    [DECISIONS] = {.name = "meridian_decisions_total", .type = METRIC_COUNTER,
                   .help = "Jobs that were given to a worker"},
    [VISITS] = {.name = "meridian_decision_looks_total", .type = METRIC_COUNTER,
                .help = "Places looked at in search of a worker"},
    [QUEUE_WAIT] = {.name = "meridian_queue_wait_seconds", .type = METRIC_HISTOGRAM,
                    .help = "From runnable to given to a worker", BOUNDS(wait_bounds)},
    [LOOP_LAG] = {.name = "meridian_loop_lag_seconds", .type = METRIC_HISTOGRAM,
                  .help = "How late the event loop serves its timer", BOUNDS(lag_bounds)},
    [LEADER] = {.name = "meridian_leader", .type = METRIC_GAUGE, .help = "1: this one leads"},
    [TERM] = {.name = "meridian_leader_term", .type = METRIC_GAUGE,
              .help = "The term that it leads in; 0: it stands by"},
    [READY] = {.name = "meridian_core_ready", .type = METRIC_GAUGE,
               .help = "1: the open jobs are loaded, and it decides"},
    [RESTARTS] = {.name = "meridian_core_restarts_total", .type = METRIC_COUNTER,
                  .help = "Times that it started over from the record"},
    [CALLS_OPEN] = {.name = "meridian_record_calls_open", .type = METRIC_GAUGE,
                    .help = "Calls to PostgreSQL that are not answered yet"},
    [POSTGRESQL_UP] = {.name = "meridian_postgresql_up", .type = METRIC_GAUGE,
                       .help = "1: connected to the record"},
    [REDIS_UP] = {.name = "meridian_redis_up", .type = METRIC_GAUGE,
                  .help = "1: connected to the transport"},
    [MOVES] = {.name = "meridian_job_moves_total", .type = METRIC_COUNTER,
               .help = "Moves of jobs from state to state that this scheduler saw", .label = "to"},
    [REGION_SLOTS] = {.name = "meridian_region_slots", .type = METRIC_GAUGE,
                      .help = "Slots of live workers that do not drain", .label = "region"},
    [REGION_OPEN] = {.name = "meridian_region_open_attempts", .type = METRIC_GAUGE,
                     .help = "Attempts given to workers of the region", .label = "region"},
    [REGION_RUNNABLE] = {.name = "meridian_region_runnable_jobs", .type = METRIC_GAUGE,
                         .help = "Jobs that only want for a worker with room", .label = "region"},
    [REGION_WORK] = {.name = "meridian_region_runnable_seconds", .type = METRIC_GAUGE,
                     .help = "Expected slot time of these; over the slots: how long they wait",
                     .label = "region"},
};
/* clang-format on */

struct scheduler_metrics {
    struct metrics *metrics;
};

struct scheduler_metrics *scheduler_metrics_new(void)
{
    struct scheduler_metrics *m = mem_new(sizeof *m);
    if (m) {
        m->metrics = metrics_new(rows, ROW_COUNT);
    }
    if (m && !m->metrics) {
        mem_free(m);
        return NULL;
    }
    return m;
}

void scheduler_metrics_free(struct scheduler_metrics *m)
{
    if (m) {
        metrics_free(m->metrics);
        mem_free(m);
    }
}

void scheduler_metrics_waited(struct scheduler_metrics *m, double seconds)
{
    metrics_observe(m->metrics, QUEUE_WAIT, seconds > 0 ? seconds : 0);
}

void scheduler_metrics_lag(struct scheduler_metrics *m, double seconds)
{
    metrics_observe(m->metrics, LOOP_LAG, seconds > 0 ? seconds : 0);
}

void scheduler_metrics_restarted(struct scheduler_metrics *m)
{
    metrics_add(m->metrics, RESTARTS, 0, 1);
}

/* --- writing --------------------------------------------------------------------------------- */

static void take_counts(struct metrics *m, const struct core *core)
{
    const struct core_counts n = core_count(core);
    const struct core_tally *t = core_tally(core);
    const size_t states[OPEN_STATES] = {n.waiting, n.queued, n.dispatched, n.running};
    size_t pending[CORE_REASON_COUNT];
    core_pending(core, pending);
    for (size_t i = 0; i < OPEN_STATES; i++) {
        metrics_set(m, JOBS, i, (double)states[i]);
    }
    for (size_t i = 1; i < CORE_REASON_COUNT; i++) {
        metrics_set(m, PENDING, i - 1, (double)pending[i]);
    }
    for (size_t i = 1; i < CORE_OUTCOME_COUNT; i++) {
        metrics_set(m, ATTEMPTS_ENDED, i - 1, (double)t->outcomes[i]);
    }
    for (size_t i = 1; i < CORE_ERROR_CLASSES; i++) {
        metrics_set(m, ERRORS, i - 1, (double)t->classes[i]);
    }
    metrics_set(m, DECISIONS, 0, (double)n.decisions);
    metrics_set(m, VISITS, 0, (double)n.visits);
    metrics_set(m, CALLS_OPEN, 0, (double)n.calls_open);
}

static int write_moves(struct metrics *m, const struct core *core, struct buf *out)
{
    const struct core_tally *t = core_tally(core);
    int rc = metrics_write_head(m, MOVES, out);
    for (int from = 0; from < CORE_STATE_COUNT; from++) {
        for (int to = CORE_STATE_WAITING; to < CORE_STATE_COUNT && rc == 0; to++) {
            if (t->moves[from][to] > 0) {
                rc = buf_add_format(out, "%s{from=\"%s\",to=\"%s\"} %llu\n", rows[MOVES].name,
                                    from ? core_state_name((enum core_state)from) : "new",
                                    core_state_name((enum core_state)to),
                                    (unsigned long long)t->moves[from][to]);
            }
        }
    }
    return rc;
}

struct region_writer {
    struct metrics *metrics;
    struct buf *out;
    enum row row;
    int rc;
};

static void write_region(const struct core_region_load *load, void *data)
{
    struct region_writer *w = data;
    double value = w->row == REGION_SLOTS      ? load->slots
                   : w->row == REGION_OPEN     ? load->open
                   : w->row == REGION_RUNNABLE ? (double)load->runnable
                                               : load->runnable_s;
    w->rc = w->rc ? w->rc : metrics_write_labelled(w->metrics, w->row, load->name, value, w->out);
}

static int write_regions(struct metrics *m, const struct core *core, struct buf *out)
{
    struct region_writer w = {.metrics = m, .out = out};
    for (w.row = REGION_SLOTS; w.row <= REGION_WORK && w.rc == 0; w.row++) {
        w.rc = metrics_write_head(m, w.row, out);
        core_regions(core, write_region, &w);
    }
    return w.rc;
}

int scheduler_metrics_write(struct scheduler_metrics *own, const struct scheduler_facts *facts,
                            struct buf *out)
{
    struct metrics *m = own->metrics;
    take_counts(m, facts->core);
    metrics_set(m, LEADER, 0, facts->is_leading);
    metrics_set(m, TERM, 0, facts->is_leading ? (double)facts->term : 0);
    metrics_set(m, READY, 0, facts->is_ready);
    metrics_set(m, POSTGRESQL_UP, 0, facts->is_postgresql_up);
    metrics_set(m, REDIS_UP, 0, facts->is_redis_up);
    int rc = metrics_write(m, out);
    rc = rc ? rc : write_moves(m, facts->core, out);
    return rc ? rc : write_regions(m, facts->core, out);
}
