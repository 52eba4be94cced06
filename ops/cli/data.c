/* Commands about texts: import, list, snapshot, erase. */
#include "ops/cli/data.h"

#include "common/job/job.h"
#include "ops/cli/print.h"

#include <stdlib.h>
#include <string.h>

int data_check_place(struct cli *c, bool needs_split)
{
    CLI_NEED(c, c->o.market, "--market");
    CLI_NEED(c, c->o.task, "--task");
    if (!job_market_is_valid(c->o.market)) {
        return cli_usage(c, "--market: \"%s\" is no market code", c->o.market);
    }
    if (!job_task_is_valid(c->o.task)) {
        return cli_usage(c, "--task: \"%s\" is no task name: lower-case letters, digits, - and _",
                         c->o.task);
    }
    if (needs_split) {
        CLI_NEED(c, c->o.split, "--split");
    }
    if (c->o.split && strcmp(c->o.split, "train") != 0 && strcmp(c->o.split, "dev") != 0 &&
        strcmp(c->o.split, "test") != 0) {
        return cli_usage(c, "--split: \"%s\" is none of train, dev, test", c->o.split);
    }
    return 0;
}

static int run_list(struct cli *c)
{
    int rc = cli_data(c);
    return rc ? rc
              : PRINT_QUERY(
                    c, c->data, "no samples: meridian data import --help",
                    "SELECT market, task, split, count(*) AS samples, count(DISTINCT label) "
                    "AS labels, max(imported_at) AS newest FROM meridian.sample WHERE "
                    "superseded_by IS NULL AND ($1::text IS NULL OR market = $1) AND "
                    "($2::text IS NULL OR task = $2) GROUP BY market, task, split ORDER BY "
                    "market, task, split",
                    c->o.market, c->o.task);
}

static int run_snapshot(struct cli *c)
{
    struct buf markets;
    if (c->o.markets.count == 0) {
        return cli_usage(c, "--market is missing");
    }
    CLI_NEED(c, c->o.task, "--task");
    CLI_NEED(c, c->o.split, "--split");
    int rc = cli_data(c);
    if (rc) {
        return rc;
    }
    buf_init(&markets, 64 * 1024);
    rc = PRINT_RECORD(
        c, c->data,
        "SELECT id AS snapshot, encode(sha256, 'hex') AS sha256, samples, labels, as_of "
        "FROM meridian.snapshot_take($1::text[], $2, $3)",
        cli_array(c->o.markets.items, c->o.markets.count, &markets), c->o.task, c->o.split);
    buf_close(&markets);
    return rc;
}

static int run_erase(struct cli *c)
{
    char text[32];
    int rc = data_check_place(c, false);
    rc = rc ? rc : cli_data(c);
    long long erased = 0;
    for (size_t i = 0; i < c->arg_count && rc == 0; i++) {
        rc = QUERY_TEXT(c->data, text, &c->e, "SELECT meridian.data_erase($1, $2, $3, $4)",
                        c->o.market, c->o.task, c->args[i], cli_actor());
        if (rc == 0 && strcmp(text, "0") == 0) {
            (void)fprintf(stderr, "%s: no such sample\n", c->args[i]);
        }
        erased += rc == 0 ? strtoll(text, NULL, 10) : 0;
    }
    if (rc) {
        return rc;
    }
    (void)fprintf(c->out, c->o.json ? "{\"erased\":%lld}\n" : "erased %lld rows\n", erased);
    return erased > 0 ? CLI_DONE : CLI_FAILED;
}

static const struct config_entry import_flags[] = {
    {.name = "format",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct cli_options, format),
     .fallback = "auto",
     .help = "FORMAT: auto, jsonl, csv or tsv; auto goes by name, then first line"},
    CLI_FLAG("id-column", CONFIG_TEXT, id_column, "NAME of the id's column or key"),
    CLI_FLAG("label-column", CONFIG_TEXT, label_column, "NAME of the label's column or key"),
    CLI_FLAG_MARKET,
    {.name = "max-bad",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct cli_options, max_bad),
     .fallback = "1%",
     .help = "SHARE of bad rows above which nothing is written"},
    CLI_FLAG_NUMBER("max-text", CONFIG_INTEGER, max_text, "65536", 1, 16777216,
                    "BYTES a text may have"),
    CLI_FLAG("no-quotes", CONFIG_BOOL, no_quotes, "CSV and TSV: quotes are ordinary characters"),
    CLI_FLAG_SPLIT,
    CLI_FLAG_TASK,
    CLI_FLAG("text-column", CONFIG_TEXT, text_column, "NAME of the text's column or key"),
};
static const struct config_entry list_flags[] = {CLI_FLAG_MARKET, CLI_FLAG_TASK};
static const struct config_entry snapshot_flags[] = {CLI_FLAG_MARKETS, CLI_FLAG_SPLIT,
                                                     CLI_FLAG_TASK};
static const struct config_entry erase_flags[] = {CLI_FLAG_MARKET, CLI_FLAG_TASK};

static const struct cli_command commands[] = {
    {.name = "data import",
     .args = "FILE...",
     .summary = "import labelled texts",
     .details = "Reads JSON Lines, CSV and TSV, also compressed with gzip; \"-\" is standard "
                "input. Columns (keys)\n"
                "are found by name: id, text (utterance, sentence, content, query), label (intent, "
                "category, class).\n"
                "Importing again changes nothing; a changed text or label becomes a new revision; "
                "rows without an id\n"
                "get one from their text. Bad rows are counted and listed with file and line; "
                "above --max-bad nothing\n"
                "is written. Texts go to the database of MERIDIAN_DATA_URL.",
     .examples =
         "  meridian data import --market de-DE --task support-intent --split train train.jsonl\n"
         "  zcat big.csv.gz | meridian data import --market de-DE --task faq --split train "
         "--format csv -\n"
         "  meridian data import --market de-DE --task faq --split test --text-column body "
         "--label-column topic t.tsv",
     CLI_FLAGS(import_flags),
     .arg_min = 1,
     .arg_max = CLI_ARGS_ANY,
     .run = data_run_import},
    {.name = "data list",
     .args = "",
     .summary = "count samples and labels by market, task and split",
     .examples = "  meridian data list --market de-DE",
     CLI_FLAGS(list_flags),
     .run = run_list},
    {.name = "data snapshot",
     .args = "",
     .summary = "fix the current samples as a set, named by hash",
     .details = "Jobs do this by themselves; by hand it shows whether two databases hold the same "
                "samples.",
     .examples = "  meridian data snapshot --market de-DE --task support-intent --split test",
     CLI_FLAGS(snapshot_flags),
     .run = run_snapshot},
    {.name = "data erase",
     .args = "ID...",
     .summary = "delete the texts of samples, all revisions",
     .details = "Snapshots that held them are marked and cannot be read again; models stay. An "
                "event records who\n"
                "erased, not what.",
     .examples = "  meridian data erase --market de-DE --task support-intent customer-4711",
     CLI_FLAGS(erase_flags),
     .arg_min = 1,
     .arg_max = CLI_ARGS_ANY,
     .run = run_erase},
};

CLI_GROUP(cli_data_group, commands);
