/*
 * Private Redis and PostgreSQL servers for tests: real ones, in a temporary directory, on a unix
 * socket and on a free TCP port of 127.0.0.1. Nothing of the host's is touched.
 *
 *     struct servers *s = servers_new("redis client");
 *     servers_redis_start(s);
 *     ... servers_redis_url(s) ...
 *     servers_redis_kill(s);          kill -9
 *     servers_redis_start(s);         same port, same data
 *     servers_free(s);
 *
 * Every start waits until the server answers. A failure prints the end of the server's log and
 * ends the test program with status 1. Servers die with the test program, also when it is killed
 * (PR_SET_PDEATHSIG); the directory is removed by servers_free, or at exit. Linux only.
 *
 * As root, PostgreSQL runs as "postgres" or "nobody". MERIDIAN_TEST_PG_BIN names another bin
 * directory than the newest /usr/lib/postgresql/N/bin; MERIDIAN_TEST_KEEP=1 keeps the directory.
 */
#ifndef TESTS_HARNESS_SERVERS_H
#define TESTS_HARNESS_SERVERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct servers;

/* name is for messages. */
struct servers *servers_new(const char *name);
/* Kills what runs and removes the directory. */
void servers_free(struct servers *s);
/* The temporary directory (mode 0755; anything may be put there). */
const char *servers_directory(const struct servers *s);

/* --- Redis ----------------------------------------------------------------------------------- */

/* Extra configuration as arguments ("--appendonly yes"), NULL = none; for the next start. Without
 * it: no persistence. */
void servers_redis_configure(struct servers *s, const char *arguments);
void servers_redis_start(struct servers *s);
/* SIGTERM and wait. */
void servers_redis_stop(struct servers *s);
/* SIGKILL and wait. */
void servers_redis_kill(struct servers *s);
/* SIGSTOP and SIGCONT: connected, but silent. */
void servers_redis_freeze(struct servers *s);
void servers_redis_thaw(struct servers *s);
pid_t servers_redis_pid(const struct servers *s);
/* redis://127.0.0.1:PORT/0 */
const char *servers_redis_url(const struct servers *s);
/* unix:///.../redis.sock */
const char *servers_redis_socket_url(const struct servers *s);

/* --- PostgreSQL ------------------------------------------------------------------------------ */

/* The first start makes the cluster (about a second). Superuser "meridian", trust, database
 * "meridian". fsync off unless asked for before the first start. */
void servers_pg_set_durable(struct servers *s);
void servers_pg_start(struct servers *s);
/* SIGINT (fast shutdown) and wait. */
void servers_pg_stop(struct servers *s);
/* SIGKILL to the postmaster and all its children, and wait: as a power cut of the server. */
void servers_pg_kill(struct servers *s);
void servers_pg_freeze(struct servers *s);
void servers_pg_thaw(struct servers *s);
pid_t servers_pg_pid(const struct servers *s);
/* postgresql://meridian@127.0.0.1:PORT/meridian */
const char *servers_pg_url(const struct servers *s);
/* postgresql:///meridian?host=/...&port=PORT&user=meridian */
const char *servers_pg_socket_url(const struct servers *s);
/* Another empty database on the same server, for a test that wants its own; the URL (TCP) is valid
 * until servers_free. */
const char *servers_pg_new_database(struct servers *s, const char *name);

/* --- programs and waiting -------------------------------------------------------------------- */

/* Starts a program of the build (found in build/<preset>/bin, or a path) with NULL-ended arguments
 * (argv[0] included) and environment (NAME=value, NULL-ended, added to this one; may be NULL);
 * output goes to DIRECTORY/log_name. It dies with the test. */
pid_t servers_spawn(struct servers *s, const char *program, const char *const *argv,
                    const char *const *env, const char *log_name);
/* Sends signal_number (0 = none) and waits up to timeout_ms. Returns the wait status, or -1 when it
 * still runs. */
int servers_wait(struct servers *s, pid_t pid, int signal_number, int64_t timeout_ms);
/* Runs a program to its end and returns its exit code (128 + signal); output as above. */
int servers_run(struct servers *s, const char *program, const char *const *argv,
                const char *const *env, const char *log_name, int64_t timeout_ms);

/* Calls condition every few milliseconds until it is true. False when timeout_ms passed first. */
bool servers_wait_until(bool (*condition)(void *data), void *data, int64_t timeout_ms);
/* A TCP port of 127.0.0.1 that was free a moment ago. */
int servers_free_port(void);
/* GET path from 127.0.0.1:port: the whole answer in out, NUL-terminated and cut to size; empty when
 * nobody listens. */
void servers_http_get(int port, const char *path, char *out, size_t size);

#endif
