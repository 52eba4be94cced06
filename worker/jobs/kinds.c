/* The table of kinds. A new kind is one file in this folder and one row here. */
#include "worker/jobs/run.h"

static const run_kind_fn kinds[JOB_KIND_COUNT] = {
    [JOB_EVALUATE] = kind_evaluate,
    [JOB_FINETUNE] = kind_finetune,
    [JOB_NOOP] = kind_noop,
};

run_kind_fn run_kind_find(enum job_kind kind)
{
    return kind > 0 && kind < JOB_KIND_COUNT ? kinds[kind] : NULL;
}
