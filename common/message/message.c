/*
 * Messages by tables: one row a member serves encoding and decoding, so the two cannot drift.
 */
#include "common/message/message_int.h"

#include "common/json/json.h"
#include "common/wire/wire.h"

#include <string.h>

#define LAYOUT(table) MESSAGE__LAYOUT(table)

static const char *const policies[] = {"", "reject", "keep", "replace", NULL};
static const char *const outcomes[] = {"",         "succeeded", "failed", "crashed",
                                       "returned", "cancelled", NULL};
static const char *const report_types[] = {"", "hello", "beat", "bye", "result", NULL};
static const char *const pipe_types[] = {"",      "job",      "cancel", "exit",   "save",
                                         "ready", "progress", "log",    "result", NULL};

/* --- the tables ------------------------------------------------------------------------------ */

/* One row a member. */
/* clang-format off */
#define ROW_AT(base, sub, key, kind_of, field, ...)                                                \
    {                                                                                              \
        .name = (key), .type = MEMBER_##kind_of, .offset = (base) + offsetof(struct sub, field),   \
        __VA_ARGS__                                                                                \
    }
#define ROW(sub, key, kind_of, field, ...) ROW_AT((size_t)0, sub, key, kind_of, field, __VA_ARGS__)
#define UP_TO(most) .max = (most)
#define FROM(least, most) .min = (least), .max = (most)
#define REQUIRED .is_required = true
#define HAS(sub, field) .omit = OMIT_UNLESS_HAS, .has_offset = offsetof(struct sub, field)

#define SUBMISSION(key, kind_of, field, ...)                                                       \
    ROW(message_submission, key, kind_of, field, __VA_ARGS__)
#define SUBMISSION_ROWS                                                                            \
    SUBMISSION("kind", NAME, kind, REQUIRED, FROM(1, MESSAGE_KIND_MAX)),                           \
        SUBMISSION("market", NAME, market, UP_TO(MESSAGE_MARKET_MAX)),                             \
        SUBMISSION("task", NAME, task, UP_TO(MESSAGE_TASK_MAX)),                                   \
        SUBMISSION("spec", SPAN, spec, UP_TO(MESSAGE_SPEC_MAX)),                                   \
        SUBMISSION("priority", INT32, priority, FROM(-1000, 1000),                                 \
                   HAS(message_submission, has_priority)),                                         \
        SUBMISSION("after", IDS, after, UP_TO(MESSAGE_AFTER_MAX),                                  \
                   .has_offset = offsetof(struct message_submission, after_count)),                \
        SUBMISSION("after_if", NAME, after_if, UP_TO(MESSAGE_AFTER_MAX)),                          \
        SUBMISSION("after_quorum", INT32, after_quorum, FROM(1, MESSAGE_AFTER_MAX),                \
                   .omit = OMIT_ZERO),                                                             \
        SUBMISSION("not_before_ms", INT64, not_before_ms, UP_TO(MESSAGE_TIME_MAX),                 \
                   HAS(message_submission, has_not_before)),                                       \
        SUBMISSION("unique", NAME, unique, UP_TO(MESSAGE_UNIQUE_MAX)),                             \
        SUBMISSION("unique_policy", CHOICE, unique_policy, .choices = policies),                   \
        SUBMISSION("max_attempts", INT32, max_attempts, FROM(1, 100), .omit = OMIT_ZERO)

static const struct message__member item_members[] = {
    SUBMISSION("id", ID, id, .is_required = false),
    SUBMISSION_ROWS,
};

static const struct message__member submission_members[] = {
    SUBMISSION("id", ID, id, REQUIRED),
    SUBMISSION_ROWS,
    SUBMISSION("by", NAME, by, REQUIRED, FROM(1, MESSAGE_USER_MAX)),
    SUBMISSION("reply", NAME, reply, UP_TO(MESSAGE_TOKEN_MAX)),
};

static const struct message__member reply_members[] = {
    ROW(message_reply, "id", ID, id, REQUIRED),
    ROW(message_reply, "job", ID, job, .is_required = false),
    ROW(message_reply, "state", NAME, state, REQUIRED, FROM(1, MESSAGE_STATE_MAX)),
    ROW(message_reply, "reason", SPAN, reason, UP_TO(MESSAGE_ERROR_MAX)),
};

#define READY(base, key, kind_of, field, ...)                                                      \
    ROW_AT(base, message_ready, key, kind_of, field, __VA_ARGS__)
