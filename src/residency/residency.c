/*
 * residency.c - bringing the residency up and down, its memory and its counters. Nothing is allocated after create.
 */
#include "residency/residency_int.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define SWEEP_BYTES (32ull << 20) /* twice what is in flight by default */

static uint64_t round_up(uint64_t n)
{
    return hs_align_up(n, 4096);
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Layers fall into classes by what their experts are, not by how they lie in pages; but slots hold them as they lie. */
static uint64_t size_of(const hs_objects *o, uint32_t object, bool warm)
{
    bool rests = warm && hs_object_is_staged(o, object);
    return rests ? hs_object_read_bytes(o, object) : hs_object_raw_bytes(o, object);
}

static uint64_t slot_bytes_of(const hs_objects *o, uint32_t object, bool warm)
{
    bool rests = warm && hs_object_is_staged(o, object);
    return rests ? round_up(hs_object_read_bytes(o, object)) : hs_object_slot_bytes(o, object);
}

int hs_residency_classes(const hs_objects *o, uint32_t n_experts, uint32_t top_k, bool warm, hs_classes *ret,
                         hs_err *err)
{
    uint32_t n = hs_objects_count(o), n_layers = n / n_experts;
    uint64_t *size = hs_calloc(n_layers, sizeof *size);
    if (!size)
        return hs_err_set(err, -ENOMEM, "residency: out of memory for the sizes of %u layers", n_layers);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t is = size_of(o, i, warm), *most = &size[i / n_experts];
        *most = is > *most ? is : *most;
    }
    hs_classes_make(ret, size, n_layers, n_experts, top_k);
    for (uint32_t k = 0; k < ret->n; k++)
        ret->of[k].bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t bytes = slot_bytes_of(o, i, warm), *most = &ret->of[hs_classes_find(ret, size[i / n_experts])].bytes;
        *most = bytes > *most ? bytes : *most;
    }
    hs_free(size);
    return 0;
}

bool hs_residency_can_be_warm(const hs_objects *o)
{
    return hs_objects_staging_bytes(o) > 0;
}

uint32_t hs_residency_min_staging(const hs_objects *o, uint32_t top_k, bool warm)
{
    if (!hs_objects_staging_bytes(o))
        return 0;
    return warm && top_k > 2 ? top_k : 2; /* one is read while the other is decoded */
}

uint64_t hs_residency_staging_bytes(const hs_objects *o, bool warm)
{
    uint64_t stored = hs_objects_staging_bytes(o);
    return round_up(stored && warm ? hs_objects_slot_bytes(o) : stored);
}

static uint32_t loads_for(uint32_t n_slots)
{
    return min_u32(n_slots, HS__MAX_LOADS);
}

uint64_t hs_residency_overhead_bytes(const hs_objects *o, uint32_t n_experts, uint32_t n_slots, uint32_t n_staging,
                                     uint32_t n_threads)
{
    hs_policy_shape shape = {
        .n_objects = hs_objects_count(o), .n_slots = n_slots, .layer_objects = n_experts, .n_classes = HS_CLASSES_MAX};
    uint64_t policy = hs_policy_most_bytes(&shape), n_loads = loads_for(n_slots), n = shape.n_objects;
    /* Per layer there are at most n experts: the layer's tables are bounded by that. */
    uint64_t layer = n * (sizeof(hs__want) + 4 * sizeof(uint32_t) + HS__BASES * sizeof(hs__named));
    return sizeof(hs_residency) + policy + n_slots * (sizeof(hs__slot) + sizeof(uint32_t)) + n * sizeof(uint32_t) +
           n / 8 + 1 + n_loads * (sizeof(hs__load) + sizeof(void *)) + n_staging * sizeof(uint32_t) + layer +
           n / n_experts * (sizeof(hs__ahead) + sizeof(uint8_t)) + HS__MAX_TASKS * sizeof(hs__task) +
           n_threads * (hs_decoder_bytes() + sizeof(void *)) +
           (hs_residency_can_be_warm(o) ? hs__shadow_bytes(n / n_experts, n_experts) : 0);
}

