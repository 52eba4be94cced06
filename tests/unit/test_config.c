/* common/config: flags before environment before defaults; messages name the setting. */
#include "common/config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct settings {
    bool dry;
    const char *region;
    double share;
    int64_t slots;
    int64_t grace_ms;
    int64_t memory_mb;
    struct config_list tags;
};

static const struct config_entry entries[] = {
    {.name = "dry",
     .letter = 'd',
     .type = CONFIG_BOOL,
     .offset = offsetof(struct settings, dry),
     .help = "do nothing"},
    {.name = "grace",
     .type = CONFIG_DURATION,
     .offset = offsetof(struct settings, grace_ms),
     .fallback = "30s",
     .min = 1000,
     .max = 3600000,
     .help = "TIME to end"},
    {.name = "memory",
     .type = CONFIG_SIZE_MB,
     .offset = offsetof(struct settings, memory_mb),
     .fallback = "1g",
     .min = 16,
     .max = 65536,
     .help = "memory"},
    {.name = "region",
     .variable = "TEST_CONFIG_REGION",
     .type = CONFIG_TEXT,
     .offset = offsetof(struct settings, region),
     .is_required = true,
     .help = "REGION to serve"},
    {.name = "share",
     .type = CONFIG_REAL,
     .offset = offsetof(struct settings, share),
     .max = 1,
     .fallback = "0.5",
     .help = "share"},
    {.name = "slots",
     .letter = 's',
     .variable = "TEST_CONFIG_SLOTS",
     .type = CONFIG_INTEGER,
     .offset = offsetof(struct settings, slots),
     .fallback = "2",
     .min = 1,
     .max = 64,
     .help = "slots"},
    {.name = "tag", .type = CONFIG_LIST, .offset = offsetof(struct settings, tags), .help = "tag"},
};

enum { ENTRY_COUNT = sizeof entries / sizeof *entries, ARGUMENTS_MAX = 16 };

static int load(struct settings *s, const char *const *arguments, int *ret_count, char **argv,
                struct err_buf *e)
{
    int argc = 1;
    argv[0] = (char *)(uintptr_t) "program";
    for (; arguments[argc - 1]; argc++) {
        argv[argc] = (char *)(uintptr_t)arguments[argc - 1];
    }
    memset(s, 0, sizeof *s);
    const struct config_table table = {.entries = entries, .count = ENTRY_COUNT, .values = s};
    return config_load(&table, 1, argc, argv, ret_count, e);
}
#define LOAD(s, count, argv, e, ...)                                                               \
    load((s), (const char *const[]){__VA_ARGS__, NULL}, (count), (argv), (e))

static int clear_environment(void **state)
{
    (void)state;
    (void)unsetenv("TEST_CONFIG_REGION");
    (void)unsetenv("TEST_CONFIG_SLOTS");
    return 0;
}

/* Flags win over the environment, which wins over defaults; the rest are arguments, in order. */
static void test_config_order_of_sources(void **state)
{
    (void)state;
    struct settings s;
    struct err_buf e = {{0}};
    char *argv[ARGUMENTS_MAX];
    int count = 0;
    (void)setenv("TEST_CONFIG_REGION", "eu", 1);
    (void)setenv("TEST_CONFIG_SLOTS", "7", 1);
    assert_int_equal(LOAD(&s, &count, argv, &e, "one", "--slots=9", "-", "--tag", "a", "--tag=b",
                          "-d", "--grace", "2m", "--", "--two"),
                     0);
    assert_int_equal(s.slots, 9);
    assert_string_equal(s.region, "eu");
    assert_true(s.share == 0.5);
    assert_true(s.dry);
    assert_int_equal(s.grace_ms, 120000);
    assert_int_equal(s.memory_mb, 1024);
    assert_int_equal(s.tags.count, 2);
    assert_string_equal(s.tags.items[1], "b");
    assert_int_equal(count, 3);
    assert_string_equal(argv[1], "one");
    assert_string_equal(argv[2], "-");
    assert_string_equal(argv[3], "--two");
    assert_int_equal(LOAD(&s, &count, argv, &e, "--dry", "--no-dry"), 0);
    assert_false(s.dry);
    assert_int_equal(s.slots, 7);
    assert_int_equal(LOAD(&s, &count, argv, &e, "-s", "5"), 0);
    assert_int_equal(s.slots, 5);
    assert_int_equal(LOAD(&s, &count, argv, &e, "-s6"), 0);
    assert_int_equal(s.slots, 6);
}

