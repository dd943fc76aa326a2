/*
 * listen.c - listening sockets: made here, or inherited from the service manager.
 * Owns: the descriptors, and the socket files that it made. Leaves to others: the connections (conn.c).
 * A socket file appears with its final permissions: mode is set on the socket before bind and the group before listen.
 */
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/server_int.h"

#define BACKLOG 511

/* A socket file is in the way: remove it if nobody serves it. */
static int remove_stale(const hs__address *a, hs_err *err)
{
    struct stat st;
    if (lstat(a->path, &st) < 0)
        return errno == ENOENT ? 0 : hs_err_set(err, -errno, "%s: %s", a->text, hs_strerror(-errno));
    if (!S_ISSOCK(st.st_mode))
        return hs_err_set(err, -EEXIST, "%s: there is a file of this name that is not a socket", a->text);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return hs_err_set(err, -errno, "%s: %s", a->text, hs_strerror(-errno));
    int r = connect(fd, (const void *)&a->addr, a->addr_len) < 0 ? -errno : 0;
    close(fd);
    if (r == 0 || r == -EAGAIN)
        return hs_err_set(err, -EADDRINUSE, "%s: another server listens there already", a->text);
    if (r == -ENOENT)
        return 0;
    if (r != -ECONNREFUSED)
        return hs_err_set(err, r, "%s: cannot tell whether another server listens there: %s", a->text, hs_strerror(r));
    if (unlink(a->path) < 0 && errno != ENOENT)
        return hs_err_set(err, -errno, "%s: cannot remove the socket of a server that has ended: %s", a->text,
                          hs_strerror(-errno));
    return 0;
}

static int find_group(const char *name, gid_t *ret, hs_err *err)
{
    int64_t number;
    if (hs_parse_int(name, &number) == 0 && number >= 0 && number < UINT32_MAX) {
        *ret = (gid_t)number;
        return 0;
    }
    struct group g, *found = NULL;
    char buf[16384];
    int r = getgrnam_r(name, &g, buf, sizeof buf, &found);
    if (!found)
        return hs_err_set(err, r ? -r : -ENOENT, "server.socket_group: there is no group %s", name);
    *ret = found->gr_gid;
    return 0;
}

static int bind_unix(int fd, const hs__address *a, uint32_t mode, const char *group, hs_err *err)
{
    gid_t gid = (gid_t)-1;
    int r = group && *group ? find_group(group, &gid, err) : 0;
    if (r == 0)
        r = remove_stale(a, err);
    if (r < 0)
        return r;
    if (fchmod(fd, mode) < 0 || bind(fd, (const void *)&a->addr, a->addr_len) < 0) {
        r = -errno;
        return hs_err_set(err, r, "%s: cannot make the socket: %s%s", a->text, hs_strerror(r),
                          r == -ENOENT ? "; make its folder first, or choose another place" : "");
    }
    if (gid != (gid_t)-1 && chown(a->path, (uid_t)-1, gid) < 0)
        r = hs_err_set(err, -errno, "%s: cannot give the socket to group %s: %s", a->text, group, hs_strerror(-errno));
    else if (chmod(a->path, mode) < 0) /* the umask may have taken something away */
        r = hs_err_set(err, -errno, "%s: cannot set the socket's mode: %s", a->text, hs_strerror(-errno));
    if (r < 0)
        unlink(a->path);
    return r;
}

int hs__listen_fd(const hs__address *a, uint32_t mode, const char *group, int *ret_fd, hs_err *err)
{
    int fd = socket(a->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return hs_err_set(err, -errno, "%s: %s", a->text, hs_strerror(-errno));
    int r = 0, on = 1;
    if (!a->is_tcp) {
        r = bind_unix(fd, a, mode, group, err);
    } else {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, (const void *)&a->addr, a->addr_len) < 0)
            r = hs_err_set(err, -errno, "%s: %s", a->text, hs_strerror(-errno));
    }
    if (r == 0 && listen(fd, BACKLOG) < 0) {
        r = hs_err_set(err, -errno, "%s: %s", a->text, hs_strerror(-errno));
        if (!a->is_tcp)
            unlink(a->path);
    }
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

/* Gives fd to the loop; on failure fd stays the caller's. */
static int adopt(hs_server *s, hs__listener *l, int fd, hs_err *err)
{
    int r = l->address.is_tcp ? uv_tcp_init(&s->loop, &l->u.tcp) : uv_pipe_init(&s->loop, &l->u.pipe, 0);
    if (r < 0)
        return hs_err_set(err, r, "%s: %s", l->address.text, uv_strerror(r));
    l->server = s;
    l->open = true;
    l->u.handle.data = l;
    s->n_listeners++;
    r = l->address.is_tcp ? uv_tcp_open(&l->u.tcp, fd) : uv_pipe_open(&l->u.pipe, fd);
    return r < 0 ? hs_err_set(err, r, "%s: %s", l->address.text, uv_strerror(r)) : 0;
}

static int check_exposed(const hs__address *a, const hs_server *s, hs_err *err)
{
    if (!a->is_tcp || a->is_loopback || s->keys.n)
        return 0;
    return hs_err_set(err, -EACCES, "%s: an address other than loopback needs server.api_key_file", a->text);
}

