/* Waiting for jobs to end, with and without showing how far they are. */
#ifndef OPS_CLI_FOLLOW_H
#define OPS_CLI_FOLLOW_H

#include "ops/cli/cli.h"

/*
 * Waits until all jobs have ended and prints how. CLI_DONE when all succeeded, CLI_JOB_FAILED when
 * one did not, CLI_FAILED after timeout_ms (0 = none), or an error (ERR_NOTFOUND: no such job).
 */
int follow_wait(struct cli *c, const char *const *ids, size_t count, int64_t timeout_ms);
/* The same with progress of the jobs and their children. Without ids: all that run, until Ctrl-C.
 */
int follow_watch(struct cli *c, const char *const *ids, size_t count);

#endif
