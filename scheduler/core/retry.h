/*
 * What becomes of a job whose attempt did not succeed.
 *
 * Three budgets, kept apart: errors that the job reports (max_attempts of the job), crashes of its
 * runner and lost workers (crashes_max), and attempts that are nobody's fault (handed back on a
 * drain, never delivered), which are not charged at all but slow down when they repeat.
 *
 * Crashes are those of what is run, as the record counts them: a child of a nightly brings those of
 * the last nights along. A runner that made no step and was stopped (WEDGED) crashed. A job that
 * ran out of memory is a crash that runs once more with more memory; the second time it ends.
 */
#ifndef SCHEDULER_CORE_RETRY_H
#define SCHEDULER_CORE_RETRY_H

#include "scheduler/core/core.h"

struct retry_case {
    enum core_outcome outcome;
    int error_code; /* enum err */
    bool was_draining;
    bool is_cancel_requested;
    /* before this attempt is counted */
    int attempt;
    int failures;
    int crashes; /* lately, of what the job runs */
    int ooms;    /* of this job */
    int charged; /* attempts of this job that were charged to any budget */
    int max_attempts;
};

struct retry_verdict {
    bool is_final;     /* the job has failed */
    bool is_cancelled; /* the job ends cancelled */
    int charge_failure;
    int charge_crash;
    int charge_oom;
    bool wants_memory; /* runs again only in a larger memory class */
    int64_t delay_ms;
};

/* random decides the jitter. */
struct retry_verdict retry_decide(const struct retry_case *what,
                                  const struct core_settings *settings, uint64_t random);
/* min * 2^(times - 1), at most max, times a factor in [0.5, 1). times >= 1. */
int64_t retry_backoff_ms(int times, const struct core_settings *settings, uint64_t random);

#endif
