/*
 * ways.c - two ways to an expert of a compressed model: its packed record, which has to be decoded, and its raw bytes,
 * which the pack has too (pack --keep-raw), or the model that it was packed from. The same bytes; which is faster
 * depends on the drive, on the size of an expert and on what the cores have left.
 *
 * It begins with a forecast: the prompt's reads have told how fast the drive is and what decoding takes, the first
 * steps what computing does, which decoding competes with. Then it is measured: decode steps come in blocks, one of
 * which goes the other way, and the whole time of that step is compared with the others of its block, at equal numbers
 * of absent experts. What decoding takes from computing, what a guess costs that is decoded amid another layer, and
 * what waking threads takes: all of it is in there. Forecast and measurement are weighed by how sure each is. A block
 * is as long as the worse way must be rare to cost no more than COST of the time, so that a trial is never over, and
 * never felt.
 */
#include <math.h>

#include "base/log.h"
#include "residency/residency_int.h"

#define FIRST    12u /* steps of a block */
#define LONGEST  4096u
#define FORECAST 4      /* steps in which a forecast may still become another one */
#define COST     0.005f /* of the time, of going the worse way once in a block */
#define SURE     2.0f   /* standard errors; then a quarter of that */
#define LIKELY   1.5f   /* of them for a change */
#define MOVED    3.0f   /* errors of a forecast */
#define MEMORY   48.0f  /* blocks */
#define APART    0.02f  /* a forecast's error, as a share of a step's time, and */
#define ERROR    0.3f   /* of itself */
#define WINS     0.01f  /* share of the time for which decoding is worth its cores */
#define OUTLIER  4.0f   /* times what a step took lately: more is somebody else's doing */
#define FADE     (1 - 1 / 32.0)
#define LATENCY  80e3 /* ns of a drive's answer */
#define LAST     4u   /* frames of a record that nothing is read behind: a sub-read */
#define HANDLING 15e3 /* ns of a compressed record: to hear of it, to hand out its frames */
#define FORETOLD 45e3 /* ns saved on a record: what is less, waking and handling may take away; trials tell */
#define LOOK     120u /* steps from one look at what decoding holds up to the next, where there is no other way */
#define HOLDS_UP 0.5  /* share of decoding in the time stood */

void hs__ways_init(hs_residency *r)
{
    hs__ways *w = &r->ways;
    *w = (hs__ways){.is_possible = !r->cfg.warm_tier && hs_objects_has_raw(r->cfg.objects),
                    .is_told = r->cfg.warm_tier,
                    .block = {.period = FIRST, .turn = hs__any(0, r->cfg.n_layers, FIRST)}};
    hs_frame_iter it = {0};
    hs_frame first;
    if (w->is_possible && hs_object_next_frame(r->cfg.objects, 0, &it, &first))
        w->last_bytes = LAST * (double)first.raw_bytes;
    for (uint32_t i = 0; w->is_possible && i < r->n_objects; i++) {
        w->raw_bytes += hs_object_read_bytes(r->cfg.objects, i | HS_OBJECT_RAW);
        w->stored_bytes += hs_object_read_bytes(r->cfg.objects, i);
    }
}

bool hs__way_is_raw(const hs_residency *r)
{
    const hs__ways *w = &r->ways;
    return w->raw != (w->is_possible && w->block.at == w->block.turn && !r->sweep);
}

/* ---- the forecast ---- */

/* How fast the drive reads lately, however few bytes it is asked for at once. */
static void watch_drive(hs_residency *r)
{
    hs__ways *w = &r->ways;
    hs_io_stats s = hs_io_get_stats(r->cfg.io);
    double bytes = (double)(s.bytes - w->io_before.bytes), ns = (double)(s.busy_ns - w->io_before.busy_ns);
    if (bytes <= 0)
        return;
    w->read_ns = FADE * w->read_ns + fmax(ns - w->reads_since * LATENCY, ns / 2);
    w->read_bytes = FADE * w->read_bytes + bytes;
    w->io_before = s;
    w->reads_since = 0;
}

