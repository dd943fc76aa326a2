/* listen_fds.c - sockets passed by the service manager: LISTEN_PID and LISTEN_FDS, as sd_listen_fds(3) defines them. */
#include <fcntl.h>

#include "server/server_int.h"

int hs__listen_fds(const hs_service_env *env, long pid, uint32_t *ret_n, hs_err *err)
{
    *ret_n = 0;
    if (!env->listen_fds || !env->listen_pid)
        return 0;
    int64_t for_pid, n;
    if (hs_parse_int(env->listen_pid, &for_pid) < 0 || for_pid <= 0)
        return hs_err_set(err, -EINVAL, "LISTEN_PID: '%.32s' is not a process id", env->listen_pid);
    if (for_pid != pid)
        return 0;
    if (hs_parse_int(env->listen_fds, &n) < 0 || n < 0 || n > HS_SERVER_MAX_LISTEN)
        return hs_err_set(err, -EINVAL, "LISTEN_FDS: '%.32s' is not a number from 0 to %d", env->listen_fds,
                          HS_SERVER_MAX_LISTEN);
    for (int64_t i = 0; i < n; i++) {
        int fd = HS__LISTEN_FDS_START + (int)i;
        int flags = fcntl(fd, F_GETFD);
        if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
            return hs_err_set(err, -errno, "LISTEN_FDS: file descriptor %d: %s", fd, hs_strerror(-errno));
    }
    *ret_n = (uint32_t)n;
    return 0;
}
