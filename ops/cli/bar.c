/* Plain ASCII: every terminal and every log can show it. */
#include "ops/cli/bar.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

const char *bar_format(double done, int width, char *out, size_t size)
{
    if (size < (size_t)width + 3) {
        *out = 0;
        return out;
    }
    int full = done >= 1 ? width : done > 0 ? (int)(done * width) : 0;
    out[0] = '[';
    memset(out + 1, '#', (size_t)full);
    memset(out + 1 + full, '.', (size_t)(width - full));
    out[width + 1] = ']';
    out[width + 2] = 0;
    return out;
}

int bar_terminal_columns(void)
{
    struct winsize size = {0};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) {
        return size.ws_col;
    }
    return 80;
}
