#include "scheduler/intake/batch.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "scheduler/core/admission.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_BYTES = 64 * 1024 };

/* --- memory ---------------------------------------------------------------------------------- */

/* Blocks that live as long as the batch. */
struct batch_arena {
    struct batch_arena *next;
    size_t used, size;
    alignas(max_align_t) char data[];
};

static void *take(struct batch *b, size_t bytes)
{
    size_t rounded = (bytes + alignof(max_align_t) - 1) / alignof(max_align_t);
    bytes = rounded * alignof(max_align_t);
    if (!b->arena || b->arena->size - b->arena->used < bytes) {
        size_t size = bytes > ARENA_BYTES ? bytes : ARENA_BYTES;
        struct batch_arena *block = mem_new(sizeof *block + size);
        if (!block) {
            return NULL;
        }
        *block = (struct batch_arena){.next = b->arena, .size = size};
        b->arena = block;
    }
    void *at = b->arena->data + b->arena->used;
    b->arena->used += bytes;
    return at;
}

/* A copy that ends with a NUL, or NULL. */
static const char *copy_text(struct batch *b, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = take(b, size);
    return copy ? memcpy(copy, text, size) : NULL;
}

/* Moves what a span points to into the batch; absent stays absent. */
static int keep(struct batch *b, struct span *text)
{
    char *copy = text->length ? take(b, text->length) : NULL;
    if (text->length && !copy) {
        return ERR_NOMEM;
    }
    if (copy) {
        memcpy(copy, text->data, text->length);
        text->data = copy;
    }
    return 0;
}

int batch_init(struct batch *b)
{
    *b = (struct batch){.entries = mem_new_array(BATCH_MAX, sizeof *b->entries),
                        .jobs = mem_new_array(BATCH_JOBS_MAX, sizeof *b->jobs),
                        .outcomes = mem_new_array(BATCH_JOBS_MAX, sizeof *b->outcomes),
                        .message = mem_new(sizeof *b->message)};
    buf_init(&b->spec, 2 * MESSAGE_SPEC_MAX);
    if (b->entries && b->jobs && b->outcomes && b->message) {
        return 0;
    }
    batch_close(b);
    return ERR_NOMEM;
}

void batch_reset(struct batch *b)
{
    while (b->arena) {
        struct batch_arena *block = b->arena;
        b->arena = block->next;
        mem_free(block);
    }
    b->entry_count = 0;
    b->count = 0;
    b->has_bulk = false;
}

void batch_close(struct batch *b)
{
    batch_reset(b);
    mem_free(b->entries);
    mem_free(b->jobs);
    mem_free(b->outcomes);
    mem_free(b->message);
    buf_close(&b->spec);
    *b = (struct batch){0};
}

/* --- jobs ------------------------------------------------------------------------------------ */

/* One of which only the id and the reason are recorded. */
static int refused(struct batch *b, struct core_id id, int code, const char *by,
                   struct core_submission *ret)
{
    *ret = (struct core_submission){.id = id,
                                    .kind = span_of("unknown"),
                                    .spec = span_of("{}"),
                                    .by = span_of(by),
                                    .memory_mb = 16,
                                    .time_limit_s = 1,
                                    .threads = 1,
                                    .max_attempts = 1,
                                    .error_code = err_name(code),
                                    .error_text = copy_text(b, b->reason.text)};
    return ret->error_text ? keep(b, &ret->by) : ERR_NOMEM;
}

void batch_reduce(struct batch *b, size_t job, const char *why)
{
    struct core_submission *s = &b->jobs[job];
    (void)err_set(&b->reason, ERR_DATABASE, "the record refused this submission: %s", why);
    if (refused(b, s->id, ERR_DATABASE, "", s)) {
        s->error_text = "the record refused this submission";
    }
}

static int take_after(struct batch *b, struct core_submission *s)
{
    const struct message_submission *m = b->message;
    struct core_id *after = take(b, m->after_count * sizeof *after);
    if (!after) {
        return ERR_NOMEM;
    }
    size_t count = 0;
    for (size_t i = 0; i < m->after_count; i++) {
        count += core_id_parse(span_of(m->after[i].text), &after[count]);
    }
    s->after = after;
    s->after_count = count;
    return 0;
}

