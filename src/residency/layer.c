/*
 * layer.c - hs_experts for the layer under way: begin announces, wait delivers, release unpins, end closes.
 *
 * begin starts all reads, then decodes what had been read ahead in full: that counts as in memory. A want goes PENDING
 * -> LOADING -> READY -> DELIVERED -> RELEASED, a hit enters at READY. What finds no slot stays PENDING until a release
 * frees one: a layer may ask for more experts than there are slots. While the engine thread waits it decodes: first
 * what is asked for, then guesses, and only then it sleeps. In a sweep what has been read is delivered before what is
 * in memory anyway: its slot lets the next read start, and the drive works while the rest is computed.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "residency/residency_int.h"

#define LOOK_NS 20000000ull /* how often a wait for the drive looks up */

static void put(hs__queue *q, uint32_t want)
{
    q->item[q->tail++] = want;
}

static bool is_left(const hs__queue *q)
{
    return q->head < q->tail;
}

void hs__want_ready(hs_residency *r, uint32_t want)
{
    r->wants[want].state = HS__WANT_READY;
    put(&r->ready, want);
}

void hs__want_failed(hs_residency *r, uint32_t want, int code, const hs_err *err)
{
    r->wants[want].state = HS__WANT_FAILED;
    r->wants[want].slot = HS__NONE;
    if (r->failed)
        return;
    r->failed = code;
    r->failure = *err;
}

/* Starts loads for pending wants, in order, as far as slots, loads and staging go. */
static void issue(hs_residency *r, bool force)
{
    while (r->pending.head < r->pending.tail) {
        uint32_t want = r->pending.item[r->pending.head];
        hs__want *w = &r->wants[want];
        hs__kind kind;
        if (!hs__load_possible(r, w->object, false))
            break;
        uint32_t slot = hs__slot_for_demand(r, w->object, force, &kind);
        if (slot == HS__NONE)
            break;
        r->pending.head++;
        w->slot = slot;
        w->state = HS__WANT_LOADING;
        hs__load_start(r, slot, w->object, kind, HS_IO_DEMAND);
        hs__slot_want(r, slot, want);
    }
    hs__load_submit(r);
}

static void step(void *self, hs_phase phase, uint32_t n_tokens)
{
    hs_residency *r = self;
    r->sweep = phase == HS_PHASE_PREFILL;
    r->span = n_tokens ? n_tokens : 1;
    r->tick += r->span;
    r->now = r->sweep ? r->tick - r->span + 1 : r->tick;
    hs__worth_step(r);
    hs__ways_step(r, hs_now_ns());
    if (r->sweep)
        hs__prefetch_drop_all(r);
}

static bool is_in_memory(const hs_residency *r, uint32_t slot)
{
    return slot != HS__NONE && (r->slots[slot].state == HS__READY || r->slots[slot].state == HS__DECODING);
}

/* An object that has a slot already: it is in memory, or a read of it is under way. True: it only has to be decoded. */
static bool meet(hs_residency *r, uint32_t want, uint32_t slot)
{
    hs__slot *s = &r->slots[slot];
    bool in_time = is_in_memory(r, slot), was_guess = s->kind == HS__GUESS;
    r->wants[want].slot = slot;
    hs__slot_want(r, slot, want);
    if (was_guess)
        hs__prefetch_used(r, slot, in_time);
    if (was_guess || s->kind == HS__LOOSE)
        hs__slot_judge(r, slot);
    hs__count(in_time ? &r->count.hits : &r->count.misses, 1);
    if (s->state == HS__READY) {
        r->wants[want].state = HS__WANT_READY;
        bool waits = hs__must_decode(r, slot) || (r->sweep && s->kind == HS__RESIDENT);
        put(waits ? &r->hits : &r->ready, want);
        return false;
    }
    r->wants[want].state = HS__WANT_LOADING;
    if (!in_time) {
        hs__count(&r->count.late, 1);
        hs__load_promote(r, &r->loads[s->load]);
    }
    return in_time;
}

static int check_wants(hs_residency *r, uint32_t layer, const hs_expert_want *wants, uint32_t n, hs_err *err)
{
    if (r->in_layer || layer >= r->cfg.n_layers || n > r->cfg.n_experts)
        return hs_err_set(err, -EINVAL, "experts of layer %u: %u asked for%s", layer, n,
                          r->in_layer ? " before the last layer ended" : "");
    uint32_t i = 0;
    for (; i < n && wants[i].expert < r->cfg.n_experts && r->want_of[wants[i].expert] == HS__NONE; i++)
        r->want_of[wants[i].expert] = i;
    if (i == n)
        return 0;
    for (uint32_t k = 0; k < i; k++)
        r->want_of[wants[k].expert] = HS__NONE;
    return hs_err_set(err, -EINVAL, "experts of layer %u: %u does not exist or is asked for twice", layer,
                      wants[i].expert);
}