/* ns by which packed records are there sooner, in a layer that lacks n experts. */
static double sooner(const hs_residency *r, double n)
{
    const hs__ways *w = &r->ways;
    double raw = (double)w->raw_bytes / r->n_objects, stored = (double)w->stored_bytes / r->n_objects;
    double read = w->read_ns / w->read_bytes, decode = w->decode_ns / w->decoded_bytes;
    double computing = w->short_layers > 0 ? w->computing / w->short_layers : 0; /* decoding comes on top of that */
    double saved = (fmax(n * raw * read, computing) - fmax(n * stored * read, n * raw * decode + computing)) / n;
    double all = n * (saved - HANDLING) - fmin(raw, w->last_bytes) * decode;
    return saved < FORETOLD ? fmin(all, 0) : all;
}

/* What raw bytes take longer, as a share of a step's time; of the reading alone, where no step has been timed yet.
 * False: nothing has been read, or decoded. */
static bool forecast(const hs_residency *r, float *ret)
{
    const hs__ways *w = &r->ways;
    if (w->read_bytes <= 0 || w->decoded_bytes <= 0 || w->raw_bytes <= w->stored_bytes)
        return false;
    if (w->short_layers > 0 && w->lately_ns > 0) {
        double each = sooner(r, w->absent / w->short_layers);
        *ret = (float)(each * w->short_layers / w->n / w->lately_ns);
    } else {
        double n = r->cfg.top_k * 0.5, raw = (double)w->raw_bytes / r->n_objects;
        *ret = (float)(sooner(r, n) / (LATENCY + n * raw * w->read_ns / w->read_bytes));
    }
    return true;
}

/* ---- the choice ---- */

static void tell_choice(const hs__ways *w, float gain)
{
    const char *how = w->took.n > 0 ? "as measured by turns" : "as forecast from the drive and what decoding takes";
    if (w->raw)
        hs_info("experts are read raw from now on: decoding the packed records would take %.1f %% more of a token's "
                "time, %s",
                (double)gain * -100, how);
    else
        hs_info("experts are read from the packed records from now on: raw bytes would take %.1f %% more of a token's "
                "time, %s",
                (double)gain * 100, how);
}

static float error_of(float forecast)
{
    return APART + ERROR * fabsf(forecast);
}

/* From forecast and measurement; and how long blocks are. */
static void choose(hs_residency *r)
{
    hs__ways *w = &r->ways;
    float expected, measured, variance, gain = 0, weight = 0;
    if (forecast(r, &expected)) {
        weight = 1 / (error_of(expected) * error_of(expected));
        gain = expected;
        if (w->took.n <= 0)
            w->expected = expected;
    }
    if (hs__took_difference(&w->took, &measured, &variance)) {
        gain = (gain * weight + measured / variance) / (weight + 1 / variance);
        weight += 1 / variance;
    }
    if (weight <= 0)
        return;
    float errors = fabsf(gain) * sqrtf(weight);
    bool raw = !w->is_chosen && w->took.n <= 0 ? gain <= 0 || errors < LIKELY
                                               : gain < (w->raw ? WINS : 0); /* in doubt it begins raw */
    if (raw != w->raw && (errors > LIKELY || !w->is_chosen)) {
        w->raw = raw;
        tell_choice(w, gain);
    }
    w->is_chosen = true;
    float cost = errors > SURE && w->took.n > 0 ? COST / 4 : COST;
    w->block.period = (uint32_t)fminf(fmaxf(fabsf(gain) / cost, FIRST), LONGEST);
}

static void start_block(hs_residency *r)
{
    hs__block *b = &r->ways.block;
    *b = (hs__block){.period = b->period, .turn = hs__any(r->steps, r->cfg.n_layers, b->period)};
}

/* A block is over: what its step the other way says. */
static void settle(hs_residency *r)
{
    hs__ways *w = &r->ways;
    hs__block *b = &w->block;
    if (b->n[0] > 0 && b->n[1] > 0) {
        float d = (b->ns[1] - b->ns[0] / b->n[0]) / w->lately_ns, e = b->absent[1] - b->absent[0] / b->n[0];
        float raw = w->raw ? -1 : 1; /* the other way is packed */
        hs__took_add(&w->took, raw * d, raw * e, MEMORY);
    }
    choose(r);
    start_block(r);
}

/* The first steps tell what computing takes: the very first is raw, for raw bytes are never slower than the model; then
 * the forecast decides. Who has just begun is spared trials. */
