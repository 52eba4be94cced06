/* Merge by sorting all names anew: sets are small and grow two or three times. */
#include "worker/eval/labels.h"

#include "common/base/mem.h"
#include "worker/eval/confusion.h"

#include <stdlib.h>
#include <string.h>

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void label_set_init(struct label_set *s)
{
    *s = (struct label_set){0};
}

static void free_names(char **names, size_t count)
{
    for (size_t i = 0; names && i < count; i++) {
        mem_free(names[i]);
    }
    mem_free(names);
}

void label_set_close(struct label_set *s)
{
    free_names(s->name, s->count);
    *s = (struct label_set){0};
}

uint32_t label_set_find(const struct label_set *s, const char *name)
{
    if (s->count == 0) {
        return LABEL_NONE;
    }
    char **found = bsearch(&name, s->name, s->count, sizeof(*s->name), compare_names);
    return found ? (uint32_t)(found - s->name) : LABEL_NONE;
}

/* Pointers to all names, sorted, each once; the caller owns the array, not the names. */
static const char **merge(const struct label_set *s, const char *const *names, uint32_t count,
                          size_t *ret_count)
{
    size_t total = (size_t)s->count + count;
    const char **all = mem_new_array(total, sizeof(*all));
    if (!all) {
        return NULL;
    }
    for (size_t i = 0; i < total; i++) {
        all[i] = i < s->count ? s->name[i] : names[i - s->count];
    }
    size_t kept = 0;
    if (total > 0) {
        qsort(all, total, sizeof(*all), compare_names);
    }
    for (size_t i = 0; i < total; i++) {
        if (kept == 0 || strcmp(all[kept - 1], all[i]) != 0) {
            all[kept++] = all[i];
        }
    }
    *ret_count = kept;
    return all;
}

static char **copy_names(const char **names, size_t count)
{
    char **copy = mem_new_array(count, sizeof(*copy));
    for (size_t i = 0; copy && i < count; i++) {
        copy[i] = mem_string_copy(names[i]);
        if (!copy[i]) {
            free_names(copy, count);
            return NULL;
        }
    }
    return copy;
}

int label_set_add(struct label_set *s, const char *const *names, uint32_t count, struct err_buf *e)
{
    size_t total = 0;
    const char **all = merge(s, names, count, &total);
    if (!all) {
        return err_set(e, ERR_NOMEM, "no memory for %u labels", count);
    }
    if (total > EVAL_CLASSES_MAX) {
        mem_free(all);
        return err_set(e, ERR_LIMIT, "%zu labels, the limit is %u", total, EVAL_CLASSES_MAX);
    }
    char **copy = copy_names(all, total);
    mem_free(all);
    if (!copy) {
        return err_set(e, ERR_NOMEM, "no memory for %zu labels", total);
    }
    label_set_close(s);
    *s = (struct label_set){.count = (uint32_t)total, .name = copy};
    return 0;
}
