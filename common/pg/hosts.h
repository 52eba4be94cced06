/*
 * Names of a libpq URL to addresses, off the loop: libpq's own look-up would block it.
 *
 * A URL may name several hosts; those that are sockets or addresses already are left alone.
 */
#ifndef COMMON_PG_HOSTS_H
#define COMMON_PG_HOSTS_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

enum { HOSTS_MAX = 8, HOST_BYTES = 256, ADDRESS_BYTES = 64 };

struct hosts {
    /* read only */
    size_t count;
    char name[HOSTS_MAX][HOST_BYTES];
    char address[HOSTS_MAX][ADDRESS_BYTES]; /* "" = leave it to libpq */
};

/* Takes the hosts out of the URL. ERR_INVALID for a URL that cannot be read, ERR_LIMIT. */
MUST_CHECK int hosts_parse(struct hosts *h, const char *url, struct err_buf *e);
/* The next host at or after index that has to be looked up; count when there is none. */
size_t hosts_next(const struct hosts *h, size_t index);
/* Takes the first address over. */
void hosts_resolved(struct hosts *h, size_t index, const struct addrinfo *answer);
/* "10.0.0.1,,10.0.0.2" for libpq's hostaddr, or "" when no host needed an address. */
void hosts_addresses(const struct hosts *h, char *out, size_t size);

#endif
