/*
 * The part that all formats share: finding out the format, checking rows, passing them on.
 */
#include "ops/ingest/ingest.h"

#include "common/base/mem.h"
#include "common/base/sha256.h"
#include "ops/ingest/ingest_int.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { HEAD_BYTES_MAX = 4096 }; /* a first line longer than this is judged by its beginning */

static const char *const aliases[INGEST__WANTED][16] = {
    [INGEST__ID] = {"id", "external_id", "uid", "uuid", "guid", NULL},
    [INGEST__TEXT] = {"text", "utterance", "utt", "sentence", "content", "query", "message",
                      "review", "document", "texts", NULL},
    [INGEST__LABEL] = {"label", "intent", "category", "class", "sentiment", "target", "labels",
                       NULL},
};

/* Names ------------------------------------------------------------------------------------- */

const char *ingest_fault_name(enum ingest_fault fault)
{
    static const char *const names[] = {
#define X(code, name, text) [INGEST_FAULT_##code] = (name),
        INGEST_FAULT_LIST(X)
#undef X
    };
    return fault < INGEST_FAULT_COUNT ? names[fault] : "unknown";
}

const char *ingest_fault_text(enum ingest_fault fault)
{
    static const char *const texts[] = {
#define X(code, name, text) [INGEST_FAULT_##code] = (text),
        INGEST_FAULT_LIST(X)
#undef X
    };
    return fault < INGEST_FAULT_COUNT ? texts[fault] : "unknown";
}

static bool ends_with(struct span s, const char *ending)
{
    size_t n = strlen(ending);
    return s.length >= n && strncasecmp(s.data + s.length - n, ending, n) == 0;
}

enum ingest_format ingest_format_of_path(const char *path)
{
    struct span s = span_of(path);
    if (ends_with(s, ".gz")) {
        s.length -= 3;
    }
    if (ends_with(s, ".csv")) {
        return INGEST_CSV;
    }
    if (ends_with(s, ".tsv") || ends_with(s, ".tab")) {
        return INGEST_TSV;
    }
    if (ends_with(s, ".jsonl") || ends_with(s, ".ndjson") || ends_with(s, ".json")) {
        return INGEST_JSONL;
    }
    return INGEST_AUTO;
}

bool ingest_format_from_name(const char *name, enum ingest_format *ret_format)
{
    static const char *const names[] = {"auto", "jsonl", "csv", "tsv"};
    for (size_t i = 0; i < INGEST_FORMAT_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            *ret_format = (enum ingest_format)i;
            return true;
        }
    }
    return false;
}

const char *const *ingest_aliases(int column)
{
    CHECK(column >= 0 && column < INGEST__WANTED);
    return aliases[column];
}

static bool is_name(struct span name, const char *wanted)
{
    return name.length == strlen(wanted) && strncasecmp(name.data, wanted, name.length) == 0;
}

int ingest__match(const struct ingest *in, struct span name, size_t *ret_rank)
{
    const char *const given[INGEST__WANTED] = {in->options.id, in->options.text, in->options.label};
    for (int column = 0; column < INGEST__WANTED; column++) {
        if (given[column]) {
            if (is_name(name, given[column])) {
                *ret_rank = 0;
                return column;
            }
            continue;
        }
        for (size_t i = 0; aliases[column][i]; i++) {
            if (is_name(name, aliases[column][i])) {
                *ret_rank = i;
                return column;
            }
        }
    }
    return -1;
}

/* Rows -------------------------------------------------------------------------------------- */

