/*
 * heat.c - how often each expert is used, kept between runs in the state folder, one file for each model and profile.
 *
 * The file: struct header, uses[n_layers * n_experts], a checksum of both; little endian. It is a hint: one that is not
 * whole, or not of this model, is left alone with a warning and written anew. At most HEAT_TOKENS tokens of earlier
 * runs count, so that a new habit shows. Threads: the engine thread counts; any thread may save what it sees.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/state_dir.h"
#include "engine/engine_int.h"
#include "engine/heat.h"

#define HEAT_TOKENS 8192u
#define MAGIC       "hotheat1"

typedef struct header {
    char magic[8];
    uint8_t identity[16];
    uint32_t n_layers, n_experts;
} header;
_Static_assert(sizeof(header) == 32, "the file's layout");

struct hs__heat {
    char *dir, name[100];
    header is;
    uint32_t n, top_k;
    uint32_t *moe_of;       /* [model layers] */
    _Atomic uint32_t *uses; /* [n] */
    uint32_t *order;        /* [n_order] those that were used before, most first */
    uint32_t *order_uses;   /* [n_order] */
    uint32_t n_order, tokens;
    uint64_t kept; /* sum of uses when they were loaded */
};

uint64_t hs__heat_bytes(uint32_t n_layers, uint32_t n_experts)
{
    uint64_t n = (uint64_t)n_layers * n_experts;
    /* uses, order and its uses; the file while it is read or written. */
    return sizeof(hs__heat) + n * 4 * sizeof(uint32_t) + 4096;
}

/* FNV-1a, 64 bit. */
static uint64_t checksum(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

int hs__heat_parse(const void *data, size_t len, const uint8_t identity[16], uint32_t n_layers, uint32_t n_experts,
                   uint32_t *ret_uses, hs_err *err)
{
    header h;
    uint64_t sum, n = (uint64_t)n_layers * n_experts, body = sizeof h + n * sizeof *ret_uses;
    if (len < sizeof h || memcmp(data, MAGIC, 8) != 0)
        return hs_err_set(err, -EBADMSG, "not a file of expert uses of this version");
    memcpy(&h, data, sizeof h);
    if (memcmp(h.identity, identity, 16) != 0 || h.n_layers != n_layers || h.n_experts != n_experts)
        return hs_err_set(err, -EBADMSG, "of another model: %u layers of %u experts", h.n_layers, h.n_experts);
    if (len != body + sizeof sum)
        return hs_err_set(err, -EBADMSG, "%zu bytes instead of %" PRIu64, len, body + sizeof sum);
    memcpy(&sum, (const uint8_t *)data + body, sizeof sum);
    if (sum != checksum(data, body))
        return hs_err_set(err, -EBADMSG, "damaged: its checksum is wrong");
    memcpy(ret_uses, (const uint8_t *)data + sizeof h, n * sizeof *ret_uses);
    return 0;
}

static int check_profile(const char *profile, hs_err *err)
{
    size_t n = strlen(profile), good = strspn(profile, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                                       "0123456789-_");
    if (n < 1 || n > 40 || good != n)
        return hs_err_set(err, -EINVAL, "expert_profile: '%.60s' is not 1 to 40 letters, digits, - or _", profile);
    return 0;
}

static int by_uses(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x < *y) - (*x > *y);
}

/* Tokens that the uses are of: each layer has top_k per token; layers that were not reached have fewer. */
static uint64_t tokens_of(const hs__heat *h, const uint32_t *uses)
{
    uint64_t most = 0;
    for (uint32_t l = 0; l < h->is.n_layers; l++) {
        uint64_t sum = 0;
        for (uint32_t x = 0; x < h->is.n_experts; x++)
            sum += uses[l * h->is.n_experts + x];
        most = sum > most ? sum : most;
    }
    return most / (h->top_k ? h->top_k : 1);
}

/* Takes over what an earlier run has left; keys[n] is scratch. */
static void take_over(hs__heat *h, const uint32_t *uses, uint64_t *keys)
{
    uint64_t tokens = tokens_of(h, uses);
    h->tokens = tokens < HEAT_TOKENS ? (uint32_t)tokens : HEAT_TOKENS;
    h->tokens = h->tokens ? h->tokens : 1;
    for (uint32_t i = 0; i < h->n; i++) {
        uint64_t u = tokens > HEAT_TOKENS ? (uint64_t)uses[i] * HEAT_TOKENS / tokens : uses[i];
        atomic_store_explicit(&h->uses[i], (uint32_t)u, memory_order_relaxed);
        h->kept += u;
        if (u)
            keys[h->n_order++] = u << 32 | (UINT32_MAX - i);
    }
    qsort(keys, h->n_order, sizeof *keys, by_uses);
    for (uint32_t i = 0; i < h->n_order; i++) {
        h->order[i] = UINT32_MAX - (uint32_t)keys[i];
        h->order_uses[i] = (uint32_t)(keys[i] >> 32);
    }
}

