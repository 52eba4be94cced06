#include "scheduler/intake/batch.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "scheduler/core/admission.h"

#include <stdio.h>
#include <stdlib.h>

int batch_init(struct batch *b)
{
    b->count = 0;
    b->items = mem_new_array(BATCH_MAX, sizeof *b->items);
    return b->items ? 0 : ERR_NOMEM;
}

static void item_close(struct batch_item *item)
{
    mem_free(item->bytes);
    mem_free(item->message);
    mem_free(item->after);
    buf_close(&item->spec);
}

void batch_close(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        item_close(&b->items[i]);
    }
    mem_free(b->items);
    *b = (struct batch){0};
}

static void reject(struct batch_item *item, const char *code)
{
    struct core_submission *s = &item->submission;
    s->error_code = code;
    s->error_text = item->reason.text;
    s->spec = span_of("{}");
    s->memory_mb = 16;
    s->time_limit_s = 1;
    s->threads = 1;
    s->max_attempts = 1;
}

void batch_reduce(struct batch_item *item, const char *why)
{
    struct core_submission *s = &item->submission;
    (void)err_set(&item->reason, ERR_DATABASE, "the record refused this submission: %s", why);
    *s = (struct core_submission){.id = s->id, .kind = span_of("unknown")};
    reject(item, "DATABASE");
}

static int take_after(struct batch_item *item)
{
    const struct message_submission *m = item->message;
    item->after = mem_new_array(m->after_count, sizeof *item->after);
    if (!item->after) {
        return ERR_NOMEM;
    }
    size_t count = 0;
    for (size_t i = 0; i < m->after_count; i++) {
        count += core_id_parse(span_of(m->after[i].text), &item->after[count]);
    }
    item->submission.after = item->after;
    item->submission.after_count = count;
    return 0;
}

static int take_fields(struct batch_item *item)
{
    const struct message_submission *m = item->message;
    struct core_submission *s = &item->submission;
    s->kind = span_of(m->kind);
    s->market = span_of(m->market);
    s->task = span_of(m->task);
    s->spec = m->spec;
    s->priority = m->has_priority ? m->priority : 0;
    s->not_before_ms = m->has_not_before ? m->not_before_ms : 0;
    s->unique = span_of(m->unique);
    s->unique_policy = span_of(message_policy_name(m->unique_policy));
    s->after_if = span_of(m->after_if);
    s->after_quorum = m->after_quorum;
    s->by = span_of(m->by);
    s->max_attempts = m->max_attempts;
    int rc = take_after(item);
    return rc ? rc : core_submission_check(s, &item->spec, &item->reason);
}

/* Of one that is too long only the beginning was read: enough to say who is refused. */
static int decode_beginning(struct batch_item *item, size_t length)
{
    int rc = err_set(&item->reason, ERR_LIMIT, "the submission has more than %d bytes",
                     MESSAGE_SUBMISSION_MAX);
    struct uuid id = message_submission_id(span_make(item->bytes, length));
    item->is_recordable = core_id_parse(span_of(id.text), &item->submission.id);
    item->submission.kind = span_of("unknown");
    reject(item, err_name(rc));
    return 0;
}

/* By the id that Redis gave the entry: its milliseconds come first. */
static bool is_young(const char *entry)
{
    return clock_wall_ms() - strtoll(entry, NULL, 10) < BATCH_NEWER_WAIT_MS;
}

static int decode(struct batch_item *item, size_t length)
{
    if (length > MESSAGE_SUBMISSION_MAX) {
        return decode_beginning(item, length);
    }
    struct message_submission *m = item->message;
    int rc = message_decode_submission(span_make(item->bytes, length), m, &item->reason);
    (void)snprintf(item->reply, sizeof item->reply, "%s", m->reply);
    item->is_recordable = core_id_parse(span_of(m->id.text), &item->submission.id);
    if (rc == ERR_UNSUPPORTED && is_young(item->entry)) {
        return rc;
    }
    if (rc) {
        item->submission.kind = span_of("unknown");
        reject(item, err_name(rc));
        return rc == ERR_NOMEM ? rc : 0;
    }
    return take_fields(item);
}

int batch_add(struct batch *b, struct span entry, struct span message)
{
    if (b->count == BATCH_MAX || entry.length >= BATCH_ENTRY_ID_SIZE) {
        return ERR_LIMIT;
    }
    struct batch_item *item = &b->items[b->count];
    *item = (struct batch_item){0};
    buf_init(&item->spec, 2 * MESSAGE_SPEC_MAX);
    (void)snprintf(item->entry, sizeof item->entry, "%.*s", (int)entry.length, entry.data);
    item->bytes = mem_string(message.data, message.length);
    item->message = mem_new(sizeof *item->message);
    int rc = item->bytes && item->message ? decode(item, message.length) : ERR_NOMEM;
    if (rc) {
        item_close(item);
        return rc;
    }
    b->count++;
    return 0;
}
