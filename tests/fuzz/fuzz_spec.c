/*
 * Job specs from any bytes. The first byte chooses the kind. A spec that is accepted has one
 * complete form, which is accepted too and does not change any more. Behind a '\n' the rest is
 * tried as key=value.
 */
#include "common/job/job.h"

#include "common/base/mem.h"

#include <stdint.h>
#include <string.h>

enum { OUT_MAX = 1 << 20 };

static void try_spec(enum job_kind kind, struct span text)
{
    struct job_spec *spec = NULL;
    struct job_spec *again = NULL;
    struct err_buf e = {{0}};
    if (job_spec_parse(kind, text, &spec, &e)) {
        CHECK(e.text[0] != '\0');
        return;
    }
    struct buf first;
    struct buf second;
    buf_init(&first, OUT_MAX);
    buf_init(&second, OUT_MAX);
    CHECK(job_spec_write(spec, &first) == 0);
    if (first.length <= 64 * 1024) { /* defaults may push a full one over the limit */
        CHECK(job_spec_parse(kind, buf_span(&first), &again, &e) == 0);
        CHECK(job_spec_write(again, &second) == 0);
        CHECK(span_equals(buf_span(&first), buf_span(&second)));
    }
    (void)job_check(spec, "de-DE", "task", &e); /* either way is fine */
    (void)job_check(spec, "", "", &e);
    for (int child = 1; child < JOB_KIND_COUNT; child++) {
        buf_reset(&second);
        CHECK(job_spec_write_for(spec, (enum job_kind)child, NULL, &second) == 0);
    }
    job_spec_free(again);
    job_spec_free(spec);
    buf_close(&first);
    buf_close(&second);
}

static void try_set(enum job_kind kind, struct span assignment)
{
    struct buf spec;
    struct err_buf e = {{0}};
    buf_init(&spec, OUT_MAX);
    char *text = mem_string(assignment.data, assignment.length);
    CHECK(text);
    if (job_spec_set(kind, text, &spec, &e) == 0) {
        struct job_spec *parsed = NULL;
        CHECK(job_spec_parse(kind, buf_span(&spec), &parsed, &e) == 0);
        job_spec_free(parsed);
    } else {
        CHECK(spec.length == 0);
    }
    mem_free(text);
    buf_close(&spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    enum job_kind kind = (enum job_kind)(1 + data[0] % 4);
    if (data[1] == '\n') {
        try_set(kind, span_make(data + 2, size - 2));
    } else {
        try_spec(kind, span_make(data + 1, size - 1));
    }
    return 0;
}
