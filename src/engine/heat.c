/*
 * heat.c - how often each expert is used, for each of a model's profiles, kept between runs (heat_file.c has the file).
 *
 * A profile is a name under which uses are counted: the engine's own, or the one that a request brings. All that the
 * state folder knows are read at the start; others are added when they are first named, HS_MAX_PROFILES at most, and
 * none is ever dropped: they are small, and what a request may name does not depend on who came before it. At most
 * HEAT_TOKENS tokens of earlier runs count, so that a new habit shows.
 *
 * Threads: the engine thread counts and orders; any thread may add a profile (under `lock`, a leaf) and look at those
 * below n_profiles, which stay as they are but for their counters; one thread at a time saves.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/state_dir.h"
#include "engine/engine_int.h"
#include "engine/heat.h"

#define HEAT_TOKENS   8192u
#define SWITCH_TOKENS 128u /* what the policy hears of when a request brings another profile: a prompt of so many */

typedef struct profile {
    char name[HS_PROFILE_NAME + 1];
    _Atomic uint32_t *uses; /* [n] */
    _Atomic uint64_t requests, hits, misses;
    uint64_t kept; /* sum of uses in the file; of the thread that saves */
} profile;

struct hs__heat {
    char *dir; /* NULL: nothing is kept */
    char prefix[HS__HEAT_PREFIX];
    uint8_t identity[16];
    uint32_t n_layers, n_experts, n, top_k;
    uint32_t *moe_of; /* [model layers] */
    hs_mutex lock;
    _Atomic uint32_t n_profiles, own; /* own: of requests that name none */
    profile profiles[HS_MAX_PROFILES];
    /* Of the profile at work; engine thread. */
    uint32_t present, n_order, tokens;
    uint32_t *order, *order_uses; /* [n] those that were used, most first */
    uint64_t *keys;               /* [n] scratch */
};

uint64_t hs__heat_bytes(uint32_t n_layers, uint32_t n_experts)
{
    uint64_t n = (uint64_t)n_layers * n_experts;
    /* Uses of each profile, order, its uses and keys; two copies while a file is read. */
    return sizeof(hs__heat) + n * (HS_MAX_PROFILES + 4 + 2) * sizeof(uint32_t) + 8192;
}

static uint32_t load_u32(const _Atomic uint32_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

/* Tokens that the uses are of: each layer has top_k per token; layers that were not reached have fewer. */
static uint64_t tokens_of(const hs__heat *h, const profile *p)
{
    uint64_t most = 0;
    for (uint32_t l = 0; l < h->n_layers; l++) {
        uint64_t sum = 0;
        for (uint32_t x = 0; x < h->n_experts; x++)
            sum += load_u32(&p->uses[l * h->n_experts + x]);
        most = sum > most ? sum : most;
    }
    return most / (h->top_k ? h->top_k : 1);
}

/* What an earlier run has left; uses[n] is scratch. */
static void take_over(hs__heat *h, profile *p, uint32_t *uses)
{
    char *name = hs_asprintf("%s%s", h->prefix, p->name);
    if (name && hs__heat_file_read(h->dir, name, h->identity, h->n_layers, h->n_experts, uses) == 0) {
        for (uint32_t i = 0; i < h->n; i++)
            atomic_store_explicit(&p->uses[i], uses[i], memory_order_relaxed);
        uint64_t tokens = tokens_of(h, p);
        for (uint32_t i = 0; i < h->n; i++) {
            uint64_t u = tokens > HEAT_TOKENS ? (uint64_t)uses[i] * HEAT_TOKENS / tokens : uses[i];
            atomic_store_explicit(&p->uses[i], (uint32_t)u, memory_order_relaxed);
            p->kept += u;
        }
    }
    hs_free(name);
}

/* lock held, or nobody else knows h yet. */
static int add(hs__heat *h, const char *name, hs_err *err)
{
    uint32_t i = h->n_profiles;
    if (i == HS_MAX_PROFILES)
        return hs_err_set(err, -EINVAL,
                          "expert_profile: '%s' would be one more than the %d that a model may have; name one of them, "
                          "or stop hotset and remove files %s* from %s",
                          name, HS_MAX_PROFILES, h->prefix, h->dir ? h->dir : "state.dir");
    profile *p = &h->profiles[i];
    p->uses = hs_calloc(h->n, sizeof *p->uses);
    if (!p->uses)
        return hs_err_set(err, -ENOMEM, "expert_profile: out of memory");
    snprintf(p->name, sizeof p->name, "%s", name);
    atomic_store_explicit(&h->n_profiles, i + 1, memory_order_release);
    return 0;
}

static uint32_t count(const hs__heat *h)
{
    return atomic_load_explicit(&h->n_profiles, memory_order_acquire);
}

static uint32_t find(const hs__heat *h, const char *name)
{
    uint32_t i = 0;
    while (i < count(h) && strcmp(h->profiles[i].name, name) != 0)
        i++;
    return i;
}

/* The engine's own profile, then those that the folder knows. */
static int add_known(hs__heat *h, const char *own, hs_err *err)
{
    char(*names)[HS_PROFILE_NAME + 1] = hs_calloc(HS_MAX_PROFILES, sizeof *names);
    uint32_t *uses = hs_calloc(h->n, sizeof *uses);
    int r = names && uses ? add(h, own, err) : hs_err_set(err, -ENOMEM, "heat: out of memory");
    uint32_t n = r == 0 && h->dir ? hs__heat_file_list(h->dir, h->prefix, names, HS_MAX_PROFILES) : 0;
    for (uint32_t i = 0; r == 0 && i < n && count(h) < HS_MAX_PROFILES; i++)
        if (find(h, names[i]) == count(h))
            r = add(h, names[i], err);
    for (uint32_t i = 0; r == 0 && h->dir && i < count(h); i++)
        take_over(h, &h->profiles[i], uses);
    hs_free(names);
    hs_free(uses);
    return r;
}

static int by_key(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x < *y) - (*x > *y);
}