static void load(hs__heat *h, uint32_t *uses, uint64_t *keys)
{
    char *data = NULL, *path = hs_asprintf("%s/%s", h->dir, h->name);
    size_t len = 0;
    hs_err err = {0};
    int r = path && hs_file_exists(path) ? hs_file_read(path, sizeof(header) + h->n * 4ull + 8, &data, &len, &err)
                                         : -ENOENT;
    if (r == 0) {
        r = hs__heat_parse(data, len, h->is.identity, h->is.n_layers, h->is.n_experts, uses, &err);
        if (r < 0)
            hs_err_prefix(&err, "%s", path);
    }
    if (r == 0)
        take_over(h, uses, keys);
    else if (r != -ENOENT)
        hs_warn("%s; which experts were used is not known", err.text);
    hs_free(data);
    hs_free(path);
}

int hs__heat_create(const hs_engine_options *opt, const hs__opened *o, hs__heat **ret_heat, hs_err *err)
{
    const hs_model_spec *spec = o->spec;
    if (!opt->profile || !opt->state_dir || !*opt->state_dir)
        return 0;
    int r = check_profile(opt->profile, err);
    if (r < 0)
        return r;
    hs__heat *h = hs_calloc(1, sizeof *h);
    if (!h)
        return hs_err_set(err, -ENOMEM, "heat: out of memory");
    h->n = spec->n_moe_layers * spec->n_experts;
    h->top_k = spec->top_k;
    memcpy(h->is.magic, MAGIC, 8);
    memcpy(h->is.identity, hs_source_identity(o->source), 16);
    h->is.n_layers = spec->n_moe_layers;
    h->is.n_experts = spec->n_experts;
    h->dir = hs_strdup(opt->state_dir);
    h->moe_of = hs_calloc(spec->n_layers, sizeof *h->moe_of);
    h->uses = hs_calloc(h->n, sizeof *h->uses);
    h->order = hs_calloc(h->n, sizeof *h->order);
    h->order_uses = hs_calloc(h->n, sizeof *h->order_uses);
    uint32_t *uses = hs_calloc(h->n, sizeof *uses);
    uint64_t *keys = hs_calloc(h->n, sizeof *keys);
    if (h->dir && h->moe_of && h->uses && h->order && h->order_uses && uses && keys) {
        char hex[33];
        for (int i = 0; i < 16; i++)
            snprintf(hex + 2 * i, 3, "%02x", h->is.identity[i]);
        snprintf(h->name, sizeof h->name, "heat-%s-%s", hex, opt->profile);
        for (uint32_t i = 0; i < spec->n_moe_layers; i++)
            h->moe_of[spec->moe_layer_number[i]] = i;
        load(h, uses, keys);
    } else {
        r = hs_err_set(err, -ENOMEM, "heat: out of memory");
        hs__heat_destroy(&h);
    }
    hs_free(uses);
    hs_free(keys);
    if (r == 0)
        *ret_heat = h;
    return r;
}

void hs__heat_destroy(hs__heat **heat)
{
    hs__heat *h = *heat;
    if (!h)
        return;
    *heat = NULL;
    hs_free(h->dir);
    hs_free(h->moe_of);
    hs_free((void *)h->uses);
    hs_free(h->order);
    hs_free(h->order_uses);
    hs_free(h);
}

void hs__heat_use(hs__heat *h, uint32_t layer, const uint32_t *experts, uint32_t n)
{
    _Atomic uint32_t *uses = h->uses + (size_t)h->moe_of[layer] * h->is.n_experts;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t u = atomic_load_explicit(&uses[experts[i]], memory_order_relaxed);
        atomic_store_explicit(&uses[experts[i]], u + (u < UINT32_MAX), memory_order_relaxed);
    }
}

uint32_t hs__heat_order(const hs__heat *h, const uint32_t **ret_objects, const uint32_t **ret_uses,
                        uint32_t *ret_tokens)
{
    *ret_objects = h->order;
    *ret_uses = h->order_uses;
    *ret_tokens = h->tokens;
    return h->n_order;
}

int hs__heat_save(const hs__heat *h, hs_err *err)
{
    size_t body = sizeof h->is + h->n * sizeof(uint32_t);
    uint8_t *data = hs_malloc(body + sizeof(uint64_t));
    if (!data)
        return hs_err_set(err, -ENOMEM, "heat: out of memory");
    memcpy(data, &h->is, sizeof h->is);
    uint64_t all = 0;
    for (uint32_t i = 0; i < h->n; i++) {
        uint32_t u = atomic_load_explicit(&h->uses[i], memory_order_relaxed);
        memcpy(data + sizeof h->is + i * sizeof u, &u, sizeof u);
        all += u;
    }
    uint64_t sum = checksum(data, body);
    memcpy(data + body, &sum, sizeof sum);
    int r = all == h->kept ? 0 : hs_state_write(h->dir, h->name, data, body + sizeof sum, err);
    hs_free(data);
    return r;
}

int hs_engine_save_heat(const hs_engine *e, hs_err *err)
{
    return e->heat ? hs__heat_save(e->heat, err) : 0;
}
