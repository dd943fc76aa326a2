/*
 * ways.c - two ways to an expert of a compressed model: its packed record, which has to be decoded, and its raw bytes,
 * which the pack has too (pack --keep-raw), or the model that it was packed from. The same bytes; which is faster
 * depends on the drive, on the size of an expert and on what the cores have left, and is measured.
 *
 * What counts is how long the engine thread stood, waiting or decoding, for each expert that was not there. In a trial
 * tokens go one way and the other by turns: both ways meet the same drive at the same time, what decodes a guess amid
 * another layer is counted where it belongs, and a trial costs half of what is lost by the slower one. It ends when the
 * difference is SURE times its standard error, or after MOST tokens, when LIKELY will do: a wrong change costs little
 * where little is between them. After one that changed nothing the next comes twice as late; after a draw it goes on
 * counting from there, for a difference of a tenth may take more than one to tell.
 */
#include "base/log.h"
#include "residency/residency_int.h"

#define FIRST  16u   /* decoded tokens before the first trial */
#define PERIOD 120u  /* between two trials, not in step with the trial of reading ahead */
#define LATEST 7680u /* after many that changed nothing */
#define LEAST  8u
#define MOST   64u
#define SURE   2.5  /* standard errors: ends a trial at once */
#define LIKELY 1.5  /* decides at its end */
#define KEPT   0.9  /* of what a draw has counted */
#define WINS   0.98 /* of the cost: less is not worth a change */
#define BOUND  0.5  /* share of decoding in the time stood from which on it holds reading up */

void hs__ways_init(hs_residency *r)
{
    r->ways = (hs__ways){.is_possible = !r->cfg.warm_tier && hs_objects_has_raw(r->cfg.objects),
                         .period = FIRST,
                         .is_told = r->cfg.warm_tier};
}

static bool is_other_turn(const hs__ways *w)
{
    return w->is_trial && w->at % 2;
}

bool hs__way_is_raw(const hs_residency *r)
{
    const hs__ways *w = &r->ways;
    return w->raw != (is_other_turn(w) && !r->sweep);
}

static void restart(hs__ways *w, bool trial, uint32_t period)
{
    w->at = 0;
    w->is_trial = trial;
    w->period = period < PERIOD ? PERIOD : period > LATEST ? LATEST : period;
    w->stood = w->decoded = 0;
}

static void fade(hs__way_cost *c, double to)
{
    c->stood *= to;
    c->absent *= to;
    c->stood_stood *= to;
    c->stood_absent *= to;
    c->absent_absent *= to;
}

/* Per absent expert: ns, and the variance of that. */
static double mean(const hs__way_cost *c)
{
    return c->absent > 0 ? c->stood / c->absent : 0;
}

static double variance(const hs__way_cost *c)
{
    double m = mean(c);
    return (c->stood_stood - 2 * m * c->stood_absent + m * m * c->absent_absent) / (c->absent * c->absent);
}

static void judge(hs__ways *w)
{
    const hs__way_cost *now = &w->cost[w->raw], *other = &w->cost[!w->raw];
    bool some = now->absent > 0 && other->absent > 0;
    double gain = some ? mean(now) - mean(other) : 0;
    double errors = w->at < MOST ? SURE : LIKELY;
    bool sure = some && gain * gain > errors * errors * (variance(now) + variance(other));
    if (!sure && w->at < MOST)
        return;
    if (sure && gain > (1 - WINS) * mean(now)) {
        w->raw = !w->raw;
        hs_info("experts are read %s: a miss costs %.2f ms, %.2f ms %s",
                w->raw ? "raw, which is faster here than decoding the packed records" : "from the packed records again",
                mean(other) * 1e-6, mean(now) * 1e-6, w->raw ? "packed" : "raw");
        restart(w, false, PERIOD);
    } else {
        restart(w, false, w->period * 2);
    }
    for (uint32_t i = 0; i < 2; i++)
        fade(&w->cost[i], sure ? 0 : KEPT);
}

static void tell(hs__ways *w)
{
    double share = w->stood > 0 ? w->decoded / w->stood : 0;
    if (share <= BOUND || w->is_told)
        return;
    w->is_told = true;
    hs_warn("decoding holds reading up: %.0f %% of the time that misses cost; the model that this was packed from is "
            "not at hand (unchanged, on the same drive): packed again here, auto chooses what is faster, and "
            "--keep-raw lets both be tried",
            share * 100);
}

/* The last token's cost. */
static void count(hs__ways *w)
{
    hs__way_cost *c = &w->cost[w->raw != is_other_turn(w)];
    double s = w->token_stood, a = w->token_absent;
    c->stood += s;
    c->absent += a;
    c->stood_stood += s * s;
    c->stood_absent += s * a;
    c->absent_absent += a * a;
}

void hs__ways_step(hs_residency *r)
{
    hs__ways *w = &r->ways;
    if (r->sweep || !r->staging_bytes)
        return;
    if (w->is_trial && w->at)
        count(w);
    w->token_stood = w->token_absent = 0;
    w->at++;
    if (w->is_trial) {
        if (w->at > LEAST)
            judge(w);
    } else if (w->at > w->period) {
        if (!w->is_possible)
            tell(w);
        restart(w, w->is_possible, w->period);
    }
}

void hs__ways_learn(hs_residency *r, uint64_t stood_ns, uint64_t absent)
{
    hs__ways *w = &r->ways;
    uint64_t decode_ns = atomic_load_explicit(&r->count.decode_ns, memory_order_relaxed);
    if (!r->sweep) {
        w->token_stood += (double)stood_ns;
        w->token_absent += (double)absent;
        w->stood += (double)stood_ns;
        w->decoded += (double)(decode_ns - w->decode_ns);
    }
    w->decode_ns = decode_ns;
}

void hs__ways_failed(hs_residency *r)
{
    if (r->ways.is_possible)
        hs_warn("raw experts cannot be read any more; they come from the packed records");
    r->ways = (hs__ways){.period = PERIOD, .is_told = true};
}
