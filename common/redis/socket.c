/* Sockets of both clients: never blocking, closed on exec since workers start children. */
#include "common/redis/redis_int.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* A peer that vanished without a word is noticed by the kernel also while nothing is asked:
 * first probe after 15 s, then two more, 5 s apart. */
static void set_options(int fd)
{
    static const struct {
        int level;
        int name;
        int value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},   {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 15}, {IPPROTO_TCP, TCP_KEEPINTVL, 5},
        {IPPROTO_TCP, TCP_KEEPCNT, 3},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        /* A refused option costs speed, nothing else. */
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                         sizeof options[i].value);
    }
}

int redis__socket_open(const struct sockaddr *address, socklen_t length, int *ret_fd)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (address->sa_family != AF_UNIX) {
        set_options(fd);
    }
    if (connect(fd, address, length) != 0 && errno != EINPROGRESS && errno != EINTR) {
        int rc = -errno;
        (void)close(fd); /* nothing was sent */
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

int redis__socket_open_unix(const char *path, int *ret_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length >= sizeof address.sun_path) {
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, length + 1);
    return redis__socket_open((const struct sockaddr *)&address, sizeof address, ret_fd);
}

int redis__socket_error(int fd)
{
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) {
        return -errno;
    }
    return -error;
}

static ptrdiff_t moved(ssize_t count)
{
    if (count >= 0) {
        return count;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
}

ptrdiff_t redis__socket_read(int fd, void *data, size_t length)
{
    ssize_t count = recv(fd, data, length, 0);
    return count == 0 ? -EPIPE : moved(count);
}

ptrdiff_t redis__socket_write(int fd, const void *data, size_t length)
{
    return moved(send(fd, data, length, MSG_NOSIGNAL));
}
