/* Connections that outlive a job. */
#include "worker/jobs/databases.h"

#include <stddef.h>

static int open_once(struct pg_sync **s, const char *url, const char *what, struct pg_sync **ret,
                     struct err_buf *e)
{
    if (!*s) {
        if (!url) {
            return err_set(e, ERR_INVALID, "no address of the %s database is set", what);
        }
        int rc = pg_sync_open(s, url, "meridian-runner", 0, e);
        if (rc != 0) {
            *s = NULL;
            return err_wrap(e, rc, "%s database", what);
        }
    }
    *ret = *s;
    return 0;
}

int databases_control(struct databases *d, struct pg_sync **ret, struct err_buf *e)
{
    return open_once(&d->control, d->control_url, "control", ret, e);
}

int databases_data(struct databases *d, struct pg_sync **ret, struct err_buf *e)
{
    return open_once(&d->data, d->data_url, "data", ret, e);
}

static void close_one(struct pg_sync **s)
{
    if (*s) {
        pg_sync_close(*s);
        *s = NULL;
    }
}

static void refresh(struct pg_sync **s)
{
    struct err_buf ignored;
    pg_sync_rollback(*s);
    if (pg_sync_exec(*s, "SELECT 1", NULL, 0, NULL, &ignored) != 0) {
        close_one(s);
    }
}

void databases_refresh(struct databases *d)
{
    if (d->control) {
        refresh(&d->control);
    }
    if (d->data) {
        refresh(&d->data);
    }
}

void databases_close(struct databases *d)
{
    close_one(&d->control);
    close_one(&d->data);
}
