/* Progress lines: a bar on a terminal. */
#ifndef OPS_CLI_BAR_H
#define OPS_CLI_BAR_H

#include <stddef.h>

/* "[######....]" with width cells for done 0..1, into out (width + 3 bytes at least). Returns out.
 */
const char *bar_format(double done, int width, char *out, size_t size);
/* Columns of the terminal on standard error, 80 when not known. */
int bar_terminal_columns(void);

#endif
