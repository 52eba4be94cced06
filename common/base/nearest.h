/* How far a mistyped name is from a known one: for "did you mean ...?". */
#ifndef COMMON_BASE_NEAREST_H
#define COMMON_BASE_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

/* Insertions, deletions, replacements and swaps of neighbours that turn one into the other, counted
 * over the first 63 bytes. */
size_t nearest_distance(const char *a, const char *b);
/* Keeps the better of *best and candidate for name; *best starts as NULL and stays so while
 * nothing is close (at most a third of the name, and at most 3). */
void nearest_offer(const char *name, const char *candidate, const char **best);

#endif
