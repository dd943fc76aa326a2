/* watch.c - a daemon's answers as a picture; see watch.h. */
#include "cli/watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define MAX_ANSWER (4u << 20)

static hs_watch_model *find_model(hs_watch *w, const char *name)
{
    for (uint32_t i = 0; i < w->n_models; i++)
        if (!strcmp(w->models[i].name, name))
            return &w->models[i];
    return NULL;
}

/* A name from outside, printable and cut. */
static void copy_name(char *to, size_t cap, const char *from)
{
    size_t n = from ? strlen(from) : 0;
    n = n < cap ? n : cap - 1;
    memcpy(to, from ? from : "", n);
    to[n] = '\0';
    hs_make_printable(to);
}

static uint64_t count(const json_t *o, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(o, key));
    return v > 0 ? (uint64_t)v : 0;
}

/* ---- /v1/models ---- */

int hs_watch_parse_models(const char *text, size_t len, hs_watch *w, hs_err *err)
{
    json_t *root = NULL, *o;
    int r = hs_json_load(text, len, "/v1/models", &root, err);
    if (r < 0)
        return r;
    const json_t *data = json_object_get(root, "data");
    size_t i;
    w->n_models = 0;
    if (!json_is_array(data))
        r = hs_err_set(err, -EPROTO, "/v1/models: the answer has no list of models");
    json_array_foreach(data, i, o)
    {
        if (w->n_models == HS_WATCH_MAX_MODELS)
            break;
        hs_watch_model *m = &w->models[w->n_models++];
        *m = (hs_watch_model){.experts = count(o, "experts"),
                              .memory_bytes = count(o, "memory_bytes"),
                              .context = count(o, "context_length")};
        copy_name(m->name, sizeof m->name, json_string_value(json_object_get(o, "id")));
        copy_name(m->arch, sizeof m->arch, json_string_value(json_object_get(o, "architecture")));
        copy_name(m->status, sizeof m->status, json_string_value(json_object_get(o, "status")));
        w->started_at = (int64_t)count(o, "created");
    }
    json_decref(root);
    return r;
}

/* ---- /metrics ---- */

static const struct {
    const char *metric;
    size_t offset;
} members[] = {
#define X(member, metric) {metric, offsetof(hs_watch_model, member)},
    HS_WATCH_METRICS(X)
#undef X
};

typedef struct sample {
    char name[80], model[128], version[32], profile[48];
    uint32_t layer;
    double value;
} sample;

/* label="value" with Prometheus' escapes; *at is moved behind it. False: malformed. */
static bool take_label(const char **at, const char *end, char key[32], char value[128])
{
    const char *p = *at, *equals = memchr(p, '=', (size_t)(end - p));
    if (!equals || equals - p > 31 || equals + 1 >= end || equals[1] != '"')
        return false;
    snprintf(key, 32, "%.*s", (int)(equals - p), p);
    size_t n = 0;
    for (p = equals + 2; p < end && *p != '"'; p++) {
        if (*p == '\\' && ++p == end)
            return false;
        if (n < 127)
            value[n++] = *p;
    }
    value[n] = '\0';
    if (p == end)
        return false;
    p++;
    *at = p + (p < end && *p == ',');
    return true;
}

/* name{label="value",…} number. Names and labels that are too long are cut, and so never those that are looked for. */
static bool parse_sample(const char *line, const char *end, sample *s)
{
    size_t n = 0;
    *s = (sample){0};
    while (line + n < end && line[n] != '{' && line[n] != ' ')
        n++;
    snprintf(s->name, sizeof s->name, "%.*s", (int)(n < 1000 ? n : 1000), line);
    line += n;
    if (line < end && *line == '{') {
        for (line++; line < end && *line != '}';) {
            char key[32], value[128];
            if (!take_label(&line, end, key, value))
                return false;
            if (!strcmp(key, "model"))
                copy_name(s->model, sizeof s->model, value);
            else if (!strcmp(key, "version"))
                copy_name(s->version, sizeof s->version, value);
            else if (!strcmp(key, "profile"))
                copy_name(s->profile, sizeof s->profile, value);
            else if (!strcmp(key, "layer"))
                s->layer = (uint32_t)strtoul(value, NULL, 10);
        }
        line += line < end;
    }
    if (line >= end || *line != ' ')
        return false;
    char number[64], *rest;
    snprintf(number, sizeof number, "%.*s", (int)(end - line - 1 < 63 ? end - line - 1 : 63), line + 1);
    s->value = strtod(number, &rest);
    return rest != number && !*rest;
}

static void put_profile(hs_watch_model *m, const sample *s)
{
    uint32_t i = 0;
    while (i < m->n_profiles && strcmp(m->profiles[i].name, s->profile) != 0)
        i++;
    if (i == HS_WATCH_MAX_PROFILES)
        return;
    hs_watch_profile *p = &m->profiles[i];
    if (i == m->n_profiles) {
        *p = (hs_watch_profile){0};
        memcpy(p->name, s->profile, sizeof p->name);
        m->n_profiles++;
    }
    if (!strcmp(s->name, "hotset_expert_profile_requests_total"))
        p->requests = s->value;
    else if (!strcmp(s->name, "hotset_expert_profile_hits_total"))
        p->hits = s->value;
    else if (!strcmp(s->name, "hotset_expert_profile_misses_total"))
        p->misses = s->value;
}