void ingest__report(struct ingest *in, uint64_t line, enum ingest_fault fault)
{
    in->bad++;
    if (in->on_bad) {
        in->on_bad(line, fault, in->data);
    }
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

static struct span trim(struct span s)
{
    while (s.length > 0 && is_space(s.data[0])) {
        s.data++;
        s.length--;
    }
    while (s.length > 0 && is_space(s.data[s.length - 1])) {
        s.length--;
    }
    return s;
}

/* Ids and labels end up in tables, file names and terminals. */
static bool is_name_usable(struct span s)
{
    for (size_t i = 0; i < s.length; i++) {
        if ((unsigned char)s.data[i] < 0x20 || s.data[i] == 0x7f) {
            return false;
        }
    }
    return ingest__utf8_length(s) <= INGEST_NAME_CHARACTERS_MAX;
}

static bool has_nul(struct span s)
{
    return s.length > 0 && memchr(s.data, 0, s.length);
}

/* The first thing wrong with the row, or INGEST_FAULT_COUNT. */
static enum ingest_fault find_fault(const struct ingest *in, struct span id, struct span text,
                                    struct span label)
{
    if (!text.data) {
        return INGEST_FAULT_NO_TEXT;
    }
    if (text.length > in->options.text_bytes_max) {
        return INGEST_FAULT_LONG;
    }
    if (trim(text).length == 0) {
        return INGEST_FAULT_EMPTY;
    }
    if (!label.data || label.length == 0) {
        return INGEST_FAULT_NO_LABEL;
    }
    if (!ingest__utf8_is_valid(text) || !ingest__utf8_is_valid(label) ||
        !ingest__utf8_is_valid(id)) {
        return INGEST_FAULT_UTF8;
    }
    if (has_nul(text) || has_nul(label) || has_nul(id)) {
        return INGEST_FAULT_NUL;
    }
    if (!is_name_usable(label)) {
        return INGEST_FAULT_LABEL;
    }
    return is_name_usable(id) ? INGEST_FAULT_COUNT : INGEST_FAULT_ID;
}

/* 128 bits of the text's hash: a corrected label is then a new revision of the same sample. */
static struct span derive_id(struct span text, char out[SHA256_HEX_SIZE])
{
    uint8_t digest[SHA256_BYTES];
    sha256_of(text.data, text.length, digest);
    return span_make(sha256_hex(digest, out), 32);
}

int ingest__emit(struct ingest *in, uint64_t line, struct span id, struct span text,
                 struct span label, struct err_buf *e)
{
    id = trim(id);
    label = trim(label);
    enum ingest_fault fault = find_fault(in, id, text, label);
    if (fault != INGEST_FAULT_COUNT) {
        ingest__report(in, line, fault);
        return 0;
    }
    char hex[SHA256_HEX_SIZE];
    struct ingest_row row = {.line = line, .id = id, .text = text, .label = label};
    if (id.length == 0) {
        row.id = derive_id(text, hex);
        row.id_is_derived = true;
    }
    in->good++;
    return in->on_row(&row, e, in->data);
}

/* The stream -------------------------------------------------------------------------------- */

struct ingest *ingest_new(const struct ingest_options *options, ingest_row_cb on_row,
                          ingest_bad_cb on_bad, void *data, struct err_buf *e)
{
    if (options->text_bytes_max > INGEST_TEXT_BYTES_MAX) {
        (void)err_set(e, ERR_INVALID, "the text limit may be at most %d bytes",
                      INGEST_TEXT_BYTES_MAX);
        return NULL;
    }
    struct ingest *in = mem_new(sizeof *in);
    if (!in) {
        (void)err_set(e, ERR_NOMEM, "out of memory");
        return NULL;
    }
    in->options = *options;
    if (in->options.text_bytes_max == 0) {
        in->options.text_bytes_max = INGEST_TEXT_BYTES_DEFAULT;
    }
    in->on_row = on_row;
    in->on_bad = on_bad;
    in->data = data;
    buf_init(&in->head, HEAD_BYTES_MAX);
    return in;
}

void ingest_free(struct ingest *in)
{
    if (!in) {
        return;
    }
    buf_close(&in->head);
    if (in->has_started && in->options.format == INGEST_JSONL) {
        jsonl__close(in);
    } else if (in->has_started) {
        delimited__close(in);
    }
    mem_free(in);
}

/* From the first line that is not blank on, without a byte order mark. */
static struct span first_line_of(struct span head)
{
    if (head.length >= 3 && memcmp(head.data, "\xef\xbb\xbf", 3) == 0) {
        head.data += 3;
        head.length -= 3;
    }
    while (head.length > 0 && is_space(head.data[0])) {
        head.data++;
        head.length--;
    }
    return head;
}

static enum ingest_format guess_format(struct span first)
{
    if (first.length > 0 && (first.data[0] == '{' || first.data[0] == '[')) {
        return INGEST_JSONL;
    }
    const char *newline = first.length > 0 ? memchr(first.data, '\n', first.length) : NULL;
    size_t line = newline ? (size_t)(newline - first.data) : first.length;
    return line > 0 && memchr(first.data, '\t', line) ? INGEST_TSV : INGEST_CSV;
}

static int feed_started(struct ingest *in, struct span bytes, struct err_buf *e)
{
    if (bytes.length == 0) {
        return 0; /* of an empty file there is not even a pointer */
    }
    if (in->options.format == INGEST_JSONL) {
        return jsonl__feed(in, bytes, e);
    }
    return delimited__feed(in, bytes, e);
}

static bool is_utf16(struct span s)
{
    return s.length >= 2 &&
           (memcmp(s.data, "\xff\xfe", 2) == 0 || memcmp(s.data, "\xfe\xff", 2) == 0);
}

/* Decides on the format by the first bytes and reads them. */
static int start(struct ingest *in, struct err_buf *e)
{
    struct span head = buf_span(&in->head);
    struct span first = first_line_of(head);
    if (is_utf16(head)) {
        return err_set(e, ERR_PARSE, "this is UTF-16; convert it: iconv -f UTF-16 -t UTF-8");
    }
    if (head.length >= 3 && memcmp(head.data, "\xef\xbb\xbf", 3) == 0) {
        head.data += 3;
        head.length -= 3;
    }
    if (in->options.format == INGEST_AUTO) {
        in->options.format = guess_format(first);
    }
    if (in->options.format == INGEST_JSONL && first.length > 0 && first.data[0] == '[') {
        return err_set(e, ERR_PARSE, "this is one JSON array; write an object a line: jq -c '.[]'");
    }
    in->has_started = true;
    if (in->options.format == INGEST_JSONL) {
        jsonl__init(in);
    } else {
        delimited__init(in, in->options.format == INGEST_TSV ? '\t' : ',');
    }
    int rc = feed_started(in, head, e);
    buf_close(&in->head);
    buf_init(&in->head, HEAD_BYTES_MAX);
    return rc;
}

/* The decision must not depend on how the bytes were cut: a whole line, or all that is looked at.
 */
static bool is_head_enough(const struct buf *head)
{
    struct span first = first_line_of(buf_span(head));
    return head->length >= HEAD_BYTES_MAX ||
           (head->length >= 3 && first.length > 0 && memchr(first.data, '\n', first.length));
}

int ingest_feed(struct ingest *in, struct span bytes, struct err_buf *e)
{
    if (!in->has_started) {
        size_t room = HEAD_BYTES_MAX - in->head.length;
        size_t taken = bytes.length < room ? bytes.length : room;
        int rc = buf_add(&in->head, bytes.data, taken);
        if (rc) {
            return err_set(e, rc, "out of memory");
        }
        bytes.data += taken;
        bytes.length -= taken;
        if (!is_head_enough(&in->head)) {
            return 0;
        }
        rc = start(in, e);
        if (rc) {
            return rc;
        }
    }
    return feed_started(in, bytes, e);
}

int ingest_finish(struct ingest *in, struct err_buf *e)
{
    if (!in->has_started) {
        int rc = start(in, e);
        if (rc) {
            return rc;
        }
    }
    return in->options.format == INGEST_JSONL ? jsonl__finish(in, e) : delimited__finish(in, e);
}

uint64_t ingest_good(const struct ingest *in)
{
    return in->good;
}

uint64_t ingest_bad(const struct ingest *in)
{
    return in->bad;
}

uint64_t ingest_line(const struct ingest *in)
{
    if (!in->has_started) {
        return 1;
    }
    return in->options.format == INGEST_JSONL ? in->jsonl.number : in->delimited.record_line;
}
