/* Bulks: many submissions as one message, and their reply. */
#include "common/message/message_int.h"

#include "common/wire/wire.h"

#include <stdio.h>
#include <string.h>

enum { SUFFIX_AT = 24, SUFFIX_DIGITS = 12 }; /* the last group of an id */

/* clang-format off */
#define ROW(sub, key, kind_of, field, ...)                                                         \
    {                                                                                              \
        .name = (key), .type = MEMBER_##kind_of, .offset = offsetof(struct sub, field),            \
        __VA_ARGS__                                                                                \
    }
#define BULK(key, kind_of, field, ...) ROW(message_bulk, key, kind_of, field, __VA_ARGS__)

static const struct message__member bulk_members[] = {
    BULK("id", ID, id, .is_required = true),
    BULK("by", NAME, by, .is_required = true, .min = 1, .max = MESSAGE_USER_MAX),
    BULK("reply", NAME, reply, .max = MESSAGE_TOKEN_MAX),
    BULK("repeat", INT32, repeat, .min = 1, .max = MESSAGE_BULK_JOBS_MAX, .omit = OMIT_ZERO),
    BULK("jobs", LIST, jobs, .is_required = true, .min = 1, .max = MESSAGE_BULK_JOBS_MAX),
};

static const struct message__member bulk_reply_members[] = {
    ROW(message_bulk_reply, "id", ID, id, .is_required = true),
    ROW(message_bulk_reply, "state", NAME, state, .is_required = true, .min = 1,
        .max = MESSAGE_STATE_MAX),
    ROW(message_bulk_reply, "reason", SPAN, reason, .max = MESSAGE_ERROR_MAX),
    ROW(message_bulk_reply, "others", LIST, others, .max = MESSAGE_BULK_JOBS_MAX),
};

static const struct message__member outcome_members[] = {
    ROW(message_outcome_at, "place", INT32, place, .is_required = true, .min = 0,
        .max = MESSAGE_BULK_JOBS_MAX - 1),
    ROW(message_outcome_at, "job", ID, job, .is_required = false),
    ROW(message_outcome_at, "state", NAME, state, .is_required = true, .min = 1,
        .max = MESSAGE_STATE_MAX),
    ROW(message_outcome_at, "reason", SPAN, reason, .max = MESSAGE_ERROR_MAX),
};
/* clang-format on */

/* --- bulks ------------------------------------------------------------------------------------ */

static int check_bulk(const struct message_bulk *m, struct err_buf *e)
{
    size_t written = m->jobs.bytes.length * (size_t)(m->repeat ? m->repeat : 1);
    if (m->repeat && m->jobs.count != 1) {
        return err_set(e, ERR_PARSE, "field \"repeat\": of %zu jobs, where it goes with one",
                       m->jobs.count);
    }
    if (written > MESSAGE_BULK_MAX) {
        return err_set(e, ERR_PARSE, "field \"jobs\": %zu bytes written out, the limit is %d",
                       written, MESSAGE_BULK_MAX);
    }
    return 0;
}

int message_bulk_add(const struct message_submission *m, struct buf *jobs, struct err_buf *e)
{
    int rc = message__check_submission(m, e);
    return rc ? ERR_INVALID : message__encode(message__item_layout(), m, NULL, NULL, 0, jobs, e);
}

int message_encode_bulk(const struct message_bulk *m, struct buf *out, struct err_buf *e)
{
    int rc = check_bulk(m, e);
    return rc ? ERR_INVALID
              : message__encode(MESSAGE__LAYOUT(bulk_members), m, NULL, NULL, MESSAGE__VERSION_BULK,
                                out, e);
}

/* Readers of older versions skip "jobs" as unknown, so in their messages it is no bulk. */
static int find_bulk(struct span bytes, struct err_buf *e)
{
    int64_t version = 0;
    struct wire_array jobs;
    bool has_jobs = false;
    const struct wire_field fields[] = {
        {.name = "v", .type = WIRE_INTEGER, .min = 1, .max = INT32_MAX, .ret = &version},
        {.name = "jobs", .type = WIRE_ARRAY, .max = INT32_MAX, .ret = &jobs, .ret_has = &has_jobs},
    };
    int rc = wire_read(bytes, fields, 2, e);
    return rc ? rc : has_jobs && version >= MESSAGE__VERSION_BULK ? 0 : ERR_NOTFOUND;
}

