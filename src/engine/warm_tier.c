/*
 * warm_tier.c - cache.warm_tier = auto: whether compressed experts stay so in the cache, decided before the arena is
 * laid out, from what was measured of this machine.
 *
 * Two plans of the same memory are forecast: with slots for decoded experts, and with more slots and a decoding for
 * each use. What a layer computes, how long an expert takes to decode, and how the drive answers at that pace, is
 * measured on this model and kept (pace_file.c); the hit rates are those of forecast.c's curve. All of it is uncertain,
 * and a warm tier that is wrong costs every use, so it has to win by HS_WARM_TIER_WINS. Decoding is measured first, in
 * milliseconds: where it could not win on a drive that answers after FIRST_AT_MOST, nothing else is. Where several
 * drives add up, or nothing may be measured, there is none.
 *
 * What is found out while the model serves (residency's shadow.c) is kept, too, and decides the next start with a cache
 * of about that size: what tokens take the way that it served, and the gain, of which the other part is an estimate
 * until it has served that way as well. An estimate is a lower bound, so where it is no clear loss a start tries the
 * warm tier once, or keeps it; once it has served both ways, both are measured.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/option.h"
#include "engine/engine_int.h"
#include "store/disk.h"

#define FIRST_AT_MOST 2e-3
#define WORTH_TRYING  0.9  /* estimates have been too low by a tenth and more: without it, */
#define WORTH_KEEPING 0.95 /* and with it */
#define SAME          0.02 /* gains that differ by less are not written again */
#define ALIKE         8u   /* a cache that differs by less than one in so many slots is the same */

static hs_forecast expected(const hs_plan *p, const hs_speed *s, const hs_drive *d)
{
    hs_use use = {
        .hit_rate = hs__expected_hit_rate(p), .routing = HS_ROUTING_REAL, .prompt_experts = -1, .prompt_reads = -1};
    return hs_forecast_make(p, s, d, &use);
}

double hs__expected_hit_rate(const hs_plan *p)
{
    double n = p->n_experts;
    return hs_forecast_hit_rate(p->n_slots / n, p->token_cycle / n, HS_ROUTING_REAL);
}

bool hs_warm_tier_pays(const hs_plan *without, const hs_plan *with, const hs_speed *s, const hs_drive *d,
                       double *ret_gain)
{
    hs_forecast a = expected(without, s, d), b = expected(with, s, d);
    double gain = a.decode_tokens_per_s > 0 ? b.decode_tokens_per_s / a.decode_tokens_per_s : 0;
    double ahead = a.ahead_tokens_per_s > 0 ? b.ahead_tokens_per_s / a.ahead_tokens_per_s : 0;
    *ret_gain = fmin(gain, ahead);
    return with->warm && d->bytes_per_s > 0 && s->expand_s > 0 && *ret_gain > HS_WARM_TIER_WINS;
}

static bool is_one_drive(const hs_objects *o)
{
    uint32_t n;
    const int *fds = hs_objects_fds(o, &n);
    struct stat first, st;
    bool is = n > 0 && hs_objects_copies(o) == 1 && fstat(fds[0], &first) == 0;
    for (uint32_t i = 1; is && i < n; i++)
        is = fstat(fds[i], &st) == 0 && st.st_dev == first.st_dev;
    return is;
}

/* ---- the pace ---- */

/* Experts of a read and more: what calibration tells of the drive holds for them. */
static bool are_big(const hs_engine *e)
{
    return e->plan.bytes_per_token_cold / e->plan.token_cycle >= e->how.read_size;
}

/* False: the drive cannot be measured. */
static bool find_drive(const hs_engine *e, const hs_engine_options *opt, const hs_speed *s, hs_drive *ret)
{
    char *file = NULL;
    uint64_t bytes;
    hs_err ignored;
    double rate = e->drive_bytes_per_s, lone = e->drive_lone_bytes_per_s, size = e->how.read_size;
    *ret = hs_drive_of_rate(&e->plan, rate);
    if (rate > 0 && lone > 0 && are_big(e)) {
        ret->first_s = fmax(size / lone - size / rate, 0);
        return true;
    }
    const hs__reading how = {opt->io_engine, e->how.buffered, e->how.read_size, e->how.in_flight, NULL};
    bool is = hs_disk_pick(opt->path, &file, &bytes, &ignored) == 0 &&
              hs__measure_waves(file, &how, &e->plan, s, hs__expected_hit_rate(&e->plan), ret);
    hs_free(file);
    double each = ret->each_s > 0 ? ret->each_s : ret->first_s;
    if (is && rate <= 0 && each > 0)
        ret->bytes_per_s = (double)e->plan.bytes_per_token_cold / e->plan.token_cycle / each;
    return is || rate > 0;
}

/* Whether decoding is not so slow that no drive is slower. */
static bool may_pay(const hs_engine *e, const hs_plan *with, const hs_speed *s)
{
    double gain;
    hs_drive d = hs_drive_of_rate(&e->plan, e->drive_bytes_per_s);
    d.first_s = FIRST_AT_MOST;
    return e->drive_bytes_per_s <= 0 || hs_warm_tier_pays(&e->plan, with, s, &d, &gain);
}