#define READY_ROWS(base)                                                                           \
    READY(base, "job", ID, job, REQUIRED),                                                         \
        READY(base, "attempt", INT32, attempt, REQUIRED, FROM(1, INT32_MAX)),                      \
        READY(base, "kind", NAME, kind, REQUIRED, FROM(1, MESSAGE_KIND_MAX)),                      \
        READY(base, "market", NAME, market, UP_TO(MESSAGE_MARKET_MAX)),                            \
        READY(base, "task", NAME, task, UP_TO(MESSAGE_TASK_MAX)),                                  \
        READY(base, "region", NAME, region, REQUIRED, FROM(1, MESSAGE_REGION_MAX)),                \
        READY(base, "spec", SPAN, spec, UP_TO(MESSAGE_SPEC_MAX)),                                  \
        READY(base, "memory_mb", INT32, memory_mb, REQUIRED, FROM(1, 1048576)),                    \
        READY(base, "time_limit_s", INT32, time_limit_s, REQUIRED, FROM(1, 2592000)),              \
        READY(base, "threads", INT32, threads, REQUIRED, FROM(1, 256)),                            \
        READY(base, "night", NAME, night, UP_TO(MESSAGE_NIGHT_MAX)),                               \
        READY(base, "incarnation", ID, incarnation, .is_required = false),                         \
        READY(base, "worker_mono_ms", INT64, worker_mono_ms, UP_TO(INT64_MAX), .omit = OMIT_ZERO)

static const struct message__member ready_members[] = {READY_ROWS((size_t)0)};

#define REPORT(key, kind_of, field, ...) ROW(message_report, key, kind_of, field, __VA_ARGS__)
#define SENDER_ROWS                                                                                \
    REPORT("worker", NAME, worker, REQUIRED, FROM(1, MESSAGE_WORKER_MAX)),                         \
        REPORT("incarnation", ID, incarnation, REQUIRED)

static const struct message__member presence_members[] = {
    SENDER_ROWS,
    REPORT("region", NAME, region, REQUIRED, FROM(1, MESSAGE_REGION_MAX)),
    REPORT("slots", INT32, slots, REQUIRED, UP_TO(1024)),
    REPORT("free", INT32, free, REQUIRED, UP_TO(1024)),
};

/* What a runner says of its end; the supervisor adds the rest. */
#define RESULT(base, key, kind_of, field, ...)                                                     \
    ROW_AT(base, message_result, key, kind_of, field, __VA_ARGS__)
#define RESULT_ROWS(base)                                                                          \
    RESULT(base, "outcome", CHOICE, outcome, REQUIRED, .choices = outcomes),                       \
        RESULT(base, "error_code", NAME, error_code, UP_TO(MESSAGE_CODE_MAX)),                     \
        RESULT(base, "error_text", SPAN, error_text, UP_TO(MESSAGE_ERROR_MAX)),                    \
        RESULT(base, "result", SPAN, result, UP_TO(MESSAGE_RESULT_MAX))

static const struct message__member result_members[] = {
    SENDER_ROWS,
    REPORT("job", ID, result.job, REQUIRED),
    REPORT("attempt", INT32, result.attempt, REQUIRED, FROM(1, INT32_MAX)),
    RESULT_ROWS(offsetof(struct message_report, result)),
    REPORT("exit_code", INT32, result.exit_code, UP_TO(255),
           HAS(message_report, result.has_exit_code)),
    REPORT("signal", INT32, result.signal, FROM(1, 64), .omit = OMIT_ZERO),
    REPORT("peak_rss_kb", INT64, result.peak_rss_kb, UP_TO(INT64_MAX)),
    REPORT("log_tail", SPAN, result.log_tail, UP_TO(MESSAGE_TAIL_MAX)),
    REPORT("run_ms", INT64, result.run_ms, UP_TO(INT64_MAX), .omit = OMIT_MINUS_ONE),
};

#define PROGRESS(base, key, kind_of, field, ...)                                                   \
    ROW_AT(base, message_progress, key, kind_of, field, __VA_ARGS__)
