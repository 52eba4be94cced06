/*
 * What a job may be: kinds, states, and the fields of each kind's spec with type, bounds and
 * default. One table each; scheduler, worker and CLI all read these.
 *
 * Pure: no loop, no server, no clock.
 */
#ifndef COMMON_JOB_JOB_H
#define COMMON_JOB_JOB_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- states: the names are those in SQL ------------------------------------------------------ */

enum job_state {
    JOB_WAITING = 1, /* for jobs named in "after", or for its time */
    JOB_QUEUED,      /* may run as soon as a slot is free */
    JOB_DISPATCHED,  /* offered to a region's workers */
    JOB_RUNNING,     /* a runner has it; a parent: its children run */
    JOB_SUCCEEDED,
    JOB_FAILED,
    JOB_CANCELLED,
    JOB_REJECTED, /* the submission was not valid */
    JOB_SKIPPED,  /* a job it needs did not succeed */
    JOB_STATE_COUNT
};

enum job_attempt_state {
    JOB_ATTEMPT_DISPATCHED = 1,
    JOB_ATTEMPT_RUNNING,
    JOB_ATTEMPT_SUCCEEDED,
    JOB_ATTEMPT_FAILED,
    JOB_ATTEMPT_CRASHED,
    JOB_ATTEMPT_LOST, /* its lease ran out */
    JOB_ATTEMPT_RETURNED,
    JOB_ATTEMPT_CANCELLED,
    JOB_ATTEMPT_UNDELIVERED,
    JOB_ATTEMPT_STATE_COUNT
};

/* "waiting"...; "unknown" outside the list. Static storage. */
const char *job_state_name(enum job_state state);
/* The state of that name, or 0. */
enum job_state job_state_from_name(const char *name);
/* It will not change again. */
bool job_state_is_final(enum job_state state);
const char *job_attempt_state_name(enum job_attempt_state state);
enum job_attempt_state job_attempt_state_from_name(const char *name);

/* --- names: the rules are those in SQL ------------------------------------------------------- */

bool job_market_is_valid(const char *code);   /* [A-Za-z0-9][A-Za-z0-9-]{0,31} */
bool job_task_is_valid(const char *name);     /* [a-z0-9][a-z0-9_-]{0,63} */
bool job_region_is_valid(const char *name);   /* [a-z0-9][a-z0-9-]{0,31} */
bool job_schedule_is_valid(const char *name); /* [A-Za-z0-9][A-Za-z0-9_.-]{0,63} */

/* What a job may use when its spec says nothing, MiB. */
enum { JOB_MEMORY_MB = 2048 };

/* Sixteen labels KEY=VALUE of at most 32 and 64 bytes, with commas between them. */
enum { JOB_LABELS_SIZE = 16 * (32 + 1 + 64) + 16 };
/* "disk=ssd,gpu=a100" in any order into the same sorted by key; "" stays "". ERR_INVALID names the
 * label that is wrong, or there twice. */
MUST_CHECK int job_labels_sort(const char *text, char out[JOB_LABELS_SIZE], struct err_buf *e);

/* --- kinds ----------------------------------------------------------------------------------- */

enum job_kind {
    JOB_NOOP = 1,
    JOB_FINETUNE,
    JOB_EVALUATE,
    JOB_NIGHTLY,
    /* known, not in this release */
    JOB_SCORE,
    JOB_COMPRESS,
    JOB_BLEND,
    JOB_AVERAGE,
    JOB_KIND_COUNT
};

const char *job_kind_name(enum job_kind kind);
/* The kind of that name, or 0. */
enum job_kind job_kind_from_name(const char *name);
bool job_kind_is_supported(enum job_kind kind);
/* Runs nowhere itself; is expanded into children. */
bool job_kind_is_parent(enum job_kind kind);
/* One line for help. */
const char *job_kind_help(enum job_kind kind);

/* --- spec fields ----------------------------------------------------------------------------- */

