/*
 * engine.c - bringing a model up and taking it down: open, plan, load, arena, io, model; in reverse on the way out.
 * The order matters: the residency's memory must exist before the I/O registers it, and the I/O before the model may
 * ask for experts.
 */
#include <string.h>

#include "base/mem.h"
#include "base/option.h"
#include "engine/engine_int.h"
#include "engine/heat.h"
#include "math/mat.h"

static int load_text(hs_engine *e, const hs_engine_options *opt, hs_err *err)
{
    if (opt->without_text)
        return 0;
    const hs_vocab_data *vocab = hs_source_checkpoint(e->opened.source)->vocab;
    int r = vocab ? hs_tokenizer_create_gguf(vocab, opt->path, &e->tokenizer, err)
                  : hs_tokenizer_load(opt->path, &e->tokenizer, err);
    if (r < 0)
        return r;
    hs_err ignored = {0};
    r = vocab ? hs_template_create_gguf(vocab, opt->path, NULL, &e->template, &ignored)
              : hs_template_load(opt->path, &e->template, &ignored);
    if (r == -ENOENT)
        return 0; /* a base model: completions work, chat is refused by name */
    if (r < 0 && err)
        *err = ignored;
    return r;
}

static int on_load(void *ctx, uint64_t done, uint64_t total)
{
    const hs_engine_options *opt = ctx;
    return opt->progress ? opt->progress(opt->progress_ctx, "loading", done, total) : 0;
}

/* Brings the dense tensors into memory; *ret_dense[i] = place of tensor dense_tensors[i]. */
static int load_dense(hs_engine *e, const hs_engine_options *opt, const void ***ret_dense, hs_err *err)
{
    const hs_model_spec *spec = e->opened.spec;
    const hs_checkpoint *c = hs_source_checkpoint(e->opened.source);
    e->dense = hs_map_alloc(e->plan.dense);
    const void **dense = hs_calloc(spec->n_dense_tensors, sizeof *dense);
    hs_load *loads = hs_calloc(spec->n_dense_tensors, sizeof *loads);
    int r = e->dense && dense && loads ? 0 : hs_err_set(err, -ENOMEM, "out of memory for the dense weights");
    uint64_t at = 0;
    for (uint32_t i = 0; r == 0 && i < spec->n_dense_tensors; i++) {
        uint32_t t = spec->dense_tensors[i];
        dense[i] = e->dense + at;
        loads[i] = (hs_load){t, e->dense + at};
        at += hs_align_up(c->tensors[t].nbytes, 64);
    }
    if (r == 0)
        r = hs_source_load(e->opened.source, loads, spec->n_dense_tensors, e->pool, &e->how, on_load,
                           (void *)(uintptr_t)opt, err);
    hs_free(loads);
    if (r < 0)
        hs_free(dense);
    else
        *ret_dense = dense;
    return r;
}

#define MAX_BUFFERS 16

static int start_streaming(hs_engine *e, const hs_engine_options *opt, hs_err *err)
{
    const hs__opened *o = &e->opened;
    hs_residency_config rc = {.objects = o->objects,
                              .pool = e->pool,
                              .n_layers = o->spec->n_moe_layers,
                              .n_experts = o->spec->n_experts,
                              .top_k = o->spec->top_k,
                              .n_slots = e->plan.n_slots,
                              .max_slots = opt->governed ? e->plan.max_slots : 0,
                              .policy = opt->policy ? opt->policy : "ewma",
                              .by_layer = opt->cache_by_layer,
                              .n_staging = e->plan.n_staging,
                              .warm_tier = o->warm,
                              .other_slots = o->warm ? e->cold_slots : e->warm_slots,
                              .prefetch = opt->prefetch,
                              .prefetch_budget = opt->prefetch_budget ? opt->prefetch_budget : 256u << 20,
                              .verify_always = opt->io_verify_always,
                              .unwanted = hs__is_pass_unwanted,
                              .unwanted_ctx = e,
                              .seed = 1};
    int r = hs_residency_create(&rc, &e->residency, err);
    if (r < 0)
        return r;
    struct iovec iov[MAX_BUFFERS];
    hs_io_config ic = e->how;
    ic.buffers = iov;
    ic.n_buffers = hs_residency_buffers(e->residency, iov, MAX_BUFFERS);
    ic.fds = hs_objects_fds(o->objects, &ic.n_fds);
    ic.n_copies = hs_objects_copies(o->objects);
    r = hs_io_create(&ic, &e->io, err);
    if (r == 0)
        hs_residency_attach_io(e->residency, e->io);
    return r;
}

