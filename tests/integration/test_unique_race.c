/* Unique keys where submissions race: through Redis and by SQL at the same moment, two schedulers,
 * and the leader killed in the middle. */
#include "tests/integration/queue_bench.h"

#include <pthread.h>

enum { ROUNDS = 24, KILL_ROUND = 8, EACH = 3, REDIS_RACERS = 2, SQL_RACERS = 2 };
enum { RACERS = REDIS_RACERS + SQL_RACERS };

static struct servers *servers;

static int group_setup(void **state)
{
    (void)state;
    servers = servers_new("race");
    servers_redis_start(servers);
    servers_pg_start(servers);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    servers_free(servers);
    return 0;
}

/* --- racers: threads, so what fails is told after they have ended ------------------------------
 */

struct race {
    struct bench *bench;
    const char *policy;
    pthread_barrier_t start; /* of each round */
    pid_t leader;
};

struct racer {
    struct race *race;
    int number;
    struct redis_sync *redis;
    struct pg_sync *pg;
    int accepted; /* by SQL */
    struct err_buf e;
    struct uuid ids[ROUNDS * EACH];
};

/* Each racer's ids are its own: bench_uuid counts without a lock. */
static struct uuid make_id(const struct racer *r, int round, int i)
{
    uint64_t place = (uint64_t)(r->number * 1000000 + round * 1000 + i);
    return uuid_make(clock_wall_ms(), rng_mix(rng_seed_from_system() + place), rng_mix(place));
}

static int submit_to_redis(struct racer *r, int round, int i)
{
    struct message_submission m = {.id = make_id(r, round, i), .spec = span_of("{}")};
    struct buf out;
    char key[BENCH_KEY];
    (void)snprintf(m.kind, sizeof m.kind, "noop");
    (void)snprintf(m.market, sizeof m.market, "de-DE");
    (void)snprintf(m.by, sizeof m.by, "racer");
    (void)snprintf(m.unique, sizeof m.unique, "key %d", round);
    m.unique_policy = message_policy_from_name(r->race->policy);
    r->ids[round * EACH + i] = m.id;
    buf_init(&out, 1 << 16);
    int rc = message_encode_submission(&m, &out, &r->e);
    (void)snprintf(key, sizeof key, "{%s}:intake", r->race->bench->prefix);
    const struct span args[] = {span_of("XADD"), span_of(key), span_of("*"), span_of("m"),
                                buf_span(&out)};
    rc = rc ? rc : redis_sync_send(r->redis, args, 5, 0, NULL, &r->e);
    buf_close(&out);
    return rc;
}

/* Refused at once when the key is held already: that is an answer, too. */
static int submit_by_sql(struct racer *r, int round)
{
    char sql[256];
    struct pg_result *result = NULL;
    (void)snprintf(sql, sizeof sql,
                   "SELECT meridian.submit('noop', market => 'de-DE', unique_key => 'key %d', "
                   "unique_policy => '%s')",
                   round, r->race->policy);
    int rc = pg_sync_exec(r->pg, sql, NULL, 0, &result, &r->e);
    bool is_refused = rc && strcmp(pg_sync_error(r->pg)->sqlstate, "MR004") == 0;
    r->accepted += rc == 0;
    pg_result_free(result);
    return is_refused ? 0 : rc;
}

static void *run_racer(void *data)
{
    struct racer *r = data;
    int rc = 0;
    for (int round = 0; round < ROUNDS; round++) {
        (void)pthread_barrier_wait(&r->race->start);
        if (r->number == 0 && round == KILL_ROUND) {
            (void)kill(r->race->leader, SIGKILL);
        }
        for (int i = 0; i < EACH && rc == 0; i++) {
            rc = r->redis ? submit_to_redis(r, round, i) : submit_by_sql(r, round);
        }
    }
    if (rc == 0) {
        r->e.text[0] = '\0';
    }
    return NULL;
}

static void open_racer(struct racer *r, struct race *race, int number)
{
    struct err_buf e = {{0}};
    *r = (struct racer){.race = race, .number = number};
    int rc = number < REDIS_RACERS
                 ? redis_sync_open(&r->redis, servers_redis_url(servers), "racer", NULL, 5000, &e)
                 : pg_sync_open(&r->pg, race->bench->url, "racer", 0, &e);
    if (rc) {
        fail_msg("%s", e.text);
    }
}

