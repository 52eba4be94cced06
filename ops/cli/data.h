/* What the data commands share. */
#ifndef OPS_CLI_DATA_H
#define OPS_CLI_DATA_H

#include "ops/cli/cli.h"

/* --market, --task and --split are given and well formed: 0 or CLI_USAGE. */
int data_check_place(struct cli *c, bool needs_split);
/* `meridian data import`. */
int data_run_import(struct cli *c);

#endif
