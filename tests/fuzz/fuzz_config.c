/*
 * Settings from any bytes: the lines of the input are the arguments. Accepted values are within
 * their bounds, and no URL shows a password that it was given.
 */
#include "common/config/config.h"

#include "common/base/mem.h"
#include "common/base/span.h"

#include <stdint.h>
#include <string.h>

enum { ARGUMENTS_MAX = 64 };

struct settings {
    bool flag;
    int64_t number;
    double real;
    int64_t wait_ms;
    int64_t memory_mb;
    const char *text;
    struct config_list list;
};

static const struct config_entry entries[] = {
    {.name = "flag",
     .letter = 'f',
     .type = CONFIG_BOOL,
     .offset = offsetof(struct settings, flag),
     .help = "flag"},
    {.name = "list",
     .letter = 'l',
     .type = CONFIG_LIST,
     .offset = offsetof(struct settings, list),
     .help = "list"},
    {.name = "memory",
     .type = CONFIG_SIZE_MB,
     .offset = offsetof(struct settings, memory_mb),
     .fallback = "64",
     .min = 16,
     .max = 4096,
     .help = "memory"},
    {.name = "number",
     .letter = 'n',
     .type = CONFIG_INTEGER,
     .offset = offsetof(struct settings, number),
     .min = -5,
     .max = 5,
     .help = "number"},
    {.name = "real",
     .type = CONFIG_REAL,
     .offset = offsetof(struct settings, real),
     .max = 1,
     .help = "real"},
    {.name = "text",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct settings, text),
     .min = 1,
     .max = 8,
     .fallback = "x",
     .help = "text"},
    {.name = "wait",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct settings, wait_ms),
     .fallback = "1s",
     .min = 1,
     .max = 60000,
     .help = "wait"},
};

static void try_settings(int argc, char **argv)
{
    static struct settings s;
    memset(&s, 0, sizeof s);
    const struct config_table table = {
        .entries = entries, .count = sizeof entries / sizeof *entries, .values = &s};
    struct err_buf e = {{0}};
    int count = 0;
    if (config_load(&table, 1, argc, argv, &count, &e)) {
        CHECK(e.text[0] != '\0');
        return;
    }
    CHECK(count >= 0 && count < argc);
    CHECK(s.number >= -5 && s.number <= 5);
    CHECK(s.real >= 0 && s.real <= 1);
    CHECK(s.wait_ms >= 1 && s.wait_ms <= 60000);
    CHECK(s.memory_mb >= 16 && s.memory_mb <= 4096);
    CHECK(strlen(s.text) >= 1 && strlen(s.text) <= 8);
}

static void try_redact(const char *url, size_t length)
{
    char small[16];
    CHECK(strlen(config_redact_url(url, small, sizeof small)) < sizeof small);
    size_t size = 4 * length + 16;
    char *out = mem_new(size);
    CHECK(out);
    CHECK(strlen(config_redact_url(url, out, size)) < size);
    mem_free(out);
    /* A secret in a well-formed URL never shows, whatever the user's name. */
    char user[65];
    char known[128];
    char hidden[160];
    (void)snprintf(user, sizeof user, "%.*s", (int)strcspn(url, ":@/?=&' \\"), url);
    (void)snprintf(known, sizeof known, "redis://%s:53cr3t@host/0", user);
    (void)config_redact_url(known, hidden, sizeof hidden);
    CHECK(strstr(user, "53cr3t") || !strstr(hidden, "53cr3t"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_string((const char *)data, size);
    CHECK(text);
    try_redact(text, strlen(text));
    char program[] = "program";
    char *argv[ARGUMENTS_MAX + 1] = {program};
    int argc = 1;
    char *rest = text;
    while (argc < ARGUMENTS_MAX && rest) {
        argv[argc++] = strsep(&rest, "\n");
    }
    try_settings(argc, argv);
    mem_free(text);
    return 0;
}
