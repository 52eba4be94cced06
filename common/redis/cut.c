/*
 *            '$'            CR LF, n bytes announced             n kept
 *   LINE ─────────► HEADER ─────────────────────────► KEEP ─────────────► DROP ─► END (CR LF) ─►
 * LINE └ other lines pass as they are
 */
#include "common/redis/cut.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum state { LINE = 0, WITHIN, HEADER, KEEP, DROP };

void cut_init(struct cut *c, size_t bulk_max, size_t reply_max)
{
    *c = (struct cut){.bulk_max = bulk_max, .reply_max = reply_max};
}

/* An element of the reply is complete; arrays add their own. */
static void element_done(struct cut *c, uint64_t more)
{
    c->missing = (c->missing > 0 ? c->missing - 1 : 0) + more;
    if (c->missing == 0) {
        c->passed = 0;
    }
}

/* How many bytes of a bulk of that length pass. */
static uint64_t allowed(const struct cut *c, uint64_t length)
{
    uint64_t kept = c->bulk_max > 0 && length > c->bulk_max ? c->bulk_max + 1 : length;
    return c->reply_max > 0 && length > CUT_ID_MAX && c->passed + kept > c->reply_max ? 0 : kept;
}

/* "$12" or "*-1" and CR LF, as the protocol has it. */
static bool is_header(const struct cut *c)
{
    size_t at = 1 + (c->header[1] == '-');
    size_t digits = strspn(c->header + at, "0123456789");
    return digits > 0 && digits < 19 && strcmp(c->header + at + digits, "\r\n") == 0;
}

/* A header is complete: the one that passes instead, in c->header. */
static void header_done(struct cut *c)
{
    bool is_array = c->header[0] == '*';
    if (!is_header(c)) {
        c->state = LINE; /* not Redis's protocol: the reader says so */
        element_done(c, 0);
        return;
    }
    long long length = strtoll(c->header + 1, NULL, 10);
    if (is_array || length < 0) {
        element_done(c, is_array && length > 0 ? (uint64_t)length : 0);
        c->state = LINE;
        return;
    }
    c->keep = allowed(c, (uint64_t)length);
    c->drop = (uint64_t)length - c->keep;
    c->passed += c->keep;
    if (c->drop > 0) {
        c->header_length =
            (size_t)snprintf(c->header, sizeof c->header, "$%llu\r\n", (unsigned long long)c->keep);
    }
    c->state = KEEP;
    if (c->drop == 0) {
        c->keep += 2; /* with its CR LF */
    }
}

/* One byte of a header. True when the header has to be passed on: it is complete, or is none. */
static bool add_to_header(struct cut *c, char byte)
{
    c->header[c->header_length++] = byte;
    if (byte == '\n') {
        c->header[c->header_length] = '\0';
        header_done(c);
        return true;
    }
    if (c->header_length == CUT_HEADER_MAX) {
        c->state = WITHIN; /* not Redis's protocol: the reader says so */
        return true;
    }
    return false;
}

/* The end of KEEP: the bulk is over, or the rest of it is dropped and its CR LF follows. */
static void keep_done(struct cut *c)
{
    if (c->drop > 0) {
        c->state = DROP;
    } else {
        c->state = LINE;
        element_done(c, 0);
    }
}

/* Passes up to length bytes in one piece and returns how many were used. */
static size_t feed_bytes(struct cut *c, const char *data, size_t length, bool *ret_passes)
{
    const char *end;
    *ret_passes = true;
    switch (c->state) {
    case WITHIN: /* a line that is no header */
        end = memchr(data, '\n', length);
        if (end) {
            c->state = LINE;
            element_done(c, 0);
        }
        return end ? (size_t)(end - data) + 1 : length;
    case KEEP:
        length = c->keep < length ? (size_t)c->keep : length;
        c->keep -= length;
        if (c->keep == 0) {
            keep_done(c);
        }
        return length;
    default: /* DROP */
        *ret_passes = false;
        length = c->drop < length ? (size_t)c->drop : length;
        c->drop -= length;
        if (c->drop == 0) {
            c->keep = 2;
            c->state = KEEP;
        }
        return length;
    }
}

static void line_begins(struct cut *c, char first)
{
    bool has_header = first == '$' || first == '*';
    c->header_length = 0;
    c->state = has_header ? HEADER : WITHIN;
    if (c->missing == 0) {
        c->missing = 1;
    }
}

int cut_feed(struct cut *c, const char *data, size_t length, cut_pass_fn pass, void *data_of_pass,
             struct err_buf *e)
{
    int rc = 0;
    for (size_t at = 0; at < length && rc == 0;) {
        if (c->state == LINE) {
            line_begins(c, data[at]);
        }
        if (c->state == HEADER) {
            if (add_to_header(c, data[at++])) {
                rc = pass(c->header, c->header_length, data_of_pass, e);
            }
            if (rc == 0 && c->state == KEEP && c->keep == 0) {
                keep_done(c);
            }
            continue;
        }
        bool passes;
        size_t used = feed_bytes(c, data + at, length - at, &passes);
        if (passes) {
            rc = pass(data + at, used, data_of_pass, e);
        }
        at += used;
    }
    return rc;
}
