/*
 * forecast.c - tokens per second of a plan, from what was measured of the machine. Pure; any thread.
 *
 * Hit rate. REAL is the curve of recorded routes: DeepSeek-V2-Lite, 311 prompts, decode, the default policy, by share
 * of experts in memory. It is the least repetitive of the models for which such a table exists (Qwen3-30B at 5, 10 and
 * 20 %: 37, 56 and 79 % instead of 14, 24 and 40), so it rather promises too little. Models that use a bigger part of
 * their experts per token repeat less; from a quarter on (Mixtral) no locality is counted.
 *
 * Time. A layer's misses are read while its hits are computed, and nowhere else: what guesses read during attention is
 * not counted, so it rather promises too little. A prompt reads ahead with certainty, so the longer of the two counts.
 */
#include <math.h>

#include "base/mem.h"
#include "hotset/hotset.h"

#define USED_OF_CURVE (6.0 / 64) /* experts of a token, of all */
#define USED_FLAT     0.25
#define MEMORY_BOUND  0.6 /* of the memory's bandwidth */

static const struct {
    double share, hits;
} curve[] = {{0, 0},        {0.05, 0.143}, {0.08, 0.204}, {0.10, 0.240}, {0.20, 0.398}, {0.30, 0.528},
             {0.40, 0.636}, {0.50, 0.728}, {0.60, 0.807}, {0.75, 0.903}, {1, 1}};

double hs_forecast_hit_rate(double share, double used, hs_routing routing)
{
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    if (routing == HS_ROUTING_UNIFORM || used >= USED_FLAT)
        return share;
    size_t i = 1;
    while (i + 1 < sizeof curve / sizeof *curve && share > curve[i].share)
        i++;
    double part = (share - curve[i - 1].share) / (curve[i].share - curve[i - 1].share);
    double real = curve[i - 1].hits + part * (curve[i].hits - curve[i - 1].hits);
    double flat = used <= USED_OF_CURVE ? 0 : (used - USED_OF_CURVE) / (USED_FLAT - USED_OF_CURVE);
    return real + flat * (share - real);
}

static void forecast_decode(const hs_plan *p, const hs_speed *s, double disk, hs_forecast *f)
{
    double top_k = p->moe_layers ? (double)p->token_cycle / p->moe_layers : 1;
    double missing = 1 - pow(f->hit_rate, top_k); /* share of layers that lack an expert */
    f->decode_io_s = disk > 0 ? f->miss_bytes / disk : 0;
    double hidden = missing * f->hit_rate * s->decode_experts_s; /* time in which reads cost nothing */
    double seconds = s->decode_s + (f->decode_io_s > hidden ? f->decode_io_s - hidden : 0);
    f->decode_tokens_per_s = seconds > 0 ? 1 / seconds : 0;
    bool memory = s->memory_bytes_per_s > 0 && s->decode_s > 0 &&
                  (double)s->decode_bytes / s->decode_s > MEMORY_BOUND * s->memory_bytes_per_s;
    f->decode_limit = f->decode_io_s > s->decode_s ? HS_LIMIT_DRIVE : memory ? HS_LIMIT_MEMORY : HS_LIMIT_COMPUTE;
}

static void forecast_prompt(const hs_plan *p, const hs_speed *s, double disk, hs_forecast *f)
{
    double all = (double)p->n_experts, used = (double)p->token_cycle / all, share = (double)p->n_slots / all;
    double touched = all * (1 - pow(1 - used, f->prompt_tokens));
    f->prompt_bytes = touched * (1 - share) * (double)p->bytes_per_token_cold / (double)p->token_cycle;
    f->prompt_io_s = disk > 0 ? f->prompt_bytes / disk : 0;
    double compute = f->prompt_tokens * s->prompt_token_s + touched * s->prompt_expert_s + s->prompt_end_s;
    double seconds = compute > f->prompt_io_s ? compute : f->prompt_io_s;
    f->prompt_tokens_per_s = seconds > 0 ? f->prompt_tokens / seconds : 0;
    f->prompt_limit = f->prompt_io_s > compute ? HS_LIMIT_DRIVE : HS_LIMIT_COMPUTE;
}

hs_forecast hs_forecast_make(const hs_plan *p, const hs_speed *s, double disk, double hit_rate, uint32_t n_prompt)
{
    hs_forecast f = {.hit_rate = hit_rate,
                     .prompt_tokens = n_prompt && n_prompt < p->prefill_chunk ? n_prompt : p->prefill_chunk};
    f.miss_bytes = (1 - f.hit_rate) * (double)p->bytes_per_token_cold;
    forecast_decode(p, s, disk, &f);
    forecast_prompt(p, s, disk, &f);
    return f;
}
