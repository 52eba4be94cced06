/* finetune and evaluate on real servers, with the sample texts that ship with Meridian. */
#include "tests/integration/worker_fixture.h"

#include "common/artifact/artifact.h"
#include "common/json/json.h"

#include <stdlib.h>

/* The path of a market's sample file. */
static FILE *open_sample(const char *market, const char *split)
{
    char path[512];
    (void)snprintf(path, sizeof path, MERIDIAN_SOURCE_DIR "/ops/sample/%s/%s.jsonl", market, split);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    return file;
}

/* One line of the file into the samples, digest as the import makes it. */
static void insert_line(struct fixture *f, const char *market, const char *split, const char *line)
{
    struct json *row = NULL;
    struct err_buf e = {{0}};
    assert_int_equal(json_parse(span_of(line), &json_limits_line, &row, &e), 0);
    int rc = PG_SYNC_EXEC(
        f->pg, NULL, &e,
        "INSERT INTO meridian.sample (market, task, split, external_id, label, text, digest)"
        " VALUES ($1, 'support-intent', $2, $3, $4, $5, sha256(convert_to($3, 'UTF8') || '\\x00'"
        " || convert_to($4, 'UTF8') || '\\x00' || convert_to($5, 'UTF8')))",
        market, split, json_text_or(json_get(row, "id"), NULL),
        json_text_or(json_get(row, "label"), NULL), json_text_or(json_get(row, "text"), NULL));
    if (rc != 0) {
        fail_msg("%s", e.text);
    }
    json_free(row);
}

static void insert_samples(struct fixture *f, const char *market, const char *split)
{
    char line[8192];
    FILE *file = open_sample(market, split);
    while (fgets(line, sizeof line, file)) {
        insert_line(f, market, split, line);
    }
    (void)fclose(file);
}

static int setup(void **state)
{
    const char *const splits[] = {"train", "dev", "test"};
    int rc = fixture_setup(state);
    for (int i = 0; i < 3; i++) {
        insert_samples(*state, "de-DE", splits[i]);
    }
    return rc;
}

static struct json *parse_result(const struct outcome *o)
{
    struct json *root = NULL;
    struct err_buf e = {{0}};
    if (o->outcome != MESSAGE_SUCCEEDED) {
        fail_msg("%s: %s", o->error_code, o->error_text);
    }
    assert_int_equal(json_parse(span_of(o->result), &json_limits_result, &root, &e), 0);
    return root;
}

/* The value of a metric, or a failure. */
static double metric(const struct json *list, const char *name)
{
    for (size_t i = 0; i < json_count(list); i++) {
        if (strcmp(json_text_or(json_get(json_at(list, i), "name"), ""), name) == 0) {
            return json_real_or(json_get(json_at(list, i), "value"), -1);
        }
    }
    fail_msg("no metric %s", name);
    return 0;
}

/* Runs one job to its end and records it. */
static struct json *learn(struct fixture *f, const char *kind, const char *spec, struct job *ret)
{
    struct outcome o;
    job_dispatch(f, ret, kind, "emea", spec, 1024, 300);
    wait_report(f, ret, &o);
    struct json *result = parse_result(&o);
    job_finish(f, ret, &o);
    mem_free(o.result);
    return result;
}

/* The first version is trained from nothing, stored under its hash, and promoted by its evaluation;
 * the next one starts from it, is compared with it, and knows what the base was worth. */
