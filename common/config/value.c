/* Texts into values, with bounds. */
#include "common/config/config_int.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int refuse(struct err_buf *e, const char *source, const char *what)
{
    return err_set(e, ERR_INVALID, "%s: expected %s", source, what);
}

static int check_bounds(const struct config_entry *entry, double value, const char *unit,
                        const char *source, struct err_buf *e)
{
    bool is_bounded = entry->min < entry->max || entry->min > entry->max;
    if (is_bounded && value < entry->min) {
        return err_set(e, ERR_INVALID, "%s: %.15g%s is below %.15g%s", source, value, unit,
                       entry->min, unit);
    }
    if (is_bounded && value > entry->max) {
        return err_set(e, ERR_INVALID, "%s: %.15g%s is above %.15g%s", source, value, unit,
                       entry->max, unit);
    }
    return 0;
}

/* A whole number with a suffix; units is "name factor" pairs. False when it is none, or too large.
 */
struct unit {
    const char *suffix;
    int64_t factor;
};

static bool parse_scaled(const char *text, const struct unit *units, size_t count, int64_t *ret)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || errno != 0) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(end, units[i].suffix) == 0) {
            return !__builtin_mul_overflow(number, units[i].factor, ret);
        }
    }
    return false;
}

int config_parse_duration(const char *text, int64_t *ret_ms, struct err_buf *e)
{
    static const struct unit units[] = {{"", 1000},      {"ms", 1},       {"s", 1000},
                                        {"m", 60000},    {"min", 60000},  {"h", 3600000},
                                        {"d", 86400000}, {"w", 604800000}};
    int64_t ms = 0;
    if (!parse_scaled(text, units, sizeof units / sizeof *units, &ms) || ms < 0) {
        return err_set(e, ERR_PARSE, "expected a duration such as 90s, 15m, 2h, 1d or 500ms");
    }
    *ret_ms = ms;
    return 0;
}

static int store_integer(const struct config_entry *entry, void *at, const char *text,
                         const char *source, struct err_buf *e)
{
    static const struct unit plain[] = {{"", 1}};
    int64_t value = 0;
    if (!parse_scaled(text, plain, 1, &value)) {
        return refuse(e, source, "a whole number");
    }
    int rc = check_bounds(entry, (double)value, "", source, e);
    if (rc == 0) {
        *(int64_t *)at = value;
    }
    return rc;
}

static int store_duration(const struct config_entry *entry, void *at, const char *text,
                          const char *source, struct err_buf *e)
{
    int64_t ms = 0;
    if (config_parse_duration(text, &ms, NULL)) {
        return refuse(e, source, "a duration such as 90s, 15m, 2h, 1d or 500ms");
    }
    int rc = check_bounds(entry, (double)ms, " ms", source, e);
    if (rc == 0) {
        *(int64_t *)at = ms;
    }
    return rc;
}

static int store_size(const struct config_entry *entry, void *at, const char *text,
                      const char *source, struct err_buf *e)
{
    static const struct unit units[] = {{"", 1},     {"m", 1},    {"M", 1},     {"mb", 1},
                                        {"g", 1024}, {"G", 1024}, {"gb", 1024}, {"t", 1048576}};
    int64_t mb = 0;
    if (!parse_scaled(text, units, sizeof units / sizeof *units, &mb)) {
        return refuse(e, source, "a size in MiB such as 512, 900m or 2g");
    }
    int rc = check_bounds(entry, (double)mb, " MiB", source, e);
    if (rc == 0) {
        *(int64_t *)at = mb;
    }
    return rc;
}

static int store_real(const struct config_entry *entry, void *at, const char *text,
                      const char *source, struct err_buf *e)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value)) {
        return refuse(e, source, "a number");
    }
    int rc = check_bounds(entry, value, "", source, e);
    if (rc == 0) {
        *(double *)at = value;
    }
    return rc;
}

static int store_bool(void *at, const char *text, const char *source, struct err_buf *e)
{
    static const struct {
        const char *name;
        bool value;
    } names[] = {{"true", true},   {"1", true},  {"yes", true}, {"on", true},
                 {"false", false}, {"0", false}, {"no", false}, {"off", false}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i].name) == 0) {
            *(bool *)at = names[i].value;
            return 0;
        }
    }
    return refuse(e, source, "true or false");
}

