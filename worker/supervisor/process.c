/*
 * Between fork and exec only async-signal-safe calls are made. The runner's fd 3 is put in place
 * by dup2, which clears close-on-exec; close_range closes whatever else a library left open.
 */
#include "worker/supervisor/process.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RUNNER_FD = 3, PROC_TEXT_MAX = 8192 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER 0
#endif

static void reset_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int s = 1; s < NSIG; s++) {
        (void)signal(s, SIG_DFL); /* KILL and STOP refuse, which is fine */
    }
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static __attribute__((noreturn)) void become_runner(const char *path, int fd, pid_t parent)
{
    char *const argv[] = {(char *)"meridian-worker", (char *)"--runner", NULL};
    (void)setpgid(0, 0);
    reset_signals();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        _exit(127); /* the supervisor died meanwhile */
    }
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0) {
        _exit(127);
    }
    if (fd == RUNNER_FD) {
        (void)fcntl(fd, F_SETFD, 0);
    } else if (dup2(fd, RUNNER_FD) < 0) {
        _exit(127);
    }
    (void)close_range(RUNNER_FD + 1, ~0u, 0);
    (void)execv(path, argv);
    _exit(127);
}

int process_start(struct process *ret, const char *path, struct err_buf *e)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        return err_set(e, ERR_IO, "cannot make a socket pair: %s", strerror(errno));
    }
    if (fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) {
        goto fail;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        become_runner(path ? path : "/proc/self/exe", fds[1], parent);
    }
    if (pid < 0) {
        goto fail;
    }
    (void)setpgid(pid, pid); /* both sides do it: whoever comes first */
    (void)close(fds[1]);
    *ret = (struct process){.pid = pid, .fd = fds[0]};
    return 0;
fail:;
    int cause = errno;
    (void)close(fds[0]);
    (void)close(fds[1]);
    return err_set(e, ERR_IO, "cannot start a runner: %s", strerror(cause));
}

void process_signal(const struct process *p, int signal)
{
    if (p->pid > 0) {
        (void)kill(-p->pid, signal); /* ESRCH: it is gone, and SIGCHLD tells */
    }
}

bool process_reap(struct process *p, struct process_end *ret)
{
    if (p->pid <= 0) {
        return false;
    }
    int status = 0;
    struct rusage usage = {0};
    pid_t pid = wait4(p->pid, &status, WNOHANG, &usage);
    if (pid == 0 || (pid < 0 && errno == EINTR)) {
        return false;
    }
    *ret = (struct process_end){.peak_rss_kb = usage.ru_maxrss};
    if (pid > 0 && WIFSIGNALED(status)) {
        ret->signal = WTERMSIG(status);
    } else {
        ret->exit_code = pid > 0 ? WEXITSTATUS(status) : -1;
    }
    (void)kill(-p->pid, SIGKILL); /* whatever it left behind in its group */
    p->pid = 0;
    return true;
}

static int read_proc(pid_t pid, const char *name, char *out, size_t size)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    ssize_t n = read(fd, out, size - 1);
    (void)close(fd);
    if (n < 0) {
        return -1;
    }
    out[n] = '\0';
    return (int)n;
}

int process_parse_statm(struct span text, int64_t page_kb, struct process_memory *ret)
{
    int64_t fields[6]; /* size resident shared text lib data */
    size_t at = 0;
    for (size_t i = 0; i < 6; i++) {
        while (at < text.length && text.data[at] == ' ') {
            at++;
        }
        int64_t value = 0;
        size_t start = at;
        while (at < text.length && isdigit((unsigned char)text.data[at]) && at - start < 15) {
            value = value * 10 + (text.data[at++] - '0');
        }
        if (at == start) {
            return ERR_PARSE;
        }
        fields[i] = value;
    }
    *ret = (struct process_memory){.rss_kb = fields[1] * page_kb, .data_kb = fields[5] * page_kb};
    return 0;
}

int process_measure(pid_t pid, struct process_memory *ret)
{
    char text[256];
    int n = pid > 0 ? read_proc(pid, "statm", text, sizeof text) : -1;
    if (n < 0) {
        return ERR_NOTFOUND;
    }
    return process_parse_statm(span_make(text, (size_t)n), sysconf(_SC_PAGESIZE) / 1024, ret);
}

int64_t process_parse_status(struct span text, const char *key)
{
    size_t key_length = strlen(key);
    const char *end = text.data + text.length;
    for (const char *line = text.data; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop ? stop : end;
        if ((size_t)(stop - line) > key_length && memcmp(line, key, key_length) == 0) {
            int64_t value = -1;
            for (const char *c = line + key_length; c < stop && value < (INT64_C(1) << 50); c++) {
                if (isdigit((unsigned char)*c)) {
                    value = (value < 0 ? 0 : value) * 10 + (*c - '0');
                } else if (value >= 0) {
                    break;
                }
            }
            return value;
        }
        line = stop + 1;
    }
    return -1;
}

int64_t process_peak_kb(pid_t pid)
{
    char text[PROC_TEXT_MAX];
    int n = pid > 0 ? read_proc(pid, "status", text, sizeof text) : -1;
    return n < 0 ? -1 : process_parse_status(span_make(text, (size_t)n), "VmHWM:");
}

int process_limit_data(pid_t pid, int64_t data_kb)
{
    if (HAS_SANITIZER) {
        return 0;
    }
    rlim_t bytes = data_kb < 0 ? RLIM_INFINITY : (rlim_t)data_kb * 1024;
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
    return prlimit(pid, RLIMIT_DATA, &limit, NULL) == 0 ? 0 : ERR_IO;
}
