/* Checkpoints on real servers: saved, found again, refused, passed over, and the same artifact. */
#include "tests/integration/worker_fixture.h"

#include "common/base/sha256.h"
#include "common/json/json.h"

#include <stdlib.h>

/* Quick to save, long enough to be hit in the middle. */
#define TRAINING "\"patience\": 0, \"strength\": 200, \"epochs\": 40, \"checkpoint_s\": "

static struct json *parse(const char *text, const struct json_limits *limits)
{
    struct json *root = NULL;
    struct err_buf e = {{0}};
    if (json_parse(span_of(text), limits, &root, &e) != 0) {
        fail_msg("%s", e.text);
    }
    return root;
}

static void insert_samples(struct fixture *f, const char *split, int copies)
{
    char path[512], line[8192];
    (void)snprintf(path, sizeof path, MERIDIAN_SOURCE_DIR "/ops/sample/de-DE/%s.jsonl", split);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char count[16];
    (void)snprintf(count, sizeof count, "%d", copies);
    while (fgets(line, sizeof line, file)) {
        struct json *row = parse(line, &json_limits_line);
        struct err_buf e = {{0}};
        int rc = PG_SYNC_EXEC(
            f->pg, NULL, &e,
            "INSERT INTO meridian.sample (market, task, split, external_id, label, text, digest)"
            " SELECT 'de-DE', 'support-intent', $1, s.id, $3, s.text, sha256(convert_to(s.id,"
            " 'UTF8') || '\\x00' || convert_to($3, 'UTF8') || '\\x00' || convert_to(s.text, "
            "'UTF8'))"
            " FROM (SELECT $2 || '-' || n AS id, 'w' || n * 7919 % 1009 || ' ' || $4 AS text"
            " FROM generate_series(1, $5::integer) n) s",
            split, json_text_or(json_get(row, "id"), NULL),
            json_text_or(json_get(row, "label"), NULL), json_text_or(json_get(row, "text"), NULL),
            count);
        if (rc != 0) {
            fail_msg("%s", e.text);
        }
        json_free(row);
    }
    (void)fclose(file);
}

static int setup(void **state)
{
    int rc = fixture_setup(state);
    insert_samples(*state, "train", 5);
    insert_samples(*state, "dev", 1);
    return rc;
}

/* --- attempts -------------------------------------------------------------------------------- */

/* The attempt is lost; the next one is the worker's. */
static void job_again(struct fixture *f, struct job *j)
{
    sql_do(f,
           "UPDATE meridian.attempt SET state = 'lost', ended_at = now(), lease_expires_at = NULL"
           " WHERE job = '%s' AND ended_at IS NULL",
           j->id.text);
    sql_do(f, "UPDATE meridian.job SET state = 'queued' WHERE id = '%s'", j->id.text);
    j->ready.attempt++;
    sql_do(f, "UPDATE meridian.job SET state = 'dispatched', attempt = %d WHERE id = '%s'",
           (int)j->ready.attempt, j->id.text);
    sql_do(f,
           "INSERT INTO meridian.attempt (job, number, state, region, worker, incarnation,"
           " lease_expires_at) SELECT '%s', %d, 'dispatched', 'emea', name, incarnation,"
           " now() + interval '10 s' FROM meridian.worker WHERE name = '%s'",
           j->id.text, (int)j->ready.attempt, f->worker);
    /* No message: the next renewal hands it over. */
}

struct wanted {
    const struct job *job;
    enum message_outcome outcome;
    char *result; /* owned */
};

static void look_at_attempt(const struct redis_entry *entry, void *data)
{
    struct wanted *w = data;
    struct message_report m;
    struct err_buf e = {{0}};
    assert_int_equal(message_decode_report(entry->message, &m, &e), 0);
    if (m.type == MESSAGE_RESULT && w->outcome == 0 &&
        strcmp(m.result.job.text, w->job->id.text) == 0 &&
        m.result.attempt == w->job->ready.attempt) {
        w->outcome = m.result.outcome;
        if (m.result.outcome != MESSAGE_SUCCEEDED) {
            (void)printf("attempt %d: %.*s\n", (int)m.result.attempt,
                         (int)m.result.error_text.length,
                         m.result.error_text.data ? m.result.error_text.data : "");
        }
        w->result =
            m.result.result.data ? mem_string(m.result.result.data, m.result.result.length) : NULL;
    }
}

