#include "tests/harness/process.h"

#include "common/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void process_pause(void)
{
    (void)poll(NULL, 0, 3); /* an early return only means one more look */
}

void process_fail(const char *log_path, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("test harness: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    FILE *log = log_path ? fopen(log_path, "r") : NULL;
    if (log) {
        enum { TAIL = 4000 };
        char text[TAIL + 1];
        if (fseek(log, -TAIL, SEEK_END) != 0) {
            rewind(log);
        }
        text[fread(text, 1, TAIL, log)] = '\0';
        fprintf(stderr, "--- end of %s\n%s\n", log_path, text);
        (void)fclose(log);
    }
    exit(1);
}

static void redirect(const char *log_path)
{
    int in = open("/dev/null", O_RDONLY);
    int out = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (in < 0 || out < 0 || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(out, STDERR_FILENO) < 0) {
        _exit(127);
    }
}

static void become(uid_t uid, gid_t gid)
{
    if (uid != 0 && (setgroups(0, NULL) != 0 || setgid(gid) != 0 || setuid(uid) != 0)) {
        _exit(127);
    }
}

__attribute__((noreturn)) static void run_child(const struct process_options *options, pid_t parent)
{
    redirect(options->log_path);
    become(options->uid, options->gid);
    /* After setuid, which clears it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        _exit(127);
    }
    for (int fd = 3; fd < 256; fd++) {
        (void)close(fd); /* most are not open */
    }
    for (size_t i = 0; options->env && options->env[i]; i++) {
        if (putenv((char *)options->env[i]) != 0) {
            _exit(127);
        }
    }
    execvp(options->program, (char *const *)options->argv);
    fprintf(stderr, "cannot start %s: %s\n", options->program, strerror(errno));
    _exit(127);
}

pid_t process_start(const struct process_options *options)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        process_fail(NULL, "fork: %s", strerror(errno));
    }
    if (pid == 0) {
        run_child(options, parent);
    }
    return pid;
}

int process_wait(pid_t pid, int64_t timeout_ms)
{
    int64_t end = clock_mono_ms() + timeout_ms;
    for (;;) {
        int status = 0;
        pid_t got = waitpid(pid, &status, WNOHANG);
        if (got == pid) {
            return status;
        }
        if (got < 0 && errno != EINTR) {
            process_fail(NULL, "waitpid(%ld): %s", (long)pid, strerror(errno));
        }
        if (clock_mono_ms() >= end) {
            return -1;
        }
        process_pause();
    }
}
