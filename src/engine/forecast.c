/*
 * forecast.c - tokens per second of a plan, from what was measured of the machine. Pure; any thread.
 *
 * Hit rate. REAL is the curve of recorded routes: DeepSeek-V2-Lite, 311 prompts, decode, the default policy, by share
 * of experts in memory. It is the least repetitive of the models for which such a table exists (Qwen3-30B at 5, 10 and
 * 20 %: 37, 56 and 79 % instead of 14, 24 and 40), so it rather promises too little. Models that use a bigger part of
 * their experts per token repeat less; from a quarter on (Mixtral) no locality is counted.
 *
 * Decode. A layer asks for all its misses at once; while they are read, its shared expert and its hits are computed,
 * and each miss is computed while the next ones are read. How many of a layer's experts are missing is taken for chance
 * (binomial). What guesses read during attention is not counted, so it rather promises too little.
 *
 * Prompt. Experts in memory and the others are two groups, each used evenly, of which the hit rate says how much. n
 * tokens in a row use as many experts as n ^ SPREAD that have nothing to do with each other (within a tenth for
 * DeepSeek-V2-Lite and Qwen3-30B, 8 to 64 tokens). While a layer's dense part is computed, the drive reads what the
 * window of a sweep holds; the rest is read while experts are computed. Of the time in which both might go on,
 * OVERLAP is saved: layers begin with a wait, and the I/O thread shares the processors.
 */
#include <math.h>

#include "base/mem.h"
#include "hotset/hotset.h"

#define USED_OF_CURVE (6.0 / 64) /* experts of a token, of all */
#define USED_FLAT     0.25
#define MEMORY_BOUND  0.6 /* of the memory's bandwidth */
#define SPREAD        0.85
#define WINDOW        0.125 /* of the slots: what a sweep may have read ahead */
#define OVERLAP       0.85
#define FIRST_S       2e-4 /* an NVMe drive, the I/O thread and the one that waits */

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

/* Seconds that a layer with n of its k experts missing takes longer than one without a miss. */
static double stall(const hs_drive *d, double own_s, double expert_s, uint32_t k, uint32_t n)
{
    double without = own_s + k * expert_s;
    double after_first = d->first_s + d->each_s + n * expert_s, after_last = d->first_s + n * d->each_s + expert_s;
    return fmax(fmax(after_first, after_last) - without, 0);
}

static void forecast_decode(const hs_plan *p, const hs_speed *s, const hs_drive *d, hs_forecast *f)
{
    uint32_t layers = p->moe_layers ? p->moe_layers : 1, k = p->token_cycle / layers;
    double own = s->decode_shared_s / layers, expert = k ? s->decode_experts_s / (layers * (double)k) : 0;
    double miss = 1 - f->hit_rate, chance = pow(f->hit_rate, k); /* of n misses in a layer */
    for (uint32_t n = 1; n <= k && miss > 0 && d->bytes_per_s > 0; n++) {
        chance = f->hit_rate > 0 ? chance * (k - n + 1) / n * miss / f->hit_rate : n == k;
        f->decode_io_s += layers * chance * (d->first_s + n * d->each_s);
        f->decode_stall_s += layers * chance * stall(d, own, expert, k, n);
    }
    double seconds = s->decode_s + f->decode_stall_s;
    f->decode_tokens_per_s = seconds > 0 ? 1 / seconds : 0;
    bool memory = s->memory_bytes_per_s > 0 && s->decode_s > 0 &&
                  (double)s->decode_bytes / s->decode_s > MEMORY_BOUND * s->memory_bytes_per_s;
    f->decode_limit = f->decode_stall_s > s->decode_s ? HS_LIMIT_DRIVE : memory ? HS_LIMIT_MEMORY : HS_LIMIT_COMPUTE;
}

/* Experts of a group that a prompt uses: n experts get `uses` of each token's. */
static double touched(double n, double uses, double tokens)
{
    return n > 0 ? n * (1 - pow(1 - fmin(uses / n, 1), tokens)) : 0;
}

/* Seconds of reading n experts, always as many at once as the drive takes. */
static double read_seconds(const hs_plan *p, const hs_drive *d, double n)
{
    return d->bytes_per_s > 0 ? n * (double)p->bytes_per_token_cold / p->token_cycle / d->bytes_per_s : 0;
}

/* Seconds for a chunk that uses n experts and reads n_read of them. */
static double prompt_seconds(const hs_plan *p, const hs_speed *s, const hs_drive *d, double tokens, double n,
                             double n_read)
{
    double dense = tokens * s->prompt_token_s, uses = tokens * p->token_cycle;
    double experts = n * s->prompt_expert_s + uses * s->prompt_use_s, io = read_seconds(p, d, n_read);
    double beside = fmin(fmin(dense, p->moe_layers * read_seconds(p, d, WINDOW * p->n_slots)) + experts, io);
    return dense + experts + io - OVERLAP * beside + s->prompt_end_s;
}

static void forecast_prompt(const hs_plan *p, const hs_speed *s, const hs_drive *d, const hs_use *use, hs_forecast *f)
{
    double all = (double)p->n_experts, k = p->token_cycle, n = f->prompt_tokens;
    double tokens = use->routing == HS_ROUTING_UNIFORM ? n : pow(n, SPREAD);
    double there = touched(p->n_slots, f->hit_rate * k, tokens);
    double others = touched(all - p->n_slots, (1 - f->hit_rate) * k, tokens);
    double part = there + others > 0 ? others / (there + others) : 0;
    f->prompt_experts = use->prompt_experts >= 0 ? use->prompt_experts : there + others;
    double reads = fmin(use->prompt_reads >= 0 ? use->prompt_reads : f->prompt_experts * part, f->prompt_experts);
    f->prompt_bytes = reads * (double)p->bytes_per_token_cold / k;
    f->prompt_io_s = read_seconds(p, d, reads);
    double first = prompt_seconds(p, s, d, n, f->prompt_experts, f->prompt_experts);
    double seconds = prompt_seconds(p, s, d, n, f->prompt_experts, reads);
    double computing = prompt_seconds(p, s, d, n, f->prompt_experts, 0);
    f->first_prompt_tokens_per_s = first > 0 ? n / first : 0;
    f->prompt_tokens_per_s = seconds > 0 ? n / seconds : 0;
    f->prompt_limit = f->prompt_io_s > computing ? HS_LIMIT_DRIVE : HS_LIMIT_COMPUTE;
}

hs_drive hs_drive_of_rate(const hs_plan *p, double bytes_per_s)
{
    hs_drive d = {.bytes_per_s = bytes_per_s, .first_s = FIRST_S};
    d.each_s = read_seconds(p, &d, 1);
    return d;
}

hs_forecast hs_forecast_make(const hs_plan *p, const hs_speed *s, const hs_drive *d, const hs_use *use)
{
    uint32_t n = use->prompt_tokens;
    hs_forecast f = {.hit_rate = use->hit_rate, .prompt_tokens = n && n < p->prefill_chunk ? n : p->prefill_chunk};
    f.miss_bytes = (1 - f.hit_rate) * (double)p->bytes_per_token_cold;
    forecast_decode(p, s, d, &f);
    forecast_prompt(p, s, d, use, &f);
    return f;
}
