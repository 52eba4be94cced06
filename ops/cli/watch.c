/* The command watch; the watching itself is in follow.c, for submit and nightly do it, too. */
#include "ops/cli/cli.h"
#include "ops/cli/follow.h"

static int run_watch(struct cli *c)
{
    return follow_watch(c, c->args, c->arg_count);
}

static const struct cli_command commands[] = {
    {.name = "watch",
     .args = "[ID...]",
     .summary = "progress of running jobs, until the named ones end",
     .details = "A bar for each running job on a terminal, plain lines into a pipe. Without ids: "
                "everything that\n"
                "runs, until Ctrl-C. Works without Redis, with older figures.",
     .examples =
         "  meridian watch\n  meridian watch 018f2b6e-0000-7000-8000-000000000001 | tee night.log",
     .arg_max = CLI_ARGS_ANY,
     .run = run_watch},
};

CLI_GROUP(cli_watch_group, commands);
