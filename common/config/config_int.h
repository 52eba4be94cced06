/* Reading one value by its row: shared by the loader and the help. */
#ifndef COMMON_CONFIG_CONFIG_INT_H
#define COMMON_CONFIG_CONFIG_INT_H

#include "common/config/config.h"

/* Parses text by the row's type and bounds and stores it in values. source ("--slots",
 * "MERIDIAN_LOG") is for messages. text is kept. ERR_INVALID. */
MUST_CHECK int config__store(const struct config_entry *entry, void *values, const char *text,
                             const char *source, struct err_buf *e);

#endif
