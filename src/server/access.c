/*
 * access.c - who may ask: API keys on TCP, and Host and Origin against pages that a browser was tricked into.
 * Unix sockets are guarded by their permissions alone.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/server_int.h"

#define MAX_FILE    (64u << 10)
#define MAX_KEYS    1024
#define MIN_KEY_LEN 8

/* Cuts the text into keys; lines that are empty or begin with # do not count. */
static int split(hs__keys *k, const char *path, hs_err *err)
{
    size_t line = 0;
    for (char *p = k->text, *next; p; p = next) {
        next = strchr(p, '\n');
        if (next)
            *next++ = '\0';
        line++;
        while (isspace((unsigned char)*p))
            p++;
        size_t n = strlen(p);
        while (n && isspace((unsigned char)p[n - 1]))
            p[--n] = '\0';
        if (!n || *p == '#')
            continue;
        if (n < MIN_KEY_LEN || n > 400)
            return hs_err_set(err, -EINVAL, "%s:%zu: a key has %d to 400 characters", path, line, MIN_KEY_LEN);
        if (k->n == MAX_KEYS)
            return hs_err_set(err, -E2BIG, "%s: more than %d keys", path, MAX_KEYS);
        k->keys[k->n++] = p;
    }
    if (!k->n)
        return hs_err_set(err, -EINVAL, "%s has no key", path);
    return 0;
}

int hs__keys_load(const char *path, hs__keys *ret, hs_err *err)
{
    hs__keys k = {0};
    size_t len;
    struct stat st;
    int r = hs_file_read(path, MAX_FILE, &k.text, &len, err);
    if (r < 0)
        return hs_err_prefix(err, "server.api_key_file");
    if (stat(path, &st) == 0 && (st.st_mode & 0007))
        hs_warn("%s can be read by everybody: chmod 0640 it", path);
    k.keys = hs_calloc(MAX_KEYS, sizeof *k.keys);
    r = !k.keys                 ? hs_err_set(err, -ENOMEM, "out of memory")
        : strlen(k.text) != len ? hs_err_set(err, -EINVAL, "%s: has a NUL byte", path)
                                : split(&k, path, err);
    if (r < 0) {
        hs__keys_free(&k);
        return r;
    }
    *ret = k;
    return 0;
}

void hs__keys_free(hs__keys *k)
{
    hs_free(k->text);
    hs_free((void *)k->keys);
    *k = (hs__keys){0};
}

bool hs__keys_match(const hs__keys *k, const char *authorization)
{
    if (strncasecmp(authorization, "Bearer ", 7))
        return false;
    const char *given = authorization + 7;
    size_t n = strlen(given);
    bool match = false;
    for (size_t i = 0; i < k->n; i++) {
        const char *key = k->keys[i];
        size_t n_key = strlen(key);
        unsigned char diff = n != n_key;
        for (size_t j = 0; j < n; j++)
            diff |= (unsigned char)(given[j] ^ key[n_key ? j % n_key : 0]);
        match |= !diff;
    }
    return match;
}

int hs__access_check(const hs_server *s, const hs__address *a, const hs__head *head, bool open_route,
                     const char **ret_why)
{
    if (!a->is_tcp)
        return 0;
    /* On loopback any page in a browser can reach this port; on other addresses only a key's owner gets further. */
    if (a->is_loopback && (!head->host.present || head->host.overlong || !hs__host_is_loopback(head->host.text))) {
        *ret_why = "the Host field must name this machine (localhost)";
        return 403;
    }
    if (head->origin.present && (head->origin.overlong || !hs__origin_is_loopback(head->origin.text))) {
        *ret_why = "requests from web pages of other machines are not served";
        return 403;
    }
    if (s->keys.n && !open_route &&
        (!head->authorization.present || head->authorization.repeated || head->authorization.overlong ||
         !hs__keys_match(&s->keys, head->authorization.text))) {
        *ret_why = "a valid API key is needed: Authorization: Bearer KEY";
        return 401;
    }
    return 0;
}
