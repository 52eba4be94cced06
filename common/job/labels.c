/* Labels: what a worker is, and what a job wants of one. */
#include "common/job/job.h"

#include <stdio.h>
#include <string.h>

enum { LABELS_MAX = 16, KEY_MAX = 32, VALUE_MAX = 64 };

static const char key_bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
static const char value_bytes[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

struct label {
    const char *text; /* "key=value" */
    size_t key;
    size_t length;
};

static int take_one(const char *text, size_t length, struct label *out, struct err_buf *e)
{
    size_t key = strspn(text, key_bytes);
    size_t value = key < length && text[key] == '=' ? strspn(text + key + 1, value_bytes) : 0;
    if (key == 0 || value == 0 || key + 1 + value != length) {
        return err_set(e, ERR_INVALID,
                       "\"%.*s\" is not a label: expected KEY=VALUE, a key of a-z 0-9 . _ -, a "
                       "value of letters, digits and . _ -",
                       length > 60 ? 60 : (int)length, text);
    }
    if (key > KEY_MAX || value > VALUE_MAX) {
        return err_set(e, ERR_INVALID, "label \"%.*s\": a key has at most %d bytes, a value %d",
                       key > KEY_MAX ? KEY_MAX : (int)key, text, KEY_MAX, VALUE_MAX);
    }
    *out = (struct label){.text = text, .key = key, .length = length};
    return 0;
}

static int compare_keys(const struct label *a, const struct label *b)
{
    size_t shorter = a->key < b->key ? a->key : b->key;
    int order = memcmp(a->text, b->text, shorter);
    return order ? order : (a->key > b->key) - (a->key < b->key);
}

/* Puts one label where it belongs in the sorted list. */
static int insert(struct label *sorted, size_t *count, struct label label, struct err_buf *e)
{
    if (*count == LABELS_MAX) {
        return err_set(e, ERR_INVALID, "more than %d labels", LABELS_MAX);
    }
    size_t at = *count;
    while (at > 0 && compare_keys(&label, &sorted[at - 1]) < 0) {
        sorted[at] = sorted[at - 1];
        at--;
    }
    if (at > 0 && compare_keys(&label, &sorted[at - 1]) == 0) {
        return err_set(e, ERR_INVALID, "label \"%.*s\" is there twice", (int)label.key, label.text);
    }
    sorted[at] = label;
    (*count)++;
    return 0;
}

int job_labels_sort(const char *text, char out[JOB_LABELS_SIZE], struct err_buf *e)
{
    struct label sorted[LABELS_MAX];
    size_t count = 0;
    for (const char *at = text; *at;) {
        size_t length = strcspn(at, ",");
        struct label label = {0};
        int rc = take_one(at, length, &label, e);
        rc = rc ? rc : insert(sorted, &count, label, e);
        if (rc) {
            return rc;
        }
        at += length;
        if (*at == ',' && at[1] == '\0') {
            return err_set(e, ERR_INVALID, "labels end with a comma");
        }
        at += *at == ',';
    }
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        /* It fits: sixteen of at most 97 bytes each, and the commas. */
        used += (size_t)snprintf(out + used, JOB_LABELS_SIZE - used, "%s%.*s", i ? "," : "",
                                 (int)sorted[i].length, sorted[i].text);
    }
    return 0;
}