#define PROGRESS_ROWS(base)                                                                        \
    PROGRESS(base, "job", ID, job, .is_required = false),                                          \
        PROGRESS(base, "attempt", INT32, attempt, FROM(1, INT32_MAX), .omit = OMIT_ZERO),          \
        PROGRESS(base, "worker", NAME, worker, UP_TO(MESSAGE_WORKER_MAX)),                         \
        PROGRESS(base, "market", NAME, market, UP_TO(MESSAGE_MARKET_MAX)),                         \
        PROGRESS(base, "task", NAME, task, UP_TO(MESSAGE_TASK_MAX)),                               \
        PROGRESS(base, "kind", NAME, kind, UP_TO(MESSAGE_KIND_MAX)),                               \
        PROGRESS(base, "phase", NAME, phase, UP_TO(MESSAGE_PHASE_MAX)),                            \
        PROGRESS(base, "epoch", INT64, epoch, UP_TO(INT64_MAX)),                                   \
        PROGRESS(base, "epochs", INT64, epochs, UP_TO(INT64_MAX)),                                 \
        PROGRESS(base, "step", INT64, step, UP_TO(INT64_MAX)),                                     \
        PROGRESS(base, "steps", INT64, steps, UP_TO(INT64_MAX)),                                   \
        PROGRESS(base, "resumed_step", INT64, resumed_step, UP_TO(INT64_MAX), .omit = OMIT_ZERO),  \
        PROGRESS(base, "loss", REAL, loss, .is_required = false),                                  \
        PROGRESS(base, "examples_per_s", REAL, examples_per_s, .is_required = false),              \
        PROGRESS(base, "eta_ms", INT64, eta_ms, UP_TO(INT64_MAX), .omit = OMIT_MINUS_ONE),         \
        PROGRESS(base, "done", REAL, done, .is_required = false),                                  \
        PROGRESS(base, "quiet_ms", INT64, quiet_ms, UP_TO(INT64_MAX), .omit = OMIT_ZERO)

static const struct message__member progress_members[] = {PROGRESS_ROWS((size_t)0)};

static const struct message__member pipe_job_members[] = {
    READY_ROWS(offsetof(struct message_pipe, job)),
};

static const struct message__member pipe_progress_members[] = {
    PROGRESS_ROWS(offsetof(struct message_pipe, progress)),
};

static const struct message__member pipe_log_members[] = {
    ROW(message_pipe, "line", SPAN, line, REQUIRED, UP_TO(MESSAGE_LINE_MAX)),
};

static const struct message__member pipe_result_members[] = {
    RESULT_ROWS(offsetof(struct message_pipe, result)),
    ROW(message_pipe, "peak_rss_kb", INT64, result.peak_rss_kb, UP_TO(INT64_MAX), .omit = OMIT_ZERO),
};
/* clang-format on */

static struct message__layout report_layout(enum message_report_type type)
{
    return type == MESSAGE_RESULT ? LAYOUT(result_members) : LAYOUT(presence_members);
}

static struct message__layout pipe_layout(enum message_pipe_type type)
{
    switch (type) {
    case MESSAGE_PIPE_JOB:
        return LAYOUT(pipe_job_members);
    case MESSAGE_PIPE_PROGRESS:
        return LAYOUT(pipe_progress_members);
    case MESSAGE_PIPE_LOG:
        return LAYOUT(pipe_log_members);
    case MESSAGE_PIPE_RESULT:
        return LAYOUT(pipe_result_members);
    default:
        return (struct message__layout){NULL, 0};
    }
}

/* --- the messages ---------------------------------------------------------------------------- */

const char *message_outcome_name(enum message_outcome outcome)
{
    return (unsigned)outcome < MESSAGE_OUTCOME_COUNT ? outcomes[outcome] : "";
}

const char *message_policy_name(enum message_policy policy)
{
    return (unsigned)policy < MESSAGE_POLICY_COUNT ? policies[policy] : "";
}

enum message_policy message_policy_from_name(const char *name)
{
    int i = MESSAGE_POLICY_REJECT;
    while (i < MESSAGE_POLICY_COUNT && strcmp(name, policies[i]) != 0) {
        i++;
    }
    return i < MESSAGE_POLICY_COUNT ? (enum message_policy)i : (enum message_policy)0;
}

struct message__layout message__item_layout(void)
{
    return LAYOUT(item_members);
}