/* How the job's newest attempt ended; its result in JSON, or NULL. */
static enum message_outcome wait_attempt(struct fixture *f, const struct job *j,
                                         struct json **ret_result)
{
    struct wanted w = {.job = j};
    for (int64_t end = clock_mono_ms() + 3 * WAIT_MS; w.outcome == 0; (void)usleep(5000)) {
        const struct redis_reply *reply = NULL;
        struct err_buf e = {{0}};
        if (clock_mono_ms() > end) {
            fail_msg("no report of attempt %d in time", (int)j->ready.attempt);
        }
        assert_int_equal(
            REDIS_SYNC_CALL(fixture_redis(f), &reply, &e, "XRANGE", "{meridian}:report", "-", "+"),
            0);
        (void)redis_range_entries(reply, look_at_attempt, &w);
    }
    *ret_result = w.result ? parse(w.result, &json_limits_result) : NULL;
    mem_free(w.result);
    return w.outcome;
}

static struct json *wait_success(struct fixture *f, const struct job *j)
{
    struct json *result = NULL;
    assert_int_equal(wait_attempt(f, j, &result), MESSAGE_SUCCEEDED);
    assert_non_null(result);
    return result;
}

static void end_job(struct fixture *f, const struct job *j)
{
    sql_do(f,
           "UPDATE meridian.attempt SET state = 'cancelled', ended_at = now(),"
           " lease_expires_at = NULL WHERE job = '%s' AND ended_at IS NULL",
           j->id.text);
    sql_do(f, "UPDATE meridian.job SET state = 'cancelled', ended_at = now() WHERE id = '%s'",
           j->id.text);
    assert_true(
        sql_is(f, "0", "SELECT count(*) FROM meridian.checkpoint WHERE job = '%s'", j->id.text));
}

/* Trainings that save all the time take theirs on a busy machine. */
static void wait_checkpoints(struct fixture *f, const struct job *j, int count, const char *phase)
{
    int64_t end = clock_mono_ms() + 3 * WAIT_MS;
    while (!sql_is(
        f, "t", "SELECT count(*) >= %d FROM meridian.checkpoint WHERE job = '%s' AND phase = '%s'",
        count, j->id.text, phase)) {
        assert_true(clock_mono_ms() < end);
        (void)usleep(10000);
    }
}

static void kill_runner(struct fixture *f, pid_t supervisor, const struct job *j)
{
    struct json *ignored = NULL;
    assert_int_equal(kill(runner_of(supervisor), SIGKILL), 0);
    assert_int_equal(wait_attempt(f, j, &ignored), MESSAGE_CRASHED);
}

/* The step that the newest attempt went on from, "" for none. */
static void resumed_step(struct fixture *f, const struct job *j, char out[32])
{
    char statement[256];
    (void)snprintf(statement, sizeof statement,
                   "SELECT resumed_step::text FROM meridian.attempt WHERE job = '%s' AND number = "
                   "%d",
                   j->id.text, (int)j->ready.attempt);
    sql(f, out, 32, statement);
}

static const char *artifact_of(const struct json *result)
{
    return json_text_or(json_get(json_get(result, "version"), "artifact"), "none");
}

/* --- noop ------------------------------------------------------------------------------------ */

