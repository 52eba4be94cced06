/* worker/supervisor/process: what /proc says, and how an end is told. */
#include "worker/supervisor/process.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* Resident and data pages are fields two and six. */
static void test_statm_is_read(void **state)
{
    (void)state;
    struct process_memory m = {0};
    assert_int_equal(process_parse_statm(span_of("5000 1200 300 20 0 700 0\n"), 4, &m), 0);
    assert_int_equal(m.rss_kb, 4800);
    assert_int_equal(m.data_kb, 2800);
}

/* Whatever else stands there is refused and changes nothing. */
static void test_statm_refuses_anything_else(void **state)
{
    (void)state;
    const char *const bad[] = {"", "1 2 3", "1 2 3 4 5", "1 2 x 4 5 6 7", "-1 2 3 4 5 6 7"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct process_memory m = {.rss_kb = 7};
        assert_int_equal(process_parse_statm(span_of(bad[i]), 4, &m), ERR_PARSE);
        assert_int_equal(m.rss_kb, 7);
    }
}

/* The peak is found on its own line only. */
static void test_status_finds_the_line(void **state)
{
    (void)state;
    const char text[] =
        "Name:\tx VmHWM: 1 kB\nVmPeak:\t  999 kB\nVmHWM:\t  1234 kB\nVmRSS:\t 5 kB\n";
    assert_int_equal(process_parse_status(span_of(text), "VmHWM:"), 1234);
    assert_int_equal(process_parse_status(span_of("Name:\tx\n"), "VmHWM:"), -1);
    assert_int_equal(process_parse_status(span_of("VmHWM:"), "VmHWM:"), -1);
    assert_int_equal(process_parse_status(span_of(""), "VmHWM:"), -1);
}

/* This very process has memory, and its peak is not below it. */
static void test_measure_reads_a_living_process(void **state)
{
    (void)state;
    struct process_memory m;
    assert_int_equal(process_measure(getpid(), &m), 0);
    assert_true(m.rss_kb > 100 && m.data_kb > 0);
    assert_true(process_peak_kb(getpid()) >= m.rss_kb / 2);
    assert_int_equal(process_measure(0, &m), ERR_NOTFOUND);
}

/* An end is taken once, with the signal or the exit code. */
static void test_reap_tells_how_it_ended(void **state)
{
    (void)state;
    struct process_end end;
    struct process p = {.pid = fork()};
    if (p.pid == 0) {
        (void)setpgid(0, 0);
        for (;;) {
            (void)pause();
        }
    }
    (void)setpgid(p.pid, p.pid);
    assert_false(process_reap(&p, &end));
    process_signal(&p, SIGKILL);
    while (!process_reap(&p, &end)) {
    }
    assert_int_equal(end.signal, SIGKILL);
    assert_int_equal(p.pid, 0);
    assert_false(process_reap(&p, &end));
    p.pid = fork();
    if (p.pid == 0) {
        _exit(7);
    }
    while (!process_reap(&p, &end)) {
    }
    assert_int_equal(end.signal, 0);
    assert_int_equal(end.exit_code, 7);
}

/* A runner starts with fd 3 and no standard input; a path that is no program ends with code 127. */
static void test_start_gives_fd_3_alone(void **state)
{
    (void)state;
    struct process p;
    struct process_end end;
    struct err_buf e = {{0}};
    char script[] = "/tmp/meridian-test-XXXXXX";
    int fd = mkstemp(script);
    const char text[] = "#!/bin/sh\n"
                        "read -r line && exit 1\n" /* standard input is at its end */
                        "[ -e /proc/$$/fd/9 ] && exit 2\n"
                        "echo ok >&3\n";
    assert_true(fd >= 0 && write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1);
    assert_int_equal(dup2(fd, 9), 9); /* inherited unless it is closed for the runner */
    (void)close(9);
    (void)close(fd);
    assert_int_equal(chmod(script, 0700), 0);
    assert_int_equal(dup2(STDERR_FILENO, 9), 9);
    assert_int_equal(process_start(&p, script, &e), 0);
    while (!process_reap(&p, &end)) {
    }
    char answer[8] = {0};
    assert_int_equal(end.exit_code, 0);
    assert_int_equal(read(p.fd, answer, sizeof answer - 1), 3);
    assert_string_equal(answer, "ok\n");
    (void)close(p.fd);
    (void)close(9);
    (void)unlink(script);
    assert_int_equal(process_start(&p, "/nonexistent", &e), 0);
    while (!process_reap(&p, &end)) {
    }
    assert_int_equal(end.exit_code, 127);
    (void)close(p.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statm_is_read),
        cmocka_unit_test(test_statm_refuses_anything_else),
        cmocka_unit_test(test_status_finds_the_line),
        cmocka_unit_test(test_measure_reads_a_living_process),
        cmocka_unit_test(test_reap_tells_how_it_ended),
        cmocka_unit_test(test_start_gives_fd_3_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