static int check_config(const hs_residency_config *c, hs_classes *ret_classes, const hs_policy **ret_policy,
                        hs_err *err)
{
    uint32_t n = hs_objects_count(c->objects);
    if (!c->n_experts || (uint64_t)c->n_layers * c->n_experts != n)
        return hs_err_set(err, -EINVAL, "residency: %u layers of %u experts are not %u objects", c->n_layers,
                          c->n_experts, n);
    if (c->warm_tier && !hs_residency_can_be_warm(c->objects))
        return hs_err_set(err, -EINVAL, "residency: the objects are not compressed, none can be kept so");
    int e = hs_residency_classes(c->objects, c->n_experts, c->top_k, c->warm_tier, ret_classes, err);
    if (e < 0)
        return e;
    if (c->n_slots < hs_classes_floor(ret_classes))
        return hs_err_set(err, -EINVAL, "residency: %u slots are under the floor of %u", c->n_slots,
                          hs_classes_floor(ret_classes));
    uint32_t least = hs_residency_min_staging(c->objects, c->top_k, c->warm_tier);
    if (c->n_staging < least)
        return hs_err_set(err, -EINVAL, "residency: %u staging buffers are under the floor of %u", c->n_staging, least);
    char names[200] = "";
    for (unsigned i = 0; hs_policy_at(i); i++) {
        const char *name = hs_policy_at(i)->name;
        if (!strcmp(name, c->policy)) {
            *ret_policy = hs_policy_at(i);
            return 0;
        }
        size_t len = strlen(names);
        snprintf(names + len, sizeof names - len, "%s%s", i ? "|" : "", name);
    }
    return hs_err_set(err, -EINVAL, "cache.policy: '%s' is not one of %s", c->policy, names);
}

/* Where slabs of max_slots in all lie. */
static void lay_out(hs_residency *r)
{
    uint32_t most[HS_CLASSES_MAX], first = 0;
    hs_classes_split(&r->classes, r->max_slots, most);
    r->arena_bytes = 0;
    for (uint32_t k = 0; k < r->classes.n; k++) {
        hs__slab *b = &r->slabs[k];
        b->slot_bytes = r->classes.of[k].bytes;
        b->begin = r->arena_bytes;
        b->first = first;
        b->max_slots = most[k];
        r->arena_bytes += most[k] * b->slot_bytes;
        first += most[k];
    }
}

static bool allocate(hs_residency *r)
{
    const hs_residency_config *c = &r->cfg;
    r->slab_of = hs_calloc(c->n_layers, sizeof *r->slab_of);
    r->arena = hs_map_alloc(r->arena_bytes);
    if (!r->arena && r->max_slots > r->n_slots) { /* a system that counts addresses as memory: no room to grow */
        r->max_slots = r->n_slots;
        lay_out(r);
        r->arena = hs_map_alloc(r->arena_bytes);
    }
    hs_policy_shape shape = {.n_objects = r->n_objects,
                             .n_slots = r->max_slots,
                             .layer_objects = c->n_experts,
                             .n_classes = r->classes.n,
                             .layer_class = r->slab_of,
                             .seed = c->seed,
                             .inner = hs_policy_find(c->policy)};
    r->staging = r->n_staging ? hs_map_alloc(r->n_staging * r->staging_bytes) : NULL;
    r->policy_state = hs_malloc(r->policy->bytes(&shape));
    r->slots = hs_calloc(r->max_slots, sizeof *r->slots);
    r->slot_of = hs_calloc(r->n_objects, sizeof *r->slot_of);
    r->known = hs_calloc(r->n_objects / 8 + 1, sizeof *r->known);
    r->loads = hs_calloc(r->n_loads, sizeof *r->loads);
    r->next_staging = hs_calloc(r->n_staging, sizeof *r->next_staging);
    r->batch = hs_calloc(r->n_loads, sizeof *r->batch);
    r->wants = hs_calloc(c->n_experts, sizeof *r->wants);
    r->want_of = hs_calloc(c->n_experts, sizeof *r->want_of);
    r->ready.item = hs_calloc(c->n_experts, sizeof *r->ready.item);
    r->hits.item = hs_calloc(c->n_experts, sizeof *r->hits.item);
    r->pending.item = hs_calloc(c->n_experts, sizeof *r->pending.item);
    r->guessed = hs_calloc(r->guessed_room, sizeof *r->guessed);
    for (uint32_t i = 0; i < HS__BASES; i++)
        r->named[i] = hs_calloc(c->n_experts, sizeof *r->named[i]);
    r->ahead = hs_calloc(c->n_layers, sizeof *r->ahead);
    r->decoders = hs_calloc(r->n_decoders, sizeof *r->decoders);
    r->tasks = hs_calloc(HS__MAX_TASKS, sizeof *r->tasks);
    if (!r->slab_of || !r->arena || (r->n_staging && !r->staging) || !r->policy_state || !r->slots || !r->slot_of ||
        !r->known || !r->loads || !r->next_staging || !r->batch || !r->wants || !r->want_of || !r->ready.item ||
        !r->hits.item || !r->pending.item || !r->guessed || !r->named[HS__OF_PART] || !r->named[HS__OF_WHOLE] ||
        !r->ahead || !r->decoders || !r->tasks)
        return false;
    for (uint32_t i = 0; i < r->n_objects; i++) { /* the biggest of a layer comes before the others of its class */
        uint8_t *slab = &r->slab_of[i / c->n_experts];
        uint32_t is = hs_classes_find(&r->classes, size_of(c->objects, i, r->cfg.warm_tier));
        *slab = (uint8_t)(i % c->n_experts == 0 || is < *slab ? is : *slab);
    }
    r->policy->init(r->policy_state, &shape);
    return true;
}

