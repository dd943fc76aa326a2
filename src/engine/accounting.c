/*
 * accounting.c - who pays for what: counters of a forward pass, divided among the requests in its batch.
 *
 * Hits and misses are counted per token by the route observer; an expert that several tokens of a pass missed together
 * is the first one's miss and a hit of the others, so misses add up to the engine's. Bytes, guesses included, follow a
 * sequence's share of the misses; waiting is everybody's who was in the batch. Engine thread (or the session caller).
 */
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "engine/engine_int.h"
#include "engine/heat.h"

void hs__route_observer(void *ctx, const hs_route *route)
{
    hs_engine *e = ctx;
    hs__seq *seq = &e->seqs[e->batch_seq[route->seq]];
    if (route->layer != e->route_last_layer) {
        e->route_last_layer = route->layer;
        e->route_pass++;
    }
    for (uint32_t k = 0; k < route->top_k; k++) {
        uint32_t x = route->experts[k];
        if (route->resident && !route->resident[k] && e->route_seen[x] != e->route_pass) {
            e->route_seen[x] = e->route_pass;
            seq->step_misses++;
        } else {
            seq->step_hits++;
        }
    }
    if (e->heat)
        hs__heat_use(e->heat, seq->profile, route->layer, route->experts, route->top_k);
    if (!e->on_route)
        return;
    hs_route_event ev = {.decode = route->phase == HS_PHASE_DECODE,
                         .seq = route->seq,
                         .position = route->position,
                         .layer = route->layer,
                         .top_k = route->top_k,
                         .experts = route->experts,
                         .normalised = route->normalised,
                         .resident = route->resident,
                         .expert_bytes = hs_object_raw_bytes(e->opened.objects, 0)};
    e->on_route(e->on_route_ctx, &ev);
}

void hs__cost_begin(hs_engine *e, hs__cost *c)
{
    for (uint32_t i = 0; i < e->n_batch; i++)
        e->seqs[e->batch_seq[i]].step_hits = e->seqs[e->batch_seq[i]].step_misses = 0;
    e->route_last_layer = UINT32_MAX;
    c->before = hs_residency_get_stats(e->residency);
    c->t0 = hs_now_ns();
}

double hs__cost_end(hs_engine *e, const hs__cost *c, bool done, hs_receipt *const *receipts)
{
    double seconds = (double)(hs_now_ns() - c->t0) * 1e-9;
    hs_residency_stats now = hs_residency_get_stats(e->residency);
    uint64_t bytes = now.bytes_read - c->before.bytes_read, given = 0;
    uint64_t misses = 0;
    for (uint32_t i = 0; i < e->n_batch; i++)
        misses += e->seqs[e->batch_seq[i]].step_misses;
    for (uint32_t i = e->n_batch; i-- > 0;) {
        const hs__seq *s = &e->seqs[e->batch_seq[i]];
        hs_receipt *r = receipts[i];
        if (e->heat && done)
            hs__heat_count(e->heat, s->profile, s->step_hits, s->step_misses);
        if (!r)
            continue;
        uint64_t share = i == 0 ? bytes - given : misses ? bytes / misses * s->step_misses : bytes / e->n_batch;
        given += share;
        r->bytes_read += share;
        r->expert_hits += done ? s->step_hits : 0;
        r->expert_misses += done ? s->step_misses : 0;
        r->disk_wait_s += (double)(now.wait_ns - c->before.wait_ns) * 1e-9;
        r->expand_s += (double)(now.decode_ns - c->before.decode_ns) * 1e-9;
        r->prefetch_issued += now.prefetch_issued - c->before.prefetch_issued;
        r->prefetch_useful += now.prefetch_useful - c->before.prefetch_useful;
        r->unpacked += now.unpacked - c->before.unpacked;
    }
    return seconds;
}