/* What of a submission that cannot be taken is needed to say so to its sender. */
static void salvage(struct span bytes, struct message_submission *ret)
{
    char id[UUID_SIZE] = "";
    char reply[MESSAGE_TOKEN_MAX + 1] = "";
    const struct wire_field id_field = {
        .name = "id", .type = WIRE_NAME, .max = UUID_SIZE - 1, .ret = id};
    const struct wire_field reply_field = {
        .name = "reply", .type = WIRE_NAME, .max = MESSAGE_TOKEN_MAX, .ret = reply};
    memset(ret, 0, sizeof *ret);
    if (wire_read(bytes, &id_field, 1, NULL) == 0 && uuid_is_valid(id, strlen(id))) {
        memcpy(ret->id.text, id, sizeof id);
    }
    if (wire_read(bytes, &reply_field, 1, NULL) == 0) {
        memcpy(ret->reply, reply, sizeof reply);
    }
}

int message__check_submission(const struct message_submission *m, struct err_buf *e)
{
    size_t letters = strlen(m->after_if);
    if (letters > 0 && (letters != m->after_count || strspn(m->after_if, "ona") != letters)) {
        return err_set(e, ERR_PARSE,
                       "field \"after_if\": not a letter (o, n, a) for each of after");
    }
    if (m->after_quorum > (int32_t)m->after_count) {
        return err_set(e, ERR_PARSE, "field \"after_quorum\": %d of %zu jobs cannot be met",
                       m->after_quorum, m->after_count);
    }
    return 0;
}

int message_decode_submission(struct span bytes, struct message_submission *ret, struct err_buf *e)
{
    memset(ret, 0, sizeof *ret);
    int rc = message__decode(bytes, LAYOUT(submission_members), ret, e);
    rc = rc ? rc : message__check_submission(ret, e);
    if (rc) {
        salvage(bytes, ret);
    }
    return rc;
}

struct uuid message_submission_id(struct span beginning)
{
    static const char key[] = "\xa2id\xd9\x24"; /* the key, and a text of 36 bytes */
    enum { KEY = sizeof key - 1, LOOK = 256 };  /* writers put it first */
    struct uuid id = {.text = ""};
    for (size_t at = 0; at < LOOK && at + KEY + UUID_SIZE - 1 <= beginning.length; at++) {
        const char *text = beginning.data + at + KEY;
        if (memcmp(beginning.data + at, key, KEY) == 0 && uuid_is_valid(text, UUID_SIZE - 1)) {
            memcpy(id.text, text, UUID_SIZE - 1);
            id.text[UUID_SIZE - 1] = '\0';
            return id;
        }
    }
    return id;
}

/* A reader of version 1 would run a job too early, or twice, that says more than it knows. */
static int submission_version(const struct message_submission *m)
{
    bool has_policy = m->unique_policy > MESSAGE_POLICY_REJECT;
    return m->after_if[0] || m->after_quorum || has_policy ? 2 : MESSAGE__VERSION_FIRST;
}

int message_encode_submission(const struct message_submission *m, struct buf *out,
                              struct err_buf *e)
{
    int rc = message__check_submission(m, e);
    return rc ? ERR_INVALID
              : message__encode(LAYOUT(submission_members), m, NULL, NULL, submission_version(m),
                                out, e);
}

int message_decode_reply(struct span bytes, struct message_reply *ret, struct err_buf *e)
{
    memset(ret, 0, sizeof *ret);
    return message__decode(bytes, LAYOUT(reply_members), ret, e);
}

int message_encode_reply(const struct message_reply *m, struct buf *out, struct err_buf *e)
{
    return message__encode(LAYOUT(reply_members), m, NULL, NULL, MESSAGE__VERSION_FIRST, out, e);
}

/* What of an offer of a newer version is needed to hand it back. */
static void salvage_ready(struct span bytes, struct message_ready *ret)
{
    char id[UUID_SIZE] = "";
    int64_t attempt = 0;
    const struct wire_field fields[] = {
        {.name = "job", .type = WIRE_NAME, .max = UUID_SIZE - 1, .ret = id},
        {.name = "attempt", .type = WIRE_INTEGER, .min = 1, .max = INT32_MAX, .ret = &attempt},
    };
    if (wire_read(bytes, fields, 2, NULL) == 0 && uuid_is_valid(id, strlen(id))) {
        memcpy(ret->job.text, id, sizeof id);
        ret->attempt = (int32_t)attempt;
    }
}

int message_decode_ready(struct span bytes, struct message_ready *ret, struct err_buf *e)
{
    memset(ret, 0, sizeof *ret);
    int rc = message__decode(bytes, LAYOUT(ready_members), ret, e);
    if (rc == ERR_UNSUPPORTED) {
        salvage_ready(bytes, ret);
    }
    return rc;
}