bool hs__warm_policy(hs_engine *e)
{
    const uint32_t *objects, *uses;
    uint32_t tokens, n = hs__heat_order(e->heat, &objects, &uses, &tokens);
    if (n)
        hs_residency_warm(e->residency, objects, uses, n, tokens);
    return n;
}

static int start_heat(hs_engine *e, const hs_engine_options *opt, hs_err *err)
{
    int r = hs__heat_create(opt, &e->opened, &e->heat, err);
    if (r < 0 || !e->heat)
        return r;
    e->preload_s = opt->preload_s;
    e->is_preloading = hs__warm_policy(e) && e->preload_s;
    return 0;
}

static int create_sequences(hs_engine *e, const hs_engine_options *opt, hs_err *err)
{
    const hs_plan *p = &e->plan;
    hs_kv_type type = hs__kv_type(opt);
    uint64_t each = hs_align_up(hs_model_kv_bytes(e->opened.spec, type, p->context), 4096);
    e->kv_bytes = each * p->parallel;
    e->kv = hs_map_alloc(e->kv_bytes);
    e->seqs = hs_calloc(p->parallel, sizeof *e->seqs);
    e->batch_seq = hs_calloc(p->parallel, sizeof *e->batch_seq);
    e->batch_kv = hs_calloc(p->parallel, sizeof *e->batch_kv);
    e->step_slots = hs_calloc(p->parallel, sizeof *e->step_slots);
    e->step_tokens = hs_calloc(p->parallel, sizeof *e->step_tokens);
    e->step_receipts = hs_calloc(p->parallel, sizeof *e->step_receipts);
    e->active = hs_calloc(p->parallel, sizeof *e->active);
    e->route_seen = hs_calloc(e->opened.spec->n_experts ? e->opened.spec->n_experts : 1, sizeof *e->route_seen);
    e->logits = hs_calloc((size_t)p->parallel * e->opened.spec->vocab, sizeof *e->logits);
    e->sampling = hs_calloc(e->opened.spec->vocab, sizeof *e->sampling);
    if (!e->kv || !e->seqs || !e->batch_seq || !e->batch_kv || !e->step_slots || !e->step_tokens || !e->step_receipts ||
        !e->active || !e->route_seen || !e->logits || !e->sampling)
        return hs_err_set(err, -ENOMEM, "out of memory for %u sequences of %u tokens", p->parallel, p->context);
    for (uint32_t i = 0; i < p->parallel; i++)
        e->seqs[i].kv = (hs_kv){.data = e->kv + i * each, .type = type, .capacity = p->context};
    return 0;
}

static int bring_up(hs_engine *e, const hs_engine_options *opt, hs_err *err)
{
    if (opt->shape)
        return hs_err_set(err, -EINVAL, "%s: there is only a configuration, no weights", opt->shape->name);
    int r = hs__open(opt, &e->opened, err);
    if (r == 0)
        r = hs__plan(opt, &e->opened, &e->plan, err);
    if (r == 0)
        r = hs__choose_io(e, opt, err);
    if (r == 0)
        r = hs_pool_create(e->plan.threads, &e->pool, err);
    if (r == 0)
        r = hs__choose_warm_tier(e, opt, err);
    if (r == 0)
        r = load_text(e, opt, err);
    const void **dense = NULL;
    if (r == 0)
        r = load_dense(e, opt, &dense, err);
    if (r == 0)
        r = start_streaming(e, opt, err);
    if (r == 0)
        r = start_heat(e, opt, err);
    if (r == 0)
        r = create_sequences(e, opt, err);
    if (r == 0) {
        hs_model_config mc;
        hs__model_config(&e->plan, &e->opened, opt->prefetch, &mc);
        mc.pool = e->pool;
        r = hs_model_create(e->opened.spec, &mc, dense, hs_residency_experts(e->residency), &e->model, err);
    }
    hs_free(dense);
    if (r == 0)
        hs_model_on_route(e->model, hs__route_observer, e);
    return r;
}

int hs_engine_create(const hs_engine_options *opt, hs_engine **ret_engine, hs_err *err)
{
    return hs__engine_create(opt, NULL, ret_engine, err);
}