/* Lets all race; how many SQL accepted. */
static int race_all(struct race *race, struct racer racers[RACERS])
{
    pthread_t threads[RACERS];
    int accepted = 0;
    assert_int_equal(pthread_barrier_init(&race->start, NULL, RACERS), 0);
    for (int i = 0; i < RACERS; i++) {
        open_racer(&racers[i], race, i);
    }
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_racer, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_string_equal(racers[i].e.text, "");
        accepted += racers[i].accepted;
        redis_sync_close(racers[i].redis);
        pg_sync_close(racers[i].pg);
    }
    (void)pthread_barrier_destroy(&race->start);
    return accepted;
}

/* --- the cases ------------------------------------------------------------------------------- */

/* Every submission that was taken is in the record: as a job, or as the answer that one was kept.
 */
static void wait_for_all(struct bench *b, const struct racer racers[RACERS], int accepted)
{
    char sql[256], all[16];
    (void)snprintf(sql, sizeof sql,
                   "SELECT (SELECT count(*) FROM meridian.job) + (SELECT count(*) FROM "
                   "meridian.kept)");
    (void)snprintf(all, sizeof all, "%d", accepted + REDIS_RACERS * ROUNDS * EACH);
    assert_true(bench_eventually(b, sql, all, 60000));
    assert_string_equal(bench_ask(b, "SELECT count(*) FROM meridian.submission"), "0");
    for (int r = 0; r < REDIS_RACERS; r++) {
        for (int i = 0; i < ROUNDS * EACH; i++) {
            (void)snprintf(sql, sizeof sql,
                           "SELECT (SELECT count(*) FROM meridian.job WHERE id = '%s') + (SELECT "
                           "count(*) FROM meridian.kept WHERE id = '%s')",
                           racers[r].ids[i].text, racers[r].ids[i].text);
            assert_string_equal(bench_ask(b, sql), "1");
        }
    }
}

/* expected: what the states of all jobs other than the one open are, and whether any was kept. */
static void race_with(const char *policy, const char *others, const char *kept)
{
    struct bench b;
    char name[32], log[2][48];
    (void)snprintf(name, sizeof name, "race_%s", policy);
    (void)snprintf(log[0], sizeof log[0], "%s.first.log", name);
    (void)snprintf(log[1], sizeof log[1], "%s.second.log", name);
    bench_init(&b, servers, name);
    struct race race = {.bench = &b, .policy = policy, .leader = bench_start(&b, log[0])};
    assert_true(bench_eventually(&b, "SELECT count(*) FROM meridian.leader", "1", BENCH_WAIT_MS));
    b.scheduler = bench_start(&b, log[1]);
    static struct racer racers[RACERS];
    int accepted = race_all(&race, racers);
    wait_for_all(&b, racers, accepted);
    assert_string_equal(bench_ask(&b, "SELECT term FROM meridian.leader"), "2");
    char keys[16];
    (void)snprintf(keys, sizeof keys, "%d %d", ROUNDS, ROUNDS);
    assert_string_equal(bench_ask(&b, "SELECT count(*) || ' ' || count(DISTINCT unique_key) FROM "
                                      "meridian.job WHERE ended_at IS NULL"),
                        keys);
    assert_string_equal(bench_ask(&b, "SELECT coalesce(string_agg(DISTINCT state, ' '), '') FROM "
                                      "meridian.job WHERE ended_at IS NOT NULL"),
                        others);
    assert_string_equal(bench_ask(&b, "SELECT CASE WHEN count(*) = 0 THEN 'none' ELSE 'some' END "
                                      "FROM meridian.kept"),
                        kept);
    /* Who was kept, or took another's place, is a job of the same key. */
    assert_string_equal(bench_ask(&b,
                                  "SELECT count(*) FROM meridian.job j WHERE j.superseded_by IS "
                                  "NOT NULL AND NOT EXISTS (SELECT FROM meridian.job n WHERE "
                                  "n.id = j.superseded_by AND n.unique_key = j.unique_key)"),
                        "0");
    (void)servers_wait(servers, race.leader, 0, 1000);
    bench_close(&b);
}

/* Reject: one job a key, everybody else is told who has it. */
static void test_unique_race_reject_leaves_one(void **state)
{
    (void)state;
    race_with("reject", "rejected", "none");
}

/* Keep: one job a key, everybody else is answered with it. */
static void test_unique_race_keep_leaves_one(void **state)
{
    (void)state;
    race_with("keep", "", "some");
}

/* Replace: the last one is left, those before it were superseded. */
static void test_unique_race_replace_leaves_one(void **state)
{
    (void)state;
    race_with("replace", "cancelled", "none");
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unique_race_reject_leaves_one),
        cmocka_unit_test(test_unique_race_keep_leaves_one),
        cmocka_unit_test(test_unique_race_replace_leaves_one),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
