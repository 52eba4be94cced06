/* Encoding and decoding by tables. */
#include "common/message/message_int.h"

#include "common/wire/wire.h"

#include <math.h>
#include <string.h>

/* --- encoding -------------------------------------------------------------------------------- */

static const char *const *choices_end(const char *const *choices)
{
    while (*choices) {
        choices++;
    }
    return choices;
}

int64_t message__integer_at(const struct message__member *m, const char *p)
{
    return m->type == MEMBER_INT32 ? *(const int32_t *)(const void *)p
                                   : *(const int64_t *)(const void *)p;
}

static bool is_integer_absent(const struct message__member *m, const char *base)
{
    int64_t value = message__integer_at(m, base + m->offset);
    switch (m->omit) {
    case OMIT_ZERO:
        return value == 0;
    case OMIT_MINUS_ONE:
        return value == -1;
    case OMIT_UNLESS_HAS:
        return !*(const bool *)(base + m->has_offset);
    default:
        return false;
    }
}

bool message__is_absent(const struct message__member *m, const char *base)
{
    const char *p = base + m->offset;
    switch (m->type) {
    case MEMBER_NAME:
    case MEMBER_ID:
        return *p == '\0';
    case MEMBER_SPAN:
    case MEMBER_BLOB:
        return !((const struct span *)(const void *)p)->data;
    case MEMBER_REAL:
        return isnan(*(const double *)(const void *)p);
    case MEMBER_CHOICE:
        return *(const int *)(const void *)p == 0;
    case MEMBER_IDS:
        return *(const size_t *)(const void *)(base + m->has_offset) == 0;
    case MEMBER_LIST:
        return ((const struct message_list *)(const void *)p)->count == 0;
    default:
        return is_integer_absent(m, base);
    }
}

static void write_ids(struct wire_writer *w, const struct uuid *ids, size_t count)
{
    wire_write_array_of(w, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        wire_write_text(w, span_of(ids[i].text));
    }
}

static void write_member(struct wire_writer *w, const struct message__member *m, const char *base)
{
    const char *p = base + m->offset;
    wire_write_key(w, m->name);
    switch (m->type) {
    case MEMBER_NAME:
    case MEMBER_ID:
        wire_write_text(w, span_of(p));
        break;
    case MEMBER_SPAN:
        wire_write_text(w, *(const struct span *)(const void *)p);
        break;
    case MEMBER_BLOB:
        wire_write_bytes(w, *(const struct span *)(const void *)p);
        break;
    case MEMBER_REAL:
        wire_write_real(w, *(const double *)(const void *)p);
        break;
    case MEMBER_CHOICE:
        wire_write_text(w, span_of(m->choices[*(const int *)(const void *)p]));
        break;
    case MEMBER_IDS:
        write_ids(w, (const struct uuid *)(const void *)p,
                  *(const size_t *)(const void *)(base + m->has_offset));
        break;
    case MEMBER_LIST: {
        const struct message_list *list = (const struct message_list *)(const void *)p;
        wire_write_array_raw(w, (uint32_t)list->count, list->bytes);
        break;
    }
    default:
        wire_write_integer(w, message__integer_at(m, p));
        break;
    }
}

/* Whether decoding would take it: what a member may hold is decided in one place, its row. */
static bool is_valid(const struct message__member *m, const char *base)
{
    const char *p = base + m->offset;
    const struct span *text = (const struct span *)(const void *)p;
    switch (m->type) {
    case MEMBER_NAME:
        return strlen(p) <= (size_t)m->max && wire_text_is_valid(span_of(p));
    case MEMBER_ID:
        return uuid_is_valid(p, strlen(p));
    case MEMBER_SPAN:
        return text->length <= (size_t)m->max && wire_text_is_valid(*text);
    case MEMBER_BLOB:
        return text->length <= (size_t)m->max;
    case MEMBER_REAL:
        return isfinite(*(const double *)(const void *)p);
    case MEMBER_CHOICE: {
        int choice = *(const int *)(const void *)p;
        return choice > 0 && choice < choices_end(m->choices) - m->choices;
    }
    case MEMBER_IDS:
        return *(const size_t *)(const void *)(base + m->has_offset) <= (size_t)m->max;
    case MEMBER_LIST:
        return ((const struct message_list *)(const void *)p)->count <= (size_t)m->max;
    default:
        return message__integer_at(m, p) >= m->min && message__integer_at(m, p) <= m->max;
    }
}

