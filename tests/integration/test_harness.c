/* The harness itself: servers come up, come back on the same port after kill -9, and are private.
 */
#include "tests/harness/servers.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

/* After kill -9 a server starts again with the same address and, PostgreSQL, with its data. */
static void test_servers_come_back_at_the_same_address(void **state)
{
    (void)state;
    struct servers *s = servers_new("harness");
    servers_redis_start(s);
    servers_pg_start(s);
    char redis_url[256];
    char pg_url[256];
    strcpy(redis_url, servers_redis_url(s));
    strcpy(pg_url, servers_pg_new_database(s, "other"));
    servers_redis_kill(s);
    servers_pg_kill(s);
    servers_redis_start(s);
    servers_pg_start(s);
    assert_string_equal(redis_url, servers_redis_url(s));
    const char *argv[] = {"psql", "-At", "-c", "SELECT 1", pg_url, NULL};
    assert_int_equal(servers_run(s, "/usr/bin/psql", argv, NULL, "psql.log", 10000), 0);
    servers_free(s);
}

/* The exit code of a program is told from its end by a signal. */
static void test_servers_run_tells_how_a_program_ended(void **state)
{
    (void)state;
    struct servers *s = servers_new("run");
    const char *seven[] = {"sh", "-c", "exit 7", NULL};
    const char *killed[] = {"sh", "-c", "kill -9 $$", NULL};
    const char *env[] = {"GREETING=hello", NULL};
    const char *sees[] = {"sh", "-c", "test \"$GREETING\" = hello", NULL};
    assert_int_equal(servers_run(s, "/bin/sh", seven, NULL, "a.log", 10000), 7);
    assert_int_equal(servers_run(s, "/bin/sh", killed, NULL, "a.log", 10000), 128 + SIGKILL);
    assert_int_equal(servers_run(s, "/bin/sh", sees, env, "a.log", 10000), 0);
    servers_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_servers_come_back_at_the_same_address),
        cmocka_unit_test(test_servers_run_tells_how_a_program_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
