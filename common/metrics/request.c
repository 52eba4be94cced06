#include "common/metrics/request.h"

#include <stdbool.h>
#include <string.h>

/* The byte after the empty line that ends the head, or 0. Lines end with LF, or CR LF. */
static size_t head_end(struct span b)
{
    for (size_t i = 0; i + 1 < b.length; i++) {
        if (b.data[i] != '\n') {
            continue;
        }
        if (b.data[i + 1] == '\n') {
            return i + 2;
        }
        if (b.data[i + 1] == '\r' && i + 2 < b.length && b.data[i + 2] == '\n') {
            return i + 3;
        }
    }
    return 0;
}

static bool is_plain(struct span b)
{
    for (size_t i = 0; i < b.length; i++) {
        unsigned char c = (unsigned char)b.data[i];
        if ((c < ' ' && c != '\r' && c != '\n' && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

/* The word at *at, which must be followed by a space; empty when there is none. */
static struct span word(struct span line, size_t *at)
{
    size_t start = *at;
    while (*at < line.length && line.data[*at] != ' ') {
        (*at)++;
    }
    if (*at == line.length) {
        return (struct span){0};
    }
    return span_make(line.data + start, (*at)++ - start);
}

static enum request_verdict read_line(struct span line, struct request *ret)
{
    size_t at = 0;
    struct span method = word(line, &at);
    struct span target = word(line, &at);
    struct span version = span_make(line.data + at, line.length - at);
    bool is_http = version.length == 8 && memcmp(version.data, "HTTP/1.", 7) == 0 &&
                   (version.data[7] == '0' || version.data[7] == '1');
    if (method.length == 0 || target.length == 0 || target.data[0] != '/' || !is_http) {
        return REQUEST_BAD;
    }
    if (!span_is(method, "GET") && !span_is(method, "HEAD")) {
        return REQUEST_NO_METHOD;
    }
    const char *query = memchr(target.data, '?', target.length);
    size_t length = query ? (size_t)(query - target.data) : target.length;
    if (length > REQUEST_PATH_MAX) {
        return REQUEST_TOO_LONG;
    }
    *ret = (struct request){.is_head = span_is(method, "HEAD")};
    memcpy(ret->path, target.data, length);
    return REQUEST_GOOD;
}

enum request_verdict request_read(struct span bytes, struct request *ret)
{
    size_t end = head_end(bytes);
    struct span head = span_make(bytes.data, end ? end : bytes.length);
    if (head.length > REQUEST_BYTES_MAX) {
        return REQUEST_TOO_LONG;
    }
    if (!is_plain(head)) {
        return REQUEST_BAD;
    }
    if (end == 0) {
        return bytes.length < REQUEST_BYTES_MAX ? REQUEST_MORE : REQUEST_TOO_LONG;
    }
    const char *feed = memchr(head.data, '\n', head.length);
    size_t length = (size_t)(feed - head.data);
    if (length > 0 && head.data[length - 1] == '\r') {
        length--;
    }
    return read_line(span_make(head.data, length), ret);
}