static uint32_t bounded(uint32_t n, uint32_t least, uint32_t most)
{
    return n < least ? least : n > most ? most : n;
}

/* A chunk's last tokens are told apart from the others: what follows resembles them most. */
void hs__tell_policy(const hs_residency *r, void *state, uint32_t object, const hs_expert_want *w)
{
    uint32_t uses = bounded(w->n_tokens, 1, r->span), last = bounded(w->n_last, 0, uses), span = r->span;
    if (!r->sweep || span <= HS_LAST_TOKENS) {
        r->policy->access(state, object, uses, span, r->tick);
        return;
    }
    last = bounded(last, 0, HS_LAST_TOKENS);
    span -= HS_LAST_TOKENS;
    if (uses > last)
        r->policy->access(state, object, bounded(uses - last, 1, span), span, r->tick - HS_LAST_TOKENS);
    if (last)
        r->policy->access(state, object, last, HS_LAST_TOKENS, r->tick);
}

/* The first of hits can be delivered as it is. */
static bool is_hit_decoded(const hs_residency *r)
{
    return is_left(&r->hits) && !hs__must_decode(r, r->wants[r->hits.item[r->hits.head]].slot);
}

/* Warm tier: hits that are stored begin to be decoded, as far as buffers go; in a sweep, where reads that have ended go
 * first, one at a time. False: none did. */
static bool decode_hits(hs_residency *r)
{
    uint32_t n = 0;
    while (is_left(&r->hits) && !is_hit_decoded(r) && !(r->sweep && n)) {
        hs__want *w = &r->wants[r->hits.item[r->hits.head]];
        if (!hs__load_decode(r, w->slot))
            break;
        w->state = HS__WANT_LOADING;
        r->hits.head++;
        n++;
    }
    return n > 0;
}

static int begin(void *self, uint32_t layer, const hs_expert_want *wants, uint32_t n, uint8_t *ret_resident,
                 hs_err *err)
{
    hs_residency *r = self;
    hs__load_drain(r);
    int e = check_wants(r, layer, wants, n, err);
    if (e < 0)
        return e;
    r->in_layer = true;
    r->layer = layer;
    hs__worth_begin(r);
    r->n_wants = r->n_undelivered = n;
    r->ready.head = r->ready.tail = r->hits.head = r->hits.tail = r->pending.head = r->pending.tail = 0;
    r->failed = 0;
    bool arrived = false;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t object = layer * r->cfg.n_experts + wants[i].expert, slot = r->slot_of[object];
        r->wants[i] = (hs__want){.object = object, .slot = HS__NONE, .state = HS__WANT_PENDING};
        r->wants[i].is_hit = is_in_memory(r, slot);
        if (ret_resident)
            ret_resident[i] = r->wants[i].is_hit;
        hs__tell_policy(r, r->policy_state, object, &wants[i]);
        if (slot != HS__NONE) {
            arrived |= meet(r, i, slot);
            continue;
        }
        hs__count(&r->count.misses, 1);
        put(&r->pending, i);
    }
    hs__shadow_uses(r, wants, n);
    hs__prefetch_resolve(r, layer);
    hs__worth_asked(r, is_left(&r->pending));
    issue(r, false);
    if (!r->sweep)
        arrived |= decode_hits(r);
    while (arrived && hs__expand(r, HS__ARRIVED))
        ;
    return 0;
}

static uint32_t deliver(hs_residency *r, hs__queue *from, uint32_t max, uint32_t *ret_index, hs_expert *ret_experts)
{
    uint32_t n = 0;
    for (; n < max && is_left(from) && (from != &r->hits || is_hit_decoded(r)); n++) {
        uint32_t want = from->item[from->head++];
        hs__want *w = &r->wants[want];
        hs__slot *s = &r->slots[w->slot];
        const void *parts[HS_OBJECT_MAX_PARTS] = {0};
        uint32_t object = s->raw ? w->object | HS_OBJECT_RAW : w->object;
        const uint8_t *at = s->staging == HS__NONE ? hs__slot_memory(r, w->slot) : hs__staging_memory(r, s->staging);
        hs_object_parts(r->cfg.objects, object, at, parts);
        for (uint32_t p = 0; p < HS_EXPERT_PARTS; p++)
            ret_experts[n].part[p] = parts[p];
        ret_index[n] = want;
        w->state = HS__WANT_DELIVERED;
        s->pins = 1;
    }
    r->n_undelivered -= n;
    return n;
}

