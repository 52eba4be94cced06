/*
 * Runner processes: start one, measure it, signal it, take its end.
 *
 * A runner is this same executable with --runner, in its own process group, with fd 3 as its end
 * of a socket pair and nothing else of ours: every other descriptor is closed. The kernel kills it
 * when the supervisor dies. Ends are taken with wait4 on known ids, because libuv's own child
 * handling does not give the peak memory.
 */
#ifndef WORKER_SUPERVISOR_PROCESS_H
#define WORKER_SUPERVISOR_PROCESS_H

#include "common/base/err.h"
#include "common/base/span.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process {
    pid_t pid; /* 0 = none; also its process group */
    int fd;    /* our end, non-blocking; whoever attaches it to a loop closes it */
};

/* Starts path (NULL: this executable) with --runner. ERR_IO, ERR_NOMEM. Call it from the main
 * thread only: the kernel ties the runner's life to the calling thread. */
MUST_CHECK int process_start(struct process *ret, const char *path, struct err_buf *e);

/* Sends signal to the whole group; a process that is gone already is fine. */
void process_signal(const struct process *p, int signal);

struct process_end {
    int exit_code; /* valid when signal is 0 */
    int signal;
    int64_t peak_rss_kb;
};

/* True when the process has ended: it is reaped, p->pid becomes 0 and *ret is filled. */
bool process_reap(struct process *p, struct process_end *ret);

struct process_memory {
    int64_t rss_kb;
    int64_t data_kb; /* what RLIMIT_DATA counts */
};

/* Reads the text of /proc/PID/statm; page_kb is the size of a page. ERR_PARSE. */
MUST_CHECK int process_parse_statm(struct span text, int64_t page_kb, struct process_memory *ret);
/* ERR_NOTFOUND when the process is gone, ERR_PARSE. */
MUST_CHECK int process_measure(pid_t pid, struct process_memory *ret);
/* The value in kB of a line such as "VmHWM:" in the text of /proc/PID/status, or -1. */
int64_t process_parse_status(struct span text, const char *key);
/* Peak resident memory of a living process since it last reset it, in kB, or -1. */
int64_t process_peak_kb(pid_t pid);
/*
 * Limits what it may allocate to data_kb; -1 lifts the limit. Does nothing in a build with a
 * sanitizer, whose shadow memory counts as data. ERR_IO.
 */
MUST_CHECK int process_limit_data(pid_t pid, int64_t data_kb);

#endif
