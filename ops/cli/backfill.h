/* `nightly run` with a range of nights: one object that makes its nightlies by and by. */
#ifndef OPS_CLI_BACKFILL_H
#define OPS_CLI_BACKFILL_H

#include "ops/cli/cli.h"

/* Starts a backfill for each task (--from, --to, --cap ... in c->o) and prints the ids. An exit
 * code or an error. */
int backfill_run(struct cli *c, const char *const *tasks, size_t count);
/* The codes of the markets that --markets names, by commas, in out; "" when it was not given. */
MUST_CHECK int backfill_match(struct cli *c, char *out, size_t size);

#endif
