/* worker/supervisor: the tables of moves, and what waits. */
#include "common/base/rng.h"
#include "worker/supervisor/outbox.h"
#include "worker/supervisor/phase.h"
#include "worker/supervisor/recent.h"
#include "worker/supervisor/slot.h"
#include "worker/supervisor/waiting.h"

#include "common/base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A job's way through a slot is allowed, and so is the death of the runner at every point of it. */
static void test_slot_allows_the_drawn_moves(void **state)
{
    (void)state;
    enum slot_state slot = SLOT_EMPTY;
    const enum slot_state way[] = {SLOT_STARTING, SLOT_IDLE,     SLOT_RUNNING, SLOT_IDLE,
                                   SLOT_RUNNING,  SLOT_STOPPING, SLOT_LEAVING, SLOT_EMPTY};
    for (size_t i = 0; i < sizeof way / sizeof way[0]; i++) {
        slot_move(&slot, way[i]);
        assert_int_equal(slot, way[i]);
    }
    for (int s = SLOT_STARTING; s < SLOT_STATE_COUNT; s++) {
        assert_true(slot_move_is_allowed((enum slot_state)s, SLOT_EMPTY));
    }
}

/* A job cannot run without a ready runner, and a runner that was told to stop gets no other job. */
static void test_slot_refuses_shortcuts(void **state)
{
    (void)state;
    assert_false(slot_move_is_allowed(SLOT_STARTING, SLOT_RUNNING));
    assert_false(slot_move_is_allowed(SLOT_STOPPING, SLOT_IDLE));
    assert_false(slot_move_is_allowed(SLOT_LEAVING, SLOT_IDLE));
    assert_false(slot_move_is_allowed(SLOT_EMPTY, SLOT_IDLE));
    assert_false(slot_move_is_allowed(SLOT_STATE_COUNT, SLOT_EMPTY));
    assert_true(slot_has_job(SLOT_RUNNING) && slot_has_job(SLOT_STOPPING));
    assert_false(slot_has_job(SLOT_IDLE) || slot_has_job(SLOT_LEAVING));
}

