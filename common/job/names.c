/* States, kinds, and what names may look like: the tables that mirror the SQL. */
#include "common/job/job.h"

#include <string.h>

static const char *const states[JOB_STATE_COUNT] = {
    [JOB_WAITING] = "waiting",     [JOB_QUEUED] = "queued",       [JOB_DISPATCHED] = "dispatched",
    [JOB_RUNNING] = "running",     [JOB_SUCCEEDED] = "succeeded", [JOB_FAILED] = "failed",
    [JOB_CANCELLED] = "cancelled", [JOB_REJECTED] = "rejected",   [JOB_SKIPPED] = "skipped",
};

static const char *const attempt_states[JOB_ATTEMPT_STATE_COUNT] = {
    [JOB_ATTEMPT_DISPATCHED] = "dispatched",   [JOB_ATTEMPT_RUNNING] = "running",
    [JOB_ATTEMPT_SUCCEEDED] = "succeeded",     [JOB_ATTEMPT_FAILED] = "failed",
    [JOB_ATTEMPT_CRASHED] = "crashed",         [JOB_ATTEMPT_LOST] = "lost",
    [JOB_ATTEMPT_RETURNED] = "returned",       [JOB_ATTEMPT_CANCELLED] = "cancelled",
    [JOB_ATTEMPT_UNDELIVERED] = "undelivered",
};

static const struct {
    const char *name;
    bool is_supported, is_parent;
    const char *help;
} kinds[JOB_KIND_COUNT] = {
    [JOB_NOOP] = {"noop", true, false, "does nothing, for a while, or fails as asked: for tests"},
    [JOB_FINETUNE] = {"finetune", true, false, "trains a version for a market, or a global base"},
    [JOB_EVALUATE] = {"evaluate", true, false, "measures a version; promotes it when asked to"},
    [JOB_NIGHTLY] = {"nightly", true, true, "fine-tune, evaluate, promote, for each market"},
    [JOB_SCORE] = {"score", false, false, "predicts a file of texts"},
    [JOB_COMPRESS] = {"compress", false, false, "makes a version smaller"},
    [JOB_BLEND] = {"blend", false, false, "mixes the models of several markets"},
    [JOB_AVERAGE] = {"average", false, false, "averages fine-tunes of several workers"},
};

static int find(const char *const *names, int count, const char *name)
{
    for (int i = 1; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    return 0;
}

const char *job_state_name(enum job_state state)
{
    return state >= 1 && state < JOB_STATE_COUNT ? states[state] : "unknown";
}

enum job_state job_state_from_name(const char *name)
{
    return (enum job_state)find(states, JOB_STATE_COUNT, name);
}

bool job_state_is_final(enum job_state state)
{
    return state >= JOB_SUCCEEDED && state < JOB_STATE_COUNT;
}

const char *job_attempt_state_name(enum job_attempt_state state)
{
    return state >= 1 && state < JOB_ATTEMPT_STATE_COUNT ? attempt_states[state] : "unknown";
}

enum job_attempt_state job_attempt_state_from_name(const char *name)
{
    return (enum job_attempt_state)find(attempt_states, JOB_ATTEMPT_STATE_COUNT, name);
}

const char *job_kind_name(enum job_kind kind)
{
    return kind >= 1 && kind < JOB_KIND_COUNT ? kinds[kind].name : "unknown";
}

enum job_kind job_kind_from_name(const char *name)
{
    for (int i = 1; i < JOB_KIND_COUNT; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return (enum job_kind)i;
        }
    }
    return (enum job_kind)0;
}

bool job_kind_is_supported(enum job_kind kind)
{
    return kind >= 1 && kind < JOB_KIND_COUNT && kinds[kind].is_supported;
}

bool job_kind_is_parent(enum job_kind kind)
{
    return kind >= 1 && kind < JOB_KIND_COUNT && kinds[kind].is_parent;
}

const char *job_kind_help(enum job_kind kind)
{
    return kind >= 1 && kind < JOB_KIND_COUNT ? kinds[kind].help : "";
}

/* --- names ----------------------------------------------------------------------------------- */

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool matches(const char *name, const char *first, const char *rest, size_t length_max)
{
    size_t length = strlen(name);
    return length >= 1 && length <= length_max && strchr(first, name[0]) &&
           strspn(name, rest) == length;
}

bool job_market_is_valid(const char *code)
{
    return matches(code, LOWER UPPER DIGITS, LOWER UPPER DIGITS "-", 32);
}

bool job_task_is_valid(const char *name)
{
    return matches(name, LOWER DIGITS, LOWER DIGITS "_-", 64);
}

bool job_region_is_valid(const char *name)
{
    return matches(name, LOWER DIGITS, LOWER DIGITS "-", 32);
}

bool job_schedule_is_valid(const char *name)
{
    return matches(name, LOWER UPPER DIGITS, LOWER UPPER DIGITS "_.-", 64);
}
