/*
 * Redis and PostgreSQL as children of the test. A port is chosen when the first start binds it; it
 * stays the same afterwards, so that clients can come back.
 */
#include "tests/harness/servers.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/harness/process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PATH_SIZE = 256,
    ARGUMENTS_MAX = 32,
    CHILDREN_MAX = 256,
    SPAWNED_MAX = 64,
    START_TRIES = 5,
    START_MS = 60000,
    STOP_MS = 60000
};

struct server {
    pid_t pid; /* 0 = not running */
    int port;  /* 0 = not chosen yet */
    char log[PATH_SIZE];
    char url[PATH_SIZE];
    char socket_url[PATH_SIZE];
};

struct servers {
    char name[64];
    char directory[PATH_SIZE];
    char redis_arguments[PATH_SIZE];
    char pg_bin[PATH_SIZE];
    char database_url[PATH_SIZE];
    bool is_pg_durable;
    bool has_cluster;
    uid_t pg_uid;
    gid_t pg_gid;
    struct server redis;
    struct server pg;
    pid_t spawned[SPAWNED_MAX];
    size_t spawned_count;
};

static struct servers *current; /* removed at exit when the test forgot */

__attribute__((format(printf, 3, 4))) static char *print(char *out, size_t size, const char *format,
                                                         ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(out, size, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= size) {
        process_fail(NULL, "too long: %s", out);
    }
    return out;
}

/* --- directory ------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    (void)remove(path); /* what cannot be removed is left for the system's own cleaning */
    return 0;
}

static void free_at_exit(void)
{
    if (current) {
        servers_free(current);
    }
}

/* "postgres" when there is one, else "nobody": PostgreSQL refuses to run as root. */
static void find_pg_user(struct servers *s)
{
    if (geteuid() != 0) {
        return;
    }
    const struct passwd *user = getpwnam("postgres");
    user = user ? user : getpwnam("nobody");
    if (!user) {
        process_fail(NULL, "no user postgres or nobody to run PostgreSQL as");
    }
    s->pg_uid = user->pw_uid;
    s->pg_gid = user->pw_gid;
}

static void find_pg_bin(struct servers *s)
{
    const char *wanted = getenv("MERIDIAN_TEST_PG_BIN");
    if (wanted) {
        print(s->pg_bin, sizeof s->pg_bin, "%s", wanted);
        return;
    }
    DIR *dir = opendir("/usr/lib/postgresql");
    long newest = 0;
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
        long version = strtol(entry->d_name, NULL, 10);
        char path[PATH_SIZE];
        print(path, sizeof path, "/usr/lib/postgresql/%ld/bin/postgres", version);
        if (version > newest && access(path, X_OK) == 0) {
            newest = version;
            print(s->pg_bin, sizeof s->pg_bin, "/usr/lib/postgresql/%ld/bin", version);
        }
    }
    if (dir) {
        (void)closedir(dir);
    }
    if (newest == 0) {
        process_fail(NULL, "PostgreSQL is not installed: no /usr/lib/postgresql/N/bin/postgres");
    }
}

struct servers *servers_new(const char *name)
{
    struct servers *s = mem_new(sizeof *s);
    if (!s) {
        process_fail(NULL, "out of memory");
    }
    (void)snprintf(s->name, sizeof s->name, "%s", name);
    const char *base = getenv("TMPDIR");
    print(s->directory, sizeof s->directory, "%s/meridian-test.XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(s->directory) || chmod(s->directory, 0755) != 0) {
        process_fail(NULL, "%s: %s", s->directory, strerror(errno));
    }
    print(s->redis.log, sizeof s->redis.log, "%s/redis.log", s->directory);
    print(s->pg.log, sizeof s->pg.log, "%s/postgres.log", s->directory);
    if (!current) {
        current = s;
        (void)atexit(free_at_exit);
    }
    return s;
}

static void kill_one(pid_t pid)
{
    (void)kill(pid, SIGCONT);
    (void)kill(pid, SIGKILL);
    (void)process_wait(pid, STOP_MS);
}

