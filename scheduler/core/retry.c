#include "scheduler/core/retry.h"

/* An uncharged attempt is repeated at once this often; then it waits, so that a worker which hands
 * everything back cannot keep the system busy with nothing. */
enum { UNCHARGED_AT_ONCE = 3 };

int64_t retry_backoff_ms(int times, const struct core_settings *settings, uint64_t random)
{
    int64_t delay = settings->backoff_min_ms;
    for (int i = 1; i < times && delay < settings->backoff_max_ms; i++) {
        delay *= 2;
    }
    if (delay > settings->backoff_max_ms) {
        delay = settings->backoff_max_ms;
    }
    return delay / 2 + (int64_t)(random % (uint64_t)(delay / 2 + 1));
}

static struct retry_verdict uncharged(const struct retry_case *what,
                                      const struct core_settings *settings, uint64_t random)
{
    int before = what->attempt - what->charged;
    int64_t delay = before > UNCHARGED_AT_ONCE
                        ? retry_backoff_ms(before - UNCHARGED_AT_ONCE, settings, random)
                        : 0;
    return (struct retry_verdict){.delay_ms = delay};
}

static struct retry_verdict crashed(const struct retry_case *what,
                                    const struct core_settings *settings, uint64_t random)
{
    int crashes = what->crashes + what->ooms + 1;
    /* The first lost worker costs no further time: the lease has cost enough. */
    bool is_at_once = what->outcome == CORE_OUTCOME_LOST && crashes == 1;
    return (struct retry_verdict){
        .charge_crash = 1,
        .is_final = crashes >= settings->crashes_max,
        .delay_ms = is_at_once ? 0 : retry_backoff_ms(crashes, settings, random),
    };
}

/* Once more with more memory; then not again, for it would end in the same way. */
static struct retry_verdict out_of_memory(const struct retry_case *what,
                                          const struct core_settings *settings, uint64_t random)
{
    struct retry_verdict verdict = crashed(what, settings, random);
    verdict.charge_oom = 1;
    verdict.is_final = verdict.is_final || what->ooms > 0;
    verdict.wants_memory = !verdict.is_final;
    return verdict;
}

static struct retry_verdict failed(const struct retry_case *what,
                                   const struct core_settings *settings, uint64_t random)
{
    int failures = what->failures + 1;
    enum err_class class = err_class_of(what->error_code);
    bool is_hopeless = class == ERR_CLASS_PERMANENT || class == ERR_CLASS_CALLER;
    return (struct retry_verdict){
        .charge_failure = 1,
        .is_final = is_hopeless || failures >= what->max_attempts,
        .delay_ms = retry_backoff_ms(failures, settings, random),
    };
}

struct retry_verdict retry_decide(const struct retry_case *what,
                                  const struct core_settings *settings, uint64_t random)
{
    CHECK(what->outcome != CORE_OUTCOME_SUCCEEDED);
    if (what->is_cancel_requested) {
        return (struct retry_verdict){.is_cancelled = true};
    }
    bool is_ours = what->outcome == CORE_OUTCOME_LOST && what->was_draining;
    bool is_reported =
        what->outcome == CORE_OUTCOME_FAILED || what->outcome == CORE_OUTCOME_CRASHED;
    if (is_reported && what->error_code == ERR_OOM) {
        return out_of_memory(what, settings, random);
    }
    if (what->outcome == CORE_OUTCOME_FAILED ||
        (what->outcome == CORE_OUTCOME_CRASHED &&
         err_class_of(what->error_code) == ERR_CLASS_PERMANENT)) {
        return failed(what, settings, random);
    }
    if (what->outcome == CORE_OUTCOME_CRASHED || (what->outcome == CORE_OUTCOME_LOST && !is_ours)) {
        return crashed(what, settings, random);
    }
    return uncharged(what, settings, random);
}