/* Every message names the flag or the variable. */
static void test_config_messages_name_the_setting(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"--slots", "0", "--slots: 0 is below 1"},
        {"--slots", "65", "--slots: 65 is above 64"},
        {"--slots", "2x", "--slots: expected a whole number"},
        {"--slots", "99999999999999999999", "--slots: expected a whole number"},
        {"--share=nan", NULL, "--share: expected a number"},
        {"--share=2", NULL, "--share: 2 is above 1"},
        {"--dry=maybe", NULL, "--dry: expected true or false"},
        {"--grace", "soon", "--grace: expected a duration such as 90s, 15m, 2h, 1d or 500ms"},
        {"--grace", "1ms", "--grace: 1 ms is below 1000 ms"},
        {"--memory", "1g2", "--memory: expected a size in MiB such as 512, 900m or 2g"},
        {"--memory", "9223372036854775807t",
         "--memory: expected a size in MiB such as 512, 900m or 2g"},
        {"--slot", "1", "--slot: no such flag, did you mean --slots?"},
        {"--whatever", NULL, "--whatever: no such flag"},
        {"--no-slots", NULL, "--no-slots: no such flag, did you mean --slots?"},
        {"-x", NULL, "-x: no such flag"},
        {"-dx", NULL, "-dx: no such flag"},
        {"--region", NULL, "--region: needs a value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct settings s;
        struct err_buf e = {{0}};
        char *argv[ARGUMENTS_MAX];
        int count = -1;
        assert_int_equal(LOAD(&s, &count, argv, &e, cases[i][0], cases[i][1]), ERR_INVALID);
        assert_string_equal(e.text, cases[i][2]);
        assert_int_equal(count, -1);
    }
}

/* A bad variable is named, an empty one is as if it were not set, a missing setting says both its
 * names. */
static void test_config_environment(void **state)
{
    (void)state;
    struct settings s;
    struct err_buf e = {{0}};
    char *argv[ARGUMENTS_MAX];
    int count = 0;
    (void)setenv("TEST_CONFIG_SLOTS", "many", 1);
    assert_int_equal(LOAD(&s, &count, argv, &e, "--region=eu"), ERR_INVALID);
    assert_string_equal(e.text, "TEST_CONFIG_SLOTS: expected a whole number");
    (void)setenv("TEST_CONFIG_SLOTS", "", 1);
    assert_int_equal(LOAD(&s, &count, argv, &e, "--region=eu"), 0);
    assert_int_equal(s.slots, 2);
    assert_int_equal(LOAD(&s, &count, argv, &e, "x"), ERR_INVALID);
    assert_string_equal(e.text, "--region: missing; or set TEST_CONFIG_REGION");
}

