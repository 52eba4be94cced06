/*
 * redis://[user:password@]host[:port][,host[:port]...][/db]
 * redis+sentinel://[user:password@]host[:port][,...]/master[/db][?sentinel_password=P]
 * unix://[user:password@]/path[?db=N]
 */
#include "common/redis/redis_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum { DB_MAX = 1 << 20, PORT_MAX = 65535, REDIS_PORT = 6379, SENTINEL_PORT = 26379 };

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes %XX; false when it is malformed, too long, or hides a NUL. */
static bool decode(struct span in, char out[REDIS__TEXT_MAX + 1])
{
    size_t length = 0;
    for (size_t i = 0; i < in.length; i++) {
        char c = in.data[i];
        if (c == '%') {
            bool is_whole = in.length - i > 2;
            int high = is_whole ? hex_digit(in.data[i + 1]) : -1;
            int low = is_whole ? hex_digit(in.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' || length == REDIS__TEXT_MAX) {
            return false;
        }
        out[length++] = c;
    }
    out[length] = '\0';
    return true;
}

/* Decimal digits only, 0 to max. */
static bool read_number(struct span text, long max, long *ret)
{
    long value = 0;
    if (text.length == 0 || text.length > 9) {
        return false;
    }
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (text.data[i] - '0');
    }
    *ret = value;
    return value <= max;
}

static int read_db(struct redis__url *url, struct span text, struct err_buf *e)
{
    long db = 0;
    if (!read_number(text, DB_MAX, &db)) {
        return err_set(e, ERR_INVALID, "redis url: the database must be a number");
    }
    (void)snprintf(url->db, sizeof url->db, "%ld", db);
    return 0;
}

static struct span cut(struct span text, size_t from, size_t to)
{
    return span_make(text.data + from, to - from);
}

static int read_user(struct redis__url *url, struct span text, struct err_buf *e)
{
    const char *colon = memchr(text.data, ':', text.length);
    if (!colon) {
        return err_set(e, ERR_INVALID,
                       "redis url: before @ write user:password or :password (and %%XX for "
                       "the characters / ? # @ : in them)");
    }
    size_t at = (size_t)(colon - text.data);
    if (!decode(cut(text, 0, at), url->user) ||
        !decode(cut(text, at + 1, text.length), url->password)) {
        return err_set(e, ERR_INVALID,
                       "redis url: user or password is malformed or longer than %d bytes",
                       REDIS__TEXT_MAX);
    }
    url->has_password = url->password[0] != '\0';
    if (!url->has_password && url->user[0] != '\0') {
        return err_set(e, ERR_INVALID, "redis url: a user without a password");
    }
    return 0;
}

/* host, host:port, [::1], [::1]:port */
static int read_host(struct redis__url *url, struct span text, struct err_buf *e)
{
    size_t end = text.length;
    size_t start = 0;
    const char *bracket =
        text.length > 0 && text.data[0] == '[' ? memchr(text.data, ']', text.length) : NULL;
    const char *colon = memchr(text.data, ':', text.length);
    size_t port_at = text.length;
    if (bracket) {
        start = 1;
        end = (size_t)(bracket - text.data);
        port_at = end + 1;
    } else if (colon) {
        end = (size_t)(colon - text.data);
        port_at = end;
    }
    long port = url->is_sentinel ? SENTINEL_PORT : REDIS_PORT;
    if (port_at < text.length &&
        (text.data[port_at] != ':' ||
         !read_number(cut(text, port_at + 1, text.length), PORT_MAX, &port) || port == 0)) {
        return err_set(e, ERR_INVALID, "redis url: the port must be a number from 1 to 65535");
    }
    char name[REDIS__TEXT_MAX + 1];
    if (end == start || !decode(cut(text, start, end), name) || strlen(name) > REDIS__HOST_MAX) {
        return err_set(e, ERR_INVALID, "redis url: the host is missing or malformed");
    }
    struct redis__host *seed = &url->seeds[url->seed_count++];
    memcpy(seed->name, name, strlen(name) + 1); /* its length was checked */
    (void)snprintf(seed->port, sizeof seed->port, "%u", (unsigned)port & 0xffffu);
    return 0;
}

static int read_hosts(struct redis__url *url, struct span text, struct err_buf *e)
{
    size_t start = 0;
    int rc = 0;
    while (rc == 0 && start <= text.length) {
        const char *comma =
            start < text.length ? memchr(text.data + start, ',', text.length - start) : NULL;
        size_t end = comma ? (size_t)(comma - text.data) : text.length;
        if (url->seed_count == REDIS__SEEDS_MAX) {
            return err_set(e, ERR_INVALID, "redis url: more than %d hosts", REDIS__SEEDS_MAX);
        }
        rc = read_host(url, cut(text, start, end), e);
        start = end + 1;
    }
    return rc;
}

/* /master[/db][?sentinel_password=P], behind the Sentinels */
static int read_master(struct redis__url *url, struct span text, struct err_buf *e)
{
    static const char secret[] = "sentinel_password=";
    const char *query = memchr(text.data, '?', text.length);
    size_t path_end = query ? (size_t)(query - text.data) : text.length;
    const char *slash = memchr(text.data, '/', path_end);
    size_t name_end = slash ? (size_t)(slash - text.data) : path_end;
    char name[REDIS__TEXT_MAX + 1];
    if (!decode(cut(text, 0, name_end), name) || name[0] == '\0' ||
        strlen(name) > REDIS__HOST_MAX) {
        return err_set(e, ERR_INVALID,
                       "redis url: behind the Sentinels write the master's name: "
                       "redis+sentinel://host:26379/NAME");
    }
    memcpy(url->master, name, strlen(name) + 1); /* its length was checked */
    if (query) {
        struct span value = cut(text, path_end + 1, text.length);
        size_t length = strlen(secret);
        if (value.length < length || memcmp(value.data, secret, length) != 0 ||
            !decode(cut(value, length, value.length), url->sentinel_password)) {
            return err_set(e, ERR_INVALID, "redis url: behind ? only sentinel_password=P is known");
        }
    }
    return name_end + 1 < path_end ? read_db(url, cut(text, name_end + 1, path_end), e) : 0;
}