/* The profile is at work from now on: its order is of most_tokens tokens at most. */
static void begin(hs__heat *h, uint32_t which, uint32_t most_tokens)
{
    const profile *p = &h->profiles[which];
    uint64_t tokens = tokens_of(h, p);
    uint32_t n = 0;
    h->present = which;
    h->tokens = tokens > most_tokens ? most_tokens : tokens > 0 ? (uint32_t)tokens : 1;
    for (uint32_t i = 0; i < h->n; i++)
        if (load_u32(&p->uses[i]))
            h->keys[n++] = (uint64_t)load_u32(&p->uses[i]) << 32 | (UINT32_MAX - i);
    qsort(h->keys, n, sizeof *h->keys, by_key);
    for (h->n_order = 0; h->n_order < n; h->n_order++) {
        uint64_t uses = h->keys[h->n_order] >> 32;
        if (tokens > h->tokens)
            uses = (uses * h->tokens + tokens / 2) / tokens;
        if (!uses)
            break;
        h->order[h->n_order] = UINT32_MAX - (uint32_t)h->keys[h->n_order];
        h->order_uses[h->n_order] = (uint32_t)uses;
    }
}

int hs__heat_create(const hs_engine_options *opt, const hs__opened *o, hs__heat **ret_heat, hs_err *err)
{
    const hs_model_spec *spec = o->spec;
    if (!opt->profile)
        return 0;
    int r = hs__profile_check(opt->profile, err);
    if (r < 0)
        return r;
    hs__heat *h = hs_calloc(1, sizeof *h);
    if (!h)
        return hs_err_set(err, -ENOMEM, "heat: out of memory");
    hs_mutex_init(&h->lock, HS_RANK_HEAT);
    h->n_layers = spec->n_moe_layers;
    h->n_experts = spec->n_experts;
    h->n = spec->n_moe_layers * spec->n_experts;
    h->top_k = spec->top_k;
    memcpy(h->identity, hs_source_identity(o->source), 16);
    hs__heat_file_prefix(h->identity, h->prefix);
    bool is_kept = opt->state_dir && *opt->state_dir;
    h->dir = is_kept ? hs_strdup(opt->state_dir) : NULL;
    h->moe_of = hs_calloc(spec->n_layers, sizeof *h->moe_of);
    h->order = hs_calloc(h->n, sizeof *h->order);
    h->order_uses = hs_calloc(h->n, sizeof *h->order_uses);
    h->keys = hs_calloc(h->n, sizeof *h->keys);
    r = (h->dir || !is_kept) && h->moe_of && h->order && h->order_uses && h->keys
            ? add_known(h, opt->profile, err)
            : hs_err_set(err, -ENOMEM, "heat: out of memory");
    if (r < 0) {
        hs__heat_destroy(&h);
        return r;
    }
    for (uint32_t i = 0; i < spec->n_moe_layers; i++)
        h->moe_of[spec->moe_layer_number[i]] = i;
    begin(h, 0, HEAT_TOKENS);
    *ret_heat = h;
    return 0;
}

void hs__heat_destroy(hs__heat **heat)
{
    hs__heat *h = *heat;
    if (!h)
        return;
    *heat = NULL;
    for (uint32_t i = 0; i < h->n_profiles; i++)
        hs_free((void *)h->profiles[i].uses);
    hs_free(h->dir);
    hs_free(h->moe_of);
    hs_free(h->order);
    hs_free(h->order_uses);
    hs_free(h->keys);
    hs_mutex_destroy(&h->lock);
    hs_free(h);
}

