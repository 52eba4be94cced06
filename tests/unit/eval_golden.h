/* Reads tests/golden/eval.txt: a key, a space, values. The format is in tests/golden/README.md. */
#ifndef TESTS_UNIT_EVAL_GOLDEN_H
#define TESTS_UNIT_EVAL_GOLDEN_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct golden {
    FILE *file;
    char *line;
    size_t room;
    const char *key;
    const char *rest; /* what follows the key */
};

static inline bool golden_open(struct golden *g)
{
    *g = (struct golden){.file = fopen(MERIDIAN_SOURCE_DIR "/tests/golden/eval.txt", "r")};
    return g->file != NULL;
}

static inline void golden_close(struct golden *g)
{
    free(g->line);
    (void)fclose(g->file);
}

static inline bool golden_next(struct golden *g)
{
    ssize_t length = getline(&g->line, &g->room, g->file);
    if (length <= 0) {
        return false;
    }
    g->line[length - 1] = '\0';
    if (g->line[0] == '|' || g->line[0] == '#') {
        g->key = g->line[0] == '|' ? "|" : "#";
        g->rest = g->line + 1;
        return true;
    }
    char *space = strchr(g->line, ' ');
    g->key = g->line;
    g->rest = space ? space + 1 : "";
    if (space) {
        *space = '\0';
    }
    return true;
}

static inline bool golden_is(const struct golden *g, const char *key)
{
    return strcmp(g->key, key) == 0;
}

/* The numbers of the line into out, at most room; returns how many. */
static inline size_t golden_doubles(const struct golden *g, double *out, size_t room)
{
    size_t count = 0;
    char *end = NULL;
    for (const char *at = g->rest; count < room; at = end) {
        double value = strtod(at, &end);
        if (end == at) {
            break;
        }
        out[count++] = value;
    }
    return count;
}

static inline size_t golden_ids(const struct golden *g, uint32_t *out, size_t room)
{
    double values[1024];
    size_t count = golden_doubles(g, values, room < 1024 ? room : 1024);
    for (size_t i = 0; i < count; i++) {
        out[i] = (uint32_t)values[i];
    }
    return count;
}

static inline bool golden_near(double a, double b, double slack)
{
    return (isnan(a) && isnan(b)) || fabs(a - b) <= slack * fmax(1.0, fabs(b));
}

#endif
