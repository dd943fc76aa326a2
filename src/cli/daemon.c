/* daemon.c - see daemon.h. */
#include "cli/daemon.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/out.h"
#include "server/client.h"

#define SILENCE_S 5

static char *address_of(const hs_args *a, const hs_config *config)
{
    const char *socket = hs_args_text(a, "socket");
    if (!socket) {
        const char *listen = hs_config_str(config, "server", "listen");
        listen += strspn(listen, " ,");
        return hs_strndup(listen, strcspn(listen, " ,"));
    }
    if (!strncmp(socket, "unix:", 5) || !strncmp(socket, "tcp:", 4))
        return hs_strdup(socket);
    char folder[PATH_MAX];
    if (socket[0] == '/' || !getcwd(folder, sizeof folder))
        return hs_asprintf("unix:%s", socket);
    return hs_asprintf("unix:%s/%s", folder, socket);
}

static char *api_key_of(const hs_config *config)
{
    const char *file = hs_config_str(config, "server", "api_key_file");
    char *text = NULL;
    size_t len;
    hs_err ignored;
    if (!*file || hs_file_read(file, 1 << 20, &text, &len, &ignored) < 0)
        return NULL;
    text[strcspn(text, "\r\n")] = '\0';
    return text;
}

int hs_daemon_find(const hs_args *a, const hs_config *config, hs_daemon *ret, hs_err *err)
{
    char *address = address_of(a, config);
    if (!address)
        return hs_err_set(err, -ENOMEM, "out of memory");
    *ret = (hs_daemon){address, api_key_of(config)};
    return 0;
}

void hs_daemon_deinit(hs_daemon *d)
{
    hs_free(d->address);
    hs_free(d->api_key);
    *d = (hs_daemon){0};
}

int hs_daemon_get(const hs_daemon *d, const char *path, hs_buf *body, hs_err *err)
{
    hs_client_options o = {.address = d->address, .api_key = d->api_key, .timeout_s = SILENCE_S, .stop = hs_stop_sig()};
    int status = 0;
    hs_buf_clear(body);
    int r = hs_client_call(&o, "GET", path, NULL, 0, &status, body, err);
    if (r < 0 || status == 200)
        return r;
    json_t *root = json_loadb(body->data ? body->data : "", body->len, 0, NULL);
    const char *text = json_string_value(json_object_get(json_object_get(root, "error"), "message"));
    r = hs_err_set(err, status == 401 || status == 403 ? -EACCES : -EIO, "%s%s: %s", d->address, path,
                   text ? text : "an answer that tells no reason");
    json_decref(root);
    return r;
}
