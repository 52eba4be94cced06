/* Finding versions of models and fetching their artifacts. */
#ifndef OPS_CLI_MODEL_H
#define OPS_CLI_MODEL_H

#include "common/base/sha256.h"
#include "ops/cli/cli.h"

struct model_version {
    int64_t id;
    uint8_t artifact[SHA256_BYTES];
    char hex[SHA256_HEX_SIZE];
    char family[32];
    char market[40]; /* "" = global base */
    char task[80];
    int64_t number;
};

/* The version --version names, else the champion of --market and --task. ERR_NOTFOUND with the next
 * step; CLI_USAGE. */
int model_find(struct cli *c, struct model_version *ret);

#endif