int hs__heat_profile(hs__heat *h, const char *name, uint32_t *ret_profile, hs_err *err)
{
    if (!h && name)
        return hs_err_set(err, -EINVAL, "expert_profile: which experts are used is not counted here");
    if (!name) {
        *ret_profile = h ? load_u32(&h->own) : 0;
        return 0;
    }
    int r = hs__profile_check(name, err);
    if (r < 0)
        return r;
    hs_mutex_lock(&h->lock);
    uint32_t i = find(h, name);
    if (i == count(h))
        r = add(h, name, err);
    hs_mutex_unlock(&h->lock);
    if (r == 0)
        *ret_profile = i;
    return r;
}

void hs__heat_use(hs__heat *h, uint32_t which, uint32_t layer, const uint32_t *experts, uint32_t n)
{
    _Atomic uint32_t *uses = h->profiles[which].uses + (size_t)h->moe_of[layer] * h->n_experts;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t u = load_u32(&uses[experts[i]]);
        atomic_store_explicit(&uses[experts[i]], u + (u < UINT32_MAX), memory_order_relaxed);
    }
}

/* The engine thread is the only writer. */
static void bump(_Atomic uint64_t *counter, uint64_t by)
{
    uint64_t v = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, v + by, memory_order_relaxed);
}

void hs__heat_count(hs__heat *h, uint32_t which, uint64_t hits, uint64_t misses)
{
    bump(&h->profiles[which].hits, hits);
    bump(&h->profiles[which].misses, misses);
}

bool hs__heat_enter(hs__heat *h, uint32_t which)
{
    bump(&h->profiles[which].requests, 1);
    if (which == h->present)
        return false;
    begin(h, which, SWITCH_TOKENS);
    return true;
}

uint32_t hs__heat_order(const hs__heat *h, const uint32_t **ret_objects, const uint32_t **ret_uses,
                        uint32_t *ret_tokens)
{
    *ret_objects = h->order;
    *ret_uses = h->order_uses;
    *ret_tokens = h->tokens;
    return h->n_order;
}

/* data: a file's bytes. */
static int save(hs__heat *h, profile *p, void *data, hs_err *err)
{
    uint32_t *uses = hs__heat_uses(data);
    uint64_t all = 0;
    for (uint32_t i = 0; i < h->n; i++) {
        uses[i] = load_u32(&p->uses[i]);
        all += uses[i];
    }
    if (all == p->kept)
        return 0;
    hs__heat_seal(data, h->identity, h->n_layers, h->n_experts);
    char *name = hs_asprintf("%s%s", h->prefix, p->name);
    int r = name ? hs_state_write(h->dir, name, data, hs__heat_file_bytes(h->n_layers, h->n_experts), err)
                 : hs_err_set(err, -ENOMEM, "heat: out of memory");
    if (r == 0)
        p->kept = all;
    hs_free(name);
    return r;
}

int hs__heat_save(hs__heat *h, hs_err *err)
{
    if (!h->dir)
        return 0;
    void *data = hs_malloc(hs__heat_file_bytes(h->n_layers, h->n_experts));
    int r = data ? 0 : hs_err_set(err, -ENOMEM, "heat: out of memory");
    for (uint32_t i = 0; data && i < count(h); i++) {
        hs_err of_one = {0};
        int one = save(h, &h->profiles[i], data, &of_one);
        if (one < 0 && r == 0) {
            r = one;
            if (err)
                *err = of_one;
        }
    }
    hs_free(data);
    return r;
}

int hs_engine_add_profile(hs_engine *e, const char *name, hs_err *err)
{
    uint32_t ignored;
    return hs__heat_profile(e->heat, name, &ignored, err);
}

int hs_engine_set_profile(hs_engine *e, const char *name, hs_err *err)
{
    uint32_t i;
    int r = hs__heat_profile(e->heat, name, &i, err);
    if (r == 0 && e->heat)
        atomic_store_explicit(&e->heat->own, i, memory_order_relaxed);
    return r;
}

bool hs_engine_get_profile(const hs_engine *e, uint32_t i, hs_profile *ret_profile)
{
    const hs__heat *h = e->heat;
    if (!h || i >= count(h))
        return false;
    const profile *p = &h->profiles[i];
    *ret_profile = (hs_profile){.name = p->name,
                                .requests = atomic_load_explicit(&p->requests, memory_order_relaxed),
                                .expert_hits = atomic_load_explicit(&p->hits, memory_order_relaxed),
                                .expert_misses = atomic_load_explicit(&p->misses, memory_order_relaxed)};
    return true;
}
