/*
 * The CLI on real servers: tests/integration/cli/check drives the program as an operator does; this
 * starts the servers and makes two small models for it.
 */
#include "tests/harness/servers.h"
#include "worker/model/bag/bag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void add(struct bag_data *d, const char *text, const char *label)
{
    struct err_buf e = {{0}};
    assert_int_equal(bag_data_add(d, text, strlen(text), label, strlen(label), &e), 0);
}

static void make_model(const char *directory, const char *name, uint64_t seed)
{
    struct err_buf e = {{0}};
    struct bag_params p;
    struct bag_model *m = NULL;
    char path[512];
    bag_params_default(&p);
    p.seed = seed;
    p.epochs = (uint32_t)seed;
    p.feature_count_min = 1;
    struct bag_data *d = bag_data_new(&p, &e);
    assert_non_null(d);
    for (int i = 0; i < 20; i++) {
        add(d, "where is my parcel", "order_status");
        add(d, "my parcel has not arrived", "order_status");
        add(d, "i want my money back", "return_refund");
        add(d, "please refund the money", "return_refund");
    }
    assert_int_equal(bag_train(&m, &p, d, NULL, NULL, NULL, NULL, &e), 0);
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    assert_int_equal(bag_write(m, path, &e), 0);
    bag_free(m);
    bag_data_free(d);
}

static void print_log(const char *directory)
{
    char path[512];
    char line[1024];
    (void)snprintf(path, sizeof path, "%s/check.log", directory);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        (void)fputs(line, stderr);
    }
    if (f) {
        (void)fclose(f);
    }
}

/* build/<preset>/tests/integration/test_cli_program -> build/<preset>/bin */
static void find_bin(char *out, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", out, size - 32);
    assert_true(n > 0);
    out[n] = 0;
    for (int i = 0; i < 3; i++) {
        char *slash = strrchr(out, '/');
        assert_non_null(slash);
        *slash = 0;
    }
    (void)strcat(out, "/bin"); /* 32 bytes were left free */
}

/* Every step of tests/integration/cli/check. */
static void test_cli_as_an_operator_uses_it(void **state)
{
    (void)state;
    char bin[1024];
    char variables[5][1200];
    struct servers *s = servers_new("cli");
    servers_redis_start(s);
    servers_pg_start(s);
    find_bin(bin, sizeof bin);
    make_model(servers_directory(s), "one.bag", 3);
    make_model(servers_directory(s), "two.bag", 5);
    (void)snprintf(variables[0], sizeof *variables, "MERIDIAN_DATABASE_URL=%s", servers_pg_url(s));
    (void)snprintf(variables[1], sizeof *variables, "MERIDIAN_REDIS_URL=%s", servers_redis_url(s));
    (void)snprintf(variables[2], sizeof *variables, "CHECK_BIN=%s", bin);
    (void)snprintf(variables[3], sizeof *variables, "CHECK_DIR=%s", servers_directory(s));
    (void)snprintf(variables[4], sizeof *variables, "CHECK_SOURCE=%s", MERIDIAN_SOURCE_DIR);
    const char *const env[] = {variables[0], variables[1], variables[2],
                               variables[3], variables[4], NULL};
    const char *const argv[] = {"bash", MERIDIAN_SOURCE_DIR "/tests/integration/cli/check", NULL};
    int code = servers_run(s, "/bin/bash", argv, env, "check.log", 240000);
    if (code != 0) {
        print_log(servers_directory(s));
    }
    assert_int_equal(code, 0);
    servers_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cli_as_an_operator_uses_it)};
    return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
