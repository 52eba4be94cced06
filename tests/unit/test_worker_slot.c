/* worker/supervisor: the tables of moves, and the results that wait. */
#include "worker/supervisor/outbox.h"
#include "worker/supervisor/phase.h"
#include "worker/supervisor/slot.h"

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
    const enum slot_state way[] = {SLOT_STARTING, SLOT_IDLE,     SLOT_CLAIMING, SLOT_RUNNING,
                                   SLOT_IDLE,     SLOT_CLAIMING, SLOT_RUNNING,  SLOT_STOPPING,
                                   SLOT_LEAVING,  SLOT_EMPTY};
    for (size_t i = 0; i < sizeof way / sizeof way[0]; i++) {
        slot_move(&slot, way[i]);
        assert_int_equal(slot, way[i]);
    }
    for (int s = SLOT_STARTING; s < SLOT_STATE_COUNT; s++) {
        assert_true(slot_move_is_allowed((enum slot_state)s, SLOT_EMPTY));
    }
}

/* A job cannot run that was not claimed, and a runner that was told to stop gets no other job. */
static void test_slot_refuses_shortcuts(void **state)
{
    (void)state;
    assert_false(slot_move_is_allowed(SLOT_IDLE, SLOT_RUNNING));
    assert_false(slot_move_is_allowed(SLOT_STOPPING, SLOT_IDLE));
    assert_false(slot_move_is_allowed(SLOT_LEAVING, SLOT_IDLE));
    assert_false(slot_move_is_allowed(SLOT_EMPTY, SLOT_IDLE));
    assert_false(slot_move_is_allowed(SLOT_STATE_COUNT, SLOT_EMPTY));
    assert_true(slot_has_job(SLOT_CLAIMING) && slot_has_job(SLOT_STOPPING));
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
    assert_int_equal(outbox_add(&o, &a, 1, span_of("first")), 0);
    assert_int_equal(outbox_add(&o, &b, 1, span_of("other")), 0);
    assert_int_equal(outbox_add(&o, &a, 1, span_of("second")), 0);
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

/* Past its maximum it refuses, and keeps what it has. */
static void test_outbox_is_bounded(void **state)
{
    (void)state;
    struct outbox o;
    outbox_init(&o, 20);
    for (int i = 0; i < 20; i++) {
        struct uuid job = job_named("a");
        assert_int_equal(outbox_add(&o, &job, i + 1, span_of("x")), 0);
    }
    struct uuid job = job_named("b");
    assert_int_equal(outbox_add(&o, &job, 1, span_of("x")), ERR_LIMIT);
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
    assert_int_equal(outbox_add(&o, &a, 1, span_of("kept")), 0);
    mem_fail_after(1);
    assert_int_equal(outbox_add(&o, &a, 1, span_of("lost")), ERR_NOMEM);
    assert_string_equal(outbox_find(&o, a.text, 1)->bytes, "kept");
    outbox_close(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slot_allows_the_drawn_moves),
        cmocka_unit_test(test_slot_refuses_shortcuts),
        cmocka_unit_test(test_slot_aborts_on_a_wrong_move),
        cmocka_unit_test(test_phase_only_goes_forward),
        cmocka_unit_test(test_outbox_keeps_until_removed),
        cmocka_unit_test(test_outbox_is_bounded),
        cmocka_unit_test(test_outbox_survives_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
