/* ops/cli: the command table, help, tables and widths. */
#include "ops/cli/bar.h"
#include "ops/cli/cli.h"
#include "ops/cli/table.h"
#include "ops/cli/width.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *print_to_text(void (*print)(FILE *out, void *data), void *data)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    print(out, data);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void print_table(FILE *out, void *data)
{
    table_print(data, out);
}

static void print_help(FILE *out, void *data)
{
    cli_print_command_help(out, data);
}

/* East Asian characters take two columns, marks none, broken bytes one each. */
static void test_width_counts_columns(void **state)
{
    (void)state;
    assert_int_equal(width_of(span_of("abc")), 3);
    assert_int_equal(width_of(span_of("日本語")), 6);
    assert_int_equal(width_of(span_of("e\xcc\x81")), 1);
    assert_int_equal(width_of(span_of("\xff\xfe")), 2);
    assert_int_equal(width_of(span_of("हि")), 2);
    assert_int_equal(width_cut(span_of("日本語"), 5), 6);
}

/* Columns are aligned by width; numbers stand right; truths read yes and no; times lose fractions.
 */
static void test_table_aligns_by_width(void **state)
{
    (void)state;
    struct table *t = table_new();
    static const char *const cells[] = {"日本", "9.5", "t", "2026-11-23 20:29:00.123456+00",
                                        "de",   "10",  "f", "2026-11-23 20:29:01+00"};
    static const char *const names[] = {"market", "n", "ok", "at"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(table_add_column(t, names[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(table_add_cell(t, span_of(cells[i])), 0);
    }
    char *text = print_to_text(print_table, t);
    assert_string_equal(text, "market    n  ok   at\n"
                              "日本    9.5  yes  2026-11-23 20:29:00\n"
                              "de       10  no   2026-11-23 20:29:01\n");
    free(text);
    table_free(t);
}

/* Too wide: sentences are cut with an ellipsis, then columns at the right are left out. */
static void test_table_fits_a_line(void **state)
{
    (void)state;
    struct table *t = table_new();
    static const char *const names[] = {"id", "why", "last"};
    static const char *const cells[] = {
        "0123456789",
        "日本 is a sentence of so many words that a line of a terminal would be full of it", "x"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(table_add_column(t, names[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(table_add_cell(t, span_of(cells[i])), 0);
    }
    assert_int_equal(table_fit(t, 200), 0);
    char *text = print_to_text(print_table, t);
    assert_non_null(strstr(text, "full of it  x\n"));
    free(text);
    assert_int_equal(table_fit(t, 78), 0);
    text = print_to_text(print_table, t);
    assert_non_null(
        strstr(text, "日本 is a sentence of so many words that a line of a termin\u2026  x\n"));
    free(text);
    assert_int_equal(table_fit(t, 36), 1);
    assert_true(span_is(table_column_name(t, 2), "last"));
    text = print_to_text(print_table, t);
    assert_string_equal(text, "        id  why\n0123456789  日本 is a sentence of s\u2026\n");
    free(text);
    assert_int_equal(table_fit(t, 20), 2);
    text = print_to_text(print_table, t);
    assert_string_equal(text, "        id\n0123456789\n");
    free(text);
    table_free(t);
}

/* A value cannot break a table's lines or move the cursor. */
static void test_table_shows_no_control_characters(void **state)
{
    (void)state;
    struct table *t = table_new();
    assert_int_equal(table_add_column(t, "a"), 0);
    assert_int_equal(table_add_cell(t, span_of("x\n\033[2Jy")), 0);
    char *text = print_to_text(print_table, t);
    assert_string_equal(text, "a\nx  [2Jy\n");
    free(text);
    table_free(t);
}

static void print_csv(FILE *out, void *data)
{
    (void)data;
    csv_print_field(out, span_of("plain"), true);
    csv_print_field(out, span_of("a,\"b\"\n"), false);
    csv_print_field(out, span_make(NULL, 0), false);
    csv_end_row(out);
}

/* CSV fields are quoted when they must be (RFC 4180). */
static void test_csv_quotes_what_needs_it(void **state)
{
    (void)state;
    char *text = print_to_text(print_csv, NULL);
    assert_string_equal(text, "plain,\"a,\"\"b\"\"\n\",\r\n");
    free(text);
}

/* A bar is full at 1 and never longer than its width. */
static void test_bar_stays_in_bounds(void **state)
{
    (void)state;
    char out[16];
    assert_string_equal(bar_format(0.5, 4, out, sizeof out), "[##..]");
    assert_string_equal(bar_format(7, 4, out, sizeof out), "[####]");
    assert_string_equal(bar_format(-1, 4, out, sizeof out), "[....]");
}

/* The longest name wins: "workers drain" is not "workers" with an argument. */
static void test_command_longest_name_wins(void **state)
{
    (void)state;
    int words = 0;
    char *drain[] = {"workers", "drain", "w1"};
    char *unknown[] = {"market", "rename"};
    assert_string_equal(cli_command_find(3, drain, &words)->name, "workers drain");
    assert_int_equal(words, 2);
    assert_string_equal(cli_command_find(1, drain, &words)->name, "workers");
    assert_null(cli_command_find(2, unknown, &words));
}

/* Every command has a summary, examples that begin with its name, and sorted flags. */
static void test_commands_are_described(void **state)
{
    (void)state;
    for (size_t i = 0; cli_command_at(i); i++) {
        const struct cli_command *c = cli_command_at(i);
        char name[64];
        (void)snprintf(name, sizeof name, "meridian %s", c->name);
        assert_non_null(c->run);
        assert_true(strlen(c->summary) > 10 && c->summary[strlen(c->summary) - 1] != '.');
        assert_non_null(strstr(c->examples, name));
        for (size_t f = 1; f < c->flag_count; f++) {
            assert_true(strcmp(c->flags[f - 1].name, c->flags[f].name) < 0);
        }
        char *help = print_to_text(print_help, (void *)(uintptr_t)c);
        assert_non_null(strstr(help, c->examples));
        free(help);
    }
}

/* The contract's commands are all there. */
static void test_commands_of_the_contract(void **state)
{
    (void)state;
    static const char *const names[] = {
        "migrate",       "market set",    "market list",  "market show",   "market rm",
        "task set",      "task list",     "task show",    "data import",   "data list",
        "data snapshot", "data erase",    "submit",       "nightly run",   "jobs",
        "job",           "watch",         "wait",         "logs",          "cancel",
        "retry",         "dead list",     "dead show",    "dead replay",   "dead purge",
        "schedule set",  "schedule list", "schedule rm",  "schedule run",  "schedule next",
        "queue stats",   "queue pause",   "queue resume", "workers",       "workers drain",
        "model list",    "model show",    "model diff",   "model promote", "model rollback",
        "model pull",    "model push",    "model export", "predict",       "report",
        "help",
    };
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        bool is_there = false;
        for (size_t i = 0; cli_command_at(i); i++) {
            is_there = is_there || strcmp(cli_command_at(i)->name, names[n]) == 0;
        }
        if (!is_there) {
            fail_msg("no command \"%s\"", names[n]);
        }
    }
}

/* The manual page has a section for each command, with its arguments. */
static void test_manual_covers_every_command(void **state)
{
    (void)state;
    struct buf page;
    struct err_buf e = {{0}};
    buf_init(&page, 1 << 20);
    assert_int_equal(cli_read_file(MERIDIAN_SOURCE_DIR "/ops/man/meridian.1", &page, &e), 0);
    for (size_t i = 0; cli_command_at(i); i++) {
        const struct cli_command *c = cli_command_at(i);
        char section[128];
        (void)snprintf(section, sizeof section, ".SS \"meridian %s%s%s\"\n", c->name,
                       *c->args ? " " : "", c->args);
        if (!strstr(buf_text(&page), section)) {
            fail_msg("ops/man/meridian.1 lacks: %s", section);
        }
    }
    buf_close(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_width_counts_columns),
        cmocka_unit_test(test_table_aligns_by_width),
        cmocka_unit_test(test_table_fits_a_line),
        cmocka_unit_test(test_table_shows_no_control_characters),
        cmocka_unit_test(test_csv_quotes_what_needs_it),
        cmocka_unit_test(test_bar_stays_in_bounds),
        cmocka_unit_test(test_command_longest_name_wins),
        cmocka_unit_test(test_commands_are_described),
        cmocka_unit_test(test_commands_of_the_contract),
        cmocka_unit_test(test_manual_covers_every_command),
    };
    return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
