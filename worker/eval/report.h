/*
 * The table that people know: scikit-learn's classification_report, byte for byte.
 *
 * The row after the classes is "accuracy" when every id that occurs has a row, else "micro avg".
 */
#ifndef WORKER_EVAL_REPORT_H
#define WORKER_EVAL_REPORT_H

#include "common/base/err.h"
#include "worker/eval/metrics.h"

#include <stdint.h>

#define EVAL_REPORT_DIGITS 2
#define EVAL_REPORT_DIGITS_MAX 17
/* Longer names are refused: the table would be padded to the longest in every row. */
#define EVAL_REPORT_NAME_BYTES_MAX 1024

/*
 * names[id] is the UTF-8 name of class id (borrowed, at least one past the largest id in m); its
 * width is counted in code points, as Python does. digits 0..17 after the point.
 * Returns owned text in ret_text (mem_free). ERR_INVALID, ERR_LIMIT, ERR_NOMEM.
 */
MUST_CHECK int eval_report_format(const struct eval_metrics *m, const char *const *names,
                                  uint32_t names_count, int digits, char **ret_text,
                                  struct err_buf *e);

#endif
