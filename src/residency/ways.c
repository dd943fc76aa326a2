/*
 * ways.c - two ways to an expert of a compressed model: its packed record, which has to be decoded, and the bytes of
 * the model that it was packed from, where the store has them at hand. The same bytes; which is faster depends on the
 * drive and on what the cores have left, and is measured, by turns.
 *
 * What counts is how long the engine thread stood, waiting or decoding, for each miss. The packed way is doubted only
 * while decoding is most of that: else the drive is what is waited for, and fewer bytes are better. Then some tokens go
 * the other way; it is taken on if it was clearly cheaper, else the next try comes twice as late.
 */
#include "base/log.h"
#include "residency/residency_int.h"

#define FIRST  16u   /* decoded tokens before the first look */
#define PERIOD 120u  /* between two looks, not in step with the trial of reading ahead */
#define LATEST 7680u /* after many tries that lost */
#define TRIAL  8u
#define SETTLE 2u   /* tokens after a change that still show the way before */
#define WINS   0.95 /* of the cost: noise is no reason */
#define BOUND  0.5  /* share of decoding in the time stood */

void hs__ways_init(hs_residency *r)
{
    r->ways = (hs__ways){.is_possible = hs_objects_has_raw(r->cfg.objects), .period = FIRST};
}

static void restart(hs__ways *w)
{
    w->at = 0;
    w->sum = (hs__stood){0};
}

static void take(hs__ways *w, bool raw)
{
    w->raw = raw;
    restart(w);
}

/* The drive's turn is over: what it cost is known. */
static void decide(hs__ways *w, double cost)
{
    w->is_trial = false;
    if (cost < WINS * w->cost) {
        w->period = PERIOD;
        hs_info("experts are read %s: a miss costs %.2f ms, %.2f ms %s",
                w->raw
                    ? "from the model that was packed, which this machine has faster than it decodes the packed records"
                    : "from the packed records again",
                cost * 1e-6, w->cost * 1e-6, w->raw ? "packed" : "unpacked");
        restart(w);
    } else {
        w->period = w->period * 2 < LATEST ? w->period * 2 : LATEST;
        take(w, !w->raw);
    }
}

static void look(hs_residency *r, double cost, double share)
{
    hs__ways *w = &r->ways;
    bool doubted = w->raw || share > BOUND;
    if (w->period < PERIOD)
        w->period = PERIOD;
    if (doubted && w->is_possible) {
        w->cost = cost;
        w->is_trial = true;
        take(w, !w->raw);
        return;
    }
    if (doubted && !w->is_told) {
        w->is_told = true;
        hs_warn(
            "decoding holds reading up: a miss costs %.2f ms, and %.0f %% of that is decoding; the model that this was "
            "packed from is not at hand (unchanged, on the same drive): packed again here, auto chooses what is faster",
            cost * 1e-6, share * 100);
    }
    restart(w);
}

static uint64_t get(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

void hs__ways_step(hs_residency *r)
{
    hs__ways *w = &r->ways;
    hs__stood now = {get(&r->count.wait_ns), get(&r->count.decode_ns), get(&r->count.misses)};
    hs__stood was = w->last;
    bool running = w->running;
    w->last = now;
    w->running = !r->sweep;
    if (!running || !r->staging_bytes)
        return; /* what went before was a prompt */
    if (++w->at > SETTLE) {
        w->sum.wait_ns += now.wait_ns - was.wait_ns;
        w->sum.decode_ns += now.decode_ns - was.decode_ns;
        w->sum.misses += now.misses - was.misses;
    }
    if (w->at < (w->is_trial ? SETTLE + TRIAL : w->period))
        return;
    double stood = (double)(w->sum.wait_ns + w->sum.decode_ns), cost = stood / (double)(w->sum.misses + !w->sum.misses);
    if (w->is_trial)
        decide(w, cost);
    else
        look(r, cost, stood > 0 ? (double)w->sum.decode_ns / stood : 0);
}

void hs__ways_failed(hs_residency *r)
{
    if (r->ways.is_possible)
        hs_warn("the model that was packed cannot be read any more; experts come from the packed records");
    r->ways = (hs__ways){.period = PERIOD};
}
