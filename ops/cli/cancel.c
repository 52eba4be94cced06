/* cancel: one job, many, a market, a region, everything. */
#include "common/job/job.h"
#include "ops/cli/cli.h"
#include "ops/cli/print.h"
#include "ops/cli/select.h"

#include <stdlib.h>
#include <string.h>

enum { IDS_BYTES_MAX = 4 * 1024 * 1024 };
/* Jobs in one transaction: short enough to hold up nobody. */
#define PIECE "1000"

static int cancel_named(struct cli *c)
{
    struct buf ids;
    struct pg_result *r = NULL;
    buf_init(&ids, IDS_BYTES_MAX);
    int rc = PG_SYNC_EXEC(
        c->control, &r, &c->e,
        "SELECT id::text, coalesce(state, ''), note FROM meridian.job_cancel($1::uuid[], $2)",
        cli_array(c->args, c->arg_count, &ids), cli_actor());
    buf_close(&ids);
    int code = CLI_DONE;
    for (size_t i = 0; rc == 0 && i < pg_rows(r); i++) {
        code = *pg_text(r, i, 1) ? code : CLI_FAILED;
        (void)fprintf(c->out, c->o.json ? "{\"id\":\"%s\",\"note\":\"%s\"}\n" : "%s %s\n",
                      pg_text(r, i, 0), pg_text(r, i, 2));
    }
    pg_result_free(r);
    return rc ? cli_explain(c->control, rc, &c->e) : code;
}

/* How many there are, asked for before anything is done. */
static int confirm(struct cli *c, const char *filter, int64_t *ret_jobs, char *ret_before,
                   size_t size)
{
    struct pg_result *r = NULL;
    char what[96];
    int rc = PG_SYNC_EXEC(c->control, &r, &c->e,
                          "SELECT jobs, running, as_of FROM meridian.job_cancel_count($1::jsonb)",
                          filter);
    if (rc) {
        return cli_explain(c->control, rc, &c->e);
    }
    *ret_jobs = pg_integer(r, 0, 0, 0);
    (void)snprintf(ret_before, size, "%s", pg_text(r, 0, 2));
    (void)snprintf(what, sizeof what, "cancel %lld jobs, of which %s run", (long long)*ret_jobs,
                   pg_text(r, 0, 1));
    pg_result_free(r);
    return *ret_jobs > 0 ? select_confirm(c, what) : 0;
}

/* Piece by piece, until nothing is left of what was there when the question was asked. */
static int cancel_pieces(struct cli *c, const char *filter, const char *before,
                         int64_t *ret_cancelled, int64_t *ret_requested)
{
    int64_t last = 1;
    int rc = 0;
    while (rc == 0 && last > 0 && !cli_is_interrupted()) {
        struct pg_result *r = NULL;
        rc = PG_SYNC_EXEC(c->control, &r, &c->e,
                          "SELECT cancelled, requested FROM meridian.job_cancel_some($1::jsonb || "
                          "jsonb_build_object('before', $2::text), $3, " PIECE ")",
                          filter, before, cli_actor());
        int64_t cancelled = rc ? 0 : pg_integer(r, 0, 0, 0);
        int64_t requested = rc ? 0 : pg_integer(r, 0, 1, 0);
        *ret_cancelled += cancelled;
        *ret_requested += requested;
        last = cancelled + requested;
        pg_result_free(r);
    }
    return rc ? cli_explain(c->control, rc, &c->e) : 0;
}

static int cancel_selected(struct cli *c, const char *filter)
{
    int64_t jobs = 0, cancelled = 0, requested = 0;
    char before[64];
    int rc = confirm(c, filter, &jobs, before, sizeof before);
    rc = rc || jobs == 0 ? rc : cancel_pieces(c, filter, before, &cancelled, &requested);
    if (rc) {
        return rc;
    }
    (void)fprintf(c->out,
                  c->o.json ? "{\"cancelled\":%lld,\"being_cancelled\":%lld}\n"
                            : "%lld cancelled, %lld running ones are being stopped\n",
                  (long long)cancelled, (long long)requested);
    return cli_is_interrupted() ? CLI_INTERRUPTED : CLI_DONE;
}

static int run_cancel(struct cli *c)
{
    struct buf filter;
    int rc = select_check(c);
    if (rc == 0 && c->o.state && !job_state_from_name(c->o.state)) {
        rc = cli_usage(c, "--state: \"%s\" is no state", c->o.state);
    }
    rc = rc ? rc : cli_control(c);
    if (rc || c->arg_count > 0) {
        return rc ? rc : cancel_named(c);
    }
    buf_init(&filter, SELECT_FILTER_BYTES_MAX);
    rc = select_write(c, &filter);
    rc = rc ? rc : cancel_selected(c, buf_text(&filter));
    buf_close(&filter);
    return rc;
}

static const struct config_entry cancel_flags[] = {
    CLI_FLAG("all", CONFIG_BOOL, all, "every open job"),
    CLI_FLAG("kind", CONFIG_TEXT, kind, "KIND: noop, finetune, evaluate, nightly"),
    CLI_FLAG_MARKET,
    CLI_FLAG("region", CONFIG_TEXT, region, "REGION"),
    CLI_FLAG("state", CONFIG_TEXT, state, "STATE: waiting, queued, dispatched or running"),
    CLI_FLAG_TASK,
    CLI_FLAG("yes", CONFIG_BOOL, yes, "do not ask"),
};

#define ID "018f2b6e-0000-7000-8000-000000000001"

static const struct cli_command commands[] = {
    {.name = "cancel",
     .args = "[ID...]",
     .summary = "cancel jobs and their children",
     .details =
         "Those that wait end at once; runners get SIGTERM, then SIGKILL after 5 s. A filter "
         "or --all asks\nfirst and says how many; --yes answers. Flags given together must "
         "all match.",
     .examples = "  meridian cancel " ID "\n  meridian cancel --market de-DE\n"
                 "  meridian cancel --region emea --kind finetune --yes\n  meridian cancel --all",
     CLI_FLAGS(cancel_flags),
     .arg_max = CLI_ARGS_ANY,
     .run = run_cancel},
};

CLI_GROUP(cli_cancel_group, commands);
