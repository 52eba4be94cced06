/* Sending submissions to the scheduler and waiting for its replies. */
#ifndef OPS_CLI_SUBMIT_H
#define OPS_CLI_SUBMIT_H

#include "common/message/message.h"
#include "ops/cli/cli.h"

struct submit_answer {
    struct uuid id;  /* of the submission */
    struct uuid job; /* the same, or that of the job that was kept (unique policy keep) */
    char state[MESSAGE_STATE_MAX + 1]; /* "" = not answered */
    char reason[MESSAGE_ERROR_MAX + 1];
};

/* For a submission, a bulk or a reply's token. */
struct uuid submit_new_id(void);

/*
 * Sends copies of m under new ids (m's own id and reply are replaced), in answers count long, and
 * waits until the scheduler has committed each. ERR_UNREACHABLE when some were not answered within
 * timeout_ms: they stay in Redis and are taken up when a scheduler runs; or Redis had no room. For
 * a few: many go through stream.h.
 */
MUST_CHECK int submit_all(struct cli *c, struct message_submission *ms, size_t kinds,
                          struct submit_answer *answers, size_t count, int64_t timeout_ms);
/* Prints ids (or JSON); CLI_DONE, or CLI_FAILED when one was rejected (its reason on stderr). */
int submit_print(struct cli *c, const struct submit_answer *answers, size_t count);
/* Follows the jobs as --wait and --watch ask: an exit code or an error. */
int submit_follow(struct cli *c, const struct submit_answer *answers, size_t count);

#endif
