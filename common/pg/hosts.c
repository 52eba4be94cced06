#include "common/pg/hosts.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (const PQconninfoOption *o = options; o->keyword; o++) {
        if (strcmp(o->keyword, keyword) == 0) {
            return o->val && o->val[0] ? o->val : NULL;
        }
    }
    return NULL;
}

static int split(struct hosts *h, const char *list, struct err_buf *e)
{
    while (list) {
        const char *comma = strchr(list, ',');
        size_t length = comma ? (size_t)(comma - list) : strlen(list);
        if (h->count == HOSTS_MAX || length >= HOST_BYTES) {
            return err_set(e, ERR_LIMIT,
                           "the database URL names more than %d hosts, or one longer "
                           "than %d bytes",
                           HOSTS_MAX, HOST_BYTES - 1);
        }
        memcpy(h->name[h->count], list, length);
        h->name[h->count++][length] = '\0';
        list = comma ? comma + 1 : NULL;
    }
    return 0;
}

int hosts_parse(struct hosts *h, const char *url, struct err_buf *e)
{
    *h = (struct hosts){.count = 0};
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    if (!options) {
        /* libpq's own words repeat the URL, password included. */
        return err_set(e, ERR_INVALID,
                       "the database URL cannot be read: expected "
                       "postgresql://user:password@host:port/database");
    }
    const char *host = value_of(options, "host");
    const char *environment = getenv("PGHOST");
    bool has_address = value_of(options, "hostaddr") != NULL;
    int rc = has_address ? 0 : split(h, host ? host : environment, e);
    PQconninfoFree(options);
    return rc;
}

static bool needs_lookup(const char *name)
{
    return name[0] != '\0' && name[0] != '/' && name[0] != '@';
}

size_t hosts_next(const struct hosts *h, size_t index)
{
    while (index < h->count && !needs_lookup(h->name[index])) {
        index++;
    }
    return index;
}

void hosts_resolved(struct hosts *h, size_t index, const struct addrinfo *answer)
{
    char *out = h->address[index];
    int rc = UV_EINVAL;
    if (answer->ai_family == AF_INET) {
        rc = uv_ip4_name((const struct sockaddr_in *)(const void *)answer->ai_addr, out,
                         ADDRESS_BYTES);
    } else if (answer->ai_family == AF_INET6) {
        rc = uv_ip6_name((const struct sockaddr_in6 *)(const void *)answer->ai_addr, out,
                         ADDRESS_BYTES);
    }
    if (rc != 0) {
        out[0] = '\0';
    }
}

void hosts_addresses(const struct hosts *h, char *out, size_t size)
{
    size_t used = 0;
    bool has_any = false;
    out[0] = '\0';
    for (size_t i = 0; i < h->count && used < size; i++) {
        int length = snprintf(out + used, size - used, "%s%s", i ? "," : "", h->address[i]);
        used += length > 0 ? (size_t)length : 0;
        has_any = has_any || h->address[i][0];
    }
    if (!has_any || used >= size) {
        out[0] = '\0';
    }
}
