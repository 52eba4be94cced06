/* Optimal string alignment over three rows. */
#include "common/base/nearest.h"

#include <string.h>

enum { LENGTH_MAX = 63 };

static size_t min2(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t nearest_distance(const char *a, const char *b)
{
    size_t rows[3][LENGTH_MAX + 1];
    size_t a_length = strnlen(a, LENGTH_MAX);
    size_t b_length = strnlen(b, LENGTH_MAX);
    for (size_t j = 0; j <= b_length; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t changed = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = min2(changed, min2(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = min2(row[j], two_above[j - 2] + 1);
            }
        }
    }
    return rows[a_length % 3][b_length];
}

void nearest_offer(const char *name, const char *candidate, const char **best)
{
    size_t distance = nearest_distance(name, candidate);
    size_t allowed = min2(3, (strlen(name) + 2) / 3);
    if (distance <= allowed && (!*best || distance < nearest_distance(name, *best))) {
        *best = candidate;
    }
}
