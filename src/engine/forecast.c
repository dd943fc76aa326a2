/*
 * forecast.c - tokens per second of a plan, from what was measured of the machine. Pure; any thread.
 *
 * Hit rate. REAL is the curve of recorded routes: DeepSeek-V2-Lite, 311 prompts, decode, the default policy, by share
 * of experts in memory. It is the least repetitive of the models for which such a table exists (Qwen3-30B at 5, 10 and
 * 20 %: 37, 56 and 79 % instead of 14, 24 and 40), so it rather promises too little. Models that use a bigger part of
 * their experts per token repeat less; from a quarter on (Mixtral) no locality is counted.
 *
 * Decode. A layer's time is that of cache/layer_time.h, as in replays. How many of its experts are missing is taken for
 * chance (binomial). What guesses bring is told apart, for it needs routes that can be foretold: from its last read to
 * the next layer's first the drive reads what is likely, of which COMES_TRUE does (demo model, prefetch bench at 1 and
 * 3 GB/s, caches of 10 to 90 %: the gain in tokens/s is met within 4 %).
 *
 * Prompt. Experts in memory and the others are two groups, each used evenly, of which the hit rate says how much. n
 * tokens in a row use as many experts as n ^ SPREAD that have nothing to do with each other (within a tenth for
 * DeepSeek-V2-Lite and Qwen3-30B, 8 to 64 tokens). How many of them use an expert is taken for geometrically
 * distributed (three models with random weights, 4 to 20 tokens an expert: within 6 % of their own distribution): few
 * experts have many tokens, and what an expert costs rises in steps, where kernels take more tokens at once. While a
 * layer's dense part is computed, the drive reads what the window of a sweep holds; the rest is read while experts are
 * computed. Of the time in which both might go on, OVERLAP is saved: layers begin with a wait, and the I/O thread
 * shares the processors (three models of 2.7 to 23 MB an expert, a tenth and a quarter in memory: 0.81 to 1.04, mean
 * 0.94).
 */
#include <math.h>

#include "cache/layer_time.h"
#include "hotset/hotset.h"

#define USED_OF_CURVE (6.0 / 64) /* experts of a token, of all */
#define USED_FLAT     0.25
#define MEMORY_BOUND  0.6 /* of the memory's bandwidth */
#define SPREAD        0.85
#define WINDOW        0.125 /* of the slots: what a sweep may have read ahead */
#define OVERLAP       0.95
#define COMES_TRUE    0.6
#define MOST_K        64u  /* experts that a layer uses per token: no model is read that uses more */
#define FIRST_S       2e-4 /* an NVMe drive, the I/O thread and the one that waits */

const uint32_t hs_speed_tokens[HS_SPEED_POINTS] = {1, 4, 8, 12, 16, 32, 64};

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

/* What a layer with n of its k experts missing takes, without what comes before they are known; *ret_idle: of it, how
 * long the drive stands behind its last read. */
static double layer_seconds(const hs_layer_costs *c, uint32_t k, uint32_t n, double *ret_idle)
{
    hs_layer_clock clock = {0};
    hs_layer_pass(&clock, c, k - n, n, false);
    *ret_idle = clock.now_s - clock.read_s;
    return clock.now_s;
}

/* The same for a number of misses that is not whole, without `all`, what it takes if none is missing. */
static double stall(const hs_layer_costs *c, uint32_t k, double n, double all)
{
    double idle, part = n - floor(n), least = layer_seconds(c, k, (uint32_t)n, &idle) - all;
    return fmax(part > 0 ? least + part * (layer_seconds(c, k, (uint32_t)n + 1, &idle) - all - least) : least, 0);
}

/* of[n]: how likely it is that n of a layer's k experts are missing. */
static void chances(double hit_rate, uint32_t k, double *of)
{
    double miss = 1 - hit_rate, chance = pow(hit_rate, k);
    for (uint32_t n = 0; n <= k; n++) {
        of[n] = hit_rate > 0 ? chance : n == k;
        chance = hit_rate > 0 ? chance * (k - n) / (n + 1) * miss / hit_rate : 0;
    }
}