void hs__engine_counters(const hs_engine *e, hs_engine_stats *s)
{
    hs_residency_stats r = hs_residency_get_stats(e->residency);
    hs_io_stats io = hs_io_get_stats(e->io);
    hs_model_times t = hs_model_get_times(e->model);
    hs_predict_stats p = hs_model_predict_stats(e->model);
    *s = e->counts;
    s->expert_hits = r.hits;
    s->expert_misses = r.misses;
    s->expert_evictions = r.evictions;
    s->bytes_read = r.bytes_read;
    s->demand_bytes = r.demand_bytes;
    s->speculative_bytes = r.speculative_bytes;
    s->io_busy_ns = io.busy_ns;
    s->io_reads = io.reads;
    s->io_errors = io.errors;
    s->mirror_reads = io.mirror_reads;
    s->damaged_reads = r.damaged;
    s->prefetch_issued = r.prefetch_issued;
    s->prefetch_useful = r.prefetch_useful;
    s->prefetch_late = r.prefetch_late;
    s->prefetch_wasted = r.prefetch_wasted;
    s->miss_predicted = r.miss_predicted;
    s->unpacked = r.unpacked;
    s->warm_hits = r.warm_hits;
    s->predict_guessed = p.guessed;
    s->predict_correct = p.correct;
    s->predict_actual = p.actual;
    s->disk_wait_ns = r.wait_ns;
    s->expand_ns = r.decode_ns;
    s->attention_ns = t.attention_ns;
    s->dense_ffn_ns = t.dense_ffn_ns;
    s->expert_ns = t.expert_ns;
    s->router_ns = t.router_ns;
    s->head_ns = t.head_ns;
    s->resident = hs_residency_resident(e->residency);
    s->slots = hs_residency_slots(e->residency);
    s->slots_planned = e->plan.n_slots;
    s->cache_bytes = hs_classes_bytes(&e->opened.classes, s->slots);
    if (e->opened.warm) {
        s->warm_bytes = s->cache_bytes;
        s->warm_ratio_ppm = s->cache_bytes * 1000000 / hs_classes_bytes(&e->opened.decoded, s->slots);
    }
    s->warm_gain_ppm = (uint64_t)(hs__found_gain(e) * 1e6);
    s->cache_shrinks = r.shrinks;
    s->cache_grows = r.grows;
    s->is_preloading = e->is_preloading;
    s->is_following = e->is_following;
    if (e->heat) {
        const uint32_t *objects, *uses;
        uint32_t tokens, n = hs__heat_order(e->heat, &objects, &uses, &tokens);
        s->preload_total = n < s->slots ? n : s->slots;
        s->preload_done = e->preload_at < s->preload_total ? e->preload_at : s->preload_total;
    }
    for (uint32_t i = 0; i < e->plan.parallel; i++)
        if (e->seqs[i].in_use)
            s->kv_bytes_used += e->seqs[i].kv.length * e->plan.kv_per_token;
}

void hs__engine_publish(hs_engine *e)
{
    hs_engine_stats s;
    hs__engine_counters(e, &s);
    hs_mutex_lock(&e->lock);
    s.queued = e->n_queued;
    s.active = e->n_active;
    e->stats = s;
    hs_mutex_unlock(&e->lock);
}

hs_engine_stats hs_engine_get_stats(const hs_engine *engine)
{
    hs_engine *e = (hs_engine *)(uintptr_t)engine; /* the lock is not part of the value */
    hs_engine_stats s;
    hs_mutex_lock(&e->lock);
    s = e->stats;
    s.queued = e->n_queued;
    s.active = e->n_active;
    s.requests_cancelled += e->n_dropped;
    s.memory_pressure_ppm = atomic_load_explicit(&e->pressure_ppm, memory_order_relaxed);
    hs_mutex_unlock(&e->lock);
    return s;
}

hs_engine_layer hs_engine_get_layer(const hs_engine *e, uint32_t moe_layer)
{
    hs_residency_layer l;
    hs_residency_get_layer(e->residency, moe_layer, &l);
    return (hs_engine_layer){l.resident, l.absent, l.issued, l.useful, l.late, l.wasted};
}

bool hs_engine_get_drive(const hs_engine *e, uint32_t i, hs_engine_drive *ret_drive)
{
    hs_io_drive_stats s[HS_IO_MAX_DRIVES];
    uint32_t n_fds;
    if (i >= hs_io_get_drive_stats(e->io, s))
        return false;
    const int *fds = hs_objects_fds(e->opened.objects, &n_fds);
    *ret_drive = (hs_engine_drive){.bytes = s[i].bytes, .busy_ns = s[i].busy_ns, .is_behind = s[i].is_behind};
    hs_file_name(fds[s[i].fd], ret_drive->folder, sizeof ret_drive->folder);
    char *slash = strrchr(ret_drive->folder, '/');
    if (slash)
        *slash = '\0';
    return true;
}

void hs_engine_on_route(hs_engine *e, void (*fn)(void *ctx, const hs_route_event *ev), void *ctx)
{
    e->on_route = fn;
    e->on_route_ctx = ctx;
}

void hs_engine_choose_routes(hs_engine *e,
                             void (*fn)(void *ctx, uint32_t seq, uint32_t moe_layer, uint32_t *ret_experts), void *ctx)
{
    hs_model_choose(e->model, fn, ctx);
}

void hs_engine_get_slot(const hs_engine *engine, uint32_t i, hs_slot *ret_slot)
{
    hs_engine *e = (hs_engine *)(uintptr_t)engine; /* the locks are not part of the value */
    hs_slot s = {0};
    hs_mutex_lock(&e->lock);
    hs_request *r = e->active[i]; /* the engine drops its reference after it has left active, under this lock */
    if (r) {
        hs_mutex_lock(&r->text_lock);
        uint32_t made = r->status.receipt.generated_tokens;
        s = (hs_slot){.is_busy = true,
                      .is_decoding = r->status.state == HS_REQUEST_DECODE,
                      .is_paused = r->text.len >= HS__TEXT_HIGH,
                      .client = r->client,
                      .prompt_tokens = r->n_tokens,
                      .generated_tokens = made,
                      .max_tokens = r->max_tokens};
        s.position = (uint32_t)(r->status.prefill_done / e->opened.spec->n_layers) + made - (made > 0);
        hs_mutex_unlock(&r->text_lock);
    }
    hs_mutex_unlock(&e->lock);
    *ret_slot = s;
}
