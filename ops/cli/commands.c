/* The table of all commands, and what is made from it: usage, help. */
#include "ops/cli/cli.h"

#include <string.h>

/* In the order of the help. */
static const struct cli_group *const groups[] = {
    &cli_admin_group,   &cli_data_group,     &cli_submit_group,   &cli_jobs_group,
    &cli_cancel_group,  &cli_dead_group,     &cli_watch_group,    &cli_queue_group,
    &cli_limit_group,   &cli_schedule_group, &cli_backfill_group, &cli_model_group,
    &cli_predict_group, &cli_report_group,   &cli_simulate_group, &cli_help_group,
};

const struct cli_command *cli_command_at(size_t index)
{
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        if (index < groups[i]->count) {
            return &groups[i]->commands[index];
        }
        index -= groups[i]->count;
    }
    return NULL;
}

/* How many words of argv the name takes, or 0 when they differ. */
static int match_words(const char *name, int argc, char **argv)
{
    int words = 0;
    while (*name) {
        size_t length = strcspn(name, " ");
        if (words == argc || strlen(argv[words]) != length ||
            strncmp(argv[words], name, length) != 0) {
            return 0;
        }
        words++;
        name += length;
        name += *name == ' ';
    }
    return words;
}

const struct cli_command *cli_command_find(int argc, char **argv, int *ret_words)
{
    const struct cli_command *best = NULL;
    *ret_words = 0;
    for (size_t i = 0; cli_command_at(i); i++) {
        int words = match_words(cli_command_at(i)->name, argc, argv);
        if (words > *ret_words) {
            best = cli_command_at(i);
            *ret_words = words;
        }
    }
    return best;
}

struct config_table cli_output_table(struct cli_options *o)
{
    static const struct config_entry entries[] = {
        CLI_FLAG("csv", CONFIG_BOOL, csv, "print comma-separated values"),
        CLI_FLAG("json", CONFIG_BOOL, json, "print JSON"),
    };
    return (struct config_table){entries, sizeof entries / sizeof *entries, o};
}

void cli_print_usage(FILE *out)
{
    (void)fprintf(out, "Meridian retrains text models for every market, every night.\n\n"
                       "usage: meridian COMMAND [ARGUMENTS] [FLAGS]\n\n");
    for (size_t i = 0; cli_command_at(i); i++) {
        const struct cli_command *command = cli_command_at(i);
        (void)fprintf(out, "  %-18s %s\n", command->name, command->summary);
    }
    (void)fprintf(
        out, "\nEvery command: --json, --help (with examples). Servers: MERIDIAN_DATABASE_URL,\n"
             "MERIDIAN_DATA_URL, MERIDIAN_REDIS_URL, or the flags of the same names.\n"
             "Exit: 0 done, 1 failed, 2 usage, 3 the job failed, 4 a server is unreachable.\n");
}

void cli_print_command_help(FILE *out, const struct cli_command *command)
{
    struct cli_options o;
    struct config_common common;
    (void)fprintf(out, "meridian %s%s%s: %s\n", command->name, *command->args ? " " : "",
                  command->args, command->summary);
    if (command->details) {
        (void)fprintf(out, "\n%s\n", command->details);
    }
    (void)fprintf(out, "\nExamples:\n%s\n\nFlags:\n", command->examples);
    struct config_table tables[] = {
        {command->flags, command->flag_count, &o},
        cli_output_table(&o),
        config_common_table(&common),
    };
    config_print_help(out, tables, sizeof tables / sizeof *tables);
}
