/* The SQL files that the program carries, in the order in which they are applied. */
#ifndef SQL_FILES_H
#define SQL_FILES_H

#include <stddef.h>

struct sql_file {
    const char *path; /* below sql/: "migrations/0001_tables.sql" */
    const char *text; /* NUL-terminated */
    size_t length;
    const char *sha256; /* hex */
};

struct sql_set {
    const struct sql_file *files;
    size_t count;
};

/* What is under sql/ in this build. */
extern const struct sql_set sql_embedded;

#endif
