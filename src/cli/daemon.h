/* daemon.h - where the running daemon is, and asking it, for verbs. Blocking; one thread. */
#ifndef HS_CLI_DAEMON_H
#define HS_CLI_DAEMON_H

#include "base/buf.h"
#include "base/config.h"
#include "cli/args.h"

#define HS_FLAG_SOCKET                                                                                                 \
    {                                                                                                                  \
        "socket", HS_FLAG_TEXT, "PATH", 0, 0,                                                                          \
            "ask the daemon there (a path, unix:PATH or tcp:ADDRESS:PORT); default the first of server.listen"         \
    }

typedef struct hs_daemon {
    char *address; /* as in client.h */
    char *api_key; /* NULL = none */
} hs_daemon;

/* --socket, else the first word of server.listen; the key is the first line of server.api_key_file if that can be read,
 * else none, which a Unix socket does not mind. */
int hs_daemon_find(const hs_args *a, const hs_config *config, hs_daemon *ret, hs_err *err) HS_MUST_CHECK;
void hs_daemon_deinit(hs_daemon *d);
/* GET path into body, which is emptied before. A status other than 200 is an error with the daemon's sentence; 5 s of
 * silence are -ETIMEDOUT; the stop flag is -ECANCELED. */
int hs_daemon_get(const hs_daemon *d, const char *path, hs_buf *body, hs_err *err) HS_MUST_CHECK;

#endif