/* A sweep's window holds what is read, and read ahead, while attention runs: an eighth of the slots, and where experts
 * are small as much as keeps a drive busy, if that is not over a quarter. */
static void set_slab(hs_residency *r, hs__slab *b, uint32_t n, uint32_t floor)
{
    uint32_t busy = (uint32_t)(SWEEP_BYTES / b->slot_bytes) + 1, window = min_u32(busy, n / 4);
    window = n / 8 > window ? n / 8 : window;
    b->n_slots = n;
    b->max_guessed = min_u32((n - floor + 3) / 4, r->guessed_room);
    b->sweep_window = min_u32(window > floor ? window : floor, r->n_loads);
}

void hs__set_shares(hs_residency *r)
{
    uint32_t n[HS_CLASSES_MAX];
    hs_classes_split(&r->classes, r->n_slots, n);
    for (uint32_t k = 0; k < r->classes.n; k++)
        set_slab(r, &r->slabs[k], n[k], r->classes.of[k].floor);
}

static void set_sizes(hs_residency *r)
{
    const hs_residency_config *c = &r->cfg;
    r->n_objects = hs_objects_count(c->objects);
    r->n_slots = min_u32(c->n_slots, r->n_objects);
    r->max_slots = min_u32(c->max_slots > c->n_slots ? c->max_slots : c->n_slots, r->n_objects);
    r->asked_slots = r->shown_slots = r->n_slots;
    r->n_loads = loads_for(r->max_slots);
    r->slot_bytes = 0;
    for (uint32_t k = 0; k < r->classes.n; k++)
        r->slot_bytes = r->classes.of[k].bytes > r->slot_bytes ? r->classes.of[k].bytes : r->slot_bytes;
    r->staging_bytes = hs_residency_staging_bytes(c->objects, r->cfg.warm_tier);
    r->n_staging = r->staging_bytes ? c->n_staging : 0;
    r->n_decoders = hs_pool_threads(c->pool);
    uint64_t biggest = r->slot_bytes > r->staging_bytes || r->cfg.warm_tier ? r->slot_bytes : r->staging_bytes;
    if (c->prefetch_budget < biggest)
        r->cfg.prefetch_budget = biggest;
    r->guessed_room = HS__MAX_LOADS / 2;
    lay_out(r);
    hs__set_shares(r);
    for (uint32_t k = 0; k < r->classes.n; k++) {
        hs__slab *b = &r->slabs[k];
        uint64_t window = b->sweep_window * biggest;
        r->sweep_budget = window > r->sweep_budget ? window : r->sweep_budget;
        b->memory_end = b->n_slots * b->slot_bytes;
    }
    if (!c->prefetch || r->sweep_budget < r->cfg.prefetch_budget)
        r->sweep_budget = r->cfg.prefetch_budget;
    r->guess_no = 1;
    r->guess_layer = HS__NONE;
    r->span = 1;
}

int hs_residency_create(const hs_residency_config *cfg, hs_residency **ret, hs_err *err)
{
    const hs_policy *policy = NULL;
    hs_classes classes;
    int e = check_config(cfg, &classes, &policy, err);
    if (e < 0)
        return e;
    hs_residency *r = hs_calloc(1, sizeof *r);
    if (!r)
        return hs_err_set(err, -ENOMEM, "residency: out of memory");
    r->cfg = *cfg;
    r->cfg.policy = policy->name;
    r->classes = classes;
    r->policy = cfg->by_layer ? &hs_policy_layered : policy;
    hs_mutex_init(&r->lock, HS_RANK_RESIDENCY);
    hs_cond_init(&r->wake);
    set_sizes(r);
    if (!allocate(r) || !hs__shadow_init(r))
        e = hs_err_set(err, -ENOMEM, "residency: out of memory for %u slots of %llu bytes in all", r->max_slots,
                       (unsigned long long)r->arena_bytes);
    for (uint32_t i = 0; e == 0 && i < r->n_decoders; i++)
        e = hs_decoder_create(&r->decoders[i], err);
    if (e < 0) {
        hs_residency_destroy(&r);
        return e;
    }
    hs__slots_init(r);
    hs__stagings_init(r);
    hs__loads_init(r);
    hs__ways_init(r);
    memset(r->want_of, 0xff, cfg->n_experts * sizeof *r->want_of);
    hs__worth_init(r);
    *ret = r;
    return 0;
}