static int open_one(hs_server *s, const hs_server_options *o, const char *text, size_t len, hs_err *err)
{
    hs__address a;
    int fd;
    int r = hs__address_parse(text, len, &a, err);
    if (r == 0)
        r = check_exposed(&a, s, err);
    if (r == 0)
        r = hs__listen_fd(&a, o->socket_mode, o->socket_group, &fd, err);
    if (r < 0)
        return r;
    hs__listener *l = &s->listeners[s->n_listeners];
    l->address = a;
    struct stat st;
    if (a.is_tcp) {
        r = hs__address_of_fd(fd, &l->address, err); /* the port that 0 became */
    } else if (lstat(a.path, &st) == 0) {
        l->dev = st.st_dev;
        l->ino = st.st_ino;
    }
    if (r == 0)
        r = adopt(s, l, fd, err);
    if (r < 0) {
        close(fd);
        if (!a.is_tcp)
            unlink(a.path);
    }
    return r;
}

static int open_inherited(hs_server *s, uint32_t n, hs_err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        hs__listener *l = &s->listeners[s->n_listeners];
        int fd = HS__LISTEN_FDS_START + (int)i;
        int r = hs__address_of_fd(fd, &l->address, err);
        if (r == 0)
            r = check_exposed(&l->address, s, err);
        if (r < 0)
            return r;
        l->inherited = true;
        int flags = fcntl(fd, F_GETFL);
        if (flags >= 0)
            (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
        r = adopt(s, l, fd, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The next address of a list, its length in *ret_len; NULL at the end. */
static const char *next_address(const char *p, size_t *ret_len)
{
    static const char separators[] = " ,\t\n";
    p += strspn(p, separators);
    *ret_len = strcspn(p, separators);
    return *p ? p : NULL;
}

int hs_server_check_listen(const char *listen, hs_err *err)
{
    size_t len, n = 0;
    int r = 0;
    for (const char *p = listen; r == 0 && (p = next_address(p, &len)); p += len) {
        hs__address ignored;
        r = hs__address_parse(p, len, &ignored, err);
        if (r == 0 && n++ == HS_SERVER_MAX_LISTEN)
            r = hs_err_set(err, -E2BIG, "server.listen: more than %d addresses", HS_SERVER_MAX_LISTEN);
    }
    return r;
}

int hs__listeners_check(const hs_server *s, const hs_server_options *o, hs_err *err)
{
    size_t len;
    gid_t ignored;
    uint32_t n_inherited = 0;
    int r = hs_server_check_listen(o->listen ? o->listen : "", err);
    if (r == 0)
        r = hs__listen_fds(&o->service, (long)getpid(), &n_inherited, err);
    if (r < 0 || n_inherited) /* they replace these */
        return r;
    for (const char *p = o->listen ? o->listen : ""; r == 0 && (p = next_address(p, &len)); p += len) {
        hs__address a;
        r = hs__address_parse(p, len, &a, err);
        if (r == 0)
            r = check_exposed(&a, s, err);
    }
    if (r == 0 && o->socket_group && *o->socket_group)
        r = find_group(o->socket_group, &ignored, err);
    return r;
}

int hs__listeners_open(hs_server *s, const hs_server_options *o, hs_err *err)
{
    uint32_t n;
    int r = hs__listen_fds(&o->service, (long)getpid(), &n, err);
    if (r < 0)
        return r;
    s->listeners = hs_calloc(HS_SERVER_MAX_LISTEN, sizeof *s->listeners);
    if (!s->listeners)
        return hs_err_set(err, -ENOMEM, "out of memory");
    if (n)
        return open_inherited(s, n, err);
    size_t len;
    for (const char *p = o->listen ? o->listen : ""; (p = next_address(p, &len)); p += len) {
        if (s->n_listeners == HS_SERVER_MAX_LISTEN)
            return hs_err_set(err, -E2BIG, "server.listen: more than %d addresses", HS_SERVER_MAX_LISTEN);
        r = open_one(s, o, p, len, err);
        if (r < 0)
            return r;
    }
    if (!s->n_listeners)
        return hs_err_set(err, -EINVAL, "server.listen is empty: nothing to listen on");
    return 0;
}

static void on_connection(uv_stream_t *stream, int status)
{
    hs__listener *l = stream->data;
    if (status < 0)
        hs_warn("%s: cannot accept a connection: %s", l->address.text, uv_strerror(status));
    else
        hs__conn_accept(l->server, l);
}

int hs__listeners_start(hs_server *s, hs_err *err)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        hs__listener *l = &s->listeners[i];
        int r = uv_listen(&l->u.stream, BACKLOG, on_connection);
        if (r < 0)
            return hs_err_set(err, r, "%s: %s", l->address.text, uv_strerror(r));
        hs_info("listening on %s%s", l->address.text, l->inherited ? " (inherited)" : "");
    }
    return 0;
}

void hs__listener_close(hs__listener *l)
{
    if (!l->open)
        return;
    l->open = false;
    struct stat st;
    if (!l->inherited && !l->address.is_tcp && lstat(l->address.path, &st) == 0 && st.st_dev == l->dev &&
        st.st_ino == l->ino)
        unlink(l->address.path);
    uv_close(&l->u.handle, NULL);
}