/* Measures what is not known, and keeps it; false: it cannot be measured, or could not pay. */
static bool find_pace(hs_engine *e, const hs_engine_options *opt, const hs_plan *with, hs__pace *ret)
{
    hs_err err = {0};
    hs_speed s = {0};
    bool is_kept = hs__pace_place_find(opt, &e->opened, &e->plan, &e->pace_place, &err) == 0;
    if (!is_kept || hs__pace_load(&e->pace_place, ret, &err) < 0)
        *ret = (hs__pace){0};
    if (ret->drive.bytes_per_s > 0 && opt->io_calibrate != HS_CALIBRATE_ALWAYS)
        return true;
    if (hs__measure_expanding(e->opened.objects, e->pool, &s.expand_s, &err) < 0 || !may_pay(e, with, &s) ||
        hs_speed_measure(opt, &e->plan, 0, &ret->speed, &err) < 0 || !find_drive(e, opt, &ret->speed, &ret->drive))
        return false;
    if (is_kept && hs__pace_save(&e->pace_place, ret, &err) < 0)
        hs_warn("what was measured for cache.warm_tier is not kept: %s", err.text);
    return true;
}

/* ---- the choice ---- */

static void tell(const hs_engine *e, const hs_plan *with, const hs__pace *x, const char *how, double gain, bool pays)
{
    hs_info("cache.warm_tier: %s: %u experts compressed instead of %u, which %s to be %.2f times as fast (the drive "
            "brings n experts in %.2f ms + n times %.2f, decoding one takes %.2f, computing a token %.1f)",
            pays ? "on" : "off", with->n_slots, e->plan.n_slots, how, gain, x->drive.first_s * 1e3,
            x->drive.each_s * 1e3, x->speed.expand_s * 1e3, x->speed.decode_s * 1e3);
}

static bool is_alike(uint32_t a, uint32_t b)
{
    return (a > b ? a - b : b - a) <= b / ALIKE;
}

/* What was found out of a cache of another size says nothing. */
static void forget_others(const hs_engine *e, hs__pace *x)
{
    if (x->found_gain > 0 && is_alike(x->found_slots, e->cold_slots))
        return;
    x->cold = x->warm = (hs__line){0};
    x->found_gain = 0;
}

/* That it takes, where the model has served with it, without it, or both ways. */
static double least_gain(bool with, bool without)
{
    return with && without ? HS_WARM_TIER_WINS : with ? WORTH_KEEPING : WORTH_TRYING;
}

/* The plan with it, and whether it pays; what cannot be measured or does not fit is no reason for it. */
static bool pays(hs_engine *e, const hs_engine_options *opt, hs_plan *ret_with)
{
    hs__pace x;
    hs_err ignored;
    double gain;
    if (hs__plan(opt, &e->opened, ret_with, &ignored) < 0 || !find_pace(e, opt, ret_with, &x))
        return false;
    e->cold_slots = e->plan.n_slots;
    forget_others(e, &x);
    bool is = hs_warm_tier_pays(&e->plan, ret_with, &x.speed, &x.drive, &gain);
    bool is_tried = x.warm.none_s > 0, was_without = x.cold.none_s > 0;
    if (x.found_gain > 0) {
        gain = x.found_gain;
        is = gain > least_gain(is_tried, was_without);
    }
    const char *how = x.found_gain <= 0 ? "is expected" : is_tried && was_without ? "was found" : "was estimated";
    tell(e, ret_with, &x, how, gain, is);
    e->warm_slots = ret_with->n_slots;
    e->other_line = is ? x.cold : x.warm;
    e->pace_found = x.found_gain;
    e->is_line_kept = is ? is_tried : was_without;
    return is;
}

int hs__choose_warm_tier(hs_engine *e, const hs_engine_options *opt, hs_err *err)
{
    hs__opened *o = &e->opened;
    hs_plan with;
    if (opt->warm_tier != HS_WARM_AUTO || opt->io_calibrate == HS_CALIBRATE_OFF ||
        !hs_residency_can_be_warm(o->objects) || e->plan.n_slots == e->plan.n_experts || !is_one_drive(o->objects))
        return 0;
    int r = hs__set_warm(o, true, err);
    if (r < 0)
        return r;
    if (!pays(e, opt, &with))
        return hs__set_warm(o, false, err);
    e->plan = with;
    return 0;
}

/* ---- what is found out ---- */

double hs__found_gain(const hs_engine *e)
{
    hs_residency_tier t;
    if (!hs_residency_get_tier(e->residency, &t))
        return 0;
    double other = e->other_line.none_s + e->other_line.absent_s * t.other_absent;
    if (e->other_line.none_s <= 0 || t.token_s <= 0)
        return t.gain;
    return e->opened.warm ? other / t.token_s : t.token_s / other;
}

/* What the next start will do otherwise. */
static void tell_found(const hs_engine *e, double gain)
{
    bool is_measured = e->other_line.none_s > 0;
    bool would = gain > least_gain(is_measured || e->opened.warm, is_measured || !e->opened.warm);
    if (would != e->opened.warm)
        hs_info(
            "cache.warm_tier: while serving, with it is %s %.2f times as fast as without; the next start turns it %s",
            is_measured ? "measured to be" : "estimated to be", gain, would ? "on" : "off");
}

int hs__keep_found(hs_engine *e, hs_err *err)
{
    hs_residency_tier t;
    hs__pace x;
    double gain = hs__found_gain(e);
    if (gain <= 0 || (e->is_line_kept && fabs(gain - e->pace_found) < SAME) || !hs_residency_get_tier(e->residency, &t))
        return 0;
    e->pace_found = gain;
    e->is_line_kept = true;
    tell_found(e, gain);
    if (!e->pace_place.dir)
        return 0;
    int r = hs__pace_load(&e->pace_place, &x, err);
    if (r < 0)
        return r;
    forget_others(e, &x);
    *(e->opened.warm ? &x.warm : &x.cold) = (hs__line){t.none_s, t.absent_s};
    x.found_gain = gain;
    x.found_slots = e->cold_slots;
    return hs__pace_save(&e->pace_place, &x, err);
}
