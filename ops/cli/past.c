#include "ops/cli/past.h"

#include "common/base/mem.h"

static const char history_sql[] =
    "WITH win AS (SELECT $1::timestamptz AS a, $2::timestamptz AS b), "
    "jobs AS (SELECT j.*, f.started, f.queued, f.run_ms FROM meridian.job j, win, LATERAL (SELECT "
    "min(t.started_at) AS started, min(t.queued_at) AS queued, (sum(extract(epoch FROM t.ended_at "
    "- t.started_at)) * 1000)::bigint AS run_ms FROM meridian.attempt t WHERE t.job = j.id AND "
    "t.started_at IS NOT NULL AND t.ended_at IS NOT NULL) f WHERE j.admitted_at >= win.a AND "
    "j.admitted_at < win.b AND j.region IS NOT NULL AND j.ended_at IS NOT NULL AND f.started IS "
    "NOT NULL) "
    "SELECT j.id, j.kind, j.market, j.task, j.region, j.priority, j.memory_mb, j.threads, "
    "j.labels, (extract(epoch FROM j.admitted_at - (SELECT a FROM win)) * 1000)::bigint AS "
    "arrive_ms, greatest(j.run_ms, 0) AS run_ms, (extract(epoch FROM j.started - "
    "coalesce(j.queued, j.admitted_at)) * 1000)::bigint AS wait_ms, (extract(epoch FROM "
    "j.ended_at - (SELECT a FROM win)) * 1000)::bigint AS end_ms, (SELECT "
    "string_agg(d.needs::text, "
    "',') FROM meridian.dependency d JOIN jobs n ON n.id = d.needs WHERE d.job = j.id) AS needs "
    "FROM jobs j ORDER BY j.admitted_at, j.id";

static const char workers_sql[] =
    "SELECT w.name, w.region, w.slots, w.threads, w.memory_mb, w.labels FROM meridian.worker "
    "w "
    "WHERE w.name IN (SELECT t.worker FROM meridian.attempt t WHERE t.started_at >= "
    "$1::timestamptz AND t.started_at < $2::timestamptz) ORDER BY w.region, w.name";

static const char markets_sql[] =
    "SELECT code, region, weight, max_running FROM meridian.market WHERE removed_at IS NULL ORDER "
    "BY code";

static const char limits_sql[] =
    "SELECT l.scope, l.name, l.max_running FROM meridian.run_limit l ORDER BY l.scope, l.name";

static const char policy_sql[] = "SELECT (priority_age_s * 1000)::bigint AS age_ms, (half_life_s * "
                                 "1000)::bigint AS half_life_ms "
                                 "FROM meridian.leader_policy";

static struct span text_at(const struct pg_result *r, size_t row, const char *column)
{
    return span_of(pg_text(r, row, pg_column(r, column)));
}

static int64_t number_at(const struct pg_result *r, size_t row, const char *column)
{
    return pg_integer(r, row, pg_column(r, column), 0);
}

/* "uuid,uuid": into at; returns how many. */
static size_t read_needs(struct span text, struct core_id *at)
{
    size_t count = 0;
    for (size_t from = 0; from + UUID_SIZE - 1 <= text.length; from += UUID_SIZE) {
        if (core_id_parse(span_make(text.data + from, UUID_SIZE - 1), &at[count])) {
            count++;
        }
    }
    return count;
}

static size_t count_needs(const struct pg_result *r)
{
    size_t count = 0;
    for (size_t i = 0; i < pg_rows(r); i++) {
        count += text_at(r, i, "needs").length / (UUID_SIZE - 1);
    }
    return count;
}

static void read_job(struct past *p, size_t row, struct core_id *needs)
{
    const struct pg_result *r = p->history;
    struct replay_job *job = &p->jobs[row];
    *job = (struct replay_job){
        .kind = text_at(r, row, "kind"),
        .market = text_at(r, row, "market"),
        .task = text_at(r, row, "task"),
        .region = text_at(r, row, "region"),
        .labels = text_at(r, row, "labels"),
        .priority = (int)number_at(r, row, "priority"),
        .memory_mb = (int)number_at(r, row, "memory_mb"),
        .threads = (int)number_at(r, row, "threads"),
        .arrive_ms = number_at(r, row, "arrive_ms"),
        .run_ms = number_at(r, row, "run_ms"),
        .needs = needs,
        .need_count = read_needs(text_at(r, row, "needs"), needs),
    };
    CHECK(core_id_parse(text_at(r, row, "id"), &job->id));
    p->times[row] = (struct past_times){.wait_ms = number_at(r, row, "wait_ms"),
                                        .end_ms = number_at(r, row, "end_ms")};
    p->busy_ms += job->run_ms;
    p->end_ms = p->times[row].end_ms > p->end_ms ? p->times[row].end_ms : p->end_ms;
}