/* The shared settings have defaults, data_url follows database_url, help needs nothing else. */
static void test_config_common(void **state)
{
    (void)state;
    struct config_common c = {0};
    struct settings s = {0};
    struct err_buf e = {{0}};
    const struct config_table tables[] = {config_common_table(&c),
                                          {.entries = entries, .count = ENTRY_COUNT, .values = &s}};
    const char *const variables[] = {"MERIDIAN_DATA_URL", "MERIDIAN_DATABASE_URL", "MERIDIAN_LOG",
                                     "MERIDIAN_REDIS_PREFIX", "MERIDIAN_REDIS_URL"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        (void)unsetenv(variables[i]);
    }
    char program[] = "p";
    char url[] = "--database-url=postgresql://x/y";
    char help[] = "-h";
    char *argv[] = {program, url, help, NULL};
    int count = 0;
    assert_int_equal(config_load(tables, 2, 3, argv, &count, &e), 0);
    assert_true(c.help);
    assert_int_equal(config_common_finish(&c, &e), 0);
    assert_string_equal(c.data_url, "postgresql://x/y");
    assert_string_equal(c.redis_prefix, "meridian");
    assert_string_equal(c.redis_url, "redis://127.0.0.1:6379/0");
    c.log = "loud";
    assert_int_equal(config_common_finish(&c, &e), ERR_INVALID);
    assert_string_equal(e.text, "--log: expected error, warn, info, debug or trace");
    c.redis_prefix = "a{b";
    assert_int_equal(config_common_finish(&c, &e), ERR_INVALID);
}

/* The help shows flag, value, meaning, variable and default of each setting. */
static void test_config_help(void **state)
{
    (void)state;
    struct settings s = {0};
    const struct config_table table = {.entries = entries, .count = ENTRY_COUNT, .values = &s};
    char text[2000] = "";
    FILE *out = fmemopen(text, sizeof text, "w");
    assert_non_null(out);
    config_print_help(out, &table, 1);
    (void)fclose(out);
    assert_non_null(strstr(text, "  -d, --dry                    do nothing\n"));
    assert_non_null(strstr(text, "  --region REGION              REGION to serve "
                                 "[TEST_CONFIG_REGION]\n"));
    assert_non_null(strstr(text, "  -s, --slots VALUE            slots [TEST_CONFIG_SLOTS, 2]\n"));
}

/* No form of URL shows its password. */
static void test_config_redact_url(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"redis://user:secret@host:6379/0", "redis://user:***@host:6379/0"},
        {"redis://:secret@host/0", "redis://:***@host/0"},
        {"redis://:se@cr:et@host/0", "redis://:***@host/0"},
        {"redis://:se/cret@host/0", "redis://:***@host/0"},
        {"redis://host:6379/0", "redis://host:6379/0"},
        {"unix:///run/redis.sock", "unix:///run/redis.sock"},
        {"postgresql://u@h/d?password=secret&x=1", "postgresql://u@h/d?password=***&x=1"},
        {"host=h password = secret user=u", "host=h password = *** user=u"},
        {"host=h password='s e\\'c' user=u", "host=h password=*** user=u"},
        {"password=a sslpassword=b", "password=*** sslpassword=***"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[200];
        assert_string_equal(config_redact_url(cases[i][0], out, sizeof out), cases[i][1]);
    }
    char small[12];
    assert_string_equal(config_redact_url("redis://user:secret@host", small, sizeof small),
                        "redis://use");
}

/* Durations know their units and refuse what is none. */
static void test_config_parse_duration(void **state)
{
    (void)state;
    int64_t ms = 0;
    assert_int_equal(config_parse_duration("90", &ms, NULL), 0);
    assert_int_equal(ms, 90000);
    assert_int_equal(config_parse_duration("1d", &ms, NULL), 0);
    assert_int_equal(ms, 86400000);
    assert_int_equal(config_parse_duration("500ms", &ms, NULL), 0);
    assert_int_equal(ms, 500);
    assert_int_equal(config_parse_duration("-1s", &ms, NULL), ERR_PARSE);
    assert_int_equal(config_parse_duration("", &ms, NULL), ERR_PARSE);
    assert_int_equal(config_parse_duration("1y", &ms, NULL), ERR_PARSE);
    assert_int_equal(ms, 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_config_order_of_sources, clear_environment),
        cmocka_unit_test_setup(test_config_messages_name_the_setting, clear_environment),
        cmocka_unit_test_setup(test_config_environment, clear_environment),
        cmocka_unit_test_setup(test_config_common, clear_environment),
        cmocka_unit_test_setup(test_config_help, clear_environment),
        cmocka_unit_test(test_config_redact_url),
        cmocka_unit_test(test_config_parse_duration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