/* A move outside the table stops the program. */
static void test_slot_aborts_on_a_wrong_move(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        enum slot_state slot = SLOT_EMPTY;
        (void)close(STDERR_FILENO);
        slot_move(&slot, SLOT_RUNNING);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* The supervisor never goes back to work once it drains, and can end from everywhere. */
static void test_phase_only_goes_forward(void **state)
{
    (void)state;
    enum phase phase = PHASE_STARTING;
    phase_move(&phase, PHASE_UP);
    phase_move(&phase, PHASE_DRAINING);
    assert_false(phase_move_is_allowed(phase, PHASE_UP));
    for (int p = PHASE_STARTING; p < PHASE_CLOSING; p++) {
        assert_true(phase_move_is_allowed((enum phase)p, PHASE_CLOSING));
    }
    assert_false(phase_move_is_allowed(PHASE_CLOSING, PHASE_CLOSING));
}

static struct uuid job_named(const char *name)
{
    return uuid_derive(name);
}

/* A result stays until it is removed, by job and attempt; a second one for the attempt replaces. */
static void test_outbox_keeps_until_removed(void **state)
{
    (void)state;
    struct outbox o;
    struct uuid a = job_named("a");
    struct uuid b = job_named("b");
    outbox_init(&o, 10);
    assert_int_equal(outbox_add(&o, &a, 1, 0, span_of("first")), 0);
    assert_int_equal(outbox_add(&o, &b, 1, 0, span_of("other")), 0);
    assert_int_equal(outbox_add(&o, &a, 1, 0, span_of("second")), 0);
    assert_int_equal(o.count, 2);
    assert_null(outbox_find(&o, a.text, 2));
    assert_string_equal(outbox_find(&o, a.text, 1)->bytes, "second");
    outbox_remove(&o, a.text, 2);
    assert_int_equal(o.count, 2);
    outbox_remove(&o, a.text, 1);
    assert_null(outbox_find(&o, a.text, 1));
    assert_non_null(outbox_find(&o, b.text, 1));
    outbox_close(&o);
}

/* Hundreds come and go in any order: each is found while it is there, and only then. */
static void test_outbox_finds_each_of_many(void **state)
{
    (void)state;
    enum { MANY = 500 };
    struct outbox o;
    struct uuid jobs[MANY];
    bool is_in[MANY] = {false};
    struct rng rng = {.key = 7};
    outbox_init(&o, MANY);
    for (int i = 0; i < MANY; i++) {
        jobs[i] = uuid_make(i, rng_next(&rng), rng_next(&rng));
    }
    for (int turn = 0; turn < 20 * MANY; turn++) {
        size_t at = (size_t)(rng_next(&rng) % MANY);
        if (is_in[at]) {
            outbox_remove(&o, jobs[at].text, 3);
        } else {
            assert_int_equal(outbox_add(&o, &jobs[at], 3, 0, span_of(jobs[at].text)), 0);
        }
        is_in[at] = !is_in[at];
    }
    size_t count = 0;
    for (int i = 0; i < MANY; i++) {
        const struct outbox_item *item = outbox_find(&o, jobs[i].text, 3);
        assert_int_equal(item != NULL, is_in[i]);
        assert_true(!item || strcmp(item->bytes, jobs[i].text) == 0);
        count += is_in[i];
    }
    assert_int_equal(o.count, count);
    outbox_close(&o);
}

/* Past its maximum it refuses, and keeps what it has. */
static void test_outbox_is_bounded(void **state)
{
    (void)state;
    struct outbox o;
    outbox_init(&o, 20);
    for (int i = 0; i < 20; i++) {
        struct uuid job = job_named("a");
        assert_int_equal(outbox_add(&o, &job, i + 1, 0, span_of("x")), 0);
    }
    struct uuid job = job_named("b");
    assert_int_equal(outbox_add(&o, &job, 1, 0, span_of("x")), ERR_LIMIT);
    assert_int_equal(o.count, 20);
    outbox_close(&o);
}

/* When memory runs out, a replacement fails and the old result stays. */
static void test_outbox_survives_failed_allocation(void **state)
{
    (void)state;
    struct outbox o;
    struct uuid a = job_named("a");
    outbox_init(&o, 20);
    assert_int_equal(outbox_add(&o, &a, 1, 0, span_of("kept")), 0);
    mem_fail_after(1);
    assert_int_equal(outbox_add(&o, &a, 1, 0, span_of("lost")), ERR_NOMEM);
    assert_string_equal(outbox_find(&o, a.text, 1)->bytes, "kept");
    outbox_close(&o);
}

/* First in, first out; found by job and attempt; full is said, and its spec is its own. */
static void test_waiting_is_a_bounded_line(void **state)
{
    (void)state;
    struct waiting w;
    char spec[] = "{\"a\":1}";
    struct message_ready job = {.job = job_named("a"), .attempt = 1, .spec = span_of(spec)};
    waiting_init(&w, 2);
    assert_int_equal(waiting_add(&w, &job, 10, 0), 0);
    job.attempt = 2;
    assert_int_equal(waiting_add(&w, &job, 20, 0), 0);
    assert_int_equal(waiting_add(&w, &job, 30, 0), ERR_LIMIT);
    spec[0] = 'x';
    assert_int_equal(waiting_find(&w, job.job.text, 2), 1);
    assert_int_equal(waiting_find(&w, job.job.text, 3), -1);
    struct waiting_item *first = waiting_take(&w, 0);
    assert_int_equal(first->lease_ms, 10);
    assert_true(span_is(first->job.spec, "{\"a\":1}"));
    waiting_free(first);
    assert_int_equal(waiting_find(&w, job.job.text, 2), 0);
    waiting_close(&w);
}

/* A line that is as long as it ever was, for a long time: it stays in order, and in its room. */
static void test_waiting_moves_on(void **state)
{
    (void)state;
    struct waiting w;
    struct message_ready job = {.job = job_named("a")};
    waiting_init(&w, 30);
    for (int i = 0; i < 1000; i++) {
        job.attempt = i + 1;
        assert_int_equal(waiting_add(&w, &job, i, 0), 0);
        if (i >= 20) {
            struct waiting_item *first = waiting_take(&w, 0);
            assert_int_equal(first->lease_ms, i - 20);
            waiting_free(first);
        }
        assert_int_equal(waiting_find(&w, job.job.text, i + 1), (long)w.count - 1);
    }
    assert_true(w.room <= 64);
    waiting_close(&w);
}

/* Without memory nothing is added and nothing leaks. */
static void test_waiting_survives_failed_allocation(void **state)
{
    (void)state;
    struct message_ready job = {.job = job_named("a"), .attempt = 1};
    int rc = ERR_NOMEM;
    for (long nth = 1; rc == ERR_NOMEM; nth++) {
        struct waiting w;
        waiting_init(&w, 2);
        mem_fail_after(nth);
        rc = waiting_add(&w, &job, 0, 0);
        mem_fail_after(0);
        assert_int_equal(w.count, rc == 0 ? 1 : 0);
        waiting_close(&w);
    }
    assert_int_equal(rc, 0);
}

/* An attempt is known for at least a period, and is forgotten after two. */
static void test_recent_remembers_for_a_period(void **state)
{
    (void)state;
    struct recent r;
    struct uuid a = job_named("a");
    recent_init(&r, 1000, 100);
    assert_false(recent_has(&r, a.text, 1));
    assert_int_equal(recent_add(&r, a.text, 1, 5900), 0);
    assert_true(recent_has(&r, a.text, 1));
    assert_false(recent_has(&r, a.text, 2));
    struct uuid b = job_named("b");
    assert_int_equal(recent_add(&r, b.text, 1, 6950), 0); /* the sets change places */
    assert_true(recent_has(&r, a.text, 1) && recent_has(&r, b.text, 1));
    assert_int_equal(recent_add(&r, b.text, 2, 7950), 0);
    assert_false(recent_has(&r, a.text, 1));
    assert_true(recent_has(&r, b.text, 1));
    recent_close(&r);
}

/* Thousands are told apart; past the maximum the older half goes. */
static void test_recent_is_bounded(void **state)
{
    (void)state;
    struct recent r;
    struct uuid a = job_named("a");
    recent_init(&r, 1000000, 1000);
    for (int i = 1; i <= 2500; i++) {
        assert_int_equal(recent_add(&r, a.text, i, 1000000), 0);
    }
    for (int i = 1; i <= 2500; i++) {
        assert_int_equal(recent_has(&r, a.text, i), i > 1000);
    }
    assert_true(r.now.count <= 1000 && r.before.count <= 1000);
    recent_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slot_allows_the_drawn_moves),
        cmocka_unit_test(test_slot_refuses_shortcuts),
        cmocka_unit_test(test_slot_aborts_on_a_wrong_move),
        cmocka_unit_test(test_phase_only_goes_forward),
        cmocka_unit_test(test_outbox_keeps_until_removed),
        cmocka_unit_test(test_outbox_finds_each_of_many),
        cmocka_unit_test(test_outbox_is_bounded),
        cmocka_unit_test(test_outbox_survives_failed_allocation),
        cmocka_unit_test(test_waiting_is_a_bounded_line),
        cmocka_unit_test(test_waiting_moves_on),
        cmocka_unit_test(test_waiting_survives_failed_allocation),
        cmocka_unit_test(test_recent_remembers_for_a_period),
        cmocka_unit_test(test_recent_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