/* Steps that an earlier attempt did are not done again, and each counts once. */
static void test_checkpoint_of_a_noop_goes_on(void **state)
{
    struct fixture *f = *state;
    struct job j, whole;
    char step[32];
    pid_t pid = worker_start(f, "noop", "emea", "30s");
    job_dispatch(f, &whole, "noop", "emea", "{\"steps\": 40}", 64, 60);
    struct json *undisturbed = wait_success(f, &whole);
    end_job(f, &whole);
    job_dispatch(f, &j, "noop", "emea",
                 "{\"steps\": 40, \"sleep_ms\": 4000, \"checkpoint_s\": 0.05}", 64, 60);
    wait_checkpoints(f, &j, 2, "sleep");
    kill_runner(f, pid, &j);
    job_again(f, &j);
    struct json *result = wait_success(f, &j);
    resumed_step(f, &j, step);
    int64_t from = strtoll(step, NULL, 10);
    assert_true(from >= 2);
    assert_int_equal(json_integer_or(json_get(result, "steps"), 0), 40);
    assert_int_equal(json_integer_or(json_get(result, "steps_here"), 0), 40 - from);
    assert_string_equal(json_text_or(json_get(result, "chain"), "a"),
                        json_text_or(json_get(undisturbed, "chain"), "b"));
    end_job(f, &j);
    json_free(undisturbed);
    json_free(result);
    assert_int_equal(worker_stop(f, pid), 0);
}