/* Sleeps until the I/O thread has something new since `seen`, or until it is time to look up. *ret_heard: when the
 * drive last delivered anything. False: nothing is new. */
static bool sleep_until_event(hs_residency *r, uint32_t seen, uint64_t *ret_heard)
{
    uint64_t t0 = hs_now_ns();
    struct timespec until = hs_timespec(t0 + LOOK_NS);
    hs_mutex_lock(&r->lock);
    r->sleeping = true;
    for (int e = 0; e == 0 && atomic_load_explicit(&r->n_event, memory_order_relaxed) == seen;)
        e = hs_cond_timedwait(&r->wake, &r->lock, &until);
    r->sleeping = false;
    *ret_heard = r->heard_ns;
    hs_mutex_unlock(&r->lock);
    hs__count(&r->count.wait_ns, hs_now_ns() - t0);
    return atomic_load_explicit(&r->n_event, memory_order_relaxed) != seen;
}

/* A read that the layer needs and that a wait has given up before: there is no use in waiting as long again. */
static const hs__load *stalled_want(const hs_residency *r)
{
    for (const hs__load *l = r->active_first; l; l = l->next)
        if (l->stalled && !l->over && r->slots[l->slot].want != HS__NONE)
            return l;
    return NULL;
}

/* A range of which something has not arrived, after hs__load_look. */
static uint32_t first_missing(const hs__load *l)
{
    uint32_t k = 0;
    while (k + 1 < l->req.n_ranges && l->req.ranges[k].dst_offset + l->req.ranges[k].len <= l->usable)
        k++;
    return k;
}

/* The drive has been silent for too long: what the layer waits for is given up, the reads stay where they are. */
static int stall(hs_residency *r, hs_err *err)
{
    for (hs__load *l = r->active_first; l; l = l->next)
        l->stalled |= !l->over;
    hs__load_look(r);
    const hs__load *l = stalled_want(r);
    char what[300];
    if (l)
        hs_object_describe(r->cfg.objects, l->from, first_missing(l), what, sizeof what);
    return hs_err_set(err, -ETIMEDOUT, "%s: the drive does not answer",
                      l ? what : "every slot waits for a read that does not end");
}

static bool reads_under_way(const hs_residency *r)
{
    for (const hs__load *l = r->active_first; l; l = l->next)
        if (!l->over)
            return true;
    return false;
}

#define TOUCH_BYTES (2u << 20)  /* of a thread at a time: some milliseconds at worst */
#define TOUCH_AHEAD (64u << 20) /* of what slots in use take */

typedef struct touch {
    uint8_t *at;
    uint64_t bytes;
} touch;

static void touch_task(void *ctx, uint32_t index, uint32_t thread)
{
    const touch *t = ctx;
    uint64_t at = (uint64_t)index * TOUCH_BYTES;
    (void)thread;
    if (at < t->bytes)
        hs_map_touch(t->at + at, t->bytes - at < TOUCH_BYTES ? t->bytes - at : TOUCH_BYTES);
}

/* While the drive works: memory for the slots that are filled for the first time next. Else the I/O thread would clear
 * each page when it submits the read, alone, with the drive idle. */
static bool touch_ahead(hs_residency *r)
{
    for (uint32_t k = 0; k < r->classes.n; k++) {
        hs__slab *b = &r->slabs[k];
        uint64_t end = b->n_slots * b->slot_bytes;
        if (b->touched >= end || b->touched >= b->n_held * b->slot_bytes + TOUCH_AHEAD)
            continue;
        uint32_t n = hs_pool_threads(r->cfg.pool);
        touch t = {.at = r->arena + b->begin + b->touched, .bytes = end - b->touched};
        hs_pool_run(r->cfg.pool, n, touch_task, &t);
        b->touched += (uint64_t)n * TOUCH_BYTES;
        return true;
    }
    return false;
}