int message_encode_ready(const struct message_ready *m, struct buf *out, struct err_buf *e)
{
    return message__encode(LAYOUT(ready_members), m, NULL, NULL, MESSAGE__VERSION_FIRST, out, e);
}

int message_decode_report(struct span bytes, struct message_report *ret, struct err_buf *e)
{
    int type = 0;
    memset(ret, 0, sizeof *ret);
    int rc = message__check_version(bytes, e);
    rc = rc ? rc : message__decode_type(bytes, "type", report_types, &type, e);
    if (rc == 0) {
        ret->type = (enum message_report_type)type;
        rc = message__decode_members(bytes, report_layout(ret->type), ret, e);
    }
    return rc;
}

int message_encode_report(const struct message_report *m, struct buf *out, struct err_buf *e)
{
    if (m->type < MESSAGE_HELLO || m->type >= MESSAGE_REPORT_COUNT) {
        return err_set(e, ERR_INVALID, "field \"type\": not a valid value");
    }
    return message__encode(report_layout(m->type), m, "type", report_types[m->type],
                           MESSAGE__VERSION_FIRST, out, e);
}

int message_decode_progress(struct span bytes, struct message_progress *ret, struct err_buf *e)
{
    memset(ret, 0, sizeof *ret);
    int rc = message__decode(bytes, LAYOUT(progress_members), ret, e);
    if (rc == 0 && ret->job.text[0] == '\0') {
        rc = err_set(e, ERR_PARSE, "field \"job\": missing");
    }
    return rc;
}

int message_encode_progress(const struct message_progress *m, struct buf *out, struct err_buf *e)
{
    return message__encode(LAYOUT(progress_members), m, NULL, NULL, MESSAGE__VERSION_FIRST, out, e);
}

int message_progress_json(const struct message_progress *m, struct buf *out)
{
    size_t before = out->length;
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_map(&w, NULL);
    for (size_t i = 0; i < sizeof progress_members / sizeof *progress_members; i++) {
        const struct message__member *row = &progress_members[i];
        const char *p = (const char *)m + row->offset;
        if (message__is_absent(row, (const char *)m)) {
            continue;
        }
        if (row->type == MEMBER_REAL) {
            json_write_real(&w, row->name, *(const double *)(const void *)p);
        } else if (row->type == MEMBER_NAME || row->type == MEMBER_ID) {
            json_write_text(&w, row->name, span_of(p));
        } else {
            json_write_integer(&w, row->name, message__integer_at(row, p));
        }
    }
    json_write_end(&w);
    int rc = json_writer_finish(&w);
    if (rc) {
        buf_truncate(out, before);
    }
    return rc;
}

/* --- the pipe -------------------------------------------------------------------------------- */

int message_encode_frame(const struct message_pipe *m, struct buf *out, struct err_buf *e)
{
    if (m->type < MESSAGE_PIPE_JOB || m->type >= MESSAGE_PIPE_COUNT) {
        return err_set(e, ERR_INVALID, "field \"t\": not a valid value");
    }
    size_t before = out->length;
    int rc = buf_add(out, "\0\0\0\0", 4);
    if (rc) {
        return err_set(e, rc, "cannot encode a frame: %s", err_text(rc));
    }
    rc = message__encode(pipe_layout(m->type), m, "t", pipe_types[m->type], 0, out, e);
    size_t length = out->length - before - 4;
    if (rc == 0 && length > MESSAGE_FRAME_MAX) {
        rc = err_set(e, ERR_LIMIT, "a frame of %zu bytes, the limit is %d", length,
                     MESSAGE_FRAME_MAX);
    }
    if (rc) {
        buf_truncate(out, before);
        return rc;
    }
    for (size_t i = 0; i < 4; i++) {
        out->data[before + i] = (char)(length >> (8 * i) & 0xff);
    }
    return 0;
}

int message_decode_frame(struct span bytes, struct message_pipe *ret, struct err_buf *e)
{
    int type = 0;
    memset(ret, 0, sizeof *ret);
    int rc = message__decode_type(bytes, "t", pipe_types, &type, e);
    if (rc == 0) {
        ret->type = (enum message_pipe_type)type;
        rc = message__decode_members(bytes, pipe_layout(ret->type), ret, e);
    }
    return rc;
}
