/* address.c - the addresses one can listen on, as text and as the kernel wants them; which names mean this machine. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "server/server_int.h"

static bool in6_is_loopback(const struct in6_addr *a)
{
    return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

/* text, is_loopback from addr. */
static void describe_tcp(hs__address *a)
{
    char ip[INET6_ADDRSTRLEN];
    if (a->addr.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)&a->addr;
        inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof ip);
        a->is_loopback = in6_is_loopback(&in6->sin6_addr);
        snprintf(a->text, sizeof a->text, "tcp:[%s]:%u", ip, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in = (const void *)&a->addr;
        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
        a->is_loopback = ntohl(in->sin_addr.s_addr) >> 24 == 127;
        snprintf(a->text, sizeof a->text, "tcp:%s:%u", ip, ntohs(in->sin_port));
    }
    a->is_tcp = true;
}

static int parse_unix(const char *path, size_t len, hs__address *a, hs_err *err)
{
    struct sockaddr_un *un = (void *)&a->addr;
    if (len == 0 || path[0] != '/')
        return hs_err_set(err, -EINVAL, "unix:%.*s: the socket's path must begin with /", (int)len, path);
    if (len >= sizeof un->sun_path)
        return hs_err_set(err, -ENAMETOOLONG,
                          "unix:%.*s: the socket's path has %zu bytes, %zu are possible; choose a "
                          "shorter one",
                          (int)(len < 200 ? len : 200), path, len, sizeof un->sun_path - 1);
    memcpy(a->path, path, len);
    a->path[len] = '\0';
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, a->path, len + 1);
    a->addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    snprintf(a->text, sizeof a->text, "unix:%s", a->path);
    return 0;
}

static int parse_port(const char *text, uint16_t *ret)
{
    int64_t port;
    if (hs_parse_int(text, &port) < 0 || port < 0 || port > 65535)
        return -EINVAL;
    *ret = (uint16_t)port;
    return 0;
}

/* ADDRESS:PORT, [ADDRESS]:PORT, localhost:PORT; names are not looked up. */
static int parse_tcp(const char *text, size_t len, hs__address *a, hs_err *err)
{
    char host[80];
    snprintf(host, sizeof host, "%.*s", (int)len, text);
    char *colon = strrchr(host, ':');
    uint16_t port;
    if (len >= sizeof host || !colon || parse_port(colon + 1, &port) < 0)
        return hs_err_set(err, -EINVAL, "tcp:%s: expected ADDRESS:PORT, for example tcp:127.0.0.1:8080", host);
    *colon = '\0';
    struct sockaddr_in *in = (void *)&a->addr;
    struct sockaddr_in6 *in6 = (void *)&a->addr;
    size_t n = strlen(host);
    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, &in6->sin6_addr) != 1)
            return hs_err_set(err, -EINVAL, "tcp: %s is not an IPv6 address", host + 1);
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        a->addr_len = sizeof *in6;
    } else {
        if (inet_pton(AF_INET, strcmp(host, "localhost") ? host : "127.0.0.1", &in->sin_addr) != 1)
            return hs_err_set(err, -EINVAL, "tcp: %s is not an IP address (names are not looked up)", host);
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        a->addr_len = sizeof *in;
    }
    describe_tcp(a);
    return 0;
}

int hs__address_parse(const char *text, size_t len, hs__address *ret, hs_err *err)
{
    hs__address a = {0};
    int r;
    if (len > 5 && !strncmp(text, "unix:", 5))
        r = parse_unix(text + 5, len - 5, &a, err);
    else if (len > 4 && !strncmp(text, "tcp:", 4))
        r = parse_tcp(text + 4, len - 4, &a, err);
    else
        r = hs_err_set(err, -EINVAL, "server.listen: %.*s: expected unix:PATH or tcp:ADDRESS:PORT",
                       (int)(len < 200 ? len : 200), text);
    if (r == 0)
        *ret = a;
    return r;
}

int hs__address_of_fd(int fd, hs__address *ret, hs_err *err)
{
    int type = 0, listening = 0;
    socklen_t n = sizeof type;
    hs__address a = {.addr_len = sizeof a.addr};
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || type != SOCK_STREAM)
        return hs_err_set(err, -EINVAL, "inherited file descriptor %d is not a stream socket", fd);
    n = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) < 0 || !listening)
        return hs_err_set(err, -EINVAL, "inherited socket %d does not listen", fd);
    if (getsockname(fd, (void *)&a.addr, &a.addr_len) < 0)
        return hs_err_set(err, -errno, "inherited socket %d: %s", fd, hs_strerror(-errno));
    if (a.addr.ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const void *)&a.addr;
        size_t len = a.addr_len > offsetof(struct sockaddr_un, sun_path)
                         ? strnlen(un->sun_path, a.addr_len - offsetof(struct sockaddr_un, sun_path))
                         : 0;
        snprintf(a.text, sizeof a.text, "unix:%.*s", (int)len, un->sun_path);
    } else if (a.addr.ss_family == AF_INET || a.addr.ss_family == AF_INET6) {
        describe_tcp(&a);
    } else {
        return hs_err_set(err, -EINVAL, "inherited socket %d is neither a Unix nor a TCP socket", fd);
    }
    *ret = a;
    return 0;
}

/* FNV-1a. */
static uint64_t hash(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

uint64_t hs__address_client(const struct sockaddr *peer)
{
    const struct sockaddr_in *in = (const void *)peer;
    const struct sockaddr_in6 *in6 = (const void *)peer;
    uint64_t h = 0;
    if (peer->sa_family == AF_INET)
        h = hash(&in->sin_addr, 4);
    else if (peer->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        h = hash(in6->sin6_addr.s6_addr + 12, 4);
    else if (peer->sa_family == AF_INET6)
        h = hash(&in6->sin6_addr, 8); /* the network: its host part is the client's to choose */
    return h | HS__CLIENT_TCP;
}

bool hs__host_is_loopback(const char *host)
{
    char name[64];
    size_t n;
    const char *port;
    if (host[0] == '[') {
        const char *end = strchr(host, ']');
        if (!end)
            return false;
        n = (size_t)(end - host - 1);
        host++;
        port = end + 1;
    } else {
        n = strcspn(host, ":");
        port = host + n;
    }
    uint16_t ignored;
    if (n == 0 || n >= sizeof name || (*port && (*port != ':' || parse_port(port + 1, &ignored) < 0)))
        return false;
    memcpy(name, host, n);
    name[n] = '\0';
    struct in_addr a4;
    struct in6_addr a6;
    if (inet_pton(AF_INET, name, &a4) == 1)
        return ntohl(a4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, name, &a6) == 1)
        return in6_is_loopback(&a6);
    return !strcasecmp(name, "localhost") || !strcasecmp(name, "localhost.");
}

bool hs__origin_is_loopback(const char *origin)
{
    if (!strncasecmp(origin, "http://", 7))
        return hs__host_is_loopback(origin + 7);
    if (!strncasecmp(origin, "https://", 8))
        return hs__host_is_loopback(origin + 8);
    return false;
}
