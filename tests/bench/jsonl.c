/* A window of the file slides over a fixed buffer; strings are unescaped in place, and only those
 * that have a backslash. */
#include "tests/bench/jsonl.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { WINDOW = 64 * 1024, LINE_MAX_BYTES = 16 * 1024 * 1024 };

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "bag_train: %s: %s\n", what, detail);
    exit(1);
}

/* --- strings ------------------------------------------------------------------------------------
 */

static size_t put_utf8(char *out, uint32_t p)
{
    if (p < 0x80) {
        out[0] = (char)p;
        return 1;
    }
    if (p < 0x800) {
        out[0] = (char)(0xc0 | (p >> 6));
        out[1] = (char)(0x80 | (p & 0x3f));
        return 2;
    }
    if (p < 0x10000) {
        out[0] = (char)(0xe0 | (p >> 12));
        out[1] = (char)(0x80 | ((p >> 6) & 0x3f));
        out[2] = (char)(0x80 | (p & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | (p >> 18));
    out[1] = (char)(0x80 | ((p >> 12) & 0x3f));
    out[2] = (char)(0x80 | ((p >> 6) & 0x3f));
    out[3] = (char)(0x80 | (p & 0x3f));
    return 4;
}

static uint32_t hex4(const char *p)
{
    char digits[5] = {0};
    memcpy(digits, p, 4);
    return (uint32_t)strtoul(digits, NULL, 16);
}

/* One escape at p (after the backslash) to out; returns how many bytes of input it took. */
static size_t unescape(const char *p, const char *end, char *out, size_t *length)
{
    static const char from[] = "nrtbf";
    static const char to[] = "\n\r\t\b\f";
    const char *plain = *p ? strchr(from, *p) : NULL;
    if (*p != 'u' || end - p < 5) {
        out[(*length)++] = plain ? to[plain - from] : *p;
        return 1;
    }
    uint32_t point = hex4(p + 1);
    size_t used = 5;
    if (point >= 0xd800 && point < 0xdc00 && end - p >= 11 && p[5] == '\\' && p[6] == 'u') {
        point = 0x10000 + ((point - 0xd800) << 10) + (hex4(p + 7) - 0xdc00);
        used = 11;
    }
    *length += put_utf8(out + *length, point);
    return used;
}

/* The first quote or backslash from p on, or end. */
static char *find_special(char *p, char *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    for (; end - p >= 16; p += 16) {
        __m128i bytes = _mm_loadu_si128((const void *)p);
        __m128i hits = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, slash));
        int mask = _mm_movemask_epi8(hits);
        if (mask) {
            return p + __builtin_ctz((unsigned)mask);
        }
    }
#endif
    while (p < end && *p != '"' && *p != '\\') {
        p++;
    }
    return p;
}

/* The string that starts at *at, behind its quote; *at becomes what is behind it, or end. */
static struct span take_string(char **at, char *end)
{
    char *start = *at;
    char *p = find_special(start, end);
    if (p == end || *p == '"') {
        *at = p < end ? p + 1 : end;
        return span_make(start, (size_t)(p - start));
    }
    size_t length = (size_t)(p - start);
    while (p < end && *p != '"') {
        if (*p == '\\' && p + 1 < end) {
            p += 1 + unescape(p + 1, end, start, &length);
        } else {
            start[length++] = *p++;
        }
    }
    *at = p < end ? p + 1 : end;
    return span_make(start, length);
}

/* The strings of a line in turn: a key when a colon follows, else a value. */
static void take_line(char *at, char *end, jsonl_on_sample *on, void *data)
{
    struct span text = {0};
    struct span label = {0};
    struct span key = {0};
    while (at < end) {
        while (at < end && *at != '"') {
            at++; /* a comma, a colon, a brace and a few spaces; numbers are passed over too */
        }
        if (at == end) {
            break;
        }
        at++;
        struct span s = take_string(&at, end);
        if (at < end && *at == ':') {
            key = s;
        } else if (span_is(key, "text")) {
            text = s;
        } else if (span_is(key, "label")) {
            label = s;
        }
    }
    on(data, text, label);
}

/* --- lines --------------------------------------------------------------------------------------
 */

struct window {
    int file;
    const char *path;
    char *bytes;
    size_t room, from, to;
};

/* Moves what is left to the start and reads more behind it; false at the end of the file. */
static bool fill(struct window *w)
{
    memmove(w->bytes, w->bytes + w->from, w->to - w->from);
    w->to -= w->from;
    w->from = 0;
    if (w->to == w->room) {
        w->room *= 2;
        w->bytes = w->room <= LINE_MAX_BYTES ? realloc(w->bytes, w->room) : NULL;
        if (!w->bytes) {
            die("a line is too long", w->path);
        }
    }
    ssize_t n = read(w->file, w->bytes + w->to, w->room - w->to);
    if (n < 0) {
        die("cannot read", w->path);
    }
    w->to += (size_t)n;
    return n > 0;
}

void jsonl_read(const char *path, jsonl_on_sample *on, void *data)
{
    struct window w = {.path = path, .room = WINDOW, .bytes = malloc(WINDOW)};
    w.file = open(path, O_RDONLY | O_CLOEXEC);
    if (w.file < 0 || !w.bytes) {
        die("cannot open", path);
    }
    bool has_more = true;
    while (has_more || w.from < w.to) {
        char *start = w.bytes + w.from;
        char *newline = memchr(start, '\n', w.to - w.from);
        if (!newline && has_more) {
            has_more = fill(&w);
            continue;
        }
        char *end = newline ? newline : w.bytes + w.to;
        w.from = (size_t)(end - w.bytes) + (newline != NULL);
        if (end > start) {
            take_line(start, end, on, data);
        }
    }
    free(w.bytes);
    (void)close(w.file); /* it was only read */
}
