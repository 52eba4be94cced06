/*
 * Checking a submission before it goes to the record: what can be judged without asking it. (That
 * the market and the task exist, and which region follows, is judged by the record itself.)
 */
#ifndef SCHEDULER_CORE_ADMISSION_H
#define SCHEDULER_CORE_ADMISSION_H

#include "common/base/buf.h"
#include "scheduler/core/core.h"

/*
 * Checks kind, names, numbers and spec; on success replaces s->spec by the complete spec (written
 * to storage, which must live as long as s and have room reserved: spans into it are taken) and
 * fills the limits and the region. On a refusal sets s->error_code, and s->error_text to
 * reason->text, which names the field. ERR_NOMEM, ERR_LIMIT: nothing is decided.
 */
MUST_CHECK int core_submission_check(struct core_submission *s, struct buf *storage,
                                     struct err_buf *reason);

#endif
