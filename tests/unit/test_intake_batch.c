/* scheduler/intake/batch: entries of the intake as jobs to be admitted. */
#include "common/base/mem.h"
#include "scheduler/intake/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ID_A "01234567-89ab-7cde-8f01-23456789abcd"
#define ID_B "11111111-2222-7333-8444-555555555555"

static struct batch b;
static struct buf bytes;

static int setup(void **state)
{
    (void)state;
    buf_init(&bytes, 4 << 20);
    return batch_init(&b);
}

static int teardown(void **state)
{
    (void)state;
    batch_close(&b);
    buf_close(&bytes);
    return 0;
}

static struct uuid id(const char *text)
{
    struct uuid u;
    memcpy(u.text, text, UUID_SIZE);
    return u;
}

static struct core_id number(const char *text)
{
    struct core_id n;
    assert_true(core_id_parse(span_of(text), &n));
    return n;
}

static void encode_single(const char *spec)
{
    struct message_submission m = {
        .id = id(ID_A), .kind = "noop", .market = "de-DE", .by = "me", .spec = span_of(spec)};
    buf_reset(&bytes);
    assert_int_equal(message_encode_submission(&m, &bytes, NULL), 0);
}

/* Jobs of the given specs; or one that is repeated. */
static void encode_bulk(const char *const *specs, size_t count, int32_t repeat)
{
    struct buf jobs;
    buf_init(&jobs, 2 << 20);
    for (size_t i = 0; i < count; i++) {
        struct message_submission m = {.kind = "noop", .spec = span_of(specs[i])};
        assert_int_equal(message_bulk_add(&m, &jobs, NULL), 0);
    }
    struct message_bulk bulk = {.id = id(ID_B),
                                .by = "me",
                                .reply = "token",
                                .repeat = repeat,
                                .jobs = {buf_span(&jobs), count}};
    buf_reset(&bytes);
    assert_int_equal(message_encode_bulk(&bulk, &bytes, NULL), 0);
    buf_close(&jobs);
}

static int add(void)
{
    return batch_add(&b, span_of("99999999999999-0"), buf_span(&bytes));
}

/* A single submission is one entry with one job, its spec complete. */
static void test_batch_takes_a_submission(void **state)
{
    (void)state;
    batch_reset(&b);
    encode_single("{\"sleep_ms\":3}");
    assert_int_equal(add(), 0);
    assert_int_equal(b.entry_count, 1);
    assert_int_equal(b.count, 1);
    assert_false(b.has_bulk);
    assert_string_equal(b.entries[0].message.text, ID_A);
    const struct core_submission *s = &b.jobs[0];
    assert_null(s->error_code);
    assert_true(span_is(s->market, "de-DE"));
    assert_non_null(memmem(s->spec.data, s->spec.length, "\"sleep_ms\":3", 12));
    assert_true(s->memory_mb > 0);
}

/* A bulk is one entry with many jobs under ids that follow its own; a bad one is refused alone. */
static void test_batch_takes_a_bulk(void **state)
{
    (void)state;
    batch_reset(&b);
    const char *specs[] = {"{}", "{\"sleep_ms\":-1}", "{\"sleep_ms\":7}"};
    encode_bulk(specs, 3, 0);
    assert_int_equal(add(), 0);
    assert_int_equal(b.entry_count, 1);
    assert_int_equal(b.entries[0].count, 3);
    assert_true(b.entries[0].is_bulk && b.has_bulk);
    assert_string_equal(b.entries[0].reply, "token");
    for (size_t i = 0; i < 3; i++) {
        struct uuid bulk = id(ID_B);
        assert_true(core_id_equals(b.jobs[i].id, number(message_bulk_job_id(&bulk, i).text)));
        assert_true(span_is(b.jobs[i].by, "me"));
    }
    assert_null(b.jobs[0].error_code);
    assert_string_equal(b.jobs[1].error_code, "INVALID");
    assert_string_equal(b.jobs[1].error_text, "spec.sleep_ms: -1 is below 0");
    assert_null(b.jobs[2].error_code);
}

