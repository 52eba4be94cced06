/* migrate_run on a real PostgreSQL: once, twice, two at once, and everything that it refuses. */
#include "common/pg/pg_sync.h"
#include "sql/migrate.h"
#include "tests/harness/servers.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define FILE_OF(path, text, sha256)                                                                \
    {                                                                                              \
        path, text, sizeof(text) - 1, sha256                                                       \
    }

static struct servers *servers;

struct steps {
    int known, applied, pending;
    char last_applied_at[32];
};

static void count_step(const struct migrate_step *step, void *data)
{
    struct steps *steps = data;
    steps->known += step->state == MIGRATE_KNOWN;
    steps->applied += step->state == MIGRATE_APPLIED;
    steps->pending += step->state == MIGRATE_PENDING;
    (void)snprintf(steps->last_applied_at, sizeof steps->last_applied_at, "%s", step->applied_at);
}

static struct pg_sync *open_url(const char *url)
{
    struct pg_sync *s = NULL;
    struct err_buf e = {{0}};
    if (pg_sync_open(&s, url, "test", 0, &e) < 0) {
        fail_msg("%s", e.text);
    }
    return s;
}

static struct pg_sync *open_new(const char *database)
{
    return open_url(servers_pg_new_database(servers, database));
}

static int run(struct pg_sync *s, const struct sql_set *set, struct steps *steps, struct err_buf *e)
{
    memset(steps, 0, sizeof *steps);
    memset(e, 0, sizeof *e);
    return migrate_run(s, set, false, count_step, steps, e);
}

static int64_t ask(struct pg_sync *s, const char *sql)
{
    struct pg_result *r = NULL;
    struct err_buf e = {{0}};
    if (pg_sync_exec(s, sql, NULL, 0, &r, &e) < 0) {
        fail_msg("%s", e.text);
    }
    int64_t value = pg_integer(r, 0, 0, -1);
    pg_result_free(r);
    return value;
}

/* Our own files apply to an empty database, and a second run finds nothing to do. */
static void test_migrate_twice_applies_once(void **state)
{
    (void)state;
    struct pg_sync *s = open_new("twice");
    struct steps steps;
    struct err_buf e;
    if (run(s, NULL, &steps, &e) < 0) {
        fail_msg("%s", e.text);
    }
    int total = steps.applied;
    assert_true(total >= 3);
    assert_int_equal(steps.known + steps.pending, 0);
    assert_int_equal(ask(s, "SELECT count(*) FROM meridian.migration"), total);
    assert_int_equal(ask(s, "SELECT count(*) FROM report.nightly"), 0);

    assert_int_equal(run(s, NULL, &steps, &e), 0);
    assert_int_equal(steps.known, total);
    assert_int_equal(steps.applied, 0);
    assert_int_equal(strlen(steps.last_applied_at), strlen("2026-01-01T00:00:00Z"));
    pg_sync_close(s);
}

/* A dry run says what is pending and writes nothing. */
static void test_migrate_dry_run_writes_nothing(void **state)
{
    (void)state;
    struct pg_sync *s = open_new("dry");
    struct steps steps = {0};
    struct err_buf e = {{0}};
    assert_int_equal(migrate_run(s, NULL, true, count_step, &steps, &e), 0);
    assert_true(steps.pending >= 3);
    assert_int_equal(steps.known + steps.applied, 0);
    assert_int_equal(ask(s, "SELECT count(*) FROM pg_namespace WHERE nspname = 'meridian'"), 0);
    pg_sync_close(s);
}

struct racer {
    const char *url;
    struct steps steps;
    struct err_buf e;
    int rc;
};

static void *race(void *data)
{
    struct racer *racer = data;
    struct pg_sync *s = NULL;
    racer->rc = pg_sync_open(&s, racer->url, "test", 0, &racer->e);
    if (racer->rc == 0) {
        racer->rc = migrate_run(s, NULL, false, count_step, &racer->steps, &racer->e);
    }
    pg_sync_close(s);
    return NULL;
}

/* Two programs at once: both end well, and each step was applied by exactly one of them. */
static void test_migrate_two_at_once_apply_once(void **state)
{
    (void)state;
    const char *url = servers_pg_new_database(servers, "race");
    struct racer racers[2] = {{.url = url}, {.url = url}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        if (racers[i].rc < 0) {
            fail_msg("%s", racers[i].e.text);
        }
    }
    assert_int_equal(racers[0].steps.applied + racers[1].steps.applied,
                     racers[0].steps.known + racers[1].steps.known);
    assert_true(racers[0].steps.applied == 0 || racers[1].steps.applied == 0);
}

static const struct sql_file first_files[] = {
    FILE_OF("migrations/0001_one.sql", "CREATE TABLE meridian.one (a integer);", SHA_A),
    FILE_OF("functions/f.sql", "CREATE OR REPLACE VIEW meridian.v AS SELECT 1 AS a;", SHA_A),
};
static const struct sql_set first = {first_files, 2};

/* A migration that was changed after it was applied is refused by name, and nothing is written. */
static void test_migrate_changed_migration_is_refused(void **state)
{
    (void)state;
    static const struct sql_file files[] = {
        FILE_OF("migrations/0001_one.sql", "CREATE TABLE meridian.one (b integer);", SHA_B),
        FILE_OF("migrations/0002_two.sql", "CREATE TABLE meridian.two (a integer);", SHA_A),
    };
    static const struct sql_set changed = {files, 2};
    struct pg_sync *s = open_new("changed");
    struct steps steps;
    struct err_buf e;
    assert_int_equal(run(s, &first, &steps, &e), 0);
    assert_int_equal(run(s, &changed, &steps, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "\"0001_one\" was changed after it was applied"));
    assert_int_equal(ask(s, "SELECT (to_regclass('meridian.two') IS NULL)::integer"), 1);
    pg_sync_close(s);
}

