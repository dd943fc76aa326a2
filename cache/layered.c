/*
 * layered.c - each layer its share of the slots: a policy of its own for every layer, and whose turn it is to give.
 *
 * A victim is sought for the layer used last. That layer gives one itself if it holds its share (what is resident /
 * layers, of its class of sizes) or more; else the one of the class that holds most gives, and the newcomer is admitted
 * unasked. So layers that filled the empty cache first are cut back, and a cache whose size changes stays fair. Objects
 * are numbered anew for the inner policies, which know one layer each.
 */
#include "cache/heap.h"

typedef struct layered {
    const hs_policy *inner;
    uint32_t layer_objects, n_layers;
    uint32_t current; /* layer of the last use */
    hs__layer_classes classes;
    uint32_t n[HS_CLASSES_MAX], layers[HS_CLASSES_MAX]; /* of each class: resident, layers */
    size_t inner_bytes;                                 /* of one inner state */
    uint32_t *held;                                     /* [n_layers] resident */
    uint8_t *states;                                    /* [n_layers] inner states */
} layered;

typedef struct moved_keep {
    hs_policy_keep_fn keep;
    void *ctx;
    uint32_t first;
} moved_keep;

static uint32_t layers_of(const hs_policy_shape *s)
{
    return s->layer_objects ? (s->n_objects + s->layer_objects - 1) / s->layer_objects : 1;
}

static hs_policy_shape inner_shape(const hs_policy_shape *s)
{
    uint32_t n_layers = layers_of(s), share = (s->n_slots + n_layers - 1) / n_layers;
    return (hs_policy_shape){
        .n_objects = s->layer_objects ? s->layer_objects : s->n_objects, .n_slots = share ? share : 1, .seed = s->seed};
}

static size_t layered_bytes(const hs_policy_shape *s)
{
    hs_policy_shape one = inner_shape(s);
    return hs__pad(sizeof(layered)) + hs__pad(layers_of(s) * sizeof(uint32_t)) +
           layers_of(s) * hs__pad(s->inner->bytes(&one));
}

static void *state_of(const layered *p, uint32_t layer)
{
    return p->states + layer * p->inner_bytes;
}

static uint32_t class_of(const layered *p, uint32_t layer)
{
    return p->classes.of_layer ? p->classes.of_layer[layer] : 0;
}

static void layered_init(void *state, const hs_policy_shape *s)
{
    layered *p = state;
    hs_policy_shape one = inner_shape(s);
    *p = (layered){.inner = s->inner,
                   .layer_objects = one.n_objects,
                   .n_layers = layers_of(s),
                   .classes = hs__layer_classes_of(s),
                   .inner_bytes = hs__pad(s->inner->bytes(&one)),
                   .held = (uint32_t *)((uint8_t *)state + hs__pad(sizeof *p))};
    p->states = (uint8_t *)p->held + hs__pad(p->n_layers * sizeof *p->held);
    for (uint32_t l = 0; l < p->n_layers; l++) {
        p->held[l] = 0;
        p->layers[class_of(p, l)]++;
        p->inner->init(state_of(p, l), &one);
    }
}

static void layered_access(void *state, uint32_t object, uint32_t uses, uint32_t span, uint64_t now)
{
    layered *p = state;
    p->current = object / p->layer_objects;
    p->inner->access(state_of(p, p->current), object % p->layer_objects, uses, span, now);
}

static void layered_insert(void *state, uint32_t object, uint64_t now)
{
    layered *p = state;
    uint32_t layer = object / p->layer_objects;
    p->held[layer]++;
    p->n[class_of(p, layer)]++;
    p->inner->insert(state_of(p, layer), object % p->layer_objects, now);
}

static void layered_evict(void *state, uint32_t object)
{
    layered *p = state;
    uint32_t layer = object / p->layer_objects;
    p->held[layer]--;
    p->n[class_of(p, layer)]--;
    p->inner->evict(state_of(p, layer), object % p->layer_objects);
}

static bool keep_moved(void *ctx, uint32_t object)
{
    const moved_keep *m = ctx;
    return m->keep(m->ctx, m->first + object);
}

static uint32_t victim_of(layered *p, uint32_t layer, uint64_t now, hs_policy_keep_fn keep, void *ctx)
{
    moved_keep m = {keep, ctx, layer * p->layer_objects};
    uint32_t o = p->inner->victim(state_of(p, layer), 0, now, keep ? keep_moved : NULL, &m);
    return o == HS_POLICY_NONE ? o : m.first + o;
}

static bool has_its_share(const layered *p, uint32_t layer)
{
    uint32_t class = class_of(p, layer);
    return p->held[layer] && (uint64_t)p->held[layer] * p->layers[class] >= p->n[class];
}

/* The layer used last, or the one of the class that holds most. */
static uint32_t giver(const layered *p, uint32_t class)
{
    bool is_current = class_of(p, p->current) == class;
    uint32_t from = is_current ? p->current : p->n_layers;
    if (is_current && has_its_share(p, p->current))
        return from;
    for (uint32_t l = 0; l < p->n_layers; l++)
        if (class_of(p, l) == class && (from == p->n_layers || p->held[l] > p->held[from]))
            from = l;
    return from;
}

static uint32_t layered_victim(void *state, uint32_t class, uint64_t now, hs_policy_keep_fn keep, void *ctx)
{
    layered *p = state;
    uint32_t from = giver(p, class), found = HS_POLICY_NONE;
    for (uint32_t i = 0; found == HS_POLICY_NONE && i < p->n_layers; i++)
        if (class_of(p, (from + i) % p->n_layers) == class)
            found = victim_of(p, (from + i) % p->n_layers, now, keep, ctx);
    return found;
}

static bool layered_admit(void *state, uint32_t object, uint32_t victim, bool sweep, uint64_t now)
{
    layered *p = state;
    uint32_t layer = object / p->layer_objects;
    if (layer == victim / p->layer_objects)
        return p->inner->admit(state_of(p, layer), object % p->layer_objects, victim % p->layer_objects, sweep, now);
    return !sweep && !has_its_share(p, layer);
}

static double layered_score(const void *state, uint32_t object, uint64_t now)
{
    const layered *p = state;
    return p->inner->score(state_of(p, object / p->layer_objects), object % p->layer_objects, now);
}

static void layered_session(void *state, uint64_t now)
{
    layered *p = state;
    for (uint32_t l = 0; p->inner->session && l < p->n_layers; l++)
        p->inner->session(state_of(p, l), now);
}

const hs_policy hs_policy_layered = {
    .name = "layered",
    .bytes = layered_bytes,
    .init = layered_init,
    .access = layered_access,
    .insert = layered_insert,
    .evict = layered_evict,
    .victim = layered_victim,
    .admit = layered_admit,
    .score = layered_score,
    .session = layered_session,
};
