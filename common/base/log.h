/*
 * One line per event on standard error: time, level, module, message, key=value pairs.
 *
 * Messages are lower case without a full stop; values with spaces are quoted. Never texts of
 * customers, never secrets. Level from MERIDIAN_LOG (error, warn, info, debug, trace).
 */
#ifndef COMMON_BASE_LOG_H
#define COMMON_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE, LOG_LEVEL_COUNT };

/* Names the process in each line ("scheduler", "worker"); keeps module. Reads MERIDIAN_LOG. */
void log_open(const char *module);
void log_set_level(enum log_level level);
bool log_is_on(enum log_level level);
/* printf-style; write pairs into the message as key=value at its end. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_trace(...) log_write(LOG_TRACE, __VA_ARGS__)

#endif