void servers_free(struct servers *s)
{
    if (!s) {
        return;
    }
    current = current == s ? NULL : current;
    for (size_t i = 0; i < s->spawned_count; i++) {
        kill_one(s->spawned[i]);
    }
    if (s->redis.pid) {
        kill_one(s->redis.pid);
    }
    if (s->pg.pid) {
        servers_pg_kill(s);
    }
    const char *keep = getenv("MERIDIAN_TEST_KEEP");
    if (keep && strcmp(keep, "1") == 0) {
        fprintf(stderr, "%s: kept %s\n", s->name, s->directory);
    } else {
        (void)nftw(s->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
    mem_free(s);
}

const char *servers_directory(const struct servers *s)
{
    return s->directory;
}

/* --- what both servers share ----------------------------------------------------------------- */

int servers_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
        process_fail(NULL, "no free port: %s", strerror(errno));
    }
    (void)close(fd);
    return ntohs(address.sin_port);
}

void servers_http_get(int port, const char *path, char *out, size_t size)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char request[256];
    size_t length = (size_t)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n\r\n", path);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_sent = connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
                   send(fd, request, length, MSG_NOSIGNAL) == (ssize_t)length;
    size_t used = 0;
    for (ssize_t got = 1; is_sent && got > 0 && used < size - 1;) {
        got = recv(fd, out + used, size - 1 - used, 0);
        used += got > 0 ? (size_t)got : 0;
    }
    out[used] = '\0';
    (void)close(fd);
}

static void stop(struct servers *s, struct server *server, int signal_number)
{
    if (server->pid == 0) {
        return;
    }
    (void)kill(server->pid, signal_number);
    if (process_wait(server->pid, STOP_MS) < 0) {
        process_fail(server->log, "%s: the server did not end after signal %d", s->name,
                     signal_number);
    }
    server->pid = 0;
}

/* Waits until is_up, 0 when the server ended instead (its port was taken). */
static bool wait_up(struct servers *s, struct server *server, bool (*is_up)(struct servers *))
{
    int64_t end = clock_mono_ms() + START_MS;
    while (!is_up(s)) {
        int status = 0;
        if (waitpid(server->pid, &status, WNOHANG) == server->pid) {
            server->pid = 0;
            return false;
        }
        if (clock_mono_ms() > end) {
            process_fail(server->log, "%s: the server did not answer in %d ms", s->name, START_MS);
        }
        process_pause();
    }
    return true;
}

/* --- Redis ----------------------------------------------------------------------------------- */

static bool redis_answers(struct servers *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)s->redis.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 1};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char answer[8] = {0};
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
              connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
              send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 && recv(fd, answer, 5, MSG_WAITALL) == 5 &&
              memcmp(answer, "+PONG", 5) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return ok;
}

void servers_redis_configure(struct servers *s, const char *arguments)
{
    print(s->redis_arguments, sizeof s->redis_arguments, "%s", arguments ? arguments : "");
}

static void redis_spawn(struct servers *s)
{
    char port[16];
    char socket_path[PATH_SIZE];
    char extra[PATH_SIZE];
    print(port, sizeof port, "%d", s->redis.port);
    print(socket_path, sizeof socket_path, "%.200s/redis.sock", s->directory);
    print(extra, sizeof extra, "%s", s->redis_arguments);
    const char *argv[ARGUMENTS_MAX] = {"redis-server", "--port",       port,       "--bind",
                                       "127.0.0.1",    "--save",       "",         "--dir",
                                       s->directory,   "--unixsocket", socket_path};
    size_t count = 11;
    char *rest = NULL;
    for (char *word = strtok_r(extra, " ", &rest); word && count < ARGUMENTS_MAX - 1;
         word = strtok_r(NULL, " ", &rest)) {
        argv[count++] = word;
    }
    s->redis.pid = process_start(&(struct process_options){
        .program = "redis-server", .argv = argv, .log_path = s->redis.log});
    print(s->redis.url, sizeof s->redis.url, "redis://127.0.0.1:%d/0", s->redis.port);
    print(s->redis.socket_url, sizeof s->redis.socket_url, "unix://%.200s", socket_path);
}

