/* Two clocks that must not be mixed: monotonic for waits, wall (UTC) for records. Milliseconds. */
#ifndef COMMON_BASE_CLOCK_H
#define COMMON_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
int64_t clock_wall_ms(void);
/* "2026-11-23T20:29:00.123Z" into out (at least 25 bytes). Returns out. */
char *clock_format_utc(int64_t wall_ms, char *out, size_t size);

#endif
