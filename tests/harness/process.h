/* Child processes of a test: they die with it, and every wait has an end. Private to the harness.
 */
#ifndef TESTS_HARNESS_PROCESS_H
#define TESTS_HARNESS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_options {
    const char *program;
    const char *const *argv;
    const char *const *env; /* NAME=value, added to this one; may be NULL */
    const char *log_path;   /* appended to */
    uid_t uid;              /* 0 = as we are */
    gid_t gid;
};

/* Ends the test program when the child cannot be made. */
pid_t process_start(const struct process_options *options);
/* Wait status, or -1 when pid still runs after timeout_ms. */
int process_wait(pid_t pid, int64_t timeout_ms);
/* Waits a few milliseconds. */
void process_pause(void);
/* Prints the message and the end of the log, and ends the test program with status 1. */
__attribute__((noreturn, format(printf, 2, 3))) void process_fail(const char *log_path,
                                                                  const char *format, ...);

#endif
