/*
 * Samples from JSON Lines as fast as they come: big reads, and a look at many bytes at a time.
 * For the benchmarks' own files: objects of strings, of which "text" and "label" are read.
 */
#ifndef TESTS_BENCH_JSONL_H
#define TESTS_BENCH_JSONL_H

#include "common/base/span.h"

/* Told of each sample; both spans are valid only during the call. */
typedef void jsonl_on_sample(void *data, struct span text, struct span label);

/* Ends the program with a message when the file cannot be read or a line is too long. */
void jsonl_read(const char *path, jsonl_on_sample *on, void *data);

#endif
