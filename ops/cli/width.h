/* How many columns of a terminal a text takes: East Asian wide characters take two, marks none. */
#ifndef OPS_CLI_WIDTH_H
#define OPS_CLI_WIDTH_H

#include "common/base/span.h"

/* Invalid bytes count as one column each. */
size_t width_of(struct span text);
/* The length in bytes of the longest beginning of text that fits into columns. */
size_t width_cut(struct span text, size_t columns);

#endif
