/*
 * Error codes, and the text that travels with one.
 *
 * Fallible functions return 0 or a negative `enum err`. The class of a code says who can do
 * something about it; retries are decided from the class, never from a list of codes.
 */
#ifndef COMMON_BASE_ERR_H
#define COMMON_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

/* RETRY may succeed later, PERMANENT never will for this job, CALLER gave bad input, INTERNAL is
 * our bug. */
enum err_class { ERR_CLASS_RETRY = 1, ERR_CLASS_PERMANENT, ERR_CLASS_CALLER, ERR_CLASS_INTERNAL };

/* code, number, text, class. Numbers are stored in records: never reuse one. */
#define ERR_LIST(X)                                                                                \
    X(NOMEM, -1, "out of memory", RETRY)                                                           \
    X(INVALID, -2, "invalid argument", CALLER)                                                     \
    X(PARSE, -3, "malformed input", CALLER)                                                        \
    X(LIMIT, -4, "a limit was reached", CALLER)                                                    \
    X(NOTFOUND, -5, "not found", CALLER)                                                           \
    X(EXISTS, -6, "already exists", CALLER)                                                        \
    X(IO, -7, "input or output failed", RETRY)                                                     \
    X(UNREACHABLE, -8, "server is unreachable", RETRY)                                             \
    X(TIMEOUT, -9, "timed out", RETRY)                                                             \
    X(FENCED, -10, "a newer attempt owns this job", PERMANENT)                                     \
    X(CANCELLED, -11, "cancelled", PERMANENT)                                                      \
    X(CORRUPT, -12, "stored bytes do not match their hash or format", PERMANENT)                   \
    X(UNSUPPORTED, -13, "not supported by this version", CALLER)                                   \
    X(DATA, -14, "the data cannot be used for this job", PERMANENT)                                \
    X(DATABASE, -15, "the database refused the statement", INTERNAL)                               \
    X(CRASH, -16, "the runner died", RETRY)                                                        \
    X(OOM, -17, "the job exceeded its memory limit", RETRY)                                        \
    X(TIME, -18, "the job exceeded its time limit", PERMANENT)                                     \
    X(INTERNAL, -19, "internal error", INTERNAL)                                                   \
    X(WEDGED, -20, "the job made no step for too long", RETRY)                                     \
    X(POISON, -21, "what the job runs has crashed too often", PERMANENT)

enum err {
    ERR_OK = 0,
#define X(code, number, text, class) ERR_##code = (number),
    ERR_LIST(X)
#undef X
};

/* A one-line message that lower layers write and upper layers wrap. Never holds customers' texts.
 */
struct err_buf {
    char text[512];
};

/* The stable name, "NOMEM"; "UNKNOWN" for a number outside the list. Static storage. */
const char *err_name(int code);
/* The general sentence for the code. Static storage. */
const char *err_text(int code);
enum err_class err_class_of(int code);
/* "retry", "permanent", "caller" or "internal". Static storage. */
const char *err_class_name(enum err_class class);
/* The code with that name, or ERR_INTERNAL. */
int err_from_name(const char *name);

/* Writes the message (e may be NULL) and returns code, so that `return err_set(e, ERR_X, ...)`
 * reads well. */
int err_set(struct err_buf *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "prefix: " before what e already says; returns code. */
int err_wrap(struct err_buf *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A broken invariant is our bug: says where and aborts, in every build. */
#define CHECK(condition)                                                                           \
    ((condition) ? (void)0 : err_check_failed(#condition, __FILE__, __LINE__, __func__))
__attribute__((noreturn)) void err_check_failed(const char *condition, const char *file, int line,
                                                const char *function);

#define MUST_CHECK __attribute__((warn_unused_result))

#endif