static int read_jobs(struct past *p)
{
    p->job_count = pg_rows(p->history);
    p->jobs = mem_new_array(p->job_count + 1, sizeof *p->jobs);
    p->times = mem_new_array(p->job_count + 1, sizeof *p->times);
    p->needs = mem_new_array(count_needs(p->history) + 1, sizeof *p->needs);
    if (!p->jobs || !p->times || !p->needs) {
        return ERR_NOMEM;
    }
    struct core_id *at = p->needs;
    for (size_t i = 0; i < p->job_count; i++) {
        read_job(p, i, at);
        at += p->jobs[i].need_count;
    }
    return 0;
}

static int read_markets(struct past *p)
{
    const struct pg_result *r = p->markets_seen;
    p->market_count = pg_rows(r);
    p->markets = mem_new_array(p->market_count + 1, sizeof *p->markets);
    for (size_t i = 0; p->markets && i < p->market_count; i++) {
        p->markets[i] =
            (struct core_market_row){.code = text_at(r, i, "code"),
                                     .region = text_at(r, i, "region"),
                                     .weight = pg_real(r, i, pg_column(r, "weight"), 1),
                                     .max_running = (int)number_at(r, i, "max_running")};
    }
    return p->markets ? 0 : ERR_NOMEM;
}

static int read_limits(struct past *p)
{
    const struct pg_result *r = p->limits_seen;
    p->regions = mem_new_array(pg_rows(r) + 1, sizeof *p->regions);
    p->tasks = mem_new_array(pg_rows(r) + 1, sizeof *p->tasks);
    for (size_t i = 0; p->regions && p->tasks && i < pg_rows(r); i++) {
        struct span name = text_at(r, i, "name");
        int most = (int)number_at(r, i, "max_running");
        if (span_is(text_at(r, i, "scope"), "region")) {
            p->regions[p->region_count++] =
                (struct core_region_row){.name = name, .max_running = most};
        } else {
            p->tasks[p->task_count++] = (struct core_task_row){.name = name, .max_running = most};
        }
    }
    return p->regions && p->tasks ? 0 : ERR_NOMEM;
}

/* What the leader goes by now. */
static void read_policy(struct past *p)
{
    const struct pg_result *r = p->policy_seen;
    p->settings = core_settings_default;
    if (pg_rows(r) == 1) {
        p->settings.priority_age_ms = number_at(r, 0, "age_ms");
        p->settings.share_half_life_ms = number_at(r, 0, "half_life_ms");
    }
}

static int read_workers(struct past *p)
{
    const struct pg_result *r = p->workers_seen;
    p->worker_count = pg_rows(r);
    p->workers = mem_new_array(p->worker_count + 1, sizeof *p->workers);
    for (size_t i = 0; p->workers && i < p->worker_count; i++) {
        p->workers[i] = (struct replay_worker){.name = text_at(r, i, "name"),
                                               .region = text_at(r, i, "region"),
                                               .labels = text_at(r, i, "labels"),
                                               .slots = (int)number_at(r, i, "slots"),
                                               .threads = (int)number_at(r, i, "threads"),
                                               .memory_mb = (int)number_at(r, i, "memory_mb")};
        p->slots += p->workers[i].slots;
    }
    return p->workers ? 0 : ERR_NOMEM;
}

static int ask(struct cli *c, struct past *p, const char *since, const char *until)
{
    int rc = PG_SYNC_EXEC(c->control, &p->history, &c->e, history_sql, since, until);
    rc = rc ? rc : PG_SYNC_EXEC(c->control, &p->workers_seen, &c->e, workers_sql, since, until);
    rc = rc ? rc : pg_sync_exec(c->control, markets_sql, NULL, 0, &p->markets_seen, &c->e);
    rc = rc ? rc : pg_sync_exec(c->control, limits_sql, NULL, 0, &p->limits_seen, &c->e);
    rc = rc ? rc : pg_sync_exec(c->control, policy_sql, NULL, 0, &p->policy_seen, &c->e);
    return cli_explain(c->control, rc, &c->e);
}

int past_read(struct past *p, struct cli *c, const char *since, const char *until)
{
    *p = (struct past){.history = NULL};
    int rc = ask(c, p, since, until);
    rc = rc ? rc : read_jobs(p);
    rc = rc ? rc : read_markets(p);
    rc = rc ? rc : read_limits(p);
    rc = rc ? rc : read_workers(p);
    if (rc == 0) {
        read_policy(p);
    }
    return rc;
}

void past_close(struct past *p)
{
    mem_free(p->workers);
    mem_free(p->tasks);
    mem_free(p->regions);
    mem_free(p->markets);
    mem_free(p->needs);
    mem_free(p->times);
    mem_free(p->jobs);
    pg_result_free(p->policy_seen);
    pg_result_free(p->limits_seen);
    pg_result_free(p->markets_seen);
    pg_result_free(p->workers_seen);
    pg_result_free(p->history);
}
