/* The program `meridian`: everything is in ops/cli, where tests can reach it. */
#include "ops/cli/cli.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