void servers_redis_start(struct servers *s)
{
    bool is_first = s->redis.port == 0;
    for (int i = 0; i < START_TRIES; i++) {
        s->redis.port = is_first ? servers_free_port() : s->redis.port;
        redis_spawn(s);
        if (wait_up(s, &s->redis, redis_answers)) {
            return;
        }
    }
    process_fail(s->redis.log, "%s: Redis did not start", s->name);
}

void servers_redis_stop(struct servers *s)
{
    stop(s, &s->redis, SIGTERM);
}

void servers_redis_kill(struct servers *s)
{
    stop(s, &s->redis, SIGKILL);
}

void servers_redis_freeze(struct servers *s)
{
    (void)kill(s->redis.pid, SIGSTOP);
}

void servers_redis_thaw(struct servers *s)
{
    (void)kill(s->redis.pid, SIGCONT);
}

pid_t servers_redis_pid(const struct servers *s)
{
    return s->redis.pid;
}

const char *servers_redis_url(const struct servers *s)
{
    return s->redis.url;
}

const char *servers_redis_socket_url(const struct servers *s)
{
    return s->redis.socket_url;
}

/* --- PostgreSQL ------------------------------------------------------------------------------ */

/* Runs one of PostgreSQL's own programs as its user; the exit code, 128 + signal when killed. */
static int pg_run(struct servers *s, const char *program, const char *const *argv,
                  const char *log_path)
{
    char path[PATH_SIZE + 32];
    const char *full_argv[ARGUMENTS_MAX] = {path}; /* initdb finds postgres beside its argv[0] */
    print(path, sizeof path, "%s/%s", s->pg_bin, program);
    for (size_t i = 1; argv[i - 1] && i < ARGUMENTS_MAX - 1; i++) {
        full_argv[i] = argv[i];
    }
    pid_t pid = process_start(&(struct process_options){.program = path,
                                                        .argv = full_argv,
                                                        .log_path = log_path,
                                                        .uid = s->pg_uid,
                                                        .gid = s->pg_gid});
    int status = process_wait(pid, START_MS);
    if (status < 0) {
        kill_one(pid);
        return 128 + SIGKILL;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void pg_create(struct servers *s)
{
    char data[PATH_SIZE];
    print(data, sizeof data, "%.200s/pg", s->directory);
    if (mkdir(data, 0700) != 0 || (s->pg_uid != 0 && chown(data, s->pg_uid, s->pg_gid) != 0)) {
        process_fail(NULL, "%s: %s", data, strerror(errno));
    }
    const char *argv[] = {"initdb",    "-D",    data, "-U",   "meridian",
                          "-A",        "trust", "-E", "UTF8", "--locale=C.UTF-8",
                          "--no-sync", NULL};
    char log[PATH_SIZE];
    print(log, sizeof log, "%.200s/initdb.log", s->directory);
    if (pg_run(s, "initdb", argv, log) != 0) {
        process_fail(log, "%s: initdb failed", s->name);
    }
    s->has_cluster = true;
}

static bool pg_answers(struct servers *s)
{
    char port[16];
    char log[PATH_SIZE];
    print(port, sizeof port, "%d", s->pg.port);
    print(log, sizeof log, "%.200s/pg_isready.log", s->directory);
    const char *argv[] = {"pg_isready", "-q", "-h", "127.0.0.1", "-p", port, NULL};
    return pg_run(s, "pg_isready", argv, log) == 0;
}

static void pg_spawn(struct servers *s)
{
    char data[PATH_SIZE];
    char postmaster_pid[PATH_SIZE];
    char port[32];
    char sockets[PATH_SIZE];
    char program[PATH_SIZE + 16];
    print(data, sizeof data, "%.200s/pg", s->directory);
    print(postmaster_pid, sizeof postmaster_pid, "%.220s/postmaster.pid", data);
    (void)unlink(postmaster_pid); /* of one that was killed: ours does not run */
    print(port, sizeof port, "port=%d", s->pg.port);
    print(sockets, sizeof sockets, "unix_socket_directories=%.200s", data);
    print(program, sizeof program, "%s/postgres", s->pg_bin);
    const char *fsync = s->is_pg_durable ? "fsync=on" : "fsync=off";
    const char *commit = s->is_pg_durable ? "synchronous_commit=on" : "synchronous_commit=off";
    const char *argv[] = {program,
                          "-D",
                          data,
                          "-c",
                          port,
                          "-c",
                          "listen_addresses=127.0.0.1",
                          "-c",
                          sockets,
                          "-c",
                          fsync,
                          "-c",
                          commit,
                          "-c",
                          "shared_buffers=32MB",
                          "-c",
                          "log_min_error_statement=panic",
                          NULL};
    s->pg.pid = process_start(&(struct process_options){.program = program,
                                                        .argv = argv,
                                                        .log_path = s->pg.log,
                                                        .uid = s->pg_uid,
                                                        .gid = s->pg_gid});
    print(s->pg.url, sizeof s->pg.url, "postgresql://meridian@127.0.0.1:%d/meridian", s->pg.port);
    print(s->pg.socket_url, sizeof s->pg.socket_url,
          "postgresql:///meridian?host=%.150s&port=%d&user=meridian", data, s->pg.port);
}

static void create_database(struct servers *s, const char *name)
{
    char port[16];
    char log[PATH_SIZE];
    print(port, sizeof port, "%d", s->pg.port);
    print(log, sizeof log, "%.200s/createdb.log", s->directory);
    const char *argv[] = {"createdb", "-h", "127.0.0.1", "-p", port, "-U", "meridian", name, NULL};
    if (pg_run(s, "createdb", argv, log) != 0) {
        process_fail(log, "%s: createdb %s failed", s->name, name);
    }
}

void servers_pg_set_durable(struct servers *s)
{
    s->is_pg_durable = true;
}

void servers_pg_start(struct servers *s)
{
    bool is_first = !s->has_cluster;
    if (is_first) {
        find_pg_user(s);
        find_pg_bin(s);
        pg_create(s);
    }
    for (int i = 0; i < START_TRIES; i++) {
        s->pg.port = is_first ? servers_free_port() : s->pg.port;
        pg_spawn(s);
        if (wait_up(s, &s->pg, pg_answers)) {
            if (is_first) {
                create_database(s, "meridian");
            }
            return;
        }
    }
    process_fail(s->pg.log, "%s: PostgreSQL did not start", s->name);
}

void servers_pg_stop(struct servers *s)
{
    stop(s, &s->pg, SIGINT);
}

static size_t children_of(pid_t pid, pid_t *children, size_t max)
{
    char path[PATH_SIZE];
    print(path, sizeof path, "/proc/%ld/task/%ld/children", (long)pid, (long)pid);
    FILE *file = fopen(path, "r");
    size_t count = 0;
    long child = 0;
    while (file && count < max && fscanf(file, "%ld", &child) == 1) {
        children[count++] = (pid_t)child;
    }
    if (file) {
        (void)fclose(file);
    }
    return count;
}

void servers_pg_kill(struct servers *s)
{
    pid_t children[CHILDREN_MAX];
    (void)kill(s->pg.pid, SIGSTOP); /* so that it starts no other child meanwhile */
    size_t count = children_of(s->pg.pid, children, CHILDREN_MAX);
    (void)kill(s->pg.pid, SIGKILL);
    for (size_t i = 0; i < count; i++) {
        (void)kill(children[i], SIGKILL);
    }
    stop(s, &s->pg, SIGKILL);
    /* They are not our children: gone when the number is. A zombie waits only for its new parent.
     */
    int64_t end = clock_mono_ms() + STOP_MS;
    for (size_t i = 0; i < count; i++) {
        while (kill(children[i], 0) == 0 && clock_mono_ms() < end) {
            char path[PATH_SIZE];
            char state = 'Z';
            print(path, sizeof path, "/proc/%ld/stat", (long)children[i]);
            FILE *file = fopen(path, "r");
            if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1) {
                state = 'Z';
            }
            if (file) {
                (void)fclose(file);
            }
            if (state == 'Z' || state == 'X') {
                break;
            }
            process_pause();
        }
    }
}

void servers_pg_freeze(struct servers *s)
{
    pid_t children[CHILDREN_MAX];
    (void)kill(s->pg.pid, SIGSTOP);
    size_t count = children_of(s->pg.pid, children, CHILDREN_MAX);
    for (size_t i = 0; i < count; i++) {
        (void)kill(children[i], SIGSTOP);
    }
}

void servers_pg_thaw(struct servers *s)
{
    pid_t children[CHILDREN_MAX];
    size_t count = children_of(s->pg.pid, children, CHILDREN_MAX);
    for (size_t i = 0; i < count; i++) {
        (void)kill(children[i], SIGCONT);
    }
    (void)kill(s->pg.pid, SIGCONT);
}

pid_t servers_pg_pid(const struct servers *s)
{
    return s->pg.pid;
}

const char *servers_pg_url(const struct servers *s)
{
    return s->pg.url;
}

const char *servers_pg_socket_url(const struct servers *s)
{
    return s->pg.socket_url;
}

const char *servers_pg_new_database(struct servers *s, const char *name)
{
    create_database(s, name);
    return print(s->database_url, sizeof s->database_url, "postgresql://meridian@127.0.0.1:%d/%s",
                 s->pg.port, name);
}

/* --- programs and waiting -------------------------------------------------------------------- */

pid_t servers_spawn(struct servers *s, const char *program, const char *const *argv,
                    const char *const *env, const char *log_name)
{
    char path[PATH_SIZE];
    char log[PATH_SIZE];
    if (s->spawned_count == SPAWNED_MAX) {
        process_fail(NULL, "%s: more than %d programs", s->name, SPAWNED_MAX);
    }
    print(path, sizeof path, "%s%s%s", strchr(program, '/') ? "" : MERIDIAN_BUILD_BIN,
          strchr(program, '/') ? "" : "/", program);
    print(log, sizeof log, "%.150s/%.100s", s->directory, log_name);
    pid_t pid = process_start(
        &(struct process_options){.program = path, .argv = argv, .env = env, .log_path = log});
    s->spawned[s->spawned_count++] = pid;
    return pid;
}

static void forget(struct servers *s, pid_t pid)
{
    for (size_t i = 0; i < s->spawned_count; i++) {
        if (s->spawned[i] == pid) {
            s->spawned[i] = s->spawned[--s->spawned_count];
            return;
        }
    }
}

int servers_wait(struct servers *s, pid_t pid, int signal_number, int64_t timeout_ms)
{
    if (signal_number != 0) {
        (void)kill(pid, signal_number);
    }
    int status = process_wait(pid, timeout_ms);
    if (status >= 0) {
        forget(s, pid);
    }
    return status;
}

int servers_run(struct servers *s, const char *program, const char *const *argv,
                const char *const *env, const char *log_name, int64_t timeout_ms)
{
    pid_t pid = servers_spawn(s, program, argv, env, log_name);
    int status = servers_wait(s, pid, 0, timeout_ms);
    if (status < 0) {
        status = servers_wait(s, pid, SIGKILL, STOP_MS);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool servers_wait_until(bool (*condition)(void *data), void *data, int64_t timeout_ms)
{
    int64_t end = clock_mono_ms() + timeout_ms;
    while (!condition(data)) {
        if (clock_mono_ms() >= end) {
            return false;
        }
        process_pause();
    }
    return true;
}
