/* Naming many jobs: by ids, by a filter of flags, or all of them. */
#ifndef OPS_CLI_SELECT_H
#define OPS_CLI_SELECT_H

#include "ops/cli/cli.h"

enum { SELECT_FILTER_BYTES_MAX = 8192 };

/* Whether any of --market, --region, --task, --kind, --state, --code, --since was given. */
bool select_has_filter(const struct cli *c);
/* Ids, or else a filter or --all: 0, or CLI_USAGE with what is wrong. */
int select_check(struct cli *c);
/* The filter as the JSON map that the functions of operate_many.sql take; what was not given is
 * not in it. CLI_USAGE for a --since that is no time; ERR_NOMEM. */
int select_write(struct cli *c, struct buf *out);
/*
 * Whether to go on with a selection that was not named id by id: --yes, or the answer on a
 * terminal. CLI_USAGE when there is nobody to ask, CLI_FAILED when the answer is no, else 0.
 * what: "cancel 12 jobs, of which 3 run".
 */
int select_confirm(struct cli *c, const char *what);

#endif