/* A database that a newer program migrated is refused, naming what is unknown. */
static void test_migrate_newer_database_is_refused(void **state)
{
    (void)state;
    struct pg_sync *s = open_new("newer");
    struct steps steps;
    struct err_buf e;
    assert_int_equal(run(s, &first, &steps, &e), 0);
    assert_int_equal(pg_sync_exec(s,
                                  "INSERT INTO meridian.migration (number, name, sha256)"
                                  " VALUES (9, '0009_later', sha256(''))",
                                  NULL, 0, NULL, &e),
                     0);
    assert_int_equal(run(s, &first, &steps, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "\"0009_later\", which this program does not know"));
    assert_int_equal(migrate_run(s, &first, true, NULL, NULL, &e), ERR_INVALID);
    pg_sync_close(s);
}

/* A migration numbered before an applied one is refused. */
static void test_migrate_out_of_order_is_refused(void **state)
{
    (void)state;
    static const struct sql_file late_files[] = {
        FILE_OF("migrations/0003_three.sql", "SELECT 1", SHA_A)};
    static const struct sql_file files[] = {
        FILE_OF("migrations/0002_two.sql", "SELECT 1", SHA_A),
        FILE_OF("migrations/0003_three.sql", "SELECT 1", SHA_A)};
    static const struct sql_set late = {late_files, 1}, both = {files, 2};
    struct pg_sync *s = open_new("order");
    struct steps steps;
    struct err_buf e;
    assert_int_equal(run(s, &late, &steps, &e), 0);
    assert_int_equal(run(s, &both, &steps, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "give it the next free number"));
    pg_sync_close(s);
}

/* A migration that fails half-way leaves nothing, keeps those before it, and names its file. */
static void test_migrate_failing_migration_leaves_nothing(void **state)
{
    (void)state;
    static const struct sql_file files[] = {
        FILE_OF("migrations/0001_one.sql", "CREATE TABLE meridian.one (a integer);", SHA_A),
        FILE_OF("migrations/0002_two.sql",
                "CREATE TABLE meridian.two (a integer); INSERT INTO meridian.nope VALUES (1);",
                SHA_A),
    };
    static const struct sql_set broken = {files, 2};
    struct pg_sync *s = open_new("broken");
    struct steps steps;
    struct err_buf e;
    assert_int_equal(run(s, &broken, &steps, &e), ERR_DATABASE);
    assert_non_null(strstr(e.text, "sql/migrations/0002_two.sql"));
    assert_int_equal(steps.applied, 1);
    assert_int_equal(ask(s, "SELECT (to_regclass('meridian.two') IS NULL)::integer"), 1);
    assert_int_equal(ask(s, "SELECT max(number) FROM meridian.migration"), 1);
    pg_sync_close(s);
}

/* Functions and views are applied again when one of them changed, and only then. */
static void test_migrate_changed_repeatable_is_applied_again(void **state)
{
    (void)state;
    static const struct sql_file files[] = {
        FILE_OF("migrations/0001_one.sql", "CREATE TABLE meridian.one (a integer);", SHA_A),
        FILE_OF("functions/f.sql", "CREATE OR REPLACE VIEW meridian.v AS SELECT 2 AS a;", SHA_B),
    };
    static const struct sql_set second = {files, 2};
    struct pg_sync *s = open_new("again");
    struct steps steps;
    struct err_buf e;
    assert_int_equal(run(s, &first, &steps, &e), 0);
    assert_int_equal(ask(s, "SELECT a FROM meridian.v"), 1);
    assert_int_equal(run(s, &first, &steps, &e), 0);
    assert_int_equal(steps.applied, 0);
    assert_int_equal(run(s, &second, &steps, &e), 0);
    assert_int_equal(steps.applied, 1);
    assert_int_equal(steps.known, 1);
    assert_int_equal(ask(s, "SELECT a FROM meridian.v"), 2);
    pg_sync_close(s);
}

/* A user who owns a database but may not create roles can still migrate it. */
static void test_migrate_without_createrole_succeeds(void **state)
{
    (void)state;
    char url[512];
    const char *admin = servers_pg_new_database(servers, "humble");
    struct pg_sync *s = open_url(admin);
    struct steps steps;
    struct err_buf e;
    assert_int_equal(
        pg_sync_run(s, "CREATE ROLE humble LOGIN; ALTER DATABASE humble OWNER TO humble;", &e), 0);
    pg_sync_close(s);
    (void)snprintf(url, sizeof url, "%s?user=humble", admin);
    s = open_url(url);
    assert_int_equal(ask(s, "SELECT (current_user = 'humble')::integer"), 1);
    if (run(s, NULL, &steps, &e) < 0) {
        fail_msg("%s", e.text);
    }
    pg_sync_close(s);
}

static int start(void **state)
{
    (void)state;
    servers = servers_new("migrate");
    servers_pg_start(servers);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    servers_free(servers);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: the other tests make the group roles, which belong to the whole server. */
        cmocka_unit_test(test_migrate_without_createrole_succeeds),
        cmocka_unit_test(test_migrate_twice_applies_once),
        cmocka_unit_test(test_migrate_dry_run_writes_nothing),
        cmocka_unit_test(test_migrate_two_at_once_apply_once),
        cmocka_unit_test(test_migrate_changed_migration_is_refused),
        cmocka_unit_test(test_migrate_newer_database_is_refused),
        cmocka_unit_test(test_migrate_out_of_order_is_refused),
        cmocka_unit_test(test_migrate_failing_migration_leaves_nothing),
        cmocka_unit_test(test_migrate_changed_repeatable_is_applied_again),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
