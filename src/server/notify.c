/* notify.c - telling the service manager: datagrams to NOTIFY_SOCKET, as sd_notify(3) defines them. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/server_int.h"

static int open_socket(const char *path, hs_err *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof un.sun_path)
        return hs_err_set(err, -EINVAL, "NOTIFY_SOCKET: '%.120s' is not the path of a socket", path);
    memcpy(un.sun_path, path, len);
    socklen_t addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    if (path[0] == '@') { /* abstract: no file, and the NUL at the end does not belong to the name */
        un.sun_path[0] = '\0';
        addr_len--;
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const void *)&un, addr_len) < 0) {
        int r = hs_err_set(err, -errno, "NOTIFY_SOCKET %s: %s", path, hs_strerror(-errno));
        if (fd >= 0)
            close(fd);
        return r;
    }
    return fd;
}

int hs__notify_open(hs__notify *n, const hs_service_env *env, long pid, hs_err *err)
{
    *n = (hs__notify){.fd = -1};
    if (!env->notify_socket || !*env->notify_socket)
        return 0;
    int fd = open_socket(env->notify_socket, err);
    if (fd < 0)
        return fd;
    n->fd = fd;
    int64_t usec, for_pid = pid;
    if (!env->watchdog_usec)
        return 0;
    if (hs_parse_int(env->watchdog_usec, &usec) < 0 || usec < 1000 ||
        (env->watchdog_pid && hs_parse_int(env->watchdog_pid, &for_pid) < 0)) {
        hs__notify_close(n);
        return hs_err_set(err, -EINVAL, "WATCHDOG_USEC: '%.32s' is not a time in microseconds", env->watchdog_usec);
    }
    if (for_pid == pid)
        n->watchdog_ms = (uint64_t)usec / 1000;
    return 0;
}

void hs__notify_close(hs__notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
}

void hs__notify_send(hs__notify *n, const char *fmt, ...)
{
    char text[512];
    if (n->fd < 0)
        return;
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (len > 0 && (size_t)len < sizeof text)
        (void)send(n->fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
}