void hs_residency_attach_io(hs_residency *r, hs_io *io)
{
    r->cfg.io = io;
}

/* Cancels what is under way and waits for it; a failed read is not tried again, nobody asks for it. */
static void stop_loads(hs_residency *r)
{
    if (r->in_layer)
        hs__experts_ops.end(r);
    for (hs__load *l = r->active_first, *next; l; l = next) {
        next = l->next;
        hs__load_abandon(r, l);
    }
    for (;;) {
        hs__load_drain(r);
        bool flying = false;
        for (const hs__load *l = r->active_first; l; l = l->next)
            flying |= !l->over;
        if (!flying)
            return;
        hs_mutex_lock(&r->lock);
        r->sleeping = true;
        while (!r->done)
            hs_cond_wait(&r->wake, &r->lock);
        r->sleeping = false;
        hs_mutex_unlock(&r->lock);
    }
}

void hs_residency_destroy(hs_residency **residency)
{
    hs_residency *r = *residency;
    if (!r)
        return;
    *residency = NULL;
    stop_loads(r);
    for (uint32_t i = 0; r->decoders && i < r->n_decoders; i++)
        hs_decoder_destroy(&r->decoders[i]);
    hs__shadow_deinit(r);
    hs_map_free(r->arena, r->arena_bytes);
    hs_map_free(r->staging, r->n_staging * r->staging_bytes);
    void *const tables[] = {r->slab_of,
                            r->policy_state,
                            r->slots,
                            r->slot_of,
                            r->known,
                            r->loads,
                            r->next_staging,
                            r->batch,
                            r->wants,
                            r->want_of,
                            r->ready.item,
                            r->hits.item,
                            r->pending.item,
                            r->guessed,
                            r->named[HS__OF_PART],
                            r->named[HS__OF_WHOLE],
                            r->ahead,
                            r->decoders,
                            r->tasks};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        hs_free(tables[i]);
    pthread_cond_destroy(&r->wake);
    hs_mutex_destroy(&r->lock);
    hs_free(r);
}

hs_experts hs_residency_experts(hs_residency *r)
{
    return (hs_experts){.ops = &hs__experts_ops, .self = r};
}

uint32_t hs_residency_buffers(const hs_residency *r, struct iovec *iov, uint32_t max)
{
    uint32_t n = 0;
    if (r->n_staging && !r->cfg.warm_tier && n < max)
        iov[n++] = (struct iovec){.iov_base = r->staging, .iov_len = r->n_staging * r->staging_bytes};
    if (!r->cfg.max_slots && n < max)
        iov[n++] = (struct iovec){.iov_base = r->arena, .iov_len = r->arena_bytes};
    return n;
}

uint32_t hs_residency_slots(const hs_residency *r)
{
    return atomic_load_explicit(&r->shown_slots, memory_order_relaxed);
}

uint32_t hs_residency_resident(const hs_residency *r)
{
    return atomic_load_explicit(&r->n_ready, memory_order_relaxed);
}

hs_residency_stats hs_residency_get_stats(const hs_residency *r)
{
    hs_residency_stats s = {0};
#define X(name) s.name = atomic_load_explicit(&r->count.name, memory_order_relaxed);
    HS__COUNTERS(X)
#undef X
    return s;
}

static double told(const _Atomic uint64_t *at, double unit)
{
    return (double)atomic_load_explicit(at, memory_order_relaxed) * unit;
}

bool hs_residency_get_tier(const hs_residency *r, hs_residency_tier *ret)
{
    *ret = (hs_residency_tier){.gain = told(&r->told.gain_ppm, 1e-6),
                               .token_s = told(&r->told.token_ns, 1e-9),
                               .none_s = told(&r->told.none_ns, 1e-9),
                               .absent_s = told(&r->told.absent_ns, 1e-9),
                               .other_absent = told(&r->told.other_absent_ppm, 1e-6)};
    return ret->gain > 0;
}