static void begin_decoding(hs_residency *r)
{
    hs__ways *w = &r->ways;
    w->raw |= w->n <= 0;
    if (w->n <= 0 || w->took.n > 0 || w->n > FORECAST)
        return;
    choose(r);
    if (w->is_chosen)
        start_block(r);
    w->block.turn = (w->block.turn + w->block.period) / 2;
}

/* The forecast is another one than when measuring began: the machine is, too, and what was measured is forgotten. */
static void look_around(hs_residency *r)
{
    hs__ways *w = &r->ways;
    float expected;
    if (w->took.n <= 0 || !forecast(r, &expected) ||
        fabsf(expected - w->expected) < MOVED * error_of(fminf(fabsf(expected), fabsf(w->expected))))
        return;
    w->took = (hs__took){0};
    choose(r);
    start_block(r);
}

/* A decode step is over. */
static void count(hs_residency *r, uint64_t now)
{
    hs__ways *w = &r->ways;
    hs__block *b = &w->block;
    uint32_t other = b->at == b->turn;
    float took = (float)(now - w->from_ns);
    if (w->lately_ns > 0)
        took = fminf(took, OUTLIER * w->lately_ns);
    w->lately_ns += (w->lately_ns > 0 ? 1.0f / 32 : 1) * (took - w->lately_ns);
    b->ns[other] += took;
    b->absent[other] += (float)w->token_absent;
    b->n[other] += 1;
    w->from_ns = 0;
    if (++b->at >= b->period)
        settle(r);
}

/* ---- where there is no other way ---- */

static void tell(hs__ways *w)
{
    if (++w->steps < LOOK)
        return;
    double share = w->stood > 0 ? w->decoded / w->stood : 0;
    w->steps = 0;
    w->stood = w->decoded = 0;
    if (share <= HOLDS_UP)
        return;
    w->is_told = true;
    hs_warn("decoding holds reading up: %.0f %% of the time that misses cost; the model that this was packed from is "
            "not at hand (unchanged, on the same drive): packed again here, auto chooses what is faster, and "
            "--keep-raw lets both be tried",
            share * 100);
}

/* ---- what the others report ---- */

void hs__ways_step(hs_residency *r, uint64_t now)
{
    hs__ways *w = &r->ways;
    w->from_ns = 0;
    if (!w->is_possible) {
        if (!w->is_told && !r->sweep && r->staging_bytes)
            tell(w);
        return;
    }
    watch_drive(r);
    if (r->sweep)
        return;
    begin_decoding(r);
    look_around(r);
    w->short_layers *= FADE;
    w->absent *= FADE;
    w->computing *= FADE;
    w->n = FADE * w->n + 1;
    w->from_ns = now;
    w->token_absent = 0;
}

void hs__ways_learn(hs_residency *r, uint64_t now, uint64_t stood_ns, uint64_t absent)
{
    hs__ways *w = &r->ways;
    uint64_t decode_ns = atomic_load_explicit(&r->count.decode_ns, memory_order_relaxed);
    w->reads_since += absent > 0;
    if (!r->sweep) {
        w->stood += (double)stood_ns;
        w->decoded += (double)(decode_ns - w->decode_before);
        w->short_layers += absent > 0;
        w->absent += (double)absent;
        if (absent && w->layer_from_ns)
            w->computing += (double)(now - w->layer_from_ns - stood_ns);
        w->token_absent += (uint32_t)absent;
        if (w->from_ns && r->layer + 1 == r->cfg.n_layers)
            count(r, now);
    }
    w->decode_before = decode_ns;
}

void hs__ways_decoded(hs_residency *r, uint64_t raw_bytes, uint64_t ns)
{
    hs__ways *w = &r->ways;
    double keep = 1 - fmin(1, (double)raw_bytes / (32.0 * (double)r->slot_bytes));
    w->decode_ns = keep * w->decode_ns + (double)ns;
    w->decoded_bytes = keep * w->decoded_bytes + (double)raw_bytes;
}

void hs__ways_failed(hs_residency *r, const hs_err *err)
{
    if (r->ways.is_possible)
        hs_warn("%s; no expert is read raw any more, but from the packed records", err->text);
    r->ways = (hs__ways){.is_told = true};
}
