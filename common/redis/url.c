/* redis://[user:password@]host[:port][/db] and unix://[user:password@]/path[?db=N]. */
#include "common/redis/redis_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum { DB_MAX = 1 << 20 };

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
    long port = 6379;
    if (port_at < text.length &&
        (text.data[port_at] != ':' ||
         !read_number(cut(text, port_at + 1, text.length), 65535, &port) || port == 0)) {
        return err_set(e, ERR_INVALID, "redis url: the port must be a number from 1 to 65535");
    }
    if (end == start || !decode(cut(text, start, end), url->host)) {
        return err_set(e, ERR_INVALID, "redis url: the host is missing or malformed");
    }
    (void)snprintf(url->port, sizeof url->port, "%ld", port);
    (void)snprintf(url->shown, sizeof url->shown, bracket ? "[%s]:%s" : "%s:%s", url->host,
                   url->port);
    return 0;
}

/* rest is everything behind the user: host... or /path... */
static int read_tcp(struct redis__url *url, struct span rest, struct err_buf *e)
{
    const char *slash = memchr(rest.data, '/', rest.length);
    size_t host_end = slash ? (size_t)(slash - rest.data) : rest.length;
    int rc = read_host(url, cut(rest, 0, host_end), e);
    if (rc == 0 && host_end + 1 < rest.length) {
        rc = read_db(url, cut(rest, host_end + 1, rest.length), e);
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

static int read_all(struct redis__url *url, const char *text, struct err_buf *e)
{
    static const char tcp[] = "redis://";
    static const char local[] = "unix://";
    url->is_unix = strncmp(text, local, strlen(local)) == 0;
    if (!url->is_unix && strncmp(text, tcp, strlen(tcp)) != 0) {
        return err_set(e, ERR_INVALID, "redis url: it must begin with redis:// or unix://%s",
                       strncmp(text, "rediss://", 9) == 0 ? " (TLS is not supported)" : "");
    }
    struct span rest = span_of(text + strlen(url->is_unix ? local : tcp));
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

void redis__url_wipe(struct redis__url *url)
{
    explicit_bzero(url, sizeof *url);
}