/* A drain asks for a checkpoint, also when there is none by time, before the job goes back. */
static void test_checkpoint_when_a_worker_drains(void **state)
{
    struct fixture *f = *state;
    struct job j;
    struct json *ignored = NULL;
    pid_t pid = worker_start(f, "drains", "emea", "0s");
    job_dispatch(f, &j, "noop", "emea",
                 "{\"steps\": 1200, \"sleep_ms\": 60000, \"checkpoint_s\": 0}", 64, 100);
    wait_sql(f, "SELECT (progress ->> 'step')::integer >= 1 FROM meridian.attempt WHERE job = '%s'",
             j.id.text);
    assert_true(sql_is(f, "0", "SELECT count(*) FROM meridian.checkpoint"));
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(wait_attempt(f, &j, &ignored), MESSAGE_RETURNED);
    assert_true(sql_is(f, "t", "SELECT min(step) >= 1 FROM meridian.checkpoint WHERE job = '%s'",
                       j.id.text));
    end_job(f, &j);
    int status = servers_wait(f->servers, pid, 0, WAIT_MS);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A cancel wants none: the job is over. */
static void test_checkpoint_not_for_a_cancel(void **state)
{
    struct fixture *f = *state;
    struct job j;
    struct json *ignored = NULL;
    pid_t pid = worker_start(f, "cancels", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea",
                 "{\"steps\": 1200, \"sleep_ms\": 60000, \"checkpoint_s\": 0}", 64, 100);
    wait_sql(f, "SELECT (progress ->> 'step')::integer >= 1 FROM meridian.attempt WHERE job = '%s'",
             j.id.text);
    sql_do(f, "UPDATE meridian.job SET cancel_requested_at = now() WHERE id = '%s'", j.id.text);
    assert_int_equal(wait_attempt(f, &j, &ignored), MESSAGE_CANCELLED);
    assert_true(sql_is(f, "0", "SELECT count(*) FROM meridian.checkpoint"));
    end_job(f, &j);
    assert_int_equal(worker_stop(f, pid), 0);
}

/* A runner whose attempt was given away registers nothing, leaves no bytes, and that is noted. */
static void test_checkpoint_of_an_older_epoch_is_refused(void **state)
{
    struct fixture *f = *state;
    struct job j;
    char before[32];
    pid_t pid = worker_start(f, "older", "emea", "30s");
    job_dispatch(f, &j, "noop", "emea",
                 "{\"steps\": 3000, \"sleep_ms\": 60000, \"checkpoint_s\": 0.02}", 64, 100);
    wait_checkpoints(f, &j, 2, "sleep");
    (void)snprintf(f->worker, sizeof f->worker, "nobody");
    job_again(f, &j); /* to nobody: the record alone knows of it */
    sql_do(f,
           "INSERT INTO meridian.attempt (job, number, state, region) VALUES ('%s', 2,"
           " 'dispatched', 'emea') ON CONFLICT DO NOTHING",
           j.id.text);
    sql(f, before, sizeof before, "SELECT max(step) FROM meridian.checkpoint");
    wait_sql(f,
             "SELECT EXISTS (SELECT FROM report.stale_writes WHERE job = '%s' AND kind ="
             " 'checkpoint' AND named_attempt = 1 AND worker = 'older')",
             j.id.text);
    assert_true(sql_is(f, before, "SELECT max(step) FROM meridian.checkpoint"));
    assert_true(sql_is(f, "2", "SELECT count(*) FROM meridian.artifact"));
    end_job(f, &j);
    assert_true(sql_is(f, "0", "SELECT count(*) FROM meridian.artifact"));
    assert_int_equal(worker_stop(f, pid), 0);
}

/* --- finetune -------------------------------------------------------------------------------- */

/* Trains without being disturbed; the artifact's name into out. */
static void undisturbed(struct fixture *f, const char *spec, char out[SHA256_HEX_SIZE])
{
    struct job j;
    job_dispatch(f, &j, "finetune", "emea", spec, 1024, 300);
    struct json *result = wait_success(f, &j);
    (void)snprintf(out, SHA256_HEX_SIZE, "%s", artifact_of(result));
    json_free(result);
    end_job(f, &j);
}

/* A training is killed once it has two checkpoints; then step(f, j) happens; the next attempt must
 * end with the artifact of an undisturbed one. */
static void disturb(struct fixture *f, const char *name,
                    void (*step)(struct fixture *f, const struct job *j, char expected[32]))
{
    struct job j;
    static char artifact[SHA256_HEX_SIZE]; /* made once: it is the same for all */
    char expected[32], from[32];
    pid_t pid = worker_start(f, name, "emea", "30s");
    if (!artifact[0]) {
        undisturbed(f, "{\"base\": \"none\", " TRAINING "0}", artifact);
    }
    job_dispatch(f, &j, "finetune", "emea", "{\"base\": \"none\", " TRAINING "0.05}", 1024, 300);
    wait_checkpoints(f, &j, 2, "train");
    kill_runner(f, pid, &j);
    step(f, &j, expected);
    job_again(f, &j);
    struct json *result = wait_success(f, &j);
    assert_string_equal(artifact_of(result), artifact);
    resumed_step(f, &j, from);
    assert_string_equal(from, expected);
    json_free(result);
    end_job(f, &j);
    assert_int_equal(worker_stop(f, pid), 0);
}

static void step_of(struct fixture *f, const struct job *j, const char *which, char out[32])
{
    char statement[256];
    (void)snprintf(statement, sizeof statement,
                   "SELECT %s(step)::text FROM meridian.checkpoint WHERE job = '%s'", which,
                   j->id.text);
    sql(f, out, 32, statement);
}

/* Texts that come in between are not for this attempt: it stands on the snapshot of its start. */
static void import_more(struct fixture *f, const struct job *j, char expected[32])
{
    sql_do(f, "INSERT INTO meridian.sample (market, task, split, external_id, label, text, digest)"
              " VALUES ('de-DE', 'support-intent', 'train', 'late', 'other', 'spät',"
              " sha256(convert_to('late', 'UTF8') || '\\x00' || convert_to('other', 'UTF8') ||"
              " '\\x00' || convert_to('spät', 'UTF8')))");
    step_of(f, j, "max", expected);
}

static void test_checkpoint_of_a_training_goes_on(void **state)
{
    struct fixture *f = *state;
    disturb(f, "imports", import_more);
    sql_do(f, "DELETE FROM meridian.sample WHERE external_id = 'late'");
}

/* The newest one is damaged: the one before serves. */
static void damage_newest(struct fixture *f, const struct job *j, char expected[32])
{
    sql_do(f,
           "UPDATE meridian.artifact_chunk SET data = set_byte(data, length(data) / 2,"
           " get_byte(data, length(data) / 2) # 255) WHERE number = 0 AND sha256 = (SELECT artifact"
           " FROM meridian.checkpoint WHERE job = '%s' ORDER BY id DESC LIMIT 1)",
           j->id.text);
    step_of(f, j, "min", expected);
}

static void test_checkpoint_that_is_damaged_gives_way(void **state)
{
    disturb(*state, "damaged", damage_newest);
}

/* Whatever determines the result is not the same: neither is used. */
static void change_config(struct fixture *f, const struct job *j, char expected[32])
{
    sql_do(f, "UPDATE meridian.checkpoint SET config = sha256('other') WHERE job = '%s'",
           j->id.text);
    expected[0] = '\0';
}

static void test_checkpoint_of_another_config_is_not_used(void **state)
{
    disturb(*state, "config", change_config);
}

static double metric(const struct json *result, const char *name)
{
    const struct json *list = json_get(result, "metrics");
    for (size_t i = 0; i < json_count(list); i++) {
        if (strcmp(json_text_or(json_get(json_at(list, i), "name"), ""), name) == 0) {
            return json_real_or(json_get(json_at(list, i), "value"), -1);
        }
    }
    fail_msg("no metric %s", name);
    return 0;
}

#define COMPARING "{\"base\": \"version:1\", \"compare_scratch\": true, " TRAINING

/* Killed while it trains the second model, from nothing: the first one is not trained again. */
static void test_checkpoint_while_comparing_goes_on(void **state)
{
    struct fixture *f = *state;
    struct job base, whole, j;
    char phase[64];
    pid_t pid = worker_start(f, "compares", "emea", "30s");
    job_dispatch(f, &base, "finetune", "emea", "{\"base\": \"none\", \"epochs\": 2}", 1024, 300);
    struct outcome o;
    wait_report(f, &base, &o);
    job_finish(f, &base, &o);
    mem_free(o.result);
    job_dispatch(f, &whole, "finetune", "emea", COMPARING "0}", 1024, 300);
    struct json *expected = wait_success(f, &whole);
    end_job(f, &whole);
    job_dispatch(f, &j, "finetune", "emea", COMPARING "0.1}", 1024, 300);
    wait_checkpoints(f, &j, 1, "scratch");
    kill_runner(f, pid, &j);
    sql_do(f, "DELETE FROM meridian.checkpoint WHERE job = '%s' AND phase <> 'scratch'", j.id.text);
    job_again(f, &j);
    struct json *result = wait_success(f, &j);
    sql(f, phase, sizeof phase,
        "SELECT count(*) FROM meridian.event WHERE reason LIKE 'goes on from scratch, step %'");
    assert_string_equal(phase, "1");
    assert_string_equal(artifact_of(result), artifact_of(expected));
    static const char *const same[] = {"finetuned_target_loss", "scratch_target_loss",
                                       "finetune_gain", "base_gap", "epochs"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        assert_true(metric(result, same[i]) == metric(expected, same[i]));
    }
    assert_int_equal(json_count(json_get(result, "curve")),
                     json_count(json_get(expected, "curve")));
    end_job(f, &j);
    json_free(result);
    json_free(expected);
    assert_int_equal(worker_stop(f, pid), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checkpoint_of_a_noop_goes_on),
        cmocka_unit_test(test_checkpoint_when_a_worker_drains),
        cmocka_unit_test(test_checkpoint_not_for_a_cancel),
        cmocka_unit_test(test_checkpoint_of_an_older_epoch_is_refused),
        cmocka_unit_test(test_checkpoint_of_a_training_goes_on),
        cmocka_unit_test(test_checkpoint_that_is_damaged_gives_way),
        cmocka_unit_test(test_checkpoint_of_another_config_is_not_used),
        cmocka_unit_test(test_checkpoint_while_comparing_goes_on),
    };
    return cmocka_run_group_tests_name("worker_checkpoint", tests, setup, fixture_teardown);
}
