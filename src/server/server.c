/*
 * server.c - the server as an object: creation, settings, models by name, and the calls that other threads make.
 * Owns: copies of everything it was given but the engines. Leaves to others: the loop (loop.c).
 */
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/server_int.h"

hs__model *hs__server_find_model(hs_server *s, const char *name)
{
    if (!name)
        return &s->models[0];
    for (size_t i = 0; i < s->n_models; i++) {
        hs__model *m = &s->models[i];
        if (!strcmp(m->name, name))
            return m;
        for (size_t k = 0; k < m->n_aliases; k++)
            if (!strcmp(m->aliases[k], name))
                return m;
    }
    return NULL;
}

static int take_name(hs_server *s, const char *name, size_t len, char **ret, hs_err *err)
{
    if (len == 0 || len > 128)
        return hs_err_set(err, -EINVAL, "a model's name has 1 to 128 bytes");
    json_t *check = json_stringn(name, len);
    if (!check)
        return hs_err_set(err, -EINVAL, "a model's name is not UTF-8");
    json_decref(check);
    char *copy = hs_strndup(name, len);
    if (!copy)
        return hs_err_set(err, -ENOMEM, "out of memory");
    if (s->n_models && hs__server_find_model(s, copy)) {
        int r = hs_err_set(err, -EEXIST, "two models are called %s (names and aliases must be distinct)", copy);
        hs_free(copy);
        return r;
    }
    *ret = copy;
    return 0;
}

static int take_model(hs_server *s, const hs_server_model *from, hs_err *err)
{
    static const char separators[] = " ,\t";
    hs__model *m = &s->models[s->n_models];
    m->defaults = from->defaults;
    m->bos = HS_NO_TOKEN;
    int r = take_name(s, from->name, strlen(from->name), &m->name, err);
    if (r < 0)
        return r;
    s->n_models++;
    for (const char *p = from->aliases ? from->aliases : ""; *(p += strspn(p, separators));) {
        size_t len = strcspn(p, separators);
        if (m->n_aliases == HS_SERVER_MAX_ALIASES)
            return hs_err_set(err, -E2BIG, "model %s: more than %d aliases", m->name, HS_SERVER_MAX_ALIASES);
        r = take_name(s, p, len, &m->aliases[m->n_aliases], err);
        if (r < 0)
            return r;
        m->n_aliases++;
        p += len;
    }
    return 0;
}

