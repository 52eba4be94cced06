/* The jobs of a file, a JSON object a line: all checked before the first is sent. */
#ifndef OPS_CLI_BULK_H
#define OPS_CLI_BULK_H

#include "ops/cli/cli.h"
#include "ops/cli/stream.h"

struct bulk_file;

/*
 * Reads path ("-": standard input) to its end, checks every line as the scheduler will, and puts
 * what may be sent into a temporary file, so memory does not grow with the number of lines. Bad
 * lines are told on standard error with file, line and field; CLI_FAILED when there are any, unless
 * skips_bad. Also ERR_IO, ERR_NOTFOUND, ERR_NOMEM. *ret: bulk_close.
 */
MUST_CHECK int bulk_open(struct cli *c, const char *path, bool skips_bad, struct bulk_file **ret);
void bulk_close(struct bulk_file *f);
size_t bulk_count(const struct bulk_file *f);
/* For struct stream_source; data is the file. The element is valid until the next call. */
MUST_CHECK int bulk_next(void *data, struct stream_job *ret, struct err_buf *e);

/* One line as a submission whose spec is written to spec (reset before). ERR_INVALID, ERR_PARSE,
 * ERR_LIMIT, ERR_UNSUPPORTED: e names the field. */
MUST_CHECK int bulk_parse_line(struct span line, struct message_submission *ret, struct buf *spec,
                               struct err_buf *e);
/* "2026-11-24T02:30", "2026-11-24 02:30:00" or with a Z: UTC. False: it is none. */
bool bulk_parse_time(const char *text, int64_t *ret_ms);

#endif