/* rest is everything behind the user: host... */
static int read_tcp(struct redis__url *url, struct span rest, struct err_buf *e)
{
    const char *slash = memchr(rest.data, '/', rest.length);
    size_t host_end = slash ? (size_t)(slash - rest.data) : rest.length;
    struct span path = slash ? cut(rest, host_end + 1, rest.length) : span_of("");
    int rc = read_hosts(url, cut(rest, 0, host_end), e);
    if (rc == 0 && url->is_sentinel) {
        rc = read_master(url, path, e);
    } else if (rc == 0 && path.length > 0) {
        rc = read_db(url, path, e);
    }
    if (rc == 0) {
        redis__url_aim_seed(url, 0);
    }
    return rc;
}

static int read_unix(struct redis__url *url, struct span rest, struct err_buf *e)
{
    struct sockaddr_un address;
    const char *query = memchr(rest.data, '?', rest.length);
    size_t path_end = query ? (size_t)(query - rest.data) : rest.length;
    if (rest.length == 0 || rest.data[0] != '/' || !decode(cut(rest, 0, path_end), url->host)) {
        return err_set(e, ERR_INVALID, "redis url: write unix:///path/of/redis.sock");
    }
    if (strlen(url->host) >= sizeof address.sun_path) {
        return err_set(e, ERR_INVALID, "redis url: the path of a socket has at most %zu bytes",
                       sizeof address.sun_path - 1);
    }
    (void)snprintf(url->shown, sizeof url->shown, "unix:%s", url->host);
    if (!query) {
        return 0;
    }
    struct span value = cut(rest, path_end + 1, rest.length);
    if (value.length < 3 || memcmp(value.data, "db=", 3) != 0) {
        return err_set(e, ERR_INVALID, "redis url: behind ? only db=N is known");
    }
    return read_db(url, cut(value, 3, value.length), e);
}

/* The text behind the scheme, or NULL. */
static const char *read_scheme(struct redis__url *url, const char *text)
{
    static const char *const schemes[] = {"redis://", "unix://", "redis+sentinel://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0) {
            url->is_unix = i == 1;
            url->is_sentinel = i == 2;
            return text + strlen(schemes[i]);
        }
    }
    return NULL;
}

static int read_all(struct redis__url *url, const char *text, struct err_buf *e)
{
    const char *behind = read_scheme(url, text);
    if (!behind) {
        return err_set(e, ERR_INVALID,
                       "redis url: it must begin with redis://, redis+sentinel:// or unix://%s",
                       strncmp(text, "rediss://", 9) == 0 ? " (TLS is not supported)" : "");
    }
    struct span rest = span_of(behind);
    size_t authority = strcspn(rest.data, "/");
    const char *at = memrchr(rest.data, '@', authority);
    if (at) {
        size_t user_end = (size_t)(at - rest.data);
        int rc = read_user(url, cut(rest, 0, user_end), e);
        if (rc != 0) {
            return rc;
        }
        rest = cut(rest, user_end + 1, rest.length);
    }
    return url->is_unix ? read_unix(url, rest, e) : read_tcp(url, rest, e);
}

int redis__url_parse(struct redis__url *ret, const char *text, struct err_buf *e)
{
    memset(ret, 0, sizeof *ret);
    strcpy(ret->db, "0");
    if (!text) {
        return err_set(e, ERR_INVALID, "redis url: none was given");
    }
    int rc = read_all(ret, text, e);
    if (rc != 0) {
        redis__url_wipe(ret);
    }
    return rc;
}

/* --- the aim --------------------------------------------------------------------------------- */

static void show(struct redis__url *url)
{
    bool is_v6 = strchr(url->host, ':') != NULL;
    (void)snprintf(url->shown, sizeof url->shown, is_v6 ? "[%s]:%s%s" : "%s:%s%s", url->host,
                   url->port, url->is_at_sentinel ? " (sentinel)" : "");
}

void redis__url_aim_seed(struct redis__url *url, unsigned number)
{
    if (url->is_unix) {
        return;
    }
    const struct redis__host *seed = &url->seeds[number % url->seed_count];
    url->is_at_sentinel = url->is_sentinel;
    (void)snprintf(url->host, sizeof url->host, "%s", seed->name);
    (void)snprintf(url->port, sizeof url->port, "%s", seed->port);
    show(url);
}

int redis__url_aim(struct redis__url *url, struct span host, struct span port)
{
    long number = 0;
    if (url->is_unix || host.length == 0 || host.length > REDIS__HOST_MAX ||
        memchr(host.data, '\0', host.length) || !read_number(port, PORT_MAX, &number) ||
        number == 0) {
        return ERR_INVALID;
    }
    url->is_at_sentinel = false;
    memcpy(url->host, host.data, host.length);
    url->host[host.length] = '\0';
    (void)snprintf(url->port, sizeof url->port, "%u", (unsigned)number & 0xffffu);
    show(url);
    return 0;
}

void redis__url_wipe(struct redis__url *url)
{
    explicit_bzero(url, sizeof *url);
}
