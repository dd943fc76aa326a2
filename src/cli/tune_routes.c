/* tune_routes.c - the routes that generated tokens take, as a trace in memory. */
#include <string.h>

#include "base/mem.h"
#include "cli/tune.h"

#define MOST_BYTES  (16u << 20)
#define MOST_TOKENS 8192u
#define USE_BYTES   (2 * sizeof(uint32_t) + sizeof(uint16_t))

static uint32_t tokens_for(uint64_t cycle)
{
    uint64_t n = cycle ? MOST_BYTES / (cycle * USE_BYTES) : 0;
    return n < MOST_TOKENS ? (uint32_t)n : MOST_TOKENS;
}

uint64_t hs_routes_bytes(uint64_t cycle)
{
    return tokens_for(cycle) * cycle * USE_BYTES + HS_TRACE_MAX_LAYERS * sizeof(uint64_t);
}

int hs_routes_init(hs_routes *r, hs_engine *e, hs_err *err)
{
    *r = (hs_routes){.trace = {.n_experts = hs_engine_experts_per_layer(e), .top_k = hs_engine_experts_per_token(e)}};
    hs_trace *t = &r->trace;
    t->n_moe_layers = hs_engine_moe_layers(e, &r->layers);
    uint64_t cycle = (uint64_t)t->n_moe_layers * t->top_k;
    r->cap_tokens = tokens_for(cycle);
    size_t n = (size_t)(r->cap_tokens * cycle);
    t->expert_bytes = hs_calloc(t->n_moe_layers, sizeof *t->expert_bytes);
    t->object = hs_calloc(n, sizeof *t->object);
    t->token = hs_calloc(n, sizeof *t->token);
    t->turn = hs_calloc(n, sizeof *t->turn);
    if (t->expert_bytes && t->object && t->token && t->turn)
        return 0;
    hs_routes_deinit(r);
    return hs_err_set(err, -ENOMEM, "out of memory for the routes of %u tokens", r->cap_tokens);
}

void hs_routes_deinit(hs_routes *r)
{
    hs_trace_deinit(&r->trace);
}

void hs_routes_begin(hs_routes *r, bool new_turn)
{
    r->turn = (uint16_t)(r->turn + new_turn);
    r->n_now = 0;
    r->is_whole = true;
}

void hs_routes_on_route(void *routes, const hs_route_event *ev)
{
    hs_routes *r = routes;
    hs_trace *t = &r->trace;
    if (t->n_tokens == r->cap_tokens || !r->is_whole)
        return;
    uint32_t layer = r->n_now / t->top_k; /* they come in order */
    r->is_whole = ev->decode && ev->top_k == t->top_k && layer < t->n_moe_layers && r->layers[layer] == ev->layer;
    for (uint32_t k = 0; r->is_whole && k < t->top_k; k++) {
        size_t at = t->n + r->n_now++;
        t->object[at] = layer * t->n_experts + ev->experts[k];
        t->token[at] = t->n_tokens;
        t->turn[at] = r->turn;
    }
}

void hs_routes_keep(hs_routes *r)
{
    hs_trace *t = &r->trace;
    if (t->n_tokens == r->cap_tokens || !r->is_whole || r->n_now != t->n_moe_layers * t->top_k)
        return;
    t->n += r->n_now;
    t->n_tokens++;
}