static struct core_submission fields_of(const struct message_submission *m, struct core_id id)
{
    return (struct core_submission){
        .id = id,
        .kind = span_of(m->kind),
        .market = span_of(m->market),
        .task = span_of(m->task),
        .spec = m->spec,
        .priority = m->has_priority ? m->priority : 0,
        .not_before_ms = m->has_not_before ? m->not_before_ms : 0,
        .unique = span_of(m->unique),
        .unique_policy = span_of(message_policy_name(m->unique_policy)),
        .after_if = span_of(m->after_if),
        .after_quorum = m->after_quorum,
        .by = span_of(m->by),
        .max_attempts = m->max_attempts,
    };
}

static int keep_all(struct batch *b, struct core_submission *s)
{
    struct span *const texts[] = {&s->kind, &s->market, &s->task,   &s->spec,    &s->unique,
                                  &s->by,   &s->labels, &s->region, &s->after_if};
    int rc = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && rc == 0; i++) {
        rc = keep(b, texts[i]); /* the policy's name is static */
    }
    return rc;
}

static void added(struct batch *b)
{
    b->outcomes[b->count++] = (struct batch_outcome){.state = CORE_STATE_UNKNOWN};
}

/* The message at hand as a job, checked and copied. */
static int add_job(struct batch *b, struct core_id id)
{
    struct core_submission *s = &b->jobs[b->count];
    *s = fields_of(b->message, id);
    int rc = take_after(b, s);
    buf_reset(&b->spec);
    rc = rc ? rc : core_submission_check(s, &b->spec, &b->reason);
    if (rc == 0 && s->error_code) {
        s->error_text = copy_text(b, s->error_text);
        rc = s->error_text ? 0 : ERR_NOMEM;
    }
    rc = rc ? rc : keep_all(b, s);
    if (rc == 0) {
        added(b);
    }
    return rc;
}

static int add_refused(struct batch *b, struct core_id id, int code, const char *by)
{
    int rc = refused(b, id, code, by, &b->jobs[b->count]);
    if (rc == 0) {
        added(b);
    }
    return rc;
}

/* --- entries --------------------------------------------------------------------------------- */

/* By the id that Redis gave the entry: its milliseconds come first. */
static bool is_young(const char *entry)
{
    return clock_wall_ms() - strtoll(entry, NULL, 10) < BATCH_NEWER_WAIT_MS;
}

/* All of an entry is refused, under the id that its reply bears. */
static int refuse_entry(struct batch *b, struct batch_entry *entry, int code)
{
    struct core_id id;
    entry->is_bulk = false;
    if (core_id_parse(span_of(entry->message.text), &id)) {
        return add_refused(b, id, code, "");
    }
    log_warn("a submission without a readable id is dropped: %s entry=%s", b->reason.text,
             entry->id);
    return 0;
}

static int add_single(struct batch *b, struct batch_entry *entry, struct span bytes)
{
    struct message_submission *m = b->message;
    struct core_id id;
    if (bytes.length > MESSAGE_SUBMISSION_MAX) {
        /* Perhaps only the beginning was read: enough to say who is refused. */
        entry->message = message_submission_id(bytes);
        return refuse_entry(b, entry,
                            err_set(&b->reason, ERR_LIMIT, "the submission has more than %d bytes",
                                    MESSAGE_SUBMISSION_MAX));
    }
    int rc = message_decode_submission(bytes, m, &b->reason);
    (void)snprintf(entry->reply, sizeof entry->reply, "%s", m->reply);
    entry->message = m->id;
    if (rc == ERR_NOMEM || (rc == ERR_UNSUPPORTED && is_young(entry->id))) {
        return rc;
    }
    return rc || !core_id_parse(span_of(m->id.text), &id) ? refuse_entry(b, entry, rc)
                                                          : add_job(b, id);
}

