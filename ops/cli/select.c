#include "ops/cli/select.h"

#include "common/json/json.h"

#include <stdio.h>
#include <string.h>

bool select_has_filter(const struct cli *c)
{
    const struct cli_options *o = &c->o;
    return o->market || o->region || o->task || o->kind || o->state || o->code || o->since;
}

int select_check(struct cli *c)
{
    bool has_filter = select_has_filter(c);
    if (c->arg_count > 0 && (has_filter || c->o.all)) {
        return cli_usage(c, "name jobs, or give a filter or --all, not both");
    }
    if (c->arg_count == 0 && !has_filter && !c->o.all) {
        return cli_usage(c, "name jobs, or give a filter (such as --market) or --all");
    }
    return cli_check_ids(c);
}

int select_write(struct cli *c, struct buf *out)
{
    char since[64];
    const struct cli_options *o = &c->o;
    int rc = cli_parse_since(c, o->since, since, sizeof since);
    if (rc) {
        return rc;
    }
    const struct {
        const char *name;
        const char *value;
    } given[] = {{"market", o->market},
                 {"region", o->region},
                 {"task", o->task},
                 {"kind", o->kind},
                 {"state", o->state},
                 {"code", o->code},
                 {"since", o->since ? since : NULL}};
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_map(&w, NULL);
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        if (given[i].value) {
            json_write_text(&w, given[i].name, span_of(given[i].value));
        }
    }
    json_write_end(&w);
    return json_writer_finish(&w);
}

int select_confirm(struct cli *c, const char *what)
{
    char answer[16] = "";
    if (c->o.yes) {
        return 0;
    }
    if (!cli_is_terminal(stdin) || !cli_is_terminal(stderr)) {
        return cli_usage(c, "this would %s: add --yes", what);
    }
    (void)fprintf(stderr, "%s? [y/N] ", what);
    bool is_yes = fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
    if (!is_yes) {
        (void)fprintf(stderr, "nothing was changed\n");
    }
    return is_yes ? 0 : CLI_FAILED;
}