static int write_members(struct wire_writer *w, struct message__layout layout, const void *message,
                         struct err_buf *e)
{
    const char *base = message;
    for (size_t i = 0; i < layout.count; i++) {
        const struct message__member *m = &layout.members[i];
        if (message__is_absent(m, base)) {
            if (m->is_required) {
                return err_set(e, ERR_INVALID, "field \"%s\": missing", m->name);
            }
            continue;
        }
        if (!is_valid(m, base)) {
            return err_set(e, ERR_INVALID, "field \"%s\": not a valid value", m->name);
        }
        write_member(w, m, base);
    }
    return 0;
}

int message__encode(struct message__layout layout, const void *message, const char *type_key,
                    const char *type_name, int version, struct buf *out, struct err_buf *e)
{
    size_t before = out->length;
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_write_map(&w);
    if (version) {
        wire_write_key(&w, "v");
        wire_write_integer(&w, version);
    }
    if (type_name) {
        wire_write_key(&w, type_key);
        wire_write_text(&w, span_of(type_name));
    }
    int rc = write_members(&w, layout, message, e);
    wire_write_end(&w);
    if (rc == 0) {
        rc = wire_writer_finish(&w);
        if (rc) {
            (void)err_set(e, rc, "cannot encode a message: %s", err_text(rc));
        }
    }
    if (rc) {
        buf_truncate(out, before);
    }
    return rc;
}

/* --- decoding -------------------------------------------------------------------------------- */

/* Members whose type in the struct is not that of the wire wait here. */
struct scratch {
    int64_t integer;
    char id[UUID_SIZE];
    struct span choice;
    struct wire_array array;
    bool has;
};

static const enum wire_type wire_types[] = {
    [MEMBER_NAME] = WIRE_NAME,  [MEMBER_ID] = WIRE_NAME,       [MEMBER_SPAN] = WIRE_TEXT,
    [MEMBER_BLOB] = WIRE_BYTES, [MEMBER_INT32] = WIRE_INTEGER, [MEMBER_INT64] = WIRE_INTEGER,
    [MEMBER_REAL] = WIRE_REAL,  [MEMBER_CHOICE] = WIRE_TEXT,   [MEMBER_IDS] = WIRE_ARRAY,
    [MEMBER_LIST] = WIRE_ARRAY,
};

static struct wire_field field_of(const struct message__member *m, char *base, struct scratch *s)
{
    struct wire_field f = {.name = m->name,
                           .type = wire_types[m->type],
                           .is_required = m->is_required,
                           .min = m->min,
                           .max = m->max,
                           .ret = base + m->offset,
                           .ret_has = &s->has};
    switch (m->type) {
    case MEMBER_ID:
        f.min = UUID_SIZE - 1;
        f.max = UUID_SIZE - 1;
        f.ret = s->id;
        break;
    case MEMBER_INT32:
    case MEMBER_INT64:
        f.ret = &s->integer;
        break;
    case MEMBER_CHOICE:
        f.max = 64;
        f.ret = &s->choice;
        break;
    case MEMBER_IDS:
    case MEMBER_LIST:
        f.ret = &s->array;
        break;
    default:
        break;
    }
    return f;
}

static int set_id(const struct message__member *m, struct span text, struct uuid *ret,
                  struct err_buf *e)
{
    if (!uuid_is_valid(text.data, text.length)) {
        return err_set(e, ERR_PARSE, "field \"%s\": not an id (8-4-4-4-12 lower-case hex digits)",
                       m->name);
    }
    memcpy(ret->text, text.data, UUID_SIZE - 1);
    ret->text[UUID_SIZE - 1] = '\0';
    return 0;
}

static int set_choice(const struct message__member *m, struct span text, int *ret,
                      struct err_buf *e)
{
    for (int i = 1; m->choices[i]; i++) {
        if (span_is(text, m->choices[i])) {
            *ret = i;
            return 0;
        }
    }
    return err_set(e, ERR_PARSE, "field \"%s\": not one of its values", m->name);
}

