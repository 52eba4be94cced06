/* Tables made from ERR_LIST, and the message buffer. */
#include "common/base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct err_row {
    int code;
    const char *name;
    const char *text;
    enum err_class class;
};

static const struct err_row rows[] = {
#define X(code, number, text, class) {(number), #code, (text), ERR_CLASS_##class},
    ERR_LIST(X)
#undef X
};

static const struct err_row *find(int code)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].code == code) {
            return &rows[i];
        }
    }
    return NULL;
}

const char *err_name(int code)
{
    if (code == ERR_OK) {
        return "OK";
    }
    const struct err_row *row = find(code);
    return row ? row->name : "UNKNOWN";
}

const char *err_text(int code)
{
    if (code == ERR_OK) {
        return "ok";
    }
    const struct err_row *row = find(code);
    return row ? row->text : "unknown error";
}

enum err_class err_class_of(int code)
{
    const struct err_row *row = find(code);
    return row ? row->class : ERR_CLASS_INTERNAL;
}

const char *err_class_name(enum err_class class)
{
    switch (class) {
    case ERR_CLASS_RETRY:
        return "retry";
    case ERR_CLASS_PERMANENT:
        return "permanent";
    case ERR_CLASS_CALLER:
        return "caller";
    case ERR_CLASS_INTERNAL:
        return "internal";
    }
    return "internal";
}

int err_from_name(const char *name)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return rows[i].code;
        }
    }
    return ERR_INTERNAL;
}

int err_set(struct err_buf *e, int code, const char *format, ...)
{
    if (e) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(e->text, sizeof e->text, format, args); /* cutting a long message is fine */
        va_end(args);
    }
    return code;
}

int err_wrap(struct err_buf *e, int code, const char *format, ...)
{
    if (!e) {
        return code;
    }
    char inner[sizeof e->text];
    memcpy(inner, e->text, sizeof inner);
    va_list args;
    va_start(args, format);
    int used = vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof e->text && inner[0]) {
        (void)snprintf(e->text + used, sizeof e->text - (size_t)used, ": %.*s",
                       (int)(sizeof e->text - (size_t)used), inner);
    }
    return code;
}

void err_check_failed(const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "meridian: check failed: %s at %s:%d in %s; this is a bug, please report it\n",
            condition, file, line, function);
    abort();
}
