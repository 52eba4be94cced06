/* The request reader: any bytes get a verdict, and more bytes never turn a bad head into a good
 * one. */
#include "common/base/err.h"
#include "common/metrics/request.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct request request;
    struct span all = span_make((const char *)data, size);
    enum request_verdict whole = request_read(all, &request);
    if (whole == REQUEST_GOOD) {
        CHECK(strlen(request.path) <= REQUEST_PATH_MAX && request.path[0] == '/');
    }
    CHECK(whole != REQUEST_MORE || size < REQUEST_BYTES_MAX);
    struct span half = span_make((const char *)data, size / 2);
    enum request_verdict part = request_read(half, &request);
    CHECK(part == REQUEST_MORE || part == whole || whole == REQUEST_TOO_LONG);
    return 0;
}