static int store_text(const struct config_entry *entry, void *at, const char *text,
                      const char *source, struct err_buf *e)
{
    int rc = check_bounds(entry, (double)strlen(text), " bytes", source, e);
    if (rc == 0) {
        *(const char **)at = text;
    }
    return rc;
}

static int store_item(struct config_list *list, const char *text, const char *source,
                      struct err_buf *e)
{
    if (list->count == CONFIG_LIST_MAX) {
        return err_set(e, ERR_INVALID, "%s: given more than %d times", source, CONFIG_LIST_MAX);
    }
    list->items[list->count++] = text;
    return 0;
}

int config__store(const struct config_entry *entry, void *values, const char *text,
                  const char *source, struct err_buf *e)
{
    void *at = (char *)values + entry->offset;
    switch (entry->type) {
    case CONFIG_TEXT:
        return store_text(entry, at, text, source, e);
    case CONFIG_URL:
        *(const char **)at = *text ? text : NULL;
        return 0;
    case CONFIG_INTEGER:
        return store_integer(entry, at, text, source, e);
    case CONFIG_REAL:
        return store_real(entry, at, text, source, e);
    case CONFIG_BOOL:
        return store_bool(at, text, source, e);
    case CONFIG_DURATION:
        return store_duration(entry, at, text, source, e);
    case CONFIG_SIZE_MB:
        return store_size(entry, at, text, source, e);
    case CONFIG_LIST:
        return store_item(at, text, source, e);
    default:
        return err_set(e, ERR_INTERNAL, "%s: its row in the table has no type", source);
    }
}

/* --- URLs without passwords ------------------------------------------------------------------ */

struct text_out {
    char *at;
    size_t left; /* room, the NUL not counted */
};

static void put(struct text_out *o, const char *text, size_t length)
{
    size_t fits = length < o->left ? length : o->left;
    memcpy(o->at, text, fits);
    o->at += fits;
    o->left -= fits;
    *o->at = '\0';
}

/* Where the value of a password=... starts at or after text, or NULL. */
static const char *find_password(const char *text)
{
    static const char *const keys[] = {"password", "passfile", "sslpassword"};
    const char *first = NULL;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        for (const char *at = strcasestr(text, keys[i]); at; at = strcasestr(at + 1, keys[i])) {
            const char *value = at + strlen(keys[i]);
            value += strspn(value, " ");
            if (*value == '=' && (!first || value + 1 < first)) {
                first = value + 1;
                break;
            }
        }
    }
    return first ? first + strspn(first, " ") : NULL;
}

/* The end of a value: quoted ('...'), or up to a separator. */
static const char *value_end(const char *value)
{
    if (*value != '\'') {
        return value + strcspn(value, " &");
    }
    for (value++; *value && *value != '\''; value++) {
        value += *value == '\\' && value[1];
    }
    return *value ? value + 1 : value;
}

static void put_parameters(struct text_out *o, const char *text)
{
    for (const char *value = find_password(text); value; value = find_password(text)) {
        put(o, text, (size_t)(value - text));
        put(o, "***", 3);
        text = value_end(value);
    }
    put(o, text, strlen(text));
}

const char *config_redact_url(const char *url, char *out, size_t size)
{
    CHECK(size > 0);
    struct text_out o = {.at = out, .left = size - 1};
    *out = '\0';
    const char *scheme = strstr(url, "://");
    if (scheme) {
        /* The last @ before the path: a password may hold one that should have been escaped. */
        const char *authority = scheme + 3;
        size_t length = strcspn(authority, "/?");
        const char *at = memrchr(authority, '@', length);
        if (!at) { /* an unescaped / in the password: hide rather too much */
            at = memrchr(authority, '@', strcspn(authority, "?"));
        }
        const char *colon = at ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
        if (colon) {
            put(&o, url, (size_t)(colon + 1 - url));
            put(&o, "***", 3);
            url = at;
        }
    }
    put_parameters(&o, url);
    return out;
}