/* A job that stands for many is checked once, and takes no more memory for each. */
static void test_batch_repeats_a_job(void **state)
{
    (void)state;
    batch_reset(&b);
    const char *specs[] = {"{\"sleep_ms\":7}"};
    encode_bulk(specs, 1, 1000);
    assert_int_equal(add(), 0);
    assert_int_equal(b.count, 1000);
    assert_ptr_equal(b.jobs[0].spec.data, b.jobs[999].spec.data);
    struct uuid bulk = id(ID_B);
    assert_true(core_id_equals(b.jobs[999].id, number(message_bulk_job_id(&bulk, 999).text)));
}

/* What finds no room leaves the batch as it was. */
static void test_batch_that_is_full_takes_no_part_of_a_bulk(void **state)
{
    (void)state;
    batch_reset(&b);
    const char *specs[] = {"{}"};
    encode_bulk(specs, 1, 1000);
    assert_int_equal(add(), 0);
    assert_int_equal(add(), ERR_LIMIT);
    assert_int_equal(b.entry_count, 1);
    assert_int_equal(b.count, 1000);
    encode_single("{}");
    assert_int_equal(add(), 0);
    assert_int_equal(b.count, 1001);
}

/* An entry that nobody can be told of is kept for its acknowledgement only. */
static void test_batch_drops_what_has_no_id(void **state)
{
    (void)state;
    batch_reset(&b);
    buf_reset(&bytes);
    assert_int_equal(buf_add(&bytes, "\xc1", 1), 0);
    assert_int_equal(add(), 0);
    assert_int_equal(b.entry_count, 1);
    assert_int_equal(b.count, 0);
}

/* Outcomes find their jobs in any order, also those of an id that is there twice. */
static void test_batch_notes_outcomes(void **state)
{
    (void)state;
    batch_reset(&b);
    encode_single("{}");
    assert_int_equal(add(), 0);
    assert_int_equal(add(), 0);
    const char *specs[] = {"{}", "{}"};
    encode_bulk(specs, 2, 0);
    assert_int_equal(add(), 0);
    struct core_admitted rows[] = {
        {.id = b.jobs[3].id, .state = CORE_STATE_REJECTED, .error_text = span_of("no market")},
        {.id = b.jobs[2].id, .state = CORE_STATE_WAITING},
        {.id = number("22222222-2222-7333-8444-555555555555"), .state = CORE_STATE_CANCELLED},
        {.id = b.jobs[0].id, .state = CORE_STATE_QUEUED, .kept = number(ID_B)},
    };
    batch_note(&b, 0, 4, rows, 4);
    assert_int_equal(b.outcomes[0].state, CORE_STATE_QUEUED);
    assert_true(core_id_equals(b.outcomes[1].kept, number(ID_B)));
    assert_int_equal(b.outcomes[2].state, CORE_STATE_WAITING);
    assert_int_equal(b.outcomes[3].state, CORE_STATE_REJECTED);
    assert_string_equal(b.outcomes[3].reason, "no market");
    assert_null(b.outcomes[2].reason);
}

/* Running out of memory at any point adds nothing, and the same entry is taken later. */
static void test_batch_survives_lack_of_memory(void **state)
{
    (void)state;
    const char *specs[] = {"{\"sleep_ms\":7}", "{\"sleep_ms\":-1}"};
    encode_bulk(specs, 2, 0);
    int rc = ERR_NOMEM;
    for (long n = 1; rc == ERR_NOMEM; n++) {
        batch_reset(&b);
        assert_true(n < 1000);
        mem_fail_after(n);
        rc = add();
        mem_fail_after(0);
        assert_int_equal(b.entry_count, rc == 0 ? 1 : 0);
        assert_int_equal(b.count, rc == 0 ? 2 : 0);
    }
    assert_int_equal(rc, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_takes_a_submission),
        cmocka_unit_test(test_batch_takes_a_bulk),
        cmocka_unit_test(test_batch_repeats_a_job),
        cmocka_unit_test(test_batch_that_is_full_takes_no_part_of_a_bulk),
        cmocka_unit_test(test_batch_drops_what_has_no_id),
        cmocka_unit_test(test_batch_notes_outcomes),
        cmocka_unit_test(test_batch_survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