static void test_learn_from_samples_to_champion(void **state)
{
    struct fixture *f = *state;
    struct job first, score, second;
    char spec[128];
    pid_t pid = worker_start(f, "learn", "emea", "30s");
    struct json *made = learn(f, "finetune", "{}", &first);
    const struct json *version = json_get(made, "version");
    assert_int_equal(json_kind_of(json_get(version, "base_version")), JSON_KIND_NULL);
    assert_int_equal(json_count(json_get(version, "labels")), 8);
    assert_true(metric(json_get(made, "metrics"), "dev_accuracy") > 0.3);
    assert_true(metric(json_get(made, "metrics"), "train_seconds") >= 0);
    assert_true(json_count(json_get(made, "curve")) > 0);

    uint8_t name[SHA256_BYTES];
    void *bytes = NULL;
    size_t length = 0;
    struct err_buf e = {{0}};
    const char *hex = json_text_or(json_get(version, "artifact"), "");
    assert_int_equal(sha256_from_hex(hex, name), 0);
    assert_int_equal(artifact_get(f->pg, name, 1u << 30, &bytes, &length, &e), 0);
    assert_true(length > 1000);
    mem_free(bytes);

    (void)snprintf(spec, sizeof spec, "{\"from_job\": \"%s\", \"promote\": true}", first.id.text);
    struct json *scored = learn(f, "evaluate", spec, &score);
    const struct json *evaluation = json_get(scored, "evaluation");
    double accuracy = metric(json_get(evaluation, "metrics"), "accuracy");
    assert_true(accuracy > 0.3 && accuracy <= 1);
    assert_true(json_bool_or(json_get(json_get(evaluation, "verdict"), "promote"), false));
    assert_true(sql_is(f, "1", "SELECT count(*) FROM meridian.champion WHERE market = 'de-DE'"));
    json_free(scored);
    json_free(made);

    made = learn(f, "finetune", "{\"compare_scratch\": true, \"seed\": 2}", &second);
    version = json_get(made, "version");
    assert_int_equal(json_kind_of(json_get(version, "base_version")), JSON_KIND_INTEGER);
    const struct json *metrics = json_get(made, "metrics");
    assert_true(metric(metrics, "base_source_loss") > 0);
    assert_true(metric(metrics, "base_gap") ==
                metric(metrics, "base_target_loss") - metric(metrics, "base_source_loss"));
    assert_true(metric(metrics, "finetune_gain") ==
                metric(metrics, "scratch_target_loss") - metric(metrics, "finetuned_target_loss"));
    json_free(made);
    (void)snprintf(spec, sizeof spec, "{\"from_job\": \"%s\", \"promote\": true}", second.id.text);
    scored = learn(f, "evaluate", spec, &score);
    evaluation = json_get(scored, "evaluation");
    assert_int_equal(json_kind_of(json_get(evaluation, "champion")), JSON_KIND_INTEGER);
    assert_true(metric(json_get(evaluation, "champion_metrics"), "accuracy") == accuracy);
    json_free(scored);
    assert_true(sql_is(f, "2", "SELECT count(*) FROM meridian.version"));
    assert_int_equal(worker_stop(f, pid), 0);
}

/* One pass starts from nothing whatever champion there is, is scored on dev all the same, repeats
 * to the byte, and says in its version how it was made. */
static void test_learn_in_one_pass(void **state)
{
    struct fixture *f = *state;
    char hashes[2][SHA256_HEX_SIZE];
    pid_t pid = worker_start(f, "one-pass", "emea", "30s");
    for (int i = 0; i < 2; i++) {
        struct job j;
        struct json *made = learn(f, "finetune", "{\"one_pass\": true}", &j);
        const struct json *version = json_get(made, "version");
        assert_int_equal(json_kind_of(json_get(version, "base_version")), JSON_KIND_NULL);
        assert_true(json_bool_or(json_get(json_get(version, "spec"), "one_pass"), false));
        assert_true(metric(json_get(made, "metrics"), "dev_accuracy") > 0.3);
        assert_int_equal(json_count(json_get(made, "curve")), 1);
        (void)snprintf(hashes[i], sizeof hashes[i], "%s",
                       json_text_or(json_get(version, "artifact"), "?"));
        json_free(made);
    }
    assert_string_equal(hashes[0], hashes[1]);
    assert_int_equal(worker_stop(f, pid), 0);
}

/* The same job on two workers gives the same artifact, byte for byte; another seed may not. */
static void test_learn_is_the_same_on_two_workers(void **state)
{
    struct fixture *f = *state;
    char hashes[2][SHA256_HEX_SIZE];
    for (int i = 0; i < 2; i++) {
        struct job j;
        const char *name = i == 0 ? "same-a" : "same-b";
        pid_t pid = worker_start(f, name, "emea", "30s");
        struct json *made = learn(f, "finetune", "{\"base\": \"none\", \"seed\": 7}", &j);
        (void)snprintf(hashes[i], sizeof hashes[i], "%s",
                       json_text_or(json_get(json_get(made, "version"), "artifact"), "?"));
        json_free(made);
        assert_true(
            sql_is(f, name, "SELECT worker FROM meridian.attempt WHERE job = '%s'", j.id.text));
        assert_int_equal(worker_stop(f, pid), 0);
    }
    assert_string_equal(hashes[0], hashes[1]);
}

