/* A line is built in one buffer and written by one write(2), so lines of processes never mix. */
#include "common/base/log.h"

#include "common/base/clock.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[LOG_LEVEL_COUNT] = {"error", "warn", "info", "debug", "trace"};
static const char *module_name = "meridian";
static enum log_level current = LOG_INFO;

void log_open(const char *module)
{
    module_name = module;
    const char *wanted = getenv("MERIDIAN_LOG");
    for (int i = 0; wanted && i < LOG_LEVEL_COUNT; i++) {
        if (strcmp(wanted, names[i]) == 0) {
            current = (enum log_level)i;
        }
    }
}

void log_set_level(enum log_level level)
{
    current = level;
}

bool log_is_on(enum log_level level)
{
    return level <= current;
}

/* Control characters could forge a line of their own. */
static void flatten(char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] < ' ') {
            text[i] = ' ';
        }
    }
}

void log_write(enum log_level level, const char *format, ...)
{
    if (!log_is_on(level)) {
        return;
    }
    char line[1024];
    char when[32];
    int used = snprintf(line, sizeof line - 1,
                        "%s %s %s: ", clock_format_utc(clock_wall_ms(), when, sizeof when),
                        names[level], module_name);
    if (used < 0) {
        return;
    }
    size_t room = sizeof line - 1 - (size_t)used;
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + used, room, format, args);
    va_end(args);
    size_t length = (size_t)used + (more < 0 ? 0 : (size_t)more < room ? (size_t)more : room - 1);
    flatten(line, length);
    line[length++] = '\n';
    if (write(STDERR_FILENO, line, length) < 0) {
        return; /* nowhere left to say it */
    }
}