static void put_sample(hs_watch *w, const sample *s)
{
    if (!strcmp(s->name, "hotset_build_info"))
        memcpy(w->version, s->version, sizeof w->version);
    else if (!strcmp(s->name, "hotset_ready"))
        w->ready = s->value > 0;
    else if (!strcmp(s->name, "hotset_connections"))
        w->connections = s->value;
    hs_watch_model *m = *s->model ? find_model(w, s->model) : NULL;
    if (!m)
        return;
    if (!strcmp(s->name, "hotset_expert_cache_layer_resident") && m->n_layers < HS_WATCH_MAX_LAYERS) {
        m->layers[m->n_layers].number = s->layer;
        m->layers[m->n_layers++].resident = s->value > 0 ? (uint32_t)s->value : 0;
        return;
    }
    if (*s->profile)
        put_profile(m, s);
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (!strcmp(s->name, members[i].metric))
            *(double *)(void *)((char *)m + members[i].offset) = s->value;
}

int hs_watch_parse_metrics(const char *text, size_t len, hs_watch *w, hs_err *err)
{
    const char *end = text + len;
    unsigned number = 0;
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        stop = stop ? stop : end;
        sample s;
        number++;
        if (stop > text && *text != '#') {
            if (!parse_sample(text, stop, &s))
                return hs_err_set(err, -EPROTO, "/metrics: line %u is none of Prometheus' text format", number);
            put_sample(w, &s);
        }
        text = stop + 1;
    }
    return 0;
}

/* ---- /slots ---- */

static void put_slot(hs_watch *w, const json_t *o)
{
    char name[128], state[12];
    copy_name(name, sizeof name, json_string_value(json_object_get(o, "model")));
    copy_name(state, sizeof state, json_string_value(json_object_get(o, "state")));
    hs_watch_model *m = find_model(w, name);
    if (!m)
        return;
    m->n_slots++;
    if (!strcmp(state, "idle") || m->n_busy == HS_WATCH_MAX_SLOTS)
        return;
    hs_watch_slot *s = &m->busy[m->n_busy++];
    *s = (hs_watch_slot){.id = (uint32_t)count(o, "id"),
                         .prompt_tokens = count(o, "prompt_tokens"),
                         .generated_tokens = count(o, "generated_tokens"),
                         .max_tokens = count(o, "max_tokens"),
                         .client_pid = count(o, "client_pid")};
    memcpy(s->state, state, sizeof state);
}

int hs_watch_parse_slots(const char *text, size_t len, hs_watch *w, hs_err *err)
{
    json_t *root = NULL, *o;
    size_t i;
    int r = hs_json_load(text, len, "/slots", &root, err);
    if (r < 0)
        return r;
    if (!json_is_array(root))
        r = hs_err_set(err, -EPROTO, "/slots: the answer is no list");
    json_array_foreach(root, i, o) put_slot(w, o);
    json_decref(root);
    return r;
}

/* ---- all of it ---- */

int hs_watch_take(const hs_daemon *d, hs_watch *w, hs_err *err)
{
    static const struct {
        const char *path;
        int (*parse)(const char *text, size_t len, hs_watch *w, hs_err *err);
    } parts[] = {
        {"/v1/models", hs_watch_parse_models}, {"/metrics", hs_watch_parse_metrics}, {"/slots", hs_watch_parse_slots}};
    hs_buf body;
    int r = 0;
    *w = (hs_watch){.at_s = (double)hs_now_ns() * 1e-9};
    hs_buf_init(&body, MAX_ANSWER);
    for (size_t i = 0; r == 0 && i < sizeof parts / sizeof *parts; i++) {
        r = hs_daemon_get(d, parts[i].path, &body, err);
        bool is_answer = r == 0;
        if (r == 0)
            r = parts[i].parse(body.data ? body.data : "", body.len, w, err);
        if (r == -EPROTO || (r == -EINVAL && is_answer))
            hs_err_prefix(err, "%s", d->address);
    }
    hs_buf_deinit(&body);
    return r;
}

static double share(double part, double all)
{
    return all > 0 ? part / all : -1;
}

hs_watch_rates hs_watch_rate(const hs_watch *before, const hs_watch *now, uint32_t model)
{
    static const hs_watch_model none;
    const hs_watch_model *z = &now->models[model], *a = NULL;
    for (uint32_t i = 0; before && before->started_at == now->started_at && i < before->n_models; i++)
        if (!strcmp(before->models[i].name, z->name))
            a = &before->models[i];
    hs_watch_rates r = {.seconds = a ? now->at_s - before->at_s : 0};
    if (!a || z->generated_tokens < a->generated_tokens || z->hits < a->hits) {
        a = &none;
        r.seconds = 0;
    }
    double per_s = r.seconds > 0 ? 1 / r.seconds : 0;
    r.prompt_per_s = (z->prompt_tokens - a->prompt_tokens) * per_s;
    r.generated_per_s = (z->generated_tokens - a->generated_tokens) * per_s;
    r.misses_per_s = (z->misses - a->misses) * per_s;
    r.read_per_s = (z->read_bytes - a->read_bytes) * per_s;
    r.speculative_per_s = (z->speculative_bytes - a->speculative_bytes) * per_s;
    r.prefetch_per_s = (z->prefetch_issued - a->prefetch_issued) * per_s;
    r.io_busy = (z->io_busy_s - a->io_busy_s) * per_s;
    r.stalled = (z->stall_s - a->stall_s) * per_s;
    r.expanding = (z->expand_s - a->expand_s) * per_s;
    r.hit_rate = share(z->hits - a->hits, z->hits - a->hits + z->misses - a->misses);
    r.warm_share = share(z->warm_hits - a->warm_hits, z->hits - a->hits);
    r.prefetch_useful = share(z->prefetch_useful - a->prefetch_useful, z->prefetch_issued - a->prefetch_issued);
    return r;
}