static void forecast_decode(const hs_plan *p, const hs_speed *s, const hs_drive *d, hs_forecast *f)
{
    uint32_t layers = p->moe_layers ? p->moe_layers : 1, k = p->token_cycle / layers;
    k = k < MOST_K ? k : MOST_K;
    double of[MOST_K + 1], gap = 0, ahead_s = 0, idle;
    hs_layer_costs c = {.beside_s = s->decode_shared_s / layers,
                        .expert_s = k ? s->decode_experts_s / (layers * (double)k) : 0,
                        .expand_s = s->expand_s,
                        .first_s = d->first_s,
                        .each_s = d->each_s};
    double all = layer_seconds(&c, k, 0, &idle);
    double before = fmax(s->decode_s - s->decode_shared_s - s->decode_experts_s, 0) / layers;
    chances(f->hit_rate, k, of);
    for (uint32_t n = 0; n <= k; n++) {
        (void)layer_seconds(&c, k, n, &idle);
        gap += of[n] * (before + idle);
    }
    for (uint32_t n = 1; n <= k && d->bytes_per_s > 0; n++) {
        double guessed = d->each_s > 0 ? fmin(n, gap / d->each_s) : n;
        f->decode_io_s += layers * of[n] * (d->first_s + n * d->each_s);
        f->decode_stall_s += layers * of[n] * stall(&c, k, n, all);
        ahead_s += layers * of[n] * stall(&c, k, n - COMES_TRUE * guessed, all);
    }
    double seconds = s->decode_s + f->decode_stall_s;
    f->decode_tokens_per_s = seconds > 0 ? 1 / seconds : 0;
    f->ahead_tokens_per_s = seconds > 0 ? 1 / (s->decode_s + fmin(ahead_s, f->decode_stall_s)) : 0;
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

/* Seconds for an expert that m tokens use on average, at least 1: the mean over a geometric distribution of a cost that
 * is linear between the points, and behind the last as before it. */
static double expert_seconds(const hs_speed *s, double m)
{
    double sum = s->prompt_expert_s[0], rest = 1 - 1 / fmax(m, 1);
    for (uint32_t i = 1; i < HS_SPEED_POINTS; i++) {
        double from = hs_speed_tokens[i - 1], to = i + 1 < HS_SPEED_POINTS ? hs_speed_tokens[i] : INFINITY;
        double slope = (s->prompt_expert_s[i] - s->prompt_expert_s[i - 1]) / (hs_speed_tokens[i] - from);
        sum += slope * m * (pow(rest, from) - (isinf(to) ? 0 : pow(rest, to))); /* tokens over `from`, up to `to` */
    }
    return sum;
}

/* Seconds for a chunk that uses n experts and reads n_read of them. */
static double prompt_seconds(const hs_plan *p, const hs_speed *s, const hs_drive *d, double tokens, double n,
                             double n_read)
{
    double dense = tokens * s->prompt_token_s + ceil(tokens / HS_SPEED_BLOCK) * s->prompt_block_s;
    double experts = n > 0 ? n * expert_seconds(s, tokens * p->token_cycle / n) + n_read * s->expand_s : 0;
    double io = read_seconds(p, d, n_read);
    double beside = fmin(fmin(dense, p->moe_layers * read_seconds(p, d, WINDOW * p->n_slots)) + experts, io);
    return dense + experts + io - OVERLAP * beside + s->prompt_end_s;
}

/* Of the slots that a first prompt fills. */
static double clearing_seconds(const hs_plan *p, const hs_speed *s, const hs_forecast *f)
{
    double slots = fmin(f->prompt_experts, p->n_slots), bytes = (double)p->expert_bytes_all / (double)p->n_experts;
    return s->fresh_bytes_per_s > 0 ? slots * bytes / s->fresh_bytes_per_s : 0;
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
    double first = prompt_seconds(p, s, d, n, f->prompt_experts, f->prompt_experts) + clearing_seconds(p, s, f);
    double seconds = prompt_seconds(p, s, d, n, f->prompt_experts, reads);
    double computing = prompt_seconds(p, s, d, n, f->prompt_experts, 0) + reads * s->expand_s;
    f->prompt_compute_s = computing;
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

/* With a warm tier every use is decoded, wherever the expert comes from. */
static hs_speed of_warm_tier(const hs_plan *p, hs_speed s)
{
    s.decode_s += p->token_cycle * s.expand_s;
    s.decode_experts_s += p->token_cycle * s.expand_s;
    for (uint32_t i = 0; i < HS_SPEED_POINTS; i++)
        s.prompt_expert_s[i] += s.expand_s;
    s.expand_s = 0;
    return s;
}

hs_forecast hs_forecast_make(const hs_plan *p, const hs_speed *of, const hs_drive *d, const hs_use *use)
{
    hs_speed warm = p->warm ? of_warm_tier(p, *of) : *of;
    const hs_speed *s = &warm;
    uint32_t n = use->prompt_tokens;
    hs_forecast f = {.hit_rate = use->hit_rate, .prompt_tokens = n && n < p->prefill_chunk ? n : p->prefill_chunk};
    f.miss_bytes = (1 - f.hit_rate) * (double)p->bytes_per_token_cold;
    forecast_decode(p, s, d, &f);
    forecast_prompt(p, s, d, use, &f);
    return f;
}
