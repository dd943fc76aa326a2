/*
 * warm_tier.c - cache.warm_tier = auto: whether compressed experts stay so in the cache, decided before the arena is
 * laid out, from what was measured of this machine.
 *
 * Two plans of the same memory are forecast: with slots for decoded experts, and with more slots and a decoding for
 * each use. What a layer computes, and how long an expert takes to decode, is measured on this model (speed.c); the
 * drive's rate is calibration's; the hit rates are those of forecast.c's curve. All of it is uncertain, and a warm tier
 * that is wrong costs every use, so it has to win by HS_WARM_TIER_WINS. Computing dilutes what is gained: only what
 * wins without any, which milliseconds of decoding tell, has the rest measured. Where the drive's rate is not known, or
 * several drives add up, there is none.
 */
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/option.h"
#include "engine/engine_int.h"

static hs_forecast expected(const hs_plan *p, const hs_speed *s, const hs_drive *d)
{
    double n = p->n_experts;
    hs_use use = {.hit_rate = hs_forecast_hit_rate(p->n_slots / n, p->token_cycle / n, HS_ROUTING_REAL),
                  .routing = HS_ROUTING_REAL,
                  .prompt_experts = -1,
                  .prompt_reads = -1};
    return hs_forecast_make(p, s, d, &use);
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

static void tell(const hs_engine *e, const hs_plan *with, const hs_speed *s, double gain, bool pays)
{
    char rate[32], computing[48] = "";
    if (s->decode_s > 0)
        snprintf(computing, sizeof computing, ", computing a token %.0f ms", s->decode_s * 1e3);
    hs_info("cache.warm_tier: %s: %u experts compressed instead of %u, which is expected to be %s%.2f times as fast "
            "(drive %s/s, decoding an expert %.2f ms%s)",
            pays ? "on" : "off", with->n_slots, e->plan.n_slots, *computing ? "" : "at most ", gain,
            hs_format_size((uint64_t)e->drive_bytes_per_s, rate, sizeof rate), s->expand_s * 1e3, computing);
}

/* The plan with it, and whether it pays; what cannot be measured or does not fit is no reason for it. */
static bool pays(const hs_engine *e, const hs_engine_options *opt, hs_plan *ret_with)
{
    hs_speed s = {0};
    hs_err ignored;
    double gain;
    if (hs__plan(opt, &e->opened, ret_with, &ignored) < 0 ||
        hs__measure_expanding(e->opened.objects, e->pool, &s.expand_s, &ignored) < 0)
        return false;
    hs_drive d = hs_drive_of_rate(&e->plan, e->drive_bytes_per_s);
    bool is = hs_warm_tier_pays(&e->plan, ret_with, &s, &d, &gain);
    if (is && hs_speed_measure(opt, &e->plan, 0, &s, &ignored) < 0)
        return false;
    is = is && hs_warm_tier_pays(&e->plan, ret_with, &s, &d, &gain);
    tell(e, ret_with, &s, gain, is);
    return is;
}

int hs__choose_warm_tier(hs_engine *e, const hs_engine_options *opt, hs_err *err)
{
    hs__opened *o = &e->opened;
    hs_plan with;
    if (opt->warm_tier != HS_WARM_AUTO || !hs_residency_can_be_warm(o->objects) || e->drive_bytes_per_s <= 0 ||
        e->plan.n_slots == e->plan.n_experts || !is_one_drive(o->objects))
        return 0;
    int r = hs__set_warm(o, true, err);
    if (r < 0)
        return r;
    if (!pays(e, opt, &with))
        return hs__set_warm(o, false, err);
    e->plan = with;
    return 0;
}
