/*
 * The engine behind the messages: a table row says where a member lies, what it may hold and when
 * it is left out, and serves encoding and decoding.
 */
#ifndef COMMON_MESSAGE_MESSAGE_INT_H
#define COMMON_MESSAGE_MESSAGE_INT_H

#include "common/message/message.h"

enum member_type {
    MEMBER_NAME = 1, /* char[max + 1]; "" = absent */
    MEMBER_ID,       /* struct uuid; "" = absent */
    MEMBER_SPAN,     /* struct span of text; data NULL = absent */
    MEMBER_BLOB,     /* struct span of bytes; data NULL = absent */
    MEMBER_INT32,
    MEMBER_INT64,
    MEMBER_REAL,   /* NAN = absent */
    MEMBER_CHOICE, /* int, an index into choices; 0 = absent */
    MEMBER_IDS,    /* struct uuid[max], their number at has_offset */
    MEMBER_LIST,   /* struct message_list; none = absent */
};

/* When an integer is left out. */
enum member_omit { OMIT_NEVER = 0, OMIT_ZERO, OMIT_MINUS_ONE, OMIT_UNLESS_HAS };

struct message__member {
    const char *name;
    enum member_type type;
    size_t offset;
    bool is_required;
    enum member_omit omit;
    size_t has_offset; /* of a bool (OMIT_UNLESS_HAS), or of a size_t (MEMBER_IDS) */
    int64_t min, max;
    const char *const *choices; /* NULL-ended, from 1 */
};

/* Whose readers understand a message without anything newer in it. */
enum { MESSAGE__VERSION_FIRST = 1, MESSAGE__VERSION_BULK = 3 };

/* With "v" and "type" or "t", which are read by themselves. */
enum { MEMBERS_MAX = 24 };

struct message__layout {
    const struct message__member *members;
    size_t count;
};

#define MESSAGE__LAYOUT(table) ((struct message__layout){(table), sizeof(table) / sizeof *(table)})

/* Of a submission inside a bulk: what the bulk says for all of them is left out. */
struct message__layout message__item_layout(void);
/* What of a submission belongs together. */
MUST_CHECK int message__check_submission(const struct message_submission *m, struct err_buf *e);

/* Whether a member is left out of the message at base. */
bool message__is_absent(const struct message__member *m, const char *base);
/* An INT32 or INT64 at p. */
int64_t message__integer_at(const struct message__member *m, const char *p);

/* The whole map; type_name NULL = the message has no type, version 0 = no version. Nothing is added
 * on failure. */
MUST_CHECK int message__encode(struct message__layout layout, const void *message,
                               const char *type_key, const char *type_name, int version,
                               struct buf *out, struct err_buf *e);
/* ERR_UNSUPPORTED when "v" is newer than MESSAGE_VERSION. */
MUST_CHECK int message__check_version(struct span bytes, struct err_buf *e);
/* Reads the member key, one of choices, as its index. */
MUST_CHECK int message__decode_type(struct span bytes, const char *key, const char *const *choices,
                                    int *ret, struct err_buf *e);
/* Into a struct that was zeroed. */
MUST_CHECK int message__decode_members(struct span bytes, struct message__layout layout,
                                       void *message, struct err_buf *e);
/* check_version, then decode_members. */
MUST_CHECK int message__decode(struct span bytes, struct message__layout layout, void *message,
                               struct err_buf *e);

#endif