static int take_models(hs_server *s, const hs_server_model *models, size_t n, hs_err *err)
{
    if (n > HS_SERVER_MAX_MODELS)
        return hs_err_set(err, -EINVAL, "%zu models; %d can be served", n, HS_SERVER_MAX_MODELS);
    s->models = hs_calloc(n + 1, sizeof *s->models);
    if (!s->models)
        return hs_err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        int r = take_model(s, &models[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The part of the options that stays; strings do not. */
static void take_options(hs_server *s, const hs_server_options *o)
{
    s->options = *o;
    s->options.listen = s->options.socket_group = s->options.api_key_file = NULL;
    s->options.service = (hs_service_env){0};
}

/* All that opens nothing: options, names, keys. */
static int make(const hs_server_options *o, const hs_server_model *models, size_t n_models, hs_server **ret_server,
                hs_err *err)
{
    int r = hs__options_check(o, err);
    if (r < 0)
        return r;
    hs_server *s = hs_calloc(1, sizeof *s);
    if (!s)
        return hs_err_set(err, -ENOMEM, "out of memory");
    s->notify.fd = -1;
    s->started_at = (int64_t)time(NULL);
    s->budget.max = o->buffer_memory;
    hs_mutex_init(&s->shared.lock, HS_RANK_SERVER);
    hs__metrics_init(&s->metrics);
    take_options(s, o);
    r = take_models(s, models, n_models, err);
    if (r == 0 && o->api_key_file && *o->api_key_file)
        r = hs__keys_load(o->api_key_file, &s->keys, err);
    if (r < 0) {
        hs_server_destroy(&s);
        return r;
    }
    *ret_server = s;
    return 0;
}

int hs_server_check(const hs_server_options *o, const hs_server_model *models, size_t n_models, hs_err *err)
{
    hs_server *s = NULL;
    int r = make(o, models, n_models, &s, err);
    if (r == 0)
        r = hs__listeners_check(s, o, err);
    hs_server_destroy(&s);
    return r;
}

int hs_server_create(const hs_server_options *o, const hs_server_model *models, size_t n_models, hs_server **ret_server,
                     hs_err *err)
{
    hs_server *s = NULL;
    if (n_models == 0)
        return hs_err_set(err, -EINVAL, "no models to serve");
    int r = make(o, models, n_models, &s, err);
    if (r == 0)
        r = hs__notify_open(&s->notify, &o->service, (long)getpid(), err);
    if (r == 0)
        r = hs__loop_open(s, err);
    if (r == 0)
        r = hs__listeners_open(s, o, err);
    if (r < 0) {
        hs_server_destroy(&s);
        return r;
    }
    *ret_server = s;
    return 0;
}

void hs_server_destroy(hs_server **server)
{
    hs_server *s = *server;
    if (!s)
        return;
    *server = NULL;
    hs__loop_close(s);
    hs__notify_close(&s->notify);
    hs__keys_free(&s->keys);
    for (size_t i = 0; s->models && i < s->n_models; i++) {
        for (size_t k = 0; k < s->models[i].n_aliases; k++)
            hs_free(s->models[i].aliases[k]);
        hs_free(s->models[i].name);
    }
    hs_free(s->models);
    hs_free(s->listeners);
    hs_mutex_destroy(&s->shared.lock);
    hs_free(s);
}

int hs_server_apply(hs_server *s, const hs_server_options *o, hs_err *err)
{
    hs__keys keys = {0};
    int r = hs__options_check(o, err);
    if (r == 0 && o->api_key_file && *o->api_key_file)
        r = hs__keys_load(o->api_key_file, &keys, err);
    for (size_t i = 0; r == 0 && !keys.n && i < s->n_listeners; i++)
        if (s->listeners[i].address.is_tcp && !s->listeners[i].address.is_loopback)
            r = hs_err_set(err, -EACCES, "%s: an address other than loopback needs server.api_key_file",
                           s->listeners[i].address.text);
    if (r < 0) {
        hs__keys_free(&keys);
        return r;
    }
    hs__keys_free(&s->keys);
    s->keys = keys;
    s->options.max_connections = o->max_connections;
    s->options.idle_timeout_s = o->idle_timeout_s;
    s->options.ping_interval_s = o->ping_interval_s;
    s->options.max_tokens = o->max_tokens;
    s->options.max_context = o->max_context;
    s->options.request_timeout_s = o->request_timeout_s;
    return 0;
}

const char *hs_server_address(const hs_server *s, size_t i)
{
    return i < s->n_listeners ? s->listeners[i].address.text : NULL;
}

/* ---- any thread ---- */

void hs_server_set_engine(hs_server *s, size_t model, hs_engine *e)
{
    if (model >= s->n_models)
        return;
    atomic_store(&s->models[model].pending, e);
    uv_async_send(&s->async);
}

void hs_server_set_progress(hs_server *s, const char *line)
{
    hs_mutex_lock(&s->shared.lock);
    size_t n = strnlen(line, sizeof s->shared.progress - 1);
    memcpy(s->shared.progress, line, n);
    s->shared.progress[n] = '\0';
    s->shared.progress_new = true;
    hs_mutex_unlock(&s->shared.lock);
    uv_async_send(&s->async);
}

void hs_server_set_ready(hs_server *s)
{
    atomic_store(&s->shared.ready, true);
    uv_async_send(&s->async);
}

void hs_server_set_failed(hs_server *s, int code, const char *sentence)
{
    hs_mutex_lock(&s->shared.lock);
    if (!s->shared.failure.code)
        hs_err_set(&s->shared.failure, code, "%s", sentence);
    hs_mutex_unlock(&s->shared.lock);
    uv_async_send(&s->async);
}

bool hs_server_is_stopping(const hs_server *s)
{
    return atomic_load(&s->shared.stopping);
}

void hs_server_stop(hs_server *s)
{
    atomic_fetch_add(&s->shared.stop_asked, 1);
    uv_async_send(&s->async);
}