static void salvage(struct span bytes, struct message_bulk *ret)
{
    char id[UUID_SIZE] = "";
    char reply[MESSAGE_TOKEN_MAX + 1] = "";
    const struct wire_field fields[] = {
        {.name = "id", .type = WIRE_NAME, .max = UUID_SIZE - 1, .ret = id},
        {.name = "reply", .type = WIRE_NAME, .max = MESSAGE_TOKEN_MAX, .ret = reply},
    };
    memset(ret, 0, sizeof *ret);
    for (size_t i = 0; i < 2; i++) {
        if (wire_read(bytes, &fields[i], 1, NULL)) {
            *(char *)fields[i].ret = '\0';
        }
    }
    if (uuid_is_valid(id, strlen(id))) {
        memcpy(ret->id.text, id, sizeof id);
    }
    memcpy(ret->reply, reply, sizeof reply);
}

int message_decode_bulk(struct span bytes, struct message_bulk *ret, struct err_buf *e)
{
    int rc = find_bulk(bytes, e);
    if (rc) {
        return rc == ERR_NOTFOUND ? rc : err_set(e, ERR_NOTFOUND, "not a bulk");
    }
    memset(ret, 0, sizeof *ret);
    rc = message__decode(bytes, MESSAGE__LAYOUT(bulk_members), ret, e);
    rc = rc ? rc : check_bulk(ret, e);
    if (rc) {
        salvage(bytes, ret);
    }
    return rc;
}

size_t message_bulk_count(const struct message_bulk *m)
{
    return m->repeat ? (size_t)m->repeat : m->jobs.count;
}

struct uuid message_bulk_job_id(const struct uuid *bulk, size_t place)
{
    struct uuid id = *bulk;
    unsigned long long suffix = 0;
    (void)sscanf(bulk->text + SUFFIX_AT, "%12llx", &suffix); /* an id has its digits there */
    suffix = (suffix + place + 1) & 0xffffffffffffULL;
    (void)snprintf(id.text + SUFFIX_AT, SUFFIX_DIGITS + 1, "%012llx", suffix);
    return id;
}

/* The id of a submission of which something else is wrong. */
static void salvage_id(struct span bytes, struct message_submission *ret)
{
    char id[UUID_SIZE] = "";
    const struct wire_field field = {
        .name = "id", .type = WIRE_NAME, .max = UUID_SIZE - 1, .ret = id};
    memset(ret, 0, sizeof *ret);
    if (wire_read(bytes, &field, 1, NULL) == 0 && uuid_is_valid(id, strlen(id))) {
        memcpy(ret->id.text, id, sizeof id);
    }
}

int message_bulk_next(struct message_bulk *m, struct message_submission *ret, struct err_buf *e)
{
    struct wire_array jobs = {.bytes = m->jobs.bytes, .count = m->jobs.count};
    struct span bytes;
    int rc = wire_next_value(&jobs, &bytes, e);
    if (rc) {
        return rc;
    }
    m->jobs = (struct message_list){.bytes = jobs.bytes, .count = jobs.count};
    memset(ret, 0, sizeof *ret);
    rc = message__decode_members(bytes, message__item_layout(), ret, e);
    rc = rc ? rc : message__check_submission(ret, e);
    if (rc) {
        salvage_id(bytes, ret);
    }
    memcpy(ret->by, m->by, sizeof ret->by);
    return rc;
}

/* --- replies ---------------------------------------------------------------------------------- */

int message_bulk_reply_add(const struct message_outcome_at *m, struct buf *others,
                           struct err_buf *e)
{
    return message__encode(MESSAGE__LAYOUT(outcome_members), m, NULL, NULL, 0, others, e);
}

int message_encode_bulk_reply(const struct message_bulk_reply *m, struct buf *out,
                              struct err_buf *e)
{
    return message__encode(MESSAGE__LAYOUT(bulk_reply_members), m, NULL, NULL,
                           m->others.count ? MESSAGE__VERSION_BULK : MESSAGE__VERSION_FIRST, out,
                           e);
}

int message_decode_bulk_reply(struct span bytes, struct message_bulk_reply *ret, struct err_buf *e)
{
    memset(ret, 0, sizeof *ret);
    return message__decode(bytes, MESSAGE__LAYOUT(bulk_reply_members), ret, e);
}

int message_bulk_reply_next(struct message_bulk_reply *m, struct message_outcome_at *ret,
                            struct err_buf *e)
{
    struct wire_array others = {.bytes = m->others.bytes, .count = m->others.count};
    struct span bytes;
    int rc = wire_next_value(&others, &bytes, e);
    if (rc) {
        return rc;
    }
    m->others = (struct message_list){.bytes = others.bytes, .count = others.count};
    memset(ret, 0, sizeof *ret);
    return message__decode_members(bytes, MESSAGE__LAYOUT(outcome_members), ret, e);
}
