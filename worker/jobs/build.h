/* Which build of the program this is: what one computed, another may not go on with. */
#ifndef WORKER_JOBS_BUILD_H
#define WORKER_JOBS_BUILD_H

enum { BUILD_ID_SIZE = 129 };

/* The GNU build id of the running program in hex, as the linker made it from its content; "" when
 * it was linked without. Returns out. */
char *build_id(char out[BUILD_ID_SIZE]);

#endif
