/* Adding to a stream that must not grow without bound: who submits waits while there is no room. */
#ifndef OPS_CLI_ROOM_H
#define OPS_CLI_ROOM_H

#include "ops/cli/cli.h"

/*
 * XADDs a message to the intake when it has room: fewer bytes than --intake-max, and Redis itself
 * below nine tenths of its maxmemory and not out of memory. Else waits, looking again at times that
 * differ from client to client, until deadline_ms (monotonic). ERR_UNREACHABLE: none by then; e
 * says what is full.
 */
MUST_CHECK int room_add(struct cli *c, const char *intake, struct span message,
                        int64_t deadline_ms);
#endif