/* Nothing to hand out and nothing to decode: waits for the drive. *began: 0 the first time. 0: look again. */
static int stand(hs_residency *r, uint32_t seen, uint64_t *began, hs_err *err)
{
    if (!reads_under_way(r)) {
        issue(r, true);
        if (!reads_under_way(r))
            return hs_err_set(err, -EDEADLK,
                              "experts of layer %u: all %u slots, or %u buffers, are held by what was delivered before",
                              r->layer, r->slabs[r->slab_of[r->layer]].n_slots, r->n_staging);
    }
    if (stalled_want(r))
        return stall(r, err);
    if (touch_ahead(r) || hs__check_known(r))
        return 0;
    uint64_t since;
    *began = *began ? *began : hs_now_ns();
    if (sleep_until_event(r, seen, &since))
        return 0;
    if (r->cfg.unwanted && r->cfg.unwanted(r->cfg.unwanted_ctx))
        return hs_err_set(err, -ECANCELED, "cancelled");
    since = since > *began ? since : *began;
    return hs_now_ns() - since > hs_io_patience_ns(r->cfg.io) ? stall(r, err) : 0;
}

static int wait_some(void *self, uint32_t max, uint32_t *ret_index, hs_expert *ret_experts, uint32_t *ret_n,
                     hs_err *err)
{
    hs_residency *r = self;
    if (!max || !r->n_undelivered)
        return hs_err_set(err, -EINVAL, "experts of layer %u: nothing is left to wait for", r->layer);
    uint64_t began = 0;
    for (;;) {
        uint32_t seen = atomic_load_explicit(&r->n_event, memory_order_acquire);
        hs__load_drain(r);
        hs__resize(r);
        if (r->failed) {
            if (err)
                *err = r->failure;
            return r->failed;
        }
        issue(r, false);
        hs__prefetch_pump(r);
        if (is_left(&r->ready))
            break;
        if (hs__expand(r, HS__WANTED) || (!is_left(&r->hits) && hs__expand(r, HS__GUESSES)))
            continue;
        if (is_hit_decoded(r))
            break;
        if (decode_hits(r))
            continue;
        int code = stand(r, seen, &began, err);
        if (code < 0)
            return code;
    }
    *ret_n = deliver(r, is_left(&r->ready) ? &r->ready : &r->hits, max, ret_index, ret_experts);
    return 0;
}

static void unpin(hs_residency *r, uint32_t slot)
{
    hs__slot *s = &r->slots[slot];
    s->pins = 0;
    if (s->staging != HS__NONE)
        hs__staging_give(r, s->staging);
    s->staging = HS__NONE;
}

/* Nobody of the layer asks for it any more. In the order of the wants, hits first, unless slots are short: what is
 * given up next does not depend on which read ended first. */
static void let_go(hs_residency *r, hs__want *w)
{
    if (w->slot == HS__NONE)
        return;
    unpin(r, w->slot);
    hs__slot_unwant(r, w->slot);
    if (w->state == HS__WANT_LOADING)
        hs__load_abandon(r, &r->loads[r->slots[w->slot].load]);
    w->slot = HS__NONE;
}

static void release(void *self, uint32_t index)
{
    hs_residency *r = self;
    hs__want *w = &r->wants[index];
    if (w->state != HS__WANT_DELIVERED)
        return;
    w->state = HS__WANT_RELEASED;
    unpin(r, w->slot);
    if (!r->sweep && !is_left(&r->pending))
        return;
    let_go(r, w); /* in a sweep for the next layer's guesses, too */
    hs__load_drain(r);
    issue(r, false);
}

static void end(void *self)
{
    hs_residency *r = self;
    if (r->in_layer)
        hs__worth_end(r);
    r->pending.head = r->pending.tail;
    for (int hit = 1; hit >= 0; hit--)
        for (uint32_t i = 0; i < r->n_wants; i++)
            if (r->wants[i].is_hit == hit)
                let_go(r, &r->wants[i]);
    for (uint32_t i = 0; i < r->n_wants; i++)
        r->want_of[r->wants[i].object % r->cfg.n_experts] = HS__NONE;
    r->n_wants = r->n_undelivered = 0;
    r->in_layer = false;
    hs__load_drain(r);
    hs__prefetch_pump(r);
}

static void session(void *self)
{
    hs_residency *r = self;
    if (r->policy->session)
        r->policy->session(r->policy_state, r->tick);
    hs__shadow_session(r);
}

const hs_experts_ops hs__experts_ops = {
    .step = step,
    .begin = begin,
    .wait = wait_some,
    .release = release,
    .end = end,
    .hint = hs__hint,
    .session = session,
    .asks = hs__asks,
};