static void expect_failure(struct fixture *f, const char *kind, const char *spec, const char *code,
                           const char *words)
{
    struct job j;
    struct outcome o;
    job_dispatch(f, &j, kind, "emea", spec, 1024, 300);
    wait_report(f, &j, &o);
    assert_int_equal(o.outcome, MESSAGE_FAILED);
    assert_string_equal(o.error_code, code);
    if (!strstr(o.error_text, words)) {
        fail_msg("\"%s\" does not say \"%s\"", o.error_text, words);
    }
    job_close(f, &j, "failed");
}

/* What cannot work says what is missing and what to do, and never shows a text. */
static void test_learn_explains_what_is_missing(void **state)
{
    struct fixture *f = *state;
    pid_t pid = worker_start(f, "explain", "emea", "30s");
    sql(f, NULL, 0,
        "INSERT INTO meridian.market (code, region) VALUES ('fr-FR', 'emea')"
        " ON CONFLICT DO NOTHING");
    expect_failure(f, "finetune", "{\"markets\": [\"fr-FR\"]}", "DATA",
                   "market 'fr-FR' has no train samples for task 'support-intent'");
    expect_failure(f, "finetune", "{\"base\": \"version:99999\"}", "DATA", "no such version");
    expect_failure(f, "evaluate", "{\"version\": 99999}", "DATA", "no version 99999");
    sql(f, NULL, 0,
        "INSERT INTO meridian.sample (market, task, split, external_id, label, text, digest)"
        " SELECT 'fr-FR', 'support-intent', 'train', i::text, 'a', 'bonjour',"
        " sha256(convert_to(i::text, 'UTF8') || '\\x00' || 'a' || '\\x00' || 'bonjour')"
        " FROM generate_series(1, 20) AS i");
    expect_failure(f, "finetune", "{\"markets\": [\"fr-FR\"]}", "DATA", "one label only");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* With as_of, training, testing and the base are those of then; the champion of today is no base.
 */
static void test_learn_uses_what_was_known_then(void **state)
{
    struct fixture *f = *state;
    struct job j;
    char all[32], known[32];
    pid_t pid = worker_start(f, "then", "emea", "30s");
    sql(f, all, sizeof all,
        "SELECT count(*) FROM meridian.sample WHERE market = 'de-DE' AND split = 'train'");
    sql(f, known, sizeof known,
        "SELECT count(*) FROM meridian.sample WHERE market = 'de-DE' AND split = 'train'"
        " AND id <= (SELECT max(id) FROM meridian.sample WHERE market = 'de-DE' AND id <= 100)");
    expect_failure(f, "finetune", "{\"as_of\": \"2025-12-31T00:00:00Z\"}", "DATA",
                   "market 'de-DE' has no train samples for task 'support-intent'");
    sql(f, NULL, 0,
        "UPDATE meridian.sample SET imported_at = CASE WHEN id <= 100 THEN "
        "'2026-01-01'::timestamptz"
        " ELSE now() END WHERE market = 'de-DE'");
    struct json *made = learn(f, "finetune", "{\"as_of\": \"2026-01-02T00:00:00Z\"}", &j);
    const struct json *version = json_get(made, "version");
    assert_int_equal(json_kind_of(json_get(version, "base_version")), JSON_KIND_NULL);
    assert_int_equal(json_integer_or(json_get(json_get(version, "train_snapshot"), "samples"), -1),
                     atoi(known));
    assert_true(atoi(known) > 0 && atoi(known) < atoi(all));
    json_free(made);
    assert_int_equal(worker_stop(f, pid), 0);
}

/* A champion that cannot be read does not stop the night's training; its comparison says what to
 * do.
 */
static void test_learn_goes_on_without_a_readable_base(void **state)
{
    struct fixture *f = *state;
    struct job j;
    char spec[128];
    pid_t pid = worker_start(f, "unreadable", "emea", "30s");
    sql(f, NULL, 0,
        "UPDATE meridian.artifact_chunk SET data = 'y'::bytea || substr(data, 2) WHERE number = 0"
        " AND sha256 IN (SELECT artifact FROM meridian.version WHERE market = 'de-DE')");
    struct json *made = learn(f, "finetune", "{\"seed\": 11}", &j);
    assert_int_equal(json_kind_of(json_get(json_get(made, "version"), "base_version")),
                     JSON_KIND_NULL);
    json_free(made);
    (void)snprintf(spec, sizeof spec, "{\"from_job\": \"%s\", \"promote\": true}", j.id.text);
    expect_failure(f, "evaluate", spec, "CORRUPT", "meridian model promote");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* A text that was changed behind the import's back is noticed by its hash. */
static void test_learn_notices_changed_texts(void **state)
{
    struct fixture *f = *state;
    pid_t pid = worker_start(f, "corrupt", "emea", "30s");
    sql(f, NULL, 0,
        "UPDATE meridian.sample SET text = text || '!' WHERE id = (SELECT max(id)"
        " FROM meridian.sample WHERE market = 'de-DE' AND split = 'train')");
    expect_failure(f, "finetune", "{}", "CORRUPT", "are not those of snapshot");
    assert_int_equal(worker_stop(f, pid), 0);
}

/* A chunk of an artifact that changed in the database is refused, and so is one that is gone. */
static void test_artifact_is_verified(void **state)
{
    struct fixture *f = *state;
    struct err_buf e = {{0}};
    uint8_t name[SHA256_BYTES], again[SHA256_BYTES];
    char hex[SHA256_HEX_SIZE], path[512];
    size_t length = 0;
    void *data = NULL;
    size_t size = (size_t)ARTIFACT_CHUNK_BYTES * 2 + 17;
    char *bytes = mem_new(size);
    memset(bytes, 'x', size);
    assert_int_equal(artifact_put(f->pg, span_make(bytes, size), name, &e), 0);
    assert_int_equal(artifact_put(f->pg, span_make(bytes, size), again, &e), 0);
    assert_memory_equal(name, again, SHA256_BYTES);
    (void)sha256_hex(name, hex);
    assert_true(sql_is(f, "3",
                       "SELECT count(*) FROM meridian.artifact_chunk"
                       " WHERE sha256 = '\\x%s'",
                       hex));
    assert_int_equal(artifact_get(f->pg, name, size, &data, &length, &e), 0);
    assert_true(length == size && memcmp(data, bytes, size) == 0);
    mem_free(data);
    assert_int_equal(artifact_get(f->pg, name, size - 1, &data, &length, &e), ERR_LIMIT);
    (void)snprintf(path, sizeof path, "%s/artifact", servers_directory(f->servers));
    assert_int_equal(artifact_get_file(f->pg, name, path, &e), 0);
    assert_int_equal(access(path, R_OK), 0);
    (void)unlink(path);
    sql_do(f,
           "UPDATE meridian.artifact_chunk SET data = 'y'::bytea || substr(data, 2)"
           " WHERE sha256 = '\\x%s' AND number = 1",
           hex);
    assert_int_equal(artifact_get(f->pg, name, size, &data, &length, &e), ERR_CORRUPT);
    assert_int_equal(artifact_get_file(f->pg, name, path, &e), ERR_CORRUPT);
    assert_int_not_equal(access(path, F_OK), 0);
    sql_do(f, "DELETE FROM meridian.artifact_chunk WHERE sha256 = '\\x%s' AND number = 2", hex);
    assert_int_equal(artifact_get(f->pg, name, size, &data, &length, &e), ERR_CORRUPT);
    memset(name, 7, sizeof name);
    assert_int_equal(artifact_get(f->pg, name, size, &data, &length, &e), ERR_NOTFOUND);
    mem_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_artifact_is_verified),
        cmocka_unit_test(test_learn_from_samples_to_champion),
        cmocka_unit_test(test_learn_in_one_pass),
        cmocka_unit_test(test_learn_is_the_same_on_two_workers),
        cmocka_unit_test(test_learn_explains_what_is_missing),
        cmocka_unit_test(test_learn_uses_what_was_known_then),
        cmocka_unit_test(test_learn_goes_on_without_a_readable_base),
        cmocka_unit_test(test_learn_notices_changed_texts), /* last: it breaks the samples */
    };
    return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
