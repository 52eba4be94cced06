/* Commands about commands: help, completion. */
#include "ops/cli/cli.h"

#include <string.h>

static int run_help(struct cli *c)
{
    int words = 0;
    if (c->arg_count == 0) {
        cli_print_usage(c->out);
        return CLI_DONE;
    }
    /* Only read: argv's strings are not changed by finding. */
    const struct cli_command *command =
        cli_command_find((int)c->arg_count, (char **)(uintptr_t)c->args, &words);
    if (command) {
        cli_print_command_help(c->out, command);
        return CLI_DONE;
    }
    bool has_any = false;
    size_t length = strlen(c->args[0]);
    for (size_t i = 0; cli_command_at(i); i++) {
        const struct cli_command *other = cli_command_at(i);
        if (strncmp(other->name, c->args[0], length) == 0 && other->name[length] == ' ') {
            (void)fprintf(c->out, "  meridian %-18s %s\n", other->name, other->summary);
            has_any = true;
        }
    }
    return has_any ? CLI_DONE : cli_usage(c, "\"%s\" is no command", c->args[0]);
}

/* The cases of a shell's "case": one command, its flags. */
static void print_flags(FILE *out, const struct cli_command *command)
{
    struct config_common common;
    struct cli_options o;
    const struct config_table tables[] = {
        {command->flags, command->flag_count, NULL},
        cli_output_table(&o),
        config_common_table(&common),
    };
    (void)fprintf(out, "    \"%s\") echo \"", command->name);
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        for (size_t i = 0; i < tables[t].count; i++) {
            (void)fprintf(out, "--%s ", tables[t].entries[i].name);
        }
    }
    (void)fputs("\" ;;\n", out);
}

static const char completion_head[] = "# Bash completion for meridian: commands, their words and "
                                      "flags. Made by: meridian completion bash\n"
                                      "_meridian_words() {\n    cat <<'WORDS'\n";

static const char completion_middle[] = "WORDS\n}\n\n_meridian_flags() {\n    case \"$1\" in\n";

static const char completion_tail[] =
    "    esac\n}\n\n"
    "_meridian() {\n"
    "    local current=${COMP_WORDS[COMP_CWORD]} said=\"\" word i line\n"
    "    COMPREPLY=()\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        [[ $word == -* ]] && break\n"
    "        grep -q \"^${said:+$said }$word\\( \\|\\$\\)\" < <(_meridian_words) || break\n"
    "        said=${said:+$said }$word\n"
    "    done\n"
    "    if [[ $current == -* ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$(_meridian_flags \"$said\")\" -- "
    "\"$current\")\n"
    "        return\n"
    "    fi\n"
    "    local words=\"\"\n"
    "    while read -r line; do\n"
    "        if [[ -z $said ]]; then\n"
    "            words+=\" ${line%% *}\"\n"
    "        elif [[ $line == \"$said \"* ]]; then\n"
    "            line=${line#\"$said \"}\n"
    "            words+=\" ${line%% *}\"\n"
    "        fi\n"
    "    done < <(_meridian_words)\n"
    "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\" | sort -u)\n"
    "    if [[ ${#COMPREPLY[@]} -eq 0 ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
    "    fi\n"
    "}\n"
    "complete -o filenames -F _meridian meridian\n";

static int run_completion(struct cli *c)
{
    if (strcmp(c->args[0], "bash") != 0) {
        return cli_usage(c, "\"%s\": only bash is known", c->args[0]);
    }
    (void)fputs(completion_head, c->out);
    for (size_t i = 0; cli_command_at(i); i++) {
        (void)fprintf(c->out, "%s\n", cli_command_at(i)->name);
    }
    (void)fputs(completion_middle, c->out);
    for (size_t i = 0; cli_command_at(i); i++) {
        print_flags(c->out, cli_command_at(i));
    }
    (void)fputs(completion_tail, c->out);
    return CLI_DONE;
}

static const struct cli_command commands[] = {
    {.name = "help",
     .args = "[COMMAND]",
     .summary = "show this list, or one command with examples",
     .examples = "  meridian help\n  meridian help data import",
     .arg_max = 4,
     .run = run_help},
    {.name = "completion",
     .args = "bash",
     .summary = "print the completion for a shell",
     .examples = "  meridian completion bash > ~/.local/share/bash-completion/completions/meridian",
     .arg_min = 1,
     .arg_max = 1,
     .run = run_completion},
};

CLI_GROUP(cli_help_group, commands);