static int set_ids(const struct message__member *m, struct wire_array array, char *base,
                   struct err_buf *e)
{
    struct uuid *ids = (struct uuid *)(void *)(base + m->offset);
    size_t *count = (size_t *)(void *)(base + m->has_offset);
    struct span text;
    int rc = 0;
    for (*count = 0; array.count > 0 && rc == 0; (*count)++) {
        rc = wire_next_text(&array, m->name, UUID_SIZE - 1, &text, e);
        rc = rc ? rc : set_id(m, text, &ids[*count], e);
    }
    return rc;
}

static void set_integer(const struct message__member *m, int64_t value, char *base)
{
    if (m->type == MEMBER_INT32) {
        *(int32_t *)(void *)(base + m->offset) = (int32_t)value;
    } else {
        *(int64_t *)(void *)(base + m->offset) = value;
    }
    if (m->omit == OMIT_UNLESS_HAS) {
        *(bool *)(base + m->has_offset) = true;
    }
}

/* Moves a member that was present from scratch into the struct. */
static int settle(const struct message__member *m, const struct scratch *s, char *base,
                  struct err_buf *e)
{
    void *p = base + m->offset;
    switch (m->type) {
    case MEMBER_ID:
        return set_id(m, span_of(s->id), p, e);
    case MEMBER_CHOICE:
        return set_choice(m, s->choice, p, e);
    case MEMBER_IDS:
        return set_ids(m, s->array, base, e);
    case MEMBER_LIST:
        *(struct message_list *)p =
            (struct message_list){.bytes = s->array.bytes, .count = s->array.count};
        return 0;
    case MEMBER_INT32:
    case MEMBER_INT64:
        set_integer(m, s->integer, base);
        return 0;
    default:
        return 0;
    }
}

static void set_absent_values(struct message__layout layout, char *base)
{
    for (size_t i = 0; i < layout.count; i++) {
        const struct message__member *m = &layout.members[i];
        if (m->type == MEMBER_REAL) {
            *(double *)(void *)(base + m->offset) = (double)NAN;
        } else if (m->omit == OMIT_MINUS_ONE) {
            set_integer(m, -1, base);
        }
    }
}

/* Into a struct that was zeroed. */
int message__decode_members(struct span bytes, struct message__layout layout, void *message,
                            struct err_buf *e)
{
    char *base = message;
    struct scratch scratch[MEMBERS_MAX] = {{0}};
    struct wire_field fields[MEMBERS_MAX] = {{0}};
    CHECK(layout.count <= MEMBERS_MAX);
    set_absent_values(layout, base);
    for (size_t i = 0; i < layout.count; i++) {
        fields[i] = field_of(&layout.members[i], base, &scratch[i]);
    }
    int rc = wire_read(bytes, fields, layout.count, e);
    for (size_t i = 0; i < layout.count && rc == 0; i++) {
        if (scratch[i].has) {
            rc = settle(&layout.members[i], &scratch[i], base, e);
        }
    }
    return rc;
}

/* Before anything else is looked at: a newer version may have changed the meaning of all of it. */
int message__check_version(struct span bytes, struct err_buf *e)
{
    int64_t version = 0;
    const struct wire_field field = {.name = "v",
                                     .type = WIRE_INTEGER,
                                     .is_required = true,
                                     .min = 1,
                                     .max = INT32_MAX,
                                     .ret = &version};
    int rc = wire_read(bytes, &field, 1, e);
    if (rc == 0 && version > MESSAGE_VERSION) {
        return err_set(e, ERR_UNSUPPORTED,
                       "message version %d: this program knows up to version %d; update it",
                       (int)version, MESSAGE_VERSION);
    }
    return rc;
}

int message__decode(struct span bytes, struct message__layout layout, void *message,
                    struct err_buf *e)
{
    int rc = message__check_version(bytes, e);
    return rc ? rc : message__decode_members(bytes, layout, message, e);
}

int message__decode_type(struct span bytes, const char *key, const char *const *choices, int *ret,
                         struct err_buf *e)
{
    struct span text = {0};
    const struct wire_field field = {
        .name = key, .type = WIRE_TEXT, .is_required = true, .max = 64, .ret = &text};
    const struct message__member m = {.name = key, .choices = choices};
    int rc = wire_read(bytes, &field, 1, e);
    return rc ? rc : set_choice(&m, text, ret, e);
}