/* A job of a bulk; one that is refused takes none of the others with it. */
static int add_of_bulk(struct batch *b, const struct batch_entry *entry, const char *by, int rc)
{
    struct core_id id = {0, 0};
    struct uuid text = b->message->id;
    if (!*text.text) {
        text = message_bulk_job_id(&entry->message, b->count - entry->first);
    }
    (void)core_id_parse(span_of(text.text), &id); /* both are ids */
    return rc ? add_refused(b, id, rc, by) : add_job(b, id);
}

/* The job before, once more, under the next id: all that was checked of it holds again. */
static void repeat_job(struct batch *b, const struct batch_entry *entry)
{
    struct uuid text = message_bulk_job_id(&entry->message, b->count - entry->first);
    b->jobs[b->count] = b->jobs[b->count - 1];
    (void)core_id_parse(span_of(text.text), &b->jobs[b->count].id); /* it is one */
    added(b);
}

static int add_bulk(struct batch *b, struct batch_entry *entry, struct message_bulk *bulk)
{
    size_t count = message_bulk_count(bulk);
    if (b->count + count > BATCH_JOBS_MAX) {
        return ERR_LIMIT;
    }
    entry->is_bulk = true;
    b->has_bulk = true;
    int rc = 0;
    while (rc == 0 && b->count < entry->first + count) {
        int bad = message_bulk_next(bulk, b->message, &b->reason);
        if (bad == ERR_NOTFOUND) {
            repeat_job(b, entry);
            continue;
        }
        if (bulk->repeat) {
            b->message->id.text[0] = '\0';
        }
        rc = bad == ERR_NOMEM ? bad : add_of_bulk(b, entry, bulk->by, bad);
    }
    return rc;
}

static int decode(struct batch *b, struct batch_entry *entry, struct span bytes)
{
    struct message_bulk bulk;
    int rc = message_decode_bulk(bytes, &bulk, &b->reason);
    if (rc == ERR_NOTFOUND) {
        return add_single(b, entry, bytes);
    }
    (void)snprintf(entry->reply, sizeof entry->reply, "%s", bulk.reply);
    entry->message = bulk.id;
    if (rc == 0) {
        return add_bulk(b, entry, &bulk);
    }
    return rc == ERR_NOMEM || (rc == ERR_UNSUPPORTED && is_young(entry->id))
               ? rc
               : refuse_entry(b, entry, rc);
}

int batch_add(struct batch *b, struct span entry, struct span message)
{
    if (b->entry_count == BATCH_MAX || b->count == BATCH_JOBS_MAX ||
        entry.length >= BATCH_ENTRY_ID_SIZE) {
        return ERR_LIMIT;
    }
    struct batch_entry *e = &b->entries[b->entry_count];
    *e = (struct batch_entry){.first = b->count};
    (void)snprintf(e->id, sizeof e->id, "%.*s", (int)entry.length, entry.data);
    int rc = decode(b, e, message);
    if (rc) {
        b->count = e->first;
        return rc;
    }
    e->count = b->count - e->first;
    b->entry_count++;
    return 0;
}

/* --- outcomes -------------------------------------------------------------------------------- */

static void note(struct batch *b, size_t job, const struct core_admitted *row)
{
    const struct span why = row->error_text;
    char *reason = why.length ? take(b, why.length + 1) : NULL;
    if (reason) {
        memcpy(reason, why.data, why.length);
        reason[why.length] = '\0';
    }
    b->outcomes[job] = (struct batch_outcome){row->state, reason, row->kept};
}

void batch_note(struct batch *b, size_t from, size_t to, const struct core_admitted *rows,
                size_t count)
{
    size_t at = 0; /* rows come mostly in the order of the jobs: one step each */
    for (size_t job = from; job < to; job++) {
        for (size_t n = 0; n < count; n++) {
            const struct core_admitted *row = &rows[(at + n) % count];
            if (core_id_equals(row->id, b->jobs[job].id)) {
                note(b, job, row);
                at = (at + n + 1) % count;
                break;
            }
        }
    }
}