int hs__engine_create(const hs_engine_options *opt, const hs_io_config *how, hs_engine **ret_engine, hs_err *err)
{
    hs_engine *e = hs_calloc(1, sizeof *e);
    if (!e)
        return hs_err_set(err, -ENOMEM, "engine: out of memory");
    e->max_queue = opt->max_queue;
    e->how = how ? *how : (hs_io_config){0};
    hs_mutex_init(&e->lock, HS_RANK_ENGINE);
    hs_cond_init(&e->wake);
    int r = bring_up(e, opt, err);
    if (r < 0) {
        hs_engine_destroy(&e);
        return r;
    }
    hs__engine_publish(e);
    *ret_engine = e;
    return 0;
}

void hs_engine_destroy(hs_engine **engine)
{
    hs_engine *e = *engine;
    if (!e)
        return;
    *engine = NULL;
    if (e->started) {
        hs_mutex_lock(&e->lock);
        e->stop = true;
        pthread_cond_broadcast(&e->wake);
        hs_mutex_unlock(&e->lock);
        pthread_join(e->thread, NULL);
    }
    hs_model_destroy(&e->model);
    /* Reads that a dead drive holds on to may still write into slots and call back: those rooms stay. */
    bool stays = e->io && hs_io_stop(e->io) < 0;
    if (stays) {
        hs_io_abandon(e->io);
    } else {
        hs_residency_destroy(&e->residency);
        hs_io_destroy(&e->io);
    }
    hs__heat_destroy(&e->heat);
    hs_free(e->pace_place.dir);
    hs_free(e->seqs);
    hs_free(e->batch_seq);
    hs_free(e->batch_kv);
    hs_free(e->step_slots);
    hs_free(e->step_tokens);
    hs_free(e->step_receipts);
    hs_free(e->active);
    hs_free(e->route_seen);
    hs_free(e->logits);
    hs_free(e->sampling);
    hs_map_free(e->kv, e->kv_bytes);
    hs_map_free(e->dense, e->plan.dense);
    hs_template_destroy(&e->template);
    hs_tokenizer_destroy(&e->tokenizer);
    hs_pool_destroy(&e->pool);
    hs_model_spec_destroy(&e->opened.spec); /* the index and the files stay with the reads */
    if (!stays)
        hs__close(&e->opened);
    pthread_cond_destroy(&e->wake);
    hs_mutex_destroy(&e->lock);
    hs_free(e);
}

int hs_engine_save_learnt(hs_engine *e, hs_err *err)
{
    hs_err of_heat = {0};
    int heat = e->heat ? hs__heat_save(e->heat, &of_heat) : 0, found = hs__keep_found(e, err);
    if (heat < 0 && err)
        *err = of_heat;
    return heat < 0 ? heat : found;
}

const hs_plan *hs_engine_plan(const hs_engine *e)
{
    return &e->plan;
}

const char *hs_engine_io_name(const hs_engine *e)
{
    return hs_io_engine_name(e->io);
}

const char *hs_engine_io_note(const hs_engine *e)
{
    return e->io_note;
}

const char *hs_engine_kernels_name(const hs_engine *e)
{
    return e->opened.kernels->name;
}

uint32_t hs_engine_vocab(const hs_engine *e)
{
    return e->opened.spec->vocab;
}

uint32_t hs_engine_max_context(const hs_engine *e)
{
    return e->plan.context;
}

const hs_tokenizer *hs_engine_tokenizer(const hs_engine *e)
{
    return e->tokenizer;
}

const hs_template *hs_engine_template(const hs_engine *e)
{
    return e->template;
}

const struct json_t *hs_engine_generation_config(const hs_engine *e)
{
    return hs_source_checkpoint(e->opened.source)->generation_config;
}

uint32_t hs_engine_experts_per_token(const hs_engine *e)
{
    return e->opened.spec->top_k;
}

uint32_t hs_engine_experts_per_layer(const hs_engine *e)
{
    return e->opened.spec->n_experts;
}

uint32_t hs_engine_moe_layers(const hs_engine *e, const uint32_t **ret_numbers)
{
    *ret_numbers = e->opened.spec->moe_layer_number;
    return e->opened.spec->n_moe_layers;
}

int hs__seq_take(hs_engine *e, uint32_t *ret_index)
{
    for (uint32_t i = 0; i < e->plan.parallel; i++) {
        if (!e->seqs[i].in_use) {
            e->seqs[i].in_use = true;
            e->seqs[i].kv.length = 0;
            *ret_index = i;
            return 0;
        }
    }
    return -EBUSY;
}

void hs__seq_give(hs_engine *e, uint32_t index)
{
    e->seqs[index].in_use = false;
}