enum job_field_type {
    JOB_FIELD_INTEGER = 1, /* min..max */
    JOB_FIELD_REAL,        /* min..max */
    JOB_FIELD_BOOL,
    JOB_FIELD_CHOICE,  /* one of choices, separated by '|' */
    JOB_FIELD_TEXT,    /* at most max bytes */
    JOB_FIELD_MARKETS, /* list of market codes, each once, at most max */
    JOB_FIELD_JOB,     /* a job's id */
    JOB_FIELD_BASE,    /* auto|none|global|champion|version:ID */
    JOB_FIELD_REGION,  /* a region's name */
    JOB_FIELD_TIME,    /* UTC: 2026-01-31T00:00:00Z */
    JOB_FIELD_LABELS,  /* key=value,key=value */
    JOB_FIELD_TYPE_COUNT
};

struct job_field {
    const char *name;
    enum job_field_type type;
    double min, max;
    const char *choices; /* CHOICE only */
    /* Default as text ("0.5", "true", "auto"); NULL = absent unless given. Those of the model's own
     * parameters are NULL: their measured defaults are the model's business (job_spec_has first).
     */
    const char *fallback;
    const char *help;
};

/* The fields of a kind, the common ones (memory_mb, time_limit_s, threads, max_attempts) included,
 * sorted by name. Static storage. */
const struct job_field *job_fields(enum job_kind kind, size_t *ret_count);
/* The field of that name, or NULL. */
const struct job_field *job_field(enum job_kind kind, const char *name);

/* --- specs ----------------------------------------------------------------------------------- */

/* A spec that was checked and completed with the defaults. Immutable. */
struct job_spec;

/*
 * Parses and checks a spec (JSON map; empty = {}). ERR_INVALID or ERR_PARSE with one line that
 * names the field: "spec.epochs: 0 is below 1", "spec.epoch: no such field for finetune, did you
 * mean epochs?"; ERR_UNSUPPORTED for kinds not in this release. *ret: free with job_spec_free.
 */
MUST_CHECK int job_spec_parse(enum job_kind kind, struct span json, struct job_spec **ret,
                              struct err_buf *e);
void job_spec_free(struct job_spec *spec);
enum job_kind job_spec_kind(const struct job_spec *spec);

/* A value; asking for a field that the kind does not have, or by the wrong type, is our bug and
 * aborts. Given, or with a default: */
bool job_spec_has(const struct job_spec *spec, const char *name);
/* Written in the JSON that was parsed. */
bool job_spec_is_given(const struct job_spec *spec, const char *name);
/* 0, false, "" when absent. */
int64_t job_spec_integer(const struct job_spec *spec, const char *name);
double job_spec_real(const struct job_spec *spec, const char *name);
bool job_spec_bool(const struct job_spec *spec, const char *name);
/* CHOICE, TEXT, JOB, BASE, REGION, TIME and LABELS. Borrowed. */
const char *job_spec_text(const struct job_spec *spec, const char *name);
/* MARKETS. */
size_t job_spec_market_count(const struct job_spec *spec);
const char *job_spec_market(const struct job_spec *spec, size_t index);

/* Adds the complete spec as compact JSON, keys sorted: what goes into the record. */
MUST_CHECK int job_spec_write(const struct job_spec *spec, struct buf *out);
/* The same with only the fields that kind has, without the given ones named in skip (NULL-ended):
 * how a nightly makes the specs of its children. Defaults that were not given are left out. */
MUST_CHECK int job_spec_write_for(const struct job_spec *spec, enum job_kind kind,
                                  const char *const *skip, struct buf *out);

/*
 * What belongs together: does a job of this kind with this market and task ("" = none) and spec
 * make sense? ERR_INVALID: "market: finetune needs a market, or spec.markets", ...
 */
MUST_CHECK int job_check(const struct job_spec *spec, const char *market, const char *task,
                         struct err_buf *e);

/*
 * Puts "key=value" (for --set) into the JSON map in spec, typed by the table: numbers and booleans
 * bare, lists by commas ("markets=de-DE,fr-FR"). spec may be empty and holds compact JSON
 * afterwards; unchanged on failure. Values are checked as job_spec_parse does.
 */
MUST_CHECK int job_spec_set(enum job_kind kind, const char *assignment, struct buf *spec,
                            struct err_buf *e);

#endif
